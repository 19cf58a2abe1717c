//! Where images are read from: a registry, layer by layer, or an engine, whose answer holds many images at once. A layer that was read
//! once is not read again.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::SortedMap;
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::{BuiltFrom, Config, Image, Listing};
use crate::attest::Predicate;
use crate::manifest::{Descriptor, Document, Manifest};
use crate::registry::Registry;
use crate::store::ImageStore;
use crate::tarball::{self, Kind};
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Platform};

/// The largest configuration or manifest that is read.
pub(super) const MAX_DOCUMENT: u64 = 16 << 20;

/// Where an image was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The engine's image store.
    Engine,
    /// Its registry.
    Registry,
}

/// Reads images, and keeps what it has read of their layers.
#[derive(Default)]
pub struct Library {
    /// By the digest of the unpacked content.
    known: Mutex<HashMap<Digest, Arc<Listing>>>,
}

impl Library {
    /// An image of a registry; of an index the entry for `platform`, or the first. `None` where there is none of that name.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses, or something of the image is missing, corrupt or in a format that is not known.
    pub fn from_registry(&self, registry: &Registry, image: &ImageRef, platform: Option<&Platform>) -> Result<Option<Image>> {
        let Some((manifest, attestation)) = manifest(registry, image, platform)? else { return Ok(None) };
        let what = image.to_string();
        let config = registry.blob(image, &manifest.config.digest, MAX_DOCUMENT)?;
        let config = Config::parse(&config, &what)?;
        let wanted: Vec<(&Digest, &Descriptor)> = config.rootfs.diff_ids.iter().zip(&manifest.layers).into_vec();
        let read = in_parallel(&wanted, |(diff_id, layer)| -> Result<(u64, Arc<Listing>)> {
            let listing = self.known(diff_id).map_or_else(
                || {
                    let stream = registry.open_blob(image, &layer.digest)?;
                    let listing = Listing::read(stream);
                    listing
                        .map_err(|e| Error::failed(format!("cannot read layer {} of {what}", layer.digest)).source(e))
                        .map(Arc::new)
                },
                Ok,
            )?;
            self.learn(diff_id, &listing);
            Ok((layer.size, listing))
        });
        let layers = read.into_iter().collect::<Result<Vec<_>>>()?;
        // Only a help: what cannot be read of it keeps nobody from looking at the image.
        let provenance = attestation.and_then(|attestation| Predicate::read(registry, image, &attestation).ok().flatten());
        let built_from = provenance.and_then(|provenance| BuiltFrom::of(&provenance, layers.len()));
        Ok(Some(Image { built_from, ..config.image(layers, &what)? }))
    }

    /// Images of an engine, in order; `None` where it has none of that name. They come as one stream in which what they share is once.
    ///
    /// # Errors
    /// When the engine cannot be reached or breaks off.
    pub fn from_engine(&self, store: &ImageStore, images: &[ImageRef]) -> Result<Vec<Option<Image>>> {
        let ids = store.ids(images)?;
        let there: Vec<ImageRef> =
            images.iter().zip(&ids).filter(|(_, id)| id.is_some()).map(|(image, _)| image.clone()).into_vec();
        if there.is_empty() {
            return Ok(vec![None; images.len()]);
        }
        let broken = |e| Error::failed("cannot read the images that the engine hands out").source(e);
        let export = Export::read(store.export(&there)?).map_err(broken)?;
        let mut found = there.iter().map(|image| self.exported(&export, image, there.len() == 1));
        ids.iter().map(|id| id.as_ref().map(|_| found.next().expect("one for each id")).transpose()).collect()
    }

