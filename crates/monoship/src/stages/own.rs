//! Stages of a team's own: for each image, or for the run. They have a line in the display, a log, an entry in the record and the summary, and a
//! place in a look and in the jobs of a matrix.

use std::time::{Instant, SystemTime};

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Level, Stage, Status, Task};
use monoship_core::execute::pool;
use monoship_core::name::StageName;
use monoship_core::time::millis;
use monoship_docker::spec::{BuildSpec, Output};
use monoship_plan::request::Destination;
use monoship_report::record::{Passed, TaskRecord};

use crate::caught::caught;
use crate::context::Context;
use crate::job::Part;
use monoship_steps::{build, planning};

use super::build::alone;
use super::plan::Planned;
use super::{Base, Image, Images, Plan, Published, Ready, Tree};

impl Context {
    /// Runs `work` for each image that stands, several at once: a smoke test, a scan, a size check. An image that it refuses is published
    /// under no tag, nor is any other of the run, and the run fails.
    ///
    /// What passed is remembered by the image's digest: an unchanged image is not tried again, and one that failed is tried again by
    /// the next run. `--force` tries all again, as a stage's new name does, where what it looks at has changed.
    ///
    /// In a matrix each image is tried by its service's job. In a check build, which keeps no image, it is loaded into the engine first, once
    /// for all stages.
    ///
    /// ```no_run
    /// use monoship::{Context, Image, Images, Result};
    ///
    /// fn smoke(cx: &Context, image: &Image) -> Result<()> {
    ///     cx.start(image, &[])?.exec(&["node", "--version"]).map(drop)
    /// }
    ///
    /// fn tested(cx: &Context, images: Images) -> Result<Images> {
    ///     cx.each("smoke", images, smoke)
    /// }
    /// ```
    ///
    /// # Errors
    /// A name that is no stage's; a run that is stopped. That an image is refused is no error here: the others are tried too.
    pub fn each(&self, name: &str, images: Images, work: impl Fn(&Context, &Image) -> Result<()> + Sync) -> Result<Images> {
        let stage = claim(self, name)?;
        let job = self.job();
        if job.only_looks() {
            let names: Vec<&str> = images.images.iter().map(Image::service).into_vec();
            self.would(name, &names.join(", "));
            return Ok(images);
        }
        if !job.has_images() {
            return Ok(images);
        }
        let Images { images, plan } = images;
        let tried = pool::each(job.request.jobs.get(), &images, |image| {
            let task = Task::Stage(Stage { stage: stage.clone(), service: Some(image.service.clone()) });
            let by_its_job = self.progress().tried.iter().find(|tried| tried.task == task).cloned();
            if let Some(tried) = by_its_job {
                return (image.clone(), Some(tried));
            }
            let belongs = image.stands() && alone(&job.part).is_none_or(|name| *name == image.service);
            if belongs { try_one(self, plan.as_deref(), &stage, task, image, &work) } else { (image.clone(), None) }
        })?;
        let entered = tried.into_iter().map(|(mut image, tried)| {
            if let Some(tried) = tried {
                if is_in_doubt(&tried) {
                    image.status = tried.status;
                }
                enter(self, tried);
            }
            image
        });
        let images = Images { images: entered.into_vec(), plan };
        let Err(stopped) = self.session().shutdown.check() else { return Ok(images) };
        told(self);
        Err(stopped)
    }

    /// Runs `work` once, as a stage of the run: a deployment, an announcement, a check of the plan. What it takes decides whether and where:
    /// it is done by the job that made the input, and not at all where the input is empty, as [`Published`] is in a run that
    /// publishes nothing. The context that `work` is given writes to the stage's log.
    ///
    /// ```no_run
    /// use monoship::{Context, Published, Result};
    ///
    /// fn deploy(cx: &Context, published: &Published) -> Result<()> {
    ///     for image in published.images() {
    ///         cx.command("kubectl").args(["set", "image", "deployment", &image.reference()]).run()?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// fn deployed(cx: &Context, published: &Published) -> Result<()> {
    ///     cx.stage("deploy", published, deploy)
    /// }
    /// ```
    ///
    /// # Errors
    /// The work's, after the stage's name; the record has it too. A name that is no stage's.
    pub fn stage<I: Input>(&self, name: &str, input: &I, work: impl FnOnce(&Context, &I) -> Result<()>) -> Result<()> {
        let stage = claim(self, name)?;
        if self.job().only_looks() {
            self.would(name, input.when());
            return Ok(());
        }
        let job = self.job();
        let owns = match input.owner() {
            Owner::Plan => job.owns_plan(),
            Owner::Base => job.builds_base(),
            Owner::End => job.ends_run(),
        };
        if !owns || input.is_empty() {
            return Ok(());
        }
        if let Some(why) = input.out_of_reach(self) {
            self.session().events.notice(Level::Info, None, format!("{name} is not run: {why}"), None);
            return Ok(());
        }
        let task = Task::Stage(Stage { stage, service: None });
        let log = self.session().run.log_path(&task);
        let (tried, done) = during(self, task, "a stage of this pipeline", |cx| {
            let loaded = input.loaded(cx)?;
            work(cx, loaded.as_ref().unwrap_or(input))
        });
        enter(self, tried);
        let Err(error) = done else { return Ok(()) };
        told(self);
        if error.is_cancelled() {
            return Err(error);
        }
        let hint = error.hint_text().map_or_else(|| format!("its whole log: {}", log.display()), str::to_owned);
        Err(Error::failed(format!("{name} failed")).source(error).hint(hint))
    }
}

