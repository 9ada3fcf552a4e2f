//! Single steps of the machine. Whole histories are explored by the model and the simulation.

use super::*;
use crate::log::EntryKind;

/// Plays the edge: answers what the machine asks with success, unless told otherwise.
struct Edge {
    machine: Machine,
    actions: Vec<Action>,
}

impl Edge {
    fn new(tasks: u32, sinks: u16) -> Self {
        let limits =
            Limits { tasks, sinks, epochs_in_flight_max: 2, tolerable_failures: 1, commit_margin: 100 };
        Self { machine: Machine::new(limits), actions: Vec::new() }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.step_at(0, event)
    }

    fn step_at(&mut self, now: Millis, event: Event) -> Vec<Action> {
        self.actions.clear();
        self.machine.step(now, event, &mut self.actions);
        self.actions.clone()
    }

    /// A first run up to its first epoch: entries 1 (claim) and 2 (start).
    fn running(tasks: u32, sinks: u16) -> Self {
        let mut edge = Self::new(tasks, sinks);
        edge.step(Event::Begin);
        let claim = edge.step(Event::Looked(None));
        edge.step(Event::Created(token(&claim)));
        edge.step(Event::Relisted { newest: Position(1) });
        edge.step(Event::Recovered);
        for sink in 0..sinks {
            edge.step(Event::Committed { sink, epoch: Epoch(0) });
        }
        let start = edge.step(Event::StartResolved { epoch: Epoch(0) });
        let opened = edge.step(Event::Created(token(&start)));
        assert!(opened.contains(&Action::OpenHost { epoch: Epoch(1) }), "{opened:?}");
        edge.step(Event::Opened);
        assert!(edge.machine.is_running());
        edge
    }

    fn report(&mut self, epoch: u64, task: u32, sinks: &[u16]) -> Vec<Action> {
        let prepared = sinks.iter().copied().collect();
        self.step(Event::Reported { epoch: Epoch(epoch), task, prepared, expires_at: None })
    }
}

fn append(actions: &[Action]) -> Option<(Token, Position, Draft)> {
    actions.iter().find_map(|action| match action {
        Action::Append { token, position, draft, .. } => Some((*token, *position, draft.clone())),
        _ => None,
    })
}

fn token(actions: &[Action]) -> Token {
    append(actions).expect("an append").0
}

fn lists(epochs: &[(u64, &[u16])]) -> Lists {
    epochs.iter().map(|(epoch, sinks)| (Epoch(*epoch), sinks.iter().copied().collect())).collect()
}

fn commits(actions: &[Action]) -> Vec<(u16, u64, Vec<u64>)> {
    let commit = |action: &Action| match action {
        Action::Commit { sink, epoch, groups, .. } => {
            Some((*sink, epoch.0, groups.iter().map(|group| group.0).collect()))
        }
        _ => None,
    };
    actions.iter().filter_map(commit).collect()
}

#[test]
fn nothing_is_committed_before_its_entry_is_durable() {
    let mut edge = Edge::running(2, 1);
    edge.step(Event::BarrierDue);
    assert!(edge.report(1, 0, &[0]).is_empty());
    let asked = edge.report(1, 1, &[]);
    let (token, position, draft) = append(&asked).expect("complete");
    assert_eq!(
        (position, draft.kind, draft.lists),
        (Position(3), EntryKind::Checkpoint, lists(&[(1, &[0])]))
    );
    assert!(commits(&asked).is_empty());
    assert_eq!(commits(&edge.step(Event::Created(token))), [(0, 1, vec![1])]);
}

#[test]
fn a_lost_reply_is_settled_by_reading_back() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    let asked = edge.report(1, 0, &[0]);
    let first = token(&asked);
    assert_eq!(edge.step(Event::Unknown(first)), [Action::ReadBack(Position(3))]);
    let (second, position, _) = append(&edge.step(Event::FoundNothing)).expect("asked again");
    assert_eq!(position, Position(3), "the same position");
    assert_eq!(edge.step(Event::Taken(second)), [Action::ReadBack(Position(3))]);
    assert_eq!(commits(&edge.step(Event::FoundOurs(first))), [(0, 1, vec![1])], "whichever stands counts");
}

