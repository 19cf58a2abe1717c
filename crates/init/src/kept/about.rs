//! Which packages of the workspace a Dockerfile's build is about: by its arguments, its folder, or what its stages copy and call.

use monoship_core::collect::Collect as _;
use monoship_workspace::dockerfile::{Dockerfile, Instruction, Stage};
use monoship_workspace::{PackageId, Scope, Workspace};

use super::Said;

/// The package that a build's arguments name: `APP=web` is `apps/web`.
pub(super) fn by_args(workspace: &Workspace, said: &Said) -> Option<String> {
    let find = |value: &String| workspace.find(value).ok().filter(|id| *id != workspace.root_package());
    said.args.values().find_map(find).map(|id| workspace.package(id).dir.clone())
}

/// The package that a build is about: the one in whose folder the Dockerfile lies, or the one that its stage holds or filters by.
pub(super) fn package_of(workspace: &Workspace, said: &Said, dockerfile: &Dockerfile) -> Option<String> {
    let context = said.context.as_str();
    let folder = said.dockerfile.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let is_package = |dir: &str| dir != "." && workspace.by_dir(dir).is_some();
    if let Some(dir) = [folder, context].into_iter().find(|dir| is_package(dir)) {
        return Some(dir.to_owned());
    }
    // A target that is called like a package is that package's, whatever else its stages build.
    let called = said.target.as_ref().and_then(|target| {
        let id = workspace.by_dir(&format!("apps/{target}")).or_else(|| workspace.by_name(target))?;
        Some(workspace.package(id).dir.clone()).filter(|dir| dir != ".")
    });
    if called.is_some() {
        return called;
    }
    if let Some(dir) = started(workspace, dockerfile, said.target.as_deref()) {
        return Some(dir);
    }
    match &services(workspace, &shipped(workspace, dockerfile, said.target.as_deref()))[..] {
        [one] => Some(one.clone()),
        [] => {
            let copied = || named(workspace, dockerfile.stages().iter().rev(), &["COPY"], true);
            let first = |dirs: Vec<String>| dirs.iter().find(|dir| dir.starts_with("apps/")).or_else(|| dirs.first()).cloned();
            by_default(workspace, dockerfile).or_else(|| within(workspace, folder)).or_else(|| first(copied()))
        }
        _ => None,
    }
}

/// The package that an argument names where nobody gives it another value: `ARG APP=@acme/web`.
fn by_default(workspace: &Workspace, dockerfile: &Dockerfile) -> Option<String> {
    let all = dockerfile.globals().iter().chain(dockerfile.stages().iter().flat_map(Stage::instructions));
    let values = all.filter(|one| one.keyword == "ARG").filter_map(|one| one.args.split_once('='));
    let find = |(_, value): (&str, &str)| workspace.find(value.trim_matches(['"', '\''])).ok();
    let id = values.filter_map(find).find(|id| *id != workspace.root_package())?;
    Some(workspace.package(id).dir.clone())
}

/// The package that a folder is part of: `apps/web/docker` is of `apps/web`.
fn within(workspace: &Workspace, folder: &str) -> Option<String> {
    let id = Some(workspace.owner(folder)).filter(|id| *id != workspace.root_package())?;
    Some(workspace.package(id).dir.clone())
}

/// The package that the last stage, or the target, works in when it starts, or whose manifest lies there: `COPY --from=build /src/apps/api/package.json ./`.
fn started(workspace: &Workspace, dockerfile: &Dockerfile, target: Option<&str>) -> Option<String> {
    let stage = target.and_then(|name| dockerfile.target(name).ok()).or_else(|| dockerfile.stages().last())?;
    let lines = || stage.instructions().iter();
    let works_in = lines().rev().find(|one| one.keyword == "WORKDIR").map_or("/", |one| one.args.trim_end_matches('/'));
    if let Some(id) = package_at(workspace, works_in) {
        return Some(workspace.package(id).dir.clone());
    }
    let dir = |one: &Instruction| {
        let (from, to) = one.args.split_once(char::is_whitespace)?;
        let to = to.trim().trim_end_matches("package.json").trim_end_matches('/');
        let id = package_at(workspace, from.strip_suffix("/package.json")?)?;
        [".", "", works_in].contains(&to).then(|| workspace.package(id).dir.clone())
    };
    lines().filter(|one| one.keyword == "COPY").find_map(dir)
}

