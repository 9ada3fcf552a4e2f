//! Waits until a server serves.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{Database, SqlServer, USER};
use crate::{Error, Result};

/// A server makes its data at the first start, and after a kill it repairs it; several may do so on a busy machine.
const READY_MAX: Duration = Duration::from_secs(180);

/// A server that is starting accepts connections some time before it answers.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Nothing that is read here is longer. More means that somebody else answers.
const ANSWER_BYTES_MAX: usize = 64 << 10;

type Asked = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Waits until a client may log in.
pub(super) async fn wait(server: &SqlServer) -> Result<()> {
    let operation = format!("wait for {:?}", server.database);
    let address = server.port.address();
    let deadline = Instant::now() + READY_MAX;
    loop {
        let asked = async {
            match server.database {
                Database::Postgres => postgres(&address).await,
                Database::Mariadb | Database::Mysql => mysql(&address).await,
            }
        };
        let last = match timeout(ANSWER_MAX, asked).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        let ended = !server.container.is_running().await?;
        if ended || Instant::now() > deadline {
            let log = server.container.log().await;
            let state = if ended {
                "its container ended".to_owned()
            } else {
                format!("not ready after {} s: {last}", READY_MAX.as_secs())
            };
            return Err(Error::new(operation, format!("{state}; the end of its log:\n{log}")));
        }
        sleep(PAUSE).await;
    }
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
