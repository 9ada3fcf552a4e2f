//! I/O that the coordinator has under way: each a future of its own, which borrows nothing, and what it
//! answers. None is spawned, so that dropping the coordinator ends them all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::control::Answer;
use super::snapshot::Place;
use crate::job::Chosen;
use crate::log::{
    ChunkRef, CommitPermit, Created, Entry, EntryKind, Log, Nonce, PendingState, PruneWork, ReadBack,
    Retention, SnapshotId,
};
use crate::protocol::{SinkIndex, Token};
use crate::retry::{Bounds, Tried, in_time, retry};
use crate::{
    Committed, Discovery, Epoch, Error, ErrorKind, Known, Pending, Position, Result, SinkAttempt,
    SinkControl, SourceControl, Stored, StoredSplit, Uid,
};

/// A position that cannot be read back for so long is asked for again instead: "taken" is an answer, too.
const READ_BACK_TIMEOUT: Duration = Duration::from_secs(30);

/// What stands above a claim.
#[derive(Debug)]
pub(super) struct Relisted {
    pub(super) newest: Position,
    pub(super) claimed_above: bool,
}

/// Something under way.
pub(super) type Work = BoxFuture<'static, Done>;

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Looked(Result<Option<Entry>>),
    Chunked { token: Token, chunks: Vec<(Place, ChunkRef)>, failed: Option<Error> },
    Appended { token: Token, created: Result<Created> },
    ReadBack(Result<ReadBack>),
    Relisted(Result<Relisted>),
    Recovered { sink: SinkIndex, result: Result<()> },
    StartResolved(Result<super::start::Start>),
    Committed { sink: SinkIndex, epoch: Epoch, groups: Vec<Epoch>, result: Result<Committed>, again: bool },
    Discovered { uid: Uid, found: Result<Discovery<StoredSplit>> },
    Exported { position: Position, result: Result<SnapshotId>, answer: Answer },
    Swept { errors: Vec<Error> },
    BooksLoaded(Result<Retention>),
    Pruned { work: PruneWork, outcome: Result<()> },
    Acknowledged(Result<()>),
}

/// Reads the newest entry. What is restored by choice must still be whole: the attempt that is about to be
/// fenced may have pruned it since the job was opened, and a claim would end that one for nothing.
pub(super) async fn look(log: Log, chosen: Option<Arc<Chosen>>, bounds: Bounds) -> Done {
    let looked = async || {
        let newest = log.newest().await?;
        let obeyed =
            |chosen: &&Arc<Chosen>| newest.as_ref().is_some_and(|newest| chosen.is_obeyed_in(newest));
        if let Some(chosen) = chosen.as_ref().filter(|chosen| !obeyed(chosen)) {
            chosen.snapshot.check_whole().await?;
        }
        Ok(newest)
    };
    Done::Looked(retry("look", bounds, looked).await.result)
}

/// Lists the log after our claim at `claim`: what is the highest position, and whether the next attempt's
/// claim stands directly above ours already.
pub(super) async fn relist(log: Log, claim: Position, bounds: Bounds) -> Done {
    let listed = async || {
        let positions = log.positions().await?;
        let newest = positions.last().copied().unwrap_or_default();
        let above = match positions.contains(&claim.next()) {
            true => log.read(claim.next()).await?,
            false => None,
        };
        let claimed_above = above.is_some_and(|above| above.kind == EntryKind::Claim);
        Ok(Relisted { newest, claimed_above })
    };
    Done::Relisted(retry("list", bounds, listed).await.result)
}

/// Asks for an entry's position once, after a pause. Every answer but a clear one is unknown. What the entry
/// lists was judged to live long enough for a request that is answered by `until`.
pub(super) async fn append(
    log: Log,
    token: Token,
    entry: Arc<Entry>,
    pause: Duration,
    until: Instant,
) -> Done {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    let created = tokio::time::timeout_at(until, log.create(&entry)).await;
    let created = created.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, "append", "the store did not answer in time"))
    });
    Done::Appended { token, created }
}