#[test]
fn an_entry_of_somebody_else_fences() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    let asked = edge.report(1, 0, &[0]);
    edge.step(Event::Taken(token(&asked)));
    assert_eq!(edge.step(Event::FoundForeign), [Action::End(End::Fenced { position: Position(3) })]);
}

#[test]
fn what_a_failed_checkpoint_prepared_is_listed_by_the_next() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    assert_eq!(edge.step(Event::TimedOut(Epoch(1))), [Action::GivenUp { epoch: Epoch(1) }]);
    assert!(edge.report(1, 0, &[0]).is_empty(), "given up");
    edge.step(Event::BarrierDue);
    let (token, _, draft) = append(&edge.report(2, 0, &[0])).expect("complete");
    assert_eq!(draft.lists, lists(&[(1, &[0]), (2, &[0])]));
    assert_eq!(commits(&edge.step(Event::Created(token))), [(0, 2, vec![1, 2])]);
}

#[test]
fn a_given_up_request_that_stands_after_all_is_committed_first() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    let first = token(&edge.report(1, 0, &[0]));
    edge.step(Event::TimedOut(Epoch(1)));
    edge.step(Event::Unknown(first));
    assert!(edge.step(Event::FoundNothing).is_empty());
    edge.step(Event::BarrierDue);
    let (second, position, _) = append(&edge.report(2, 0, &[0])).expect("complete");
    assert_eq!(position, Position(3));
    edge.step(Event::Taken(second));
    let found = edge.step(Event::FoundOurs(first));
    assert_eq!(commits(&found), [(0, 1, vec![1])]);
    let (_, position, draft) = append(&found).expect("the second one is wanted still");
    assert_eq!((position, draft.epoch, draft.lists), (Position(4), Epoch(2), lists(&[(1, &[0]), (2, &[0])])));
}

#[test]
fn settled_needs_a_later_entry_that_no_longer_lists_it() {
    let mut edge = Edge::running(1, 2);
    edge.step(Event::BarrierDue);
    let first = token(&edge.report(1, 0, &[0, 1]));
    edge.step(Event::Created(first));
    edge.step(Event::Committed { sink: 0, epoch: Epoch(1) });
    let confirmed = edge.step(Event::Committed { sink: 1, epoch: Epoch(1) });
    assert_eq!(confirmed, [Action::Confirmed { epoch: Epoch(1) }]);
    let (token, _, draft) = append(&edge.step(Event::SettleWanted)).expect("somebody waits");
    assert_eq!((draft.kind, draft.epoch, draft.lists), (EntryKind::Confirmation, Epoch(1), Lists::new()));
    assert!(edge.step(Event::Created(token)).contains(&Action::Settled { epoch: Epoch(1) }));
}

#[test]
fn the_next_checkpoint_settles_the_one_before() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    let first = token(&edge.report(1, 0, &[0]));
    edge.step(Event::Created(first));
    edge.step(Event::Committed { sink: 0, epoch: Epoch(1) });
    edge.step(Event::BarrierDue);
    let second = token(&edge.report(2, 0, &[0]));
    let durable = edge.step(Event::Created(second));
    assert!(durable.contains(&Action::Settled { epoch: Epoch(1) }), "{durable:?}");
}

#[test]
fn epochs_in_flight_are_bounded() {
    let mut edge = Edge::running(1, 1);
    assert_eq!(edge.step(Event::BarrierDue), [Action::Barrier { epoch: Epoch(1), last: false }]);
    assert_eq!(edge.step(Event::BarrierDue), [Action::Barrier { epoch: Epoch(2), last: false }]);
    assert!(edge.step(Event::BarrierDue).is_empty());
    assert!(!edge.machine.may_send_barrier());
}

#[test]
fn too_many_failures_in_a_row_end_the_attempt() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    edge.step(Event::TimedOut(Epoch(1)));
    edge.step(Event::BarrierDue);
    let ended = edge.step(Event::TimedOut(Epoch(2)));
    assert_eq!(ended, [Action::End(End::TooManyFailures { epoch: Epoch(2) })]);
}

