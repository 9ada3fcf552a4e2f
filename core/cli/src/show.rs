//! `tidelock snapshots show`

use crate::failure::{Failure, Outcome};
use crate::place;
use crate::print::{self, Column};
use crate::view::{Detail, Splits, print_committables};

pub(crate) async fn run(url: &str, json: bool) -> Outcome {
    let held = place::entry(url).await?;
    let detail = Detail::of(&held.log, &held.entry).await;
    if json {
        print::json(&detail)?;
        return unreadable(&detail);
    }
    print_head(&detail);
    print_sources(&detail);
    print_operators(&detail);
    print_committables("Sinks: what waits to be committed", &detail.sinks);
    if !detail.abandoned_committables.is_empty() {
        print_committables("Abandoned with this entry, not committed", &detail.abandoned_committables);
    }
    unreadable(&detail)
}

/// Whether something could not be shown: the output says what.
fn unreadable(detail: &Detail) -> Outcome {
    let unreadable = detail.sources.iter().filter(|(_, splits)| matches!(splits, Splits::Unreadable(_)));
    let uids: Vec<&str> = unreadable.map(|(uid, _)| uid.as_str()).collect();
    if uids.is_empty() {
        return Ok(());
    }
    Err(Failure::no(format!(
        "the splits of {} cannot be read: `verify` tells whether it is damage",
        uids.join(", ")
    )))
}

fn print_head(detail: &Detail) {
    let summary = &detail.summary;
    let origin = summary.origin.as_ref().map(|origin| format!(", from {origin}")).unwrap_or_default();
    let rows = [
        ("job", summary.job.clone()),
        ("position", format!("{} ({})", summary.position, summary.kind)),
        ("epoch", summary.epoch.to_string()),
        ("attempt", summary.attempt.to_string()),
        ("lineage", format!("{} (generation {}){origin}", summary.lineage, detail.generation)),
        ("made", format!("{} ({} ago)", summary.created_at, print::age(summary.created_at))),
        ("state", print::bytes(summary.state_bytes)),
        ("obeyed", if detail.obeyed.is_empty() { "-".to_owned() } else { detail.obeyed.join(", ") }),
    ];
    for (name, value) in rows {
        print::say!("{name:<10}{value}");
    }
}

fn print_sources(detail: &Detail) {
    print::say!("\nSources: where each split is read on");
    let mut rows = Vec::new();
    for (uid, splits) in &detail.sources {
        match splits {
            Splits::Unreadable(why) => {
                rows.push(vec![uid.to_string(), "unreadable".to_owned(), why.clone(), String::new()]);
            }
            Splits::Splits(splits) => {
                for split in splits {
                    let position = if split.finished { "finished" } else { split.split.json.get() };
                    rows.push(vec![
                        uid.to_string(),
                        split.id.to_string(),
                        position.to_owned(),
                        split.watermark.map_or_else(|| "-".to_owned(), |watermark| watermark.to_string()),
                    ]);
                }
            }
        }
    }
    let columns = [
        Column::text("SOURCE"),
        Column::text("SPLIT"),
        Column::text("POSITION"),
        Column::number("WATERMARK (ms)").dispensable(0),
    ];
    print::table(&columns, rows);
}

fn print_operators(detail: &Detail) {
    if detail.operators.is_empty() {
        return;
    }
    print::say!("\nOperators");
    let mut rows = Vec::new();
    for (uid, parts) in &detail.operators {
        for (name, part) in parts {
            rows.push(vec![
                uid.to_string(),
                name.clone(),
                part.segments.to_string(),
                part.chunks.len().to_string(),
                print::bytes(part.bytes),
            ]);
        }
    }
    let columns = [
        Column::text("OPERATOR"),
        Column::text("PART"),
        Column::number("SEGMENTS").dispensable(0),
        Column::number("CHUNKS").dispensable(1),
        Column::number("SIZE"),
    ];
    print::table(&columns, rows);
}
