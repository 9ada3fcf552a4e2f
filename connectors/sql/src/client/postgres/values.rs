//! Values on the wire of PostgreSQL: in binary where that is simple, and as the server's own texts where it is not.

use std::error::Error;
use std::fmt::{self, Write as _};

use bytes::{BufMut as _, BytesMut};
use jiff::civil::{Date, DateTime, Time, date};
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::fit::bytes_of;
use crate::row::json;
use crate::value::{SqlValue, plain_text};

type Wrong = Box<dyn Error + Sync + Send>;

/// PostgreSQL counts from here.
const BEGINNING: Date = date(2000, 1, 1);

/// Whether a list is one there too. Elsewhere it is bytes or JSON, as in a column of a table.
fn takes_lists(kind: &Type) -> bool {
    match kind.kind() {
        Kind::Array(_) => true,
        Kind::Domain(base) => takes_lists(base),
        _ => false,
    }
}

/// Whether a value of this type goes as a text.
fn is_text_form(value: &SqlValue, kind: &Type) -> bool {
    if let (SqlValue::Array(values), Kind::Array(member)) = (value, kind.kind()) {
        return values.iter().any(|value| *value != SqlValue::Null && is_text_form(value, member));
    }
    // What a parameter of a statement makes of other floats, or that it takes them not, is the server's to say.
    if let (SqlValue::F64(value), &Type::FLOAT4) = (value, kind) {
        #[allow(clippy::cast_possible_truncation, reason = "whether it changes the number is what is asked")]
        let narrow = f64::from(*value as f32);
        return !value.is_nan() && narrow.to_bits() != value.to_bits();
    }
    !matches!(
        (value, kind),
        (SqlValue::Bool(_), &Type::BOOL)
            | (SqlValue::I64(_), &(Type::INT2 | Type::INT4 | Type::INT8))
            | (SqlValue::F64(_), &Type::FLOAT8)
            | (SqlValue::Bytes(_) | SqlValue::Array(_), &Type::BYTEA)
            | (SqlValue::Uuid(_), &Type::UUID)
            | (SqlValue::Text(_), &(Type::TEXT | Type::VARCHAR | Type::BPCHAR))
    )
}

