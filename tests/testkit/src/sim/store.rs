//! The simulated object store. What it acknowledges is durable; requests and answers pass the network,
//! so that they are lost, late, doubled, and arrive after their process died.
//!
//! It also is the witness: it reads every entry as it becomes durable and accuses whoever breaks a rule
//! of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use tidelock::log::{Entry, EntryKind};
use tidelock::{Segment, Uid};

use super::doubles::Double;
use super::points::Point;
use super::topic::Transaction;
use super::world::{Client, NoAnswer, ProcessId, State};

/// Folders directly below this one hold savepoints.
pub const SAVEPOINTS: &str = "savepoints";

/// An entry that is or was durable.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What it says.
    pub entry: Arc<Entry>,
    /// When it became durable: [`State::happened`].
    pub created: u64,
    /// When it was deleted.
    pub deleted: Option<u64>,
}

/// What the store holds, and what it ever held.
#[derive(Debug, Default)]
pub struct Objects {
    now: BTreeMap<String, Bytes>,
    ever: BTreeMap<String, Bytes>,
    logs: BTreeMap<String, BTreeMap<u64, Fact>>,
    owners: BTreeMap<String, Vec<ProcessId>>,
}

impl Objects {
    /// All entries that a log ever had, by position.
    pub fn entries(&self, root: &str) -> impl DoubleEndedIterator<Item = &Fact> {
        self.logs.get(root).into_iter().flat_map(BTreeMap::values)
    }

    /// The processes that claimed a job, the newest last.
    pub fn owners(&self, root: &str) -> &[ProcessId] {
        self.owners.get(root).map_or(&[], Vec::as_slice)
    }

    /// The entry with the highest position that stands now.
    pub fn newest(&self, root: &str) -> Option<&Fact> {
        self.entries(root).rfind(|fact| fact.deleted.is_none())
    }

    /// Whether an entry that is or was durable lists this committable of a sink.
    pub fn has_listed(&self, root: &str, uid: &Uid, transaction: &Transaction) -> bool {
        self.entries(root).rev().any(|fact| self.lists(root, fact, uid, transaction))
    }

    /// Whether the newest entry lists this committable of a sink.
    pub fn still_lists(&self, root: &str, uid: &Uid, transaction: &Transaction) -> bool {
        self.newest(root).is_some_and(|fact| self.lists(root, fact, uid, transaction))
    }

    /// What an entry lists for a sink on a topic.
    pub fn listed(&self, root: &str, fact: &Fact, uid: &Uid) -> Vec<Transaction> {
        let state = fact.entry.state.as_ref();
        let pending = state.and_then(|state| state.sinks.get(uid)).into_iter().flatten();
        pending
            .filter_map(|pending| {
                let bytes = self.segment(root, &pending.committable)?;
                let padded: Transaction = serde_json::from_slice(&bytes).ok()?;
                Some(Transaction { padding: String::new(), ..padded })
            })
            .collect()
    }

    fn lists(&self, root: &str, fact: &Fact, uid: &Uid, transaction: &Transaction) -> bool {
        let attempt = transaction.made_by().map(|name| name.attempt.0);
        // Only an attempt that is not older can list it: most entries need not be read.
        let may = attempt.is_none_or(|attempt| attempt <= fact.entry.position.0);
        may && self.listed(root, fact, uid).contains(transaction)
    }

    /// The bytes of a piece of state, also of one that was deleted.
    pub fn segment(&self, root: &str, segment: &Segment) -> Option<Bytes> {
        match segment {
            Segment::Json(json) => Some(Bytes::copy_from_slice(json.get().as_bytes())),
            Segment::Bytes(bytes) => Some(bytes.clone()),
            Segment::Chunk(chunk) => self.ever.get(&format!("{root}/{}", chunk.name)).cloned(),
        }
    }

    /// Names of everything that stands below a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let folder = format!("{folder}/");
        self.now.keys().filter(|name| name.starts_with(&folder)).cloned().collect()
    }
}

