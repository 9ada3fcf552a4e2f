//! The command: from arguments to an exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tidelock::{Error, ErrorKind};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::options::{Options, Profile};

/// A newer run of the job took over: nothing is wrong with this one, and starting it again would be.
const FENCED: u8 = 3;

/// Does what the arguments of the process say.
///
/// Not `async`: the job would be compiled once more in each program that waits for it.
pub fn main() -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(obey(Options::parse())),
        Err(error) => {
            eprintln!("flights: the program could not start its threads: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(options: Options) -> ExitCode {
    let log = std::env::var("RUST_LOG").ok().and_then(|log| log.parse().ok());
    let log = log.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let on_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(on_terminal).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let done = match (options.profile, options.crash, &options.load_tables) {
        (Some(Profile::Servers), ..) => crate::servers::run(&options).await,
        (None, Some(kills), _) => crate::crash::run(&options, kills).await,
        (None, None, Some(database)) => crate::sql::load(&options, database).await,
        (None, None, None) => crate::job::run(&options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => explain(&error),
    }
}

fn explain(error: &Error) -> ExitCode {
    eprintln!("flights: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    if error.kind() == ErrorKind::Fenced {
        eprintln!(
            "fenced: a newer run of this job took over the checkpoints. This run has ended; what it had not \
             committed, the newer one has or does again."
        );
        return ExitCode::from(FENCED);
    }
    ExitCode::FAILURE
}
