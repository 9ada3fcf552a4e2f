//! One table: what an object store answers -> our error.
//!
//! ```text
//!   NotFound                                   NotFound     halt      it was there, or must be
//!   AlreadyExists, Precondition, NotModified   Conflict     restart   handled by the callers that expect it
//!   PermissionDenied, Unauthenticated          Auth         halt      a person must give rights
//!   NotSupported, NotImplemented, keys, paths  Config       halt      the store cannot hold a log
//!   io: disk or quota full                     Unavailable  restart   goes on by itself once there is space
//!   io: no right, read-only                    Auth         halt
//!   io: not a folder, no such call             Config       halt
//!   anything else                              Unavailable  restart
//! ```
//!
//! A read changes nothing, so where one of these answers was no more than "unavailable" the advice is to
//! ask again.

use std::error::Error as StdError;
use std::io;

use object_store::Error as StoreError;

use crate::{Error, ErrorKind, Retry};

/// Our error for what the store answered. `object` is the place of what was asked for.
pub(super) fn from_store(operation: &'static str, object: &str, error: StoreError) -> Error {
    let (kind, message) = judge(&error);
    Error::new(kind, operation, message).with("object", object).because(error)
}

/// The same for what only reads or lists.
pub(super) fn from_read(operation: &'static str, object: &str, error: StoreError) -> Error {
    let error = from_store(operation, object, error);
    match error.kind() {
        ErrorKind::Unavailable => error.with_retry(Retry::Retry),
        _ => error,
    }
}

fn judge(error: &StoreError) -> (ErrorKind, &'static str) {
    match error {
        StoreError::NotFound { .. } => (ErrorKind::NotFound, "there is no such object"),
        StoreError::AlreadyExists { .. }
        | StoreError::Precondition { .. }
        | StoreError::NotModified { .. } => (ErrorKind::Conflict, "an object of this name is there already"),
        StoreError::PermissionDenied { .. } => {
            (ErrorKind::Auth, "the store denies access: the credentials need read, write, list and delete")
        }
        StoreError::Unauthenticated { .. } => {
            (ErrorKind::Auth, "the store does not accept the credentials, or none were found")
        }
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => (
            ErrorKind::Config,
            "the store does not offer this operation: use a store with conditional create",
        ),
        StoreError::InvalidPath { .. } => (ErrorKind::Config, "this is no legal name of an object"),
        StoreError::UnknownConfigurationKey { .. } => {
            (ErrorKind::Config, "the store does not know one of its configuration keys")
        }
        other => io_cause(other)
            .map_or((ErrorKind::Unavailable, "the store did not answer as it should"), judge_io),
    }
}

/// Our error for a file operation that we do ourselves.
pub(super) fn from_io(operation: &'static str, object: &str, error: io::Error) -> Error {
    let (kind, message) = judge_io(&error);
    Error::new(kind, operation, message).with("object", object).because(error)
}

fn judge_io(error: &io::Error) -> (ErrorKind, &'static str) {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            (ErrorKind::Unavailable, "the disk is full: free some space, the job then goes on by itself")
        }
        io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, "the disk quota is used up: raise it or free some space")
        }
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::Auth, "access is denied: this user needs to read and write the folder")
        }
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::Auth, "the file system is mounted read-only"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            (ErrorKind::Config, "a file stands where a folder is needed")
        }
        io::ErrorKind::Unsupported => (
            ErrorKind::Config,
            "the file system lacks an operation that the log needs, such as hard links: use another one",
        ),
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no such file or folder"),
        _ => (ErrorKind::Unavailable, "a file could not be read or written"),
    }
}

/// The file error at the root of a store's error, where there is one.
fn io_cause(error: &StoreError) -> Option<&io::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Whether a create was refused because something stands there. Both answers are used for it.
pub(super) fn is_taken(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })
}

/// Whether the store said for certain that there is no such object.
pub(super) fn is_absent(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound { .. })
}
