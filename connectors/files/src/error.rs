//! One table for each foreign error: what it is, and whether trying again helps.

use std::io;
use std::path::Path;

use tidelock::{Error, ErrorKind, Retry};

/// The error of a local file operation, naming the path.
pub(crate) fn local(operation: &'static str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, retry, message) = match error.kind() {
        Io::NotFound => (ErrorKind::NotFound, Retry::Halt, "there is no such file or folder".into()),
        Io::PermissionDenied => (ErrorKind::Auth, Retry::Halt, "permission denied".into()),
        Io::ReadOnlyFilesystem => (ErrorKind::Auth, Retry::Halt, "the file system is read-only".into()),
        Io::NotADirectory | Io::AlreadyExists => {
            (ErrorKind::Config, Retry::Halt, format!("a file stands where a folder is needed: {error}"))
        }
        Io::IsADirectory => (ErrorKind::Config, Retry::Halt, "a folder stands where a file is needed".into()),
        Io::CrossesDevices => (
            ErrorKind::Config,
            Retry::Halt,
            "the folder is on another file system or mount than the sink's hidden folder, and a file cannot become visible \
             there in one step"
                .into(),
        ),
        // Space may be made while the job waits to be started again, so a restart can help.
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            (ErrorKind::Unavailable, Retry::Restart, format!("there is no space left: {error}"))
        }
        _ => (ErrorKind::Other, Retry::Restart, error.to_string()),
    };
    Error::new(kind, operation, message).with_retry(retry).with("path", path.display()).because(error)
}

/// The error of an object store, naming the object.
pub(crate) fn store(operation: &'static str, object: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let (kind, retry, message) = match &error {
        Store::NotFound { .. } => (ErrorKind::NotFound, Retry::Halt, "there is no such object"),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            (ErrorKind::Auth, Retry::Halt, "the object store refuses access")
        }
        Store::Precondition { .. } | Store::AlreadyExists { .. } | Store::NotModified { .. } => {
            (ErrorKind::Conflict, Retry::Restart, "the object is not in the state that the request asks for")
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } | Store::UnknownConfigurationKey { .. } => {
            (ErrorKind::Config, Retry::Halt, "the object store cannot do this")
        }
        Store::InvalidPath { .. } => (ErrorKind::Config, Retry::Halt, "the object store refuses this name"),
        _ => (ErrorKind::Unavailable, Retry::Restart, "the object store failed or did not answer"),
    };
    Error::new(kind, operation, message).with_retry(retry).with("object", object).because(error)
}

/// A setting that cannot be.
pub(crate) fn setting(setting: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure files", message).with("setting", setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_halts_and_space_may_come_back() {
        let classify = |kind| {
            let error = local("write", Path::new("/out/x"), io::Error::from(kind));
            assert!(error.to_string().contains("path=/out/x"), "{error}");
            (error.kind(), error.retry())
        };
        assert_eq!(classify(io::ErrorKind::PermissionDenied), (ErrorKind::Auth, Retry::Halt));
        assert_eq!(classify(io::ErrorKind::ReadOnlyFilesystem), (ErrorKind::Auth, Retry::Halt));
        assert_eq!(classify(io::ErrorKind::NotADirectory), (ErrorKind::Config, Retry::Halt));
        assert_eq!(classify(io::ErrorKind::CrossesDevices), (ErrorKind::Config, Retry::Halt));
        assert_eq!(classify(io::ErrorKind::NotFound), (ErrorKind::NotFound, Retry::Halt));
        assert_eq!(classify(io::ErrorKind::StorageFull), (ErrorKind::Unavailable, Retry::Restart));
        assert_eq!(classify(io::ErrorKind::Interrupted), (ErrorKind::Other, Retry::Restart));
    }
}
