//! How many rows one call asks for.
//!
//! A gateway gathers all rows of an answer, whatever their size, before it gives the first byte of it, and no setting of it
//! bounds the bytes. So the number follows from the largest row that came lately.

/// So many are asked for while nobody knows how large they are.
const ROWS_FIRST: usize = 64;

/// How much more or less is asked for from one call to the next.
const STEP: usize = 4;

/// Rows for each call.
#[derive(Debug)]
pub(super) struct CallSize {
    rows_max: usize,
    bytes_max: usize,
    rows: usize,
}

impl CallSize {
    pub(super) fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self { rows_max, bytes_max, rows: ROWS_FIRST.min(rows_max) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows came, the largest of so many bytes. Others like it would fill an answer; smaller ones are trusted step by step.
    pub(super) fn came(&mut self, largest: usize) {
        let fitting = (self.bytes_max / largest.max(1)).clamp(1, self.rows_max);
        self.rows = fitting.min(self.rows.saturating_mul(STEP));
    }

    /// No answer came, or one that was too large.
    pub(super) fn failed(&mut self) {
        self.rows = (self.rows / STEP).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_rows_come_in_small_answers_and_small_ones_in_large_ones_again() {
        let mut size = CallSize::new(1_000, 1_000_000);
        for expected in [64, 256, 1_000, 1_000] {
            assert_eq!(size.rows(), expected);
            size.came(100);
        }
        size.came(10_000);
        assert_eq!(size.rows(), 100);
        size.came(5_000_000);
        assert_eq!(size.rows(), 1, "one row is asked for, however large it is");
        size.came(100);
        assert_eq!(size.rows(), 4);
        size.came(0);
        assert_eq!(size.rows(), 16);
        assert_eq!(CallSize::new(10, 1_000).rows(), 10);
    }

    #[test]
    fn what_does_not_answer_is_asked_for_less() {
        let mut size = CallSize::new(1_000, 1_000_000);
        for expected in [16, 4, 1, 1] {
            size.failed();
            assert_eq!(size.rows(), expected);
        }
    }
}
