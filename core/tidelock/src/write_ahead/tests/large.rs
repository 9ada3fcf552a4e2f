//! Epochs that leave memory as chunks of the log.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::log::{ChunkRef, ChunkStore};

/// A log, and its store.
struct Place {
    store: Arc<InMemory>,
    log: Log,
}

impl Place {
    fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let log = Log::on(Arc::clone(&store) as Arc<dyn ObjectStore>, Path::from("log"));
        Self { store, log }
    }

    fn chunks(&self) -> ChunkStore {
        self.log.chunk_store(Position(1))
    }

    fn attempt(&self) -> SinkAttempt {
        SinkAttempt { chunks: Some(self.chunks()), ..attempt(1) }
    }

    fn permit(&self, epoch: u64) -> CommitPermit {
        let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(epoch));
        permit.with_chunks(self.chunks())
    }

    /// Writes an epoch, as a host does, and stores what it prepared.
    async fn prepare(
        &self,
        sink: &WriteAhead<Recorder>,
        writer: u32,
        epoch: u64,
        text: &[&str],
    ) -> Vec<Pending<WriteAheadCommittable>> {
        let (writer, epoch) = (WriterId(writer), Epoch(epoch));
        let mut open = sink.open(&self.attempt(), writer).await.unwrap();
        for word in text {
            open.write(&mut words(&[word])).await.unwrap();
        }
        let prepared = open.prepare(epoch).await.unwrap();
        assert_eq!(open.prepare(epoch.next()).await.unwrap().len(), 0, "the writer is clean");
        let pending = |prepared: Prepared<_>| {
            let committable: WriteAheadCommittable =
                Stored::encode(&prepared.committable).unwrap().decode().unwrap();
            Pending { epoch, attempt: Position(1), writer, committable }
        };
        prepared.into_iter().map(pending).collect()
    }

    /// Where a chunk is in the store.
    fn object(chunk: &ChunkRef) -> Path {
        Path::from(format!("log/{}", chunk.name))
    }
}

/// At most ten bytes in an entry, and about twenty in a chunk.
fn small(target: Recorder) -> WriteAhead<Recorder> {
    let config = WriteAheadConfig { in_entry_bytes_max: 10, chunk_bytes: 20, ..WriteAheadConfig::default() };
    WriteAhead::new(target, config).unwrap()
}

#[tokio::test]
async fn few_records_are_in_the_entry_and_more_are_in_chunks_and_all_come_in_their_order() {
    let place = Place::new();
    let target = Recorder::default();
    let applied = Arc::clone(&target.applied);
    let sink = small(target);
    let few = place.prepare(&sink, 0, 1, &["a"]).await;
    assert_eq!(few[0].committable.chunks(), []);
    let one = place.prepare(&sink, 1, 1, &["bbbb", "cccc"]).await;
    assert_eq!(one[0].committable.chunks().len(), 1, "too much for an entry, and one chunk");
    let many = place.prepare(&sink, 2, 1, &["dddddddd", "eeeeeeee", "ffffffff", "g"]).await;
    assert_eq!(many[0].committable.chunks().len(), 2);
    assert!(many[0].committable.records.is_none());
    let pending: Vec<_> = [many, few, one].concat();
    sink.recover(&place.attempt(), &pending).await.unwrap();
    sink.commit(&place.permit(1), pending).await.unwrap();
    let expected = words(&["a", "bbbb", "cccc", "dddddddd", "eeeeeeee", "ffffffff", "g"]);
    assert_eq!(*applied.lock().unwrap(), [(version(1, 1), expected)]);
}

