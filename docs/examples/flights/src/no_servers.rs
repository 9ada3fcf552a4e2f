//! What stands in the place of `servers` in a build without it: it says how to get one.

use tidelock::{Error, ErrorKind, Result};

use crate::options::Options;

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn run(_: &Options) -> Result<()> {
    let why = "this program was built without servers. With them: cargo run --release -p flights --features servers -- --profile servers";
    Err(Error::new(ErrorKind::Config, "start the servers", why))
}
