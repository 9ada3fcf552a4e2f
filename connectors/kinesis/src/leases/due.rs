//! Which leases are to be written, and which ends may be told. No I/O.
//!
//! A shard that has ended says so as long as its end is known to discovery. Without that row KCL would read the shard again; with it before the end is durable, KCL would
//! leave out what a crash takes back. What is durable is told as the shards that are being read still, so that an end is durable follows: see [`Due::ends`].

use std::collections::{BTreeMap, BTreeSet};

use super::progress::Progress;

/// What was told, and what was written.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Shards that have ended, also those whose end no entry has yet.
    ended: BTreeMap<String, Progress>,
    /// Shards that a durable entry has: what ended of them, and is not read any more, has its end in it.
    proven: BTreeSet<String>,
    /// Whether it was told before what has ended.
    is_told: bool,
    /// What the rows say.
    written: BTreeMap<String, Progress>,
}

impl Due {
    /// Tells which shards have ended, as discovery knows them.
    pub(super) fn ended(&mut self, ended: impl IntoIterator<Item = Progress>) {
        self.ended = ended.into_iter().map(|shard| (shard.key(), shard)).collect();
        if !std::mem::replace(&mut self.is_told, true) {
            // The first time it is what the job was restored from.
            self.proven = self.ended.keys().cloned().collect();
        }
    }

    /// Tells that a durable entry has these shards.
    pub(super) fn has(&mut self, shards: &[Progress]) {
        self.proven.extend(shards.iter().map(Progress::key));
    }

    /// A row was written.
    pub(super) fn wrote(&mut self, key: String, shard: Progress) {
        self.written.insert(key, shard);
    }

    /// The rows that are to be written, by their keys, when all of this is durable.
    pub(super) fn rows(&mut self, durable: Vec<Progress>) -> BTreeMap<String, Progress> {
        let mut due: BTreeMap<String, Progress> =
            durable.into_iter().map(|shard| (shard.key(), shard)).collect();
        due.extend(self.ends(&due));
        self.proven.retain(|key| due.contains_key(key) || self.ended.contains_key(key));
        self.written.retain(|key, _| due.contains_key(key));
        due.retain(|key, shard| self.written.get(key) != Some(shard));
        due
    }

    /// The shards whose end is durable: none that is being read still, and each either was in an entry before, or goes on from one whose end is durable. Children
    /// enter the log with the end of what they go on from, so what is not read any more of those has ended there, too.
    fn ends(&mut self, durable: &BTreeMap<String, Progress>) -> BTreeMap<String, Progress> {
        let mut ends: BTreeMap<String, Progress> = BTreeMap::new();
        loop {
            let before = ends.len();
            for (key, shard) in &self.ended {
                if durable.contains_key(key) || ends.contains_key(key) {
                    continue;
                }
                let parents = shard.parents.iter().map(|parent| shard.key_of(parent));
                let mut parents = parents.filter(|parent| self.ended.contains_key(parent)).peekable();
                let follows = parents.peek().is_some() && parents.all(|parent| ends.contains_key(&parent));
                if self.proven.contains(key) || follows {
                    ends.insert(key.clone(), shard.clone());
                }
            }
            if ends.len() == before {
                self.proven.extend(ends.keys().cloned());
                return ends;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::Checkpoint;
    use super::*;

    fn progress(shard: &str, checkpoint: Checkpoint) -> Progress {
        Progress {
            stream: None,
            from: "flights@7".into(),
            shard: shard.into(),
            parents: Vec::new(),
            children: Vec::new(),
            hash_range: ("0".into(), "1".into()),
            checkpoint,
        }
    }

    fn after(number: &str) -> Checkpoint {
        Checkpoint::After { sequence_number: number.into(), sub_sequence: 0 }
    }

    /// What is written of this checkpoint.
    fn due(state: &mut Due, durable: &[Progress]) -> Vec<String> {
        state.has(durable);
        let due = state.rows(durable.to_vec());
        let shown = due.iter().map(|(key, progress)| format!("{key}@{}", progress.checkpoint)).collect();
        due.into_iter().for_each(|(key, progress)| state.wrote(key, progress));
        shown
    }

    fn told(state: &mut Due, ended: &[Progress]) {
        state.is_told = true;
        state.ended(ended.to_vec());
    }

    #[test]
    fn a_row_is_written_when_it_says_something_else() {
        let mut state = Due::default();
        let (a, b) = (progress("a", after("1")), progress("b", Checkpoint::TrimHorizon));
        assert_eq!(due(&mut state, &[a.clone(), b.clone()]), ["a@1", "b@TRIM_HORIZON"]);
        assert_eq!(due(&mut state, &[a.clone(), b.clone()]), [""; 0]);
        assert_eq!(due(&mut state, &[progress("a", after("2")), b.clone()]), ["a@2"]);
        // A rollback.
        assert_eq!(due(&mut state, &[a, b]), ["a@1"]);
    }

    #[test]
    fn an_end_is_not_said_before_it_is_durable() {
        let mut state = Due::default();
        let a = progress("a", after("1"));
        let child = |shard: &str, parent: &str, checkpoint| Progress {
            parents: vec![parent.into()],
            ..progress(shard, checkpoint)
        };
        let end = || progress("a", Checkpoint::ShardEnd);
        let b = |checkpoint| child("b", "a", checkpoint);
        assert_eq!(due(&mut state, std::slice::from_ref(&a)), ["a@1"]);
        // All of a was read, then all of b, and no entry has either.
        told(&mut state, &[end(), b(Checkpoint::ShardEnd)]);
        assert_eq!(due(&mut state, std::slice::from_ref(&a)), [""; 0]);
        // The entry with the end of a has b in it, and c, which was read to its end meanwhile, is in none.
        told(&mut state, &[end(), b(Checkpoint::ShardEnd), child("c", "b", Checkpoint::ShardEnd)]);
        assert_eq!(due(&mut state, &[b(after("2"))]), ["a@SHARD_END", "b@2"]);
        let d = child("d", "c", Checkpoint::TrimHorizon);
        assert_eq!(
            due(&mut state, std::slice::from_ref(&d)),
            ["b@SHARD_END", "c@SHARD_END", "d@TRIM_HORIZON"]
        );
        // Nobody knows of a shard without a parent whether an entry has it, until one had it.
        told(&mut state, &[progress("e", Checkpoint::ShardEnd)]);
        assert_eq!(due(&mut state, std::slice::from_ref(&d)), [""; 0]);
        assert_eq!(due(&mut state, &[d.clone(), progress("e", after("3"))]), ["e@3"]);
        assert_eq!(due(&mut state, &[d]), ["e@SHARD_END"]);
    }

    #[test]
    fn what_was_merged_has_ended_when_both_before_it_have() {
        let mut state = Due::default();
        let (a, b) = (progress("a", after("1")), progress("b", after("1")));
        assert_eq!(due(&mut state, &[a, b.clone()]), ["a@1", "b@1"]);
        let merged =
            Progress { parents: vec!["a".into(), "b".into()], ..progress("c", Checkpoint::ShardEnd) };
        let end = |shard: &str| progress(shard, Checkpoint::ShardEnd);
        told(&mut state, &[end("a"), end("b"), merged]);
        assert_eq!(due(&mut state, &[b]), ["a@SHARD_END"]);
        assert_eq!(due(&mut state, &[]), ["b@SHARD_END", "c@SHARD_END"]);
    }
}
