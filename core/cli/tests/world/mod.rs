//! A folder with a job's log, and the command to run on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidelock::log::{Created, Entry, EntryKind, Lineage, Log, PendingState, State};
use tidelock::restore::SplitChanges;
use tidelock::{Epoch, Generation, JobId, Position, Segment, SplitId, SplitState, Stored, Uid, WriterId};

/// A job `orders`: claim, start, and checkpoints 3 to 6 of epochs 1 to 4. Each lists what its epoch
/// prepared and what the one before did, as long as that is not confirmed: entry 5 no longer lists epoch 1,
/// entry 6 only epoch 4.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) log: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("orders").to_str().expect("ASCII").to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(fill(&log));
        Self { folder, log }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("ASCII").to_owned()
    }

    /// An entry of the log.
    pub(crate) fn at(&self, position: u64) -> String {
        format!("{}#{position}", self.log)
    }

    /// Every file of the log.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let files = |folder: &str| {
            let folder = Path::new(&self.log).join(folder);
            fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path())
        };
        files("log").chain(files("chunks")).collect()
    }

    /// Exit code, output, errors.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let ran = Command::new(env!("CARGO_BIN_EXE_tidelock")).args(args).output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (ran.status.code().expect("not killed"), text(ran.stdout), text(ran.stderr))
    }

    /// The output of what must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let (code, output, errors) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {output}{errors}");
        assert_eq!(errors, "", "{args:?}");
        output
    }

    /// The same as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&args)).expect("JSON")
    }
}

pub(crate) fn checkpoint_file(world: &World, position: u64) -> PathBuf {
    Path::new(&world.log).join(format!("log/{position:020}.json"))
}

async fn fill(url: &str) {
    let log = Log::open(url).await.expect("opened");
    append(&log, 1, EntryKind::Claim, 0, None).await;
    append(&log, 2, EntryKind::Start, 0, Some(state(0, vec![], &[]))).await;
    let mut chunks = Vec::new();
    for epoch in 1..=4 {
        let content = format!("counts of epoch {epoch}");
        let chunk = log.write_chunk(Position(1), content.into()).await.expect("written");
        chunks.push(Segment::Chunk(chunk));
        let pending: &[u64] = match epoch {
            2 => &[1, 2],
            3 => &[2, 3],
            _ => &[epoch],
        };
        let state = state(epoch * 10, chunks.clone(), pending);
        append(&log, epoch + 2, EntryKind::Checkpoint, epoch, Some(state)).await;
    }
}

async fn append(log: &Log, position: u64, kind: EntryKind, epoch: u64, state: Option<State>) {
    let entry = Entry {
        job: JobId::new("orders").expect("legal"),
        position: Position(position),
        kind,
        nonce: log.nonce(),
        attempt: Position(1),
        lineage: Lineage { id: Position(1), generation: Generation(1), origin: None },
        created_at: jiff::Timestamp::now(),
        epoch: Epoch(epoch),
        obeyed: Vec::new(),
        state,
        abandoned: BTreeMap::new(),
    };
    assert!(matches!(log.create(&entry).await, Ok(Created::Ours(_))));
}

fn json(value: &impl serde::Serialize) -> Segment {
    Segment::Json(serde_json::value::to_raw_value(value).expect("JSON"))
}

fn state(offset: u64, chunks: Vec<Segment>, pending: &[u64]) -> State {
    let split = |id: &str, offset: u64| SplitState {
        id: SplitId::new(id),
        split: Stored {
            version: 1,
            json: serde_json::value::to_raw_value(&BTreeMap::from([("offset", offset)])).expect("JSON"),
        },
        watermark: None,
        finished: false,
    };
    let splits = vec![split("a-split", 0), split("b-split", 7)];
    let first = SplitChanges { splits, ..SplitChanges::default() };
    let moved = SplitChanges { splits: vec![split("a-split", offset)], ..SplitChanges::default() };
    let committables = pending.iter().map(|epoch| PendingState {
        epoch: Epoch(*epoch),
        attempt: Position(1),
        writer: WriterId(0),
        version: 1,
        committable: json(&BTreeMap::from([("part", format!("epoch-{epoch}"))])),
        chunks: Vec::new(),
    });
    let uid = |name: &str| Uid::new(name).expect("legal");
    State {
        sources: BTreeMap::from([(uid("in"), vec![json(&first), json(&moved)])]),
        operators: BTreeMap::from([(uid("count"), BTreeMap::from([("0-127".to_owned(), chunks)]))]),
        sinks: BTreeMap::from([(uid("out"), committables.collect())]),
    }
}
