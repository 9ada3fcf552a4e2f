//! Files that change after they were found: none is read half, twice or as another one.

use std::fs;

use tempfile::TempDir;
use tidelock::{ErrorKind, Known, Source, Split, SplitReader};
use tidelock_files::{FileSplit, FilesSource, OnChangedFile, SourceFormat};

use super::common::{Row, assert_names, first_run, read_split, row};
use super::{config, json_lines_of, rows, source};

#[tokio::test]
async fn a_file_that_is_not_the_one_found_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.jsonl");
    let original = json_lines_of(&rows());
    fs::write(&path, &original).unwrap();
    let source: FilesSource<Row> = source(config(folder.path(), SourceFormat::JsonLines));
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let resume = read_split(&source, split.clone()).await.unwrap().remove(3).1;

    for content in [&original[..100], &[&*original, b"{}\n"].concat()] {
        fs::write(&path, content).unwrap();
        for split in [split.clone(), resume.clone()] {
            let error = source.open(split).await.unwrap_err();
            assert_names(&error, ErrorKind::Expired, &["a.jsonl", "size_found"]);
        }
    }
    // Another content of the same size is told by the time of the last change.
    fs::write(&path, &original).unwrap();
    let later = fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_names(
        &source.open(resume.clone()).await.unwrap_err(),
        ErrorKind::Expired,
        &["a.jsonl", "version_now"],
    );

    fs::remove_file(&path).unwrap();
    assert_names(&source.open(resume).await.unwrap_err(), ErrorKind::NotFound, &["a.jsonl", "gone"]);
}

#[tokio::test]
async fn a_file_truncated_while_it_is_read_gives_an_error_and_no_record_of_the_wrong_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.jsonl");
    let content = json_lines_of(&(0..50_000).map(row).collect::<Vec<_>>());
    fs::write(&path, &content).unwrap();
    let source: FilesSource<Row> = source(config(folder.path(), SourceFormat::JsonLines));
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let mut reader = source.open(split).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().records.len(), 64);
    fs::File::options().write(true).open(&path).unwrap().set_len(content.len() as u64 / 2).unwrap();
    assert_names(&reader.next().await.unwrap_err(), ErrorKind::Expired, &["a.jsonl"]);
}

/// As a job does with whole files: what is found is read to its end, and the snapshot knows how it ended.
async fn round(source: &FilesSource<String>, ended: &mut Vec<FileSplit>) -> Vec<String> {
    let finished = ended.iter().map(Split::id).collect();
    let known = Known { active: Vec::new(), finished, ended: ended.clone(), first_run: false };
    let found = source.discover(&known).await.unwrap();
    ended.retain(|split| !found.forget.contains(&split.id()));
    let mut lines = Vec::new();
    for split in found.new {
        let mut last = split.clone();
        for (records, resume) in read_split(source, split).await.unwrap() {
            lines.extend(records);
            last = resume;
        }
        ended.push(last);
    }
    lines
}

#[cfg(unix)]
#[tokio::test]
async fn rotated_logs_are_read_once_each() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut config = config(folder.path(), SourceFormat::Lines);
    config.bounded = false;
    config.on_changed_file = OnChangedFile::ReadAgain;
    let mut ended = Vec::new();
    let mut lines = Vec::new();
    for log in 1..=4 {
        if log > 1 {
            for number in (1..log - 1).rev() {
                fs::rename(path(&format!("app.log.{number}")), path(&format!("app.log.{}", number + 1)))
                    .unwrap();
            }
            fs::rename(path("app.log"), path("app.log.1")).unwrap();
        }
        // Each a little longer: some file systems count time in steps.
        fs::write(path("app.log"), format!("{}\n", "x".repeat(log))).unwrap();
        for _ in 0..10 {
            // A fresh source each time: nothing is remembered but what the snapshot knows.
            lines.extend(round(&source(config.clone()), &mut ended).await);
        }
    }
    assert_eq!(lines, ["x", "xx", "xxx", "xxxx"]);
}

/// As out of an archive: all of one size and one time, and each has the inode of the one before.
#[cfg(unix)]
#[tokio::test]
async fn files_that_come_one_by_one_and_are_removed_when_read_are_each_read() {
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path(), SourceFormat::Lines);
    config.bounded = false;
    let (mut ended, mut lines) = (Vec::new(), Vec::new());
    for number in 1..=5 {
        let path = folder.path().join(format!("{number}.txt"));
        fs::write(&path, format!("{number}\n")).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        lines.extend(round(&source(config.clone()), &mut ended).await);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(lines, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_file_that_is_replaced_under_its_name_is_read_as_the_policy_says() {
    for (policy, expected) in
        [(OnChangedFile::Warn, &["old"][..]), (OnChangedFile::ReadAgain, &["old", "newer"])]
    {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.txt");
        let mut config = config(folder.path(), SourceFormat::Lines);
        config.bounded = false;
        config.on_changed_file = policy;
        let (mut ended, mut lines) = (Vec::new(), Vec::new());
        for content in ["old\n", "newer\n"] {
            fs::write(folder.path().join(".new"), content).unwrap();
            fs::rename(folder.path().join(".new"), &path).unwrap();
            for _ in 0..3 {
                lines.extend(round(&source(config.clone()), &mut ended).await);
            }
        }
        assert_eq!(lines, expected);
        config.on_changed_file = OnChangedFile::Fail;
        fs::write(&path, "another\n").unwrap();
        let finished = ended.iter().map(Split::id).collect();
        let known = Known { active: Vec::new(), finished, ended, first_run: false };
        let error = source::<String>(config).discover(&known).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["file=a.txt", "size_read", "size_now=8"]);
    }
}
