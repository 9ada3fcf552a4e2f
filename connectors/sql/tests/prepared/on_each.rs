//! One scene each: a database of its own, and what happens there.

use super::*;

/// While the job is down somebody ends its transactions by hand.
pub(crate) async fn what_an_operator_committed_is_done_and_what_he_rolled_back_halts(place: Place) {
    place.make_log().await;
    let first = ready(&place, &attempt("job", 1)).await;
    let committed = prepare(&first, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    drop(first);
    place.end_by_hand(&name_of(&committed[0]).to_string(), "COMMIT").await;
    let second = sink(&place);
    second.recover(&attempt("job", 2), &committed).await.unwrap();
    commit(&second, 1, &committed).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 3, "once");

    let lost = prepare(&second, &attempt("job", 2), 2, inserts("b", 3)).await.unwrap();
    drop(second);
    let name = name_of(&lost[0]).to_string();
    place.end_by_hand(&name, "ROLLBACK").await;
    let third = sink(&place);
    let error = third.recover(&attempt("job", 3), &lost).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error:?}");
    let told = error.to_string();
    assert!(told.contains(&name) && told.contains("epoch=2"), "{told}");
    assert!(told.contains("tidelock snapshots abandon"), "the remedy: {told}");
    assert!(told.contains("Where no snapshot from before it is left"), "what is left then: {told}");
    let error = commit(&third, 2, &lost).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error:?}");
    // The remedy was followed: nothing is pending any more, and the epoch is written again.
    let fourth = ready(&place, &attempt("job", 4)).await;
    let again = prepare(&fourth, &attempt("job", 4), 3, inserts("b", 3)).await.unwrap();
    commit(&fourth, 3, &again).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 6);
    nothing_is_locked(&place).await;
}

/// The server has one list for everybody.
pub(crate) async fn names_of_others_are_neither_read_nor_touched(place: Place) {
    place.make_log().await;
    place.run("CREATE TABLE other (id BIGINT PRIMARY KEY)").await;
    let salt = place.config.name.clone();
    let foreign: Vec<String> = match place.kind() {
        DatabaseKind::Postgres => vec![
            format!("'{salt} \"?\" ä'"),
            format!("'tidelock:{salt}'"),
            format!("'tidelock:job.out:1.0.1:{salt}'"),
        ],
        _ => {
            let hex: String = salt.bytes().map(|byte| format!("{byte:02x}")).collect();
            vec![
                format!("X'ff00fe80{hex}',X'80c0',1"),
                format!("X'{hex}',X'',1953064044"),
                format!("X'6a6f622e6f7574',X'312e302e31{hex}',1953064044"),
            ]
        }
    };
    for (at, name) in foreign.iter().enumerate() {
        if place.kind() == DatabaseKind::Postgres {
            let (client, connection) =
                tokio_postgres::connect(&place.url("postgres"), tokio_postgres::NoTls).await.unwrap();
            let wire = tokio::spawn(connection);
            let statements = format!("BEGIN; INSERT INTO other VALUES ({at}); PREPARE TRANSACTION {name}");
            client.batch_execute(&statements).await.unwrap();
            drop(client);
            wire.await.unwrap().unwrap();
        } else {
            let mut connection = place.mysql_connection().await;
            for statement in [
                format!("XA START {name}"),
                format!("INSERT INTO other VALUES ({at})"),
                format!("XA END {name}"),
                format!("XA PREPARE {name}"),
            ] {
                connection.query_drop(statement).await.unwrap();
            }
            connection.disconnect().await.unwrap();
        }
    }
    let sink = ready(&place, &attempt("job", 5)).await;
    let pending = prepare(&sink, &attempt("job", 5), 1, inserts("a", 3)).await.unwrap();
    let tool = Transactions::new(place.config.clone(), "tidelock_transactions").unwrap();
    let listed = tool.list().await.unwrap();
    assert!(listed.ours.contains(&name_of(&pending[0])) && listed.others >= foreign.len(), "{listed:?}");
    sink.recover(&attempt("job", 5), &pending).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 3);
    for name in &foreign {
        let rollback = match place.kind() {
            DatabaseKind::Postgres => format!("ROLLBACK PREPARED {name}"),
            _ => format!("XA ROLLBACK {name}"),
        };
        // It is there still.
        if place.kind() == DatabaseKind::Postgres {
            place.run(&rollback).await;
        } else {
            let mut connection = place.mysql_connection().await;
            connection.query_drop(rollback).await.unwrap();
            connection.disconnect().await.unwrap();
        }
    }
}

