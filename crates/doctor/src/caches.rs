//! The caches that are there: one scope for each target, in the registry and in GitHub's cache service; and whether any is written at all.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::SortedSet;

use super::{Checkup, Finding};
use monoship_core::error::Result;
use monoship_core::name::ImageRef;
use monoship_docker::manifest::Document;
use monoship_github::caches::{CacheKey, Filter};
use monoship_plan::cache::{Scoped, cache_image, gha_scope};
use monoship_plan::config::Switch;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let tiers = &checkup.config.cache;
    let off = |switch: Switch| switch == Switch::Off;
    if off(tiers.gha) && off(tiers.registry) && off(tiers.inline) {
        let what = "xtask.toml turns off every cache that could be written: the next machine starts from nothing";
        return vec![Finding::warning("no-cache-tier", what, "turn on one of `[cache] gha`, `registry` and `inline`")];
    }
    let mut found = in_registry(checkup);
    found.extend(in_gha(checkup));
    found
}

/// The caches that a run without `--platform` writes: one for each target and, where an engine can push one platform at a time, for each
/// of its platforms.
fn targets(checkup: &Checkup) -> Vec<Scoped<'_>> {
    let engine = checkup.engine.as_ref().ok().and_then(Option::as_ref);
    let apart = engine.is_none_or(|engine| engine.capabilities.push_without_store);
    let services = checkup.services().iter().map(|service| (service.caches.as_str(), service.platforms.as_slice()));
    let base = (checkup.config.base_target.as_str(), checkup.config.images.platforms.as_slice());
    let all = std::iter::once(base).chain(services);
    let scoped = all.flat_map(|(target, configured)| {
        let size = if apart { 1 } else { configured.len().max(1) };
        let runs = if configured.is_empty() { vec![configured] } else { configured.chunks(size).into_vec() };
        runs.into_iter().map(move |run| Scoped { target, folder: checkup.config.folder.as_ref(), run, configured })
    });
    scoped.into_vec()
}

/// A cache in the registry.
enum There {
    Whole,
    Missing,
    /// Something that it names is gone.
    Broken,
}

fn in_registry(checkup: &Checkup) -> Vec<Finding> {
    let tiers = &checkup.config.cache;
    let Some(repository) = tiers.repository.as_ref().filter(|_| tiers.registry == Switch::Auto) else { return Vec::new() };
    let caches: Vec<(String, ImageRef)> = targets(checkup)
        .into_iter()
        .filter_map(|scoped| Some((scoped.name(), cache_image(repository, &scoped.name())?)))
        .into_vec();
    // A registry that does not answer is the registry check's finding.
    let states = in_parallel(&caches, |(_, cache)| state(checkup, cache)).into_iter().collect::<Result<Vec<_>>>();
    let Ok(states) = states else { return Vec::new() };
    let named = |wanted: fn(&There) -> bool| -> Vec<&str> {
        caches.iter().zip(&states).filter(|(_, state)| wanted(state)).map(|((name, _), _)| name.as_str()).into_vec()
    };
    let (missing, broken) = (named(|s| matches!(s, There::Missing)), named(|s| matches!(s, There::Broken)));
    let mut found = Vec::new();
    if !missing.is_empty() {
        let what = format!("{} has no cache of {}", repository.familiar(), missing.join(", "));
        let fix = "the next run that pushes writes it: `cargo xtask build --push`, or a release";
        found.push(Finding::note("registry-cache-missing", what, fix));
    }
    if !broken.is_empty() {
        let what = format!("the cache of {} in {} lacks layers that it names", broken.join(", "), repository.familiar());
        let fix = "`cargo xtask cache clear` of the service forgets it, and the next run that pushes writes it anew";
        found.push(Finding::warning("registry-cache-broken", what, fix));
    }
    if found.is_empty() {
        found.push(Finding::good(format!("{} has a cache of every target", repository.familiar())));
    }
    found
}

fn state(checkup: &Checkup, cache: &ImageRef) -> Result<There> {
    let Some(raw) = checkup.registry.manifest(cache)? else { return Ok(There::Missing) };
    let Ok(document) = raw.document() else { return Ok(There::Broken) };
    let children = match &document {
        // A cache's index points to layers, and a cache with attestations to manifests: both are blobs or manifests by their type.
        Document::Index(index) => index.manifests.iter().into_vec(),
        Document::Manifest(_) => document.children(),
    };
    for child in children {
        let there = if child.is_manifest() {
            checkup.registry.resolve(&cache.without_reference().with_digest(child.digest.clone()))?.is_some()
        } else {
            checkup.registry.has_blob(cache, &child.digest)?.is_some()
        };
        if !there {
            return Ok(There::Broken);
        }
    }
    Ok(There::Whole)
}

fn in_gha(checkup: &Checkup) -> Vec<Finding> {
    let Ok(Ok(api)) = &checkup.github else { return Vec::new() };
    if checkup.config.cache.gha == Switch::Off {
        return Vec::new();
    }
    // What the token may not read is the GitHub check's finding.
    let Ok(entries) = api.caches(Filter { key: Some("index-"), git_ref: None }) else { return Vec::new() };
    let there: SortedSet<String> = entries
        .iter()
        .filter_map(|entry| match CacheKey::parse(&entry.key) {
            CacheKey::Index { scope, .. } => Some(scope),
            _ => None,
        })
        .into_set();
    let targets = targets(checkup);
    let wanted: SortedSet<String> = targets.iter().map(|scoped| gha_scope(scoped.folder, &scoped.name())).into_set();
    let read: SortedSet<String> =
        targets.iter().flat_map(Scoped::others).map(|name| gha_scope(checkup.config.folder.as_ref(), &name)).into_set();
    let missing: Vec<&str> = wanted.difference(&there).map(String::as_str).into_vec();
    if missing.is_empty() {
        return vec![Finding::good("GitHub's cache service has a scope of every target")];
    }
    let foreign: Vec<&str> = there
        .difference(&wanted)
        .filter(|scope| scope.starts_with("monorepo-") && !read.contains(*scope))
        .map(String::as_str)
        .into_vec();
    let others =
        if foreign.is_empty() { String::new() } else { format!("; it has {}, which no target reads", foreign.join(", ")) };
    let what = format!("GitHub's cache service has no {}{others}", missing.join(", "));
    let fix =
        "a run on the default branch writes them, and seven days without use takes them away; a renamed target has a new scope";
    vec![Finding::note("gha-scope-missing", what, fix)]
}
