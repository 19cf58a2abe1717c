//! `cargo xtask open`: the page of the last build, written and shown in the browser.

use crate::cli;
use crate::command::{Call, Finished, say, stats};
use monoship_core::env::Env;
use monoship_core::error::Result;
use monoship_core::execute::process::Invocation;
use monoship_steps::state_dir;

/// Who shows a page, by the desktop's own rules: freedesktop.org's, then macOS's.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Writes the page and shows it. Where nobody can show it, its path is all that is said: that is no failure.
///
/// # Errors
/// As `stats --html`.
pub fn run(flags: &cli::Open, call: &Call<'_>) -> Result<Finished> {
    let file = state_dir(&call.home()?).join("stats.html");
    let page = cli::Stats { html: Some(file.clone()), run: flags.run.clone(), pull: false, push: false, json: false };
    let written = stats::run(&page, call)?;
    let openers = browser(call.env).into_iter().chain(OPENERS);
    // On a machine that nobody sits at there is nothing to show it on.
    let is_seen = call.env.stdout_is_terminal && !call.env.is_ci();
    for opener in openers.filter(|_| is_seen) {
        let shown = Invocation::new(opener).arg(&file).run(call.shutdown);
        if shown.is_ok_and(|output| output.code == Some(0)) {
            return Ok(written);
        }
    }
    say("open it in a browser: none was found here to show it in");
    Ok(written)
}

/// The browser that the user has chosen, of several the first.
fn browser(env: &Env) -> Option<&str> {
    env.get("BROWSER").and_then(|list| list.split(':').next()).filter(|name| !name.is_empty() && !name.contains('%'))
}