/// The log folder and position that a name is the entry of.
fn entry_name(name: &str) -> Option<(&str, u64)> {
    let (folder, file) = name.rsplit_once('/')?;
    Some((folder.strip_suffix("/log")?, file.strip_suffix(".json")?.parse().ok()?))
}

fn parse(bytes: &[u8]) -> Option<Entry> {
    let body = bytes.iter().position(|byte| *byte == b'\n')?;
    serde_json::from_slice(&bytes[body + 1..]).ok()
}

/// Where an entry is asked for.
pub const CREATES: [Point; 5] = [
    Point::CreateClaim,
    Point::CreateStart,
    Point::CreateCheckpoint,
    Point::CreateConfirmation,
    Point::CreateClosed,
];

fn create_point(kind: EntryKind) -> Point {
    match kind {
        EntryKind::Claim => Point::CreateClaim,
        EntryKind::Start => Point::CreateStart,
        EntryKind::Checkpoint => Point::CreateCheckpoint,
        EntryKind::Confirmation => Point::CreateConfirmation,
        EntryKind::Closed(_) => Point::CreateClosed,
    }
}

/// Who asks, and whether it still waits for the answer.
#[derive(Debug, Clone, Copy)]
struct Asker {
    process: ProcessId,
    waits: bool,
}

fn put(state: &mut State, asker: Asker, name: &str, bytes: Bytes, create: bool) -> Result<()> {
    let entry = entry_name(name);
    let taken = state.objects.now.contains_key(name);
    if create && taken && !(entry.is_some() && state.double == Some(Double::StoreAcceptsSecondCreate)) {
        return Err(Error::AlreadyExists { path: name.to_owned(), source: "it stands there".into() });
    }
    if let Some((root, position)) = entry {
        if state.double == Some(Double::StoreLosesWhatItAcknowledged) && position % 7 == 0 {
            return Ok(());
        }
        witness_create(state, asker, root, position, &bytes);
        if state.double == Some(Double::StoreForgetsClaims) {
            // Retention that keeps the newest entry alone. The witness is not asked.
            let folder = format!("{root}/log/");
            state.objects.now.retain(|name, _| !name.starts_with(&folder));
        }
    }
    state.objects.ever.insert(name.to_owned(), bytes.clone());
    state.objects.now.insert(name.to_owned(), bytes);
    Ok(())
}

fn witness_create(state: &mut State, asker: Asker, root: &str, position: u64, bytes: &[u8]) {
    let Some(entry) = parse(bytes) else {
        return state.accuse(format!("what was created at position {position} is not an entry"));
    };
    let created = state.happened();
    let newest = state.objects.newest(root).map_or(0, |fact| fact.entry.position.0);
    if position <= newest {
        // Harmless in a gap that pruning left: a claim, which its attempt sees not to count, and a request
        // that arrives late, when nobody takes it for an answer.
        if entry.kind != EntryKind::Claim && asker.waits && state.is_alive(asker.process) {
            state.accuse(format!("I5: {:?} {position} was created below entry {newest}", entry.kind));
        }
        return state.reached("an entry was created in a gap that pruning left");
    }
    if entry.kind == EntryKind::Claim {
        state.objects.owners.entry(root.to_owned()).or_default().push(asker.process);
    }
    let fact = Fact { entry: Arc::new(entry), created, deleted: None };
    state.objects.logs.entry(root.to_owned()).or_default().insert(position, fact);
}

fn delete(state: &mut State, name: &str) -> Result<()> {
    if let Some((root, position)) = entry_name(name) {
        witness_delete(state, root, position);
    }
    if let Some((root, _)) = name.split_once("/chunks/") {
        let stored = state.objects.newest(root).and_then(|fact| fact.entry.state.as_ref());
        let needed = stored.is_some_and(|stored| {
            stored.chunks().any(|chunk| name.strip_prefix(root).is_some_and(|rest| rest[1..] == chunk.name))
        });
        if needed {
            state.accuse(format!("{name} was deleted, which the newest entry needs"));
        }
    }
    match state.objects.now.remove(name) {
        Some(_) => Ok(()),
        None => Err(absent(name)),
    }
}

