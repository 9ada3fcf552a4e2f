//! What a person, or a program, sees of a run.

use std::fmt::Arguments;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use comfy_table::Table;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use tidelock::coordinator::{Ended, Progress};
use tidelock::job::Restored;
use tidelock::log::Closed;
use tidelock::{Epoch, Result};
use tidelock_runtime::Handle;

use crate::options::{Options, Report};
use crate::places::{Places, RowsVisible};

/// Writes a line to standard output. Nobody may listen any more; the job goes on.
pub(crate) fn write_line(line: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

macro_rules! say {
    ($($line:tt)*) => { $crate::report::write_line(format_args!($($line)*)) };
}
pub(crate) use say;

/// Tells what a run does.
#[derive(Debug)]
pub(crate) struct Reporter {
    how: Report,
    line: ProgressBar,
    read: Arc<AtomicU64>,
}

/// Where a run begins.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Nothing was there.
    New,
    /// From the job's newest snapshot.
    Newest,
    /// As [`Beginning::Newest`], because the request for another snapshot was obeyed before.
    NewestAgain,
    /// From a chosen snapshot of the job's own.
    Rollback,
    /// From a snapshot of another job.
    Fork,
}

impl Reporter {
    pub(crate) fn new(how: Report) -> Self {
        let how = match how {
            Report::Auto if std::io::stderr().is_terminal() => Report::Live,
            Report::Auto => Report::Plain,
            how => how,
        };
        let line = if how == Report::Live { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            line.set_style(style);
        }
        Self { how, line, read: Arc::default() }
    }

    /// Called with each number of flights that is read.
    pub(crate) fn on_read(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let (read, json) = (Arc::clone(&self.read), self.how == Report::Json);
        move |flights| {
            let flights = read.fetch_add(flights, Ordering::SeqCst) + flights;
            if json {
                say!("{}", json!({ "event": "read", "flights": flights }));
            }
        }
    }

    fn read(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }

    pub(crate) fn begin(
        &self,
        options: &Options,
        places: &Places,
        restored: Option<&Restored>,
        beginning: &Beginning,
    ) {
        if self.how == Report::Json {
            let id = restored.map(|restored| &restored.id);
            let restored = id.map(|id| json!({ "snapshot": id.to_string(), "epoch": id.epoch.0 }));
            say!(
                "{}",
                json!({ "event": "start", "job": options.job_id().to_string(), "restored": restored })
            );
            return;
        }
        say!("flights  from {}", places.input());
        say!("{:8} to   {}", places.writes, places.output());
        say!("every {} a checkpoint to {}", humantime::format_duration(options.interval), places.checkpoints);
        let from = restored.map(|restored| {
            let made = restored.created_at.strftime("%F %T UTC");
            format!("snapshot {} (epoch {}, made {made})", restored.id, restored.id.epoch)
        });
        let from = from.unwrap_or_default();
        match beginning {
            Beginning::New => say!("There is nothing to restore: starting with the first flight."),
            Beginning::Newest => say!("Restored from {from}: going on there."),
            Beginning::NewestAgain => {
                say!("The request to start from another snapshot was obeyed before, so not again.");
                say!("Restored from {from}: going on there.");
            }
            Beginning::Rollback => {
                say!("Rolled back to {from}.");
                say!("Rows that became visible after it stay, and are written again.");
                if places.to_files() {
                    tell_how_to_read_once(&places.out);
                }
            }
            Beginning::Fork => {
                say!("Forked from {from}: the job that made it is not touched.");
                say!("Rows that it wrote before are not written again.");
            }
        }
    }

    /// Tells how the job goes, for ever.
    pub(crate) async fn follow(&self, handle: &Handle) {
        let period = match self.how {
            Report::Json => Duration::from_millis(2),
            Report::Live => Duration::from_millis(100),
            Report::Auto | Report::Plain => Duration::from_secs(1),
        };
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        ticks.tick().await;
        let mut told = Epoch(0);
        loop {
            ticks.tick().await;
            let progress = handle.progress();
            let rows: u64 = handle.records_written().values().sum();
            match self.how {
                Report::Json if progress.checkpoints == 0 || progress.epoch == told => {}
                Report::Json => say!(
                    "{}",
                    json!({
                        "event": "checkpoint", "epoch": progress.epoch.0, "checkpoints": progress.checkpoints,
                        "flights": self.read(), "rows": rows, "prepare_ms": ms(progress.prepare),
                        "append_ms": ms(progress.append), "commit_ms": ms(progress.commit),
                    })
                ),
                Report::Live => {
                    self.line.set_message(self.status(&progress, rows));
                    self.line.tick();
                }
                Report::Auto | Report::Plain => say!("{}", self.status(&progress, rows)),
            }
            told = progress.epoch;
        }
    }

    fn status(&self, progress: &Progress, rows: u64) -> String {
        let (flights, rows) = (HumanCount(self.read()), HumanCount(rows));
        let (epoch, phases) = (progress.epoch, phases(progress));
        // A live line that is wider than the terminal would be broken in the middle of a word.
        format!("{flights} flights, {rows} rows; epoch {epoch}: {phases}")
    }

