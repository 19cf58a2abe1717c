//! Small images for registries, made as BuildKit makes them: an index of platform manifests, each with its attestations.

use monoship_core::name::{Digest, ImageRef};
use monoship_docker::manifest::{Descriptor, OCI_INDEX, OCI_MANIFEST, Raw};
use monoship_docker::registry::Registry;
use serde_json::{Value, json};

/// What in-toto attestations lie under.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An image to be pushed.
pub struct TestImage {
    /// Makes its content differ from others'.
    pub marker: String,
    /// `os/arch` of each platform.
    pub platforms: Vec<&'static str>,
    /// The attestations of each platform: predicate type and predicate; the subject is added.
    pub attestations: Vec<(&'static str, Value)>,
    /// Layers below its own, by markers: images that name the same have the same.
    pub below: Vec<String>,
    /// The repository that is marked on its index; `None` leaves it unmarked.
    pub mark: Option<&'static str>,
    /// Whom the attestations speak of instead of the image.
    pub wrong_subject: Option<Digest>,
}

impl TestImage {
    /// The mark of a repository without a remote whose images lie in this namespace.
    pub const OWNER: &str = "org/shop";

    /// For linux/amd64, without attestations.
    pub fn new(marker: &str) -> Self {
        Self {
            marker: marker.to_owned(),
            platforms: vec!["linux/amd64"],
            attestations: Vec::new(),
            below: Vec::new(),
            mark: Some(Self::OWNER),
            wrong_subject: None,
        }
    }

    /// Pushes it under the image's tag and returns the index.
    pub fn push(&self, registry: &Registry, image: &ImageRef) -> Raw {
        let mut entries = Vec::new();
        for platform in &self.platforms {
            let manifest = self.push_platform(registry, image, platform);
            let (os, architecture) = platform.split_once('/').unwrap();
            entries.push(entry(&manifest, &json!({"os": os, "architecture": architecture}), &Value::Null));
            if !self.attestations.is_empty() {
                let attestation =
                    self.push_attestations(registry, image, self.wrong_subject.as_ref().unwrap_or(manifest.digest()));
                let annotations = json!({
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": manifest.digest(),
                });
                entries.push(entry(&attestation, &json!({"os": "unknown", "architecture": "unknown"}), &annotations));
            }
        }
        let mut index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        if let Some(owner) = self.mark {
            index["annotations"] = json!({"vnd.monoship.repository": owner});
        }
        // Spaced, so that anyone who re-serialises it changes its digest.
        let raw = Raw::new(OCI_INDEX, serde_json::to_vec_pretty(&index).unwrap());
        registry.put_manifest(image, &raw).unwrap();
        raw
    }

    fn push_platform(&self, registry: &Registry, image: &ImageRef, platform: &str) -> Raw {
        let (os, architecture) = platform.split_once('/').unwrap();
        let own = format!("layer of {} for {platform}", self.marker);
        let tars: Vec<Vec<u8>> = self.below.iter().chain([&own]).map(|text| tar(text)).collect();
        let layers: Vec<_> =
            tars.iter().map(|tar| blob(registry, image, "application/vnd.oci.image.layer.v1.tar", tar)).collect();
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
        let config = json!({"os": os, "architecture": architecture, "config": {"Labels": {"marker": self.marker}}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = blob(registry, image, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        put(registry, image, &json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}))
    }

    fn push_attestations(&self, registry: &Registry, image: &ImageRef, subject: &Digest) -> Raw {
        let config =
            blob(registry, image, "application/vnd.oci.image.config.v1+json", br#"{"architecture":"unknown","os":"unknown"}"#);
        let layers = self.attestations.iter().map(|(kind, predicate)| {
            let statement = json!({
                "_type": "https://in-toto.io/Statement/v0.1", "predicateType": kind, "predicate": predicate,
                "subject": [{"name": format!("pkg:docker/{}", image.repository()), "digest": {"sha256": subject.hex()}}],
            });
            let mut layer = blob(registry, image, IN_TOTO, statement.to_string().as_bytes());
            layer.annotations.insert("in-toto.io/predicate-type".to_owned(), (*kind).to_owned());
            layer
        });
        let layers: Vec<_> = layers.collect();
        put(registry, image, &json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}))
    }
}

/// A tar archive of one file, `/marker`, in the ustar format.
fn tar(text: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, b"marker");
    field(100, b"0000644\0");
    field(108, b"0000000\0");
    field(116, b"0000000\0");
    field(124, format!("{:011o}\0", text.len()).as_bytes());
    field(136, b"00000000000\0");
    field(148, b"        ");
    field(156, b"0");
    field(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend(text.as_bytes());
    tar.resize(tar.len().next_multiple_of(512) + 1_024, 0);
    tar
}

/// The signature of a manifest as cosign keeps it: under a tag made of the digest.
pub fn push_signature(registry: &Registry, image: &ImageRef, about: &Digest) -> Raw {
    let config = blob(registry, image, "application/vnd.oci.image.config.v1+json", b"{}");
    let layer = blob(registry, image, "application/vnd.dev.cosign.simplesigning.v1+json", about.as_str().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]});
    let raw = Raw::new(OCI_MANIFEST, manifest.to_string());
    let tag = format!("sha256-{}.sig", about.hex()).parse().unwrap();
    registry.put_manifest(&image.with_tag(tag), &raw).unwrap();
    raw
}

/// An artifact that says itself what it is about; nothing tags it.
pub fn push_referrer(registry: &Registry, image: &ImageRef, about: &Raw) -> Raw {
    let empty = blob(registry, image, "application/vnd.oci.empty.v1+json", b"{}");
    put(
        registry,
        image,
        &json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example", "config": empty, "layers": [empty],
            "subject": {"mediaType": about.media_type(), "digest": about.digest(), "size": about.bytes().len()},
        }),
    )
}

fn blob(registry: &Registry, image: &ImageRef, kind: &str, bytes: &[u8]) -> Descriptor {
    registry.push_blob(image, kind, bytes).unwrap()
}

fn put(registry: &Registry, image: &ImageRef, manifest: &Value) -> Raw {
    let raw = Raw::new(OCI_MANIFEST, manifest.to_string());
    registry.put_manifest(&image.without_reference().with_digest(raw.digest().clone()), &raw).unwrap();
    raw
}

fn entry(manifest: &Raw, platform: &Value, annotations: &Value) -> Value {
    let mut entry = json!({"mediaType": manifest.media_type(), "digest": manifest.digest(), "size": manifest.bytes().len(), "platform": platform});
    if !annotations.is_null() {
        entry["annotations"] = annotations.clone();
    }
    entry
}
