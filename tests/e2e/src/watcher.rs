//! A reader that looks at the visible files all the time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flights::answer::result_files;

/// Between two looks: it must leave the job some of a small machine.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at a folder until it is told to stop. No visible file may ever change or vanish.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Watcher {
    /// Begins to look.
    pub fn start(out: PathBuf) -> Self {
        let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, counted) = (Arc::clone(&stop), Arc::clone(&rows));
        let thread = std::thread::spawn(move || {
            let mut known: BTreeMap<PathBuf, String> = BTreeMap::new();
            let mut wrong = Vec::new();
            while wrong.is_empty() {
                let last = until.load(Ordering::SeqCst);
                look(&out, &mut known, &mut wrong);
                counted.store(known.values().map(|text| text.lines().count()).sum(), Ordering::SeqCst);
                if last {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
            wrong
        });
        Self { stop, rows, thread: Some(thread) }
    }

    /// How many rows were visible when it last looked.
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::SeqCst)
    }

    /// Looks once more, and stops.
    ///
    /// # Panics
    /// Where a visible file changed or vanished.
    #[track_caller]
    pub fn assert_nothing_changed(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let wrong = self.thread.take().and_then(|thread| thread.join().ok()).expect("no panic");
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

fn look(out: &std::path::Path, known: &mut BTreeMap<PathBuf, String>, wrong: &mut Vec<String>) {
    // Files are listed before they are read again, so what is known and not listed did vanish.
    let files = match result_files(out) {
        Ok(files) => files,
        Err(error) => return wrong.push(error.to_string()),
    };
    for gone in known.keys().filter(|path| files.binary_search(path).is_err()) {
        wrong.push(format!("{} vanished", gone.display()));
    }
    for path in files {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                if known.get(&path).is_some_and(|before| *before != text) {
                    wrong.push(format!("{} changed", path.display()));
                }
                known.insert(path, text);
            }
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_by_watcher(act: impl FnOnce(&std::path::Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "1\n").unwrap();
        let (mut known, mut wrong) = (BTreeMap::new(), Vec::new());
        look(folder.path(), &mut known, &mut wrong);
        act(folder.path());
        look(folder.path(), &mut known, &mut wrong);
        wrong
    }

    #[test]
    fn a_file_that_changes_or_vanishes_is_seen_and_a_new_one_is_fine() {
        assert!(seen_by_watcher(|out| std::fs::write(out.join("b"), "").unwrap()).is_empty());
        assert!(seen_by_watcher(|out| std::fs::write(out.join("a"), "2\n").unwrap())[0].contains("changed"));
        assert!(seen_by_watcher(|out| std::fs::remove_file(out.join("a")).unwrap())[0].contains("vanished"));
    }
}
