//! The history of runs: a line for each, and one history for CI and laptops, kept in the registry as an OCI artifact (image-spec 1.1,
//! "Guidelines for Artifact Usage") whose only layer is the history's text. What a line holds is `record::history`'s to say.

use std::time::Duration;

use crate::docker::manifest::{Document, OCI_EMPTY, OCI_MANIFEST, Raw};
use crate::error::{Error, Result};
use crate::event::Level;
use crate::name::ImageRef;
use crate::record::history::PastRun;
use crate::record::{Keep, RunRecord};
use crate::stage::Session;

/// How much of the history is kept: about 10 MB.
const KEEP: Keep = Keep { count: 10_000, age: Duration::from_hours(366 * 24) };

const ARTIFACT: &str = "application/vnd.xtask.history.v1";
const LINES: &str = "application/vnd.xtask.history.v1+jsonl";

/// The largest history that is read back, in bytes.
const MAX: u64 = 256 << 20;

/// How often a push begins anew because somebody else's came first.
const ATTEMPTS: usize = 5;

/// Appends a run. A history that cannot be written is a warning: the run itself went as it went.
pub fn append(session: &Session, record: &RunRecord) {
    let history = session.history();
    if let Err(error) = history.append(&PastRun::from(record)).and_then(|()| history.tidy(KEEP, session.begun)) {
        session.events.notice(Level::Warning, None, error.to_string(), Some("`cargo xtask stats` will not know this run".into()));
    }
}

/// Takes in the runs that the registry's history has and ours has not. Returns how many came.
///
/// # Errors
/// When there is no registry, it does not answer, or what it holds is no history.
pub fn pull(session: &Session) -> Result<usize> {
    let place = place(session)?;
    match session.registry.manifest(&place)? {
        Some(raw) => session.history().merge(&lines(session, &place, &raw)?),
        None => Ok(0),
    }
}

/// Takes in what the registry has, then puts the whole there. Returns how many runs went.
///
/// A registry knows no "only if unchanged": whoever puts a manifest last wins. So the tag is looked at right before and after, and
/// what came in between is taken in first. Two pushes within milliseconds can still pass each other by; the runs are then
/// missing there until the next push from the machine that has them.
///
/// # Errors
/// As [`pull`], and when the registry cannot be written, or others never cease to write.
pub fn push(session: &Session) -> Result<usize> {
    let (place, history, registry) = (place(session)?, session.history(), &session.registry);
    for _ in 0..ATTEMPTS {
        let before = registry.manifest(&place)?;
        let theirs = before.as_ref().map(|raw| lines(session, &place, raw)).transpose()?.unwrap_or_default();
        history.merge(&theirs)?;
        history.prune(KEEP, session.begun)?;
        let ours = history.lines()?;
        let news = crate::record::history::missing(&ours, &theirs).len();
        if news == 0 {
            return Ok(0);
        }
        let raw = upload(session, &place, ours.as_bytes())?;
        let is = |digest: Option<&crate::name::Digest>| -> Result<bool> {
            Ok(registry.resolve(&place)?.map(|found| found.digest).as_ref() == digest)
        };
        if is(before.as_ref().map(Raw::digest))? {
            registry.put_manifest(&place, &raw)?;
            if is(Some(raw.digest()))? {
                return Ok(news);
            }
        }
    }
    Err(Error::failed(format!("others write {place} all the time")).hint("run this again"))
}

fn place(session: &Session) -> Result<ImageRef> {
    session.config.history.clone().ok_or_else(|| {
        Error::usage("there is no registry to share the history through")
            .hint("set `[stats] repository` in xtask.toml, or `[images] registry` and `namespace`")
    })
}

fn lines(session: &Session, place: &ImageRef, raw: &Raw) -> Result<String> {
    let foreign = || {
        Error::failed(format!("{place} holds something else than a history of runs"))
            .hint("name another place in `[stats] repository` in xtask.toml")
    };
    let Document::Manifest(manifest) = raw.document()? else { return Err(foreign()) };
    let layer = manifest.layers.iter().find(|layer| layer.media_type == LINES).ok_or_else(foreign)?;
    let bytes = session.registry.blob(place, &layer.digest, layer.size.min(MAX))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn upload(session: &Session, place: &ImageRef, text: &[u8]) -> Result<Raw> {
    let empty = session.registry.push_blob(place, OCI_EMPTY, b"{}")?;
    let layer = session.registry.push_blob(place, LINES, text)?;
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": ARTIFACT, "config": empty, "layers": [layer],
    });
    Ok(Raw::new(OCI_MANIFEST, manifest.to_string()))
}
