//! Manifests: finding them, also where a registry does not tell everybody what it does not have, putting and deleting them.

use std::sync::{Arc, PoisonError};

use super::answers::{Ask, Verdict};
use super::{Answer, Call, Deletion, HEAD_REFUSED, Refusal, Registry, corrupt, in_parallel};
use crate::manifest::{ACCEPT, Descriptor, Document, Manifest, Raw};
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Request, Response};
use monoship_core::execute::retry::Failed;
use monoship_core::name::{Digest, ImageRef, Tag};

/// The type of what is written for people: no registry's manifest.
const PAGE: &str = "text/html";

/// The error of a page in place of a manifest.
fn no_registry(image: &ImageRef) -> Error {
    let host = image.registry();
    Error::failed(format!("{host} answers with a page for people where the manifest of {image} should be"))
        .hint(format!("something else than a registry answers: check the name {host}, and whether a proxy asks for a login"))
}

impl Registry {
    /// What the image's tag or digest points to, by HEAD, or by GET where that is refused; `None` where there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry cannot be reached, refuses, or answers without a digest.
    pub fn resolve(&self, image: &ImageRef) -> Result<Option<Descriptor>> {
        let Some(head) = self.find(image, "HEAD", Ok)? else { return Ok(None) };
        let digest = head.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let size = head.header("content-length").and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            // The digest header is optional in the specification: then the bytes tell.
            return Ok(self.manifest(image)?.map(|raw| raw.descriptor()));
        };
        let media_type = head.header("content-type").unwrap_or_default().to_owned();
        let pointer = Descriptor { digest, size, ..Descriptor::of(&media_type, b"") };
        Ok(Some(pointer))
    }

    /// [`Registry::resolve`] for many images, in parallel; the answers are in the order of the images.
    #[must_use]
    pub fn resolve_all(&self, images: &[ImageRef]) -> Vec<Result<Option<Descriptor>>> {
        in_parallel(images, |image| self.resolve(image))
    }

    /// The manifest or index that the image's tag or digest points to, byte for byte; `None` where there is none.
    ///
    /// # Errors
    /// As [`Registry::resolve`], and when the bytes are not what the digest says.
    pub fn manifest(&self, image: &ImageRef) -> Result<Option<Raw>> {
        self.find(image, "GET", |response| {
            let promised = image.digest().cloned().or_else(|| response.header("docker-content-digest")?.parse().ok());
            let said = response.header("content-type").unwrap_or_default().to_owned();
            let raw = Raw::received(&said, response.body);
            if raw.media_type() == PAGE {
                return Err(Failed::for_good(no_registry(image)));
            }
            match promised {
                Some(digest) if digest != *raw.digest() => Err(corrupt(&format!("manifest {image}"), &digest, raw.digest())),
                _ => Ok(raw),
            }
        })
    }

    /// What `read` makes of the manifest's answer; `None` where there is no such manifest or repository.
    ///
    /// Docker Hub and Quay do not tell those who only read whether a repository is not theirs to see or not there yet, and tell those who may
    /// write. Artifactory does not even tell these, of a tag; its list of tags does.
    fn find<T>(&self, image: &ImageRef, method: &'static str, read: impl Fn(Response) -> Result<T, Failed>) -> Result<Option<T>> {
        let ask = |call: &Call<'_>| {
            self.retrying(|| {
                let url = self.url(image, &format!("manifests/{}", image.reference()))?;
                let url = url.as_str();
                let make = |method| move || Request::new(method, url).header("accept", ACCEPT);
                let mut answer = match method {
                    "HEAD" => self.ask(call, &[&[200], HEAD_REFUSED].concat(), make("HEAD"))?,
                    _ => self.ask(call, &[200], make(method))?,
                };
                if matches!(&answer, Answer::Got(response) if response.status != 200) {
                    answer = self.ask(call, &[200], make("GET"))?;
                }
                match answer {
                    Answer::Got(response) => read(response).map(Ok),
                    Answer::Not(refusal) => Ok(Err(refusal)),
                }
            })
        };
        let call = Call::pull(image);
        let refusal = match ask(&call)? {
            Ok(found) => return Ok(Some(found)),
            Err(Refusal { verdict: Verdict::Absent, .. }) => return Ok(None),
            Err(refusal) if refusal.verdict == Verdict::AbsentOrDenied => refusal,
            Err(refusal) => return Err(call.refused(&refusal)),
        };
        if self.session(image.registry()).asks_for_tokens() {
            match ask(&call.as_writer())? {
                Ok(found) => return Ok(Some(found)),
                Err(Refusal { verdict: Verdict::Absent, .. }) => return Ok(None),
                Err(_) => {}
            }
        }
        if image.digest().is_none() && self.lists_no_such_tag(image)? {
            let mut hiding = self.inner.hiding.lock().unwrap_or_else(PoisonError::into_inner);
            hiding.insert(image.registry().to_owned());
            return Ok(None);
        }
        Err(call.refused(&refusal))
    }

    /// True for a host that was seen to refuse, to everybody, what is not there: a builder cannot push a tag to it, because builders ask
    /// for the tag first.
    #[must_use]
    pub fn hides_missing(&self, host: &str) -> bool {
        self.inner.hiding.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// The manifest, which has to be there.
    ///
    /// # Errors
    /// As [`Registry::manifest`], and when there is none.
    pub fn need_manifest(&self, image: &ImageRef) -> Result<Raw> {
        self.manifest(image)?
            .ok_or_else(|| Error::failed(format!("there is no image {image}")).hint("check the name and the tag"))
    }

    /// The bytes that a host pulls of an image: packed, of its largest platform; `None` where that cannot be told.
    #[must_use]
    pub fn image_size(&self, image: &ImageRef) -> Option<u64> {
        self.largest(image).map(|manifest| manifest.size())
    }

    /// The manifest of an image, of several platforms the largest one's; `None` where it cannot be read.
    pub(crate) fn largest(&self, image: &ImageRef) -> Option<Manifest> {
        let read = |image: &ImageRef| self.manifest(image).ok()??.document().ok();
        match read(image)? {
            Document::Manifest(manifest) => Some(*manifest),
            Document::Index(index) => {
                let of_one = |entry: &Descriptor| match read(&image.with_digest(entry.digest.clone()))? {
                    Document::Manifest(manifest) => Some(*manifest),
                    Document::Index(_) => None,
                };
                index.images().filter_map(of_one).max_by_key(Manifest::size)
            }
        }
    }

    /// Puts the bytes under the image's tag, else under their digest, and checks that the registry took them for the same
    /// content. What they point to must be in the repository.
    ///
    /// # Errors
    /// When the registry cannot be reached, refuses, or made other content of it.
    pub fn put_manifest(&self, image: &ImageRef, raw: &Raw) -> Result<()> {
        match self.try_put_manifest(image, raw)? {
            None => Ok(()),
            Some(refusal) => Err(refusal.to_write(image)),
        }
    }

    /// [`Registry::put_manifest`] for who goes on after a refusal: the inner value is one that asking again would not change. Nothing was
    /// put then.
    ///
    /// # Errors
    /// As there, less what is refused for good.
    pub fn try_put_manifest(&self, image: &ImageRef, raw: &Raw) -> Result<Option<Refusal>> {
        let call = Call::push(image).asking(Ask::PutTag);
        let reference = image.tag().map_or(raw.digest().as_str(), Tag::as_str);
        let body: Arc<[u8]> = raw.bytes().into();
        self.retrying(|| {
            let url = self.url(image, &format!("manifests/{reference}"))?;
            let answer = self.ask(&call, &[200, 201, 202, 204], || {
                Request::new("PUT", &url).header("content-type", raw.media_type()).body(Arc::clone(&body))
            })?;
            let response = match answer {
                Answer::Got(response) => response,
                Answer::Not(refusal) => return Ok(Some(refusal)),
            };
            match response.header("docker-content-digest") {
                Some(made) if made != raw.digest().as_str() => Err(Failed::for_good(Error::failed(format!(
                    "{} stored {image} as {made} instead of {}",
                    image.registry(),
                    raw.digest()
                )))),
                _ => Ok(None),
            }
        })
    }

    /// Deletes a manifest by its digest, and with it every tag that points to it.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses.
    pub fn delete_manifest(&self, image: &ImageRef, digest: &Digest) -> Result<Deletion> {
        self.delete(image, &format!("manifests/{digest}"))
    }

    /// Deletes one tag and leaves its manifest, where the registry knows how (OCI distribution-spec 1.1; GHCR and older
    /// distribution registries do not).
    ///
    /// # Errors
    /// As [`Registry::delete_manifest`].
    pub fn delete_tag(&self, image: &ImageRef, tag: &Tag) -> Result<Deletion> {
        self.delete(image, &format!("manifests/{tag}"))
    }

    fn delete(&self, image: &ImageRef, path: &str) -> Result<Deletion> {
        let call = Call::new(image, "delete,pull,push", "delete from", Ask::Delete);
        let answer = self.retrying(|| {
            let url = self.url(image, path)?;
            self.ask(&call, &[200, 202, 204], || Request::new("DELETE", &url))
        })?;
        match answer {
            Answer::Got(_) => Ok(Deletion::Deleted),
            Answer::Not(Refusal { verdict: Verdict::Absent, .. }) => Ok(Deletion::Absent),
            Answer::Not(Refusal { verdict: Verdict::Unsupported, .. }) => Ok(Deletion::Unsupported),
            Answer::Not(refusal) => Err(call.refused(&refusal)),
        }
    }
}
