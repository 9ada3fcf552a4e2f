//! Runs the job as a child process, kills it again and again, and checks what is visible in the end.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use comfy_table::Table;
use indicatif::HumanCount;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use tidelock::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::answer;
use crate::options::{Options, RATE};
use crate::places::{Places, start_from_nothing};
use crate::report::say;

/// A child that tells nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long an attempt should last, so that it gets somewhere before it is killed: this, and three
/// intervals.
const ATTEMPT: Duration = Duration::from_millis(100);

/// What a child tells in a line of JSON.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Start {
        restored: Option<Origin>,
    },
    Read {
        flights: u64,
    },
    Checkpoint {
        epoch: u64,
    },
    End,
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Origin {
    snapshot: String,
    epoch: u64,
}

/// One life of the job.
#[derive(Debug, Default)]
struct Attempt {
    restored: Option<Origin>,
    flights: u64,
    epoch: Option<u64>,
    ended: bool,
}

struct Crashes<'o> {
    options: &'o Options,
    places: Places,
    rate: u64,
    kills: u32,
    random: StdRng,
    /// All flights of the input.
    input: u64,
    attempts: Vec<Attempt>,
}

/// Runs the job with this many kills, and compares its rows with the independent answer.
///
/// # Errors
/// Where a row is missing, double or wrong, an attempt went back, or the job failed by itself.
pub(crate) async fn run(options: &Options, kills: u32) -> Result<()> {
    let places = Places::of(options);
    start_from_nothing(&places.out, options.out.is_none())?;
    start_from_nothing(&places.checkpoints, options.checkpoints.is_none())?;
    let expected = answer::expected(Path::new(&places.data))?;
    let input = expected.iter().map(|row| row.flights.unsigned_abs()).sum();
    let seed = options.seed.unwrap_or_else(rand::random);
    let rate = options.rate.unwrap_or_else(|| fitting_rate(input, kills, options.interval));
    say!("{} flights at {} a second; {kills} kills; seed {seed}", HumanCount(input), HumanCount(rate));
    let random = StdRng::seed_from_u64(seed);
    let mut crashes = Crashes { options, places, rate, kills, random, input, attempts: Vec::new() };
    while crashes.attempts.last().is_none_or(|last| !last.ended) {
        let attempt = crashes.attempt().await?;
        crashes.attempts.push(attempt);
        crashes.tell_last();
    }
    crashes.judge(&expected)
}

/// The usual rate, or less where so many attempts would not fit into the input.
fn fitting_rate(input: u64, kills: u32, interval: Duration) -> u64 {
    let attempt = ATTEMPT.as_secs_f64() + 3.0 * interval.as_secs_f64();
    let seconds = f64::from(kills.saturating_add(2)) * attempt;
    RATE.min((input as f64 / seconds) as u64).max(1)
}

