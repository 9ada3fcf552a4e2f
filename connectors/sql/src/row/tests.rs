use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Sized(u32),
    Pair(u8, String),
    Named { a: Option<u8> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    id: u64,
    small: i8,
    name: String,
    maybe: Option<String>,
    float: f32,
    flag: bool,
    letter: char,
    list: Vec<i32>,
    map: BTreeMap<String, Option<f64>>,
    kinds: Vec<Kind>,
    kind: Kind,
    raw: serde_json::Value,
}

fn record() -> Record {
    Record {
        id: u64::MAX,
        small: -7,
        name: "a\"b".into(),
        maybe: None,
        float: 0.1,
        flag: true,
        letter: 'ä',
        list: vec![1, 2],
        map: BTreeMap::from([("x".into(), Some(0.5)), ("y".into(), None)]),
        kinds: vec![Kind::Plain, Kind::Sized(7), Kind::Pair(1, "p".into()), Kind::Named { a: None }],
        kind: Kind::Sized(3),
        raw: serde_json::json!({ "a": [1, "b", null] }),
    }
}

fn columns(row: &Row) -> Vec<String> {
    row.fields.iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn a_record_is_read_back_from_its_row() {
    let row = to_row(&record()).expect("a row");
    let values = row.fields.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(from_row::<Record>(&columns(&row), values).expect("a record"), record());
}

#[test]
fn a_record_is_read_back_from_columns_of_text() {
    let row = to_row(&record()).expect("a row");
    let as_text = |value: &SqlValue| match value {
        SqlValue::Array(_) | SqlValue::Json(_) => SqlValue::Text(json::text_of(value).expect("JSON")),
        // A database without bools.
        SqlValue::Bool(value) => SqlValue::I64((*value).into()),
        value => value.clone(),
    };
    let values = row.fields.iter().map(|(_, value)| as_text(value)).collect();
    let read: Record = from_row(&columns(&row), values).expect("a record");
    // A field that takes anything takes a text as one.
    let raw = serde_json::Value::String(record().raw.to_string());
    assert_eq!(read, Record { raw, ..record() });
}

#[test]
fn what_has_no_form_in_a_row_is_refused_by_name() {
    #[derive(Serialize)]
    struct One<T> {
        field: T,
    }
    fn why<T: Serialize>(field: T) -> String {
        to_row(&One { field }).expect_err("refused")
    }
    assert!(why(Some(None::<u8>)).starts_with("field field: nothing within a Some"));
    assert!(why(BTreeMap::from([("x", f64::NAN)])).contains("NaN"));
    assert!(why(BTreeMap::from([((1, 2), 3)])).contains("keys of a map"));
    assert!(to_row(&7).is_err() && to_row(&[1]).is_err() && to_row(&Kind::Sized(1)).is_err());
}

#[test]
fn a_field_that_is_there_twice_is_refused() {
    #[derive(Serialize)]
    struct Outer {
        id: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let why = to_row(&Outer { id: 1, rest: BTreeMap::from([("id".into(), 2)]) }).expect_err("refused");
    assert!(why.contains("field id"), "{why}");
}

#[test]
fn what_a_record_does_not_want_names_the_column_and_not_the_value() {
    #[derive(Debug, Deserialize)]
    struct One {
        #[allow(dead_code, reason = "only whether it can be read is asked")]
        field: u8,
    }
    let read = |value| from_row::<One>(&["field".to_owned()], vec![value]);
    assert!(read(SqlValue::I64(7)).is_ok() && read(SqlValue::Decimal("7.00".into())).is_ok());
    for wrong in [
        SqlValue::Text("s3cret".into()),
        SqlValue::Decimal("7.5".into()),
        SqlValue::I64(700),
        SqlValue::Null,
        SqlValue::Json("\"s3cret\"".into()),
    ] {
        let why = read(wrong).expect_err("refused");
        assert!(why.contains("column field") && !why.contains("s3cret") && !why.contains("700"), "{why}");
    }
    assert!(from_row::<One>(&["other".to_owned()], vec![SqlValue::I64(7)]).is_err());
}

#[test]
fn a_key_is_read_from_its_columns_whatever_it_is() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Named {
        b: i64,
        a: String,
    }
    let columns = ["a".to_owned(), "b".to_owned()];
    let values = || vec![SqlValue::Text("x".into()), SqlValue::I64(7)];
    assert_eq!(from_values(&columns, values()), Ok(("x".to_owned(), 7_i64)));
    assert_eq!(from_values(&columns, values()), Ok(Named { b: 7, a: "x".into() }));
    assert_eq!(from_values(&columns[..1], vec![SqlValue::Text("x".into())]), Ok("x".to_owned()));
    let why = from_values::<i64>(&columns[..1], vec![SqlValue::Text("s3cret".into())]).expect_err("a text");
    assert!(why.contains("column a") && !why.contains("s3cret"), "{why}");
}

#[test]
fn the_columns_that_a_record_wants_are_its_fields() {
    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "its type is what is asked")]
    struct Plane {
        model: String,
        #[serde(rename = "seat_count")]
        seats: Option<u32>,
    }
    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "its type is what is asked")]
    struct Wrapped(Plane);
    assert_eq!(fields_of::<Plane>(), Some(&["model", "seat_count"][..]));
    assert_eq!(fields_of::<Wrapped>(), Some(&["model", "seat_count"][..]));
    assert_eq!(fields_of::<std::collections::HashMap<String, i64>>(), None);
    assert_eq!(fields_of::<(String, i64)>(), None);
}
