//! What can be asked, and the help that teaches it.

use clap::{Parser, Subcommand};
use tidelock::{JobId, Uid};

const AFTER: &str = "\
Places:
  URL    a local folder, file://, s3://bucket/folder, gs://bucket/folder or az://container/folder.
         Credentials come from the environment, by the names that the store's own tools use.
  LOG    a job's log: what its configuration calls `checkpoints`.
  LOG#N  the entry at position N of a log.

Exit codes:
  0  done; nothing is wrong
  1  the answer is no: damage was found, snapshots differ, or what was asked is refused
  2  wrong usage
  3  could not find out: the place is not there, denies access, or does not answer";

/// Looks into the snapshots of Tidelock jobs, and manages them.
#[derive(Debug, Parser)]
#[command(name = "tidelock", version, after_help = AFTER)]
pub(crate) struct Args {
    /// Print JSON for machines instead of tables. Errors still go to standard error as text.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Looks into snapshots and manages them: checkpoints in a job's log, and savepoints.
    #[command(subcommand)]
    Snapshots(Snapshots),

    Restore(Restore),

    /// Prints a script that completes this command in a shell.
    #[command(after_help = "\
Examples:
  source <(tidelock completions bash)                                   for this shell
  tidelock completions bash > /etc/bash_completion.d/tidelock           for every shell
  tidelock completions zsh > /usr/local/share/zsh/site-functions/_tidelock
  tidelock completions fish > ~/.config/fish/completions/tidelock.fish")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshots {
    /// Lists the entries of a log, oldest first.
    #[command(after_help = "\
Columns:
  LINEAGE  the entry that began this history; a rollback or a fork begins a new one
  PENDING  prepared writes that wait to be committed, or by which entry they are known to be committed
  NOTE     newest: the job recovers from it. fence: never deleted, keeps paused older attempts out

Example:
  tidelock snapshots list /var/lib/orders")]
    List {
        /// A log or a savepoint.
        url: String,
        /// Print the names of the uids that have state, not their number.
        #[arg(long)]
        uids: bool,
    },

    /// Shows what is in a snapshot: split positions, operator state, pending committables.
    #[command(after_help = "\
Examples:
  tidelock snapshots show /var/lib/orders           the newest entry
  tidelock snapshots show '/var/lib/orders#1042'    one entry
  tidelock snapshots show s3://backup/orders-before-upgrade --json | jq .sources")]
    Show {
        /// A log (its newest entry), LOG#N or a savepoint.
        url: String,
    },

    /// Reads every byte against its checksum.
    #[command(after_help = "\
Exits with 1 where something is damaged or missing, and names each file and what to do.
Chunks of entries that are kept only as fences may be gone: they can no longer be restored.

Examples:
  tidelock snapshots verify /var/lib/orders
  tidelock snapshots verify s3://backup/orders-before-upgrade")]
    Verify {
        /// A log, LOG#N or a savepoint.
        url: String,
    },

    /// Compares two snapshots. Exits with 1 where they differ.
    #[command(after_help = "\
Example:
  tidelock snapshots diff '/var/lib/orders#1040' '/var/lib/orders#1042'")]
    Diff {
        /// A log (its newest entry), LOG#N or a savepoint.
        before: String,
        /// The same.
        after: String,
    },

    /// Copies a settled snapshot into a folder of its own: a savepoint.
    #[command(after_help = "\
A snapshot is settled when nothing that it lists waits to be committed: stop the job, or choose an
older entry that a newer one has settled. The savepoint shares nothing with the log.

Examples:
  tidelock snapshots copy /var/lib/orders /backup/orders-before-upgrade
  tidelock snapshots copy '/var/lib/orders#1042' s3://backup/orders-1042")]
    Copy {
        /// A log (its newest entry), LOG#N or a savepoint.
        from: String,
        /// An empty or new folder.
        to: String,
    },

    /// Deletes entries of a log, or savepoints.
    #[command(after_help = "\
Refused: the newest entry, claims, what stands directly below a claim, and what names abandoned data.
Chunks that another entry refers to stay. A job prunes its log by itself: this is for what was kept.

Examples:
  tidelock snapshots delete '/var/lib/orders#1040' '/var/lib/orders#1041' --yes
  tidelock snapshots delete /backup/orders-before-upgrade --yes")]
    Delete {
        /// LOG#N or a savepoint, one or more.
        #[arg(required = true)]
        urls: Vec<String>,
        /// Delete; without it, only say what would be deleted.
        #[arg(long)]
        yes: bool,
    },

    Abandon(Abandon),
}

/// Gives up a job's prepared data: the last resort where it can never be committed.
///
/// A job halts when data that it had prepared was thrown away by the target. Its log lists that data until
/// it is abandoned. Afterwards, start the job from a settled snapshot from before those records, and they are
/// read and written again; without such a rollback it goes on after them, and they stay missing in the target.
#[derive(Debug, Parser)]
#[command(after_help = "\
Stop the job first. It appends a claim, which fences an attempt that still runs, and an entry that no
longer lists the data and names what was given up.

Examples:
  tidelock snapshots abandon /var/lib/orders --job orders                   what would be given up
  tidelock snapshots abandon /var/lib/orders --job orders --uid out --yes   that of one sink")]
pub(crate) struct Abandon {
    /// The job's log.
    pub(crate) url: String,
    /// The job's id: a log of another job is refused.
    #[arg(long)]
    pub(crate) job: JobId,
    /// Only the prepared data of these sinks; all by default.
    #[arg(long, num_args = 1..)]
    pub(crate) uid: Vec<Uid>,
    /// Give it up; without it, only say what would be given up.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Says what a restore would do, before a job does it.
#[derive(Debug, Parser)]
#[command(after_help = "\
A job restores by itself when it starts; this asks the same question beforehand. Exits with 1 where the
restore would be refused.

Examples:
  tidelock restore --dry-run /var/lib/orders --uid in count out
  tidelock restore --dry-run '/var/lib/orders#1042' --uid in out --allow-dropped count")]
pub(crate) struct Restore {
    /// Required: only a job restores.
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
    /// A log (recovery from its newest entry), LOG#N or a savepoint (rollback or fork).
    pub(crate) url: String,
    /// The uids of the job's sources, operators and sinks.
    #[arg(long, num_args = 1.., required = true)]
    pub(crate) uid: Vec<Uid>,
    /// Uids whose state may be dropped: the job's `allow_dropped_state`.
    #[arg(long, num_args = 1..)]
    pub(crate) allow_dropped: Vec<Uid>,
}
