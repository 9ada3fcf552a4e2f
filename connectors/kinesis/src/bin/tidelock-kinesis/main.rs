//! `tidelock-kinesis`: looks at KCL's table of leases, and writes one from a job's log.

mod show;

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tidelock::log::Log;
use tidelock::{Result, Uid};
use tidelock_kinesis::{AwsConfig, InitialPosition, LeaseExport, Leases, LeasesConfig, Plan, export_leases};

use crate::show::Row;

/// Looks at KCL's table of leases, and writes one from a job's log.
#[derive(Debug, Parser)]
#[command(name = "tidelock-kinesis", version)]
struct Arguments {
    #[command(subcommand)]
    about: About,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Tables of leases, in which KCL (the Kinesis Client Library) keeps how far each shard was processed.
    Leases {
        #[command(subcommand)]
        command: Command,
    },
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows a table of leases, whether a worker is alive, and with --stream where a job would begin. Changes nothing.
    #[command(after_long_help = SHOW_HELP)]
    Show {
        /// The table, by its name or ARN: it is called as the application of KCL is.
        table: String,
        #[command(flatten)]
        from: From,
        /// A stream that the application reads, by its name or ARN: its shards are listed, and where each would begin is shown. May be repeated.
        #[arg(long = "stream", value_name = "STREAM")]
        streams: Vec<String>,
        /// What the application was configured with: trim_horizon, latest, or a time as 2026-11-30T12:00:00Z. Needed where a lease says AT_TIMESTAMP, or a shard
        /// has no lease.
        #[arg(long, value_parser = initial_position, value_name = "POSITION")]
        initial_position: Option<InitialPosition>,
        /// For how many seconds the table is watched: whoever writes to it is a worker that is alive. A worker writes in a third of its failoverTimeMillis, which is
        /// 10,000 unless it was set. With 0 it is not watched.
        #[arg(long, default_value_t = 15, value_name = "SECONDS")]
        watch: u64,
        /// Print JSON, one line for each lease or shard.
        #[arg(long)]
        json: bool,
    },
    /// Writes where a job ended, as leases that KCL goes on from. The job must have been stopped.
    #[command(after_long_help = EXPORT_HELP)]
    Export {
        /// The table, by its name or ARN; it is made where it is not there. It has nothing but what was exported from the same streams.
        table: String,
        #[command(flatten)]
        from: From,
        /// The log of the job: a folder, or a URL.
        #[arg(long)]
        log: String,
        /// The uid of the source in the job.
        #[arg(long)]
        uid: Uid,
        /// Write the positions of the newest checkpoint, although the job was not stopped: what it has prepared and not committed is in no output, and KCL will not
        /// read it again.
        #[arg(long)]
        force: bool,
    },
}

const SHOW_HELP: &str = "\
Examples:
  tidelock-kinesis leases show flights-reader
  tidelock-kinesis leases show flights-reader --stream flights --region eu-central-1
  tidelock-kinesis leases show flights-reader --stream flights --initial-position latest --json

A checkpoint is the last record that was processed, and after a slash the last one of the records within an aggregate. What begins \"after those before it\" is a
child of a shard that was not processed to its end.

The command fails where a job would refuse to begin with the table, and says why.";

const EXPORT_HELP: &str = "\
Example:
  tidelock-kinesis leases export flights-reader-back --log s3://bucket/flights --uid flights

Then start the application of KCL under the name of the table.";

/// Where the services are. Credentials come from where AWS's own tools look for them.
#[derive(Debug, Args)]
struct From {
    /// The region. Left out, it comes from the environment, the profile or the instance.
    #[arg(long)]
    region: Option<String>,
    /// The profile of AWS's configuration files.
    #[arg(long)]
    profile: Option<String>,
    /// Another address of DynamoDB than AWS's own, as a URL.
    #[arg(long, value_name = "URL")]
    dynamodb_endpoint: Option<String>,
    /// Another address of Kinesis than AWS's own, as a URL.
    #[arg(long, value_name = "URL")]
    kinesis_endpoint: Option<String>,
}

