//! Tables for people, JSON for machines.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Writes to standard output. Whoever reads it may have seen enough, as `head` has: then the command ends quietly.
pub(crate) fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("tidelock: the answer could not be written: {error}");
            std::process::exit(3)
        }
    }
}

/// The same with the end of a line, in the place of `println!`, which panics where nobody reads any more.
macro_rules! say {
    ($($line:tt)*) => { $crate::print::write(format_args!("{}\n", format_args!($($line)*))) };
}
pub(crate) use say;

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::unknown(format!("the answer is not JSON: {error}")))?;
    say!("{text}");
    Ok(())
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    number: bool,
    /// Which columns a narrow terminal goes without first: the lowest. The others always stay.
    dispensable: Option<u8>,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, number: false, dispensable: None }
    }

    /// A column of numbers.
    pub(crate) const fn number(name: &'static str) -> Self {
        Self { name, number: true, dispensable: None }
    }

    /// The same, and a narrow terminal may go without it: first without the lowest `rank`.
    pub(crate) const fn dispensable(self, rank: u8) -> Self {
        Self { dispensable: Some(rank), ..self }
    }
}

/// Between two columns.
const GAP: u16 = 2;

/// Prints rows below a header. A terminal that is too narrow for all columns gets those that it cannot do
/// without, and is told which are left out; a file or a pipe gets all.
pub(crate) fn table(columns: &[Column], rows: Vec<Vec<String>>) {
    let width = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    let kept = fit(columns, &rows, width.map(|(width, _)| usize::from(width.0)));
    let mut table = Table::new();
    // Rows are never wrapped: they stay one line each, for `grep` and the eye.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(kept.iter().map(|index| columns[*index].name));
    for mut row in rows {
        table.add_row(kept.iter().map(|index| std::mem::take(&mut row[*index])));
    }
    for (place, index) in kept.iter().enumerate() {
        if let Some(column) = table.column_mut(place) {
            column.set_padding((0, GAP));
            if columns[*index].number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    say!("{}", table.trim_fmt());
    let left_out = (0..columns.len()).filter(|index| !kept.contains(index)).map(|index| columns[index].name);
    let left_out: Vec<&str> = left_out.collect();
    if !left_out.is_empty() {
        eprintln!("(the terminal is too narrow for {})", left_out.join(", "));
    }
}

/// The columns that fit into `width`, if there is one.
fn fit(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let Some(width) = width else { return kept };
    let widest = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([columns[index].name.chars().count()]).max().unwrap_or_default()
    };
    let total = |kept: &[usize]| {
        let texts: usize = kept.iter().map(|index| widest(*index)).sum();
        texts + usize::from(GAP) * kept.len().saturating_sub(1)
    };
    while total(&kept) > width {
        let rank = |index: &usize| columns[*index].dispensable.map(|rank| (rank, *index));
        let Some((_, next)) = kept.iter().filter_map(rank).min() else { break };
        kept.retain(|index| *index != next);
    }
    kept
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_goes_without_the_lowest_ranks_and_never_without_the_rest() {
        let columns = [
            Column::number("POSITION"),
            Column::text("KIND").dispensable(1),
            Column::number("UIDS").dispensable(0),
            Column::text("NOTE"),
        ];
        let rows = [["1", "checkpoint", "3", "newest"].map(str::to_owned).to_vec()];
        // 8 + 10 + 4 + 6, and three gaps.
        for (width, expected) in [
            (None, &[0, 1, 2, 3][..]),
            (Some(34), &[0, 1, 2, 3]),
            (Some(33), &[0, 1, 3]),
            (Some(28), &[0, 1, 3]),
            (Some(27), &[0, 3]),
            (Some(5), &[0, 3]),
        ] {
            assert_eq!(fit(&columns, &rows, width), expected, "{width:?}");
        }
    }
}
