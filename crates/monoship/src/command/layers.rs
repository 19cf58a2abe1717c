//! `cargo xtask layers`: what is in images, which lines made it, and what of it is waste.

use serde::Serialize;

use crate::cli;
use crate::command::{Call, Finished, print_json, tell};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_docker::layers::{Place, Summary};
use monoship_report::{Paint, colour, columns_of_output};
use monoship_steps::layers::{self, LayersRequest};

/// The version of what `--json` prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    version: u32,
    images: Vec<Summary>,
}

/// Looks.
///
/// # Errors
/// As the stage's.
pub fn run(flags: &cli::Layers, call: &Call<'_>) -> Result<Finished> {
    if let (Some(tag), Some(image)) = (&flags.tag, flags.subjects.iter().find(|subject| subject.contains(['/', ':', '@']))) {
        return Err(Error::usage(format!("`--tag {tag}` goes with a service, and `{image}` is a whole image name"))
            .hint("put the tag into the name, or name the service"));
    }
    let (session, reporter) = call.session()?;
    let place = flags.from.map(|from| match from {
        cli::Store::Engine => Place::Engine,
        cli::Store::Registry => Place::Registry,
    });
    let (subjects, tag, platform) = (flags.subjects.clone(), flags.tag.clone(), flags.platform.clone());
    let images = layers::look(&session, &LayersRequest { subjects, tag, platform, place, compare: true, partial: false })?;
    reporter.finish();
    if flags.json {
        print_json(&Shown { version: VERSION, images })?;
    } else {
        let paint = Paint { colour: colour(call.env, call.env.stdout_is_terminal) };
        let texts: Vec<String> =
            images.iter().map(|image| monoship_report::layers::text(image, flags.top, paint, columns_of_output())).into_vec();
        tell(&texts.join("\n"))?;
    }
    Ok(Finished::Well)
}
