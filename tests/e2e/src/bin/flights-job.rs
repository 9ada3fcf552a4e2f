//! The example's program, built with the tests that start it.

fn main() -> std::process::ExitCode {
    flights::main()
}
