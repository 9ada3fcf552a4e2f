//! Rows that are committed after others with greater values.

use tidelock_containers::Database;
use tidelock_sql::{SqlIncremental, SqlIncrementalConfig, SqlStart};

use super::common::session::Session;
use super::*;

async fn make_written(place: &Place) {
    let columns = place.of(
        "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, written TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()",
        "id BIGINT AUTO_INCREMENT PRIMARY KEY, written TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
        "",
    );
    place.run(&format!("CREATE TABLE t ({columns}, v BIGINT NOT NULL)")).await;
}

/// A transaction takes the first id and time and is committed last.
async fn what_is_committed_late_is_waited_for(column: &str, lag_column: Option<&str>) {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        make_written(&place).await;
        let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", column);
        config.poll_interval_ms = 10;
        let mut losing = config.clone();
        losing.lose_late_commits = true;
        // Far longer than the transaction below, on whatever machine.
        config.lag_ms = Some(8_000);
        config.lag_column = lag_column.map(str::to_owned);
        let waiting = SqlIncremental::<Numbered>::connect(config).await.unwrap();
        let losing = SqlIncremental::<Numbered>::connect(losing).await.unwrap();
        let mut waited = splits_of(&waiting).await.remove(0);
        let mut lost = waited.clone();

        let mut late = Session::open(&place).await;
        late.run("BEGIN").await.unwrap();
        late.run("INSERT INTO t (v) VALUES (1)").await.unwrap();
        place.run("INSERT INTO t (v) VALUES (2)").await;
        assert_eq!(ids(&follow(&losing, &mut lost, 1).await), [2], "{database:?}");
        late.run("COMMIT").await.unwrap();
        place.run("INSERT INTO t (v) VALUES (3)").await;
        assert_eq!(
            ids(&follow(&losing, &mut lost, 1).await),
            [3],
            "{database:?}: that is what the name says"
        );
        assert_eq!(ids(&follow(&waiting, &mut waited, 3).await), [1, 2, 3], "{database:?} {column}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_is_committed_late_is_waited_for_by_its_time_and_lost_only_by_choice() {
    what_is_committed_late_is_waited_for("written", None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_is_committed_late_is_waited_for_by_its_id_and_lost_only_by_choice() {
    what_is_committed_late_is_waited_for("id", Some("written")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_is_old_enough_waits_for_younger_ones_before_it() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        make_written(&place).await;
        let (past, future) = (
            place.of("now() - interval '1 hour'", "NOW(6) - INTERVAL 1 HOUR", ""),
            place.of("now() + interval '1 hour'", "NOW(6) + INTERVAL 1 HOUR", ""),
        );
        place
            .run(&format!("INSERT INTO t (written, v) VALUES ({past}, 1), ({future}, 2), ({past}, 3)"))
            .await;
        let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", "id");
        (config.lag_ms, config.lag_column, config.poll_interval_ms) =
            (Some(1_000), Some("written".into()), 10);
        let source = SqlIncremental::<Numbered>::connect(config).await.unwrap();
        let mut split = splits_of(&source).await.remove(0);
        assert_eq!(ids(&follow(&source, &mut split, 1).await), [1], "{database:?}");
        place.run(&format!("UPDATE t SET written = {past} WHERE v = 2")).await;
        assert_eq!(ids(&follow(&source, &mut split, 2).await), [2, 3], "{database:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_end_is_what_is_old_enough_when_the_job_starts() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        make_written(&place).await;
        let past = place.of("now() - interval '1 hour'", "NOW(6) - INTERVAL 1 HOUR", "");
        place.run(&format!("INSERT INTO t (written, v) VALUES ({past}, 1)")).await;
        place.run("INSERT INTO t (v) VALUES (2)").await;
        let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", "written");
        (config.lag_ms, config.start, config.poll_interval_ms) = (Some(3_000_000), SqlStart::End, 10);
        let mut split =
            splits_of(&SqlIncremental::<Numbered>::connect(config.clone()).await.unwrap()).await.remove(0);
        // Whatever the lag is later: the position says where reading goes on.
        config.lag_ms = Some(1);
        let source = SqlIncremental::<Numbered>::connect(config).await.unwrap();
        assert_eq!(ids(&follow(&source, &mut split, 1).await), [2], "{database:?}");
    })
    .await;
}
