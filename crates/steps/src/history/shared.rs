//! A shared history as it lies in a registry: OCI artifacts (image-spec 1.1, "Guidelines for Artifact Usage") whose only layer is lines of the
//! history. One has them all, under the configured tag; each of the others is a part, under that tag with an ending. Which is put and removed
//! when is decided in `steps::history`.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use std::time::SystemTime;

use crate::Session;
use crate::upkeep::TierReader;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::time::rfc3339;
use monoship_docker::manifest::{CREATED, Document, Manifest, OCI_EMPTY, OCI_MANIFEST, Raw};

const ARTIFACT: &str = "application/vnd.xtask.history.v1";
const LINES: &str = "application/vnd.xtask.history.v1+jsonl";

/// Makes the manifests of two pushes differ whose lines do not, so that removing one's never takes the other's along.
const RUN: &str = "xtask.run";

/// The largest history that is read back, in bytes.
const MAX: u64 = 256 << 20;

/// How many digits of a part's digest its tag ends in.
const DIGITS: usize = 16;

/// Lines that lie under one tag.
struct Piece {
    digest: Digest,
    /// When it was put, by the clock of whoever put it.
    time: Option<SystemTime>,
    text: String,
}

/// All that the registry has of a history.
pub struct Shared {
    parts: Vec<Piece>,
    common: Option<Piece>,
}

impl Shared {
    /// Every line, some more than once.
    pub fn text(&self) -> String {
        self.common.iter().chain(&self.parts).flat_map(|piece| [piece.text.as_str(), "\n"]).collect()
    }

    /// The lines under the common tag.
    pub fn common_text(&self) -> &str {
        self.common.as_ref().map_or("", |piece| &piece.text)
    }

    /// The manifest under the common tag.
    pub fn common_digest(&self) -> Option<&Digest> {
        self.common.as_ref().map(|piece| &piece.digest)
    }

    /// The manifests of the parts that were put before then. Of one that does not say when, nobody knows.
    pub fn parts_before(&self, then: SystemTime) -> Vec<Digest> {
        let settled = self.parts.iter().filter(|part| part.time.is_some_and(|time| time < then));
        settled.map(|part| part.digest.clone()).into_vec()
    }
}

/// Reads the parts first, then what is common: a part that goes in between is in there.
///
/// # Errors
/// When the registry does not answer, or holds something else under the common tag.
pub fn read(session: &Session, place: &ImageRef) -> Result<Shared> {
    let tags = session.registry.tags(place)?;
    let parts: Vec<ImageRef> = tags.into_iter().filter(|tag| is_part(tag, place)).map(|tag| place.with_tag(tag)).into_vec();
    let parts = in_parallel(&parts, |part| piece(session, part));
    let parts = parts.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
    Ok(Shared { parts, common: piece(session, place)? })
}

/// True for the common tag with a dash and hexadecimal digits after it.
fn is_part(tag: &Tag, place: &ImageRef) -> bool {
    let ending = || tag.as_str().strip_prefix(place.tag()?.as_str())?.strip_prefix('-');
    ending().is_some_and(|ending| ending.len() == DIGITS && ending.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn piece(session: &Session, image: &ImageRef) -> Result<Option<Piece>> {
    let Some(raw) = session.registry.manifest(image)? else { return Ok(None) };
    let foreign = || {
        Error::failed(format!("{image} is not a history of runs"))
            .hint("name another place in `[stats] repository` in xtask.toml")
    };
    let Document::Manifest(manifest) = raw.document()? else { return Err(foreign()) };
    let layer = manifest.layers.iter().find(|layer| layer.media_type == LINES).ok_or_else(foreign)?;
    let bytes = session.registry.blob(image, &layer.digest, layer.size.min(MAX))?;
    Ok(Some(Piece { digest: raw.digest().clone(), time: created(&manifest), text: String::from_utf8_lossy(&bytes).into_owned() }))
}

fn created(manifest: &Manifest) -> Option<SystemTime> {
    humantime::parse_rfc3339(manifest.annotations.get(CREATED)?).ok()
}

/// Stores lines under a tag of their own.
///
/// # Errors
/// When the registry refuses or does not answer.
pub fn put_part(session: &Session, place: &ImageRef, lines: &[&str]) -> Result<()> {
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let common = place.tag().map_or("", Tag::as_str);
    let tag = format!("{common}-{}", &Digest::of(text.as_bytes()).hex()[..DIGITS]).parse()?;
    put(session, &place.with_tag(tag), &text).map(drop)
}

/// Puts the whole history under the common tag. Returns its manifest's digest.
///
/// # Errors
/// As [`put_part`].
pub fn put_common(session: &Session, place: &ImageRef, text: &str) -> Result<Digest> {
    put(session, place, text)
}

fn put(session: &Session, image: &ImageRef, text: &str) -> Result<Digest> {
    let empty = session.registry.push_blob(image, OCI_EMPTY, b"{}")?;
    let layer = session.registry.push_blob(image, LINES, text.as_bytes())?;
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": ARTIFACT, "config": empty, "layers": [layer],
        "annotations": {CREATED: rfc3339::text(SystemTime::now()), RUN: session.run.id},
    });
    let raw = Raw::new(OCI_MANIFEST, manifest.to_string());
    session.registry.put_manifest(image, &raw)?;
    Ok(raw.digest().clone())
}

/// Removes parts, by whichever way the registry deletes.
///
/// # Errors
/// When it does not.
pub fn remove(session: &Session, place: &ImageRef, parts: &[Digest]) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let api = session.github()?;
    TierReader::new(session, api.as_ref().map_err(|why| *why)).delete_all(&place.without_reference(), parts)
}
