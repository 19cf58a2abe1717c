//! One file a verb: each reads its flags, composes stages, and prints what was asked for.

pub mod engine;

use std::process::ExitCode;

use crate::cli::{Cli, Verb};
use crate::config::Suite;
use crate::env::Env;
use crate::error::Error;
use crate::event::Events;
use crate::execute::shutdown::Shutdown;

/// Does what the command line says.
pub fn run(cli: &Cli, env: &Env, shutdown: &Shutdown) -> ExitCode {
    let done = match &cli.verb {
        Verb::Engine { action } => engine::run(action, Suite::Testing, env, &Events::none(), shutdown),
        _ => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, env),
    }
}

/// Shows an error and gives its exit code.
pub fn failed(error: &Error, _env: &Env) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(error.exit_code())
}
