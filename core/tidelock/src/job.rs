//! A job before it runs: what is configured, and what will be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
// A time as people write it in a configuration: "100ms", "2h 30m", or ISO 8601.
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use serde::{Deserialize, Serialize};

use crate::log::{Closed, Entry, EntryKind, Log, RequestId, Snapshot, SnapshotId, State};
use crate::restore::{GraphUids, Placement, place_start};
use crate::{Error, ErrorKind, JobId, Result, SinkControl, SourceControl, Uid, choice};

/// How a job checkpoints. Can be changed while the job runs: see
/// [`Control::set_settings`](crate::coordinator::Control::set_settings).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Time between the beginnings of two checkpoints. Default 1 s.
    #[serde(with = "friendly")]
    pub interval: Duration,
    /// Time between the end of a checkpoint and the beginning of the next one, at least. Default 0.
    #[serde(with = "friendly")]
    pub pause_min: Duration,
    /// A checkpoint that is not durable after this time is given up. Default 10 min.
    #[serde(with = "friendly")]
    pub timeout: Duration,
    /// How many checkpoints in a row may be given up or fail to be stored before the attempt ends.
    /// Default 3.
    pub tolerable_failures: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            pause_min: Duration::ZERO,
            timeout: Duration::from_secs(600),
            tolerable_failures: 3,
        }
    }
}

impl Settings {
    /// Checks what can be said of them alone.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        if self.interval.is_zero() {
            return Err(setting("interval", "the checkpoint interval must be greater than zero"));
        }
        if self.timeout.is_zero() {
            return Err(setting("timeout", "the checkpoint timeout must be greater than zero"));
        }
        Ok(())
    }
}

fn setting(name: &'static str, why: &str) -> Error {
    Error::new(ErrorKind::Config, "configure", why).with("setting", name)
}

/// What happens to a job's checkpoints when it is cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCancel {
    /// They stay, and a later start goes on from the newest.
    #[default]
    Retain,
    /// They are deleted, oldest first, after the closed entry; it and the claims stay.
    Delete,
}

/// What a start restores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// The newest entry of the job's log; nothing where the log is empty.
    #[default]
    Newest,
    /// A savepoint, or a settled entry of a log: a rollback where it is this job's, a fork where this
    /// job's log is empty. Obeyed once for each `request`; asked again, the newest entry is restored.
    Snapshot {
        /// The savepoint's folder, or `LOG#POSITION` for an entry of a log.
        url: String,
        /// The name of this request. `None`: the snapshot's own name and, once nothing is there any more, that
        /// of its place, so that a supervisor which repeats its arguments rolls back once.
        request: Option<RequestId>,
    },
}

/// A job's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JobConfig {
    /// The job's name, for ever.
    pub job: JobId,
    /// Where its log is: a local path, or a URL such as `s3://bucket/folder`.
    pub checkpoints: String,
    /// How it checkpoints.
    #[serde(default)]
    pub settings: Settings,
    /// What a start restores.
    #[serde(default, deserialize_with = "choice")]
    pub start_from: StartFrom,
    /// How many epochs may be prepared and not yet confirmed. Default 4.
    #[serde(default = "default_epochs_in_flight_max")]
    pub epochs_in_flight_max: u32,
    /// How many snapshots are kept. Default 3.
    #[serde(default = "default_retained")]
    pub retained: u32,
    /// What happens to them when the job is cancelled.
    #[serde(default, deserialize_with = "choice")]
    pub on_cancel: OnCancel,
    /// Uids whose state may be dropped because the graph no longer has a place for it.
    #[serde(default)]
    pub allow_dropped_state: BTreeSet<Uid>,
    /// What must remain of a committable's life when its entry is asked for: half of it is for the append,
    /// which is given up and judged anew after that time, and half for the commit. A target must keep
    /// prepared data for at least the interval and this margin: see
    /// [`Sink::keeps_prepared`](crate::Sink::keeps_prepared). Default 30 s, at least 100 ms.
    #[serde(default = "default_commit_margin", with = "friendly")]
    pub commit_margin: Duration,
    /// How long a source, a sink, the store or a host that opens may take to answer one call. Then the attempt
    /// ends with an error that names the call, and restarts. Default 10 min.
    #[serde(default = "default_call_timeout", with = "friendly")]
    pub call_timeout: Duration,
    /// How often new splits are looked for. Default 10 s.
    #[serde(default = "default_discovery_interval", with = "friendly")]
    pub discovery_interval: Duration,
    /// How often leftovers of older attempts are swept again. Default 60 s.
    #[serde(default = "default_sweep_interval", with = "friendly")]
    pub sweep_interval: Duration,
}

