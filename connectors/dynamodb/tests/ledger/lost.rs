//! A ledger that is gone, or is not what it was: evidence, and nothing is applied.

use tidelock::{ErrorKind, Result, Retry, Sink as _, WriterId};

use super::place::{Listed, Place, WRITES, attempt, commit, counted, counts, opened, prepared};

/// With an epoch that is pending and applied in part.
async fn half_applied() -> (Place, Vec<Listed>) {
    let direct = Place::new().await;
    let mut place = direct.clone();
    place.config.lanes_max = 1;
    let faults = place.behind_faults(WRITES).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, counts(500, 1)).await;
    commit(&sink, 1, &first).await.unwrap();
    let second = prepared(&mut writer, &attempt(1), 2, counts(500, 1)).await;
    // The epoch is begun, and a chunk is applied.
    faults.plan(&tidelock_testkit::Fault::Slow, 2);
    faults.plan(&super::place::refused(400, "AccessDeniedException"), 100);
    commit(&sink, 2, &second).await.unwrap_err();
    let applied = direct.seen().await.into_values().filter(|item| item["value"] == 2.into()).count();
    assert_eq!(applied, 99);
    (direct, second)
}

fn halts(refused: Result<()>, words: &[&str]) {
    let error = refused.unwrap_err();
    assert_eq!(error.retry(), Retry::Halt, "{error:?}");
    assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Corrupt), "{error:?}");
    let said = error.to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
}

#[tokio::test]
async fn a_ledger_that_was_deleted_halts_with_what_to_do_and_is_not_made_anew() {
    let (place, pending) = half_applied().await;
    let seen = place.seen().await;
    place.drop_table(&place.config.ledger_table).await;
    for number in 2..4 {
        let refused = place.sink().recover(&attempt(number), &pending).await;
        halts(
            refused,
            &["is gone", "setting=ledger_table", "prepared_with=ledger_", "tidelock snapshots abandon"],
        );
    }
    assert_eq!(place.seen().await, seen);
    // When what was pending was given up, a new one is made.
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(4)).await;
    let third = prepared(&mut writer, &attempt(4), 3, counts(1, 10)).await;
    commit(&sink, 3, &third).await.unwrap();
    assert_eq!(place.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_ledger_that_was_restored_from_a_backup_halts_however_new_the_backup_is() {
    let (place, pending) = half_applied().await;
    let (seen, backup) = (place.seen().await, place.ledger().await);
    place.drop_table(&place.config.ledger_table).await;
    place.restore_ledger(&backup).await;
    let refused = place.sink().recover(&attempt(2), &pending).await;
    halts(refused, &["restored from a backup", "setting=ledger_table", "found=ledger_"]);
    assert_eq!(place.seen().await, seen);
}

#[tokio::test]
async fn another_ledger_halts_and_so_does_one_whose_items_are_from_before_the_attempt() {
    let (place, pending) = half_applied().await;
    let mut changed = place.clone();
    changed.config.ledger_table = format!("other_{}", place.config.ledger_table);
    opened(&changed.sink(), &super::place::attempt_of("another-job", 1, 1)).await;
    halts(changed.sink().recover(&attempt(2), &pending).await, &["another table", "setting=ledger_table"]);
    // The same table, with the items of before.
    let backup = place.ledger().await;
    let newer = place.sink();
    newer.recover(&attempt(2), &pending).await.unwrap();
    commit(&newer, 2, &pending).await.unwrap();
    let mut writer = newer.open(&attempt(2), WriterId(0)).await.unwrap();
    let third = prepared(&mut writer, &attempt(2), 3, counts(500, 1)).await;
    commit(&newer, 3, &third).await.unwrap();
    place.put_ledger(&backup).await;
    let words = ["older than was there", "prepared_by=attempt 2", "newest_in_ledger=attempt 1"];
    halts(place.sink().recover(&attempt(3), &third).await, &words);
    assert_eq!(place.seen().await, counted(500, 3));
}

#[tokio::test]
async fn items_that_are_gone_or_damaged_halt_while_the_job_runs_and_when_it_starts() {
    let (place, pending) = half_applied().await;
    let (seen, whole) = (place.seen().await, place.ledger().await);
    let damage = |id: &str, text: &str| [(id.to_owned(), text.to_owned())].into();
    place.put_ledger(&damage("job.out", &whole["job.out"].replace("\"epoch\":2", "\"epoch\":1"))).await;
    halts(place.sink().recover(&attempt(2), &pending).await, &["damaged=job.out", "remedy="]);
    place.put_ledger(&whole).await;
    place.put_ledger(&damage("job.out.0", "2 00000000 {}")).await;
    halts(place.sink().recover(&attempt(2), &pending).await, &["damaged=job.out.0"]);
    assert_eq!(place.seen().await, seen);
    place.put_ledger(&whole).await;
    // While it runs: a lane is gone, and nobody knows what it said.
    let sink = place.sink();
    sink.recover(&attempt(2), &pending).await.unwrap();
    delete(&place, "job.out.0").await;
    halts(commit(&sink, 2, &pending).await, &["older than was there"]);
    delete(&place, "job.out").await;
    halts(place.sink().recover(&attempt(3), &pending).await, &["older than was there"]);
    assert_eq!(place.seen().await, seen);
}

async fn delete(place: &Place, id: &str) {
    let delete = place.client.delete_item().table_name(&place.config.ledger_table);
    delete.key("id", tidelock_dynamodb::Value::from(id).into()).send().await.unwrap();
}
