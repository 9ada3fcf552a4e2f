//! Whether what a reader sees at one moment can be right.

/// So many wrong things are enough to understand.
const WRONG_MAX: usize = 10;

/// Rows of an epoch of another writer come later: among so many of the latest some may be missing.
const UNDER_WAY: u64 = 20_000;

/// What one statement saw: rows above a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Generation and epoch in the ledger.
    pub(crate) version: (u64, u64),
    pub(crate) count: u64,
    pub(crate) distinct: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) sum: u64,
}

/// How rows become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of an epoch at once, with its number in the ledger: what is visible are the rows up to a number, and another number comes
    /// with another epoch.
    ByEpoch,
    /// The same without a ledger: there is one writer.
    OneWriter,
    /// Those of each writer at once: each once at any time, and all of them in the end.
    ByWriter,
}

/// What was seen so far, and what of it is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Checker {
    sight: Sight,
    /// Rows up to this one were seen, and are not looked at again.
    from: u64,
    /// The greatest that was seen.
    newest: u64,
    /// The epoch in the ledger when it was.
    version: (u64, u64),
    wrong: Vec<String>,
    pub(crate) looks: u64,
}

impl Checker {
    pub(crate) fn new(sight: Sight) -> Self {
        Self { sight, from: 0, newest: 0, version: (0, 0), wrong: Vec::new(), looks: 0 }
    }

    /// Above which number to look.
    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    /// Up to which number rows are visible.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    fn complain(&mut self, what: &str, look: Look) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(format!("{what}: {look:?} above {}, at {:?} before", self.from, self.version));
        }
    }

    pub(crate) fn see(&mut self, look: Look) {
        self.looks += 1;
        let max = if look.count == 0 { self.from } else { look.max };
        if look.distinct != look.count {
            self.complain("doubled", look);
        }
        if max < self.newest {
            self.complain("gone", look);
        }
        if self.sight == Sight::ByWriter {
            self.newest = self.newest.max(max);
            self.from = self.from.max(self.newest.saturating_sub(UNDER_WAY));
            return;
        }
        let rows = max - self.from;
        let sum = (self.from + 1..=max).sum::<u64>();
        if (look.count, look.sum) != (rows, sum) {
            self.complain("lost", look);
        }
        let is_another = look.version > self.version || max == self.newest;
        if self.sight == Sight::ByEpoch && (look.version < self.version || !is_another) {
            self.complain("a part of an epoch", look);
        }
        (self.from, self.newest, self.version) = (max, max, look.version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(version: u64, numbers: &[u64]) -> Look {
        let mut distinct = numbers.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        Look {
            version: (1, version),
            count: numbers.len() as u64,
            distinct: distinct.len() as u64,
            min: distinct.first().copied().unwrap_or_default(),
            max: distinct.last().copied().unwrap_or_default(),
            sum: numbers.iter().sum(),
        }
    }

    fn found(sight: Sight, looks: &[Look]) -> Option<String> {
        let mut checker = Checker::new(sight);
        looks.iter().for_each(|look| checker.see(*look));
        let wrong = checker.wrong().first()?;
        wrong.split(':').next().map(str::to_owned)
    }

    #[test]
    fn what_is_lost_doubled_or_a_part_of_an_epoch_is_wrong() {
        for (looks, wrong) in [
            (vec![look(0, &[]), look(1, &[1, 2]), look(2, &[]), look(3, &[3])], None),
            (vec![look(1, &[1, 3])], Some("lost")),
            (vec![look(1, &[2, 3])], Some("lost")),
            (vec![look(1, &[1, 1])], Some("doubled")),
            (vec![look(1, &[1, 2]), look(1, &[3])], Some("a part of an epoch")),
            (vec![look(2, &[1, 2]), look(1, &[3])], Some("a part of an epoch")),
        ] {
            assert_eq!(found(Sight::ByEpoch, &looks).as_deref(), wrong, "{looks:?}");
        }
    }

    #[test]
    fn without_a_ledger_rows_up_to_a_number_are_right() {
        assert_eq!(found(Sight::OneWriter, &[look(0, &[1, 2]), look(0, &[3])]), None);
        assert_eq!(found(Sight::OneWriter, &[look(0, &[1, 2]), look(0, &[4])]).as_deref(), Some("lost"));
    }

    #[test]
    fn rows_of_one_writer_may_come_before_those_of_another_and_never_twice() {
        assert_eq!(found(Sight::ByWriter, &[look(0, &[1, 3]), look(0, &[1, 2, 3])]), None);
        assert_eq!(found(Sight::ByWriter, &[look(0, &[1, 3, 3])]).as_deref(), Some("doubled"));
        assert_eq!(found(Sight::ByWriter, &[look(0, &[1, 3]), look(0, &[1])]).as_deref(), Some("gone"));
    }
}
