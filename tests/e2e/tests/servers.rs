//! The example between real servers: flights from Kafka, planes and airlines from MariaDB, rows to HBase, and everything is killed
//! on the way.

#![allow(clippy::panic, reason = "a test fails by it")]

use std::time::Duration;

use flights::answer::{self, Row};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock::{Known, Source as _, SplitReader as _};
use tidelock_containers::{
    Broker, Database, Gateway, GatewayOptions, HbaseOptions, HbaseServer, Kafka, KafkaOptions, SqlOptions,
    SqlServer,
};
use tidelock_e2e::{Job, World, seed};
use tidelock_hbase::{HbaseConfig, HbaseRow, HbaseScan, HbaseScanConfig};
use tokio::runtime::Handle;

/// Slow enough for every server to be killed on the way.
const RATE: &str = "350";

/// How long the job goes on before the next kill, and how long a server is away, at most.
const MORE_MS_MAX: u64 = 1_500;
const AWAY_MS_MAX: u64 = 3_000;

const LOOK: Duration = Duration::from_millis(10);

/// A server that is killed, where one is, and whether the job is killed while it is away.
type Kill = (Option<Victim>, bool);

/// In this order, and at random moments.
const KILLS: [Kill; 8] = [
    (None, true),
    (Some(Victim::Gateway), false),
    (Some(Victim::Hbase), false),
    (Some(Victim::Database), true),
    (Some(Victim::Broker), false),
    (Some(Victim::Gateway), true),
    (Some(Victim::Broker), true),
    (Some(Victim::Hbase), true),
];

#[derive(Debug, Clone, Copy)]
enum Victim {
    Gateway,
    Hbase,
    Database,
    Broker,
}

struct Servers {
    kafka: Kafka,
    database: SqlServer,
    hbase: HbaseServer,
    second_gateway: Gateway,
}

impl Servers {
    async fn start() -> Self {
        let (kafka, database, hbase) = tokio::join!(
            Kafka::start(KafkaOptions::default()),
            SqlServer::start(SqlOptions::new(Database::Mariadb)),
            HbaseServer::start(HbaseOptions::default()),
        );
        let hbase = hbase.expect("HBase");
        let second_gateway = hbase.another_gateway(GatewayOptions::default()).await.expect("a gateway");
        Self {
            kafka: kafka.expect("a broker"),
            database: database.expect("a database"),
            hbase,
            second_gateway,
        }
    }

    async fn kill(&self, victim: Victim) {
        let killed = match victim {
            Victim::Gateway => self.hbase.kill_gateway().await,
            Victim::Hbase => self.hbase.kill_server().await,
            Victim::Database => self.database.kill().await,
            Victim::Broker => self.broker().kill().await,
        };
        killed.expect("killed");
    }

    async fn start_again(&self, victim: Victim) {
        let started = match victim {
            Victim::Gateway => self.hbase.start_gateway().await,
            Victim::Hbase => self.hbase.start_server().await,
            Victim::Database => self.database.start_again().await,
            Victim::Broker => self.broker().start().await,
        };
        started.expect("started");
    }

    fn broker(&self) -> &Broker {
        self.kafka.broker(1).expect("the only broker")
    }
}

/// Every row of the table.
async fn rows(gateway: String, table: &str) -> Vec<Row> {
    let scan = HbaseScan::connect(HbaseScanConfig::new(HbaseConfig::new([gateway]), table))
        .await
        .expect("the table");
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let mut rows = Vec::new();
    for split in scan.discover(&first_run).await.expect("splits").new {
        let mut reader = scan.open(split).await.expect("a reader");
        while let Some(batch) = reader.next().await.expect("rows") {
            rows.extend(batch.records.iter().map(row));
        }
    }
    rows
}

fn row(row: &HbaseRow) -> Row {
    let key = std::str::from_utf8(&row.row).expect("a text");
    let (origin, window_start) = key.split_once('/').expect("airport and hour");
    let number = |name: &str| row.text(&format!("hour:{name}")).expect(name).parse().expect(name);
    Row {
        origin: origin.to_owned(),
        window_start: window_start.to_owned(),
        flights: number("flights"),
        cancelled: number("cancelled"),
        dep_delay_min: number("dep_delay_min"),
        seats: number("seats"),
        airlines: number("airlines"),
    }
}