/// Those of the packages in an image that it is about: libraries are built on the way.
fn services(workspace: &Workspace, shipped: &[String]) -> Vec<String> {
    let in_apps = shipped.iter().any(|dir| dir.starts_with("apps/"));
    let needs = |dir: &String, other: &String| {
        let ids = workspace.by_dir(dir).zip(workspace.by_dir(other));
        dir != other && ids.is_some_and(|(id, other)| workspace.closure(id, Scope::PRODUCTION).packages.contains(&other))
    };
    let is_library = |dir: &String| shipped.iter().any(|by| needs(by, dir));
    shipped.iter().filter(|dir| dir.starts_with("apps/") || (!in_apps && !is_library(dir))).cloned().into_vec()
}

/// The packages that the last stage, or the target, takes from others, or works in; else those that any stage works in, or filters by.
pub(super) fn shipped(workspace: &Workspace, dockerfile: &Dockerfile, target: Option<&str>) -> Vec<String> {
    let target = target.and_then(|name| dockerfile.target(name).ok()).or_else(|| dockerfile.stages().last());
    let deployed = deployed(workspace, dockerfile, target);
    if !deployed.is_empty() {
        return deployed;
    }
    let found = named(workspace, target.into_iter(), &["WORKDIR", "CMD", "ENTRYPOINT", "COPY"], false);
    if found.is_empty() { named(workspace, dockerfile.stages().iter().rev(), &["RUN", "WORKDIR"], false) } else { found }
}

/// The packages that a stage takes from where `pnpm deploy --filter=api /prod/api` has put them.
fn deployed(workspace: &Workspace, dockerfile: &Dockerfile, stage: Option<&Stage>) -> Vec<String> {
    let mut places: Vec<(String, String)> = Vec::new();
    let lines = dockerfile.stages().iter().flat_map(Stage::instructions).filter(|one| one.keyword == "RUN");
    for command in lines.flat_map(|one| one.args.split("&&")) {
        let words: Vec<&str> = command.split(|c: char| c.is_whitespace() || "=\"'".contains(c)).into_vec();
        let filter = words.windows(2).find(|pair| ["--filter", "-F"].contains(&pair[0])).map(|pair| pair[1]);
        let place = words.iter().rev().find(|word| !word.is_empty() && !word.starts_with('-'));
        let (Some(filter), Some(place), true) = (filter, place, words.contains(&"deploy")) else { continue };
        let id = workspace.find(filter.trim_start_matches("./")).ok();
        places.extend(id.map(|id| ((*place).to_owned(), workspace.package(id).dir.clone())));
    }
    let copies = stage.into_iter().flat_map(Stage::instructions).filter(|one| one.keyword == "COPY");
    let words = copies.flat_map(|one| one.args.split_whitespace());
    let is_within =
        |word: &str, place: &str| word.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut found: Vec<String> = Vec::new();
    for word in words {
        let dir = places.iter().find(|(place, _)| is_within(word, place)).map(|(_, dir)| dir.clone());
        found.extend(dir.filter(|dir| !found.contains(dir)));
    }
    found
}

/// The packages that instructions of stages name, by folder or by name; `manifests` too, where nothing else of a package is copied.
fn named<'d>(workspace: &Workspace, stages: impl Iterator<Item = &'d Stage>, keywords: &[&str], manifests: bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let installs = |args: &str| !manifests && args.contains("package.json");
    for one in stages.flat_map(Stage::instructions).filter(|one| keywords.contains(&one.keyword.as_str()) && !installs(&one.args))
    {
        let words = one.args.split(|c: char| c.is_whitespace() || "=\"',[]".contains(c));
        for word in words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty()) {
            let dir = package_at(workspace, word).map(|id| workspace.package(id).dir.clone());
            all.extend(dir.filter(|dir| !all.contains(dir)));
        }
    }
    all
}

/// The package that a word of a Dockerfile names, or in whose folder it leads; where the workspace lies in an image is the Dockerfile's own matter.
fn package_at(workspace: &Workspace, word: &str) -> Option<PackageId> {
    let path = word.trim_matches('/');
    let below = path.match_indices('/').map(|(at, _)| &path[at + 1..]).filter(|_| word.starts_with('/'));
    std::iter::once(path).chain(below).find_map(|path| {
        let within = || (path.contains('/') || workspace.by_dir(path).is_some()).then(|| workspace.owner(path));
        workspace.by_name(path).or_else(within).filter(|id| *id != workspace.root_package())
    })
}
