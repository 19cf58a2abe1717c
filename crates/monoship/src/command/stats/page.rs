//! `stats --html`: the page, with the last build's timeline and what fills the images.

use std::path::Path;

use crate::cli;
use crate::command::Call;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Result, write_atomically};
use monoship_core::event::{Level, Status};
use monoship_core::secret::mask;
use monoship_docker::layers::Summary;
use monoship_report::html::{self, ImageLayers, Page};
use monoship_report::record::history::PastRun;
use monoship_report::record::stats::Stats;
use monoship_report::record::{RunRecord, Runs};
use monoship_steps::layers;

/// Writes the page to `file`.
///
/// # Errors
/// When there is no such run, or the file cannot be written.
pub fn write(call: &Call<'_>, root: &Path, flags: &cli::Stats, stats: &Stats, history: &[PastRun], file: &Path) -> Result<()> {
    let run = chosen(&Runs::new(root), flags.run.as_deref())?;
    let layers = layer_sizes(call)?;
    let page = html::page(&Page { run: run.as_ref(), stats, history, layers: &layers });
    write_atomically(file, mask(&page).as_bytes())
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
fn layer_sizes(call: &Call<'_>) -> Result<Vec<ImageLayers>> {
    let (session, reporter) = call.session()?;
    let looked = layers::look(&session, &layers::LayersRequest { partial: true, ..layers::LayersRequest::default() });
    let why = match &looked {
        Ok(found) if found.is_empty() => Some("no service's image is in the engine or the registry".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = why {
        session.events.notice(Level::Info, None, format!("the page has no layer sizes: {why}"), None);
    }
    reporter.finish();
    Ok(looked.unwrap_or_default().iter().map(layers_of).into_vec())
}

fn layers_of(image: &Summary) -> ImageLayers {
    let name = image.image.rsplit('/').next().unwrap_or_default();
    let layers = image.layers.iter().map(|layer| {
        let step = layer.line.as_ref().map_or(&layer.made_by, |line| &line.text);
        (step.clone(), layer.packed_bytes)
    });
    ImageLayers { service: name.split([':', '@']).next().unwrap_or_default().to_owned(), layers: layers.into_vec() }
}
