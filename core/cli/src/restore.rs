//! `tidelock restore --dry-run`

use std::collections::BTreeSet;

use serde::Serialize;
use tidelock::Uid;
use tidelock::log::{SnapshotId, State};
use tidelock::restore::{GraphUids, Placement, place_state};

use crate::args::Restore;
use crate::failure::{Failure, Outcome};
use crate::place::{self, Place};
use crate::print::{self, Column};

#[derive(Debug, Serialize)]
struct Report {
    snapshot: String,
    epoch: u64,
    /// How many prepared writes are committed before anything is read.
    commits_first: usize,
    restored: BTreeSet<Uid>,
    dropped: BTreeSet<Uid>,
    fresh: BTreeSet<Uid>,
    refused: BTreeSet<Uid>,
}

pub(crate) async fn run(request: Restore, json: bool) -> Outcome {
    let Some((id, state)) = what_is_restored(&request.url).await? else {
        return Err(Failure::no(format!(
            "{}: the newest entry has no state: a job would begin with a first run, and the configured start \
             positions would apply",
            request.url
        )));
    };
    let graph: BTreeSet<Uid> = request.uid.into_iter().collect();
    let allowed: BTreeSet<Uid> = request.allow_dropped.into_iter().collect();
    let outcome = place_state(&state, &GraphUids::anything(graph.clone()), &allowed);
    let report = Report::of(&id, &state, &graph, &allowed, outcome.as_ref().ok());
    if json {
        print::json(&report)?;
    } else {
        print_report(&report, &state);
    }
    outcome.map(drop).map_err(Failure::from)
}

/// Of a log its newest entry with all that it lists; a snapshot of choice must be settled.
async fn what_is_restored(url: &str) -> Outcome<Option<(SnapshotId, State)>> {
    if let Place::Log(log, None) = place::open(url).await? {
        let newest = log.newest().await?;
        return Ok(newest.and_then(|entry| Some((entry.snapshot_id(), entry.state?))));
    }
    let snapshot = place::snapshot(url).await?;
    Ok(Some((snapshot.id(), snapshot.state().clone())))
}

impl Report {
    fn of(
        id: &SnapshotId,
        state: &State,
        graph: &BTreeSet<Uid>,
        allowed: &BTreeSet<Uid>,
        placement: Option<&Placement>,
    ) -> Self {
        let have: BTreeSet<Uid> = state.uids().cloned().collect();
        let dropped = placement.map(|placement| placement.dropped.clone()).unwrap_or_default();
        let placed = |uid: &&Uid| graph.contains(*uid) || dropped.contains(*uid);
        // Where all is refused, what could be dropped is still told apart from what is in the way.
        let pending = |uid: &Uid| state.sinks.get(uid).is_some_and(|pending| !pending.is_empty());
        let may_drop = |uid: &&Uid| allowed.contains(*uid) && !pending(uid);
        let lost: BTreeSet<Uid> = have.iter().filter(|uid| !placed(uid)).cloned().collect();
        let (droppable, refused): (BTreeSet<Uid>, BTreeSet<Uid>) =
            lost.into_iter().partition(|uid| may_drop(&uid));
        Self {
            snapshot: id.to_string(),
            epoch: id.epoch.0,
            commits_first: state.sinks.values().map(Vec::len).sum(),
            restored: have.intersection(graph).cloned().collect(),
            dropped: dropped.union(&droppable).cloned().collect(),
            fresh: graph.difference(&have).cloned().collect(),
            refused,
        }
    }
}

fn print_report(report: &Report, state: &State) {
    print::say!("{} (epoch {})", report.snapshot, report.epoch);
    if report.commits_first > 0 {
        print::say!(
            "{} first",
            print::count(
                report.commits_first,
                "prepared write is committed",
                "prepared writes are committed"
            )
        );
    }
    let role = |uid: &Uid| {
        let roles = [
            ("source", state.sources.contains_key(uid)),
            ("operator", state.operators.contains_key(uid)),
            ("sink", state.sinks.contains_key(uid)),
        ];
        roles.iter().find(|(_, is)| *is).map_or("-", |(role, _)| role).to_owned()
    };
    let mut rows = Vec::new();
    for (uids, becomes) in [
        (&report.restored, "restored"),
        (&report.fresh, "begins without state"),
        (&report.dropped, "dropped, as allowed"),
        (&report.refused, "REFUSED: no place in the graph"),
    ] {
        rows.extend(uids.iter().map(|uid| vec![uid.to_string(), role(uid), becomes.to_owned()]));
    }
    print::table(&["UID", "STATE OF A", "WHAT BECOMES OF IT"].map(Column::text), rows);
}
