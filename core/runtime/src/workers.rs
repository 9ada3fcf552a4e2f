//! Where a job runs: how many worker threads, in how many processes.

use tidelock::{Error, ErrorKind, Result};
use timely::{CommunicationConfig, Config, WorkerConfig};

use crate::cluster::Place;

/// The workers of a job. Each runs the whole graph on its share of the splits and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    /// In each process.
    threads: usize,
    process: usize,
    /// The address of every process; nothing where there is only one.
    addresses: Vec<String>,
}

impl Workers {
    /// Worker threads in this process; at least one.
    pub fn threads(threads: usize) -> Self {
        Self { threads: threads.max(1), process: 0, addresses: Vec::new() }
    }

    /// Several processes as one job: this one is number `process`, from 0, and listens at its own
    /// address among `addresses`, each a host with its port. All processes have the same addresses and
    /// the same number of threads, see the same checkpoints, and build the same graph. Process 0 has
    /// the coordinator: only it discovers splits and commits.
    ///
    /// When one of them ends with an error or is killed, [`Job::run`](crate::Job::run) fails in all;
    /// each process must then end, and all are to be started again. The connections are neither
    /// encrypted nor authenticated: they belong into a network that nobody else can reach. Over UDP, on
    /// the same ports, the processes say that they live; where that does not come through, one whose
    /// first worker is held up for ten seconds is taken for dead.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where `process` has no address.
    pub fn processes(process: usize, addresses: Vec<String>, threads: usize) -> Result<Self> {
        if process >= addresses.len() {
            let error = Error::new(ErrorKind::Config, "configure", "a process without an address");
            return Err(error.with("process", process).with("addresses", addresses.len()));
        }
        if addresses.len() == 1 {
            return Ok(Self::threads(threads));
        }
        Ok(Self { threads: threads.max(1), process, addresses })
    }

    /// The options of timely programs: `-w` threads, `-n` processes, `-p` number of this process, `-h`
    /// file with one address on each line (default `localhost` and ports from 2101).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where they make no sense.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let refuse = |message| Error::new(ErrorKind::Config, "configure", message);
        let (config, _) = CommunicationConfig::from_args(args.into_iter()).map_err(refuse)?;
        match config {
            CommunicationConfig::Thread => Ok(Self::threads(1)),
            CommunicationConfig::Process(threads) | CommunicationConfig::ProcessBinary(threads) => {
                Ok(Self::threads(threads))
            }
            CommunicationConfig::Cluster { threads, process, addresses, .. } => {
                Self::processes(process, addresses, threads)
            }
        }
    }

    /// How many workers run in this process.
    pub(crate) fn here(&self) -> usize {
        self.threads
    }

    /// How many workers run in all processes.
    pub(crate) fn everywhere(&self) -> usize {
        self.threads * self.addresses.len().max(1)
    }

    /// Which of several processes this is.
    pub(crate) fn place(&self) -> Option<Place> {
        let (process, processes) = (self.process, self.addresses.len());
        (processes > 1).then_some(Place { process, processes, threads: self.threads })
    }

    /// The address of every process; nothing where there is only one.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn to_timely(&self) -> Config {
        let communication = match (self.place(), self.threads) {
            (Some(place), threads) => CommunicationConfig::Cluster {
                threads,
                process: place.process,
                addresses: self.addresses.clone(),
                report: false,
                zerocopy: false,
            },
            (None, 1) => CommunicationConfig::Thread,
            (None, threads) => CommunicationConfig::Process(threads),
        };
        Config { communication, worker: WorkerConfig::default() }
    }
}
