//! The fourth stage: all or nothing. Every service's image stands under its content tag; only then are the version tags put, as
//! byte-identical manifests, each read back. Building and pushing images is done elsewhere.
//!
//! The order is what makes it safe:
//!
//! 1. [`plan`] changes nothing: every image must stand, every tag's present target is looked up, a version that exists with
//!    other content is refused, a floating tag (`1.2`, `1`, `latest`) that a newer release holds is left alone, and the right to
//!    push is asked for. Whatever can be refused is refused here.
//! 2. [`run`] writes the journal (what each tag pointed to before, what it shall point to), then puts exact tags, then floating ones.
//! 3. Killed in between, a rerun reads the journal and goes on to the end with the journal's digests. Failed or cancelled, it puts
//!    every tag back to where the journal says it was, and says which ones it could not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use semver::Version;
use serde::{Deserialize, Serialize};

use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Events, Level, Status, Task};
use monoship_core::name::{Digest, ImageRef, ServiceName, Tag};
use monoship_docker::manifest::Raw;
use monoship_docker::registry::{Registry, in_parallel};

mod annotate;
mod journal;
mod late;
mod plan;
mod rollback;

pub use self::journal::Journal;
pub use self::plan::{held_by, images, plan, preview, tags_of};

/// One service's image and the tags it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Whose image it is.
    pub service: ServiceName,
    /// Where it stands, under its content tag: `ghcr.io/org/repo/api:in-…`.
    pub source: ImageRef,
    /// The digest the build reported, where there was a build; else what the content tag points to is taken.
    pub digest: Option<Digest>,
    /// The tags to put, in the source's repository.
    pub tags: Vec<Tag>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is published, for messages and the journal: the release's tag, or a branch.
    pub name: String,
    /// The release's version; `None` for branches, whose tags move freely.
    pub version: Option<Version>,
    /// The services.
    pub items: Vec<Item>,
    /// The journal's file, for example `target/xtask/release/v1.2.3.json`.
    pub journal: PathBuf,
    /// Let an exact version tag that exists with other content move.
    pub move_tags: bool,
    /// Publish a new index with these annotations (`org.opencontainers.image.version` …) over the same platform manifests.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What will happen, or happened, to one tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// It does not exist and is put.
    Create,
    /// It points to something else and is moved.
    Move,
    /// It points there already.
    Keep,
    /// It stays where it is: this newer release holds it.
    HeldBy(Version),
}

/// One tag of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TagPlan {
    /// The tag.
    pub tag: Tag,
    /// Where it points before.
    pub before: Option<Digest>,
    /// What is done.
    pub step: Step,
}

/// One service's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// Whose image it is.
    pub service: ServiceName,
    /// Where it stands.
    pub source: ImageRef,
    /// What the tags will point to: the image itself, or the annotated index over it.
    pub manifest: Raw,
    /// True where the manifest is not in the registry yet: an annotated index.
    pub new: bool,
    /// Its tags.
    pub tags: Vec<TagPlan>,
}

/// A publication, decided and not begun. What `--dry-run` shows and what [`run`] carries out is this one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is published.
    pub name: String,
    /// The release's version.
    pub version: Option<Version>,
    /// Every service.
    pub services: Vec<ServicePlan>,
    /// The journal's file.
    pub journal: PathBuf,
    /// True where an earlier run's journal is carried on.
    pub resumed: bool,
}

/// A published service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published {
    /// Whose image it is.
    pub service: ServiceName,
    /// The repository, without tag.
    pub repository: ImageRef,
    /// What its tags point to.
    pub digest: Digest,
    /// Its tags and what was done with each.
    pub tags: Vec<TagPlan>,
}

impl Plan {
    /// How many tags are to be put.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.services.iter().flat_map(|service| &service.tags).filter(|tag| tag.is_put()).count()
    }
}

impl ServicePlan {
    /// True where something is to be put.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.new || self.tags.iter().any(TagPlan::is_put)
    }
}

impl TagPlan {
    fn is_put(&self) -> bool {
        matches!(self.step, Step::Create | Step::Move)
    }
}

/// Carries out a plan, from the journal to the last tag read back.
///
/// # Errors
/// When a tag cannot be put, or the run is stopped: then every tag is back where it was, or the error says which is not, and that a
/// rerun completes the publication.
pub fn run(plan: &Plan, registry: &Registry, events: &Events) -> Result<Vec<Published>> {
    let started = Instant::now();
    let changes = plan.changes();
    let title = format!("{} tags of {} services as {}", changes, plan.services.len(), plan.name);
    events.emit(Event::Started { task: Task::Publish, title });
    let outcome = carry_out(plan, registry, events, changes);
    let status = match &outcome {
        Ok(_) => Status::Done,
        Err(error) if error.is_cancelled() => Status::Cancelled,
        Err(_) => Status::Failed,
    };
    events.emit(Event::Ended { task: Task::Publish, status, took: started.elapsed(), digest: None });
    outcome
}

