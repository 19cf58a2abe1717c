//! Asking the cache tiers: which can be read, which written. All targets at once, each question asked once. What follows from the
//! answers is decided in `plan::cache`.

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::pool;
use monoship_core::sorted::{SortedMap, SortedSet};
use std::time::SystemTime;

use crate::Session;
use monoship_core::execute::retry::Policy;
use monoship_core::name::{ImageRef, Tag};
use monoship_docker::capability::Capabilities;
use monoship_docker::registry::{Access, Registry};
use monoship_github::caches::{Budget, CacheUsage};
use monoship_github::token::{GhaAccess, Protocol};
use monoship_plan::cache::{Facts, Probe, Scoped, Writable, cache_image};
use monoship_plan::config::Switch;
use monoship_plan::config::upkeep::Tier;
use monoship_plan::request::BuildRequest;

/// A target whose caches are asked for.
pub struct Target<'a> {
    /// The Dockerfile target and its platforms.
    pub scoped: Scoped<'a>,
    /// Its image's name without tag; none for the base.
    pub image: Option<&'a ImageRef>,
}

/// What is known about every target's tiers, by the target's name. A tier that cannot be asked is a fact, not an error. `uploads` is about
/// how many entries the whole run would write to GitHub's cache.
pub fn probe(
    session: &Session,
    capabilities: Capabilities,
    request: &BuildRequest,
    targets: &[Target<'_>],
    uploads: usize,
) -> SortedMap<String, Facts> {
    let registry = registry(session, request);
    let asking = Asking { session, registry: &registry, capabilities, request };
    let mut gha = asking.gha();
    let repository = session.config.cache.repository.as_ref();
    let tags = repository.and_then(|repository| asking.tags(repository, targets));
    let ((writable, used), found) = pool::both(
        || pool::both(|| asking.registry_writable(repository), || gha.1.as_ref().ok().and_then(|()| asking.gha_used())),
        || -> Vec<(Probe, Probe)> { pool::in_parallel(targets, |target| asking.target(target, &gha.0, tags.as_ref())) },
    );
    // Where only one of the two can hold what is built, it has to.
    if gha.1.is_ok() && writable.is_ok() {
        let (used, quota_bytes) = used.unzip();
        let budget = Budget { uploads, used, quota_bytes: quota_bytes.flatten() };
        gha.1 = budget.check().map_err(|over| format!("{over}; the registry's cache is written instead"));
    }
    let facts = targets.iter().zip(found).map(|(target, (in_registry, previous))| {
        let facts = Facts {
            gha: gha.0.clone(),
            gha_writable: gha.1.clone(),
            gha_v2: capabilities.gha_v2,
            registry: in_registry,
            registry_writable: writable.clone(),
            registry_repository: repository.cloned(),
            registry_tags: tags.clone(),
            previous,
            // An image of no registry is called as one of Docker Hub's is.
            previous_image: target.image.filter(|_| session.config.images.prefix.is_some()).map(|image| image.with_tag(latest())),
            inline_off: asking.inline_off(target),
            no_read: asking.why_not((!request.cache_from).then_some("--cache-from none")),
            no_write: asking.why_not(request.no_cache_to.as_deref()),
        };
        (target.scoped.target.to_owned(), facts)
    });
    facts.into_map()
}

/// A laptop without a network is not to wait for caches that it does without. Where the registry is needed anyway, or a cache saves minutes that
/// somebody pays for, a bad moment is waited out.
fn registry(session: &Session, request: &BuildRequest) -> Registry {
    let is_needed = request.pushes() || request.warms.is_some() || session.env.is_ci();
    if is_needed { session.registry.clone() } else { session.registry.clone().probing() }
}

fn latest() -> Tag {
    "latest".parse().expect("`latest` is a tag")
}

/// Refuses to fill a tier that this machine or this configuration has not, before anything is built for it.
///
/// # Errors
/// Why the tier cannot be written.
pub fn may_warm(session: &Session, tier: Tier) -> Result<()> {
    let config = &session.config.cache;
    let why = match tier {
        Tier::Engine => None,
        Tier::Gha if config.gha == Switch::Off => Some(TURNED_OFF.to_owned()),
        Tier::Gha => GhaAccess::detect(&session.env, SystemTime::now()).writable().err(),
        Tier::Registry if config.registry == Switch::Off => Some(TURNED_OFF.to_owned()),
        Tier::Registry => config.repository.is_none().then(|| "no registry is configured".to_owned()),
    };
    why.map_or(Ok(()), |why| {
        Err(Error::failed(format!("the tier {} cannot be filled: {why}", tier.as_str()))
            .hint("`cargo xtask cache warm` without `--tier` fills the engine's"))
    })
}

struct Asking<'a> {
    session: &'a Session,
    registry: &'a Registry,
    capabilities: Capabilities,
    request: &'a BuildRequest,
}

/// Why a tier is not asked whose key says so.
pub const TURNED_OFF: &str = "turned off in xtask.toml";

