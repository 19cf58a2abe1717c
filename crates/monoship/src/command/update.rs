//! `cargo xtask update`: moves the pins of base images in `xtask.lock` to what their tags point to now.

use crate::cli;
use crate::command::{Call, Finished, tell};
use monoship_core::error::Result;
use monoship_steps::bases::{self, PINS, digest_of};
use monoship_steps::configuration;
use monoship_steps::inputs::pinned_images;
use monoship_steps::project;

/// Moves pins.
///
/// # Errors
/// When no `FROM` names the image, a tag cannot be resolved, or the file cannot be written.
pub fn run(flags: &cli::Update, call: &Call<'_>) -> Result<Finished> {
    let (session, reporter) = call.session()?;
    let project = project::load(&session, &session.home)?;
    let images = pinned_images(&session, &project)?;
    let path = session.home.join(PINS);
    let mut pins = configuration::pins(&path)?;
    let moved = pins.update(&images, flags.image.as_ref(), &|image| digest_of(&session.registry, image))?;
    bases::note_triggers(&session, &mut pins, &moved);
    configuration::save_pins(&pins, &path)?;
    reporter.finish();
    let mut text = String::new();
    for pin in &moved {
        let before = pin.before.as_ref().map_or_else(|| "not pinned".to_owned(), |digest| digest.short().to_owned());
        text += &[&pin.image.to_string(), "  ", &before, " → ", pin.after.short(), "\n"].concat();
    }
    if moved.is_empty() {
        text.push_str("every pin is up to date\n");
    }
    tell(&text)?;
    Ok(Finished::Well)
}
