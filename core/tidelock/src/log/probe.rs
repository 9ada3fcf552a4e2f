//! Proof at start that the store can hold a log at all (I5): a second create of a name is refused, of creates
//! that come at once one is answered with success, and a list shows what was just created. Some stores that
//! speak S3 ignore the condition, or look first and write later, and then two attempts would both own the job.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::{Error, ErrorKind, Result};

use super::error::{from_io, from_store, is_absent, is_taken};
use super::store::create_folder;
use super::{CHUNKS, ENTRIES, Log, PROBES};

const OPERATION: &str = "probe the store";

/// How many creates of one name come at once. With a store that looks first and writes later, two that meet
/// between the two steps are enough; more of them meet more surely.
const AT_ONCE: usize = 8;

impl Log {
    /// Proves that the store refuses a second create of the same name and lists what was created. Two
    /// processes that probe at once do not disturb each other.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a store that cannot hold a log; otherwise why it cannot be written,
    /// read or listed.
    pub async fn probe(&self) -> Result<()> {
        self.make_folders().await?;
        let fresh = || self.root.clone().join(PROBES).join(format!("{:032x}", self.random()));
        let (object, contended) = (fresh(), fresh());
        self.removed(&object, self.probe_with(&object).await).await?;
        self.removed(&contended, self.probe_at_once(&contended).await).await
    }

    /// Makes the log's folders on a local disk before the store does: with rights for nobody else, also where
    /// somebody made the folder around them for all to read.
    async fn make_folders(&self) -> Result<()> {
        let Some(root) = self.local.clone() else { return Ok(()) };
        let make =
            move || [ENTRIES, CHUNKS, PROBES].iter().try_for_each(|name| create_folder(&root.join(name)));
        let made = tokio::task::spawn_blocking(make).await.map_err(|error| {
            Error::new(ErrorKind::Other, OPERATION, "making the folders was interrupted").because(error)
        })?;
        made.map_err(|error| from_io(OPERATION, self.place(), error))
    }

    /// Removes a probe, whatever came of it.
    async fn removed(&self, object: &Path, outcome: Result<()>) -> Result<()> {
        // A probe that stays behind harms nobody, so its removal may fail; but a store that can never
        // delete fills up, and that is told now.
        let removed = self.store.delete(object).await;
        outcome?;
        match removed {
            // Gone is gone: the store's client may have sent the request twice.
            Err(error) if !is_absent(&error) => Err(from_store(OPERATION, &self.place_of(object), error)),
            _ => Ok(()),
        }
    }

    /// Creates one name many times at once. A store whose condition and write are two steps passes every test
    /// that asks one after the other.
    async fn probe_at_once(&self, object: &Path) -> Result<()> {
        let creates = (0..AT_ONCE).map(|_| self.put_new(object, "tidelock-probe\n".into()));
        let mut won = 0;
        for answer in futures::future::join_all(creates).await {
            match answer {
                Ok(()) => won += 1,
                // Perhaps to our own request, sent again by the store's client: then nobody has won.
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(from_store(OPERATION, &self.place_of(object), error)),
            }
        }
        if won <= 1 {
            return Ok(());
        }
        Err(unfit(
            "the store accepted several creates of the same object that came at once: it looks first and writes \
             later, so it cannot keep two attempts apart. Use a store whose create is one step",
        )
        .with("object", self.place_of(object))
        .with("accepted", won))
    }

    async fn probe_with(&self, object: &Path) -> Result<()> {
        let place = self.place_of(object);
        match self.put_new(object, "tidelock-probe\n".into()).await {
            // The name is random: "taken" is the answer to our own request, sent again by the store's client.
            Err(error) if !is_taken(&error) => return Err(from_store(OPERATION, &place, error)),
            _ => {}
        }
        match self.put_new(object, "tidelock-probe\n".into()).await {
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(from_store(OPERATION, &place, error)),
            Ok(()) => {
                return Err(unfit(
                    "the store accepted a second create of the same object, so it cannot keep two attempts \
                     apart: use a store with conditional create",
                )
                .with("object", place));
            }
        }
        let folder = self.root.clone().join(PROBES);
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .map_err(|error| from_store(OPERATION, &self.place_of(&folder), error))?;
        if listed.contains(object) {
            return Ok(());
        }
        Err(unfit(
            "the store does not list an object that was just created: use a store with consistent listing",
        )
        .with("object", place))
    }
}

fn unfit(why: &str) -> Error {
    Error::new(ErrorKind::Config, OPERATION, why)
}
