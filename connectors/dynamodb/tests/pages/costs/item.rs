//! Items of known sizes.

use tidelock_dynamodb::{Item, item_bytes};

/// The sizes of the page, names and key included, before the sink adds anything.
pub(crate) const SIZES: [usize; 3] = [100, 1_024, 4_096];

pub(crate) fn key(at: usize) -> Item {
    [("pk".to_owned(), format!("k{at:03}").into())].into()
}

/// An item of so many bytes, with a counter that is one.
pub(crate) fn item(at: usize, bytes: usize) -> Item {
    let mut item = key(at);
    item.insert("n".to_owned(), 1.into());
    let left = bytes - item_bytes(&item) - "value".len();
    item.insert("value".to_owned(), "x".repeat(left).into());
    assert_eq!(item_bytes(&item), bytes);
    item
}
