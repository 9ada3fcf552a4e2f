//! The messages on a connection: the library's protocols, with the lengths checked that an answer says of its parts.
//!
//! The library makes room for what it is told will come. A length that is wrong would be a full memory, or a failure of the thread.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use hbase_thrift::hbase::HbaseSyncClient;
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TCompactInputProtocol, TCompactOutputProtocol,
    TFieldIdentifier, TInputProtocol, TListIdentifier, TMapIdentifier, TMessageIdentifier, TOutputProtocol,
    TSetIdentifier, TStructIdentifier,
};
use thrift::{ProtocolError, ProtocolErrorKind};

use super::line::{Answers, Line, Requests};
use crate::config::{HbaseConfig, Protocol, Transport};

/// The client of a connection.
pub(crate) type Client = HbaseSyncClient<Box<dyn TInputProtocol + Send>, Box<dyn TOutputProtocol + Send>>;

/// How many parts a list or a map of an answer may have: room for a list is made before its first part is read.
const PARTS_MAX: i32 = 4_000_000;

/// Makes a client that speaks on this line.
pub(super) fn client(
    line: &Arc<Line>,
    transport: Transport,
    protocol: Protocol,
    config: &HbaseConfig,
) -> Client {
    let answers = Answers::new(Arc::clone(line), transport, config.answer_bytes_max());
    let requests = Requests::new(Arc::clone(line), transport, config.request_bytes_max());
    match protocol {
        Protocol::Binary => Client::new(
            Box::new(Checked(Binary(TBinaryInputProtocol::new(answers, true)))),
            Box::new(TBinaryOutputProtocol::new(requests, true)),
        ),
        Protocol::Compact => {
            let answers = Shared(Arc::new(Mutex::new(answers)));
            let compact = TCompactInputProtocol::new(Shared(Arc::clone(&answers.0)));
            Client::new(
                Box::new(Checked(Compact(compact, answers))),
                Box::new(TCompactOutputProtocol::new(requests)),
            )
        }
    }
}

/// A protocol, and how it writes the length of bytes.
trait Lengths {
    type Protocol: TInputProtocol;

    fn protocol(&mut self) -> &mut Self::Protocol;

    /// Reads bytes that have their length in front of them.
    fn bytes(&mut self) -> thrift::Result<Vec<u8>>;
}

struct Binary(TBinaryInputProtocol<Answers>);

impl Lengths for Binary {
    type Protocol = TBinaryInputProtocol<Answers>;

    fn protocol(&mut self) -> &mut Self::Protocol {
        &mut self.0
    }

    fn bytes(&mut self) -> thrift::Result<Vec<u8>> {
        let length = self.0.read_i32()?;
        exactly(i64::from(length), &mut self.0.transport)
    }
}

/// What reads and what checks have the same answers: the library does not let its own be seen.
struct Compact(TCompactInputProtocol<Shared>, Shared);

impl Lengths for Compact {
    type Protocol = TCompactInputProtocol<Shared>;

    fn protocol(&mut self) -> &mut Self::Protocol {
        &mut self.0
    }

    fn bytes(&mut self) -> thrift::Result<Vec<u8>> {
        let mut length = 0_i64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.0.read_byte()?;
            length |= i64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let mut answers = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
                return exactly(length, &mut answers);
            }
        }
        Err(damaged("a length is too long"))
    }
}

struct Shared(Arc<Mutex<Answers>>);

impl Read for Shared {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(bytes)
    }
}

fn exactly(length: i64, answers: &mut Answers) -> thrift::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| damaged("a length is negative"))?;
    if length > answers.left() {
        return Err(answers.refuse().into());
    }
    let mut bytes = vec![0; length];
    answers.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(what: &str) -> thrift::Error {
    thrift::Error::Protocol(ProtocolError::new(ProtocolErrorKind::InvalidData, what))
}

fn parts(count: i32) -> thrift::Result<()> {
    if (0..=PARTS_MAX).contains(&count) { Ok(()) } else { Err(damaged("a list has too many parts")) }
}

/// A protocol that believes no length before it was looked at.
struct Checked<P>(P);

/// Passes calls on to the protocol.
macro_rules! pass_on {
    ($($name:ident -> $answer:ty;)*) => {
        $(fn $name(&mut self) -> thrift::Result<$answer> {
            self.0.protocol().$name()
        })*
    };
}

impl<P: Lengths> TInputProtocol for Checked<P> {
    pass_on! {
        read_message_begin -> TMessageIdentifier;
        read_message_end -> ();
        read_struct_begin -> Option<TStructIdentifier>;
        read_struct_end -> ();
        read_field_begin -> TFieldIdentifier;
        read_field_end -> ();
        read_bool -> bool;
        read_i8 -> i8;
        read_i16 -> i16;
        read_i32 -> i32;
        read_i64 -> i64;
        read_double -> f64;
        read_list_end -> ();
        read_set_end -> ();
        read_map_end -> ();
        read_byte -> u8;
    }

    fn read_bytes(&mut self) -> thrift::Result<Vec<u8>> {
        self.0.bytes()
    }

    fn read_string(&mut self) -> thrift::Result<String> {
        Ok(String::from_utf8(self.0.bytes()?)?)
    }

    fn read_list_begin(&mut self) -> thrift::Result<TListIdentifier> {
        let list = self.0.protocol().read_list_begin()?;
        parts(list.size)?;
        Ok(list)
    }

    fn read_set_begin(&mut self) -> thrift::Result<TSetIdentifier> {
        let set = self.0.protocol().read_set_begin()?;
        parts(set.size)?;
        Ok(set)
    }

    fn read_map_begin(&mut self) -> thrift::Result<TMapIdentifier> {
        let map = self.0.protocol().read_map_begin()?;
        parts(map.size)?;
        Ok(map)
    }
}
