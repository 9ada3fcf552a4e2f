//! What a parser finds.

/// What a parser found next.
pub(crate) enum Next<T> {
    /// A record.
    Record(T),
    /// Bytes that are no record of the type. The parser stands after them.
    Bad(BadRecord),
    /// The end of the file.
    End,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Where it begins: a byte offset in the decompressed content.
    pub(crate) offset: u64,
    /// The number of its first line, from 1; `None` where reading went on from a position that does not
    /// know it.
    pub(crate) line: Option<u64>,
    /// Why it cannot be read.
    pub(crate) reason: String,
    /// The record as it stands in the file; of one that is too long, its beginning.
    pub(crate) bytes: Vec<u8>,
}

/// Why a record without an end is bad: a rule on bytes alone, so that it is the same wherever reading began.
pub(crate) fn too_long(limit: usize) -> String {
    format!(
        "the record is longer than record_bytes_max={limit} allows: a line without an end, a quote that is never \
         closed, or a file that is none of text"
    )
}
