//! Stores that cannot hold a log are refused at the start.

use object_store::Error as StoreError;

use super::flawed::{Flaw, Flawed};
use super::*;
use crate::{ErrorKind, Retry};

#[tokio::test]
async fn a_store_that_cannot_hold_a_log_is_refused() {
    use Flaw as F;
    for (flaw, expected) in [
        (F::None, None),
        (F::SendsTwice, None),
        (F::DeletesTwice, None),
        (F::IgnoresTheCondition, Some((ErrorKind::Config, Retry::Halt, "second create"))),
        (F::LooksThenWrites, Some((ErrorKind::Config, Retry::Halt, "came at once"))),
        (F::HasNoCondition, Some((ErrorKind::Config, Retry::Halt, "conditional create"))),
        (F::ListsLate, Some((ErrorKind::Config, Retry::Halt, "consistent listing"))),
        (F::DeniesWrites, Some((ErrorKind::Auth, Retry::Halt, "denies access"))),
        (F::DeniesDeletes, Some((ErrorKind::Auth, Retry::Halt, "denies access"))),
        (F::IsDown, Some((ErrorKind::Unavailable, Retry::Restart, "did not answer"))),
    ] {
        let log = Flawed::log(flaw);
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
    let log = Flawed::log(Flaw::SendsTwice);
    let mine = entry(1, EntryKind::Claim, 1, 0);
    assert!(matches!(log.create(&mine).await.unwrap(), Created::Taken));
    let back = log.read_back(Position(1), std::slice::from_ref(&mine.nonce)).await.unwrap();
    assert!(matches!(back, ReadBack::Ours(..)), "{back:?}");

    // The same for a savepoint's manifest.
    let from = memory();
    small_log(&from).await;
    let newest = from.newest().await.unwrap().unwrap();
    let to = Flawed::log(Flaw::SendsTwice);
    from.export_to(&newest, newest.state.as_ref().unwrap(), &to).await.unwrap();
}

#[tokio::test]
async fn a_chunk_whose_write_failed_does_not_stay() {
    let log = Flawed::log(Flaw::WritesAndFails);
    log.write_chunk(Position(1), vec![7; 100].into()).await.expect_err("the answer was lost");
    assert_eq!(log.stored_chunks().await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_job_goes_on_when_there_is_space() {
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = StoreError::Generic { store: "LocalFileSystem", source: Box::new(full()) };
    let error = super::super::error::from_store("append an entry", "log/1.json", error);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart));
    assert!(error.to_string().contains("disk is full"), "{error}");
}
