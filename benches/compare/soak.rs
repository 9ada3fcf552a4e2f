//! Load for a long time: memory, threads and connections of the job must be after an hour what they were after
//! a minute.

use std::time::Duration;

use crate::Failure;
use crate::bench::Bench;
use crate::latency::Flow;
use crate::outcome::Setting;
use crate::process::Usage;
use crate::systems::System;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(30);

pub(crate) fn run(bench: &Bench, system: System, setting: &Setting, minutes: u64) -> Result<(), Failure> {
    let placed = bench.place(system, setting)?;
    let mut flow = Flow::start(bench, &placed, setting)?;
    println!("| minute | memory, MiB | threads | connections | CPU s | records not visible yet |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for look in 1..=minutes * 2 {
        flow.run_for(LOOK)?;
        let Usage { cpu_seconds, memory_mib, threads, connections, .. } = flow.process.usage()?;
        let behind = flow.load.sent().saturating_sub(flow.reader.seen());
        let minute = look as f64 / 2.0;
        println!("| {minute} | {memory_mib:.1} | {threads} | {connections} | {cpu_seconds:.1} | {behind} |");
    }
    let log = flow.process.tail();
    let seen = flow.stop(bench, &placed)?;
    println!("records that came again or out of order: {}", seen.wrong);
    println!("the end of its log:\n{log}");
    Ok(())
}
