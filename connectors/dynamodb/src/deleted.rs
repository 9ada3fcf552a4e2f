//! Items that the sink's mode `versioned` deleted. They are in the table, so that what is older does not bring them back, and to readers they are not there.

use tidelock::Result;

use crate::error::setting;
use crate::item::Item;
use crate::value::{Value, is_name};

/// The attribute that marks them, unless a setting names another one.
pub(crate) fn default_deleted_attribute() -> String {
    "tidelock_deleted".into()
}

/// How a reader knows them. Without a mark it takes them for items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deleted {
    mark: Option<String>,
}

impl Deleted {
    /// By this setting, which may be empty.
    pub(crate) fn by(deleted_attribute: &str) -> Self {
        Self { mark: Some(deleted_attribute).filter(|mark| !mark.is_empty()).map(str::to_owned) }
    }

    /// The attribute that must be read to know.
    pub(crate) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// Whether the item was deleted. Somebody else's may have the attribute with another value, and was not.
    pub(crate) fn is(&self, item: &Item) -> bool {
        self.mark.as_ref().is_some_and(|mark| item.get(mark) == Some(&Value::Bool(true)))
    }
}

/// Checks the setting of a reader.
///
/// # Errors
/// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming it.
pub(crate) fn check(deleted_attribute: &str) -> Result<()> {
    if deleted_attribute.is_empty() || is_name(deleted_attribute) {
        return Ok(());
    }
    let why =
        "the name of an attribute has up to 65,535 bytes; an empty one gives deleted items like any other";
    Err(setting("deleted_attribute", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_deleted_by_its_mark_alone_and_without_one_none_is() {
        let item =
            |value| Item::from([("pk".to_owned(), "a".into()), ("tidelock_deleted".to_owned(), value)]);
        let ours = Deleted::by(&default_deleted_attribute());
        assert!(ours.is(&item(true.into())));
        for other in [Value::from(false), "true".into(), Value::Null] {
            assert!(!ours.is(&item(other)));
        }
        assert!(!ours.is(&Item::new()) && !Deleted::by("gone").is(&item(true.into())));
        assert!(!Deleted::by("").is(&item(true.into())) && Deleted::by("").mark().is_none());
        check("").expect("none");
        assert!(check(&"x".repeat(65_536)).is_err());
    }
}
