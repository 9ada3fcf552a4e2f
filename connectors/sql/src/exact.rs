//! Types that take a text and keep another one, without a word: those of their values that come back as they were.
//!
//! | type | what the server makes of it |
//! |---|---|
//! | PostgreSQL: `interval`, `money`, `time with time zone` | rounds a fraction that has too many digits |
//! | `interval year to month` and its like | leaves out what is finer |
//! | `numeric` with a negative scale | rounds in front of the point |
//! | `name`, `"char"` | cuts off what is too long |
//! | MySQL: `enum` | takes a number for a label, and letters of another size |
//! | `set` | puts labels in its own order, each once |
//! | `year` | makes 1999 of 99 |
//! | `bit` | takes the bytes of a text |
//! | `float` and `double` with a number of digits | round |

use crate::column::{ColumnType, TextType};
use crate::kind::DatabaseKind;

/// What a column of such a type takes; `None` for every other type.
pub(crate) fn of(kind: DatabaseKind, declared: &str) -> Option<ColumnType> {
    match kind {
        DatabaseKind::Postgres => postgres(declared.trim()),
        DatabaseKind::MySql => mysql(declared.trim()),
        DatabaseKind::Sqlite => None,
    }
}

fn postgres(declared: &str) -> Option<ColumnType> {
    if let Some(element) = declared.strip_suffix("[]") {
        return postgres(element).map(|element| ColumnType::Array(Box::new(element)));
    }
    let digits = |default| argument(declared).and_then(|digits| digits.parse().ok()).unwrap_or(default);
    let bytes = |max| ColumnType::Text(TextType { bytes_max: Some(max), ..TextType::default() });
    let name = declared.split('(').next().unwrap_or(declared).trim();
    Some(match name {
        "\"char\"" => bytes(1),
        "name" => bytes(63),
        "bpchar" => ColumnType::Text(TextType { trims: true, ..TextType::default() }),
        "money" => ColumnType::Fraction(2),
        "time with time zone" => ColumnType::Fraction(6),
        "time" if declared.ends_with("with time zone") => ColumnType::Fraction(digits(6)),
        "interval" => ColumnType::Fraction(digits(6)),
        _ if name.starts_with("interval ") && name.ends_with("second") => ColumnType::Fraction(digits(6)),
        _ if name.starts_with("interval ") => ColumnType::Lossy,
        "numeric" if declared.contains('-') => ColumnType::Lossy,
        _ => return None,
    })
}

fn mysql(declared: &str) -> Option<ColumnType> {
    let small = declared.to_ascii_lowercase();
    let name = small.split(['(', ' ']).next().unwrap_or(&small);
    Some(match name {
        "enum" => ColumnType::Labels { labels: labels(declared)?, several: false },
        "set" => ColumnType::Labels { labels: labels(declared)?, several: true },
        "year" => ColumnType::Year,
        "bit" => ColumnType::Lossy,
        // As many digits as come back from a float of 32 bits, and of 64.
        "float" => digits_of(&small, 6)?,
        "double" => digits_of(&small, 15)?,
        _ => return None,
    })
}

fn argument(declared: &str) -> Option<&str> {
    let (_, rest) = declared.split_once('(')?;
    rest.split(')').next()
}

/// A float that rounds to so many digits.
fn digits_of(declared: &str, most: usize) -> Option<ColumnType> {
    let (digits, scale) = argument(declared)?.split_once(',')?;
    let (digits, scale) = (digits.trim().parse::<usize>().ok()?, scale.trim().parse().ok()?);
    Some(ColumnType::Decimal(Some((digits.min(most), scale))))
}

/// The labels of `enum('a','it''s')`.
fn labels(declared: &str) -> Option<Vec<String>> {
    let (_, list) = declared.split_once('(')?;
    let mut letters = list.chars().peekable();
    let mut labels = Vec::new();
    while letters.next()? == '\'' {
        let mut label = String::new();
        loop {
            match letters.next()? {
                '\'' if letters.peek() == Some(&'\'') => {
                    letters.next();
                    label.push('\'');
                }
                '\'' => break,
                letter => label.push(letter),
            }
        }
        labels.push(label);
        match letters.next()? {
            ')' => return Some(labels),
            ',' => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_were_declared() {
        let all = |declared: &str| labels(declared);
        let owned = |all: &[&str]| Some(all.iter().map(|&label| label.to_owned()).collect::<Vec<_>>());
        assert_eq!(all("ENUM('a','B,)','it''s','')"), owned(&["a", "B,)", "it's", ""]));
        assert_eq!(all("enum('a'"), None);
        assert_eq!(all("enum"), None);
    }

    #[test]
    fn types_that_keep_what_they_are_given_are_none_of_these() {
        for declared in
            ["numeric(10,2)", "text", "character(3)", "time without time zone", "integer[]", "inet"]
        {
            assert_eq!(of(DatabaseKind::Postgres, declared), None, "{declared}");
        }
        for declared in ["float", "double", "decimal(5,2)", "varchar(9)", "bigint unsigned", "datetime"] {
            assert_eq!(of(DatabaseKind::MySql, declared), None, "{declared}");
        }
        let fractions = Some(ColumnType::Array(Box::new(ColumnType::Fraction(3))));
        assert_eq!(of(DatabaseKind::Postgres, "interval(3)[]"), fractions);
        assert_eq!(of(DatabaseKind::Postgres, "interval day to second(0)"), Some(ColumnType::Fraction(0)));
        assert_eq!(of(DatabaseKind::Postgres, "interval year to month"), Some(ColumnType::Lossy));
    }
}
