//! Tiers into the cache tiers: what each holds, and what is known of the services, branches and pull requests that it serves. What goes is
//! decided in `plan::upkeep`, and carried out in `upkeep/apply.rs`.

pub mod apply;
pub mod overview;

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::{Session, marks, planning, project};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Events, Level};
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_core::text;
use monoship_docker::engine::Engine;
use monoship_docker::reach::{self, Listed};
use monoship_docker::registry::Registry;
use monoship_docker::store::Record;
use monoship_github::api::Api;
use monoship_github::caches::{CacheKey, Filter, replaced_indexes};
use monoship_github::packages::Owner;
use monoship_plan::cache::gha_prefix;
use monoship_plan::config::{Switch, Upkeep};
use monoship_plan::services::{Service, discover};
use monoship_plan::upkeep::registry::{Holds, Repository};
use monoship_plan::upkeep::{Known, PrunePlan, Tier, actions, engine, registry};
use monoship_report::record::Unfinished;
use monoship_workspace::git::Git;

/// What a tier holds, or why nobody can tell.
pub type Answer<T> = Result<T, String>;

/// What the tiers hold.
pub struct Held {
    /// Entries of the Actions cache.
    pub gha: Answer<Vec<actions::Entry>>,
    /// The registry's repositories.
    pub registry: Answer<Vec<Repository>>,
    /// The engine's name, and its build cache.
    pub engine: Answer<(String, Vec<Record>)>,
    /// GitHub's numbers for the manifests of repositories that are packages of its registry.
    pub packages: SortedMap<ImageRef, Package>,
}

/// A repository of GitHub's registry, which deletes by numbers of its own.
pub struct Package {
    /// Whose it is.
    pub owner: Owner,
    /// Its name below the owner: `repo/api`.
    pub name: String,
    /// Its versions' numbers.
    pub versions: BTreeMap<Digest, u64>,
}

/// Who is asked: the parts of a session that looking needs, so that tests can put a registry of theirs behind it.
pub struct TierReader<'a> {
    /// The registry's client.
    pub registry: &'a Registry,
    /// GitHub's API, or why it cannot be called.
    pub api: Result<&'a Api, &'static str>,
    /// Where notices go.
    pub events: &'a Events,
    /// The prefix of the images' names.
    pub prefix: Option<&'a ImageRef>,
    /// The repository of cache manifests.
    pub caches: Option<&'a ImageRef>,
    /// What earlier prunes did not come to.
    pub unfinished: Unfinished,
    /// True where the prefix's registry is GitHub's, which lists and deletes through the Packages API.
    pub packages: bool,
}

/// The services of the working tree.
///
/// # Errors
/// When the monorepo cannot be read.
pub fn services(session: &Session) -> Result<Vec<Service>> {
    let project = project::load(session, &session.home)?;
    discover(&session.config, &project.packages(), &project.dockerfile.targets().into_vec())
}

/// What is known of who uses caches. What GitHub cannot be asked counts as there.
///
/// # Errors
/// When git does not answer.
pub fn known<'a>(session: &Session, services: &[Service], api: Option<&Api>, policy: &'a Upkeep) -> Result<Known<'a>> {
    let mut names: SortedSet<String> = services.iter().flat_map(|s| [s.name.to_string(), s.caches.clone()]).into_set();
    names.insert(session.config.base_target.clone());
    names.extend(on_default_branch(session)?);
    let asked = |what: &str, answer: Result<Vec<String>>| match answer {
        Ok(found) => Some(found),
        Err(error) => {
            session.events.notice(Level::Warning, None, format!("{what} are unknown, so none counts as gone: {error}"), None);
            None
        }
    };
    let pulls = api.and_then(|api| {
        asked("open pull requests", api.open_pull_requests().map(|all| all.iter().map(u64::to_string).into_vec()))
    });
    let branches = api.and_then(|api| asked("branches", api.branches()));
    let former = api.and_then(|api| asked("branches of closed pull requests", api.closed_pull_branches()));
    let named = |api: &Api| match api.named_digests() {
        Ok(named) => Some(named),
        Err(error) => {
            let message = format!("which images the release notes name is unknown, so no image is removed: {error}");
            session.events.notice(Level::Warning, None, message, None);
            None
        }
    };
    Ok(Known {
        now: session.begun,
        policy,
        services: names,
        gha_prefix: gha_prefix(session.config.folder.as_ref()),
        pulls: pulls.map(|all| all.iter().filter_map(|number| number.parse().ok()).into_set()),
        branches: branches.map(|all| all.into_iter().into_set()),
        former_branches: former.into_iter().flatten().filter_map(|branch| Tag::of_branch(&branch).ok()).into_set(),
        release_tags: session.templates(),
        tag_rules: session.overlay.tags.clone().unwrap_or_default(),
        // Without a name nothing in a registry is ours; other tiers can be looked into all the same.
        owner: marks::owner(session).unwrap_or_default(),
        // Where there are no releases at GitHub, no notes name anything.
        named: match api {
            Some(api) => named(api),
            None => (!session.is_at_github()?).then(SortedSet::new),
        },
    })
}