impl From {
    fn service(&self, endpoint: Option<&String>) -> AwsConfig {
        let mut config = AwsConfig::new();
        config.region = self.region.clone();
        config.profile = self.profile.clone();
        config.endpoint = endpoint.cloned();
        config
    }

    fn dynamodb(&self) -> AwsConfig {
        self.service(self.dynamodb_endpoint.as_ref())
    }

    fn kinesis(&self) -> AwsConfig {
        self.service(self.kinesis_endpoint.as_ref())
    }
}

fn initial_position(text: &str) -> std::result::Result<InitialPosition, String> {
    match text {
        "trim_horizon" => Ok(InitialPosition::TrimHorizon),
        "latest" => Ok(InitialPosition::Latest),
        time => {
            let time: jiff::Timestamp = time
                .parse()
                .map_err(|_| "expected trim_horizon, latest, or a time as 2026-11-30T12:00:00Z")?;
            Ok(InitialPosition::AtTimestamp(time.as_millisecond()))
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let About::Leases { command } = Arguments::parse().about;
    match command {
        Command::Show { table, from, streams, initial_position, watch, json } => {
            let mut config = LeasesConfig::new(from.dynamodb(), table);
            config.initial_position = initial_position;
            config.watch_ms = Duration::from_secs(watch).as_millis().try_into().unwrap_or(u64::MAX);
            show(&config, &from.kinesis(), &streams, json).await
        }
        Command::Export { table, from, log, uid, force } => {
            let log = Log::look(&log).await?;
            let to = LeaseExport::new(from.dynamodb(), &table);
            let exported = Box::pin(export_leases(&log, &uid, to, force)).await?;
            println!("{table}: {} leases written", exported.leases);
            Ok(())
        }
    }
}

async fn show(config: &LeasesConfig, kinesis: &AwsConfig, streams: &[String], json: bool) -> Result<()> {
    let leases = Leases::read(config).await?;
    let plan = match streams {
        [] => None,
        streams => Some(leases.plan_of(config, kinesis, streams).await?),
    };
    let rows = rows(&leases, plan.as_ref());
    show::leases(&rows, plan.is_some(), leases.name_streams() || streams.len() > 1, json);
    if !json {
        println!();
        print!("{}", summary(&leases, config));
    }
    match plan {
        None => Ok(()),
        Some(plan) => {
            leases.check_nobody_writes(config)?;
            plan.given(false)?;
            if !json {
                println!("a job can begin with it: start = {{ leases = {{ table = {:?} }} }}", config.table);
            }
            Ok(())
        }
    }
}

/// The shards of the plan, and leases on others.
fn rows(leases: &Leases, plan: Option<&Plan>) -> Vec<Row> {
    let planned = plan.map(|plan| plan.shards.as_slice()).unwrap_or_default();
    let mut rows: Vec<Row> = planned.iter().map(Row::of_planned).collect();
    let is_planned = |key: &str| {
        planned.iter().any(|planned| planned.lease.as_ref().is_some_and(|lease| lease.key == key))
    };
    rows.extend(leases.leases.iter().filter(|lease| !is_planned(&lease.key)).map(Row::of_lease));
    rows
}

fn summary(leases: &Leases, config: &LeasesConfig) -> String {
    let mut text = format!("{} leases", leases.leases.len());
    for (kind, count) in &leases.others {
        // Writing to a text does not fail.
        let _ = write!(text, ", {count} of {kind}");
    }
    text.push('\n');
    let seconds = config.watch_ms / 1_000;
    if config.watch_ms == 0 {
        text += "whether a worker is alive was not looked at\n";
    } else if leases.writers.is_empty() {
        let _ = writeln!(text, "nobody wrote to the table within {seconds} s: no worker seems to be alive");
    } else {
        let writers: Vec<&str> = leases.writers.iter().map(String::as_str).collect();
        let _ = writeln!(text, "alive: {}", writers.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_whole() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_initial_position_is_a_word_or_a_time() {
        assert_eq!(initial_position("latest"), Ok(InitialPosition::Latest));
        assert_eq!(initial_position("1970-01-01T00:00:07Z"), Ok(InitialPosition::AtTimestamp(7_000)));
        assert!(initial_position("LATEST").is_err() && initial_position("7").is_err());
    }
}
