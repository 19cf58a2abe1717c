//! `cargo xtask stats`: what the history of runs says, in a terminal, as JSON, or as a page.

use crate::cli;
use crate::command::{Finished, Surroundings, print, print_json};
use crate::stage::{history, layers, state_dir};
use monoship_core::error::{Result, write_atomically};
use monoship_core::event::{Level, Status};
use monoship_docker::layers::Summary;
use monoship_report::html::{self, ImageLayers, Page};
use monoship_report::record::stats;
use monoship_report::record::{History, RunRecord, Runs};
use monoship_report::{Paint, colour, stats as shown};

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
        let run = chosen(&Runs::new(&root), flags.run.as_deref())?;
        let layers = layer_sizes(surroundings)?;
        let page = html::page(&Page { run: run.as_ref(), stats: &stats, history: &read.runs, layers: &layers });
        write_atomically(&surroundings.env.cwd.join(file), page.as_bytes())?;
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

/// The run whose timeline is drawn: the one that was asked for, else the newest that built something, else the newest.
fn chosen(runs: &Runs, id: Option<&str>) -> Result<Option<RunRecord>> {
    if let Some(id) = id {
        return runs.find(&id.parse()?)?.read().map(Some);
    }
    let built = |record: &RunRecord| record.tasks.iter().any(|task| task.status == Status::Built);
    let newest = runs.list().into_iter().filter_map(|run| run.read().ok()).find(built);
    Ok(newest.or_else(|| runs.latest().map(|(_, record)| record)))
}

/// What fills the services' images, where they can be looked into from here; a page without it is still a page.
fn layer_sizes(surroundings: &Surroundings<'_>) -> Result<Vec<ImageLayers>> {
    let (session, reporter) = surroundings.session()?;
    let looked = layers::look(&session, &layers::Request { partial: true, ..layers::Request::default() });
    let why = match &looked {
        Ok(found) if found.is_empty() => Some("no service's image is in the engine or the registry".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = why {
        session.events.notice(Level::Info, None, format!("the page has no layer sizes: {why}"), None);
    }
    reporter.finish();
    Ok(looked.unwrap_or_default().iter().map(layers_of).collect())
}

fn layers_of(image: &Summary) -> ImageLayers {
    let name = image.image.rsplit('/').next().unwrap_or_default();
    let layers = image.layers.iter().map(|layer| {
        let step = layer.line.as_ref().map_or(&layer.made_by, |line| &line.text);
        (step.clone(), layer.packed_bytes)
    });
    ImageLayers { service: name.split([':', '@']).next().unwrap_or_default().to_owned(), layers: layers.collect() }
}
