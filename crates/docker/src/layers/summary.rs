//! What is told of an image: one value, for the screen and for `--json`. Pure data.

use serde::Serialize;

use super::{Copies, Difference, Image, Package, Place, Wasted, copies, difference, packages, visible, wasted};
use monoship_core::collect::Collect as _;
use monoship_core::name::Digest;

/// How many of the largest files are kept.
const LARGEST: usize = 100;

/// An image, told. Bytes are unpacked where nothing else is said; layers are counted from 0, the lowest first.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The image's name.
    pub image: String,
    /// Where it was read from.
    pub place: Place,
    /// `os/arch`.
    pub platform: String,
    /// The bytes of all layers as they are stored.
    pub packed_bytes: u64,
    /// The bytes of all layers' files.
    pub unpacked_bytes: u64,
    /// The bytes of files that cannot be seen: what gates hold to a bound.
    pub wasted_bytes: u64,
    /// The bytes of contents that can be seen twice, less one of each.
    pub copied_bytes: u64,
    /// Its layers, lowest first.
    pub layers: Vec<LayerSummary>,
    /// Files that cannot be seen, largest first.
    pub wasted: Vec<Wasted>,
    /// Contents that can be seen twice, costliest first.
    pub copies: Vec<Copies>,
    /// The largest files that can be seen.
    pub largest: Vec<Large>,
    /// npm packages, largest first.
    pub packages: Vec<Package>,
    /// What changed since the last release.
    pub since: Since,
}

/// A layer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayerSummary {
    /// Of its unpacked content.
    pub diff_id: Digest,
    /// As it is stored.
    pub packed_bytes: u64,
    /// Its files.
    pub unpacked_bytes: u64,
    /// How many files it puts.
    pub files: usize,
    /// The step that made it, as the image's history words it; empty where the history does not say.
    pub made_by: String,
    /// The Dockerfile's line of that step; null where the image is none of the Dockerfile's, or the step comes from its base image.
    pub line: Option<Line>,
}

/// A place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// The Dockerfile, relative to the repository's root.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The instruction.
    pub text: String,
}

/// A file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Large {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its layer.
    pub layer: usize,
}

/// The comparison with the last release.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// What changed.
    Release {
        /// The release's image.
        image: String,
        /// The bytes of its layers as they are stored.
        packed_bytes: u64,
        /// The changes.
        #[serde(flatten)]
        difference: Difference,
    },
    /// There is nothing to compare with, because of this.
    None(String),
}

impl Since {
    /// What changed from `before`, which is called `name`, to `after`.
    #[must_use]
    pub fn of(name: String, before: &Image, after: &Image) -> Self {
        Self::Release { image: name, packed_bytes: before.packed(), difference: difference(before, after) }
    }
}

impl Summary {
    /// Sums an image up. `lines` holds the Dockerfile's line of each layer.
    #[must_use]
    pub fn new(name: String, place: Place, image: &Image, lines: Vec<Option<Line>>, since: Since) -> Self {
        let layers = image.layers.iter().zip(lines).map(|(layer, line)| LayerSummary {
            diff_id: layer.diff_id.clone(),
            packed_bytes: layer.packed,
            unpacked_bytes: layer.listing.bytes(),
            files: layer.listing.files.len(),
            made_by: layer.step.and_then(|at| image.history.get(at)).cloned().unwrap_or_default(),
            line,
        });
        let (layers, wasted, copies): (Vec<_>, _, _) = (layers.into_vec(), wasted(image), copies(image));
        let largest = visible(image).into_iter().take(LARGEST);
        Self {
            image: name,
            place,
            platform: image.platform.clone(),
            packed_bytes: image.packed(),
            unpacked_bytes: layers.iter().map(|layer| layer.unpacked_bytes).sum(),
            wasted_bytes: wasted.iter().map(|file| file.bytes).sum(),
            copied_bytes: copies.iter().map(|copies| copies.bytes).sum(),
            layers,
            wasted,
            copies,
            largest: largest.map(|(layer, file)| Large { path: file.path.clone(), bytes: file.size, layer }).into_vec(),
            packages: packages(image),
            since,
        }
    }
}
