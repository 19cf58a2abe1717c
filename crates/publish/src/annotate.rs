//! A new index with annotations over the same manifests: version and revision without touching an image. No I/O but reading the
//! configuration of an image that has no index yet.

use serde_json::{Value, json};

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::ImageRef;
use monoship_core::sorted::SortedMap;
use monoship_docker::manifest::{Document, OCI_INDEX, Raw};
use monoship_docker::registry::Registry;

/// No honest image configuration is larger.
const MAX_CONFIG: u64 = 4 << 20;

/// The index of `raw`, or one made around it where it is a single image, with `annotations` added. Equal input gives equal bytes.
pub(super) fn annotated(
    registry: &Registry,
    image: &ImageRef,
    raw: &Raw,
    annotations: &SortedMap<String, String>,
) -> Result<Raw> {
    let mut index = match raw.document()? {
        // As it stands, so that fields we do not know survive.
        Document::Index(_) => serde_json::from_slice(raw.bytes())
            .map_err(|e| Error::failed(format!("index {} is malformed", raw.digest())).source(e))?,
        Document::Manifest(manifest) => {
            let config = registry.blob(image, &manifest.config.digest, MAX_CONFIG)?;
            let config: Value = serde_json::from_slice(&config)
                .map_err(|e| Error::failed(format!("the configuration of {image} is malformed")).source(e))?;
            let mut platform = json!({"architecture": config["architecture"], "os": config["os"]});
            if let Some(variant) = config.get("variant") {
                platform["variant"] = variant.clone();
            }
            let entry = json!({
                "mediaType": raw.media_type(), "digest": raw.digest(), "size": raw.bytes().len(), "platform": platform,
            });
            json!({"schemaVersion": 2, "manifests": [entry]})
        }
    };
    index["mediaType"] = json!(OCI_INDEX);
    let mut all: SortedMap<String, Value> =
        index["annotations"].as_object().map(|known| known.clone().into_iter().into_map()).unwrap_or_default();
    all.extend(annotations.iter().map(|(name, value)| (name.clone(), json!(value))));
    index["annotations"] = json!(all);
    Ok(Raw::new(OCI_INDEX, index.to_string()))
}
