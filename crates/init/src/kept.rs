//! The Dockerfiles that a repository has: which service each builds, in which context. Compose files and bake files say so; where they do not,
//! the Dockerfile's own COPY lines do.

use std::path::Path;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};
use pnpm::join;

use monoship_core::name::ServiceName;
use monoship_plan::config::argument;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{Dockerfile, Stage};
use monoship_workspace::package;

mod about;
mod bake;
mod entry;
mod given;
mod said;
mod shell;
mod unsaid;
mod workflow;

use super::services::root_name;
use super::start::is_install;
use about::{by_args, package_of, shipped};
pub use entry::Kept;
pub(super) use entry::prefix;
use given::Given;
use said::{Said, ending};

/// The services that the repository's Dockerfiles build, by name, and the Dockerfiles that make none, each with the reason. `files` are those
/// that git has; `services` are the packages that are services by themselves, by name and folder; `repository` is the name on GitHub.
pub(super) fn find(
    workspace: &Workspace,
    files: &[String],
    services: &[(String, String)],
    repository: Option<&str>,
) -> (Vec<Kept>, Vec<(String, String)>) {
    let root = workspace.root();
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(match repository {
            Some(repository) => said::named_for(repository, &text),
            None => text,
        })
    };
    let (said, mut others) = said::all(files, read);
    let mut builds: Vec<Build> = Vec::new();
    let is_said = |path: &str| said.iter().any(|said| said.dockerfile == path);
    for path in files.iter().filter(|path| (is_dockerfile(path) || is_said(path)) && is_for_use(path)) {
        let Some(text) = read(path) else { continue };
        let Ok(dockerfile) = Dockerfile::parse(Path::new(path), &text) else { continue };
        let about: Vec<&Said> = said.iter().filter(|said| said.dockerfile == *path).into_vec();
        let mut wanted: Vec<Said> = Vec::new();
        for said in about {
            // Several compose files say the same of one service: for developing, for testing.
            let about = |said: &Said| (said.target.clone(), by_args(workspace, said));
            let is_described = wanted.iter().any(|known| !known.is_by_script());
            match wanted.iter_mut().find(|known| about(known) == about(said)) {
                // A workflow may have the secrets of what compose describes, and compose the name of what a workflow builds.
                Some(known) => {
                    given::complete(&mut known.given, &said.given);
                    known.image = known.image.take().or_else(|| said.image.clone());
                    if known.name.is_empty() {
                        known.name.clone_from(&said.name);
                    }
                }
                // A script may build it in a way of its own, to look at.
                None if said.is_by_script() && is_described => {}
                None => wanted.push(said.clone()),
            }
        }
        let is_unsaid = wanted.is_empty();
        if is_unsaid {
            let context = context_of(root, path, &dockerfile);
            let by = "its COPY lines".to_owned();
            let last = Said {
                name: String::new(),
                dockerfile: path.clone(),
                context,
                target: None,
                args: SortedMap::new(),
                varied: SortedSet::new(),
                given: Given::new(),
                image: None,
                by,
            };
            wanted = unsaid::builds(workspace, &dockerfile, last, services);
        }
        let alone = wanted.len() == 1;
        for said in wanted.into_iter().filter(|said| !is_for_developers(said)) {
            if let Some(why) = is_none(&said, &dockerfile, files).or_else(|| lacks_packages(root, &said, &dockerfile)) {
                others.push((path.clone(), why));
                continue;
            }
            let by_args = by_args(workspace, &said);
            // Several targets of one Dockerfile are told apart by what the file calls them.
            let by_package = said.name.is_empty() || !is_unsaid && (alone || by_args.is_some());
            let own = services.iter().find(|(name, _)| is_unsaid && *name == said.name).map(|(_, folder)| folder.clone());
            let package = by_args.or(own).or_else(|| package_of(workspace, &said, &dockerfile));
            let said = Said { given: given::asked_for(&said.given, &text), ..said };
            let build = Build { said, dockerfile: dockerfile.clone(), package, by_package };
            match build.lacks(workspace) {
                Some(why) => others.push((build.said.target.map_or(path.clone(), |target| format!("{path} ({target})")), why)),
                None => builds.push(build),
            }
        }
    }
    let mut found: SortedMap<String, Kept> = SortedMap::new();
    for (build, is_first) in in_order(&builds) {
        let named = build.package.as_deref().filter(|_| build.by_package && is_first);
        let Some(name) = name_of(&build.said, named, workspace) else { continue };
        let path = &build.said.dockerfile;
        // Folders of one name, or names that differ in their case alone.
        let is_anothers = |kept: &Kept| kept.package.is_some() && build.package.is_some() && kept.package != build.package;
        let apart = build.package.as_ref().filter(|_| found.get(&name).is_some_and(is_anothers));
        let name = apart.map_or(name.clone(), |package| package.replace('/', "-").to_ascii_lowercase());
        // What a file gives no name of its own and starts the same is the same service in another way.
        let same = |kept: &&Kept| {
            kept.name == name
                || !is_first && build.said.name.is_empty() && kept.package == build.package && kept.starts == build.starts()
        };
        if let Some(kept) = found.values().find(same) {
            if kept.dockerfile != *path {
                let hint =
                    if is_anothers(kept) { ": a [[service]] in xtask.toml gives this one a `name` of its own" } else { "" };
                others.push((path.clone(), format!("`{}` is built by {}{hint}", kept.name, kept.dockerfile)));
            }
            continue;
        }
        found.insert(name.clone(), build.kept(name, workspace));
    }
    // Of one that several files say different things of the first counts.
    let mut seen: SortedSet<String> = SortedSet::new();
    others.retain(|(path, _)| !found.values().any(|kept| kept.dockerfile == *path) && seen.insert(path.clone()));
    (found.into_values().into_vec(), others)
}

