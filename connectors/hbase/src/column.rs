//! The name of a column.

use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tidelock::Result;

use crate::error::setting;
use crate::escape;

/// A column: its family, which is fixed with the table, and its qualifier, which may be any bytes.
///
/// As a text it is `family:qualifier`. Bytes of the qualifier that are no printable text stand there as `\x` and two hexadecimal digits,
/// a backslash as two of them.
///
/// ```
/// # use tidelock_hbase::Column;
/// # fn main() -> tidelock::Result<()> {
/// let seats = Column::parse("info:seats")?;
/// assert_eq!((seats.family(), seats.qualifier()), ("info", &b"seats"[..]));
/// assert_eq!(Column::new("info", [0u8, 1])?.to_string(), r"info:\x00\x01");
/// # Ok(()) }
/// ```
///
/// A clone has the same bytes: rows name the same few columns again and again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Column {
    /// As gateways name it: `family:qualifier`.
    name: Bytes,
    /// Where its first colon is.
    family_end: usize,
}

impl Column {
    /// A column by its family and its qualifier.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config), where a table can have no such column: a family is a printable text without `:`,
    /// and a qualifier is not empty. HBase has such qualifiers, but a gateway answers well to a value for one and drops it.
    pub fn new(family: impl AsRef<str>, qualifier: impl AsRef<[u8]>) -> Result<Self> {
        let family = family.as_ref();
        if !is_family(family) {
            let why = "a family is a printable text without `:`, `/` and `\\`";
            return Err(setting("column", why).with("family", family));
        }
        if qualifier.as_ref().is_empty() {
            let why = "a column is `family:qualifier`, and none of them is empty";
            return Err(setting("column", why).with("family", family));
        }
        Ok(Self::join(family, qualifier.as_ref()))
    }

    /// Reads `family:qualifier`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config), where it is no column.
    pub fn parse(text: &str) -> Result<Self> {
        let (family, qualifier) = read(text).ok_or_else(|| {
            let why = "a column is `family:qualifier`, where a backslash begins `\\x` with two hexadecimal digits, or another backslash";
            setting("column", why).with("column", text)
        })?;
        Self::new(family, qualifier)
    }

    /// The family.
    pub fn family(&self) -> &str {
        std::str::from_utf8(&self.name[..self.family_end]).expect("invariant: a family is a text")
    }

    /// The qualifier.
    pub fn qualifier(&self) -> &[u8] {
        &self.name[self.family_end + 1..]
    }

    fn join(family: &str, qualifier: &[u8]) -> Self {
        let name = [family.as_bytes(), b":", qualifier].concat();
        Self { name: name.into(), family_end: family.len() }
    }

    /// As gateways name it.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        self.name.to_vec()
    }

    /// What a gateway names, and whatever is in the table: an empty qualifier, too. `None`: its family is no text.
    pub(crate) fn of_wire(name: Bytes) -> Option<Self> {
        match name.iter().position(|&byte| byte == b':') {
            Some(family_end) => {
                std::str::from_utf8(&name[..family_end]).ok()?;
                Some(Self { name, family_end })
            }
            None => Some(Self::join(std::str::from_utf8(&name).ok()?, &[])),
        }
    }
}

/// By family, then by qualifier, as HBase has them: not by the name, whose colon is between two letters.
impl Ord for Column {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (&self.name[..self.family_end], &other.name[..other.family_end]);
        ours.cmp(theirs).then_with(|| self.qualifier().cmp(other.qualifier()))
    }
}

impl PartialOrd for Column {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({self})")
    }
}

/// Whether HBase lets a family have this name.
pub(crate) fn is_family(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || matches!(c, ':' | '/' | '\\'))
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.family())?;
        escape::write(f, self.qualifier())
    }
}

/// The reverse of `Display`: family and qualifier.
fn read(text: &str) -> Option<(&str, Vec<u8>)> {
    let (family, rest) = text.split_once(':')?;
    Some((family, escape::read(rest)?))
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Also what is read with an empty qualifier: whoever writes one is refused where it is written.
impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format_args!("`{text}` is no column: it is family:qualifier"));
        let (family, qualifier) = read(&text).filter(|(family, _)| is_family(family)).ok_or_else(wrong)?;
        Ok(Self::join(family, &qualifier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_a_text_and_is_read_back_from_it() {
        for (family, qualifier, text) in [
            ("a", &b"b"[..], "a:b"),
            ("a", b"b:c", "a:b:c"),
            ("a", b"\\x41", r"a:\\x41"),
            ("a", b"\0\xff\n", r"a:\x00\xFF\x0A"),
            ("a b", "größe".as_bytes(), "a b:größe"),
            ("a", "\u{85}".as_bytes(), r"a:\xC2\x85"),
        ] {
            let column = Column::new(family, qualifier).expect("a column");
            assert_eq!(column.to_string(), text);
            assert_eq!(Column::parse(text).expect("a column"), column);
            assert_eq!(Column::of_wire(column.to_wire().into()).expect("a column"), column);
            let json = serde_json::to_string(&column).expect("a text");
            assert_eq!(serde_json::from_str::<Column>(&json).expect("a column"), column);
        }
    }

    #[test]
    fn what_a_gateway_would_drop_or_a_table_cannot_have_is_no_column() {
        for text in
            ["", "a", ":b", "a:", ".a:b", "a/b:c", "a\\:b", "a\n:b", r"a:\", r"a:\x4", r"a:\xGG", r"a:\n"]
        {
            assert!(Column::parse(text).is_err(), "{text}");
        }
        let of_wire = |name: &'static [u8]| Column::of_wire(Bytes::from_static(name));
        for name in [&b"a:"[..], b"a"] {
            assert_eq!(of_wire(name).expect("it is in the table").to_string(), "a:");
        }
        assert!(of_wire(b"\xff:b").is_none() && of_wire(b"\xff").is_none());
    }

    #[test]
    fn columns_have_the_order_of_hbase() {
        let columns = ["a:b", "a:b:c", "a:c", "a-b:a", "aa:a", "b:a"]
            .map(|text| Column::parse(text).expect("a column"));
        assert!(columns.is_sorted(), "{columns:?}");
    }
}
