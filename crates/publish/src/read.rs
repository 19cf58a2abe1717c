//! What a tag points to, as a publication sees it: what stands for an image that was withdrawn is none, and the tag counts as free.

use monoship_core::error::Result;
use monoship_core::execute::pool::in_parallel;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::manifest::OCI_MANIFEST;
use monoship_docker::registry::{Registry, is_withdrawn};

/// No manifest that takes the place of an image is larger.
const SMALL: u64 = 2 << 10;

/// The digest under a tag; `None` where there is no image.
///
/// # Errors
/// When the registry cannot be asked.
pub(super) fn digest(registry: &Registry, image: &ImageRef) -> Result<Option<Digest>> {
    let Some(found) = registry.resolve(image)? else { return Ok(None) };
    if found.media_type == OCI_MANIFEST && found.size <= SMALL {
        let raw = registry.manifest(&image.without_reference().with_digest(found.digest.clone()))?;
        if raw.is_none_or(|raw| is_withdrawn(&raw)) {
            return Ok(None);
        }
    }
    Ok(Some(found.digest))
}

/// The same of many, in their order.
///
/// # Errors
/// As [`digest`].
pub(super) fn digests(registry: &Registry, images: &[ImageRef]) -> Result<Vec<Option<Digest>>> {
    in_parallel(images, |image| digest(registry, image)).into_iter().collect()
}