/// A build that makes a service.
struct Build {
    said: Said,
    dockerfile: Dockerfile,
    package: Option<String>,
    /// Nothing else is built of this Dockerfile for its package, so it may bear its name.
    by_package: bool,
}

impl Build {
    fn kept(&self, name: String, workspace: &Workspace) -> Kept {
        let Said { context, target, args, varied, given, image, by, dockerfile: path, .. } = &self.said;
        let args = args.iter().filter(|(name, _)| takes(&self.dockerfile, name));
        let varied = varied.iter().filter(|name| takes(&self.dockerfile, name)).cloned();
        let is_secret = |name: &str| argument(name, "0").is_err();
        let named: SortedSet<String> = args.clone().map(|(name, _)| name.clone()).chain(varied.clone()).into_set();
        let covers = if self.package.is_none() { shipped(workspace, &self.dockerfile, target.as_deref()) } else { Vec::new() };
        Kept {
            name,
            dockerfile: path.clone(),
            context: context.clone(),
            target: target.clone(),
            args: args.filter(|(name, _)| !is_secret(name)).map(|(name, value)| (name.clone(), value.clone())).collect(),
            varied: varied.filter(|name| !is_secret(name)).into_vec(),
            secret: named.into_iter().filter(|name| is_secret(name)).into_vec(),
            given: given.clone(),
            image: image.clone(),
            package: self.package.clone(),
            covers,
            starts: self.starts(),
            by: by.clone(),
        }
    }

    /// What its image starts.
    fn starts(&self) -> Vec<String> {
        let target = self.said.target.as_deref().and_then(|name| self.dockerfile.target(name).ok());
        let stage = target.or_else(|| self.dockerfile.stages().last());
        let lines = stage.into_iter().flat_map(Stage::instructions);
        lines.filter(|one| ["CMD", "ENTRYPOINT"].contains(&one.keyword.as_str())).map(|one| one.args.clone()).into_vec()
    }

