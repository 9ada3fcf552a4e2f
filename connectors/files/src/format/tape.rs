//! The bytes of the CSV record at hand, kept while a library reads them.
//!
//! ```text
//!   file ──> Tape ──> the library's buffer ──> fields
//!             └ the record as it stands in the file: are its quotes right? if not, where does its line end?
//! ```
//!
//! The library decides neither what is a good record nor how much memory a bad one may take: what it is given
//! is at hand here until the next record begins, and can be given to it once more from any place in it.

use std::io::{self, Read, Seek, SeekFrom};

/// A mark that some editors put at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How much is read at once to find the end of a line that nobody wants.
const SKIP_BYTES: usize = 64 << 10;

/// How much is read at once to look ahead.
const AHEAD_BYTES: usize = 256 << 10;

/// A reader that remembers the record at hand. Places are byte offsets in the decompressed content.
pub(crate) struct Tape<R> {
    inner: R,
    limit: usize,
    /// What was read from `from` on.
    kept: Vec<u8>,
    from: u64,
    /// How many of the kept bytes are handed out.
    out: usize,
    /// Where the record at hand begins: nothing before it is needed.
    record: u64,
    /// Nothing was handed out since the reader above began anew.
    fresh: bool,
    /// Nothing behind this place is handed out before what is in front of it was.
    until: Option<u64>,
}

/// A line that was taken away.
pub(crate) struct Line {
    /// Its bytes with its ending; of a very long one the first.
    pub(crate) bytes: Vec<u8>,
    /// The place after it.
    pub(crate) end: u64,
    /// Whether it ends with a line feed: of one that ends in CR LF, the second is yet to come.
    pub(crate) ends: bool,
}

/// The error inside an [`io::Error`] where a record has no end within the limit.
#[derive(Debug)]
pub(crate) struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the record is too long")
    }
}

impl std::error::Error for TooLong {}

impl<R: Read> Tape<R> {
    /// Remembers what `inner` gives, which stands at `place`. A record has at most `limit` bytes.
    pub(crate) fn new(inner: R, place: u64, limit: usize) -> Self {
        Self { inner, limit, kept: Vec::new(), from: place, out: 0, record: place, fresh: true, until: None }
    }

    /// Passes over a byte order mark at the beginning of the content. Returns where the rest begins.
    pub(crate) fn skip_mark(&mut self) -> io::Result<u64> {
        (&mut self.inner).take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut self.kept)?;
        if self.kept == BYTE_ORDER_MARK {
            self.kept.clear();
            self.from += BYTE_ORDER_MARK.len() as u64;
            self.record = self.from;
        }
        Ok(self.from)
    }

    /// A record begins at `place`.
    pub(crate) fn begin_record(&mut self, place: u64) {
        self.record = place;
    }

    /// The place behind what is kept.
    pub(crate) fn end(&self) -> u64 {
        self.from + self.kept.len() as u64
    }

    /// What is kept from `place` on; more is read where that is nothing, and at the end of the content it is nothing.
    pub(crate) fn ahead(&mut self, place: u64) -> io::Result<&[u8]> {
        if self.index(place) == self.kept.len() {
            let passed = usize::try_from(self.record - self.from).unwrap_or(usize::MAX).min(self.out);
            self.kept.drain(..passed);
            self.from += passed as u64;
            self.out -= passed;
            (&mut self.inner).take(AHEAD_BYTES as u64).read_to_end(&mut self.kept)?;
        }
        Ok(&self.kept[self.index(place)..])
    }

    /// Hands out what stands before `place` by itself, so that nothing behind it is read in vain.
    pub(crate) fn hand_out_until(&mut self, place: u64) {
        self.until = Some(place);
    }

    /// What stands between two places in the record at hand.
    pub(crate) fn between(&self, from: u64, to: u64) -> &[u8] {
        &self.kept[self.index(from)..self.index(to)]
    }

    /// Takes the line that begins at `place`, in the record at hand.
    pub(crate) fn take_line(&mut self, place: u64) -> io::Result<Line> {
        let begin = self.index(place);
        let end_of_line = |bytes: &[u8]| bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        if let Some(length) = end_of_line(&self.kept[begin..]) {
            let bytes = self.kept[begin..=begin + length].to_vec();
            let ends = self.kept[begin + length] == b'\n';
            return Ok(Line { bytes, end: place + length as u64 + 1, ends });
        }
        let mut bytes = self.kept.split_off(begin);
        let mut end = place + bytes.len() as u64;
        bytes.truncate(self.limit);
        loop {
            // Nobody wants the rest of the line: what is kept begins anew, block by block.
            self.kept.clear();
            self.from = end;
            (&mut self.inner).take(SKIP_BYTES as u64).read_to_end(&mut self.kept)?;
            if self.kept.is_empty() {
                return Ok(Line { bytes, end, ends: false });
            }
            if let Some(length) = end_of_line(&self.kept) {
                let ends = self.kept[length] == b'\n';
                return Ok(Line { bytes, end: end + length as u64 + 1, ends });
            }
            end += self.kept.len() as u64;
        }
    }

    fn index(&self, place: u64) -> usize {
        let index = place.checked_sub(self.from).and_then(|index| usize::try_from(index).ok());
        index
            .filter(|index| *index <= self.kept.len())
            .expect("invariant: the place is in the record at hand")
    }
}

