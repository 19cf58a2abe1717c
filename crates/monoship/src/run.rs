//! One run of a pipeline, from the first stage to the record, the history and who is told.

use monoship_core::error::{Error, Kind, Result};
use monoship_core::event::{Level, Status};
use monoship_plan::Plan;
use monoship_report::record::RunRecord;

use crate::app::App;
use crate::context::{Context, Progress};
use crate::job::{Job, Part};
use crate::notifier;
use monoship_steps::notify::RunSummary;
use monoship_steps::publication;
use monoship_steps::{Session, outcome};

/// What a run came to.
pub(crate) struct Ran {
    /// The run by the configuration of what was built.
    pub session: Session,
    /// What there is to tell; the record is complete.
    pub progress: Progress,
}

impl Ran {
    /// The plan, in every run but that of the job that goes by another one's.
    pub fn plan(&self) -> &Plan {
        self.progress.plan.as_ref().and_then(|planned| planned.here()).expect("a pipeline without a plan was refused")
    }

    /// The record of a run that builds.
    pub fn record(&self) -> &RunRecord {
        self.progress.record.as_ref().expect("a pipeline that builds nothing was refused")
    }
}

/// Runs the pipeline as far as the job goes. A failed build, gate or stage is an outcome, in the record; it is written down and told in the
/// same way as a success.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome.
pub(crate) fn run(app: &App, session: Session, job: Job) -> Result<Ran> {
    let cx = Context::new(session, job);
    let done = app.pipeline(&cx).and_then(|()| check(&cx));
    let progress = std::mem::take(&mut *cx.progress());
    let session = progress.session.clone().unwrap_or_else(|| cx.session().clone());
    let ran = finish(session, cx.job(), progress, done);
    match &cx.job().part {
        Part::Whole | Part::Publish(_) => tell(app, &cx, &ran),
        // No other job is run where this one fails: it is told here or nowhere.
        Part::Plan => notifier::after(&cx, &app.notifiers, &ran, |_| RunSummary::default()),
        Part::Look | Part::Base | Part::Service(..) => {}
    }
    ran
}

/// Refuses a pipeline that left out a stage which the job is about: it would end well with nothing built, or nothing published.
fn check(cx: &Context) -> Result<()> {
    let progress = cx.progress();
    let stage = match &progress.plan {
        None => Some("plan"),
        Some(_) => left_out(cx.job(), progress.record.as_ref(), progress.came_to_publish),
    };
    stage.map_or(Ok(()), |stage| {
        Err(Error::failed(format!("this pipeline does not call `stages::{stage}`")).hint("call it in `xtask/src/main.rs`"))
    })
}

/// The stage that a pipeline with a plan has left out.
fn left_out(job: &Job, record: Option<&RunRecord>, came_to_publish: bool) -> Option<&'static str> {
    let is_not_built = |record: &RunRecord| {
        let any = |status: Status| record.tasks.iter().any(|task| task.status == status);
        any(Status::NotRun) && !any(Status::Failed) && !any(Status::Cancelled)
    };
    let publishes = job.ends_run() && job.publishes();
    if (job.builds_services() || job.ends_run()) && record.is_none_or(is_not_built) {
        Some("build_services")
    } else if publishes && !came_to_publish && record.is_some_and(publication::all_stand) {
        Some("publish")
    } else {
        None
    }
}

fn tell(app: &App, cx: &Context, ran: &Result<Ran>) {
    notifier::after(cx, &app.notifiers, ran, |ran| {
        let release = cx.release().map(|tag| (tag, ran.progress.published.as_slice()));
        RunSummary { record: ran.progress.record.as_ref(), released: release }
    });
}

/// Completes the record. What went wrong and stands in it is the run's outcome; what does not is its error too.
fn finish(session: Session, job: &Job, mut progress: Progress, done: Result<()>) -> Result<Ran> {
    // What has been told has its place in the record, which says itself whether that is a failure or a stop.
    let untold = done.as_ref().err().filter(|error| !progress.told && !error.is_cancelled());
    if done.is_err() && (job.builds_base() || job.builds_services() || job.ends_run()) {
        progress.record.get_or_insert_with(|| outcome::empty(&session, &job.request));
    }
    if let Some(mut record) = progress.record.take() {
        record.error = untold.map(Error::to_string);
        record.hint = untold.and_then(Error::hint_text).map(str::to_owned);
        record.tasks.append(&mut progress.before_record);
        if let Some(head) = progress.head.take() {
            (record.commit, record.reference) = outcome::name(&session, head);
        } else if record.reference.is_none() {
            record.reference = session.env.get("GITHUB_REF_NAME").map(str::to_owned);
        }
        if let Some(release) = job.release.as_ref().filter(|_| !progress.published.is_empty()) {
            outcome::of_release(&session, &mut record, release.tag.tag.as_ref(), &progress.published);
        }
        let record = outcome::complete(&session, record, untold.is_some());
        if let Err(error) = session.run.write(&record) {
            if done.is_ok() {
                return Err(error);
            }
            // A full disk must not hide what failed, nor what became of the tags.
            session.events.notice(Level::Warning, None, format!("the run's record is not written: {error}"), None);
        }
        // What a command line or a file has wrong says nothing of builds.
        if job.ends_run() && (progress.plan.is_some() || done.as_ref().err().is_none_or(|error| error.kind() != Kind::Usage)) {
            outcome::remember(&session, &record);
        }
        progress.record = Some(record);
    }
    match done {
        Err(error) if !progress.told => Err(error),
        _ => Ok(Ran { session, progress }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::event::Task;
    use monoship_plan::request::{BuildRequest, Destination};
    use monoship_report::record::TaskRecord;

    #[test]
    fn a_stage_that_was_left_out_is_named_where_the_run_would_end_well_without_its_work() {
        let config =
            monoship_plan::config::of_text("/xtask.toml".as_ref(), None, &monoship_core::env::Env::new("/", []), &|| Ok(None));
        let (config, tags) = (config.unwrap(), vec!["main".parse().unwrap()]);
        let job = |destination| Job::build(BuildRequest::new("build", destination, &config, std::num::NonZeroUsize::MIN));
        let (push, load) = (job(Destination::Registry(tags.clone())), job(Destination::Engine(tags)));
        let record = |status| {
            let id = "20260101T000000000-abcd".parse().unwrap();
            let mut record = RunRecord::new(id, std::time::SystemTime::UNIX_EPOCH, "build");
            record.tasks.push(TaskRecord::new(Task::Service("api".parse().unwrap()), status));
            record
        };
        let named = |job: &Job, status, came_to_publish| left_out(job, Some(&record(status)), came_to_publish);
        assert_eq!(named(&push, Status::NotRun, false), Some("build_services"));
        assert_eq!(named(&push, Status::Built, false), Some("publish"));
        assert_eq!(named(&push, Status::Failed, false), None, "the failure is the outcome");
        assert_eq!((named(&push, Status::Built, true), named(&load, Status::Built, false)), (None, None));
        assert_eq!(left_out(&load, None, false), Some("build_services"));
    }
}
