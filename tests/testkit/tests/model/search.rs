//! Breadth first through everything that can happen, so that the trace of a violation is a shortest one.
//!
//! Why not the crate `stateright`: the property that matters most beside safety is that from every
//! state *some* path leads to the good end. It is a question about the whole graph, asked backwards
//! from the good ends; stateright has no such property (its `eventually` follows single paths and gives up
//! at joins and cycles). With a pure machine that is `Clone + Eq + Hash`, the search is this file.
//!
//! States are told apart by 64 bits of a hash. With 10 million states the chance that two share one is
//! below 1 in 300,000: accepted, because each scope is explored anew at every change of the code.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use super::marks::Marks;
use super::scope::Scope;
use super::world::{Step, Violation, World};

/// More than any scope needs: a scope that grows beyond it must be made smaller on purpose.
const STATES_MAX: usize = 60_000_000;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    Seen(Violation),
    /// No path leads from here to a good end.
    Stuck,
}

/// What an exploration found.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) depth: usize,
    pub(crate) marks: Marks,
    pub(crate) took: Duration,
    /// What is wrong, with the steps that lead there.
    pub(crate) wrong: Option<(Wrong, Vec<Step>)>,
}

struct Search<'a> {
    scope: &'a Scope,
    seen: HashMap<u64, u32>,
    /// By state: where it was first come from, and by which of the steps there.
    parents: Vec<(u32, u16)>,
    good: Vec<u32>,
    edges: Vec<(u32, u32)>,
    marks: Marks,
}

/// Folds a 64-by-64-bit product over the words: most of the time of a search goes into hashing, and the
/// standard hasher, made against attackers, takes three times as long.
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        let wide = u128::from(self.0) * 0x9e37_79b9_7f4a_7c15;
        (wide ^ (wide >> 64)) as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15;
        self.0 = ((wide >> 64) as u64).rotate_left(23).wrapping_add(wide as u64);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = Folded(0);
    world.hash(&mut hasher);
    hasher.finish()
}

/// Explores a scope to its end, or to the first violation.
#[allow(clippy::disallowed_methods)] // Only shown to people.
pub(crate) fn explore(scope: &Scope) -> Found {
    let began = Instant::now();
    let first = World::new(scope);
    let mut search = Search {
        scope,
        seen: HashMap::from([(fingerprint(&first), 0)]),
        parents: vec![(0, 0)],
        good: Vec::new(),
        edges: Vec::new(),
        marks: Marks::new(),
    };
    let mut layer = vec![(0, first)];
    let mut depth = 0;
    let mut wrong = None;
    while !layer.is_empty() && wrong.is_none() {
        let mut next = Vec::new();
        wrong = search.expand(layer, &mut next);
        depth += usize::from(!next.is_empty());
        layer = next;
    }
    let wrong = wrong.or_else(|| search.stuck().map(|at| (Wrong::Stuck, search.trace(at, None))));
    Found {
        states: search.parents.len(),
        transitions: search.edges.len(),
        depth,
        marks: search.marks,
        took: began.elapsed(),
        wrong,
    }
}

impl Search<'_> {
    fn expand(
        &mut self,
        layer: Vec<(u32, World)>,
        next: &mut Vec<(u32, World)>,
    ) -> Option<(Wrong, Vec<Step>)> {
        let mut steps = Vec::new();
        for (at, world) in layer {
            if world.is_good_end() {
                self.good.push(at);
            }
            world.steps(self.scope, &mut steps);
            for (index, step) in steps.iter().enumerate() {
                let mut after = world.clone();
                match after.take(step, self.scope, &mut self.marks) {
                    Err(violation) => {
                        return Some((Wrong::Seen(violation), self.trace(at, Some(step.clone()))));
                    }
                    Ok(false) => continue,
                    Ok(true) => {}
                }
                let new = self.parents.len() as u32;
                let state = match self.seen.entry(fingerprint(&after)) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(vacant) => {
                        vacant.insert(new);
                        self.parents.push((at, index as u16));
                        next.push((new, after));
                        new
                    }
                };
                self.edges.push((at, state));
            }
            assert!(self.parents.len() < STATES_MAX, "{}: too many states", self.scope.name);
        }
        None
    }

    /// The first state from which no good end can be reached.
    fn stuck(&self) -> Option<u32> {
        // Predecessors of state s: sources[starts[s]..starts[s + 1]].
        let mut starts = vec![0_u32; self.parents.len() + 1];
        self.edges.iter().for_each(|(_, to)| starts[*to as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut filled = starts.clone();
        let mut sources = vec![0_u32; self.edges.len()];
        for (from, to) in &self.edges {
            let place = &mut filled[*to as usize];
            sources[*place as usize] = *from;
            *place += 1;
        }
        let mut reaches = vec![false; self.parents.len()];
        let mut open = self.good.clone();
        open.iter().for_each(|at| reaches[*at as usize] = true);
        while let Some(at) = open.pop() {
            let at = at as usize;
            for from in &sources[starts[at] as usize..starts[at + 1] as usize] {
                if !reaches[*from as usize] {
                    reaches[*from as usize] = true;
                    open.push(*from);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches).map(|at| at as u32)
    }

    /// The steps from the beginning to a state, by going there again.
    fn trace(&self, mut at: u32, then: Option<Step>) -> Vec<Step> {
        let mut indices = Vec::new();
        while at != 0 {
            let (parent, index) = self.parents[at as usize];
            indices.push(index);
            at = parent;
        }
        let (mut world, mut steps, mut trace) = (World::new(self.scope), Vec::new(), Vec::new());
        for index in indices.into_iter().rev() {
            world.steps(self.scope, &mut steps);
            let step = steps.swap_remove(index as usize);
            let _ = world.take(&step, self.scope, &mut Marks::new());
            trace.push(step);
        }
        trace.extend(then);
        trace
    }
}
