//! Lets through what was not read yet, and finds out where something is missing before it. No I/O, no clock.
//!
//! ```text
//!   a place is sought ──> what must come is awaited:
//!      the record that was read last ──comes──────────────> proven: what was thrown away, if anything, had been read
//!                                    └──another or none───> a gap, unless there was nothing more to read so lately that all that came since is kept
//!      nothing was read, and all since a time must be there > a gap, where that is longer ago than records are kept
//! ```
//!
//! A service that is asked for what comes *after* a record that was thrown away may go on with the oldest one without a word. So a place is sought *at* the last
//! record, which is left out when it comes. Only where that is so young that it must be there still, it is not asked for.

use std::cmp::Ordering;

use super::fetch::{Page, Place, Raw};
use super::number::compare;
use super::shard::{KinesisShard, Position};

/// Clocks are apart by less: the service refuses what was signed by one that is further away.
pub(super) const CLOCKS_APART_MAX_MS: i64 = 15 * 60 * 1_000;

/// So many answers in a row say that there is nothing more, before that is believed of a record that must be there: one may come from a part of the service that
/// does not know it yet.
const EMPTY_MAX: u32 = 3;

/// What is compared: the time, and for how long records are kept, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now_ms: i64,
    pub(super) kept_ms: i64,
}

impl Clock {
    /// Whether something may have been thrown away that arrived then.
    pub(super) fn is_long_ago(self, ms: i64) -> bool {
        ms.saturating_sub(CLOCKS_APART_MAX_MS) < self.now_ms.saturating_sub(self.kept_ms)
    }
}

/// What the next records must show.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaited {
    /// This record comes.
    Record {
        number: String,
        /// It, or something in it, was not read yet.
        is_wanted: bool,
    },
    /// Nothing was read yet, and what arrived since then must all be there.
    Since(i64),
    /// Nothing: the records before were the last ones.
    Nothing,
}

/// A record that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) number: String,
    pub(super) arrival_ms: Option<i64>,
}

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) why: &'static str,
    /// The oldest record that is there, where there is one.
    pub(super) next: Option<Came>,
}

/// What of a shard is let through.
#[derive(Debug)]
pub(super) struct Gate {
    position: Position,
    last: Option<Came>,
    /// The last record was asked for and came, and none came since.
    is_proven: bool,
    /// How many answers in a row had nothing, and said that there was nothing more, where a record was awaited.
    empty: u32,
    /// When the next answer was asked for: what it says is not of a later time, however late it is heard.
    asked_ms: i64,
    /// When there was nothing more to read.
    caught_up_ms: Option<i64>,
    awaited: Awaited,
}

impl Gate {
    /// Before the position of a shard. A [place](Gate::place) is to be sought first.
    pub(super) fn new(split: &KinesisShard) -> Self {
        let (position, caught_up_ms) = (split.position.clone(), split.caught_up_ms);
        let awaited = Awaited::Nothing;
        Self { position, last: None, is_proven: false, empty: 0, asked_ms: 0, caught_up_ms, awaited }
    }

