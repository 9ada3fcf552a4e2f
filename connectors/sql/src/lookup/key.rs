//! Keys: from what a record asks for to the values of columns, and back from a row to who asked.
//!
//! A row answers the key that it has, letter for letter. Databases are more generous: they find `ABC` for `abc` where a
//! collation says so, and `abc` for `abc ` where blanks do not count. A cache in front of them cannot know that, and what
//! is found must not depend on what was asked for before.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::column::{Column, ColumnType, TextType};
use crate::dialect::Dialect;
use crate::fit::{Misfit, fit};
use crate::row::{NO_RECORD, Row, to_row};
use crate::value::{SqlValue, plain_text};

/// What is to be asked for a key.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// The values of the columns, and the form in which a row is compared with them.
    Row(Vec<SqlValue>, Form),
    /// No row can have this key: a part is missing, or does not fit into its column.
    Nothing,
}

/// A key as it is compared: equal where every part is the same value, however a database writes it.
pub(super) type Form = Vec<u8>;

/// A single value as the only field of a record.
struct Single<'k, K>(&'k K);

impl<K: Serialize> Serialize for Single<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("key", self.0)?;
        map.end()
    }
}

/// What is to be asked for this key.
///
/// # Errors
/// Why a key of this type is none of these columns: without its value.
pub(super) fn wanted<K: Serialize>(key: &K, columns: &[Column], dialect: &Dialect) -> Result<Wanted, String> {
    let (mut values, mut form) = (Vec::with_capacity(columns.len()), Form::new());
    for (column, part) in columns.iter().zip(parts(key, columns)?) {
        match fitting(dialect, column, part) {
            Ok(Some(value)) => {
                push_form(&mut form, &value);
                values.push(value);
            }
            Ok(None) => return Ok(Wanted::Nothing),
            Err(why) => return Err(format!("key column {}: {why}", column.name)),
        }
    }
    Ok(Wanted::Row(values, form))
}

/// The parts of a key, in the order of the columns. Each key says itself what it is: of an `Option` or an enum one may be
/// a record and the next one not.
fn parts<K: Serialize>(key: &K, columns: &[Column]) -> Result<Vec<SqlValue>, String> {
    match to_row(key) {
        Ok(row) => parts_of(row, columns),
        Err(why) if why == NO_RECORD => {
            let value = to_row(&Single(key))?.fields.pop().map_or(SqlValue::Null, |(_, value)| value);
            match value {
                value if columns.len() == 1 => Ok(vec![value]),
                SqlValue::Array(parts) if parts.len() == columns.len() => Ok(parts),
                // Nothing, where others are a tuple or a struct.
                SqlValue::Null => Ok(vec![SqlValue::Null; columns.len()]),
                _ => Err("a key of several columns is a struct with these fields, or a tuple".into()),
            }
        }
        Err(why) => Err(why),
    }
}

fn parts_of(row: Row, columns: &[Column]) -> Result<Vec<SqlValue>, String> {
    let mut fields = row.fields;
    if fields.len() != columns.len() {
        return Err("the key has other fields than the key's columns".into());
    }
    let part = |column: &Column| {
        let at = fields.iter().position(|(name, _)| *name == column.name);
        let at = at.ok_or_else(|| format!("the key has no field {}", column.name))?;
        Ok(std::mem::replace(&mut fields[at].1, SqlValue::Null))
    };
    columns.iter().map(part).collect()
}

/// A part of a key as its column holds it. `None` where no row can have it.
fn fitting(dialect: &Dialect, column: &Column, part: SqlValue) -> Result<Option<SqlValue>, String> {
    if part == SqlValue::Null {
        return Ok(None);
    }
    let fitted = match &column.kind {
        // The blanks that such a column drops or adds are not compared.
        ColumnType::Text(text) if text.trims || text.pads => {
            let text = TextType { trims: false, pads: false, ..*text };
            fit(dialect, &Column { kind: ColumnType::Text(text), ..column.clone() }, part)
        }
        _ => fit(dialect, column, part),
    };
    match fitted {
        Ok(value) => Ok(Some(value)),
        // What is too long or too large is no mistake of the job: such a key is in no row. One of another type is in none
        // either, whatever its value, and that is a mistake.
        Err(Misfit::Value(_)) => Ok(None),
        Err(Misfit::Type(why)) => Err(why),
    }
}

/// The form of a row's key. `None` where a part of it is missing.
pub(super) fn form_of(columns: &[Column], values: &[SqlValue]) -> Option<Form> {
    let mut form = Form::new();
    for (column, value) in columns.iter().zip(values) {
        match (&column.kind, value) {
            (_, SqlValue::Null) => return None,
            (ColumnType::Text(kind), SqlValue::Text(text)) if kind.trims || kind.pads => {
                push_text(&mut form, b't', text.trim_end_matches(' '));
            }
            _ => push_form(&mut form, value),
        }
    }
    Some(form)
}

