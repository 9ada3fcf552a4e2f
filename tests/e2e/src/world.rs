//! The folders of one test.

use std::fs;
use std::path::{Path, PathBuf};

use flights::answer::{self, Difference, Row};
use tempfile::TempDir;

use crate::job::Job;

/// The data that the example ships.
pub(crate) const JANUARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/flights/data");
const MONTH: &str = "flights-2013-01.csv";

/// Input, rows, checkpoints and savepoints of one test, removed with it.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A copy of January in one file, and nothing else.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world = Self { folder };
        fs::create_dir(world.data()).expect("a folder");
        for name in [MONTH, "planes.csv", "airlines.csv"] {
            fs::copy(Path::new(JANUARY).join(name), world.data().join(name)).expect("the data is there");
        }
        world
    }

    /// The same with the flights in this many files, cut between two days, so that several workers read.
    pub fn with_files(files: usize) -> Self {
        let world = Self::new();
        let month = fs::read_to_string(world.month()).expect("the month");
        let (header, lines) = month.split_once('\n').expect("a header");
        let mut parts = vec![format!("{header}\n"); files];
        for line in lines.lines() {
            let day: usize = line.split(',').nth(2).and_then(|day| day.parse().ok()).expect("a day");
            let part = &mut parts[(day - 1) * files / 31];
            part.push_str(line);
            part.push('\n');
        }
        fs::remove_file(world.month()).expect("the month");
        for (number, part) in parts.iter().enumerate() {
            fs::write(world.data().join(format!("flights-2013-01-{number}.csv")), part).expect("a file");
        }
        world
    }

    /// The folder of the input.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file of all flights.
    pub fn month(&self) -> PathBuf {
        self.data().join(MONTH)
    }

    /// The folder of the rows.
    pub fn out(&self) -> PathBuf {
        self.path("rows")
    }

    /// Anything else in the world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the job with the world's folders and these options besides.
    pub fn start(&self, options: &[&str]) -> Job {
        self.start_in("rows", "checkpoints", options)
    }

    /// The same with other folders for rows and checkpoints.
    pub fn start_in(&self, out: &str, checkpoints: &str, options: &[&str]) -> Job {
        let folders =
            [("--data", self.data()), ("--out", self.path(out)), ("--checkpoints", self.path(checkpoints))];
        Job::start(&folders, options)
    }

    /// The same with rows that go where the options say, and not to a folder.
    pub fn start_elsewhere(&self, checkpoints: &str, options: &[&str]) -> Job {
        Job::start(&[("--data", self.data()), ("--checkpoints", self.path(checkpoints))], options)
    }

    /// The right rows.
    pub fn expected(&self) -> Vec<Row> {
        crate::expected(&self.data())
    }

    /// What a reader sees now.
    pub fn visible(&self) -> Vec<Row> {
        answer::visible(&self.out()).expect("the rows")
    }

    /// What is wrong with what a reader sees now.
    pub fn difference(&self) -> Difference {
        answer::compare(&self.expected(), &self.visible())
    }

    /// Every row is visible once, and nothing else.
    ///
    /// # Panics
    /// Where that is not so.
    #[track_caller]
    pub fn assert_exact(&self) {
        let Difference { missing, double, wrong } = self.difference();
        assert!(
            missing.is_empty() && double.is_empty() && wrong.is_empty(),
            "{} missing, {} double, {} wrong: {:?}",
            missing.len(),
            double.len(),
            wrong.len(),
            [missing.first(), double.first(), wrong.first()]
        );
    }
}
