//! What source and sink promise, on an S3 server in another process.
//!
//! The server is moto, by `s3_server.py`: the tests are skipped, and say so, where Python has no moto.
//! `TIDELOCK_TEST_PYTHON` names another Python than `python3`, such as that of a virtual environment.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tidelock::{
    Epoch, ErrorKind, Known, Pending, Result, Retry, Sink, SinkWriter, Source, SplitReader, TargetName,
    WriterId,
};
use tidelock_files::{
    FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, OnBadRecord, SinkFormat, SourceFormat,
    Staged, StoreOptions,
};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{
    Endings, Expiry, Leftovers, Retention, Row, Shape, SinkFacets, SinkHarness, SourceFacets, SourceHarness,
};
use tidelock_testkit::oracle::Input;

const BATCH_RECORDS_MAX: usize = 4;

/// Kept for the whole run: the server ends when the pipe to it closes.
struct Server {
    _process: Child,
    port: u16,
}

/// Starts the server once; nothing where it cannot be had.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let start = || {
        let python = std::env::var("TIDELOCK_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3_server.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().ok()?;
        let mut says = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut says).unwrap();
        Some(Server { port: says.trim().parse().ok()?, _process: process })
    };
    let server = SERVER.get_or_init(start).as_ref();
    if server.is_none() {
        println!("skipped: no Python with moto; pip install 'moto[s3,server]', and see TIDELOCK_TEST_PYTHON");
    }
    server
}

/// A prefix of its own in the bucket.
struct S3 {
    folder: String,
    options: StoreOptions,
    store: Arc<AmazonS3>,
}

async fn boot() -> Result<Option<S3>> {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let Some(Server { port, .. }) = server() else { return Ok(None) };
    let options = [
        ("aws_endpoint", format!("http://127.0.0.1:{port}")),
        ("aws_allow_http", "true".into()),
        ("aws_region", "us-east-1".into()),
        ("aws_access_key_id", "test".into()),
        ("aws_secret_access_key", "test".into()),
    ];
    let options = StoreOptions(options.map(|(key, value)| (key.to_owned(), value)).into());
    let builder = options.0.iter().fold(AmazonS3Builder::new(), |builder, (key, value)| {
        builder.with_config(key.parse().unwrap(), value)
    });
    let store = Arc::new(builder.with_bucket_name("files").build().unwrap());
    make_bucket(*port);
    let folder = format!("folder-{}", FOLDERS.fetch_add(1, Ordering::Relaxed));
    Ok(Some(S3 { folder, options, store }))
}

/// Creating a bucket is not part of the client that we use. Making it again does nothing.
fn make_bucket(port: u16) {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = "PUT /files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

impl S3 {
    fn url(&self) -> String {
        format!("s3://files/{}", self.folder)
    }

    fn path(&self, name: &str) -> Path {
        Path::parse(format!("{}/{name}", self.folder)).unwrap()
    }

    fn sink_config(&self) -> FilesSinkConfig {
        let mut config = FilesSinkConfig::new(self.url(), SinkFormat::JsonLines);
        config.store_options = self.options.clone();
        config
    }

    fn source_config(&self, format: SourceFormat) -> FilesSourceConfig {
        let mut config = FilesSourceConfig::new(self.url(), format);
        config.bounded = false;
        config.batch_records_max = BATCH_RECORDS_MAX;
        config.store_options = self.options.clone();
        config
    }

    /// All objects below a name, with their content.
    async fn objects(&self, below: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let prefix = Path::parse(format!("{}{below}", self.folder)).unwrap();
        let objects: Vec<_> = self.store.list(Some(&prefix)).try_collect().await.unwrap();
        for object in objects {
            let content = self.store.get(&object.location).await.unwrap().bytes().await.unwrap();
            let name = object.location.as_ref().strip_prefix(&*self.folder).unwrap();
            found.insert(name.trim_start_matches('/').to_owned(), content.to_vec());
        }
        found
    }

    async fn visible_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.objects("").await;
        files.retain(|name, _| !name.split('/').any(|part| part.starts_with(['.', '_'])));
        files
    }
}

#[async_trait]
impl SinkHarness for S3 {
    type Sink = FilesSink<Row>;

    async fn sink(&self) -> Result<FilesSink<Row>> {
        FilesSink::new(self.sink_config())
    }

    fn record(&self, row: &Row) -> Row {
        row.clone()
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        Ok(common::json_lines(&self.visible_files().await))
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Log).with_expiry(self).with_leftovers(self)
    }
}

