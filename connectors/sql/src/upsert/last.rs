//! Of the changes of each key those that are sent: what a later one replaces entirely nobody can ever see.
//!
//! A change is replaced by the next of its key that is newer, and sets all columns that it sets. Then it makes no difference to the
//! row: where the later one is written, every column of the earlier one is set anew; where something newer is there, neither is
//! written. An update counts as what it is: it needs its row, so what stands before it is sent, and the update itself too.
//!
//! Two keys that the database takes for equal, such as `a` and `A` by some orders of letters, are two keys here: their changes stay
//! in their order, and what is left out of the one still makes no difference to the row.

use std::collections::HashMap;

use super::plan::Upserts;
use super::statement::{is_newer, is_update};
use crate::batch::key_text;
use crate::change::StoredChange;

/// The changes that are sent, in their order.
pub(super) fn last_states(upserts: &Upserts, changes: &[StoredChange]) -> Vec<StoredChange> {
    let mut of_keys: HashMap<Option<String>, Vec<usize>> = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        let key = key_text(&upserts.shape.key, change);
        let is_known = key.is_some();
        let sent = of_keys.entry(key).or_default();
        while is_known && sent.last().is_some_and(|before| replaces(upserts, change, &changes[*before])) {
            sent.pop();
        }
        sent.push(at);
    }
    let mut sent: Vec<usize> = of_keys.into_values().flatten().collect();
    sent.sort_unstable();
    sent.into_iter().map(|at| changes[at].clone()).collect()
}

/// Whether nothing is left of a change where this one of the same key follows it.
fn replaces(upserts: &Upserts, change: &StoredChange, before: &StoredChange) -> bool {
    !is_update(change)
        && !is_update(before)
        && is_newer(&upserts.version_of(&change.row), &upserts.version_of(&before.row))
        && before.row.0.iter().all(|(name, _)| change.row.get(name).is_some())
}
