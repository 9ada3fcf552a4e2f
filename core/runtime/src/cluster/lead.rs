//! Process 0: it has the coordinator, and speaks for all processes.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tidelock::coordinator::{Ended, HostLink};
use tidelock::host::{News, Order};
use tidelock::job::Graph as CoreGraph;
use tidelock::log::SnapshotId;
use tidelock::{Error, ErrorKind, Result, patiently};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::post::Post;
use super::questions::answer;
use super::signs::give_and_take_signs;
use super::wire::{Content, Hello, Mail, Told};
use super::{
    ALIVE_INTERVAL, FAREWELL, FAREWELL_MAX, SILENCE_MAX, START_TIMEOUT, beside, silent, tell_budget,
};
use crate::ask::Ask;
use crate::coordination::{Coordination, watch_coordinator};
use crate::dispatch::Dispatch;
use crate::shared::Shared;
use crate::stop::Failure;

/// Orders and news on their way between two tasks: as many as the coordinator has in its own channels.
const MESSAGES_WAITING_MAX: usize = 64;

/// Runs the attempt for all processes.
pub(crate) async fn lead(
    shared: &Arc<Shared>,
    post: &Arc<Post>,
    dispatch: Dispatch,
    hello: &Hello,
    coordinate: impl FnOnce(CoreGraph) -> Coordination,
) -> Result<Ended> {
    let greeted = tokio::time::timeout(START_TIMEOUT, greet(post, hello));
    let asked =
        patiently("the other processes of the job", START_TIMEOUT, greeted).await.map_err(|_| {
            let why = "not all processes were there in time";
            Error::new(ErrorKind::Unavailable, "start", why).with("seconds", START_TIMEOUT.as_secs())
        })??;
    let tasks = u32::try_from(post.place.processes * post.place.threads).unwrap_or(u32::MAX);
    let (coordinator, HostLink { orders, news }) = coordinate(dispatch.core_graph(tasks));

    let (to_dispatch, own_orders) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (own_news, from_outbox) = mpsc::channel(MESSAGES_WAITING_MAX);
    let byes = watch::Sender::new(0);
    shared.tasks.spawn(None, "obey", dispatch.run(own_orders));
    shared.tasks.spawn(None, "pass orders on", pass_on(Arc::clone(post), orders, to_dispatch));
    shared.tasks.spawn(None, "report", Arc::clone(&shared.outbox).forward(own_news));
    let mut hearing = Hearing {
        shared: Arc::clone(shared),
        post: Arc::clone(post),
        heard: vec![Instant::now(); post.place.processes],
        opened: 0,
        byes: byes.clone(),
        answers: FuturesUnordered::new(),
    };
    for (from, number, ask) in asked {
        hearing.answer(from, number, ask);
    }
    shared.tasks.spawn(None, "watch the budget", tell_budget(Arc::clone(shared), Arc::clone(post)));

    let attempt = async {
        let ended = watch_coordinator(&shared.stop, coordinator, &news).await;
        say_how_it_ended(shared, post, &ended, &byes).await?;
        ended
    };
    let hear = async {
        if let Err(error) = hearing.run(from_outbox, news.clone()).await {
            shared.stop.fail(None, error);
        }
    };
    let tell_decided = async {
        shared.stop.decided().cancelled().await;
        if let Err(error) = post.broadcast(Content::Decided) {
            shared.stop.fail(None, error);
        }
    };
    let signs = give_and_take_signs(Arc::clone(post), hello.job.clone());
    beside(attempt, async {
        tokio::join!(hear, tell_decided, signs);
    })
    .await
}

/// The last words of process 0.
async fn say_how_it_ended(
    shared: &Shared,
    post: &Post,
    ended: &Result<Ended>,
    byes: &watch::Sender<usize>,
) -> Result<()> {
    match ended {
        Ok(ended) => {
            post.broadcast(Content::Ended(ended.clone()))?;
            let all = post.place.processes - 1;
            let mut byes = byes.subscribe();
            let answered = tokio::time::timeout(FAREWELL_MAX, byes.wait_for(|byes| *byes == all)).await;
            if answered.is_err() {
                let why = "a process did not answer that the job has ended: it is gone, paused or overloaded";
                shared.stop.fail(None, Error::new(ErrorKind::Unavailable, "end", why));
            }
        }
        Err(error) => {
            let told = shared.stop.with_failure(|failure| failure.map(Told::of));
            let told = told.filter(|_| error.kind() != ErrorKind::Fenced);
            post.broadcast(Content::Failed(told.unwrap_or_else(|| Told::of_error(error))))?;
            tokio::time::sleep(FAREWELL).await;
        }
    }
    Ok(())
}

/// What was asked before there was anybody to answer: in which process, by which number, and what.
type Asked = Vec<(usize, u64, Ask)>;

/// Waits for all processes, and checks that they agree.
async fn greet(post: &Post, hello: &Hello) -> Result<Asked> {
    let mut asked = Asked::new();
    let mut missing: Vec<usize> = (1..post.place.processes).collect();
    while !missing.is_empty() {
        match post.next().await? {
            Mail { from, content: Content::Hello(other) } => {
                check(from, hello, &other)?;
                missing.retain(|process| *process != from);
            }
            Mail { from, content: Content::Failed(told) } => {
                return Err(told.into_failure(from).into_error());
            }
            Mail { from, content: Content::Ask { number, ask } } => asked.push((from, number, ask)),
            // Others may say that they are there while the slowest one still builds.
            _ => {}
        }
    }
    Ok(asked)
}