fn carry_out(plan: &Plan, registry: &Registry, events: &Events, changes: usize) -> Result<Vec<Published>> {
    registry.shutdown().check()?;
    let waiting = events.clone();
    let registry = registry.clone().on_wait(move |wait| {
        let seconds = wait.pause.as_secs_f64();
        let message = format!("{}; trying again in {seconds:.1} s ({} of {})", wait.error, wait.failures + 1, wait.attempts);
        waiting.notice(Level::Warning, Some(Task::Publish), message, None);
    });
    let mut journal = Journal::of(plan);
    if changes == 0 && !plan.resumed && plan.services.iter().all(|service| !service.new) {
        journal.complete(&plan.journal)?;
        return Ok(published(plan));
    }
    journal.save(&plan.journal)?;
    let put = put_all(plan, &registry, events, changes);
    match put {
        Ok(done) => {
            journal.complete(&plan.journal)?;
            Ok(done)
        }
        Err(error) => Err(rollback::run(plan, &journal, &registry, events, error)),
    }
}

/// How long a tag that is on its way when the run is stopped is waited for. Left alone, it could come after all others were put back.
const PUT_LIMIT: Duration = Duration::from_millis(800);

/// Exact tags of every service first, floating ones after: nobody follows `latest` to a version that is not whole.
fn put_all(plan: &Plan, registry: &Registry, events: &Events, changes: usize) -> Result<Vec<Published>> {
    let done = AtomicU64::new(0);
    let news: Vec<&ServicePlan> = plan.services.iter().filter(|service| service.new).collect();
    all(in_parallel(&news, |service| registry.put_manifest(&service.source.without_reference(), &service.manifest)))?;
    let mut published = published(plan);
    let late = late::Late::after(registry.shutdown(), PUT_LIMIT);
    let putting = registry.clone().under(late.switch());
    for floating in [false, true] {
        let mut work = Vec::new();
        for (at, service) in plan.services.iter().enumerate() {
            let tags = service.tags.iter().enumerate();
            let wanted = tags.filter(|(_, tag)| tag.is_put() && plan::is_floating(&tag.tag) == floating);
            work.extend(wanted.map(|(tag_at, tag)| (at, tag_at, service, tag)));
        }
        let outcomes = in_parallel(&work, |(_, _, service, tag)| {
            registry.shutdown().check()?;
            let target = service.source.with_tag(tag.tag.clone());
            if floating && let Some(newer) = plan::overtaken(registry, plan.version.as_ref(), &target)? {
                return Ok(Step::HeldBy(newer));
            }
            events.doing(&Task::Publish, format!("{}:{}", service.service, tag.tag));
            put_one(&putting, &target, &service.manifest)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            events.emit(Event::Amount { task: Task::Publish, done, total: changes as u64 });
            Ok(tag.step.clone())
        });
        for ((at, tag_at, ..), step) in work.iter().zip(all(outcomes)?) {
            published[*at].tags[*tag_at].step = step;
        }
    }
    // Stopped while the last ones were on their way: whoever stops a run wants the tags as they were.
    registry.shutdown().check()?;
    Ok(published)
}

/// Everything, or the first failure; a cancellation last, since it hides what else went wrong.
fn all<T>(outcomes: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut values, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => values.push(value),
            Err(error) => failures.push(error),
        }
    }
    failures.sort_by_key(Error::is_cancelled);
    failures.into_iter().next().map_or(Ok(values), Err)
}

fn put_one(registry: &Registry, target: &ImageRef, manifest: &Raw) -> Result<()> {
    registry.put_manifest(target, manifest)?;
    // What counts is what others will read.
    let read = registry.resolve(target)?.map(|found| found.digest);
    if read.as_ref() == Some(manifest.digest()) {
        return Ok(());
    }
    let read = read.map_or("nothing".to_owned(), |digest| digest.to_string());
    Err(Error::failed(format!("{target} was put as {} and reads back as {read}", manifest.digest()))
        .hint("someone else moves this tag, or the registry's cache is stale; run this again"))
}

fn published(plan: &Plan) -> Vec<Published> {
    let services = plan.services.iter().map(|service| Published {
        service: service.service.clone(),
        repository: service.source.without_reference(),
        digest: service.manifest.digest().clone(),
        tags: service.tags.clone(),
    });
    services.collect()
}