fn witness_delete(state: &mut State, root: &str, position: u64) {
    let happened = state.happened();
    let newest = state.objects.newest(root).map_or(0, |fact| fact.entry.position.0);
    let Some(log) = state.objects.logs.get_mut(root) else { return };
    let is_claim = |position: u64| log.get(&position).is_some_and(|fact| fact.entry.kind == EntryKind::Claim);
    let wrong = if is_claim(position) {
        Some("I5: a claim was deleted")
    } else if is_claim(position + 1) {
        Some("I5: the entry directly below a claim was deleted")
    } else if position == newest {
        Some("the newest entry was deleted")
    } else {
        None
    };
    if let Some(fact) = log.get_mut(&position) {
        fact.deleted.get_or_insert(happened);
    }
    if let Some(wrong) = wrong {
        state.accuse(format!("{wrong}: position {position}"));
    }
}

fn absent(name: &str) -> Error {
    Error::NotFound { path: name.to_owned(), source: "nothing stands there".into() }
}

fn no_answer(_: NoAnswer) -> Error {
    Error::Generic { store: "simulated", source: "no answer".into() }
}

/// A process's handle of the store.
#[derive(Debug)]
pub struct SimStore {
    client: Client,
    asked: Mutex<BTreeSet<String>>,
    /// The entry that is being asked for.
    under_way: Arc<Mutex<Option<String>>>,
}

/// Somebody waits for the answer to a create.
struct UnderWay(Arc<Mutex<Option<String>>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.lock().expect("invariant: never poisoned") = None;
    }
}

impl SimStore {
    /// The handle of one process.
    pub fn new(client: Client) -> Self {
        Self { client, asked: Mutex::default(), under_way: Arc::default() }
    }

    fn put_point(&self, name: &str, bytes: &[u8]) -> Point {
        if name.starts_with(SAVEPOINTS) {
            return Point::Export;
        }
        match entry_name(name).and_then(|_| parse(bytes)) {
            Some(entry) => {
                self.asked.lock().expect("invariant: never poisoned").insert(name.to_owned());
                if entry.kind == EntryKind::Claim {
                    self.client.world.lock().processes[self.client.process].claiming = true;
                }
                create_point(entry.kind)
            }
            None if name.contains("/chunks/") => Point::WriteChunk,
            None => Point::Probe,
        }
    }

    /// I5: position p + 1 is asked for only when p is known to be ours, so one create is under way at once.
    fn begin_create(&self, point: Point, name: &str) -> Option<UnderWay> {
        if !CREATES.contains(&point) {
            return None;
        }
        let mut under_way = self.under_way.lock().expect("invariant: never poisoned");
        if let Some(other) = under_way.replace(name.to_owned()) {
            self.client.world.lock().accuse(format!("I5: {name} was asked for while {other} was under way"));
        }
        Some(UnderWay(Arc::clone(&self.under_way)))
    }

    fn get_point(&self, name: &str) -> Point {
        let asked = self.asked.lock().expect("invariant: never poisoned").contains(name);
        match asked {
            true => Point::ReadBack,
            false if name.contains("/chunks/") => Point::ReadChunk,
            false => Point::ReadEntry,
        }
    }

    fn list_point(&self, folder: &str) -> Point {
        match folder.rsplit_once('/').map(|(_, last)| last) {
            Some("log") if self.client.world.lock().processes[self.client.process].claiming => Point::Relist,
            Some("log") => Point::Look,
            Some("probe") => Point::Probe,
            _ => Point::Prune,
        }
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

fn meta(name: &str, size: u64) -> Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(name)?,
        last_modified: Default::default(),
        size,
        e_tag: None,
        version: None,
    })
}

fn unsupported(what: &str) -> Error {
    Error::NotSupported { source: format!("the simulated store has no {what}").into() }
}

