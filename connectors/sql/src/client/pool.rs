//! A bounded number of connections that are used again.
//!
//! Only whoever knows that a connection is clean gives it back: one that is dropped, by an error or because its call was
//! given up, is closed, and the database rolls back what was begun on it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::file::{FileId, file_of};
use super::{Access, Client};
use crate::database::SqlConfig;

/// Connections to one database.
pub(crate) struct Pool {
    config: SqlConfig,
    access: Access,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<(Client, Instant)>>>,
}

/// A connection that somebody uses.
pub(crate) struct Borrowed {
    client: Client,
    idle: Arc<Mutex<Vec<(Client, Instant)>>>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(config: SqlConfig, access: Access) -> Self {
        let places = usize::try_from(config.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            config,
            access,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            idle: Arc::default(),
        }
    }

    /// Waits for a place, and takes the connection that was used last, or opens one.
    pub(crate) async fn get(&self) -> Result<Borrowed> {
        let waiting = timeout(self.config.statement_timeout(), Arc::clone(&self.places).acquire_owned());
        let Ok(Ok(place)) = waiting.await else {
            return Err(Error::new(
                ErrorKind::RateLimited,
                "wait for a connection",
                "all connections are in use",
            )
            .with_retry(Retry::Retry)
            .with("connections_max", self.config.connections_max));
        };
        let file = file_of(&self.config).await;
        let client = match self.take_idle(file) {
            Some(client) => client,
            None => Client::connect(&self.config, self.access).await?,
        };
        Ok(Borrowed { client, idle: Arc::clone(&self.idle), _place: place })
    }

    /// One to the database that is in this file now, and not idle for so long that the server, or whoever stands between,
    /// may have closed it.
    fn take_idle(&self, file: Option<FileId>) -> Option<Client> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // They are given back at the end: what is before the last fresh one is older still.
        let since = Instant::now().checked_sub(self.config.idle_max());
        idle.retain(|(client, used)| since.is_none_or(|since| *used >= since) && client.is_of(file));
        idle.pop().map(|(client, _)| client)
    }
}

impl Borrowed {
    /// Gives back a connection on which nothing is begun.
    pub(crate) fn give_back(self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((self.client, Instant::now()));
    }
}

impl Deref for Borrowed {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kind::DatabaseKind;

    fn pool(folder: &tempfile::TempDir, connections_max: u32) -> Pool {
        let name = folder.path().join("a.db").to_str().expect("a path").to_owned();
        let config = SqlConfig {
            connections_max,
            statement_timeout_ms: 50,
            ..SqlConfig::new(DatabaseKind::Sqlite, name)
        };
        Pool::new(config, Access::Write)
    }

    fn idle(pool: &Pool) -> usize {
        pool.idle.lock().expect("not poisoned").len()
    }

    #[tokio::test]
    async fn a_connection_that_was_not_given_back_is_closed_and_its_place_is_free() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let pool = pool(&folder, 1);
        let mut one = pool.get().await.expect("a connection");
        one.run("BEGIN IMMEDIATE").await.expect("begun");
        let error = pool.get().await.err().expect("there is one place");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::RateLimited, Retry::Retry));
        drop(one);
        let mut two = pool.get().await.expect("the place is free");
        two.run("BEGIN IMMEDIATE").await.expect("the first one's transaction is no more");
        two.run("ROLLBACK").await.expect("ended");
        two.give_back();
        assert_eq!(idle(&pool), 1);
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_for_long_is_not_used_again() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut pool = pool(&folder, 2);
        pool.config.idle_max_ms = 1;
        pool.get().await.expect("a connection").give_back();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(pool.take_idle(file_of(&pool.config).await).is_none());
        assert_eq!(idle(&pool), 0);
    }
}
