//! Half an hour at a steady rate: what a job takes must not grow.

use std::fs;
use std::time::Duration;

use tidelock_containers::{Database, SqlServer};
use tidelock_processes::{Process, is_soak};
use tidelock_sql::Mode;

use crate::world::World;

const LOOK: Duration = Duration::from_secs(30);
const LOOKS: usize = 60;

/// What is compared with the end: by then caches are full.
const SETTLED: usize = 10;

/// What a process takes.
#[derive(Debug, Clone, Copy)]
struct Usage {
    memory_kib: u64,
    threads: u64,
    files: usize,
    cpu_ticks: u64,
}

fn usage(process: &Process) -> Usage {
    let folder = format!("/proc/{}", process.id());
    let status = fs::read_to_string(format!("{folder}/status")).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let stat = fs::read_to_string(format!("{folder}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Usage {
        memory_kib: number("VmRSS:"),
        threads: number("Threads:"),
        files: fs::read_dir(format!("{folder}/fd")).unwrap().count(),
        cpu_ticks: ticks.sum(),
    }
}

async fn is_flat(mode: Mode) {
    if !is_soak() {
        return;
    }
    let server = SqlServer::shared(Database::Postgres).await.unwrap();
    let mut world = World::new(server, mode, 1).await.every(100);
    world.input().at_once(20);
    let mut process = world.start_at_work().await;
    let mut looks = Vec::new();
    println!(
        "| mode | minute | memory, MiB | threads | open files | server's connections | CPU s | rows visible |"
    );
    for look in 1..=LOOKS {
        tokio::time::sleep(LOOK).await;
        world.wait_for_rows(&mut process, 1).await;
        let Usage { memory_kib, threads, files, cpu_ticks } = usage(&process);
        let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                           AND application_name LIKE 'tidelock%'";
        let connections = world.place.query(connections).await[0][0].int();
        println!(
            "| {mode:?} | {} | {:.1} | {threads} | {files} | {connections} | {:.1} | {} |",
            look as f64 / 2.0,
            memory_kib as f64 / 1024.0,
            cpu_ticks as f64 / 100.0,
            world.reader.newest()
        );
        looks.push(usage(&process));
    }
    let (settled, last) = looks.split_at(LOOKS - SETTLED);
    let most = |looks: &[Usage], of: fn(&Usage) -> u64| looks.iter().map(of).max().unwrap();
    let settled = &settled[SETTLED..];
    for of in [
        (|usage: &Usage| usage.memory_kib) as fn(&Usage) -> u64,
        |usage: &Usage| usage.threads,
        |usage: &Usage| usage.files as u64,
    ] {
        let (before, after) = (most(settled, of), most(last, of));
        assert!(after * 10 <= before * 11, "it grew from {before} to {after}");
    }
    world.finish(process).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn half_an_hour_in_the_mode_ledger_takes_no_more_memory_threads_or_files() {
    is_flat(Mode::Ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn half_an_hour_in_the_mode_prepared_takes_no_more_memory_threads_or_files() {
    is_flat(Mode::Prepared).await;
}
