//! One file a verb: each reads its flags, composes stages, and prints what was asked for.

use std::process::ExitCode;

use crate::cli::Cli;
use crate::env::Env;
use crate::error::Error;
use crate::execute::shutdown::Shutdown;

/// Does what the command line says.
pub fn run(_cli: &Cli, _env: &Env, _shutdown: &Shutdown) -> ExitCode {
    ExitCode::SUCCESS
}

/// Shows an error and gives its exit code.
pub fn failed(error: &Error, _env: &Env) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(error.exit_code())
}