/// The folders of `apps/` that the default branch has: on a branch that removes a service, the service is not gone yet.
fn on_default_branch(session: &Session) -> Result<Vec<String>> {
    let git = Git::at(&session.home, &session.shutdown);
    let mut found = Vec::new();
    let remote = git.remote_name()?.into_iter().map(|remote| format!("refs/remotes/{remote}"));
    let all =
        remote.map(|refs| (refs, &["HEAD", "main", "master"][..])).chain([("refs/heads".to_owned(), &["main", "master"][..])]);
    for (refs, names) in all {
        for name in names {
            let listed = git.ask(&["ls-tree", "--name-only", "--full-tree", &format!("{refs}/{name}:apps")])?;
            found.extend(listed.iter().flat_map(|listed| listed.lines()).map(str::to_owned));
        }
    }
    Ok(found)
}

impl Held {
    /// The tiers that could not be looked into, with the reason.
    #[must_use]
    pub fn left_out(&self) -> Vec<(Tier, &str)> {
        let why = [
            (Tier::Gha, self.gha.as_ref().err()),
            (Tier::Registry, self.registry.as_ref().err()),
            (Tier::Engine, self.engine.as_ref().err()),
        ];
        why.into_iter().filter_map(|(tier, why)| Some((tier, why?.as_str()))).into_vec()
    }

    /// Makes caches of the registry as young as their last hit, which a registry does not know: when a step was executed says nothing of
    /// whether builds still find it.
    pub fn count_hits(&mut self, hits: &SortedMap<&str, SystemTime>) {
        let all = self.registry.iter_mut().flatten();
        for repository in all.filter(|repository| matches!(repository.holds, Holds::Caches { .. })) {
            let image = &repository.image;
            for node in repository.nodes.values_mut() {
                let hit = node.tags.iter().filter_map(|tag| hits.get(format!("{image}:{tag}").as_str())).max();
                node.time = node.time.max(hit.copied());
            }
        }
    }
}

/// Looks into these tiers; the others are left out.
#[must_use]
pub fn look(session: &Session, reader: &TierReader<'_>, known: &Known<'_>, tiers: &[Tier]) -> Held {
    let left_out = || "not asked for".to_owned();
    let mut held = Held { gha: Err(left_out()), registry: Err(left_out()), engine: Err(left_out()), packages: SortedMap::new() };
    for tier in tiers {
        match tier {
            Tier::Gha => held.gha = reader.gha(session.config.cache.gha),
            Tier::Registry => held.registry = reader.repositories(known, &mut held.packages),
            Tier::Engine => held.engine = build_cache(session).map_err(|error| error.to_string()),
        }
    }
    held
}

/// What goes of all this.
#[must_use]
pub fn plan(held: &Held, known: &Known<'_>) -> PrunePlan {
    let mut removals = held.gha.as_ref().map(|entries| actions::decide(entries, known)).unwrap_or_default();
    removals.extend(held.registry.as_ref().map(|all| registry::decide(all, known)).unwrap_or_default());
    removals.extend(held.engine.as_ref().map(|(name, records)| engine::decide(name, records, known)).unwrap_or_default());
    PrunePlan { removals }
}

