//! JSON Lines: one JSON value a line.

use serde::de::DeserializeOwned;
use tidelock::Result;

use crate::format::lines::Lines;
use crate::format::next::{Next, too_long};
use crate::input::Input;

/// The value of the next line that is not empty.
pub(crate) fn next<T: DeserializeOwned>(lines: &mut Lines, input: &Input) -> Result<Next<T>> {
    let limit = lines.limit();
    while let Some(line) = lines.next_line(input)? {
        if line.too_long {
            return Ok(line.bad(too_long(limit)));
        }
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        return Ok(
            serde_json::from_slice(line.bytes).map_or_else(|error| line.bad(error.to_string()), Next::Record)
        );
    }
    Ok(Next::End)
}
