//! Says whether a job would find its region and its credentials here, and where it looks for them.
//!
//!     cargo run -p tidelock-aws --example reach -- '{"profile": "test"}'

use tidelock_aws::AwsConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = std::env::args().nth(1).unwrap_or_else(|| "{}".to_owned());
    let config: AwsConfig = serde_json::from_str(&settings)?;
    let loaded = tidelock_aws::load(&config).await?;
    println!("credentials are there; the region is {}", loaded.region().map_or("?", AsRef::as_ref));
    Ok(())
}
