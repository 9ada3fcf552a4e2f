//! Records on their way into a stream, of either mode.
//!
//! ```text
//!   records ──> lanes: one for each key ──ready──> a request of 500: of each key one ──> PutRecords, many at once
//!                 ^   ^                                                                     │
//!                 │   └── this record was refused: its key waits, and all of its shard a while ──┤
//!                 └────── it is there: the next one of its key is ready ────────────────────┘
//! ```
//!
//! The service may refuse one record of a request and take those behind it. So the order of a key is kept by having one of it under way: the key is held back,
//! and not the stream. A request whose answer was lost is sent again, and may be done twice, late too; a record that comes after it in its key was not sent
//! meanwhile.
//!
//! A task of its own drives it, so that what waits for a pause goes on when nobody writes. It ends when all that was asked of it is done, at the first error that
//! trying again does not mend, and when nobody wants it any more; requests that are under way then are waited for, so that the next attempt of the
//! process does not overtake them.
//!
//! | file | idea |
//! |---|---|
//! | `lanes` | what may be sent now, by key |
//! | `brakes` | which shard is throttled, and where each shard is |
//! | `request` | one request and what it says of each record |
//! | `driver` | the task |
//! | `handle` | what writes by it |

mod brakes;
mod driver;
mod handle;
mod lanes;
mod request;

pub(crate) use driver::{At, Bounds, Stamp};
pub(crate) use handle::Puts;
pub(crate) use request::Requests;
