//! `tidelock snapshots diff`

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::place;
use crate::print::{self, Column};
use crate::view::{Detail, Splits};

#[derive(Debug, Serialize)]
struct Report {
    before: String,
    after: String,
    epochs: [u64; 2],
    changes: Vec<Change>,
}

/// One thing that is not the same in both.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    /// The uid that it belongs to.
    uid: String,
    /// What of the uid: a split, a part, a committable.
    what: String,
    before: Option<String>,
    after: Option<String>,
}

/// What can differ, flattened: (uid, what) and its text.
type Facts = BTreeMap<(String, String), String>;

pub(crate) async fn run(before: &str, after: &str, json: bool) -> Outcome {
    let (old, new) = (place::entry(before).await?, place::entry(after).await?);
    let old_facts = facts(&Detail::of(&old.log, &old.entry).await)?;
    let new_facts = facts(&Detail::of(&new.log, &new.entry).await)?;
    let report = Report {
        before: old.entry.snapshot_id().to_string(),
        after: new.entry.snapshot_id().to_string(),
        epochs: [old.entry.epoch.0, new.entry.epoch.0],
        changes: changes(&old_facts, &new_facts),
    };
    if json {
        print::json(&report)?;
    } else {
        print_report(&report);
    }
    if report.changes.is_empty() { Ok(()) } else { Err(Failure::no("")) }
}

fn facts(detail: &Detail) -> Outcome<Facts> {
    let mut facts = Facts::new();
    for (uid, splits) in &detail.sources {
        facts.insert((uid.to_string(), "source".to_owned()), "has state".to_owned());
        let splits = match splits {
            Splits::Splits(splits) => splits,
            // Two snapshots that cannot be read must not look the same.
            Splits::Unreadable(why) => return Err(Failure::unknown(why.clone())),
        };
        for split in splits {
            let watermark = split.watermark.map(|at| format!(" watermark {at}")).unwrap_or_default();
            let finished = if split.finished { " finished" } else { "" };
            let text = format!("{}{watermark}{finished}", split.split.json.get());
            facts.insert((uid.to_string(), format!("split {}", split.id)), text);
        }
    }
    for (uid, parts) in &detail.operators {
        facts.insert((uid.to_string(), "operator".to_owned()), "has state".to_owned());
        for (name, part) in parts {
            let text = part.contents.join(" + ");
            facts.insert((uid.to_string(), format!("part {name}")), text);
        }
    }
    for (uid, committables) in &detail.sinks {
        facts.insert((uid.to_string(), "sink".to_owned()), "has state".to_owned());
        for one in committables {
            let what = format!("pending epoch {} attempt {} writer {}", one.epoch, one.attempt, one.writer);
            // A writer may have prepared several things in one epoch.
            let text = facts.entry((uid.to_string(), what)).or_default();
            text.push_str(&format!("v{} {}", one.version, one.whole()));
        }
    }
    Ok(facts)
}

fn changes(old: &Facts, new: &Facts) -> Vec<Change> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(key) != new.get(key))
        .map(|key| Change {
            uid: key.0.clone(),
            what: key.1.clone(),
            before: old.get(key).cloned(),
            after: new.get(key).cloned(),
        })
        .collect()
}

fn print_report(report: &Report) {
    print::say!(
        "{} (epoch {}) -> {} (epoch {})",
        report.before,
        report.epochs[0],
        report.after,
        report.epochs[1]
    );
    if report.changes.is_empty() {
        print::say!("the state is the same");
        return;
    }
    let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
    let rows = report.changes.iter().map(|change| {
        vec![change.uid.clone(), change.what.clone(), text(&change.before), text(&change.after)]
    });
    print::table(&["UID", "WHAT", "BEFORE", "AFTER"].map(Column::text), rows.collect());
}
