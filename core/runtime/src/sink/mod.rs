//! Sinks: one feed on each worker that brings records and barriers in order, and one task that owns the
//! writer.

mod feed;
mod outlet;
mod settle;
mod writer;

pub(crate) use settle::Settle;
