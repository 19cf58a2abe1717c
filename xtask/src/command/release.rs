//! `cargo xtask release`: flags to a request, the release pipeline, and its outcome.

use std::io::Write as _;

use crate::cli;
use crate::command::build::{commands, conclude, cores};
use crate::command::{Finished, Surroundings, print};
use crate::error::Result;
use crate::pipeline::{self, Released};
use crate::plan::request::{Destination, Missing, Release, Request};
use crate::stage::update_release::Outcome;
use crate::stage::{Session, checkout};

/// Releases.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome.
pub fn run(flags: &cli::Release, surroundings: &Surroundings<'_>) -> Result<Finished> {
    let (session, reporter) = if flags.dry_run { surroundings.session()? } else { surroundings.build_session()? };
    let (release, request) = asked(flags, &session);
    if flags.dry_run {
        let (tag, commit) = checkout::resolve(&session.git(), &release.tag)?;
        let checkout = checkout::of_tag(&session, "dry-run", &tag, &commit)?;
        let (_, engine, plan) = pipeline::prepare(&session, &checkout.root, &request)?;
        checkout::remove(&session.git(), &checkout.root)?;
        reporter.finish();
        print(&format!("# release {} of commit {commit}\n{}", tag.tag, commands(&session, &engine.buildx(), &plan)))?;
        return Ok(Finished::Well);
    }
    let released = pipeline::release(&session, &release, &request)?;
    reporter.finish();
    let finished = conclude(surroundings, &session, &released.record, flags.json)?;
    say(&released, flags.json)?;
    Ok(finished)
}

fn asked(flags: &cli::Release, session: &Session) -> (Release, Request) {
    let release = Release {
        tag: flags.tag.clone(),
        missing: if flags.create { Missing::Create } else { Missing::Fail },
        move_tags: flags.move_tags,
        keep_checkout: flags.keep_checkout,
        notes_file: flags.notes_file.as_ref().map(|file| session.env.cwd.join(file)),
    };
    let command = format!("release {}", flags.tag.tag);
    let plain = Request::new(command, Destination::Registry(Vec::new()), &session.config, cores());
    let request = Request {
        jobs: flags.jobs.unwrap_or(plain.jobs),
        locked: true,
        release: true,
        allow_stand_ins: flags.allow_stand_ins,
        ..plain
    };
    (release, request)
}

/// The tags that were put, and what became of the notes.
fn say(released: &Released, json: bool) -> Result<()> {
    let mut lines: Vec<String> = Vec::new();
    for published in &released.published {
        let tags: Vec<&str> = published.tags.iter().map(|tag| tag.tag.as_str()).collect();
        lines.push(format!("{}@{}: {}", published.repository, published.digest, tags.join(", ")));
    }
    if let Some(notes) = &released.notes {
        let page = notes.url.as_deref().unwrap_or_default();
        lines.push(match &notes.outcome {
            Outcome::Unchanged | Outcome::Shown => "notes: unchanged".to_owned(),
            Outcome::Updated => format!("notes: updated {page}"),
            Outcome::Created => format!("notes: release created {page}"),
            Outcome::NotDone { why, file } => format!("notes: not on GitHub: {why}; they are in {}", file.display()),
        });
        if matches!(notes.outcome, Outcome::NotDone { .. }) && !json {
            print(&notes.body)?;
        }
    }
    // Nobody reads it where standard error is closed.
    let _ = std::io::stderr().lock().write_all((lines.join("\n") + "\n").as_bytes());
    Ok(())
}
