//! What a registry lists (tags, repositories) and what it lets us do.

use serde::Deserialize;

use super::answers::{Ask, Verdict};
use super::{Access, Answer, Call, Deletion, Refusal, Registry};
use crate::manifest::{Descriptor, Document, Index, OCI_EMPTY, OCI_MANIFEST, Raw};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Request, resolve};
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::SortedSet;

/// The most pages a listing may have: a registry whose `link` leads in a circle must not hold us.
const MAX_PAGES: usize = 1_000;

/// The content of what has none (OCI image-spec 1.1, "Guidance for an empty descriptor").
const NOTHING: &[u8] = b"{}";

impl Registry {
    /// Every tag of the repository, in the registry's order; none where the repository does not exist.
    ///
    /// # Errors
    /// When the registry cannot be reached, refuses, or its pages do not end.
    pub fn tags(&self, image: &ImageRef) -> Result<Vec<Tag>> {
        self.try_tags(image)?.map_err(|refusal| Call::list(image).refused(&refusal))
    }

    /// The same where a refusal is an answer: not everybody who may push may list (a robot of Harbor's without that right, a policy of ECR's
    /// without `ListImages`).
    ///
    /// # Errors
    /// When the registry cannot be reached, or its pages do not end.
    pub fn try_tags(&self, image: &ImageRef) -> Result<Result<Vec<Tag>, Refusal>> {
        #[derive(Deserialize)]
        struct Page {
            // `null` where a repository has lost its last tag.
            tags: Option<Vec<String>>,
        }
        let pages = self.pages::<Page>(&Call::list(image), &format!("/v2/{}/tags/list?n=1000", image.repository()))?;
        let pages = match pages {
            Ok(pages) => pages,
            Err(Refusal { verdict: Verdict::Absent, .. }) => return Ok(Ok(Vec::new())),
            Err(refusal) => return Ok(Err(refusal)),
        };
        // A tag that is none by the grammar cannot be asked for either.
        Ok(Ok(pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).filter_map(|tag| tag.parse().ok()).into_vec()))
    }

    /// True where the registry says, by its list, that it does not have the image's tag; false where it has, or does not say.
    pub(super) fn lists_no_such_tag(&self, image: &ImageRef) -> Result<bool> {
        match self.tags(image) {
            Ok(tags) => Ok(!tags.iter().any(|tag| tag.as_str() == image.reference())),
            Err(error) if error.is_cancelled() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The artifacts about a manifest that the registry lists; `None` where it does not know the referrers API (OCI distribution-spec
    /// 1.1), as distribution before 3.0 and GHCR do not.
    ///
    /// # Errors
    /// As [`Registry::tags`].
    pub fn referrers(&self, image: &ImageRef, about: &Digest) -> Result<Option<Vec<Descriptor>>> {
        let call = Call::pull(image).asking(Ask::Referrers);
        match self.pages::<Index>(&call, &format!("/v2/{}/referrers/{about}", image.repository()))? {
            Ok(pages) => Ok(Some(pages.into_iter().flat_map(|page| page.manifests).into_vec())),
            Err(Refusal { verdict: Verdict::Unsupported | Verdict::Absent, .. }) => Ok(None),
            Err(refusal) => Err(call.refused(&refusal)),
        }
    }

    /// The names of the repositories on a host, where it tells (GHCR and Docker Hub do not).
    ///
    /// # Errors
    /// As [`Registry::tags`].
    pub fn catalog(&self, host: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let image: ImageRef = format!("{host}/catalog").parse()?;
        let (scope, doing) = ("registry:catalog:*".to_owned(), "list the repositories of");
        let call = Call { image: &image, scope, doing, ask: Ask::List };
        let pages = self.pages::<Page>(&call, "/v2/_catalog?n=1000")?;
        let pages = match pages {
            Ok(pages) => pages,
            Err(Refusal { verdict: Verdict::Absent | Verdict::Unsupported, .. }) => return Ok(Vec::new()),
            Err(refusal) => return Err(call.refused(&refusal)),
        };
        Ok(pages.into_iter().flat_map(|page| page.repositories.unwrap_or_default()).into_vec())
    }

    /// Takes one tag away and leaves what it points to, by whichever way the registry knows: deleting the tag, or letting it point to
    /// an empty manifest and deleting that. Where neither works, nothing was changed.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses.
    pub fn remove_tag(&self, image: &ImageRef, tag: &Tag) -> Result<Deletion> {
        let plain = self.delete_tag(image, tag)?;
        if plain != Deletion::Unsupported {
            return Ok(plain);
        }
        let bare = image.without_reference();
        // A registry that deletes nothing says so of what it does not have, too, and is left without a manifest that nobody wants.
        if self.delete_manifest(&bare, &nobodys())? == Deletion::Unsupported {
            return Ok(Deletion::Unsupported);
        }
        // By digest would take the manifest and every other tag of it along, so the tag gets one of its own to be deleted with.
        self.push_blob(&bare, OCI_EMPTY, NOTHING)?;
        let unique = format!("{tag} at {:?}", std::time::SystemTime::now());
        let place_holder = withdrawn(&unique);
        // First without the tag: a registry that does not delete must not be left with a tag that points to nothing.
        self.put_manifest(&bare, &place_holder)?;
        if self.delete_manifest(&bare, place_holder.digest())? != Deletion::Deleted {
            return Ok(Deletion::Unsupported);
        }
        self.put_manifest(&bare.with_tag(tag.clone()), &place_holder)?;
        self.delete_manifest(&bare, place_holder.digest())
    }

    /// True where the registry deletes manifests, and lets us: asked of one that nobody has.
    ///
    /// # Errors
    /// When the run is stopped. A registry that does not answer counts as one that does not delete.
    pub fn deletes(&self, image: &ImageRef) -> Result<bool> {
        match self.delete_manifest(&image.without_reference(), &nobodys()) {
            Ok(deletion) => Ok(deletion != Deletion::Unsupported),
            Err(error) if error.is_cancelled() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Puts a [`note`] under the image's tag. The inner value is a refusal that asking again would not change.
    ///
    /// # Errors
    /// When the registry cannot be reached, or refuses the empty blob that every manifest has to name.
    pub fn put_note(&self, image: &ImageRef, note: &Raw) -> Result<Option<Refusal>> {
        self.push_blob(&image.without_reference(), OCI_EMPTY, NOTHING)?;
        self.try_put_manifest(image, note)
    }

    /// Every page of a list; the inner error is a refusal of the first. Where a later page is missing, the list is not whole, and nobody may
    /// take it for that.
    fn pages<T: serde::de::DeserializeOwned>(&self, call: &Call<'_>, path: &str) -> Result<Result<Vec<T>, Refusal>> {
        let mut pages = Vec::new();
        let (mut path, mut writer, mut asked_for) = (path.to_owned(), None, SortedSet::new());
        loop {
            if pages.len() == MAX_PAGES || asked_for.contains(&path) {
                return Err(Error::failed(format!("{}'s listing does not end", call.image.registry())));
            }
            let asked = writer.as_ref().unwrap_or(call);
            let (answer, url) = self.retrying(|| {
                let base = self.session(call.image.registry()).base(&self.http)?;
                let url = resolve(&format!("{base}/"), &path)?;
                Ok((self.ask(asked, &[200], || Request::get(&url).max_body(64 << 20))?, url))
            })?;
            let response = match answer {
                Answer::Got(response) => response,
                Answer::Not(refusal) if !pages.is_empty() => {
                    let said =
                        format!("{}'s listing breaks off after page {}: {}", call.image.registry(), pages.len(), refusal.said);
                    return Err(Error::failed(said));
                }
                // It lists as many as it likes to.
                Answer::Not(Refusal { verdict: Verdict::PageTooLong, .. }) if path.contains("?n=") => {
                    path.truncate(path.find('?').unwrap_or(path.len()));
                    continue;
                }
                Answer::Not(refusal)
                    if refusal.verdict == Verdict::AbsentOrDenied && writer.is_none() && self.has_writers(call) =>
                {
                    writer = Some(call.as_writer());
                    continue;
                }
                Answer::Not(refusal) => return Ok(Err(refusal)),
            };
            match response.json() {
                Ok(page) => pages.push(page),
                // A page for people, by a registry that knows nothing of the API, or by who stands before it.
                Err(_) if pages.is_empty() => {
                    let said = "it answers with something else than a list".to_owned();
                    return Ok(Err(Refusal { verdict: Verdict::Unsupported, said }));
                }
                Err(error) => return Err(error),
            }
            match response.next_page() {
                Some(next) => {
                    let next = resolve(&url, next)?;
                    asked_for.insert(std::mem::replace(&mut path, next));
                }
                None => return Ok(Ok(pages)),
            }
        }
    }

    /// True where asking as one who writes can be answered otherwise: of a repository, by a registry that gives out tokens.
    fn has_writers(&self, call: &Call<'_>) -> bool {
        call.scope.starts_with("repository:") && self.session(call.image.registry()).asks_for_tokens()
    }

    /// Whether we may read the repository; one that does not exist yet counts as readable.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub fn can_pull(&self, image: &ImageRef) -> Result<Access> {
        let mut call = Call::pull(image).asking(Ask::List);
        loop {
            let answer = self.retrying(|| {
                let url = self.url(image, "tags/list?n=1")?;
                self.ask(&call, &[200], || Request::get(&url))
            })?;
            match answer {
                Answer::Got(_) | Answer::Not(Refusal { verdict: Verdict::Absent, .. }) => return Ok(Access::Granted),
                Answer::Not(refusal)
                    if refusal.verdict == Verdict::AbsentOrDenied && call.doing == "read" && self.has_writers(&call) =>
                {
                    call = Call { doing: "write to", ..call.as_writer() };
                }
                Answer::Not(refusal) => return Ok(Access::Denied(refusal)),
            }
        }
    }

    /// Whether we may write to the repository: an upload is begun and cancelled, which leaves nothing.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub fn can_push(&self, image: &ImageRef) -> Result<Access> {
        let call = Call::push(image);
        self.retrying(|| {
            let url = self.url(image, "blobs/uploads/")?;
            let response = match self.ask(&call, &[201, 202], || Request::new("POST", &url).body(Vec::new()))? {
                Answer::Got(response) => response,
                Answer::Not(refusal) => return Ok(Access::Denied(refusal)),
            };
            if let Some(location) = response.header("location") {
                let upload = resolve(&url, location)?;
                // Distribution wants the right to delete for this, too. An upload that is not cancelled expires by itself.
                let cancel = Call::new(image, "delete,pull,push", "write to", Ask::Upload);
                drop(self.ask(&cancel, &[204], || Request::new("DELETE", &upload)));
            }
            Ok(Access::Granted)
        })
    }
}

/// What no registry has.
fn nobodys() -> Digest {
    Digest::of(b"nobody's: may we delete?")
}

/// The annotation on what a tag points to that has no image any more.
const WITHDRAWN: &str = "vnd.monoship.withdrawn";

/// The same by earlier versions.
const REMOVES: &str = "xtask.removes";

/// What takes an image's place under a tag: for the moment before the tag goes, and for good where the registry deletes nothing. No run takes it for
/// an image. `of` says whose place it takes, so that no other tag has the same manifest.
#[must_use]
pub fn withdrawn(of: &str) -> Raw {
    note("application/vnd.monoship.withdrawn", WITHDRAWN, of)
}

/// True of what [`withdrawn`] makes.
#[must_use]
pub fn is_withdrawn(raw: &Raw) -> bool {
    let says = |name| matches!(raw.document(), Ok(Document::Manifest(manifest)) if manifest.annotations.contains_key(name));
    says(WITHDRAWN) || says(REMOVES)
}

/// A manifest that is no image and says one thing: an annotation. One that says what no other does goes by its digest, and with it the one tag
/// that it was put under.
#[must_use]
pub fn note(kind: &str, name: &str, says: &str) -> Raw {
    let empty = Descriptor::of(OCI_EMPTY, NOTHING);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
        "annotations": {name: says},
    });
    Raw::new(OCI_MANIFEST, manifest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withdrawn_is_known_also_by_the_word_of_earlier_versions() {
        assert!(
            is_withdrawn(&withdrawn("r.example/api:1")) && is_withdrawn(&note("application/vnd.xtask.tombstone", REMOVES, "1"))
        );
        assert_ne!(withdrawn("r.example/api:1").digest(), withdrawn("r.example/api:2").digest());
        assert!(!is_withdrawn(&note("application/vnd.monoship.publication", "vnd.monoship.publication", "publishing-1")));
    }
}
