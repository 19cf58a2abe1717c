//! What a registry lists (tags, repositories) and what it lets us do.

use serde::Deserialize;

use super::{Access, Answer, Call, Deletion, Registry};
use crate::manifest::{Descriptor, Index, OCI_EMPTY, OCI_MANIFEST, Raw};
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Request, resolve};
use monoship_core::name::{Digest, ImageRef, Tag};

/// The most pages a listing may have: a registry whose `link` leads in a circle must not hold us.
const MAX_PAGES: usize = 1_000;

impl Registry {
    /// Every tag of the repository, in the registry's order; none where the repository does not exist.
    ///
    /// # Errors
    /// When the registry cannot be reached, refuses, or its pages do not end.
    pub fn tags(&self, image: &ImageRef) -> Result<Vec<Tag>> {
        #[derive(Deserialize)]
        struct Page {
            // `null` where a repository has lost its last tag.
            tags: Option<Vec<String>>,
        }
        let pages = self.pages::<Page>(&Call::pull(image), &format!("/v2/{}/tags/list?n=1000", image.repository()))?;
        // A tag that is none by the grammar cannot be asked for either.
        Ok(pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).filter_map(|tag| tag.parse().ok()).collect())
    }

    /// The artifacts about a manifest that the registry lists; `None` where it does not know the referrers API (OCI distribution-spec
    /// 1.1), as distribution before 3.0 and GHCR do not.
    ///
    /// # Errors
    /// As [`Registry::tags`].
    pub fn referrers(&self, image: &ImageRef, about: &Digest) -> Result<Option<Vec<Descriptor>>> {
        let pages = self.pages::<Index>(&Call::pull(image), &format!("/v2/{}/referrers/{about}", image.repository()))?;
        Ok((!pages.is_empty()).then(|| pages.into_iter().flat_map(|page| page.manifests).collect()))
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
        let call = Call { image: &image, scope: "registry:catalog:*".to_owned(), doing: "list the repositories of" };
        let pages = self.pages::<Page>(&call, "/v2/_catalog?n=1000")?;
        Ok(pages.into_iter().flat_map(|page| page.repositories.unwrap_or_default()).collect())
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
        // By digest would take the manifest and every other tag of it along, so the tag gets one of its own to be deleted with.
        let bare = image.without_reference();
        let empty = self.push_blob(&bare, OCI_EMPTY, b"{}")?;
        let unique = format!("{tag} at {:?}", std::time::SystemTime::now());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.xtask.tombstone",
            "config": empty, "layers": [empty], "annotations": {"xtask.removes": unique},
        });
        let tombstone = Raw::new(OCI_MANIFEST, manifest.to_string());
        // First without the tag: a registry that does not delete must not be left with a tag that points to nothing.
        self.put_manifest(&bare, &tombstone)?;
        if self.delete_manifest(&bare, tombstone.digest())? != Deletion::Deleted {
            return Ok(Deletion::Unsupported);
        }
        self.put_manifest(&bare.with_tag(tag.clone()), &tombstone)?;
        self.delete_manifest(&bare, tombstone.digest())
    }

    fn pages<T: serde::de::DeserializeOwned>(&self, call: &Call<'_>, path: &str) -> Result<Vec<T>> {
        let mut pages = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            if pages.len() == MAX_PAGES {
                return Err(Error::failed(format!("{}'s listing does not end", call.image.registry())));
            }
            let response = self.retrying(|| {
                let base = self.session(call.image.registry()).base(&self.http)?;
                let url = resolve(&format!("{base}/"), &path)?;
                self.must(call, &[200, 404], || Request::get(&url).max_body(64 << 20))
            })?;
            if response.status == 404 {
                break;
            }
            pages.push(response.json()?);
            next = response.headers("link").find_map(next_link).map(str::to_owned);
        }
        Ok(pages)
    }

    /// Whether we may read the repository; one that does not exist yet counts as readable.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub fn can_pull(&self, image: &ImageRef) -> Result<Access> {
        let call = Call::pull(image);
        self.retrying(|| {
            let url = self.url(image, "tags/list?n=1")?;
            Ok(access(self.ask(&call, &[200, 404], || Request::get(&url))?))
        })
    }

    /// Whether we may write to the repository: an upload is begun and cancelled, which leaves nothing.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub fn can_push(&self, image: &ImageRef) -> Result<Access> {
        let call = Call::push(image);
        self.retrying(|| {
            let url = self.url(image, "blobs/uploads/")?;
            let answer = self.ask(&call, &[202, 405], || Request::new("POST", &url).body(Vec::new()))?;
            if let Answer::Got(response) = &answer {
                if response.status == 405 {
                    return Ok(Access::Denied("it is read-only".to_owned()));
                }
                if let Some(location) = response.header("location") {
                    let upload = resolve(&url, location)?;
                    // Distribution wants the right to delete for this, too. An upload that is not cancelled expires by itself.
                    let cancel = Call::new(image, "delete,pull,push", "write to");
                    drop(self.ask(&cancel, &[204, 404, 405], || Request::new("DELETE", &upload)));
                }
            }
            Ok(access(answer))
        })
    }
}

fn access(answer: Answer) -> Access {
    match answer {
        Answer::Got(_) => Access::Granted,
        Answer::Denied(reason) => Access::Denied(reason),
    }
}

/// The target of `<…>; rel="next"` (RFC 8288).
fn next_link(value: &str) -> Option<&str> {
    let (target, parameters) = value.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("rel=\"next\"").then_some(target)
}