impl<R: Read> Read for Tape<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The library takes EF BB BF at the beginning of what it is given for a byte order mark, also where
        // reading goes on in the middle of a file. It does not if it gets the first byte alone.
        let wanted = if std::mem::take(&mut self.fresh) { buffer.len().min(1) } else { buffer.len() };
        let buffer = &mut buffer[..wanted];
        if self.out == self.kept.len() {
            let passed = usize::try_from(self.record - self.from).unwrap_or(usize::MAX).min(self.kept.len());
            self.kept.drain(..passed);
            self.from += passed as u64;
            self.out = self.kept.len();
            if self.kept.len() > self.limit {
                return Err(io::Error::other(TooLong));
            }
            let read = self.inner.read(buffer)?;
            self.kept.extend_from_slice(&buffer[..read]);
            self.out = self.kept.len();
            return Ok(read);
        }
        let mut left = &self.kept[self.out..];
        if let Some(until) = self.until {
            let bytes = until.saturating_sub(self.from + self.out as u64);
            match usize::try_from(bytes).unwrap_or(usize::MAX) {
                0 => self.until = None,
                bytes => left = &left[..bytes.min(left.len())],
            }
        }
        let read = left.len().min(buffer.len());
        buffer[..read].copy_from_slice(&left[..read]);
        self.out += read;
        Ok(read)
    }
}

/// To a place in the record at hand, which is all that [`Tape::take_line`] and its caller ask for.
impl<R: Read> Seek for Tape<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(place) = to else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a tape is wound to a place only"));
        };
        self.out = self.index(place);
        self.record = place;
        self.fresh = true;
        self.until = None;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_and_reading_goes_on_behind_it_however_long_it_is() {
        for line_bytes in [1, 10, 100, 200_000] {
            let content = [b"skip\n".to_vec(), vec![b'x'; line_bytes], b"\nrest".to_vec()].concat();
            let mut tape = Tape::new(&*content, 7, 50);
            let mut five = [0; 5];
            tape.read_exact(&mut five).unwrap();
            tape.begin_record(12);
            let mut some = [0; 8];
            let _ = tape.read(&mut some).unwrap();
            let line = tape.take_line(12).unwrap();
            assert!(line.ends && line.bytes.starts_with(b"x"), "{line_bytes}");
            assert_eq!(line.end, 12 + line_bytes as u64 + 1);
            tape.seek(SeekFrom::Start(line.end)).unwrap();
            let mut rest = String::new();
            tape.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "rest", "{line_bytes}");
        }
    }

    #[test]
    fn a_record_without_an_end_is_an_error_at_its_limit() {
        let mut tape = Tape::new(io::repeat(b'x'), 0, 100);
        let error = io::copy(&mut tape, &mut io::sink()).unwrap_err();
        assert!(error.downcast::<TooLong>().is_ok());
    }
}
