//! The example with a database: planes and airlines come from there, rows go there, and it is killed on the way.

use flights::answer::{self, Row};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use tidelock::LookupTable;
use tidelock_containers::{Database, SqlServer};
use tidelock_e2e::{World, killed_again_and_again, seed};
use tidelock_sql::{SqlConfig, SqlLookup, SqlLookupConfig};

const RATE: &str = "4500";

/// What is not in the key of a row.
#[derive(Deserialize)]
struct Hour {
    flights: i64,
    cancelled: i64,
    dep_delay_min: i64,
    seats: i64,
    airlines: i64,
}

/// Every row of the table.
async fn rows(database: &SqlConfig) -> Vec<Row> {
    let config = SqlLookupConfig::new(database.clone(), "flights_by_hour", ["origin", "window_start"]);
    let table = SqlLookup::<(String, jiff::Timestamp), Hour>::open(config).await.expect("the table");
    let rows = table.load().await.expect("the rows").into_iter();
    let row = |((origin, hour), row): ((String, jiff::Timestamp), Hour)| Row {
        origin,
        window_start: hour.to_string(),
        flights: row.flights,
        cancelled: row.cancelled,
        dep_delay_min: row.dep_delay_min,
        seats: row.seats,
        airlines: row.airlines,
    };
    rows.map(row).collect()
}

/// The tables are filled from files, which are then taken away, so that nothing can come from them.
async fn is_exact_however_often_it_is_killed(url: String) {
    let database = SqlConfig::from_url(&url).expect("a database");
    let tested = tokio::task::spawn_blocking(move || {
        let world = World::with_files(2);
        let expected = world.expected();
        for told in ["3338 planes and airlines are in", "were loaded into"] {
            let mut load = world.start_elsewhere("tables", &["--load-tables", &url]);
            load.ended().assert_success();
            assert!(load.notes().concat().contains(told), "{:?}", load.notes());
        }
        let mut random = StdRng::seed_from_u64(seed());
        let count = ["--planes-from", &url, "--to-sql", &url, "--rate", RATE, "--workers", "2"];
        for table in ["planes.csv", "airlines.csv"] {
            std::fs::rename(world.data().join(table), world.path(table)).expect("the file is there");
        }
        let epochs = killed_again_and_again(&world, &expected, &mut random, "count", &count);
        assert!(epochs.len() > 1, "none was killed");
        assert!(epochs.is_sorted_by(|before, after| before < after), "an attempt went back: {epochs:?}");
        expected
    });
    let expected = tested.await.expect("no panic");
    let seen = rows(&database).await;
    let difference = answer::compare(&expected, &seen);
    assert!(difference.is_none(), "{} rows: {difference:?}", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_that_are_enriched_from_sqlite_and_written_there_are_exact_however_often_the_job_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    is_exact_however_often_it_is_killed(format!("sqlite:{}", folder.path().join("air.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn flights_that_are_enriched_from_a_server_and_written_there_are_exact_however_often_the_job_is_killed()
{
    for kind in Database::there() {
        let server = SqlServer::shared(kind).await.expect("a server");
        let name = server.fresh_database().await.expect("a database");
        is_exact_however_often_it_is_killed(server.url(&name)).await;
    }
}
