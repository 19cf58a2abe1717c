//! `cargo xtask release`: flags to a release, its pipeline, and what it came to.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::cli;
use crate::command::build::{commands, conclude};
use crate::command::{Finished, Surroundings, print};
use crate::pipeline::look::{self, Preview};
use crate::pipeline::{self, Released};
use crate::stage::Session;
use crate::stage::publish::Step;
use crate::stage::update_release::{Outcome, Report};
use monoship_core::error::Result;
use monoship_plan::request::{Missing, Release};

/// Releases, or does the part of it that the flags ask for.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome.
pub fn run(flags: &cli::Release, surroundings: &Surroundings<'_>) -> Result<Finished> {
    if flags.notes_only || flags.dry_run {
        let (session, reporter) = surroundings.session()?;
        let release = asked(flags, &session);
        let (text, notes) = if flags.notes_only {
            (String::new(), look::notes(&session, &release, flags.dry_run)?)
        } else {
            let preview = look::preview(&session, &release)?;
            (announced(&session, &preview), preview.notes)
        };
        reporter.finish();
        let shown = if flags.dry_run { text + &compared(&notes) } else { text };
        print(&shown)?;
        say(&[], Some(&notes));
        if !flags.dry_run && matches!(notes.outcome, Outcome::NotDone { .. }) {
            print(&notes.body)?;
        }
        return Ok(Finished::Well);
    }
    let (session, reporter) = surroundings.build_session()?;
    let released = pipeline::release(&session, &asked(flags, &session))?;
    reporter.finish();
    let finished = conclude(surroundings, &session, &released.record, flags.json)?;
    told(&released, flags.json)?;
    Ok(finished)
}

/// Says which tags were put, and what became of the notes; notes that GitHub could not take go to standard output, unless that is JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn told(released: &Released, json: bool) -> Result<()> {
    if let Some(notes) = released.notes.as_ref().filter(|notes| matches!(notes.outcome, Outcome::NotDone { .. }) && !json) {
        print(&notes.body)?;
    }
    say(&put(released), released.notes.as_ref());
    Ok(())
}

fn asked(flags: &cli::Release, session: &Session) -> Release {
    Release {
        jobs: flags.jobs,
        missing: if flags.create { Missing::Create } else { Missing::Fail },
        move_tags: flags.move_tags,
        allow_stand_ins: flags.allow_stand_ins,
        cancel_earlier: !flags.no_cancel,
        keep_checkout: flags.keep_checkout,
        notes_file: flags.notes_file.as_ref().map(|file| session.env.cwd.join(file)),
        ..Release::new(flags.tag.clone())
    }
}

/// The commands that would run, and the tags that would be put.
fn announced(session: &Session, preview: &Preview) -> String {
    let mut text = format!("# release {} of commit {}\n", preview.tag.tag, preview.commit);
    text += &commands(session, &preview.engine.buildx(), &preview.plan);
    for service in &preview.plan.services {
        let name = &service.service.name;
        let Some(standing) = preview.publication.services.iter().find(|standing| standing.service == *name) else {
            let _ = writeln!(text, "# {name}: every tag, once it is built");
            continue;
        };
        let steps = standing.tags.iter().map(|tag| match &tag.step {
            Step::Create => format!("put {}", tag.tag),
            Step::Move => format!("move {}", tag.tag),
            Step::Keep => format!("keep {}", tag.tag),
            Step::HeldBy(newer) => format!("leave {} with {newer}", tag.tag),
        });
        let _ = writeln!(text, "# {name}: {}", steps.collect::<Vec<_>>().join(", "));
    }
    text.push('\n');
    text
}

/// The body as it would be, and what of it would change.
fn compared(notes: &Report) -> String {
    let end = if notes.body.ends_with('\n') { "" } else { "\n" };
    let diff = if notes.diff.is_empty() { "nothing changes\n" } else { &notes.diff };
    format!("# the notes\n{}{end}\n# what changes in them\n{diff}", notes.body)
}

/// The images and the tags that name them.
fn put(released: &Released) -> Vec<String> {
    let lines = released.published.iter().map(|published| {
        let tags = published.tags.iter().map(|tag| match &tag.step {
            Step::Create | Step::Move | Step::Keep => tag.tag.to_string(),
            Step::HeldBy(newer) => format!("{} stays with {newer}", tag.tag),
        });
        let tags: Vec<String> = tags.collect();
        format!("{}@{}: {}", published.repository, published.digest, tags.join(", "))
    });
    lines.collect()
}

/// Says these lines, and what became of the notes.
fn say(lines: &[String], notes: Option<&Report>) {
    let mut lines = lines.to_vec();
    if let Some(notes) = notes {
        let page = notes.url.as_deref().unwrap_or_default();
        lines.push(match &notes.outcome {
            Outcome::Unchanged => "notes: unchanged".to_owned(),
            Outcome::Shown => "notes: shown, not written".to_owned(),
            Outcome::Updated => format!("notes: updated {page}"),
            Outcome::Created => format!("notes: release created {page}"),
            Outcome::NotDone { why, file } => format!("notes: not on GitHub: {why}; they are in {}", file.display()),
        });
    }
    if !lines.is_empty() {
        // Nobody reads it where standard error is closed.
        let _ = std::io::stderr().lock().write_all((lines.join("\n") + "\n").as_bytes());
    }
}
