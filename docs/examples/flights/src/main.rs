//! The command `flights`: see `flights --help`.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    flights::main().await
}
