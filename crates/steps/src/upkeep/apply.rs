//! Carrying out a plan of removals. Before each of them it is asked again where the repository's tags point: one that was put or moved
//! meanwhile keeps what it needs.

use std::time::Duration;

use super::{Held, Package, TierReader, running_engine};
use crate::Session;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::capability::Version;
use monoship_docker::registry::Deletion;
use monoship_github::packages::KeptByGithub;
use monoship_plan::upkeep::registry::{Repository, needed_by_new};
use monoship_plan::upkeep::{Action, PrunePlan, Removal};

/// An engine with a large cache takes its time.
const ENGINE_LIMIT: Duration = Duration::from_mins(10);

/// From here on buildx says `--max-used-space` for what it called `--keep-storage` before.
const MAX_USED_SPACE: Version = Version::new(0, 17, 0);

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many removals are done.
    pub done: usize,
    /// What they freed, as far as it was foretold.
    pub bytes: u64,
    /// What was not done, and why.
    pub failed: Vec<(Removal, Error)>,
}

impl Applied {
    /// True where all went that can go. What GitHub keeps for good fails no upkeep: it would be every one from then on.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.failed.iter().all(|(_, error)| error.source_as::<KeptByGithub>().is_some())
    }
}

/// Carries out a plan; what fails does not keep the rest from being done.
///
/// # Errors
/// When the run is stopped.
pub fn apply(session: &Session, reader: &TierReader<'_>, held: &Held, plan: &PrunePlan) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut now = SortedMap::new();
    reader.unfinished.note(plan.removals.iter().filter_map(manifests))?;
    for removal in &plan.removals {
        session.shutdown.check()?;
        let done = match &removal.action {
            Action::CacheEntry(id) => delete_entry(reader, *id),
            Action::Manifests { repository, digests } => reader.delete(held, &mut now, repository, digests),
            Action::BuildCache { unused_seconds, max_bytes } => prune_engine(session, *unused_seconds, *max_bytes),
        };
        match done {
            Ok(()) => {
                reader.unfinished.strike(manifests(removal).into_iter())?;
                applied.done += 1;
                applied.bytes += removal.bytes;
            }
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => applied.failed.push((removal.clone(), error)),
        }
    }
    // What earlier prunes had noted was judged again: it is gone, or needed, or it failed again.
    let failed: SortedSet<&Digest> =
        applied.failed.iter().filter_map(|(r, _)| manifests(r)).flat_map(|(_, digests)| digests).into_set();
    for repository in held.registry.as_deref().unwrap_or_default() {
        let settled: Vec<Digest> = repository.unfinished.iter().filter(|digest| !failed.contains(digest)).cloned().into_vec();
        reader.unfinished.strike(std::iter::once((&repository.image, settled.as_slice())))?;
    }
    Ok(applied)
}

/// The manifests that a removal deletes.
fn manifests(removal: &Removal) -> Option<(&ImageRef, &[Digest])> {
    match &removal.action {
        Action::Manifests { repository, digests } => Some((repository, digests)),
        Action::CacheEntry(_) | Action::BuildCache { .. } => None,
    }
}

fn delete_entry(reader: &TierReader<'_>, id: u64) -> Result<()> {
    reader.api.map_err(Error::failed)?.delete_cache(id).map(drop)
}

/// Lets the engine drop what was not used for so long, or what is over a size.
fn prune_engine(session: &Session, unused_seconds: Option<u64>, max_bytes: Option<u64>) -> Result<()> {
    let engine = running_engine(session)?;
    let mut call = engine.buildx().args(["prune", "--all", "--force"]);
    if let Some(seconds) = unused_seconds {
        call = call.arg("--filter").arg(format!("until={seconds}s"));
    }
    if let Some(bytes) = max_bytes {
        let flag = if engine.buildx_version >= MAX_USED_SPACE { "--max-used-space" } else { "--keep-storage" };
        call = call.arg(flag).arg(bytes.to_string());
    }
    call.timeout(ENGINE_LIMIT).read(&session.shutdown).map(drop)
}

