//! The ledger: says whether every input arrived exactly once and in order.
//!
//! It knows nothing of sources, sinks or jobs. Whoever tests says what went in and what a normal
//! reader sees at the end; the ledger compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One input record, named by its split and its place within it, counted from 0.
///
/// ```
/// # use tidelock_testkit::oracle::Input;
/// assert_eq!("p0:17".parse(), Ok(Input::new("p0", 17)));
/// assert_eq!(Input::new("p0", 17).to_string(), "p0:17");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// The split that it is in.
    pub split: String,
    /// Its place in the split.
    pub place: u64,
}

impl Input {
    /// Names one input record.
    pub fn new(split: impl Into<String>, place: u64) -> Self {
        Self { split: split.into(), place }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.split, self.place)
    }
}

/// The text is not the `Display` form of an [`Input`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnInput;

impl fmt::Display for NotAnInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an input: it has the form split:place")
    }
}

impl std::error::Error for NotAnInput {}

impl FromStr for Input {
    type Err = NotAnInput;

    fn from_str(text: &str) -> Result<Self, NotAnInput> {
        let (split, place) = text.rsplit_once(':').ok_or(NotAnInput)?;
        Ok(Self::new(split, place.parse().map_err(|_| NotAnInput)?))
    }
}

/// One way in which what is visible differs from what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// An input never became visible.
    Lost(Input),
    /// An input is visible more than once.
    Doubled(Input, u64),
    /// Something is visible that was never put in.
    Invented(Input),
    /// An input is visible after one that follows it in its split.
    OutOfOrder {
        /// The input that came too late.
        input: Input,
        /// The place that was visible before it.
        after: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(input) => write!(f, "{input} is lost"),
            Self::Doubled(input, times) => write!(f, "{input} is visible {times} times"),
            Self::Invented(input) => write!(f, "{input} was never put in"),
            Self::OutOfOrder { input, after } => write!(f, "{input} is visible after place {after}"),
        }
    }
}

/// What went in: how many records each split has.
///
/// ```
/// use tidelock_testkit::oracle::{Input, Ledger, Violation};
///
/// let mut ledger = Ledger::new();
/// ledger.expect("p0", 2);
/// let seen = [Input::new("p0", 0), Input::new("p0", 0)];
/// assert_eq!(
///     ledger.audit(&seen),
///     vec![Violation::Lost(Input::new("p0", 1)), Violation::Doubled(Input::new("p0", 0), 2)]
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    splits: BTreeMap<String, u64>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that `split` has `records` records in all, at the places `0..records`.
    pub fn expect(&mut self, split: impl Into<String>, records: u64) {
        self.splits.insert(split.into(), records);
    }

    /// How many records went in.
    pub fn total(&self) -> u64 {
        self.splits.values().sum()
    }

    /// Every input exactly once, in any order. Returns what is wrong, smallest first; nothing where
    /// all is right.
    pub fn audit_unordered(&self, visible: &[Input]) -> Vec<Violation> {
        let mut times: BTreeMap<&Input, u64> = BTreeMap::new();
        for input in visible {
            *times.entry(input).or_default() += 1;
        }
        let mut wrong = BTreeSet::new();
        for (split, records) in &self.splits {
            for place in 0..*records {
                let input = Input::new(split, place);
                if !times.contains_key(&input) {
                    wrong.insert(Violation::Lost(input));
                }
            }
        }
        for (input, times) in times {
            if self.splits.get(&input.split).is_none_or(|records| input.place >= *records) {
                wrong.insert(Violation::Invented(input.clone()));
            } else if times > 1 {
                wrong.insert(Violation::Doubled(input.clone(), times));
            }
        }
        wrong.into_iter().collect()
    }

    /// Every input exactly once, and those of a split in their order: `visible` is what one reader
    /// sees, in the order in which it sees it.
    pub fn audit(&self, visible: &[Input]) -> Vec<Violation> {
        let mut wrong = self.audit_unordered(visible);
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for input in visible {
            let newest = newest.entry(&input.split).or_insert(input.place);
            if input.place < *newest {
                wrong.push(Violation::OutOfOrder { input: input.clone(), after: *newest });
            }
            *newest = input.place.max(*newest);
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(places: &[u64]) -> Vec<Input> {
        places.iter().map(|place| Input::new("a", *place)).collect()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new();
        ledger.expect("a", 3);
        ledger
    }

    #[test]
    fn all_once_and_in_order_is_right() {
        assert_eq!(ledger().audit(&inputs(&[0, 1, 2])), vec![]);
        assert_eq!(ledger().total(), 3);
    }

    #[test]
    fn a_lost_input_is_named() {
        assert_eq!(ledger().audit(&inputs(&[0, 2])), vec![Violation::Lost(Input::new("a", 1))]);
    }

    #[test]
    fn a_doubled_input_is_named() {
        assert_eq!(ledger().audit(&inputs(&[0, 1, 1, 2])), vec![Violation::Doubled(Input::new("a", 1), 2)]);
    }

    #[test]
    fn an_invented_input_is_named() {
        assert_eq!(ledger().audit(&inputs(&[0, 1, 2, 3])), vec![Violation::Invented(Input::new("a", 3))]);
        let other = ledger().audit(&[inputs(&[0, 1, 2]), vec![Input::new("b", 0)]].concat());
        assert_eq!(other, vec![Violation::Invented(Input::new("b", 0))]);
    }

    #[test]
    fn disorder_is_named_and_allowed_where_no_order_is_promised() {
        let seen = inputs(&[0, 2, 1]);
        assert_eq!(
            ledger().audit(&seen),
            vec![Violation::OutOfOrder { input: Input::new("a", 1), after: 2 }]
        );
        assert_eq!(ledger().audit_unordered(&seen), vec![]);
    }
}
