//! This repository's pipeline.

fn main() -> std::process::ExitCode {
    monoship::process::main()
}
