//! Where a gateway is.

use std::fmt;

/// Where gateways listen that were told nothing else.
const PORT: u16 = 9090;

/// Where a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `host`, `host:port`, or one with an address of IPv6 in brackets. Nothing that could have a password in it is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|&port| port != 0)?,
            None if rest.is_empty() => PORT,
            None => return None,
        };
        let in_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let in_brackets =
            |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '%') || c.is_ascii_alphanumeric();
        let is_host =
            if text.starts_with('[') { host.chars().all(in_brackets) } else { host.chars().all(in_name) };
        (is_host && !host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        for (text, shown) in [
            ("a.example:9091", "a.example:9091"),
            ("a-b_c", "a-b_c:9090"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:9091", "[::1]:9091"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:9090"),
        ] {
            assert_eq!(Address::parse(text).expect(text).to_string(), shown);
        }
        for text in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:1/b",
            "a b",
            "me@a:1",
            "me:s3cret@a:1",
            "::1",
            "[::1",
            "[::1]x",
            "[]:1",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
