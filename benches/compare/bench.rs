//! What all measurements of a run have in common.

use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::Failure;
use crate::broker::{Broker, RETENTION};
use crate::clock::Clock;
use crate::outcome::{Outcome, Setting};
use crate::process::{Process, Usage};
use crate::reader::Reader;
use crate::routes::Routes;
use crate::systems::{Pipeline, System, Task, command};
use crate::tables::Tables;

pub(crate) struct Bench {
    pub(crate) broker: Broker,
    /// Where rows go, unless they go to topics.
    pub(crate) tables: Option<Tables>,
    /// What the pipeline looks up, where there is one.
    pub(crate) routes: Option<Routes>,
    /// Where everything was built.
    pub(crate) target: PathBuf,
    pub(crate) seed: u64,
    pub(crate) tidelock_properties: Vec<String>,
    pub(crate) flink_settings: Vec<String>,
    pub(crate) hbase_linger_ms: u64,
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
        // Events that give keys a state are older than they look.
        let kept = setting.keys.is_none().then_some(RETENTION);
        let from = self.broker.make_topic("from", setting.partitions, kept)?;
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
            database: self.tables.as_ref().map(|tables| tables.place.url.clone()),
            interval: setting.interval(),
            folder: folder.path().join("state"),
            tidelock_properties: self.tidelock_properties.clone(),
            flink_settings: self.flink_settings.clone(),
            hbase_linger_ms: self.hbase_linger_ms,
            pipeline: match (&self.routes, setting.keys) {
                (Some(routes), Some(keys)) => Some(Pipeline { lookup: routes.url.clone(), keys }),
                _ => None,
            },
        };
        Ok(Placed { system, task, folder })
    }

    pub(crate) fn start(&self, placed: &Placed) -> Result<Process, Failure> {
        Process::start(&command(placed.system, &placed.task, &self.target), placed.folder.path().join("log"))
    }

    /// How many checkpoints of a system there are so far, by what is in its folder.
    pub(crate) fn checkpoints(&self, placed: &Placed) -> u64 {
        newest(&placed.task.folder, 3).unwrap_or(0)
    }

    /// How many checkpoints a system has accounted for so far, and their bytes: Flink's job writes both to a file.
    pub(crate) fn accounted(&self, placed: &Placed) -> Option<(u64, u64)> {
        let text = std::fs::read_to_string(placed.task.account()).ok()?;
        let (count, bytes) = text.trim().split_once(' ')?;
        Some((count.parse().ok()?, bytes.parse().ok()?))
    }

    /// What the gateway took so far, where this system goes through it.
    pub(crate) fn gateway_usage(&self, placed: &Placed) -> Result<Option<Usage>, Failure> {
        let gateway = self.tables.as_ref().and_then(|tables| tables.place.gateway);
        let gateway = gateway.filter(|_| !placed.system.is_java());
        gateway.map(Usage::of).transpose()
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
            Some(tables) => Reader::start_on_table(&tables.place.reader_url, to.clone(), clock),
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
            disk_bytes: None,
            gateway_micros_per_record: None,
            gateway_memory_mib: None,
            checkpoint_bytes: None,
            checkpoints: None,
            missing: 0,
            wrong: 0,
            micros: micros
                .iter_recorded()
                .map(|value| (value.value_iterated_to(), value.count_at_value()))
                .collect(),
        }
    }
}

/// The greatest number of a checkpoint in a folder: an entry of our log is NUMBER.json, and Flink makes a folder chk-NUMBER.
fn newest(folder: &Path, depth: u32) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let numbers = entries.filter_map(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("chk-").or_else(|| name.strip_suffix(".json"));
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => Some(number),
            None if depth > 0 => newest(&entry.path(), depth - 1),
            None => None,
        }
    });
    numbers.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_counted_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path(), 3), None);
        for name in ["checkpoints/log/00000000000000000012.json", "checkpoints/log/00000000000000000007.json"]
        {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        assert_eq!(newest(folder.path(), 3), Some(12));
        std::fs::create_dir_all(folder.path().join("ab12/chk-31")).unwrap();
        assert_eq!(newest(folder.path(), 3), Some(31));
    }
}
