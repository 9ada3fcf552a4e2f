//! Copies the flights of CSV files to JSON Lines, exactly once, with crate `tidelock` and plain tokio:
//!
//! ```text
//! cargo run -p tidelock-files --example csv_to_jsonl -- IN OUT CHECKPOINTS
//! ```
//!
//! Kill it and start it again as often as you like: `OUT` gets every row of `IN` once. This is a whole host:
//! one task that reads a split at a time and writes with one writer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::coordinator::{Coordinator, HostLink};
use tidelock::host::{News, Order, Report};
use tidelock::job::{Graph, Job, JobConfig};
use tidelock::{
    DynReader, DynWriter, Epoch, Position, Result, SinkControl, SinkData, SourceControl, SourceData,
    SourceName, SplitState, Uid, WriterId,
};
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tokio::sync::mpsc::{Receiver, Sender};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Some of the columns; the others are passed over.
#[derive(Deserialize, Serialize)]
struct Flight {
    carrier: String,
    flight: u32,
    origin: String,
    dest: String,
    dep_delay: Option<i32>,
    time_hour: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let log = std::env::var("RUST_LOG").ok().and_then(|log| log.parse().ok());
    let log = log.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, output, checkpoints) = (argument("data"), argument("out"), argument("checkpoints"));
    let source_name = SourceName { job: "csv-to-jsonl".parse()?, uid: "flights".parse()? };
    let sink_uid: Uid = "rows".parse()?;

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let source = Arc::new(FilesSource::<Flight>::new(reading)?);
    let writing = FilesSinkConfig::new(output, SinkFormat::JsonLines);
    let sink = Arc::new(FilesSink::<Flight>::new(writing)?);

    let mut config = JobConfig::new(source_name.job.clone(), checkpoints);
    config.settings.interval = Duration::from_millis(10);
    let job = Job::open(config).await?;
    println!("restored: {:?}", job.restored().map(|restored| &restored.id));

    let graph = Graph {
        sources: BTreeMap::from([(source_name.uid.clone(), Arc::clone(&source) as Arc<dyn SourceControl>)]),
        sinks: BTreeMap::from([(sink_uid.clone(), Arc::clone(&sink) as Arc<dyn SinkControl>)]),
        tasks: 1,
        ..Graph::default()
    };
    let (coordinator, link, _control) = Coordinator::new(job, graph);
    let HostLink { orders, news } = link;
    let host = Host {
        source: &*source,
        source_name,
        sink: &*sink,
        sink_uid,
        news,
        attempt: Position::default(),
        writer: None,
        splits: VecDeque::new(),
        finished: Vec::new(),
        ended: false,
    };
    tokio::select! {
        ended = coordinator.run() => println!("{}", ended?),
        Err(error) = host.run(orders) => return Err(error),
    }
    Ok(())
}

/// A split with its reader: opened when its turn comes, so that files are read in their order.
struct Reading {
    state: SplitState,
    reader: Option<Box<dyn DynReader<Flight>>>,
}

/// One task with one reader at a time and one writer.
struct Host<'a> {
    source: &'a dyn SourceData<Flight>,
    source_name: SourceName,
    sink: &'a dyn SinkData<Flight>,
    sink_uid: Uid,
    news: Sender<News>,
    attempt: Position,
    writer: Option<Box<dyn DynWriter<Flight>>>,
    splits: VecDeque<Reading>,
    /// Splits that were finished since the last barrier.
    finished: Vec<SplitState>,
    /// The last barrier came: nothing is read after it.
    ended: bool,
}

impl Host<'_> {
    /// Obeys orders between one batch and the next. Ends only with an error: the coordinator's end ends
    /// everything.
    async fn run(mut self, mut orders: Receiver<Order>) -> Result<()> {
        loop {
            let idle = self.splits.is_empty() || self.ended;
            let order = if idle { orders.recv().await } else { orders.try_recv().ok() };
            match order {
                Some(order) => self.obey(order).await?,
                None if idle => std::future::pending().await,
                None => self.read().await?,
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Open(opening) => {
                self.writer =
                    Some(self.sink.open(&opening.attempt.of_sink(&self.sink_uid), WriterId(0)).await?);
                self.attempt = opening.attempt.number;
                self.tell(News::Opened).await;
            }
            Order::Assign { split, .. } => self.splits.push_back(Reading { state: split, reader: None }),
            Order::Barrier { epoch, last } => {
                let report = self.close(epoch).await?;
                self.tell(News::Report(report)).await;
                self.ended = last;
            }
            Order::Settled { epoch, .. } => {
                if let Some(writer) = &mut self.writer {
                    writer.settled(epoch, false).await?;
                }
            }
            // What else there is needs nothing here.
            _ => {}
        }
        Ok(())
    }

    /// Closes an epoch: positions and prepared files are one report.
    async fn close(&mut self, epoch: Epoch) -> Result<Report> {
        let mut splits = std::mem::take(&mut self.finished);
        splits.extend(self.splits.front().map(|reading| reading.state.clone()));
        let mut prepared = Vec::new();
        if let Some(writer) = &mut self.writer {
            prepared = writer.prepare(epoch).await?;
        }
        Ok(Report {
            epoch,
            attempt: self.attempt,
            sources: BTreeMap::from([(self.source_name.uid.clone(), splits)]),
            sinks: BTreeMap::from([(self.sink_uid.clone(), prepared)]),
            ..Report::default()
        })
    }

    /// Passes one batch of the first split on, or tells that it is finished.
    async fn read(&mut self) -> Result<()> {
        let (Some(reading), Some(writer)) = (self.splits.front_mut(), &mut self.writer) else {
            return Ok(());
        };
        let reader = match &mut reading.reader {
            Some(reader) => reader,
            none => none.insert(self.source.open(&self.source_name, reading.state.split.clone()).await?),
        };
        let batch = reader.next().await?;
        reading.state.split = reader.resume()?;
        if let Some(mut records) = batch {
            // A writer of files always has a free place, so it takes them all.
            writer.write(&mut records).await?;
        } else if let Some(Reading { state, .. }) = self.splits.pop_front() {
            let (uid, id, split) = (self.source_name.uid.clone(), state.id.clone(), state.split.clone());
            let finished = News::SplitFinished { uid, id, split };
            self.finished.push(SplitState { finished: true, ..state });
            self.tell(finished).await;
        }
        Ok(())
    }

    /// Where the coordinator is gone, so are we in a moment.
    async fn tell(&self, news: News) {
        let _ = self.news.send(news).await;
    }
}