/// Says that what went wrong has its place in the record; before the plan there is none.
fn told(cx: &Context) {
    let mut progress = cx.progress();
    progress.told |= progress.record.is_some();
}

/// Takes a name for one stage of this run: its log, its place in the table and what it passed are kept under it.
fn claim(cx: &Context, name: &str) -> Result<StageName> {
    let stage: StageName = name.parse()?;
    let mut progress = cx.progress();
    if let Some(plan) = &progress.plan {
        plan.check_names([&stage])?;
    }
    if progress.stages.insert(stage.clone()) {
        return Ok(stage);
    }
    Err(Error::usage(format!("two stages of this pipeline are called `{stage}`")).hint("give each a name of its own"))
}

/// Does a stage's work between its two events, with a context whose output goes to its log.
fn during(cx: &Context, task: Task, title: &str, work: impl FnOnce(&Context) -> Result<()>) -> (TaskRecord, Result<()>) {
    let (events, started, begun) = (&cx.session().events, Instant::now(), SystemTime::now());
    events.emit(Event::Started { task: task.clone(), title: title.to_owned() });
    // A panic is this stage's failure: the other images are tried. Nothing is begun in a run that is being stopped.
    let done = cx.session().shutdown.check().and_then(|()| caught("it", || work(&cx.for_task(task.clone()))));
    // What fails because the run is stopped has not failed, whatever the work made of it.
    let done = done.map_err(|error| if cx.session().shutdown.is_closing() { Error::cancelled() } else { error });
    let (status, why, hint) = match &done {
        Ok(()) => (Status::Done, String::new(), None),
        Err(error) if error.is_cancelled() => (Status::Cancelled, String::new(), None),
        Err(error) => (Status::Failed, error.to_string(), error.hint_text().map(str::to_owned)),
    };
    let took = started.elapsed();
    let said = [(!why.is_empty()).then(|| why.clone()), hint.as_ref().map(|hint| format!("hint: {hint}"))];
    said.into_iter().flatten().for_each(|line| events.emit(Event::Log { task: task.clone(), line }));
    events.emit(Event::Ended { task: task.clone(), status, took, digest: None });
    (TaskRecord { why, hint, started: Some(begun), took_ms: millis(took), ..TaskRecord::new(task, status) }, done)
}

/// True for what did not come to a good end: an image that a stage refused, or did not finish with, stands no more.
fn is_in_doubt(tried: &TaskRecord) -> bool {
    matches!(tried.status, Status::Failed | Status::Cancelled)
}

/// Enters what a stage came to. A service whose image was refused has failed, and one whose image was not tried to the end was stopped.
fn enter(cx: &Context, tried: TaskRecord) {
    let progress = &mut *cx.progress();
    let Some(record) = &mut progress.record else { return progress.before_record.push(tried) };
    if let (Task::Stage(Stage { stage, service: Some(service) }), true) = (&tried.task, is_in_doubt(&tried)) {
        let of_service = Task::Service(service.clone());
        let why = if tried.status == Status::Failed { format!("{stage} failed") } else { format!("{stage} was stopped") };
        for task in record.tasks.iter_mut().filter(|task| task.task == of_service) {
            (task.status, task.why) = (tried.status, why.clone());
        }
    }
    record.tasks.push(tried);
}

/// Tries one image, unless it is known that it passes. The image is returned by the name under which it was tried: the next stage need not
/// load it again.
fn try_one(
    cx: &Context,
    plan: Option<&Planned>,
    stage: &StageName,
    task: Task,
    image: &Image,
    work: &(impl Fn(&Context, &Image) -> Result<()> + Sync),
) -> (Image, Option<TaskRecord>) {
    let (job, session) = (cx.job(), plan.map_or(cx.session(), Planned::session));
    let passed = Passed::new(&session.state_dir(), stage);
    let anew = job.request.force || job.request.no_cache;
    if !anew && image.digest.as_ref().is_some_and(|digest| passed.has(digest)) {
        let entry = TaskRecord::new(task, Status::Unchanged);
        let entry = TaskRecord { why: "this image passed before".to_owned(), digest: image.digest.clone(), ..entry };
        return (image.clone(), Some(entry));
    }
    let mut tried_as = image.clone();
    let (tried, done) = during(cx, task, &format!("image of {}", image.service), |cx| {
        tried_as = loaded(cx, plan, image)?;
        work(cx, &tried_as)
    });
    let digest = tried_as.digest.clone();
    let remembered = match (&digest, done) {
        (Some(digest), Ok(())) => passed.remember(digest),
        (Some(digest), Err(_)) => passed.forget(digest),
        (None, _) => Ok(()),
    };
    if let Err(error) = remembered {
        let message = format!("the result of {stage} for {} could not be saved: {error}", image.service);
        session.events.notice(Level::Warning, None, message, Some("the next run tries it again".to_owned()));
    }
    (tried_as, Some(TaskRecord { digest, ..tried }))
}

