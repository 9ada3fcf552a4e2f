//! What items hold on the heap.

use crate::item::{Item, item_bytes};

/// An attribute in its map: a name, a value, and the places of both.
const ATTRIBUTE: usize = 96;

/// About what an item takes of the memory.
pub(super) fn heap_bytes(item: &Item) -> u64 {
    (item_bytes(item) + ATTRIBUTE * item.len()) as u64
}
