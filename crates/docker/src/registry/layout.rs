//! Pushing an image that a builder has put into a folder, as an OCI image layout (image-spec 1.1, `image-layout.md`): for registries that refuse
//! a builder's question whether a tag is there.

use std::path::Path;

use super::Registry;
use crate::manifest::{Document, Raw};
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef};

impl Registry {
    /// Puts the image of the layout in `folder` under the image's tag, byte for byte: blobs and children first.
    ///
    /// # Errors
    /// When the layout is not whole, or the registry cannot be reached or refuses.
    pub fn push_layout(&self, folder: &Path, digest: &Digest, image: &ImageRef) -> Result<()> {
        let bytes = blob(folder, digest)?;
        let media_type = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|manifest| Some(manifest["mediaType"].as_str()?.to_owned()))
            .ok_or_else(|| Error::failed(format!("the manifest {digest} in {} does not say what it is", folder.display())))?;
        let raw = Raw::new(&media_type, bytes);
        let document = raw.document()?;
        for child in document.children() {
            let place = image.without_reference();
            if child.is_manifest() && matches!(document, Document::Index(_)) {
                self.push_layout(folder, &child.digest, &place.with_digest(child.digest.clone()))?;
            } else {
                self.push_blob(&place, &child.media_type, &blob(folder, &child.digest)?)?;
            }
        }
        self.put_manifest(image, &raw)
    }
}

fn blob(folder: &Path, digest: &Digest) -> Result<Vec<u8>> {
    let path = folder.join("blobs/sha256").join(digest.hex());
    let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    if Digest::of(&bytes) == *digest {
        Ok(bytes)
    } else {
        Err(Error::failed(format!("{} is not what it is called", path.display())))
    }
}
