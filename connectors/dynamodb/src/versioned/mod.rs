//! Items that are visible at once, and that no request can age: the mode `versioned`.
//!
//! ```text
//!   write: records ──> changes with their versions ──> of each key what they make together ──> one request each, many at once:
//!             PutItem / UpdateItem, if the item has no version or an older one      visible
//!             the answer is lost, throttled ──> the same request once more: it changes nothing twice
//!             refused, and the item that is there comes with the refusal ──> ours: it was done. Newer: it is passed over, or told
//!   prepare: everything has arrived, or an error; nothing is pending
//! ```
//!
//! What makes this exactly once in its effect is the version of each item, compared by the request that writes it. By default it is the
//! generation and the attempt of the job, and the number of the change within its writer. The attempt is the position of its claim in the job's
//! log, which grows with every restart, and the generation grows with every rollback: so a replay wins over what was written before the crash or
//! the rollback, and an older attempt that wakes up late wins over nothing. Generation and epoch would not do: two attempts may write in one epoch.
//!
//! An item of a newer attempt than ours is told, and not passed over (I5, I7): either we are the older one, and must end; or the job has another log
//! than whoever wrote that item, and everything it writes to such items would be lost in silence. Where versions are those of records, what is
//! newer wins, whoever wrote it.
//!
//! A delete puts a tombstone in the place of its item: key, version, a mark, and perhaps when DynamoDB may throw it away. An older write that comes
//! late does not bring the item back. An update that meets a tombstone puts a new item into its place, with nothing of the tombstone in it: that is
//! why an update is conditional on there being none, and sent once more as a put where there is.
//!
//! Of a key one request is under way at most, its retries included: what comes meanwhile is held, made one change with what is held already, or sent one
//! after the other where that would be something else. A writer gives back its call when nothing is held and all of it is under way; what became of it is
//! told by the next call, at the latest by `prepare`, which waits for all of it.
//!
//! | file | idea |
//! |---|---|
//! | `version` | versions, and how they stand in an item |
//! | `merge` | of the changes of a key what they make together |
//! | `there` | what the item that is there says of a change that was refused |
//! | `request` | a change as a request |
//! | `queue` | changes that are not sent yet, and keys that are under way |
//! | `lanes` | sends changes of many keys at once |
//! | `writer` | a writer, which knows when all of it has arrived |

mod lanes;
mod merge;
mod queue;
mod request;
mod there;
mod version;
mod writer;

pub(crate) use writer::VersionedWriter;
