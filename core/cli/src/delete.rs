//! `tidelock snapshots delete`

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidelock::Position;
use tidelock::log::{Deletion, Log, Snapshot};

use crate::failure::{Failure, Outcome};
use crate::place::{self, Place};
use crate::print;

#[derive(Debug, Serialize)]
struct Report {
    deleted: bool,
    logs: Vec<LogReport>,
    savepoints: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LogReport {
    log: String,
    positions: Vec<u64>,
    chunks: usize,
    chunks_shared_and_kept: usize,
}

pub(crate) async fn run(urls: &[String], yes: bool, json: bool) -> Outcome {
    let (logs, savepoints) = sort(urls).await?;
    // Everything is judged before anything is deleted.
    let mut plans = Vec::new();
    for (log, positions) in logs.into_values() {
        let deletion = log.plan_deletion(&positions).await?;
        plans.push((log, deletion));
    }
    let report = Report {
        deleted: yes,
        logs: plans.iter().map(|(log, deletion)| LogReport::of(log, deletion)).collect(),
        savepoints: savepoints.iter().map(|snapshot| snapshot.log().place().to_owned()).collect(),
    };
    if yes {
        for (log, deletion) in &plans {
            log.prune(&deletion.work).await?;
        }
        for snapshot in savepoints {
            snapshot.delete_savepoint().await?;
        }
    }
    if json {
        print::json(&report)?;
    } else {
        print_report(&report);
    }
    if yes { Ok(()) } else { Err(Failure::no("nothing was deleted: say --yes to delete this")) }
}

type Logs = BTreeMap<String, (Log, BTreeSet<Position>)>;

/// What the URLs mean, each log once.
async fn sort(urls: &[String]) -> Outcome<(Logs, Vec<Snapshot>)> {
    let (mut logs, mut savepoints) = (Logs::new(), Vec::new());
    for url in urls {
        match place::open(url).await? {
            Place::Savepoint(snapshot) => savepoints.push(*snapshot),
            Place::Log(_, None) => {
                return Err(Failure::no(format!(
                    "{url} is a job's log: name entries of it as LOG#N. A whole log is deleted with its folder, \
                     once nobody will ever start the job again"
                )));
            }
            Place::Log(log, Some(position)) => {
                let name = log.place().to_owned();
                logs.entry(name).or_insert_with(|| (log, BTreeSet::new())).1.insert(position);
            }
        }
    }
    Ok((logs, savepoints))
}

impl LogReport {
    fn of(log: &Log, deletion: &Deletion) -> Self {
        Self {
            log: log.place().to_owned(),
            positions: deletion.work.entries.iter().map(|position| position.0).collect(),
            chunks: deletion.work.chunks.len(),
            chunks_shared_and_kept: deletion.shared,
        }
    }
}

fn print_report(report: &Report) {
    let verb = if report.deleted { "deleted" } else { "would delete" };
    for log in &report.logs {
        let positions: Vec<String> = log.positions.iter().map(ToString::to_string).collect();
        print::say!(
            "{verb} {} of {}: {} ({} with it, {} shared and kept)",
            print::count(log.positions.len(), "entry", "entries"),
            log.log,
            positions.join(", "),
            print::count(log.chunks, "chunk", "chunks"),
            log.chunks_shared_and_kept
        );
    }
    for savepoint in &report.savepoints {
        print::say!("{verb} the savepoint {savepoint}");
    }
}
