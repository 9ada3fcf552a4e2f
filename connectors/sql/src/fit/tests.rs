use super::*;
use crate::kind::DatabaseKind;

fn fitted(kind: DatabaseKind, declared: &str, value: SqlValue) -> Result<SqlValue, Misfit> {
    let dialect = Dialect::of(kind);
    let column = Column {
        name: "c".into(),
        kind: dialect.type_of(declared, None),
        nullable: false,
        fills: false,
        generated: false,
    };
    fit(dialect, &column, value)
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(text.into())
}

#[test]
fn what_a_column_would_change_is_refused() {
    use DatabaseKind::{MySql, Postgres, Sqlite};
    for (kind, declared, value) in [
        (Postgres, "smallint", SqlValue::I64(32_768)),
        (Postgres, "smallint", SqlValue::I64(-32_769)),
        (Postgres, "bigint", SqlValue::U64(u64::MAX)),
        (Postgres, "integer", text("7")),
        (Postgres, "integer", SqlValue::F64(7.0)),
        (Postgres, "real", SqlValue::F64(0.1)),
        (Postgres, "real", SqlValue::I64((1 << 24) + 1)),
        (Postgres, "double precision", SqlValue::I64((1 << 53) + 1)),
        (Postgres, "numeric(4,2)", text("123.4")),
        (Postgres, "numeric(4,2)", text("1.234")),
        (Postgres, "numeric", text("NaN")),
        (Postgres, "numeric", text("1e5")),
        (Postgres, "numeric", text("1.")),
        (Postgres, "numeric", SqlValue::F64(0.5)),
        (Postgres, "text", text("a\0b")),
        (Postgres, "text", SqlValue::I64(7)),
        (Postgres, "character varying(2)", text("äöü")),
        (Postgres, "character(3)", text("ab")),
        (Postgres, "character(3)", text("ab ")),
        (Postgres, "jsonb", text("a\0b")),
        (Postgres, "date", text("2024-02-30")),
        (Postgres, "date", text("2024-02-29T10:00:00")),
        (Postgres, "date", text("-000001-01-01")),
        (Postgres, "timestamp(3) without time zone", text("2024-02-29T10:00:00.0001")),
        (Postgres, "timestamp without time zone", text("2024-02-29T10:00:00Z")),
        (Postgres, "timestamp without time zone", text("2024-02-29T10:00:00+02:00")),
        (Postgres, "timestamp without time zone", text("2024-02-29")),
        (Postgres, "timestamp with time zone", text("2024-02-29T10:00:00")),
        (Postgres, "timestamp with time zone", text("2024-02-29T10:00:00.123456789Z")),
        (Postgres, "time without time zone", text("10:00:00Z")),
        (Postgres, "uuid", text("7")),
        (Postgres, "timestamp with time zone", text("2016-12-31T23:59:60Z")),
        (Postgres, "timestamp without time zone", text("2016-12-31T23:59:60")),
        (Postgres, "time without time zone", text("23:59:60")),
        (Postgres, "time(0) with time zone", text("10:00:00.7+00")),
        (Postgres, "interval", text("0.0000001 seconds")),
        (Postgres, "interval(0)", text("1 day 1.6 seconds")),
        (Postgres, "interval(0)[]", SqlValue::Array(vec![text("1.6 seconds")])),
        (Postgres, "interval year to month", text("1 year")),
        (Postgres, "money", text("1.239")),
        (Postgres, "numeric(4,-3)", SqlValue::I64(12)),
        (Postgres, "name", text(&"x".repeat(64))),
        (Postgres, "\"char\"", text("ab")),
        (Postgres, "bpchar", text("a ")),
        (MySql, "enum('a','b')", text("1")),
        (MySql, "enum('a','b')", text("A")),
        (MySql, "set('a','b')", text("b,a")),
        (MySql, "set('a','b')", text("a,a")),
        (MySql, "bit(8)", text("1")),
        (MySql, "year(4)", text("99")),
        (MySql, "year(4)", SqlValue::I64(99)),
        (MySql, "float(7,4)", text("1.23456")),
        (MySql, "float(7,4)", text("123.4567")),
        (Postgres, "integer[]", SqlValue::Array(vec![text("7")])),
        (Postgres, "integer[]", SqlValue::Array(vec![SqlValue::Array(vec![])])),
        (Postgres, "boolean", SqlValue::I64(1)),
        (Postgres, "integer", SqlValue::Null),
        (MySql, "double", SqlValue::F64(f64::NAN)),
        (MySql, "char(5)", text("a ")),
        (MySql, "binary(4)", SqlValue::Bytes(vec![1])),
        (MySql, "varbinary(1)", SqlValue::Bytes(vec![1, 2])),
        (MySql, "tinytext", text(&"a".repeat(256))),
        (MySql, "datetime", text("2024-02-29T10:00:00.5")),
        (MySql, "timestamp", text("2038-01-19T03:14:08Z")),
        (MySql, "timestamp", text("1970-01-01T00:00:00Z")),
        (MySql, "float(7,4)", SqlValue::F64(0.5)),
        (Sqlite, "DECIMAL(10,2)", text("0.10")),
        (Sqlite, "DECIMAL(10,2)", text(" 1e3 ")),
        (Sqlite, "NUMERIC", SqlValue::F64(-0.0)),
        (Sqlite, "REAL", SqlValue::F64(f64::NAN)),
        (Sqlite, "TEXT", SqlValue::I64(7)),
        (Sqlite, "INTEGER", SqlValue::U64(1 << 63)),
    ] {
        let name = value.type_name();
        assert!(fitted(kind, declared, value).is_err(), "{kind} {declared} takes {name}");
    }
}

