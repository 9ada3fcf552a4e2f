//! What comes is read once, in the order of a column.

use tidelock::{ErrorKind, Known, Source as _};
use tidelock_sql::{DatabaseKind, SqlIncremental, SqlIncrementalConfig};

use super::*;

on_every_database! {
    equal_values_at_the_border_of_a_page_are_read_once
    what_could_lose_rows_is_refused
}

async fn equal_values_at_the_border_of_a_page_are_read_once(place: Place) {
    let time = place.of("TIMESTAMP", "DATETIME", "TEXT");
    place.run(&format!("CREATE TABLE t (id BIGINT PRIMARY KEY, written {time} NOT NULL)")).await;
    let mut expected = Vec::new();
    // Ids do not grow with the times, and most times are equal.
    for (second, range) in [(1, 50..52), (2, 10..37), (3, 0..3)] {
        let values: Vec<String> =
            range.clone().map(|id| format!("({id}, '2020-01-01 00:00:0{second}')")).collect();
        place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        expected.extend(range);
    }
    let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", "written");
    if place.kind() == DatabaseKind::Sqlite {
        config.lose_late_commits = true;
    } else {
        config.lag_ms = Some(1_000);
    }
    (config.page_rows, config.poll_interval_ms) = (4, 10);
    let source = SqlIncremental::<Numbered>::connect(config).await.unwrap();
    let mut split = splits_of(&source).await.remove(0);
    assert_eq!(ids(&follow(&source, &mut split, expected.len()).await), expected, "{}", place.kind());
    // A row that changes comes again, with its new time.
    place.run("UPDATE t SET written = '2020-01-01 00:00:04' WHERE id = 11").await;
    assert_eq!(ids(&follow(&source, &mut split, 1).await), [11], "{}", place.kind());
    let known = Known { active: vec![split], first_run: false, ..first_run() };
    assert!(source.discover(&known).await.unwrap().new.is_empty());
}

async fn what_could_lose_rows_is_refused(place: Place) {
    let time = place.of("TIMESTAMPTZ", "TIMESTAMP(6) NULL", "TEXT");
    let id = place.of("BIGINT", "BIGINT", "INTEGER");
    place
        .run(&format!("CREATE TABLE t (id {id} PRIMARY KEY, written {time}, name VARCHAR(9) NOT NULL)"))
        .await;
    let connect = async |column: &str, change: &dyn Fn(&mut SqlIncrementalConfig)| {
        let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", column);
        change(&mut config);
        SqlIncremental::<Numbered>::connect(config).await.map(drop)
    };
    let lag = |config: &mut SqlIncrementalConfig| config.lag_ms = Some(1_000);
    if place.kind() == DatabaseKind::Sqlite {
        connect("id", &|_| {}).await.expect("SQLite gives ids in the order of commits");
        told(&connect("id", &lag).await.expect_err("no lag"), ErrorKind::Config, &["one writer at a time"]);
    } else {
        let error = connect("id", &|_| {}).await.expect_err("late commits");
        told(&error, ErrorKind::Config, &["setting=lag_ms", "lose_late_commits"]);
        let error = connect("id", &lag).await.expect_err("an id has no age");
        told(&error, ErrorKind::Config, &["setting=lag_column", "column=id"]);
        let by_time = |config: &mut SqlIncrementalConfig| {
            config.lag_ms = Some(1_000);
            config.lag_column = Some("written".into());
        };
        told(
            &connect("id", &by_time).await.expect_err("NULL"),
            ErrorKind::Config,
            &["NULL", "column=written"],
        );
    }
    let lose = |config: &mut SqlIncrementalConfig| config.lose_late_commits = true;
    connect("id", &lose).await.expect("chosen");
    told(&connect("written", &lose).await.expect_err("NULL"), ErrorKind::Config, &["NULL", "column=written"]);
    let by_name = |config: &mut SqlIncrementalConfig| {
        config.lose_late_commits = true;
        config.key = vec!["name".into()];
    };
    told(&connect("name", &by_name).await.expect_err("not unique"), ErrorKind::Config, &["setting=key"]);
}
