//! Rows that wait in the database: the mode `prepared`.
//!
//! ```text
//!   writer (a connection of its own)         coordinator of the job               database
//!   BEGIN / XA START  ──────────────────────────────────────────────────────>  open: its rows are locked
//!   rows, in statements of many  ───────────────────────────────────────────>
//!   prepare: the row of the transaction;
//!            PREPARE TRANSACTION / XA PREPARE  ─────────────────────────────>  prepared: outlives client and server
//!        └── its name ───────────> snapshot entry durable
//!                                  COMMIT PREPARED / XA COMMIT  ────────────>  visible, with the row of the transaction
//!   settled <──── a later entry no longer lists it                             the row is deleted, now and then
//! ```
//!
//! A commit may be repeated whatever became of the first one. The database forgets a transaction when it ends, whether it was
//! committed or rolled back, so what became of one that is not there is read in the table of transactions: the row, which the
//! transaction itself wrote, is there exactly if it was committed. Without the row it was rolled back, by an operator, say, and the
//! job halts with the evidence, before anything is committed (I7).
//!
//! Recovery, in order: look at the tables and the server; refuse where an attempt that is not older has something prepared or
//! was here; end the connections of older attempts; roll back what they prepared and no entry lists; look at everything that is
//! pending; note in the table that this attempt is the newest. Only then anything is committed.
//!
//! | file | idea |
//! |---|---|
//! | `name` | whose a transaction is |
//! | `wire` | what is said to the servers |
//! | `registry` | the table of transactions |
//! | `sessions` | the connections of writers |
//! | `detach` | when a connection that was closed has let its transaction go |
//! | `kin` | whether rows of a table refer to others of it |
//! | `preflight` | what the server must allow |
//! | `verdict` | what became of a transaction |
//! | `rows` | many rows, and those of them that cannot be |
//! | `writer` | a writer's transactions |
//! | `branches` | all of a sink's: recovery and commit |
//! | `transactions` | the same for tools |

mod branches;
mod detach;
mod kin;
mod name;
mod preflight;
mod registry;
mod rows;
mod sessions;
mod transactions;
mod verdict;
mod wire;
mod writer;

pub(crate) use branches::Branches;
pub use name::TransactionName;
pub(crate) use name::database_tag;
pub use transactions::{Listed, Outcome, Transactions};
pub(crate) use writer::BranchWriter;

#[cfg(all(test, feature = "postgres", feature = "mysql"))]
mod tests;
