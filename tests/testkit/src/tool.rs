//! The command of a connector, tried as a person runs it, on the log of a job.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use tidelock::log::{Created, Entry, EntryKind, Lineage, Log, PendingState, State};
use tidelock::{Committable, Epoch, Generation, JobId, Pending, Position, Result, Segment, Stored, Uid};

/// The older attempt of [`log_of_two_attempts`].
pub const OLDER: Position = Position(1);

/// The newer one, which may be running.
pub const NEWER: Position = Position(4);

/// Writes the log of a job whose older attempt prepared something and died, and whose newer one has claimed it.
///
/// # Errors
/// Where the log cannot be written.
///
/// # Panics
/// Where something stands in the log already.
pub async fn log_of_two_attempts<C: Committable>(
    log: &Log,
    job: &JobId,
    uid: &Uid,
    listed: &Pending<C>,
) -> Result<()> {
    let state = |pending: Vec<PendingState>| State {
        sources: BTreeMap::new(),
        operators: BTreeMap::new(),
        sinks: BTreeMap::from([(uid.clone(), pending)]),
    };
    let Stored { version, json } = Stored::encode(&listed.committable)?;
    let pending = vec![PendingState {
        epoch: listed.epoch,
        attempt: listed.attempt,
        writer: listed.writer,
        version,
        committable: Segment::Json(json),
        chunks: listed.committable.chunks(),
    }];
    for (position, kind, attempt, epoch, state) in [
        (1, EntryKind::Claim, OLDER, Epoch(0), None),
        (2, EntryKind::Start, OLDER, Epoch(0), Some(state(Vec::new()))),
        (3, EntryKind::Checkpoint, OLDER, listed.epoch, Some(state(pending.clone()))),
        (4, EntryKind::Claim, NEWER, listed.epoch, Some(state(pending))),
    ] {
        let entry = Entry {
            job: job.clone(),
            position: Position(position),
            kind,
            nonce: log.nonce(),
            attempt,
            lineage: Lineage { id: OLDER, generation: Generation(1), origin: None },
            created_at: jiff::Timestamp::UNIX_EPOCH,
            epoch,
            obeyed: Vec::new(),
            state,
            abandoned: BTreeMap::new(),
        };
        let created = log.create(&entry).await?;
        assert!(matches!(created, Created::Ours(_)), "position {position} of the log is taken");
    }
    Ok(())
}

/// A command, with what every call of it has.
#[derive(Debug, Clone)]
pub struct Tool {
    program: OsString,
    before: Vec<String>,
    after: Vec<String>,
    variables: Vec<(String, String)>,
    secrets: Vec<String>,
}

impl Tool {
    /// The program of this name, as `env!("CARGO_BIN_EXE_..")` has it, and the words that each call begins with.
    #[must_use]
    pub fn new(program: impl Into<OsString>, words: &[&str]) -> Self {
        let before = words.iter().map(|&word| word.to_owned()).collect();
        Self {
            program: program.into(),
            before,
            after: Vec::new(),
            variables: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// An option that each call has.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.after.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What no call may ever print.
    #[must_use]
    pub fn that_keeps(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// Runs it: whether it succeeded, and all that it said.
    ///
    /// # Panics
    /// Where it cannot be run, or tells a secret.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(arguments).args(&self.after);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let ran = command.envs(variables).output().expect("the command runs");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(!self.secrets.iter().any(|secret| said.contains(secret)), "{arguments:?} tells a secret");
        (ran.status.success(), said)
    }

    /// Runs it, and gives what it said.
    ///
    /// # Panics
    /// Where it does not succeed.
    #[track_caller]
    pub fn does(&self, arguments: &[&str]) -> String {
        let (done, said) = self.run(arguments);
        assert!(done, "{arguments:?}: {said}");
        said
    }

    /// Runs it: it refuses, and says why.
    ///
    /// # Panics
    /// Where it does not refuse, or says something else.
    #[track_caller]
    pub fn refuses(&self, arguments: &[&str], why: &str) {
        let (done, said) = self.run(arguments);
        assert!(!done && said.contains(why), "{arguments:?}: {said}");
    }
}