fn list(state: &State, prefix: &str, depth_one: bool) -> Vec<(String, u64)> {
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let below = state.objects.now.iter().filter(|(name, _)| name.starts_with(&folder));
    let mut found: Vec<_> = below
        .filter(|(name, _)| !depth_one || !name[folder.len()..].contains('/'))
        .map(|(name, bytes)| (name.clone(), bytes.len() as u64))
        .collect();
    if state.double == Some(Double::StoreListsLate) && prefix.ends_with("/log") {
        // Eventual listing: the newest name does not show yet.
        found.pop();
    }
    found
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(unsupported("update")),
        };
        let (name, bytes) = (location.to_string(), Bytes::from(payload));
        let point = self.put_point(&name, &bytes);
        let _under_way = self.begin_create(point, &name);
        let (process, under_way) = (self.client.process, Arc::clone(&self.under_way));
        let put = move |state: &mut State| {
            let waits = under_way.lock().expect("invariant: never poisoned").as_ref() == Some(&name);
            put(state, Asker { process, waits }, &name, bytes.clone(), create)
        };
        let answer = self.client.ask(point, put).await;
        let answer = answer.map_err(no_answer)?;
        if answer.retried && matches!(answer.value, Err(Error::AlreadyExists { .. })) {
            self.client.world.lock().reached("\"already exists\" to our own create, sent twice");
        }
        answer.value?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("multipart upload"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let name = location.to_string();
        let point = self.get_point(&name);
        let asked = name.clone();
        let found = self.client.ask(point, move |state| state.objects.now.get(&asked).cloned()).await;
        let bytes = found.map_err(no_answer)?.value.ok_or_else(|| absent(&name))?;
        let size = bytes.len() as u64;
        let range = match options.range {
            None => 0..size,
            Some(GetRange::Bounded(range)) => range.start.min(size)..range.end.min(size),
            Some(GetRange::Offset(start)) => start.min(size)..size,
            Some(GetRange::Suffix(length)) => size.saturating_sub(length)..size,
        };
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let part = bytes.slice(index(range.start)..index(range.end));
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(part) }).boxed()),
            meta: meta(&name, size)?,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let whole = self.get_opts(location, GetOptions::default()).await?.bytes().await?;
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
        Ok(ranges.iter().map(|range| whole.slice(index(range.start)..index(range.end))).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let client = self.client.clone();
        locations
            .then(move |location| {
                let client = client.clone();
                async move {
                    let location = location?;
                    let name = location.to_string();
                    let point = if name.contains("/probe/") { Point::Probe } else { Point::Prune };
                    client.ask(point, move |state| delete(state, &name)).await.map_err(no_answer)?.value?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map(Path::to_string).unwrap_or_default();
        let (client, point) = (self.client.clone(), self.list_point(&prefix));
        let listing = async move {
            let found = client.ask(point, move |state| list(state, &prefix, false)).await.map_err(no_answer);
            match found {
                Ok(found) => found.value.into_iter().map(|(name, size)| meta(&name, size)).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        stream::once(listing).flat_map(stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(Path::to_string).unwrap_or_default();
        let point = self.list_point(&prefix);
        let found =
            self.client.ask(point, move |state| list(state, &prefix, true)).await.map_err(no_answer)?;
        let objects = found.value.into_iter().map(|(name, size)| meta(&name, size)).collect::<Result<_>>()?;
        Ok(ListResult { objects, common_prefixes: Vec::new(), extensions: Default::default() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (from.to_string(), to.to_string());
        let create = matches!(options.mode, CopyMode::Create);
        let asker = Asker { process: self.client.process, waits: false };
        let copy = move |state: &mut State| match state.objects.now.get(&from).cloned() {
            Some(bytes) => put(state, asker, &to, bytes, create),
            None => Err(absent(&from)),
        };
        self.client.ask(Point::Export, copy).await.map_err(no_answer)?.value
    }
}