#[async_trait]
impl Expiry for S3 {
    async fn expire(&self) -> Result<()> {
        // As a lifecycle rule does: the uploads go, and what remembers them stays.
        for journal in self.objects("/.tidelock").await.into_values() {
            let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
            let (file, upload) = (journal["file"].as_str().unwrap(), journal["upload"].as_str().unwrap());
            self.store.abort_multipart(&self.path(file), &upload.to_owned()).await.unwrap();
        }
        Ok(())
    }
}

#[async_trait]
impl Leftovers for S3 {
    async fn leftovers(&self) -> Result<Vec<TargetName>> {
        let journals = self.objects("/.tidelock").await.into_keys();
        Ok(journals.map(|name| TargetName::parse(name.split('/').nth(1).unwrap()).unwrap()).collect())
    }
}

#[async_trait]
impl SourceHarness for S3 {
    type Source = FilesSource<String>;

    async fn source(&self) -> Result<FilesSource<String>> {
        FilesSource::new(self.source_config(SourceFormat::Lines))
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let lines: String = places.map(|place| format!("{}\n", Input::new(split, place))).collect();
        self.store.put(&self.path(split), lines.into()).await.unwrap();
        Ok(())
    }

    fn identify(&self, record: &String) -> Input {
        record.parse().unwrap()
    }

    fn facets(&self) -> SourceFacets<'_, FilesSource<String>> {
        SourceFacets::new(BATCH_RECORDS_MAX).without_growth().with_endings(self).with_retention(self)
    }
}

