//! A subscription that is under way: a task takes its events off the connection, and a few of them wait for the reader.

use std::time::Duration;

use aws_sdk_kinesis::types::{SubscribeToShardEvent, SubscribeToShardEventStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::call::Events;
use super::connections::Seat;
use super::fault::Fault;

/// Events that wait for the reader. Each has at most what a shard gives in a second, two megabytes; one more is on its way.
const ROOM: usize = 2;

/// Why a subscription is over.
#[derive(Debug)]
pub(super) enum Over {
    /// Its time is up, or the service ended it.
    Ended,
    /// Nothing came for too long.
    Silent,
    /// There was no room for what came for too long.
    NoRoom,
    /// The service said why.
    Fault(Fault),
}

/// What comes by a subscription.
#[derive(Debug)]
pub(super) enum Told {
    Event(SubscribeToShardEvent),
    Over(Over),
}

/// How long a subscription waits for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) life: Duration,
    pub(super) idle: Duration,
    pub(super) no_room: Duration,
}

/// A subscription. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    told: mpsc::Receiver<Told>,
    _task: AbortOnDropHandle<()>,
    _seat: Seat,
}

impl Subscription {
    pub(super) fn begin(events: Events, limits: Limits, seat: Seat) -> Self {
        let (tell, told) = mpsc::channel(ROOM);
        let task = tokio::spawn(pass_on(events, limits, tell));
        Self { told, _task: AbortOnDropHandle::new(task), _seat: seat }
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Told {
        // The task had no room to say why it ended: that is why.
        self.told.recv().await.unwrap_or(Told::Over(Over::NoRoom))
    }
}

/// Passes events on until it is over, or nobody wants to hear them.
async fn pass_on(mut events: Events, limits: Limits, tell: mpsc::Sender<Told>) {
    let end = Instant::now() + limits.life;
    loop {
        // Room first: what is taken off the connection always has a place.
        let Ok(Ok(place)) = timeout(limits.no_room, tell.reserve()).await else { return };
        let silent_at = Instant::now() + limits.idle;
        let next = timeout_at(end.min(silent_at), events.recv()).await;
        let over = match next {
            Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => {
                place.send(Told::Event(event));
                continue;
            }
            // A kind that this build does not know says that the service is there.
            Ok(Ok(Some(_))) => continue,
            Ok(Ok(None)) => Over::Ended,
            Ok(Err(error)) => Over::Fault(Fault::of_event(error)),
            Err(_) if end <= silent_at => Over::Ended,
            Err(_) => Over::Silent,
        };
        place.send(Told::Over(over));
        return;
    }
}
