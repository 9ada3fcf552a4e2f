//! Dead letters: one for each record that was left out.

use std::fs;

use serde::Deserialize;
use tempfile::TempDir;
use tidelock::{ErrorKind, JobId, Source, SourceName, SplitReader, Uid};
use tidelock_files::{OnBadRecord, SourceFormat};

use super::common::{self, Row, assert_names, first_run, read_all};
use super::{config, csv, source};

#[tokio::test]
async fn bad_records_are_left_out_and_dead_letters_are_written_once_however_often_they_are_replayed() {
    #[derive(Deserialize)]
    struct Letter {
        file: String,
        offset: u64,
        line: u64,
        reason: String,
        text: Option<String>,
        base64: Option<String>,
    }
    let folder = TempDir::new().unwrap();
    let (input, letters) = (folder.path().join("in"), folder.path().join("letters"));
    fs::create_dir_all(input.join("sub")).unwrap();
    fs::write(input.join("sub/a.csv"), b"id,name,delay\n1,x,\ntwo,\"y, z\",\n3,\xFF,\n4,z,\n").unwrap();
    let mut config = config(&input, csv());
    config.glob = "**".into();
    config.on_bad_record = OnBadRecord::Skip;
    let ids = |rows: Vec<Row>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(read_all(&source(config.clone())).await.unwrap()), [1, 4]);

    config.on_bad_record = OnBadRecord::DeadLetter(letters.to_str().unwrap().into());
    for _replay in 0..2 {
        assert_eq!(ids(read_all(&source(config.clone())).await.unwrap()), [1, 4]);
    }
    let written = common::visible(&letters);
    let names: Vec<_> =
        written.keys().map(|name| name.rsplit_once('.').unwrap().0.rsplit_once('.').unwrap().0).collect();
    assert_eq!(names, ["sub/a.csv-00000000000000000019", "sub/a.csv-00000000000000000031"]);
    let letters: Vec<Letter> =
        written.values().map(|letter| serde_json::from_slice(letter).unwrap()).collect();
    assert_eq!((&*letters[0].file, letters[0].offset, letters[0].line), ("sub/a.csv", 19, 3));
    assert!(letters[0].reason.contains("column id"), "{}", letters[0].reason);
    assert_eq!(letters[0].text.as_deref(), Some("two,\"y, z\",\n"));
    assert_eq!(letters[1].base64.as_deref(), Some("Myz/LAo="));
}

#[tokio::test]
async fn files_of_one_name_in_two_folders_have_letters_of_their_own() {
    let folder = TempDir::new().unwrap();
    let letters = folder.path().join("letters");
    for name in ["monday", "tuesday"] {
        let input = folder.path().join(name);
        fs::create_dir(&input).unwrap();
        fs::write(input.join("a.jsonl"), format!("no {name}\n")).unwrap();
        let mut config = config(&input, SourceFormat::JsonLines);
        config.on_bad_record = OnBadRecord::DeadLetter(letters.to_str().unwrap().into());
        read_all(&source::<Row>(config)).await.unwrap();
    }
    let written = common::visible(&letters);
    assert_eq!(written.len(), 2, "{:?}", written.keys());
    for name in ["monday", "tuesday"] {
        let says = |letter: &Vec<u8>| String::from_utf8_lossy(letter).contains(&format!("no {name}"));
        assert_eq!(written.values().filter(|letter| says(letter)).count(), 1);
    }
}

#[tokio::test]
async fn letters_of_two_jobs_and_of_two_sources_that_read_the_same_are_apart_and_say_whose_they_are() {
    let folder = TempDir::new().unwrap();
    let (input, letters) = (folder.path().join("in"), folder.path().join("letters"));
    fs::create_dir(&input).unwrap();
    fs::write(input.join("a.jsonl"), "no\n").unwrap();
    let mut config = config(&input, SourceFormat::JsonLines);
    config.on_bad_record = OnBadRecord::DeadLetter(letters.to_str().unwrap().into());
    let owners = [("one", "flights"), ("one", "weather"), ("two", "flights")];
    for (job, uid) in owners.into_iter().chain(owners) {
        let source = source::<Row>(config.clone());
        let split = source.discover(&first_run()).await.unwrap().new.remove(0);
        let mut reader = source.open(split).await.unwrap();
        reader.belongs_to(&SourceName { job: JobId::new(job).unwrap(), uid: Uid::new(uid).unwrap() });
        while reader.next().await.unwrap().is_some() {}
    }
    let written = common::visible(&letters);
    let names: Vec<_> = written.keys().map(|name| name.split_once("-0").unwrap().0).collect();
    assert_eq!(names, ["one/flights/a.jsonl", "one/weather/a.jsonl", "two/flights/a.jsonl"]);
    for ((job, uid), letter) in owners.iter().zip(written.values()) {
        let letter: serde_json::Value = serde_json::from_slice(letter).unwrap();
        assert_eq!((letter["job"].as_str(), letter["source"].as_str()), (Some(*job), Some(*uid)));
    }
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_is_an_error_that_names_the_path() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.jsonl"), "no\n").unwrap();
    fs::write(folder.path().join("letters"), "a file where a folder should be").unwrap();
    let mut config = config(folder.path(), SourceFormat::JsonLines);
    config.glob = "*.jsonl".into();
    config.on_bad_record = OnBadRecord::DeadLetter(folder.path().join("letters").to_str().unwrap().into());
    let error = read_all(&source::<Row>(config)).await.unwrap_err();
    assert_names(&error, ErrorKind::Config, &["letters", "folder"]);
}
