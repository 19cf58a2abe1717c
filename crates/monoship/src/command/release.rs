//! `cargo xtask release`: flags to a release, its pipeline, and what it came to.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::cli;
use crate::command::build::{broken_off, commands, conclude};
use crate::command::{Call, Finished, print};
use crate::context::Progress;
use crate::job::Job;
use crate::run::{self, Ran};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::execute::pool;
use monoship_core::secret::mask;
use monoship_plan::request::{Missing, ReleaseRequest};
use monoship_publish::Step;
use monoship_report::output;
use monoship_steps::Session;
use monoship_steps::publication;
use monoship_steps::update_release::{Outcome, Report};

/// Releases, or does the part of it that the flags ask for.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome.
pub fn run(flags: &cli::Release, call: &Call<'_>) -> Result<Finished> {
    if flags.notes_only {
        return notes_only(flags, call);
    }
    if flags.dry_run {
        let (session, reporter) = call.session()?;
        let job = job(asked(flags, &session), &session).without_effects();
        let ran = run::run(call.app, session, job)?;
        reporter.finish();
        let notes = ran.progress.notes.as_ref();
        print(&(announced(&ran) + &notes.map(compared).unwrap_or_default()))?;
        say(&[], notes);
        return Ok(Finished::Well);
    }
    let (session, reporter) = call.build_session()?;
    let job = job(asked(flags, &session), &session);
    let folder = session.run.clone();
    let ran = run::run(call.app, session, job).inspect_err(|_| broken_off(&folder, flags.json))?;
    reporter.finish();
    // A stage after the tags may be stopped: they stand all the same, and are told.
    let finished = conclude(call, &ran.session, ran.record(), "", flags.json);
    told(&ran.progress, flags.json)?;
    finished
}

/// The job of a release: every service, attested, on pinned bases, to the registry.
fn job(release: ReleaseRequest, session: &Session) -> Job {
    let request = release.build(&session.config, pool::builds_at_once());
    Job { release: Some(release), ..Job::build(request) }
}

/// The notes of a release whose images stand, and nothing else.
fn notes_only(flags: &cli::Release, call: &Call<'_>) -> Result<Finished> {
    let (session, reporter) = call.session()?;
    let notes = publication::notes_alone(&session, &asked(flags, &session), flags.dry_run)?;
    reporter.finish();
    if flags.dry_run {
        print(&compared(&notes))?;
    }
    say(&[], Some(&notes));
    if !flags.dry_run && matches!(notes.outcome, Outcome::NotDone { .. }) {
        print(&notes.body)?;
    }
    Ok(Finished::Well)
}

/// Says which tags were put, and what became of the notes; notes that GitHub could not take go to standard output, unless that is JSON.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn told(released: &Progress, json: bool) -> Result<()> {
    if let Some(notes) = released.notes.as_ref().filter(|notes| matches!(notes.outcome, Outcome::NotDone { .. }) && !json) {
        print(&notes.body)?;
    }
    say(&put(released), released.notes.as_ref());
    Ok(())
}

fn asked(flags: &cli::Release, session: &Session) -> ReleaseRequest {
    ReleaseRequest {
        jobs: flags.jobs,
        missing: if flags.create { Missing::Create } else { Missing::Fail },
        move_tags: flags.move_tags,
        local_tag: flags.local_tag,
        allow_stand_ins: flags.allow_stand_ins,
        rebuild: flags.rebuild,
        cancel_earlier: !flags.no_cancel,
        keep_checkout: flags.keep_checkout,
        notes_file: flags.notes_file.as_ref().map(|file| session.env.cwd.join(file)),
        ..ReleaseRequest::new(flags.tag.clone())
    }
}

/// The commands that would run, and the tags that would be put.
fn announced(ran: &Ran) -> String {
    let Some(planned) = &ran.progress.plan else { return String::new() };
    let tree = &planned.ready.tree;
    let tag = tree.version.as_ref().map(|version| version.release.tag.tag.to_string()).unwrap_or_default();
    let mut text = format!("# release {tag} of commit {}\n", tree.commit.as_deref().unwrap_or("unknown"));
    text += &commands(ran);
    let publication = ran.progress.publication.as_ref();
    for service in planned.here().into_iter().flat_map(|plan| &plan.services) {
        let name = &service.service.name;
        let standing = publication.and_then(|publication| publication.services.iter().find(|one| one.service == *name));
        let Some(standing) = standing else {
            let _ = writeln!(text, "# {name}: every tag, once it is built");
            continue;
        };
        let steps = standing.tags.iter().map(|tag| match &tag.step {
            Step::Create => format!("put {}", tag.tag),
            Step::Move => format!("move {}", tag.tag),
            Step::Keep => format!("keep {}", tag.tag),
            Step::HeldBy(newer) => format!("leave {} with {newer}", tag.tag),
            Step::Immutable => format!("leave {}", tag.tag),
        });
        let _ = writeln!(text, "# {name}: {}", steps.into_vec().join(", "));
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
fn put(released: &Progress) -> Vec<String> {
    let lines = released.published.iter().map(|published| {
        let tags = published.tags.iter().map(|tag| match &tag.step {
            Step::Create | Step::Move | Step::Keep => tag.tag.to_string(),
            Step::HeldBy(newer) => format!("{} stays with {newer}", tag.tag),
            Step::Immutable => format!("{} stays, since nobody may change it", tag.tag),
        });
        let tags: Vec<String> = tags.into_vec();
        format!("{}@{}: {}", published.repository, published.digest, tags.join(", "))
    });
    lines.into_vec()
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
        let _ = output::err().write_all(mask(&(lines.join("\n") + "\n")).as_bytes());
    }
}
