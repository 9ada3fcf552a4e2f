//! The small words of the settings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which kind of database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DatabaseKind {
    /// PostgreSQL 12 or newer.
    Postgres,
    /// MySQL 8 or newer, and MariaDB 10.5 or newer.
    #[serde(alias = "mariadb")]
    MySql,
    /// SQLite, in a file.
    Sqlite,
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        })
    }
}

/// Whether a connection is encrypted, and whether the server must prove who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Tls {
    /// `verify` for every server but those on this machine (a socket, `localhost`, a loopback address), and `off` for these.
    #[default]
    Auto,
    /// Encrypted, and the server's certificate is of its name and signed by somebody whom we trust.
    Verify,
    /// Never encrypted.
    Off,
}

/// A text that is never printed, and not stored with the settings.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text. Mind where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "***" })
    }
}
