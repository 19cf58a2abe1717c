//! Deciding a publication: what stands, what each tag points to, what may move. Reads registries and the journal; changes nothing.

use std::collections::BTreeSet;

use semver::Version;

use super::annotate::annotated;
use super::{Item, Journal, Plan, Request, ServicePlan, Step, TagPlan};
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_docker::manifest::{Descriptor, Document, Raw};
use monoship_docker::registry::{Access, Registry, in_parallel};

/// Decides a publication.
///
/// # Errors
/// Every image that does not stand and every repository that may not be written, named at once; a version that exists with other
/// content; a registry that cannot be reached; a journal that cannot be read.
pub fn plan(request: &Request, registry: &Registry) -> Result<Plan> {
    let plan = preview(request, registry)?;
    may_push(&plan.services, registry)?;
    Ok(plan)
}

/// The same for whoever only looks: the right to push is not asked for.
///
/// # Errors
/// As [`plan`].
pub fn preview(request: &Request, registry: &Registry) -> Result<Plan> {
    let journal = Journal::load(&request.journal)?.filter(|journal| !journal.complete && journal.name == request.name);
    let standing = standing(request, registry, journal.as_ref())?;
    let services = in_parallel(&standing, |(item, raw)| service(request, registry, item, raw, journal.as_ref()));
    let services = services.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Plan {
        name: request.name.clone(),
        version: request.version.clone(),
        services,
        journal: request.journal.clone(),
        resumed: journal.is_some(),
    })
}

/// Every item with its image, or one error that names all that is missing.
fn standing<'a>(request: &'a Request, registry: &Registry, journal: Option<&Journal>) -> Result<Vec<(&'a Item, Raw)>> {
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
    Err(Error::failed(format!("nothing of {} was published: {} does not stand", request.name, missing.join(" and ")))
        .hint("each service has to be built and pushed first; run the release again"))
}

fn service(request: &Request, registry: &Registry, item: &Item, raw: &Raw, journal: Option<&Journal>) -> Result<ServicePlan> {
    let begun = journal.and_then(|journal| journal.services.get(&item.service)).filter(|entry| entry.source == item.source);
    let targets: Vec<ImageRef> = item.tags.iter().map(|tag| item.source.with_tag(tag.clone())).collect();
    let present = registry.resolve_all(&targets).into_iter().collect::<Result<Vec<_>>>()?;
    let mut manifest = raw.clone();
    if begun.is_none_or(|entry| entry.digest != *raw.digest()) {
        if let Some(annotations) = &request.annotations {
            manifest = annotated(registry, &item.source, raw, annotations)?;
        }
        if let Some(published) = published_before(request, registry, &targets, &present, &manifest)? {
            manifest = published;
        }
    }
    let own = item.source.without_reference().with_digest(manifest.digest().clone());
    let new = request.annotations.is_some() && registry.resolve(&own)?.is_none();
    let existing = if request.version.is_some() { registry.tags(&item.source)? } else { Vec::new() };
    let mut tags = Vec::new();
    for (target, now) in targets.iter().zip(present) {
        let Some(tag) = target.tag() else { continue };
        let now = now.map(|now| now.digest);
        let step = step(request, target, tag, now.as_ref(), manifest.digest(), &existing)?;
        let recorded = begun.and_then(|entry| entry.tags.iter().find(|known| known.tag == *tag));
        // What a tag pointed to before the interrupted run is what taking it back means.
        let before = recorded.map_or(now, |known| known.before.clone());
        tags.push(TagPlan { tag: tag.clone(), before, step });
    }
    Ok(ServicePlan { service: item.service.clone(), source: item.source.clone(), manifest, new, tags })
}