#[test]
fn what_a_column_keeps_is_taken_in_its_form() {
    use DatabaseKind::{MySql, Postgres, Sqlite};
    let list = |values: &[i64]| SqlValue::Array(values.iter().copied().map(SqlValue::I64).collect());
    for (kind, declared, value, expected) in [
        (Postgres, "smallint", SqlValue::I64(-32_768), SqlValue::I64(-32_768)),
        (Postgres, "real", SqlValue::F64(f64::from(0.1_f32)), SqlValue::F64(f64::from(0.1_f32))),
        (Postgres, "real", SqlValue::F64(f64::INFINITY), SqlValue::F64(f64::INFINITY)),
        (Postgres, "double precision", SqlValue::I64(3), SqlValue::F64(3.0)),
        (Postgres, "numeric(4,2)", text("-012.340"), SqlValue::Decimal("-012.340".into())),
        (Postgres, "numeric(30,0)", SqlValue::U64(u64::MAX), SqlValue::Decimal(u64::MAX.to_string())),
        (Postgres, "character(3)", text("abc"), text("abc")),
        (Postgres, "bytea", list(&[0, 255]), SqlValue::Bytes(vec![0, 255])),
        (Postgres, "jsonb", text("a"), SqlValue::Json("\"a\"".into())),
        (Postgres, "jsonb", list(&[1, 2]), SqlValue::Json("[1,2]".into())),
        (Postgres, "text", SqlValue::Json("{}".into()), text("{}")),
        (Postgres, "uuid", SqlValue::Bytes(vec![7; 16]), SqlValue::Uuid([7; 16])),
        (Postgres, "inet", text("::1"), text("::1")),
        (Postgres, "interval", text("1 day 1.500000 s"), text("1 day 1.500000 s")),
        (Postgres, "money", text("1.23"), text("1.23")),
        (MySql, "enum('a','it''s')", text("it's"), text("it's")),
        (MySql, "set('a','b','c')", text("a,c"), text("a,c")),
        (MySql, "set('a','b','c')", text(""), text("")),
        (MySql, "year(4)", text("1999"), SqlValue::I64(1999)),
        (MySql, "float(7,4)", text("12.3456"), SqlValue::Decimal("12.3456".into())),
        (Postgres, "integer[]", list(&[1, 2]), list(&[1, 2])),
        (MySql, "tinyint(1)", SqlValue::Bool(true), SqlValue::I64(1)),
        (MySql, "bigint unsigned", SqlValue::U64(u64::MAX), SqlValue::U64(u64::MAX)),
        (MySql, "text", text("a\0 "), text("a\0 ")),
        (Sqlite, "BOOLEAN", SqlValue::Bool(false), SqlValue::I64(0)),
        (Sqlite, "DATETIME", text("2024-02-29"), text("2024-02-29")),
        (Sqlite, "", SqlValue::Bool(true), SqlValue::I64(1)),
    ] {
        let fitted = fitted(kind, declared, value);
        assert!(fitted == Ok(expected), "{kind} {declared}: {fitted:?}");
    }
    let moment = fitted(Postgres, "timestamp with time zone", text("2024-02-29T10:00:00+02:00"));
    assert!(moment == Ok(SqlValue::Moment("2024-02-29T08:00:00Z".parse().expect("a moment"))), "{moment:?}");
    let time = fitted(MySql, "datetime(6)", text("2024-02-29 10:00:00.000001"));
    assert!(matches!(time, Ok(SqlValue::Timestamp(_))), "{time:?}");
}

#[test]
fn a_character_set_without_a_letter_refuses_it() {
    let dialect = Dialect::of(DatabaseKind::MySql);
    for (letters, refused) in [("utf8mb3", "𝄞"), ("ascii", "ä")] {
        let kind = dialect.type_of("varchar(10)", Some(letters));
        let column = Column { name: "c".into(), kind, nullable: false, fills: false, generated: false };
        assert!(fit(dialect, &column, text(refused)).is_err(), "{letters}");
        assert!(fit(dialect, &column, text("a")).is_ok());
    }
}
