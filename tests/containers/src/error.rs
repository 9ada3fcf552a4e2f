//! What can go wrong: the message is for whoever reads a failed test.

/// A container that did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {why}")]
pub struct Error {
    operation: String,
    why: String,
}

/// The result of an operation on a container.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(operation: impl Into<String>, why: impl ToString) -> Self {
        Self { operation: operation.into(), why: why.to_string() }
    }
}
