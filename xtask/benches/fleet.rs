//! How well a fleet is used, and what one costs: `cargo bench --bench fleet [-- SCENARIO…] [--seed N] [--runs N]`.
//!
//! Scenarios: `simulated` (the real assignment and dispatch on a simulated clock: nothing sleeps and no builder is called), `overhead` (a fleet of one
//! node beside the same engine used directly). The exit code is 1 where what docs/fleet.md says of it does not hold.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself and reads the machine's environment")]

mod divided;
mod engine;
mod measure;
mod overhead;

use std::process::ExitCode;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mut number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        let value = args.get(at + 1).and_then(|n| n.parse::<u32>().ok()).unwrap_or_else(|| panic!("{name} takes a number"));
        args.drain(at..at + 2);
        Some(value)
    };
    let (seed, runs) = (number("--seed").unwrap_or(16), number("--runs").unwrap_or(7));
    let wanted = |scenario: &str| args.is_empty() || args.iter().any(|arg| arg == scenario);
    let mut all_hold = true;
    if wanted("simulated") {
        all_hold &= divided::holds(u64::from(seed));
    }
    if wanted("overhead") {
        all_hold &= overhead::holds(runs as usize);
    }
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
