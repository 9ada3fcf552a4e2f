//! Epochs that are put more than once: by which attempt, when, and to which shards.

use tidelock::{ErrorKind, Sink as _, WriterId};
use tidelock_kinesis::KinesisPut;
use tidelock_testkit::Fault;

use super::place::{
    Listed, Place, attempt, attempt_of, commit, expected, opened, prepared, put, puts, write,
};
use super::reading::{bare, nothing, read_on};

/// Prepares an epoch by a writer of its own.
async fn epoch_of(
    place: &Place,
    of: &tidelock::SinkAttempt,
    epoch: u64,
    records: Vec<KinesisPut>,
) -> Vec<Listed> {
    prepared(&mut opened(&place.sink(), of).await, of, epoch, records).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_put_in_part_is_put_again_and_each_record_is_handed_over_once() {
    let mut place = Place::numbered(2).await;
    let faults = place.behind_faults().await;
    place.config.request_records_max = 10;
    let all = puts(50, 0, 200);
    let listed = epoch_of(&place, &attempt(1), 1, all.clone()).await;
    let sink = place.sink();
    // The process dies when a few requests are done.
    let dies = async {
        while bare(&place.stream).await.len() < 40 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    faults.random(1, [(Fault::Slow, 0.5)]);
    tokio::select! {
        done = commit(&sink, 1, &listed) => panic!("it takes longer: {done:?}"),
        () = dies => {}
    }
    drop(sink);
    faults.heal();
    let newer = place.sink();
    newer.recover(&attempt(2), &listed).await.unwrap();
    commit(&newer, 1, &listed).await.unwrap();
    assert!(bare(&place.stream).await.len() > 200, "some are there twice");
    assert_eq!(place.seen().await, expected(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_attempt_that_wakes_up_after_newer_epochs_changes_nothing() {
    let place = Place::numbered(2).await;
    let mut all = puts(7, 0, 50);
    let older = place.sink();
    let first = prepared(&mut opened(&older, &attempt(1)).await, &attempt(1), 1, all.clone()).await;
    let newer = place.sink();
    newer.recover(&attempt(2), &first).await.unwrap();
    commit(&newer, 1, &first).await.unwrap();
    let mut writer = newer.open(&attempt(2), WriterId(0)).await.unwrap();
    for epoch in 2..5 {
        let more = puts(7, epoch * 100, epoch * 100 + 30);
        let listed = prepared(&mut writer, &attempt(2), epoch, more.clone()).await;
        commit(&newer, epoch, &listed).await.unwrap();
        all.extend(more);
        // It goes on with what it was at.
        commit(&older, 1, &first).await.unwrap();
    }
    assert_eq!(place.seen().await, expected(&all));
}

/// A host may begin the next attempt before it has dropped all writers of the one before: it does not wait for them, and they put nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_outlives_its_attempt_is_not_waited_for_and_puts_nothing() {
    let place = Place::direct(1).await;
    let sink = place.sink();
    let mut older = opened(&sink, &attempt(1)).await;
    write(&mut older, vec![put("a", 1)]).await.unwrap();
    let mut newer = opened(&sink, &attempt(2)).await;
    let error = write(&mut older, vec![put("a", "late")]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("another attempt"), "{error}");
    write(&mut newer, vec![put("a", 2)]).await.unwrap();
    assert_eq!(place.seen().await["a"], ["1", "2"]);
}

/// What a rolled-back run put stays, and what is written again is new, whatever its epochs are called. So is what a fork writes, and another sink of the job.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_a_fork_and_another_sink_write_new_records() {
    let place = Place::numbered(2).await;
    let records = puts(7, 0, 50);
    let attempts = [attempt_of("job", 1, 1), attempt_of("job", 2, 5), attempt_of("fork", 2, 1)];
    for (times, of) in (1..).zip(attempts) {
        let sink = place.sink();
        let listed = epoch_of(&place, &of, 3, records.clone()).await;
        for _ in 0..2 {
            commit(&sink, 3, &listed).await.unwrap();
        }
        let mut wanted = expected(&records);
        wanted
            .values_mut()
            .for_each(|texts| *texts = std::iter::repeat_n(texts.clone(), times).flatten().collect());
        assert_eq!(place.seen().await, wanted, "{of:?}");
    }
}

/// A log that was restored from a backup gives the same attempt and the same epochs in the same generation once more. Their records are others.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_log_was_restored_from_a_backup_is_new() {
    let place = Place::numbered(1).await;
    let mut all = Vec::new();
    let mut put_epochs = async |from: u64, to: u64, name: &str| {
        let sink = place.sink();
        let mut writer = opened(&sink, &attempt(1)).await;
        for epoch in from..to {
            let records: Vec<KinesisPut> =
                (0..9).map(|at| put("k", format!("{name} {epoch} {at}"))).collect();
            let listed = prepared(&mut writer, &attempt(1), epoch, records.clone()).await;
            commit(&sink, epoch, &listed).await.unwrap();
            all.extend(records);
        }
    };
    put_epochs(1, 9, "before").await;
    // Long enough for floors.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    put_epochs(9, 12, "before").await;
    put_epochs(5, 8, "after").await;
    assert_eq!(place.seen().await, expected(&all));
}

/// The copies of a record are in several shards, which go on from each other.
#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_known_through_splits_and_merges() {
    let place = Place::numbered(1).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let (mut all, mut earlier) = (Vec::new(), Vec::new());
    for epoch in 1..7 {
        let more = puts(20, epoch * 100, epoch * 100 + 60);
        let listed = prepared(&mut writer, &attempt(1), epoch, more.clone()).await;
        commit(&sink, epoch, &listed).await.unwrap();
        all.extend(more);
        earlier.push((epoch, listed));
        let open = place.stream.open_shards().await;
        if epoch % 3 == 0 {
            place.stream.merge(&open[0], &open[1]).await;
        } else {
            place.stream.split(&open[0]).await;
        }
        for (epoch, listed) in &earlier {
            commit(&place.sink(), *epoch, listed).await.unwrap();
        }
        assert_eq!(place.seen().await, expected(&all), "after epoch {epoch}");
    }
}

/// A reader that goes on from its snapshot knows what it had.
#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_known_after_a_restart_of_the_reader() {
    let place = Place::numbered(2).await;
    let all = puts(7, 0, 50);
    let listed = epoch_of(&place, &attempt(1), 1, all.clone()).await;
    commit(&place.sink(), 1, &listed).await.unwrap();
    let (first, known) = read_on(&place.stream, nothing()).await;
    assert_eq!(first.len(), 50);
    commit(&place.sink(), 1, &listed).await.unwrap();
    let later = epoch_of(&place, &attempt(2), 2, vec![put("k0", "new")]).await;
    commit(&place.sink(), 2, &later).await.unwrap();
    // The shards were read up to a time, and go on from there.
    let (more, _) = read_on(&place.stream, super::reading::going_on(known)).await;
    let texts: Vec<_> = more.iter().map(|record| &*record.data).collect();
    assert_eq!(texts, [b"new"]);
}

