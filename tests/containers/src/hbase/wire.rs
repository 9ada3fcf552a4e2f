//! The one call of Thrift by which a gateway shows that it serves.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::GatewayOptions;

/// It needs an answer of the server behind the gateway.
const CALL: &[u8] = b"getTableNames";

/// The type of the answer's first field where it is a list. An error is a struct.
const LIST_BINARY: u8 = 15;
const LIST_COMPACT: u8 = 9;

/// How long a frame is stands before it.
const LENGTH_BYTES: usize = 4;

/// Asks for the names of the tables.
pub(super) async fn ask(
    address: &str,
    options: &GatewayOptions,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let name_bytes = u8::try_from(CALL.len())?;
    // Which protocol and that it is a call; the name; a number and no arguments. The answer begins with as much, up to the
    // type of its first field.
    let (head, tail, list) = if options.compact {
        (vec![0x82, 0x21, 0, name_bytes], vec![0], LIST_COMPACT)
    } else {
        (vec![0x80, 1, 0, 1, 0, 0, 0, name_bytes], vec![0; 5], LIST_BINARY)
    };
    let number_bytes = tail.len() - 1;
    let message = [&head, CALL, &tail].concat();
    let mut stream = TcpStream::connect(address).await?;
    if options.framed {
        stream.write_u32(u32::try_from(message.len())?).await?;
    }
    stream.write_all(&message).await?;
    let length_bytes = if options.framed { LENGTH_BYTES } else { 0 };
    let mut answer = vec![0; length_bytes + head.len() + CALL.len() + number_bytes + 1];
    stream.read_exact(&mut answer).await?;
    match answer.last() {
        Some(kind) if *kind == list => Ok(()),
        _ => Err("it has no list of tables".into()),
    }
}
