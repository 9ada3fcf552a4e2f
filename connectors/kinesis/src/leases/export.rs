//! Writes positions as leases of KCL, into a table of their own: for monitors, and as a way back. Never read (I2).
//!
//! - A row is written when what it says has changed, and only while it has no owner: what a worker has taken is its own from then on.
//! - Each write is an update of its own, which may be lost, late or repeated: a row may then say less than was processed, and never more.
//! - A shard that has ended says so (`SHARD_END`) as long as its end is in the snapshot. Without that row KCL would read the shard again; with it before the end is
//!   durable, KCL would leave out what a crash takes back. Which ends are durable follows from what is: see [`State::ends`].
//! - What begins at a time is written as `AT_TIMESTAMP`, for which KCL has the time in its configuration alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tidelock::{Error, Patience, Result};
use tidelock_aws::{AwsConfig, failed, load, says_nothing};
use tokio::time::Instant;

use super::config::check_table;
use super::lease::{LEASE, name};
use super::make::there_or_made;
use super::progress::Progress;
use super::table::CALLS_AGAIN;
use crate::error::setting;

const EXPORT: &str = "export positions as leases";

/// Rows that are written at once.
const AT_ONCE: usize = 16;

/// What is not written within this time is written with the next checkpoint: the coordinator waits for nobody's monitors.
const AGAIN_FOR: Duration = Duration::from_secs(5);

/// A day: who looks at what is older looks at nothing.
const EVERY_MAX_MS: u64 = 86_400_000;

/// A table to which positions are exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LeaseExport {
    /// Where DynamoDB is.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table, by its name or ARN; it is made where it is not there. It is the source's own, and not one that KCL works with. Required.
    pub table: String,
    /// How often positions are written at most, in milliseconds: each write of each shard costs something. Default 10,000.
    #[serde(default = "default_every_ms")]
    pub every_ms: u64,
}

fn default_every_ms() -> u64 {
    10_000
}

impl LeaseExport {
    /// A table, with every other setting at its default.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into(), every_ms: default_every_ms() }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.dynamodb.validate()?;
        check_table("table", &self.table)?;
        if self.every_ms > EVERY_MAX_MS {
            return Err(setting("every_ms", format!("must be at most {EVERY_MAX_MS}")));
        }
        Ok(())
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Leases that say how far was read.
    pub leases: usize,
    /// Leases that a worker of KCL has taken: they were left alone.
    pub taken: usize,
}

/// Writes to a table.
pub(crate) struct Export {
    client: Client,
    config: LeaseExport,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When positions were written last.
    last: Option<Instant>,
    /// Shards that have ended, also those whose end no entry has yet.
    ended: BTreeMap<String, Progress>,
    /// Shards that a durable entry has: what ended of them, and is not read any more, has its end in it.
    proven: BTreeSet<String>,
    /// Whether it was told before what has ended.
    is_told: bool,
    /// What the rows say.
    written: BTreeMap<String, Progress>,
    /// Rows that a worker of KCL has taken.
    taken: BTreeSet<String>,
}

/// What became of a row.
enum Wrote {
    Row,
    Taken,
}

