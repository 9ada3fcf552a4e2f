//! The sink against targets that remember what they were asked.

mod large;

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::*;
use crate::log::Log;
use crate::{
    Committable, Position, Prepared, Rejecting, Rejects, SinkWriter, Stored, Uid, Versioned, from_json,
    unknown_version,
};

/// A word; version 1 stored it with a marker in front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Word(String);

impl Versioned for Word {
    const VERSION: u16 = 2;

    fn upgrade(version: u16, json: &str) -> Result<Self> {
        match version {
            1 => from_json::<String>(json).map(|word| Self(word.trim_start_matches('~').to_owned())),
            other => Err(unknown_version::<Self>(other)),
        }
    }
}

/// Versions, and what came with them.
type Applied = Vec<(Version, Vec<Word>)>;

/// Remembers what it was asked to apply.
#[derive(Default)]
struct Recorder {
    newest: Option<Version>,
    applied: Arc<Mutex<Applied>>,
}

#[async_trait]
impl Apply for Recorder {
    type Record = Word;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(self.newest)
    }

    async fn apply(&self, writes: Writes<Word>) -> Result<()> {
        let words = writes.all().await?;
        self.applied.lock().unwrap().push((writes.version, words));
        Ok(())
    }
}

fn uid() -> Uid {
    Uid::new("out").unwrap()
}

fn attempt(generation: u64) -> SinkAttempt {
    let job = JobId::new("job").unwrap();
    SinkAttempt { job, uid: uid(), number: Position(1), generation: Generation(generation), chunks: None }
}

fn sink(target: Recorder) -> WriteAhead<Recorder> {
    WriteAhead::new(target, bounded(100)).unwrap()
}

fn bounded(epoch_bytes_max: u64) -> WriteAheadConfig {
    WriteAheadConfig { epoch_bytes_max: Some(epoch_bytes_max), ..WriteAheadConfig::default() }
}

/// The records of a committable that has them itself.
fn records<R: Versioned>(committable: &WriteAheadCommittable) -> Vec<R> {
    committable.decode(committable.records.as_ref().unwrap().get()).unwrap()
}

fn words(words: &[&str]) -> Vec<Word> {
    words.iter().map(|word| Word((*word).to_owned())).collect()
}

fn version(generation: u64, epoch: u64) -> Version {
    Version { generation: Generation(generation), epoch: Epoch(epoch) }
}

async fn prepare(
    sink: &WriteAhead<Recorder>,
    writer: u32,
    epoch: u64,
    text: &[&str],
) -> Vec<Pending<WriteAheadCommittable>> {
    let (writer, epoch) = (WriterId(writer), Epoch(epoch));
    let mut open = sink.open(&attempt(1), writer).await.unwrap();
    open.write(&mut words(text)).await.unwrap();
    let prepared = open.prepare(epoch).await.unwrap();
    assert_eq!(open.prepare(epoch.next()).await.unwrap().len(), 0, "the writer is clean");
    let pending = |prepared: Prepared<_>| Pending {
        epoch,
        attempt: Position(1),
        writer,
        committable: prepared.committable,
    };
    prepared.into_iter().map(pending).collect()
}

#[tokio::test]
async fn an_epoch_is_applied_in_one_call_and_epochs_in_their_order() {
    let target = Recorder::default();
    let applied = Arc::clone(&target.applied);
    let sink = sink(target);
    let mut pending = prepare(&sink, 0, 2, &["c"]).await;
    pending.extend(prepare(&sink, 1, 1, &["b"]).await);
    pending.extend(prepare(&sink, 0, 1, &["a", "a"]).await);
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(2));
    sink.commit(&permit, pending).await.unwrap();
    assert_eq!(
        *applied.lock().unwrap(),
        vec![(version(1, 1), words(&["a", "a", "b"])), (version(1, 2), words(&["c"]))]
    );
}

#[tokio::test]
async fn a_target_of_a_newer_generation_is_refused_before_anything_is_written_or_applied() {
    let sink = sink(Recorder { newest: Some(version(8, 1)), ..Recorder::default() });
    sink.open(&attempt(8), WriterId(0)).await.unwrap();
    // With nothing pending, a rollback may be about to begin a newer generation.
    sink.recover(&attempt(7), &[]).await.unwrap();
    let writes = sink.open(&attempt(7), WriterId(0)).await.unwrap_err();
    let pending = prepare(&self::sink(Recorder::default()), 0, 1, &["a"]).await;
    let applies = sink.recover(&attempt(7), &pending).await.unwrap_err();
    for error in [writes, applies] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt));
        assert!(error.context().any(|fact| fact == ("newest_in_target", "8/1")), "{error}");
    }
}

