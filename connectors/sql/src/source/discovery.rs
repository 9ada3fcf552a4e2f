//! Cuts rows into ranges of their key.
//!
//! 1. The first and the last key, which an index has at hand. What comes after the last one later is not read: a scan ends.
//! 2. A single integer is cut into ranges of equal width, and nothing else is read.
//! 3. Anything else is counted, and walked through by the server in steps of as many keys: it reads the index, and no rows.

use tidelock::{Error, ErrorKind, Result};

use super::key::{KeyColumn, KeyKind};
use super::page::{Asked, Between, Pages};
use super::reading::Reading;
use super::relation::{Chosen, Relation};
use super::snapshot::Snapshot;
use super::split::SqlSplit;
use crate::value::{Shown, SqlValue};

type Values = Vec<SqlValue>;

/// Refuses a key by which a row could be passed over: two rows have it, or a part of it is missing.
pub(super) async fn check(
    reading: &Reading,
    relation: &Relation,
    pages: &Pages,
    chosen: &Chosen,
    snapshot: Option<&Snapshot>,
    trust: bool,
) -> Result<()> {
    let slow = |error: Error| {
        error.with(
            "remedy",
            "where this takes too long: raise statement_timeout_ms, or set trust_key where you know it",
        )
    };
    let refuse = |why: &str, key: Option<Values>| {
        let error = relation.wrong(ErrorKind::Data, why).with("columns", chosen.names.join(", "));
        let parts = chosen.names.iter().zip(key.into_iter().flatten());
        parts.fold(error, |error, (name, value)| error.with("key", format_args!("{name}={}", Shown(&value))))
    };
    if !chosen.is_complete && first_row(reading, snapshot, pages.incomplete()).await?.is_some() {
        let why = "a row has NULL in its key, so it is before and after none: leave such rows out by a query, or name another key";
        return Err(refuse(why, None));
    }
    if !chosen.is_unique
        && !trust
        && let Some(key) = first_row(reading, snapshot, pages.doubled()).await.map_err(slow)?
    {
        let why = "several rows have one key, as the database compares them, so that some could be passed over: name more columns";
        return Err(refuse(why, Some(key)));
    }
    Ok(())
}

/// The splits of what is there now: none of no rows.
pub(super) async fn cut(
    reading: &Reading,
    relation: &Relation,
    pages: &Pages,
    chosen: &Chosen,
    snapshot: Option<&Snapshot>,
    splits: u32,
) -> Result<Vec<SqlSplit>> {
    let Some(last) = first_row(reading, snapshot, pages.edge(true)).await? else { return Ok(Vec::new()) };
    let Some(first) = first_row(reading, snapshot, pages.edge(false)).await? else { return Ok(Vec::new()) };
    let key = key_columns(relation, chosen, &last)?;
    for (column, value) in key.iter().zip(&last).chain(key.iter().zip(&first)) {
        column.check(value).map_err(|error| error.with("table", relation.shown()))?;
    }
    let ends = match (&first[..], &last[..]) {
        _ if splits == 1 => vec![last],
        ([one], [other]) if key[0].kind == KeyKind::Integer => by_width(integer(one), integer(other), splits)
            .into_iter()
            .map(|end| vec![value_of(end)])
            .collect(),
        _ => by_count(reading, pages, snapshot, last, splits).await.map_err(|error| {
            error.with(
                "remedy",
                "where counting takes too long: raise statement_timeout_ms, or read one split",
            )
        })?,
    };
    let mut after = None;
    let mut cut = Vec::with_capacity(ends.len());
    for (number, end) in ends.into_iter().enumerate() {
        cut.push(SqlSplit {
            name: format!("{number:06}"),
            table: relation.table.clone(),
            key: key.clone(),
            snapshot: snapshot.cloned(),
            after: after.replace(end.clone()),
            end: Some(end),
        });
    }
    Ok(cut)
}