impl Export {
    /// Looks at the table, and makes it where it is not there.
    ///
    /// # Errors
    /// Where a setting cannot work, the table has another key, or DynamoDB refuses.
    pub(crate) async fn open(config: LeaseExport) -> Result<Self> {
        config.validate()?;
        let client = Client::new(&load(&config.dynamodb).await?);
        there_or_made(&client, &config.table).await?;
        Ok(Self { client, config, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which shards have ended, as discovery knows them.
    pub(crate) fn ended(&self, ended: impl IntoIterator<Item = Progress>) {
        let mut state = self.state();
        state.ended = ended.into_iter().map(|shard| (shard.key(), shard)).collect();
        if !std::mem::replace(&mut state.is_told, true) {
            // The first time it is what the job was restored from.
            state.proven = state.ended.keys().cloned().collect();
        }
    }

    /// Tells with which shards the job began: they are in an entry before anything is read (I9).
    pub(crate) fn began(&self, shards: impl IntoIterator<Item = Progress>) {
        self.state().proven.extend(shards.into_iter().map(|shard| shard.key()));
    }

    /// The snapshot with these positions is durable. They are written when it is time again.
    ///
    /// # Errors
    /// The last one, of those rows that could not be written.
    pub(crate) async fn durable(&self, shards: Vec<Progress>) -> Result<()> {
        let every = Duration::from_millis(self.config.every_ms);
        {
            let mut state = self.state();
            state.proven.extend(shards.iter().map(Progress::key));
            if state.last.is_some_and(|last| last.elapsed() < every) {
                return Ok(());
            }
            state.last = Some(Instant::now());
        }
        self.write(shards).await.map(drop)
    }

    /// Writes all that has changed.
    ///
    /// # Errors
    /// The last one, of those rows that could not be written.
    pub(super) async fn write(&self, shards: Vec<Progress>) -> Result<Written> {
        let due = self.state().due(shards);
        let writes = due.into_iter().map(|(key, progress)| async move {
            let wrote = self.write_row(&key, &progress).await;
            (key, progress, wrote)
        });
        let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
        let (mut written, mut last_error) = (Written::default(), None);
        while let Some((key, progress, wrote)) = writes.next().await {
            match wrote {
                Ok(Wrote::Row) => {
                    self.state().written.insert(key, progress);
                    written.leases += 1;
                }
                Ok(Wrote::Taken) => {
                    self.taken(key);
                    written.taken += 1;
                }
                Err(error) => last_error = Some(error),
            }
        }
        last_error.map_or(Ok(written), Err)
    }

    /// It is told once, and not written again as long as this process lives.
    fn taken(&self, key: String) {
        if self.state().taken.insert(key.clone()) {
            let table = &self.config.table;
            tracing::warn!(table, lease = %key, "a worker of KCL has taken a lease: positions are not exported to it any more");
        }
    }

    async fn write_row(&self, key: &str, progress: &Progress) -> Result<Wrote> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            let update = self.client.update_item().table_name(&self.config.table);
            let update = update.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let error = match fill(update, key, progress).send().await {
                Ok(answer) if answer.request_id().is_some() || answer.consumed_capacity().is_some() => {
                    return Ok(Wrote::Row);
                }
                Ok(_) => says_nothing(EXPORT),
                Err(answer) => {
                    let refused = answer.as_service_error();
                    if refused.is_some_and(UpdateItemError::is_conditional_check_failed_exception) {
                        return Ok(Wrote::Taken);
                    }
                    failed(EXPORT, answer)
                }
            };
            let error = error.with("table", &self.config.table).with("lease", key);
            patience.after(error, &self.config.table).await?;
        }
    }

    /// Tells that positions were not exported. It is no failure of the job.
    pub(crate) fn tell(&self, error: &Error) {
        let table = &self.config.table;
        tracing::warn!(%error, table, "positions were not exported");
        metrics::counter!("tidelock_kinesis_exports_failed_total", "table" => table.clone()).increment(1);
    }
}

impl State {
    /// The rows that are to be written, by their keys.
    fn due(&mut self, durable: Vec<Progress>) -> BTreeMap<String, Progress> {
        let mut due: BTreeMap<String, Progress> =
            durable.into_iter().map(|shard| (shard.key(), shard)).collect();
        due.extend(self.ends(&due));
        self.proven.retain(|key| due.contains_key(key) || self.ended.contains_key(key));
        self.written.retain(|key, _| due.contains_key(key));
        due.retain(|key, shard| self.written.get(key) != Some(shard) && !self.taken.contains(key));
        due
    }

