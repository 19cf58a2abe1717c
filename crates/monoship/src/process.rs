//! The process: reads the environment once, hands signals to the shutdown switch, and turns the outcome into an exit code.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use monoship_core::env::Env;
use monoship_core::error::Error;
use monoship_core::execute::shutdown::{GRACE, Shutdown};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Cli;
use crate::command;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let env = match environment() {
        Ok(env) => env,
        Err(error) => return command::failed(&error, &Env::default()),
    };
    let cli = Cli::parse();
    let shutdown = Shutdown::new();
    if let Err(error) = watch_signals(shutdown.clone()) {
        return command::failed(&Error::failed("cannot watch for signals").source(error), &env);
    }
    command::run(&cli, &env, &shutdown)
}

/// The one place that reads the environment.
#[expect(clippy::disallowed_methods, reason = "the environment is read once, here")]
fn environment() -> Result<Env, Error> {
    let cwd = std::env::current_dir().map_err(|e| Error::failed("cannot tell the working folder").source(e))?;
    let vars = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut env = Env::new(cwd, vars);
    env.stdin_is_terminal = std::io::stdin().is_terminal();
    env.stdout_is_terminal = std::io::stdout().is_terminal();
    env.stderr_is_terminal = std::io::stderr().is_terminal();
    Ok(env)
}

/// The first signal stops the run in order; the same one again, or a run that does not come to its end, ends it at once. Another one says
/// the same with more weight, as Actions does with SIGTERM after SIGINT: the run is on its way out already, and tells what became of it.
fn watch_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        let mut pending = signals.forever();
        if let Some(first) = pending.next() {
            let second = shutdown.clone();
            std::thread::spawn(move || {
                shutdown.close();
                // The workers' children are gone, so the main thread is on its way out; if it is not, nobody waits longer.
                std::thread::sleep(GRACE);
                std::process::exit(130);
            });
            if pending.any(|signal| signal == first) {
                second.kill();
                std::process::exit(130);
            }
        }
    });
    Ok(())
}
