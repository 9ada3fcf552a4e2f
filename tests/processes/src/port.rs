//! Free ports that stay ours, also while the server on them is down.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt as _;

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up). A client that
/// keeps knocking at a dead server's port in that range is sooner or later given that very port, and then
/// talks to itself.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Many times what is ever taken at once.
const TRIES_MAX: usize = 1_000;

/// Nothing listens here but reservations. Servers listen on 127.0.0.1, so both can hold the same port.
const RESERVATIONS: Ipv4Addr = Ipv4Addr::new(127, 254, 0, 1);

/// A port of 127.0.0.1 that no other test takes, whichever process it runs in: the system ends the
/// reservation with its owner.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: TcpListener,
}

impl Port {
    /// Takes one.
    ///
    /// # Panics
    /// Where none is free.
    #[must_use]
    pub fn reserve() -> Self {
        for _ in 0..TRIES_MAX {
            let number = rand::rng().random_range(RANGE);
            let Ok(reservation) = TcpListener::bind((RESERVATIONS, number)) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _reservation: reservation };
            }
        }
        panic!("none of {TRIES_MAX} ports that were tried is free")
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// As `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_given_to_nobody_else_and_free_for_its_server() {
        let port = Port::reserve();
        assert!(TcpListener::bind((RESERVATIONS, port.number)).is_err(), "reserved");
        TcpListener::bind(port.address()).expect("free");
    }
}
