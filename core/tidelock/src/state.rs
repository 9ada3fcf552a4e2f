//! State that is stored: always with its version, always readable by a later build.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Error, ErrorKind, Result};

/// A type that snapshots store: splits, committables, operator state.
///
/// The stored form is JSON, so that a person can read a snapshot and the `tidelock` command can show
/// it without knowing the type. Large binary content belongs into a chunk, not into a `Versioned`.
///
/// # Contract
/// - `VERSION` changes whenever the stored form does, also when a field is added.
/// - `upgrade` reads every version that was ever released; a golden file in the connector's tests
///   proves it.
/// - No secret and no live handle is part of it.
pub trait Versioned: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The version that this build writes.
    const VERSION: u16;

    /// Reads the stored form of an older version.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a version that was never released: see [`unknown_version`].
    fn upgrade(version: u16, json: &str) -> Result<Self>;
}

/// The error that [`Versioned::upgrade`] returns for a version that it does not know.
pub fn unknown_version<T>(version: u16) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "restore",
        "this build does not know this version of stored state; use the build that wrote it, or a newer one",
    )
    .with("type", std::any::type_name::<T>())
    .with("version", version)
}

/// Versioned state as it is stored: what coordinator, snapshots and command line see of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Stored {
    /// The version of the type that wrote it.
    #[serde(rename = "v")]
    pub version: u16,
    /// Its stored form.
    pub json: Box<RawValue>,
}

impl Stored {
    /// Stores a value.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where the type's own `Serialize` fails.
    pub fn encode<T: Versioned>(value: &T) -> Result<Self> {
        let json = serde_json::value::to_raw_value(value).map_err(|error| {
            Error::new(ErrorKind::Bug, "store", "a value cannot be stored as JSON")
                .with("type", std::any::type_name::<T>())
                .because(error)
        })?;
        Ok(Self { version: T::VERSION, json })
    }

    /// Reads the value back, upgrading an older version.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the bytes are not what the version says, or the version is unknown.
    pub fn decode<T: Versioned>(&self) -> Result<T> {
        if self.version != T::VERSION {
            return T::upgrade(self.version, self.json.get());
        }
        from_json(self.json.get())
    }
}

/// Reads JSON of a known type: the usual body of [`Versioned::upgrade`] and the one place that words
/// the error.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where the text is not of that type.
pub fn from_json<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "restore", "stored state does not have the form that its version says")
            .with("type", std::any::type_name::<T>())
            .because(error)
    })
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.json.get() == other.json.get()
    }
}

impl Eq for Stored {}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{} {}", self.version, self.json.get())
    }
}
