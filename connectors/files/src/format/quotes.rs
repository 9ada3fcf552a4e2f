//! Whether the quotes of a CSV record are right. The library takes whatever comes, and makes something of it.

/// Where in a record the check stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first character of a field.
    Begin,
    /// In a field that does not begin with a quote. A quote in it stands for itself.
    Plain,
    /// In a field that began with a quote.
    Quoted,
    /// After a quote in such a field: it closes the field, unless another quote follows.
    Closed,
}

/// Checks a record as it stands in the file, with its line ending or without.
pub(crate) fn check(record: &[u8], delimiter: u8) -> Result<(), &'static str> {
    if !record.contains(&b'"') {
        return Ok(());
    }
    let mut at = At::Begin;
    for byte in record {
        at = match (at, *byte) {
            (At::Begin, b'"') | (At::Closed, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) => At::Quoted,
            (_, b'\n' | b'\r') => At::Begin,
            (_, byte) if byte == delimiter => At::Begin,
            (At::Closed, _) => return Err("text stands after a closing quote"),
            (At::Begin | At::Plain, _) => At::Plain,
        };
    }
    if at == At::Quoted { Err("a quote is never closed") } else { Ok(()) }
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
