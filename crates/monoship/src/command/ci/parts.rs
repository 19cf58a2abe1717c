//! The parts of the work: all of it in one job, or each in a job of its own.

use crate::command::build::conclude;
use crate::command::cache;
use crate::command::ci::page::Page;
use crate::command::ci::{Job, say};
use crate::command::release;
use crate::command::{Finished, print};
use crate::pipeline::jobs::{self as pipeline_jobs, Work};
use crate::pipeline::{self, Released};
use crate::stage::checkout::{self, At};
use crate::stage::jobs::{self, PlanFile};
use crate::stage::{history, publication};
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_github::trigger::Action;
use monoship_report::record::history::PastRun;
use monoship_report::record::stats::{self, TierStats};
use monoship_report::record::{Outcome, RunRecord};
use monoship_report::{Reporter, commands, summary};

impl Job<'_> {
    fn work(&self) -> Work<'_> {
        let attempt = self.surroundings.env.get("GITHUB_RUN_ATTEMPT").and_then(|attempt| attempt.parse().ok()).unwrap_or(1);
        Work { commit: &self.commit, release: self.release.as_ref(), request: &self.request, attempt }
    }

    /// The end of a part that built: annotations, the table, the page.
    fn built(&self, reporter: Reporter, page: &mut Page, record: &RunRecord) -> Result<Finished> {
        reporter.finish();
        page.run(record, &self.costs(record));
        if self.surroundings.env.flag("GITHUB_ACTIONS") {
            say(&commands::findings(&record.tasks, self.session.config.images.dockerfile.as_ref()));
        }
        conclude(self.surroundings, self.session, record, false)
    }

    /// What the cache tiers cost this run and saved it. A runner starts without a history of its own; the one in the registry, where CI
    /// keeps one, says how long the steps take that came from a cache.
    fn costs(&self, record: &RunRecord) -> Vec<TierStats> {
        if self.surroundings.env.is_ci() && record.outcome != Outcome::Cancelled {
            // Without it the summary only does not say what was saved.
            let _ = history::pull(self.session);
        }
        let past = self.session.history().read().unwrap_or_default();
        stats::of_run(&PastRun::from(record), &past.runs)
    }

    /// The run's line in the history that everybody shares, where this job may write there: a runner keeps nothing.
    fn remembered<T>(&self, run: Result<T>) -> Result<T> {
        let cancelled = run.as_ref().is_err_and(Error::is_cancelled);
        let shares = !cancelled && self.understood.pushes() && self.session.config.history.is_some();
        if shares && let Err(error) = history::push(self.session) {
            let hint = "the next run shares it, where this machine is kept".to_owned();
            self.session.events.notice(Level::Warning, None, format!("the history is not shared: {error}"), Some(hint));
        }
        run
    }

    /// The end of a part that published.
    fn published(&self, page: &mut Page, released: &Released) -> Result<()> {
        page.published(&released.published, &publication::sizes(&released.published, &self.session.registry));
        if let (Some(release), Some(notes)) = (&self.release, &released.notes) {
            page.release(&release.tag.tag, notes);
        }
        release::told(released, self.flags.json)
    }
}

/// Everything, in one job.
pub(super) fn all(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    if job.understood.action == Action::Upkeep {
        return upkeep(job, reporter, page);
    }
    let released = job.remembered(match &job.release {
        Some(release) => pipeline::release(job.session, release),
        None => pipeline::build_commit(job.session, &job.commit, &job.request),
    })?;
    let finished = job.built(reporter, page, &released.record)?;
    job.published(page, &released)?;
    Ok(finished)
}

/// What must be built, for the jobs to come.
pub(super) fn plan(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let file = pipeline_jobs::plan(job.session, &job.work())?;
    page.outputs.result = Some(file.write(&jobs::folder(job.session))?);
    reporter.finish();
    page.planned(&file);
    if !job.flags.json {
        print(&format!("{}\n", file.matrix()))?;
    }
    Ok(Finished::Well)
}

/// The base, for its cache.
pub(super) fn base(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let record = pipeline_jobs::base(job.session, &job.work())?;
    job.built(reporter, page, &record)
}

/// One service. Its result is written whatever happens, so that `publish` can say what is wrong.
pub(super) fn service(job: &Job<'_>, reporter: Reporter, page: &mut Page, name: &str) -> Result<Finished> {
    let folder = jobs::folder(job.session);
    let planned = planned(job)?;
    let work = job.work();
    let run = pipeline_jobs::service(job.session, &work, name, &planned);
    page.outputs.result = Some(jobs::service_file(&planned, name, work.attempt, run.as_ref())?.write(&folder)?);
    job.built(reporter, page, &run?)
}

/// What the services' jobs left, published.
pub(super) fn publish(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let planned = planned(job)?;
    if !job.understood.pushes() {
        job.session.events.notice(Level::Info, None, "nothing is published: the event asks for no push", None);
    }
    let released = job.remembered(pipeline_jobs::publish(job.session, &job.work(), &planned))?;
    reporter.finish();
    page.run(&released.record, &job.costs(&released.record));
    let paint = job.surroundings.look().paint;
    // What a failed step said is in its own job's log.
    let shown = summary::table(&released.record.tasks, paint) + &summary::gates(&released.record.gates, paint);
    if !shown.is_empty() {
        say(&[shown.trim_end().to_owned()]);
    }
    job.published(page, &released)?;
    match jobs::trouble(&released.record) {
        None => Ok(Finished::Well),
        Some(trouble) => Err(Error::failed(format!("nothing is published: {trouble}"))
            .hint("re-run the failed jobs of this workflow run; the finished ones need not run again")),
    }
}

/// The plan that the first job left, which must be of this event.
fn planned(job: &Job<'_>) -> Result<PlanFile> {
    let folder = jobs::folder(job.session);
    let planned = PlanFile::read(&folder)?;
    let tag = job.release.as_ref().map(|release| &release.tag.tag);
    if planned.commit == job.commit && planned.tag.as_ref() == tag {
        return Ok(planned);
    }
    let name = |tag: Option<&monoship_core::name::Tag>| tag.map(|tag| format!("{tag} at ")).unwrap_or_default();
    Err(Error::failed(format!(
        "this plan is of {}{}, and the event asks for {}{}",
        name(planned.tag.as_ref()),
        planned.commit,
        name(tag),
        job.commit
    ))
    .at(folder.join(PlanFile::NAME), None)
    .hint("it was left by another run: `cargo xtask ci plan` makes it anew"))
}

/// Removes what nobody needs from the caches, as `cargo xtask cache prune` does, by the services of the commit: the job's own working
/// tree holds none.
fn upkeep(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    reporter.finish();
    checkout::within(job.session, &At::of_commit(&job.commit), |root| {
        let mut env = job.surroundings.env.clone();
        root.clone_into(&mut env.cwd);
        let pruned = cache::upkeep(&job.surroundings.with(&env), !job.flags.json)?;
        page.pruned(&pruned);
        Ok(pruned.finished())
    })
}
