//! When a server serves.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Database, SqlServer, USER};
use crate::Result;
use crate::ready::until;

/// Nothing that is read here is longer. More means that somebody else answers.
const ANSWER_BYTES_MAX: usize = 64 << 10;

type Asked = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Waits until a client may log in.
pub(super) async fn wait(server: &SqlServer) -> Result<()> {
    let address = &server.port.address();
    until(&server.container, format!("{:?}", server.database), || async move {
        match server.database {
            Database::Postgres => postgres(address).await,
            Database::Mariadb | Database::Mysql => mysql(address).await,
        }
    })
    .await
}

/// It greets its clients only when it serves: three bytes of length, a number, and the version of the protocol.
async fn mysql(address: &str) -> Asked {
    const PROTOCOL: u8 = 10;
    let mut stream = TcpStream::connect(address).await?;
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await?;
    match greeting[4] {
        PROTOCOL => Ok(()),
        other => Err(format!("it greets with {other}").into()),
    }
}

/// A server that repairs its data answers a client that it is starting. Any other answer comes from one that serves,
/// also that it wants TLS.
async fn postgres(address: &str) -> Asked {
    const VERSION: u32 = 3 << 16;
    const CANNOT_CONNECT_NOW: &[u8] = b"C57P03\0";
    let mut start = VERSION.to_be_bytes().to_vec();
    start.extend(format!("user\0{USER}\0database\0postgres\0\0").bytes());
    let mut stream = TcpStream::connect(address).await?;
    stream.write_u32(u32::try_from(start.len() + 4)?).await?;
    stream.write_all(&start).await?;
    let kind = stream.read_u8().await?;
    let length = usize::try_from(stream.read_u32().await?)?.saturating_sub(4);
    if length > ANSWER_BYTES_MAX {
        return Err(format!("an answer of {length} bytes is none of PostgreSQL").into());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let starting = answer.windows(CANNOT_CONNECT_NOW.len()).any(|part| part == CANNOT_CONNECT_NOW);
    if kind == b'E' && starting {
        return Err("it is starting".into());
    }
    Ok(())
}
