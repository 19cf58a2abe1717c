//! The parts of the work: all of it in one job, or each in a job of its own.

use std::sync::Arc;

use crate::command::build::conclude;
use crate::command::cache;
use crate::command::ci::page::Page;
use crate::command::ci::{Event, say};
use crate::command::release;
use crate::command::{Finished, print};
use crate::context::Progress;
use crate::job::{Job, Part};
use crate::run::{self, Ran};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_github::trigger::{Action, Trigger};
use monoship_plan::request::BuildRequest;
use monoship_report::record::history::PastRun;
use monoship_report::record::stats::{self, TierStats};
use monoship_report::record::{Outcome, RunRecord};
use monoship_report::{Reporter, commands, summary};
use monoship_steps::checkout::{self, At};
use monoship_steps::jobs::{self, PlanFile};
use monoship_steps::{history, publication};

impl Event<'_> {
    /// The pipeline's job for this part of the work.
    fn job(&self, part: Part) -> Job {
        let attempt = self.call.env.get("GITHUB_RUN_ATTEMPT").and_then(|attempt| attempt.parse().ok()).unwrap_or(1);
        let (request, commit, release) = (self.request.clone(), Some(self.commit.clone()), self.release.clone());
        let branch = match &self.understood.trigger {
            Trigger::Push { branch, .. } => Some(branch.clone()),
            _ => None,
        };
        Job { request, commit, release, branch, part, platform: self.flags.platform.clone(), attempt }
    }

    fn run(&self, job: Job) -> Result<Ran> {
        run::run(self.call.app, self.session.clone(), job)
    }

    /// The end of a part that built: annotations, the table, the page.
    fn built(&self, reporter: Reporter, page: &mut Page, record: &RunRecord) -> Result<Finished> {
        reporter.finish();
        page.run(record, &self.costs(record));
        if self.call.env.flag("GITHUB_ACTIONS") {
            let dockerfile = self.call.whereabouts().folder.join(&self.session.config.images.dockerfile);
            say(&commands::findings(&record.tasks, &dockerfile));
        }
        conclude(self.call, self.session, record, "", false)
    }

    /// What the cache tiers cost this run and saved it. A runner starts without a history of its own; the one in the registry, where CI
    /// keeps one, says how long the steps take that came from a cache.
    fn costs(&self, record: &RunRecord) -> Vec<TierStats> {
        if self.call.env.is_ci() && record.outcome != Outcome::Cancelled {
            // Without it the summary only does not say what was saved.
            let _ = history::pull(self.session);
        }
        let past = self.session.history().read().unwrap_or_default();
        stats::of_run(&PastRun::from(record), &past.runs)
    }

    /// The run's line in the history that everybody shares, where this job may write there: a runner keeps nothing.
    fn remembered<T>(&self, run: Result<T>) -> Result<T> {
        let shares = !self.session.shutdown.is_closing() && self.understood.pushes() && self.session.config.history.is_some();
        if shares && let Err(error) = history::push(self.session) {
            let hint = "the next run shares it, where this machine is kept".to_owned();
            self.session.events.notice(Level::Warning, None, format!("the history is not shared: {error}"), Some(hint));
        }
        run
    }

    /// The end of a part that published.
    fn published(&self, page: &mut Page, ran: &Ran) -> Result<()> {
        let Progress { published, notes, .. } = &ran.progress;
        page.published(published, &publication::sizes(published, &self.session.registry));
        if let (Some(release), Some(notes)) = (&self.release, notes) {
            page.release(&release.tag.tag, notes);
        }
        release::told(&ran.progress, self.flags.json)
    }
}

/// Everything, in one job.
pub(super) fn all(event: &Event<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    if event.understood.action == Action::Upkeep {
        return upkeep(event, reporter, page);
    }
    let ran = event.remembered(event.run(event.job(Part::Whole)))?;
    let finished = event.built(reporter, page, ran.record());
    event.published(page, &ran)?;
    finished
}

