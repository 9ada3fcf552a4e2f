//! Every process but the first: it obeys the coordinator of process 0.

use std::pin::pin;
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
use super::{ALIVE_INTERVAL, FAREWELL, SILENCE_MAX, START_TIMEOUT, beside, silent, tell_budget};
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
    post.send(0, Content::Hello(hello))?;
    let (orders, own_orders) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (to_post, news) = mpsc::channel(MESSAGES_WAITING_MAX);
    shared.tasks.spawn(None, "obey", dispatch.run(own_orders));
    shared.tasks.spawn(None, "report", Arc::clone(&shared.outbox).forward(to_post));
    shared.tasks.spawn(None, "post news", post_news(Arc::clone(post), news));
    shared.tasks.spawn(None, "watch the budget", tell_budget(Arc::clone(shared), Arc::clone(post)));
    let questions = Questions::of(&shared.handle);
    let attempt = async {
        let ended = take_part(shared, post, questions, &orders).await;
        if ended.is_ok() {
            post.send(0, Content::Bye)?;
        }
        tokio::time::sleep(FAREWELL).await;
        ended
    };
    beside(attempt, signs).await
}

/// Obeys until process 0 says how the job ended. Where this process fails before that is decided, process 0 is told.
async fn take_part(
    shared: &Shared,
    post: &Post,
    questions: Questions,
    orders: &mpsc::Sender<Order>,
) -> Result<Ended> {
    let mut obeyed = pin!(obey(shared, post, questions, orders));
    tokio::select! {
        ended = &mut obeyed => return ended,
        () = shared.stop.token().cancelled() => {}
    }
    if let Some(told) = shared.stop.with_failure(|failure| failure.map(Told::of)) {
        post.send(0, Content::Failed(told))?;
    }
    // Process 0 looks whether the failure only follows from a newer attempt. It may also have decided how the job ends
    // before it heard of it.
    let hear = async {
        tokio::select! {
            ended = &mut obeyed => Some(ended),
            () = shared.stop.decided().cancelled() => None,
        }
    };
    match tokio::time::timeout(FAREWELL, hear).await {
        Ok(Some(ended)) => ended,
        Ok(None) => obeyed.await,
        Err(_) => Err(Error::new(ErrorKind::Other, "run", "the attempt ended")),
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
            Content::Decided => shared.stop.decide(),
            Content::Ended(ended) => {
                shared.stop.decide();
                return Ok(ended);
            }
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