/// What the columns of the key are: of a query, which has no description, what a row has there.
fn key_columns(relation: &Relation, chosen: &Chosen, row: &[SqlValue]) -> Result<Vec<KeyColumn>> {
    if relation.table.is_some() {
        return relation.key(&chosen.names);
    }
    let column = |(name, value): (&String, &SqlValue)| match KeyKind::of_value(value) {
        Some(kind) => Ok(KeyColumn { name: name.clone(), kind, order: None }),
        None => {
            let why = format!(
                "a key is made of integers, texts, bytes, dates, timestamps and uuids, and it has {}",
                value.type_name()
            );
            Err(relation.wrong(ErrorKind::Config, why).with("column", name))
        }
    };
    chosen.names.iter().zip(row).map(column).collect()
}

/// The first row of an answer.
pub(super) async fn first_row(
    reading: &Reading,
    snapshot: Option<&Snapshot>,
    asked: Asked,
) -> Result<Option<Values>> {
    Ok(reading.ask(snapshot, asked, usize::MAX).await?.rows.into_iter().next())
}

fn integer(value: &SqlValue) -> i128 {
    match value {
        SqlValue::U64(value) => i128::from(*value),
        SqlValue::I64(value) => i128::from(*value),
        // It was compared with its column.
        _ => 0,
    }
}

fn value_of(integer: i128) -> SqlValue {
    match i64::try_from(integer) {
        Ok(value) => SqlValue::I64(value),
        Err(_) => SqlValue::U64(u64::try_from(integer).unwrap_or(u64::MAX)),
    }
}

/// The ends of ranges of about one width from the first to the last; each has room for a key at least.
fn by_width(first: i128, last: i128, splits: u32) -> Vec<i128> {
    let width = (last - first + 1).max(1);
    let splits = i128::from(splits).min(width);
    (1..=splits).map(|number| first + width * number / splits - 1).collect()
}

/// The ends of ranges of as many keys, up to the last one.
async fn by_count(
    reading: &Reading,
    pages: &Pages,
    snapshot: Option<&Snapshot>,
    last: Values,
    splits: u32,
) -> Result<Vec<Values>> {
    let count = match first_row(reading, snapshot, pages.count()).await?.as_deref() {
        Some([SqlValue::I64(count)]) => u64::try_from(*count).unwrap_or(0),
        _ => return Err(Error::new(ErrorKind::Bug, "cut rows", "a count is no number")),
    };
    let step = count.div_ceil(u64::from(splits)).max(1);
    let mut ends: Vec<Values> = Vec::new();
    while ends.len() + 1 < splits as usize {
        let between = Between { after: ends.last().map(Vec::as_slice), end: Some(&last) };
        match first_row(reading, snapshot, pages.step(between, step)).await? {
            Some(end) if end != last => ends.push(end),
            _ => break,
        }
    }
    ends.push(last);
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_cut_into_ranges_that_meet_and_have_every_key_once() {
        for (first, last, splits) in [
            (0, 9, 3),
            (7, 7, 16),
            (-5, 5, 4),
            (0, 2, 16),
            (i128::from(i64::MIN), i128::from(i64::MAX), 7),
            (0, i128::from(u64::MAX), 100_000),
            (i128::from(u64::MAX) - 1, i128::from(u64::MAX), 2),
        ] {
            let ends = by_width(first, last, splits);
            assert!(ends.len() <= splits as usize && ends.last() == Some(&last), "{first} {last} {splits}");
            assert!(
                ends[0] >= first && ends.windows(2).all(|pair| pair[0] < pair[1]),
                "{first} {last} {splits}"
            );
        }
        assert_eq!(by_width(0, 9, 3), [2, 5, 9]);
    }

    #[test]
    fn an_integer_is_the_same_value_again() {
        for value in [SqlValue::I64(i64::MIN), SqlValue::I64(i64::MAX), SqlValue::U64(u64::MAX)] {
            assert!(value_of(integer(&value)) == value);
        }
    }
}
