//! Which of the images that stand under a content tag may be taken for built. Whoever may push can put anything under such a tag, and its
//! name can be computed before a change is merged. So an image counts only with proof that it was made from these inputs:
//!
//! - this machine's own record of having built that very digest, or
//! - this repository's mark in the manifest, with the fingerprint; and where `[release] sign` is set, a signature over that manifest
//!   (and so over the mark in it) by an identity that the configuration trusts.
//!
//! What has no proof is built again. What a mark alone does not stop is said in docs/release.md.

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::pool::in_parallel;
use monoship_core::name::{Digest, Fingerprint, ImageRef, ServiceName};
use monoship_docker::cosign::{Cosign, Signer};
use monoship_docker::manifest::Document;
use monoship_docker::mark::Mark;
use monoship_docker::registry::Registry;

use crate::{Session, marks, signing};

/// An image that is looked for.
pub struct Wanted<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// Its inputs.
    pub fingerprint: &'a Fingerprint,
    /// Where it would stand, content tag included.
    pub image: ImageRef,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// An image with proof.
    Proven(Digest),
    /// An image without, and why.
    Unproven(String),
}

/// Looks for all of them at once, and more closely before a release.
///
/// # Errors
/// When the registry or git does not answer.
pub fn standing(session: &Session, wanted: &[Wanted<'_>], for_release: bool) -> Result<Vec<Standing>> {
    let owner = marks::owner(session)?;
    let signed = signing::trusted(session)?.map(|signers| (signing::cosign(session), signers));
    let found = in_parallel(wanted, |one| judge(session, one, for_release, &owner, signed.as_ref()));
    found.into_iter().collect()
}

fn judge(
    session: &Session,
    one: &Wanted<'_>,
    for_release: bool,
    owner: &str,
    signed: Option<&(Cosign, Signer)>,
) -> Result<Standing> {
    let Some(raw) = session.registry.manifest(&one.image)? else { return Ok(Standing::Absent) };
    let (digest, document) = (raw.digest().clone(), raw.document()?);
    if let Some(lost) = lost(&session.registry, &one.image, &document, for_release)? {
        return Ok(Standing::Unproven(format!("the registry has lost {lost} of it")));
    }
    let built_here =
        session.state().find(one.service, one.fingerprint).is_some_and(|build| build.digest.as_ref() == Some(&digest));
    if built_here {
        return Ok(Standing::Proven(digest));
    }
    let mark = Mark::of(&document);
    if let Some(why) = unlike(mark.as_ref(), owner, one.fingerprint) {
        return Ok(Standing::Unproven(why));
    }
    let Some((cosign, signer)) = signed else { return Ok(Standing::Proven(digest)) };
    match cosign.verify(&one.image, &digest, signer) {
        Ok(()) => Ok(Standing::Proven(digest)),
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => Ok(Standing::Unproven(said(&error))),
    }
}

/// The first manifest of an index that is not there: whoever cleans up what has no tag takes those of indexes that have one. Before a release
/// the first layer or configuration, too: a registry's own clean-up takes those, and every pull of the image fails.
///
/// # Errors
/// When the registry does not answer.
pub fn lost(registry: &Registry, image: &ImageRef, document: &Document, for_release: bool) -> Result<Option<Digest>> {
    let place = image.without_reference();
    let mut images = Vec::new();
    match document {
        Document::Manifest(manifest) => images.push((**manifest).clone()),
        Document::Index(index) => {
            let parts = index.manifests.iter().map(|entry| place.with_digest(entry.digest.clone())).into_vec();
            for (part, found) in parts.iter().zip(registry.resolve_all(&parts)) {
                if found?.is_none() {
                    return Ok(part.digest().cloned());
                }
            }
            for entry in index.images().filter(|_| for_release) {
                if let Document::Manifest(manifest) =
                    registry.need_manifest(&place.with_digest(entry.digest.clone()))?.document()?
                {
                    images.push(*manifest);
                }
            }
        }
    }
    let blobs = images.iter().filter(|_| for_release).flat_map(|image| image.layers.iter().chain([&image.config]));
    let blobs: Vec<&Digest> = blobs.map(|blob| &blob.digest).into_set().into_iter().into_vec();
    // What does not say is the pull's own affair.
    let gone = in_parallel(&blobs, |blob| registry.has_lost(&place, blob).is_ok_and(|lost| lost));
    Ok(blobs.into_iter().zip(gone).find(|(_, gone)| *gone).map(|(blob, _)| blob.clone()))
}

fn said(error: &Error) -> String {
    format!("its signature is not trusted: {error}")
}

/// What is wrong with a mark.
fn unlike(mark: Option<&Mark>, owner: &str, fingerprint: &Fingerprint) -> Option<String> {
    let Some(mark) = mark else { return Some("it carries no mark of who made it".to_owned()) };
    if mark.repository != owner {
        return Some(format!("it is marked as {}'s, and this is {owner}", mark.repository));
    }
    match &mark.fingerprint {
        Some(inputs) if inputs == fingerprint => None,
        Some(_) => Some("it is marked as made from other inputs".to_owned()),
        None => Some("its mark does not say what it was made from".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_only_of_this_repository_and_of_these_inputs() {
        let (ours, other) = (Fingerprint::of(b"1"), Fingerprint::of(b"2"));
        let mark = |repository: &str, fingerprint: Option<&Fingerprint>| Mark {
            repository: repository.to_owned(),
            fingerprint: fingerprint.cloned(),
        };
        let why = |mark: Option<Mark>| unlike(mark.as_ref(), "github.com/o/r", &ours);
        assert_eq!(why(Some(mark("github.com/o/r", Some(&ours)))), None);
        let cases = [
            (None, "no mark"),
            (Some(mark("github.com/fork/r", Some(&ours))), "marked as github.com/fork/r's"),
            (Some(mark("github.com/o/r", Some(&other))), "other inputs"),
            (Some(mark("github.com/o/r", None)), "does not say"),
        ];
        for (mark, part) in cases {
            let why = why(mark).unwrap();
            assert!(why.contains(part), "{why}");
        }
    }
}