    fn exported(&self, export: &Export, image: &ImageRef, only: bool) -> Result<Image> {
        let what = image.to_string();
        let incomplete = |part: &str| Error::failed(format!("the engine hands out {what} without {part}"));
        let names = |entry: &&Exported| entry.repo_tags.iter().flatten().any(|name| *name == image.familiar());
        let entry = export.images.iter().find(names).or_else(|| export.images.first().filter(|_| only));
        let entry = entry.ok_or_else(|| incomplete("its manifest"))?;
        let config = export.documents.get(&entry.config).ok_or_else(|| incomplete("its configuration"))?;
        let config = Config::parse(config, &what)?;
        let layers = entry.layers.iter().map(|path| match export.layers.get(path) {
            Some(Ok(layer)) => Ok(layer.clone()),
            Some(Err(why)) => Err(Error::failed(format!("cannot read layer {path} of {what}: {why}"))),
            None => Err(incomplete("a layer")),
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        for (diff_id, (_, listing)) in config.rootfs.diff_ids.iter().zip(&layers) {
            self.learn(diff_id, listing);
        }
        config.image(layers, &what)
    }

    fn known(&self, diff_id: &Digest) -> Option<Arc<Listing>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(diff_id).cloned()
    }

    fn learn(&self, diff_id: &Digest, listing: &Arc<Listing>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(diff_id.clone(), Arc::clone(listing));
    }
}

/// The manifest of an image, and that of its attestation where there is one.
type Attested = (Box<Manifest>, Option<Box<Manifest>>);

fn manifest(registry: &Registry, image: &ImageRef, platform: Option<&Platform>) -> Result<Option<Attested>> {
    let Some(raw) = registry.manifest(image)? else { return Ok(None) };
    let index = match raw.document()? {
        Document::Manifest(manifest) => return Ok(Some((manifest, None))),
        Document::Index(index) => index,
    };
    let name = |entry: &Descriptor| entry.platform.as_ref().and_then(super::super::manifest::PlatformSpec::name);
    let entry = match platform {
        Some(wanted) => index.images().find(|entry| name(entry).as_ref() == Some(wanted)),
        None => index.images().next(),
    };
    let Some(entry) = entry else {
        let there: Vec<String> = index.images().filter_map(name).map(|name| name.to_string()).into_vec();
        return Err(Error::failed(format!("{image} has no such platform")).hint(format!("it has {}", there.join(", "))));
    };
    let of = |entry: &Descriptor| {
        let place = image.without_reference().with_digest(entry.digest.clone());
        match registry.need_manifest(&place)?.document()? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(Error::failed(format!("{place} is an index within an index"))),
        }
    };
    let attestation = index.attestations().find(|(about, _)| *about == entry.digest.as_str());
    Ok(Some((of(entry)?, attestation.and_then(|(_, attestation)| of(attestation).ok()))))
}

/// An entry of the archive's `manifest.json`, the format of `docker save` (moby, `image/tarexport`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exported {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What `docker save` writes, read once from front to back: which of its files are layers is only known at its end.
struct Export {
    images: Vec<Exported>,
    documents: HashMap<String, Vec<u8>>,
    /// By path; what could not be read is missed only by who needs it, for attestations and the like lie here too.
    layers: HashMap<String, Result<(u64, Arc<Listing>), String>>,
}

impl Export {
    fn read(stream: impl Read) -> std::io::Result<Self> {
        let mut export = Self { images: Vec::new(), documents: HashMap::new(), layers: HashMap::new() };
        let mut aliases = SortedMap::new();
        tarball::visit(std::io::BufReader::with_capacity(64 << 10, stream), |entry, content| {
            match entry.kind {
                Kind::File => export.take(entry.path, entry.size, content)?,
                // Older engines write a layer once and point to it from where else it belongs.
                Kind::Other if !entry.target.is_empty() => drop(aliases.insert(entry.path, entry.target)),
                _ => {}
            }
            Ok(())
        })?;
        for (path, target) in aliases {
            let name = target.trim_start_matches("../");
            if let Some(layer) = export.layers.get(name).cloned() {
                export.layers.insert(path, layer);
            }
        }
        let manifest = export.documents.get("manifest.json").ok_or_else(|| std::io::Error::other("there is no manifest.json"))?;
        export.images = serde_json::from_slice(manifest)?;
        Ok(export)
    }

    /// A blob is a document where it begins as JSON does, and a layer otherwise.
    fn take(&mut self, path: String, size: u64, content: &mut dyn Read) -> std::io::Result<()> {
        let mut first = [0];
        let count = content.read(&mut first)?;
        let mut whole = first[..count].chain(content);
        if matches!(first, [b'{' | b'[']) && size <= MAX_DOCUMENT {
            let mut bytes = Vec::new();
            whole.read_to_end(&mut bytes)?;
            self.documents.insert(path, bytes);
        } else if size > 0 && path != "repositories" && !path.ends_with("VERSION") {
            let listing = Listing::read(&mut whole).map_err(|error| error.to_string());
            self.layers.insert(path, listing.map(|listing| (size, Arc::new(listing))));
        }
        Ok(())
    }
}
