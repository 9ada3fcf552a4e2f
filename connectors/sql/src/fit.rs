//! Whether a value fits a column, and the form that it takes to go there.
//!
//! Databases make something of almost everything: a text is cut off, a fraction rounded, a list of
//! digits becomes a float, a zone is dropped. Nobody is told. So each value is compared with its column first, and one
//! that would be read back as another one is refused.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};

use crate::column::{Column, ColumnType, Letters, TextType};
use crate::dialect::Dialect;
use crate::row::json;
use crate::value::{SqlValue, parse_uuid};

/// Why a value does not go into a column: without the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The column holds values of this type, and no place for this one.
    Value(String),
    /// The column holds no values of this type, or of this form, whatever they are.
    Type(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Value(why) | Self::Type(why)) = self;
        f.write_str(why)
    }
}

fn no_place<T>(why: &str) -> Result<T, Misfit> {
    Err(Misfit::Value(why.into()))
}

fn no_type<T>(why: &str) -> Result<T, Misfit> {
    Err(Misfit::Type(why.into()))
}

/// The form in which a value goes into a column.
///
/// # Errors
/// Why it does not fit: without the value itself.
pub(crate) fn fit(dialect: &Dialect, column: &Column, value: SqlValue) -> Result<SqlValue, Misfit> {
    if value == SqlValue::Null {
        return if column.nullable { Ok(value) } else { no_place("the column holds no missing values") };
    }
    fit_type(dialect, &column.kind, value)
}

fn fit_type(dialect: &Dialect, kind: &ColumnType, value: SqlValue) -> Result<SqlValue, Misfit> {
    let kind_of_value = value.type_name();
    match (kind, value) {
        (ColumnType::Bool, value @ SqlValue::Bool(_)) => Ok(value),
        (ColumnType::Int { .. } | ColumnType::Numeric, SqlValue::Bool(value)) => {
            Ok(SqlValue::I64(value.into()))
        }
        (ColumnType::Int { min, max }, value @ (SqlValue::I64(_) | SqlValue::U64(_))) => {
            int(*min, *max, value)
        }
        (ColumnType::Single | ColumnType::Double | ColumnType::Numeric, SqlValue::F64(value)) => {
            float(dialect, kind, value)
        }
        (ColumnType::Double | ColumnType::Single, SqlValue::U64(_)) => no_place(INEXACT),
        (ColumnType::Double, SqlValue::I64(value)) => exact_float(value, 1 << 53),
        (ColumnType::Single, SqlValue::I64(value)) => exact_float(value, 1 << 24),
        (ColumnType::Numeric, value @ SqlValue::I64(_)) => Ok(value),
        (ColumnType::Numeric, SqlValue::U64(_)) => no_place(OUT_OF_RANGE),
        (ColumnType::Decimal(digits), SqlValue::I64(value)) => decimal(*digits, value.to_string()),
        (ColumnType::Decimal(digits), SqlValue::U64(value)) => decimal(*digits, value.to_string()),
        (ColumnType::Decimal(digits), SqlValue::Text(text) | SqlValue::Decimal(text)) => {
            decimal(*digits, text)
        }
        (ColumnType::Text(kind), SqlValue::Text(text)) => self::text(dialect, kind, text),
        // Nested values are JSON where the column has no form of its own for them.
        (ColumnType::Text(kind), value @ (SqlValue::Json(_) | SqlValue::Array(_))) => {
            self::text(dialect, kind, json::text_of(&value).map_err(Misfit::Value)?)
        }
        (ColumnType::Bytes { max, exact }, SqlValue::Bytes(bytes)) => self::bytes(*max, *exact, bytes),
        // What serde calls a list of `u8` is bytes.
        (ColumnType::Bytes { max, exact }, SqlValue::Array(list)) => {
            self::bytes(*max, *exact, bytes_of(&list)?)
        }
        (ColumnType::Date, SqlValue::Text(text)) => date(&text),
        (ColumnType::Time(digits), SqlValue::Text(text)) => time(*digits, &text),
        (ColumnType::Timestamp(digits), SqlValue::Text(text)) => timestamp(*digits, &text),
        (ColumnType::Moment { digits, year_2038 }, SqlValue::Text(text)) => {
            moment(*digits, *year_2038, &text)
        }
        (ColumnType::Uuid, SqlValue::Text(text)) => {
            parse_uuid(&text).map(SqlValue::Uuid).ok_or_else(|| Misfit::Type("the text is no uuid".into()))
        }
        (ColumnType::Uuid, SqlValue::Bytes(bytes)) => {
            bytes.try_into().map(SqlValue::Uuid).map_err(|_| Misfit::Value("a uuid has 16 bytes".into()))
        }
        (ColumnType::Json, value) => json_column(dialect, &value),
        (ColumnType::Array(element), SqlValue::Array(values)) => {
            let fitting = values.into_iter().map(|value| match value {
                SqlValue::Null => Ok(value),
                SqlValue::Array(_) => no_type("a list within a list"),
                value => fit_type(dialect, element, value),
            });
            fitting.collect::<Result<_, _>>().map(SqlValue::Array)
        }
        (ColumnType::Numeric, SqlValue::Text(text)) => numeric_text(text),
        (ColumnType::Numeric, value @ SqlValue::Bytes(_)) => Ok(value),
        (ColumnType::Any, value) => any(dialect, value),
        (ColumnType::Fraction(digits), SqlValue::Text(text)) => fraction(dialect, *digits, text),
        (ColumnType::Labels { labels, several }, SqlValue::Text(text)) => label(labels, *several, text),
        (ColumnType::Year, value) => year(&value),
        (ColumnType::Lossy, _) => no_type("the column rounds or cuts what it is given: declare it otherwise"),
        (ColumnType::Other, SqlValue::Text(text)) => self::text(dialect, &TextType::default(), text),
        _ => Err(Misfit::Type(format!("the column cannot hold {kind_of_value} without changing it"))),
    }
}

