//! A proxy for HTTP that puts faults between a client and its server.
//!
//! ```text
//!   client ──request──> which fault? ──> hook ──> server ──answer──> hook ──> client
//!                           │
//!                           ├─ Cut         the server learns nothing of it
//!                           ├─ Lost        the server does it, and nobody learns of that
//!                           ├─ Half        the same, and some of the answer comes
//!                           ├─ Doubled     the server does it twice
//!                           ├─ Late        the server does it after so many newer requests were done
//!                           ├─ Slow        the answer comes in pieces, with pauses
//!                           └─ Refused     another answer than the server's
//! ```
//!
//! It knows no service. What an answer of one looks like where only a part was done is for a [`hook`](HttpFaults::hook), which sees requests before
//! the server does and answers before the client does. Which request meets which fault comes from a plan, and after that from a seed. Every request
//! is passed on whole, so this is for requests and answers that fit into memory.

mod pass;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use bytes::Bytes;
use hyper::{Request, Response};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut before the server learns of the request.
    Cut,
    /// The server does it, and the connection is cut before the answer.
    Lost,
    /// The same in the middle of the answer.
    Half,
    /// The server does it twice. The answer is the second one.
    Doubled,
    /// The connection is cut, and the server does it after so many later requests were done.
    Late(u32),
    /// The answer comes byte after byte at first, and with pauses.
    Slow,
    /// The server learns nothing of it, and this is the answer.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The body, as the service would have it.
        body: Bytes,
    },
}

/// What becomes of an answer.
pub type Rewrite = Box<dyn FnOnce(&mut Response<Bytes>) + Send>;

type Choose = dyn Fn(&Request<Bytes>) -> bool + Send + Sync;
type Hook = dyn Fn(&mut Request<Bytes>) -> Option<Rewrite> + Send + Sync;

/// The proxy. It ends when it is dropped.
pub struct HttpFaults {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    rules: Mutex<Rules>,
}

struct Rules {
    planned: VecDeque<Fault>,
    chances: Vec<(Fault, f64)>,
    chance: SmallRng,
    only: Arc<Choose>,
    hook: Arc<Hook>,
    late: Vec<Late>,
    faults: u64,
}

/// A request that the server does not know of yet.
struct Late {
    request: Request<Bytes>,
    /// How many others are to be done before.
    after: u32,
}

impl HttpFaults {
    /// Passes on to this server, for now without faults.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let rules = Rules {
            planned: VecDeque::new(),
            chances: Vec::new(),
            chance: SmallRng::seed_from_u64(0),
            only: Arc::new(|_| true),
            hook: Arc::new(|_| None),
            late: Vec::new(),
            faults: 0,
        };
        let shared = Arc::new(Shared { server, rules: Mutex::new(rules) });
        let address = listener.local_addr()?;
        let serving = tokio::spawn(pass::serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// Where clients come to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests meet this fault, so many of them, after what was planned before.
    pub fn plan(&self, fault: &Fault, times: usize) {
        self.shared.rules().planned.extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// When nothing is planned, a request meets each of these faults so often, from nought to one, as the seed has it.
    pub fn random(&self, seed: u64, chances: impl IntoIterator<Item = (Fault, f64)>) {
        let mut rules = self.shared.rules();
        rules.chance = SmallRng::seed_from_u64(seed);
        rules.chances = chances.into_iter().collect();
    }

    /// Faults are for these requests alone, and the others are passed on.
    pub fn only(&self, choose: impl Fn(&Request<Bytes>) -> bool + Send + Sync + 'static) {
        self.shared.rules().only = Arc::new(choose);
    }

    /// Changes requests before the server sees them, and what is returned changes the answer.
    pub fn hook(&self, hook: impl Fn(&mut Request<Bytes>) -> Option<Rewrite> + Send + Sync + 'static) {
        self.shared.rules().hook = Arc::new(hook);
    }

    /// No more faults. What is late stays so.
    pub fn heal(&self) {
        let mut rules = self.shared.rules();
        rules.planned.clear();
        rules.chances.clear();
        rules.hook = Arc::new(|_| None);
    }

    /// Hands everything that is late to the server now, and waits until it is done. Returns how much that was.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn deliver_late(&self) -> io::Result<usize> {
        let late = std::mem::take(&mut self.shared.rules().late);
        let count = late.len();
        for Late { request, .. } in late {
            pass::once(self.shared.server, request).await?;
        }
        Ok(count)
    }

    /// How many requests met a fault so far.
    pub fn count(&self) -> u64 {
        self.shared.rules().faults
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to this request, and whoever may change it.
    fn decide(&self, request: &Request<Bytes>) -> (Option<Fault>, Arc<Hook>) {
        let mut rules = self.rules();
        let hook = Arc::clone(&rules.hook);
        if !(rules.only)(request) {
            return (None, hook);
        }
        let fault = rules.planned.pop_front().or_else(|| rules.draw());
        rules.faults += u64::from(fault.is_some());
        (fault, hook)
    }

    /// Keeps a request that is to be done after others.
    fn keep(&self, request: Request<Bytes>, after: u32) {
        self.rules().late.push(Late { request, after });
    }

    /// A request was done. Returns those whose time has come.
    fn done(&self) -> Vec<Request<Bytes>> {
        let mut rules = self.rules();
        let due = rules.late.extract_if(.., |late| {
            late.after = late.after.saturating_sub(1);
            late.after == 0
        });
        due.map(|late| late.request).collect()
    }
}

impl Rules {
    fn draw(&mut self) -> Option<Fault> {
        let mut left: f64 = self.chance.random();
        let hit = self.chances.iter().find(|(_, chance)| {
            left -= chance;
            left < 0.0
        });
        hit.map(|(fault, _)| fault.clone())
    }
}

impl Drop for HttpFaults {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl fmt::Debug for HttpFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFaults")
            .field("address", &self.address)
            .field("server", &self.shared.server)
            .finish_non_exhaustive()
    }
}
