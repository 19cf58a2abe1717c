//! What is in an image: each layer's files, read from the stream it comes in. Nothing is written to disk. Where images are read from
//! is in `layers/source.rs`, what their files come to in `layers/waste.rs`.
//!
//! Formats: OCI image-spec 1.1 (`layer.md`: whiteouts; `config.md`: history).

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::sync::Arc;

use ring::digest;
use serde::Deserialize;

use super::tarball::{self, Entry, Kind, unpacked};
use crate::registry::Registry;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef};

mod origin;
mod source;
mod summary;
mod waste;

pub use origin::BuiltFrom;
pub use source::{Library, Place};
pub use summary::{Large, LayerSummary, Line, Since, Summary};
pub use waste::{Copies, Difference, Package, Waste, Wasted, copies, difference, packages, visible, wasted};

/// A manifest of an npm package that is larger is not read.
const MAX_MANIFEST: u64 = 1 << 20;

/// A layer of more files than this is refused: their names are kept in memory.
const MAX_FILES: usize = 4_000_000;

/// A file of a layer, links with a content elsewhere left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the image's root.
    pub path: String,
    /// Bytes, unpacked.
    pub size: u64,
    /// The SHA-256 of its content.
    pub content: [u8; 32],
}

/// What a layer changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files that it puts, in its order.
    pub files: Vec<File>,
    /// Links and other things without content that it puts.
    pub others: Vec<String>,
    /// Paths of lower layers that it takes away, with all below them.
    pub removed: Vec<String>,
    /// Folders whose content in lower layers it takes away.
    pub emptied: Vec<String>,
    /// The version that each `node_modules/<name>/package.json` names, by its folder.
    pub versions: BTreeMap<String, String>,
}

impl Listing {
    /// The bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Reads a layer as it comes, packed or not, to the end of `input`.
    ///
    /// # Errors
    /// When the stream breaks off, is corrupt or is no layer.
    pub fn read(input: impl Read) -> std::io::Result<Self> {
        let mut buffered = BufReader::with_capacity(64 << 10, input);
        let mut listing = Self::default();
        tarball::visit(BufReader::with_capacity(64 << 10, unpacked(&mut buffered)?), |entry, content| {
            listing.take(entry, content)
        })?;
        // To the last byte: only there a registry's blob is known to be whole.
        std::io::copy(&mut buffered, &mut std::io::sink())?;
        Ok(listing)
    }

    fn take(&mut self, entry: Entry, content: &mut dyn Read) -> std::io::Result<()> {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if name == ".wh..wh..opq" {
            self.emptied.push(folder.to_owned());
        } else if let Some(gone) = name.strip_prefix(".wh.") {
            self.removed.push(if folder.is_empty() { gone.to_owned() } else { format!("{folder}/{gone}") });
        } else {
            match entry.kind {
                Kind::File => {
                    let is_manifest = name == "package.json" && is_package(folder) && entry.size <= MAX_MANIFEST;
                    let (content, kept) = hashed(content, is_manifest)?;
                    if let Some(version) = is_manifest.then(|| version(&kept)).flatten() {
                        self.versions.insert(folder.to_owned(), version);
                    }
                    self.files.push(File { path: entry.path, size: entry.size, content });
                }
                Kind::HardLink | Kind::Other => self.others.push(entry.path),
                Kind::Folder => {}
            }
        }
        if self.files.len() + self.others.len() > MAX_FILES {
            return Err(std::io::Error::other(format!("the layer has more than {MAX_FILES} files")));
        }
        Ok(())
    }
}

/// The digest of what is left of an entry, and its bytes where they are wanted.
fn hashed(input: &mut dyn Read, keep: bool) -> std::io::Result<([u8; 32], Vec<u8>)> {
    let (mut hasher, mut kept, mut buffer) = (digest::Context::new(&digest::SHA256), Vec::new(), vec![0; 32 << 10]);
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            let digest = hasher.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
            return Ok((digest, kept));
        }
        hasher.update(&buffer[..count]);
        if keep {
            kept.extend_from_slice(&buffer[..count]);
        }
    }
}

/// True for a folder that is an installed package's own: `…/node_modules/<name>`, `…/node_modules/@scope/<name>`.
fn is_package(folder: &str) -> bool {
    waste::package_folder(folder) == Some(folder)
}

fn version(manifest: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Manifest {
        version: String,
    }
    serde_json::from_slice::<Manifest>(manifest).ok().map(|manifest| manifest.version)
}

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Of its unpacked content: equal layers have equal ones, however they are packed.
    pub diff_id: Digest,
    /// Its length as it is stored.
    pub packed: u64,
    /// Which step of the history made it, counted from 0, where the history says so.
    pub step: Option<usize>,
    /// What it changes.
    pub listing: Arc<Listing>,
}

/// An image with all that is in it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The steps that made it, first to last, those without a layer included.
    pub history: Vec<String>,
    /// `os/arch`.
    pub platform: String,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The Dockerfile that it was built of, where its provenance tells.
    pub built_from: Option<BuiltFrom>,
}

impl Image {
    /// The length of its layers as they are stored.
    #[must_use]
    pub fn packed(&self) -> u64 {
        self.layers.iter().map(|layer| layer.packed).sum()
    }
}

/// What made each layer of an image in a registry, lowest first, and its length as it is stored; of several platforms the largest one's.
/// `None` where that cannot be read: nothing depends on it.
#[must_use]
pub fn stored(registry: &Registry, image: &ImageRef) -> Option<Vec<(String, u64)>> {
    let manifest = registry.largest(image)?;
    let config = registry.blob(image, &manifest.config.digest, source::MAX_DOCUMENT).ok()?;
    let steps = Config::parse(&config, &image.to_string()).ok()?.history;
    let made: Vec<String> = steps.into_iter().filter(|step| !step.empty_layer).map(|step| step.created_by).into_vec();
    let sizes = manifest.layers.iter().map(|layer| layer.size);
    (made.len() == manifest.layers.len()).then(|| made.into_iter().zip(sizes).into_vec())
}

/// An image's configuration, as far as it is read.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    history: Vec<Step>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

#[derive(Debug, Deserialize)]
struct Step {
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    empty_layer: bool,
}

impl Config {
    fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::failed(format!("the configuration of {what} is malformed")).source(e))
    }

    /// Puts an image together from its layers: how each is stored, and what it holds.
    fn image(self, layers: Vec<(u64, Arc<Listing>)>, what: &str) -> Result<Image> {
        if layers.len() != self.rootfs.diff_ids.len() {
            let (named, there) = (self.rootfs.diff_ids.len(), layers.len());
            return Err(Error::failed(format!("{what} has {there} layers, and its configuration names {named}")));
        }
        let mut makers = self.history.iter().enumerate().filter(|(_, step)| !step.empty_layer).map(|(at, _)| at);
        let layers = self.rootfs.diff_ids.into_iter().zip(layers).map(|(diff_id, (packed, listing))| Layer {
            diff_id,
            packed,
            step: makers.next(),
            listing,
        });
        Ok(Image {
            layers: layers.into_vec(),
            history: self.history.into_iter().map(|step| step.created_by).into_vec(),
            platform: format!("{}/{}", self.os, self.architecture),
            built_from: None,
        })
    }
}
