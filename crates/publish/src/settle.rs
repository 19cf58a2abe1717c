//! The end of a publication: every tag is read once more, and what is not as it was put is fixed. Another run may have put it, or taken it away,
//! between our look and our put; a registry's cache may answer what was. What counts is what others will read.

use std::time::Duration;

use semver::Version;

use super::claim::Met;
use super::order::Others;
use super::plan::another_image;
use super::put::{Putting, Stop, all};
use super::read;
use super::{Published, ServicePlan, Step, TagPlan};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::pool::in_parallel;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::SortedSet;
use monoship_docker::manifest::Raw;

/// How often a service's tags are read before it is given up; the pauses between double, six seconds in all.
const ROUNDS: u32 = 7;

/// The first pause.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be done with a tag that was read.
enum Found {
    /// It is right, and this is what was done with it.
    Right(Step),
    /// It has to point there.
    Wrong(Raw, Step),
}

/// What is read once for all services.
struct Seen {
    met: Met,
    /// Releases that stand whole.
    whole: SortedSet<Version>,
}

impl Putting<'_> {
    /// What is published in the end, by service.
    pub(super) fn settle(&self, published: Vec<Published>, met: Met) -> Result<Vec<Published>, Stop> {
        let services = &self.plan.services;
        let repositories: Vec<&ImageRef> = services.iter().map(|service| &service.source).into_vec();
        let Others { existing, whole } = Others::read(self.plan.order.as_ref(), self.late, &repositories)?;
        let seen = Seen { met, whole };
        let work: Vec<_> = services.iter().zip(published).zip(existing).into_vec();
        all(in_parallel(&work, |((service, published), existing)| self.settle_one(service, published, existing, &seen)))
    }

    fn settle_one(&self, service: &ServicePlan, published: &Published, existing: &[Tag], seen: &Seen) -> Result<Published, Stop> {
        let (mut ours, mut settled) = (service.manifest.clone(), published.clone());
        let targets: Vec<ImageRef> = settled.tags.iter().map(|tag| service.source.with_tag(tag.tag.clone())).into_vec();
        let mut wrong = None;
        for round in 0..ROUNDS {
            if round > 0 {
                std::thread::sleep(PAUSE * (1 << (round - 1)));
            }
            let now = read::digests(self.late, &targets)?;
            if let Some(leading) = self.leading(service, &targets, &now)? {
                ours = leading;
            }
            wrong = None;
            for ((target, now), tag) in targets.iter().zip(&now).zip(&mut settled.tags) {
                match self.judge(&Place { service, target, existing, seen }, tag, now.as_ref(), &ours)? {
                    Found::Right(step) => tag.step = step,
                    Found::Wrong(manifest, step) => {
                        tag.step = step;
                        if let Some(refusal) = self.put_one(target, &manifest)? {
                            return Err(Stop { error: refusal.to_write(target), for_good: true });
                        }
                        wrong = Some((target, manifest.digest().clone(), now.clone()));
                    }
                }
            }
            if wrong.is_none() {
                settled.digest = ours.digest().clone();
                return Ok(settled);
            }
        }
        let (target, put, read) = wrong.expect("rounds that find nothing wrong return");
        let read = read.map_or("nothing".to_owned(), |digest| digest.to_string());
        Err(Error::failed(format!("{target} was put as {put} and reads back as {read}"))
            .hint("someone else moves this tag, or the registry's cache is stale; run this again")
            .into())
    }

    /// The index that the first exact tag points to, where it is another run's over the same images: of two that put the same release, the
    /// one whose index stands there counts for every tag.
    fn leading(&self, service: &ServicePlan, targets: &[ImageRef], now: &[Option<Digest>]) -> Result<Option<Raw>> {
        let Some(order) = self.plan.order.as_ref().filter(|_| !self.plan.move_tags) else { return Ok(None) };
        let first = targets.iter().zip(now).find(|(target, _)| target.tag().is_some_and(|tag| order.is_exact(tag)));
        let Some((target, Some(digest))) = first else { return Ok(None) };
        if digest == service.manifest.digest() || !self.same_images(target, digest, service)? {
            return Ok(None);
        }
        self.late.manifest(&target.without_reference().with_digest(digest.clone()))
    }

    fn judge(&self, place: &Place<'_>, tag: &TagPlan, now: Option<&Digest>, ours: &Raw) -> Result<Found, Stop> {
        let Place { service, target, existing, seen } = place;
        let is_ours = now == Some(ours.digest());
        let put = || Found::Wrong(ours.clone(), if tag.before.is_some() { Step::Move } else { Step::Create });
        if tag.step == Step::Immutable {
            return Ok(Found::Right(Step::Immutable));
        }
        let Some(order) = &self.plan.order else {
            // A branch's: what somebody has put since is the newer one.
            let goes = now.is_none() || now == tag.before.as_ref() || seen.met == Met::Lesser;
            return Ok(if !is_ours && goes { put() } else { Found::Right(tag.step.clone()) });
        };
        if order.is_exact(&tag.tag) {
            return match now {
                _ if is_ours => Ok(Found::Right(tag.step.clone())),
                Some(other) if tag.before.as_ref() != Some(other) && !self.same_images(target, other, service)? => {
                    Err(Stop { error: another_image(target, other, ours.digest()), for_good: true })
                }
                _ => Ok(put()),
            };
        }
        if !is_ours {
            let holder = order.left_to(self.late, target, now, existing, &seen.whole)?;
            return Ok(holder.map_or_else(put, |newer| Found::Right(Step::HeldBy(newer))));
        }
        let Some((newer, exact)) = order.newest_of(&tag.tag, &seen.whole, existing) else {
            return Ok(Found::Right(if matches!(tag.step, Step::HeldBy(_)) { Step::Keep } else { tag.step.clone() }));
        };
        // Its run put this tag between our look and our put, or is about to.
        let theirs = self.late.manifest(&target.with_tag(exact.clone()))?;
        Ok(match theirs {
            None => Found::Right(tag.step.clone()),
            // Both releases have this very image.
            Some(theirs) if theirs.digest() == ours.digest() => Found::Right(Step::HeldBy(newer)),
            Some(theirs) => Found::Wrong(theirs, Step::HeldBy(newer)),
        })
    }
}

/// Where a tag is.
struct Place<'a> {
    service: &'a ServicePlan,
    target: &'a ImageRef,
    existing: &'a [Tag],
    seen: &'a Seen,
}
