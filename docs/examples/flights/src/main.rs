//! The command `flights`: see `flights --help`.

fn main() -> std::process::ExitCode {
    flights::main()
}