#[test]
fn data_that_would_expire_before_its_commit_is_not_appended() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    let prepared = BTreeSet::from([0]);
    let report = Event::Reported { epoch: Epoch(1), task: 0, prepared, expires_at: Some(1_000) };
    let ended = edge.step_at(901, report);
    assert_eq!(ended, [Action::End(End::WouldExpire { epoch: Epoch(1) })]);
}

#[test]
fn the_end_of_input_is_stored_committed_and_closed() {
    let mut edge = Edge::running(1, 1);
    assert_eq!(edge.step(Event::InputEnded), [Action::Barrier { epoch: Epoch(1), last: true }]);
    let last = token(&edge.report(1, 0, &[]));
    assert_eq!(commits(&edge.step(Event::Created(last))), [(0, 1, vec![])], "also with nothing to commit");
    let (token, _, draft) =
        append(&edge.step(Event::Committed { sink: 0, epoch: Epoch(1) })).expect("closed");
    assert_eq!((draft.kind, draft.lists), (EntryKind::Closed(Closed::Finished), Lists::new()));
    assert!(edge.step(Event::Created(token)).contains(&Action::End(End::Closed(Closed::Finished))));
}

#[test]
fn cancelling_commits_what_is_durable_and_drops_the_rest() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    let first = token(&edge.report(1, 0, &[0]));
    edge.step(Event::BarrierDue);
    edge.step(Event::Created(first));
    edge.report(2, 0, &[0]);
    assert!(edge.step(Event::CancelWanted).contains(&Action::StopHost));
}

#[test]
fn a_claim_below_a_newer_entry_does_not_count() {
    let mut edge = Edge::new(1, 1);
    edge.step(Event::Begin);
    let claim = token(&edge.step(Event::Looked(None)));
    edge.step(Event::Created(claim));
    assert_eq!(edge.step(Event::Relisted { newest: Position(9) }), [Action::Look]);
}

#[test]
fn of_two_attempts_that_start_at_once_the_one_that_claimed_last_goes_on() {
    let mut edge = Edge::new(1, 1);
    edge.step(Event::Begin);
    let claim = token(&edge.step(Event::Looked(None)));
    edge.step(Event::Created(claim));
    assert_eq!(edge.step(Event::ClaimedAbove), [Action::End(End::Fenced { position: Position(2) })]);
}

#[test]
fn recovery_looks_commits_and_settles_before_anything_opens() {
    let mut edge = Edge::new(1, 2);
    edge.step(Event::Begin);
    let pending = lists(&[(4, &[0]), (5, &[1])]);
    let head = Head { position: Position(7), epoch: Epoch(5), lists: pending.clone(), finished: false };
    let (claim, position, draft) = append(&edge.step(Event::Looked(Some(head)))).expect("claim");
    assert_eq!((position, draft.epoch, draft.lists), (Position(8), Epoch(5), pending.clone()));
    edge.step(Event::Created(claim));
    assert_eq!(edge.step(Event::Relisted { newest: Position(8) }), [Action::Recover(pending)]);
    let committing = edge.step(Event::Recovered);
    assert_eq!(commits(&committing), [(0, 5, vec![4]), (1, 5, vec![5])]);
    assert!(append(&committing).is_none());
    edge.step(Event::Committed { sink: 0, epoch: Epoch(5) });
    let committed = edge.step(Event::Committed { sink: 1, epoch: Epoch(5) });
    assert!(committed.contains(&Action::ResolveStart));
    let (start, _, draft) = append(&edge.step(Event::StartResolved { epoch: Epoch(5) })).expect("start");
    assert_eq!((draft.kind, draft.lists), (EntryKind::Start, Lists::new()));
    assert!(edge.step(Event::Created(start)).contains(&Action::OpenHost { epoch: Epoch(6) }));
}

#[test]
fn a_report_out_of_order_ends_the_attempt() {
    let mut edge = Edge::running(1, 1);
    edge.step(Event::BarrierDue);
    edge.step(Event::BarrierDue);
    let ended = edge.report(2, 0, &[]);
    assert!(matches!(ended[..], [Action::End(End::HostBroke { .. })]), "{ended:?}");
}
