//! Where files are: a local folder, or a prefix in an object store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path as StorePath;
use tidelock::Result;
use url::Url;

use crate::config::StoreOptions;
use crate::error::setting;

/// A folder by its location. Making one does no I/O.
#[derive(Debug, Clone)]
pub(crate) enum Folder {
    /// A local folder.
    Local(PathBuf),
    /// A prefix in an object store.
    Store(StoreFolder),
}

/// A prefix in an object store.
#[derive(Clone)]
pub(crate) struct StoreFolder {
    /// For whole objects.
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// For uploads in parts.
    pub(crate) uploads: Arc<dyn MultipartStore>,
    /// What every name begins with.
    pub(crate) prefix: StorePath,
    /// Whether an upload can be asked whether it still exists.
    pub(crate) uploads_have_ids: bool,
    /// The location as it was given, for messages.
    pub(crate) url: Arc<str>,
}

impl StoreFolder {
    /// The full name of what is called `name` below the folder.
    pub(crate) fn path(&self, name: &str) -> Result<StorePath> {
        StorePath::parse(format!("{}/{name}", self.prefix).trim_start_matches('/'))
            .map_err(|error| crate::error::store("name an object", name, error.into()))
    }

    /// The name below the folder of what is called `path` in the store.
    pub(crate) fn name(&self, path: &StorePath) -> Option<String> {
        let rest: Vec<_> = path.prefix_match(&self.prefix)?.collect();
        Some(rest.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/"))
    }
}

impl fmt::Debug for StoreFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreFolder").field(&self.url).finish()
    }
}

impl Folder {
    /// Reads a location: what has `://` in it is a URL, everything else a local path.
    pub(crate) fn new(location: &str, options: &StoreOptions) -> Result<Self> {
        if !location.contains("://") {
            return Ok(Self::Local(location.into()));
        }
        let url = Url::parse(location).map_err(|error| {
            setting("folder", "this is neither a path nor a URL").with("folder", location).because(error)
        })?;
        if url.scheme() == "file" {
            let path = url.to_file_path();
            return path.map(Self::Local).map_err(|()| setting("folder", "this URL has no local path"));
        }
        open_store(&url, options).map(Self::Store)
    }
}

/// Opens the object store of a URL, of those that were compiled in.
#[cfg_attr(not(any(feature = "aws", feature = "gcp", feature = "azure")), allow(unused_variables))]
fn open_store(url: &Url, options: &StoreOptions) -> Result<StoreFolder> {
    let unknown = |message: String| setting("folder", message).with("scheme", url.scheme());
    let (scheme, prefix) = object_store::ObjectStoreScheme::parse(url)
        .map_err(|error| unknown("no object store is known for this URL".into()).because(error))?;
    match scheme {
        #[cfg(feature = "aws")]
        object_store::ObjectStoreScheme::AmazonS3 => {
            let builder =
                configure(object_store::aws::AmazonS3Builder::from_env(), options, |builder, key, value| {
                    builder.with_config(key, value)
                })?;
            store_folder(builder.with_url(url.as_str()).build(), prefix, true, url)
        }
        #[cfg(feature = "gcp")]
        object_store::ObjectStoreScheme::GoogleCloudStorage => {
            let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env();
            let builder = configure(builder, options, |builder, key, value| builder.with_config(key, value))?;
            store_folder(builder.with_url(url.as_str()).build(), prefix, true, url)
        }
        #[cfg(feature = "azure")]
        object_store::ObjectStoreScheme::MicrosoftAzure => {
            let builder = object_store::azure::MicrosoftAzureBuilder::from_env();
            let builder = configure(builder, options, |builder, key, value| builder.with_config(key, value))?;
            // Azure keeps blocks by the name of the blob; there is no upload that could be asked for.
            store_folder(builder.with_url(url.as_str()).build(), prefix, false, url)
        }
        other => Err(unknown(format!(
            "this build has no object store {other:?} (prefix {prefix}): switch on the feature aws, gcp or azure"
        ))),
    }
}

/// Sets every option, refusing one that the store does not know.
#[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
fn configure<B, K>(builder: B, options: &StoreOptions, set: impl Fn(B, K, &str) -> B) -> Result<B>
where
    K: std::str::FromStr<Err = object_store::Error>,
{
    options.0.iter().try_fold(builder, |builder, (name, value)| {
        let key = name.to_ascii_lowercase().parse().map_err(|error: object_store::Error| {
            setting("store_options", "the object store does not know this option")
                .with("option", name)
                .because(error)
        })?;
        Ok(set(builder, key, value))
    })
}

#[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
fn store_folder<S: ObjectStore + MultipartStore>(
    built: object_store::Result<S>,
    prefix: StorePath,
    uploads_have_ids: bool,
    url: &Url,
) -> Result<StoreFolder> {
    let store = Arc::new(built.map_err(|error| setting("store_options", error.to_string()).because(error))?);
    Ok(StoreFolder {
        objects: Arc::clone(&store) as _,
        uploads: store,
        prefix,
        uploads_have_ids,
        url: url.as_str().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_a_url() {
        let folder = |location| Folder::new(location, &StoreOptions::default());
        assert!(matches!(folder("data/in").unwrap(), Folder::Local(path) if path.ends_with("data/in")));
        assert!(
            matches!(folder("file:///data/in").unwrap(), Folder::Local(path) if path.ends_with("/data/in"))
        );
        assert!(folder("nonsense://x").unwrap_err().to_string().contains("nonsense"));
    }
}