/// What is to be done with one tag.
fn step(request: &Request, target: &ImageRef, tag: &Tag, now: Option<&Digest>, ours: &Digest, existing: &[Tag]) -> Result<Step> {
    if now == Some(ours) {
        return Ok(Step::Keep);
    }
    if let Some(newer) = request.version.as_ref().and_then(|version| held_by(tag, version, existing)) {
        return Ok(Step::HeldBy(newer));
    }
    let Some(now) = now else { return Ok(Step::Create) };
    if request.version.is_none() || is_floating(tag) || request.move_tags {
        return Ok(Step::Move);
    }
    Err(Error::failed(format!("{target} exists and is another image: {now} instead of {ours}"))
        .hint("a published version does not change: release a new one, or pass --move-tags to move it all the same"))
}

/// The manifest that exact tags of this release point to already, where it holds the same images under another index (whose provenance
/// carries the times of another build): what is published stays, and every other tag follows it. That is how a half-published
/// release is completed on a machine that has no journal of it.
fn published_before(
    request: &Request,
    registry: &Registry,
    targets: &[ImageRef],
    present: &[Option<Descriptor>],
    ours: &Raw,
) -> Result<Option<Raw>> {
    if request.version.is_none() || request.move_tags {
        return Ok(None);
    }
    let exact = targets.iter().zip(present).filter(|(target, _)| target.tag().is_some_and(|tag| !is_floating(tag)));
    let mut others: Vec<&Digest> = exact.filter_map(|(_, now)| now.as_ref().map(|now| &now.digest)).collect();
    others.dedup();
    let ([other], Some(target)) = (others.as_slice(), targets.first()) else { return Ok(None) };
    if *other == ours.digest() {
        return Ok(None);
    }
    let published = registry.need_manifest(&target.without_reference().with_digest((*other).clone()))?;
    Ok((images(&published)? == images(ours)?).then_some(published))
}

/// The platform manifests, without attestations: equal ones are the same image, whatever index they are in.
///
/// # Errors
/// When the manifest is malformed.
pub fn images(raw: &Raw) -> Result<Vec<Digest>> {
    let mut digests = match raw.document()? {
        Document::Index(index) => index.images().map(|image| image.digest.clone()).collect(),
        Document::Manifest(_) => vec![raw.digest().clone()],
    };
    digests.sort();
    Ok(digests)
}

