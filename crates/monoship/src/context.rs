//! What a pipeline and a team's own stages have at hand: the run they are part of, and the means to do something in it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Level, Task};
use monoship_core::name::StageName;
use monoship_core::sorted::SortedSet;
use monoship_docker::engine::Engine;
use monoship_report::record::{RunRecord, TaskRecord};
use monoship_workspace::git::Head;

use crate::command_line::Command;
use crate::job::Job;
use crate::stages::Planned;
use monoship_publish::{self as publish, Published};
use monoship_steps::{Session, update_release};

/// One run of the pipeline. Cloning is cheap, and every clone is the same run; a stage that works on one image is handed a clone whose
/// output goes to that stage's log.
///
/// ```no_run
/// use monoship::{Context, Result};
///
/// fn pipeline(cx: &Context) -> Result<()> {
///     cx.say("building on this machine");
///     cx.command("git").args(["--version"]).run()
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    run: Arc<Run>,
    task: Option<Task>,
    /// A test's, which commands are given beside the process's own.
    variables: Arc<[(String, String)]>,
}

struct Run {
    session: Session,
    job: Job,
    progress: Mutex<Progress>,
}

/// What a run has come to so far, for whoever tells of it at the end.
#[derive(Default)]
pub(crate) struct Progress {
    /// The run by the configuration of what is built.
    pub session: Option<Session>,
    /// The record, from the plan on.
    pub record: Option<RunRecord>,
    /// The commit and branch of the working tree, as the run began.
    pub head: Option<Result<Head>>,
    /// The plan.
    pub plan: Option<Arc<Planned>>,
    /// The engine, where there is one.
    pub engine: Option<Engine>,
    /// What the jobs of a matrix came to with a team's own stages.
    pub tried: Vec<TaskRecord>,
    /// What the team's stages before the plan came to: the record, which is made with the plan, takes it over at the end.
    pub before_record: Vec<TaskRecord>,
    /// The team's stages so far, by name.
    pub stages: SortedSet<StageName>,
    /// True once the pipeline has called the stage that publishes.
    pub came_to_publish: bool,
    /// What was published.
    pub published: Vec<Published>,
    /// What would be published, where the run only looks.
    pub publication: Option<publish::Plan>,
    /// What became of the notes.
    pub notes: Option<update_release::Report>,
    /// What stages of the team's own would do, where the run only looks, a line each.
    pub would: Vec<String>,
    /// True from the moment that what went wrong has its place in the record.
    pub told: bool,
}

impl Context {
    pub(crate) fn new(session: Session, job: Job) -> Self {
        Self { run: Arc::new(Run { session, job, progress: Mutex::default() }), task: None, variables: Arc::default() }
    }

    /// The same with variables for its commands.
    pub(crate) fn with_variables(self, variables: &[(&str, &str)]) -> Self {
        Self { variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), ..self }
    }

    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    pub(crate) fn for_task(&self, task: Task) -> Self {
        Self { task: Some(task), ..self.clone() }
    }

    pub(crate) fn job(&self) -> &Job {
        &self.run.job
    }

    /// The run as the command began it.
    pub(crate) fn session(&self) -> &Session {
        &self.run.session
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        // A stage that panicked leaves what was there before.
        self.run.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The release that this run makes, `v1.2.3`; none for a build.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// if let Some(version) = cx.release() {
    ///     cx.say(format!("{version} goes to production"));
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.run.job.release.as_ref().map(|release| release.tag.tag.as_str())
    }

    /// True where this run puts tags: a release, a branch's push in CI, `build --push`. What must happen to images that others get, and not to those
    /// on a laptop, is asked for by it: `if cx.publishes() { images = cx.each("sign", images, sign)?; }`.
    ///
    /// ```no_run
    /// # use monoship::{Context, Image, Images, Result};
    /// # fn sign(cx: &Context, image: &Image) -> Result<()> { Ok(()) }
    /// fn signed(cx: &Context, images: Images) -> Result<Images> {
    ///     if cx.publishes() { cx.each("sign", images, sign) } else { Ok(images) }
    /// }
    /// ```
    #[must_use]
    pub fn publishes(&self) -> bool {
        self.run.job.publishes()
    }

    /// True where nothing is done: `plan`, `--dry-run`. The library's stages and those called by [`Context::each`] and
    /// [`Context::stage`] go by it themselves.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// if !cx.only_looks() {
    ///     cx.command("touch").arg("built").run()?;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn only_looks(&self) -> bool {
        self.run.job.only_looks()
    }

    /// A variable of the environment; none where it is not set or empty.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// let region = cx.env("AWS_REGION").unwrap_or("eu-central-1");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.run.session.env.get(name)
    }

    /// The repository's root, where commands are run.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// let chart = cx.root().join("chart");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        &self.run.session.home
    }

    /// Says something to the person who watches. It has its line in the display and its place in the log.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.say("waiting for the database");
    /// # Ok(()) }
    /// ```
    pub fn say(&self, text: impl Into<String>) {
        self.run.session.events.notice(Level::Info, self.task.clone(), text, None);
    }

    /// Says that something is not as it should be. The run goes on.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.warn("the chart has no limits", "set them in chart/values.yaml");
    /// # Ok(()) }
    /// ```
    pub fn warn(&self, text: impl Into<String>, hint: impl Into<String>) {
        self.run.session.events.notice(Level::Warning, self.task.clone(), text, Some(hint.into()));
    }

    /// Waits, unless the run is stopped meanwhile.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.pause(std::time::Duration::from_secs(1))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the run is stopped.
    pub fn pause(&self, time: std::time::Duration) -> Result<()> {
        let until = std::time::Instant::now() + time;
        loop {
            self.run.session.shutdown.check()?;
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(std::time::Duration::from_millis(50)));
        }
    }

    /// Writes lines to the stage's log, and shows them as its progress.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.log("a line in this stage's log alone");
    /// # Ok(()) }
    /// ```
    pub fn log(&self, text: &str) {
        let Some(task) = &self.task else { return };
        for line in text.lines() {
            self.run.session.events.emit(Event::Log { task: task.clone(), line: line.to_owned() });
        }
    }

    /// A command to be run in the repository's root, as part of this run: its output goes to the log, and it ends with the run.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("kubectl").args(["rollout", "status", "deployment/api"]).run()
    /// # }
    /// ```
    pub fn command(&self, program: &str) -> Command<'_> {
        Command::new(self, monoship_core::execute::process::Invocation::new(program).dir(&self.run.session.home))
    }

    /// The `docker` client on the engine that this run builds on.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// let running = cx.docker()?.args(["ps", "--quiet"]).read()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Where there is no engine here: in a job that builds nothing, and in a look at a machine without one.
    pub fn docker(&self) -> Result<Command<'_>> {
        let call = self.progress().engine.as_ref().map(Engine::docker);
        let none =
            || Error::failed("there is no engine here to run containers on").hint("run it where Docker is, or build first");
        let call = call.map_or_else(|| self.find_engine().map(|engine| engine.docker()), Ok);
        call.map(|call| Command::new(self, call)).map_err(|error| none().source(error))
    }

    /// The engine, found now: the job that publishes builds nothing, and so has not looked for one.
    fn find_engine(&self) -> Result<Engine> {
        let engine = self.run.session.find_engine()?;
        self.progress().engine = Some(engine.clone());
        Ok(engine)
    }

    /// Notes what a stage would do, for a run that only looks.
    pub(crate) fn would(&self, stage: &str, what: &str) {
        let mut line = format!("# {stage}");
        if !what.is_empty() {
            let _ = write!(line, ": {what}");
        }
        self.progress().would.push(line);
    }
}
