//! What lies in a repository and what leads to what: every tag, the indexes and manifests below it, attestations, and the artifacts that
//! are about any of them. Read only; what may go is decided elsewhere.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::SortedSet;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::attest::Predicate;
use super::manifest::{CREATED, Document, Raw};
use super::mark::Mark;
use super::registry::Registry;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Tag};

/// The annotation that BuildKit gives each layer of a cache manifest: when the step was executed.
const CREATED_AT: &str = "buildkit/createdat";

/// What another source than the registry knows of a manifest: GHCR lists untagged ones too, and when each was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// When it was last changed.
    pub time: SystemTime,
}

/// Every manifest of a repository: those that `listed` names, or where there is no such list, those that tags lead to; and those of
/// `also` that are there.
///
/// # Errors
/// When something cannot be read or understood: then nobody can tell what it needs, and nothing of the repository may be deleted.
pub fn read(
    registry: &Registry,
    image: &ImageRef,
    listed: Option<&[Listed]>,
    also: &SortedSet<Digest>,
) -> Result<BTreeMap<Digest, Node>> {
    let mut reading = Reading { registry, image, found: BTreeMap::new() };
    if let Some(listed) = listed {
        reading.add(&listed.iter().map(|one| one.digest.clone()).into_vec())?;
        // What is there by one account and not by the other is half a picture.
        if let Some(lost) = listed.iter().find(|one| !one.tags.is_empty() && !reading.found.contains_key(&one.digest)) {
            return Err(Error::failed(format!("{} is listed and is not there", lost.digest)).hint("run this again later"));
        }
    } else {
        reading.add_tagged()?;
        reading.add(&also.iter().cloned().into_vec())?;
        reading.add_referrers()?;
    }
    let mut nodes = reading.into_nodes()?;
    for one in listed.into_iter().flatten() {
        if let Some(node) = nodes.get_mut(&one.digest) {
            node.tags.clone_from(&one.tags);
            node.time = Some(one.time);
        }
    }
    Ok(nodes)
}

/// One manifest or index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its own length.
    pub bytes: u64,
    /// The manifests that it lists.
    pub children: Vec<Digest>,
    /// The blobs that it lists, with their lengths.
    pub blobs: Vec<(Digest, u64)>,
    /// What it is about, where it says so.
    pub subject: Option<Digest>,
    /// The repository that is marked on it: who put it.
    pub mark: Option<String>,
    /// The tags that point to it.
    pub tags: Vec<Tag>,
    /// When it was built or pushed, where anything tells.
    pub time: Option<SystemTime>,
}

impl Node {
    /// The manifest that it is about: by its own word, or by the tag that cosign and the referrers fallback give it,
    /// `sha256-<hex>` with or without an ending such as `.sig`.
    #[must_use]
    pub fn about(&self) -> Option<Digest> {
        self.subject.clone().or_else(|| self.tags.iter().find_map(Tag::about))
    }

    /// The tags that mean an image or a cache.
    pub fn own_tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(|tag| tag.about().is_none())
    }
}

struct Reading<'a> {
    registry: &'a Registry,
    image: &'a ImageRef,
    found: BTreeMap<Digest, Found>,
}

struct Found {
    document: Document,
    bytes: u64,
    tags: Vec<Tag>,
}