impl TierReader<'_> {
    /// Deletes manifests in their order, less what a tag that is newer than the plan needs. `now` keeps what was read again: it is read
    /// anew where a tag points elsewhere than it says.
    ///
    /// # Errors
    /// When the registry does not delete, or refuses.
    pub fn delete(
        &self,
        held: &Held,
        now: &mut SortedMap<ImageRef, Repository>,
        repository: &ImageRef,
        digests: &[Digest],
    ) -> Result<()> {
        let all = held.registry.as_deref().unwrap_or_default();
        let Some(before) = all.iter().find(|one| one.image == *repository) else { return Ok(()) };
        let tags = self.pointers(repository)?;
        // A tag that has gone needs nothing.
        let is_known = |known: &SortedMap<Tag, Digest>| tags.iter().all(|(tag, digest)| known.get(tag) == Some(digest));
        if now.get(repository).is_none_or(|read| !is_known(&pointers_of(read))) {
            let after = self.read(repository, before.holds.clone(), &mut SortedMap::new())?;
            now.insert(repository.clone(), after);
        }
        let needed = needed_by_new(before, &now[repository]);
        let mut going = digests.iter().filter(|digest| !needed.contains(*digest));
        going.try_for_each(|digest| self.delete_one(held.packages.get(repository), repository, digest))
    }

    /// Where each tag of a repository points at this moment.
    fn pointers(&self, repository: &ImageRef) -> Result<SortedMap<Tag, Digest>> {
        if let Some(listed) = self.listed(repository, &mut SortedMap::new())? {
            let each = listed.into_iter().flat_map(|one| one.tags.into_iter().map(move |tag| (tag, one.digest.clone())));
            return Ok(each.into_map());
        }
        let tags = self.registry.tags(repository)?;
        let images: Vec<ImageRef> = tags.iter().map(|tag| repository.with_tag(tag.clone())).into_vec();
        let found = self.registry.resolve_all(&images).into_iter().collect::<Result<Vec<_>>>()?;
        Ok(tags.into_iter().zip(found).filter_map(|(tag, found)| Some((tag, found?.digest))).into_map())
    }

    /// Deletes manifests that nothing but their own tags leads to.
    ///
    /// # Errors
    /// When the registry does not delete, or refuses.
    pub fn delete_all(&self, repository: &ImageRef, digests: &[Digest]) -> Result<()> {
        let mut packages = SortedMap::new();
        self.listed(repository, &mut packages)?;
        digests.iter().try_for_each(|digest| self.delete_one(packages.get(repository), repository, digest))
    }

    fn delete_one(&self, package: Option<&Package>, repository: &ImageRef, digest: &Digest) -> Result<()> {
        match package {
            Some(package) => self.delete_version(package, digest),
            None if self.is_package(repository) => Err(no_api(repository, self.api.err())),
            None => self.delete_manifest(repository, digest),
        }
    }

    fn delete_manifest(&self, repository: &ImageRef, digest: &Digest) -> Result<()> {
        match self.registry.delete_manifest(repository, digest)? {
            Deletion::Deleted | Deletion::Absent => Ok(()),
            Deletion::Unsupported => Err(Error::failed(format!("{} does not delete manifests", repository.registry())).hint(
                "a distribution registry deletes with REGISTRY_STORAGE_DELETE_ENABLED=true; others have a setting of their own",
            )),
        }
    }

    fn delete_version(&self, package: &Package, digest: &Digest) -> Result<()> {
        let api = self.api.map_err(Error::failed)?;
        match package.versions.get(digest) {
            Some(id) => api.delete_package_version(package.owner, &package.name, *id).map(drop),
            None => Ok(()),
        }
    }
}

/// Where the tags of a repository pointed when it was read.
fn pointers_of(repository: &Repository) -> SortedMap<Tag, Digest> {
    let each = repository.nodes.iter().flat_map(|(digest, node)| node.tags.iter().map(move |tag| (tag.clone(), digest.clone())));
    each.into_map()
}

fn no_api(repository: &ImageRef, why: Option<&'static str>) -> Error {
    let why = why.unwrap_or("it lists no such package");
    Error::failed(format!("{} deletes only through GitHub's API, which cannot be called: {why}", repository.registry()))
        .hint("set GITHUB_TOKEN to a token with the permission `packages: write` (classic: `delete:packages`)")
}
