//! Stores that cannot hold a log are refused at the start.

use std::fmt;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::{ErrorKind, Retry};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    IgnoresTheCondition,
    HasNoCondition,
    ListsLate,
    DeniesWrites,
    DeniesDeletes,
    IsDown,
    /// The client sends a delete again and learns that nothing is there.
    DeletesTwice,
    /// The client sends the first create again and gets "already exists".
    SendsTwice,
}

#[derive(Debug)]
struct Flawed(InMemory, Flaw);

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
        if self.1 == Flaw::ListsLate { futures::stream::empty().boxed() } else { self.0.list(prefix) }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_cannot_hold_a_log_is_refused() {
    use Flaw as F;
    for (flaw, expected) in [
        (F::None, None),
        (F::SendsTwice, None),
        (F::DeletesTwice, None),
        (F::IgnoresTheCondition, Some((ErrorKind::Config, Retry::Halt, "second create"))),
        (F::HasNoCondition, Some((ErrorKind::Config, Retry::Halt, "conditional create"))),
        (F::ListsLate, Some((ErrorKind::Config, Retry::Halt, "consistent listing"))),
        (F::DeniesWrites, Some((ErrorKind::Auth, Retry::Halt, "denies access"))),
        (F::DeniesDeletes, Some((ErrorKind::Auth, Retry::Halt, "denies access"))),
        (F::IsDown, Some((ErrorKind::Unavailable, Retry::Restart, "did not answer"))),
    ] {
        let log = Log::on(Arc::new(Flawed(InMemory::new(), flaw)), Path::from("root"));
        match (log.probe().await, expected) {
            (Ok(()), None) => {}
            (Err(error), Some((kind, retry, text))) => {
                assert_eq!((error.kind(), error.retry()), (kind, retry), "{flaw:?}: {error}");
                assert!(error.to_string().contains(text), "{flaw:?}: {error}");
            }
            (answer, _) => panic!("{flaw:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_create_that_the_client_sent_twice_is_found_to_be_ours() {
    let log = Log::on(Arc::new(Flawed(InMemory::new(), Flaw::SendsTwice)), Path::from("root"));
    let mine = entry(1, EntryKind::Claim, 1, 0);
    assert!(matches!(log.create(&mine).await.unwrap(), Created::Taken));
    let back = log.read_back(Position(1), std::slice::from_ref(&mine.nonce)).await.unwrap();
    assert!(matches!(back, ReadBack::Ours(..)), "{back:?}");

    // The same for a savepoint's manifest.
    let from = memory();
    small_log(&from).await;
    let newest = from.newest().await.unwrap().unwrap();
    let to = Log::on(Arc::new(Flawed(InMemory::new(), Flaw::None)), Path::from("savepoint"));
    from.export_to(&newest, newest.state.as_ref().unwrap(), &to).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_job_goes_on_when_there_is_space() {
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = StoreError::Generic { store: "LocalFileSystem", source: Box::new(full()) };
    let error = super::super::error::from_store("append an entry", "log/1.json", error);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart));
    assert!(error.to_string().contains("disk is full"), "{error}");
}