/// A job that a supervisor starts again whenever it ends before its time.
struct Supervised<'w> {
    world: &'w World,
    options: Vec<&'w str>,
    job: Option<Job>,
    epochs: Vec<u64>,
    read: u64,
}

impl<'w> Supervised<'w> {
    fn start(world: &'w World, options: Vec<&'w str>) -> Self {
        let job = Some(world.start_elsewhere("count", &options));
        Self { world, options, job, epochs: Vec::new(), read: 0 }
    }

    fn job(&mut self) -> &mut Job {
        self.job.as_mut().expect("invariant: it is there but for a moment")
    }

    /// Flights that were read so far, those that were read again with them.
    fn flights(&mut self) -> u64 {
        self.read + self.job().flights()
    }

    fn kill(&mut self) {
        if let Some(job) = self.job.take() {
            // One that was killed before it said so restored what the one before did.
            self.epochs.extend(job.restored_epoch());
            self.read += job.kill();
        }
        self.job = Some(self.world.start_elsewhere("count", &self.options));
    }

    /// Whether it is not done; one that gave up waiting for a server is started again.
    fn is_at_work(&mut self) -> bool {
        if self.job().is_running() {
            return true;
        }
        let ended = self.job().ended();
        if ended.code == Some(0) {
            return false;
        }
        println!("started again after: {}", ended.errors.lines().last().unwrap_or_default());
        self.kill();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn flights_from_kafka_with_planes_of_mariadb_to_hbase_are_exact_whoever_of_them_is_killed() {
    let servers = Servers::start().await;
    let name = servers.database.fresh_database().await.expect("a database");
    let (flights, url) = (format!("{}/flights", servers.kafka.brokers()), servers.database.url(&name));
    let gateways = format!("{},{}", servers.hbase.gateway(), servers.second_gateway.address());
    let table = format!("{gateways}/flights_by_hour");
    let runtime = Handle::current();
    let tested = tokio::task::spawn_blocking(move || {
        let world = World::with_files(2);
        let expected = world.expected();
        for load in [["--load-tables", &url], ["--load", &flights]] {
            world.start_elsewhere(load[0], &load).ended().assert_success();
        }
        let mut random = StdRng::seed_from_u64(seed());
        let options =
            vec!["--from-kafka", &flights, "--planes-from", &url, "--to-hbase", &table, "--rate", RATE];
        let mut job = Supervised::start(&world, options);
        for (victim, with_job) in KILLS {
            // Once it has completed a checkpoint, and a random while after that.
            while job.is_at_work() && job.job().checkpoints() == 0 {
                std::thread::sleep(LOOK);
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..MORE_MS_MAX)));
            assert!(job.is_at_work(), "it ended before {victim:?} was killed: choose a lower rate");
            println!("{victim:?} is killed, the job too: {with_job}, after {} flights", job.flights());
            if let Some(victim) = victim {
                runtime.block_on(servers.kill(victim));
            }
            if with_job {
                job.kill();
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..AWAY_MS_MAX)));
            if let Some(victim) = victim {
                runtime.block_on(servers.start_again(victim));
            }
        }
        while job.is_at_work() {
            std::thread::sleep(LOOK);
        }
        println!("restored epochs {:?}", job.epochs);
        assert!(
            job.epochs.is_sorted_by(|before, after| before <= after),
            "an attempt went back: {:?}",
            job.epochs
        );
        (expected, servers)
    });
    let (expected, servers) = tested.await.expect("no panic");
    // Also what is only in files, and what a compaction leaves.
    servers.hbase.flush("flights_by_hour").await.expect("flushed");
    servers.hbase.major_compact("flights_by_hour").await.expect("compacted");
    let seen = rows(servers.hbase.gateway(), "flights_by_hour").await;
    let difference = answer::compare(&expected, &seen);
    assert!(difference.is_none(), "{} rows: {difference:?}", seen.len());
}

#[test]
#[ignore = "needs a container"]
fn one_command_starts_the_servers_runs_the_job_and_checks_its_rows() {
    let world = World::new();
    let mut job = world.start_elsewhere("servers", &["--profile", "servers", "--rate", "0"]);
    job.ended().assert_success();
}
