//! Settings that are changed while epochs are pending: they say where rows go, and these were written for another place.

use tidelock::{ErrorKind, Retry, Sink as _, Stored, WriterId};

use super::place::{Listed, Place, attempt, commit, opened, prepared, put};

/// A table to which the job wrote before.
async fn written_before(number: u64) -> Place {
    let place = Place::ledger().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(number)).await;
    let listed = prepared(&mut writer, &attempt(number), number, vec![put("before", number)]).await;
    commit(&sink, number, &listed).await.unwrap();
    place
}

/// As a build stored it that named no place.
fn without_place(listed: &[Listed]) -> Vec<Listed> {
    let without = |one: &Listed| {
        let stored = Stored::encode(&one.committable).unwrap();
        let place = one.committable.place().unwrap();
        let json = stored.json.get().replace(&format!(r#""place":"{place}","#), "");
        let json = serde_json::value::RawValue::from_string(json).unwrap();
        let committable: tidelock::write_ahead::WriteAheadCommittable =
            Stored { version: 2, json }.decode().unwrap();
        assert_eq!(committable.place(), None);
        Listed { committable, ..one.clone() }
    };
    listed.iter().map(without).collect()
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_that_is_changed_while_an_epoch_is_pending_halts_the_job_and_the_remedy_helps() {
    let (other, place) = (written_before(1).await, Place::ledger().await);
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    let pending = prepared(&mut writer, &attempt(2), 2, vec![put("a", 2)]).await;
    let (before, after) = (place.table(), other.table());
    let changed = other.sink();
    for error in [
        changed.recover(&attempt(3), &pending).await.unwrap_err(),
        commit(&changed, 2, &pending).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        let told = error.to_string();
        let places = format!("pending_for=table {before}, configured=table {after}, epochs=2");
        assert!(told.contains(&places) && told.contains("remedy=configure the place of before"), "{told}");
    }
    assert_eq!((other.value("a").await, other.value("before").await), (None, Some(1)));
    // The remedy: the table of before, until nothing is pending. It has two names.
    let mut back = Place { server: place.server, config: place.config.clone() };
    back.config.table = format!("default:{before}");
    let sink = back.sink();
    sink.recover(&attempt(4), &pending).await.unwrap();
    commit(&sink, 2, &pending).await.unwrap();
    assert_eq!(place.value("a").await, Some(2));
    changed.recover(&attempt(5), &[]).await.unwrap();
    let mut writer = changed.open(&attempt(5), WriterId(0)).await.unwrap();
    let next = prepared(&mut writer, &attempt(5), 3, vec![put("a", 3)]).await;
    commit(&changed, 3, &next).await.unwrap();
    assert_eq!((place.value("a").await, other.value("a").await), (Some(2), Some(3)));
}

/// The same name on another cluster, a versions table from a backup, or what a build stored that named no place: the claim says it.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_that_the_attempt_never_claimed_that_prepared_an_epoch_takes_nothing_of_it() {
    let (other, place) = (written_before(1).await, Place::ledger().await);
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    let pending = prepared(&mut writer, &attempt(2), 2, vec![put("a", 2)]).await;
    let pending = without_place(&pending);
    let changed = other.sink();
    for number in [3, 4] {
        let error = changed.recover(&attempt(number), &pending).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        let told = error.to_string();
        let claims = "prepared_by=attempt 2 of generation 1, newest_claim=attempt 1 of generation 1";
        assert!(told.contains(claims) && told.contains("with its table and its cluster"), "{told}");
    }
    assert_eq!(other.value("a").await, None);
    // It claimed nothing there, and where it was written for it is applied.
    let back = place.sink();
    back.recover(&attempt(5), &pending).await.unwrap();
    commit(&back, 2, &pending).await.unwrap();
    assert_eq!((place.value("a").await, other.value("a").await), (Some(2), None));
}
