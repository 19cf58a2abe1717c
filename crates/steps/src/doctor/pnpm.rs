//! pnpm: does the version that installs understand the lock, is it the same everywhere, and does the lock fit the manifests?

use monoship_core::collect::Sorted as _;
use std::collections::BTreeMap;

use super::{Checkup, Finding, Severity};
use monoship_docker::capability::Version;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::Stage;
use monoship_workspace::load::{LOCK, LockState};

/// The first pnpm that writes and reads `lockfileVersion: '9.0'`.
const FIRST: u32 = 9;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Some(monorepo) = &checkup.monorepo else { return Vec::new() };
    let workspace = match &monorepo.workspace {
        Ok(workspace) => workspace,
        Err(error) => return vec![Finding::error(Severity::Problem, "workspace-unreadable", error, "mend the file")],
    };
    let mut found = Vec::new();
    let manager = workspace.package(workspace.root_package()).manifest.package_manager();
    let pinned = manager.and_then(|manager| manager.strip_prefix("pnpm@")).and_then(Version::find);
    match (manager, pinned) {
        (None, _) => found.push(Finding::warning(
            "pnpm-not-pinned",
            "package.json does not say which pnpm: each machine installs with its own",
            "add `\"packageManager\": \"pnpm@<version>\"`, or run `corepack use pnpm`",
        )),
        (Some(other), None) => found.push(Finding::problem(
            "not-pnpm",
            format!("package.json names `{other}` as the package manager"),
            "this tool builds pnpm workspaces: name `pnpm@<version>`",
        )),
        (_, Some(version)) if version.major < FIRST => found.push(Finding::problem(
            "pnpm-older-than-lock",
            format!("package.json pins pnpm {version}, which does not read a lock of version 9.0"),
            format!("pin pnpm {FIRST} or newer and run `pnpm install --lockfile-only`"),
        )),
        (_, Some(version)) => found.extend(in_dockerfile(checkup, version)),
    }
    match workspace.lock() {
        LockState::Whole { refusal, .. } if refusal.reason.contains("lockfileVersion") => found.push(Finding::problem(
            "lock-of-another-pnpm",
            format!("{LOCK}:{}: {}", refusal.line, refusal.reason),
            format!("write it anew with pnpm {FIRST} or newer: `pnpm install --lockfile-only`"),
        )),
        LockState::Whole { refusal, .. } => found.push(Finding::warning(
            "lock-not-understood",
            format!(
                "{LOCK}:{}: {}: every service gets the whole lock, and a change of it rebuilds all",
                refusal.line, refusal.reason
            ),
            "write it anew: `pnpm install --lockfile-only`",
        )),
        LockState::Scanned(_) => found.extend(behind(workspace)),
    }
    if found.is_empty() {
        let version = pinned.map(|version| version.to_string()).unwrap_or_default();
        found.push(Finding::good(format!("pnpm {version}, {} packages, the lock fits", workspace.packages().len())));
    }
    found
}

/// The Dockerfile's `ARG PNPM_VERSION=…`, where it has one that differs.
fn in_dockerfile(checkup: &Checkup, pinned: Version) -> Option<Finding> {
    let dockerfile = checkup.monorepo.as_ref()?.dockerfile.as_ref().ok()?;
    let mut steps = dockerfile.stages().iter().flat_map(Stage::instructions);
    let (line, version) = steps.find_map(|step| {
        let version = step.args.strip_prefix("PNPM_VERSION=").filter(|_| step.keyword == "ARG")?;
        Some((step.line, Version::find(version.trim_matches('"'))?))
    })?;
    let file = &checkup.config.images.dockerfile;
    (version != pinned).then(|| {
        let what = format!("{file}:{line} installs pnpm {version}, package.json pins {pinned}");
        Finding::warning("pnpm-versions-differ", what, format!("write `ARG PNPM_VERSION={pinned}`"))
    })
}

/// Dependencies of manifests that the lock does not have as they are written: a frozen install refuses them. Overrides change specifiers,
/// so that nothing is said of a name that has one.
fn behind(workspace: &Workspace) -> Option<Finding> {
    let lock = workspace.scanned()?;
    let overridden = |name: &str| lock.overrides().any(|(key, _)| key.contains(name));
    let missing = workspace.packages().iter().find_map(|package| {
        let locked: BTreeMap<&str, &str> = lock.importer(&package.dir).map_or_else(BTreeMap::new, |importer| {
            lock.dependencies(importer).map(|(_, locked)| (locked.alias.as_str(), locked.specifier.as_str())).into_map()
        });
        let mut dependencies = package.manifest.all_dependencies().filter(|(name, ..)| !overridden(name));
        let (name, wanted, _) = dependencies.find(|(name, wanted, _)| locked.get(name).is_none_or(|locked| locked != wanted))?;
        let has = locked.get(name).map_or("does not have it".to_owned(), |locked| format!("has `{locked}`"));
        Some(format!("{} wants {name} `{wanted}`, and {LOCK} {has}", package.path("package.json")))
    })?;
    Some(Finding::problem("lock-out-of-date", missing, "run `pnpm install --lockfile-only` and commit the lock"))
}
