//! Large segments are compressed before they become chunks: numbers of a fixed width and keys that are alike make half of them.
//!
//! ```text
//!   packed = u8 = 2, a segment of version 1 in Snappy's raw form
//! ```
//!
//! What became no smaller stays as it was, and so does what is larger than Snappy takes, some 3.6 GB.

use bytes::Bytes;
use tidelock::{Error, ErrorKind, Result};

/// In the place of a segment's version.
const PACKED: u8 = 2;

/// A segment as it is stored.
pub(super) fn pack(segment: Bytes) -> Bytes {
    let mut packed = vec![PACKED; 1 + snap::raw::max_compress_len(segment.len())];
    match snap::raw::Encoder::new().compress(&segment, &mut packed[1..]) {
        Ok(length) if length + 1 < segment.len() => {
            packed.truncate(length + 1);
            packed.shrink_to_fit();
            packed.into()
        }
        _ => segment,
    }
}

/// The segment that was stored. Its bytes were verified when they were read.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it is none.
pub(super) fn unpack(stored: Bytes) -> Result<Bytes> {
    let Some((&PACKED, packed)) = stored.split_first() else { return Ok(stored) };
    let unpacked = snap::raw::Decoder::new().decompress_vec(packed);
    unpacked.map(Bytes::from).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "restore", "a segment of keyed state is damaged").because(error)
    })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::super::segment::{Encoder, decode, entries};
    use super::*;

    fn counts(keys: u64) -> Bytes {
        let mut encoder = Encoder::new();
        for key in 0..keys {
            encoder.push((key % 128) as u16, &key, Some((1, &(key, 7_u64)))).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn counts_are_stored_in_half_of_their_size_and_read_back() {
        let segment = counts(10_000);
        let packed = pack(segment.clone());
        assert!(packed.len() < segment.len() / 2, "{} of {}", packed.len(), segment.len());
        assert_eq!(unpack(packed.clone()).unwrap(), segment);
        for length in 2..100 {
            assert_eq!(unpack(packed.slice(..length)).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn what_becomes_no_smaller_stays_as_it_was() {
        let mut noise = vec![0; 100_000];
        StdRng::seed_from_u64(7).fill(&mut noise[..]);
        let mut encoder = Encoder::new();
        encoder.push(3, &1_u64, Some((1, &noise))).unwrap();
        let segment = encoder.finish().unwrap();
        assert_eq!(pack(segment.clone()), segment);
        assert_eq!(unpack(segment.clone()).unwrap(), segment);
    }

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_is_read() {
        let golden = unpack(Bytes::from_static(include_bytes!("golden/packed_v2.bin"))).unwrap();
        assert_eq!(golden, counts(100));
        let first = entries(&golden).unwrap().next().unwrap().unwrap();
        assert_eq!(decode::<(u64, u64)>(first.value.unwrap().bytes).unwrap(), (0, 7));
    }
}
