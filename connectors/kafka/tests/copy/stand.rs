//! Where a job, its topics and its transactions stand: the evidence of a wait that was too long.

use std::fmt::Write;
use std::time::Duration;

use crate::world::World;

/// A job at work appends in this time.
const LOOK: Duration = Duration::from_secs(1);

const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Asks the log, both topics and the cluster. What the brokers do not answer says so.
pub(crate) async fn stand(world: &World) -> String {
    let mut text = String::new();
    let log = world.log().await;
    let before = log.position().await;
    tokio::time::sleep(LOOK).await;
    let after = log.position().await;
    let _ =
        writeln!(text, "the log: entry {before}, and {after} after {LOOK:?}, at {:?}", log.positions().await);
    let _ = writeln!(text, "the reader: {:?}", world.reader().next());
    for topic in [world.source(), world.target()] {
        for isolation in ["read_uncommitted", "read_committed"] {
            let ends = world.watermarks(topic, isolation, ANSWER_MAX).await;
            let _ = writeln!(text, "{topic} for {isolation}: {ends:?}");
        }
    }
    let transactions = world.transactions().await;
    for one in log.pending().await {
        let _ = writeln!(text, "pending: {one:?}: {:?}", transactions.examine(&one).await);
    }
    match transactions.list().await {
        Ok(all) => text.extend(all.iter().map(|one| format!("{one:?}\n"))),
        Err(error) => text.push_str(&format!("no list of transactions: {error}\n")),
    }
    text
}