/// Takes off the blanks that a column fills a text up with: they are no part of the key.
pub(super) fn without_padding(columns: &[Column], values: &mut [SqlValue]) {
    for (column, value) in columns.iter().zip(values) {
        if let (
            ColumnType::Text(TextType { pads: true, .. } | TextType { trims: true, .. }),
            SqlValue::Text(text),
        ) = (&column.kind, value)
        {
            text.truncate(text.trim_end_matches(' ').len());
        }
    }
}

fn push_bytes(form: &mut Form, kind: u8, bytes: &[u8]) {
    form.push(kind);
    form.extend((bytes.len() as u64).to_le_bytes());
    form.extend(bytes);
}

fn push_text(form: &mut Form, kind: u8, text: &str) {
    push_bytes(form, kind, text.as_bytes());
}

/// Numbers are compared as numbers: a database may give 1 for 1.0, and 1.50 for 1.5.
fn push_form(form: &mut Form, value: &SqlValue) {
    match value {
        SqlValue::Bool(value) => push_text(form, b'n', if *value { "1" } else { "0" }),
        SqlValue::I64(value) => push_text(form, b'n', &value.to_string()),
        SqlValue::U64(value) => push_text(form, b'n', &value.to_string()),
        SqlValue::F64(value) => push_text(form, b'n', &plain_number(&value.to_string())),
        SqlValue::Decimal(text) => push_text(form, b'n', &plain_number(text)),
        SqlValue::Text(text) | SqlValue::Json(text) => push_text(form, b't', text),
        SqlValue::Bytes(bytes) => push_bytes(form, b'b', bytes),
        SqlValue::Array(values) => {
            push_bytes(form, b'[', &(values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| push_form(form, value));
        }
        other => push_text(form, b't', &plain_text(other)),
    }
}

/// A number as it is written in one way only.
fn plain_number(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::DatabaseKind;

    fn column(name: &str, kind: ColumnType) -> Column {
        Column { name: name.into(), kind, nullable: false, fills: false, generated: false }
    }

    fn wanted<K: Serialize>(key: &K, columns: &[Column]) -> Result<Wanted, String> {
        super::wanted(key, columns, Dialect::of(DatabaseKind::Postgres))
    }

    fn text() -> ColumnType {
        ColumnType::Text(TextType { chars_max: Some(3), ..TextType::default() })
    }

    fn int() -> ColumnType {
        ColumnType::Int { min: -128, max: 127 }
    }

    #[derive(serde::Serialize)]
    struct Named {
        b: i64,
        a: &'static str,
    }

    #[test]
    fn a_key_is_a_value_a_tuple_in_the_order_of_the_columns_or_a_struct_of_their_names() {
        let columns = [column("a", text()), column("b", int())];
        let values = |wanted: Result<Wanted, String>| match wanted.expect("a key") {
            Wanted::Row(values, form) => {
                assert_eq!(form_of(&columns, &values), Some(form), "a row with these values is found");
                values
            }
            Wanted::Nothing => panic!("a row can have it"),
        };
        let both = [SqlValue::Text("x".into()), SqlValue::I64(7)];
        assert_eq!(values(wanted(&("x", 7), &columns)), both);
        assert_eq!(values(wanted(&Named { b: 7, a: "x" }, &columns)), both);
        assert_eq!(values(wanted(&"x", &columns[..1])), both[..1]);
        assert!(wanted(&"x", &columns).is_err(), "one value for two columns");
        assert!(wanted(&("x", 7, 8), &columns).is_err());
        assert!(wanted(&Named { b: 7, a: "x" }, &columns[..1]).is_err());
    }

    #[test]
    fn what_no_row_can_have_is_missed_and_what_is_of_another_kind_is_told() {
        let (text, int) = ([column("a", text())], [column("b", int())]);
        assert_eq!(wanted(&"long", &text), Ok(Wanted::Nothing));
        assert_eq!(wanted(&None::<&str>, &text), Ok(Wanted::Nothing));
        assert_eq!(wanted(&128, &int), Ok(Wanted::Nothing));
        let why = wanted(&"s3cret", &int).expect_err("a text for an integer");
        assert!(why.contains("key column b") && !why.contains("s3cret"), "{why}");
        assert!(wanted(&7, &text).is_err(), "an integer for a text");
    }

    #[test]
    fn a_value_that_its_column_has_no_place_for_is_missed_and_a_wrong_type_is_told() {
        let decimal = || ColumnType::Decimal(Some((4, 2)));
        let moment = || ColumnType::Moment { digits: 6, year_2038: false };
        let missed = [
            (decimal(), SqlValue::Text("123.4".into())),
            (decimal(), SqlValue::I64(100)),
            (ColumnType::Double, SqlValue::I64((1 << 53) + 1)),
            (ColumnType::Double, SqlValue::U64(u64::MAX)),
            (ColumnType::Single, SqlValue::F64(0.1)),
            (ColumnType::Date, SqlValue::Text("10000-01-01".into())),
            (ColumnType::Date, SqlValue::Text("2024-02-30".into())),
            (ColumnType::Time(6), SqlValue::Text("25:00:00".into())),
            (ColumnType::Timestamp(3), SqlValue::Text("2024-02-29T10:00:00.0001".into())),
            (ColumnType::Timestamp(3), SqlValue::Text("2024-02-30 10:00:00".into())),
            (moment(), SqlValue::Text("2024-02-30T10:00:00Z".into())),
            (moment(), SqlValue::Text("10000-01-01T10:00:00+02:00".into())),
            (ColumnType::Uuid, SqlValue::Bytes(vec![1, 2])),
        ];
        let told = [
            (decimal(), SqlValue::Text("many".into())),
            (decimal(), SqlValue::F64(0.5)),
            (ColumnType::Double, SqlValue::Text("0.5".into())),
            (ColumnType::Date, SqlValue::Text("yesterday".into())),
            (ColumnType::Date, SqlValue::Text("2024-02-29T10:00:00".into())),
            (ColumnType::Timestamp(3), SqlValue::Text("2024-02-29T10:00:00Z".into())),
            (moment(), SqlValue::Text("2024-02-29T10:00:00".into())),
            (ColumnType::Bool, SqlValue::I64(1)),
        ];
        let dialect = Dialect::of(DatabaseKind::Postgres);
        for (kind, value) in missed {
            let fitted = fitting(dialect, &column("a", kind), value.clone());
            assert_eq!(fitted, Ok(None), "{value:?}");
        }
        for (kind, value) in told {
            let fitted = fitting(dialect, &column("a", kind), value.clone());
            assert!(fitted.is_err(), "{value:?} is {fitted:?}");
        }
        let infinity = fitting(
            Dialect::of(DatabaseKind::MySql),
            &column("a", ColumnType::Double),
            SqlValue::F64(f64::INFINITY),
        );
        assert_eq!(infinity, Ok(None));
    }

    #[test]
    fn each_key_says_itself_whether_it_is_a_record() {
        #[derive(serde::Serialize)]
        #[serde(untagged)]
        enum Either {
            Named(Named),
            Pair(&'static str, i64),
        }
        let columns = [column("a", text()), column("b", int())];
        let row = wanted(&("x", 7), &columns);
        assert!(matches!(row, Ok(Wanted::Row(..))));
        // The first one is nothing: what follows is a record all the same, and the other way round.
        for keys in [[None, Some(Named { b: 7, a: "x" })], [Some(Named { b: 7, a: "x" }), None]] {
            for key in &keys {
                let expected = if key.is_some() { &row } else { &Ok(Wanted::Nothing) };
                assert_eq!(wanted(key, &columns), *expected);
            }
        }
        for key in [Either::Pair("x", 7), Either::Named(Named { b: 7, a: "x" }), Either::Pair("x", 7)] {
            assert_eq!(wanted(&key, &columns), row);
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_letter_by_letter() {
        let form = |value: &SqlValue| {
            let mut form = Form::new();
            push_form(&mut form, value);
            form
        };
        let decimal = |text: &str| form(&SqlValue::Decimal(text.into()));
        for text in ["1.5", "01.50", "+1.5"] {
            assert_eq!(decimal(text), form(&SqlValue::F64(1.5)), "{text}");
        }
        for text in ["0", "0.0", "-0", "00", "-0.00"] {
            assert_eq!(decimal(text), form(&SqlValue::I64(0)), "{text}");
        }
        assert_eq!(decimal("0.5"), form(&SqlValue::F64(0.5)));
        assert_eq!(decimal("-00.50"), form(&SqlValue::F64(-0.5)));
        assert_eq!(decimal("100"), form(&SqlValue::F64(100.0)));
        assert_ne!(decimal("100"), form(&SqlValue::Text("100".into())));
        assert_ne!(form(&SqlValue::Text("a".into())), form(&SqlValue::Text("A".into())));
    }

    #[test]
    fn blanks_that_a_column_adds_are_not_compared() {
        let pads = TextType { chars_max: Some(3), pads: true, ..TextType::default() };
        let columns = [column("a", ColumnType::Text(pads))];
        let Ok(Wanted::Row(_, form)) = wanted(&"x", &columns) else { panic!("a row can have it") };
        assert_eq!(form_of(&columns, &[SqlValue::Text("x  ".into())]), Some(form));
        let Ok(Wanted::Row(_, form)) = wanted(&"x ", &columns) else { panic!("it is asked for") };
        assert_ne!(form_of(&columns, &[SqlValue::Text("x  ".into())]), Some(form), "not the key of this row");
    }
}
