#![doc = include_str!("../README.md")]

pub mod answer;
mod command;
mod crash;
#[cfg_attr(not(feature = "dynamodb"), path = "no_dynamodb.rs")]
mod dynamodb;
mod ends;
mod files;
mod flight;
mod flow;
#[cfg_attr(not(feature = "hbase"), path = "no_hbase.rs")]
mod hbase;
mod job;
#[cfg_attr(not(feature = "kafka"), path = "no_kafka.rs")]
mod kafka;
mod options;
mod pace;
mod places;
mod report;
#[cfg_attr(not(feature = "servers"), path = "no_servers.rs")]
mod servers;
#[cfg_attr(not(feature = "sql"), path = "no_sql.rs")]
mod sql;
mod tables;

pub use command::main;

/// The project's page: its job compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../../README.md")]
struct ProjectPage;
