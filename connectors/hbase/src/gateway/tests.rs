//! Gateways that misbehave: threads with a socket, which say what they are told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hbase_thrift::hbase::THbaseSyncClient;
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::{Protocol, Transport};

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(60);

const ASK: &str = "ask";

/// What a gateway does with a request.
#[derive(Debug, Clone)]
enum Reply {
    /// It is of Thrift 1 or 2.
    Kind(i32),
    /// These fields.
    Fields(Vec<u8>),
    /// It does not know the call.
    Unknown,
    Silence,
    Close,
    /// A list without names, and then it closes the connection.
    Last,
    /// A text.
    Text(&'static str),
    /// A list without names, and the same again.
    Twice,
}

/// A list of names: `i32` and their bytes.
fn names(count: i32, first: i32, bytes: &[u8]) -> Reply {
    let mut fields = vec![0x0F, 0, 0, 0x0B];
    fields.extend(count.to_be_bytes());
    fields.extend(first.to_be_bytes());
    fields.extend(bytes);
    Reply::Fields(fields)
}

struct Fake {
    address: String,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Fake {
    /// A gateway of the binary protocol without frames. `script` is told the number of the connection and the call.
    fn start(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (connections, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let script = Arc::new(script);
        let fake = Self { address, connections: Arc::clone(&connections), closed: Arc::clone(&closed) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (script, closed) = (Arc::clone(&script), Arc::clone(&closed));
                std::thread::spawn(move || {
                    serve(stream, |call| script(number, call));
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        fake
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many connections were closed.
    async fn closes(&self, count: usize) {
        let closed = async {
            while self.closed.load(Ordering::SeqCst) < count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, closed).await.expect("it is closed");
    }

    fn config(&self) -> HbaseConfig {
        quick(&[self])
    }

    fn gateways(&self) -> Gateways {
        Gateways::new(&self.config()).expect("settings")
    }
}

/// Settings with which what comes is waited for on a busy machine, too.
fn quick(fakes: &[&Fake]) -> HbaseConfig {
    let mut config = HbaseConfig::new(fakes.iter().map(|fake| fake.address.clone()));
    config.connect_timeout_ms = 20_000;
    config.call_timeout_ms = 600_000;
    config
}

/// The same for gateways that say nothing: a test does not wait for them for long.
fn impatient(fakes: &[&Fake]) -> HbaseConfig {
    HbaseConfig { connect_timeout_ms: 2_000, ..quick(fakes) }
}

/// Answers requests without arguments, until the connection is closed.
fn serve(mut stream: TcpStream, script: impl Fn(&str) -> Reply) {
    let mut head = [0; 8];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > 100 {
            break; // it is framed, or compact
        }
        let mut rest = vec![0; length + 5];
        if stream.read_exact(&mut rest).is_err() {
            break;
        }
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        let mut answer = vec![0x80, 1, 0, 2];
        answer.extend((length as u32).to_be_bytes());
        answer.extend(&rest[..length + 4]);
        match script(&name) {
            Reply::Kind(kind) => {
                answer.extend([8, 0, 0]);
                answer.extend(kind.to_be_bytes());
            }
            Reply::Fields(fields) => answer.extend(fields),
            Reply::Unknown => {
                answer[3] = 3;
                answer.extend([8, 0, 2, 0, 0, 0, 1]);
            }
            Reply::Silence => continue,
            Reply::Close => break,
            Reply::Text(text) => {
                answer.extend([0x0B, 0, 0]);
                answer.extend((text.len() as u32).to_be_bytes());
                answer.extend(text.as_bytes());
            }
            Reply::Twice => {
                answer.extend([0x0F, 0, 0, 0x0B, 0, 0, 0, 0, 0]);
                answer.extend(answer.clone());
                answer.pop();
            }
            Reply::Last => {
                answer.extend([0x0F, 0, 0, 0x0B, 0, 0, 0, 0, 0]);
                // It closes in any case.
                let _ = stream.write_all(&answer);
                break;
            }
        }
        answer.push(0);
        if stream.write_all(&answer).is_err() {
            break;
        }
    }
}

/// A gateway in order, until a connection gets this call.
fn in_order(call: &str) -> Reply {
    match call {
        "getThriftServerType" => Reply::Kind(1),
        "getClusterId" => Reply::Text("one"),
        _ => names(1, 3, b"abc"),
    }
}

async fn ask(gateways: &Gateways) -> Result<Vec<Vec<u8>>> {
    timeout(PATIENCE, gateways.call(ASK, |client| client.get_table_names())).await.expect("an end")
}

#[tokio::test]
async fn a_connection_is_used_again_and_is_one_at_a_time_for_each_place() {
    let fake = Fake::start(|_, call| in_order(call));
    let gateways = fake.gateways();
    for _ in 0..5 {
        assert_eq!(ask(&gateways).await.expect("an answer"), [b"abc"]);
    }
    assert_eq!(fake.connections(), 1);
    let calls = (0..64).map(|_| ask(&gateways));
    for answer in futures::future::join_all(calls).await {
        answer.expect("an answer");
    }
    assert!(fake.connections() <= 4, "{}", fake.connections());
}

#[tokio::test]
async fn what_is_no_gateway_of_thrift_1_is_told_by_what_it_is() {
    for (kind, named) in [(Reply::Kind(2), "Thrift 2"), (Reply::Unknown, "too old")] {
        let fake = Fake::start(move |_, _| kind.clone());
        let error = ask(&fake.gateways()).await.expect_err("no gateway");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
        assert!(error.to_string().contains(named) && error.to_string().contains(&fake.address), "{error}");
        let error = fake.gateways().check(ASK).await.expect_err("no gateway");
        assert!(error.to_string().contains(named), "{error}");
    }
    for kind in [Reply::Silence, Reply::Close] {
        let fake = Fake::start(move |_, _| kind.clone());
        let gateways = Gateways::new(&impatient(&[&fake])).expect("settings");
        let error = ask(&gateways).await.expect_err("nothing is said");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
        assert!(error.to_string().contains("did not say that it is a Thrift gateway"), "{error}");
    }
}

#[tokio::test]
async fn a_gateway_that_speaks_otherwise_is_told_with_the_setting_it_wants() {
    let fake = Fake::start(|_, call| in_order(call));
    for (transport, protocol) in [
        (Transport::Framed, Protocol::Binary),
        (Transport::Framed, Protocol::Compact),
        (Transport::Buffered, Protocol::Compact),
    ] {
        let config = HbaseConfig { transport, protocol, ..fake.config() };
        let error = ask(&Gateways::new(&config).expect("settings")).await.expect_err("another language");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
        assert!(error.to_string().contains(r#"transport = "buffered" and protocol = "binary""#), "{error}");
    }
}

#[tokio::test]
async fn the_next_gateway_is_asked_where_one_says_nothing_and_the_first_one_is_remembered() {
    let silent = Fake::start(|_, _| Reply::Silence);
    let good = Fake::start(|_, call| in_order(call));
    let gateways = Gateways::new(&impatient(&[&silent, &good])).expect("settings");
    for _ in 0..3 {
        ask(&gateways).await.expect("an answer");
    }
    // Once, and in the other ways of speaking.
    let asked = silent.connections();
    assert!((1..=4).contains(&asked), "{asked}");
    let config = HbaseConfig { idle_max_ms: 1, ..impatient(&[&silent, &good]) };
    let gateways = Gateways::new(&config).expect("settings");
    ask(&gateways).await.expect("an answer");
    let asked = silent.connections();
    for _ in 0..5 {
        sleep(Duration::from_millis(5)).await;
        ask(&gateways).await.expect("an answer");
    }
    assert_eq!(silent.connections(), asked, "it is passed over for a while");
    assert!(good.connections() >= 6);
}

#[tokio::test]
async fn one_gateway_that_is_away_is_survived_and_one_that_is_none_is_told_at_the_start() {
    let good = Fake::start(|_, call| in_order(call));
    let none = Fake::start(|_, _| Reply::Kind(2));
    let away = Fake::start(|_, _| Reply::Close);
    Gateways::new(&quick(&[&away, &good])).expect("settings").check(ASK).await.expect("one is there");
    let error =
        Gateways::new(&quick(&[&good, &none])).expect("settings").check(ASK).await.expect_err("no gateway");
    assert!(error.to_string().contains("Thrift 2") && error.to_string().contains(&none.address), "{error}");
    let error =
        Gateways::new(&quick(&[&away])).expect("settings").check(ASK).await.expect_err("nobody is there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    // One that answered is not asked again what it is, however often a table is looked at.
    let gateways = good.gateways();
    let before = good.connections();
    for _ in 0..3 {
        gateways.check(ASK).await.expect("it is there");
    }
    assert_eq!(good.connections(), before + 1);
    // While the job runs, one in order is enough, and one that may come back is waited for.
    let gateways = Gateways::new(&quick(&[&none, &good])).expect("settings");
    ask(&gateways).await.expect("an answer");
    let error = ask(&Gateways::new(&quick(&[&none, &away])).expect("settings")).await.expect_err("none");
    assert_eq!(error.retry(), Retry::Retry, "{error}");
}

#[tokio::test]
async fn a_connection_that_failed_or_was_closed_is_not_used_again() {
    let fake = Fake::start(|connection, call| match (connection, call) {
        (0, "getTableNames") => Reply::Close,
        _ => in_order(call),
    });
    let gateways = fake.gateways();
    let error = ask(&gateways).await.expect_err("closed");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    ask(&gateways).await.expect("an answer");
    assert_eq!(fake.connections(), 2);
    // Of one that is closed while nobody uses it, nobody notices.
    let closing = Fake::start(|_, call| if call == "getTableNames" { Reply::Last } else { in_order(call) });
    let gateways = closing.gateways();
    for count in 1..4 {
        ask(&gateways).await.expect("an answer");
        closing.closes(count).await;
    }
    assert_eq!(closing.connections(), 3);
}

#[tokio::test]
async fn an_answer_that_comes_twice_is_nobodys() {
    let fake = Fake::start(|connection, call| match (connection, call) {
        (0..3, "getTableNames") => Reply::Twice,
        _ => in_order(call),
    });
    let gateways = fake.gateways();
    for count in 1..4 {
        assert_eq!(ask(&gateways).await.expect("an answer"), Vec::<Vec<u8>>::new());
        assert_eq!(fake.connections(), count);
    }
    assert_eq!(ask(&gateways).await.expect("an answer"), [b"abc"]);
}

#[tokio::test]
async fn gateways_of_two_clusters_are_told_and_one_that_cannot_say_is_taken() {
    let of = |cluster: &'static str| {
        Fake::start(move |_, call| if call == "getClusterId" { Reply::Text(cluster) } else { in_order(call) })
    };
    let (one, same, other) = (of("one"), of("one"), of("other"));
    Gateways::new(&quick(&[&one, &same])).expect("settings").check(ASK).await.expect("one cluster");
    let gateways = Gateways::new(&quick(&[&one, &other])).expect("settings");
    let error = gateways.check(ASK).await.expect_err("two clusters");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
    assert!(error.to_string().contains("another cluster"), "{error}");
    for cannot in [Reply::Unknown, Reply::Close, Reply::Silence] {
        let old =
            Fake::start(move |_, call| if call == "getClusterId" { cannot.clone() } else { in_order(call) });
        let gateways = Gateways::new(&impatient(&[&one, &old])).expect("settings");
        gateways.check(ASK).await.expect("nobody knows better");
        ask(&gateways).await.expect("an answer");
    }
    // Also one that was away at the start is none of ours: calls go to the other one.
    let late = Fake::start({
        // In each way of speaking it is asked by a connection of its own.
        move |connection, call| match call {
            "getThriftServerType" if connection < 4 => Reply::Close,
            "getClusterId" => Reply::Text("other"),
            _ => in_order(call),
        }
    });
    let config = HbaseConfig { idle_max_ms: 1, ..quick(&[&one, &late]) };
    let gateways = Gateways::new(&config).expect("settings");
    gateways.check(ASK).await.expect("one is there");
    for _ in 0..4 {
        sleep(Duration::from_millis(5)).await;
        ask(&gateways).await.expect("an answer");
    }
    gateways.check(ASK).await.expect_err("two clusters");
}

#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_not_used_again() {
    let fake = Fake::start(|_, call| in_order(call));
    let config = HbaseConfig { idle_max_ms: 1, ..fake.config() };
    let gateways = Gateways::new(&config).expect("settings");
    for count in 1..4 {
        ask(&gateways).await.expect("an answer");
        assert_eq!(fake.connections(), count);
        sleep(Duration::from_millis(5)).await;
    }
    fake.closes(2).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_at_once_and_leaves_nothing_half_used() {
    let asked = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start({
        let asked = Arc::clone(&asked);
        move |connection, call| match (connection, call) {
            (0, "getTableNames") => {
                asked.fetch_add(1, Ordering::SeqCst);
                Reply::Silence
            }
            _ => in_order(call),
        }
    });
    let config = HbaseConfig { connections_max: 1, connect_timeout_ms: 600_000, ..fake.config() };
    let gateways = Gateways::new(&config).expect("settings");
    let is_asked = async {
        while asked.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = gateways.call(ASK, |client| client.get_table_names()) => panic!("it says nothing"),
        () = is_asked => {}
    }
    // Its thread has ended, and its place is free: there is one.
    ask(&gateways).await.expect("an answer");
    assert_eq!(fake.connections(), 2);
    fake.closes(1).await;
}

#[tokio::test]
async fn a_call_is_given_up_when_its_gateway_falls_silent_and_not_when_it_is_slow() {
    // The first connection waits for ever; others are answered at first, then not.
    let asked = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start(move |connection, call| match (connection, call) {
        (0, "getTableNames") => Reply::Silence,
        (0, _) => in_order(call),
        _ if asked.fetch_add(1, Ordering::SeqCst) < 3 => in_order(call),
        _ => Reply::Silence,
    });
    let error = ask(&Gateways::new(&impatient(&[&fake])).expect("settings")).await.expect_err("silent");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    assert!(error.to_string().contains("fell silent"), "{error}");
    assert!(fake.connections() >= 5, "{}", fake.connections());
}

#[tokio::test]
async fn a_call_without_an_answer_ends_in_time_and_so_does_the_wait_for_a_place() {
    let fake = Fake::start(|_, call| match call {
        "getTableNames" => Reply::Silence,
        _ => in_order(call),
    });
    let config = HbaseConfig { call_timeout_ms: 300, connections_max: 1, ..fake.config() };
    let gateways = Gateways::new(&config).expect("settings");
    let error = ask(&gateways).await.expect_err("no answer");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    assert!(error.to_string().contains("unknown"), "{error}");
    // The watch would end neither: the gateway is awake.
    let place = gateways.pool.place(ASK).await.expect("the place");
    let error = ask(&gateways).await.expect_err("no place");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::RateLimited, Retry::Retry), "{error}");
    drop(place);
}

#[tokio::test]
async fn lengths_that_cannot_be_are_errors_and_no_full_memory() {
    for reply in [
        names(1, -1, b""),
        names(1, i32::MAX, b""),
        names(i32::MAX, 1, b"a"),
        names(-1, 1, b"a"),
        names(2, 3, b"ab"),
    ] {
        let fake =
            Fake::start(move |_, call| if call == "getTableNames" { reply.clone() } else { in_order(call) });
        let config = HbaseConfig { call_timeout_ms: 500, ..fake.config() };
        let error = ask(&Gateways::new(&config).expect("settings")).await.expect_err("damaged");
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Data), "{error}");
    }
}

#[tokio::test]
async fn a_request_has_as_many_bytes_as_it_may_and_of_one_with_more_nothing_is_sent() {
    let fake = Fake::start(|_, call| in_order(call));
    let config = HbaseConfig { request_bytes_max: Some(100_000), ..fake.config() };
    let gateways = Gateways::new(&config).expect("settings");
    // Head, name, number, one field with its length, and its end.
    let beside = 4 + 4 + "disableTable".len() + 4 + 3 + 4 + 1;
    let send =
        async |bytes: usize| gateways.call(ASK, move |client| client.disable_table(vec![b'a'; bytes])).await;
    let error = send(100_001 - beside).await.expect_err("too large");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error}");
    assert!(error.to_string().contains("setting=request_bytes_max"), "{error}");
    // This gateway does not understand arguments: whatever it says, it was asked.
    if let Err(error) = send(100_000 - beside).await {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    }
}

#[tokio::test]
async fn an_answer_has_as_many_bytes_as_it_may_and_one_with_more_is_an_error() {
    // Head, name, number, list, the length of the one name, and the end.
    let beside = 4 + 4 + "getTableNames".len() + 4 + 8 + 4 + 1;
    for (bytes, is_taken) in [(100_000 - beside, true), (100_001 - beside, false)] {
        let reply = names(1, i32::try_from(bytes).expect("a length"), &vec![b'a'; bytes]);
        let fake =
            Fake::start(move |_, call| if call == "getTableNames" { reply.clone() } else { in_order(call) });
        let config = HbaseConfig { answer_bytes_max: 100_000, ..fake.config() };
        let gateways = Gateways::new(&config).expect("settings");
        // The second one is counted anew.
        for _ in 0..2 {
            match ask(&gateways).await {
                Ok(found) => assert!(is_taken && found[0].len() == bytes),
                Err(error) => assert!(!is_taken && is_answer_too_large(&error), "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_held_is_one_and_is_closed_after_an_error() {
    let fake = Fake::start(|connection, call| match (connection, call) {
        (0, "getTableNames") => in_order(call),
        (0, "getClusterId") => Reply::Close,
        _ => in_order(call),
    });
    // A single gateway is not asked for its cluster.
    let gateways = fake.gateways();
    let mut held = gateways.hold(ASK).await.expect("a connection");
    for _ in 0..3 {
        held.call(ASK, |client| client.get_table_names()).await.expect("an answer");
    }
    let error = held.call(ASK, |client| client.get_cluster_id()).await.expect_err("closed");
    assert_eq!(error.retry(), Retry::Retry, "{error}");
    let error = held.call(ASK, |client| client.get_table_names()).await.expect_err("it stays closed");
    assert!(error.to_string().contains("closed"), "{error}");
    assert_eq!(fake.connections(), 1);
    let mut again = gateways.hold(ASK).await.expect("a connection");
    again.call(ASK, |client| client.get_table_names()).await.expect("an answer");
    again.give_back();
    ask(&gateways).await.expect("an answer");
    assert_eq!(fake.connections(), 2);
    // However many were held, no more are kept than may be in use.
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(gateways.hold(ASK).await.expect("a connection"));
    }
    held.into_iter().for_each(Held::give_back);
    assert_eq!(fake.connections(), 7);
    fake.closes(1 + 2).await;
}
