#![doc = include_str!("../README.md")]
mod config;
mod error;
mod http;
mod limit;
mod load;
mod window;

pub use config::AwsConfig;
pub use error::{Answer, failed, is_throttled, says_nothing};
pub use limit::{Limit, Place};
pub use load::load;
