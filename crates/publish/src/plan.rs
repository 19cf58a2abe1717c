//! Deciding a publication: what stands, what each tag points to, what may move. Reads registries and the journal; changes nothing.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::{Order as _, SortedSet};

use semver::Version;

use super::annotate::annotated;
use super::order::Others;
use super::read;
use super::{Item, Journal, Plan, PublishRequest, ServicePlan, Step, TagPlan};
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_docker::manifest::{Document, Raw};
use monoship_docker::registry::{Access, Registry};

/// Decides a publication.
///
/// # Errors
/// Every image that does not stand and every repository that may not be written, named at once; a version that exists with other
/// content; a registry that cannot be reached; a journal that cannot be read.
pub fn plan(request: &PublishRequest, registry: &Registry) -> Result<Plan> {
    let plan = preview(request, registry)?;
    let changed = plan.services.iter().filter(|service| service.changes());
    may_push(changed.map(|service| service.source.without_reference()), registry, "published")?;
    Ok(plan)
}

/// The same for whoever only looks: the right to push is not asked for.
///
/// # Errors
/// As [`plan`].
pub fn preview(request: &PublishRequest, registry: &Registry) -> Result<Plan> {
    let journal = Journal::load(&request.journal)?.filter(|journal| journal.is_unfinished() && journal.name == request.name);
    let standing = standing(request, registry, journal.as_ref())?;
    let repositories: Vec<&ImageRef> = standing.iter().map(|(item, _)| &item.source).into_vec();
    let others = Others::read(request.order.as_ref(), registry, &repositories)?;
    let there: Vec<_> = standing.iter().zip(&others.existing).into_vec();
    let services = in_parallel(&there, |((item, raw), existing)| {
        service(request, registry, item, raw, journal.as_ref(), &Around { existing, whole: &others.whole })
    });
    let services = services.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Plan {
        name: request.name.clone(),
        order: request.order.clone(),
        move_tags: request.move_tags,
        services,
        journal: request.journal.clone(),
        resumed: journal.is_some(),
        patience: request.patience,
    })
}

/// Every item with its image, or one error that names all that is missing.
fn standing<'a>(request: &'a PublishRequest, registry: &Registry, journal: Option<&Journal>) -> Result<Vec<(&'a Item, Raw)>> {
    let found = in_parallel(&request.items, |item| {
        // The journal of an interrupted run wins over a content tag that was rebuilt since (its provenance differs): some tags
        // point to the journal's image already. The same content tag means the same inputs.
        let begun = journal.and_then(|journal| journal.services.get(&item.service)).filter(|entry| entry.source == item.source);
        let digests = begun.map(|entry| &entry.digest).into_iter().chain(&item.digest);
        for digest in digests {
            if let Some(raw) = registry.manifest(&item.source.without_reference().with_digest(digest.clone()))? {
                return Ok(Some(raw));
            }
        }
        if item.digest.is_some() { Ok(None) } else { registry.manifest(&item.source) }
    });
    let (mut standing, mut missing) = (Vec::new(), Vec::new());
    for (item, raw) in request.items.iter().zip(found) {
        match raw? {
            Some(raw) => standing.push((item, raw)),
            None => missing.push(item.source.to_string()),
        }
    }
    if missing.is_empty() {
        return Ok(standing);
    }
    Err(Error::failed(format!("{} was not published: missing from the registry: {}", request.name, missing.join(", ")))
        .hint("each service has to be built and pushed first; run the release again"))
}

/// What of other releases a service meets.
struct Around<'a> {
    /// The tags of the service's repository.
    existing: &'a [Tag],
    /// The versions that stand for every service.
    whole: &'a SortedSet<Version>,
}

fn service(
    request: &PublishRequest,
    registry: &Registry,
    item: &Item,
    raw: &Raw,
    journal: Option<&Journal>,
    around: &Around<'_>,
) -> Result<ServicePlan> {
    let begun = journal.and_then(|journal| journal.services.get(&item.service)).filter(|entry| entry.source == item.source);
    let targets: Vec<ImageRef> = item.tags.iter().map(|tag| item.source.with_tag(tag.clone())).into_vec();
    let present = read::digests(registry, &targets)?;
    let mut manifest = raw.clone();
    if let Some(annotations) = request.annotations.as_ref().filter(|_| begun.is_none_or(|entry| entry.digest != *raw.digest())) {
        manifest = annotated(registry, &item.source, raw, annotations)?;
    }
    let same = published_before(request, registry, &targets, &present, &manifest)?;
    let made = manifest.digest().clone();
    if let Some(published) = same.first() {
        manifest = published.clone();
    }
    let is_same = |digest: &Digest| *digest == made || same.iter().any(|raw| raw.digest() == digest);
    let own = item.source.without_reference().with_digest(manifest.digest().clone());
    let new = request.annotations.is_some() && registry.resolve(&own)?.is_none();
    let mut tags = Vec::new();
    for (target, now) in targets.iter().zip(present) {
        let Some(tag) = target.tag() else { continue };
        let known = now.as_ref().is_some_and(is_same);
        let step = match step(request, registry, target, now.as_ref(), manifest.digest(), around) {
            // Another index over the same images: two runs have put a part each.
            Err(_) if known => Step::Move,
            step => step?,
        };
        let recorded = begun.and_then(|entry| entry.tags.iter().find(|known| known.tag == *tag));
        // What a tag pointed to before the interrupted run is what taking it back means.
        let before = recorded.map_or(now, |known| known.before.clone());
        tags.push(TagPlan { tag: tag.clone(), before, step });
    }
    Ok(ServicePlan { service: item.service.clone(), source: item.source.clone(), manifest, new, tags })
}

