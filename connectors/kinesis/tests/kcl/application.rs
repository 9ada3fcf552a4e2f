//! An application of KCL, as a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidelock_processes::Process;

use crate::Read;
use crate::stream::Stream;

/// Names another folder with KCL's jars.
const LIBRARY: &str = "TIDELOCK_TEST_KCL";

/// It ends when it is dropped.
pub(crate) struct Application {
    process: Process,
    _folder: TempDir,
}

impl Application {
    /// Starts it on the table that is called as the application is.
    pub(crate) fn start(stream: &Stream, dynamodb: &str, name: &str) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let beside = || manifest.join("../../target/tools/kcl");
        let library = std::env::var_os(LIBRARY).map_or_else(beside, PathBuf::from).join("libs");
        assert!(library.is_dir(), "no {}: run `tests/checks/kcl target/tools/kcl`", library.display());
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("java");
        command.args(["-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("-cp").arg(library.join("*"));
        command.arg(manifest.join("tests/kcl/Kcl.java"));
        command.args([&stream.endpoint(), dynamodb, name, &stream.name]);
        Self { process: Process::start(&mut command, &folder.path().join("application")), _folder: folder }
    }

    /// Waits until so many records are processed, and their checkpoints written.
    pub(crate) async fn has_processed(&mut self, records: usize) {
        let has = async |process: &Process| lines(process, "checkpoint").len() >= records;
        self.process.wait_until("everything is processed", has).await;
    }

    /// What it has processed so far.
    pub(crate) fn processed(&self) -> Read {
        let mut read = Read::new();
        for line in lines(&self.process, "record") {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, shard, _, data] = words[..] else { panic!("{line}") };
            read.entry(shard.to_owned()).or_default().push(data.to_owned());
        }
        read
    }

    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

fn lines(process: &Process, about: &str) -> Vec<String> {
    let said = process.said();
    let is_about = |line: &&str| line.split(' ').next() == Some(about);
    // The last line may not be whole yet.
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter(is_about).map(str::to_owned).collect()
}