    /// The shards whose end is durable: none that is being read still, and each either was in an entry before, or goes on from one whose end is durable. Children
    /// enter the log with the end of what they go on from, so what is not read any more of those has ended there, too.
    fn ends(&mut self, durable: &BTreeMap<String, Progress>) -> BTreeMap<String, Progress> {
        let mut ends: BTreeMap<String, Progress> = BTreeMap::new();
        loop {
            let before = ends.len();
            for (key, shard) in &self.ended {
                if durable.contains_key(key) || ends.contains_key(key) {
                    continue;
                }
                let parents = shard.parents.iter().map(|parent| shard.key_of(parent));
                let mut parents = parents.filter(|parent| self.ended.contains_key(parent)).peekable();
                let follows = parents.peek().is_some() && parents.all(|parent| ends.contains_key(&parent));
                if self.proven.contains(key) || follows {
                    ends.insert(key.clone(), shard.clone());
                }
            }
            if ends.len() == before {
                self.proven.extend(ends.keys().cloned());
                return ends;
            }
        }
    }
}

/// The update of a row. KCL's pending checkpoint, where there is one, is none of ours.
fn fill(update: UpdateItemFluentBuilder, key: &str, progress: &Progress) -> UpdateItemFluentBuilder {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let (checkpoint, sub) = progress.checkpoint.written();
    let mut set = vec![
        (name::CHECKPOINT, text(checkpoint)),
        (name::SUB, number(sub)),
        (name::ENTITY, text(LEASE)),
        (name::SWITCHES, number(0)),
        (name::HASH_START, text(&progress.hash_range.0)),
        (name::HASH_END, text(&progress.hash_range.1)),
    ];
    if !progress.parents.is_empty() {
        set.push((name::PARENTS, AttributeValue::Ss(progress.parents.clone())));
    }
    if !progress.children.is_empty() {
        set.push((name::CHILDREN, AttributeValue::Ss(progress.children.clone())));
    }
    if let Some(stream) = &progress.stream {
        set.push((name::STREAM, text(stream)));
        set.push((name::SHARD, text(&progress.shard)));
    }
    let mut update = update
        .key(name::KEY, text(key))
        .condition_expression("attribute_not_exists(#owner)")
        .expression_attribute_names("#owner", name::OWNER)
        .expression_attribute_names("#counter", name::COUNTER)
        .expression_attribute_values(":one", number(1));
    let mut sets = Vec::new();
    for (at, (name, value)) in set.into_iter().enumerate() {
        sets.push(format!("#s{at} = :s{at}"));
        update = update.expression_attribute_names(format!("#s{at}"), name);
        update = update.expression_attribute_values(format!(":s{at}"), value);
    }
    let mut removed = Vec::new();
    for (at, name) in [name::PENDING, name::PENDING_SUB, name::PENDING_STATE].into_iter().enumerate() {
        removed.push(format!("#r{at}"));
        update = update.expression_attribute_names(format!("#r{at}"), name);
    }
    // The counter moves, so that a worker which looked before takes no lease of what it saw.
    let (sets, removed) = (sets.join(", "), removed.join(", "));
    update.update_expression(format!("SET {sets} REMOVE {removed} ADD #counter :one"))
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::Checkpoint;
    use super::*;

    fn progress(shard: &str, checkpoint: Checkpoint) -> Progress {
        Progress {
            stream: None,
            shard: shard.into(),
            parents: Vec::new(),
            children: Vec::new(),
            hash_range: ("0".into(), "1".into()),
            checkpoint,
        }
    }

    fn after(number: &str) -> Checkpoint {
        Checkpoint::After { sequence_number: number.into(), sub_sequence: 0 }
    }

    /// What is written of this checkpoint.
    fn due(state: &mut State, durable: &[Progress]) -> Vec<String> {
        state.proven.extend(durable.iter().map(Progress::key));
        let due = state.due(durable.to_vec());
        let shown = due.iter().map(|(key, progress)| format!("{key}@{}", progress.checkpoint)).collect();
        state.written.extend(due);
        shown
    }

    fn told(state: &mut State, ended: &[Progress]) {
        state.ended = ended.iter().map(|shard| (shard.key(), shard.clone())).collect();
    }

    #[test]
    fn a_row_is_written_when_it_says_something_else() {
        let mut state = State::default();
        let (a, b) = (progress("a", after("1")), progress("b", Checkpoint::TrimHorizon));
        assert_eq!(due(&mut state, &[a.clone(), b.clone()]), ["a@1", "b@TRIM_HORIZON"]);
        assert_eq!(due(&mut state, &[a.clone(), b.clone()]), [""; 0]);
        assert_eq!(due(&mut state, &[progress("a", after("2")), b.clone()]), ["a@2"]);
        // A rollback.
        assert_eq!(due(&mut state, &[a, b]), ["a@1"]);
    }

    #[test]
    fn an_end_is_not_said_before_it_is_durable() {
        let mut state = State::default();
        let a = progress("a", after("1"));
        let child = |shard: &str, parent: &str, checkpoint| Progress {
            parents: vec![parent.into()],
            ..progress(shard, checkpoint)
        };
        let end = || progress("a", Checkpoint::ShardEnd);
        let b = |checkpoint| child("b", "a", checkpoint);
        assert_eq!(due(&mut state, std::slice::from_ref(&a)), ["a@1"]);
        // All of a was read, then all of b, and no entry has either.
        told(&mut state, &[end(), b(Checkpoint::ShardEnd)]);
        assert_eq!(due(&mut state, std::slice::from_ref(&a)), [""; 0]);
        // The entry with the end of a has b in it, and c, which was read to its end meanwhile, is in none.
        told(&mut state, &[end(), b(Checkpoint::ShardEnd), child("c", "b", Checkpoint::ShardEnd)]);
        assert_eq!(due(&mut state, &[b(after("2"))]), ["a@SHARD_END", "b@2"]);
        let d = child("d", "c", Checkpoint::TrimHorizon);
        assert_eq!(
            due(&mut state, std::slice::from_ref(&d)),
            ["b@SHARD_END", "c@SHARD_END", "d@TRIM_HORIZON"]
        );
        // Nobody knows of a shard without a parent whether an entry has it, until one had it.
        told(&mut state, &[progress("e", Checkpoint::ShardEnd)]);
        assert_eq!(due(&mut state, std::slice::from_ref(&d)), [""; 0]);
        assert_eq!(due(&mut state, &[d.clone(), progress("e", after("3"))]), ["e@3"]);
        assert_eq!(due(&mut state, &[d]), ["e@SHARD_END"]);
    }

    #[test]
    fn what_was_merged_has_ended_when_both_before_it_have() {
        let mut state = State::default();
        let (a, b) = (progress("a", after("1")), progress("b", after("1")));
        assert_eq!(due(&mut state, &[a, b.clone()]), ["a@1", "b@1"]);
        let merged =
            Progress { parents: vec!["a".into(), "b".into()], ..progress("c", Checkpoint::ShardEnd) };
        let end = |shard: &str| progress(shard, Checkpoint::ShardEnd);
        told(&mut state, &[end("a"), end("b"), merged]);
        assert_eq!(due(&mut state, &[b]), ["a@SHARD_END"]);
        assert_eq!(due(&mut state, &[]), ["b@SHARD_END", "c@SHARD_END"]);
    }

    #[test]
    fn what_a_worker_has_taken_is_left_to_it() {
        let mut state = State::default();
        state.taken.insert("a".into());
        assert_eq!(due(&mut state, &[progress("a", after("1")), progress("b", after("1"))]), ["b@1"]);
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let config = || LeaseExport::new(AwsConfig::new(), "flights-reader");
        config().validate().expect("the defaults");
        for (wrong, named) in [
            (LeaseExport { table: " ".into(), ..config() }, "table"),
            (LeaseExport { every_ms: u64::MAX, ..config() }, "every_ms"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }
}
