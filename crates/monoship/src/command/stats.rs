//! `cargo xtask stats`: what the history of runs says, in a terminal, as JSON, or as a page.

#[cfg(feature = "html")]
mod page;

use crate::cli;
use crate::command::{Call, Finished, print_json, say, tell};
use monoship_core::error::Result;
use monoship_core::event::Level;
use monoship_report::record::History;
use monoship_report::record::stats;
use monoship_report::{Paint, colour, columns_of_output, stats as shown};
use monoship_steps::{history, state_dir};

/// Tells.
///
/// # Errors
/// When the history cannot be read or shared, there is no such run, or the page cannot be written.
pub fn run(flags: &cli::Stats, call: &Call<'_>) -> Result<Finished> {
    if flags.pull || flags.push {
        share(flags, call)?;
    }
    let root = state_dir(&call.home()?);
    let read = History::new(&root, call.shutdown).read()?;
    let stats = stats::summarise(&read);
    if let Some(file) = &flags.html {
        let file = call.env.cwd.join(file);
        page::write(call, &root, flags, &stats, &read.runs, &file)?;
        say(&format!("wrote {}", file.display()));
    }
    if flags.json {
        print_json(&stats)?;
    } else if flags.html.is_none() {
        let paint = Paint { colour: colour(call.env, call.env.stdout_is_terminal) };
        tell(&shown::text(&stats, paint, columns_of_output()))?;
    }
    Ok(Finished::Well)
}

fn share(flags: &cli::Stats, call: &Call<'_>) -> Result<()> {
    let (session, reporter) = call.session()?;
    let told = if flags.push {
        let moved = history::push(&session)?;
        format!("{} runs came from the registry, {} went there", moved.came, moved.went)
    } else {
        format!("{} runs came from the registry", history::pull(&session)?)
    };
    session.events.notice(Level::Info, None, told, None);
    reporter.finish();
    Ok(())
}

/// Without the feature `html`.
#[cfg(not(feature = "html"))]
mod page {
    use std::path::Path;

    use monoship_core::error::{Error, Result};
    use monoship_report::record::history::PastRun;
    use monoship_report::record::stats::Stats;

    use crate::cli;
    use crate::command::Call;

    pub fn write(_: &Call<'_>, _: &Path, _: &cli::Stats, _: &Stats, _: &[PastRun], _: &Path) -> Result<()> {
        Err(Error::usage("this program was built without the page")
            .hint("turn on the feature `html` of `monoship` in xtask/Cargo.toml"))
    }
}
