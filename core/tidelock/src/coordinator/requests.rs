//! Requests for the next entry of the log, until one of them is known to stand there.
//!
//! ```text
//!   draft ──> its large segments are written ──> asked for ──proof──> stands: durable, and nothing is asked for
//!     ^         (where it has such)                  │
//!     └────────── nobody knows, nothing there ───────┘  asked once more, with a nonce of its own
//! ```
//!
//! - Everything that is asked for is for *one* position, the one above [`Standing::below`](super::standing::Standing):
//!   the next one is asked for when this one is ours (I5). A look at the log begins anew, at another position.
//! - Each request has its entry and a nonce of its own. All of them may still be applied, however late, so all are kept
//!   until one stands; whichever of ours that is counts.
//! - I1: an entry is handed out as durable only together with the log's proof of it.
//! - Why the store did not take an entry is remembered until it takes one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::log::{Durable, Entry, Nonce};
use crate::patience::Telling;
use crate::protocol::{Draft, Token};
use crate::{Error, ErrorKind, Position, Result};

/// An entry that is to be asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) token: Token,
    pub(super) position: Position,
    pub(super) draft: Draft,
    /// How long to wait before it.
    pub(super) pause: Duration,
    /// How long what the draft lists was judged to live.
    pub(super) until: Instant,
}

/// A request for an entry.
#[derive(Debug)]
struct Request {
    entry: Arc<Entry>,
    /// The log said that it stands; the machine has not yet.
    proof: Option<Durable>,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Waits until its large segments are written as chunks.
    chunking: Option<Wanted>,
    asked: BTreeMap<Token, Request>,
    failure: Option<Error>,
    telling: Telling,
}

impl Requests {
    /// The log was looked at: whatever was asked for before stands at a position of others, or does not count.
    pub(super) fn looked(&mut self) {
        self.asked.clear();
    }

    /// Large segments of an entry are being written.
    pub(super) fn chunking(&mut self, wanted: Wanted) {
        self.chunking = Some(wanted);
    }

    /// They are written, or could not be.
    pub(super) fn chunked(&mut self, token: Token) -> Option<Wanted> {
        self.chunking.take_if(|wanted| wanted.token == token)
    }

    /// An entry is asked for.
    pub(super) fn asked(&mut self, token: Token, entry: Arc<Entry>) {
        self.asked.insert(token, Request { entry, proof: None });
    }

    /// The nonces of everything that may stand at the position.
    pub(super) fn nonces(&self) -> Vec<Nonce> {
        self.asked.values().map(|request| request.entry.nonce.clone()).collect()
    }

    /// The log took the entry of this request.
    pub(super) fn created(&mut self, token: Token, proof: Durable) {
        if let Some(request) = self.asked.get_mut(&token) {
            request.proof = Some(proof);
        }
    }

    /// The entry with this nonce was found in the log.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where no request has the nonce.
    pub(super) fn found(&mut self, nonce: &Nonce, proof: Durable) -> Result<Token> {
        let mut asked = self.asked.iter_mut();
        let (token, request) = asked.find(|(_, request)| request.entry.nonce == *nonce).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "read back", "an entry has a nonce of ours that was not asked with")
        })?;
        request.proof = Some(proof);
        Ok(*token)
    }

    /// The entry of this request stands: nothing else is asked for at its position any more.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where it was not asked for, or the log did not say so.
    pub(super) fn stands(&mut self, token: Token) -> Result<(Arc<Entry>, Durable)> {
        let unproven = "an entry is durable that was not asked for, or that the log did not prove";
        let request = self.asked.remove(&token);
        let proven = request.and_then(|Request { entry, proof }| Some((entry, proof?)));
        let proven = proven.ok_or_else(|| Error::new(ErrorKind::Bug, "append", unproven))?;
        self.asked.clear();
        (self.failure, self.telling) = (None, Telling::default());
        Ok(proven)
    }

    /// The store did not take an entry, or did not say. It is asked again and again, and this is told now and then.
    pub(super) fn failed(&mut self, what: &'static str, error: Error) {
        if self.telling.is_due() {
            tracing::warn!(%error, "{what}");
        } else {
            tracing::debug!(%error, "{what}");
        }
        self.failure = Some(error);
    }

    /// The same error, with why the store takes nothing, where that is known.
    pub(super) fn explain(&mut self, error: Error) -> Error {
        match self.failure.take() {
            Some(cause) => error.because(cause),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Heard;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_stays_full_is_told_at_once_and_then_now_and_then() {
        let (heard, mut requests) = (Heard::here(), Requests::default());
        for _second in 0..60 {
            let full = Error::new(ErrorKind::Unavailable, "append", "the disk is full");
            requests.failed("an entry may not have been stored", full);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let lines = heard.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("the disk is full")), "{lines:?}");
        let error = requests.explain(Error::new(ErrorKind::Unavailable, "checkpoint", "too many failed"));
        assert!(format!("{error:?}").contains("the disk is full"), "{error:?}");
    }
}
