//! Tables for people, lines of JSON for machines.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use tidelock_kinesis::{Begins, Lease, Planned};

/// A lease, a shard, or both.
pub(crate) struct Row {
    stream: Option<String>,
    shard: String,
    lease: Option<Lease>,
    begins: Option<Begins>,
}

impl Row {
    pub(crate) fn of_planned(planned: &Planned) -> Self {
        Self {
            stream: Some(planned.stream.clone()),
            shard: planned.shard.clone(),
            lease: planned.lease.clone(),
            begins: Some(planned.begins.clone()),
        }
    }

    pub(crate) fn of_lease(lease: &Lease) -> Self {
        Self {
            stream: lease.stream.as_ref().map(|stream| stream.name.clone()),
            shard: lease.shard.clone(),
            lease: Some(lease.clone()),
            begins: None,
        }
    }

    fn as_json(&self) -> Value {
        let mut line = json!({ "stream": self.stream, "shard": self.shard });
        if let Some(lease) = &self.lease {
            line["checkpoint"] = lease.checkpoint.to_string().into();
            line["pending"] = lease.pending.as_ref().map(|pending| pending.to_string()).into();
            line["owner"] = lease.owner.clone().into();
            line["counter"] = lease.counter.into();
            line["parents"] = lease.parents.clone().into();
        }
        match &self.begins {
            Some(Begins::At(at)) => line["begins"] = json!(at),
            Some(Begins::Follows) => line["begins"] = "follows".into(),
            Some(_) | None => {}
        }
        line
    }
}

/// Leases, and where a job would begin.
pub(crate) fn leases(rows: &[Row], is_planned: bool, names_streams: bool, as_lines: bool) {
    if as_lines {
        rows.iter().for_each(|row| println!("{}", row.as_json()));
        return;
    }
    let mut header = vec!["SHARD", "CHECKPOINT", "PENDING", "OWNER", "COUNTER"];
    if names_streams {
        header.insert(0, "STREAM");
    }
    if is_planned {
        header.push("BEGINS");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        let dash = || "-".to_owned();
        let of = |text: fn(&Lease) -> Option<String>| row.lease.as_ref().and_then(text).unwrap_or_else(dash);
        let mut cells = vec![
            row.shard.clone(),
            of(|lease| Some(lease.checkpoint.to_string())),
            of(|lease| lease.pending.as_ref().map(|pending| pending.to_string())),
            of(|lease| lease.owner.clone()),
            of(|lease| Some(lease.counter.to_string())),
        ];
        if names_streams {
            cells.insert(0, row.stream.clone().unwrap_or_else(dash));
        }
        if is_planned {
            cells.push(row.begins.as_ref().map_or_else(|| "it is not there".to_owned(), Begins::to_string));
        }
        table.add_row(cells);
    }
    println!("{table}");
}
