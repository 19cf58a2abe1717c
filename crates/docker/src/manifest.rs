//! Manifests, indexes and descriptors as registries keep them. Parsed for what we read, but always carried as the bytes they came in:
//! what is published again must be byte-identical, so nothing is ever re-serialised. No I/O.
//!
//! Formats: OCI image-spec 1.1 (`manifest.md`, `image-index.md`, `descriptor.md`) and Docker's schema 2, which differ in media types
//! only. BuildKit's attestation storage: `docs/attestations/attestation-storage.md` in its repository.

use serde::{Deserialize, Serialize};

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, Platform};
use monoship_core::sorted::SortedMap;

/// OCI's image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// OCI's empty descriptor, the config of an artifact that has none.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The `accept` header of every manifest request: without it a registry may convert what it holds.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// The annotation of an index or a manifest that says when it was made (OCI image-spec 1.1, annotations.md).
pub const CREATED: &str = "org.opencontainers.image.created";

/// The annotation of an index entry that holds attestations; its value is `attestation-manifest`.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The annotation that names the manifest an attestation is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it points to.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The platform of an index entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformSpec>,
    /// Arbitrary metadata.
    #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
    pub annotations: SortedMap<String, String>,
    /// The kind of an artifact, where the pointer says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A pointer to `bytes`.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: SortedMap::new(),
            artifact_type: None,
        }
    }

    /// True where it points to a manifest or an index. BuildKit's cache indexes point to layers and a config instead, which
    /// lie among the blobs.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        is_index(&self.media_type) || matches!(self.media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// The manifest whose attestations this index entry holds.
    #[must_use]
    pub fn attests(&self) -> Option<&str> {
        let kind = self.annotations.get(REFERENCE_TYPE)?;
        if kind == "attestation-manifest" { self.annotations.get(REFERENCE_DIGEST).map(String::as_str) } else { None }
    }
}

/// An index entry's platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformSpec {
    /// For example `amd64`; `unknown` for attestations.
    pub architecture: String,
    /// For example `linux`; `unknown` for attestations.
    pub os: String,
    /// For example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl PlatformSpec {
    /// As buildx writes it; `None` for the placeholder of attestations and for names that are none.
    #[must_use]
    pub fn name(&self) -> Option<Platform> {
        if self.os == "unknown" {
            return None;
        }
        let variant = self.variant.as_deref().map(|v| format!("/{v}")).unwrap_or_default();
        format!("{}/{}{variant}", self.os, self.architecture).parse().ok()
    }
}

/// A list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Its entries, in order.
    pub manifests: Vec<Descriptor>,
    /// Metadata of the whole.
    #[serde(default)]
    pub annotations: SortedMap<String, String>,
    /// What it is about, where it refers to an image.
    #[serde(default)]
    pub subject: Option<Box<Descriptor>>,
}

impl Index {
    /// The images, with their platform where the entry says it.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| entry.is_manifest() && !entry.annotations.contains_key(REFERENCE_TYPE))
    }

    /// The attestations: the digest they are about, and where they are.
    pub fn attestations(&self) -> impl Iterator<Item = (&str, &Descriptor)> {
        self.manifests.iter().filter_map(|entry| entry.attests().map(|about| (about, entry)))
    }
}

/// One image, or another artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, lowest first. Of an image without any BuildKit writes `null`.
    #[serde(deserialize_with = "or_empty")]
    pub layers: Vec<Descriptor>,
    /// Metadata.
    #[serde(default)]
    pub annotations: SortedMap<String, String>,
    /// The kind of an artifact.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// What it is about, for artifacts that refer to an image.
    #[serde(default)]
    pub subject: Option<Descriptor>,
}

fn or_empty<'de, D: serde::Deserializer<'de>>(input: D) -> std::result::Result<Vec<Descriptor>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

impl Manifest {
    /// Bytes to pull.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |sum, layer| sum.saturating_add(layer.size))
    }
}

/// What a manifest's bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A list of manifests.
    Index(Index),
    /// One image.
    Manifest(Box<Manifest>),
}

impl Document {
    /// Everything it points to.
    #[must_use]
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Index(index) => index.manifests.iter().into_vec(),
            Self::Manifest(manifest) => std::iter::once(&manifest.config).chain(&manifest.layers).into_vec(),
        }
    }
}