/// A log that was restored from a backup, whose attempts go on with the numbers of epochs that were applied.
#[tokio::test]
async fn an_epoch_that_the_target_has_already_is_told_before_it_is_promised_and_not_taken_for_applied() {
    let sink = sink(Recorder { newest: Some(version(1, 7)), ..Recorder::default() });
    for epoch in [1, 7] {
        let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
        // One without records promises nothing.
        assert!(writer.prepare(Epoch(epoch)).await.unwrap().is_empty());
        writer.write(&mut words(&["a"])).await.unwrap();
        let error = writer.prepare(Epoch(epoch)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt));
        assert!(error.context().any(|fact| fact == ("newest_in_target", "1/7")), "{error}");
    }
    for (generation, epoch) in [(1, 8), (2, 1)] {
        let mut writer = sink.open(&attempt(generation), WriterId(0)).await.unwrap();
        writer.write(&mut words(&["a"])).await.unwrap();
        assert_eq!(writer.prepare(Epoch(epoch)).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_for_another_place_is_refused_by_name_before_anything_is_read_or_applied() {
    let target = Recorder::default();
    let applied = Arc::clone(&target.applied);
    let (here, there) = (sink(target).at("table orders"), sink(Recorder::default()).at("table totals"));
    let ours = prepare(&here, 0, 1, &["a"]).await;
    let theirs = prepare(&there, 1, 1, &["b"]).await;
    let permit = || CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(1));
    let both = [ours.clone(), theirs.clone()].concat();
    for error in
        [here.recover(&attempt(1), &both).await.unwrap_err(), here.commit(&permit(), both).await.unwrap_err()]
    {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
        for fact in [("pending_for", "table totals"), ("configured", "table orders"), ("epochs", "1")] {
            assert!(error.context().any(|one| one == fact), "{fact:?}: {error}");
        }
    }
    assert!(applied.lock().unwrap().is_empty());
    // A build of before named no place: its rows are where they always were.
    let mut nameless = ours.clone();
    nameless[0].committable.place = None;
    here.recover(&attempt(1), &nameless).await.unwrap();
    here.commit(&permit(), ours).await.unwrap();
    assert_eq!(*applied.lock().unwrap(), [(version(1, 1), words(&["a"]))]);
}

/// A record as a user may have it, with a place for what JSON makes of NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reading {
    celsius: f64,
    humidity: Option<f64>,
    #[serde(default, serialize_with = "as_text")]
    place: u32,
}

/// Writes what `u32` does not read.
fn as_text<S: serde::Serializer>(place: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    if *place == 0 { serializer.serialize_u32(0) } else { serializer.serialize_str(&place.to_string()) }
}

impl Versioned for Reading {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

struct Nowhere;

#[async_trait]
impl Apply for Nowhere {
    type Record = Reading;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(None)
    }

