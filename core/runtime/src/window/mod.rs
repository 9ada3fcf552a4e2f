//! Windows in event time: records of a key are gathered until the watermark says that no more come.

mod aggregate;
mod fixed;
mod panes;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tidelock::{Error, ErrorKind, Uid};

pub use aggregate::{Aggregate, Fold, Merge, Window, fold};

use crate::batch::Millis;
use crate::exchange::Exchanged;
use crate::key::Key;
use crate::keyed::{KeyedStream, add};
use crate::stream::Stream;
use fixed::FixedLogic;
use panes::Panes;
use session::SessionLogic;

/// Windows of a fixed length: see [`Tumbling`] and [`Sliding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    size: Millis,
    slide: Millis,
    offset: Millis,
    lateness: Millis,
}

/// Windows that follow each other without gap or overlap, beginning at 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy)]
pub enum Tumbling {}

impl Tumbling {
    /// Windows of this length; at least one millisecond.
    #[allow(clippy::new_ret_no_self, reason = "a kind of windows, named by how it is cut")]
    pub fn of(size: Duration) -> Fixed {
        let size = millis(size).max(1);
        Fixed { size, slide: size, offset: 0, lateness: 0 }
    }
}

/// Windows that overlap: a new one begins with every slide, and a record is in several.
#[derive(Debug, Clone, Copy)]
pub enum Sliding {}

impl Sliding {
    /// Windows of length `size`, one every `slide`; both at least one millisecond.
    pub fn of(size: Duration, slide: Duration) -> Fixed {
        Fixed { size: millis(size).max(1), slide: millis(slide).max(1), offset: 0, lateness: 0 }
    }
}

impl Fixed {
    /// Moves all windows by this time.
    #[must_use]
    pub fn offset(mut self, offset: Duration) -> Self {
        self.offset = millis(offset);
        self
    }

    /// Keeps a window for this long after its end. A record that comes meanwhile makes a new result at
    /// once, with the next [`Window::revision`]. Default 0: every window has one result.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness = millis(lateness);
        self
    }
}

/// Windows that last as long as the records of a key keep coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    gap: Millis,
    lateness: Millis,
}

impl Session {
    /// A session ends when there is no record for this long; at least one millisecond.
    ///
    /// It lasts from its first record to its last and the gap after that, without the end of it: a record
    /// exactly a gap after the last one begins a new session.
    ///
    /// A session whose result is out is forgotten, unless [lateness](Session::allowed_lateness) is allowed. A record
    /// that comes after that within its gap, and whose own session is not over, begins a new session; the two
    /// overlap. Allow lateness, and the record joins the session, which has a new result.
    pub fn gap(gap: Duration) -> Self {
        Self { gap: millis(gap).max(1), lateness: 0 }
    }

    /// As [`Fixed::allowed_lateness`]. A late record may also join two sessions; the results of both are
    /// then replaced by one.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness = millis(lateness);
        self
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

impl<'s, K: Key, R: Exchanged> KeyedStream<'s, K, R> {
    fn must_have_event_time(&self, uid: &Uid) {
        if self.stream.origins.is_empty() {
            let why = "windows need event time: give it with SourceBuilder::event_time";
            self.stream.graph.fail(Error::new(ErrorKind::Config, "window", why).with("uid", uid));
        }
    }

    /// Gathers the records of each key in windows of a fixed length. `uid` names their state for ever.
    ///
    /// A window's result comes when the watermark reaches its end, and has the last millisecond of the
    /// window as its event time. The second stream has the records that came too late for all their
    /// windows; they are counted as well: see [`Handle::records_late`](crate::Handle::records_late).
    pub fn window<A>(self, uid: &str, windows: Fixed, aggregate: A) -> (Stream<'s, A::Out>, Stream<'s, R>)
    where
        A: Aggregate<Key = K, In = R>,
    {
        let uid = self.stream.graph.uid(uid);
        self.must_have_event_time(&uid);
        let late = self.stream.graph.inner.shared.counters.lateness(&uid);
        let panes = Panes::new(aggregate, windows.lateness);
        let logic = FixedLogic { key: self.key, windows, panes, late };
        add(self.stream, uid, "window", logic)
    }

    /// Gathers the records of each key in sessions. Otherwise as [`KeyedStream::window`].
    pub fn sessions<A>(self, uid: &str, session: Session, aggregate: A) -> (Stream<'s, A::Out>, Stream<'s, R>)
    where
        A: Merge<Key = K, In = R>,
    {
        let uid = self.stream.graph.uid(uid);
        self.must_have_event_time(&uid);
        let late = self.stream.graph.inner.shared.counters.lateness(&uid);
        let panes = Panes::new(aggregate, session.lateness);
        let logic = SessionLogic::new(self.key, session, panes, late);
        add(self.stream, uid, "sessions", logic)
    }
}
