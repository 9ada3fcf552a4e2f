//! Tables for people, JSON for machines.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::unknown(format!("the answer is not JSON: {error}")))?;
    println!("{text}");
    Ok(())
}

/// Prints rows below a header; the columns named in `right` hold numbers.
pub(crate) fn table(header: &[&str], right: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    // Lines are cut by the terminal, not wrapped: they stay one record each, for `grep` and the eye.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    println!("{}", table.trim_fmt());
}

/// A size, such as `1.50 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// How long ago, in its two largest units, such as `3h 2m`. `0s` for what a fast clock put into the future.
pub(crate) fn age(created_at: jiff::Timestamp) -> String {
    let text =
        humantime::format_duration(std::time::Duration::from_secs(age_seconds(created_at))).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How long ago, in seconds.
pub(crate) fn age_seconds(created_at: jiff::Timestamp) -> u64 {
    u64::try_from(jiff::Timestamp::now().duration_since(created_at).as_secs()).unwrap_or(0)
}

/// A count with its noun.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