impl Reading<'_> {
    /// Adds what every tag leads to.
    fn add_tagged(&mut self) -> Result<()> {
        let tags = self.registry.tags(self.image)?;
        let raws = in_parallel(&tags, |tag| self.registry.manifest(&self.image.with_tag(tag.clone())));
        let (mut below, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (tag, raw) in tags.into_iter().zip(raws) {
            let Some(raw) = raw? else {
                gone.insert(tag);
                continue;
            };
            self.take(&raw)?.tags.push(tag);
            below.extend(self.children_of(raw.digest()));
        }
        // A tag that went meanwhile needs nothing; one that is listed still may need anything.
        let unread =
            if gone.is_empty() { None } else { self.registry.tags(self.image)?.into_iter().find(|tag| gone.contains(tag)) };
        if let Some(tag) = unread {
            return Err(Error::failed(format!("{tag} is listed and is not there")).hint("run this again later"));
        }
        self.add(&below.into_iter().into_vec())
    }

    fn take(&mut self, raw: &Raw) -> Result<&mut Found> {
        let found = Found { document: raw.document()?, bytes: raw.bytes().len() as u64, tags: Vec::new() };
        Ok(self.found.entry(raw.digest().clone()).or_insert(found))
    }

    fn children_of(&self, digest: &Digest) -> Vec<Digest> {
        let found = self.found.get(digest).map(|found| found.document.children()).unwrap_or_default();
        found.into_iter().filter(|child| child.is_manifest()).map(|child| child.digest.clone()).into_vec()
    }

    /// Adds these manifests and all below them; one that is not there (an image of which a platform was left out) is passed over.
    fn add(&mut self, digests: &[Digest]) -> Result<()> {
        let mut open: Vec<Digest> = digests.to_vec();
        loop {
            open.retain(|digest| !self.found.contains_key(digest));
            if open.is_empty() {
                return Ok(());
            }
            let raws = in_parallel(&open, |digest| self.registry.manifest(&self.image.with_digest(digest.clone())));
            let mut below = BTreeSet::new();
            for raw in raws {
                let Some(raw) = raw? else { continue };
                self.take(&raw)?;
                below.extend(self.children_of(raw.digest()));
            }
            // What was just asked for and is not there is not asked for again.
            open = below.into_iter().filter(|digest| !open.contains(digest)).into_vec();
        }
    }

    /// Adds what the registry lists as being about any of the manifests, and what is about that.
    fn add_referrers(&mut self) -> Result<()> {
        let mut open: Vec<Digest> = self.found.keys().cloned().into_vec();
        let knows = open.first().map(|first| self.registry.referrers(self.image, first)).transpose()?.flatten().is_some();
        while knows && !open.is_empty() {
            let about = in_parallel(&open, |digest| self.registry.referrers(self.image, digest));
            let mut new = BTreeSet::new();
            for listed in about {
                new.extend(listed?.unwrap_or_default().into_iter().map(|one| one.digest));
            }
            new.retain(|digest| !self.found.contains_key(digest));
            open = new.into_iter().into_vec();
            self.add(&open)?;
            open.retain(|digest| self.found.contains_key(digest));
        }
        Ok(())
    }

    fn into_nodes(self) -> Result<BTreeMap<Digest, Node>> {
        let heads: Vec<&Digest> =
            self.found.iter().filter(|(_, found)| !found.tags.is_empty()).map(|(digest, _)| digest).into_vec();
        let times = in_parallel(&heads, |digest| self.time(digest)).into_iter().collect::<Result<Vec<_>>>()?;
        let times: BTreeMap<Digest, Option<SystemTime>> = heads.into_iter().cloned().zip(times).collect();
        let nodes = self.found.into_iter().map(|(digest, found)| {
            let (manifests, blobs): (Vec<_>, Vec<_>) =
                found.document.children().into_iter().partition(|child| child.is_manifest());
            let node = Node {
                bytes: found.bytes,
                children: manifests.iter().map(|child| child.digest.clone()).into_vec(),
                blobs: blobs.iter().map(|blob| (blob.digest.clone(), blob.size)).into_vec(),
                subject: match &found.document {
                    Document::Manifest(manifest) => manifest.subject.as_ref().map(|subject| subject.digest.clone()),
                    Document::Index(index) => index.subject.as_ref().map(|subject| subject.digest.clone()),
                },
                mark: Mark::of(&found.document).map(|mark| mark.repository),
                tags: found.tags,
                time: times.get(&digest).copied().flatten(),
            };
            (digest, node)
        });
        Ok(nodes.collect())
    }

    /// When an image was built or a cache's newest step executed. An image's own configuration does not tell: its time is a constant,
    /// so that equal inputs make equal images.
    fn time(&self, digest: &Digest) -> Result<Option<SystemTime>> {
        let parsed = |text: &String| humantime::parse_rfc3339_weak(text).ok();
        match &self.found[digest].document {
            Document::Manifest(manifest) => {
                let steps = manifest.layers.iter().filter_map(|layer| layer.annotations.get(CREATED_AT)).filter_map(parsed);
                Ok(steps.max().or_else(|| manifest.annotations.get(CREATED).and_then(parsed)))
            }
            Document::Index(index) => {
                for (_, entry) in index.attestations() {
                    if let Some(Found { document: Document::Manifest(manifest), .. }) = self.found.get(&entry.digest)
                        && let Some(provenance) = Predicate::read(self.registry, self.image, manifest)?
                        && let Some(time) = provenance.built_at()
                    {
                        return Ok(Some(time));
                    }
                }
                let steps = index.manifests.iter().filter_map(|layer| layer.annotations.get(CREATED_AT)).filter_map(parsed);
                Ok(steps.max().or_else(|| index.annotations.get(CREATED).and_then(parsed)))
            }
        }
    }
}
