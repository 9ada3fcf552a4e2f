//! Reading a snapshot back: which state finds its place in a graph, and where the splits stand.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::log::{Log, State};
use crate::{Error, ErrorKind, Result, Segment, SplitId, SplitState, Uid, from_json};

/// What becomes of each uid's state in a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Uids whose state is restored.
    pub restored: BTreeSet<Uid>,
    /// Uids whose state is dropped, because the user allowed it.
    pub dropped: BTreeSet<Uid>,
    /// Uids of the graph that begin without state.
    pub fresh: BTreeSet<Uid>,
}

/// The uids of a graph, by what they are: a sink has no place for the state of an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphUids {
    /// The sources.
    pub sources: BTreeSet<Uid>,
    /// The operators that keep state.
    pub operators: BTreeSet<Uid>,
    /// The sinks.
    pub sinks: BTreeSet<Uid>,
}

impl GraphUids {
    /// For whoever knows the uids but not what they are: each may be anything.
    pub fn anything(uids: BTreeSet<Uid>) -> Self {
        Self { sources: uids.clone(), operators: uids.clone(), sinks: uids }
    }

    fn all(&self) -> BTreeSet<Uid> {
        self.sources.iter().chain(&self.operators).chain(&self.sinks).cloned().collect()
    }

    /// The uids that have state and no place for it.
    fn without_place<'a>(&self, state: &'a State) -> BTreeSet<&'a Uid> {
        let sources = state.sources.keys().filter(|uid| !self.sources.contains(*uid));
        let operators = state.operators.keys().filter(|uid| !self.operators.contains(*uid));
        let sinks = state.sinks.keys().filter(|uid| !self.sinks.contains(*uid));
        sources.chain(operators).chain(sinks).collect()
    }
}

/// Finds a place for every state of a snapshot.
///
/// # Errors
/// [`ErrorKind::Config`] naming every uid that has state and no place, unless it is in `allow_dropped`;
/// and every sink without a place that has prepared data: that is never dropped on the way.
pub fn place_state(state: &State, graph: &GraphUids, allow_dropped: &BTreeSet<Uid>) -> Result<Placement> {
    let without_place = graph.without_place(state);
    let mut placement = Placement::default();
    let mut refused = BTreeSet::new();
    for uid in state.uids() {
        let pending = state.sinks.get(uid).is_some_and(|pending| !pending.is_empty());
        if !without_place.contains(uid) {
            placement.restored.insert(uid.clone());
        } else if allow_dropped.contains(uid) && !pending {
            placement.dropped.insert(uid.clone());
        } else {
            refused.insert((uid.clone(), pending));
        }
    }
    placement.fresh = graph.all().difference(&placement.restored).cloned().collect();
    if refused.is_empty() {
        return Ok(placement);
    }
    let names = |wanted: bool| {
        let names = refused.iter().filter(|(_, pending)| *pending == wanted).map(|(uid, _)| uid.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let mut error = Error::new(
        ErrorKind::Config,
        "restore",
        "the snapshot has state that the graph has no place for: give the uid back to its operator, or list it \
         in allow_dropped_state; prepared data of a sink must be committed by the graph that prepared it, or \
         abandoned with `tidelock snapshots abandon`",
    );
    if !names(false).is_empty() {
        error = error.with("state_without_place", names(false));
    }
    // A uid that was renamed is in both lists: whoever reads this sees which one it became.
    if !placement.fresh.is_empty() {
        let fresh: Vec<&str> = placement.fresh.iter().map(Uid::as_str).collect();
        error = error.with("new_in_the_graph", fresh.join(" "));
    }
    if !names(true).is_empty() {
        error = error.with("prepared_data_without_place", names(true));
    }
    Err(error)
}

/// The same for all that a start needs a place for: what is restored, and what the newest entry has pending, which
/// is committed before anything else, also where another snapshot is chosen.
pub(crate) fn place_start(
    restored: Option<&State>,
    newest: Option<&State>,
    graph: &GraphUids,
    allow_dropped: &BTreeSet<Uid>,
) -> Result<Placement> {
    let placement = place_state(restored.unwrap_or(&State::default()), graph, allow_dropped)?;
    if let Some(newest) = newest {
        place_state(&newest.pending(), graph, allow_dropped)?;
    }
    Ok(placement)
}

/// One segment of a source's state: what changed of its splits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitChanges {
    /// Splits that are new or moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splits: Vec<SplitState>,
    /// Splits that are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<SplitId>,
    /// The greatest watermark that a forgotten split had. Written since version 2 of the format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<i64>,
}

/// What a snapshot has of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Its splits, those included that were read to their end.
    pub splits: BTreeMap<SplitId, SplitState>,
    /// The greatest watermark that a forgotten split had, in milliseconds since 1970.
    pub reached: Option<i64>,
}

