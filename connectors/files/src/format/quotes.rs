//! Whether the quotes of a CSV record are right. The library takes whatever comes, and makes something of it.

/// Why a record is bad whose end is in quotes.
pub(super) const NEVER_CLOSED: &str = "a quote is never closed";

/// Where in a record the check stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Before the first character of a field.
    Begin,
    /// In a field that does not begin with a quote. A quote in it stands for itself.
    Plain,
    /// In a field that began with a quote.
    Quoted,
    /// After a quote in such a field: it closes the field, unless another quote follows.
    Closed,
}

impl At {
    /// Where it stands after one more byte; or what is wrong with that byte.
    pub(super) fn after(self, byte: u8, delimiter: u8) -> Result<Self, &'static str> {
        Ok(match (self, byte) {
            (Self::Begin, b'"') | (Self::Closed, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, _) => Self::Quoted,
            (_, b'\n' | b'\r') => Self::Begin,
            (_, byte) if byte == delimiter => Self::Begin,
            (Self::Closed, _) => return Err("text stands after a closing quote"),
            (Self::Begin | Self::Plain, _) => Self::Plain,
        })
    }
}

/// Checks a record as it stands in the file, with its line ending or without.
pub(crate) fn check(record: &[u8], delimiter: u8) -> Result<(), &'static str> {
    if !record.contains(&b'"') {
        return Ok(());
    }
    let mut at = At::Begin;
    for byte in record {
        at = at.after(*byte, delimiter)?;
    }
    if at == At::Quoted { Err(NEVER_CLOSED) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_right_or_they_are_not() {
        for good in [
            "",
            "a,b\n",
            "\"a\",\"b\"\r\n",
            "\"\"",
            "\"a\"\"b\"",
            "\"\"\"\"",
            "\"a,\nb\",c\n",
            "say \"hi\",b\n",
            "a\"b",
            "\"a\",",
            ",\"a\"",
        ] {
            assert_eq!(check(good.as_bytes(), b','), Ok(()), "{good:?}");
        }
        for (bad, reason) in [
            ("2,\"never closed\n3,lost\n", "never closed"),
            ("\"", "never closed"),
            ("\"a\"\"", "never closed"),
            ("\"7\" wide\n", "after a closing quote"),
            ("\"a\";\"b\"\n", "after a closing quote"),
            ("\"a\" ,b\n", "after a closing quote"),
        ] {
            assert!(check(bad.as_bytes(), b',').unwrap_err().contains(reason), "{bad:?}");
        }
        assert_eq!(check(b"\"a\";\"b\"\n", b';'), Ok(()));
    }
}
