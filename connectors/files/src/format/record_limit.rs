//! Bounds how much is read for one record, so that a quote which is never closed cannot fill the memory.

use std::io::{self, Read};

use tidelock::{Error, ErrorKind};

/// A reader that fails after `limit` bytes without a call of [`RecordLimit::next_record`].
pub(crate) struct RecordLimit<R> {
    inner: R,
    limit: usize,
    left: usize,
}

impl<R: Read> RecordLimit<R> {
    /// `limit` is in bytes. What the buffer above this reader holds already does not count, so a record
    /// may be longer by the size of that buffer.
    pub(crate) fn new(inner: R, limit: usize) -> Self {
        Self { inner, limit, left: limit }
    }

    /// A record begins.
    pub(crate) fn next_record(&mut self) {
        self.left = self.limit;
    }
}

impl<R: Read> Read for RecordLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(too_long(self.limit)));
        }
        let read = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

/// The error of a record without an end.
pub(crate) fn too_long(limit: usize) -> Error {
    Error::new(
        ErrorKind::Data,
        "read a record",
        "the record is longer than record_bytes_max allows: a quote that is never closed, or a file that is none of text",
    )
    .with("record_bytes_max", limit)
}