/// True for GitHub's registry.
#[must_use]
pub fn is_github(host: &str) -> bool {
    host == "ghcr.io" || host.starts_with("containers.")
}

/// The engine that runs here, if one does, and its build cache.
fn build_cache(session: &Session) -> Result<(String, Vec<Record>)> {
    let engine = running_engine(session)?;
    let records = planning::image_store(session, &engine).build_cache()?;
    let name = if engine.is_embedded() { "the embedded engine" } else { "the engine" };
    let elsewhere = || Error::failed("the engine is not on a local socket, and its client tells sizes and ages only in words");
    Ok((name.to_owned(), records.ok_or_else(elsewhere)?))
}

/// The engine that runs; none is started to look into an empty cache.
///
/// # Errors
/// When none runs.
pub fn running_engine(session: &Session) -> Result<Engine> {
    session
        .running_engine()?
        .ok_or_else(|| Error::failed("no engine runs here").hint("start Docker, or run `cargo xtask engine up`"))
}

impl<'a> TierReader<'a> {
    /// A session's.
    #[must_use]
    pub fn new(session: &'a Session, api: Result<&'a Api, &'static str>) -> Self {
        let prefix = session.config.images.prefix.as_ref();
        Self {
            registry: &session.registry,
            api,
            events: &session.events,
            prefix,
            caches: session.config.cache.repository.as_ref(),
            unfinished: Unfinished::new(&session.state_dir()),
            packages: prefix.is_some_and(|prefix| is_github(prefix.registry())),
        }
    }
}

