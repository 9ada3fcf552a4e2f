//! JSON Lines: one JSON value a line.

use serde::de::DeserializeOwned;
use tidelock::Result;

use crate::format::Next;
use crate::format::lines::Lines;
use crate::input::Input;

/// The value of the next line that is not empty.
pub(crate) fn next<T: DeserializeOwned>(lines: &mut Lines, input: &Input) -> Result<Next<T>> {
    while let Some(line) = lines.next_line(input)? {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        return Ok(
            serde_json::from_slice(line.bytes).map_or_else(|error| line.bad(error.to_string()), Next::Record)
        );
    }
    Ok(Next::End)
}