#[tokio::test]
async fn batches_come_one_chunk_at_a_time_and_may_be_asked_for_again_and_are_as_many_as_it_says() {
    let place = Place::new();
    let sink = small(Recorder::default());
    let pending = place.prepare(&sink, 0, 1, &["dddddddd", "eeeeeeee", "ffffffff", "g"]).await;
    let whose = (JobId::new("job").unwrap(), uid(), version(1, 1));
    let prepared = pending.into_iter().map(|pending| pending.committable).collect();
    let writes = Writes::<Word>::new(whose, prepared, Some(place.chunks()));
    assert!(!format!("{writes:?}").contains("eeee"), "records are not for logs");
    for _ in 0..2 {
        let mut batches = writes.batches();
        assert_eq!(batches.next().await.unwrap(), Some(words(&["dddddddd", "eeeeeeee"])));
        assert_eq!(batches.next().await.unwrap(), Some(words(&["ffffffff", "g"])));
        assert_eq!(batches.next().await.unwrap(), None);
        assert_eq!(batches.next().await.unwrap(), None);
    }
    assert_eq!(writes.batch_count(), 2);
}

#[tokio::test]
async fn a_chunk_that_is_gone_or_damaged_halts_before_anything_is_applied_and_says_what_to_do() {
    for damage in [None, Some("another"), Some("")] {
        let place = Place::new();
        let target = Recorder::default();
        let applied = Arc::clone(&target.applied);
        let sink = small(target);
        let pending =
            place.prepare(&sink, 0, 1, &["dddddddd", "eeeeeeee", "ffffffff", "gggggggg", "h"]).await;
        let last = pending[0].committable.chunks().pop().unwrap();
        match damage {
            None => place.store.delete(&Place::object(&last)).await.unwrap(),
            Some(bytes) => drop(place.store.put(&Place::object(&last), bytes.into()).await.unwrap()),
        }
        for error in [
            sink.recover(&place.attempt(), &pending).await.unwrap_err(),
            sink.commit(&place.permit(1), pending.clone()).await.unwrap_err(),
        ] {
            let kind = if damage.is_none() { ErrorKind::NotFound } else { ErrorKind::Corrupt };
            assert_eq!((error.kind(), error.retry()), (kind, Retry::Halt), "{error:?}");
            let told = format!("{error:?}");
            assert!(told.contains("tidelock snapshots abandon") && told.contains(&last.name), "{told}");
        }
        assert_eq!(applied.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_chunk_of_another_epoch_in_its_place_is_found_out() {
    let place = Place::new();
    let sink = small(Recorder::default());
    let text = ["dddddddd", "eeeeeeee", "ffffffff"];
    let mut pending = place.prepare(&sink, 0, 1, &text).await;
    let other = place.prepare(&sink, 0, 2, &["one word that is longer"]).await;
    // The whole chunk is there, checksum and all, and is not what the rest of the committable says.
    pending[0].committable.chunks[0].chunk = other[0].committable.chunks[0].chunk.clone();
    let error = sink.recover(&place.attempt(), &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Corrupt, Retry::Halt), "{error:?}");
    let mut pending = place.prepare(&sink, 0, 1, &text).await;
    pending[0].committable.chunks[0].records += 1;
    let error = sink.recover(&place.attempt(), &pending).await.unwrap_err();
    assert!(format!("{error:?}").contains("records_expected"), "{error:?}");
}

#[tokio::test]
async fn a_host_without_a_place_for_chunks_keeps_all_in_the_entry_and_is_told_when_that_is_too_much() {
    let sink = small(Recorder::default());
    let mut open = sink.open(&attempt(1), WriterId(0)).await.unwrap();
    open.write(&mut words(&["dddddddd", "eeeeeeee", "ffffffff"])).await.unwrap();
    let prepared = open.prepare(Epoch(1)).await.unwrap();
    assert_eq!(records::<Word>(&prepared[0].committable).len(), 3);
    let large = "x".repeat(5 << 20);
    let error = open.write(&mut words(&[large.as_str(); 4])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
    assert!(error.to_string().contains("SinkAttempt::chunks"), "{error}");
    // The remedy.
    let place = Place::new();
    let mut open = sink.open(&place.attempt(), WriterId(0)).await.unwrap();
    open.write(&mut words(&[large.as_str(); 4])).await.unwrap();
    let prepared = open.prepare(Epoch(1)).await.unwrap();
    assert_eq!(prepared[0].committable.chunks().len(), 4);
    // A host that committed without it would be told, too.
    let committable = prepared[0].committable.clone();
    let pending = vec![Pending { epoch: Epoch(1), attempt: Position(1), writer: WriterId(0), committable }];
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(1));
    let error = sink.commit(&permit, pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
}

#[tokio::test]
async fn a_bound_that_was_chosen_holds_also_when_most_of_the_epoch_has_left_memory() {
    let place = Place::new();
    let config = WriteAheadConfig { chunk_bytes: 20, ..bounded(100) };
    let sink = WriteAhead::new(Recorder::default(), config).unwrap();
    let mut open = sink.open(&place.attempt(), WriterId(0)).await.unwrap();
    open.write(&mut words(&["0123456789"; 7])).await.unwrap();
    let error = open.write(&mut words(&["0123456789"])).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config && error.to_string().contains("raise epoch_bytes_max"),
        "{error}"
    );
}

/// A store that is away for a while.
#[derive(Debug)]
struct Away {
    inner: InMemory,
    refusals: AtomicUsize,
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("away")
    }
}

#[async_trait]
impl ObjectStore for Away {
    async fn put_opts(
        &self,
        location: &Path,
        payload: object_store::PutPayload,
        opts: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        let left = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(object_store::Error::Generic { store: "away", source: "no route".into() }),
            Err(_) => self.inner.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_loses_no_record_and_one_that_stays_away_ends_the_attempt() {
    for (refusals, well) in [(5, true), (usize::MAX, false)] {
        let away = Away { inner: InMemory::new(), refusals: AtomicUsize::new(refusals) };
        let log = Log::on(Arc::new(away), Path::from("log"));
        let target = Recorder::default();
        let applied = Arc::clone(&target.applied);
        let sink = small(target);
        let chunks = log.chunk_store(Position(1));
        let attempt = SinkAttempt { chunks: Some(chunks.clone()), ..attempt(1) };
        let mut open = sink.open(&attempt, WriterId(0)).await.unwrap();
        let all: Vec<String> = (0..100).map(|word| format!("word-{word}")).collect();
        let mut text: Vec<Word> = all.iter().cloned().map(Word).collect();
        let written = match open.write(&mut text).await {
            Ok(()) => open.prepare(Epoch(1)).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(prepared) => {
                assert!(well);
                let committable = prepared[0].committable.clone();
                let (epoch, attempt, writer) = (Epoch(1), Position(1), WriterId(0));
                let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), epoch);
                let pending = vec![Pending { epoch, attempt, writer, committable }];
                sink.commit(&permit.with_chunks(chunks), pending).await.unwrap();
                let all = all.into_iter().map(Word).collect();
                assert_eq!(*applied.lock().unwrap(), [(version(1, 1), all)]);
            }
            Err(error) => assert!(!well && error.retry() == Retry::Restart, "{error:?}"),
        }
    }
}

/// Golden files never change: what an older build stored is read for ever.
#[tokio::test]
async fn the_stored_form_of_every_version_is_read() {
    let place = Place::new();
    let whose = || (JobId::new("orders").unwrap(), uid(), version(1, 1));
    let v1: Stored = serde_json::from_str(include_str!("../../../tests/golden/write_ahead_v1.json")).unwrap();
    let v2: Stored = serde_json::from_str(include_str!("../../../tests/golden/write_ahead_v2.json")).unwrap();
    let v3: Stored = serde_json::from_str(include_str!("../../../tests/golden/write_ahead_v3.json")).unwrap();
    let chunk = Bytes::from_static(include_bytes!("../../../tests/golden/write_ahead_v2.chunk"));
    for stored in [v1, v2, v3] {
        let committable: WriteAheadCommittable = stored.decode().unwrap();
        assert_eq!(committable.place(), (stored.version > 2).then_some("table orders"));
        for named in committable.chunks() {
            place.store.put(&Place::object(&named), chunk.clone().into()).await.unwrap();
        }
        if stored.version == WriteAheadCommittable::VERSION {
            assert_eq!(Stored::encode(&committable).unwrap(), stored, "and it is written so");
        }
        let writes = Writes::<Word>::new(whose(), vec![committable], Some(place.chunks()));
        assert_eq!(writes.all().await.unwrap(), words(&["first", "second", "second"]));
    }
}
