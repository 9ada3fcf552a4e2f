//! Files that have other names when their turn comes: logs are rotated, a folder is copied, a file is given up.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tidelock::job::JobConfig;
use tidelock::{ErrorKind, JobId, Known, Source, Split, SplitId, SplitReader};
use tidelock_files::{FileSplit, FilesSource, FilesSourceConfig, OnChangedFile, SourceFormat};
use tidelock_runtime::{Job, Restarts, Workers};
use tidelock_testkit::doubles::{MemorySink, Target};
use tidelock_testkit::harness::Row;

use super::common::{assert_names, first_run, read_split};
use super::{config, source};

/// More than are open at once.
const LOGS: u32 = 24;
const LINES: u64 = 2_000;

fn lines_config(folder: &Path) -> FilesSourceConfig {
    let mut config = config(folder, SourceFormat::Lines);
    config.bounded = false;
    config.on_changed_file = OnChangedFile::ReadAgain;
    config
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn rotate(folder: &Path, logs: u32, content: &str) {
    let name = |number: u32| folder.join(format!("app.log.{number:03}"));
    for number in (0..logs).rev() {
        fs::rename(name(number), name(number + 1)).unwrap();
    }
    fs::write(name(0), content).unwrap();
}

/// Runs a job over logs that are rotated while most of them wait. Returns what is wrong with what it wrote.
async fn rotated_while_they_wait(time: Option<SystemTime>) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    for log in 0..LOGS {
        let path = folder.path().join(format!("app.log.{log:03}"));
        let lines: String = (0..LINES).map(|line| format!("{log:03} {line:05}\n")).collect();
        fs::write(&path, lines).unwrap();
        time.into_iter().for_each(|time| set_time(&path, time));
    }
    let source: Arc<FilesSource<String>> = Arc::new(source(lines_config(folder.path())));
    let log = folder.path().join(".log");
    let mut config = JobConfig::new(JobId::new("job").unwrap(), log.to_str().unwrap());
    config.settings.interval = Duration::from_millis(20);
    config.discovery_interval = Duration::from_millis(20);
    let job = Job::open(config).await.unwrap().restarts(Restarts::never());
    let (handle, target) = (job.handle(), Target::new());
    let sink = Arc::new(MemorySink::new(target.clone()));
    let running = tokio::spawn(job.run(Workers::threads(1), move |graph| {
        let rows = graph.source("in", &source).stream().map(|line: String| {
            // Slow enough that most logs wait.
            std::thread::sleep(Duration::from_micros(20));
            let (log, line) = line.split_once(' ').unwrap();
            Row::new(log.to_owned(), line.parse::<u64>().unwrap())
        });
        rows.sink("out", &sink);
    }));
    let begun = || !target.visible().is_empty();
    wait_for(&begun, &running).await;
    let new = format!("{LOGS:03}");
    rotate(folder.path(), LOGS, &format!("{new} 00000\n"));
    // The new log comes last: when it is known under which names all others are read.
    let came = || target.visible().iter().any(|row| row.key == new);
    wait_for(&came, &running).await;
    handle.stop(None).await.unwrap();
    running.await.unwrap().unwrap();
    let rows = target.visible();
    let count = |log: u32| rows.iter().filter(|row| row.key == format!("{log:03}")).count() as u64;
    let wanted = |log| if log == LOGS { 1 } else { LINES };
    (0..=LOGS).filter(|log| count(*log) != wanted(*log)).map(|log| format!("{log}: {}", count(log))).collect()
}

async fn wait_for<T: std::fmt::Debug>(
    condition: &impl Fn() -> bool,
    running: &tokio::task::JoinHandle<tidelock::Result<T>>,
) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        assert!(!running.is_finished(), "the job ended: {running:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing came for a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_are_rotated_while_they_wait_for_their_turn_are_read_once_each() {
    assert!(rotated_while_they_wait(None).await.is_empty());
}

/// As out of an archive, or of a machine whose file system counts seconds.
#[tokio::test(flavor = "multi_thread")]
async fn logs_of_one_size_and_time_that_are_rotated_while_they_wait_are_read_once_each() {
    let wrong = rotated_while_they_wait(Some(long_ago())).await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Reads the first batch of the only file.
async fn half_read(config: &FilesSourceConfig) -> (FileSplit, usize) {
    let source: FilesSource<String> = source(config.clone());
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let batch = source.open(split).await.unwrap().next().await.unwrap().unwrap();
    (batch.resume, batch.records.len())
}

async fn rest(config: &FilesSourceConfig, split: &FileSplit) -> tidelock::Result<Vec<String>> {
    let batches = read_split(&source::<String>(config.clone()), split.clone()).await?;
    Ok(batches.into_iter().flat_map(|(lines, _)| lines).collect())
}

fn numbers(lines: std::ops::Range<u64>) -> String {
    lines.map(|line| format!("{line:05}\n")).collect()
}

#[tokio::test]
async fn a_log_that_is_rotated_while_the_job_is_down_is_read_on() {
    for time in [None, Some(long_ago())] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("app.log.000");
        fs::write(&path, numbers(0..LINES)).unwrap();
        time.into_iter().for_each(|time| set_time(&path, time));
        let mut config = lines_config(folder.path());
        // What it is called then need not be what the glob takes.
        config.glob = "*.000".into();
        let (half, read) = half_read(&config).await;
        rotate(folder.path(), 1, &numbers(LINES..2 * LINES));
        time.into_iter().for_each(|time| set_time(&path, time));
        let known = Known { active: vec![half.clone()], finished: vec![], ended: vec![], first_run: false };
        assert_eq!(source::<String>(config.clone()).discover(&known).await.unwrap().new, []);
        let lines = rest(&config, &half).await.unwrap();
        assert_eq!(lines.join("\n") + "\n", numbers(read as u64..LINES));
    }
}

