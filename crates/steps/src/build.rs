//! One target's build, or those of its platforms: its calls of the builder, their progress turned into events, the outcome read back. Who is
//! built, and whether, was decided before.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

mod call;

pub use call::{CONNECTING, Ended, command, silent, stream};
use call::{metadata_file, retry_lost};

use crate::{Session, frontend, identity, marks, platforms};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Level, Status, Task};
use monoship_core::execute::process::{Invocation, Stop};
use monoship_core::name::{Digest, ServiceName};
use monoship_core::sorted::{Order as _, SortedMap};
use monoship_docker::rawjson::{Lost, Solved};
use monoship_docker::spec::{BuildSpec, Output, provisional};
use monoship_plan::TargetPlan;
use monoship_plan::explain::Reason;
use monoship_plan::steps::StepChange;
use monoship_report::record::{Missed, NodeRecord};

/// How one build ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whose build it was.
    pub task: Task,
    /// How it ended.
    pub status: Status,
    /// What its progress stream told.
    pub solved: Solved,
    /// The first step that no cache had, and why.
    pub missed: Option<Missed>,
    /// When it began.
    pub begun: SystemTime,
    /// From start to end.
    pub took: Duration,
    /// The image's digest, as the builder reports it: the index's where there is one.
    pub digest: Option<Digest>,
    /// The image's size in bytes, where it is known.
    pub size: Option<u64>,
    /// Why it failed, where BuildKit did not say.
    pub why: Option<String>,
    /// What can be done about that.
    pub hint: Option<String>,
    /// The service that could not be built, and whose image it is built from.
    pub lacking: Option<ServiceName>,
    /// The nodes of a fleet that built it.
    pub nodes: Vec<NodeRecord>,
}

/// A build's place in a fleet.
pub struct Place<'a> {
    /// The node's builder.
    pub builder: &'a str,
    /// The nodes that were to build it before, each with why it did not.
    pub moved: Vec<(String, String)>,
    /// Caches that this run has written before, on another node perhaps.
    pub caches: Vec<String>,
}

/// Keeps an eye on a node while it builds, and says of an end whether it was the node's.
pub trait Watch {
    /// Runs a build, which calls the function at every sign of life and ends early where [`Stop`] is used.
    ///
    /// # Errors
    /// Where it did not finish, because the node is lost: why.
    fn during(&self, build: &mut dyn FnMut(&Stop, &(dyn Fn() + Sync)) -> Ended) -> Result<Ended, String>;
}

/// What a build is run with.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    session: &'a Session,
    /// The buildx plugin on the chosen engine.
    buildx: &'a Invocation,
}

impl<'a> Running<'a> {
    /// Builds of a session on one engine.
    pub fn new(session: &'a Session, buildx: &'a Invocation) -> Self {
        Self { session, buildx }
    }
}

/// A target's builds: one, or one a platform. These may run side by side; whichever ends last concludes.
pub struct TargetBuilds<'a> {
    running: Running<'a>,
    target: &'a TargetPlan,
    begun: OnceLock<(Instant, SystemTime)>,
    builds: Mutex<Vec<State>>,
    /// Contexts whose place is known by its digest now.
    held: Mutex<SortedMap<String, String>>,
    /// Says what is wrong with an image that was built; see [`TargetBuilds::judged_by`].
    judge: Option<Judge<'a>>,
}

/// See [`TargetBuilds::judged_by`].
type Judge<'a> = Box<dyn Fn() -> Result<()> + Send + Sync + 'a>;

/// Where one of the builds stands.
#[derive(Default)]
struct State {
    ended: Option<Turn>,
    node: Option<NodeRecord>,
    cached: usize,
    total: usize,
}

impl<'a> TargetBuilds<'a> {
    /// The builds of a target, none of them begun.
    pub fn new(running: Running<'a>, target: &'a TargetPlan) -> Self {
        let builds = target.builds().iter().map(|_| State::default()).into_vec();
        Self { running, target, begun: OnceLock::new(), builds: Mutex::new(builds), held: Mutex::default(), judge: None }
    }