/// A shorter margin than this is no time for any store and any target.
const COMMIT_MARGIN_MIN: Duration = Duration::from_millis(100);

/// An append without an answer for so long is judged and asked for anew, however long the margin is.
const APPEND_TIMEOUT_MAX: Duration = Duration::from_secs(30);

fn default_epochs_in_flight_max() -> u32 {
    4
}
fn default_retained() -> u32 {
    3
}
fn default_commit_margin() -> Duration {
    Duration::from_secs(30)
}
fn default_call_timeout() -> Duration {
    Duration::from_secs(600)
}
fn default_discovery_interval() -> Duration {
    Duration::from_secs(10)
}
fn default_sweep_interval() -> Duration {
    Duration::from_secs(60)
}

impl JobConfig {
    /// A configuration with every default.
    pub fn new(job: JobId, checkpoints: impl Into<String>) -> Self {
        Self {
            job,
            checkpoints: checkpoints.into(),
            settings: Settings::default(),
            start_from: StartFrom::default(),
            epochs_in_flight_max: default_epochs_in_flight_max(),
            retained: default_retained(),
            on_cancel: OnCancel::default(),
            allow_dropped_state: BTreeSet::new(),
            commit_margin: default_commit_margin(),
            call_timeout: default_call_timeout(),
            discovery_interval: default_discovery_interval(),
            sweep_interval: default_sweep_interval(),
        }
    }

    /// Checks the configuration before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.settings.validate()?;
        if self.epochs_in_flight_max == 0 {
            return Err(setting("epochs_in_flight_max", "at least one epoch must be in flight"));
        }
        if self.retained == 0 {
            return Err(setting("retained", "at least one snapshot must be retained"));
        }
        if self.commit_margin < COMMIT_MARGIN_MIN {
            let why = "half of the margin is for the append and half for the commit: at least 100 ms";
            return Err(setting("commit_margin", why));
        }
        if self.call_timeout.is_zero() {
            return Err(setting("call_timeout", "a call must have time to be answered"));
        }
        if self.discovery_interval.is_zero() {
            return Err(setting(
                "discovery_interval",
                "without a pause between them, nothing but looks for splits",
            ));
        }
        if self.sweep_interval.is_zero() {
            return Err(setting(
                "sweep_interval",
                "without a pause between them, nothing but sweeps are made",
            ));
        }
        Ok(())
    }

    /// How long an append may take. The other part of the margin is left for the commit, so that an entry
    /// which becomes durable at the last moment lists nothing that is thrown away before its commit.
    pub fn append_timeout(&self) -> Duration {
        (self.commit_margin / 2).min(APPEND_TIMEOUT_MAX)
    }
}

/// The snapshot that a start will restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub id: SnapshotId,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// The uids that have state in it.
    pub uids: BTreeSet<Uid>,
    /// How the job ended, where its last attempt ended by itself.
    pub closed: Option<Closed>,
}

/// A job that was looked at and not yet claimed: nothing was changed so far (I5).
#[derive(Debug)]
pub struct Job {
    pub(crate) config: JobConfig,
    pub(crate) log: Log,
    pub(crate) restored: Option<Restored>,
    /// What is restored by choice instead of the newest entry, not obeyed yet.
    pub(crate) chosen: Option<Chosen>,
}

/// A request for a rollback or a fork that is to be obeyed.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// What the request is called: it was obeyed where the log has the first of its names.
    pub(crate) names: Vec<RequestId>,
    pub(crate) snapshot: Snapshot,
}

impl Chosen {
    /// I8: a request that the log has is not obeyed again.
    pub(crate) fn is_obeyed_in(&self, newest: &Entry) -> bool {
        self.names.first().is_some_and(|name| newest.obeyed.contains(name))
    }
}

impl Restored {
    fn of(entry: &Entry, state: &State) -> Self {
        let closed = match entry.kind {
            EntryKind::Closed(closed) => Some(closed),
            _ => None,
        };
        let uids = state.uids().cloned().collect();
        Self { id: entry.snapshot_id(), created_at: entry.created_at, uids, closed }
    }
}

