//! Tables of outcomes: the median of the repeats, with the least and the greatest in brackets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::outcome::{Outcome, Setting};
use crate::systems::System;

/// Prints a table for each setting. Whoever reads it may stop before the end.
pub(crate) fn print(outcomes: &[Outcome]) {
    let mut out = std::io::stdout().lock();
    let (pipelines, copies): (Vec<&Outcome>, Vec<&Outcome>) =
        outcomes.iter().partition(|outcome| outcome.setting.keys.is_some());
    let settings: BTreeSet<&Setting> = copies.iter().map(|outcome| &outcome.setting).collect();
    for setting in settings {
        let mut by_system: BTreeMap<System, Vec<&Outcome>> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.setting == *setting) {
            by_system.entry(outcome.system).or_default().push(outcome);
        }
        let table = if setting.throughput { throughput(&by_system) } else { latency(&by_system) };
        let _ = writeln!(out, "\n{}\n\n{table}", title(setting));
    }
    let mut by_interval: BTreeMap<Setting, Vec<&Outcome>> = BTreeMap::new();
    for outcome in pipelines {
        let common = Setting { keys: None, ..outcome.setting.clone() };
        by_interval.entry(common).or_default().push(outcome);
    }
    for (setting, outcomes) in by_interval {
        let table = pipeline(&setting, &outcomes);
        let _ = writeln!(out, "\nPipeline: {}\n\n{table}", title(&setting));
    }
}

fn title(setting: &Setting) -> String {
    let Setting { target, interval_ms, rate, size, partitions, seconds, records, .. } = setting;
    let common =
        format!("to {target}, interval {interval_ms} ms, records of {size} bytes, partitions: {partitions}");
    match setting.throughput {
        true => format!("Throughput: {common}, {records} records preloaded"),
        false => format!("Latency in ms: {common}, {rate} records/s, {seconds} s"),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn latency(by_system: &BTreeMap<System, Vec<&Outcome>>) -> Table {
    let header = [
        "",
        "p50",
        "p95",
        "p99",
        "p99.9",
        "max",
        "records/s",
        "CPU s",
        "us/record",
        "MiB",
        "runs",
        "missing",
        "wrong",
    ];
    let mut table = table(&header);
    for (system, outcomes) in by_system {
        let histograms: Vec<_> = outcomes.iter().map(|outcome| outcome.histogram()).collect();
        let mut row = vec![system.name().to_owned()];
        for quantile in [0.5, 0.95, 0.99, 0.999, 1.0] {
            let values =
                histograms.iter().map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3);
            row.push(median(values.collect(), 1));
        }
        row.extend(resources(outcomes));
        row.push(outcomes.iter().map(|outcome| outcome.missing).sum::<u64>().to_string());
        row.push(outcomes.iter().map(|outcome| outcome.wrong).sum::<u64>().to_string());
        table.add_row(row);
    }
    table
}

/// A row for each number of keys and each system.
fn pipeline(setting: &Setting, outcomes: &[&Outcome]) -> Table {
    let header = [
        "keys",
        "changed by a checkpoint",
        "",
        "p50",
        "p99",
        "max",
        "CPU, % of a core",
        "us/record",
        "of the gateway",
        "checkpoints/s",
        "disk, kB/s",
        "kB/checkpoint",
        "by its own account",
        "MiB",
        "of the gateway",
        "runs",
        "missing",
    ];
    let mut table = table(&header);
    let mut rows: BTreeMap<(u64, System), Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        rows.entry((outcome.setting.keys.unwrap_or(0), outcome.system)).or_default().push(outcome);
    }
    let seconds = setting.seconds as f64;
    for ((keys, system), outcomes) in rows {
        let all = |figure: &dyn Fn(&Outcome) -> Option<f64>| -> Vec<f64> {
            outcomes.iter().filter_map(|outcome| figure(outcome)).collect()
        };
        let changed = setting.rate as f64 * setting.interval_ms as f64 / 1e3 / keys as f64;
        let (keys, changed) = match keys {
            0 => ("positions only".to_owned(), "-".to_owned()),
            _ => (keys.to_string(), format!("{:.3} %", changed.min(1.0) * 100.0)),
        };
        let mut row = vec![keys, changed, system.name().to_owned()];
        for quantile in [0.5, 0.99, 1.0] {
            row.push(median(
                all(&|outcome| Some(outcome.histogram().value_at_quantile(quantile) as f64 / 1e3)),
                1,
            ));
        }
        row.push(median(all(&|outcome| Some(outcome.cpu_seconds? * 100.0 / seconds)), 1));
        row.push(median(all(&|outcome| outcome.cpu_micros_per_record), 1));
        row.push(median(all(&|outcome| outcome.gateway_micros_per_record), 1));
        row.push(median(all(&|outcome| Some(outcome.checkpoints? as f64 / seconds)), 1));
        row.push(median(all(&|outcome| Some(outcome.disk_bytes? as f64 / seconds / 1e3)), 1));
        let each = |outcome: &Outcome| {
            Some(outcome.disk_bytes? as f64 / outcome.checkpoints.filter(|count| *count > 0)? as f64 / 1e3)
        };
        row.push(median(all(&each), 1));
        row.push(median(all(&|outcome| Some(outcome.checkpoint_bytes? as f64 / 1e3)), 1));
        row.push(median(all(&|outcome| outcome.memory_mib), 0));
        row.push(median(all(&|outcome| outcome.gateway_memory_mib), 0));
        row.push(outcomes.len().to_string());
        row.push(outcomes.iter().map(|outcome| outcome.missing).sum::<u64>().to_string());
        table.add_row(row);
    }
    table
}

fn throughput(by_system: &BTreeMap<System, Vec<&Outcome>>) -> Table {
    let mut table = table(&["", "records/s", "CPU s", "us/record", "MiB", "runs"]);
    for (system, outcomes) in by_system {
        let mut row = vec![system.name().to_owned()];
        row.extend(resources(outcomes));
        table.add_row(row);
    }
    table
}

fn resources(outcomes: &[&Outcome]) -> Vec<String> {
    let all = |figure: fn(&Outcome) -> Option<f64>| -> Vec<f64> {
        outcomes.iter().filter_map(|outcome| figure(outcome)).collect()
    };
    vec![
        median(all(|outcome| Some(outcome.records_per_second).filter(|rate| *rate > 0.0)), 0),
        median(all(|outcome| outcome.cpu_seconds), 1),
        median(all(|outcome| outcome.cpu_micros_per_record), 2),
        median(all(|outcome| outcome.memory_mib), 0),
        outcomes.len().to_string(),
    ]
}

/// The median with the range.
fn median(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else { return "-".to_owned() };
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    if values.len() == 1 {
        return format!("{middle:.digits$}");
    }
    format!("{middle:.digits$} ({least:.digits$}-{greatest:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_range_is_told() {
        assert_eq!(median(vec![3.0, 1.0, 2.0], 1), "2.0 (1.0-3.0)");
        assert_eq!(median(vec![1.0, 2.0], 1), "1.5 (1.0-2.0)");
        assert_eq!(median(vec![7.0], 0), "7");
        assert_eq!(median(vec![], 0), "-");
    }
}
