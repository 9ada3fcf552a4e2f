//! Tables for people, lines of JSON for machines.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use tidelock_kafka::{Described, Examined, KafkaCommittable};

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

fn places(partitions: impl Iterator<Item = (String, i32)>) -> String {
    partitions.map(|(topic, partition)| format!("{topic}/{partition}")).collect::<Vec<_>>().join(" ")
}

fn as_json(id: &str, described: Option<&Described>) -> Value {
    let Some(one) = described else { return json!({ "transactional_id": id, "state": null }) };
    json!({
        "transactional_id": id,
        "state": format!("{:?}", one.state),
        "producer_id": one.producer_id,
        "producer_epoch": one.producer_epoch,
        "begun_at_ms": one.start_time_ms,
        "timeout_ms": one.timeout_ms,
        "partitions": one.partitions.iter().map(|(topic, one)| format!("{topic}/{one}")).collect::<Vec<_>>(),
    })
}

/// Transactions of a cluster.
pub(crate) fn listed(rows: &[(String, Described)], as_lines: bool) {
    if as_lines {
        rows.iter().for_each(|(id, described)| println!("{}", as_json(id, Some(described))));
        return;
    }
    let mut table = table(&[
        "TRANSACTIONAL ID",
        "STATE",
        "PRODUCER",
        "EPOCH",
        "BEGUN (ms)",
        "TIMEOUT (ms)",
        "PARTITIONS",
    ]);
    for (id, one) in rows {
        table.add_row([
            id.clone(),
            format!("{:?}", one.state),
            one.producer_id.to_string(),
            one.producer_epoch.to_string(),
            one.start_time_ms.to_string(),
            one.timeout_ms.to_string(),
            places(one.partitions.iter().cloned()),
        ]);
    }
    println!("{table}");
}

/// One transaction of a cluster.
pub(crate) fn described(id: &str, described: &Described, as_lines: bool) {
    listed(&[(id.to_owned(), described.clone())], as_lines);
}

/// What a log says is pending, and what became of it.
pub(crate) fn examined(rows: &[(KafkaCommittable, Examined)], as_lines: bool) {
    if as_lines {
        for (one, found) in rows {
            let mut line = as_json(&one.transactional_id, found.described.as_ref());
            line["verdict"] = json!(format!("{:?}", found.verdict));
            line["pending"] = json!(one);
            println!("{line}");
        }
        return;
    }
    let mut table =
        table(&["TRANSACTIONAL ID", "VERDICT", "STATE", "PRODUCER", "EPOCH", "BEGUN (ms)", "PARTITIONS"]);
    for (one, found) in rows {
        let state = found.described.as_ref().map_or("unknown".to_owned(), |one| format!("{:?}", one.state));
        table.add_row([
            one.transactional_id.clone(),
            format!("{:?}", found.verdict),
            state,
            one.producer_id.to_string(),
            one.producer_epoch.to_string(),
            one.started_at_ms.to_string(),
            places(one.places().map(|(topic, partition)| (topic.to_owned(), partition))),
        ]);
    }
    println!("{table}");
}
