//! Copies records out of librdkafka's memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::native::message::{FetchedHeader, FetchedMessage};
use crate::record::{Header, KafkaRecord};

/// Fields of records are copied into shared pieces of this size, instead of one allocation each.
const PIECE_BYTES: usize = 64 << 10;

/// Names of headers that are remembered, so that each is one allocation and not one for each record.
const NAMES_MAX: usize = 64;

/// Makes copies of the records of one partition.
pub(crate) struct Copies {
    topic: Arc<str>,
    partition: i32,
    piece: BytesMut,
    names: Vec<Arc<str>>,
}

/// A record that is not copied as it stands in the partition.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What can be said of it: names of headers are made text by force.
    pub(crate) record: KafkaRecord,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl Copies {
    pub(crate) fn of(topic: &Arc<str>, partition: i32) -> Self {
        Self { topic: Arc::clone(topic), partition, piece: BytesMut::new(), names: Vec::new() }
    }

    pub(crate) fn record(&mut self, message: &FetchedMessage<'_>) -> Result<KafkaRecord, Box<Unreadable>> {
        let mut why = None;
        let mut headers = Vec::new();
        match message.headers() {
            Ok(found) => {
                headers.reserve_exact(found.len());
                for header in found {
                    why = why.or_else(|| misnamed(&header));
                    let name = self.name(header.name);
                    headers.push(Header { name, value: header.value.map(|value| self.bytes(value)) });
                }
            }
            Err(code) => why = Some(format!("its headers are damaged: {code}")),
        }
        let record = KafkaRecord {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: message.offset(),
            timestamp: message.timestamp(),
            key: message.key().map(|key| self.bytes(key)),
            value: message.payload().map(|value| self.bytes(value)),
            headers,
        };
        match why {
            None => Ok(record),
            Some(why) => Err(Box::new(Unreadable { record, why })),
        }
    }

    fn bytes(&mut self, source: &[u8]) -> Bytes {
        if self.piece.capacity() < source.len() {
            self.piece = BytesMut::with_capacity(PIECE_BYTES.max(source.len()));
        }
        self.piece.extend_from_slice(source);
        self.piece.split().freeze()
    }

    fn name(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(known) = self.names.iter().find(|known| known.as_bytes() == name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = String::from_utf8_lossy(name).into();
        if self.names.len() < NAMES_MAX && new.as_bytes() == name {
            self.names.push(Arc::clone(&new));
        }
        new
    }
}

/// Why a header's name cannot be passed on as it is.
fn misnamed(header: &FetchedHeader<'_>) -> Option<String> {
    let name = header.name.escape_ascii();
    if header.is_cut {
        return Some(format!("the name of a header has a zero byte, after \"{name}\""));
    }
    let is_text = std::str::from_utf8(header.name).is_ok();
    (!is_text).then(|| format!("the name of a header is not UTF-8: \"{name}\""))
}