const OUT_OF_RANGE: &str = "the integer is out of the column's range";
const INEXACT: &str = "a float cannot hold all digits of the integer";

fn int(min: i64, max: u64, value: SqlValue) -> Result<SqlValue, Misfit> {
    let fits = match value {
        SqlValue::I64(value) => value >= min && u64::try_from(value).map_or(true, |value| value <= max),
        SqlValue::U64(value) => value <= max,
        _ => false,
    };
    if fits { Ok(value) } else { no_place(OUT_OF_RANGE) }
}

fn float(dialect: &Dialect, kind: &ColumnType, value: f64) -> Result<SqlValue, Misfit> {
    #[allow(clippy::cast_possible_truncation, reason = "whether it changes the number is what is asked")]
    let narrow = f64::from(value as f32);
    if value.is_nan() && !dialect.nan || value.is_infinite() && !dialect.infinity {
        return no_place("the database has no form for NaN and infinities");
    }
    if *kind == ColumnType::Single && !value.is_nan() && narrow.to_bits() != value.to_bits() {
        return no_place("the float needs more digits than the column has");
    }
    if value == 0.0 && value.is_sign_negative() && (*kind == ColumnType::Numeric || !dialect.negative_zero) {
        return no_place("the database makes 0 of -0.0");
    }
    Ok(SqlValue::F64(value))
}

/// An integer for a column of floats, which hold each up to a power of two.
fn exact_float(value: i64, bound: u64) -> Result<SqlValue, Misfit> {
    #[allow(clippy::cast_precision_loss, reason = "it is within the bound")]
    let float = value as f64;
    if value.unsigned_abs() <= bound { Ok(SqlValue::F64(float)) } else { no_place(INEXACT) }
}

fn decimal(digits: Option<(usize, usize)>, text: String) -> Result<SqlValue, Misfit> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = !whole.is_empty()
        && (fraction.is_empty() != unsigned.contains('.'))
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_number {
        return no_type("the text is no decimal number such as -12.50");
    }
    if let Some((precision, scale)) = digits {
        let whole = whole.trim_start_matches('0').len();
        if whole > precision.saturating_sub(scale) || fraction.trim_end_matches('0').len() > scale {
            return no_place("the decimal has more digits than the column");
        }
    }
    Ok(SqlValue::Decimal(text))
}

