//! What the libraries that read and write data do by default, each at its border: the README's table of choices. A
//! new version of a library that chooses otherwise fails here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;

use common::{assert_names, read_all};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidelock::{ErrorKind, Result};
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, SourceFormat};

async fn read<T: DeserializeOwned + Send + 'static>(
    name: &str,
    format: SourceFormat,
    content: &[u8],
) -> Result<Vec<T>> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    read_all(&FilesSource::new(FilesSourceConfig::new(folder.path().to_str().unwrap(), format))?).await
}

async fn csv<T: DeserializeOwned + Send + 'static>(content: &str) -> Result<Vec<T>> {
    read("a.csv", SourceFormat::Csv(CsvReading::default()), content.as_bytes()).await
}

async fn json_lines<T: DeserializeOwned + Send + 'static>(content: &[u8]) -> Result<Vec<T>> {
    read("a.jsonl", SourceFormat::JsonLines, content).await
}

#[track_caller]
fn is_bad<T: Debug>(read: Result<Vec<T>>, what: &str) {
    let error = read.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Data, "{what}: {error}");
}

#[derive(Debug, PartialEq, Deserialize)]
struct One<T> {
    value: T,
}

fn ones<T, const N: usize>(values: [T; N]) -> Vec<One<T>> {
    values.map(|value| One { value }).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_text_is_taken_as_it_stands() {
    let texts = |content: &str| csv::<One<String>>(&format!("value,x\n{content}")).await_now();
    assert_eq!(texts(" a ,\n"), ones([" a ".into()]), "nothing is trimmed");
    assert_eq!(texts("#a,\n"), ones(["#a".into()]), "there are no comments");
    assert_eq!(texts("a\\,\n"), ones(["a\\".into()]), "a backslash is no escape");
    assert_eq!(texts("\"a\"\"b\",\n"), ones(["a\"b".into()]), "a doubled quote is one");
    assert_eq!(texts("a\"b,\n"), ones(["a\"b".into()]), "a quote within plain text stands for itself");
    assert_eq!(
        texts("a,\rb,\r\nc,\nd,"),
        ones(["a", "b", "c", "d"].map(str::to_owned)),
        "line ends of each kind"
    );
    assert_eq!(texts("a,\n\n\r\nb,\n"), ones(["a", "b"].map(str::to_owned)), "empty lines are passed over");
    assert_eq!(texts("\"a\r\nb\",\n"), ones(["a\r\nb".into()]), "within quotes a line end is text");
    assert_eq!(texts(",\n"), ones([String::new()]), "an empty field is an empty text");
    is_bad(csv::<One<String>>("value ,x\na,\n").await, "a column's name is not trimmed");
    is_bad(csv::<One<String>>("Value,x\na,\n").await, "a column's name has its case");
    let not_text = read::<One<String>>("a", SourceFormat::Csv(CsvReading::default()), b"value\n\xFF\n").await;
    is_bad(not_text, "text is UTF-8");
}

/// The value of a read that must succeed, for lists of cases.
trait AwaitNow<T> {
    fn await_now(self) -> Vec<T>;
}

impl<T, F: Future<Output = Result<Vec<T>>>> AwaitNow<T> for F {
    fn await_now(self) -> Vec<T> {
        let read = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self));
        read.unwrap()
    }
}

#[tokio::test]
async fn csv_values_are_what_rust_parses_and_hexadecimal_numbers() {
    let floats = csv::<One<f64>>("value\n1e3\n+5\n.5\ninf\n-Infinity\n0.1\n").await.unwrap();
    assert_eq!(floats, ones([1000.0, 5.0, 0.5, f64::INFINITY, f64::NEG_INFINITY, 0.1]));
    assert!(csv::<One<f64>>("value\nnan\n").await.unwrap()[0].value.is_nan());
    assert_eq!(csv::<One<u64>>("value\n0x1F\n+5\n007\n").await.unwrap(), ones([31, 5, 7]));
    for bad in ["1e3", "1.0", " 5", "5 ", "-1", "1_000", "0b1", "18446744073709551616", ""] {
        is_bad(csv::<One<u64>>(&format!("value,x\n{bad},\n")).await, bad);
    }
    assert_eq!(csv::<One<bool>>("value\ntrue\nfalse\n").await.unwrap(), ones([true, false]));
    for bad in ["True", "1", "yes", ""] {
        is_bad(csv::<One<bool>>(&format!("value,x\n{bad},\n")).await, bad);
    }
    assert_eq!(csv::<One<Option<u64>>>("value,x\n,\n7,\n").await.unwrap(), ones([None, Some(7)]));
    is_bad(csv::<One<Option<u64>>>("value,x\nNA,\n").await, "no text is missing by itself");
}