    /// The script that its image starts and its package does not have: such an image ends at once.
    fn lacks(&self, workspace: &Workspace) -> Option<String> {
        let package = self.package.as_ref()?;
        let starts = self.starts();
        let [words] = &starts[..] else { return None };
        let words: Vec<String> = serde_json::from_str(words).ok()?;
        let words: Vec<&str> = words.iter().map(String::as_str).into_vec();
        let ([program, "run", script] | [program, script @ "start"]) = words[..] else { return None };
        let has = |dir: &str| {
            let folder = workspace.root().join(dir);
            let text = std::fs::read_to_string(folder.join("package.json")).unwrap_or_default();
            let manifest: serde_json::Value = package::json(&text).unwrap_or_default();
            // Of `start` without a script, package managers make `node server.js`.
            manifest["scripts"].get(script).is_some() || (script == "start" && folder.join("server.js").exists())
        };
        let calls = ["pnpm", "npm", "yarn"].contains(&program) && !has(package) && !has(".");
        calls.then(|| format!("it starts `{}`, and {package} has no such script", words.join(" ")))
    }

    /// How surely it is the one that its package's name means, the surest first: what is called so, then the package's own `Dockerfile`.
    fn rank(&self) -> (bool, bool, bool) {
        let package = self.package.as_deref().unwrap_or_default();
        let is_called_so = !self.said.name.is_empty() && package.rsplit('/').next() == Some(&self.said.name);
        let is_own = self.said.dockerfile.strip_prefix(package) == Some("/Dockerfile");
        (!is_called_so, !is_own, self.said.name.is_empty())
    }
}

/// Builds of several Dockerfiles for one package: an API and its worker, or one image in two ways. The one that may bear the package's name
/// comes first and is marked, as is each that is alone.
fn in_order(builds: &[Build]) -> Vec<(&Build, bool)> {
    let mut all: Vec<&Build> = builds.iter().into_vec();
    all.order_by_key(|build| build.rank());
    let of_package = |build: &Build, other: &Build| {
        build.package.is_some() && build.package == other.package && build.said.dockerfile != other.said.dockerfile
    };
    // Where a file gives each a name, the package's would hide one of them.
    let has_names = |build: &Build| {
        !build.said.name.is_empty() && all.iter().any(|other| of_package(build, other) && !other.said.name.is_empty())
    };
    let is_first = |at: usize| !all[..at].iter().any(|before| of_package(all[at], before)) && !has_names(all[at]);
    all.iter().enumerate().map(|(at, build)| (*build, is_first(at))).into_vec()
}

/// True where a Dockerfile declares an argument: before its first stage, for FROM lines, or in one.
fn takes(dockerfile: &Dockerfile, name: &str) -> bool {
    let mut all = dockerfile.globals().iter().chain(dockerfile.stages().iter().flat_map(Stage::instructions));
    all.any(|one| one.keyword == "ARG" && one.args.split_whitespace().any(|word| word.split('=').next() == Some(name)))
}

/// Why a Dockerfile makes no service, where it makes none.
fn is_none(said: &Said, dockerfile: &Dockerfile, files: &[String]) -> Option<String> {
    let target = said.target.as_deref().and_then(|name| dockerfile.target(name).ok());
    let mut stage = target.or_else(|| dockerfile.stages().last())?;
    loop {
        if stage.instructions().iter().any(|one| ["CMD", "ENTRYPOINT"].contains(&one.keyword.as_str())) {
            break;
        }
        match dockerfile.target(stage.base()) {
            Ok(before) if before.line() < stage.line() => stage = before,
            _ => {
                let name = stage.base().rsplit('/').next().unwrap_or_default();
                let name = name.split([':', '@']).next().unwrap_or(name);
                let starts_nothing = ["node", "alpine", "debian", "ubuntu", "busybox", "scratch"];
                if starts_nothing.contains(&name) {
                    return Some("nothing is started in its image: it has no CMD".to_owned());
                }
                break;
            }
        }
    }
    let is_there = |word: &String| {
        let Some(path) = join(&said.context, word.trim_start_matches('/').trim_end_matches('/')) else { return true };
        let below = format!("{path}/");
        path == "." || word.contains(['*', '?', '[']) || files.iter().any(|file| *file == path || file.starts_with(&below))
    };
    let missing = copied(dockerfile).into_iter().find(|word| !is_there(word))?;
    Some(format!(
        "it copies `{missing}`, which git does not have in {}",
        if said.context == "." { "the repository" } else { &said.context }
    ))
}