/// What must be built, for the jobs to come.
pub(super) fn plan(event: &Event<'_>, reporter: Reporter, page: &mut Page, by_platform: bool) -> Result<Finished> {
    let ran = event.run(event.job(Part::Plan))?;
    let tag = event.release.as_ref().map(|release| release.tag.tag.clone());
    let file = jobs::plan_file(ran.plan(), &event.commit, tag, by_platform, ran.progress.before_record.clone());
    page.outputs.result = Some(file.write(&jobs::folder(event.session))?);
    reporter.finish();
    let (matrix, platforms) =
        if by_platform { (jobs::matrix_by_platform(&file)?, Some(jobs::bases(&file))) } else { (file.matrix()?, None) };
    if !event.flags.json {
        print(&format!("{matrix}\n"))?;
    }
    page.planned(&file, matrix, platforms);
    Ok(Finished::Well)
}

/// The base, for its cache.
pub(super) fn base(event: &Event<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let ran = event.run(event.job(Part::Base))?;
    event.built(reporter, page, ran.record())
}

/// One service, without the base: its cache has that. Where the image stands by now (another attempt pushed it), nothing is built. The
/// result is written whatever happens, so that `publish` can say what is wrong.
pub(super) fn service(event: &Event<'_>, reporter: Reporter, page: &mut Page, name: &str) -> Result<Finished> {
    let folder = jobs::folder(event.session);
    let planned = Arc::new(planned(event)?);
    let beside =
        planned.services.iter().filter(|(_, planned)| planned.present.is_none()).map(|(name, _)| name.clone()).into_vec();
    let part = Part::Service(name.parse()?, Arc::clone(&planned));
    let mut job = event.job(part);
    job.request = BuildRequest { services: vec![name.to_owned()], since: None, beside, ..job.request };
    let attempt = job.attempt;
    let ran = event.run(job);
    let record = ran.as_ref().map(Ran::record);
    page.outputs.result =
        Some(jobs::service_file(&planned, name, event.flags.platform.as_ref(), attempt, record)?.write(&folder)?);
    event.built(reporter, page, ran?.record())
}

/// What the services' jobs left, published.
pub(super) fn publish(event: &Event<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let planned = planned(event)?;
    if !event.understood.pushes() {
        event.session.events.notice(Level::Info, None, "nothing is published: the event asks for no push", None);
    }
    let ran = event.remembered(event.run(event.job(Part::Publish(Arc::new(planned)))))?;
    reporter.finish();
    let record = ran.record();
    page.run(record, &event.costs(record));
    let paint = event.call.style().paint;
    // What a failed step said is in its own job's log.
    let shown = summary::table(&record.tasks, paint, None) + &summary::gates(&record.gates, paint);
    if !shown.is_empty() {
        say(&[shown.trim_end().to_owned()]);
    }
    event.published(page, &ran)?;
    if let Some(trouble) = jobs::trouble(record) {
        return Err(Error::failed(format!("nothing is published: {trouble}"))
            .hint("re-run the failed jobs of this workflow run; the finished ones need not run again"));
    }
    match (record.outcome, jobs::failed_stages(record)) {
        (Outcome::Succeeded, _) => Ok(Finished::Well),
        (Outcome::Cancelled, _) => Err(Error::cancelled()),
        (Outcome::Failed, Some(error)) => Err(error),
        (Outcome::Failed, None) => Ok(Finished::Badly),
    }
}

/// The plan that the first job left, which must be of this event.
fn planned(event: &Event<'_>) -> Result<PlanFile> {
    let folder = jobs::folder(event.session);
    let planned = PlanFile::read(&folder)?;
    let tag = event.release.as_ref().map(|release| &release.tag.tag);
    if planned.commit == event.commit && planned.tag.as_ref() == tag {
        return Ok(planned);
    }
    let name = |tag: Option<&monoship_core::name::Tag>| tag.map(|tag| format!("{tag} at ")).unwrap_or_default();
    Err(Error::failed(format!(
        "this plan is of {}{}, and the event asks for {}{}",
        name(planned.tag.as_ref()),
        planned.commit,
        name(tag),
        event.commit
    ))
    .at(folder.join(PlanFile::NAME), None)
    .hint("it was left by another run: `cargo xtask ci plan` makes it anew"))
}

/// Removes what nobody needs from the caches, as `cargo xtask cache prune` does, by the services of the commit: the job's own working
/// tree holds none.
fn upkeep(event: &Event<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    reporter.finish();
    checkout::within(event.session, &At::of_commit(&event.commit), |root| {
        let mut env = event.call.env.clone();
        root.clone_into(&mut env.cwd);
        let pruned = cache::upkeep(&event.call.with(&env), !event.flags.json)?;
        page.pruned(&pruned);
        Ok(pruned.finished())
    })
}
