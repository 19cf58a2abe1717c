//! The fourth stage: all or nothing. Every service's image stands under its content tag; only then are the version tags put, as
//! byte-identical manifests, each read back. Building and pushing images is done elsewhere.
//!
//! The order is what makes it safe:
//!
//! 1. [`plan()`] changes nothing: every image must stand, every tag's present target is looked up, a version that exists with
//!    other content is refused, a floating tag (`1.2`, `1`, `latest`) that a newer release holds is left alone, and the right to
//!    push is asked for. Whatever can be refused is refused here.
//! 2. [`run()`] writes the journal (what each tag pointed to before, what it shall point to), then puts exact tags, then floating ones.
//!    Before the first one it tells runs on other machines that it is there, and at last every tag is read once more.
//! 3. Killed in between, a rerun reads the journal and goes on to the end with the journal's digests. Failed or cancelled, it puts
//!    every tag back to where the journal says it was, and says which ones it could not.

use std::path::PathBuf;
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};

use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Events, Level, Task};
use monoship_core::name::{Digest, ImageRef, ServiceName, Tag};
use monoship_core::sorted::SortedMap;
use monoship_core::text::counted;
use monoship_docker::manifest::Raw;
use monoship_docker::registry::Registry;

use self::claim::Claim;
use self::late::Late;

mod annotate;
mod claim;
mod journal;
mod late;
mod order;
mod plan;
mod put;
mod read;
mod rollback;
mod settle;

pub use self::claim::PATIENCE;
pub use self::journal::Journal;
pub use self::order::Order;
pub use self::plan::{images, may_push, plan, preview};

/// How long what is on its way when the run is stopped is waited for. Left alone, a tag could come after all others were put back.
const PUT_LIMIT: Duration = Duration::from_secs(30);

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
pub struct PublishRequest {
    /// What is published, for messages and the journal: the release's tag, or a branch.
    pub name: String,
    /// The release, among others; `None` for branches, whose tags move freely.
    pub order: Option<Order>,
    /// The services.
    pub items: Vec<Item>,
    /// The journal's file, for example `target/xtask/release/v1.2.3.json`.
    pub journal: PathBuf,
    /// Let an exact version tag that exists with other content move.
    pub move_tags: bool,
    /// Publish a new index with these annotations (`org.opencontainers.image.version` …) over the same platform manifests.
    pub annotations: Option<SortedMap<String, String>>,
    /// How long the end of another run that publishes to the same place is waited for: [`PATIENCE`].
    pub patience: Duration,
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
    /// It stays where it is: the registry changes no tag that exists.
    Immutable,
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
    /// The release, among others.
    pub order: Option<Order>,
    /// Let an exact version tag that exists with other content move.
    pub move_tags: bool,
    /// Every service.
    pub services: Vec<ServicePlan>,
    /// The journal's file.
    pub journal: PathBuf,
    /// True where an earlier run's journal is carried on.
    pub resumed: bool,
    /// How long the end of another run is waited for.
    pub patience: Duration,
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
    let changes = plan.changes();
    let title = format!("{} of {} as {}", counted(changes, "tag"), counted(plan.services.len(), "service"), plan.name);
    events.during(&Task::Publish, title, || carry_out(plan, registry, events, changes))
}

fn carry_out(plan: &Plan, registry: &Registry, events: &Events, changes: usize) -> Result<Vec<Published>> {
    registry.shutdown().check()?;
    let waiting = events.clone();
    let registry = registry.clone().on_wait(move |wait| {
        let seconds = wait.pause.as_secs_f64();
        let message = format!("{}; trying again in {seconds:.1} s ({} of {})", wait.error, wait.failures + 1, wait.attempts);
        waiting.notice(Level::Warning, Some(Task::Publish), message, None);
    });
    let known = Journal::load(&plan.journal)?.filter(|journal| !journal.complete && journal.name == plan.name);
    // By the name of one that lost its registry others may know this run, and wait for its end.
    let is_known = known.is_some();
    let id = known.map(|journal| journal.claim).filter(|id| !id.is_empty()).unwrap_or_else(|| claim::new_id(plan));
    let mut journal = Journal::of(plan, &id);
    if changes == 0 && !is_known && plan.services.iter().all(|service| !service.new) {
        journal.complete(&plan.journal)?;
        return Ok(published(plan));
    }
    // From here on the process does not end before the tags are whole, or back where they were.
    let _held = registry.shutdown().hold();
    journal.save(&plan.journal)?;
    let late = Late::after(registry.shutdown(), PUT_LIMIT);
    let lasting = registry.clone().under(late.switch());
    let mut claim = Claim::new(id, plan);
    if let Err(stop) = claim.tell(is_known, &lasting) {
        return Err(rollback::nothing_was_put(plan, &lasting, events, stop, claim));
    }
    // Where an earlier run was interrupted, what it found counts: some tags are its own by now.
    if !plan.resumed
        && let Err(error) = journal.look_again(&lasting).and_then(|()| journal.save(&plan.journal))
    {
        return Err(rollback::nothing_was_put(plan, &lasting, events, error.into(), claim));
    }
    let put = put::run(plan, &registry, &lasting, &mut claim, events);
    match put.done {
        Ok(done) => {
            claim.end(&lasting);
            journal.complete(&plan.journal)?;
            Ok(done)
        }
        Err(stop) => Err(rollback::run(plan, &journal, &registry, events, stop, &put.put, claim)),
    }
}

fn published(plan: &Plan) -> Vec<Published> {
    let services = plan.services.iter().map(|service| Published {
        service: service.service.clone(),
        repository: service.source.without_reference(),
        digest: service.manifest.digest().clone(),
        tags: service.tags.clone(),
    });
    services.into_vec()
}
