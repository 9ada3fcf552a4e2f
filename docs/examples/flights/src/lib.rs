#![doc = include_str!("../README.md")]

pub mod answer;
mod crash;
mod flight;
mod flow;
mod job;
mod options;
mod pace;
mod places;
mod report;
mod tables;

pub use crash::run as crash;
pub use job::run;
pub use options::{Options, Report};