fn check(from: usize, own: &Hello, other: &Hello) -> Result<()> {
    let refuse = |kind, why: &str, own: String, other: String| {
        let error = Error::new(kind, "start", why);
        Err(error.with("process", from).with("process_0", own).with("other", other))
    };
    // Started from one build and one configuration, all agree: a restart alone does not make them.
    let differ = ErrorKind::Config;
    if own.job != other.job {
        return refuse(
            differ,
            "the processes run different jobs",
            own.job.to_string(),
            other.job.to_string(),
        );
    }
    if own.uids != other.uids {
        let (own, other) = (format!("{:?}", own.uids), format!("{:?}", other.uids));
        return refuse(differ, "the processes built different graphs", own, other);
    }
    if own.restored != other.restored {
        let told = |restored: &Option<SnapshotId>| match restored {
            Some(snapshot) => snapshot.to_string(),
            None => "none: a first run".to_owned(),
        };
        let (own, other) = (told(&own.restored), told(&other.restored));
        let why = "the processes see different snapshots: start all of them again";
        return refuse(ErrorKind::Conflict, why, own, other);
    }
    Ok(())
}

/// Gives every order to all processes: each takes what is for it.
async fn pass_on(post: Arc<Post>, mut orders: mpsc::Receiver<Order>, own: mpsc::Sender<Order>) -> Result<()> {
    while let Some(order) = orders.recv().await {
        post.broadcast(Content::Order(order.clone()))?;
        if own.send(order).await.is_err() {
            break;
        }
    }
    Ok(())
}

struct Hearing {
    shared: Arc<Shared>,
    post: Arc<Post>,
    /// When each process was last heard of.
    heard: Vec<Instant>,
    /// How many processes have opened their writers.
    opened: usize,
    byes: watch::Sender<usize>,
    /// Questions of other processes that are being answered: a savepoint takes its time.
    answers: FuturesUnordered<BoxFuture<'static, Result<()>>>,
}

impl Hearing {
    async fn run(mut self, mut own: mpsc::Receiver<News>, coordinator: mpsc::Sender<News>) -> Result<()> {
        let mut alive = tokio::time::interval(ALIVE_INTERVAL);
        loop {
            let news = tokio::select! {
                Some(news) = own.recv() => Some(news),
                mail = self.post.next() => self.take(mail?)?,
                Some(answered) = self.answers.next() => {
                    answered?;
                    None
                }
                _ = alive.tick() => {
                    self.look_around()?;
                    None
                }
            };
            let Some(news) = news else { continue };
            if matches!(news, News::Opened) {
                self.opened += 1;
                if self.opened < self.post.place.processes {
                    continue;
                }
            }
            // Where it does not listen any more, it needs none of it to end. What is left to hear is who asks, and who
            // says good-bye.
            let _ = coordinator.send(news).await;
        }
    }

    fn take(&mut self, Mail { from, content }: Mail) -> Result<Option<News>> {
        if let Some(heard) = self.heard.get_mut(from) {
            *heard = Instant::now();
        }
        Ok(Some(match content {
            Content::Opened => News::Opened,
            Content::Report(report) => News::Report(report),
            Content::SplitFinished { uid, id, split } => News::SplitFinished { uid, id, split },
            Content::NoFreePlace => News::NoFreePlace,
            Content::Failed(told) => {
                let Failure { uid, error } = told.into_failure(from);
                self.shared.stop.fail(uid, error);
                return Ok(None);
            }
            Content::Full(full) => {
                // Everybody hears of it from process 0.
                self.shared.budget.peer_is_full(from, full);
                return Ok(None);
            }
            Content::Arrived(in_all) => {
                self.shared.budget.arrived_at(from, in_all);
                return Ok(None);
            }
            Content::Bye => {
                self.byes.send_modify(|byes| *byes += 1);
                return Ok(None);
            }
            Content::Ask { number, ask } => {
                self.answer(from, number, ask);
                return Ok(None);
            }
            Content::Alive
            | Content::Hello(_)
            | Content::Order(_)
            | Content::Answer { .. }
            | Content::Progress(_)
            | Content::Decided
            | Content::Ended(_) => return Ok(None),
        }))
    }

    fn answer(&mut self, from: usize, number: u64, ask: Ask) {
        let (shared, post) = (Arc::clone(&self.shared), Arc::clone(&self.post));
        let answer = async move {
            let said = answer(&shared.handle, ask).await;
            post.send(from, Content::Answer { number, said })
        };
        self.answers.push(answer.boxed());
    }

    fn look_around(&mut self) -> Result<()> {
        // It also says that process 0 is alive.
        self.post.broadcast(Content::Progress(self.shared.handle.progress()))?;
        if self.shared.stop.decided().is_cancelled() {
            // Nobody is needed any more.
            return Ok(());
        }
        let is_silent = |(process, heard): &(usize, &Instant)| {
            self.post.last_heard_of(*process, **heard).elapsed() > SILENCE_MAX
        };
        match self.heard.iter().enumerate().skip(1).find(is_silent) {
            Some((process, _)) => Err(silent(process)),
            None => Ok(()),
        }
    }
}
