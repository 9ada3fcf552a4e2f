//! Rows that are committed after others with greater values.

use tidelock_containers::Database;
use tidelock_sql::{DatabaseKind, SqlConfig, SqlIncremental, SqlIncrementalConfig, SqlStart};

use super::*;

/// Somebody's transaction that is under way.
enum Open {
    Postgres(tokio_postgres::Client),
    MySql(Box<mysql_async::Conn>),
}

impl Open {
    async fn begin(place: &Place, statement: &str) -> Self {
        let SqlConfig { host, port, name, user, password, .. } = &place.config;
        let tail = format!("{user}:{}@{host}:{}/{name}", password.expose(), port.unwrap());
        match place.kind() {
            DatabaseKind::Postgres => {
                let url = format!("postgres://{tail}");
                let (client, wire) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(wire);
                client.batch_execute(&format!("BEGIN; {statement}")).await.unwrap();
                Self::Postgres(client)
            }
            _ => {
                use mysql_async::prelude::Queryable as _;
                let options = mysql_async::Opts::from_url(&format!("mysql://{tail}")).unwrap();
                let mut connection = Box::new(Box::pin(mysql_async::Conn::new(options)).await.unwrap());
                connection.query_drop("BEGIN").await.unwrap();
                connection.query_drop(statement).await.unwrap();
                Self::MySql(connection)
            }
        }
    }

    async fn commit(self) {
        match self {
            Self::Postgres(client) => client.batch_execute("COMMIT").await.unwrap(),
            Self::MySql(mut connection) => {
                use mysql_async::prelude::Queryable as _;
                connection.query_drop("COMMIT").await.unwrap();
            }
        }
    }
}

async fn make_written(place: &Place) {
    let columns = place.of(
        "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, written TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()",
        "id BIGINT AUTO_INCREMENT PRIMARY KEY, written TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
        "",
    );
    place.run(&format!("CREATE TABLE t ({columns}, v BIGINT NOT NULL)")).await;
}

/// A transaction takes the first id and time and is committed last.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_is_committed_late_is_waited_for_and_lost_only_by_choice() {
    for database in Database::there() {
        for (column, lag_column) in [("written", None), ("id", Some("written"))] {
            let place = Place::on_shared(database).await.unwrap();
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

            let late = Open::begin(&place, "INSERT INTO t (v) VALUES (1)").await;
            place.run("INSERT INTO t (v) VALUES (2)").await;
            assert_eq!(ids(&follow(&losing, &mut lost, 1).await), [2], "{database:?}");
            late.commit().await;
            place.run("INSERT INTO t (v) VALUES (3)").await;
            assert_eq!(
                ids(&follow(&losing, &mut lost, 1).await),
                [3],
                "{database:?}: that is what the name says"
            );
            assert_eq!(ids(&follow(&waiting, &mut waited, 3).await), [1, 2, 3], "{database:?} {column}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_is_old_enough_waits_for_younger_ones_before_it() {
    for database in Database::there() {
        let place = Place::on_shared(database).await.unwrap();
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
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_end_is_what_is_old_enough_when_the_job_starts() {
    for database in Database::there() {
        let place = Place::on_shared(database).await.unwrap();
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
    }
}