    async fn apply(&self, _writes: Writes<Reading>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_could_not_be_read_back_is_an_error_of_data_before_anything_is_promised() {
    let sink = WriteAhead::new(Nowhere, WriteAheadConfig::default()).unwrap();
    let good = Reading { celsius: 20.5, humidity: None, place: 0 };
    for bad in [
        Reading { celsius: f64::NAN, ..good.clone() },
        Reading { celsius: f64::INFINITY, ..good.clone() },
        // It would be read back, as a record without humidity.
        Reading { humidity: Some(f64::NAN), ..good.clone() },
        Reading { place: 7, ..good.clone() },
    ] {
        let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
        writer.write(&mut vec![good.clone()]).await.unwrap();
        let error = writer.write(&mut vec![bad.clone()]).await.expect_err("it cannot be read back");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{bad:?}: {error}");
        assert!(error.to_string().contains("Reading"), "{error}");
        // Nothing of it is left: what was good before it, and what comes after, is stored alone.
        writer.write(&mut vec![good.clone()]).await.unwrap();
        let prepared = writer.prepare(Epoch(1)).await.unwrap();
        let stored = Stored::encode(&prepared[0].committable).unwrap();
        let read: WriteAheadCommittable = stored.decode().unwrap();
        assert_eq!(records::<Reading>(&read), vec![good.clone(), good.clone()]);
    }
}

/// A target with a constraint.
struct Short;

#[async_trait]
impl Apply for Short {
    type Record = Word;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(None)
    }

    fn check(&self, Word(word): &Word) -> Result<()> {
        match word.len() {
            0..=3 => Ok(()),
            _ => Err(Error::new(ErrorKind::Data, "write", "the column holds 3 characters")),
        }
    }

    async fn apply(&self, _writes: Writes<Word>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_the_target_would_refuse_is_refused_before_it_is_stored_or_set_aside() {
    let sink = WriteAhead::new(Short, WriteAheadConfig::default()).unwrap();
    let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
    let error = writer.write(&mut words(&["abc", "abcd", "ab"])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error}");

    let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
    let rejects = Rejects::kept();
    writer.reject_to(rejects.clone());
    writer.write(&mut words(&["abc", "abcd", "ab"])).await.unwrap();
    let refused: Vec<_> =
        rejects.take().into_iter().map(|(record, error)| (record, error.to_string())).collect();
    assert!(
        matches!(&refused[..], [(Word(word), why)] if word == "abcd" && why.contains("3 characters")),
        "{refused:?}"
    );
    let prepared = writer.prepare(Epoch(1)).await.unwrap();
    assert_eq!(records::<Word>(&prepared[0].committable), words(&["abc", "ab"]));
}

#[tokio::test]
async fn an_epoch_that_is_too_large_names_the_remedy() {
    let sink = sink(Recorder::default());
    let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
    let error = writer.write(&mut words(&["0123456789"; 20])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
    assert!(error.to_string().contains("shorten the checkpoint interval"), "{error}");
    assert!(error.to_string().contains("raise epoch_bytes_max"), "{error}");
    // The remedies, each by itself: less in an epoch, and more room.
    let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
    for _ in 0..3 {
        writer.write(&mut words(&["0123456789"; 5])).await.unwrap();
        writer.prepare(Epoch(1)).await.unwrap();
    }
    let roomy = WriteAhead::new(Recorder::default(), bounded(1000)).unwrap();
    let mut writer = roomy.open(&attempt(1), WriterId(0)).await.unwrap();
    writer.write(&mut words(&["0123456789"; 20])).await.unwrap();
    let none = WriteAhead::new(Recorder::default(), bounded(0));
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn records_of_an_older_version_are_upgraded_and_unreadable_ones_are_found_by_recovery() {
    let target = Recorder::default();
    let applied = Arc::clone(&target.applied);
    let sink = sink(target);
    let mut pending = prepare(&sink, 0, 1, &["~old"]).await;
    pending[0].committable.record_version = 1;
    sink.recover(&attempt(1), &pending).await.unwrap();
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(1));
    sink.commit(&permit, pending.clone()).await.unwrap();
    assert_eq!(applied.lock().unwrap()[0].1, words(&["old"]));
    pending[0].committable.record_version = 3;
    assert_eq!(sink.recover(&attempt(1), &pending).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn the_stored_form_is_readable_and_logs_do_not_show_records() {
    let pending = prepare(&sink(Recorder::default()), 0, 1, &["secret"]).await;
    let stored = Stored::encode(&pending[0].committable).unwrap();
    assert_eq!(stored.json.get(), r#"{"job":"job","generation":1,"v":2,"records":["secret"]}"#);
    assert!(!format!("{pending:?}").contains("secret"));
    let read_back: WriteAheadCommittable = stored.decode().unwrap();
    assert_eq!(records::<Word>(&read_back), words(&["secret"]));
}

#[test]
fn a_newer_generation_wins_over_any_epoch() {
    assert!(version(2, 1) > version(1, 9));
    assert!(version(1, 9) > version(1, 8));
}

#[tokio::test]
async fn a_record_that_no_epoch_has_room_for_is_an_error_of_data() {
    let sink = sink(Recorder::default());
    let mut writer = sink.open(&attempt(1), WriterId(0)).await.unwrap();
    let error = writer.write(&mut words(&["small", &"x".repeat(200)])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
    assert!(error.to_string().contains("epoch_bytes_max=100, record_bytes=202"), "{error}");
}