fn text(dialect: &Dialect, kind: &TextType, text: String) -> Result<SqlValue, Misfit> {
    if !dialect.nul && text.contains('\0') {
        return no_place("the database has no form for a text with a NUL");
    }
    let chars = || text.chars().count();
    let fits_letters = match kind.letters {
        Letters::All => true,
        Letters::Basic => text.chars().all(|letter| u32::from(letter) < 0x1_0000),
        Letters::Latin => {
            text.chars().all(|letter| letter.is_ascii() || matches!(letter, '\u{a0}'..='\u{ff}'))
        }
        Letters::Ascii => text.is_ascii(),
    };
    if !fits_letters {
        return no_place("the text has characters that the column's character set has not");
    }
    if kind.chars_max.is_some_and(|max| chars() > max) || kind.bytes_max.is_some_and(|max| text.len() > max) {
        return no_place("the text is too long for the column");
    }
    if (kind.trims || kind.pads) && text.ends_with(' ') {
        return no_place("the column drops blanks at the end of a text");
    }
    if kind.pads && kind.chars_max.is_some_and(|max| chars() < max) {
        return no_place("the column fills a shorter text up with blanks");
    }
    Ok(SqlValue::Text(text))
}

fn bytes(max: Option<usize>, exact: bool, bytes: Vec<u8>) -> Result<SqlValue, Misfit> {
    match max {
        Some(max) if bytes.len() > max => no_place("there are more bytes than the column has"),
        Some(max) if exact && bytes.len() < max => no_place("the column fills fewer bytes up with zeros"),
        _ => Ok(SqlValue::Bytes(bytes)),
    }
}

pub(crate) fn bytes_of(list: &[SqlValue]) -> Result<Vec<u8>, Misfit> {
    let byte = |value: &SqlValue| match value {
        SqlValue::I64(value) => u8::try_from(*value).ok(),
        _ => None,
    };
    list.iter()
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| Misfit::Type("a list that is not one of bytes".into()))
}

/// A text with numbers in it, such as an interval: their fractions must not be rounded.
fn fraction(dialect: &Dialect, digits: u8, text: String) -> Result<SqlValue, Misfit> {
    let fits = |after: &str| {
        let fraction: &str = after.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        fraction.trim_end_matches('0').len() <= usize::from(digits)
    };
    if text.split('.').skip(1).all(fits) {
        self::text(dialect, &TextType::default(), text)
    } else {
        Err(Misfit::Value(format!("the column keeps {digits} digits of a fraction")))
    }
}

fn label(labels: &[String], several: bool, text: String) -> Result<SqlValue, Misfit> {
    let place = |label: &str| labels.iter().position(|one| one == label);
    let is_one = match several {
        false => place(&text).is_some(),
        true if text.is_empty() => true,
        true => {
            let places: Option<Vec<_>> = text.split(',').map(place).collect();
            places.is_some_and(|places| places.windows(2).all(|pair| pair[0] < pair[1]))
        }
    };
    match (is_one, several) {
        (true, _) => Ok(SqlValue::Text(text)),
        (false, false) => no_place("the text is none of the column's labels, letter for letter"),
        (false, true) => {
            no_place("the text is not labels of the column in its order, each once, with commas")
        }
    }
}

fn year(value: &SqlValue) -> Result<SqlValue, Misfit> {
    let year = match value {
        SqlValue::I64(year) => *year,
        SqlValue::Text(text) if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().unwrap_or(0)
        }
        _ => return no_type("a year is an integer, or a text of four digits"),
    };
    if (1901..=2155).contains(&year) {
        Ok(SqlValue::I64(year))
    } else {
        no_place("the year is not one of 1901 to 2155")
    }
}

/// Years that every database and every client writes with four digits.
fn usual(year: i16) -> Result<(), Misfit> {
    if (1..=9999).contains(&year) { Ok(()) } else { no_place("the year is not one of 1 to 9999") }
}

/// A fraction of a second with more digits than the column has is rounded.
fn digits_fit(digits: u8, nanosecond: i32) -> Result<(), Misfit> {
    let unit = 10_i32.pow(9 - u32::from(digits.min(9)));
    if nanosecond % unit == 0 {
        Ok(())
    } else {
        Err(Misfit::Value(format!("the column keeps {digits} digits of a second")))
    }
}

fn date(text: &str) -> Result<SqlValue, Misfit> {
    // The parser also takes a date and a time, and drops the time.
    if !is_date(&form(text)) {
        return no_type("the text is no date such as 2024-02-29");
    }
    let date: Date = there_is(text.parse())?;
    usual(date.year()).map(|()| SqlValue::Date(date))
}

/// A text with `d` for each run of digits: whether it has the form of a date says this, and whether there is such a day
/// is another question.
fn form(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '0'..='9' if form.ends_with('d') => {}
            '0'..='9' => form.push('d'),
            other => form.push(other),
        }
    }
    form
}

