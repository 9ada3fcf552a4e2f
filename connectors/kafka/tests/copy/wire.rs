//! What the proxy knows of Kafka's protocol: which requests commit.

use std::io;

use tidelock_processes::Wire;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// `EndTxn`: the first two bytes of a request say what it asks for, two more in which version, and four more
/// are its number, with which the answer begins. The transactional id in it begins with the name of the job.
const END_TXN: i16 = 26;

/// The control client, which commits, speaks a newer version of it than librdkafka, which only finds out that
/// the commit is done and must not be held up by us.
const VERSION_MIN: i16 = 2;

/// No message comes near this.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Before each message stands its length.
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
pub(crate) struct KafkaWire;

impl Wire for KafkaWire {
    async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
        let told = from.read_i32().await?;
        let length = usize::try_from(told).map_err(io::Error::other)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut message = told.to_be_bytes().to_vec();
        message.resize(LENGTH_BYTES + length, 0);
        from.read_exact(&mut message[LENGTH_BYTES..]).await?;
        Ok(message)
    }

    /// The number of a request that the control client ends a transaction with.
    fn request(message: &[u8]) -> Option<Vec<u8>> {
        let (key, rest) = message.get(LENGTH_BYTES..)?.split_first_chunk::<2>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let is_commit = i16::from_be_bytes(*key) == END_TXN && i16::from_be_bytes(*version) >= VERSION_MIN;
        rest.first_chunk::<4>().filter(|_| is_commit).map(|number| number.to_vec())
    }

    fn answer(message: &[u8]) -> Option<Vec<u8>> {
        message.get(LENGTH_BYTES..LENGTH_BYTES + 4).map(<[u8]>::to_vec)
    }
}
