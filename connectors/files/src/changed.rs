//! What is new in a listing, and what is no longer what was read: decided from the listing and what the snapshot
//! knows, and from nothing else.
//!
//! ```text
//!   app.log   read to its end      app.log.1   the same inode, size, times: moved, so its end is kept
//!                                  app.log     another one: fail, warn, or forget it and find it anew
//! ```
//!
//! A file may be forgotten only when its content, moved to another name, is known under that name in the snapshot:
//! a crash in between must not find it as a new file.
//!
//! A file that gets another name while it is read, or before its end is in the snapshot, is no new file either: it
//! waits until the snapshot says how far it was read.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Known, Result, Split, SplitId};

use crate::config::{FilesSourceConfig, OnChangedFile};
use crate::split::{FileSplit, FileVersion};
use crate::told::{Notice, Why};

/// Files that are being read, or whose end is not in the snapshot yet. The snapshot has the names alone of those that
/// were read to their end a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<HashMap<SplitId, FileSplit>>);

impl Unsettled {
    /// Learns what is read now, and decides. Where this process did not see a file before, the snapshot did.
    pub(crate) fn decide(
        &self,
        found: Vec<FileSplit>,
        known: &Known<FileSplit>,
        config: &FilesSourceConfig,
    ) -> Result<Decision> {
        let mut unsettled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let finished: HashSet<&SplitId> = known.finished.iter().collect();
        unsettled.retain(|id, _| finished.contains(id));
        for ended in &known.ended {
            unsettled.remove(&ended.id());
        }
        unsettled.extend(known.active.iter().map(|split| (split.id(), split.clone())));
        let decision = decide(found, known, &unsettled, config)?;
        // Nobody asks a bounded source again.
        if !config.bounded {
            unsettled.extend(decision.new.iter().map(|split| (split.id(), split.clone())));
        }
        Ok(decision)
    }
}

/// What follows from a listing.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) new: Vec<FileSplit>,
    pub(crate) forget: Vec<SplitId>,
    pub(crate) notices: Vec<Notice>,
}

/// What tells the content of a local file whatever its name. Files that were deleted give their inodes to new ones,
/// so that size and both times must be the same, too.
type Content<'a> = (u64, Option<jiff::Timestamp>, u64, &'a FileVersion);

fn content(split: &FileSplit) -> Option<Content<'_>> {
    Some((split.inode?, split.made, split.size, &split.version))
}

/// Compares a listing with what is known.
fn decide(
    found: Vec<FileSplit>,
    known: &Known<FileSplit>,
    unsettled: &HashMap<SplitId, FileSplit>,
    config: &FilesSourceConfig,
) -> Result<Decision> {
    let active: HashSet<SplitId> = known.active.iter().map(Split::id).collect();
    let finished: HashSet<&SplitId> = known.finished.iter().collect();
    let view = View::new(&found, known, unsettled);
    let mut decision = Decision::default();
    for file in &found {
        let id = file.id();
        if config.drop_splits.contains(&*file.file) {
            decision.notices.push(notice(file, Why::Dropped));
        } else if active.contains(&id) {
            // Its reader looks whether it is still the same.
        } else if !finished.contains(&id) {
            if view.is_moved_and_unsettled(file) {
                continue;
            }
            match view.moved(file) {
                Some(read) => {
                    decision.notices.push(notice(file, Why::Moved));
                    decision.new.push(FileSplit { offset: read.offset, line: read.line, ..file.clone() });
                }
                None => decision.new.push(file.clone()),
            }
        } else if let Some(read) = view.ended.get(&*file.file).filter(|read| !view.is_still(read, file)) {
            let grown = read.inode.is_some() && read.inode == file.inode && file.size > read.size;
            let why = if grown { Why::Grown } else { Why::Replaced };
            decision.notices.push(notice(file, why));
            match config.on_changed_file {
                OnChangedFile::Fail => return Err(changed(read, file, why)),
                OnChangedFile::ReadAgain if !grown && view.is_known_elsewhere_or_gone(read) => {
                    decision.forget.push(id);
                }
                OnChangedFile::ReadAgain | OnChangedFile::Warn => {}
            }
        }
    }
    let dropped = known.finished.iter().filter(|id| config.drop_splits.contains(id.as_str()));
    decision.forget.extend(dropped.cloned());
    if config.forget_removed {
        let gone = known.finished.iter().filter(|id| !view.there.contains_key(id.as_str()));
        // Where its end is not in the snapshot yet, this is asked again: its content may have another name.
        let settled = gone.filter(|id| {
            view.ended.get(id.as_str()).is_some_and(|read| view.is_known_elsewhere_or_gone(read))
        });
        decision.forget.extend(settled.cloned());
    }
    Ok(decision)
}

