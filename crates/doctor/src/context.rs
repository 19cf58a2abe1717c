//! The ignore rules: do they hide a file that a build needs, or ship what no build needs?

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use std::path::Path;

use super::{Checkup, Finding, Monorepo, Severity};
use monoship_workspace::dockerfile::{Slice, SliceRequest};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::package::Package;
use monoship_workspace::{Scope, Workspace};

/// What an install reads at the root, where it is there.
const MANIFESTS: [&str; 4] = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc"];

/// What is on developers' machines and of no use in an image, with why. Git's folder and installed packages are there sooner or later.
const ALWAYS: [(&str, &str); 2] = [(".git/HEAD", ".git"), ("node_modules/x/package.json", "node_modules")];

/// The same, asked for only where it is there.
const WHERE_THERE: [&str; 3] = ["target", ".pnpm-store", "coverage"];

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Some(monorepo) = &checkup.monorepo else { return Vec::new() };
    let ignore = match &monorepo.ignore {
        Ok(Some(ignore)) => ignore,
        Ok(None) => {
            let what = "there is no .dockerignore: git's folder and installed packages are sent with every plain build";
            return vec![Finding::warning("no-ignore-file", what, "write one with at least `**/.git` and `**/node_modules`")];
        }
        Err(error) => {
            return vec![Finding::error(Severity::Problem, "ignore-file-wrong", error, "fix the pattern in that line")];
        }
    };
    let mut found: Vec<Finding> = hidden(checkup, monorepo, ignore).into_iter().into_vec();
    if monorepo.root.join(".env").exists() && !ignore.excludes(".env") {
        let what = ".env is sent to the builder, and lands in the image with `COPY .`";
        found.push(Finding::warning("ships-secret", what, "add `**/.env` to .dockerignore"));
    }
    let shipped = needless(monorepo, ignore);
    if !shipped.is_empty() {
        let lines = shipped.iter().map(|name| format!("`**/{name}`")).into_vec().join(", ");
        let what = format!("the ignore rules ship {}, which no build needs", shipped.join(", "));
        found.push(Finding::warning("ships-needless", what, format!("add {lines} to .dockerignore")));
    }
    if found.is_empty() {
        found.push(Finding::good("the ignore rules hide what they should, and nothing that is needed"));
    }
    found
}

/// The first needed files that are hidden: manifests and the lock, and what the Dockerfile copies by name.
fn hidden(checkup: &Checkup, monorepo: &Monorepo, ignore: &Ignore) -> Option<Finding> {
    let mut needed: SortedSet<String> = SortedSet::new();
    needed.extend(MANIFESTS.iter().filter(|file| monorepo.root.join(file).is_file()).map(|file| (*file).to_owned()));
    let packages = built_from(checkup, monorepo);
    needed.extend(packages.iter().map(|package| package.path("package.json")));
    if let Ok(dockerfile) = &monorepo.dockerfile {
        let contexts = SortedSet::new();
        for service in checkup.services().iter().filter(|service| service.own.is_none()) {
            let (args, platforms) = (&service.build_args, &service.platforms[..]);
            let slice =
                dockerfile.slice(&SliceRequest { target: &service.target, contexts: &contexts, args, platforms, own: None });
            let sources = slice.iter().flat_map(Slice::sources).map(|source| source.pattern.clone());
            needed.extend(sources.filter(|path| !path.contains(['*', '?', '[']) && monorepo.root.join(path).is_file()));
        }
    }
    let mut hidden: Vec<String> = needed.into_iter().filter(|path| ignore.excludes(path)).into_vec();
    hidden.extend(emptied(&packages, monorepo, ignore));
    let shown = hidden.iter().take(3).cloned().into_vec().join(", ");
    let more = if hidden.len() > 3 { format!(" and {} more", hidden.len() - 3) } else { String::new() };
    let what = format!("the ignore rules hide {shown}{more}, which a build needs");
    let fix = "take the pattern out of .dockerignore, or put the file back with a `!` line at its end";
    (!hidden.is_empty()).then(|| Finding::problem("hides-needed", what, fix))
}

/// The packages that services of the shared Dockerfile are built from: one that no service needs may be hidden, and a Dockerfile of a
/// service's own says by its COPY lines what it takes.
fn built_from<'m>(checkup: &Checkup, monorepo: &'m Monorepo) -> Vec<&'m Package> {
    let Ok(workspace) = &monorepo.workspace else { return Vec::new() };
    let shared = checkup.services().iter().filter(|service| service.own.is_none());
    let targets = shared.filter_map(|service| workspace.find(&service.package).ok());
    let packages: SortedSet<_> = targets.flat_map(|target| workspace.closure(target, Scope::BUILD).packages).into_set();
    packages.into_iter().map(|id| workspace.package(id)).into_vec()
}

/// Those of the packages of which git has sources and the context none.
fn emptied(packages: &[&Package], monorepo: &Monorepo, ignore: &Ignore) -> Vec<String> {
    let Ok(tree) = &monorepo.tree else { return Vec::new() };
    let is_source = |path: &str| {
        Path::new(path).extension().is_some_and(|e| matches!(e.to_str(), Some("ts" | "tsx" | "js" | "mjs" | "cjs" | "jsx")))
    };
    let mut walker = ignore.walker();
    let mut lost = Vec::new();
    for package in packages.iter().filter(|package| package.dir != ".") {
        let mut sources = tree.under(&package.dir).iter().map(|file| &*file.path).filter(|path| is_source(path)).peekable();
        if sources.peek().is_some() && sources.all(|path| walker.excludes(path)) {
            lost.push(format!("every source of {}", package.dir));
        }
    }
    lost
}

fn needless<'a>(monorepo: &Monorepo, ignore: &Ignore) -> Vec<&'a str> {
    let always = ALWAYS.iter().filter(|(probe, _)| !ignore.excludes(probe)).map(|(_, name)| *name);
    let there = WHERE_THERE.into_iter().filter(|path| !ignore.excludes(path) && monorepo.root.join(path).exists());
    let mut found: SortedSet<&str> = always.chain(there).into_set();
    let packages = monorepo.workspace.iter().flat_map(Workspace::packages);
    let nested = packages.filter(|package| package.dir != ".").map(|package| package.path("node_modules/x/package.json"));
    if nested.into_iter().any(|path| !ignore.excludes(&path)) {
        found.insert("node_modules");
    }
    found.into_iter().into_vec()
}
