//! Which store a URL means.
//!
//! Credentials and options of S3, GCS and Azure come from the environment, by the names that their own
//! tools use; a URL carries none.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

use crate::{Error, ErrorKind, Result};

use super::error::{from_io, from_store};

/// A folder in a store.
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// What a person calls it.
    pub(super) name: String,
    /// The folder, where it is a local one.
    pub(super) local: Option<PathBuf>,
}

/// Whether a local folder that does not exist is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Refuse,
}

const OPERATION: &str = "open the store";

/// Opens a local path or a URL. Nothing is asked of a remote store yet.
pub(super) async fn open(url: &str, missing: Missing) -> Result<Place> {
    if url.trim().is_empty() {
        return Err(refuse(
            url,
            "an empty name is no place: give a folder, or a URL such as s3://bucket/folder",
        ));
    }
    if !url.contains("://") {
        return open_local(PathBuf::from(url), missing).await;
    }
    let parsed = Url::parse(url).map_err(|error| refuse(url, "this is not a URL").because(error))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refuse("", "a URL must not carry credentials: they are taken from the environment"));
    }
    match parsed.scheme() {
        "file" => match parsed.to_file_path() {
            Ok(path) => open_local(path, missing).await,
            Err(()) => {
                Err(refuse(url, "this file:// URL is not a local path: it has the form file:///folder"))
            }
        },
        "s3" | "s3a" => open_s3(url, &parsed),
        "gs" => open_gcs(url, &parsed),
        "az" | "azure" | "abfs" | "abfss" | "adl" => open_azure(url, &parsed),
        _ => Err(refuse(url, "no store has this scheme: use a local path, file://, s3://, gs:// or az://")),
    }
}

fn refuse(url: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, OPERATION, why).with("url", url)
}

async fn open_local(path: PathBuf, missing: Missing) -> Result<Place> {
    // Opening touches the disk: off the async thread, like the store's own work.
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(move || local(&path, missing)).await.map_err(|error| {
            Error::new(ErrorKind::Other, OPERATION, "opening was interrupted").because(error)
        })?,
        Err(_) => local(&path, missing),
    }
}

fn local(path: &FilePath, missing: Missing) -> Result<Place> {
    let name = path.display().to_string();
    let path = std::path::absolute(path).map_err(|error| from_io(OPERATION, &name, error))?;
    match missing {
        Missing::Create => {
            create_folder(&path).map_err(|error| from_io("create the folder", &name, error))?
        }
        Missing::Refuse if !path.is_dir() => {
            return Err(
                Error::new(ErrorKind::NotFound, OPERATION, "there is no such folder").with("folder", name)
            );
        }
        Missing::Refuse => {}
    }
    let store =
        LocalFileSystem::new_with_prefix(&path).map_err(|error| from_store(OPERATION, &name, error))?;
    let store = Arc::new(store.with_fsync(true));
    Ok(Place { store, root: Path::ROOT, name, local: Some(path) })
}

/// Creates a folder and all above it, each durable: an entry in a folder that a power failure takes away
/// is not durable either. What is stored may hold users' records in clear, so nobody else may enter a folder
/// that we make; one that somebody made keeps the rights that it was given.
pub(super) fn create_folder(path: &FilePath) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    match private_folder().create(path) {
        // Another process was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    match path.parent() {
        Some(parent) if cfg!(unix) => std::fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn private_folder() -> std::fs::DirBuilder {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
fn remote(url: &str, parsed: &Url, built: object_store::Result<impl ObjectStore>) -> Result<Place> {
    let store = built.map_err(|error| {
        refuse(url, "the store's settings are not complete or contradict each other").because(error)
    })?;
    let (_, root) = object_store::ObjectStoreScheme::parse(parsed)
        .map_err(|error| refuse(url, "the store does not understand this URL").because(error))?;
    Ok(Place { store: Arc::new(store), root, name: url.trim_end_matches('/').to_owned(), local: None })
}

#[cfg(not(all(feature = "aws", feature = "gcp", feature = "azure")))]
fn not_built_in(url: &str, feature: &str) -> Result<Place> {
    Err(refuse(url, &format!("this build has no such store: build tidelock with the feature \"{feature}\"")))
}

#[cfg(feature = "aws")]
fn open_s3(url: &str, parsed: &Url) -> Result<Place> {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    let builder = AmazonS3Builder::from_env()
        .with_url(url)
        // Never switched off: without it the log is not safe, and the probe would refuse it anyway.
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    remote(url, parsed, builder.build())
}

#[cfg(not(feature = "aws"))]
fn open_s3(url: &str, _: &Url) -> Result<Place> {
    not_built_in(url, "aws")
}

#[cfg(feature = "gcp")]
fn open_gcs(url: &str, parsed: &Url) -> Result<Place> {
    use object_store::gcp::GoogleCloudStorageBuilder;
    remote(url, parsed, GoogleCloudStorageBuilder::from_env().with_url(url).build())
}

#[cfg(not(feature = "gcp"))]
fn open_gcs(url: &str, _: &Url) -> Result<Place> {
    not_built_in(url, "gcp")
}

#[cfg(feature = "azure")]
fn open_azure(url: &str, parsed: &Url) -> Result<Place> {
    use object_store::azure::MicrosoftAzureBuilder;
    remote(url, parsed, MicrosoftAzureBuilder::from_env().with_url(url).build())
}

#[cfg(not(feature = "azure"))]
fn open_azure(url: &str, _: &Url) -> Result<Place> {
    not_built_in(url, "azure")
}
