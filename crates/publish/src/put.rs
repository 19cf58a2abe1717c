//! Putting the tags of a plan, in an order in which nothing is left behind that cannot be taken away: what a registry may refuse for good comes
//! first, what people follow comes last.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::{Order as _, SortedSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::claim::{Claim, Met};
use super::plan::{another_image, images};
use super::read;
use super::{Plan, Published, ServicePlan, Step, TagPlan, published};
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Events, Level, Task};
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::manifest::Raw;
use monoship_docker::registry::{Refusal, Registry, Verdict};

/// Why not everything was put.
pub(super) struct Stop {
    pub error: Error,
    /// A rerun would meet the same.
    pub for_good: bool,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self { error, for_good: false }
    }
}

/// What came of it, and the tags that this run has put, or may have.
pub(super) struct Outcome {
    pub done: Result<Vec<Published>, Stop>,
    pub put: SortedSet<ImageRef>,
}

/// The order. Nobody follows `latest` to a version that is not whole, so that what floats comes after every exact tag of every service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Exact tags that are moved on purpose: where a registry allows that to nobody, nothing has been put yet.
    Moved,
    /// Exact tags that are new.
    New,
    /// Tags that go from release to release, and branches'.
    Floating,
}

pub(super) struct Putting<'a> {
    pub(super) plan: &'a Plan,
    pub(super) registry: &'a Registry,
    /// The same client under a switch that lets what has begun come to its end.
    pub(super) late: &'a Registry,
    events: &'a Events,
    changes: usize,
    done: AtomicU64,
    put: Mutex<SortedSet<ImageRef>>,
}

/// Puts everything, or as much as can be put. `late` is the same client under a switch that lets what has begun come to its end.
pub(super) fn run(plan: &Plan, registry: &Registry, late: &Registry, claim: &mut Claim, events: &Events) -> Outcome {
    let putting =
        Putting { plan, registry, late, events, changes: plan.changes(), done: AtomicU64::new(0), put: Mutex::default() };
    let done = putting.whole(claim);
    Outcome { done, put: putting.put.into_inner().unwrap_or_else(PoisonError::into_inner) }
}

/// One tag of one service, with their places in the plan.
type Work<'p> = (usize, usize, &'p ServicePlan, &'p TagPlan);

impl<'p> Putting<'p> {
    /// Every tag, read back once all stand; and once more where another run was there, which may have taken some of them for its own.
    fn whole(&self, claim: &mut Claim) -> Result<Vec<Published>, Stop> {
        let published = self.settle(self.all()?, Met::Nobody)?;
        let published = match claim.wait_for_others(self.registry, self.plan.patience, self.events)? {
            None => published,
            Some(met) => self.settle(published, met)?,
        };
        self.tell_what_stays(&published);
        // Stopped while the last ones were on their way: whoever stops a run wants the tags as they were.
        self.registry.shutdown().check()?;
        Ok(published)
    }

    fn all(&self) -> Result<Vec<Published>, Stop> {
        let news: Vec<&ServicePlan> = self.plan.services.iter().filter(|service| service.new).into_vec();
        all(in_parallel(&news, |service| {
            let place = service.source.without_reference();
            self.registry.put_manifest(&place, &service.manifest).map_err(Stop::from)
        }))?;
        let mut published = published(self.plan);
        for phase in [Phase::Moved, Phase::New, Phase::Floating] {
            let work = self.work(phase);
            // The first alone: where it is refused, no other has been put.
            let (first, others) = work.split_at(work.len().min(1));
            for part in [first, others] {
                let steps = all(in_parallel(part, |(_, _, service, tag)| self.one(phase, service, tag)))?;
                for ((at, tag_at, ..), step) in part.iter().zip(steps) {
                    published[*at].tags[*tag_at].step = step;
                }
            }
        }
        Ok(published)
    }

    fn phase(&self, tag: &TagPlan) -> Phase {
        match &self.plan.order {
            Some(order) if order.is_exact(&tag.tag) => {
                if tag.step == Step::Move {
                    Phase::Moved
                } else {
                    Phase::New
                }
            }
            _ => Phase::Floating,
        }
    }