/// Years may have a sign.
fn is_date(form: &str) -> bool {
    matches!(form.strip_prefix(['-', '+']).unwrap_or(form), "d-d-d")
}

fn is_time(form: &str) -> bool {
    matches!(form, "d:d" | "d:d:d" | "d:d:d.d")
}

fn is_date_and_time(form: &str) -> bool {
    form.split_once(['T', 't', ' ']).is_some_and(|(date, time)| is_date(date) && is_time(time))
}

/// A leap second, of which parsers make the second before it.
fn no_leap_second(text: &str) -> Result<(), Misfit> {
    match text.split(':').nth(2) {
        Some(second) if second.starts_with("60") => no_place("the column has no place for a leap second"),
        _ => Ok(()),
    }
}

/// What a parser says of a text that has the form: there is no such day, or no such hour.
fn there_is<T, E>(parsed: Result<T, E>) -> Result<T, Misfit> {
    parsed.map_err(|_| {
        Misfit::Value("there is no such day or no such time, or the year is not one of 1 to 9999".into())
    })
}

fn time(digits: u8, text: &str) -> Result<SqlValue, Misfit> {
    if !is_time(&form(text)) {
        return no_type("the text is no time such as 23:59:59.5");
    }
    no_leap_second(text)?;
    let time: Time = there_is(text.parse())?;
    digits_fit(digits, time.subsec_nanosecond()).map(|()| SqlValue::Time(time))
}

fn timestamp(digits: u8, text: &str) -> Result<SqlValue, Misfit> {
    // The parser also takes a zone, and drops it.
    if !is_date_and_time(&form(text)) {
        return no_type("the text is no timestamp without a zone, such as 2024-02-29T23:59:59.5");
    }
    no_leap_second(text)?;
    let time: DateTime = there_is(text.parse())?;
    usual(time.year())?;
    digits_fit(digits, time.subsec_nanosecond())?;
    Ok(SqlValue::Timestamp(time))
}

fn moment(digits: u8, year_2038: bool, text: &str) -> Result<SqlValue, Misfit> {
    const SECONDS_MAX: i64 = (1 << 31) - 1;
    let form = form(text);
    let zone = form.strip_suffix(['Z', 'z']).or_else(|| form.rsplit_once(['+', '-']).map(|(time, _)| time));
    let moment: Timestamp = match text.parse() {
        Ok(moment) => moment,
        failed if zone.is_some_and(is_date_and_time) => there_is(failed)?,
        Err(_) => return no_type("the text is no timestamp with a zone, such as 2024-02-29T23:59:59.5Z"),
    };
    no_leap_second(text)?;
    usual(moment.to_zoned(jiff::tz::TimeZone::UTC).year())?;
    digits_fit(digits, moment.subsec_nanosecond())?;
    if year_2038 && !(1..=SECONDS_MAX).contains(&moment.as_second()) {
        return no_place("the column holds moments from 1970 to January 2038 alone");
    }
    Ok(SqlValue::Moment(moment))
}

fn json_column(dialect: &Dialect, value: &SqlValue) -> Result<SqlValue, Misfit> {
    let text = json::text_of(value).map_err(Misfit::Value)?;
    if !dialect.nul && text.contains("\\u0000") {
        return no_place("the database has no form for a text with a NUL");
    }
    Ok(SqlValue::Json(text))
}

/// SQLite makes a number of a text that looks like one.
fn numeric_text(text: String) -> Result<SqlValue, Misfit> {
    let trimmed = text.trim_matches(|letter: char| letter.is_ascii_whitespace());
    if trimmed.parse::<f64>().is_ok() {
        return no_type("the column makes a number of this text: declare it as TEXT");
    }
    Ok(SqlValue::Text(text))
}

fn any(dialect: &Dialect, value: SqlValue) -> Result<SqlValue, Misfit> {
    match value {
        SqlValue::F64(value) => float(dialect, &ColumnType::Double, value),
        SqlValue::Bool(value) => Ok(SqlValue::I64(value.into())),
        SqlValue::U64(_) => no_place(OUT_OF_RANGE),
        SqlValue::Json(_) | SqlValue::Array(_) => {
            json::text_of(&value).map(SqlValue::Text).map_err(Misfit::Value)
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests;
