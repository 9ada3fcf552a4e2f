//! Rows that are visible at once: the mode `upsert`.
//!
//! ```text
//!   write: records ──> rows with their versions ──> of each key the last ──> in one transaction:
//!             INSERT .. ON CONFLICT (key) DO UPDATE .. WHERE it is newer   visible
//!             the answer is lost, a deadlock ──> the same rows with the same versions once more: nothing changes twice
//!   prepare: everything has arrived, or an error; nothing is pending
//! ```
//!
//! What makes this exactly once in its effect is the version of each row, compared by the statement that writes it. By default it
//! is the pair (attempt, sequence): the attempt is the position of its claim in the job's log, which grows with every restart, and
//! the sequence counts the changes of a writer. So a replay, which is a newer attempt, wins over what was written before the crash,
//! and an older attempt that wakes up late wins over nothing. Generation and epoch would not do: two attempts may write in one epoch.
//!
//! A row of a newer attempt than ours is told, and not passed over (I5, I7): either we are the older one, and must end; or the
//! job has another log than whoever wrote that row, its positions begin anew, and everything it writes to such rows would be lost
//! in silence.
//!
//! A delete leaves its row there, as a tombstone with the version: an older write that comes late must not bring the row back.
//!
//! | file | idea |
//! |---|---|
//! | `last` | what a later change of the key replaces entirely is not sent |
//! | `plan` | the columns that the mode needs, and a record as a versioned row |
//! | `statement` | the statements |
//! | `rows` | many rows in a transaction, those of them that cannot be, and those that are newer |
//! | `writer` | a writer, which sends again what has no answer |

mod last;
mod plan;
mod rows;
mod statement;
mod writer;

pub(crate) use plan::Upserts;
pub(crate) use writer::UpsertWriter;