/// The image itself, or, where the build kept none, the same loaded into the engine as `:check`: every step comes from the engine's cache.
fn loaded(cx: &Context, plan: Option<&Planned>, image: &Image) -> Result<Image> {
    if image.name.is_some() {
        return Ok(image.clone());
    }
    let request = &cx.job().request;
    let check = matches!(&request.destination, Destination::Output(output) if output == "type=cacheonly");
    let service =
        plan.and_then(Planned::here).and_then(|made| made.services.iter().find(|one| one.service.name == image.service));
    let (Some(plan), Some(service), Some(engine), true) = (plan, service, plan.and_then(Planned::engine), check) else {
        return Err(Error::failed("this run keeps no image that could be tried").hint("build it into the engine or a registry"));
    };
    let session = plan.session();
    let name = session.config.images.image(&image.service)?.with_tag("check".parse()?);
    let spec = BuildSpec {
        output: Output::Load { names: vec![name.clone()], zstd: false },
        platforms: Vec::new(),
        cache_to: Vec::new(),
        no_cache: false,
        ..service.target.spec.clone()
    };
    let call = build::command(session, &engine.buildx(), &spec);
    cx.log(&format!("$ {call}"));
    let code = call.stream(&session.shutdown, |_| ())?;
    if code != Some(0) {
        return Err(Error::failed("the image could not be loaded into the engine").hint(format!("run `{call}`")));
    }
    let id = planning::image_store(session, engine).inspect(&name)?.map(|image| image.id);
    Ok(Image { name: Some(name), digest: id, ..image.clone() })
}

#[diagnostic::on_unimplemented(
    message = "no stage of the run can take a `{Self}`",
    label = "not what a stage made",
    note = "`Context::stage` takes `&Tree`, `&Ready`, `&Plan`, `&Base`, `&Images` or `&Published`: its closure may use whatever else is in reach"
)]
/// What a stage of the run may take: what the stage before it made. See [`Context::stage`].
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// cx.stage("check-plan", &plan, |cx, plan| {
///     cx.say(format!("{} to build", plan.to_build().count()));
///     Ok(())
/// })?;
/// # Ok(()) }
/// ```
pub trait Input: sealed::Sealed {
    /// True where there is nothing to work on.
    #[doc(hidden)]
    fn is_empty(&self) -> bool {
        false
    }

    /// In words, when the work is done, for a look.
    #[doc(hidden)]
    fn when(&self) -> &'static str {
        ""
    }

    /// Why it cannot be worked on in this job.
    #[doc(hidden)]
    fn out_of_reach(&self, _: &Context) -> Option<&'static str> {
        None
    }

    /// The same as it can be worked on, where something has to be done for that.
    ///
    /// # Errors
    /// When that fails.
    #[doc(hidden)]
    fn loaded(&self, _: &Context) -> Result<Option<Self>>
    where
        Self: Sized,
    {
        Ok(None)
    }
}

use sealed::Owner;

mod sealed {
    /// The job of a matrix that has something at hand.
    #[derive(Clone, Copy)]
    pub enum Owner {
        /// The first one.
        Plan,
        /// The base's.
        Base,
        /// The one that ends the run.
        End,
    }

    pub trait Sealed {
        fn owner(&self) -> Owner;
    }
}

macro_rules! owned {
    ($($input:ty => $owner:ident),*) => {$(
        impl sealed::Sealed for $input {
            fn owner(&self) -> Owner {
                Owner::$owner
            }
        }
    )*};
}

owned!(Tree => Plan, Ready => Plan, Plan => Plan, Base => Base, Images => End, Published => End);

impl Input for Tree {}
impl Input for Ready {}
impl Input for Plan {}
impl Input for Base {}

impl Images {
    /// True where an image was built and not kept: by a check.
    fn has_unnamed(&self) -> bool {
        self.images.iter().any(|image| image.name.is_none())
    }
}

impl Input for Images {
    fn is_empty(&self) -> bool {
        !self.all_stand()
    }

    fn when(&self) -> &'static str {
        "once every image stands"
    }

    fn out_of_reach(&self, cx: &Context) -> Option<&'static str> {
        let elsewhere = matches!(cx.job().part, Part::Publish(_)) && self.has_unnamed();
        elsewhere.then_some("a check in several jobs keeps no images")
    }

    fn loaded(&self, cx: &Context) -> Result<Option<Self>> {
        if !self.has_unnamed() {
            return Ok(None);
        }
        let images = pool::each(cx.job().request.jobs.get(), &self.images, |image| loaded(cx, self.plan.as_deref(), image))?;
        Ok(Some(Self { images: images.into_iter().collect::<Result<_>>()?, plan: self.plan.clone() }))
    }
}

impl Input for Published {
    fn is_empty(&self) -> bool {
        Published::is_empty(self)
    }

    fn when(&self) -> &'static str {
        "once the images are published"
    }
}
