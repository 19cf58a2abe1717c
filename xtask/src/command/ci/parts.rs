//! The parts of the work: all of it in one job, or each in a job of its own.

use crate::command::build::conclude;
use crate::command::cache;
use crate::command::ci::page::Page;
use crate::command::ci::{Job, say};
use crate::command::release;
use crate::command::{Finished, print};
use crate::error::{Error, Result};
use crate::event::Level;
use crate::github::results;
use crate::github::trigger::Action;
use crate::pipeline::jobs::{self as pipeline_jobs, Work};
use crate::pipeline::{self, Released};
use crate::record::history::PastRun;
use crate::record::stats::{self, TierStats};
use crate::record::{Outcome, RunRecord};
use crate::report::{Reporter, commands};
use crate::stage::checkout::{self, At};
use crate::stage::history;
use crate::stage::jobs::{self, PlanFile};
use crate::stage::publication;

impl Job<'_> {
    fn work(&self) -> Work<'_> {
        Work { commit: &self.commit, release: self.release.as_ref(), request: &self.request }
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
    let released = if let Some(release) = &job.release {
        pipeline::release(job.session, release)?
    } else {
        let built = pipeline::build_commit(job.session, &job.commit, &job.request)?;
        Released { record: built.record, published: built.published, notes: None }
    };
    let finished = job.built(reporter, page, &released.record)?;
    job.published(page, &released)?;
    Ok(finished)
}

/// What must be built, for the jobs to come.
pub(super) fn plan(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let file = pipeline_jobs::plan(job.session, &job.work())?;
    file.write(&jobs::folder(job.session))?;
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
    let attempt = job.surroundings.env.get("GITHUB_RUN_ATTEMPT").and_then(|attempt| attempt.parse().ok()).unwrap_or(1);
    let run = pipeline_jobs::service(job.session, &job.work(), name, &planned);
    jobs::service_file(&planned, name, attempt, run.as_ref())?.write(&folder)?;
    job.built(reporter, page, &run?)
}

/// What the services' jobs left, published.
pub(super) fn publish(job: &Job<'_>, reporter: Reporter, page: &mut Page) -> Result<Finished> {
    let planned = planned(job)?;
    let collected = results::collect(&planned, &jobs::folder(job.session));
    page.collected(&planned, collected.as_ref().ok());
    let collected = collected?;
    if !job.understood.pushes() {
        job.session.events.notice(Level::Info, None, "nothing is published: the event asks for no push", None);
        reporter.finish();
        return Ok(Finished::Well);
    }
    let released = pipeline_jobs::publish(job.session, &job.work(), &planned, &collected)?;
    reporter.finish();
    job.published(page, &released)?;
    Ok(Finished::Well)
}

/// The plan that the first job left, which must be of this event.
fn planned(job: &Job<'_>) -> Result<PlanFile> {
    let folder = jobs::folder(job.session);
    let planned = PlanFile::read(&folder)?;
    let tag = job.release.as_ref().map(|release| &release.tag.tag);
    if planned.commit == job.commit && planned.tag.as_ref() == tag {
        return Ok(planned);
    }
    let name = |tag: Option<&crate::name::Tag>| tag.map(|tag| format!("{tag} at ")).unwrap_or_default();
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
