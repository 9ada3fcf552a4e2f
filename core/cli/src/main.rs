//! The command `tidelock`: looks into the snapshots of jobs and manages them.
//!
//! It reads logs and savepoints as the library does, and changes nothing unless `--yes` says so. Exit codes
//! are part of its interface: see [`failure`].

mod abandon;
mod args;
mod copy;
mod delete;
mod diff;
mod digest;
mod failure;
mod list;
mod place;
mod print;
mod restore;
mod show;
mod verify;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command, Snapshots};
use failure::Outcome;

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread is enough: the command does one thing after the other.
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(failure::Failure::unknown(format!("the command could not start: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{failure}");
            failure.exit_code()
        }
    }
}

async fn run(args: Args) -> Outcome {
    let json = args.json;
    match args.command {
        Command::Snapshots(Snapshots::List { url, uids }) => list::run(&url, uids, json).await,
        Command::Snapshots(Snapshots::Show { url }) => show::run(&url, json).await,
        Command::Snapshots(Snapshots::Verify { url }) => verify::run(&url, json).await,
        Command::Snapshots(Snapshots::Diff { before, after }) => diff::run(&before, &after, json).await,
        Command::Snapshots(Snapshots::Copy { from, to }) => copy::run(&from, &to, json).await,
        Command::Snapshots(Snapshots::Delete { urls, yes }) => delete::run(&urls, yes, json).await,
        Command::Snapshots(Snapshots::Abandon(request)) => abandon::run(request, json).await,
        Command::Restore(request) => restore::run(request, json).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "tidelock", &mut script);
            print::write(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(())
        }
    }
}