    /// Where reading goes on, with what must come there.
    pub(super) fn place(&mut self, clock: Clock) -> Place<'_> {
        let is_old = self.is_old(clock);
        self.is_proven = false;
        let (place, awaited) = match (&self.last, &self.position) {
            (Some(last), _) if is_old => (Place::At(&last.number), read(&last.number)),
            (Some(last), _) => (Place::After(&last.number), Awaited::Nothing),
            (None, Position::Oldest { since_ms }) => (Place::Oldest, Awaited::Since(*since_ms)),
            (None, Position::Time { at_ms, since_ms }) => (Place::Time(*at_ms), Awaited::Since(*since_ms)),
            (None, Position::First { sequence_number: number }) => {
                (Place::At(number), Awaited::Record { number: number.clone(), is_wanted: true })
            }
            (None, Position::After { sequence_number: number, is_whole, .. }) => {
                (Place::At(number), Awaited::Record { number: number.clone(), is_wanted: !is_whole })
            }
        };
        (self.awaited, self.asked_ms) = (awaited, clock.now_ms);
        place
    }

    /// The service does not know the record behind which reading was to go on: of all that there is, it must come.
    pub(super) fn is_unknown(&mut self) {
        if let (Awaited::Nothing, Some(last)) = (&self.awaited, &self.last) {
            self.awaited = read(&last.number);
        }
    }

    /// The next answer is asked for now.
    pub(super) fn ask(&mut self, clock: Clock) {
        self.asked_ms = clock.now_ms;
    }

    /// Whether nothing is awaited any more: what came is all that there was.
    pub(super) fn is_sure(&self) -> bool {
        self.awaited == Awaited::Nothing
    }

    /// Whether the next records may come from behind a gap, so that the place must be sought anew. Once the last record has come that was asked for, what follows it is
    /// read: there may be a long time without records behind it, of which each answer covers a part. So there may be before it, where it is not there any more.
    pub(super) fn is_in_doubt(&self, clock: Clock) -> bool {
        !self.is_proven && self.is_sure() && self.is_old(clock)
    }

    /// Whether the last record, and what came after it, may have been thrown away.
    fn is_old(&self, clock: Clock) -> bool {
        let Some(last) = &self.last else { return false };
        let sure_ms = last.arrival_ms.max(self.caught_up_ms);
        sure_ms.is_none_or(|sure_ms| clock.is_long_ago(sure_ms))
    }

    /// Whether there was nothing more to read, and since when.
    pub(super) fn caught_up_ms(&self) -> Option<i64> {
        self.caught_up_ms
    }

    /// Leaves out of a page what was read already.
    ///
    /// # Errors
    /// The gap before what is left. Whoever accepts it goes on with that.
    pub(super) fn admit(&mut self, page: &mut Page, clock: Clock) -> Result<(), Gap> {
        let was_empty = page.records.is_empty();
        let awaited = std::mem::replace(&mut self.awaited, Awaited::Nothing);
        // Some servers begin anew where they are told to go on.
        let was_read = |raw: &Raw| {
            let order = |number: &String| compare(&raw.sequence_number, number);
            match (&awaited, &self.last) {
                (Awaited::Record { number, .. }, _) => order(number) == Ordering::Less,
                (_, Some(last)) => order(&last.number) != Ordering::Greater,
                (_, None) => false,
            }
        };
        let read = page.records.iter().take_while(|raw| was_read(raw)).count();
        page.records.drain(..read);
        let has_nothing = was_empty && page.behind_ms == Some(0) && !page.is_end;
        self.empty = if has_nothing { self.empty + 1 } else { 0 };
        if let Some(Raw { sequence_number, arrival_ms, .. }) = page.records.last() {
            self.is_proven = false;
            self.last = Some(Came { number: sequence_number.clone(), arrival_ms: *arrival_ms });
        }
        let admitted = match awaited {
            Awaited::Nothing => Ok(()),
            Awaited::Since(since_ms) => self.is_all_there(since_ms, page, clock),
            Awaited::Record { number, is_wanted } => {
                let may_come = !page.is_end && self.empty < EMPTY_MAX;
                if page.records.is_empty() && may_come {
                    self.awaited = Awaited::Record { number, is_wanted };
                    Ok(())
                } else {
                    self.follows(&number, is_wanted, page, clock)
                }
            }
        };
        if has_nothing && self.awaited == Awaited::Nothing {
            self.caught_up_ms = Some(self.asked_ms);
        }
        admitted
    }

    /// Whether what was awaited has come, or need not come.
    fn follows(&mut self, number: &str, is_wanted: bool, page: &mut Page, clock: Clock) -> Result<(), Gap> {
        let first = page.records.first();
        if first.is_some_and(|first| compare(&first.sequence_number, number) == Ordering::Equal) {
            if !is_wanted {
                page.records.remove(0);
                self.is_proven = page.records.is_empty();
            }
            return Ok(());
        }
        let is_kept = self.caught_up_ms.is_some_and(|caught_up_ms| !clock.is_long_ago(caught_up_ms));
        if is_kept && !is_wanted {
            return Ok(());
        }
        let why = "the record at which reading goes on is not there any more: what came after it was thrown away, or may have been";
        Err(Gap { why, next: first.map(came) })
    }

    /// Whether all is there that arrived since then, or since there was nothing more to read.
    fn is_all_there(&self, since_ms: i64, page: &Page, clock: Clock) -> Result<(), Gap> {
        if !clock.is_long_ago(self.caught_up_ms.map_or(since_ms, |caught_up_ms| caught_up_ms.max(since_ms))) {
            return Ok(());
        }
        let why = "nothing was read of a shard for longer than its records are kept: what came meanwhile may have been thrown away";
        Err(Gap { why, next: page.records.first().map(came) })
    }
}

fn read(number: &str) -> Awaited {
    Awaited::Record { number: number.to_owned(), is_wanted: false }
}