impl Job {
    /// Looks at the job's log and finds out what a run will restore.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a wrong setting or a store that cannot hold a log;
    /// [`ErrorKind::Corrupt`] for a damaged newest entry, with what to do.
    pub async fn open(config: JobConfig) -> Result<Self> {
        config.validate()?;
        let log = Log::open(&config.checkpoints).await?;
        Self::opening(config, log).await
    }

    /// The same on a log that is open already: for tests and for hosts with a store of their own.
    ///
    /// # Errors
    /// As [`Job::open`].
    pub async fn open_on(config: JobConfig, log: Log) -> Result<Self> {
        Self::opening(config, log).await
    }

    /// Boxed: it is compiled here, and not anew in each crate that awaits it.
    fn opening(config: JobConfig, log: Log) -> BoxFuture<'static, Result<Self>> {
        Self::look(config, log).boxed()
    }

    async fn look(config: JobConfig, log: Log) -> Result<Self> {
        config.validate()?;
        log.probe().await?;
        let newest = log.newest().await?;
        if let Some(newest) = &newest
            && newest.job != config.job
        {
            return Err(refuse("this log belongs to another job: each job has one of its own")
                .with("log", log.place())
                .with("job_of_the_log", &newest.job)
                .with("job", &config.job));
        }
        let chosen = choose(&config, &log, newest.as_ref()).await?;
        let restored = match (&chosen, &newest) {
            (Some(chosen), _) => Some(Restored::of(chosen.snapshot.entry(), chosen.snapshot.state())),
            (None, Some(Entry { state: Some(state), .. })) => newest.as_ref().map(|e| Restored::of(e, state)),
            // An attempt that claimed and resolved nothing leaves a first run (I9).
            (None, _) => None,
        };
        Ok(Self { config, log, restored, chosen })
    }

    /// What a run will restore; `None` on a first run. Known before the graph is built.
    pub fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }

    /// Says what a run with this graph would do with the state that it restores. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what a run would refuse before it claims: state without a place, with the uids
    /// that are new in the graph; one sink in two places.
    pub async fn dry_run(&self, graph: &Graph) -> Result<Placement> {
        graph.check()?;
        let newest = self.log.newest().await?;
        let obeyed = |chosen: &&Chosen| newest.as_ref().is_some_and(|newest| chosen.is_obeyed_in(newest));
        let chosen = self.chosen.as_ref().filter(|chosen| !obeyed(chosen));
        let chosen = chosen.map(|chosen| chosen.snapshot.state());
        let newest = newest.as_ref().and_then(|newest| newest.state.as_ref());
        let allowed = &self.config.allow_dropped_state;
        place_start(chosen.or(newest), newest, &graph.uids(), allowed)
    }

    /// The configuration.
    pub fn config(&self) -> &JobConfig {
        &self.config
    }

    /// The job's log, for hosts that write large state as chunks themselves.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

fn refuse(why: &str) -> Error {
    Error::new(ErrorKind::Config, "open the job", why)
}

/// What is restored by choice: `None` where nothing was chosen, or the request was obeyed already (I8).
async fn choose(config: &JobConfig, log: &Log, newest: Option<&Entry>) -> Result<Option<Chosen>> {
    let StartFrom::Snapshot { url, request } = &config.start_from else { return Ok(None) };
    let obeyed = |request: &RequestId| newest.is_some_and(|newest| newest.obeyed.contains(request));
    // Asked before anything is looked for: whoever names the request may delete the snapshot later.
    if request.as_ref().is_some_and(obeyed) {
        return Ok(None);
    }
    let place = RequestId(url.clone());
    let found = match log.find_snapshot(url).await {
        // A place where another snapshot stands now is another request; where nothing stands, there is no other.
        Err(error) if request.is_none() && error.kind() == ErrorKind::NotFound && obeyed(&place) => {
            tracing::info!(snapshot = url, %error, "this snapshot was restored before, and is gone: the newest entry is restored");
            return Ok(None);
        }
        found => found?,
    };
    let from = found.id();
    let names = match request {
        Some(request) => vec![request.clone()],
        None => vec![from.request(), place],
    };
    // Asked before its chunks are looked for: when it was obeyed long ago, they were pruned.
    if names.first().is_some_and(obeyed) {
        return Ok(None);
    }
    let snapshot = found.load().await?;
    let why = if from.job == config.job {
        // Two logs of one job would number their attempts alike, and so use the same names in targets.
        newest
            .is_none()
            .then_some("the job's own snapshot needs the job's own log: for a new log choose a new job id")
    } else {
        let began = newest.is_some_and(|newest| newest.state.is_some());
        began.then_some("a fork from another job's snapshot needs a job that has no state yet")
    };
    match why {
        None => Ok(Some(Chosen { names, snapshot })),
        Some(why) => {
            Err(refuse(why).with("snapshot", &from).with("job", &config.job).with("log", log.place()))
        }
    }
}

