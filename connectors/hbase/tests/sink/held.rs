//! A sink that reaches its gateway by a proxy, which loses requests and answers, and keeps what passed to deliver it again, late.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidelock_hbase::{Deletes, RowChange, RowMutation};
use tidelock_processes::{Fate, PATIENCE, Proxy, Side, Wire as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::place::{Place, column};
use super::wire::HbaseWire;

/// The calls that write rows: `mutateRowTs` and `mutateRowsTs`.
pub(crate) const ROWS: &str = "mutateRow";

/// The calls that change the control row.
pub(crate) const CONTROL: &str = "checkAndPut";

/// What kind of message an answer is, and of which type its first field where it is an error.
const REPLY: u8 = 2;
const STRUCT: u8 = 12;

/// A proxy between sinks and the gateway.
pub(crate) struct Held {
    proxy: Proxy<HbaseWire>,
    gateway: String,
}

impl Held {
    /// Sinks of the place go by it from now on.
    pub(crate) async fn before(place: &mut Place) -> Self {
        let (proxy, listener) = Proxy::bind().await;
        let gateway = place.server.gateway();
        proxy.serve(listener, gateway.clone());
        place.config.hbase.gateways = vec![proxy.address().to_owned()];
        Self { proxy, gateway }
    }

    /// Does something, and the first call of this kind in it, or the answer to that, is lost with its connection. Returns the requests that
    /// met this, as they came.
    pub(crate) async fn lose<T>(
        &self,
        calls: &str,
        side: Side,
        done: impl Future<Output = T>,
    ) -> (T, Vec<Vec<u8>>) {
        self.proxy.hold(calls, side, 1);
        let lost = async {
            while self.proxy.held(calls) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let requests = self.proxy.requests(calls);
            self.proxy.release(calls, Fate::Lost);
            requests
        };
        tokio::pin!(done);
        let requests = tokio::select! {
            // Nothing of this kind was called.
            done = &mut done => {
                self.proxy.release(calls, Fate::Delivered);
                return (done, Vec::new());
            }
            requests = lost => requests,
        };
        (done.await, requests)
    }

    /// Does something, and no call of this kind in it has an answer.
    pub(crate) async fn without_answer<T>(&self, calls: &str, done: impl Future<Output = T>) -> T {
        self.proxy.hold(calls, Side::Answers, usize::MAX);
        let done = done.await;
        assert!(self.proxy.held(calls) > 0, "nothing of this kind was called");
        self.proxy.release(calls, Fate::Lost);
        done
    }

    /// Does something until its first call of this kind is sent, and then no more: its process is gone. Returns the request, which has not
    /// arrived. `None`: nothing of this kind was called, and all of it is done.
    pub(crate) async fn die_with<T>(&self, calls: &str, done: impl Future<Output = T>) -> Option<Vec<u8>> {
        self.die(calls, Side::Requests, done).await
    }

    /// The same, and the call is done: what is missing is its answer.
    pub(crate) async fn die_after<T>(&self, calls: &str, done: impl Future<Output = T>) -> Option<Vec<u8>> {
        self.die(calls, Side::Answers, done).await
    }

    async fn die<T>(&self, calls: &str, side: Side, done: impl Future<Output = T>) -> Option<Vec<u8>> {
        self.proxy.hold(calls, side, 1);
        let sent = async {
            while self.proxy.held(calls) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = done => {}
            () = sent => {}
        }
        let request = self.proxy.requests(calls).pop();
        self.proxy.release(calls, Fate::Lost);
        request
    }

    /// A request arrives, perhaps once more. When this returns it is done.
    pub(crate) async fn deliver(&self, request: &[u8]) {
        let done = async {
            let (mut answers, mut requests) = TcpStream::connect(&self.gateway).await?.into_split();
            requests.write_all(request).await?;
            HbaseWire::read(&mut answers).await
        };
        let answer = tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
        assert_eq!(answer[3], REPLY, "no error of the protocol");
        assert_ne!(HbaseWire::first_field(&answer), Some(STRUCT), "no error of HBase");
    }
}

/// What the table must be.
#[derive(Debug, Default, Clone)]
pub(crate) struct Expected(BTreeMap<String, BTreeMap<String, String>>);

impl Expected {
    /// The records change it in their order.
    pub(crate) fn take(&mut self, records: &[RowMutation]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for record in records {
            let row = self.0.entry(text(&record.row)).or_default();
            match &record.change {
                RowChange::Put(values) => {
                    row.extend(values.iter().map(|one| (text(one.column.qualifier()), text(&one.value))));
                }
                RowChange::DeleteColumns(columns) => {
                    row.retain(|name, _| !columns.iter().any(|column| column.qualifier() == name.as_bytes()));
                }
                RowChange::DeleteRow => row.clear(),
                other => panic!("{other:?}"),
            }
        }
        self.0.retain(|_, row| !row.is_empty());
    }

    /// Whether it is that now.
    pub(crate) async fn check(&self, place: &Place, when: &str) {
        assert_eq!(place.seen().await, self.0, "{when}");
    }

    /// Whether it is that now, and after a flush and a major compaction.
    pub(crate) async fn check_compacted(&self, place: &Place) {
        self.check(place, "before the compaction").await;
        place.compact().await;
        self.check(place, "after the compaction").await;
    }
}

/// Some records for so many rows. Where deletes are tombstones, each put has all columns of its row.
pub(crate) fn random_records(rng: &mut StdRng, rows: u32, deletes: &Deletes) -> Vec<RowMutation> {
    const NAMES: [&str; 3] = ["f:a", "f:b", "f:c"];
    let columns = |rng: &mut StdRng| {
        let all = matches!(deletes, Deletes::Tombstones { .. });
        let mut chosen: Vec<&str> = NAMES.iter().copied().filter(|_| all || rng.random_bool(0.5)).collect();
        if chosen.is_empty() {
            chosen.push(NAMES[0]);
        }
        chosen.into_iter().map(column).collect::<Vec<_>>()
    };
    let count = rng.random_range(1..6);
    let record = |_| {
        let row = format!("r{}", rng.random_range(0..rows));
        match rng.random_range(0..10) {
            0..2 if *deletes != Deletes::Refused => RowMutation::delete_row(row),
            2..4 if *deletes == Deletes::Markers => RowMutation::delete_columns(row, columns(rng)),
            _ => {
                let value = rng.random::<u32>().to_string();
                RowMutation::put(row, columns(rng).into_iter().map(|column| (column, value.clone())))
            }
        }
    };
    (0..count).map(record).collect()
}
