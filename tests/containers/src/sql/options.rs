//! What a server can be asked to be.

use std::path::{Path, PathBuf};

use super::Database;
use crate::certificates::LOCAL;

/// How to start a [`SqlServer`](crate::SqlServer); by default without TLS, on a disk, and as its makers ship it, with
/// little memory. On `PostgreSQL` transactions can be prepared.
#[derive(Debug, Clone)]
pub struct SqlOptions {
    pub(super) database: Database,
    pub(super) settings: Vec<(String, String)>,
    /// The names that the server's certificate is for.
    pub(super) tls: Option<Vec<String>>,
    pub(super) memory_bytes: Option<i64>,
    pub(super) folder: Option<PathBuf>,
}

impl SqlOptions {
    /// A server of this kind.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database, settings: Vec::new(), tls: None, memory_bytes: None, folder: None }
    }

    /// A setting of the server, such as `wait_timeout` or `max_prepared_transactions`.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// TLS with fresh certificates, and no other way in.
    #[must_use]
    pub fn with_tls(self) -> Self {
        self.with_tls_of(&LOCAL)
    }

    /// The same with a certificate for these names, which need not be its own.
    #[must_use]
    pub fn with_tls_of(mut self, names: &[&str]) -> Self {
        self.tls = Some(names.iter().map(|&name| name.to_owned()).collect());
        self
    }

    /// Keeps its data in so many bytes of memory, and not one more: a disk that can be filled. A server that is
    /// stopped or killed has lost it.
    #[must_use]
    pub fn with_data_in_memory(mut self, bytes: i64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Keeps its data in a folder of this machine, which outlives it: on a small disk, say, that a test fills. The engine must
    /// run on this machine.
    #[must_use]
    pub fn with_data_in(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }
}
