//! The team's own verbs: what they may be called, and what calls them.

use std::time::{Instant, SystemTime};

use clap::CommandFactory as _;

use super::{Call, Finished, build};
use crate::app::{App, Verb};
use crate::caught::caught;
use crate::cli::{Cli, Global};
use crate::context::Context;
use crate::job::Job;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Stage, Status, Task};
use monoship_core::execute::pool;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::StageName;
use monoship_core::secret;
use monoship_plan::request::BuildRequest;
use monoship_report::Progress;
use monoship_report::record::RunRecord;
use monoship_steps::Session;

/// Checks what the team's verbs are called, by a stage's grammar: their logs are called so too.
///
/// # Errors
/// A name that is none, or that another verb has.
pub(crate) fn check_names(app: &App) -> Result<()> {
    for (at, verb) in app.verbs.iter().enumerate() {
        let name = verb.name;
        let why = if name == "help" || Cli::command().find_subcommand(name).is_some() {
            "the library has one of this name"
        } else if app.verbs[..at].iter().any(|other| other.name == name) {
            "it is there twice"
        } else if name.parse::<StageName>().is_err() {
            "use lower-case letters, digits, and `.`, `_` or `-` between them"
        } else {
            continue;
        };
        return Err(Error::usage(format!("a verb cannot be called `{name}`: {why}")).hint("choose another name in `App::verb`"));
    }
    Ok(())
}

/// Calls a verb.
///
/// # Errors
/// The verb's; a build or a stage that failed in it.
pub(crate) fn run(verb: &Verb, args: &[String], call: &Call<'_>) -> Result<Finished> {
    let (session, reporter) = call.session()?;
    let events = session.events.clone();
    let (cx, task) = context(session, verb.name)?;
    events.during(&task, verb.title(), || {
        caught(&format!("`{}`", verb.name), || (verb.run)(&cx, args))?;
        check_record(cx.progress().record.as_ref())
    })?;
    reporter.finish();
    Ok(Finished::Well)
}

/// Calls `work` in the workspace around the working folder of `env`, as a verb is called; `variables` are what `env` has beside the process's own.
pub(crate) fn in_workspace<T>(
    app: &App,
    env: &Env,
    variables: &[(&str, &str)],
    work: impl FnOnce(&Context) -> Result<T>,
) -> Result<T> {
    secret::learn_environment(env);
    let (shutdown, begun, started) = (Shutdown::new(), SystemTime::now(), Instant::now());
    let global = Global { config: None, workspace: None, engine: None, progress: Progress::Quiet };
    let (session, reporter) =
        Call { app, global: &global, env, shutdown: &shutdown, begun, started, is_elsewhere: false }.session()?;
    let (cx, _) = context(session, "test")?;
    let done = work(&cx.with_variables(variables));
    reporter.finish();
    done
}

/// What a verb works with, and the task whose log has this name.
fn context(session: Session, name: &str) -> Result<(Context, Task)> {
    let request = BuildRequest::new(name, build::into_engine(), &session.config, pool::builds_at_once());
    let task = Task::Stage(Stage { stage: name.parse()?, service: None });
    Ok((Context::new(session, Job::build(request)).for_task(task.clone()), task))
}

/// Refuses to call a verb well whose pipeline has failures in its record: a build or a stage for each image that fails is no error there, so
/// that the others are built and tried.
fn check_record(record: Option<&RunRecord>) -> Result<()> {
    let tasks = record.into_iter().flat_map(|record| &record.tasks);
    let failed: Vec<String> = tasks.filter(|task| task.status == Status::Failed).map(|task| task.task.to_string()).into_vec();
    if failed.is_empty() { Ok(()) } else { Err(Error::failed(format!("{} failed", failed.join(", ")))) }
}
