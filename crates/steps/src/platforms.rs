//! Joining the images of several platforms, each built for itself, into one index. Nothing of them is changed or copied.

use serde_json::{Value, json};

use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Platform};
use monoship_core::sorted::SortedMap;
use monoship_docker::manifest::{Document, OCI_INDEX, Raw};
use monoship_docker::registry::Registry;

/// Puts an index over the parts under `image`'s tag and returns its digest. A part is what one platform's build pushed: an index over its
/// image and attestations, or the image alone. Equal parts make equal bytes.
///
/// # Errors
/// When a part is not there or is malformed; as the registry's.
pub fn join(
    registry: &Registry,
    image: &ImageRef,
    parts: &[(Platform, Digest)],
    annotations: &SortedMap<String, String>,
) -> Result<Digest> {
    let mut manifests = Vec::new();
    for (platform, digest) in parts {
        let raw = registry.need_manifest(&image.without_reference().with_digest(digest.clone()))?;
        manifests.extend(entries(&raw, platform)?);
    }
    let mut index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    if !annotations.is_empty() {
        index["annotations"] = json!(annotations);
    }
    let index = Raw::new(OCI_INDEX, index.to_string());
    registry.put_manifest(image, &index)?;
    Ok(index.digest().clone())
}

/// What a part adds to the index: its own entries as they stand, so that fields we do not know survive.
fn entries(raw: &Raw, platform: &Platform) -> Result<Vec<Value>> {
    if let Document::Manifest(_) = raw.document()? {
        let mut words = platform.as_ref().split('/');
        let mut spec = json!({"os": words.next(), "architecture": words.next()});
        if let Some(variant) = words.next() {
            spec["variant"] = json!(variant);
        }
        let size = raw.bytes().len();
        return Ok(vec![json!({"mediaType": raw.media_type(), "digest": raw.digest(), "size": size, "platform": spec})]);
    }
    let mut index: Value = serde_json::from_slice(raw.bytes())
        .map_err(|e| Error::failed(format!("index {} is malformed", raw.digest())).source(e))?;
    match index["manifests"].take() {
        Value::Array(entries) => Ok(entries),
        _ => Err(Error::failed(format!("index {} is malformed: it lists nothing", raw.digest()))),
    }
}
