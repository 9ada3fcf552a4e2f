//! A process of the job, started, killed, signalled.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::PATIENCE;

/// How often a wish is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The end of what a process said that a failed test shows.
const SHOWN_BYTES: usize = 4_000;

/// What a test that is a process of its own is to do.
const GIVEN: &str = "TIDELOCK_PROCESS";

/// An example that was built with this test: TARGET/PROFILE/deps/TEST beside TARGET/PROFILE/examples.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    test.ancestors().nth(2).expect("a profile's folder").join("examples").join(name)
}

/// This program as another process, told to run one of its "tests" alone, which finds what it is to do with [`given`].
pub fn itself(test: &str, task: &impl Serialize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    command.env(GIVEN, serde_json::to_string(task).expect("a task"));
    command
}

/// What [`itself`] was given. `None` where nobody started this as a process of its own.
#[must_use]
pub fn given<T: DeserializeOwned>() -> Option<T> {
    let given = std::env::var(GIVEN).ok()?;
    Some(serde_json::from_str(&given).expect("a task"))
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    status: ExitStatus,
    /// What it wrote to standard output.
    pub said: String,
    /// What it wrote to standard error.
    pub errors: String,
}

impl Ended {
    /// It ended as it should.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn assert_success(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.errors);
    }

    /// It ended with this code and an error whose text has all of these.
    ///
    /// # Panics
    /// Where that is not so.
    #[track_caller]
    pub fn assert_error(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{}: {}", self.status, self.errors);
        for part in parts {
            assert!(self.errors.contains(part), "{part:?} is not in: {}", self.errors);
        }
    }
}

impl Process {
    /// Starts a command; what it says goes to files that begin with `said`.
    pub fn start(command: &mut Command, said: &Path) -> Self {
        let (out, err) = (said.with_extension("out"), said.with_extension("err"));
        let file = |path: &Path| Stdio::from(File::create(path).expect("a file"));
        let command = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        Self { child: command.spawn().expect("the program was built"), out, err }
    }

    /// What it wrote to standard output so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).expect("a file")).into_owned()
    }

    /// The end of what it wrote to standard error so far.
    pub fn errors(&self) -> String {
        let errors = std::fs::read(&self.err).expect("a file");
        String::from_utf8_lossy(&errors[errors.len().saturating_sub(SHOWN_BYTES)..]).into_owned()
    }

    /// Waits until it is so, while the process runs.
    pub async fn wait_until(&mut self, what: &str, mut wish: impl AsyncFnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wish(self).await {
            if let Some(status) = self.child.try_wait().expect("a process of ours") {
                panic!("it ended with {status} before {what}: {}", self.errors());
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited too long until {what}: {}",
                self.errors()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The same, looked at without a pause: to do something at the very moment.
    pub async fn wait_at_once(&mut self, what: &str, wish: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wish() {
            assert!(self.is_running(), "it ended before {what}: {}", self.errors());
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited too long until {what}: {}",
                self.errors()
            );
            tokio::task::yield_now().await;
        }
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a process of ours");
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with signal 9, and waits until it is gone.
    pub fn kill(mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        self.child.wait().expect("ended");
    }

    /// Stops it, and waits for its end.
    pub async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a process of ours") {
                return Ended { status, said: self.said(), errors: self.errors() };
            }
            assert!(tokio::time::Instant::now() < deadline, "it does not end: {}", self.errors());
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
