//! Which files of a folder are read, by their names alone, and which folders need not be looked into.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use tidelock::Result;

use crate::error::setting;

/// Which files of a folder are read.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    glob: GlobMatcher,
    /// What the folders on the way to a match are called, level by level.
    levels: Levels,
}

/// What a glob says about folders.
#[derive(Debug, Clone)]
struct Levels {
    folders: Vec<GlobMatcher>,
    /// Below these levels, any folder may hold a match.
    open: bool,
}

impl Selection {
    /// Compiles a glob.
    pub(crate) fn new(glob: &str) -> Result<Self> {
        let compiled = compile(glob).map_err(|error| setting("glob", error.to_string()).because(error))?;
        Ok(Self { glob: compiled, levels: Levels::of(glob) })
    }

    /// Whether a file is read, by its name below the folder.
    pub(crate) fn takes(&self, name: &str) -> bool {
        !name.split('/').any(is_hidden) && self.takes_hidden(name)
    }

    /// The same, were no name hidden. The name of a local file need not be UTF-8.
    pub(crate) fn takes_hidden(&self, name: impl AsRef<Path>) -> bool {
        self.glob.is_match(name)
    }

    /// Whether a folder, by its name below the folder, can hold something that is taken.
    pub(crate) fn looks_into(&self, folder: &str) -> bool {
        self.levels.lead_into(folder)
    }
}

impl Levels {
    fn of(glob: &str) -> Self {
        let everything = Self { folders: Vec::new(), open: true };
        let parts: Vec<_> = glob.split('/').collect();
        let mut folders = Vec::new();
        for part in &parts[..parts.len() - 1] {
            if part.contains("**") {
                return Self { folders, open: true };
            }
            // A part that is no glob by itself: braces that stand around a slash. Then every folder counts.
            let Ok(level) = compile(part) else { return everything };
            folders.push(level);
        }
        let last = parts.last().copied().unwrap_or_default();
        if compile(last).is_err() {
            return everything;
        }
        Self { folders, open: last.contains("**") }
    }

    fn lead_into(&self, folder: &str) -> bool {
        let mut levels = self.folders.iter();
        folder.split('/').all(|part| levels.next().map_or(self.open, |level| level.is_match(part)))
    }
}

fn compile(glob: &str) -> Result<GlobMatcher, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).build().map(|glob| glob.compile_matcher())
}

/// Names that readers of a folder pass over by an old convention: files in progress, metadata, and what a file
/// system's repair found.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_']) || name == "lost+found"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_takes_what_it_says_and_never_what_is_hidden() {
        let takes = |glob: &str, name: &str| Selection::new(glob).unwrap().takes(name);
        assert!(takes("flights*.csv", "flights-2013-01.csv"));
        assert!(!takes("*", "2013/flights.csv"), "one star stays within a folder");
        assert!(takes("**/*.csv", "2013/01/flights.csv") && takes("**/*.csv", "flights.csv"));
        for class in ["a[!x]b", "a[^x]b", "a[!]-]b", "a[+-9]b", "a[/]b", "a[!x]*"] {
            assert!(
                !takes(class, "a/b"),
                "{class}: as in a shell, no class takes what stands between folders"
            );
        }
        assert!(takes("a[!x]b", "a-b") && takes("a[+-9]b", "a.b") && takes("a[+-9]b", "a7b"));
        assert!(takes("[!a]/[!b]", "b/a") && !takes("[!a]/[!b]", "a/a"));
        for hidden in [".part", "_SUCCESS", ".tidelock/x", "a/_temporary/x", "a/.x", "lost+found/x"] {
            assert!(!takes("**", hidden), "{hidden}");
        }
        assert!(Selection::new("[").unwrap_err().to_string().contains("setting=glob"));
    }

    #[test]
    fn a_folder_is_looked_into_where_the_glob_can_match_in_it() {
        for (glob, yes, no) in [
            ("*", &[][..], &["a", "a/b"][..]),
            ("*.csv", &[], &["a"]),
            ("2013/*.csv", &["2013"], &["2014", "2013/01"]),
            ("20*/0?/*.csv", &["2013", "2013/01"], &["x", "2013/11", "2013/01/x"]),
            ("**", &["a", "a/b"], &[]),
            ("**/*.csv", &["a", "a/b"], &[]),
            ("logs/**/*.csv", &["logs", "logs/a", "logs/a/b"], &["a", "a/logs"]),
            ("{a,b}/*.csv", &["a", "b"], &["c"]),
            // Pruning nothing is right, too.
            ("{a/b,c}/*.csv", &["a", "a/b", "c"], &[]),
        ] {
            let selection = Selection::new(glob).unwrap();
            for folder in yes {
                assert!(selection.looks_into(folder), "{glob} can match in {folder}");
            }
            for folder in no {
                assert!(!selection.looks_into(folder), "{glob} cannot match in {folder}");
            }
        }
    }
}
