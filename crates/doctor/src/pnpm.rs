//! pnpm: does the version that installs understand the lock, is it the same everywhere, and does the lock fit the manifests?

use super::{Checkup, Finding, Severity};
use monoship_core::text::counted;
use monoship_docker::capability::Version;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::Stage;
use monoship_workspace::load::{LOCK, LockState};

/// The first pnpm whose locks can be cut.
const FIRST: u32 = 8;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Some(monorepo) = &checkup.monorepo else { return Vec::new() };
    let workspace = match &monorepo.workspace {
        Ok(workspace) => workspace,
        Err(error) => return vec![Finding::error(Severity::Problem, "workspace-unreadable", error, "fix the file")],
    };
    let mut found = Vec::new();
    let manifest = &workspace.package(workspace.root_package()).manifest;
    let manager = manifest.package_manager();
    let pinned = manager.and_then(|manager| manager.strip_prefix("pnpm@")).and_then(Version::find);
    match (manager, pinned) {
        // pnpm 11 takes the one that is asked for there.
        (None, _) if manifest.development_pnpm().is_some() => {}
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
            format!("package.json pins pnpm {version}, whose locks cannot be cut"),
            format!(
                "pin pnpm {FIRST} or newer and run `pnpm install --lockfile-only`: pnpm 8 keeps the versions, 9 and later do not"
            ),
        )),
        (_, Some(version)) if version.major == FIRST && has_nine(workspace) => {
            let what = format!("package.json pins pnpm {version}, which does not read a lock of version 9.0");
            // A build does not go by the pin where its Dockerfile says another one.
            let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
            let installs = in_dockerfile(checkup).is_some_and(|(_, version)| major(&version).is_some_and(|major| major > FIRST));
            let finding = if installs { Finding::warning } else { Finding::problem };
            found.push(finding("pnpm-older-than-lock", what, "pin pnpm 9 or newer".to_owned()));
        }
        (_, Some(version)) => found.extend(unlike_dockerfile(checkup, version)),
    }
    match workspace.lock() {
        LockState::Whole { refusal, .. } if refusal.reason.contains("lockfileVersion") => found.push(Finding::problem(
            "lock-of-another-pnpm",
            format!("{LOCK}:{}: {}", refusal.line, refusal.reason),
            monoship_workspace::load::renewed(&refusal.reason),
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
        found.push(Finding::good(format!("pnpm {version}, {}, the lock fits", counted(workspace.packages().len(), "package"))));
    }
    found
}

fn has_nine(workspace: &Workspace) -> bool {
    workspace.scanned().is_some_and(pnpm::lock::Lock::is_nine)
}

/// The Dockerfile's `ARG PNPM_VERSION=…`: its line and the version.
fn in_dockerfile(checkup: &Checkup) -> Option<(usize, String)> {
    let dockerfile = checkup.monorepo.as_ref()?.dockerfile.as_ref().ok()?;
    let mut steps = dockerfile.stages().iter().flat_map(Stage::instructions);
    steps.find_map(|step| {
        let version = step.args.strip_prefix("PNPM_VERSION=").filter(|_| step.keyword == "ARG")?;
        Some((step.line, version.trim_matches('"').to_owned()))
    })
}

/// Another pnpm than the pinned one in the Dockerfile.
fn unlike_dockerfile(checkup: &Checkup, pinned: Version) -> Option<Finding> {
    let (line, version) = in_dockerfile(checkup)?;
    let version = Version::find(&version)?;
    let file = &checkup.config.images.dockerfile;
    (version != pinned).then(|| {
        let what = format!("{file}:{line} installs pnpm {version}, package.json pins {pinned}");
        Finding::warning("pnpm-versions-differ", what, format!("write `ARG PNPM_VERSION={pinned}`"))
    })
}

/// Dependencies of manifests that the lock does not have as they are written.
fn behind(workspace: &Workspace) -> Option<Finding> {
    let missing = workspace.ids().find_map(|id| workspace.behind(id))?;
    Some(Finding::problem("lock-out-of-date", missing, "run `pnpm install --lockfile-only` and commit the lock"))
}
