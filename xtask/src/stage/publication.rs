//! From a plan whose images stand to what is published: which content tag becomes which tags, and what the notes say of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use semver::Version;

use crate::docker::manifest::{Document, Index, Manifest, PlatformSpec};
use crate::docker::registry::Registry;
use crate::error::{Error, Result};
use crate::event::{Level, Status};
use crate::execute::group::Group;
use crate::github::api::Api;
use crate::github::notes::{self as body, ImageNote, PlatformNote, ReleaseNotes};
use crate::name::{ImageRef, ReleaseTag, Tag};
use crate::plan::Plan;
use crate::plan::request::Release;
use crate::record::RunRecord;
use crate::stage::publish::{self, Item, Published};
use crate::stage::update_release;
use crate::stage::{Session, checkout};

/// What a publication is called and which tags it puts.
pub struct Naming<'a> {
    /// A release's tag, or a branch's.
    pub name: &'a str,
    /// The release's version; none for a branch.
    pub version: Option<&'a Version>,
    /// The tags.
    pub tags: &'a [Tag],
    /// Let a version tag that exists with other content move.
    pub move_tags: bool,
    /// What is put on a new index over each image.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Version, revision and time of a release, where `[release] annotate` asks for them. The time is the commit's, so that a rerun makes
/// the same index.
///
/// # Errors
/// When git does not say when the commit was made.
pub fn annotations(session: &Session, version: &Version, commit: &str) -> Result<Option<BTreeMap<String, String>>> {
    if !session.config.release.annotate {
        return Ok(None);
    }
    let created = checkout::committed(&session.git(), commit)?;
    let all = [("version", version.to_string()), ("revision", commit.to_owned()), ("created", created)];
    Ok(Some(all.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).into()))
}

/// Where the journal of a publication lies.
pub fn journal(session: &Session, name: &str) -> PathBuf {
    session.state_dir().join("publish").join(format!("{name}.json"))
}

/// The request to the publish stage: every service of the plan, under its content tag.
pub fn request(session: &Session, plan: &Plan, naming: &Naming<'_>) -> publish::Request {
    let items = plan.services.iter().filter_map(|service| {
        let source = service.target.spec.output.names().first()?.clone();
        Some(Item { service: service.service.name.clone(), source, digest: None, tags: naming.tags.to_vec() })
    });
    publish::Request {
        name: naming.name.to_owned(),
        version: naming.version.cloned(),
        items: items.collect(),
        journal: journal(session, naming.name),
        move_tags: naming.move_tags,
        annotations: naming.annotations.clone(),
    }
}

/// True where every service has an image: built now or before.
pub fn all_stand(record: &RunRecord) -> bool {
    record.tasks.iter().all(|task| matches!(task.status, Status::Built | Status::Skipped | Status::Done))
}

/// What the notes say: digests, platforms and sizes as the registry has them, changes since the release before.
///
/// # Errors
/// When an image cannot be read back, or GitHub does not answer.
pub fn notes(tag: &Tag, published: &[Published], registry: &Registry, api: Option<&Api>) -> Result<ReleaseNotes> {
    let before = api.map(|api| api.release_before(tag)).transpose()?.flatten();
    let digests = before.as_ref().map(|release| body::digests(release.body.as_deref().unwrap_or_default()));
    let images = published.iter().map(|published| {
        Ok(ImageNote {
            service: published.service.clone(),
            image: published.repository.clone(),
            digest: published.digest.clone(),
            platforms: platforms(&published.repository.with_digest(published.digest.clone()), registry)?,
            change: digests.as_ref().map(|before| body::change_since(before, &published.service, &published.digest)),
        })
    });
    Ok(ReleaseNotes {
        tag: tag.clone(),
        images: images.collect::<Result<_>>()?,
        previous: before.and_then(|release| release.tag_name.parse().ok()),
        details: None,
    })
}

/// Writes the release's notes, to GitHub or, where it cannot be told, to a file.
///
/// # Errors
/// As [`notes`] and [`update_release::update_release`].
pub fn write_notes(
    session: &Session,
    tag: &ReleaseTag,
    release: &Release,
    published: &[Published],
) -> Result<update_release::Report> {
    let api = session.github()?;
    let notes = notes(&tag.tag, published, &session.registry, api.as_ref().ok())?;
    let fallback = session.state_dir().join("release").join(format!("{}.md", tag.tag));
    let request = update_release::Request {
        notes: &notes,
        missing: release.missing,
        prerelease: !tag.version.pre.is_empty(),
        dry_run: false,
        file: release.notes_file.as_deref(),
        fallback: &fallback,
    };
    update_release::update_release(api.as_ref().map_err(|why| *why), &request, &session.events).map_err(|e: Error| {
        if e.hint_text().is_some() { e } else { e.hint("the images and their tags stand; run this again for the notes") }
    })
}

/// Makes this run the only one that releases the tag: an earlier one is stopped and taken over from.
///
/// # Errors
/// When it does not end in time.
pub fn enter(session: &Session, tag: &ReleaseTag) -> Result<Group> {
    let lock = session.state_dir().join("release").join(format!("{}.lock", tag.tag));
    let group = Group::enter(&lock, true, &session.shutdown)?;
    if let Some(earlier) = group.stopped() {
        let message = format!("stopped the earlier release of {} (process {earlier}) and took over", tag.tag);
        session.events.notice(Level::Info, None, message, None);
    }
    Ok(group)
}

fn platforms(image: &ImageRef, registry: &Registry) -> Result<Vec<PlatformNote>> {
    match registry.need_manifest(image)?.document()? {
        Document::Manifest(_) => Ok(Vec::new()),
        Document::Index(index) => index_platforms(image, &index, registry),
    }
}

fn index_platforms(image: &ImageRef, index: &Index, registry: &Registry) -> Result<Vec<PlatformNote>> {
    let mut platforms = Vec::new();
    for entry in index.images() {
        let Some(platform) = entry.platform.as_ref().and_then(PlatformSpec::name) else { continue };
        let bytes = match registry.need_manifest(&image.with_digest(entry.digest.clone()))?.document()? {
            Document::Manifest(manifest) => Some(size(&manifest)),
            Document::Index(_) => None,
        };
        platforms.push(PlatformNote { platform, digest: Some(entry.digest.clone()), bytes });
    }
    Ok(platforms)
}

/// Bytes to pull.
fn size(manifest: &Manifest) -> u64 {
    manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size))
}
