//! What a store does that answers badly in the worst moment.

use super::StorePath as Path;
use crate::committable::FileCommittable;
use crate::config::{FilesSinkConfig, SinkFormat};
use crate::folder::StoreFolder;
use crate::target::Target;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidelock::{Epoch, ErrorKind, Generation, JobId, Pending, Position, SinkAttempt, Uid, WriterId};

#[derive(Debug, Default)]
struct Flaky {
    inner: InMemory,
    complete_fails: AtomicBool,
    put_fails: AtomicBool,
    uploads_gone: AtomicBool,
}
impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flaky")
    }
}
fn busy() -> Error {
    Error::Generic { store: "S3", source: "503 Slow Down".into() }
}
fn gone() -> Error {
    Error::NotFound { path: "upload".into(), source: "NoSuchUpload".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, at: &Path, what: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if self.put_fails.swap(false, Ordering::SeqCst) {
            return Err(busy());
        }
        self.inner.put_opts(at, what, opts).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }
    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, opts).await
    }
    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, opts).await
    }
}
#[async_trait::async_trait]
impl MultipartStore for Flaky {
    async fn create_multipart(&self, at: &Path) -> Result<MultipartId> {
        self.inner.create_multipart(at).await
    }
    async fn put_part(
        &self,
        at: &Path,
        id: &MultipartId,
        index: usize,
        data: PutPayload,
    ) -> Result<multipart::PartId> {
        if self.uploads_gone.load(Ordering::SeqCst) {
            return Err(gone());
        }
        self.inner.put_part(at, id, index, data).await
    }
    async fn complete_multipart(
        &self,
        at: &Path,
        id: &MultipartId,
        parts: Vec<multipart::PartId>,
    ) -> Result<PutResult> {
        if self.uploads_gone.load(Ordering::SeqCst) {
            return Err(gone());
        }
        if self.complete_fails.swap(false, Ordering::SeqCst) {
            return Err(busy());
        }
        self.inner.complete_multipart(at, id, parts).await
    }
    async fn abort_multipart(&self, at: &Path, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(at, id).await
    }
}

fn target(store: &Arc<Flaky>) -> Target {
    let folder = StoreFolder {
        objects: Arc::clone(store) as _,
        uploads: Arc::clone(store) as _,
        prefix: "out".into(),
        uploads_have_ids: true,
        url: "memory:///out".into(),
    };
    Target::in_store(folder, &FilesSinkConfig::new("memory:///out", SinkFormat::JsonLines))
}
fn attempt(number: u64) -> SinkAttempt {
    SinkAttempt {
        job: JobId::new("orders").unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(number),
        generation: Generation(1),
        chunks: None,
    }
}
async fn prepared(target: &Target) -> Vec<Pending<FileCommittable>> {
    target.recover(&attempt(1), &[]).await.unwrap();
    let file = target.begin(&attempt(1).target_name(WriterId(0)), 0, "a.jsonl");
    let finished = target.finish(vec![(file, b"{}\n".to_vec())]).await.unwrap().remove(0);
    let committable = FileCommittable {
        file: "a.jsonl".into(),
        staged: finished.staged,
        bytes: 3,
        crc32c: crc32c::crc32c(b"{}\n"),
        records: 1,
    };
    vec![Pending { epoch: Epoch(1), attempt: Position(1), writer: WriterId(0), committable }]
}

/// One answer "503" to the completion; the job is down longer than the bucket's rule keeps uploads.
#[tokio::test]
async fn an_upload_that_a_lifecycle_rule_aborted_after_a_failed_commit_is_lost_and_told() {
    let store = Arc::new(Flaky::default());
    let first = target(&store);
    let pending = prepared(&first).await;
    store.complete_fails.store(true, Ordering::SeqCst);
    first.commit(pending.clone()).await.unwrap_err();
    store.uploads_gone.store(true, Ordering::SeqCst);
    let next = target(&store);
    let recovered = next.recover(&attempt(2), &pending).await;
    let committed = next.commit(pending.clone()).await;
    let there = store.inner.head(&"out/a.jsonl".into()).await.is_ok();
    let told = (recovered.unwrap_err(), committed.unwrap_err());
    assert_eq!((told.0.kind(), told.1.kind()), (ErrorKind::Expired, ErrorKind::Expired), "{told:?}");
    assert!(!there);
}

/// Committed, taken by a reader, not confirmed; and one answer "503" where the mark was to be laid, so that the commit
/// was repeated.
#[tokio::test]
async fn one_answer_503_does_not_make_a_loss_of_a_taken_file() {
    let store = Arc::new(Flaky::default());
    let first = target(&store);
    let pending = prepared(&first).await;
    store.put_fails.store(true, Ordering::SeqCst);
    first.commit(pending.clone()).await.unwrap_err();
    assert!(!store.put_fails.load(Ordering::SeqCst), "the mark met it");
    first.commit(pending.clone()).await.unwrap();
    store.inner.delete(&"out/a.jsonl".into()).await.unwrap();
    store.uploads_gone.store(true, Ordering::SeqCst);
    let next = target(&store);
    next.recover(&attempt(2), &pending).await.expect("the mark says that it was taken");
    let committed = next.commit(pending.clone()).await;
    let again = target(&store).recover(&attempt(3), &pending).await;
    assert!(committed.is_ok() && again.is_ok(), "{committed:?} {again:?}");
}
