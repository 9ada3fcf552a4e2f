//! How many keys a second are looked up in PostgreSQL, beside a bare client that sends one question for each key:
//!
//! ```text
//! cargo run --release -p tidelock-sql --features postgres --example lookup_speed -- postgres://user:password@host/database
//! ```
//!
//! A million keys, each of which comes once, of which a table of 100,000 rows has each tenth; nothing is kept. Both ways have four
//! connections; the bare client keeps 64 questions under way on each. The table `lookup_speed` is made anew.

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use tidelock::{Lookup, Result};
use tidelock_sql::{SqlConfig, SqlLookup, SqlLookupConfig};
use tokio::time::Instant;
use tokio_postgres::NoTls;

const KEYS: i64 = 1_000_000;
const ROWS: i64 = KEYS / 10;

const CONNECTIONS: usize = 4;

/// As the runtime has them by default.
const REQUESTS: usize = 8;
const KEYS_PER_REQUEST: usize = 256;

/// What the bare client has under way on a connection.
const QUESTIONS: usize = 64;

#[derive(Clone, Deserialize)]
struct Found {
    word: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).expect("the URL of a database");
    make_table(&url).await.expect("a table");
    let keys = shuffled();
    for round in 1..=3 {
        let (bare, length) = timed(bare(&url, &keys)).await;
        let length = length.expect("answers");
        let lookup = SqlLookupConfig::new(SqlConfig::from_url(&url)?, "lookup_speed", ["id"]);
        let lookup = SqlLookup::<i64, Found>::open(lookup).await?;
        let (ours, found) = timed(looked_up(&lookup, &keys)).await;
        assert_eq!(found?, length, "the same words");
        println!(
            "round {round}: bare client {:>7.0} keys/s, lookup {:>7.0} keys/s: {:.1} times as many",
            rate(bare),
            rate(ours),
            rate(ours) / rate(bare)
        );
    }
    Ok(())
}

async fn make_table(url: &str) -> std::result::Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let table = format!(
        "DROP TABLE IF EXISTS lookup_speed; CREATE TABLE lookup_speed (id BIGINT PRIMARY KEY, word TEXT NOT NULL); \
         INSERT INTO lookup_speed SELECT id * 10, repeat('x', (id % 50)::int) FROM generate_series(0, {}) AS id; \
         VACUUM ANALYZE lookup_speed",
        ROWS - 1
    );
    for statement in table.split(';') {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Every key once, far from its neighbours.
fn shuffled() -> Vec<i64> {
    const STEP: i64 = 618_033; // has no divisor in common with the number of keys
    (0..KEYS).map(|at| at * STEP % KEYS).collect()
}

async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let done = work.await;
    (begun.elapsed(), done)
}

fn rate(time: Duration) -> f64 {
    KEYS as f64 / time.as_secs_f64()
}

/// The length of all words that are found.
async fn bare(url: &str, keys: &[i64]) -> std::result::Result<usize, tokio_postgres::Error> {
    let each = keys.chunks(keys.len().div_ceil(CONNECTIONS)).map(|keys| async move {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let question = client.prepare("SELECT word FROM lookup_speed WHERE id = $1").await?;
        let ask = async |key: &i64| client.query_opt(&question, &[key]).await;
        let answers = stream::iter(keys).map(ask).buffered(QUESTIONS);
        answers.try_fold(0, async |sum, row| Ok(sum + row.map_or(0, |row| row.get::<_, &str>(0).len()))).await
    });
    Ok(futures::future::try_join_all(each).await?.into_iter().sum())
}

async fn looked_up(lookup: &SqlLookup<i64, Found>, keys: &[i64]) -> Result<usize> {
    let answers =
        stream::iter(keys.chunks(KEYS_PER_REQUEST)).map(|keys| lookup.lookup(keys)).buffered(REQUESTS);
    let length =
        |found: Vec<Option<Found>>| found.into_iter().flatten().map(|found| found.word.len()).sum::<usize>();
    answers.try_fold(0, async |sum, found| Ok(sum + length(found))).await
}
