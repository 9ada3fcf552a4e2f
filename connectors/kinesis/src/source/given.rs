//! Where the first run begins in each shard, where somebody else kept the positions: KCL's table of leases, or a person.

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

/// Where the first run of a job begins in one shard.
///
/// All shards that are given begin at once, a shard beside one that it goes on from: whoever gives both gives up their order. Those that are not given follow: a
/// child of given shards is read from its oldest record when all of its parents are finished. A shard of which neither itself nor any shard before it is given is
/// an error, since nobody said whether its records were read already.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The stream, by its name: also where the source names it by its ARN.
    pub stream: String,
    /// The shard's id, such as `shardId-000000000003`.
    pub shard: String,
    /// Where in it.
    pub at: GivenAt,
}

/// Where in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum GivenAt {
    /// After a record that was the last to be processed. Reading begins *at* it, so that the rest of an aggregate of which a part was processed is not lost.
    AfterSub {
        /// The number of the record.
        sequence_number: String,
        /// The last one that was processed of the user records within an aggregate, counted from 0. Of a record that is no aggregate: 0.
        #[serde(default)]
        sub_sequence: u64,
    },
    /// At the oldest record that is there.
    Oldest,
    /// At the first record that arrived at this time or later, in milliseconds since 1970.
    Time(i64),
    /// Nowhere: all of it was processed, to its end. Its children begin at once.
    Finished,
}

impl Given {
    /// Checks what was given before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming what is wrong.
    pub fn validate(&self) -> Result<()> {
        let wrong = |why: &str| {
            let error = Error::new(ErrorKind::Config, "validate", why).with("setting", "start.given");
            Err(error.with("stream", &self.stream).with("shard", &self.shard))
        };
        if self.stream.is_empty() || self.stream.contains(':') {
            return wrong("a given position names its stream by the name, and not by an ARN");
        }
        if self.shard.is_empty() {
            return wrong("a given position names no shard");
        }
        match &self.at {
            GivenAt::AfterSub { sequence_number, .. } if !is_number(sequence_number) => {
                wrong("a sequence number is a whole number, written with digits alone")
            }
            GivenAt::Time(at_ms) if *at_ms < 0 => wrong("a time before 1970 is no time of a record"),
            _ => Ok(()),
        }
    }
}

/// Whether a text is a sequence number. The service writes them as decimal numbers of up to 56 digits today, and its model allows 128.
fn is_number(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(at: GivenAt) -> Given {
        Given { stream: "flights".into(), shard: "shardId-000000000000".into(), at }
    }

    fn after(sequence_number: &str) -> GivenAt {
        GivenAt::AfterSub { sequence_number: sequence_number.into(), sub_sequence: 0 }
    }

    #[test]
    fn a_position_is_written_as_a_person_would_write_it() {
        let read = |json: serde_json::Value| serde_json::from_value::<Given>(json);
        for (at, json) in [
            (after("49"), serde_json::json!({ "after_sub": { "sequence_number": "49" } })),
            (GivenAt::Oldest, serde_json::json!("oldest")),
            (GivenAt::Time(7), serde_json::json!({ "time": 7 })),
            (GivenAt::Finished, serde_json::json!("finished")),
        ] {
            let json =
                serde_json::json!({ "stream": "flights", "shard": "shardId-000000000000", "at": json });
            assert_eq!(read(json).expect("legal"), given(at));
        }
        let typo = serde_json::json!({ "sequence_number": "49", "sub": 3 });
        let typo = serde_json::json!({ "stream": "flights", "shard": "s", "at": { "after_sub": typo } });
        assert!(read(typo).is_err(), "a position that is not the one that was meant");
    }

    #[test]
    fn what_names_no_position_is_refused() {
        for at in [after("49680670"), GivenAt::Oldest, GivenAt::Time(0), GivenAt::Finished] {
            given(at).validate().expect("a position");
        }
        let of = |stream: &str, shard: &str| Given {
            stream: stream.into(),
            shard: shard.into(),
            at: GivenAt::Oldest,
        };
        for (wrong, named) in [
            (given(after("")), "sequence number"),
            (given(after("TRIM_HORIZON")), "sequence number"),
            (given(after("-2")), "sequence number"),
            (given(after(&"9".repeat(129))), "sequence number"),
            (given(GivenAt::Time(-1)), "1970"),
            (of("", "s"), "stream"),
            (of("arn:aws:kinesis:eu-west-1:1:stream/flights", "s"), "ARN"),
            (of("flights", ""), "shard"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(named), "{error}");
        }
    }
}
