//! Which of many changes cannot be: what fails together is tried in halves, until a change fails by itself.

use std::ops::Range;
use std::vec::IntoIter;

/// Ranges of changes to try, in the order of the changes.
pub(crate) struct Halves {
    /// What was given and not yet tried.
    whole: IntoIter<Range<usize>>,
    /// Of what failed, the next piece last.
    pieces: Vec<Range<usize>>,
}

impl Halves {
    pub(crate) fn of(whole: Vec<Range<usize>>) -> Self {
        Self { whole: whole.into_iter(), pieces: Vec::new() }
    }

    /// The range that is tried next.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.pieces.pop().or_else(|| self.whole.next())
    }

    /// A range failed, and nothing of it was written. Gives its change where it has no more than one; else its halves are next, the
    /// first one first, so that a change which needs one before it finds it.
    pub(crate) fn failed(&mut self, range: Range<usize>) -> Option<usize> {
        if range.len() <= 1 {
            return Some(range.start);
        }
        let middle = range.start + range.len() / 2;
        self.pieces.extend([middle..range.end, range.start..middle]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_found_and_all_else_is_done_in_order() {
        for bad in [vec![], vec![0], vec![3, 4, 9], (0..10).collect::<Vec<_>>()] {
            let (mut done, mut refused) = (Vec::new(), Vec::new());
            let mut left = Halves::of(vec![0..4, 4..5, 5..10]);
            while let Some(range) = left.next() {
                match range.clone().any(|at| bad.contains(&at)) {
                    true => refused.extend(left.failed(range)),
                    false => done.extend(range),
                }
            }
            assert_eq!(refused, bad);
            assert_eq!(done, (0..10).filter(|at| !bad.contains(at)).collect::<Vec<_>>());
        }
    }
}
