//! `cargo xtask stats`: what the history of runs says, in a terminal, as JSON, or as a page.

use std::path::Path;

use crate::cli;
use crate::command::{Finished, Surroundings, print, print_json};
use crate::error::{Result, write_atomically};
use crate::event::{Level, Status};
use crate::record::history::Read;
use crate::record::stats::{self, Stats};
use crate::record::{History, RunRecord, Runs};
use crate::report::html::{self, Page};
use crate::report::{Paint, colour, stats as shown};
use crate::stage::{history, state_dir};

/// Tells.
///
/// # Errors
/// When the history cannot be read or shared, there is no such run, or the page cannot be written.
pub fn run(flags: &cli::Stats, surroundings: &Surroundings<'_>) -> Result<Finished> {
    if flags.pull || flags.push {
        share(flags, surroundings)?;
    }
    let root = state_dir(&surroundings.home()?);
    let read = History::new(&root).read()?;
    let stats = stats::of(&read);
    if let Some(file) = &flags.html {
        write_page(&surroundings.env.cwd.join(file), &stats, &read, chosen(&Runs::new(&root), flags.run.as_deref())?.as_ref())?;
    }
    if flags.json {
        print_json(&stats)?;
    } else if flags.html.is_none() {
        print(&shown::text(&stats, Paint { colour: colour(surroundings.env, surroundings.env.stdout_is_terminal) }))?;
    }
    Ok(Finished::Well)
}

fn share(flags: &cli::Stats, surroundings: &Surroundings<'_>) -> Result<()> {
    let (session, reporter) = surroundings.session()?;
    let before = history::pull(&session)?;
    let given = if flags.push { history::push(&session)? } else { 0 };
    let told = if flags.push {
        format!("{before} runs came from the registry, {given} went there")
    } else {
        format!("{before} runs came from the registry")
    };
    session.events.notice(Level::Info, None, told, None);
    reporter.finish();
    Ok(())
}

/// The run whose timeline is drawn: the one that was asked for, else the newest that built something, else the newest.
fn chosen(runs: &Runs, id: Option<&str>) -> Result<Option<RunRecord>> {
    if let Some(id) = id {
        return runs.find(&id.parse()?)?.read().map(Some);
    }
    let built = |record: &RunRecord| record.tasks.iter().any(|task| task.status == Status::Built);
    let newest = runs.list().into_iter().filter_map(|run| run.read().ok()).find(built);
    Ok(newest.or_else(|| runs.latest().map(|(_, record)| record)))
}

fn write_page(file: &Path, stats: &Stats, read: &Read, run: Option<&RunRecord>) -> Result<()> {
    let page = html::page(&Page { run, stats, history: &read.runs, layers: &[] });
    write_atomically(file, page.as_bytes())
}