/// A listing and what was read, by name and by content.
struct View<'a> {
    there: HashMap<&'a str, &'a FileSplit>,
    there_by_content: HashMap<Content<'a>, Vec<&'a str>>,
    /// Read to the end, as the snapshot knows it.
    ended: HashMap<&'a str, &'a FileSplit>,
    /// The same, where the content is no longer there under the name.
    ended_by_content: HashMap<Content<'a>, &'a FileSplit>,
    /// What is being read, or not in the snapshot as read, and no longer there under its name.
    unsettled: HashSet<Content<'a>>,
}

impl<'a> View<'a> {
    fn new(
        found: &'a [FileSplit],
        known: &'a Known<FileSplit>,
        unsettled: &'a HashMap<SplitId, FileSplit>,
    ) -> Self {
        let there: HashMap<_, _> = found.iter().map(|file| (&*file.file, file)).collect();
        let mut there_by_content = HashMap::<_, Vec<_>>::new();
        for file in found {
            if let Some(content) = content(file) {
                there_by_content.entry(content).or_default().push(&*file.file);
            }
        }
        let ended: HashMap<_, _> = known.ended.iter().map(|read| (&*read.file, read)).collect();
        let is_left =
            |read: &&FileSplit| there.get(&*read.file).is_none_or(|file| content(file) != content(read));
        let left = known.ended.iter().filter(is_left);
        let ended_by_content = left.filter_map(|read| Some((content(read)?, read))).collect();
        let unsettled = unsettled.values().filter(is_left).filter_map(content).collect();
        Self { there, there_by_content, ended, ended_by_content, unsettled }
    }

    /// Whether what was read is still there under its name: it, or a copy of it as far as anybody can tell.
    fn is_still(&self, read: &FileSplit, file: &FileSplit) -> bool {
        if !read.is_same_content(file) {
            return false;
        }
        let (Some(of_read), Some(of_file)) = (content(read), content(file)) else { return true };
        if of_read == of_file {
            return true;
        }
        // One that has another name cannot be here, and what came from another name is that.
        let moved_on = self.there_by_content.contains_key(&of_read);
        let came = self.moved(file).is_some() || self.is_moved_and_unsettled(file);
        let other = read.edges.zip(file.edges).is_some_and(|(read, file)| read != file);
        !(moved_on || came || other)
    }

    /// What was read of a file under another name, which it no longer has.
    fn moved(&self, file: &FileSplit) -> Option<&'a FileSplit> {
        // The lifetime of the key is that of the listing, which outlives this call.
        let key: Content<'_> = content(file)?;
        self.ended_by_content.get(&key).copied()
    }

    /// Whether a file under another name is being read, or was and the snapshot does not know how far.
    fn is_moved_and_unsettled(&self, file: &FileSplit) -> bool {
        content(file).is_some_and(|content| self.unsettled.contains(&content))
    }

    /// Whether what was read is there under no name, or is known to be read under each name that it has.
    fn is_known_elsewhere_or_gone(&self, read: &FileSplit) -> bool {
        let names = content(read).and_then(|content| self.there_by_content.get(&content));
        names.is_none_or(|names| {
            names.iter().all(|name| self.ended.get(name).is_some_and(|other| content(other) == content(read)))
        })
    }
}

fn notice(file: &FileSplit, why: Why) -> Notice {
    Notice { path: file.file.to_string(), why }
}