impl Asking<'_> {
    fn why_not(&self, asked: Option<&str>) -> Option<String> {
        let why = if self.request.no_cache { Some("--no-cache") } else { asked };
        why.map(str::to_owned)
    }

    fn gha(&self) -> (Probe, Writable) {
        if self.session.config.cache.gha == Switch::Off {
            return (Probe::Off(TURNED_OFF.to_owned()), Err(TURNED_OFF.to_owned()));
        }
        let access = GhaAccess::detect(&self.session.env, SystemTime::now());
        let probe = match access.readable() {
            Err(why) => Probe::Off(why),
            Ok(()) if Protocol::detect(&self.session.env) == Some(Protocol::V2) && !self.capabilities.gha_v2 => {
                Probe::Off("this engine speaks only the first version of the protocol, which GitHub has turned off".to_owned())
            }
            Ok(()) => Probe::Found,
        };
        (probe, self.is_for(Tier::Gha).and_then(|()| access.writable()).and_then(|()| self.exportable()))
    }

    /// What GitHub's caches hold, where it can be asked, and what they may hold, where it tells us; it is worth one try and no wait.
    fn gha_used(&self) -> Option<(CacheUsage, Option<u64>)> {
        let api = self.session.github().ok()?.ok()?.with_policy(Policy::ONCE);
        let (used, limit) = pool::both(|| api.cache_usage(), || api.cache_limit());
        Some((used.ok()?, limit.ok().flatten()))
    }

    /// A run that warms one tier leaves the others as they are.
    fn is_for(&self, tier: Tier) -> Writable {
        match self.request.warms {
            Some(warmed) if warmed != tier => Err(format!("this run is for the tier {}", warmed.as_str())),
            _ => Ok(()),
        }
    }

    /// Only containerd's image store can export any cache but the inline one.
    fn exportable(&self) -> Writable {
        if self.capabilities.containerd_store {
            return Ok(());
        }
        Err("the engine keeps images in a graph driver; turn on its containerd image store (docs/caches.md)".to_owned())
    }

    fn registry_writable(&self, repository: Option<&ImageRef>) -> Writable {
        let Some(repository) = repository.filter(|_| self.session.config.cache.registry == Switch::Auto) else {
            return Err(TURNED_OFF.to_owned());
        };
        self.is_for(Tier::Registry)?;
        if !self.request.pushes() && self.request.warms.is_none() {
            return Err("only a run that pushes writes it".to_owned());
        }
        self.exportable()?;
        match self.registry.can_push(repository) {
            // A builder asks for the cache's tag first, and takes a refusal for the end.
            Ok(Access::Granted) if self.registry.hides_missing(repository.registry()) => {
                Err(format!("{} does not tell a builder whether a tag is there", repository.registry()))
            }
            Ok(Access::Granted) => Ok(()),
            Ok(Access::Denied(refusal)) => Err(refusal.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The registry tier, and the previous image where nothing before it can be read.
    fn target(&self, target: &Target<'_>, gha: &Probe, tags: Option<&SortedSet<String>>) -> (Probe, Probe) {
        let tiers = &self.session.config.cache;
        let name = target.scoped.name();
        let cache = tiers.repository.as_ref().and_then(|repository| cache_image(repository, &name));
        let in_registry = match cache {
            _ if tiers.registry == Switch::Off => Probe::Off(TURNED_OFF.to_owned()),
            None => Probe::Off("no registry is configured".to_owned()),
            Some(_) if !self.request.cache_from => Probe::Missing,
            // Another platform's holds the steps that do not depend on it.
            Some(_) if tags.is_some_and(|tags| target.scoped.others().iter().chain([&name]).any(|name| tags.contains(name))) => {
                Probe::Found
            }
            Some(image) => self.found(&image),
        };
        let previous = match target.image {
            None => Probe::Off("it makes no image".to_owned()),
            Some(_) if tiers.previous == Switch::Off => Probe::Off(TURNED_OFF.to_owned()),
            Some(_) if tiers.repository.is_none() => Probe::Off("no registry is configured".to_owned()),
            // Not worth a question: a source before it is there, or none is to be read.
            Some(_) if *gha == Probe::Found || in_registry == Probe::Found || !self.request.cache_from => Probe::Missing,
            Some(image) => match &in_registry {
                Probe::Unreachable(why) if tiers.repository.as_ref().is_some_and(|it| it.registry() == image.registry()) => {
                    Probe::Unreachable(why.clone())
                }
                _ => self.found(&image.with_tag(latest())),
            },
        };
        (in_registry, previous)
    }

    /// The caches there are, where runs for several platforms keep theirs side by side: one question for all targets.
    fn tags(&self, repository: &ImageRef, targets: &[Target<'_>]) -> Option<SortedSet<String>> {
        let several = targets.iter().any(|target| !target.scoped.others().is_empty());
        let asks = several && self.request.cache_from && self.session.config.cache.registry == Switch::Auto;
        let listed = asks.then(|| self.registry.tags(repository).ok()).flatten()?;
        Some(listed.iter().map(ToString::to_string).into_set())
    }

    fn found(&self, image: &ImageRef) -> Probe {
        match self.registry.resolve(image) {
            Ok(Some(_)) => Probe::Found,
            Ok(None) => Probe::Missing,
            Err(error) => Probe::Unreachable(error.to_string()),
        }
    }

    fn inline_off(&self, target: &Target<'_>) -> Option<String> {
        if self.session.config.cache.inline == Switch::Off {
            return Some(TURNED_OFF.to_owned());
        }
        if target.image.is_none() {
            return Some("it makes no image".to_owned());
        }
        (!self.request.pushes()).then(|| "nothing is pushed".to_owned())
    }
}