/// What the coordinator must know of a job's graph.
#[derive(Clone, Default)]
pub struct Graph {
    /// The sources by uid.
    pub sources: BTreeMap<Uid, Arc<dyn SourceControl>>,
    /// The operators that keep state.
    pub operators: BTreeSet<Uid>,
    /// The sinks by uid.
    pub sinks: BTreeMap<Uid, Arc<dyn SinkControl>>,
    /// How many tasks report for each epoch.
    pub tasks: u32,
}

impl Graph {
    /// Refuses a graph in which one sink stands in two places.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming both uids.
    pub fn check(&self) -> Result<()> {
        let mut seen: BTreeMap<*const (), &Uid> = BTreeMap::new();
        for (uid, sink) in &self.sinks {
            if let Some(first) = seen.insert(Arc::as_ptr(sink).cast(), uid) {
                let why = "one sink stands in two places of the graph: make a sink for each uid";
                return Err(Error::new(ErrorKind::Config, "build graph", why)
                    .with("uid", first)
                    .with("other_uid", uid));
            }
        }
        Ok(())
    }

    /// Every uid of the graph.
    pub fn uids(&self) -> GraphUids {
        GraphUids {
            sources: self.sources.keys().cloned().collect(),
            operators: self.operators.clone(),
            sinks: self.sinks.keys().cloned().collect(),
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("sources", &self.sources.keys())
            .field("operators", &self.operators)
            .field("sinks", &self.sinks.keys())
            .field("tasks", &self.tasks)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_done_without_a_pause_is_refused_by_name() {
        const ZERO: Duration = Duration::ZERO;
        let refused = |change: fn(&mut JobConfig)| {
            let mut config = JobConfig::new(JobId::new("job").expect("legal"), "memory");
            change(&mut config);
            config.validate().expect_err("no time").to_string()
        };
        for (name, error) in [
            ("interval", refused(|config| config.settings.interval = ZERO)),
            ("timeout", refused(|config| config.settings.timeout = ZERO)),
            ("call_timeout", refused(|config| config.call_timeout = ZERO)),
            ("discovery_interval", refused(|config| config.discovery_interval = ZERO)),
            ("sweep_interval", refused(|config| config.sweep_interval = ZERO)),
        ] {
            assert!(error.contains(&format!("setting={name}")), "{name}: {error}");
        }
    }

    /// By the library that the page on configuring speaks of, which tells nobody what the choices are.
    #[test]
    fn a_word_that_is_no_choice_is_told_the_choices() {
        let read = |setting: &str| {
            let text = format!("job = \"orders\"\ncheckpoints = \"memory\"\n{setting}\n");
            let text = config::File::from_str(&text, config::FileFormat::Toml);
            let read =
                config::Config::builder().add_source(text).build().and_then(|read| read.try_deserialize());
            read.map_err(|error: config::ConfigError| error.to_string())
        };
        for (setting, choices) in [
            ("on_cancel = \"keep\"", ["keep", "retain", "delete"]),
            ("start_from = \"oldest\"", ["oldest", "newest", "snapshot"]),
        ] {
            let error = read(setting).map(|read: JobConfig| read.job).expect_err("no choice");
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
        let config = read("on_cancel = \"delete\"\nstart_from = { snapshot = { url = \"/backup\" } }")
            .expect("choices");
        assert_eq!(config.on_cancel, OnCancel::Delete);
        assert_eq!(config.start_from, StartFrom::Snapshot { url: "/backup".into(), request: None });
    }

    /// Also on the way between processes.
    #[test]
    fn the_longest_and_the_shortest_times_come_back() {
        for time in [Duration::MAX, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::ZERO] {
            let settings = Settings { interval: time, pause_min: time, timeout: time, ..Settings::default() };
            let json = serde_json::to_string(&settings).expect("JSON");
            assert_eq!(serde_json::from_str::<Settings>(&json).expect(&json), settings);
        }
    }
}