/// In one stream are records of two jobs, of nobody's, and some that look like ours.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_others_are_handed_over_as_they_are() {
    let place = Place::numbered(1).await;
    let listed = epoch_of(&place, &attempt(1), 1, puts(1, 0, 3)).await;
    commit(&place.sink(), 1, &listed).await.unwrap();
    let ours = bare(&place.stream).await.remove(0).data;
    assert!(ours.starts_with(b"\xcaTLK") && ours.ends_with(b"0"), "{ours:?}");
    // Another one took the header for its own data.
    let others = ["plain", "plain", "\u{feff}TLK"].map(str::to_owned);
    place.stream.put(others.map(|text| ("other".to_owned(), text))).await;
    let mut changed = ours.to_vec();
    *changed.last_mut().unwrap() = b'7';
    let blob = aws_sdk_kinesis::primitives::Blob::new(changed.clone());
    let request = place.stream.client.put_record().stream_name(&place.stream.name).partition_key("changed");
    request.data(blob).send().await.unwrap();
    let records = super::reading::read(&place.stream).await;
    let of = |key: &str| -> Vec<_> {
        records
            .iter()
            .filter(|record| record.partition_key == key)
            .map(|record| record.data.to_vec())
            .collect()
    };
    assert_eq!(of("k0"), [b"0", b"1", b"2"]);
    assert_eq!(of("other"), ["plain", "plain", "\u{feff}TLK"].map(|text| text.as_bytes().to_vec()));
    assert_eq!(of("changed"), [changed]);
}

/// A program that knows no headers copies a stream into another one, some of it twice and in an order of its own: nothing of it is dropped there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_copied_into_another_stream_is_handed_over_as_it_was_copied() {
    let place = Place::numbered(1).await;
    let listed = epoch_of(&place, &attempt(1), 1, puts(1, 0, 3)).await;
    commit(&place.sink(), 1, &listed).await.unwrap();
    let records = bare(&place.stream).await;
    let other = super::common::NewStream::make(super::common::shared(), 1).await;
    for record in records.iter().rev().chain(&records) {
        let blob = aws_sdk_kinesis::primitives::Blob::new(record.data.to_vec());
        let request = other.client.put_record().stream_name(&other.name).partition_key(&record.partition_key);
        request.data(blob).send().await.unwrap();
    }
    let read: Vec<_> = super::reading::read(&other).await.into_iter().map(|record| record.data).collect();
    assert_eq!(read, ["2", "1", "0", "0", "1", "2"]);
}

/// A reader remembers what came in the last second, and not all.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_remembers_does_not_grow_with_what_it_read() {
    let place = Place::numbered(1).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let mut sizes = Vec::new();
    for epoch in 1..7 {
        let listed =
            prepared(&mut writer, &attempt(1), epoch, puts(300, epoch * 1_000, epoch * 1_000 + 900)).await;
        commit(&sink, epoch, &listed).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        let (_, known) = read_on(&place.stream, nothing()).await;
        sizes.push(tidelock::Stored::encode(&known.ended[0]).unwrap().json.get().len());
    }
    // Of nine hundred each, at two bytes, those of two or three epochs.
    assert!(sizes.iter().all(|size| *size < 8_000), "{sizes:?}");
}