/// A server's list does not say of which database a transaction is.
pub(crate) async fn jobs_of_one_name_on_two_databases_are_apart(place: Place) {
    place.make_log().await;
    let mut other = place.again();
    other.config.name = format!("{}_b", place.config.name);
    place.run(&format!("CREATE DATABASE {}", other.config.name)).await;
    other.make_log().await;
    let theirs = ready(&other, &attempt("job", 1)).await;
    let pending = prepare(&theirs, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    let ours = ready(&place, &attempt("job", 7)).await;
    ours.recover(&attempt("job", 7), &[]).await.unwrap();
    commit(&theirs, 1, &pending).await.unwrap();
    assert_eq!(other.rows("id").await.len(), 3);
    // What was prepared in one database is told where a job is given the other one.
    let mine = prepare(&ours, &attempt("job", 7), 2, inserts("b", 3)).await.unwrap();
    commit(&ours, 2, &mine).await.unwrap();
    let error = sink(&other).recover(&attempt("job", 8), &mine).await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Expired, "nothing is proven to be lost: {error:?}");
    assert_eq!(error.retry(), Retry::Halt, "{error:?}");
}

/// The transaction has the rows, and ends where it was begun.
pub(crate) async fn what_is_pending_is_committed_to_its_own_table_whatever_is_configured(place: Place) {
    place.make_log().await;
    place.run("CREATE TABLE other (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL)").await;
    let first = ready(&place, &attempt("job", 1)).await;
    let pending = prepare(&first, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    drop(first);
    let changed = SqlSink::<Row>::new(place.sink_config_of("other")).unwrap();
    changed.recover(&attempt("job", 2), &pending).await.unwrap();
    commit(&changed, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 3);
    assert_eq!(place.query("SELECT value FROM other").await.len(), 0);
    let next = prepare(&changed, &attempt("job", 2), 2, inserts("b", 2)).await.unwrap();
    commit(&changed, 2, &next).await.unwrap();
    assert_eq!(place.query("SELECT value FROM other").await.len(), 2);
    nothing_is_locked(&place).await;
}

pub(crate) async fn an_attempt_that_is_not_older_stops_recovery_before_anything_is_touched(place: Place) {
    place.make_log().await;
    let old = ready(&place, &attempt("job", 3)).await;
    let left = prepare(&old, &attempt("job", 3), 1, inserts("left", 3)).await.unwrap();
    let newer = sink(&place);
    newer.recover(&attempt("job", 7), &left).await.unwrap();
    let pending = prepare(&newer, &attempt("job", 7), 2, inserts("new", 3)).await.unwrap();
    for number in [5, 7] {
        let error = sink(&place).recover(&attempt("job", number), &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("its_attempt=7") && told.contains("remedy="), "{told}");
        assert_eq!(place.prepared().await.len(), 2, "nothing was touched");
    }
    commit(&newer, 2, &[left, pending].concat()).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 6);
    // Also where nothing of it is prepared any more.
    let error = sink(&place).recover(&attempt("job", 5), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(sink(&place).open(&attempt("job", 5), WriterId(0)).await.is_err());
    nothing_is_locked(&place).await;
}

/// The second one's transaction cannot begin, or not be prepared: nothing of it is written by itself.
pub(crate) async fn two_processes_of_one_attempt_write_nothing_twice(place: Place) {
    place.make_log().await;
    let first = ready(&place, &attempt("job", 1)).await;
    let pending = prepare(&first, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    // Where the first one's row is locked, it is waited for.
    let mut impatient = place.sink_config();
    impatient.database.statement_timeout_ms = 1_000;
    let second = SqlSink::<Row>::new(impatient).unwrap();
    let error = prepare(&second, &attempt("job", 1), 1, inserts("b", 3)).await.unwrap_err();
    assert_ne!(error.retry(), Retry::Retry, "{error:?}");
    assert_eq!(place.rows("id").await, [], "each insert would have committed by itself");
    assert_eq!(place.prepared().await.len(), 1);
    commit(&first, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 3);
    nothing_is_locked(&place).await;
}

pub(crate) async fn an_epoch_that_lost_its_beginning_is_not_prepared(place: Place) {
    place.make_log().await;
    let sink = ready(&place, &attempt("job", 1)).await;
    let mut writer = sink.open(&attempt("job", 1), WriterId(0)).await.unwrap();
    writer.write(&mut inserts("a", 3_000)).await.unwrap();
    place.end_open_transactions().await;
    let error = match writer.write(&mut inserts("b", 3_000)).await {
        Err(error) => error,
        Ok(()) => writer.prepare(Epoch(1)).await.unwrap_err(),
    };
    assert_eq!(error.retry(), Retry::Restart, "{error:?}");
    // It never goes on with the rest.
    assert!(writer.write(&mut inserts("c", 1)).await.is_err());
    assert!(writer.prepare(Epoch(1)).await.is_err());
    assert_eq!(place.prepared().await.len(), 0);
    drop(writer);
    let next = ready(&place, &attempt("job", 2)).await;
    let pending = prepare(&next, &attempt("job", 2), 1, inserts("a", 3)).await.unwrap();
    commit(&next, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 3);
    nothing_is_locked(&place).await;
}

/// A process that does nothing holds its rows and its connection.
pub(crate) async fn what_a_paused_attempt_holds_is_free_after_recovery(place: Place) {
    place.make_table().await;
    let upserts =
        |value| (0..3_000).map(|at| Change::Upsert(row(&format!("k{at}"), value))).collect::<Vec<_>>();
    let older = ready(&place, &attempt("job", 1)).await;
    let mut paused = older.open(&attempt("job", 1), WriterId(0)).await.unwrap();
    paused.write(&mut upserts(1)).await.unwrap();
    let newer = ready(&place, &attempt("job", 2)).await;
    let two = attempt("job", 2);
    let written = prepare(&newer, &two, 1, upserts(2));
    let pending = tokio::time::timeout(Duration::from_secs(20), written).await.expect("free").unwrap();
    commit(&newer, 1, &pending).await.unwrap();
    // It wakes up.
    let woken = match paused.write(&mut upserts(3)).await {
        Ok(()) => paused.prepare(Epoch(1)).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(woken.is_err());
    let rows = place.rows("\"key\"").await;
    assert!(rows.len() == 3_000 && rows.iter().all(|row| row.value == 2));
    drop(paused);
    nothing_is_locked(&place).await;
}

/// What a newer attempt dealt with is not called lost.
pub(crate) async fn a_late_commit_of_an_older_attempt_is_no_loss(place: Place) {
    place.make_log().await;
    let older = ready(&place, &attempt("job", 1)).await;
    let pending = prepare(&older, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    let newer = sink(&place);
    newer.recover(&attempt("job", 2), &pending).await.unwrap();
    commit(&newer, 1, &pending).await.unwrap();
    newer.recover(&attempt("job", 2), &[]).await.unwrap();
    let error = commit(&older, 1, &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("newer_attempt=2"), "{error}");
    assert_eq!(place.rows("id").await.len(), 3);
}

/// Rows that are prepared are locked until they are committed.
pub(crate) async fn a_writer_never_waits_for_its_own_rows(place: Place) {
    place.make_table().await;
    let (one, sink) = (attempt("job", 1), ready(&place, &attempt("job", 1)).await);
    let mut writer = sink.open(&one, WriterId(0)).await.unwrap();
    let first = fill(&mut writer, &one, 1, vec![Change::Insert(row("a", 1))]).await.unwrap();
    // Inserts go on beside inserts; a change of a row does not.
    let second = fill(&mut writer, &one, 2, vec![Change::Insert(row("b", 1))]).await.unwrap();
    let mut changes =
        vec![Change::Insert(row("c", 1)), Change::Update(row("a", 2)), Change::Insert(row("d", 1))];
    writer.write(&mut changes).await.unwrap();
    assert_eq!(changes, [Change::Update(row("a", 2)), Change::Insert(row("d", 1))]);
    commit(&sink, 1, &first).await.unwrap();
    writer.write(&mut changes).await.unwrap();
    assert_eq!(changes.len(), 2, "an earlier one is not committed");
    commit(&sink, 2, &second).await.unwrap();
    writer.settled(Epoch(2), false).await.unwrap();
    let third = fill(&mut writer, &one, 3, changes).await.unwrap();
    let mut next = vec![Change::Insert(row("e", 1))];
    writer.write(&mut next).await.unwrap();
    assert_eq!(next.len(), 1, "the one before changed rows");
    commit(&sink, 3, &third).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("a", 2), row("b", 1), row("c", 1), row("d", 1)]);
    drop(writer);
    nothing_is_locked(&place).await;
}

/// Constraints are found out at once here, so records have their way back.
pub(crate) async fn a_row_that_cannot_be_is_dealt_with_when_it_is_written(place: Place) {
    place.make_table().await;
    place.run("INSERT INTO log VALUES ('k3', 5), ('k4', 5)").await;
    let changes = || {
        let mut changes = inserts("x", 0);
        changes.extend((0..100).map(|at| Change::Insert(row(&format!("k{at}"), at))));
        changes.insert(50, Change::Update(row("nobody", 1)));
        // Out of the range of its column.
        changes.insert(60, Change::Insert(row("large", u64::MAX)));
        changes
    };
    let config = |policy| {
        let mut config = place.sink_config();
        config.on_refused = policy;
        config
    };
    // Fail: named, and nothing is left.
    let fails = ready(&place, &attempt("job", 1)).await;
    let error =
        prepare(&fails, &attempt("job", 1), 1, vec![Change::Insert(row("k3", 77))]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    let told = format!("{error:?}");
    assert!(told.contains("table=log") && told.contains("key=key=\"k3\"") && !told.contains("77"), "{told}");
    // A place for them: each comes back whole, in its order.
    let rejects = ready(&place, &attempt("job", 2)).await;
    let mut writer = rejects.open(&attempt("job", 2), WriterId(0)).await.unwrap();
    let kept = Rejects::kept();
    writer.reject_to(kept.clone());
    let pending = fill(&mut writer, &attempt("job", 2), 1, changes()).await.unwrap();
    let mut rejected: Vec<String> =
        kept.take().into_iter().map(|(change, _)| change.record().key.clone()).collect();
    rejected.sort();
    assert_eq!(rejected, ["k3", "k4", "large", "nobody"]);
    commit(&rejects, 1, &pending).await.unwrap();
    assert_eq!(place.rows("\"key\"").await.len(), 100);
    // Nothing but such rows: there is nothing to prepare.
    let none = fill(&mut writer, &attempt("job", 2), 2, vec![Change::Insert(row("k3", 1))]).await.unwrap();
    assert!(none.is_empty() && kept.take().len() == 1 && place.prepared().await.is_empty());
    drop(writer);
    // Letters: once, in the transaction of the others.
    place.run("DELETE FROM log").await;
    place.run("INSERT INTO log VALUES ('k3', 5), ('k4', 5)").await;
    let letters = SqlSink::new(config(RecordPolicy::DeadLetter("letters".into()))).unwrap();
    letters.recover(&attempt("job", 3), &[]).await.unwrap();
    let pending = prepare(&letters, &attempt("job", 3), 3, changes()).await.unwrap();
    assert_eq!(place.query("SELECT place FROM letters").await.len(), 0, "not before the commit");
    for _ in 0..2 {
        commit(&letters, 3, &pending).await.unwrap();
        assert_eq!(place.rows("\"key\"").await.len(), 100);
        let found = place.query("SELECT record FROM letters WHERE epoch = 3 ORDER BY record").await;
        let found: Vec<_> = found.iter().map(|letter| letter[0].text()).collect();
        assert_eq!(
            found,
            [
                r#"{"key":"k3","value":3}"#,
                r#"{"key":"k4","value":4}"#,
                r#"{"key":"large","value":18446744073709551615}"#,
                r#"{"key":"nobody","value":1}"#,
            ]
        );
    }
    place.run("DELETE FROM log").await;
    place.run("INSERT INTO log VALUES ('k3', 5)").await;
    let skips = SqlSink::new(config(RecordPolicy::Skip)).unwrap();
    skips.recover(&attempt("job", 4), &[]).await.unwrap();
    let pending = prepare(&skips, &attempt("job", 4), 4, changes()).await.unwrap();
    commit(&skips, 4, &pending).await.unwrap();
    assert_eq!(place.rows("\"key\"").await.len(), 100);
    nothing_is_locked(&place).await;
}

/// A constraint of no single row: PostgreSQL alone has such.
pub(crate) async fn what_is_checked_at_the_end_alone_halts_and_leaves_nothing(place: Place) {
    if place.kind() != DatabaseKind::Postgres {
        return;
    }
    place
        .run(
            "CREATE TABLE log (\"key\" VARCHAR(64) UNIQUE DEFERRABLE INITIALLY DEFERRED, value BIGINT NOT NULL)",
        )
        .await;
    let sink = ready(&place, &attempt("job", 1)).await;
    let twice = vec![Change::Insert(row("a", 1)), Change::Insert(row("a", 2))];
    let error = prepare(&sink, &attempt("job", 1), 1, twice).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    nothing_is_locked(&place).await;
}

/// The table of transactions does not grow.
pub(crate) async fn rows_of_what_was_committed_are_deleted(place: Place) {
    place.make_log().await;
    let (one, sink) = (attempt("job", 1), ready(&place, &attempt("job", 1)).await);
    let mut writer = sink.open(&one, WriterId(0)).await.unwrap();
    for epoch in 1..=150 {
        let pending = fill(&mut writer, &one, epoch, inserts(&format!("e{epoch}"), 1)).await.unwrap();
        commit(&sink, epoch, &pending).await.unwrap();
        writer.settled(Epoch(epoch), false).await.unwrap();
    }
    let rows = place.registry().await;
    assert!(rows.len() < 75, "{} rows", rows.len());
    assert!(rows.contains(&"job.out.1.0.150".to_owned()), "the newest may be asked for: {rows:?}");
    drop(writer);
    let second = ready(&place, &attempt("job", 2)).await;
    let pending = prepare(&second, &attempt("job", 2), 151, inserts("x", 1)).await.unwrap();
    let third = super::sink(&place);
    third.recover(&attempt("job", 3), &pending).await.unwrap();
    commit(&third, 151, &pending).await.unwrap();
    assert_eq!(place.registry().await, ["job.out", "job.out.2.0.1"]);
    third.recover(&attempt("job", 4), &[]).await.unwrap();
    assert_eq!(place.registry().await, ["job.out"]);
    assert_eq!(place.rows("id").await.len(), 151);
}

/// A user changes one word of the configuration between two runs.
pub(crate) async fn a_mode_may_change_while_something_is_pending(place: Place) {
    place.make_log().await;
    let ledger = place.again().in_mode(Mode::Ledger);
    let first = ready(&ledger, &attempt("job", 1)).await;
    let by_ledger = prepare(&first, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    assert!(by_ledger[0].committable.transaction().is_none());
    let second = sink(&place);
    second.recover(&attempt("job", 2), &by_ledger).await.unwrap();
    commit(&second, 1, &by_ledger).await.unwrap();
    let prepared = prepare(&second, &attempt("job", 2), 2, inserts("b", 3)).await.unwrap();
    let third = sink(&ledger);
    third.recover(&attempt("job", 3), &prepared).await.unwrap();
    commit(&third, 2, &prepared).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 6);
    // What the other mode left is swept as well.
    let fourth = ready(&place, &attempt("job", 4)).await;
    let _left = prepare(&fourth, &attempt("job", 4), 3, inserts("c", 3)).await.unwrap();
    sink(&ledger).recover(&attempt("job", 5), &[]).await.unwrap();
    nothing_is_locked(&place).await;
}

pub(crate) async fn an_epoch_of_many_rows_is_written_as_it_comes(place: Place) {
    const ROWS: u64 = 20_000;
    place.make_log().await;
    let (one, sink) = (attempt("job", 1), ready(&place, &attempt("job", 1)).await);
    let mut writer = sink.open(&one, WriterId(0)).await.unwrap();
    let mut changes = inserts("a", ROWS);
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(700));
        writer.write(&mut changes).await.unwrap();
        changes = rest;
    }
    let pending = fill(&mut writer, &one, 1, Vec::new()).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 0);
    commit(&sink, 1, &pending).await.unwrap();
    let rows = place.rows("id").await;
    assert_eq!(rows.len() as u64, ROWS);
    assert!(rows.iter().zip(0..).all(|(row, at)| row.value == at), "in their order");
}

/// A rollback changes the generation of the attempt that does it.
pub(crate) async fn an_attempt_that_rolled_back_knows_its_own(place: Place) {
    place.make_log().await;
    let mut one = attempt("job", 1);
    let sink = ready(&place, &one).await;
    one.generation = one.generation.next();
    let pending = prepare(&sink, &one, 1, inserts("a", 3)).await.unwrap();
    sink.recover(&one, &[]).await.unwrap();
    sink.recover(&one, &pending).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 3);
    nothing_is_locked(&place).await;
}
