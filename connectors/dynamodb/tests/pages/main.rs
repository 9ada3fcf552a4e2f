//! What pages say of what a server is asked: what each mode costs there, and which rights it needs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod costs;
mod rights;
mod scene;
