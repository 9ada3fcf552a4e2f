//! A proxy in front of a broker that can hold back `EndTxn`, the request that makes records visible, or its
//! answer: so a job can be killed exactly between "the entry is durable" and "committed", and exactly between
//! "committed" and "confirmed".

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// `EndTxn`: the first two bytes of a request say what it asks for, two more in which version, and four more
/// are its number, with which the answer begins.
const END_TXN: i16 = 26;

/// The control client, which commits, speaks a newer version of it than librdkafka, which only finds out that
/// the commit is done and must not be held up by us.
const VERSION_MIN: i16 = 2;

/// No message comes near this.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// What is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Requests: the broker learns nothing of the commit.
    Requests,
    /// Answers: the broker commits, and nobody learns of it.
    Answers,
}

/// What happens to what was held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on its way, however late.
    Delivered,
    /// It is lost, with its connection.
    Lost,
}

/// The proxy, for the jobs of all tests of the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<HashMap<String, Rule>>,
}

/// What happens to the commits of one job.
#[derive(Debug)]
struct Rule {
    side: Side,
    /// How many more are held back.
    more: usize,
    held: usize,
    /// The fate of those, once it is decided.
    fate: watch::Sender<Option<Fate>>,
}

/// It outlives the test that starts it, as the broker does.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread")
});

impl Proxy {
    /// Takes an address, so that a broker can be told of it.
    pub(crate) async fn bind() -> (Self, TcpListener) {
        let bound = RUNTIME.spawn(TcpListener::bind("127.0.0.1:0")).await.expect("no panic");
        let listener = bound.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        (Self { address, shared: Arc::default() }, listener)
    }

    /// Where clients come to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Passes on to `broker` from now on.
    pub(crate) fn serve(&self, listener: TcpListener, broker: String) {
        let shared = Arc::clone(&self.shared);
        RUNTIME.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, broker.clone(), Arc::clone(&shared)));
            }
        });
    }

    /// Holds back so many of a job's commits from now on.
    pub(crate) fn hold(&self, job: &str, side: Side, more: usize) {
        let rule = Rule { side, more, held: 0, fate: watch::Sender::new(None) };
        self.shared.rules().insert(job.to_owned(), rule);
    }

    /// How many are held back.
    pub(crate) fn held(&self, job: &str) -> usize {
        self.shared.rules().get(job).map_or(0, |rule| rule.held)
    }

    /// Holds back nothing any more, and lets what was held back have its fate.
    pub(crate) fn release(&self, job: &str, fate: Fate) {
        if let Some(rule) = self.shared.rules().remove(job) {
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
        let fate = self.rules().iter_mut().find_map(|(job, rule)| {
            // The transactional id in the request begins with the name of the job.
            let is_its = request.windows(job.len()).any(|part| part == job.as_bytes());
            if rule.side != side || rule.more == 0 || !is_its {
                return None;
            }
            rule.more -= 1;
            rule.held += 1;
            Some(rule.fate.subscribe())
        });
        let Some(mut fate) = fate else { return Ok(()) };
        match fate.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Fate::Delivered)) => Ok(()),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// The commits under way on a connection, by their numbers.
type UnderWay = Arc<Mutex<HashMap<[u8; 4], Vec<u8>>>>;

async fn connect(client: TcpStream, broker: String, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(broker).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let under_way = UnderWay::default();
    let requests = pass_requests(from_client, to_server, Arc::clone(&under_way), Arc::clone(&shared));
    let answers = pass_answers(from_server, to_client, under_way, shared);
    // Each direction by itself: a request that is held back reaches the broker also when its sender is gone.
    tokio::spawn(requests);
    tokio::spawn(answers);
}

async fn pass_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    under_way: UnderWay,
    shared: Arc<Shared>,
) -> io::Result<()> {
    loop {
        let message = read_message(&mut from).await?;
        if let Some(number) = number_of_commit(&message) {
            under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(number, message.clone());
            shared.pass(Side::Requests, &message).await?;
        }
        write_message(&mut to, &message).await?;
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    under_way: UnderWay,
    shared: Arc<Shared>,
) -> io::Result<()> {
    loop {
        let message = read_message(&mut from).await?;
        let number = message.first_chunk::<4>();
        let asked =
            number.and_then(|number| under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(number));
        if let Some(request) = asked {
            shared.pass(Side::Answers, &request).await?;
        }
        write_message(&mut to, &message).await?;
    }
}

/// The number of a request that the control client ends a transaction with.
fn number_of_commit(message: &[u8]) -> Option<[u8; 4]> {
    let (key, rest) = message.split_first_chunk::<2>()?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let is_commit = i16::from_be_bytes(*key) == END_TXN && i16::from_be_bytes(*version) >= VERSION_MIN;
    rest.first_chunk::<4>().copied().filter(|_| is_commit)
}

async fn read_message(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_i32().await?).map_err(io::Error::other)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(to: &mut OwnedWriteHalf, message: &[u8]) -> io::Result<()> {
    to.write_i32(i32::try_from(message.len()).map_err(io::Error::other)?).await?;
    to.write_all(message).await
}