/// Why an install cannot go well in a context that is one package's folder: what the package has of its workspace lies elsewhere. Such a
/// Dockerfile is older than the workspace.
fn lacks_packages(root: &Path, said: &Said, dockerfile: &Dockerfile) -> Option<String> {
    let folder = root.join(&said.context);
    if said.context == "." || folder.join("pnpm-workspace.yaml").exists() {
        return None;
    }
    let installs_here = |command: &str| {
        let words: Vec<&str> = command.split_whitespace().into_vec();
        words.windows(2).any(is_install) && !words.iter().any(|word| ["-g", "--global"].contains(word))
    };
    let mut runs = dockerfile.stages().iter().flat_map(Stage::instructions).filter(|one| one.keyword == "RUN");
    let installs = runs.any(|one| one.args.split("&&").any(installs_here));
    let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
    let manifest: serde_json::Value = package::json(&text).ok()?;
    let all = ["dependencies", "devDependencies"].into_iter().filter_map(|field| manifest[field].as_object()).flatten();
    let of_workspace = |spec: &str| spec.starts_with("workspace:") || spec.starts_with("catalog:");
    let (name, _) = all.filter(|_| installs).find(|(_, spec)| spec.as_str().is_some_and(of_workspace))?;
    Some(format!("it installs {} alone, whose `{name}` only the whole workspace has", said.context))
}

fn is_for_developers(said: &Said) -> bool {
    said.target.as_deref().is_some_and(|target| ["dev", "development", "test"].contains(&target))
}

/// `Dockerfile`, `Dockerfile.web`, `web.Dockerfile`, in whatever case.
fn is_dockerfile(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let named = ["dockerfile", "containerfile"].contains(&name.as_str())
        || name.starts_with("dockerfile.")
        || name.ends_with(".dockerfile");
    named && !["dockerignore", "md"].contains(&ending(&name))
}

/// True where images for use are kept: not for developing, for tests, or as an example.
fn is_for_use(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ours = path == "Dockerfile.monorepo-optimized";
    let variant = ["dev", "development", "local", "test", "e2e", "ci", "debug"]
        .iter()
        .any(|word| name.split(['.', '-']).any(|part| part == *word));
    let elsewhere = path.split('/').rev().skip(1).any(|part| {
        (part.starts_with('.') && ![".docker", ".deploy", ".deployment", ".infra"].contains(&part))
            || part.contains("e2e")
            || [
                "examples",
                "example",
                "templates",
                "template",
                "fixtures",
                "test",
                "tests",
                "e2e",
                "dev",
                "node_modules",
                "benchmarks",
            ]
            .contains(&part)
    });
    !ours && !variant && !elsewhere
}

/// The paths that COPY and ADD take of the context.
fn copied(dockerfile: &Dockerfile) -> Vec<String> {
    let instructions = dockerfile.stages().iter().flat_map(Stage::instructions);
    let takes = instructions.filter(|one| {
        ["COPY", "ADD"].contains(&one.keyword.as_str()) && !one.flags.iter().any(|flag| flag.starts_with("--from"))
    });
    let words = takes.filter(|one| one.heredocs.is_empty()).flat_map(|one| {
        let plain = one.args.replace(['[', ']', '"', ','], " ");
        let words: Vec<String> = plain.split_whitespace().map(str::to_owned).into_vec();
        words[..words.len().saturating_sub(1)].to_vec()
    });
    words.filter(|word| !word.contains("://") && !word.contains('$')).into_vec()
}

