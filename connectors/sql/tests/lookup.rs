//! Lookups on real databases: what is found, what is missed, and what a server that fails does to them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::{ErrorKind, Lookup, LookupTable, Retry};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{DatabaseKind, SqlConfig, SqlLookup, SqlLookupConfig};
use tokio::time::timeout;

/// What a busy machine may need for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Plane {
    model: String,
    seats: Option<i64>,
}

fn plane(model: &str, seats: Option<i64>) -> Option<Plane> {
    Some(Plane { model: model.into(), seats })
}

/// A database with a name, and somebody who may write to it.
enum Place {
    File(TempDir),
    Server(&'static SqlServer, String),
}

impl Place {
    /// A file that is not there yet.
    fn file() -> Self {
        Self::File(TempDir::new().expect("a folder"))
    }

    /// An empty database on the server of this kind.
    async fn on(database: Database) -> Self {
        let server = SqlServer::shared(database).await.expect("a server");
        Self::Server(server, server.fresh_database().await.expect("a database"))
    }

    fn config(&self) -> SqlConfig {
        match self {
            Self::File(folder) => SqlConfig::new(
                DatabaseKind::Sqlite,
                folder.path().join("planes.db").to_str().expect("a path"),
            ),
            Self::Server(server, name) => SqlConfig::from_url(&server.url(name)).expect("a URL"),
        }
    }

    async fn run(&self, statements: &str) {
        match self {
            Self::File(_) => {
                let connection = rusqlite::Connection::open(self.config().name).expect("a file");
                connection.execute_batch(statements).expect("run");
            }
            Self::Server(server, name) => drop(server.run(name, statements).await.expect("run")),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(_) => "SQLite".into(),
            Self::Server(server, _) => format!("{:?}", server.database()),
        }
    }

    async fn planes<K>(&self, table: &str, key: &[&str]) -> SqlLookup<K, Plane> {
        let config = SqlLookupConfig::new(self.config(), table, key.iter().copied());
        SqlLookup::open(config).await.expect("a table")
    }
}

/// Makes two tests of each function: on SQLite, which needs nothing, and on the servers.
macro_rules! on_every_database {
    ($($test:ident)*) => {
        mod on_sqlite {
            use super::Place;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(Place::file()).await;
            })*
        }

        mod on_servers {
            use super::{Database, Place};

            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs a container"]
            async fn $test() {
                Database::each(async |database| super::$test(Place::on(database).await).await).await;
            })*
        }
    };
}

