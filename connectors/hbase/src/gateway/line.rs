//! The socket of a connection: no call on it takes longer than it may, and no message is larger than it may be.
//!
//! The transports of the library are not used: its time limits are those of single reads, its framed one takes any length that
//! the other side says, and fails hard at a negative one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Transport;

/// What was larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLarge {
    Request,
    Answer,
}

/// The shortest time limit that a socket knows; none would be no limit.
const LEAST: Duration = Duration::from_millis(1);

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// How much of a buffer for requests is kept for the next one.
const KEPT_BYTES: usize = 1 << 20;

/// A socket, and until when what is done on it must be done.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    until: Mutex<Instant>,
    /// How many bytes of an answer have come.
    taken: AtomicUsize,
    /// How many bytes came that nobody has read.
    unread: AtomicUsize,
    too_large: AtomicU8,
}

impl Line {
    pub(super) fn new(stream: TcpStream, until: Instant) -> Arc<Self> {
        Arc::new(Self {
            stream,
            until: Mutex::new(until),
            taken: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            too_large: AtomicU8::new(0),
        })
    }

    /// A call begins, and must be done until then.
    pub(super) fn begin(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        self.taken.store(0, Ordering::Relaxed);
    }

    /// Ends what is done on it, from any thread.
    pub(super) fn cut(&self) {
        // One that is not connected any more is cut already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether nobody closed it, and nothing came that nobody asked for.
    pub(super) fn is_quiet(&self) -> bool {
        let peek = || {
            self.stream.set_nonblocking(true)?;
            let peeked = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            peeked
        };
        self.unread.load(Ordering::Relaxed) == 0
            && matches!(peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(super) fn too_large(&self) -> Option<TooLarge> {
        match self.too_large.load(Ordering::Relaxed) {
            1 => Some(TooLarge::Request),
            2 => Some(TooLarge::Answer),
            _ => None,
        }
    }

    fn refuse(&self, what: TooLarge) -> io::Error {
        self.too_large.store(if what == TooLarge::Request { 1 } else { 2 }, Ordering::Relaxed);
        io::Error::new(io::ErrorKind::InvalidData, "larger than allowed")
    }

    fn left(&self) -> io::Result<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left.max(LEAST)),
        }
    }
}

/// Linux says of a time limit that the call would block.
fn as_time_limit(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// The reading half of a socket.
struct Incoming(Arc<Line>);

impl Read for Incoming {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.stream.set_read_timeout(Some(self.0.left()?))?;
        (&self.0.stream).read(bytes).map_err(as_time_limit)
    }
}

/// What a gateway answers, without the lengths of frames.
pub(super) struct Answers {
    incoming: BufReader<Incoming>,
    transport: Transport,
    bytes_max: usize,
    /// How many bytes of the frame are left.
    frame: usize,
}

impl Answers {
    pub(super) fn new(line: Arc<Line>, transport: Transport, bytes_max: usize) -> Self {
        let incoming = BufReader::with_capacity(READ_BYTES, Incoming(line));
        Self { incoming, transport, bytes_max, frame: 0 }
    }

    /// How large what follows may be at most.
    pub(super) fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.line().taken.load(Ordering::Relaxed))
    }

    pub(super) fn refuse(&self) -> io::Error {
        self.line().refuse(TooLarge::Answer)
    }

    fn line(&self) -> &Line {
        &self.incoming.get_ref().0
    }

    /// Reads the length of the next frame.
    fn next_frame(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.incoming.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > self.left() {
            return Err(self.refuse());
        }
        self.frame = length;
        Ok(())
    }
}

impl Read for Answers {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while self.transport == Transport::Framed && self.frame == 0 {
            self.next_frame()?;
        }
        let most = if self.transport == Transport::Framed { self.frame } else { usize::MAX };
        let most = bytes.len().min(most).min(self.left());
        if most == 0 {
            return Err(self.refuse());
        }
        let available = self.incoming.fill_buf()?;
        let read = most.min(available.len());
        bytes[..read].copy_from_slice(&available[..read]);
        self.incoming.consume(read);
        self.frame = self.frame.saturating_sub(read);
        self.line().taken.fetch_add(read, Ordering::Relaxed);
        self.line().unread.store(self.incoming.buffer().len() + self.frame, Ordering::Relaxed);
        Ok(read)
    }
}

/// Requests to a gateway. One is sent when all of it is known: what is too large is refused before anything of it was sent.
pub(super) struct Requests {
    line: Arc<Line>,
    transport: Transport,
    bytes_max: usize,
    /// The length of a frame stands in front.
    message: Vec<u8>,
}

/// The place of a frame's length.
const HEAD: usize = 4;

impl Requests {
    pub(super) fn new(line: Arc<Line>, transport: Transport, bytes_max: usize) -> Self {
        Self { line, transport, bytes_max, message: vec![0; HEAD] }
    }
}

impl Write for Requests {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.message.len() - HEAD + bytes.len() > self.bytes_max {
            return Err(self.line.refuse(TooLarge::Request));
        }
        self.message.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let length =
            u32::try_from(self.message.len() - HEAD).map_err(|_| self.line.refuse(TooLarge::Request))?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = match self.transport {
            Transport::Buffered => &self.message[HEAD..],
            Transport::Framed => {
                self.message[..HEAD].copy_from_slice(&length.to_be_bytes());
                &self.message[..]
            }
        };
        while !rest.is_empty() {
            self.line.stream.set_write_timeout(Some(self.line.left()?))?;
            match (&self.line.stream).write(rest).map_err(as_time_limit) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.message.truncate(HEAD);
        self.message.shrink_to(KEPT_BYTES);
        Ok(())
    }
}