#[async_trait]
impl Endings for S3 {
    async fn end(&self, _split: &str) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Retention for S3 {
    async fn drop_before(&self, split: &str, _place: u64) -> Result<()> {
        self.store.delete(&self.path(split)).await.unwrap();
        Ok(())
    }
}

conformance::sink!(boot);
conformance::source!(boot, without [growth, latest]);

/// A sink of the rows that the tests of this crate share, started as attempt 1.
async fn start(s3: &S3) -> (FilesSink<common::Row>, <FilesSink<common::Row> as Sink>::Writer) {
    let sink = FilesSink::new(s3.sink_config()).unwrap();
    let writer = common::start(&sink, 1).await;
    (sink, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_parts_becomes_visible_whole() {
    let Some(s3) = boot().await.unwrap() else { return };
    let mut config = s3.sink_config();
    config.upload_part_bytes = 5 << 20;
    let sink = FilesSink::new(config).unwrap();
    let mut writer = common::start(&sink, 1).await;
    let count = 250_000;
    let pending = common::prepare(&mut writer, 1, 1, (0..count).map(common::row).collect()).await.unwrap();
    let Staged::Upload { parts, .. } = &pending[0].committable.staged else { panic!("an upload") };
    assert!(parts.len() > 1, "{} bytes", pending[0].committable.bytes);
    sink.commit(&common::permit(1), pending).await.unwrap();
    let seen: Vec<common::Row> = common::json_lines(&s3.visible_files().await);
    assert!(seen.into_iter().map(|row| row.id).eq(0..count));
    let hidden = s3.objects("/.tidelock").await;
    assert!(hidden.keys().all(|name| name.ends_with(".visible")), "a committed file leaves no journal");
    writer.settled(Epoch(1), false).await.unwrap();
    assert!(s3.objects("/.tidelock").await.is_empty(), "a settled file leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visible_object_that_is_taken_before_its_commit_is_confirmed_is_no_loss() {
    let Some(s3) = boot().await.unwrap() else { return };
    let (sink, mut writer) = start(&s3).await;
    let pending = common::prepare(&mut writer, 1, 1, vec![common::row(1)]).await.unwrap();
    sink.commit(&common::permit(1), pending.clone()).await.unwrap();
    drop((sink, writer));
    s3.store.delete(&s3.path(&pending[0].committable.file)).await.unwrap();
    let next = FilesSink::<common::Row>::new(s3.sink_config()).unwrap();
    next.recover(&common::attempt(2), &pending).await.unwrap();
    next.commit(&common::permit(1), pending).await.unwrap();
    assert!(s3.visible_files().await.is_empty(), "whoever took it has it");
    next.recover(&common::attempt(3), &[]).await.unwrap();
    assert!(s3.objects("/.tidelock").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_an_attempt_that_is_not_older_halts_before_anything_is_aborted() {
    let Some(s3) = boot().await.unwrap() else { return };
    for number in [2, 7] {
        let other = FilesSink::<common::Row>::new(s3.sink_config()).unwrap();
        let mut writer = other.open(&common::attempt(number), WriterId(0)).await.unwrap();
        common::prepare(&mut writer, number, 1, vec![common::row(1)]).await.unwrap();
    }
    let ours = FilesSink::<common::Row>::new(s3.sink_config()).unwrap();
    let error = ours.recover(&common::attempt(5), &[]).await.unwrap_err();
    common::assert_names(&error, ErrorKind::Conflict, &["its_attempt=7", "our_attempt=5", "remedy="]);
    assert_eq!(s3.objects("/.tidelock").await.len(), 2, "the other log may list both");
}

#[tokio::test]
async fn an_upload_that_is_gone_halts_before_anything_of_its_epoch_is_visible() {
    let Some(s3) = boot().await.unwrap() else { return };
    let (sink, mut writer) = start(&s3).await;
    let pending = common::prepare(&mut writer, 1, 4, vec![common::row(1)]).await.unwrap();
    s3.expire().await.unwrap();
    for error in [
        sink.recover(&common::attempt(2), &pending).await.unwrap_err(),
        sink.commit(&common::permit(4), pending.clone()).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt));
        assert!(error.to_string().contains(&pending[0].committable.file), "{error}");
    }
    assert!(s3.visible_files().await.is_empty());
}

#[tokio::test]
async fn a_new_log_over_the_output_of_a_lost_one_halts_before_an_upload_is_begun() {
    let Some(s3) = boot().await.unwrap() else { return };
    let (sink, mut writer) = start(&s3).await;
    let pending = common::prepare(&mut writer, 1, 1, vec![common::row(1)]).await.unwrap();
    sink.commit(&common::permit(1), pending).await.unwrap();
    writer.settled(Epoch(1), false).await.unwrap();
    let (_new, mut writer) = start(&s3).await;
    let error = common::prepare(&mut writer, 1, 1, vec![common::row(2)]).await.unwrap_err();
    common::assert_names(&error, ErrorKind::Conflict, &["another log before", "remedy="]);
    assert!(s3.objects("/.tidelock").await.is_empty(), "nothing was begun");
}

#[tokio::test]
async fn an_object_that_is_not_ours_is_never_overwritten() {
    let Some(s3) = boot().await.unwrap() else { return };
    let (sink, mut writer) = start(&s3).await;
    let pending: Vec<Pending<_>> = common::prepare(&mut writer, 1, 1, vec![common::row(1)]).await.unwrap();
    s3.store.put(&s3.path(&pending[0].committable.file), "somebody else's".into()).await.unwrap();
    let error = sink.commit(&common::permit(1), pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt));
    assert_eq!(s3.visible_files().await.into_values().next().unwrap(), b"somebody else's");
}

#[tokio::test]
async fn an_upload_says_when_the_bucket_throws_it_away() {
    let Some(s3) = boot().await.unwrap() else { return };
    let mut config = s3.sink_config();
    config.upload_expires_after_ms = Some(3_600_000);
    let sink = FilesSink::new(config).unwrap();
    let mut writer = common::start(&sink, 1).await;
    writer.write(&mut vec![common::row(1)]).await.unwrap();
    let prepared = writer.prepare(Epoch(1)).await.unwrap();
    let remaining = prepared[0].expires_in.unwrap().as_millis();
    assert!((1..=3_600_000).contains(&remaining), "{remaining}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_the_one_found_is_an_error_that_names_it() {
    let Some(s3) = boot().await.unwrap() else { return };
    s3.append("a", 0..100).await.unwrap();
    let source = s3.source().await.unwrap();
    let known = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let split = source.discover(&known).await.unwrap().new.remove(0);
    let first = source.open(split).await.unwrap().next().await.unwrap().unwrap();
    s3.append("a", 100..200).await.unwrap();
    let error = source.open(first.resume).await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt));
    assert!(error.to_string().contains(&*s3.path("a").to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_to_an_object_store_too() {
    let Some(s3) = boot().await.unwrap() else { return };
    s3.store.put(&s3.path("a.jsonl"), "{}\nno\n{}\n".into()).await.unwrap();
    let mut config = s3.source_config(SourceFormat::JsonLines);
    config.glob = "*.jsonl".into();
    config.on_bad_record = OnBadRecord::DeadLetter(format!("{}/letters", s3.url()));
    let source: FilesSource<BTreeMap<String, u8>> = FilesSource::new(config).unwrap();
    assert_eq!(common::read_all(&source).await.unwrap().len(), 2);
    let letters = s3.objects("/letters").await;
    let names: Vec<&String> = letters.keys().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    // Between the place of the record and the ending are the digests of the source's folder, which has a random name, and of the
    // letter.
    assert!(
        names[0].starts_with("letters/a.jsonl-00000000000000000003.") && names[0].ends_with(".json"),
        "{names:?}"
    );
}
