//! `tidelock snapshots list`

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidelock::log::{Entry, EntryHead, SettledBy, fences, settled_by};
use tidelock::{Error, Position, Uid};

use crate::failure::{Failure, Outcome};
use crate::place::{self, Place};
use crate::print::{self, Column};
use crate::view::Summary;

#[derive(Debug, Serialize)]
struct Listing {
    place: String,
    entries: Vec<Line>,
    damaged: Vec<Damaged>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    summary: Summary,
    /// Whether it can be restored by choice.
    settled: Settled,
    newest: bool,
    /// Never deleted.
    fence: bool,
}

#[derive(Debug, Serialize)]
struct Damaged {
    position: u64,
    error: String,
}

/// Whether nothing that an entry lists waits to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Settled {
    /// It lists nothing.
    Yes,
    /// A newer entry no longer lists it.
    By(u64),
    NotYet,
    /// It was abandoned.
    Never,
    /// It has no state.
    NoState,
}

pub(crate) async fn run(url: &str, uids: bool, json: bool) -> Outcome {
    let (listing, errors) = match place::open(url).await? {
        Place::Savepoint(snapshot) => {
            let summary = Summary::of(snapshot.entry());
            let line = Line { summary, settled: Settled::Yes, newest: false, fence: false };
            let place = snapshot.log().place().to_owned();
            (Listing { place, entries: vec![line], damaged: Vec::new() }, BTreeMap::new())
        }
        Place::Log(log, only) => {
            let (entries, errors) = separate(place::entries(&log).await?);
            (list(log.place(), &entries, &errors, only), errors)
        }
    };
    if json {
        print::json(&listing)?;
    } else {
        print_lines(&listing.entries, uids);
    }
    match errors.is_empty() {
        true => Ok(()),
        false => {
            let errors: Vec<String> = errors.values().map(ToString::to_string).collect();
            Err(Failure::no(errors.join("\ntidelock: ")))
        }
    }
}

fn separate(
    found: BTreeMap<Position, Result<Entry, Error>>,
) -> (BTreeMap<Position, Entry>, BTreeMap<Position, Error>) {
    let (mut entries, mut errors) = (BTreeMap::new(), BTreeMap::new());
    for (position, entry) in found {
        match entry {
            Ok(entry) => drop(entries.insert(position, entry)),
            Err(error) => drop(errors.insert(position, error)),
        }
    }
    (entries, errors)
}

fn list(
    place: &str,
    entries: &BTreeMap<Position, Entry>,
    errors: &BTreeMap<Position, Error>,
    only: Option<Position>,
) -> Listing {
    let heads: Vec<EntryHead> = entries.values().map(EntryHead::from).collect();
    let fences: BTreeSet<Position> = fences(&heads);
    let newest = entries.keys().chain(errors.keys()).max().copied();
    let wanted = |position: &&Position| only.is_none_or(|only| only == **position);
    let lines = entries.keys().filter(wanted).map(|position| Line {
        summary: Summary::of(&entries[position]),
        settled: settled(&entries[position], entries),
        newest: newest == Some(*position),
        fence: fences.contains(position),
    });
    let damaged =
        errors.iter().map(|(position, error)| Damaged { position: position.0, error: error.to_string() });
    Listing { place: place.to_owned(), entries: lines.collect(), damaged: damaged.collect() }
}

fn settled(entry: &Entry, entries: &BTreeMap<Position, Entry>) -> Settled {
    match &entry.state {
        None => return Settled::NoState,
        Some(state) if state.is_settled() => return Settled::Yes,
        Some(_) => {}
    }
    for (position, newer) in entries.range(entry.position.next()..) {
        match settled_by(entry, newer) {
            SettledBy::Yes => return Settled::By(position.0),
            SettledBy::Never => return Settled::Never,
            SettledBy::NotYet => {}
        }
    }
    Settled::NotYet
}

fn names(uids: &[Uid]) -> String {
    uids.iter().map(Uid::as_str).collect::<Vec<_>>().join(" ")
}

fn print_lines(lines: &[Line], uids: bool) {
    let rows = lines.iter().map(|line| {
        let Line { summary, settled, newest, fence } = line;
        let pending = match settled {
            Settled::NoState => "-".to_owned(),
            Settled::Yes => "none".to_owned(),
            Settled::By(position) => format!("committed by {position}"),
            Settled::NotYet => summary.pending.to_string(),
            Settled::Never => "abandoned later".to_owned(),
        };
        let mut notes = Vec::new();
        notes.extend(newest.then(|| "newest".to_owned()));
        notes.extend(fence.then(|| "fence".to_owned()));
        notes.extend((*settled == Settled::NoState).then(|| "not restorable".to_owned()));
        notes.extend(
            summary
                .origin
                .as_ref()
                .filter(|_| summary.lineage == summary.position)
                .map(|origin| format!("from {origin}")),
        );
        if summary.abandoned > 0 {
            notes.push(format!("{} abandoned", summary.abandoned));
        }
        vec![
            summary.position.to_string(),
            summary.kind.clone(),
            summary.epoch.to_string(),
            summary.lineage.to_string(),
            summary.attempt.to_string(),
            print::age(summary.created_at),
            print::bytes(summary.state_bytes),
            if uids { names(&summary.uids) } else { summary.uids.len().to_string() },
            pending,
            notes.join(", "),
        ]
    });
    // Who lost something looks for an epoch and whether it can be restored; the rest can wait for a wider terminal.
    let columns = [
        Column::number("POSITION"),
        Column::text("KIND"),
        Column::number("EPOCH"),
        Column::number("LINEAGE").dispensable(2),
        Column::number("ATTEMPT").dispensable(1),
        Column::number("AGE"),
        Column::number("SIZE").dispensable(3),
        if uids { Column::text("UIDS") } else { Column::number("UIDS").dispensable(0) },
        Column::text("PENDING"),
        Column::text("NOTE"),
    ];
    print::table(&columns, rows.collect());
}
