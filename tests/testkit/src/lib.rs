//! Certifies Tidelock's sources and sinks, and tries to break them.

pub mod oracle;
pub mod sim;
