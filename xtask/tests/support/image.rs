//! Small images for registries, made as BuildKit makes them: an index of platform manifests, each with its attestations.

use serde_json::{Value, json};
use xtask::docker::manifest::{Descriptor, OCI_INDEX, OCI_MANIFEST, Raw};
use xtask::docker::registry::Registry;
use xtask::name::{Digest, ImageRef};

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
    /// Whom the attestations speak of instead of the image.
    pub wrong_subject: Option<Digest>,
}

impl TestImage {
    /// For linux/amd64, without attestations.
    pub fn new(marker: &str) -> Self {
        Self { marker: marker.to_owned(), platforms: vec!["linux/amd64"], attestations: Vec::new(), wrong_subject: None }
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
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        // Spaced, so that anyone who re-serialises it changes its digest.
        let raw = Raw::new(OCI_INDEX, serde_json::to_vec_pretty(&index).unwrap());
        registry.put_manifest(image, &raw).unwrap();
        raw
    }

    fn push_platform(&self, registry: &Registry, image: &ImageRef, platform: &str) -> Raw {
        let (os, architecture) = platform.split_once('/').unwrap();
        let config = json!({"os": os, "architecture": architecture, "config": {"Labels": {"marker": self.marker}}, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = blob(registry, image, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layer = format!("layer of {} for {platform}", self.marker);
        let layer = blob(registry, image, "application/vnd.oci.image.layer.v1.tar+zstd", layer.as_bytes());
        put(registry, image, &json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}))
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