on_every_database! {
    every_key_has_its_answer_in_its_place_and_what_is_not_there_is_a_miss
    keys_of_several_columns_are_tuples_or_structs_and_of_many_types
    more_keys_than_a_statement_has_and_every_number_of_them_are_answered
    several_rows_of_one_key_are_an_error_that_names_the_key_and_nothing_else
    what_is_missing_is_told_when_the_lookup_is_opened
    a_view_is_as_good_as_a_table_and_a_changed_row_is_seen
    a_table_that_is_altered_or_put_in_place_of_the_old_one_is_looked_up_in_again
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

const PLANES: &str = "CREATE TABLE planes (tailnum VARCHAR(6) PRIMARY KEY, model VARCHAR(20) NOT NULL, seats INT, year INT); \
     INSERT INTO planes VALUES ('N1', 'A320', 180, 1999), ('N2', 'B757', NULL, NULL), ('N3', 'C172', 4, 1972)";

async fn every_key_has_its_answer_in_its_place_and_what_is_not_there_is_a_miss(place: Place) {
    place.run(PLANES).await;
    let planes = place.planes::<String>("planes", &["tailnum"]).await;
    let keys = owned(&["N3", "nobody", "N1", "far too long for its column", "N2", "n1", "N1 ", ""]);
    let found = planes.lookup(&keys).await.expect("answers");
    let expected = [
        plane("C172", Some(4)),
        None,
        plane("A320", Some(180)),
        None,
        plane("B757", None),
        // Whatever the database thinks of letters and blanks.
        None,
        None,
        None,
    ];
    assert_eq!(found, expected, "{}", place.name());
    assert_eq!(planes.lookup(&[]).await.expect("nothing"), []);

    let maybe = place.planes::<Option<String>>("planes", &["tailnum"]).await;
    let found = maybe.lookup(&[None, Some("N3".into())]).await.expect("answers");
    assert_eq!(found, [None, plane("C172", Some(4))], "{}", place.name());
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Seat {
    row: i64,
    tail: String,
}

async fn keys_of_several_columns_are_tuples_or_structs_and_of_many_types(place: Place) {
    let quote = if place.config().kind == DatabaseKind::MySql { '`' } else { '"' };
    place
        .run(&format!(
            "CREATE TABLE seats (tail CHAR(4) NOT NULL, {quote}row{quote} BIGINT NOT NULL, model VARCHAR(20) NOT NULL, seats BIGINT, \
             PRIMARY KEY (tail, {quote}row{quote})); \
             INSERT INTO seats VALUES ('N1', 1, 'a', 10), ('N1', 2, 'b', 20), ('N2', 1, 'c', 9223372036854775807); \
             CREATE TABLE prices (price DECIMAL(10,2) PRIMARY KEY, model VARCHAR(20) NOT NULL, seats INT); \
             INSERT INTO prices VALUES (1.50, 'p', 1), (-3, 'q', 2)"
        ))
        .await;
    let tuples = place.planes::<(String, i64)>("seats", &["tail", "row"]).await;
    let keys: Vec<(String, i64)> = [("N1", 2), ("N2", 2), ("N2", 1), ("N1", 1)]
        .iter()
        .map(|(tail, row)| ((*tail).to_owned(), *row))
        .collect();
    let found = tuples.lookup(&keys).await.expect("answers");
    let expected = [plane("b", Some(20)), None, plane("c", Some(i64::MAX)), plane("a", Some(10))];
    assert_eq!(found, expected, "{}", place.name());

    let structs = place.planes::<Seat>("seats", &["tail", "row"]).await;
    let found = structs.lookup(&[Seat { tail: "N1".into(), row: 1 }]).await.expect("answers");
    assert_eq!(found, [plane("a", Some(10))]);
    let mut whole = structs.load().await.expect("the table");
    whole.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let keys: Vec<(String, i64)> =
        whole.iter().map(|(key, _)| (key.tail.trim_end().to_owned(), key.row)).collect();
    assert_eq!(keys, [("N1".into(), 1), ("N2".into(), 1), ("N1".into(), 2)], "{}", place.name());

    let prices = place.planes::<i64>("prices", &["price"]).await;
    assert_eq!(
        prices.lookup(&[-3, 1]).await.expect("answers"),
        [plane("q", Some(2)), None],
        "{}",
        place.name()
    );
    let prices = place.planes::<String>("prices", &["price"]).await;
    let found = prices.lookup(&owned(&["1.5", "-3.00", "1.51"])).await;
    if let Place::File(_) = place {
        // It has no decimals: what stands in the column is a float, and a text is none.
        assert_eq!(found.expect_err("a text").kind(), ErrorKind::Config);
    } else {
        let expected = [plane("p", Some(1)), plane("q", Some(2)), None];
        assert_eq!(found.expect("answers"), expected, "{}", place.name());
    }

    let wrong = place.planes::<String>("seats", &["row"]).await;
    let error = wrong.lookup(&owned(&["s3cret"])).await.expect_err("a text for an integer");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
    assert!(error.to_string().contains("key column row") && !error.to_string().contains("s3cret"), "{error}");
}

async fn more_keys_than_a_statement_has_and_every_number_of_them_are_answered(place: Place) {
    let rows: Vec<String> = (0..3_000).map(|id| format!("({id}, 'm{id}', {id})")).collect();
    let rows = rows.join(", ");
    place
        .run(&format!(
            "CREATE TABLE t (id INT PRIMARY KEY, model VARCHAR(20) NOT NULL, seats INT); INSERT INTO t VALUES {rows}"
        ))
        .await;
    let planes = place.planes::<i64>("t", &["id"]).await;
    for count in [1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1_024, 1_025, 2_500] {
        // Every other one is not there; the order is not that of the table.
        let keys: Vec<i64> = (0..count).rev().map(|at| if at % 2 == 0 { at } else { 10_000 + at }).collect();
        let found = planes.lookup(&keys).await.expect("answers");
        let expected =
            keys.iter().map(|&id| if id < 10_000 { plane(&format!("m{id}"), Some(id)) } else { None });
        assert_eq!(found, expected.collect::<Vec<_>>(), "{} {count}", place.name());
    }
    let table: BTreeMap<i64, Plane> = planes.load().await.expect("the table").into_iter().collect();
    assert_eq!(table.len(), 3_000);
    assert_eq!(table.get(&2_999).cloned(), plane("m2999", Some(2_999)));
}

async fn several_rows_of_one_key_are_an_error_that_names_the_key_and_nothing_else(place: Place) {
    place
        .run(
            "CREATE TABLE t (id INT, model VARCHAR(20) NOT NULL, seats INT); \
             INSERT INTO t VALUES (7, 's3cret', 1), (7, 's3cret', 2), (8, 'one', 3), (NULL, 'none', 4)",
        )
        .await;
    let planes = place.planes::<i64>("t", &["id"]).await;
    assert_eq!(planes.lookup(&[8]).await.expect("answers"), [plane("one", Some(3))]);
    let error = planes.lookup(&[8, 7]).await.expect_err("two rows");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
    let text = error.to_string();
    assert!(text.contains("id=7") && text.contains("table=t") && !text.contains("s3cret"), "{text}");
    let error = planes.load().await.expect_err("two rows");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
    let text = error.to_string();
    assert!(text.contains("id=7") && text.contains("table=t") && !text.contains("s3cret"), "{text}");

    let bad =
        SqlLookup::<i64, BTreeMap<String, i64>>::open(SqlLookupConfig::new(place.config(), "t", ["id"]));
    let error = bad.await.expect("opened").lookup(&[8]).await.expect_err("a text is no integer");
    assert!(error.to_string().contains("column model") && !error.to_string().contains("one"), "{error}");
}

async fn what_is_missing_is_told_when_the_lookup_is_opened(place: Place) {
    place.run(PLANES).await;
    let open = async |table: &str, key: &str| {
        let config = SqlLookupConfig::new(place.config(), table, [key]);
        SqlLookup::<String, Plane>::open(config).await.map(drop)
    };
    open("planes", "tailnum").await.expect("it is there");
    for (table, key, named) in [("plains", "tailnum", "plains"), ("planes", "tail", "tail")] {
        let error = open(table, key).await.expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let mut small = SqlLookupConfig::new(place.config(), "planes", ["tailnum"]);
    small.rows_max = 2;
    let small = SqlLookup::<String, Plane>::open(small).await.expect("opened");
    let error = small.load().await.expect_err("three rows");
    assert!(error.to_string().contains("rows_max=2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_told_and_not_made() {
    let place = Place::file();
    let config = SqlLookupConfig::new(place.config(), "planes", ["tailnum"]);
    let error = SqlLookup::<String, Plane>::open(config).await.map(drop).expect_err("no file");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    assert!(error.to_string().contains("planes.db"), "{error}");
    assert!(!std::path::Path::new(&place.config().name).exists());
}

async fn a_view_is_as_good_as_a_table_and_a_changed_row_is_seen(place: Place) {
    place.run(PLANES).await;
    place.run("CREATE VIEW large AS SELECT tailnum, model, seats FROM planes WHERE seats > 100").await;
    let planes = place.planes::<String>("large", &["tailnum"]).await;
    let keys = owned(&["N1", "N3"]);
    assert_eq!(planes.lookup(&keys).await.expect("answers"), [plane("A320", Some(180)), None]);
    place.run("UPDATE planes SET seats = 200 WHERE tailnum = 'N3'").await;
    let both = [plane("A320", Some(180)), plane("C172", Some(200))];
    assert_eq!(planes.lookup(&keys).await.expect("answers"), both);
    let mut whole = planes.load().await.expect("the table");
    whole.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let whole: Vec<Option<Plane>> = whole.into_iter().map(|(_, plane)| Some(plane)).collect();
    assert_eq!(whole, both);
}

async fn a_table_that_is_altered_or_put_in_place_of_the_old_one_is_looked_up_in_again(place: Place) {
    place.run(PLANES).await;
    let planes = place.planes::<String>("planes", &["tailnum"]).await;
    let right = [plane("A320", Some(180)), None];
    assert_eq!(answered_at_last(&planes).await, right);
    let alter = match place.config().kind {
        DatabaseKind::Postgres => {
            "ALTER TABLE planes ALTER COLUMN model TYPE TEXT, ALTER COLUMN seats TYPE BIGINT"
        }
        DatabaseKind::MySql => "ALTER TABLE planes MODIFY model TEXT NOT NULL, MODIFY seats BIGINT",
        _ => "ALTER TABLE planes ADD COLUMN more INT",
    };
    place.run(alter).await;
    assert_eq!(answered_at_last(&planes).await, right, "{}", place.name());
    let swap = "CREATE TABLE fresh (tailnum VARCHAR(9) PRIMARY KEY, seats SMALLINT, model VARCHAR(30) NOT NULL); \
         INSERT INTO fresh VALUES ('N9', 9, 'new'); \
         ALTER TABLE planes RENAME TO old; ALTER TABLE fresh RENAME TO planes";
    place.run(swap).await;
    assert_eq!(answered_at_last(&planes).await, [None, plane("new", Some(9))], "{}", place.name());
}

/// As a job does that publishes a new state of its table: it writes a file, and renames it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_put_in_place_of_the_old_one_is_looked_up_in() {
    let (place, fresh) = (Place::file(), Place::file());
    place.run(PLANES).await;
    let planes = place.planes::<String>("planes", &["tailnum"]).await;
    let keys = owned(&["N1", "N9"]);
    assert_eq!(planes.lookup(&keys).await.expect("answers"), [plane("A320", Some(180)), None]);
    fresh.run(PLANES).await;
    fresh.run("DELETE FROM planes; INSERT INTO planes (tailnum, model, seats) VALUES ('N9', 'new', 9)").await;
    std::fs::rename(fresh.config().name, place.config().name).expect("renamed");
    assert_eq!(planes.lookup(&keys).await.expect("answers"), [None, plane("new", Some(9))]);
    assert_eq!(planes.load().await.expect("the table").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_no_record_has_a_form_for_is_told_by_its_name() {
    let postgres = Place::on(Database::Postgres).await;
    let times = "CREATE TABLE times (id INT PRIMARY KEY, at TIMESTAMP, share NUMERIC); \
         INSERT INTO times VALUES (1, 'infinity', 1), (2, '2024-02-29', 'NaN')";
    postgres.run(times).await;
    let config = SqlLookupConfig::new(postgres.config(), "times", ["id"]);
    let times = SqlLookup::<i64, BTreeMap<String, Option<String>>>::open(config).await.expect("a table");
    for (key, named) in [(1, "column at: it holds infinity"), (2, "column share: it holds NaN")] {
        let error = times.lookup(&[key]).await.expect_err("no form");
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// <https://github.com/launchbadge/sqlx/issues/4337>: with another client each request left a statement at the server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_statements_that_a_connection_has_prepared_do_not_become_more() {
    #[derive(Debug, Clone, Deserialize)]
    struct Counted {
        statements: i64,
    }
    let server = SqlServer::shared(Database::Postgres).await.expect("a server");
    let name = server.fresh_database().await.expect("a database");
    let statements = "CREATE VIEW one AS SELECT id, (SELECT count(*) FROM pg_prepared_statements) AS statements \
         FROM generate_series(1, 2000) AS id; \
         CREATE VIEW two AS SELECT id, id AS again, statements FROM one";
    server.run(&name, statements).await.expect("views");
    let mut database = SqlConfig::from_url(&server.url(&name)).expect("a URL");
    database.connections_max = 1;
    let one = SqlLookup::<i64, Counted>::open(SqlLookupConfig::new(database.clone(), "one", ["id"]));
    let one = one.await.expect("opened");
    let two = SqlLookup::<(i64, i64), Counted>::open(SqlLookupConfig::new(database, "two", ["id", "again"]));
    let two = two.await.expect("opened");
    let mut most = 0;
    for count in (1..=300).chain(1..=300) {
        let keys: Vec<i64> = (1..=count).collect();
        let pairs: Vec<(i64, i64)> = keys.iter().map(|&id| (id, id)).collect();
        for found in [one.lookup(&keys).await.expect("answers"), two.lookup(&pairs).await.expect("answers")] {
            assert_eq!(found.len(), keys.len());
            let counted = found.into_iter().map(|found| found.expect("it is there").statements);
            most = most.max(counted.max().expect("a count"));
        }
    }
    // Each of the sizes, and what the table was looked at with.
    assert!(most <= 8, "{most} statements");
}

async fn started(database: Database, setting: Option<(&str, &str)>) -> (SqlServer, SqlConfig) {
    let mut options = SqlOptions::new(database);
    if let Some((name, value)) = setting {
        options = options.with_setting(name, value);
    }
    let server = SqlServer::start(options).await.expect("a server");
    let name = server.fresh_database().await.expect("a database");
    server.run(&name, PLANES).await.expect("a table");
    let config = SqlConfig::from_url(&server.url(&name)).expect("a URL");
    (server, config)
}

/// Asks until it is answered, as a host does for errors that may pass.
async fn answered_at_last(planes: &SqlLookup<String, Plane>) -> Vec<Option<Plane>> {
    let asking = async {
        loop {
            match planes.lookup(&owned(&["N1", "N9"])).await {
                Ok(found) => break found,
                Err(error) => assert_eq!(error.retry(), Retry::Retry, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("an answer at last")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_is_killed_or_paused_under_lookups_is_an_error_that_may_pass() {
    Database::each(async |database| {
        let (server, mut config) = started(database, None).await;
        config.statement_timeout_ms = 1_000;
        config.connect_timeout_ms = 3_000;
        let planes = SqlLookup::<String, Plane>::open(SqlLookupConfig::new(config, "planes", ["tailnum"]));
        let planes = planes.await.expect("opened");
        let right = [plane("A320", Some(180)), None];
        assert_eq!(answered_at_last(&planes).await, right);

        server.kill().await.expect("killed");
        let error = planes.lookup(&owned(&["N1"])).await.expect_err("nobody there");
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::Retry),
            "{database:?} {error}"
        );
        server.start_again().await.expect("started again");
        assert_eq!(answered_at_last(&planes).await, right, "{database:?}");

        server.pause().await.expect("paused");
        let asked =
            timeout(PATIENCE, planes.lookup(&owned(&["N1"]))).await.expect("no answer is an answer, too");
        assert_eq!(asked.expect_err("an answer of a paused server").retry(), Retry::Retry, "{database:?}");
        server.unpause().await.expect("goes on");
        assert_eq!(answered_at_last(&planes).await, right, "{database:?}");
    })
    .await;
}

/// <https://github.com/apache/flink/pull/12427>: a connection that the server closed for idling must not be used again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_connection_that_was_idle_for_longer_than_the_server_allows_is_not_noticed() {
    Database::each(async |database| {
        let setting = match database {
            Database::Postgres => ("idle_session_timeout", "1000"),
            Database::Mariadb | Database::Mysql => ("wait_timeout", "1"),
        };
        let (_server, mut config) = started(database, Some(setting)).await;
        config.idle_max_ms = 500;
        let planes = SqlLookup::<String, Plane>::open(SqlLookupConfig::new(config, "planes", ["tailnum"]));
        let planes = planes.await.expect("opened");
        for _ in 0..2 {
            let found = planes.lookup(&owned(&["N1"])).await;
            assert_eq!(found.expect("an answer at once"), [plane("A320", Some(180))], "{database:?}");
            tokio::time::sleep(Duration::from_millis(2_500)).await;
        }
        let found = planes.lookup(&owned(&["N1"])).await;
        assert_eq!(found.expect("an answer at once"), [plane("A320", Some(180))], "{database:?}");
    })
    .await;
}

/// `CHAR(6)` of PostgreSQL gives `abc   ` for `abc`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_key_that_its_column_fills_up_with_blanks_is_found_by_its_text_however_it_is_looked_up() {
    Database::each(async |database| {
        let place = Place::on(database).await;
        place.run("CREATE TABLE planes (tailnum CHAR(6) PRIMARY KEY, model VARCHAR(9), seats BIGINT)").await;
        place.run("INSERT INTO planes VALUES ('abc', 'one', 1), ('abcdef', 'two', 2)").await;
        let planes = place.planes::<String>("planes", &["tailnum"]).await;
        let keys: Vec<String> = ["abc", "abcdef", "abc   "].map(str::to_owned).into();
        let found = planes.lookup(&keys).await.expect("answers");
        assert_eq!(found, [plane("one", Some(1)), plane("two", Some(2)), None], "{}", place.name());
        let loaded: BTreeMap<String, Plane> = planes.load().await.expect("a table").into_iter().collect();
        let found: Vec<Option<Plane>> = keys.iter().map(|key| loaded.get(key).cloned()).collect();
        assert_eq!(found, [plane("one", Some(1)), plane("two", Some(2)), None], "{}", place.name());
    })
    .await;
}

/// What the database reads from a text, as the labels of an enum, may be none.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_key_that_is_no_value_of_its_type_is_a_miss_and_a_view_that_fails_is_told() {
    Database::each(async |database| {
        let place = Place::on(database).await;
        let kind = place.config().kind;
        let mood = if kind == DatabaseKind::Postgres { "mood" } else { "ENUM('good', 'bad')" };
        if kind == DatabaseKind::Postgres {
            place.run("CREATE TYPE mood AS ENUM ('good', 'bad')").await;
        }
        place
            .run(&format!("CREATE TABLE planes (mood {mood} PRIMARY KEY, model VARCHAR(9), seats BIGINT)"))
            .await;
        place.run("INSERT INTO planes VALUES ('good', 'one', 1), ('bad', 'two', 2)").await;
        let planes = place.planes::<String>("planes", &["mood"]).await;
        let keys: Vec<String> = ["", "good", "better", "bad", "1", "GOOD"].map(str::to_owned).into();
        let found = planes.lookup(&keys).await.expect("answers");
        let expected = [None, plane("one", Some(1)), None, plane("two", Some(2)), None, None];
        assert_eq!(found, expected, "{}", place.name());
        if kind == DatabaseKind::Postgres {
            place
                .run("CREATE VIEW broken AS SELECT mood, model, (model || 'x')::bigint AS seats FROM planes")
                .await;
            let broken = place.planes::<String>("broken", &["mood"]).await;
            let error = broken.lookup(&["good".to_owned()]).await.expect_err("it is no number");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        }
    })
    .await;
}
