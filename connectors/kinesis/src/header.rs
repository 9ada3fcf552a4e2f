//! What a sink puts before the data of a record in the mode `numbered`, and a source knows repeats by.
//!
//! ```text
//!   CA 'T' 'L' 'K' │ version │ length, 2 bytes │ protobuf │ CRC-32C, 4 bytes │ data
//!                    └─────────── what the checksum is of ┘      and this ─────┘
//! ```
//!
//! Whoever reads the stream without our source leaves out 11 bytes and as many as the length says; numbers are with the highest byte first. In an aggregate each
//! user record has its own, because what is put again may be put together with others.
//!
//! A checksum with the data in it: who makes another record of ours and keeps the header makes a plain one.
//!
//! Records are numbered by a **numbering**: what one writer gives in one attempt. It has an id that nobody else has, and not only a number of its attempt: a log
//! that is restored from a backup counts its attempts and epochs once more from there, and what it writes then is new.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use tidelock::{Epoch, Error, ErrorKind, Generation, JobId, Result, Retry, Uid};

use crate::place::Place;

const MAGIC: [u8; 4] = [0xca, b'T', b'L', b'K'];

const VERSION: u8 = 1;

/// Magic, version and length.
const FRONT_BYTES: usize = MAGIC.len() + 1 + 2;

const CHECKSUM_BYTES: usize = 4;

/// Which numbering: when it began, by the clock of its writer, and a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberingId {
    /// In milliseconds since 1970. It says which of two is older, and never whether they are the same.
    pub(crate) began_ms: u64,
    pub(crate) nonce: u64,
}

impl NumberingId {
    /// One that nobody has.
    pub(crate) fn new() -> Self {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        Self { began_ms: u64::try_from(now_ms).unwrap_or(0), nonce: rand::random() }
    }
}

/// Who put a record, and which of theirs it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) job: JobId,
    pub(crate) uid: Uid,
    pub(crate) generation: Generation,
    pub(crate) numbering: NumberingId,
    /// The first epoch of the numbering. Whatever the job's sink wrote in earlier ones of this generation, in whatever numbering, was acknowledged before
    /// anything of this one was sent.
    pub(crate) since: Epoch,
    /// Which record of the numbering it is. Whoever puts it again gives it the same.
    pub(crate) place: Place,
    /// The stream that it was put into, by the [sum](stream_sum) of its ARN; 0 where that is not said. Whoever copies records into another stream copies their headers, too, and in an order of
    /// its own: there a floor says nothing.
    pub(crate) stream: u32,
    /// All of the numbering before this was acknowledged a while before the record was sent. When it is put again it may be another one.
    pub(crate) floor: Place,
}

/// The header as it is written. A field that is added gets a number of its own, and is left out by who does not know it; what changes the meaning of
/// one gets another version.
#[derive(Clone, PartialEq, prost::Message)]
struct Form {
    #[prost(string, tag = "1")]
    job: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(uint64, tag = "3")]
    generation: u64,
    #[prost(uint64, tag = "4")]
    began_ms: u64,
    #[prost(fixed64, tag = "5")]
    nonce: u64,
    #[prost(uint64, tag = "6")]
    since: u64,
    #[prost(uint64, tag = "7")]
    epoch: u64,
    #[prost(uint64, tag = "8")]
    index: u64,
    #[prost(uint64, tag = "9")]
    floor_epoch: u64,
    #[prost(uint64, tag = "10")]
    floor_index: u64,
    #[prost(fixed32, tag = "11")]
    stream: u32,
}

/// What a header says of the stream with this ARN.
pub(crate) fn stream_sum(arn: &str) -> u32 {
    crc32c::crc32c(arn.as_bytes()).max(1)
}

/// Reads the header of a record, and gives the data behind it. `None`: it has none, and all of it is data.
///
/// # Errors
/// [`ErrorKind::Data`] with the advice to halt where a newer build wrote it: this one cannot tell repeats.
pub(crate) fn open(record: &Bytes) -> Result<Option<(Header, Bytes)>> {
    let Some((version, form, data)) = split(record) else { return Ok(None) };
    if version != VERSION {
        let why = "a record has a header of a newer build, by which repeats are told: use that build to read the stream";
        let error = Error::new(ErrorKind::Data, "read the header of a record", why);
        return Err(error.with_retry(Retry::Halt).with("version", version).with("newest_known", VERSION));
    }
    // With the right checksum nothing else is there but what a sink wrote.
    Ok(Form::decode(form).ok().and_then(header_of).map(|header| (header, data)))
}

/// The version, the protobuf and the data of what has the right checksum.
fn split(record: &Bytes) -> Option<(u8, Bytes, Bytes)> {
    if record.len() < FRONT_BYTES + CHECKSUM_BYTES || !record.starts_with(&MAGIC) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([record[5], record[6]]));
    let (end, data) = (FRONT_BYTES + length, FRONT_BYTES + length + CHECKSUM_BYTES);
    let checksum = record.get(end..data)?;
    let data = record.slice(data..);
    let is_ours = checksum_of(&record[MAGIC.len()..end], &data).to_be_bytes() == *checksum;
    is_ours.then(|| (record[MAGIC.len()], record.slice(FRONT_BYTES..end), data))
}

