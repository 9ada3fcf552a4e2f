//! A proxy in front of a server that can hold back requests of a kind, above all the one that makes records visible, or
//! their answers: so a job can be killed exactly between "the entry is durable" and "committed", and exactly between
//! "committed" and "confirmed".

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What the proxy knows of a protocol.
pub trait Wire: fmt::Debug + Send + Sync + 'static {
    /// Reads what passes as one: a message, or as much of the stream as has come.
    ///
    /// # Errors
    /// Where the connection has ended.
    fn read(from: &mut OwnedReadHalf) -> impl Future<Output = io::Result<Vec<u8>>> + Send;

    /// By what the answer to a request is known. `None`: it is none that may be held back.
    fn request(message: &[u8]) -> Option<Vec<u8>>;

    /// By what an answer knows its request.
    fn answer(message: &[u8]) -> Option<Vec<u8>>;
}

/// What is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Requests: the server learns nothing of it.
    Requests,
    /// Answers: the server does it, and nobody learns of that.
    Answers,
}

/// What happens to what was held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on its way, however late.
    Delivered,
    /// It is lost, with its connection.
    Lost,
}

/// A proxy: for one job, or for the jobs of all tests of the process.
#[derive(Debug)]
pub struct Proxy<W> {
    address: String,
    shared: Arc<Shared>,
    wire: PhantomData<fn(W)>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<HashMap<String, Rule>>,
}

/// What happens to the requests that have a mark.
#[derive(Debug)]
struct Rule {
    side: Side,
    /// How many more are held back.
    more: usize,
    /// The requests that are, or whose answers are.
    held: Vec<Vec<u8>>,
    /// The fate of those, once it is decided.
    fate: watch::Sender<Option<Fate>>,
}

/// It outlives the test that starts it, as the broker does.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread")
});

impl<W: Wire> Proxy<W> {
    /// Takes an address, so that a server can be told of it.
    ///
    /// # Panics
    /// Where there is no port.
    pub async fn bind() -> (Self, TcpListener) {
        let bound = RUNTIME.spawn(TcpListener::bind("127.0.0.1:0")).await.expect("no panic");
        let listener = bound.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        (Self { address, shared: Arc::default(), wire: PhantomData }, listener)
    }

    /// Where clients come to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Passes on to `server` from now on.
    pub fn serve(&self, listener: TcpListener, server: String) {
        let shared = Arc::clone(&self.shared);
        RUNTIME.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect::<W>(client, server.clone(), Arc::clone(&shared)));
            }
        });
    }

    /// Holds back so many of the requests that have this mark in them from now on.
    pub fn hold(&self, mark: &str, side: Side, more: usize) {
        let rule = Rule { side, more, held: Vec::new(), fate: watch::Sender::new(None) };
        self.shared.rules().insert(mark.to_owned(), rule);
    }

    /// How many are held back.
    #[must_use]
    pub fn held(&self, mark: &str) -> usize {
        self.shared.rules().get(mark).map_or(0, |rule| rule.held.len())
    }

    /// The requests that are held back, or whose answers are, as they came: to be sent once more.
    #[must_use]
    pub fn requests(&self, mark: &str) -> Vec<Vec<u8>> {
        self.shared.rules().get(mark).map_or_else(Vec::new, |rule| rule.held.clone())
    }

    /// Holds back nothing with this mark any more, and lets what was held back have its fate.
    pub fn release(&self, mark: &str, fate: Fate) {
        if let Some(rule) = self.shared.rules().remove(mark) {
            rule.fate.send_replace(Some(fate));
        }
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, HashMap<String, Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for as long as something is held back. Fails where its fate is to be lost.
    async fn pass(&self, side: Side, request: &[u8]) -> io::Result<()> {
        let fate = self.rules().iter_mut().find_map(|(mark, rule)| {
            let is_its = request.windows(mark.len()).any(|part| part == mark.as_bytes());
            if rule.side != side || rule.more == 0 || !is_its {
                return None;
            }
            rule.more -= 1;
            rule.held.push(request.to_vec());
            Some(rule.fate.subscribe())
        });
        let Some(mut fate) = fate else { return Ok(()) };
        match fate.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Fate::Delivered)) => Ok(()),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// The requests under way on a connection that may be held back, by what their answers are known by.
type UnderWay = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

async fn connect<W: Wire>(client: TcpStream, server: String, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let under_way = UnderWay::default();
    let requests = pass_requests::<W>(from_client, to_server, Arc::clone(&under_way), Arc::clone(&shared));
    let answers = pass_answers::<W>(from_server, to_client, under_way, shared);
    // Each direction by itself: a request that is held back reaches the server also when its sender is gone.
    tokio::spawn(requests);
    tokio::spawn(answers);
}

async fn pass_requests<W: Wire>(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    under_way: UnderWay,
    shared: Arc<Shared>,
) -> io::Result<()> {
    loop {
        let message = W::read(&mut from).await?;
        if let Some(known_by) = W::request(&message) {
            under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(known_by, message.clone());
            shared.pass(Side::Requests, &message).await?;
        }
        to.write_all(&message).await?;
    }
}

async fn pass_answers<W: Wire>(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    under_way: UnderWay,
    shared: Arc<Shared>,
) -> io::Result<()> {
    loop {
        let message = W::read(&mut from).await?;
        let asked = W::answer(&message)
            .and_then(|known_by| under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&known_by));
        if let Some(request) = asked {
            shared.pass(Side::Answers, &request).await?;
        }
        to.write_all(&message).await?;
    }
}
