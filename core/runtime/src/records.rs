//! Records with their event times beside them.
//!
//! Records and times are two vectors, so that a stream without event time pays nothing for it, and the vector of a
//! reader can travel to a writer without being copied. Nobody outside this file sees the two apart and can change
//! one of them: a time that drifted to another record would be a window with the wrong records, and nobody would
//! notice.

/// An event time in milliseconds since 1970.
pub(crate) type Millis = i64;

/// Records, each with its event time; or all of them without, where the stream has none.
#[derive(Debug, Clone)]
pub(crate) struct Records<R> {
    records: Vec<R>,
    times: Vec<Millis>,
}

impl<R> Default for Records<R> {
    fn default() -> Self {
        Self { records: Vec::new(), times: Vec::new() }
    }
}

/// Records without event time.
impl<R> From<Vec<R>> for Records<R> {
    fn from(records: Vec<R>) -> Self {
        Self { records, times: Vec::new() }
    }
}

impl<R> Records<R> {
    /// Records and as many times, or none.
    pub(crate) fn new(records: Vec<R>, times: Vec<Millis>) -> Self {
        let records = Self { records, times };
        records.check();
        records
    }

    pub(crate) fn with_capacity(records: usize) -> Self {
        Self { records: Vec::with_capacity(records), times: Vec::new() }
    }

    /// The one place where it is asserted that records and times fit each other.
    fn check(&self) {
        let fits = self.times.is_empty() || self.times.len() == self.records.len();
        assert!(fits, "invariant: all records of a batch have an event time, or none has");
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, R> {
        self.records.iter()
    }

    /// Both, to look at.
    pub(crate) fn parts(&self) -> (&[R], &[Millis]) {
        (&self.records, &self.times)
    }

    /// The records alone.
    pub(crate) fn into_vec(self) -> Vec<R> {
        self.records
    }

    pub(crate) fn push(&mut self, record: R, time: Option<Millis>) {
        self.records.push(record);
        self.times.extend(time);
        self.check();
    }

    /// Adds records that have one time.
    pub(crate) fn extend(&mut self, records: impl IntoIterator<Item = R>, time: Option<Millis>) {
        let before = self.records.len();
        self.records.extend(records);
        if let Some(time) = time {
            self.times.extend(std::iter::repeat_n(time, self.records.len() - before));
        }
        self.check();
    }

    /// Other records: one for each, in their order.
    pub(crate) fn map<B>(self, logic: impl FnMut(R) -> B) -> Records<B> {
        Records::new(self.records.into_iter().map(logic).collect(), self.times)
    }

    /// As [`Records::map`], up to the first error.
    pub(crate) fn try_map<B, E>(self, logic: impl FnMut(R) -> Result<B, E>) -> Result<Records<B>, E> {
        let records = self.records.into_iter().map(logic).collect::<Result<_, E>>()?;
        Ok(Records::new(records, self.times))
    }

    /// Any number of records for each, with its time.
    pub(crate) fn flat_map<I: IntoIterator>(self, mut logic: impl FnMut(R) -> I) -> Records<I::Item> {
        let mut made = Records::with_capacity(self.len());
        for (record, time) in self {
            made.extend(logic(record), time);
        }
        made
    }

    /// Keeps what `keep` wants, and the times of it.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&R) -> bool) {
        if self.times.is_empty() {
            self.records.retain(keep);
            return;
        }
        let times = &mut self.times;
        let (mut seen, mut kept) = (0, 0);
        self.records.retain(|record| {
            let wanted = keep(record);
            if wanted {
                times[kept] = times[seen];
                kept += 1;
            }
            seen += 1;
            wanted
        });
        self.times.truncate(kept);
        self.check();
    }
}

/// Each record with its time.
#[derive(Debug)]
pub(crate) struct Timed<R> {
    records: std::vec::IntoIter<R>,
    times: std::vec::IntoIter<Millis>,
}

impl<R> IntoIterator for Records<R> {
    type Item = (R, Option<Millis>);
    type IntoIter = Timed<R>;

    fn into_iter(self) -> Timed<R> {
        Timed { records: self.records.into_iter(), times: self.times.into_iter() }
    }
}

impl<R> Iterator for Timed<R> {
    type Item = (R, Option<Millis>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.records.next()?, self.times.next()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_with_their_records() {
        let mut records = Records::new(vec![1, 2, 3, 4, 5], vec![10, 20, 30, 40, 50]);
        records.retain(|record| record % 2 == 1);
        let records = records.map(|record| record * 100);
        assert_eq!(records.parts(), (&[100, 300, 500][..], &[10, 30, 50][..]));
        let records = records.flat_map(|record| (0..record / 100 - 1).map(move |number| record + number));
        assert_eq!(records.parts(), (&[300, 301, 500, 501, 502, 503][..], &[30, 30, 50, 50, 50, 50][..]));
    }

    #[test]
    fn records_without_times_have_none() {
        let mut records = Records::from(vec![1, 2, 3]);
        records.retain(|record| *record > 1);
        let timed: Vec<_> = records.flat_map(|record| [record; 2]).into_iter().collect();
        assert_eq!(timed, [(2, None), (2, None), (3, None), (3, None)]);
    }

    #[test]
    #[should_panic(expected = "all records of a batch have an event time, or none has")]
    fn times_that_do_not_fit_cannot_be_given() {
        drop(Records::new(vec![1, 2, 3], vec![10, 20]));
    }

    #[test]
    #[should_panic(expected = "all records of a batch have an event time, or none has")]
    fn a_record_without_a_time_cannot_join_records_with_times() {
        let mut records = Records::new(vec![1], vec![10]);
        records.push(2, None);
    }

    #[test]
    #[should_panic(expected = "all records of a batch have an event time, or none has")]
    fn a_record_with_a_time_cannot_join_records_without_any() {
        let mut records = Records::from(vec![1]);
        records.extend([2, 3], Some(10));
    }
}