#[tokio::test]
async fn csv_into_a_type_that_takes_anything_is_guessed() {
    let rows: Vec<BTreeMap<String, Value>> = csv("a,b,c,d\n007,true,1.50,x\n").await.unwrap();
    let expected = [("a", json!(7)), ("b", json!(true)), ("c", json!(1.5)), ("d", json!("x"))];
    assert_eq!(rows, [expected.map(|(name, value)| (name.to_owned(), value)).into()]);
    // Texts are not guessed.
    let rows: Vec<BTreeMap<String, String>> = csv("a,b\n007,true\n").await.unwrap();
    assert_eq!(rows[0]["a"], "007");
}

#[tokio::test]
async fn a_line_of_json_is_one_value_and_nothing_else() {
    assert_eq!(
        json_lines::<One<u64>>(b" {\"value\":1} \r\n\n\t\n{\"value\":2}").await.unwrap(),
        ones([1, 2])
    );
    for bad in [
        "{\"value\":1}{\"value\":2}",
        "{\"value\":1},",
        "{\"value\":1} // comment",
        "{\"value\":1,}",
        "{'value':1}",
        "{\"value\":01}",
        "{\"value\":1.0}",
        "{\"value\":\"1\"}",
        "{\"value\":null}",
        "{\"value\":-1}",
        "{\"value\":18446744073709551616}",
        "{\"value\":1,\"value\":2}",
        "{}",
        "{\"value\":1",
    ] {
        is_bad(json_lines::<One<u64>>(bad.as_bytes()).await, bad);
    }
    for bad in ["NaN", "Infinity", "1e999", "-1e999", "+1", ".5", "0x1F"] {
        is_bad(json_lines::<One<f64>>(format!("{{\"value\":{bad}}}").as_bytes()).await, bad);
    }
    for bad in [&b"\"\\ud800\""[..], b"\"\xFF\"", b"\"\t\"", b"\"\\x41\""] {
        is_bad(json_lines::<String>(bad).await, &String::from_utf8_lossy(bad));
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(json_lines::<Value>(deep(127).as_bytes()).await.unwrap().len(), 1);
    is_bad(json_lines::<Value>(deep(128).as_bytes()).await, "128 levels");
}

#[tokio::test]
async fn json_objects_may_have_more_fields_or_lack_optional_ones_and_maps_keep_the_last() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Optional {
        value: Option<u64>,
    }
    let read: Vec<Optional> = json_lines(b"{\"other\":1}\n{\"value\":null}\n").await.unwrap();
    assert_eq!(read, [Optional { value: None }, Optional { value: None }]);
    let read: Vec<BTreeMap<String, u64>> = json_lines(b"{\"a\":1,\"a\":2}\n").await.unwrap();
    assert_eq!(read[0]["a"], 2);
    // A number that no integer of 64 bits holds is a float where the type takes any number.
    let read: Vec<Value> = json_lines(b"18446744073709551615\n18446744073709551616\n").await.unwrap();
    assert_eq!(read, [json!(u64::MAX), json!(18446744073709551616.0)]);
}

#[tokio::test]
async fn a_byte_order_mark_is_one_at_the_beginning_only() {
    assert_eq!(json_lines::<u64>("\u{feff}1\n2\n".as_bytes()).await.unwrap(), [1, 2]);
    is_bad(json_lines::<u64>("1\n\u{feff}2\n".as_bytes()).await, "in the middle");
    let lines = read::<String>("a", SourceFormat::Lines, "\u{feff}a\n\u{feff}b\n".as_bytes()).await.unwrap();
    assert_eq!(lines, ["a", "\u{feff}b"]);
}

#[tokio::test]
async fn lines_are_utf_8_and_end_with_a_line_feed() {
    let lines = read::<String>("a", SourceFormat::Lines, b"a\rb\0\r\n c\n").await.unwrap();
    assert_eq!(lines, ["a\rb\0", " c"]);
    is_bad(read::<String>("a", SourceFormat::Lines, b"\xFF\n").await, "text is UTF-8");
}

#[tokio::test]
async fn a_name_that_says_gzip_wants_gzip_and_the_setting_is_named() {
    for content in [&b""[..], b"{}\n"] {
        let error = read::<Value>("a.jsonl.gz", SourceFormat::JsonLines, content).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["a.jsonl.gz", "damaged or cut off", "compression="]);
    }
}
