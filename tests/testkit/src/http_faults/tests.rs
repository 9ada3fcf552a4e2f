use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;

/// A server that keeps what it is told, in its order, and answers with it.
struct Server {
    address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicU64>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicU64>::default());
        let (hears, counts) = (Arc::clone(&told), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counts.fetch_add(1, Ordering::Relaxed);
                let hears = Arc::clone(&hears);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let hears = Arc::clone(&hears);
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        hears.lock().expect("no panic").push(String::from_utf8_lossy(&body).into_owned());
                        Ok::<_, hyper::Error>(Response::new(Full::new(body)))
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), answer);
                tokio::spawn(connection);
            }
        });
        Self { address, told, connections }
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().expect("no panic"))
    }
}

async fn ask(faults: &HttpFaults, what: &str) -> io::Result<Response<Bytes>> {
    let body = Bytes::copy_from_slice(what.as_bytes());
    let request = Request::post("/").header("host", "here").body(body).expect("a request");
    pass::once(faults.address(), request).await
}

/// `None` where the connection was cut.
async fn say(faults: &HttpFaults, what: &str) -> Option<String> {
    let answer = ask(faults, what).await.ok()?;
    Some(String::from_utf8_lossy(answer.body()).into_owned())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn each_fault_is_what_it_says_and_comes_as_often_as_it_is_planned() {
    let server = Server::start().await;
    let faults = HttpFaults::start(server.address).await.expect("a proxy");
    assert_eq!((say(&faults, "a").await, server.told()), (some("a"), vec!["a".into()]));
    for (fault, answer, told) in [
        (Fault::Cut, None, vec![]),
        (Fault::Lost, None, vec!["b"]),
        (Fault::Half, None, vec!["b"]),
        (Fault::Doubled, some("b"), vec!["b", "b"]),
        (Fault::Slow, some("b"), vec!["b"]),
        (Fault::Refused { status: 503, body: "busy".into() }, some("busy"), vec![]),
    ] {
        faults.plan(&fault, 2);
        for _ in 0..2 {
            assert_eq!(
                (say(&faults, "b").await, server.told()),
                (answer.clone(), told.iter().map(ToString::to_string).collect()),
                "{fault:?}"
            );
        }
        assert_eq!((say(&faults, "c").await, server.told()), (some("c"), vec!["c".into()]), "{fault:?}");
    }
    assert_eq!(faults.count(), 12);
    faults.plan(&Fault::Refused { status: 429, body: Bytes::new() }, 1);
    assert_eq!(ask(&faults, "d").await.expect("an answer").status(), 429);
    faults.plan(&Fault::Slow, 1);
    let long = "é".repeat(10_000);
    assert_eq!(say(&faults, &long).await, Some(long));
}

#[tokio::test]
async fn what_is_late_comes_after_newer_requests_and_at_the_latest_when_it_is_asked_for() {
    let server = Server::start().await;
    let faults = HttpFaults::start(server.address).await.expect("a proxy");
    faults.plan(&Fault::Late(2), 1);
    assert_eq!(say(&faults, "old").await, None);
    for (what, told) in [("new", vec!["new"]), ("newer", vec!["newer", "old"]), ("newest", vec!["newest"])] {
        assert_eq!(say(&faults, what).await, some(what));
        assert_eq!(server.told(), told);
    }
    faults.plan(&Fault::Late(100), 2);
    assert_eq!((say(&faults, "x").await, say(&faults, "y").await, server.told().len()), (None, None, 0));
    faults.heal();
    assert_eq!(faults.deliver_late().await.expect("the server answers"), 2);
    assert_eq!(server.told(), ["x", "y"]);
    assert_eq!(faults.deliver_late().await.expect("nothing to do"), 0);
}

#[tokio::test]
async fn a_seed_alone_says_which_requests_meet_a_fault_and_only_those_that_may() {
    let server = Server::start().await;
    let run = async |seed| {
        let faults = HttpFaults::start(server.address).await.expect("a proxy");
        faults.only(|request| request.body().starts_with(b"m"));
        faults.random(seed, [(Fault::Cut, 0.2), (Fault::Doubled, 0.3)]);
        let mut answers = Vec::new();
        for _ in 0..100 {
            assert_eq!(say(&faults, "no").await, some("no"));
            answers.push(say(&faults, "may").await.is_some());
        }
        let told = server.told();
        assert_eq!(told.iter().filter(|told| *told == "no").count(), 100);
        let doubled = told.len() - 100 - answers.iter().filter(|answer| **answer).count();
        let cut = answers.iter().filter(|answer| !**answer).count();
        assert_eq!(faults.count(), u64::try_from(cut + doubled).expect("small"));
        assert!((5..40).contains(&cut) && (10..60).contains(&doubled), "{cut} {doubled}");
        answers
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test]
async fn a_hook_changes_what_the_server_does_and_what_the_client_learns_of_it() {
    let server = Server::start().await;
    let faults = HttpFaults::start(server.address).await.expect("a proxy");
    faults.hook(|request| {
        let rest = request.body_mut().split_off(1);
        Some(Box::new(move |answer| {
            let done = String::from_utf8_lossy(answer.body()).into_owned();
            *answer.body_mut() = format!("{done}, but not {}", String::from_utf8_lossy(&rest)).into();
        }))
    });
    assert_eq!(say(&faults, "abc").await, some("a, but not bc"));
    assert_eq!(server.told(), ["a"]);
    faults.heal();
    assert_eq!(say(&faults, "abc").await, some("abc"));
}

#[tokio::test]
async fn a_client_that_stays_has_one_connection_to_the_server() {
    let server = Server::start().await;
    let faults = HttpFaults::start(server.address).await.expect("a proxy");
    let stream = tokio::net::TcpStream::connect(faults.address()).await.expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::post("/")
            .header("host", "here")
            .body(Full::new(Bytes::from_static(b"a")))
            .expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "a");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}
