//! What the proxy knows of Thrift's binary protocol without frames: where a message ends, and which answer belongs to a request.
//!
//! A message has no length. Its end is where its one struct ends, so all its fields are walked over.

use std::io;

use tidelock_processes::Wire;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// No message of a test comes near this.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How many structs, maps and lists may be within each other; HBase has five.
const DEPTH_MAX: usize = 32;

/// Three of the four bytes with which a message begins; the last one says whether it is a call.
const VERSION: [u8; 3] = [0x80, 1, 0];

const CALL: u8 = 1;

#[derive(Debug)]
pub(crate) struct HbaseWire;

impl HbaseWire {
    /// The type of the first field behind the number.
    pub(crate) fn first_field(message: &[u8]) -> Option<u8> {
        message.get(number_at(message)? + 4).copied()
    }
}

impl Wire for HbaseWire {
    async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
        let mut message = Message { from, bytes: Vec::new() };
        if message.take(VERSION.len() + 1).await?[..VERSION.len()] != VERSION {
            return Err(wrong("not the binary protocol"));
        }
        message.text().await?;
        message.take(4).await?;
        message.structure().await?;
        Ok(message.bytes)
    }

    /// A client has a connection for each request that is under way, so its number is enough.
    fn request(message: &[u8]) -> Option<Vec<u8>> {
        number(message).filter(|_| message[VERSION.len()] == CALL)
    }

    fn answer(message: &[u8]) -> Option<Vec<u8>> {
        number(message)
    }
}

/// Which message of its connection it is.
fn number(message: &[u8]) -> Option<Vec<u8>> {
    let at = number_at(message)?;
    message.get(at..at + 4).map(<[u8]>::to_vec)
}

/// It stands behind the name of the call.
fn number_at(message: &[u8]) -> Option<usize> {
    let length = message.get(VERSION.len() + 1..)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some(VERSION.len() + 1 + 4 + length)
}

/// A message as far as it has come.
struct Message<'a> {
    from: &'a mut OwnedReadHalf,
    bytes: Vec<u8>,
}

/// What is still to be walked over.
#[derive(Clone, Copy)]
enum Rest {
    Fields,
    /// So many elements of a list, or keys and values of a map.
    Elements([u8; 2], u32),
    Value(u8),
}

impl Message<'_> {
    async fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let from = self.bytes.len();
        if from + count > MESSAGE_BYTES_MAX {
            return Err(wrong("the message has no end"));
        }
        self.bytes.resize(from + count, 0);
        self.from.read_exact(&mut self.bytes[from..]).await?;
        Ok(&self.bytes[from..])
    }

    async fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1).await?[0])
    }

    async fn count(&mut self) -> io::Result<u32> {
        let bytes = self.take(4).await?.first_chunk::<4>().copied();
        Ok(u32::from_be_bytes(bytes.expect("invariant: four bytes were taken")))
    }

    async fn text(&mut self) -> io::Result<()> {
        let length = self.count().await?;
        self.take(usize::try_from(length).map_err(io::Error::other)?).await.map(drop)
    }

    /// To the end of a struct that begins here.
    async fn structure(&mut self) -> io::Result<()> {
        let mut rest = vec![Rest::Fields];
        while let Some(next) = rest.pop() {
            match next {
                Rest::Fields => {
                    let kind = self.byte().await?;
                    if kind != 0 {
                        self.take(2).await?;
                        rest.extend([Rest::Fields, Rest::Value(kind)]);
                    }
                }
                Rest::Elements(_, 0) => {}
                Rest::Elements([first, second], more) => {
                    rest.extend([Rest::Elements([second, first], more - 1), Rest::Value(first)]);
                }
                Rest::Value(kind) => rest.extend(self.value(kind).await?),
            }
            if rest.len() > 2 * DEPTH_MAX {
                return Err(wrong("the message is too deep"));
            }
        }
        Ok(())
    }

    /// Over a value, or to what it is made of.
    async fn value(&mut self, kind: u8) -> io::Result<Option<Rest>> {
        match kind {
            2 | 3 => self.take(1).await.map(|_| None),
            6 => self.take(2).await.map(|_| None),
            8 => self.take(4).await.map(|_| None),
            4 | 10 => self.take(8).await.map(|_| None),
            11 => self.text().await.map(|()| None),
            12 => Ok(Some(Rest::Fields)),
            13 => {
                let kinds = [self.byte().await?, self.byte().await?];
                let count = self.count().await?;
                Ok(Some(Rest::Elements(kinds, count.saturating_mul(2))))
            }
            14 | 15 => {
                let kind = self.byte().await?;
                Ok(Some(Rest::Elements([kind; 2], self.count().await?)))
            }
            other => Err(wrong(&format!("there is no type {other}"))),
        }
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