    /// There was nothing to do.
    pub(crate) fn nothing_left(&self, places: &Places, ended: &Ended) -> Result<()> {
        self.line.finish_and_clear();
        if self.how == Report::Json {
            say!("{}", json!({ "event": "end", "closed": "finished", "nothing_left": true }));
            return Ok(());
        }
        let Places { checkpoints, out, .. } = places;
        if let Some(visible) = places.rows_visible()? {
            let rows = visible.different;
            say!("There is nothing left to do: every flight was counted, and {rows} rows are visible.");
            tell_of_doubles(visible, places);
            say!("To start over, remove both folders:  rm -r {checkpoints} {out}");
        } else {
            say!("There is nothing left to do: everything was read, and is in {}.", places.output());
            say!("To start over, name another topic or database and other checkpoints than {checkpoints}.");
        }
        if !ended.unread.is_empty() {
            say!("The job says: {ended}");
        }
        Ok(())
    }

    /// The run ended by itself.
    pub(crate) fn end(
        &self,
        places: &Places,
        handle: &Handle,
        ended: &Ended,
        from: Option<&Restored>,
    ) -> Result<()> {
        self.line.finish_and_clear();
        let progress = handle.progress();
        let rows: u64 = handle.records_written().values().sum();
        let closed = match ended.closed {
            Closed::Finished => "finished",
            Closed::Stopped => "stopped",
            Closed::Cancelled => "cancelled",
        };
        if self.how == Report::Json {
            say!(
                "{}",
                json!({ "event": "end", "closed": closed, "epoch": ended.snapshot.epoch.0, "flights": self.read(), "rows": rows })
            );
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        table.add_row(["flights read in this run".to_owned(), HumanCount(self.read()).to_string()]);
        table.add_row([format!("{} written in this run", places.writes), HumanCount(rows).to_string()]);
        let visible = places.rows_visible()?;
        if let Some(visible) = visible {
            table.add_row(["rows visible in all".to_owned(), HumanCount(visible.all as u64).to_string()]);
        }
        table.add_row(["checkpoints in this run".to_owned(), HumanCount(progress.checkpoints).to_string()]);
        table.add_row(["the last one took".to_owned(), phases(&progress)]);
        let from = from.map_or("nothing".to_owned(), |from| from.id.to_string());
        table.add_row(["restored from".to_owned(), from]);
        table.add_row(["last snapshot".to_owned(), ended.snapshot.to_string()]);
        say!("{table}");
        match ended.closed {
            Closed::Finished if visible.is_none_or(RowsVisible::each_once) => {
                say!("The end of the data: all {} are written, each once.", places.writes)
            }
            Closed::Finished => say!("The end of the data: all {} are written.", places.writes),
            Closed::Stopped => {
                say!("Stopped, with everything committed. Start it again to go on from there.")
            }
            Closed::Cancelled => say!("Ended at once. Start it again to go on from the last checkpoint."),
        }
        if let Some(visible) = visible {
            tell_of_doubles(visible, places);
        }
        say!("Look at the snapshots:  tidelock snapshots list {}", places.checkpoints);
        say!("  (from here: cargo run -p tidelock-cli -- snapshots list {})", places.checkpoints);
        Ok(())
    }

    /// Something worth a line of its own.
    pub(crate) fn note(&self, event: &str, line: &str) {
        if self.how == Report::Json {
            say!("{}", json!({ "event": event, "text": line }));
        } else {
            self.line.suspend(|| say!("{line}"));
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}

/// Rows that are there more than once, where a rollback wrote some again.
fn tell_of_doubles(visible: RowsVisible, places: &Places) {
    if !visible.each_once() {
        let RowsVisible { all, different } = visible;
        say!(
            "{different} rows are different ones; the other {} were there before a rollback, which",
            all - different
        );
        say!("wrote them again.");
        tell_how_to_read_once(&places.out);
    }
}

/// The name of a file says which attempt wrote it, and that is not on which side of a snapshot its rows are: whoever
/// removed files by it would lose rows.
fn tell_how_to_read_once(out: &str) {
    say!(
        "Remove no file: its name does not say whether a row of it was written again. To read each row once:"
    );
    say!("  {}", each_once(out));
}

/// A command that prints each row of a folder once: a row that is written again is the same line.
fn each_once(out: &str) -> String {
    format!("cat '{}'/part-* | sort -u", out.replace('\'', r"'\''"))
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn phases(progress: &Progress) -> String {
    let [prepare, append, commit] = [progress.prepare, progress.append, progress.commit].map(ms);
    format!("prepare {prepare:.1}, append {append:.1}, commit {commit:.1} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_is_told_after_a_rollback_prints_each_row_once() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("it's rows");
        std::fs::create_dir(&out).unwrap();
        for (name, rows) in
            [("part-1", "a\nb\n"), ("part-87", "c\nd\n"), ("part-216", "b\nc\nd\n"), (".x", "e\n")]
        {
            std::fs::write(out.join(name), rows).unwrap();
        }
        let command = each_once(out.to_str().unwrap());
        let printed = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), "a\nb\nc\nd\n");
    }
}