    fn work(&self, phase: Phase) -> Vec<Work<'p>> {
        let services = self.plan.services.iter().enumerate();
        let of_one = |(at, service): (usize, &'p ServicePlan)| {
            let tags = service.tags.iter().enumerate().map(move |(tag_at, tag)| (at, tag_at, service, tag));
            tags.into_vec()
        };
        services.flat_map(of_one).filter(|(.., tag)| tag.is_put() && self.phase(tag) == phase).into_vec()
    }

    fn one(&self, phase: Phase, service: &ServicePlan, tag: &TagPlan) -> Result<Step, Stop> {
        self.registry.shutdown().check()?;
        let target = service.source.with_tag(tag.tag.clone());
        let ours = service.manifest.digest();
        let now = read::digest(self.registry, &target)?;
        if now.as_ref() == Some(ours) {
            // Another run of the same release put it: it is not ours to take back.
            return Ok(Step::Keep);
        }
        if let Some(order) = &self.plan.order {
            match &now {
                Some(now) if phase == Phase::New && !self.plan.move_tags => {
                    if self.same_images(&target, now, service)? {
                        // Another run's build of it. Which one counts is settled once all stand.
                        return Ok(Step::Keep);
                    }
                    return Err(Stop { error: another_image(&target, now, ours), for_good: true });
                }
                _ => {}
            }
            if let Some(newer) = order.overtaken(self.registry, &target, now.as_ref())? {
                return Ok(Step::HeldBy(newer));
            }
        }
        self.events.doing(&Task::Publish, format!("{}:{}", service.service, tag.tag));
        let begun = self.put_one(&target, &service.manifest)?;
        if let Some(refusal) = begun {
            if phase == Phase::Floating && refusal.verdict == Verdict::Immutable {
                return Ok(Step::Immutable);
            }
            return Err(Stop { error: refusal.to_write(&target), for_good: true });
        }
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.events.emit(Event::Amount { task: Task::Publish, done, total: self.changes as u64 });
        Ok(tag.step.clone())
    }

    /// True where a digest is another index over the images of the service.
    pub(super) fn same_images(&self, target: &ImageRef, digest: &Digest, service: &ServicePlan) -> Result<bool> {
        let theirs = self.registry.manifest(&target.without_reference().with_digest(digest.clone()))?;
        let Some(theirs) = theirs else { return Ok(false) };
        Ok(images(&theirs)? == images(&service.manifest)?)
    }

    /// Puts one tag. Noted down is what was put, and what may have been: an answer can be lost. It is read back once all are put.
    pub(super) fn put_one(&self, target: &ImageRef, manifest: &Raw) -> Result<Option<Refusal>> {
        let noted = || self.put.lock().unwrap_or_else(PoisonError::into_inner);
        noted().insert(target.clone());
        let refusal = match self.late.try_put_manifest(target, manifest) {
            // It stands, whatever became of the answers.
            Err(_) if read::digest(self.late, target).is_ok_and(|now| now.as_ref() == Some(manifest.digest())) => None,
            answered => answered?,
        };
        if refusal.is_some() {
            noted().remove(target);
        }
        Ok(refusal)
    }

    /// One notice, however many services and tags it is about.
    fn tell_what_stays(&self, published: &[Published]) {
        let fixed = |tag: &&TagPlan| tag.step == Step::Immutable;
        let tags: SortedSet<&str> =
            published.iter().flat_map(|service| &service.tags).filter(fixed).map(|tag| tag.tag.as_str()).into_set();
        let services = published.iter().filter(|service| service.tags.iter().any(|tag| fixed(&tag)));
        let services: Vec<&str> = services.map(|service| service.service.as_str()).into_vec();
        if tags.is_empty() {
            return;
        }
        let tags = tags.into_iter().into_vec().join(", ");
        let message =
            format!("{tags} of {} stay where they are: the registry lets nobody change a tag there", services.join(", "));
        let hint = "let these tags change at the registry, or leave them out of `[release] tags`".to_owned();
        self.events.notice(Level::Warning, Some(Task::Publish), message, Some(hint));
    }
}

/// Everything, or the first failure; a cancellation last, since it hides what else went wrong.
pub(super) fn all<T>(outcomes: Vec<Result<T, Stop>>) -> Result<Vec<T>, Stop> {
    let (mut values, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => values.push(value),
            Err(stop) => failures.push(stop),
        }
    }
    failures.order_by_key(|stop: &Stop| stop.error.is_cancelled());
    failures.into_iter().next().map_or(Ok(values), Err)
}