/// What is to be done with one tag.
fn step(
    request: &PublishRequest,
    registry: &Registry,
    target: &ImageRef,
    now: Option<&Digest>,
    ours: &Digest,
    around: &Around<'_>,
) -> Result<Step> {
    if now == Some(ours) {
        return Ok(Step::Keep);
    }
    let Some(order) = &request.order else { return Ok(if now.is_some() { Step::Move } else { Step::Create }) };
    if let Some(newer) = order.left_to(registry, target, now, around.existing, around.whole)? {
        return Ok(Step::HeldBy(newer));
    }
    let Some(now) = now else { return Ok(Step::Create) };
    if request.move_tags || !target.tag().is_some_and(|tag| order.is_exact(tag)) {
        return Ok(Step::Move);
    }
    Err(another_image(target, now, ours))
}

/// The error for a version that would change.
pub(super) fn another_image(target: &ImageRef, now: &Digest, ours: &Digest) -> Error {
    Error::failed(format!("{target} exists and is another image: {now} instead of {ours}"))
        .hint("a published version does not change: release a new one, or pass --move-tags to move it anyway")
}

/// The manifests that exact tags of this release point to already, where they hold the same images under another index (whose provenance
/// carries the times of another build), in the order of the tags; none where the first one is another image's, or ours. What is published
/// stays, and every other tag follows the first one. That is how a half-published release is completed on a machine that has no journal of
/// it, and one that two machines have put a part of each.
fn published_before(
    request: &PublishRequest,
    registry: &Registry,
    targets: &[ImageRef],
    present: &[Option<Digest>],
    ours: &Raw,
) -> Result<Vec<Raw>> {
    let Some(order) = request.order.as_ref().filter(|_| !request.move_tags) else { return Ok(Vec::new()) };
    let exact = targets.iter().zip(present).filter(|(target, _)| target.tag().is_some_and(|tag| order.is_exact(tag)));
    let (mut same, mut seen) = (Vec::new(), SortedSet::new());
    for (target, now) in exact.filter_map(|(target, now)| Some((target, now.as_ref()?))) {
        if !seen.insert(now) {
            continue;
        }
        let theirs = if now == ours.digest() {
            ours.clone()
        } else {
            registry.need_manifest(&target.without_reference().with_digest(now.clone()))?
        };
        if images(&theirs)? != images(ours)? {
            break;
        }
        same.push(theirs);
    }
    Ok(same)
}

/// The platform manifests, without attestations: equal ones are the same image, whatever index they are in.
///
/// # Errors
/// When the manifest is malformed.
pub fn images(raw: &Raw) -> Result<Vec<Digest>> {
    let mut digests = match raw.document()? {
        Document::Index(index) => index.images().map(|image| image.digest.clone()).into_vec(),
        Document::Manifest(_) => vec![raw.digest().clone()],
    };
    digests.order();
    Ok(digests)
}

/// Asks for the right to push, before anything is `done`: a refusal in the middle of it, or after an hour of building, is the worst time.
///
/// # Errors
/// Every repository that may not be written, named at once; a registry that cannot be reached.
pub fn may_push(repositories: impl IntoIterator<Item = ImageRef>, registry: &Registry, done: &str) -> Result<()> {
    let repositories: SortedSet<ImageRef> = repositories.into_iter().into_set();
    let repositories: Vec<ImageRef> = repositories.into_iter().into_vec();
    let (mut refused, mut way_out) = (Vec::new(), None);
    for (repository, access) in repositories.iter().zip(in_parallel(&repositories, |repository| registry.can_push(repository))) {
        if let Access::Denied(refusal) = access? {
            refused.push(format!("{repository} ({refusal})"));
            way_out = way_out.or_else(|| refusal.verdict.way_out(repository.registry()));
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let error = Error::failed(format!("nothing was {done}: we may not push to {}", refused.join(" and ")));
    Err(match way_out {
        Some(way_out) => error.hint(way_out),
        None => error,
    })
}
