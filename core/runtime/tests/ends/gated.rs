//! A place for savepoints whose store does not answer until a test lets it.

use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tidelock::log::Log;
use tokio::sync::watch;

/// What is written there waits at a gate.
#[derive(Debug, Clone)]
pub(crate) struct Gated(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    store: InMemory,
    waits: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Gated {
    pub(crate) fn new() -> Self {
        let closed = || watch::Sender::new(false);
        Self(Arc::new(Gate { store: InMemory::new(), waits: closed(), open: closed() }))
    }

    /// A log that has its savepoints there.
    pub(crate) fn log(&self) -> Log {
        let places = self.clone();
        let log = Log::on(Arc::new(InMemory::new()), Path::from("log"));
        log.with_places(move |name| Ok(places.place(name)))
    }

    pub(crate) fn place(&self, name: &str) -> Log {
        Log::on(Arc::new(self.clone()), Path::from(name))
    }

    /// Returns once something waits at the gate.
    pub(crate) async fn reached(&self) {
        self.0.waits.subscribe().wait_for(|waits| *waits).await.unwrap();
    }

    pub(crate) fn open(&self) {
        self.0.open.send_replace(true);
    }
}

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gated")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Gated {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.0.waits.send_replace(true);
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
        self.0.store.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.store.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.0.store.get_opts(from, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.0.store.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.0.store.copy_opts(from, to, options).await
    }
}
