//! Errors of this crate beside those that Kinesis answers with, which are read by [`tidelock_aws::failed`].

use tidelock::{Error, ErrorKind};

/// The error of a setting that cannot work.
pub(crate) fn setting(name: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure Kinesis", why).with("setting", name)
}
