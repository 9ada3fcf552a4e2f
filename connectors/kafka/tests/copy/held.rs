//! A job that reaches its broker by a proxy, which holds back its commits when a test wants it to. All others
//! reach the broker directly.

use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_kafka::{KafkaCommittable, Transactions, Verdict};
use tidelock_processes::{Fate, Process, Proxy, Side};
use tokio::sync::OnceCell;

use crate::evidence::Evidence;
use crate::wire::KafkaWire;
use crate::world::World;

/// A job and what can be done to its commits.
pub(crate) struct Held {
    pub(crate) world: World,
    pub(crate) log: Evidence,
    pub(crate) transactions: Transactions,
    proxy: &'static Proxy<KafkaWire>,
}

/// One broker behind one proxy for all tests: what is held back is told apart by the name of the job.
async fn shared() -> &'static (Proxy<KafkaWire>, Kafka) {
    static SHARED: OnceCell<(Proxy<KafkaWire>, Kafka)> = OnceCell::const_new();
    let start = async || {
        let (proxy, listener) = Proxy::bind().await;
        let kafka = Kafka::start(KafkaOptions::default().with_proxy(proxy.address())).await.expect("started");
        proxy.serve(listener, kafka.behind_proxy());
        (proxy, kafka)
    };
    SHARED.get_or_init(start).await
}

impl Held {
    /// A job with an option of its own.
    pub(crate) async fn new(option: (&str, &str)) -> Self {
        let (proxy, kafka) = shared().await;
        let world = World::new(&kafka.brokers(), 2).await.with_option(option.0, option.1);
        let world = world.with_option("--brokers", proxy.address());
        let (log, transactions) = (world.log().await, world.transactions().await);
        Self { world, log, transactions, proxy }
    }

    /// Starts the job, and waits until it recovered and works.
    pub(crate) async fn start(&self) -> Process {
        let before = self.log.position().await;
        let mut process = self.world.start(&[]);
        self.world.wait_for_attempt(&mut process, before).await;
        self.world.wait_for_records(&mut process, 1).await;
        process
    }

    /// Holds back so many commits from now on.
    pub(crate) fn hold(&self, side: Side, count: usize) {
        self.proxy.hold(self.world.job(), side, count);
    }

    /// How many are held back.
    pub(crate) fn held(&self) -> usize {
        self.proxy.held(self.world.job())
    }

    /// Holds back nothing any more.
    pub(crate) fn release(&self, fate: Fate) {
        self.proxy.release(self.world.job(), fate);
    }

    pub(crate) async fn pending_that_are(&self, verdict: Verdict) -> Vec<KafkaCommittable> {
        self.log.pending_that_are(verdict, &self.transactions).await
    }

    /// Waits until a commit was sent and does not get through: its transaction is listed by an entry, or it
    /// would not have been sent, and it is open.
    pub(crate) async fn stop_between_durable_and_committed(&self, process: &mut Process) {
        self.hold(Side::Requests, usize::MAX);
        let between =
            async |_: &Process| self.held() > 0 && !self.pending_that_are(Verdict::Open).await.is_empty();
        process.wait_until("a listed transaction waits for its commit", between).await;
    }

    /// Waits until a transaction is committed and nobody told the job.
    pub(crate) async fn stop_between_committed_and_confirmed(&self, process: &mut Process) {
        self.hold(Side::Answers, usize::MAX);
        let between =
            async |_: &Process| self.held() > 0 && !self.pending_that_are(Verdict::Done).await.is_empty();
        process.wait_until("a listed transaction is committed and not confirmed", between).await;
    }
}
