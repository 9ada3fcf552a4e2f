//! The example's program, built with the tests that start it.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    flights::main().await
}