impl ToSql for SqlValue {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        if *self == Self::Null {
            return Ok(IsNull::Yes);
        }
        if is_text_form(self, kind) {
            let mut text = String::new();
            match self {
                Self::Array(_) if !takes_lists(kind) => text = json::text_of(self)?,
                _ => push_text(&mut text, self)?,
            }
            out.put_slice(text.as_bytes());
            return Ok(IsNull::No);
        }
        match (self, kind) {
            (Self::I64(value), &Type::INT2) => out.put_i16(i16::try_from(*value)?),
            (Self::I64(value), &Type::INT4) => out.put_i32(i32::try_from(*value)?),
            (Self::I64(value), _) => out.put_i64(*value),
            #[allow(clippy::cast_possible_truncation, reason = "it fits: any other is a text")]
            (Self::F64(value), &Type::FLOAT4) => out.put_f32(*value as f32),
            (Self::F64(value), _) => out.put_f64(*value),
            (Self::Bool(value), _) => out.put_u8(u8::from(*value)),
            (Self::Uuid(bytes), _) => out.put_slice(bytes),
            (Self::Bytes(bytes), _) => out.put_slice(bytes),
            (Self::Text(text), _) => out.put_slice(text.as_bytes()),
            (Self::Array(list), &Type::BYTEA) => {
                out.put_slice(&bytes_of(list).map_err(|why| why.to_string())?);
            }
            (Self::Array(values), _) => return values.to_sql(kind, out),
            _ => return Err("a value that is neither text nor binary".into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, kind: &Type) -> Format {
        if *self != Self::Null && is_text_form(self, kind) { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

/// Appends the text that the server reads as this value.
fn push_text(out: &mut String, value: &SqlValue) -> Result<(), Wrong> {
    match value {
        SqlValue::Null => return Err("nothing has no text".into()),
        SqlValue::Bool(value) => out.push_str(if *value { "t" } else { "f" }),
        SqlValue::I64(value) => write!(out, "{value}")?,
        SqlValue::U64(value) => write!(out, "{value}")?,
        SqlValue::F64(value) if value.is_nan() => out.push_str("NaN"),
        SqlValue::F64(value) if value.is_infinite() => {
            out.push_str(if *value > 0.0 { "Infinity" } else { "-Infinity" });
        }
        SqlValue::F64(value) => write!(out, "{value:e}")?,
        SqlValue::Decimal(text) | SqlValue::Text(text) | SqlValue::Json(text) => out.push_str(text),
        SqlValue::Bytes(bytes) => {
            out.push_str("\\x");
            for byte in bytes {
                write!(out, "{byte:02x}")?;
            }
        }
        SqlValue::Array(values) => {
            out.push('{');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                if *value == SqlValue::Null {
                    out.push_str("NULL");
                    continue;
                }
                let mut text = String::new();
                push_text(&mut text, value)?;
                out.push('"');
                for letter in text.chars() {
                    if matches!(letter, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(letter);
                }
                out.push('"');
            }
            out.push('}');
        }
        other => out.push_str(&plain_text(other)),
    }
    Ok(())
}

impl<'a> FromSql<'a> for SqlValue {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        if let Kind::Array(_) = kind.kind() {
            // Of one dimension: of more, nobody said what it is.
            return Vec::from_sql(kind, raw).map(Self::Array);
        }
        if let Kind::Domain(base) = kind.kind() {
            return Self::from_sql(base, raw);
        }
        Ok(match *kind {
            Type::BOOL => Self::Bool(bool::from_sql(kind, raw)?),
            Type::INT2 => Self::I64(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => Self::I64(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Self::I64(i64::from_sql(kind, raw)?),
            Type::OID => Self::I64(u32::from_sql(kind, raw)?.into()),
            Type::FLOAT4 => Self::F64(f32::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Self::F64(f64::from_sql(kind, raw)?),
            Type::NUMERIC => Self::Decimal(numeric(raw).ok_or(NoForm("NaN or an infinity"))?),
            Type::BYTEA => Self::Bytes(raw.to_owned()),
            Type::UUID => Self::Uuid(raw.try_into()?),
            Type::JSON => Self::Json(std::str::from_utf8(raw)?.to_owned()),
            // A version stands before the text.
            Type::JSONB => {
                Self::Json(std::str::from_utf8(raw.get(1..).ok_or("an empty JSON text")?)?.to_owned())
            }
            Type::DATE => {
                let days = i32::from_be_bytes(raw.try_into()?);
                if matches!(days, i32::MIN | i32::MAX) {
                    return Err(INFINITY.into());
                }
                let since = SignedDuration::from_hours(i64::from(days) * 24);
                Self::Date(BEGINNING.checked_add(since).map_err(|_| FAR)?)
            }
            Type::TIME => {
                Self::Time(Time::midnight().checked_add(SignedDuration::from_micros(micros(raw)?))?)
            }
            Type::TIMESTAMP => {
                let beginning = DateTime::from_parts(BEGINNING, Time::midnight());
                Self::Timestamp(
                    beginning.checked_add(SignedDuration::from_micros(micros(raw)?)).map_err(|_| FAR)?,
                )
            }
            Type::TIMESTAMPTZ => {
                const BEGINNING_SECOND: i64 = 946_684_800;
                let beginning = Timestamp::from_second(BEGINNING_SECOND)?;
                Self::Moment(
                    beginning.checked_add(SignedDuration::from_micros(micros(raw)?)).map_err(|_| FAR)?,
                )
            }
            _ if is_text(kind) => Self::Text(std::str::from_utf8(raw)?.to_owned()),
            _ => return Err("an unknown type".into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Wrong> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Types whose binary form is their text.
fn is_text(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::XML | Type::CHAR
    ) || matches!(kind.kind(), Kind::Enum(_))
        || kind.name() == "citext"
}

/// `infinity` is the last or the first of them.
fn micros(raw: &[u8]) -> Result<i64, Wrong> {
    match i64::from_be_bytes(raw.try_into()?) {
        i64::MIN | i64::MAX => Err(INFINITY.into()),
        micros => Ok(micros),
    }
}

/// What a column may hold, and no record has a form for.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoForm(&'static str);

const INFINITY: NoForm = NoForm("infinity");
const FAR: NoForm = NoForm("a year that is not one of -9999 to 9999");

impl fmt::Display for NoForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it holds {}, for which no record has a form", self.0)
    }
}

impl std::error::Error for NoForm {}

/// A number in digits of ten thousand. `None` for NaN and infinities.
fn numeric(raw: &[u8]) -> Option<String> {
    const NEGATIVE: i16 = 0x4000;
    let word = |at: usize| Some(i16::from_be_bytes(raw.get(2 * at..2 * at + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (word(0)?, word(1)?, word(2)?, usize::try_from(word(3)?).ok()?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    // The digit that counts ten thousand to the power of `place`.
    let digit = |place: i32| match usize::try_from(i32::from(weight) - place) {
        Ok(at) if at < usize::try_from(count).unwrap_or(0) => word(4 + at),
        _ => Some(0),
    };
    let mut text = String::new();
    for place in (0..=i32::from(weight).max(0)).rev() {
        let _infallible = write!(text, "{:04}", digit(place)?);
    }
    let whole = text.trim_start_matches('0');
    let mut number = if sign == NEGATIVE { "-".to_owned() } else { String::new() };
    number.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let mut fraction = String::new();
        let mut place = -1;
        while fraction.len() < scale {
            let _infallible = write!(fraction, "{:04}", digit(place)?);
            place -= 1;
        }
        number.push('.');
        number.push_str(&fraction[..scale]);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_numeric_has_every_digit() {
        for (raw, text) in [
            (vec![0, 0, 0, 0], "0"),
            (vec![0, 0, 0, 2], "0.00"),
            (vec![2, 0, 0, 2, 1, 5000], "1.50"),
            (vec![2, 1, 0x4000, 0, 12, 3456], "-123456"),
            (vec![1, -1, 0, 4, 1], "0.0001"),
            (vec![1, -2, 0, 8, 1], "0.00000001"),
            (vec![1, 2, 0, 0, 1], "100000000"),
            (vec![3, 1, 0, 3, 1, 2, 3000], "10002.300"),
        ] {
            assert_eq!(numeric(&words(&raw)).as_deref(), Some(text));
        }
        assert_eq!(numeric(&words(&[0, 0, -0x4000, 0])), None, "NaN");
        assert_eq!(numeric(&[0]), None);
    }

    #[test]
    fn times_are_counted_from_the_year_2000() {
        let read = |kind: &Type, raw: &[u8]| SqlValue::from_sql(kind, raw).map_err(|error| error.to_string());
        let text = |value: Result<SqlValue, String>| plain_text(&value.expect("a time"));
        assert_eq!(text(read(&Type::DATE, &(-1_i32).to_be_bytes())), "1999-12-31");
        assert_eq!(text(read(&Type::TIMESTAMP, &1_i64.to_be_bytes())), "2000-01-01T00:00:00.000001");
        assert_eq!(
            text(read(&Type::TIMESTAMPTZ, &(-946_684_800_000_000_i64).to_be_bytes())),
            "1970-01-01T00:00:00Z"
        );
        for kind in [Type::TIMESTAMP, Type::TIMESTAMPTZ] {
            let why = read(&kind, &i64::MAX.to_be_bytes()).expect_err("infinity is no time");
            assert!(why.contains("it holds infinity"), "{why}");
            let why = read(&kind, &(i64::MAX - 1).to_be_bytes()).expect_err("too far");
            assert!(why.contains("a year"), "{why}");
        }
        let why = read(&Type::DATE, &i32::MAX.to_be_bytes()).expect_err("infinity is no day");
        assert!(why.contains("it holds infinity"), "{why}");
        let nan: Vec<u8> = words(&[0, 0, -0x4000, 0]);
        let why = read(&Type::NUMERIC, &nan).expect_err("NaN is no decimal");
        assert!(why.contains("it holds NaN"), "{why}");
    }

    /// In binary it would be an infinity, and no error.
    #[test]
    fn a_float_that_is_no_small_one_is_read_by_the_server() {
        for (value, is_text) in [
            (0.5, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
            (1e300, true),
            (-1e-300, true),
            (0.1, true),
        ] {
            let value = SqlValue::F64(value);
            assert_eq!(is_text_form(&value, &Type::FLOAT4), is_text, "{value:?}");
            let list = SqlValue::Array(vec![SqlValue::F64(0.5), value]);
            assert_eq!(is_text_form(&list, &Type::FLOAT4_ARRAY), is_text, "{list:?}");
        }
        let mut out = BytesMut::new();
        SqlValue::F64(1e300).to_sql(&Type::FLOAT4, &mut out).expect("a text");
        assert_eq!(&out[..], b"1e300");
    }

    /// As a table's column of these types would have it.
    #[test]
    fn a_list_for_a_parameter_that_is_none_is_bytes_or_json() {
        let list = |values: &[i64]| SqlValue::Array(values.iter().copied().map(SqlValue::I64).collect());
        for (value, kind, is_text, expected) in [
            (list(&[1, 255]), Type::JSONB, true, b"[1,255]".as_slice()),
            (list(&[]), Type::JSON, true, b"[]"),
            (list(&[1, 255]), Type::TEXT, true, b"[1,255]"),
            (list(&[1, 255]), Type::BYTEA, false, &[1, 255]),
        ] {
            assert_eq!(is_text_form(&value, &kind), is_text, "{kind}");
            let mut out = BytesMut::new();
            value.to_sql(&kind, &mut out).expect("a value");
            assert_eq!(&out[..], expected, "{kind}");
        }
        assert!(list(&[256]).to_sql(&Type::BYTEA, &mut BytesMut::new()).is_err(), "no byte");
        assert!(!is_text_form(&list(&[1]), &Type::INT8_ARRAY), "one that is stays one");
    }

    #[test]
    fn a_list_keeps_what_its_texts_are_made_of() {
        let mut text = String::new();
        let list =
            SqlValue::Array(vec![SqlValue::Text("a\"b\\,{}".into()), SqlValue::Null, SqlValue::I64(1)]);
        push_text(&mut text, &list).expect("a list");
        assert_eq!(text, r#"{"a\"b\\,{}",NULL,"1"}"#);
    }
}
