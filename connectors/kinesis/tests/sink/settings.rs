//! Settings that are changed between two runs.

use tidelock::{ErrorKind, Retry, Sink as _};
use tidelock_kinesis::{KinesisPut, Mode};

use super::place::{Place, attempt, commit, expected, opened, prepared, put, puts, write};
use super::reading::bare;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_put_with_its_numbers_in_the_other_mode() {
    let mut place = Place::numbered(1).await;
    let all = puts(3, 0, 9);
    let sink = place.sink();
    let listed = prepared(&mut opened(&sink, &attempt(1)).await, &attempt(1), 1, all.clone()).await;
    assert!(bare(&place.stream).await.is_empty(), "nothing is visible before the commit");
    place.config.mode = Mode::Direct;
    for number in [2, 3] {
        let other = place.sink();
        other.recover(&attempt(number), &listed).await.unwrap();
        commit(&other, 1, &listed).await.unwrap();
    }
    assert_eq!(place.seen().await, expected(&all));
    write(&mut opened(&place.sink(), &attempt(4)).await, vec![put("k0", "direct")]).await.unwrap();
    assert_eq!(place.seen().await["k0"], ["0", "3", "6", "direct"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_goes_to_no_other_stream() {
    let place = Place::numbered(1).await;
    let sink = place.sink();
    let listed = prepared(&mut opened(&sink, &attempt(1)).await, &attempt(1), 1, puts(3, 0, 9)).await;
    let other = Place::numbered(1).await;
    let elsewhere = other.sink();
    for error in [
        elsewhere.recover(&attempt(2), &listed).await.unwrap_err(),
        commit(&elsewhere, 1, &listed).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
        let said = error.to_string();
        assert!(said.contains(&place.config.stream) && said.contains(&other.config.stream), "{said}");
    }
    assert!(bare(&other.stream).await.is_empty());
    // Nor to one that was made again under its name.
    place.stream.delete().await;
    place.stream.create(1).await;
    let error = place.sink().recover(&attempt(2), &listed).await.unwrap_err();
    assert!(error.to_string().contains("pending_for="), "{error}");
    assert!(bare(&place.stream).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_named_by_its_arn() {
    let mut place = Place::direct(1).await;
    let summary = place.stream.client.describe_stream_summary().stream_name(&place.stream.name).send().await;
    place.config.stream = summary.unwrap().stream_description_summary.unwrap().stream_arn;
    write(&mut opened(&place.sink(), &attempt(1)).await, vec![put("a", 1)]).await.unwrap();
    assert_eq!(bare(&place.stream).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explicit_hash_key_decides_the_shard() {
    let place = Place::direct(2).await;
    let records: Vec<KinesisPut> =
        [0, u128::MAX].iter().map(|hash| put("same", hash).with_hash_key(*hash)).collect();
    write(&mut opened(&place.sink(), &attempt(1)).await, records).await.unwrap();
    let bare = bare(&place.stream).await;
    assert!(bare.len() == 2 && bare[0].shard != bare[1].shard, "{bare:?}");
    assert_eq!(bare[0].data, "0");
}
