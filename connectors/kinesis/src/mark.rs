//! What a stream is told from another one by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stream as it was when something was prepared for it. One that is deleted and made again under its name is another one, and was made at another time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    pub(crate) arn: String,
    /// When it was made, in milliseconds since 1970.
    pub(crate) made_ms: i64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, made at ", self.arn)?;
        match jiff::Timestamp::from_millisecond(self.made_ms) {
            Ok(made) => made.fmt(f),
            Err(_) => write!(f, "{} ms", self.made_ms),
        }
    }
}
