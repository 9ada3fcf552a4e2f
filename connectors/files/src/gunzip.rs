//! Gzip files as the program `gzip` takes them: members one after the other, and zeros after the last.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first bytes of every gzip file: its mark, and the only method that there is.
pub(crate) const FIRST_BYTES: [u8; 3] = [0x1F, 0x8B, 8];

/// Decompresses every member. The library checks each one's length and checksum.
pub(crate) struct Gunzip<R> {
    /// Nothing after the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { member: Some(GzDecoder::new(inner)) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The decoder of the member that follows. Zeros, with which tapes and block devices fill up a file, end it; after
/// them nothing may stand, and anything else must be a member.
fn next_member<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut padded = false;
    loop {
        let block = rest.fill_buf()?;
        let zeros = block.iter().take_while(|byte| **byte == 0).count();
        let (ends, more) = (block.is_empty(), zeros < block.len());
        padded |= zeros > 0;
        rest.consume(zeros);
        match (ends, more) {
            (true, _) => return Ok(None),
            (false, true) if padded => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "bytes follow the zeros after the last member",
                ));
            }
            (false, true) => return Ok(Some(GzDecoder::new(rest))),
            (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        // A small buffer, so that members and zeros begin and end at its ends, too.
        Gunzip::new(BufReader::with_capacity(7, bytes)).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn members_follow_each_other_and_zeros_end_the_file() {
        let (a, b, empty) = (member("first "), member("second"), member(""));
        assert!(a.starts_with(&FIRST_BYTES));
        assert_eq!(gunzip(&[&*a, &empty, &b].concat()).unwrap(), "first second");
        for zeros in [1, 7, 512, 100_000] {
            assert_eq!(gunzip(&[&*a, &b, &vec![0; zeros]].concat()).unwrap(), "first second");
        }
        assert_eq!(gunzip(&empty).unwrap(), "");
    }

    #[test]
    fn anything_else_after_a_member_is_damage() {
        let (a, b) = (member("first "), member("second"));
        for bad in
            [&[&*a, b"x"].concat(), &[&*a, &[0, 0], &b].concat(), &[&*a, &b[..b.len() - 1]].concat(), &vec![]]
        {
            gunzip(bad).unwrap_err();
        }
        let mut wrong_length = a.clone();
        *wrong_length.last_mut().unwrap() ^= 1;
        gunzip(&wrong_length).unwrap_err();
    }
}
