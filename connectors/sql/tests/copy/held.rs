//! A job that reaches its database by a proxy, which holds back what a test wants it to. All others reach it directly.

use tidelock_containers::SqlServer;
use tidelock_processes::{Fate, Process, Proxy, Side};
use tidelock_sql::Mode;

use crate::job::Task;
use crate::wire::{Point, SqlWire};
use crate::world::World;

/// A job and what can be done to its statements.
pub(crate) struct Held {
    pub(crate) world: World,
    /// The same job by the direct way.
    pub(crate) direct: Task,
    proxy: Proxy<SqlWire>,
}

impl Held {
    /// One writer: one transaction an epoch.
    pub(crate) async fn new(server: &SqlServer, mode: Mode) -> Self {
        let (proxy, listener) = Proxy::bind().await;
        proxy.serve(listener, server.address());
        let mut world = World::new(server, mode, 1).await;
        let direct = world.task.clone();
        world.task.to = world.task.to.replace(&server.address(), proxy.address());
        assert_ne!(world.task.to, direct.to);
        Self { world, direct, proxy }
    }

    /// The statement that makes an epoch visible.
    pub(crate) fn commit(&self) -> Point {
        match self.direct.mode {
            Mode::Ledger => Point::Commit,
            _ => Point::CommitPrepared,
        }
    }

    fn mark(&self, point: Point) -> &'static str {
        point.mark(self.world.place.kind())
    }

    /// Holds back all of these statements, or their answers, from now on.
    pub(crate) fn hold(&self, point: Point, side: Side) {
        self.proxy.hold(self.mark(point), side, usize::MAX);
    }

    pub(crate) fn is_held(&self, point: Point) -> bool {
        self.proxy.held(self.mark(point)) > 0
    }

    /// Holds back nothing any more.
    pub(crate) fn release(&self, point: Point, fate: Fate) {
        self.proxy.release(self.mark(point), fate);
    }

    /// Waits until a commit was sent and does not get through: an entry lists it, and it is not done.
    pub(crate) async fn stop_between_durable_and_committed(&self, process: &mut Process) {
        self.hold(self.commit(), Side::Requests);
        let between = async |_: &Process| self.is_held(self.commit()) && self.world.listed().await.open > 0;
        process.wait_until("what is listed waits for its commit", between).await;
    }

    /// Waits until an epoch is committed and nobody told the job.
    pub(crate) async fn stop_between_committed_and_confirmed(&self, process: &mut Process) {
        self.hold(self.commit(), Side::Answers);
        let between = async |_: &Process| self.is_held(self.commit()) && self.world.listed().await.done > 0;
        process.wait_until("what is listed is committed and not confirmed", between).await;
    }

    /// Waits until a transaction is prepared and nobody told the job. Returns those that no entry lists.
    pub(crate) async fn stop_between_prepared_and_durable(&self, process: &mut Process) -> Vec<String> {
        self.hold(Point::Prepare, Side::Answers);
        let mut unlisted = Vec::new();
        let between = async |_: &Process| {
            unlisted = self.world.unlisted().await;
            self.is_held(Point::Prepare) && !unlisted.is_empty()
        };
        process.wait_until("a transaction is prepared and not listed", between).await;
        unlisted
    }
}
