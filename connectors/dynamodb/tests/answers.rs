//! What becomes of requests whose answers are lost, late, slow or refusals, with the client that connectors have.

mod common;

use std::time::Duration;

use aws_sdk_dynamodb::types::{KeysAndAttributes, PutRequest, WriteRequest};
use bytes::Bytes;
use common::partial::leave_some_undone;
use common::{NewTable, client, config, items, shared};
use tidelock::{Error, ErrorKind, Retry};
use tidelock_aws::{AwsConfig, failed, is_throttled, load};
use tidelock_dynamodb::Value;
use tidelock_testkit::{Fault, HttpFaults};

fn refused(status: u16, code: &str) -> Fault {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"why"}}"#);
    Fault::Refused { status, body: body.into() }
}

async fn put(config: &AwsConfig, table: &str, pk: &str) -> Result<(), Error> {
    let client = aws_sdk_dynamodb::Client::new(&load(config).await?);
    let put = client.put_item().table_name(table).item("pk", Value::from(pk).into());
    put.send().await.map(|_| ()).map_err(|error| failed("put an item", error))
}

#[tokio::test]
async fn each_fault_is_one_try_and_says_whether_it_may_be_done() {
    let table = NewTable::fresh().make(&client(shared()).await).await;
    let faults = HttpFaults::start(shared()).await.expect("a proxy");
    let config = config(faults.address());
    for (at, (fault, kind, retry, is_done)) in [
        (Fault::Cut, ErrorKind::Unavailable, Retry::Retry, false),
        (Fault::Lost, ErrorKind::Unavailable, Retry::Retry, true),
        (Fault::Half, ErrorKind::Unavailable, Retry::Retry, true),
        (refused(500, "InternalServerError"), ErrorKind::Unavailable, Retry::Retry, false),
        (Fault::Refused { status: 503, body: Bytes::new() }, ErrorKind::Unavailable, Retry::Retry, false),
        (Fault::Refused { status: 502, body: "<html>".into() }, ErrorKind::Unavailable, Retry::Retry, false),
        (refused(400, "ThrottlingException"), ErrorKind::RateLimited, Retry::Retry, false),
        (refused(400, "ProvisionedThroughputExceededException"), ErrorKind::RateLimited, Retry::Retry, false),
        (refused(400, "ExpiredTokenException"), ErrorKind::Auth, Retry::Retry, false),
        (refused(400, "AccessDeniedException"), ErrorKind::Auth, Retry::Halt, false),
    ]
    .into_iter()
    .enumerate()
    {
        faults.plan(&fault, 1);
        let before = items(&client(shared()).await, &table).await.len();
        let error = put(&config, &table, &at.to_string()).await.expect_err("a fault");
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{fault:?}: {error:?}");
        assert_eq!(is_throttled(&error), kind == ErrorKind::RateLimited, "{error}");
        // Had the SDK sent it again, it would be done.
        let after = items(&client(shared()).await, &table).await.len();
        assert_eq!(after - before, usize::from(is_done), "{fault:?}");
    }
    faults.plan(&Fault::Slow, 1);
    put(&config, &table, "slow").await.expect("it comes");
}

/// The hook that the tests of batches stand on.
#[tokio::test]
async fn a_part_of_a_batch_that_is_not_done_is_told_and_not_there() {
    let direct = client(shared()).await;
    let table = NewTable::fresh().make(&direct).await;
    let faults = HttpFaults::start(shared()).await.expect("a proxy");
    leave_some_undone(&faults, 7);
    let client = client(faults.address()).await;
    let write = |pk: usize| {
        let put =
            PutRequest::builder().item("pk", Value::from(pk.to_string()).into()).build().expect("whole");
        WriteRequest::builder().put_request(put).build()
    };
    let mut waiting: Vec<WriteRequest> = (0..25).map(write).collect();
    let mut rounds = 0;
    while !waiting.is_empty() {
        let before = items(&direct, &table).await.len();
        let answer = client
            .batch_write_item()
            .request_items(&table, waiting.clone())
            .send()
            .await
            .expect("some are done");
        let undone =
            answer.unprocessed_items().and_then(|undone| undone.get(&table)).cloned().unwrap_or_default();
        assert_eq!(items(&direct, &table).await.len() - before, waiting.len() - undone.len());
        (waiting, rounds) = (undone, rounds + 1);
    }
    assert!(rounds > 1 && items(&direct, &table).await.len() == 25, "{rounds}");
    let key = |pk: usize| [("pk".to_owned(), Value::from(pk.to_string()).into())].into();
    let wanted =
        KeysAndAttributes::builder().set_keys(Some((0..25).map(key).collect())).consistent_read(true).build();
    let answer = client
        .batch_get_item()
        .request_items(&table, wanted.expect("whole"))
        .send()
        .await
        .expect("some are read");
    let (read, undone) =
        (answer.responses().expect("some")[&table].len(), &answer.unprocessed_keys().expect("some")[&table]);
    assert!(read > 0 && read + undone.keys().len() == 25 && undone.consistent_read() == Some(true), "{read}");
}

#[tokio::test]
async fn what_is_not_there_and_a_server_that_is_not_there_are_told_apart() {
    let faults = HttpFaults::start(shared()).await.expect("a proxy");
    let error = put(&config(faults.address()), "of_nobody", "a").await.expect_err("no table");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    let gone = faults.address();
    drop(faults);
    let error = loop {
        let error = put(&config(gone), "of_nobody", "a").await.expect_err("nobody");
        // The listener of a proxy closes a little after it was dropped.
        if error.kind() == ErrorKind::Unavailable {
            break error;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(error.retry() == Retry::Retry && !format!("{error:?}").contains("s3cret"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = config(silent.local_addr().expect("an address"));
    config.call_timeout_ms = 50;
    let error = put(&config, "orders", "a").await.expect_err("no answer");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    assert!(error.to_string().contains("no answer in time"), "{error}");
}
