//! Every process but the first: it obeys the coordinator of process 0.

use std::sync::Arc;

use tidelock::coordinator::Ended;
use tidelock::host::{News, Order};
use tidelock::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::post::Post;
use super::questions::Questions;
use super::signs::give_and_take_signs;
use super::wire::{Content, Hello, Mail, Told};
use super::{ALIVE_INTERVAL, FAREWELL, SILENCE_MAX, START_TIMEOUT, silent, tell_budget};
use crate::dispatch::Dispatch;
use crate::shared::Shared;

/// Orders and news on their way between two tasks.
const MESSAGES_WAITING_MAX: usize = 64;

/// Takes part until process 0 says that the job has ended, or something fails.
pub(crate) async fn follow(
    shared: &Arc<Shared>,
    post: &Arc<Post>,
    dispatch: Dispatch,
    hello: Hello,
) -> Result<Ended> {
    let signs = give_and_take_signs(Arc::clone(post), hello.job.clone());
    shared.tasks.spawn(None, "give signs of life", signs);
    post.send(0, Content::Hello(hello))?;
    let (orders, own_orders) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (to_post, news) = mpsc::channel(MESSAGES_WAITING_MAX);
    shared.tasks.spawn(None, "obey", dispatch.run(own_orders));
    shared.tasks.spawn(None, "report", Arc::clone(&shared.outbox).forward(to_post));
    shared.tasks.spawn(None, "post news", post_news(Arc::clone(post), news));
    shared.tasks.spawn(None, "watch the budget", tell_budget(Arc::clone(shared), Arc::clone(post)));
    let ended = tokio::select! {
        ended = obey(shared, post, Questions::of(&shared.handle), &orders) => ended,
        () = shared.stop.token().cancelled() => {
            Err(Error::new(ErrorKind::Other, "run", "the attempt ended"))
        }
    };
    if ended.is_ok() {
        post.send(0, Content::Bye)?;
    } else if let Some(told) = shared.stop.with_failure(|failure| failure.map(Told::of)) {
        post.send(0, Content::Failed(told))?;
        // It has the coordinator, which looks whether the failure only follows from a newer attempt.
        if let Ok(fenced) = tokio::time::timeout(FAREWELL, hear_fenced(post)).await {
            return Err(fenced?);
        }
        return ended;
    }
    tokio::time::sleep(FAREWELL).await;
    ended
}

/// Waits until process 0 says that a newer attempt owns the job.
async fn hear_fenced(post: &Post) -> Result<Error> {
    loop {
        if let Mail { from, content: Content::Failed(told) } = post.next().await? {
            let error = told.into_failure(from).into_error();
            if error.kind() == ErrorKind::Fenced {
                return Ok(error);
            }
        }
    }
}

async fn obey(
    shared: &Shared,
    post: &Post,
    mut questions: Questions,
    orders: &mpsc::Sender<Order>,
) -> Result<Ended> {
    let mut alive = tokio::time::interval(ALIVE_INTERVAL);
    let (began, mut heard) = (Instant::now(), None::<Instant>);
    loop {
        let Mail { from, content } = tokio::select! {
            mail = post.next() => mail?,
            question = questions.next() => {
                post.send(0, question)?;
                continue;
            }
            _ = alive.tick() => {
                post.send(0, Content::Alive)?;
                // Before its first word process 0 may still wait for others.
                let lost = match heard {
                    Some(heard) => post.last_heard_of(0, heard).elapsed() > SILENCE_MAX,
                    None => began.elapsed() > START_TIMEOUT,
                };
                if lost {
                    return Err(silent(0));
                }
                continue;
            }
        };
        if from == 0 {
            heard = Some(Instant::now());
        }
        match content {
            Content::Order(order) => {
                // The other end is gone only when the attempt ends.
                let _ = orders.send(order).await;
            }
            Content::Ended(ended) => return Ok(ended),
            Content::Failed(told) => return Err(told.into_failure(from).into_error()),
            Content::Full(full) => shared.budget.peer_is_full(from, full),
            Content::Arrived(in_all) => shared.budget.arrived_at(from, in_all),
            Content::Answer { number, said } => questions.answer(number, said),
            Content::Progress(progress) => questions.show(progress),
            _ => {}
        }
    }
}

async fn post_news(post: Arc<Post>, mut news: mpsc::Receiver<News>) -> Result<()> {
    while let Some(news) = news.recv().await {
        if let Some(content) = Content::of_news(news) {
            post.send(0, content)?;
        }
    }
    Ok(())
}
