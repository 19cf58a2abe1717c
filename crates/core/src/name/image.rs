//! Image references, by the grammar of the distribution project.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Digest, Tag, is_path_component};
use crate::error::{Carried, Error, Result};

/// An image reference, taken apart: `[registry/]repository[:tag][@digest]`. A name without a registry is Docker Hub's, a
/// single component lies under `library/` there (distribution's `reference`, "familiar" names).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// The registry that a name without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// What Docker Hub was called once; docker reads it as the other.
const OLD_HUB: &str = "index.docker.io";

impl ImageRef {
    /// The place below which a registry's images lie: `docker.io/acme`, which is no image there, so that nothing is put before it.
    ///
    /// # Errors
    /// When an image below it has no name that can be.
    pub fn place(registry: &str, namespace: &str) -> Result<Self> {
        let below: Self = format!("{registry}/{namespace}/image").parse()?;
        Ok(Self { repository: namespace.to_owned(), ..below })
    }

    /// The host, with its port where it has one: `docker.io`, `ghcr.io`, `127.0.0.1:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry, `library/` included: `library/node`, `org/repo/api`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where one is written.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, where one is written.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry calls the manifest: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_ref().map(Tag::as_str)).unwrap_or("latest")
    }

    /// The name as the `docker` client writes it: without Docker Hub's host and its `library/`.
    pub fn familiar(&self) -> String {
        familiar(&self.to_string()).to_owned()
    }

    /// The name by which a builder knows a build context that replaces this image (buildx's `parseContextNames`, BuildKit's `NamedContext`).
    pub fn context_name(&self) -> String {
        let familiar = self.familiar();
        familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned()
    }

    /// The same image by its shortest name: `node` and `node:latest` are one, and what is pinned under two names can be two images.
    #[must_use]
    pub fn without_latest(self) -> Self {
        let tag = self.tag.filter(|tag| self.digest.is_some() || tag.as_str() != "latest");
        Self { tag, ..self }
    }

    /// The same image under another tag, without digest.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Self {
        Self { tag: Some(tag), digest: None, ..self.clone() }
    }

    /// The same repository at a digest; the tag is kept (`name:tag@digest`), which is how a pin reads.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The repository alone, without tag and digest.
    #[must_use]
    pub fn without_reference(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }
}

/// A full image name without Docker Hub's host and its `library/`.
pub fn familiar(full: &str) -> &str {
    full.strip_prefix("docker.io/library/").or_else(|| full.strip_prefix("docker.io/")).unwrap_or(full)
}

impl FromStr for ImageRef {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("`{text}` is not an image reference: {why}"));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|e| wrong(&e.to_string()))?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse::<Tag>().map_err(|e| wrong(&e.to_string()))?)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((OLD_HUB, path)) => (DOCKER_HUB, path),
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DOCKER_HUB, name),
        };
        let path = if registry == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        let host_ok = registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let port = registry.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(_, port)| port);
        if !host_ok || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(wrong("the registry is not a host name"));
        }
        if path.len() > 255 || !path.split('/').all(is_path_component) {
            return Err(wrong("a name has lower-case letters, digits, and `.`, `_`, `-` between them, in parts divided by `/`"));
        }
        Ok(Self { registry: registry.to_owned(), repository: path, tag, digest })
    }
}

impl TryFrom<String> for ImageRef {
    type Error = Carried;
    fn try_from(text: String) -> Result<Self, Carried> {
        Ok(text.parse::<Self>()?)
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

/// The full form, registry included.
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_come_apart_as_docker_reads_them() {
        let cases = [
            ("node", "docker.io/library/node", "latest"),
            ("node:24-slim", "docker.io/library/node:24-slim", "24-slim"),
            ("docker/scanner:stable-1", "docker.io/docker/scanner:stable-1", "stable-1"),
            ("docker.io/node:24", "docker.io/library/node:24", "24"),
            ("index.docker.io/node", "docker.io/library/node", "latest"),
            ("index.docker.io/a/b", "docker.io/a/b", "latest"),
            ("[::1]:5000/a", "[::1]:5000/a", "latest"),
            ("[::1]/a", "[::1]/a", "latest"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "latest"),
            ("localhost/a:1", "localhost/a:1", "1"),
        ];
        for (text, full, reference) in cases {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!((image.to_string().as_str(), image.reference()), (full, reference));
            assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
        }
        for bad in ["", "A", "a:", "a@sha256:12", "a//b", "ghcr.io/Org/x", "a b", "-x", "r.io:/a", "r.io:99999/a"] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
        assert_eq!(ImageRef::place("docker.io", "acme").unwrap().to_string(), "docker.io/acme");
    }

    #[test]
    fn a_digest_keeps_its_tag_beside_it_in_a_pin() {
        let digest = Digest::of(b"");
        assert_eq!(digest.short(), "e3b0c44298fc");
        let pinned = "node:24".parse::<ImageRef>().unwrap().with_digest(digest.clone());
        assert_eq!(pinned.to_string(), format!("docker.io/library/node:24@{digest}"));
        assert_eq!(pinned.reference(), digest.as_str());
    }
}