fn changed(read: &FileSplit, file: &FileSplit, why: Why) -> Error {
    Error::new(ErrorKind::Data, "look for files", why.text())
        .with("file", &file.file)
        .with("size_read", read.size)
        .with("size_now", file.size)
        .with("version_read", format!("{:?}", read.version))
        .with("version_now", format!("{:?}", file.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, inode: u64, second: i64, size: u64) -> FileSplit {
        let version = FileVersion::Modified(jiff::Timestamp::from_second(second).unwrap());
        let made = Some(jiff::Timestamp::UNIX_EPOCH);
        FileSplit {
            file: name.into(),
            offset: 0,
            size,
            version,
            line: Some(1),
            inode: Some(inode),
            made,
            edges: None,
        }
    }

    fn config(on_changed_file: OnChangedFile) -> FilesSourceConfig {
        FilesSourceConfig { on_changed_file, bounded: false, ..FilesSourceConfig::default() }
    }

    /// A job that reads whatever it is given to the end at once, and keeps it in its snapshot.
    #[derive(Default)]
    struct Job {
        unsettled: Unsettled,
        ended: Vec<FileSplit>,
        read: Vec<String>,
    }

    impl Job {
        fn discover(&mut self, found: &[FileSplit], config: &FilesSourceConfig) -> Decision {
            let finished = self.ended.iter().map(Split::id).collect();
            let known = Known { active: Vec::new(), finished, ended: self.ended.clone(), first_run: false };
            let decision = self.unsettled.decide(found.to_vec(), &known, config).unwrap();
            self.ended.retain(|read| !decision.forget.contains(&read.id()));
            for new in &decision.new {
                if new.offset < new.size {
                    self.read.push(format!("{} of inode {}", new.file, new.inode.unwrap()));
                }
                self.ended.push(FileSplit { offset: new.size, ..new.clone() });
            }
            decision
        }

        /// Until nothing changes any more.
        fn settle(&mut self, found: &[FileSplit], config: &FilesSourceConfig) {
            for _ in 0..10 {
                self.discover(found, config);
            }
        }
    }

    #[test]
    fn rotated_logs_are_read_once_each() {
        let config = config(OnChangedFile::ReadAgain);
        let mut job = Job::default();
        job.settle(&[file("app.log", 1, 10, 100)], &config);
        job.settle(&[file("app.log", 2, 20, 50), file("app.log.1", 1, 10, 100)], &config);
        let third = [file("app.log", 3, 30, 70), file("app.log.1", 2, 20, 50), file("app.log.2", 1, 10, 100)];
        job.settle(&third, &config);
        assert_eq!(job.read, ["app.log of inode 1", "app.log of inode 2", "app.log of inode 3"]);
    }

    #[test]
    fn rotated_logs_of_one_size_and_time_are_read_once_each() {
        let config = config(OnChangedFile::ReadAgain);
        let mut job = Job::default();
        job.settle(&[file("app.log", 2, 10, 100), file("app.log.1", 1, 10, 100)], &config);
        // The oldest is removed, and what has its name now is known under another one.
        let rotated = [file("app.log", 3, 10, 100), file("app.log.1", 2, 10, 100)];
        job.settle(&rotated, &config);
        assert_eq!(job.read, ["app.log of inode 2", "app.log.1 of inode 1", "app.log of inode 3"]);
        assert!(job.discover(&rotated, &config).notices.is_empty(), "all is as it was read");
    }

    #[test]
    fn a_file_of_the_same_size_and_time_is_another_one_where_its_edges_are() {
        let with_edges = |inode, edges| FileSplit { edges, ..file("a", inode, 10, 100) };
        for (now, other) in [(Some(7), false), (None, false), (Some(8), true)] {
            let mut job = Job::default();
            job.settle(&[with_edges(1, Some(7))], &config(OnChangedFile::Warn));
            let decision = job.discover(&[with_edges(2, now)], &config(OnChangedFile::Warn));
            assert_eq!(!decision.notices.is_empty(), other, "{now:?}");
        }
    }

    #[test]
    fn logs_of_one_size_and_time_that_wait_are_no_new_ones_when_they_are_rotated() {
        let config = config(OnChangedFile::ReadAgain);
        let waiting = [file("app.log", 2, 10, 100), file("app.log.1", 1, 10, 100)];
        let known = Known { active: waiting.to_vec(), finished: vec![], ended: vec![], first_run: false };
        let rotated =
            [file("app.log", 3, 10, 100), file("app.log.1", 2, 10, 100), file("app.log.2", 1, 10, 100)];
        let decision = Unsettled::default().decide(rotated.to_vec(), &known, &config).unwrap();
        assert!(decision.new.is_empty() && decision.forget.is_empty());
    }

    #[test]
    fn a_file_that_is_moved_while_it_is_read_is_no_new_one() {
        let config = config(OnChangedFile::ReadAgain);
        let unsettled = Unsettled::default();
        let known = |active: &[FileSplit], finished: &[&str], ended: &[FileSplit]| Known {
            active: active.to_vec(),
            finished: finished.iter().copied().map(SplitId::new).collect(),
            ended: ended.to_vec(),
            first_run: false,
        };
        let decide = |found: &[FileSplit], known: &Known<FileSplit>| {
            unsettled.decide(found.to_vec(), known, &config).unwrap()
        };
        let read = file("app.log", 1, 10, 100);
        assert_eq!(
            decide(std::slice::from_ref(&read), &known(&[], &[], &[])).new,
            std::slice::from_ref(&read)
        );
        let rotated = [file("app.log", 2, 20, 50), file("app.log.1", 1, 10, 100)];
        // It is being read; it was read to its end, and the snapshot has its name alone; it has its end.
        let is_read = known(&[FileSplit { offset: 40, ..read.clone() }], &[], &[]);
        assert!(decide(&rotated, &is_read).new.is_empty());
        assert!(decide(&rotated, &known(&[], &["app.log"], &[])).new.is_empty());
        let forgetting = FilesSourceConfig { forget_removed: true, ..config.clone() };
        let gone = Unsettled::default().decide(vec![], &known(&[], &["app.log"], &[]), &forgetting).unwrap();
        assert!(gone.forget.is_empty(), "its content may have another name");
        let end = FileSplit { offset: 100, line: Some(8), ..read };
        let ended = known(&[], &["app.log"], std::slice::from_ref(&end));
        let moved = FileSplit { offset: 100, line: Some(8), ..rotated[1].clone() };
        assert_eq!(decide(&rotated, &ended).new, [moved]);
    }

    #[test]
    fn what_is_moved_is_never_unknown_to_the_snapshot() {
        let config = config(OnChangedFile::ReadAgain);
        let mut job = Job::default();
        job.settle(&[file("app.log", 1, 10, 100)], &config);
        let rotated = [file("app.log", 2, 20, 50), file("app.log.1", 1, 10, 100)];
        let first = job.discover(&rotated, &config);
        assert!(first.forget.is_empty(), "app.log.1 is not in the snapshot yet");
        assert_eq!(first.new.len(), 1);
        assert_eq!(job.discover(&rotated, &config).forget, [SplitId::new("app.log")]);
    }

    #[test]
    fn by_default_a_replaced_file_is_told_and_not_read() {
        let config = config(OnChangedFile::Warn);
        let mut job = Job::default();
        job.settle(&[file("a", 1, 10, 100), file("b", 2, 10, 100)], &config);
        let decision = job.discover(&[file("a", 3, 20, 100), file("b", 2, 20, 120)], &config);
        assert!(decision.new.is_empty() && decision.forget.is_empty());
        assert_eq!(
            decision.notices.iter().map(|notice| notice.why).collect::<Vec<_>>(),
            [Why::Replaced, Why::Grown]
        );
    }

    #[test]
    fn a_file_that_grew_is_not_read_again_and_one_that_shrank_is() {
        let config = config(OnChangedFile::ReadAgain);
        let mut job = Job::default();
        job.settle(&[file("grows", 1, 10, 100), file("copytruncate", 2, 10, 100)], &config);
        job.settle(&[file("grows", 1, 20, 150), file("copytruncate", 2, 20, 10)], &config);
        assert_eq!(job.read[2..], ["copytruncate of inode 2"]);
    }

    #[test]
    fn the_policy_fail_names_the_file() {
        let config = config(OnChangedFile::Fail);
        let read = file("a", 1, 10, 100);
        let known = Known { active: vec![], finished: vec![read.id()], ended: vec![read], first_run: false };
        let error = Unsettled::default().decide(vec![file("a", 1, 20, 100)], &known, &config).unwrap_err();
        assert!(error.to_string().contains("file=a") && error.kind() == ErrorKind::Data, "{error}");
    }

    #[test]
    fn an_inode_that_is_used_again_and_a_hard_link_are_new_files() {
        let config = config(OnChangedFile::Warn);
        let mut job = Job::default();
        job.settle(&[file("a", 1, 10, 100)], &config);
        job.settle(&[file("b", 1, 11, 100)], &config);
        job.settle(&[file("b", 1, 11, 100), file("c", 1, 11, 100)], &config);
        let made = Some(jiff::Timestamp::from_second(5).unwrap());
        job.settle(&[FileSplit { made, ..file("d", 1, 11, 100) }], &config);
        assert_eq!(job.read.len(), 4, "d has all that c had, and was made later");
    }

    #[test]
    fn what_an_older_snapshot_knows_by_name_alone_stays_read() {
        let config = config(OnChangedFile::ReadAgain);
        let known =
            Known { active: vec![], finished: vec![SplitId::new("a")], ended: vec![], first_run: false };
        let decision = Unsettled::default().decide(vec![file("a", 1, 20, 100)], &known, &config).unwrap();
        assert!(decision.new.is_empty() && decision.forget.is_empty() && decision.notices.is_empty());
    }
}