    /// The same, which have failed where `judge` says so, once all of them have succeeded and before their result gets a name from us.
    #[must_use]
    pub fn judged_by(mut self, judge: impl Fn() -> Result<()> + Send + Sync + 'a) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    /// How many there are.
    pub fn builds(&self) -> usize {
        self.target.builds().len()
    }

    /// What the builder is told in one of them.
    pub fn spec(&self, at: usize) -> &BuildSpec {
        &self.target.builds()[at]
    }

    /// Holds contexts to the images that this run has made: whoever may push could put others under their tags meanwhile.
    pub fn hold(&self, contexts: SortedMap<String, String>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = contexts;
    }

    /// What the builder is called with.
    fn held(&self, spec: &BuildSpec) -> BuildSpec {
        let mut spec = spec.clone();
        spec.contexts.extend(self.held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        spec
    }

    /// Runs all of them, one after the other. A failure is an outcome, not an error: other targets go on.
    pub fn run_all(&self) -> Option<Outcome> {
        (0..self.builds()).filter_map(|at| self.run(at)).last()
    }

    /// Runs one of them to its end, unless another has failed: then it is left out. The outcome of all goes to whoever ends last.
    pub fn run(&self, at: usize) -> Option<Outcome> {
        // What has not begun as the run is stopped was not run.
        if self.begun.get().is_none() && self.running.session.shutdown.is_closing() {
            return None;
        }
        self.begin(None);
        let ended =
            if self.is_broken() { Turn::Skipped } else { Turn::Ran(self.called(at, self.spec(at), &Stop::default(), &|| ())) };
        self.end(at, ended)
    }

    /// Runs one of them on a node of a fleet, which may be lost meanwhile: then it is as if it had not begun.
    ///
    /// # Errors
    /// As [`Watch::during`].
    pub fn run_on(&self, at: usize, place: &Place<'_>, watch: &impl Watch) -> Result<Option<Outcome>, String> {
        self.begin(Some(place.builder));
        if self.is_broken() {
            return Ok(self.end(at, Turn::Skipped));
        }
        let task = &self.target.spec.task;
        self.running.session.events.doing(task, format!("on {}", place.builder));
        let mut spec = BuildSpec { builder: Some(place.builder.to_owned()), ..self.spec(at).clone() };
        let new = place.caches.iter().filter(|cache| !spec.cache_from.contains(cache)).cloned();
        spec.cache_from.extend(new.into_vec());
        let ended = watch.during(&mut |stop, heard| self.called(at, &spec, stop, heard))?;
        let (builder, platforms) = (place.builder.to_owned(), spec.platforms);
        self.lock()[at].node = Some(NodeRecord { builder, platforms, moved: place.moved.clone() });
        Ok(self.end(at, Turn::Ran(ended)))
    }

    /// Gives one of them up: there is nowhere left to run it.
    pub fn give_up(&self, at: usize, why: Error) -> Option<Outcome> {
        self.begin(None);
        self.end(at, Turn::Ran((Err(why), Solved::default())))
    }

    /// Leaves one of them out, for lack of the image of a service that could not be built. The outcome of all goes to whoever ends last.
    pub fn leave_out(&self, at: usize, lacking: &ServiceName) -> Option<Outcome> {
        let mut builds = self.lock();
        builds[at].ended = Some(Turn::Skipped);
        builds.iter().all(|build| build.ended.is_some()).then(|| Outcome {
            task: self.target.spec.task.clone(),
            status: Status::NotRun,
            solved: Solved::default(),
            missed: None,
            begun: SystemTime::now(),
            took: Duration::ZERO,
            digest: None,
            size: None,
            why: Some(format!("not built because {lacking} failed")),
            hint: None,
            lacking: Some(lacking.clone()),
            nodes: Vec::new(),
        })
    }

    /// `on`: the first node of a fleet that has a part in it.
    fn begin(&self, on: Option<&str>) -> (Instant, SystemTime) {
        let (session, spec) = (self.running.session, &self.target.spec);
        *self.begun.get_or_init(|| {
            let on = on.map(|node| format!(" on {node}")).unwrap_or_default();
            let title = format!("target {}{on}", spec.target);
            session.events.emit(Event::Started { task: spec.task.clone(), title });
            (Instant::now(), SystemTime::now())
        })
    }

    /// True where another of the target's builds has failed.
    fn is_broken(&self) -> bool {
        self.lock().iter().any(|build| matches!(&build.ended, Some(Turn::Ran((code, _))) if rank(code) > 0))
    }

    fn called(&self, at: usize, spec: &BuildSpec, stop: &Stop, heard: &dyn Fn()) -> Ended {
        let (session, task) = (self.running.session, &self.target.spec.task);
        let tell = |lost: Lost| session.events.notice(Level::Info, Some(task.clone()), lost.to_string(), None);
        retry_lost(|anew| self.call(at, spec, anew, stop, heard), tell)
    }

    /// One of them has ended; the outcome of all, where none is left.
    fn end(&self, at: usize, ended: Turn) -> Option<Outcome> {
        let (started, begun) = self.begin(None);
        let (ended, nodes) = {
            let mut builds = self.lock();
            builds[at].ended = Some(ended);
            if builds.iter().any(|build| build.ended.is_none()) {
                return None;
            }
            let nodes = builds.iter_mut().filter_map(|build| build.node.take()).into_vec();
            (builds.iter_mut().filter_map(|build| build.ended.take()).into_vec(), nodes)
        };
        Some(Outcome { nodes, ..conclude(self, begun, started, ended) })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, at: usize, spec: &BuildSpec, anew: bool, stop: &Stop, heard: &dyn Fn()) -> Ended {
        let Running { session, buildx } = self.running;
        let dockerfile = match identity::make(spec).and_then(|()| frontend::handed(session, spec)) {
            Ok(dockerfile) => dockerfile,
            Err(error) => return (Err(error), Solved::default()),
        };
        let spec = BuildSpec { dockerfile, no_cache: spec.no_cache || anew, ..self.held(spec) };
        stream(session, buildx, &spec, stop, heard, &|event| session.events.emit(self.as_one(at, event)))
    }

    /// An event of one of several builds as the task's: its step named with the platform, as BuildKit does, and counted with the others'.
    fn as_one(&self, at: usize, event: Event) -> Event {
        let platform = self.target.builds()[at].platforms.first().filter(|_| self.builds() > 1);
        let Some(platform) = platform else { return event };
        let named = |name: &str| name.replacen('[', &format!("[{platform} "), 1);
        match event {
            Event::StepStarted { task, name, vertex } => Event::StepStarted { task, name: named(&name), vertex },
            Event::StepEnded { task, name, end, took, cached, total } => {
                let mut builds = self.lock();
                (builds[at].cached, builds[at].total) = (cached, total);
                let sum = |of: fn(&State) -> usize| builds.iter().map(of).sum();
                let (cached, total) = (sum(|build| build.cached), sum(|build| build.total));
                Event::StepEnded { task, name: named(&name), end, took, cached, total }
            }
            other => other,
        }
    }
}

/// 0 for a build that succeeded, 1 for one that was cancelled, 2 for one that failed.
fn rank(code: &Result<Option<i32>>) -> u8 {
    match code {
        Ok(Some(0)) => 0,
        Err(error) if error.is_cancelled() => 1,
        _ => 2,
    }
}

/// The outcome of a target whose builds all ended, in their order.
fn conclude(builds: &TargetBuilds<'_>, begun: SystemTime, started: Instant, ended: Vec<Turn>) -> Outcome {
    let (session, target) = (builds.running.session, builds.target);
    let spec = &target.spec;
    let ran = ended.into_iter().zip(target.builds()).filter_map(|(turn, build)| match turn {
        Turn::Ran(ended) => Some((ended, build)),
        Turn::Skipped => None,
    });
    let mut parts: Vec<_> = ran.into_vec();
    // What went wrong is the last one's to tell.
    parts.order_by_key(|((code, _), _)| rank(code));
    let (mut code, mut solved) = (Ok(Some(0)), Solved::default());
    let alone = target.builds().len() == 1;
    for ((one_code, one), build) in parts {
        code = one_code;
        solved = if alone { one } else { solved.and(one, &build.platforms) };
    }
    let failed = |error: &Error| (Status::Failed, Some(error.to_string()), error.hint_text().map(str::to_owned));
    let (mut status, mut why, mut hint) = match code {
        Ok(Some(0)) => (Status::Built, None, None),
        Ok(code) => (Status::Failed, solved.failure.is_none().then(|| silent(spec, code, &solved)), None),
        Err(error) if error.is_cancelled() => (Status::Cancelled, None, None),
        Err(error) => failed(&error),
    };
    if status != Status::Failed {
        // A cancelled build has one too: that it was cancelled.
        solved.failure = None;
    }
    let mut digest = None;
    if status == Status::Built {
        match builds.judge.as_ref().map_or(Ok(()), |judge| judge()).and_then(|()| made(session, target)) {
            Ok(made) => digest = made,
            Err(error) if error.is_cancelled() => status = Status::Cancelled,
            Err(error) => (status, why, hint) = failed(&error),
        }
    }
    if status == Status::Built {
        if solved.cache_exports.iter().all(|cache| cache.error.is_none()) {
            target.builds().iter().for_each(|build| marks::caches(session, build));
        }
        for (cache, error) in solved.cache_exports.iter().filter_map(|cache| Some((&cache.name, cache.error.as_ref()?))) {
            let message = format!("the {cache} cache could not be written: {error}");
            let hint = "the build is not affected; the next one cannot read what is missing".to_owned();
            session.events.notice(Level::Warning, Some(spec.task.clone()), message, Some(hint));
        }
    }
    let took = started.elapsed();
    session.events.emit(Event::Ended { task: spec.task.clone(), status, took, digest: digest.clone() });
    let missed = missed(target, &solved);
    Outcome {
        task: spec.task.clone(),
        status,
        solved,
        missed,
        begun,
        took,
        digest,
        size: None,
        why,
        hint,
        lacking: None,
        nodes: Vec::new(),
    }
}

/// Puts the first step that no cache had together with what the plan knows of its inputs.
fn missed(target: &TargetPlan, solved: &Solved) -> Option<Missed> {
    // Whoever asks for every step knows why each is executed.
    let first = solved.first_miss().filter(|_| !target.spec.no_cache)?;
    let is_it = |step: &&StepChange| step.stage == first.stage && Some(step.number) == first.number();
    let reasons = match &target.changes {
        None => vec![Reason::NeverBuilt],
        Some(changes) => changes.iter().find(is_it).map_or_else(|| vec![Reason::NotCached], |step| step.reasons.clone()),
    };
    Some(Missed { step: first.name.clone(), reasons })
}

/// What became of one of a target's builds.
#[expect(clippy::large_enum_variant, reason = "there are as many as platforms")]
enum Turn {
    /// The builder was called.
    Ran(Ended),
    /// It was not, because another of the target's builds had failed.
    Skipped,
}

/// The image's digest, once it has its content tag; an image in parts is joined under it.
fn made(session: &Session, target: &TargetPlan) -> Result<Option<Digest>> {
    let digests = || target.builds().iter().map(|build| digest(&metadata_file(session, build)));
    for (build, digest) in target.builds().iter().zip(digests()) {
        if let (Output::Push { names, folder: Some(folder), .. }, Some(digest)) = (&build.output, digest) {
            names.iter().try_for_each(|name| session.registry.push_layout(folder, &digest, name))?;
            // It is in the registry, and what keeps a copy from going is a full disk's story to tell.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    let Some(image) = target.spec.joined().filter(|_| !target.by_platform.is_empty()) else {
        let digest = digests().next().flatten();
        return Ok(if target.is_part { digest } else { named(session, &target.spec.output, digest)? });
    };
    let parts = target.spec.platforms.iter().cloned().zip(digests());
    let parts = parts.map(|(platform, digest)| {
        digest
            .map(|digest| (platform.clone(), digest))
            .ok_or_else(|| Error::failed(format!("the builder reports no image for {platform}")))
    });
    platforms::join(&session.registry, image, &parts.collect::<Result<Vec<_>>>()?, &target.spec.mark).map(Some)
}

/// Puts the content tag of what a builder has pushed, which is known by its digest.
fn named(session: &Session, output: &Output, digest: Option<Digest>) -> Result<Option<Digest>> {
    let Output::Push { names, folder: None, .. } = output else { return Ok(digest) };
    let mut made = digest;
    for name in names {
        let pushed = match &made {
            Some(digest) => name.without_reference().with_digest(digest.clone()),
            None => provisional(name, session.run.id.as_str()),
        };
        let raw = session.registry.need_manifest(&pushed)?;
        session.registry.put_manifest(name, &raw)?;
        made = Some(raw.digest().clone());
    }
    Ok(made)
}

/// What a builder says it has taken from outside for a target: digests by the names that provenance has for these (SLSA 0.2, `materials`).
pub fn materials(session: &Session, target: &TargetPlan) -> SortedMap<String, String> {
    #[derive(Deserialize)]
    struct Material {
        uri: String,
        #[serde(default)]
        digest: SortedMap<String, String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Provenance {
        materials: Vec<Material>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "buildx.build.provenance", default)]
        provenance: Provenance,
    }
    let read = |build: &BuildSpec| serde_json::from_slice::<Metadata>(&std::fs::read(metadata_file(session, build)).ok()?).ok();
    let all = target.builds().iter().filter_map(read).flat_map(|metadata| metadata.provenance.materials);
    all.filter_map(|material| Some((material.uri, format!("sha256:{}", material.digest.get("sha256")?)))).into_map()
}

/// The image's digest from buildx's metadata file; none for outputs that make no image.
fn digest(metadata: &Path) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "containerimage.digest")]
        digest: Option<Digest>,
    }
    let text = std::fs::read(metadata).ok()?;
    serde_json::from_slice::<Metadata>(&text).ok()?.digest
}