#[tokio::test]
async fn a_half_read_file_goes_on_in_a_copy_and_not_in_another_file_of_its_size_and_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.log");
    let elsewhere = TempDir::new().unwrap();
    let moved = elsewhere.path().join("a.log");
    fs::write(&path, numbers(0..LINES)).unwrap();
    set_time(&path, long_ago());
    let config = lines_config(folder.path());
    let (half, read) = half_read(&config).await;
    fs::rename(&path, &moved).unwrap();
    let error = rest(&config, &half).await.unwrap_err();
    assert_names(
        &error,
        ErrorKind::NotFound,
        &["a.log", "gone", "remedy=put the found one back", "drop_splits"],
    );

    fs::write(&path, numbers(LINES..2 * LINES)).unwrap();
    set_time(&path, long_ago());
    let error = rest(&config, &half).await.unwrap_err();
    let told = ["a.log", "inode_found", "remedy=put the found one back, with its time", "drop_splits"];
    assert_names(&error, ErrorKind::Expired, &told);
    // The remedy that the errors name. A copy without its time is not told from another file.
    fs::copy(&moved, &path).unwrap();
    assert_names(&rest(&config, &half).await.unwrap_err(), ErrorKind::Expired, &["version_now"]);
    set_time(&path, long_ago());
    let mut reader = source::<String>(config.clone()).open(half.clone()).await.unwrap();
    let resume = reader.next().await.unwrap().unwrap().resume;
    assert_eq!(
        (resume.edges, resume.inode == half.inode),
        (half.edges, false),
        "the evidence of what is read"
    );
    assert_eq!(rest(&config, &half).await.unwrap().len() as u64, LINES - read as u64);
}

#[tokio::test]
async fn a_copied_folder_is_not_read_again_and_a_file_of_the_same_size_and_time_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.log");
    let config = lines_config(folder.path());
    let put = |content: String| {
        // It is there before the other is gone, so that it has another inode.
        fs::write(folder.path().join(".new"), content).unwrap();
        fs::rename(folder.path().join(".new"), &path).unwrap();
        set_time(&path, long_ago());
    };
    put(numbers(0..LINES));
    let ours: FilesSource<String> = source(config);
    let split = ours.discover(&first_run()).await.unwrap().new.remove(0);
    let ended = read_split(&ours, split).await.unwrap().pop().unwrap().1;
    let known =
        Known { active: vec![], finished: vec![ended.id()], ended: vec![ended.clone()], first_run: false };
    put(numbers(0..LINES));
    for _ in 0..2 {
        assert_eq!(ours.discover(&known).await.unwrap().forget, []);
    }
    put(numbers(LINES..2 * LINES));
    assert_eq!(ours.discover(&known).await.unwrap().forget, [ended.id()]);
}

#[tokio::test]
async fn a_file_that_was_deleted_before_its_end_is_given_up_by_name_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.log");
    fs::write(&path, numbers(0..LINES)).unwrap();
    let mut config = lines_config(folder.path());
    let (half, _) = half_read(&config).await;
    fs::remove_file(&path).unwrap();
    let error = rest(&config, &half).await.unwrap_err();
    assert_names(&error, ErrorKind::NotFound, &["name it in drop_splits, as \"a.log\""]);

    config.drop_splits.insert("a.log".into());
    assert!(rest(&config, &half).await.unwrap().is_empty(), "it ends, and the job goes on");
    fs::write(&path, "new\n").unwrap();
    let ended =
        Known { active: vec![], finished: vec![half.id()], ended: vec![half.clone()], first_run: false };
    let found = source::<String>(config.clone()).discover(&ended).await.unwrap();
    assert_eq!((found.forget, found.new), (vec![SplitId::new("a.log")], vec![]));
    // A file under its name is read when the name is taken off the list, as a new one.
    let forgotten = Known { active: vec![], finished: vec![], ended: vec![], first_run: false };
    assert_eq!(source::<String>(config.clone()).discover(&forgotten).await.unwrap().new, []);
    config.drop_splits.clear();
    let new = source::<String>(config.clone()).discover(&forgotten).await.unwrap().new.remove(0);
    assert_eq!(rest(&config, &new).await.unwrap(), ["new"]);
}