/// Asks for the right to push where something is to be put: a refusal in the middle of it is the worst time.
fn may_push(services: &[ServicePlan], registry: &Registry) -> Result<()> {
    let repositories: BTreeSet<ImageRef> =
        services.iter().filter(|service| service.changes()).map(|service| service.source.without_reference()).collect();
    let repositories: Vec<ImageRef> = repositories.into_iter().collect();
    let mut refused = Vec::new();
    for (repository, access) in repositories.iter().zip(in_parallel(&repositories, |repository| registry.can_push(repository))) {
        if let Access::Denied(reason) = access? {
            refused.push(format!("{repository} ({reason})"));
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let host = repositories.first().map(ImageRef::registry).unwrap_or_default();
    Err(Error::failed(format!("nothing was published: we may not push to {}", refused.join(" and ")))
        .hint(format!("log in with `docker login {host}` as someone who may, or give the token the right to write packages")))
}

/// The version an exact tag names: `v1.2.3`, `1.2.3-rc.1`.
fn version_of(tag: &Tag) -> Option<Version> {
    Version::parse(tag.as_str().strip_prefix('v').unwrap_or(tag.as_str())).ok()
}

/// True for tags that move from release to release.
pub(super) fn is_floating(tag: &Tag) -> bool {
    version_of(tag).is_none()
}

/// True for versions that a floating tag ranges over; `None` for a tag that no order of versions governs, such as a branch.
fn range(tag: &Tag) -> Option<impl Fn(&Version) -> bool> {
    let text = tag.as_str().strip_prefix('v').unwrap_or(tag.as_str());
    let numbers: Option<Vec<u64>> =
        if tag.as_str() == "latest" { Some(Vec::new()) } else { text.split('.').map(|n| n.parse().ok()).collect() };
    let numbers = numbers.filter(|numbers| numbers.len() <= 2)?;
    Some(move |version: &Version| [version.major, version.minor].starts_with(&numbers))
}

/// The newer release that holds a floating tag, so that `version` must not have it; `existing` are the
/// repository's tags. A pre-release never takes one from, or before, a
/// release: it counts as held by itself.
pub fn held_by(tag: &Tag, version: &Version, existing: &[Tag]) -> Option<Version> {
    if !is_floating(tag) {
        return None;
    }
    let within = range(tag)?;
    if !version.pre.is_empty() {
        return Some(version.clone());
    }
    let releases = existing.iter().filter_map(version_of).filter(|other| other.pre.is_empty() && within(other));
    releases.max().filter(|newest| newest > version)
}

/// Looks once more before a floating tag moves: a newer release may have been published since the plan.
pub(super) fn overtaken(registry: &Registry, version: Option<&Version>, target: &ImageRef) -> Result<Option<Version>> {
    let (Some(version), Some(tag)) = (version, target.tag()) else { return Ok(None) };
    if range(tag).is_none() {
        return Ok(None);
    }
    Ok(held_by(tag, version, &registry.tags(target)?))
}

/// The tags of a release from their templates: `{version}` (without `v`), `{major}`, `{minor}`, `{patch}`. A pre-release gets
/// only those whose template holds the whole version.
///
/// # Errors
/// When a template names something else, or what comes out is not a tag.
pub fn tags_of(templates: &[String], version: &Version) -> Result<Vec<Tag>> {
    let values = [
        ("{version}", version.to_string()),
        ("{major}", version.major.to_string()),
        ("{minor}", version.minor.to_string()),
        ("{patch}", version.patch.to_string()),
    ];
    let mut tags = Vec::new();
    for template in templates {
        if !version.pre.is_empty() && !template.contains("{version}") {
            continue;
        }
        let text = values.iter().fold(template.clone(), |text, (name, value)| text.replace(name, value));
        let tag: Tag = text.parse().map_err(|e: Error| {
            Error::usage(format!("[release] tags: `{template}` makes no tag of {version}: {e}"))
                .hint("a template may hold {version}, {major}, {minor} and {patch}")
        })?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn floating_tags_stay_with_the_newest_release_of_their_range() {
        let existing: Vec<Tag> = ["v1.2.9", "1.10.0", "v2.0.0", "3.0.0-rc.1", "latest", "in-abc", "1.2"].map(tag).to_vec();
        let cases = [
            ("latest", "1.2.10", Some("2.0.0")),
            ("1", "1.2.10", Some("1.10.0")),
            ("1.2", "1.2.10", None),
            ("1.2", "1.2.8", Some("1.2.9")),
            ("v1", "1.2.10", Some("1.10.0")),
            ("latest", "2.0.1", None),
            ("latest", "2.0.0", None),
            ("latest", "3.0.0-rc.2", Some("3.0.0-rc.2")),
            ("edge", "1.0.0", None),
            ("v1.2.8", "1.2.8", None),
        ];
        for (floating, ours, held) in cases {
            assert_eq!(held_by(&tag(floating), &version(ours), &existing), held.map(version), "{floating} for {ours}");
        }
    }

    #[test]
    fn templates_make_tags_and_a_pre_release_gets_only_whole_versions() {
        let templates = ["v{version}", "{version}", "{major}.{minor}", "{major}", "latest"].map(str::to_owned);
        let of = |text: &str| tags_of(&templates, &version(text)).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("1.2.3"), ["v1.2.3", "1.2.3", "1.2", "1", "latest"]);
        assert_eq!(of("2.0.0-rc.1"), ["v2.0.0-rc.1", "2.0.0-rc.1"]);
        let error = tags_of(&["{vresion}".to_owned()], &version("1.0.0")).unwrap_err();
        assert!(error.to_string().contains("`{vresion}` makes no tag of 1.0.0"), "{error}");
        assert!(tags_of(&templates, &version("1.0.0+build")).is_err(), "a `+` cannot stand in a tag");
    }
}