impl TierReader<'_> {
    fn gha(&self, switch: Switch) -> Answer<Vec<actions::Entry>> {
        if switch == Switch::Off {
            return Err("turned off in xtask.toml".to_owned());
        }
        let entries = self.api.map_err(str::to_owned)?.caches(Filter::default()).map_err(|error| error.to_string())?;
        let replaced: SortedSet<u64> = replaced_indexes(&entries).into_iter().map(|entry| entry.id).into_set();
        let entry = entries.into_iter().map(|entry| actions::Entry {
            holds: match CacheKey::parse(&entry.key) {
                CacheKey::Index { scope, .. } => actions::Holds::Index { scope, replaced: replaced.contains(&entry.id) },
                CacheKey::Blob(_) => actions::Holds::Layer,
                CacheKey::Other => actions::Holds::Other,
            },
            id: entry.id,
            git_ref: entry.git_ref,
            key: entry.key,
            bytes: entry.bytes,
            created: entry.created_at,
            used: entry.last_accessed_at,
        });
        Ok(entry.into_vec())
    }

    /// The repositories of services, there or gone, and the one of caches. One that cannot be read as a whole is left out with a notice:
    /// what it needs is not known, so nothing of it may go. `packages` takes GitHub's numbers of what its registry holds.
    ///
    /// # Errors
    /// The reason, where no registry is configured, or one does not answer: each of its repositories would be asked for in vain.
    pub fn repositories(&self, known: &Known<'_>, packages: &mut SortedMap<ImageRef, Package>) -> Answer<Vec<Repository>> {
        let Some(prefix) = self.prefix else { return Err("no registry is configured".to_owned()) };
        let elsewhere = self.caches.filter(|caches| caches.registry() != prefix.registry());
        for image in [Some(prefix), elsewhere].into_iter().flatten() {
            // Whatever it says, it answers.
            self.registry.can_pull(image).map_err(|error| error.to_string())?;
        }
        let mut services = self.former_services(prefix);
        services.extend(known.services.iter().cloned());
        let mut wanted: Vec<(ImageRef, Holds)> = Vec::new();
        for service in &services {
            if let Ok(image) = format!("{prefix}/{service}").parse()
                && Some(&image) != self.caches
            {
                wanted.push((image, Holds::Images(service.clone())));
            }
        }
        let mut found = Vec::new();
        let mut ours = SortedSet::new();
        for (image, holds) in wanted {
            let repository = self.repository(&image, holds, packages);
            if let (Some(repository), Some(service)) = (&repository, image.repository().rsplit('/').next()) {
                ours.extend((!repository.nodes.is_empty()).then(|| service.to_owned()));
            }
            found.extend(repository);
        }
        if let Some(caches) = self.caches {
            found.extend(self.repository(caches, Holds::Caches { ours }, packages));
        }
        found.retain(|repository| !repository.nodes.is_empty());
        for repository in &found {
            let foreign = repository.foreign(known);
            if foreign > 0 {
                let what = if matches!(repository.holds, Holds::Images(_)) { "image" } else { "cache" };
                let message =
                    format!("{}: {} without the mark of {}", repository.image, text::counted(foreign, what), known.owner);
                let hint =
                    "what does not carry this repository's mark may be somebody else's, so it stays; remove it by hand if nobody needs it".to_owned();
                self.events.notice(Level::Info, None, message, Some(hint));
            }
        }
        Ok(found)
    }

    fn repository(&self, image: &ImageRef, holds: Holds, packages: &mut SortedMap<ImageRef, Package>) -> Option<Repository> {
        let image = image.without_reference();
        match self.read(&image, holds, packages) {
            Ok(repository) => Some(repository),
            Err(error) => {
                let hint = "nothing of it is removed".to_owned();
                self.events.notice(Level::Warning, None, format!("{image} cannot be read: {error}"), Some(hint));
                None
            }
        }
    }

    /// Reads one repository again as it is now.
    ///
    /// # Errors
    /// When it cannot be read as a whole.
    pub fn read(&self, image: &ImageRef, holds: Holds, packages: &mut SortedMap<ImageRef, Package>) -> Result<Repository> {
        let listed = self.listed(image, packages)?;
        let unfinished = self.unfinished.read().remove(&image.to_string()).unwrap_or_default();
        let nodes = reach::read(self.registry, image, listed.as_deref(), &unfinished)?;
        Ok(Repository { image: image.clone(), holds, nodes, lists_untagged: listed.is_some(), unfinished })
    }

    /// True where the repository is a package of GitHub's: the caches may lie in another registry than the images.
    fn is_package(&self, image: &ImageRef) -> bool {
        let beside = self.prefix.is_some_and(|prefix| prefix.registry() == image.registry());
        if beside { self.packages } else { is_github(image.registry()) }
    }

    /// Every version, tagged or not, where the repository is a package of GitHub's.
    fn listed(&self, image: &ImageRef, packages: &mut SortedMap<ImageRef, Package>) -> Result<Option<Vec<Listed>>> {
        let (true, Ok(api)) = (self.is_package(image), self.api) else { return Ok(None) };
        let Some((of, name)) = image.repository().split_once('/') else { return Ok(None) };
        let owner = api.repository().owner();
        if !of.eq_ignore_ascii_case(owner) {
            let error = Error::failed(format!("its packages are {of}'s, and the repository is {owner}'s"));
            return Err(error.hint("set GITHUB_REPOSITORY to a repository of the packages' owner"));
        }
        let Some((owner, versions)) = api.package_versions(name)? else { return Ok(Some(Vec::new())) };
        let numbers = versions.iter().map(|version| (version.digest.clone(), version.id)).collect();
        packages.insert(image.clone(), Package { owner, name: name.to_owned(), versions: numbers });
        let listed = versions.into_iter().map(|v| Listed { digest: v.digest, tags: v.tags, time: v.updated_at });
        Ok(Some(listed.into_vec()))
    }

    /// Names below the prefix that the registry knows; none where it does not tell.
    fn former_services(&self, prefix: &ImageRef) -> SortedSet<String> {
        let (listed, below) = match (self.packages, self.api) {
            (true, Ok(api)) => (api.packages(), prefix.repository().split_once('/').map_or("", |(_, rest)| rest)),
            (true, Err(_)) => return SortedSet::new(),
            (false, _) => (self.registry.catalog(prefix.registry()), prefix.repository()),
        };
        match listed {
            Ok(names) => {
                let service = |name: &String| name.strip_prefix(below)?.strip_prefix('/').map(str::to_owned);
                names.iter().filter_map(service).filter(|name| !name.contains('/')).into_set()
            }
            Err(error) => {
                let message = format!("repositories of services that are gone are not found: {error}");
                self.events.notice(Level::Info, None, message, None);
                SortedSet::new()
            }
        }
    }
}
