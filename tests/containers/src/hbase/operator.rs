//! What the image's operator is asked for over HTTP: what a person would do in HBase's shell, without one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Error, Result};

/// Bounds the longest of its tasks, which is to compact, on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(120);

const HEAD_END: &str = "\r\n\r\n";

/// A question under construction: what to do, and with what.
#[derive(Debug)]
pub(super) struct Question(String);

impl Question {
    pub(super) fn new(operation: &str) -> Self {
        Self(format!("/{operation}?"))
    }

    /// To which table it applies.
    pub(super) fn of(operation: &str, table: &str) -> Self {
        Self::new(operation).with("table", table)
    }

    /// Text without characters that mean something in a URL.
    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.0.push_str(&format!("{name}={text}&"));
        self
    }

    pub(super) fn with_bytes(self, name: &str, bytes: &[u8]) -> Self {
        let text = URL_SAFE_NO_PAD.encode(bytes);
        self.with(name, &text)
    }
}

/// Asks, and gives what was answered when it is done.
pub(super) async fn ask(address: &str, question: &Question) -> Result<String> {
    let wrong = |why: String| Error::new(format!("ask HBase's operator for {}", question.0), why);
    let answer = timeout(ANSWER_MAX, exchange(address, question)).await;
    let answer = answer.map_err(|_| wrong(format!("no answer in {} s", ANSWER_MAX.as_secs())))?;
    let answer = answer.map_err(|error| wrong(error.to_string()))?;
    let (head, body) = answer.split_once(HEAD_END).ok_or_else(|| wrong(format!("'{answer}'")))?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(wrong(body.to_owned())) }
}

async fn exchange(address: &str, question: &Question) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // The older version of the protocol: the answer ends with the connection.
    stream.write_all(format!("GET {} HTTP/1.0{HEAD_END}", question.0).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Bytes as they stand in an answer.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| Error::new(format!("read '{text}' of HBase's operator"), error))
}
