//! A process of the job, and what it tells.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a process may take for anything: far more than it needs, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a wish is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Who a job is that asks a server of DynamoDB, and where: it takes any of both.
const ASKS_AS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "s3cret"), ("AWS_REGION", "any")];

/// What a process told so far.
#[derive(Debug, Clone, Default)]
struct Told {
    started: bool,
    restored_epoch: Option<u64>,
    flights: u64,
    checkpoints: u64,
    epoch: u64,
    texts: Vec<String>,
    /// What it wrote to standard error.
    errors: String,
}

/// A running process.
#[derive(Debug)]
pub struct Job {
    child: Child,
    told: Arc<Mutex<Told>>,
    listeners: Vec<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub errors: String,
    /// Flights that it read.
    pub flights: u64,
}

impl Ended {
    /// It ended as it should.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn assert_success(&self) {
        assert_eq!(self.code, Some(0), "{}", self.errors);
    }

    /// It ended with an error whose text has all of these.
    ///
    /// # Panics
    /// Where that is not so.
    #[track_caller]
    pub fn assert_error(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.errors);
        for part in parts {
            assert!(self.errors.contains(part), "{part:?} is not in: {}", self.errors);
        }
    }
}

impl Job {
    pub(crate) fn start(folders: &[(&str, PathBuf)], options: &[&str]) -> Self {
        let mut command = Command::new(crate::flights());
        for (option, folder) in folders {
            command.arg(option).arg(folder);
        }
        command.args(["--report", "json"]).args(options).envs(ASKS_AS);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let told = Arc::new(Mutex::new(Told::default()));
        let events = listen(child.stdout.take().expect("a pipe"), &told, |told, line| {
            // The last line of a killed process may be cut off.
            if let Ok(event) = serde_json::from_str(line) {
                hear(told, &event);
            }
        });
        let errors = listen(child.stderr.take().expect("a pipe"), &told, |told, line| {
            told.errors += line;
            told.errors += "\n";
        });
        Self { child, told, listeners: vec![events, errors] }
    }

    /// What a process that has ended told in all.
    fn told_in_all(&mut self) -> Told {
        for listener in self.listeners.drain(..) {
            let _ = listener.join();
        }
        self.told()
    }

    fn told(&self) -> Told {
        self.told.lock().expect("no panic").clone()
    }

    /// The epoch of the snapshot that it restored, once it started.
    pub fn restored_epoch(&self) -> Option<u64> {
        self.told().restored_epoch
    }

    /// Flights that it read so far.
    pub fn flights(&self) -> u64 {
        self.told().flights
    }

    /// Checkpoints that it completed so far.
    pub fn checkpoints(&self) -> u64 {
        self.told().checkpoints
    }

    /// The epoch of the newest checkpoint that it told to be complete.
    pub fn completed_epoch(&self) -> Option<u64> {
        let told = self.told();
        (told.checkpoints > 0).then_some(told.epoch)
    }

    /// Waits until it says so.
    ///
    /// # Panics
    /// Where it ends before, or does not get there in bounded time.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, mut wish: impl FnMut(&Self) -> bool) {
        for _ in 0..PATIENCE.as_millis() {
            if wish(self) {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("it ended with {status} before {what}: {}", self.told_in_all().errors);
            }
            std::thread::sleep(LOOK);
        }
        panic!("waited too long until {what}: {:?}", self.told());
    }

    /// Waits until it has read so many flights.
    #[track_caller]
    pub fn wait_for_flights(&mut self, flights: u64) {
        self.wait_for("it read flights", |job| job.flights() >= flights);
    }

    /// Every note so far: of a process that has ended, all.
    pub fn notes(&self) -> Vec<String> {
        self.told().texts
    }

    /// Waits for a note that has this text.
    #[track_caller]
    pub fn wait_for_note(&mut self, text: &str) {
        self.wait_for("it tells", |job| job.told().texts.iter().any(|told| told.contains(text)));
    }

    /// Waits until it has written all of these to standard error.
    #[track_caller]
    pub fn wait_for_error(&mut self, parts: &[&str]) {
        self.wait_for("it complains", |job| {
            let errors = job.told().errors;
            parts.iter().all(|part| errors.contains(part))
        });
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process of ours");
    }

    /// Kills it, and returns the flights that it read.
    pub fn kill(mut self) -> u64 {
        self.child.kill().expect("a process of ours");
        self.ended().flights
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end in bounded time.
    #[track_caller]
    pub fn ended(&mut self) -> Ended {
        for _ in 0..PATIENCE.as_millis() {
            if let Ok(Some(status)) = self.child.try_wait() {
                let Told { errors, flights, .. } = self.told_in_all();
                return Ended { code: status.code(), errors, flights };
            }
            std::thread::sleep(LOOK);
        }
        panic!("it does not end: {:?}", self.told());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end.
fn listen(
    pipe: impl Read + Send + 'static,
    told: &Arc<Mutex<Told>>,
    hear: impl Fn(&mut Told, &str) + Send + 'static,
) -> JoinHandle<()> {
    let told = Arc::clone(told);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            hear(&mut told.lock().expect("no panic"), &line);
        }
    })
}

fn hear(told: &mut Told, event: &Value) {
    match event["event"].as_str() {
        Some("start") => {
            told.restored_epoch = event["restored"]["epoch"].as_u64();
            told.started = true;
        }
        Some("read") => told.flights = event["flights"].as_u64().unwrap_or_default(),
        Some("checkpoint") => {
            told.checkpoints = event["checkpoints"].as_u64().unwrap_or_default();
            told.epoch = event["epoch"].as_u64().unwrap_or_default();
        }
        _ => {}
    }
    told.texts.extend(event["text"].as_str().map(str::to_owned));
    if event["nothing_left"] == true {
        told.texts.push("nothing left".into());
    }
}
