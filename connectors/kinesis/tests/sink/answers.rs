//! What the service answers, and what becomes of a record then.

use tidelock::{ErrorKind, Retry, Sink as _};
use tidelock_testkit::Fault;

use super::place::{Place, attempt, commit, expected, opened, prepared, put, puts, refused, write};
use super::reading::bare;
use super::refused::refuse_some;

fn answer(status: u16, body: &'static str) -> Fault {
    Fault::Refused { status, body: body.into() }
}

/// An answer that says that all is well, and not what was put, is none of the service's: taken for one it would lose all records of the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_answered_with_nothing_is_sent_again() {
    for nothing in [
        "",
        "{}",
        "null",
        r#"{"FailedRecordCount":0}"#,
        r#"{"FailedRecordCount":0,"Records":[]}"#,
        r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#,
        r#"{"FailedRecordCount":0,"Records":[{},{},{}]}"#,
        r#"{"FailedRecordCount":0,"Records":[{"ShardId":"a"},{"SequenceNumber":"1"},{"SequenceNumber":"","ShardId":""}]}"#,
    ] {
        let mut place = Place::direct(1).await;
        let faults = place.behind_faults().await;
        faults.plan(&answer(200, nothing), 2);
        let all = puts(3, 0, 3);
        write(&mut opened(&place.sink(), &attempt(1)).await, all.clone()).await.unwrap();
        assert_eq!(place.seen().await, expected(&all), "{nothing}");
        assert_eq!(faults.count(), 2, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_tried_again() {
    let mut place = Place::direct(1).await;
    let faults = place.behind_faults().await;
    for fault in [
        answer(503, "<html>"),
        refused(500, "InternalFailure"),
        refused(400, "ProvisionedThroughputExceededException"),
        refused(400, "KMSThrottlingException"),
        refused(400, "ExpiredTokenException"),
        Fault::Cut,
    ] {
        faults.plan(&fault, 1);
    }
    let all = puts(3, 0, 3);
    write(&mut opened(&place.sink(), &attempt(1)).await, all.clone()).await.unwrap();
    assert_eq!(place.seen().await, expected(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_mend_halts_and_nothing_is_said_to_be_there() {
    for (code, kind) in [
        ("AccessDeniedException", ErrorKind::Auth),
        ("KMSAccessDeniedException", ErrorKind::Auth),
        ("ResourceNotFoundException", ErrorKind::NotFound),
    ] {
        let mut place = Place::direct(1).await;
        let faults = place.behind_faults().await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        faults.random(0, [(refused(400, code), 1.0)]);
        let error = write(&mut writer, puts(3, 0, 3)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Halt), "{error}");
        faults.heal();
        let error = write(&mut writer, puts(3, 3, 6)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}

/// The service does not say which record it is. The others are put, and it is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_service_refuses_for_ever_is_found_among_others() {
    let mut place = Place::direct(1).await;
    let faults = place.behind_faults().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    faults.only(|request| {
        let body = std::str::from_utf8(request.body()).unwrap_or_default();
        body.contains(r#""PartitionKey":"bad""#)
    });
    faults.random(0, [(refused(400, "InvalidArgumentException"), 1.0)]);
    let mut all = puts(40, 0, 40);
    all.insert(17, put("bad", 1));
    let error = write(&mut writer, all).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error}");
    assert!(error.to_string().contains("partition_key=bad"), "{error}");
    assert!(bare(&place.stream).await.iter().all(|record| record.partition_key != "bad"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_is_named_before_anything_is_written() {
    let mut place = Place::direct(1).await;
    place.config.stream = "nobody-has-it".into();
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    assert!(error.to_string().contains("stream=nobody-has-it"), "{error}");
}

/// A request in the middle of an epoch that is answered with nothing, or refused in part: our source hands each record over once.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_whole_whatever_is_answered() {
    let mut place = Place::numbered(2).await;
    let faults = place.behind_faults().await;
    place.config.request_records_max = 10;
    refuse_some(&faults, |asked| {
        (asked.data.last()?.is_multiple_of(3) && rand::random()).then_some("InternalFailure")
    });
    for fault in [answer(200, "{}"), Fault::Lost, Fault::Half, Fault::Doubled, Fault::Late(3)] {
        faults.plan(&fault, 1);
    }
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let all = puts(40, 0, 200);
    let listed = prepared(&mut writer, &attempt(1), 1, all.clone()).await;
    commit(&sink, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await, expected(&all));
    assert!(bare(&place.stream).await.len() > 200, "some are there twice");
}
