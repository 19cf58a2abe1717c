//! The last stage: the images' section in the release's body, and nothing else of it. Returns what to show; prints nothing.

use std::path::{Path, PathBuf};

use monoship_core::error::{Error, Result, write_atomically};
use monoship_core::event::{Events, Level, Task};
use monoship_core::name::Tag;
use monoship_github::api::Api;
use monoship_github::notes::{self, Form, ReleaseNotes};
use monoship_github::releases::{Change, Release};
use monoship_plan::request::Missing;

/// How often a body that someone else keeps changing is merged into anew.
const ROUNDS: usize = 5;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct NotesRequest<'a> {
    /// The notes; their tag is the release's.
    pub notes: &'a ReleaseNotes,
    /// What to do where there is no release.
    pub missing: Missing,
    /// Mark a release that is made here as a pre-release.
    pub prerelease: bool,
    /// Write nothing anywhere; only say what would be written.
    pub dry_run: bool,
    /// Where the section is written too, whatever else happens.
    pub file: Option<&'a Path>,
    /// Where it is written when GitHub cannot take it.
    pub fallback: &'a Path,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The body already said it: nothing was written.
    Unchanged,
    /// The section was written.
    Updated,
    /// The release was made.
    Created,
    /// A dry run: nothing was written.
    Shown,
    /// GitHub could not be told; the notes are in the file.
    NotDone {
        /// A fragment that says what stood in the way.
        why: String,
        /// Where the notes are.
        file: PathBuf,
    },
}

/// The stage's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What came of it.
    pub outcome: Outcome,
    /// The whole body as it is, or would be, on GitHub; the section alone where no body is known.
    pub body: String,
    /// What changes in the body, as [`notes::diff`] shows it; empty where nothing does.
    pub diff: String,
    /// The release's page, where there is one.
    pub url: Option<String>,
    /// True for a release that is not published yet.
    pub draft: bool,
}

/// Writes the section into the release of the notes' tag. `api` is a fragment that says why GitHub cannot be called, where it cannot:
/// then the section goes to the fallback file, and the outcome says what was not done.
///
/// # Errors
/// A missing release with [`Missing::Fail`], a body without room, a token that may not write, a body that never stays as written, or
/// no answer; a file that cannot be written.
pub fn update_release(api: Result<&Api, &str>, request: &NotesRequest<'_>, events: &Events) -> Result<Report> {
    let section = request.notes.section(Form::Full) + "\n";
    if let Some(file) = request.file.filter(|_| !request.dry_run) {
        write_atomically(file, section.as_bytes())?;
    }
    match api {
        Ok(api) => Update { api, request, events, warned: Vec::new() }.run(),
        Err(why) => {
            if request.dry_run {
                let message = format!("GitHub was not asked for the current notes: {why}");
                events.notice(Level::Info, Some(Task::Notes), message, None);
            }
            not_done(request, None, section, why)
        }
    }
}

fn not_done(request: &NotesRequest<'_>, release: Option<&Release>, body: String, why: &str) -> Result<Report> {
    let old = release.and_then(|release| release.body.as_deref()).unwrap_or_default();
    let outcome = if request.dry_run {
        Outcome::Shown
    } else {
        let section = request.notes.section(Form::Full) + "\n";
        write_atomically(request.fallback, section.as_bytes())?;
        Outcome::NotDone { why: why.to_owned(), file: request.fallback.to_owned() }
    };
    Ok(Report {
        outcome,
        diff: notes::diff(old, &body),
        body,
        url: release.and_then(page),
        draft: release.is_some_and(|r| r.draft),
    })
}

fn page(release: &Release) -> Option<String> {
    Some(release.html_url.clone()).filter(|url| !url.is_empty())
}

struct Update<'a> {
    api: &'a Api,
    request: &'a NotesRequest<'a>,
    events: &'a Events,
    warned: Vec<String>,
}

impl Update<'_> {
    fn tag(&self) -> &Tag {
        &self.request.notes.tag
    }

    /// GitHub has no conditional write, so the only defence against a lost race is to keep the time between reading and writing
    /// short, to read again, and to start over from what the other one left. The read that ends the loop is that proof.
    fn run(mut self) -> Result<Report> {
        let mut outcome = Outcome::Unchanged;
        let mut first = None;
        for _ in 0..ROUNDS {
            let Some(release) = self.api.release_of(self.tag())? else {
                if self.request.dry_run {
                    let body = notes::merge("", self.request.notes)?.body;
                    return not_done(self.request, None, body, "");
                }
                if self.request.missing == Missing::ToFile {
                    let body = self.request.notes.section(Form::Full) + "\n";
                    return not_done(self.request, None, body, "there is no release of this tag");
                }
                if self.create()? {
                    outcome = Outcome::Created;
                }
                continue;
            };
            let old = release.body.clone().unwrap_or_default();
            let merged = notes::merge(&old, self.request.notes)?;
            self.warn(&merged.warnings);
            let before = first.get_or_insert_with(|| old.clone());
            if merged.body == old {
                let diff = notes::diff(before, &old);
                return Ok(Report { outcome, diff, body: old, url: page(&release), draft: release.draft });
            }
            if self.request.dry_run {
                return not_done(self.request, Some(&release), merged.body, "");
            }
            if release.immutable {
                return not_done(self.request, Some(&release), merged.body, "the release is immutable");
            }
            match self.api.write_body(release.id, &merged.body)? {
                Change::Done(_) if outcome == Outcome::Unchanged => outcome = Outcome::Updated,
                Change::Done(_) => {}
                Change::Gone => self.warn(&["the release was deleted while its notes were written".to_owned()]),
                Change::Refused(said) if said.contains("immutable") => {
                    return not_done(self.request, Some(&release), merged.body, &format!("GitHub refuses it: {said}"));
                }
                Change::Refused(said) => {
                    return Err(Error::failed(format!("GitHub refuses the notes of {}: {said}", self.tag()))
                        .hint("the images are published; run the release again for the notes: nothing else is done twice"));
                }
            }
        }
        Err(Error::failed(format!("the notes of {} were changed by someone else after each of {ROUNDS} writes", self.tag()))
            .hint("stop the other writer, then run `cargo xtask release <tag>`"))
    }

    /// Makes the missing release. False where someone else, or our own first try, was faster: the next round finds it.
    fn create(&self) -> Result<bool> {
        let tag = self.tag();
        if self.request.missing != Missing::Create {
            return Err(Error::failed(format!("{} has no release {tag}", self.api.repository()))
                .hint("publish one on GitHub, or let this run make it with --create; the images are published either way"));
        }
        let body = notes::merge("", self.request.notes)?.body;
        match self.api.create_release(tag, &body, self.request.prerelease)? {
            Change::Done(_) => Ok(true),
            Change::Refused(said) if said.contains("already_exists") || said.contains("already exists") => Ok(false),
            Change::Refused(said) => {
                let hint = if said.contains("immutable") {
                    "the tag of an immutable release is nobody's any more, also once that is deleted: release another version"
                } else {
                    "is the tag pushed? `git push origin <tag>`"
                };
                Err(Error::failed(format!("GitHub refuses a release {tag}: {said}")).hint(hint))
            }
            Change::Gone => Err(Error::failed(format!("GitHub does not know {}", self.api.repository()))),
        }
    }

    /// Each warning once, however many rounds it takes.
    fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            if !self.warned.contains(warning) {
                self.events.notice(Level::Warning, Some(Task::Notes), warning.clone(), None);
                self.warned.push(warning.clone());
            }
        }
    }
}
