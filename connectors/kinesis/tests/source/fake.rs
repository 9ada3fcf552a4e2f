//! A server that answers as it is told: for what no server that there is does.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tidelock_kinesis::AwsConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is answered: a status, and what is said.
pub(crate) type Answer = (u16, Value);

/// Answers a call by its name and what is asked.
type Respond = dyn Fn(&str, &Value) -> Answer + Send + Sync;

/// A server; it ends with this.
pub(crate) struct Fake {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What stands for an error.
pub(crate) fn refuse(code: &str) -> Answer {
    (400, serde_json::json!({ "__type": code, "message": "as it was told to" }))
}

impl Fake {
    pub(crate) async fn start(respond: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let respond: Arc<Respond> = Arc::new(respond);
        let task = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, Arc::clone(&respond)));
            }
        });
        Self { address, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Settings with which it is asked.
    pub(crate) fn config(&self) -> AwsConfig {
        let mut config = AwsConfig::new().with_credentials("key", "secret");
        config.region = Some("eu-central-1".into());
        config.endpoint = Some(format!("http://{}", self.address));
        config
    }
}

/// Answers what comes by a connection, until it is closed.
async fn serve(mut connection: TcpStream, respond: Arc<Respond>) {
    let mut read = Vec::new();
    while let Some((call, asked)) = request(&mut connection, &mut read).await {
        let (status, said) = respond(&call, &asked);
        let said = said.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            said.len()
        );
        if connection.write_all(&[head.as_bytes(), said.as_bytes()].concat()).await.is_err() {
            return;
        }
    }
}

/// The next call's name, and what is asked. What was read beyond it stays.
async fn request(connection: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Value)> {
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(connection, read).await?;
    };
    let head = String::from_utf8(read[..head_end].to_vec()).unwrap();
    let header = |wanted: &str| {
        let named = head.lines().filter_map(|line| line.split_once(':'));
        named
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
            .next()
    };
    let length: usize = header("content-length").unwrap().parse().unwrap();
    while read.len() < head_end + length {
        more(connection, read).await?;
    }
    let asked = serde_json::from_slice(&read[head_end..head_end + length]).unwrap();
    let call = header("x-amz-target").unwrap();
    read.drain(..head_end + length);
    Some((call.rsplit('.').next().unwrap().to_owned(), asked))
}

async fn more(connection: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    match connection.read_buf(read).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}
