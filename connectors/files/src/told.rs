//! What a listing leaves out or finds changed is counted and logged, once for each process: no input is passed
//! over without a word.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Why something is not read, or not as a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Why {
    /// Its name is hidden, and the glob would take it.
    Hidden,
    /// It is a link to a folder.
    LinkedFolder,
    /// It is a link to a folder above it.
    Ring,
    /// It is neither a file nor a folder, or a link to nothing.
    NoFile,
    /// It was read under another name.
    Moved,
    /// It was read, and is another file now.
    Replaced,
    /// It was read, and was appended to.
    Grown,
    /// The user gave it up by name.
    Dropped,
}

impl Why {
    /// How metrics call it.
    fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::LinkedFolder => "linked_folder",
            Self::Ring => "ring",
            Self::NoFile => "no_file",
            Self::Moved => "moved",
            Self::Replaced => "replaced",
            Self::Grown => "grown",
            Self::Dropped => "dropped",
        }
    }

    /// What people are told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Hidden => "a hidden name is passed over: it begins with . or _, or is lost+found",
            Self::LinkedFolder => "a link to a folder is passed over: follow_links reads what is in it",
            Self::Ring => "a link to a folder above it is passed over",
            Self::NoFile => "what is neither a file nor a folder is passed over",
            Self::Moved => "a file that was read has another name now: it is not read again",
            Self::Replaced => {
                "a file that was read to its end is another one now: on_changed_file says what to do"
            }
            Self::Grown => "a file that was read to its end was appended to: what was added is not read",
            Self::Dropped => "a file that drop_splits names is passed over",
        }
    }

    /// Hidden names and moved files are in the order of things; the others may be a mistake.
    fn is_usual(self) -> bool {
        matches!(self, Self::Hidden | Self::Moved)
    }
}

/// Something that is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Notice {
    /// Its path below the folder.
    pub(crate) path: String,
    pub(crate) why: Why,
}

/// What was told already.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeSet<Notice>>);

impl Told {
    /// Tells what is new among the notices of one listing, and returns that. What is no longer among them is
    /// forgotten, so that this is no larger than a listing.
    pub(crate) fn tell(&self, folder: &str, notices: Vec<Notice>) -> Vec<Notice> {
        let notices: BTreeSet<_> = notices.into_iter().collect();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = notices.difference(&told).cloned().collect();
        *told = notices;
        drop(told);
        for Notice { path, why } in &new {
            metrics::counter!("tidelock_files_passed_over_total", "reason" => why.name()).increment(1);
            if why.is_usual() {
                tracing::info!(folder, path, "{}", why.text());
            } else {
                tracing::warn!(folder, path, "{}", why.text());
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_told_once_as_long_as_it_is_there() {
        let told = Told::default();
        let notice = |path: &str, why| Notice { path: path.into(), why };
        let first = vec![notice("b", Why::Hidden), notice("a", Why::Replaced)];
        assert_eq!(told.tell("in", first.clone()).len(), 2);
        assert!(told.tell("in", first.clone()).is_empty());
        let another = notice("a", Why::Grown);
        assert_eq!(told.tell("in", vec![another.clone(), first[0].clone()]), [another]);
        assert!(told.tell("in", Vec::new()).is_empty());
        assert_eq!(told.tell("in", first).len(), 2, "it was gone, and came back");
    }
}