pub(super) async fn read_back(log: Log, position: Position, ours: Vec<Nonce>) -> Done {
    Done::ReadBack(in_time("read back", READ_BACK_TIMEOUT, log.read_back(position, &ours)).await)
}

/// Writes large segments, all of them side by side. Those that are written count, whatever becomes of the
/// others: the next try has fewer to write, and none stays behind.
pub(super) async fn write_chunks(
    log: Log,
    attempt: Position,
    token: Token,
    large: Vec<(Place, Bytes)>,
    call_timeout: Duration,
) -> Done {
    let chunk = |(place, bytes): (Place, Bytes)| {
        let log = log.clone();
        async move {
            let written = in_time("write a chunk", call_timeout, log.write_chunk(attempt, bytes)).await;
            written.map(|chunk| (place, chunk))
        }
    };
    let written = futures::future::join_all(large.into_iter().map(chunk)).await;
    let (mut chunks, mut failed) = (Vec::new(), None);
    for written in written {
        match written {
            Ok(written) => chunks.push(written),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Done::Chunked { token, chunks, failed }
}

/// The committables of pending states, wherever their bytes are.
async fn read_pending(log: &Log, states: Vec<PendingState>, bounds: Bounds) -> Result<Vec<Pending<Stored>>> {
    let mut pending = Vec::with_capacity(states.len());
    for state in states {
        let committable = match state.inline() {
            Some(stored) => stored,
            None => {
                let read = || log.read_segment(&state.committable);
                let bytes = retry("read a committable", bounds, read).await.result?;
                let json = serde_json::from_slice(&bytes).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, "restore", "a stored committable is not JSON")
                        .because(error)
                })?;
                Stored { version: state.version, json }
            }
        };
        let PendingState { epoch, attempt, writer, .. } = state;
        pending.push(Pending { epoch, attempt, writer, committable });
    }
    Ok(pending)
}

pub(super) async fn recover(
    log: Log,
    sink: SinkIndex,
    control: Arc<dyn SinkControl>,
    attempt: SinkAttempt,
    states: Vec<PendingState>,
    bounds: Bounds,
) -> Done {
    let result = async {
        let pending = read_pending(&log, states, bounds).await?;
        retry("recover", bounds, || control.recover(&attempt, pending.clone())).await.result
    };
    Done::Recovered { sink, result: result.await }
}

/// The sweep of leftovers that is repeated while the job runs (I6): nothing of theirs is pending.
pub(super) async fn sweep(sinks: Vec<(SinkAttempt, Arc<dyn SinkControl>)>, bounds: Bounds) -> Done {
    let sweeps = sinks.into_iter().map(|(attempt, control)| async move {
        let swept = retry("sweep", bounds, || control.recover(&attempt, Vec::new())).await.result;
        swept.err().map(|error| error.with("uid", &attempt.uid))
    });
    Done::Swept { errors: futures::future::join_all(sweeps).await.into_iter().flatten().collect() }
}

pub(super) async fn commit(
    log: Log,
    sink: SinkIndex,
    control: Arc<dyn SinkControl>,
    permit: CommitPermit,
    groups: Vec<Epoch>,
    states: Vec<PendingState>,
    bounds: Bounds,
) -> Done {
    let epoch = permit.epoch();
    let Tried { result, again } = match read_pending(&log, states, bounds).await {
        Ok(pending) => retry("commit", bounds, || control.commit(&permit, pending.clone())).await,
        Err(error) => Tried { result: Err(error), again: false },
    };
    Done::Committed { sink, epoch, groups, result, again }
}

pub(super) async fn discover(
    uid: Uid,
    control: Arc<dyn SourceControl>,
    known: Known<Stored>,
    bounds: Bounds,
) -> Done {
    let found = retry("discover", bounds, || control.discover(known.clone())).await.result;
    Done::Discovered { uid, found }
}

pub(super) async fn acknowledge(
    sources: Vec<(Arc<dyn SourceControl>, Vec<Stored>)>,
    call_timeout: Duration,
) -> Done {
    let result = async {
        for (control, durable) in sources {
            in_time("acknowledge", call_timeout, control.acknowledge(durable)).await?;
        }
        Ok(())
    };
    Done::Acknowledged(result.await)
}
