//! Between coordinator and host: orders and news pass here, so that a process can be stopped at each.

use futures::future::join;
use tidelock::coordinator::HostLink;
use tidelock::host::{News, Order};
use tokio::sync::mpsc;

use super::doubles::Double;
use super::points::{Action, Point};
use super::world::Client;

/// As small as possible: a full link is one of the states that matter.
const PLACES: usize = 1;

/// Puts a relay before the host. Returns the host's ends, and the future that carries.
pub fn relay(client: Client, outer: HostLink) -> (HostLink, impl Future<Output = ()>) {
    let (orders_in, orders) = mpsc::channel(PLACES);
    let (news, news_out) = mpsc::channel(PLACES);
    let carrying =
        join(carry_orders(client.clone(), outer.orders, orders_in), carry_news(client, news_out, outer.news));
    (HostLink { orders, news }, async move {
        carrying.await;
    })
}

async fn carry_orders(client: Client, mut from: mpsc::Receiver<Order>, to: mpsc::Sender<Order>) {
    while let Some(order) = from.recv().await {
        let action = pass(&client, order_point(&order)).await;
        if matches!(order, Order::Open(_)) {
            client.world.lock().processes[client.process].opened = true;
        }
        let double = client.world.lock().double;
        let early = match &order {
            Order::Completed { epoch } if double == Some(Double::HostTellsSettledEarly) => {
                Some(Order::Settled { epoch: *epoch, reinit: Default::default() })
            }
            _ => None,
        };
        for order in std::iter::once(order).chain(early) {
            if to.send(order).await.is_err() {
                return;
            }
        }
        client.leave(action).await;
    }
}

async fn carry_news(client: Client, mut from: mpsc::Receiver<News>, to: mpsc::Sender<News>) {
    while let Some(mut news) = from.recv().await {
        let Some(point) = news_point(&news) else {
            drop(to.send(news).await);
            continue;
        };
        let action = pass(&client, point).await;
        if let News::Report(report) = &mut news
            && client.world.lock().double == Some(Double::HostForgetsCommittables)
        {
            report.sinks.values_mut().for_each(Vec::clear);
        }
        if to.send(news).await.is_err() {
            return;
        }
        client.leave(action).await;
    }
}

async fn pass(client: &Client, point: Point) -> Option<Action> {
    let action = client.enter(point).await;
    client.world.lock().note(client.process, point, || format!("{point:?}"));
    if let Some(Action::Delay(ms)) = action {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
    action
}

fn order_point(order: &Order) -> Point {
    match order {
        Order::Open(_) => Point::OrderOpen,
        Order::Assign { .. } => Point::OrderAssign,
        Order::EndOfInput => Point::OrderEndOfInput,
        Order::Barrier { .. } => Point::OrderBarrier,
        Order::Settled { .. } => Point::OrderSettled,
        _ => Point::OrderCompleted,
    }
}

fn news_point(news: &News) -> Option<Point> {
    match news {
        News::Opened => Some(Point::NewsOpened),
        News::Report(_) => Some(Point::NewsReport),
        News::SplitFinished { .. } => Some(Point::NewsSplitFinished),
        News::NoFreePlace => Some(Point::NewsNoFreePlace),
        // Errors end the attempt anyway.
        _ => None,
    }
}
