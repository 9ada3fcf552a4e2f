//! Bytes that are mostly text, as a text that has all of them.
//!
//! Printable text stands as it is, a backslash as two of them, and every other byte as `\x` and two hexadecimal digits: so each
//! text is of one sequence of bytes.

use std::fmt::{self, Write};

/// Writes bytes as a text.
pub(crate) fn write(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.write_str("\\\\")?,
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    hex(out, c.encode_utf8(&mut bytes).as_bytes())?;
                }
                c => out.write_char(c)?,
            }
        }
        hex(out, chunk.invalid())?;
    }
    Ok(())
}

fn hex(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "\\x{byte:02X}"))
}

/// The reverse; `None` where a backslash begins something else.
pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
    let mut read = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            read.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => read.push(b'\\'),
            b'x' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                read.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => return None,
        }
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut text = String::new();
        write(&mut text, bytes).expect("infallible");
        text
    }

    #[test]
    fn bytes_are_a_text_and_are_read_back_from_it() {
        for (bytes, shown) in [
            (&b""[..], ""),
            (b"user 1/a", "user 1/a"),
            (b"\0\x01\x7f\xff", r"\x00\x01\x7F\xFF"),
            (b"a\\x00", r"a\\x00"),
            ("größe\u{85}".as_bytes(), r"größe\xC2\x85"),
        ] {
            assert_eq!(text(bytes), shown);
            assert_eq!(read(shown).as_deref(), Some(bytes));
        }
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(read(&text(&all)), Some(all));
        for wrong in [r"\", r"a\x0", r"\xg0", r"\n", r"\x+1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
