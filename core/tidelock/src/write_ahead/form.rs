//! How the records of a chunk are stored: as the JSON array that an entry would have, compressed.
//!
//! JSON, because that is what [`Versioned::upgrade`](crate::Versioned::upgrade) reads, and what every record was read back from
//! before it was promised (I7). Compressed, because rows say the names of their columns again and again.

use bytes::Bytes;

use crate::{Error, ErrorKind, Result};

/// The bytes of a chunk.
///
/// # Errors
/// [`ErrorKind::Data`] where it is more than any chunk may be.
pub(super) fn pack(json: &[u8]) -> Result<Bytes> {
    let packed = snap::raw::Encoder::new().compress_vec(json).map_err(|error| {
        Error::new(ErrorKind::Data, "write", "a record is too large to be stored: filter such records")
            .with("bytes", json.len())
            .because(error)
    })?;
    Ok(packed.into())
}

/// The JSON of a chunk, which is known to have so many bytes.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it has not.
pub(super) fn unpack(packed: &[u8], json_bytes: u64) -> Result<Vec<u8>> {
    let damaged = |why: &str| Error::new(ErrorKind::Corrupt, "read prepared records", why);
    let length = snap::raw::decompress_len(packed)
        .map_err(|error| damaged("a chunk of records does not begin as one").because(error))?;
    // Compared before that much memory is asked for.
    if length as u64 != json_bytes {
        return Err(damaged("a chunk of records is not as long as its committable says")
            .with("bytes_expected", json_bytes)
            .with("bytes_found", length));
    }
    snap::raw::Decoder::new()
        .decompress_vec(packed)
        .map_err(|error| damaged("a chunk of records cannot be read").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_nothing_else() {
        let json = br#"[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]"#;
        let packed = pack(json).unwrap();
        assert!(packed.len() < json.len());
        assert_eq!(unpack(&packed, json.len() as u64).unwrap(), json);
        assert_eq!(unpack(&packed, 7).unwrap_err().kind(), ErrorKind::Corrupt);
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length], json.len() as u64).is_err(), "cut at {length}");
        }
    }
}
