//! Kafka's wire protocol, as far as the control client needs it.

pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod fault;
pub(crate) mod offsets;
pub(crate) mod producers;
pub(crate) mod sasl;
pub(crate) mod security;
pub(crate) mod stable;
pub(crate) mod topics;
pub(crate) mod transactions;
