//! What the items of the ledger say, and how it is stored: `1 CHECKSUM JSON`.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidelock::write_ahead::Version;
use tidelock::{Error, ErrorKind, Generation, Position, Result, SinkAttempt};

/// The form of the text.
const FORM: &str = "1";

/// An attempt by its place in history. Ordered: a newer generation wins, and within it the newer attempt. A log that is made anew
/// counts its attempts from the beginning, and has a newer generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    pub(super) generation: Generation,
    pub(super) attempt: Position,
}

impl Claim {
    pub(super) fn of(attempt: &SinkAttempt) -> Self {
        Self { generation: attempt.generation, attempt: attempt.number }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} of generation {}", self.attempt, self.generation)
    }
}

/// The item of a job and its sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// Nobody older applies anything.
    pub(super) claim: Claim,
    /// So many lanes have, or may get, an item of their own.
    pub(super) lanes: u32,
    /// The epoch that was applied last, or is being applied.
    pub(super) begun: Option<Begun>,
}

/// An epoch, and how it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    pub(super) version: Version,
    /// In how many batches its changes are stored: a replay must have the same.
    pub(super) batches: u64,
    pub(super) cut: Cut,
}

/// How an epoch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Cut {
    /// It was one chunk, and was applied with the head.
    Whole,
    /// Into lanes, each with an item that says how far it is.
    Lanes(Lanes),
}

/// Into how many lanes an epoch is cut, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lanes {
    pub(super) count: u32,
    /// See [`RULES`](super::plan::RULES).
    pub(super) rules: u16,
}

/// The item of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lane {
    /// Nobody older applies anything in this lane.
    pub(super) claim: Claim,
    pub(super) at: Option<At>,
}

/// How far a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    pub(super) version: Version,
    /// So many chunks of the epoch are applied,
    pub(super) chunks: u64,
    /// which were made of so many changes.
    pub(super) changes: u64,
}

/// The text of an item.
pub(super) fn to_text<T: Serialize>(state: &T) -> Result<String> {
    let json = serde_json::to_string(state).map_err(|error| {
        Error::new(ErrorKind::Bug, "change the ledger", "what it is to say cannot be stored as JSON")
            .because(error)
    })?;
    Ok(format!("{FORM} {:08x} {json}", crc32c::crc32c(json.as_bytes())))
}

/// Reads the text of an item. `None` where it is none that this build wrote.
pub(super) fn of_text<T: DeserializeOwned>(text: &str) -> Option<T> {
    let (checksum, json) = text.strip_prefix(FORM)?.strip_prefix(' ')?.split_once(' ')?;
    let is_whole = u32::from_str_radix(checksum, 16).ok()? == crc32c::crc32c(json.as_bytes());
    is_whole.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use tidelock::Epoch;

    use super::*;

    const CLAIM: Claim = Claim { generation: Generation(1_764_457_200_000), attempt: Position(9) };
    const VERSION: Version = Version { generation: Generation(1_764_457_200_000), epoch: Epoch(12) };

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_of_every_version_is_read() {
        let heads = [
            Head { claim: CLAIM, lanes: 0, begun: None },
            Head {
                claim: CLAIM,
                lanes: 0,
                begun: Some(Begun { version: VERSION, batches: 1, cut: Cut::Whole }),
            },
            Head {
                claim: CLAIM,
                lanes: 8,
                begun: Some(Begun {
                    version: VERSION,
                    batches: 3,
                    cut: Cut::Lanes(Lanes { count: 4, rules: 1 }),
                }),
            },
        ];
        let golden = include_str!("../../tests/golden/ledger_heads_v1.txt");
        assert_eq!(golden.lines().map(of_text).collect::<Vec<_>>(), heads.clone().map(Some));
        assert_eq!(
            heads.map(|head| to_text(&head).expect("stored")).to_vec(),
            golden.lines().collect::<Vec<_>>()
        );
        let lanes = [
            Lane { claim: CLAIM, at: None },
            Lane { claim: CLAIM, at: Some(At { version: VERSION, chunks: 3, changes: 412 }) },
        ];
        let golden = include_str!("../../tests/golden/ledger_lanes_v1.txt");
        assert_eq!(golden.lines().map(of_text).collect::<Vec<_>>(), lanes.map(Some));
        assert_eq!(
            lanes.map(|lane| to_text(&lane).expect("stored")).to_vec(),
            golden.lines().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_text_that_is_damaged_or_of_a_newer_build_or_of_another_item_is_none() {
        let lane = Lane { claim: CLAIM, at: Some(At { version: VERSION, chunks: 3, changes: 412 }) };
        let text = to_text(&lane).expect("stored");
        assert_eq!(of_text(&text), Some(lane));
        for damaged in [
            text.replace("412", "413"),
            text.replacen('1', "2", 1),
            text[..text.len() - 1].to_owned(),
            String::new(),
            "1 00000000 {}".to_owned(),
        ] {
            assert_eq!(of_text::<Lane>(&damaged), None, "{damaged}");
        }
        assert_eq!(of_text::<Head>(&text), None);
    }

    #[test]
    fn a_newer_generation_is_newer_than_any_attempt_of_an_older_one() {
        let claim =
            |generation, attempt| Claim { generation: Generation(generation), attempt: Position(attempt) };
        assert!(claim(2, 1) > claim(1, 57) && claim(1, 10) > claim(1, 9));
    }
}