/// The folder that a Dockerfile's COPY lines are about: its own, or the root.
fn context_of(root: &Path, path: &str, dockerfile: &Dockerfile) -> String {
    let Some((folder, _)) = path.rsplit_once('/') else { return ".".to_owned() };
    let paths = copied(dockerfile);
    let is_there = |base: &Path, word: &str| {
        let plain: Vec<&str> =
            word.trim_start_matches(['.', '/']).split('/').take_while(|part| !part.contains(['*', '?', '['])).into_vec();
        !plain.join("/").is_empty() && base.join(plain.join("/")).exists()
    };
    let here = paths.iter().filter(|word| is_there(&root.join(folder), word)).count();
    let at_root = paths.iter().filter(|word| is_there(root, word)).count();
    let lock = |word: &String| word.contains("pnpm-lock") || word.contains("pnpm-workspace");
    let has_lock = root.join(folder).join("pnpm-lock.yaml").exists();
    // A COPY of everything says nothing; pnpm's lock lies at the root.
    let needs_root = (paths.iter().any(lock) && !has_lock) || at_root > here;
    let all = paths.iter().all(|word| [".", "./"].contains(&word.as_str()));
    let calls_workspace = dockerfile.stages().iter().flat_map(Stage::instructions).any(|one| {
        one.keyword == "RUN" && ["turbo prune", "--filter", "pnpm -F", "pnpm deploy"].iter().any(|word| one.args.contains(word))
    });
    // Whoever works in the folder by its path from the root has the root.
    let by_path = folder.contains('/')
        && !root.join(folder).join(folder).exists()
        && dockerfile
            .stages()
            .iter()
            .flat_map(Stage::instructions)
            .any(|one| ["RUN", "WORKDIR", "CMD", "ENTRYPOINT"].contains(&one.keyword.as_str()) && one.args.contains(folder));
    let is_package = root.join(folder).join("package.json").exists();
    if needs_root || (all && by_path) || (all && (calls_workspace || !is_package)) || (here == 0 && calls_workspace) {
        ".".to_owned()
    } else {
        folder.to_owned()
    }
}

/// The service's name: what compose calls it, the folder's, the package's, what stands behind `Dockerfile.`.
fn name_of(said: &Said, package: Option<&str>, workspace: &Workspace) -> Option<String> {
    let path = said.dockerfile.as_str();
    let file = path.rsplit('/').next().unwrap_or(path);
    let last = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let file = file.to_ascii_lowercase();
    let by_file = file.strip_prefix("dockerfile.").or_else(|| file.strip_suffix(".dockerfile")).map(str::to_owned);
    let folder = path
        .rsplit_once('/')
        .map(|(folder, _)| last(folder))
        .filter(|name| !["docker", "deploy", "build", "infra", "ops"].contains(&name.as_str()));
    // How an image is made is no name of it.
    let ways = ["prod", "production", "release", "pnpm", "npm", "yarn", "bun", "node", "alpine", "debian", "slim"];
    let by_file = by_file.filter(|name| !ways.contains(&name.as_str()));
    let stages = ["runner", "runtime", "production", "prod", "final", "release", "app", "deploy", "build", "builder", "base"];
    let by_target = said.target.clone().filter(|name| !stages.contains(&name.as_str()));
    let said_name = (!said.name.is_empty()).then(|| said.name.clone());
    // `migrate.Dockerfile`, which is called `migrate` elsewhere, too, is no other package's.
    let own = said_name.clone().filter(|name| by_file.as_ref() == Some(name));
    let names = [own, package.map(last), said_name, by_file, folder, by_target, root_name(workspace)];
    let usable = |name: &String| name.parse::<ServiceName>().is_ok();
    names.into_iter().flatten().map(|name| name.to_ascii_lowercase()).find(usable)
}

#[cfg(test)]
mod tests;