fn came(raw: &Raw) -> Came {
    Came { number: raw.sequence_number.clone(), arrival_ms: raw.arrival_ms }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::hash_key::HashRange;
    use crate::seen::Seen;

    const HOUR: i64 = 3_600 * 1_000;
    const NOW: i64 = 1_000 * HOUR;

    fn at(now_ms: i64) -> Clock {
        Clock { now_ms, kept_ms: 24 * HOUR }
    }

    fn gate(position: Position, caught_up_ms: Option<i64>) -> Gate {
        Gate::new(&KinesisShard {
            stream: "s".into(),
            made_ms: 0,
            kept_ms: None,
            shard: "A".into(),
            parents: Vec::new(),
            range: HashRange::ALL,
            position,
            arrival_ms: None,
            caught_up_ms,
            stop_ms: None,
            seen: Seen::default(),
            end: None,
        })
    }

    fn after(number: &str) -> Position {
        Position::After { sequence_number: number.into(), sub_sequence: 0, is_whole: true }
    }

    /// Numbers that came so long ago.
    fn page(numbers: &[&str], hours: i64) -> Page {
        let raw = |number: &&str| Raw {
            sequence_number: (*number).to_owned(),
            partition_key: "k".into(),
            data: Bytes::new(),
            arrival_ms: Some(NOW - hours * HOUR),
        };
        Page { records: numbers.iter().map(raw).collect(), behind_ms: Some(0), ..Page::default() }
    }

    fn left(page: &Page) -> Vec<&str> {
        page.records.iter().map(|raw| raw.sequence_number.as_str()).collect()
    }

    #[test]
    fn the_last_record_is_asked_for_and_left_out_and_one_that_does_not_come_is_a_gap() {
        let mut one = gate(after("9"), None);
        assert_eq!(one.place(at(NOW)), Place::At("9"));
        let mut first = page(&["9", "10", "11"], 1);
        one.admit(&mut first, at(NOW)).expect("it came");
        assert_eq!(left(&first), ["10", "11"]);
        // It is young: nothing can be missing after it.
        assert_eq!(one.place(at(NOW)), Place::After("11"));
        let mut next = page(&["12"], 1);
        one.admit(&mut next, at(NOW)).expect("it follows");
        assert_eq!(left(&next), ["12"]);

        let mut one = gate(after("9"), None);
        one.place(at(NOW));
        let mut empty = Page { behind_ms: Some(7), ..Page::default() };
        one.admit(&mut empty, at(NOW)).expect("it may come still");
        let mut other = page(&["11"], 1);
        let gap = one.admit(&mut other, at(NOW)).expect_err("10 may have been between");
        assert_eq!(gap.next.expect("a record").number, "11");
        assert_eq!(left(&other), ["11"], "whoever accepts it goes on there");
        one.admit(&mut page(&["12"], 1), at(NOW)).expect("it is told once");
    }

    #[test]
    fn where_nothing_comes_at_all_it_is_a_gap_as_well() {
        for is_end in [false, true] {
            let mut one = gate(after("9"), None);
            one.place(at(NOW));
            let nothing = || Page { is_end, ..page(&[], 0) };
            for _ in 1..EMPTY_MAX {
                if !is_end {
                    one.admit(&mut nothing(), at(NOW)).expect("it may come still");
                    assert_eq!(one.caught_up_ms(), None);
                }
            }
            let mut nothing = nothing();
            assert_eq!(one.admit(&mut nothing, at(NOW)).expect_err("a gap").next, None);
            assert_eq!(one.caught_up_ms(), (!is_end).then_some(NOW));
        }
    }

    #[test]
    fn a_shard_that_was_read_to_its_end_lately_has_no_gap_where_the_last_record_is_gone() {
        for (hours, is_gap) in [(23, false), (25, true)] {
            let mut one = gate(after("9"), Some(NOW - hours * HOUR));
            one.place(at(NOW));
            let admitted = one.admit(&mut page(&["12"], 1), at(NOW));
            assert_eq!(admitted.is_err(), is_gap, "{hours} h");
        }
        // But what was not read of a record is lost with it.
        let partly = Position::After { sequence_number: "9".into(), sub_sequence: 3, is_whole: false };
        let mut one = gate(partly, Some(NOW - HOUR));
        one.place(at(NOW));
        one.admit(&mut page(&["12"], 1), at(NOW)).expect_err("the rest of 9");
    }

    #[test]
    fn a_record_that_is_wanted_or_was_read_in_part_is_let_through() {
        let partly = Position::After { sequence_number: "9".into(), sub_sequence: 3, is_whole: false };
        for position in [partly, Position::First { sequence_number: "9".into() }] {
            let mut one = gate(position, None);
            assert_eq!(one.place(at(NOW)), Place::At("9"));
            let mut first = page(&["9", "10"], 1);
            one.admit(&mut first, at(NOW)).expect("it came");
            assert_eq!(left(&first), ["9", "10"]);
        }
    }

    #[test]
    fn what_must_be_there_is_missed_when_it_is_older_than_records_are_kept() {
        let oldest = |hours: i64| Position::Oldest { since_ms: NOW - hours * HOUR };
        let time = |hours: i64| Position::Time { at_ms: 7, since_ms: NOW - hours * HOUR };
        for (position, place) in [(oldest(25), Place::Oldest), (time(25), Place::Time(7))] {
            let mut one = gate(position, None);
            assert_eq!(one.place(at(NOW)), place);
            let mut first = page(&["12"], 1);
            one.admit(&mut first, at(NOW)).expect_err("a day has passed");
            assert_eq!(left(&first), ["12"]);
        }
        for (position, caught_up_ms) in [(oldest(23), None), (time(23), None), (oldest(25), Some(NOW - HOUR))]
        {
            let mut one = gate(position, caught_up_ms);
            one.place(at(NOW));
            one.admit(&mut page(&["12"], 1), at(NOW)).expect("it is all there");
        }
    }

    #[test]
    fn a_reader_that_lags_behind_by_as_much_as_is_kept_asks_for_the_last_record_again() {
        let mut one = gate(Position::Oldest { since_ms: NOW }, None);
        one.place(at(NOW));
        one.admit(&mut page(&["10"], 23), at(NOW)).expect("it is there");
        assert!(!one.is_in_doubt(at(NOW)));
        let later = at(NOW + HOUR);
        assert!(one.is_in_doubt(later));
        assert_eq!(one.place(later), Place::At("10"));
        let mut next = page(&["10", "11"], 23);
        one.admit(&mut next, later).expect("it came");
        assert_eq!(left(&next), ["11"]);
        assert_eq!(one.place(at(NOW + 2 * HOUR)), Place::At("11"));
        one.admit(&mut page(&["14"], 22), at(NOW + 2 * HOUR)).expect_err("12 may have been between");
        // One that has nothing to read is in no doubt.
        one.ask(at(NOW + 30 * HOUR));
        one.admit(&mut page(&[], 0), at(NOW + 31 * HOUR)).expect("nothing new");
        assert_eq!(one.caught_up_ms(), Some(NOW + 30 * HOUR), "when it was asked, and not when it was heard");
        assert!(!one.is_in_doubt(at(NOW + 31 * HOUR)));
    }

    #[test]
    fn an_old_record_with_nothing_behind_it_is_asked_for_once() {
        let mut one = gate(after("9"), None);
        one.place(at(NOW));
        one.admit(&mut page(&["9"], 40), at(NOW)).expect("it came");
        assert!(!one.is_in_doubt(at(NOW)), "it came just now");
        // A long time without records.
        one.admit(&mut Page { behind_ms: Some(7), ..Page::default() }, at(NOW)).expect("it goes on");
        assert!(!one.is_in_doubt(at(NOW)));
        // Where a place is needed again, time has passed.
        assert_eq!(one.place(at(NOW)), Place::At("9"));
        one.admit(&mut page(&["9"], 40), at(NOW)).expect("it came");
        one.admit(&mut page(&["10"], 39), at(NOW)).expect("it follows");
        assert!(one.is_in_doubt(at(NOW)), "this one has to be asked for again");
    }

    #[test]
    fn while_a_record_is_awaited_its_place_is_not_sought_again() {
        let mut one = gate(Position::Oldest { since_ms: NOW }, None);
        one.place(at(NOW));
        one.admit(&mut page(&["10"], 24), at(NOW)).expect("it is there");
        assert!(one.is_in_doubt(at(NOW)));
        assert_eq!(one.place(at(NOW)), Place::At("10"));
        // A long time without records, of which each answer covers a part.
        one.admit(&mut Page { behind_ms: Some(7), ..Page::default() }, at(NOW)).expect("it may come still");
        assert!(!one.is_in_doubt(at(NOW)), "it would be sought for ever");
        one.admit(&mut page(&["12"], 1), at(NOW)).expect_err("10 did not come");
    }

    #[test]
    fn what_a_server_sends_again_is_left_out() {
        let mut one = gate(after("9"), None);
        one.place(at(NOW));
        let mut all = page(&["7", "8", "9", "10"], 1);
        one.admit(&mut all, at(NOW)).expect("it came");
        assert_eq!(left(&all), ["10"]);
        let mut again = page(&["8", "9", "10", "11"], 1);
        one.admit(&mut again, at(NOW)).expect("it follows");
        assert_eq!(left(&again), ["11"]);
        let mut again = page(&["8", "9"], 1);
        one.admit(&mut again, at(NOW)).expect("nothing new");
        assert_eq!(left(&again), [""; 0]);
    }
}
