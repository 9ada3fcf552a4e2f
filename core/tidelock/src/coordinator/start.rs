//! What an attempt starts from: nothing, the newest entry, or a snapshot that was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::splits::Splits;
use crate::job::Chosen;
use crate::log::{Entry, Log, RequestId, SnapshotId, State};
use crate::restore::read_source;
use crate::retry::{Bounds, retry};
use crate::{Epoch, Generation, Position, Result, Segment, SourceControl, Uid};

/// What the start entry holds, beside its identity.
#[derive(Debug)]
pub(super) struct Start {
    /// The epoch that it covers.
    pub(super) epoch: Epoch,
    pub(super) splits: BTreeMap<Uid, Splits>,
    pub(super) operators: BTreeMap<Uid, BTreeMap<String, Vec<Segment>>>,
    /// Where it begins a new lineage (I8).
    pub(super) lineage: Option<NewLineage>,
}

/// A rollback or a fork that is being obeyed.
#[derive(Debug, Clone)]
pub(super) struct NewLineage {
    pub(super) generation: Generation,
    pub(super) origin: SnapshotId,
    /// What the request is called.
    pub(super) names: Vec<RequestId>,
}

/// What a start is resolved with.
pub(super) struct Inputs {
    pub(super) log: Log,
    pub(super) attempt: Position,
    /// The entry below the claim.
    pub(super) head: Option<Arc<Entry>>,
    /// A snapshot that is to be restored by choice.
    pub(super) chosen: Option<Arc<Chosen>>,
    pub(super) sources: BTreeMap<Uid, Arc<dyn SourceControl>>,
    pub(super) operators: Vec<Uid>,
    pub(super) bounds: Bounds,
    pub(super) wall_ms: u64,
}

/// Finds the state that the start entry holds.
pub(super) async fn resolve(inputs: Inputs) -> Result<Start> {
    let head = inputs.head.as_deref();
    let head_epoch = head.map_or(Epoch(0), |head| head.epoch);
    if let Some(chosen) = &inputs.chosen {
        // I8: one append makes the rollback; the first snapshot of a lineage is complete by itself.
        let state = chosen.snapshot.import(&inputs.log, inputs.attempt).await?;
        let last = head.map_or(Generation(0), |head| head.lineage.generation);
        let lineage = NewLineage {
            generation: next_generation(last.max(chosen.snapshot.entry().lineage.generation), inputs.wall_ms),
            origin: chosen.snapshot.id(),
            names: chosen.names.clone(),
        };
        let epoch = head_epoch.max(chosen.snapshot.entry().epoch).next();
        return restored(&inputs, state, epoch, Some(lineage)).await;
    }
    match head.and_then(|head| head.state.clone()) {
        Some(state) => restored(&inputs, state, head_epoch, None).await,
        None => restored(&inputs, State::default(), Epoch(0), None).await,
    }
}

/// A generation that is greater than any before, whatever the clock says.
pub(super) fn next_generation(last: Generation, wall_ms: u64) -> Generation {
    Generation(wall_ms).max(last.next())
}

async fn restored(
    inputs: &Inputs,
    mut state: State,
    epoch: Epoch,
    lineage: Option<NewLineage>,
) -> Result<Start> {
    let mut splits = BTreeMap::new();
    for uid in inputs.sources.keys() {
        let mut source = match state.sources.get(uid) {
            Some(segments) => {
                let read = || read_source(&inputs.log, segments);
                Splits::restored(retry("restore", inputs.bounds, read).await.result?)
            }
            None => discovered(inputs, uid).await?,
        };
        source.apply(epoch, Vec::new())?;
        splits.insert(uid.clone(), source);
    }
    let operators =
        inputs.operators.iter().map(|uid| (uid.clone(), state.operators.remove(uid).unwrap_or_default()));
    Ok(Start { epoch, splits, operators: operators.collect(), lineage })
}

/// The splits of a source that has no state yet: its configured start position applies. I9: `latest` and
/// its like are decided here, once; the start entry holds the answer before anything is read.
async fn discovered(inputs: &Inputs, uid: &Uid) -> Result<Splits> {
    let control = &inputs.sources[uid];
    let mut splits = Splits::default();
    splits.want_discovery();
    if let Some(known) = splits.begin_discovery(true) {
        let found = retry("discover", inputs.bounds, || control.discover(known.clone())).await.result;
        // They belong to the start entry whatever its epoch, and are assigned when the host is open.
        splits.found(found.map_err(|error| error.with("uid", uid))?, Epoch(0))?;
    }
    Ok(splits)
}