fn checksum_of(front: &[u8], data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(front), data)
}

fn header_of(form: Form) -> Option<Header> {
    let place = |epoch, index| Place { epoch: Epoch(epoch), index };
    Some(Header {
        job: JobId::new(form.job).ok()?,
        uid: Uid::new(form.uid).ok()?,
        generation: Generation(form.generation),
        numbering: NumberingId { began_ms: form.began_ms, nonce: form.nonce },
        since: Epoch(form.since),
        place: place(form.epoch, form.index),
        floor: place(form.floor_epoch, form.floor_index),
        stream: form.stream,
    })
}

impl Header {
    /// The most bytes that it puts before the data: with two names of 128 bytes, and the longest numbers.
    pub(crate) const BYTES_MAX: usize = 400;

    /// The record that goes to the stream.
    pub(crate) fn before(&self, data: &[u8]) -> Bytes {
        let form = Form {
            job: self.job.as_str().to_owned(),
            uid: self.uid.as_str().to_owned(),
            generation: self.generation.0,
            began_ms: self.numbering.began_ms,
            nonce: self.numbering.nonce,
            since: self.since.0,
            epoch: self.place.epoch.0,
            index: self.place.index,
            floor_epoch: self.floor.epoch.0,
            floor_index: self.floor.index,
            stream: self.stream,
        }
        .encode_to_vec();
        let length = u16::try_from(form.len()).unwrap_or(u16::MAX);
        let mut record = BytesMut::with_capacity(FRONT_BYTES + form.len() + CHECKSUM_BYTES + data.len());
        record.put_slice(&MAGIC);
        record.put_u8(VERSION);
        record.put_u16(length);
        record.put_slice(&form);
        let checksum = checksum_of(&record[MAGIC.len()..], data);
        record.put_u32(checksum);
        record.put_slice(data);
        record.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(numbers: [u64; 8]) -> Header {
        let [generation, began_ms, nonce, since, epoch, index, floor_epoch, floor_index] = numbers;
        Header {
            job: JobId::new("orders").expect("a name"),
            uid: Uid::new("to-kinesis").expect("a name"),
            generation: Generation(generation),
            numbering: NumberingId { began_ms, nonce },
            since: Epoch(since),
            place: Place { epoch: Epoch(epoch), index },
            floor: Place { epoch: Epoch(floor_epoch), index: floor_index },
            stream: 0,
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers in any::<[u64; 8]>(), data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let header = header(numbers);
            let record = header.before(&data);
            prop_assert!(record.len() <= Header::BYTES_MAX + data.len());
            prop_assert_eq!(open(&record).expect("ours"), Some((header, data.into())));
        }

        #[test]
        fn other_bytes_are_data_and_never_a_panic(
            is_like_ours in any::<bool>(), data in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut record = if is_like_ours { MAGIC.to_vec() } else { Vec::new() };
            record.extend(data);
            prop_assert_eq!(open(&record.into()).expect("data"), None);
        }
    }

    #[test]
    fn with_the_longest_names_and_numbers_it_has_the_bytes_that_are_said() {
        let name = "n".repeat(128);
        let names = (JobId::new(&name).expect("a name"), Uid::new(&name).expect("a name"));
        let longest = Header { job: names.0, uid: names.1, stream: u32::MAX, ..header([u64::MAX; 8]) };
        let bytes = longest.before(b"").len();
        assert!((300..=Header::BYTES_MAX).contains(&bytes), "{bytes}");
        assert_eq!(open(&longest.before(b"data")).expect("ours").map(|(header, _)| header), Some(longest));
    }

    /// The bytes of a released build: they are read for ever.
    #[test]
    fn the_form_is_the_one_that_was_released() {
        let golden = include_str!("../tests/golden/header_v1.txt");
        let header = header([1_764_471_600_000, 1_764_471_600_123, 0x0123_4567_89ab_cdef, 7, 9, 300, 9, 250]);
        let record = header.before(b"data");
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.trim_end());
        assert_eq!(open(&record).expect("ours"), Some((header, Bytes::from_static(b"data"))));
    }

    #[test]
    fn what_was_cut_or_changed_is_data() {
        let record = header([1, 2, 3, 4, 5, 6, 7, 8]).before(b"data");
        for end in 0..record.len() {
            assert_eq!(open(&record.slice(..end)).expect("data"), None, "cut at {end}");
        }
        for at in 0..record.len() {
            let mut changed = record.to_vec();
            changed[at] ^= 1;
            assert_eq!(open(&changed.into()).expect("data"), None, "changed at {at}");
        }
    }

    #[test]
    fn a_header_of_a_newer_build_halts_and_is_not_taken_for_data() {
        let record = header([1; 8]).before(b"data");
        let mut newer = record.to_vec();
        newer[MAGIC.len()] = VERSION + 1;
        let end = record.len() - b"data".len() - CHECKSUM_BYTES;
        let checksum = checksum_of(&newer[MAGIC.len()..end], b"data").to_be_bytes();
        newer[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum);
        let error = open(&newer.into()).expect_err("newer");
        assert!(error.retry() == Retry::Halt && error.to_string().contains("version=2"), "{error}");
    }
}
