//! What the items of the ledger mean for an attempt and an epoch. No I/O, no clock.

use std::cmp::Ordering;

use tidelock::Result;
use tidelock::write_ahead::Version;

use super::place::{APPLY, Place};
use super::plan::{Chunk, RULES, is_known};
use super::state::{At, Begun, Claim, Cut, Head, Lane, Lanes};

/// What the head says of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// All of it is applied, or something later is, and so it is.
    Applied,
    /// It is begun, in these lanes.
    Lanes(Lanes),
    /// Nothing of it is applied.
    New,
}

/// An epoch, and who applies it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'p> {
    pub(super) place: &'p Place,
    /// `None`: this process was never told of an attempt.
    pub(super) ours: Option<Claim>,
    pub(super) version: Version,
    pub(super) batches: u64,
}

impl Who<'_> {
    /// How far the epoch is.
    ///
    /// # Errors
    /// Where it belongs to an older history, is not what it was, or where a newer attempt is there and nothing of the epoch is applied.
    pub(super) fn stand(&self, head: &Head) -> Result<Stand> {
        let Some(begun) = &head.begun else { return self.check_claim(head.claim).map(|()| Stand::New) };
        match begun.version.cmp(&self.version) {
            Ordering::Less => self.check_claim(head.claim).map(|()| Stand::New),
            Ordering::Greater => self.check_history(begun.version).map(|()| Stand::Applied),
            Ordering::Equal if begun.batches != self.batches => {
                let what = format!("it was stored in {} batches, and has {}", begun.batches, self.batches);
                Err(self.place.changed(self.version, &what))
            }
            Ordering::Equal => match begun.cut {
                Cut::Whole => Ok(Stand::Applied),
                Cut::Lanes(lanes) if is_known(lanes.rules) => Ok(Stand::Lanes(lanes)),
                Cut::Lanes(Lanes { rules, .. }) => {
                    let what = format!(
                        "it was cut by the rules {rules}, and this build knows {RULES} and older ones: go on with the build that began it"
                    );
                    Err(self.place.changed(self.version, &what))
                }
            },
        }
    }

    /// The head that says that the epoch is begun.
    pub(super) fn begun(&self, head: &Head, cut: Cut) -> Head {
        let lanes = match cut {
            Cut::Whole => head.lanes,
            Cut::Lanes(Lanes { count, .. }) => head.lanes.max(count),
        };
        let begun = Some(Begun { version: self.version, batches: self.batches, cut });
        Head { claim: self.claim(head.claim), lanes, begun }
    }

    /// The lane after a chunk was applied; `None` where it is applied already.
    ///
    /// # Errors
    /// As [`Who::stand`]; and where a chunk before this one is not applied, which was.
    pub(super) fn next(&self, lane: &Lane, chunk: &Chunk) -> Result<Option<Lane>> {
        let mut applied = 0;
        if let Some(at) = &lane.at {
            match at.version.cmp(&self.version) {
                Ordering::Greater => return self.check_history(at.version).map(|()| None),
                Ordering::Equal if chunk.number < at.chunks => {
                    return self.check_same(at, chunk).map(|()| None);
                }
                Ordering::Equal => applied = at.chunks,
                Ordering::Less => {}
            }
        }
        self.check_claim(lane.claim)?;
        if chunk.number > applied {
            return Err(self.place.lost("a chunk that was applied is not there any more"));
        }
        let at = At { version: self.version, chunks: chunk.number + 1, changes: chunk.until };
        Ok(Some(Lane { claim: self.claim(lane.claim), at: Some(at) }))
    }

    /// The last chunk that is applied must end where ours does.
    fn check_same(&self, at: &At, chunk: &Chunk) -> Result<()> {
        if chunk.number + 1 < at.chunks || chunk.until == at.changes {
            return Ok(());
        }
        let what = format!(
            "its first {} chunks were made of {} changes, and now are of {}",
            at.chunks, at.changes, chunk.until
        );
        Err(self.place.changed(self.version, &what))
    }

    fn check_history(&self, newest: Version) -> Result<()> {
        if newest.generation > self.version.generation {
            return Err(self.place.ignored(self.version, newest));
        }
        Ok(())
    }

    /// I5: nothing is applied by an attempt that is not the newest.
    fn check_claim(&self, stands: Claim) -> Result<()> {
        match self.ours {
            Some(ours) if ours < stands => Err(self.place.fenced(APPLY, ours, stands)),
            _ => Ok(()),
        }
    }

    /// The claim never goes back.
    fn claim(&self, stands: Claim) -> Claim {
        self.ours.map_or(stands, |ours| ours.max(stands))
    }
}

/// The head by which an attempt takes the claim, where nobody newer has it, nor itself.
pub(super) fn claimed(head: Option<&Head>, ours: Claim) -> Option<Head> {
    match head {
        Some(head) if head.claim >= ours => None,
        Some(head) => Some(Head { claim: ours, ..head.clone() }),
        None => Some(Head { claim: ours, lanes: 0, begun: None }),
    }
}

/// The same of a lane.
pub(super) fn lane_claimed(lane: Option<&Lane>, ours: Claim) -> Option<Lane> {
    match lane {
        Some(lane) if lane.claim >= ours => None,
        Some(lane) => Some(Lane { claim: ours, ..*lane }),
        None => Some(Lane { claim: ours, at: None }),
    }
}
