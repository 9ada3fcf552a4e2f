//! A store in memory with one flaw.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use object_store::ObjectStoreExt;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Flaw {
    None,
    IgnoresTheCondition,
    /// It looks whether the name is free, and writes later.
    LooksThenWrites,
    HasNoCondition,
    ListsLate,
    DeniesWrites,
    DeniesDeletes,
    IsDown,
    /// It writes, and says that it could not.
    WritesAndFails,
    /// The client sends a delete again and learns that nothing is there.
    DeletesTwice,
    /// The client sends the first create again and gets "already exists".
    SendsTwice,
    /// The first list was asked for before the entries above this position were appended.
    ListedBefore(u64),
}

#[derive(Debug)]
pub(super) struct Flawed(InMemory, Flaw, AtomicBool);

impl Flawed {
    pub(super) fn log(flaw: Flaw) -> Log {
        Log::on(Arc::new(Self(InMemory::new(), flaw, AtomicBool::new(true))), Path::from("root"))
    }
}

impl fmt::Display for Flawed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flawed")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flawed {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let path = to.to_string();
        match self.1 {
            Flaw::IgnoresTheCondition => options.mode = PutMode::Overwrite,
            Flaw::LooksThenWrites if options.mode == PutMode::Create => {
                if self.0.head(to).await.is_ok() {
                    return Err(StoreError::AlreadyExists { path, source: "it stands there".into() });
                }
                tokio::task::yield_now().await;
                options.mode = PutMode::Overwrite;
            }
            Flaw::HasNoCondition => {
                return Err(StoreError::NotImplemented {
                    operation: "create".to_owned(),
                    implementer: "flawed".to_owned(),
                });
            }
            Flaw::DeniesWrites => return Err(StoreError::PermissionDenied { path, source: "no".into() }),
            Flaw::IsDown => {
                return Err(StoreError::Generic { store: "flawed", source: "connection refused".into() });
            }
            Flaw::WritesAndFails => {
                self.0.put_opts(to, payload, options).await?;
                return Err(StoreError::Generic { store: "flawed", source: "the answer was lost".into() });
            }
            Flaw::SendsTwice => drop(self.0.put_opts(to, payload.clone(), options.clone()).await),
            _ => {}
        }
        self.0.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.0.get_opts(from, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let absent = |path: object_store::Result<Path>| {
            path.and_then(|path| Err(StoreError::NotFound { path: path.to_string(), source: "no".into() }))
        };
        match self.1 {
            Flaw::DeniesDeletes => {}
            Flaw::DeletesTwice => return self.0.delete_stream(paths).map(absent).boxed(),
            _ => return self.0.delete_stream(paths),
        }
        let deny = |path: object_store::Result<Path>| {
            path.and_then(|path| {
                Err(StoreError::PermissionDenied { path: path.to_string(), source: "no".into() })
            })
        };
        paths.map(deny).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.1 {
            Flaw::ListsLate => futures::stream::empty().boxed(),
            Flaw::ListedBefore(position) if self.2.swap(false, Ordering::Relaxed) => {
                let last = format!("{position:020}.json");
                let early = move |meta: &ObjectMeta| meta.location.filename() <= Some(last.as_str());
                let listed = self.0.list(prefix);
                listed.filter(move |meta| std::future::ready(meta.as_ref().is_ok_and(&early))).boxed()
            }
            _ => self.0.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
