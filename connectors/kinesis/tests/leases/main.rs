//! KCL's table of leases on a server that speaks as DynamoDB does, beside streams that are scripted: taken as the start of a job, written for monitors and as a way
//! back, and looked at by the command.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[cfg(feature = "cli")]
mod command;
mod export;
mod import;
mod scene;