impl Crashes<'_> {
    fn read(&self) -> u64 {
        self.attempts.iter().map(|attempt| attempt.flights).sum()
    }

    fn kills_left(&self) -> u32 {
        self.kills - u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).min(self.kills)
    }

    /// Lets the job live until it has completed a checkpoint and made a row visible, and then for a random
    /// while: on average the share of the input that is left for each attempt.
    async fn attempt(&mut self) -> Result<Attempt> {
        let mut attempt = Attempt::default();
        let mut child = self.start()?;
        let mut lines = lines_of(&mut child)?;
        let mut doomed_at = None;
        let visible_before = self.visible()?;
        let mut visible_at_first = None;
        while let Some(event) = next_event(&mut lines).await? {
            match event {
                Event::Start { restored } => attempt.restored = restored,
                Event::Read { flights } => attempt.flights = flights,
                Event::Checkpoint { epoch } => {
                    // What recovery committed is no row of this attempt.
                    visible_at_first.get_or_insert(self.visible()?.max(visible_before));
                    attempt.epoch = Some(epoch);
                }
                Event::End => attempt.ended = true,
                Event::Other => {}
            }
            if self.kills_left() == 0 {
                continue;
            }
            if doomed_at.is_none()
                && visible_at_first.is_some_and(|first| self.visible().is_ok_and(|now| now > first))
            {
                let share = self.input.saturating_sub(self.read()) / u64::from(self.kills_left() + 1);
                let more = share.saturating_sub(attempt.flights);
                doomed_at = Some(attempt.flights + self.random.random_range(0..=more));
            }
            if doomed_at.is_some_and(|flights| attempt.flights >= flights) && !attempt.ended {
                self.pause_below_a_batch().await;
                child.kill().await.map_err(failed)?;
                drain(&mut lines, &mut attempt).await?;
                return Ok(attempt);
            }
        }
        let status = child.wait().await.map_err(failed)?;
        if !status.success() || !attempt.ended {
            return Err(Error::new(ErrorKind::Other, "run the job", "it ended by itself, with an error")
                .with("status", status));
        }
        Ok(attempt)
    }

    /// Events come with batches: a kill between them needs a random while of its own.
    async fn pause_below_a_batch(&mut self) {
        let micros = self.random.random_range(0..5_000);
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }

    fn start(&self) -> Result<Child> {
        let Options { interval, workers, out_of_orderness, .. } = self.options;
        let program = std::env::current_exe().map_err(failed)?;
        Command::new(program)
            .args(["--data", &self.places.data, "--out", &self.places.out])
            .args(["--checkpoints", &self.places.checkpoints, "--job-id", &self.options.job_id().to_string()])
            .args(["--interval", &humantime::format_duration(*interval).to_string()])
            .args(["--out-of-orderness", &humantime::format_duration(*out_of_orderness).to_string()])
            .args(["--rate", &self.rate.to_string(), "--workers", &workers.to_string(), "--report", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)
    }

    /// How many result files a reader sees.
    fn visible(&self) -> Result<usize> {
        Ok(answer::result_files(Path::new(&self.places.out))?.len())
    }

    fn tell_last(&self) {
        let Some(last) = self.attempts.last() else { return };
        let from = match &last.restored {
            Some(origin) => format!("restored {} (epoch {})", origin.snapshot, origin.epoch),
            None => "started with the first flight".to_owned(),
        };
        let epoch = last.epoch.map_or("no checkpoint".to_owned(), |epoch| format!("epoch {epoch}"));
        let end = if last.ended { "ended" } else { "killed" };
        let number = self.attempts.len();
        say!("attempt {number}: {from}, {end} after {} flights and {epoch}", HumanCount(last.flights));
    }

    fn judge(&self, expected: &[answer::Row]) -> Result<()> {
        let visible = answer::visible(Path::new(&self.places.out))?;
        let difference = answer::compare(expected, &visible);
        let kills = self.attempts.len() - 1;
        let again = self.read().saturating_sub(self.input);
        let epochs: Vec<u64> = self.attempts.iter().skip(1).map(restored_epoch).collect();
        let onwards = epochs.is_sorted_by(|before, after| before < after);
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        table.add_row(["kills".to_owned(), kills.to_string()]);
        let read = format!("{}, of them {} again", HumanCount(self.read()), HumanCount(again));
        table.add_row(["flights read by all attempts".to_owned(), read]);
        let snapshots: Vec<String> = epochs.iter().map(u64::to_string).collect();
        table.add_row(["restored epochs".to_owned(), snapshots.join(" ")]);
        table.add_row([
            "rows of the independent answer".to_owned(),
            HumanCount(expected.len() as u64).to_string(),
        ]);
        table.add_row(["rows visible".to_owned(), HumanCount(visible.len() as u64).to_string()]);
        say!("{table}");
        let [missing, double, wrong] =
            [&difference.missing, &difference.double, &difference.wrong].map(|rows| rows.len());
        say!("{missing} missing, {double} double, {wrong} wrong");
        say!("Look at the snapshots:  tidelock snapshots list {}", self.places.checkpoints);
        let wrong = |why: String| Err(Error::new(ErrorKind::Bug, "check the rows", why));
        if !difference.is_none() {
            return wrong("the visible rows are not those of the independent answer".into());
        }
        if !onwards {
            return wrong("an attempt did not restore a later epoch than the one before".into());
        }
        if kills < self.kills as usize {
            return wrong(format!("the data ended after {kills} kills: choose a lower --rate"));
        }
        Ok(())
    }
}

fn restored_epoch(attempt: &Attempt) -> u64 {
    attempt.restored.as_ref().map_or(0, |origin| origin.epoch)
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Other, "run the job as a child", error.to_string())
}

fn lines_of(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>> {
    let out = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    Ok(BufReader::new(out).lines())
}

async fn next_event(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<Event>> {
    let line = tokio::time::timeout(SILENCE_MAX, lines.next_line()).await.map_err(|_| {
        Error::new(ErrorKind::Other, "run the job as a child", "it told nothing for a minute")
    })?;
    let Some(line) = line.map_err(failed)? else { return Ok(None) };
    // The last line of a killed process may be cut off.
    Ok(Some(serde_json::from_str(&line).unwrap_or(Event::Other)))
}

/// What the child still told before it was killed: flights that it read count.
async fn drain(lines: &mut Lines<BufReader<ChildStdout>>, attempt: &mut Attempt) -> Result<()> {
    while let Some(event) = next_event(lines).await? {
        match event {
            Event::Read { flights } => attempt.flights = flights,
            Event::Checkpoint { epoch } => attempt.epoch = Some(epoch),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_kills_slow_the_job_down() {
        let interval = Duration::from_millis(10);
        assert_eq!(fitting_rate(27_004, 20, interval), RATE);
        assert_eq!(fitting_rate(27_004, 100, interval), 2_036);
        assert_eq!(fitting_rate(27_004, 20, 10 * interval), 3_068);
        assert_eq!(fitting_rate(0, 1, interval), 1);
    }

    #[test]
    fn events_are_understood_and_unknown_ones_are_passed_over() {
        let restored: Event = serde_json::from_str(
            r#"{"event":"start","job":"flights","restored":{"snapshot":"flights#7","epoch":3}}"#,
        )
        .unwrap();
        assert!(matches!(restored, Event::Start { restored: Some(Origin { epoch: 3, .. }) }));
        assert!(matches!(serde_json::from_str(r#"{"event":"stop","text":""}"#).unwrap(), Event::Other));
    }
}
