//! The Dockerfiles that a repository has: which service each builds, in which context. Compose files and bake files say so; where they do not,
//! the Dockerfile's own COPY lines do.

use std::collections::BTreeMap;
use std::path::Path;

use pnpm::join;
use pnpm::yaml::{self, Yaml};

use monoship_core::name::ServiceName;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{Dockerfile, Stage};

/// A service that is built by a Dockerfile of the repository's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The Dockerfile, from the root.
    pub dockerfile: String,
    /// Its build context, from the root; `.` for the root itself.
    pub context: String,
    /// The target stage, where it is not the last.
    pub target: Option<String>,
    /// The workspace's package that it is about, by its folder.
    pub package: Option<String>,
    /// What says so.
    pub why: String,
}

/// One build as a file of compose or bake has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    name: String,
    dockerfile: String,
    context: String,
    target: Option<String>,
    by: String,
}

/// The services that the repository's Dockerfiles build, by name. `files` are those that git has.
pub(super) fn find(workspace: &Workspace, files: &[String]) -> Vec<Kept> {
    let root = workspace.root();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let said: Vec<Said> = files.iter().filter_map(|path| Some(said_by(path, &read(path)?))).flatten().collect();
    let mut found: BTreeMap<String, Kept> = BTreeMap::new();
    for path in files.iter().filter(|path| is_dockerfile(path)) {
        let Some(dockerfile) = read(path).and_then(|text| Dockerfile::parse(Path::new(path), &text).ok()) else { continue };
        let about: Vec<&Said> = said.iter().filter(|said| said.dockerfile == *path).collect();
        let mut builds: Vec<Said> = Vec::new();
        for said in about {
            // Several compose files say the same of one service: for developing, for testing.
            let known = builds.iter().any(|known| known.target == said.target);
            if !known {
                builds.push(said.clone());
            }
        }
        if builds.is_empty() {
            let context = context_of(root, path, &dockerfile);
            let by = "its COPY lines".to_owned();
            builds.push(Said { name: String::new(), dockerfile: path.clone(), context, target: None, by });
        }
        let alone = builds.len() == 1;
        for said in builds.into_iter().filter(|said| !is_for_developers(said)) {
            let package = package_of(workspace, path, &said.context, &dockerfile).filter(|_| alone);
            let Some(name) = name_of(&said, package.as_deref(), path, workspace) else { continue };
            let why = format!("{path}, context {} by {}", said.context, said.by);
            let kept =
                Kept { name: name.clone(), dockerfile: path.clone(), context: said.context, target: said.target, package, why };
            found.entry(name).or_insert(kept);
        }
    }
    found.into_values().collect()
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn is_for_developers(said: &Said) -> bool {
    said.target.as_deref().is_some_and(|target| ["dev", "development", "test"].contains(&target))
}

/// `Dockerfile`, `Dockerfile.web`, `web.Dockerfile`, where images for use are kept.
fn is_dockerfile(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ours = name == "Dockerfile.monorepo-optimized";
    let named =
        name == "Dockerfile" || name.starts_with("Dockerfile.") || name.ends_with(".Dockerfile") || name == "Containerfile";
    let ignore = ["dockerignore", "md"].contains(&ending(name));
    let variant = ["dev", "development", "local", "test", "e2e", "ci"]
        .iter()
        .any(|word| name.to_ascii_lowercase().split(['.', '-']).any(|part| part == *word));
    let elsewhere = path.split('/').rev().skip(1).any(|part| {
        part.starts_with('.')
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
    named && !ours && !ignore && !variant && !elsewhere
}

/// What a compose file or a bake file says of builds.
fn said_by(path: &str, text: &str) -> Vec<Said> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let is_yaml = ["yml", "yaml"].contains(&ending(name));
    let tests = path.contains("e2e") || path.contains("test");
    if is_yaml && !tests && (name.starts_with("docker-compose") || name.starts_with("compose")) {
        return compose(path, folder, text);
    }
    if name.starts_with("docker-bake.") {
        return if ending(name) == "hcl" { bake_hcl(path, folder, text) } else { bake_json(path, folder, text) };
    }
    Vec::new()
}

fn said(
    by: &str,
    folder: &str,
    name: &str,
    context: Option<&str>,
    dockerfile: Option<&str>,
    target: Option<&str>,
) -> Option<Said> {
    let context = join(folder, context.unwrap_or(".").trim_end_matches('/'))?;
    let dockerfile = join(&context, dockerfile.unwrap_or("Dockerfile"))?;
    Some(Said { name: name.to_owned(), dockerfile, context, target: target.map(str::to_owned), by: by.to_owned() })
}

fn compose(path: &str, folder: &str, text: &str) -> Vec<Said> {
    let Some(tree) = yaml::parse(text).ok().and_then(|documents| documents.into_iter().next()) else { return Vec::new() };
    let services = tree.get("services").map_or(&[][..], Yaml::entries);
    let of = |(name, service): &(String, Yaml)| {
        let build = service.get("build")?;
        if let Some(context) = build.as_str() {
            return said(path, folder, name, Some(context), None, None);
        }
        let text = |key: &str| build.get(key).and_then(Yaml::as_str);
        said(path, folder, name, text("context"), text("dockerfile"), text("target"))
    };
    services.iter().filter_map(of).collect()
}

fn bake_json(path: &str, folder: &str, text: &str) -> Vec<Said> {
    let tree: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let targets = tree["target"].as_object().into_iter().flatten();
    let of = |(name, target): (&String, &serde_json::Value)| {
        said(path, folder, name, target["context"].as_str(), target["dockerfile"].as_str(), target["target"].as_str())
    };
    targets.filter_map(of).filter(|said| !said.name.starts_with('_')).collect()
}

/// Blocks `target "name" { key = "value" }`; what a block inherits, or a function makes, is not followed.
fn bake_hcl(path: &str, folder: &str, text: &str) -> Vec<Said> {
    let blocks = text.split("target \"").skip(1);
    let of = |block: &str| {
        let (name, rest) = block.split_once('"')?;
        let body = rest.split_once('{')?.1.split("\n}").next()?;
        let value = |key: &str| {
            let line = body
                .lines()
                .find(|line| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')))?;
            line.split('"').nth(1).filter(|value| !value.contains("${"))
        };
        if value("context").is_none() && value("dockerfile").is_none() && value("target").is_none() {
            return None;
        }
        said(path, folder, name, value("context"), value("dockerfile"), value("target"))
    };
    blocks.filter_map(of).filter(|said| !said.name.starts_with('_')).collect()
}

/// The paths that COPY and ADD take of the context.
fn copied(dockerfile: &Dockerfile) -> Vec<String> {
    let instructions = dockerfile.stages().iter().flat_map(Stage::instructions);
    let takes = instructions.filter(|one| {
        ["COPY", "ADD"].contains(&one.keyword.as_str()) && !one.flags.iter().any(|flag| flag.starts_with("--from"))
    });
    let words = takes.filter(|one| one.heredocs.is_empty()).flat_map(|one| {
        let plain = one.args.replace(['[', ']', '"', ','], " ");
        let words: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
        words[..words.len().saturating_sub(1)].to_vec()
    });
    words.filter(|word| !word.contains("://") && !word.contains('$')).collect()
}

/// The folder that a Dockerfile's COPY lines are about: its own, or the root.
fn context_of(root: &Path, path: &str, dockerfile: &Dockerfile) -> String {
    let Some((folder, _)) = path.rsplit_once('/') else { return ".".to_owned() };
    let paths = copied(dockerfile);
    let is_there = |base: &Path, word: &str| {
        let plain: Vec<&str> =
            word.trim_start_matches(['.', '/']).split('/').take_while(|part| !part.contains(['*', '?', '['])).collect();
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
    if needs_root || (all && calls_workspace) || (here == 0 && calls_workspace) { ".".to_owned() } else { folder.to_owned() }
}

/// The package that a Dockerfile is about: the one in whose folder it lies, or the one that it filters by.
fn package_of(workspace: &Workspace, path: &str, context: &str, dockerfile: &Dockerfile) -> Option<String> {
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let is_package = |dir: &str| dir != "." && workspace.by_dir(dir).is_some();
    if let Some(dir) = [folder, context].into_iter().find(|dir| is_package(dir)) {
        return Some(dir.to_owned());
    }
    let runs = dockerfile
        .stages()
        .iter()
        .rev()
        .flat_map(Stage::instructions)
        .filter(|one| ["RUN", "WORKDIR", "CMD", "COPY"].contains(&one.keyword.as_str()));
    let words: Vec<String> = runs
        .flat_map(|one| {
            one.args.split(|c: char| c.is_whitespace() || "=\"',[]".contains(c)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let named = words.iter().filter_map(|word| {
        let word = word.trim_matches('.').trim_start_matches("/app/").trim_matches('/');
        let by_name = workspace.by_name(word).filter(|id| *id != workspace.root_package());
        by_name.or_else(|| workspace.by_dir(word).filter(|_| is_package(word))).map(|id| workspace.package(id).dir.clone())
    });
    // Libraries are built on the way; what is shipped lies with the apps.
    let named: Vec<String> = named.filter(|dir| dir != ".").collect();
    named.iter().find(|dir| dir.starts_with("apps/")).or_else(|| named.first()).cloned()
}

/// The service's name: what compose calls it, the folder's, the package's, what stands behind `Dockerfile.`.
fn name_of(said: &Said, package: Option<&str>, path: &str, workspace: &Workspace) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let last = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let by_file = file.strip_prefix("Dockerfile.").or_else(|| file.strip_suffix(".Dockerfile")).map(str::to_owned);
    let folder = path
        .rsplit_once('/')
        .map(|(folder, _)| last(folder))
        .filter(|name| !["docker", "deploy", "build", "infra", "ops"].contains(&name.as_str()));
    let root = workspace.package(workspace.root_package()).manifest.name.clone().map(|name| last(&name));
    let here = workspace.root().file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let root = root.filter(|name| !["root", "monorepo", "workspace"].contains(&name.as_str())).or(here);
    let names = [package.map(last), (!said.name.is_empty()).then(|| said.name.clone()), by_file, folder, root];
    let usable = |name: &String| name.parse::<ServiceName>().is_ok();
    names.into_iter().flatten().map(|name| name.to_ascii_lowercase()).find(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_and_bake_say_which_dockerfile_builds_what() {
        let text = "services:\n  db:\n    image: postgres\n  api:\n    build: ./api\n  web:\n    build:\n      context: ..\n      dockerfile: apps/web/Dockerfile\n      target: runner\n";
        let found = compose("deploy/docker-compose.yml", "deploy", text);
        let shown: Vec<String> =
            found.iter().map(|s| format!("{} {} {} {:?}", s.name, s.dockerfile, s.context, s.target)).collect();
        assert_eq!(shown, ["api deploy/api/Dockerfile deploy/api None", "web apps/web/Dockerfile . Some(\"runner\")"]);
        let text = "group \"default\" { targets = [\"web\"] }\ntarget \"_base\" {\n  context = \".\"\n}\ntarget \"web\" {\n  inherits = [\"_base\"]\n  dockerfile = \"apps/web/Dockerfile\"\n}\n";
        let found = bake_hcl("docker-bake.hcl", ".", text);
        assert_eq!((found.len(), found[0].dockerfile.as_str(), found[0].context.as_str()), (1, "apps/web/Dockerfile", "."));
    }

    #[test]
    fn a_dockerfile_for_developing_or_in_an_example_is_nobodys_image() {
        for path in ["Dockerfile", "apps/web/Dockerfile", "Dockerfile.web", "docker/web.Dockerfile"] {
            assert!(is_dockerfile(path), "{path}");
        }
        for path in [
            "Dockerfile.dev",
            ".devcontainer/Dockerfile",
            "examples/a/Dockerfile",
            "Dockerfile.monorepo-optimized",
            "apps/web/Dockerfile.dockerignore",
        ] {
            assert!(!is_dockerfile(path), "{path}");
        }
    }
}