impl SplitChanges {
    /// Applies the changes to what the segments before made. What is forgotten goes first: a split that
    /// was forgotten and found again within one segment is there, and older builds list it as both.
    pub fn apply_to(self, source: &mut SourceState) {
        for id in &self.forgotten {
            source.splits.remove(id);
        }
        source.splits.extend(self.splits.into_iter().map(|split| (split.id.clone(), split)));
        source.reached = source.reached.max(self.reached);
    }
}

/// What a snapshot has of a source, from the segments of its state.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for damaged segments, [`ErrorKind::Unavailable`] where they cannot be read.
pub async fn read_source(log: &Log, segments: &[Segment]) -> Result<SourceState> {
    let mut source = SourceState::default();
    for segment in segments {
        let bytes = log.read_segment(segment).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "restore", "the state of a source is not text").because(error)
        })?;
        from_json::<SplitChanges>(text)?.apply_to(&mut source);
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::PendingState;
    use crate::{Epoch, Position, Stored, WriterId};

    fn uids(names: &[&str]) -> BTreeSet<Uid> {
        names.iter().map(|name| Uid::new(name).expect("legal")).collect()
    }

    fn state(sources: &[&str], pending: &[&str]) -> State {
        let body = PendingState {
            epoch: Epoch(1),
            attempt: Position(1),
            writer: WriterId(0),
            version: 1,
            committable: Segment::Bytes(bytes::Bytes::new()),
            chunks: Vec::new(),
        };
        State {
            sources: uids(sources).into_iter().map(|uid| (uid, Vec::new())).collect(),
            sinks: uids(pending).into_iter().map(|uid| (uid, vec![body.clone()])).collect(),
            ..State::default()
        }
    }

    #[test]
    fn a_split_that_an_older_build_stored_as_forgotten_and_as_new_is_there() {
        let json = serde_json::value::RawValue::from_string("{}".to_owned()).expect("JSON");
        let split = |name: &str, finished| SplitState {
            id: SplitId::new(name),
            split: Stored { version: 1, json: json.clone() },
            watermark: None,
            finished,
        };
        let mut source = SourceState::default();
        let base = vec![split("a", true), split("b", true)];
        SplitChanges { splits: base, ..SplitChanges::default() }.apply_to(&mut source);
        let forgotten = vec![SplitId::new("a"), SplitId::new("b")];
        let changes = SplitChanges { splits: vec![split("a", false)], forgotten, reached: None };
        changes.apply_to(&mut source);
        assert_eq!(source.splits.into_values().collect::<Vec<_>>(), [split("a", false)]);
    }

    fn graph(names: &[&str]) -> GraphUids {
        GraphUids::anything(uids(names))
    }

    #[test]
    fn a_uid_that_is_something_else_now_is_no_place() {
        let sinks = GraphUids { sinks: uids(&["in"]), ..GraphUids::default() };
        let error = place_state(&state(&["in"], &[]), &sinks, &uids(&[])).unwrap_err();
        assert!(error.to_string().contains("state_without_place=in, new_in_the_graph=in]"), "{error}");
        let placement = place_state(&state(&["in"], &[]), &sinks, &uids(&["in"])).unwrap();
        assert_eq!((placement.dropped, placement.fresh), (uids(&["in"]), uids(&["in"])));
    }

    #[test]
    fn state_without_a_place_is_named() {
        let error = place_state(&state(&["in"], &[]), &graph(&["input"]), &uids(&[])).unwrap_err();
        assert!(error.to_string().contains("state_without_place=in, new_in_the_graph=input]"), "{error}");
    }

    #[test]
    fn state_is_dropped_only_if_allowed() {
        let placement = place_state(&state(&["in"], &[]), &graph(&["input"]), &uids(&["in"])).unwrap();
        assert_eq!((placement.dropped, placement.fresh), (uids(&["in"]), uids(&["input"])));
    }

    #[test]
    fn prepared_data_is_never_dropped() {
        let error = place_state(&state(&[], &["out"]), &graph(&[]), &uids(&["out"])).unwrap_err();
        assert!(error.to_string().contains("prepared_data_without_place=out"), "{error}");
    }
}
