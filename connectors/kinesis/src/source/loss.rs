//! What becomes of records that were thrown away before they were read.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Result};

use super::config::OnDataLoss;

/// The error of a loss.
pub(super) fn loss(kind: ErrorKind, why: &str) -> Error {
    Error::new(kind, "read a stream", why)
}

/// Applies the policy.
#[derive(Debug)]
pub(super) struct Losses {
    policy: OnDataLoss,
    /// What was told: a loss is found again until the log has what came after it.
    told: Mutex<BTreeSet<String>>,
}

impl Losses {
    pub(super) fn new(policy: OnDataLoss) -> Self {
        Self { policy, told: Mutex::default() }
    }

    /// The loss is the error, or is told and counted, once.
    ///
    /// # Errors
    /// The loss, where that is the policy.
    pub(super) fn accept(&self, stream: &str, loss: Error, then: &str) -> Result<()> {
        let loss = loss.with("stream", stream);
        if self.policy == OnDataLoss::Fail {
            return Err(loss.with("remedy", format_args!("with on_data_loss = \"warn\" {then}")));
        }
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(loss.to_string()) {
            if self.policy == OnDataLoss::Warn {
                tracing::warn!("{loss}; {then}");
            }
            metrics::counter!("tidelock_kinesis_data_losses_total", "stream" => stream.to_owned())
                .increment(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Retry;

    use super::*;

    #[test]
    fn a_loss_halts_the_job_unless_the_policy_is_to_go_on() {
        let found = || loss(ErrorKind::Expired, "it is gone").with("shard", "A");
        let error = Losses::new(OnDataLoss::Fail).accept("s", found(), "it goes on").expect_err("it fails");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt));
        for part in ["shard=A", "stream=s", "on_data_loss"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        for policy in [OnDataLoss::Warn, OnDataLoss::Ignore] {
            let losses = Losses::new(policy);
            losses.accept("s", found(), "it goes on").expect("accepted");
            losses.accept("s", found(), "it goes on").expect("accepted");
            losses.accept("s", found().with("and", "B"), "it goes on").expect("accepted");
            assert_eq!(losses.told.lock().expect("whole").len(), 2);
        }
    }
}
