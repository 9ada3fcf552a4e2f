//! What all measurements of a run have in common.

use std::path::PathBuf;

use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::Failure;
use crate::broker::{Broker, RETENTION};
use crate::clock::Clock;
use crate::outcome::{Outcome, Setting};
use crate::process::Process;
use crate::reader::Reader;
use crate::systems::{System, Task, command};
use crate::tables::Tables;

pub(crate) struct Bench {
    pub(crate) broker: Broker,
    /// Where rows go, unless they go to topics.
    pub(crate) tables: Option<Tables>,
    /// Where everything was built.
    pub(crate) target: PathBuf,
    pub(crate) seed: u64,
    pub(crate) tidelock_properties: Vec<String>,
}

/// A system with what it works on.
pub(crate) struct Placed {
    pub(crate) system: System,
    pub(crate) task: Task,
    folder: TempDir,
}

impl Bench {
    /// Fresh topics and a fresh folder, on the disk that the build is on.
    pub(crate) fn place(&self, system: System, setting: &Setting) -> Result<Placed, Failure> {
        let from = self.broker.make_topic("from", setting.partitions, Some(RETENTION))?;
        self.place_on(system, setting, from)
    }

    /// The same with a source that is there already.
    pub(crate) fn place_on(
        &self,
        system: System,
        setting: &Setting,
        from: String,
    ) -> Result<Placed, Failure> {
        let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(&self.target);
        let folder = folder.map_err(|error| Failure::new("make a folder", error))?;
        let task = Task {
            brokers: self.broker.address.clone(),
            from,
            to: match &self.tables {
                Some(tables) => tables.make()?,
                None => self.broker.make_topic("to", setting.partitions, Some(RETENTION))?,
            },
            database: self.tables.as_ref().map(|tables| tables.url.clone()),
            interval: setting.interval(),
            folder: folder.path().join("state"),
            tidelock_properties: self.tidelock_properties.clone(),
        };
        Ok(Placed { system, task, folder })
    }

    pub(crate) fn start(&self, placed: &Placed) -> Result<Process, Failure> {
        Process::start(&command(placed.system, &placed.task, &self.target), placed.folder.path().join("log"))
    }

    /// Removes what the system read and wrote.
    pub(crate) fn clear(&self, placed: &Placed) {
        self.broker.delete_topics(&[&placed.task.from]);
        self.clear_target(placed);
    }

    pub(crate) fn clear_target(&self, placed: &Placed) {
        let to = &placed.task.to;
        match &self.tables {
            None => self.broker.delete_topics(&[to]),
            Some(tables) => {
                if let Err(failure) = tables.remove(to) {
                    eprintln!("a table was not removed: {failure}");
                }
            }
        }
    }

    /// Sees what the system makes visible.
    pub(crate) fn reader(&self, placed: &Placed, setting: &Setting, clock: Clock) -> Result<Reader, Failure> {
        let to = &placed.task.to;
        match &self.tables {
            None => Reader::start(&self.broker.address, to, setting.partitions, clock),
            Some(tables) => Reader::start_on_table(&tables.url, to.clone(), clock),
        }
    }

    /// An outcome without figures but these latencies.
    pub(crate) fn outcome(&self, system: System, setting: &Setting, micros: &Histogram<u64>) -> Outcome {
        Outcome {
            system,
            setting: setting.clone(),
            at: jiff::Timestamp::now(),
            seed: self.seed,
            records_per_second: 0.0,
            cpu_seconds: None,
            cpu_micros_per_record: None,
            memory_mib: None,
            missing: 0,
            wrong: 0,
            micros: micros
                .iter_recorded()
                .map(|value| (value.value_iterated_to(), value.count_at_value()))
                .collect(),
        }
    }
}
