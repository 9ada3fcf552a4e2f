//! By which consumer shards are read, and what becomes of it.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use super::times::Times;
use crate::error::setting;

/// The service takes names up to this length.
const NAME_MAX: usize = 128;

/// A subscription that was silent for longer is known to be over by the service's own limit.
const IDLE_TIMEOUT_MAX_MS: u64 = 300_000;

/// What becomes of a consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsumerLifecycle {
    /// It is registered where it is missing, and stays: the next run finds it. The service bills it by the hour, read or not.
    #[default]
    RegisterAndKeep,
    /// It must be there: somebody else registers it. The job needs no right to do so.
    Registered,
    /// It is registered where it is missing, and removed by [`KinesisStream::close`](crate::KinesisStream::close). A job that is killed leaves it.
    RegisterAndRemove,
}

/// Shards are read by enhanced fan-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FanOutConfig {
    /// The name of the consumer, with each of the streams. No two jobs may have the same: they would take the shards from one another all the time. Required.
    pub consumer: String,
    /// What becomes of it: `register_and_keep`, `registered` or `register_and_remove`. Default `register_and_keep`.
    #[serde(default, deserialize_with = "choice")]
    pub lifecycle: ConsumerLifecycle,
    /// A subscription that brings nothing for so long, not even an empty event, is replaced by another one, in milliseconds. Default 30,000.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Other times than those of the service, for tests.
    #[serde(skip)]
    pub(super) times: Times,
}

fn default_idle_timeout_ms() -> u64 {
    30_000
}

impl FanOutConfig {
    /// By this consumer, with every other setting at its default.
    pub fn new(consumer: impl Into<String>) -> Self {
        Self {
            consumer: consumer.into(),
            lifecycle: ConsumerLifecycle::default(),
            idle_timeout_ms: default_idle_timeout_ms(),
            times: Times::default(),
        }
    }

    /// Times of a service in which less time passes: how long a subscription lives, and what must lie between two of them.
    #[doc(hidden)]
    #[must_use]
    pub fn with_times_ms(mut self, life: u64, apart: u64, no_room: u64) -> Self {
        self.times = Times::of_ms(life, apart, no_room);
        self
    }

    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub(crate) fn validate(&self) -> Result<()> {
        let is_legal = |one: u8| one.is_ascii_alphanumeric() || matches!(one, b'_' | b'.' | b'-');
        let name = self.consumer.as_bytes();
        if !(1..=NAME_MAX).contains(&name.len()) || !name.iter().copied().all(is_legal) {
            let why =
                format!("a name has 1 to {NAME_MAX} of the letters a-z, A-Z, the digits, '_', '.' and '-'");
            return Err(setting("fan_out.consumer", why));
        }
        if !(1..=IDLE_TIMEOUT_MAX_MS).contains(&self.idle_timeout_ms) {
            return Err(setting(
                "fan_out.idle_timeout_ms",
                format!("must be between 1 and {IDLE_TIMEOUT_MAX_MS}"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        FanOutConfig::new("flights").validate().expect("the defaults");
        FanOutConfig::new("a_B.c-9").validate().expect("all kinds of letters");
        for (wrong, named) in [
            (FanOutConfig::new(""), "fan_out.consumer"),
            (FanOutConfig::new("a b"), "fan_out.consumer"),
            (FanOutConfig::new("a:b"), "fan_out.consumer"),
            (FanOutConfig::new("x".repeat(NAME_MAX + 1)), "fan_out.consumer"),
            (FanOutConfig { idle_timeout_ms: 0, ..FanOutConfig::new("a") }, "fan_out.idle_timeout_ms"),
            (FanOutConfig { idle_timeout_ms: u64::MAX, ..FanOutConfig::new("a") }, "fan_out.idle_timeout_ms"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert!(
                error.kind() == ErrorKind::Config && error.to_string().contains(&format!("setting={named}")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<FanOutConfig>(json);
        assert_eq!(read(serde_json::json!({ "consumer": "a" })).expect("legal"), FanOutConfig::new("a"));
        for (word, lifecycle) in [
            ("register_and_keep", ConsumerLifecycle::RegisterAndKeep),
            ("registered", ConsumerLifecycle::Registered),
            ("register_and_remove", ConsumerLifecycle::RegisterAndRemove),
        ] {
            let said = serde_json::json!({ "consumer": "a", "lifecycle": word });
            assert_eq!(read(said).expect(word).lifecycle, lifecycle);
        }
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "consumer": "a", "lifecycle": "keep" }),
            serde_json::json!({ "consumer": "a", "times": {} }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
