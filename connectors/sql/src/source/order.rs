//! In which order rows are read as they come, and how it is known that no smaller one follows.
//!
//! Ids and times are taken when a row is written, and rows are seen when they are committed: one with a smaller value may
//! appear after one with a greater. Whoever has read on then never sees it. So a row is read only when it is older than any
//! transaction that may still be under way; or, by a choice with a loud name, at once.
//!
//! PostgreSQL could tell the oldest transaction that is under way, and each row's own. That is not enough: an id is taken from its
//! sequence before its transaction has a number, so a row could be read while one with a smaller id is still nobody's.

use tidelock::{ErrorKind, Result};

use super::config::SqlIncrementalConfig;
use super::key::{KeyColumn, KeyKind};
use super::page::{Pages, Ripe};
use super::relation::Relation;
use crate::column::ColumnType;
use crate::error::setting;
use crate::kind::DatabaseKind;

/// The order of an endless source.
pub(super) struct Order {
    pub(super) key: Vec<KeyColumn>,
    /// Whether the database says that no part of the key is missing.
    pub(super) is_complete: bool,
    ripe: Ripe,
}

impl Order {
    pub(super) fn of(config: &SqlIncrementalConfig, relation: &Relation) -> Result<Self> {
        relation.column(&config.column).map_err(|error| error.with("setting", "column"))?;
        let tie = relation.choose(&config.key)?;
        let mut names = vec![config.column.clone()];
        names.extend(tie.names.into_iter().filter(|name| *name != config.column));
        let chosen = relation.choose(&names)?;
        if !chosen.is_unique {
            let why = "no unique key of integers, dates or bytes, and no primary key, is among these columns, so several rows could \
                       have one place in the order";
            return Err(relation
                .wrong(ErrorKind::Config, why)
                .with("setting", "key")
                .with("columns", names.join(", ")));
        }
        for name in &names {
            if relation.column(name)?.nullable {
                let why = "it may be NULL, and such rows would never be read: make the column NOT NULL, or name another one";
                return Err(relation.wrong(ErrorKind::Config, why).with("column", name));
            }
        }
        let key = relation.key(&names)?;
        let ripe = ripe(config, relation, &key)?;
        Ok(Self { key, is_complete: chosen.is_complete, ripe })
    }

    pub(super) fn pages(&self, relation: &Relation, record: Vec<String>) -> Pages {
        let key = self.key.iter().map(|column| column.name.clone()).collect();
        Pages::new(relation.dialect, relation.from.clone(), record, key, self.ripe.clone())
    }
}

/// How much older a time may look than it is, because its column keeps so few digits of a second: MySQL's keeps none where
/// nothing else was said.
fn cut_ms(kind: &ColumnType) -> u64 {
    match kind {
        ColumnType::Timestamp(digits) | ColumnType::Moment { digits, .. } => match digits {
            0 => 1_000,
            1 => 100,
            2 => 10,
            3..=5 => 1,
            _ => 0,
        },
        _ => 0,
    }
}

fn ripe(config: &SqlIncrementalConfig, relation: &Relation, key: &[KeyColumn]) -> Result<Ripe> {
    let is_sqlite = relation.dialect.kind == DatabaseKind::Sqlite;
    let Some(lag_ms) = config.lag_ms else {
        // SQLite has one writer at a time, who takes the id and commits before the next one begins.
        let is_given = is_sqlite && key.len() == 1 && relation.column(&config.column)?.fills;
        if is_given || config.lose_late_commits {
            return Ok(Ripe::Always);
        }
        let why = "a row that is committed after others with greater values would never be read: say by lag_ms how long a transaction \
                   takes at most, or accept the loss by lose_late_commits";
        return Err(setting("lag_ms", why).with("table", relation.shown()));
    };
    let name = config.lag_column.as_ref().unwrap_or(&config.column);
    let column = relation.column(name).map_err(|error| error.with("setting", "lag_column"))?;
    let kind = KeyKind::of_column(relation.dialect, &column.kind);
    let is_time = matches!(kind, Some(KeyKind::Timestamp | KeyKind::Moment));
    let lag_ms = lag_ms.saturating_add(cut_ms(&column.kind));
    let ago = relation.dialect.so_long_ago(lag_ms, kind == Some(KeyKind::Moment));
    let (true, Some(ago)) = (is_time, ago) else {
        let why = match is_sqlite {
            true => {
                "SQLite has one writer at a time and no type for times: read in the order of its INTEGER PRIMARY KEY without a lag, \
                     or choose lose_late_commits"
            }
            false => "it is no timestamp: lag_column says by which column a row's age is known",
        };
        return Err(setting(if is_sqlite { "lag_ms" } else { "lag_column" }, why).with("column", name));
    };
    if column.nullable {
        let why = "it may be NULL, and nobody would know how old such a row is: make the column NOT NULL";
        return Err(setting("lag_column", why).with("column", name));
    }
    let mut ripe = String::new();
    relation.dialect.quote(&mut ripe, name);
    ripe.push_str(" <= ");
    ripe.push_str(&ago);
    Ok(if *name == config.column { Ripe::Asked(ripe) } else { Ripe::Told(ripe) })
}
