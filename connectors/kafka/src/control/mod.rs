//! Kafka's wire protocol, as far as the control client needs it.

pub(crate) mod cluster;
pub(crate) mod connection;
mod dial;
#[cfg(test)]
mod fake;
pub(crate) mod fault;
mod names;
pub(crate) mod offsets;
pub(crate) mod producers;
pub(crate) mod sasl;
pub(crate) mod security;
pub(crate) mod stable;
pub(crate) mod topics;
pub(crate) mod transactions;
