//! Which worker works on what, where no key says so.

use serde::Serialize;

use crate::exchange::Exchanged;
use crate::key::{group_of, worker_of};
use crate::seat::Seat;
use crate::stream::Stream;

impl<R: Exchanged> Stream<'_, R> {
    /// Gives the records to all workers in turn, so that what follows is not bound to the worker that
    /// reads them: one partition then keeps all of them busy.
    ///
    /// **The order is lost**: two records of one split go different ways, and the later one may arrive
    /// first wherever their ways meet again, also after a [`Stream::key_by`]. Event time stays right: a
    /// record keeps its time, and no watermark overtakes it. In one process a record is moved; to another
    /// one it is serialized and sent.
    #[must_use]
    pub fn rebalance(self) -> Self {
        let Seat { worker, workers } = self.graph.inner.seat;
        // Each begins with itself, or the first one would get all the single records.
        let mut next = worker;
        self.exchange("rebalance", move |_| {
            let worker = next;
            next = (next + 1) % workers;
            Ok(worker)
        })
    }

    /// Brings the records of each route together on one worker, and so to one writer of the sink behind
    /// it: a bucket of files, a partition or a table is then opened by one writer and not by all. Records
    /// of one route keep their order where they came from one split.
    ///
    /// A route is anything that can be serialized; cheap ones (numbers, `Arc<str>`) pay off. The routes
    /// are dealt out by a hash: few routes may leave workers without work, and a route with most of the
    /// records keeps one worker busy with them.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use serde::{Deserialize, Serialize};
    /// # use tidelock::Sink;
    /// # use tidelock_runtime::Stream;
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Order { country: Arc<str> }
    /// # fn write(orders: Stream<'_, Order>, files: Arc<impl Sink<Record = Order>>) {
    /// orders.route(|order| Arc::clone(&order.country)).sink("orders", &files);
    /// # }
    /// ```
    #[must_use]
    pub fn route<K: Serialize>(self, route: impl Fn(&R) -> K + 'static) -> Self {
        let workers = self.graph.inner.seat.workers;
        self.exchange("route", move |record| Ok(worker_of(group_of(&route(record))?, workers)))
    }
}
