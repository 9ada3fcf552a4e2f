//! `tidelock snapshots copy`

use serde::Serialize;
use tidelock::log::Log;

use crate::failure::Outcome;
use crate::{place, print};

#[derive(Debug, Serialize)]
struct Copied {
    snapshot: String,
    epoch: u64,
    savepoint: String,
    state_bytes: u64,
}

pub(crate) async fn run(from: &str, to: &str, json: bool) -> Outcome {
    // Refused here where it is not settled, before anything is created.
    let snapshot = place::snapshot(from).await?;
    let target = Log::open(to).await?;
    let id = snapshot.export(&target).await?;
    let copied = Copied {
        snapshot: id.to_string(),
        epoch: id.epoch.0,
        savepoint: target.place().to_owned(),
        state_bytes: snapshot.state().bytes(),
    };
    if json {
        return print::json(&copied);
    }
    print::say!(
        "copied {} (epoch {}, {}) to {}",
        copied.snapshot,
        copied.epoch,
        print::bytes(copied.state_bytes),
        copied.savepoint
    );
    Ok(())
}
