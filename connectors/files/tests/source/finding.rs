//! Which files are found, and when, and what is told where there are none.

use std::fs;

use tempfile::TempDir;
use tidelock::{ErrorKind, Known, Source, Split};
use tidelock_files::{FilesSource, SourceFormat};

use super::common::{Row, assert_names, first_run, row};
use super::{config, csv, json_lines_of, source};

#[tokio::test]
async fn files_are_found_in_the_order_of_names_once_and_hidden_ones_never() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("sub/.tidelock")).unwrap();
    for name in [
        "b.jsonl",
        "a.jsonl",
        ".hidden.jsonl",
        "_SUCCESS.jsonl",
        "c.csv",
        "sub/d.jsonl",
        "sub/.tidelock/e.jsonl",
    ] {
        fs::write(path(name), json_lines_of(&[row(1)])).unwrap();
    }
    let mut config = config(folder.path(), SourceFormat::JsonLines);
    config.glob = "**/*.jsonl".into();
    config.bounded = false;
    let source: FilesSource<Row> = source(config);
    let names = |known: Known<_>| {
        let source = &source;
        async move {
            let found = source.discover(&known).await.unwrap();
            assert!(!found.complete && found.forget.is_empty());
            found.new.iter().map(|split| split.id().to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(names(first_run()).await, ["a.jsonl", "b.jsonl", "sub/d.jsonl"]);
    assert_eq!(names(first_run()).await.len(), 3, "discovery is idempotent");
    let mut found = source.discover(&first_run()).await.unwrap().new;
    fs::write(path("0.jsonl"), json_lines_of(&[row(1)])).unwrap();
    let ended = found.pop().unwrap();
    let known = Known { finished: vec![ended.id()], ended: vec![ended], active: found, first_run: false };
    assert_eq!(names(known).await, ["0.jsonl"], "only the new file is new");
}

#[tokio::test]
async fn a_bounded_source_is_complete_and_refuses_to_find_nothing() {
    let folder = TempDir::new().unwrap();
    let mut with = config(folder.path(), csv());
    with.glob = "*.cvs".into();
    let error = source::<Row>(with.clone()).discover(&first_run()).await.unwrap_err();
    assert_names(&error, ErrorKind::NotFound, &["glob=*.cvs", "allow_empty"]);
    with.allow_empty = true;
    assert!(source::<Row>(with).discover(&first_run()).await.unwrap().complete);
    let missing = config(&folder.path().join("missing"), csv());
    let error = source::<Row>(missing).discover(&first_run()).await.unwrap_err();
    assert_names(&error, ErrorKind::NotFound, &["missing"]);
}

#[tokio::test]
async fn a_finished_file_that_is_gone_is_forgotten_only_if_asked() {
    let folder = TempDir::new().unwrap();
    for name in ["here.jsonl", "gone.jsonl"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let before = source::<Row>(config(folder.path(), SourceFormat::JsonLines));
    let ended = before.discover(&first_run()).await.unwrap().new;
    fs::remove_file(folder.path().join("gone.jsonl")).unwrap();
    let finished = ended.iter().map(Split::id).collect();
    let known = Known { active: Vec::new(), finished, ended, first_run: false };
    for (forget_removed, forgotten) in [(false, vec![]), (true, vec!["gone.jsonl"])] {
        let mut config = config(folder.path(), SourceFormat::JsonLines);
        config.forget_removed = forget_removed;
        let found = source::<Row>(config).discover(&known).await.unwrap();
        assert!(found.new.is_empty());
        assert_eq!(found.forget.iter().map(ToString::to_string).collect::<Vec<_>>(), forgotten);
    }
}
