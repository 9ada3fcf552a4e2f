//! A statement outside of any job.

use tidelock::Result;

use crate::client::{Access, Client};
use crate::database::SqlConfig;

impl SqlConfig {
    /// Runs one statement on a connection of its own, such as one that makes a table before a job begins. It is no part of what
    /// a sink guarantees: run again, it is done again.
    ///
    /// # Errors
    /// Where the database cannot be reached, or refuses the statement.
    pub async fn execute(&self, statement: &str) -> Result<()> {
        let mut client = Client::connect(self, Access::Write).await?;
        let ran = client.run(statement).await;
        ran.map(drop).map_err(|fault| fault.during("run a statement").with("place", self))
    }
}
