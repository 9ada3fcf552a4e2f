//! Where records end, found without the library, as far as it has read in vain.
//!
//! ```text
//!   a"b,"c      the library reads on from the quote that opens, through all lines, to the limit or the end
//!   a"b,"c      but the record is bad, and ends with its line: what follows is read anew
//!   a"b,"c      from here on the same happens, line by line
//! ```
//!
//! Were each line given to the library again, the time would be that of lines times the limit. So each record in what
//! was read in vain is run through here first, and the library gets the good ones alone. How far the last run came is
//! remembered: every line end that it passed stood in quotes, because one that does not ends a record. A run that comes to
//! such a line end in quotes, too, goes on as that one did, and need not: it is taken up where that one ended. So a byte
//! is looked at once by the run of its own line, and once by the one that went furthest.

use std::io::{self, Read};

use super::next::too_long;
use super::quotes::At;
use super::tape::Tape;

/// Looks at the bytes ahead, and remembers what it saw.
pub(super) struct Scout {
    delimiter: u8,
    /// Text after a closing quote, and a quote that is never closed, make a bad record.
    strict: bool,
    limit: usize,
    /// Records that begin before this place are run through first.
    until: u64,
    furthest: Option<Run>,
}

/// A run through the bytes from the beginning of a record, which came to no end of it.
#[derive(Clone, Copy)]
struct Run {
    place: u64,
    /// What it was in there, or what is wrong there.
    at: Result<At, &'static str>,
}

/// What a run found.
pub(super) enum Looked {
    /// Nothing was read in vain here.
    Nothing,
    /// Empty lines, and nothing else as far as was read in vain.
    Empty(Empty),
    /// The record ends before the place `end`.
    Good { empty: Empty, end: u64 },
    /// The record is bad.
    Bad { empty: Empty, reason: String },
}

/// Empty lines that stand before a record.
pub(super) struct Empty {
    pub(super) bytes: u64,
    pub(super) lines: u64,
}

impl Scout {
    pub(super) fn new(delimiter: u8, strict: bool, limit: usize) -> Self {
        Self { delimiter, strict, limit, until: 0, furthest: None }
    }

    /// Whether the record at `place` is run through first.
    pub(super) fn covers(&self, place: u64) -> bool {
        place < self.until
    }

    /// Everything before this place was read in vain.
    pub(super) fn read_in_vain(&mut self, until: u64) {
        self.until = self.until.max(until);
    }

    /// Looks at the record at `place`.
    pub(super) fn look<R: Read>(&mut self, tape: &mut Tape<R>, place: u64) -> io::Result<Looked> {
        let (mut begin, mut lines) = (place, 0);
        while self.covers(begin) {
            match tape.ahead(begin)?.first() {
                Some(b'\n') => lines += 1,
                Some(b'\r') => {}
                _ => break,
            }
            begin += 1;
        }
        if !self.covers(begin) || tape.ahead(begin)?.is_empty() {
            let empty = Empty { bytes: begin - place, lines };
            return Ok(if empty.bytes == 0 { Looked::Nothing } else { Looked::Empty(empty) });
        }
        let empty = Empty { bytes: begin - place, lines };
        let reason = match self.run(tape, begin)? {
            Ok(end) => return Ok(Looked::Good { empty, end }),
            Err(reason) => reason.map_or_else(|| too_long(self.limit), str::to_owned),
        };
        self.read_in_vain(tape.end());
        Ok(Looked::Bad { empty, reason })
    }

    /// Where the record ends; or why it is bad, which is not said of one that is too long.
    fn run<R: Read>(
        &mut self,
        tape: &mut Tape<R>,
        begin: u64,
    ) -> io::Result<Result<u64, Option<&'static str>>> {
        let (mut place, mut at) = (begin, At::Begin);
        'taken_up: loop {
            let bytes = tape.ahead(place)?;
            if bytes.is_empty() {
                if self.strict && at == At::Quoted {
                    self.remember(place, Ok(at));
                    return Ok(Err(Some(super::quotes::NEVER_CLOSED)));
                }
                return Ok(Ok(place));
            }
            for byte in bytes {
                if place - begin >= self.limit as u64 {
                    self.remember(place, Ok(at));
                    return Ok(Err(None));
                }
                let ends_line = matches!(byte, b'\n' | b'\r');
                if ends_line && at != At::Quoted {
                    return Ok(Ok(place + 1));
                }
                at = match at.after(*byte, self.delimiter) {
                    Err(reason) if self.strict => {
                        self.remember(place, Err(reason));
                        return Ok(Err(Some(reason)));
                    }
                    next => next.unwrap_or(At::Plain),
                };
                if let Some(run) = self.furthest.filter(|run| ends_line && place < run.place) {
                    match run.at {
                        Ok(then) => (place, at) = (run.place, then),
                        Err(reason) => return Ok(Err(Some(reason))),
                    }
                    continue 'taken_up;
                }
                place += 1;
            }
        }
    }

    fn remember(&mut self, place: u64, at: Result<At, &'static str>) {
        if self.furthest.is_none_or(|run| run.place < place) {
            self.furthest = Some(Run { place, at });
        }
    }
}
