//! How a command ends when it does not succeed.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; nothing is wrong |
//! | 1 | the answer is no: damage was found, snapshots differ, or what was asked is refused |
//! | 2 | wrong usage of the command |
//! | 3 | could not find out: the place is not there, denies access, or does not answer |

use std::error::Error as _;
use std::fmt;
use std::process::ExitCode;

use tidelock::{Error, ErrorKind};

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not succeed, for people, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// The answer is no. The text says what to do; empty where the output has said it already.
    pub(crate) fn no(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// It is not known.
    pub(crate) fn unknown(text: impl Into<String>) -> Self {
        Self { code: 3, text: text.into() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use ErrorKind as K;
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        match error.kind() {
            K::Corrupt | K::Conflict | K::Expired | K::Fenced | K::Config => Self::no(text),
            _ => Self::unknown(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() { Ok(()) } else { writeln!(f, "tidelock: {}", self.text) }
    }
}
