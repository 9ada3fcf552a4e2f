//! What this process knows of the ledger: the attempt that it was told of, and what items say.
//!
//! What is known of an item saves reading it: a change is compared with it in the table, and where it is old nothing changes, and the item is
//! read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::try_join_all;
use tidelock::{JobId, Result, SinkAttempt, Uid};

use super::decide::{claimed, lane_claimed};
use super::items::{Items, Seen};
use super::place::Place;
use super::state::{Claim, Head, Lane};
use crate::key::KeySchema;
use crate::table::Table;
use crate::target::Target;

pub(super) struct Book {
    pub(super) target: Arc<Target>,
    known: Mutex<Known>,
    /// Nobody of this process claims beside another.
    pub(super) claiming: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    attempt: Option<SinkAttempt>,
    /// The head and all lanes have its claim, or a newer one.
    is_claimed: bool,
    is_recovered: bool,
    heads: HashMap<String, Seen<Head>>,
    lanes: HashMap<String, Seen<Lane>>,
}

impl Book {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, known: Mutex::default(), claiming: tokio::sync::Mutex::default() }
    }

    pub(super) fn place(&self, job: &JobId, uid: &Uid) -> Place {
        let config = &self.target.config;
        let (table, ledger) = (config.table.clone(), config.ledger_table.clone());
        Place { job: job.clone(), uid: uid.clone(), table, ledger }
    }

    pub(super) async fn items(&self) -> Result<Items> {
        Ok(Items::new(&self.target.requests().await?, &self.target.config.ledger_table))
    }

    /// The key of the table's items.
    pub(super) async fn schema(&self) -> Result<KeySchema> {
        match self.target.ready() {
            Some(ready) => Ok(ready.table.key.clone()),
            None => Ok(Table::look(self.target.client().await?, &self.target.config.table).await?.key),
        }
    }

    /// Forgets what was known of another attempt.
    pub(super) fn turn_to(&self, attempt: &SinkAttempt) {
        let mut known = self.known();
        if known.attempt.as_ref() != Some(attempt) {
            *known = Known { attempt: Some(attempt.clone()), ..Known::default() };
        }
    }

    /// Whether this attempt was recovered here: it comes again and again.
    pub(super) fn is_recovered(&self, attempt: &SinkAttempt) -> bool {
        let known = self.known();
        known.is_recovered && known.attempt.as_ref() == Some(attempt)
    }

    pub(super) fn recovered(&self) {
        self.known().is_recovered = true;
    }

    /// The claim of the attempt that this process was told of last.
    pub(super) fn ours(&self, job: &JobId, uid: &Uid) -> Option<Claim> {
        let known = self.known();
        known.attempt.as_ref().filter(|attempt| attempt.job == *job && attempt.uid == *uid).map(Claim::of)
    }

    /// Puts the claim of an attempt into the head, where nobody newer has one, and then into every lane: from then on nobody older applies
    /// anything (I5). Returns who has the claim.
    pub(super) async fn claim(&self, place: &Place, items: &Items, attempt: &SinkAttempt) -> Result<Claim> {
        self.turn_to(attempt);
        let (ours, id) = (Claim::of(attempt), place.head());
        let is_claimed = self.known().is_claimed;
        let head = items.change(place, &id, |head| claimed(head, ours)).await?;
        let Some(head) = head else { return Err(place.lost("the claim of this attempt is not there")) };
        let (stands, lanes) = (head.state.claim, head.state.lanes);
        if !is_claimed {
            if stands == ours {
                self.claim_lanes(place, items, ours, 0..lanes).await?;
            }
            let mut known = self.known();
            known.heads.insert(id, head);
            known.is_claimed = true;
        }
        Ok(stands)
    }

    /// Puts a claim into lanes, which are made where they are not there.
    pub(super) async fn claim_lanes(
        &self,
        place: &Place,
        items: &Items,
        ours: Claim,
        lanes: std::ops::Range<u32>,
    ) -> Result<()> {
        try_join_all(lanes.map(|lane| async move {
            let id = place.lane(lane);
            if let Some(seen) = items.change(place, &id, |lane| lane_claimed(lane, ours)).await? {
                self.keep_lane(id, seen);
            }
            Ok(())
        }))
        .await
        .map(drop)
    }

    /// The head, as far as it is known here.
    pub(super) async fn head(&self, place: &Place, items: &Items) -> Result<Seen<Head>> {
        let known = self.known().heads.get(&place.head()).cloned();
        match known {
            Some(head) => Ok(head),
            None => {
                let head = items.read(place, &place.head()).await?;
                head.ok_or_else(|| place.lost("an epoch cannot be applied"))
            }
        }
    }

    /// Keeps what the head says now. `None`: it is not known.
    pub(super) fn keep_head(&self, place: &Place, head: Option<Seen<Head>>) {
        let mut known = self.known();
        match head {
            Some(head) => known.heads.insert(place.head(), head),
            None => known.heads.remove(&place.head()),
        };
    }

    /// A lane, as far as it is known here. It is not known any more until it is [kept](Book::keep_lane) again.
    pub(super) fn take_lane(&self, id: &str) -> Option<Seen<Lane>> {
        self.known().lanes.remove(id)
    }

    pub(super) fn keep_lane(&self, id: String, lane: Seen<Lane>) {
        self.known().lanes.insert(id, lane);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