/// A manifest or index exactly as a registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    media_type: String,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Raw {
    /// Takes bytes as they are; the digest is computed from them.
    #[must_use]
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { media_type: media_type.into(), digest: Digest::of(&bytes), bytes }
    }

    /// Takes what a registry sent, of which `said` is the type. What is none of a manifest's (some say nothing, or that it is bytes) counts for
    /// less than what it says of itself (`mediaType`, OCI image-spec 1.1).
    #[must_use]
    pub fn received(said: &str, bytes: impl Into<Vec<u8>>) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: String,
        }
        let bytes = bytes.into();
        let said = said.split(';').next().unwrap_or_default().trim();
        let is_known = ACCEPT.split(", ").any(|known| known == said);
        let own = if is_known { None } else { serde_json::from_slice::<Typed>(&bytes).ok() };
        Self::new(own.map_or_else(|| said.to_owned(), |typed| typed.media_type), bytes)
    }

    /// The content type it is kept under.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Every byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A pointer to it, without platform.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(&self.media_type, &self.bytes)
    }

    /// The same with these annotations; nothing else of it changes. Equal input gives equal bytes.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn annotated(&self, annotations: &SortedMap<String, String>) -> Result<Self> {
        let malformed = |e| Error::failed(format!("manifest {} is malformed", self.digest())).source(e);
        let mut document: serde_json::Value = serde_json::from_slice(self.bytes()).map_err(malformed)?;
        for (name, value) in annotations {
            document["annotations"][name] = serde_json::json!(value);
        }
        Ok(Self::new(self.media_type(), document.to_string()))
    }

    /// Parses it by its media type.
    ///
    /// # Errors
    /// When the bytes are not what the media type says, or the media type is none of the four.
    pub fn document(&self) -> Result<Document> {
        let parsed = match self.media_type.as_str() {
            OCI_INDEX | DOCKER_INDEX => serde_json::from_slice(&self.bytes).map(Document::Index),
            OCI_MANIFEST | DOCKER_MANIFEST => serde_json::from_slice(&self.bytes).map(Document::Manifest),
            other => return Err(Error::failed(format!("manifest {} has the unknown media type `{other}`", self.digest))),
        };
        parsed.map_err(|e| Error::failed(format!("manifest {} is malformed", self.digest)).source(e))
    }
}

/// True for the two media types of indexes.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":7,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}},
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:aaaac44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":9,"platform":{"architecture":"unknown","os":"unknown"},
         "annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],"future":1}"#;

    #[test]
    fn an_index_tells_images_from_attestations() {
        let raw = Raw::new(OCI_INDEX, INDEX);
        let Document::Index(index) = raw.document().unwrap() else { panic!("not an index") };
        let platforms: Vec<_> = index.images().map(|d| d.platform.as_ref().unwrap().name().unwrap().to_string()).collect();
        assert_eq!(platforms, ["linux/arm64"]);
        let (about, entry) = index.attestations().next().unwrap();
        assert_eq!((about, entry.size), (index.manifests[0].digest.as_str(), 9));
        assert_eq!(entry.platform.as_ref().unwrap().name(), None);
        assert_eq!((raw.digest(), raw.bytes()), (&Digest::of(INDEX.as_bytes()), INDEX.as_bytes()));
    }

    #[test]
    fn a_cache_index_points_to_blobs() {
        let text = INDEX.replace("image.manifest.v1+json", "image.layer.v1.tar+zstd");
        let Document::Index(index) = Raw::new(OCI_INDEX, text).document().unwrap() else { panic!("not an index") };
        assert!(index.images().next().is_none() && index.manifests.iter().all(|entry| !entry.is_manifest()));
    }

    #[test]
    fn malformed_and_foreign_manifests_are_refused_by_digest() {
        for (kind, bytes) in
            [(OCI_MANIFEST, "{"), (OCI_INDEX, "{}"), ("text/html", INDEX), (OCI_INDEX, r#"{"manifests":[{"digest":"x"}]}"#)]
        {
            let error = Raw::new(kind, bytes).document().unwrap_err().to_string();
            assert!(error.contains(Digest::of(bytes.as_bytes()).as_str()), "{error}");
        }
    }
}
