//! Tables for people, lines of JSON for machines.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;
use tidelock::Epoch;
use tidelock_sql::{Outcome, TransactionName};

/// A transaction, and what is known of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: TransactionName,
    pub(crate) outcome: Outcome,
    /// Whether the log lists it, where there is a log.
    pub(crate) listed: Option<bool>,
    pub(crate) epoch: Option<Epoch>,
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "prepared",
        Outcome::Committed => "committed",
        Outcome::RolledBack => "rolled back",
        _ => "unknown",
    }
}

/// Transactions, and how many there are that are none of ours.
pub(crate) fn rows(rows: &[Row], others: usize, as_lines: bool) {
    if as_lines {
        for row in rows {
            let line = json!({
                "transaction": row.name,
                "attempt": row.name.attempt(),
                "writer": row.name.writer(),
                "outcome": word(row.outcome),
                "listed": row.listed,
                "epoch": row.epoch,
            });
            println!("{line}");
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["TRANSACTION", "OUTCOME", "IN THE LOG", "EPOCH"]);
    for row in rows {
        let listed = match row.listed {
            Some(true) => "pending",
            Some(false) => "no",
            None => "-",
        };
        let epoch = row.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        table.add_row([row.name.to_string().as_str(), word(row.outcome), listed, &epoch]);
    }
    println!("{table}");
    if others > 0 {
        println!("and {others} that are none of ours");
    }
}
