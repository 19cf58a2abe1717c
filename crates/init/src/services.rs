//! Which packages of a workspace are services, and which applications that Nx alone knows: what each is, and why the others are none.

use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::name::ServiceName;
use monoship_core::sorted::SortedSet;
use monoship_workspace::package::{self, Package};
use monoship_workspace::{Scope, Workspace};

use super::kind::{self, Facts, Kind, Known};
use super::start::Start;
use super::{development, nest, nx, toolchain};

/// A service that a Dockerfile is written for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, and its Dockerfile target.
    pub name: String,
    /// The folder of its package, or of the project of Nx's that it is.
    pub folder: String,
    /// How it is recognised.
    pub why: String,
    /// What is to be known about it.
    pub note: Option<String>,
    /// Its package's folder; the root's (`.`) of a project of Nx's without a package.json.
    pub package: String,
    /// The same as pnpm's filter takes it.
    pub(super) filter: String,
    /// What it is.
    pub(super) known: Known,
    /// The scripts that build it, in their order.
    pub(super) tasks: Vec<String>,
}

impl Service {
    /// True where its image has the dependencies as pnpm installs them.
    pub(super) fn has_modules(&self) -> bool {
        matches!(self.known.kind, Kind::Node | Kind::Development | Kind::Beside(_))
    }

    /// The folder that it is started in: Node starts what Nx makes in the root's.
    pub(super) fn started_in(&self) -> &str {
        if self.has_modules() { &self.package } else { &self.folder }
    }
}

/// What the packages of a workspace are.
#[derive(Debug, Default)]
pub struct Found {
    /// The services.
    pub services: Vec<Service>,
    /// Those that Dockerfiles of the repository's own build.
    pub kept: Vec<super::kept::Kept>,
    /// Those that `xtask.toml` has already, by name, each with a Dockerfile of its own.
    pub settled: Vec<String>,
    /// Folders that are none, each with the reason.
    pub others: Vec<(String, String)>,
    /// Those that could be services and were not chosen: their folders, or the names of those that share one.
    pub left_out: SortedSet<String>,
    /// Where images go, as far as it is known from what they are called today: `ghcr.io/acme`.
    pub prefix: Option<String>,
}

/// Looks for services: packages that can be started, or that make files for browsers. In `apps/` a `main` is enough for that; elsewhere, where
/// libraries lie too, it takes a framework, a start script or a Dockerfile, of a package that no other one depends on. The root's package is
/// looked at where it is the only one, builds itself, or starts a file of its own with dependencies of its own. `named` are packages that `xtask.toml` calls services, with the name of the target;
/// `files` are those that git has.
///
/// # Errors
/// When a manifest cannot be read.
pub(super) fn services(workspace: &Workspace, named: &[(String, String)], files: &[String]) -> Result<Found> {
    let used: SortedSet<&str> =
        workspace.packages().iter().flat_map(|package| package.manifest.all_dependencies()).map(|(name, ..)| name).into_set();
    let root = manifest(workspace, workspace.package(workspace.root_package()))?;
    let projects = nx::projects(workspace, files);
    let is_alone = workspace.packages().len() == 1;
    let mut found = Found::default();
    for package in workspace.packages() {
        let of_it = |there: &String| *there == package.dir || there == package.name();
        let given = named.iter().find(|(there, _)| of_it(there)).map(|(_, target)| target.clone());
        // Mostly the root has tools alone, and calls what its packages have.
        let is_root = package.dir == ".";
        let is_meant = given.is_some()
            || kind::builds_itself(&root)
            || is_alone && !kind::calls_others(&root)
            || starts_itself(workspace, &root);
        if is_root && (!projects.is_empty() || !is_meant) {
            continue;
        }
        let own = manifest(workspace, package)?;
        let by_nx = nx::targets(&own, workspace.root(), &package.dir, &package.dir);
        let manifest = by_nx.as_ref().map_or(&own, |targets| &targets.manifest);
        let in_apps = package.dir.strip_prefix("apps/").is_some_and(|rest| !rest.contains('/'));
        let facts = Facts::of(workspace, &package.dir, manifest, &root);
        let known = by_nx.as_ref().map_or_else(|| kind::of(&facts), |targets| targets.known(workspace, &root));
        let known = match known {
            Ok(known) if by_nx.is_some() && !known.why.starts_with("`main`") => known,
            Ok(known) => development::needed(known, workspace, &package.dir, manifest),
            Err(why) => {
                let has_script = by_nx.is_none() && !manifest["scripts"]["build"].is_null();
                let why = match (in_apps, manifest["main"].is_null()) {
                    (true, _) if !has_script && why.contains("neither") && nx::is_application(manifest, &facts.folder) => {
                        nx::UNKNOWN.to_owned()
                    }
                    (false, true) if why.contains("neither") => "its package.json has no start script".to_owned(),
                    _ => why,
                };
                found.others.extend((is_alone || !is_root).then(|| (package.dir.clone(), why)));
                continue;
            }
        };
        let by_main = known.why.starts_with("`main`");
        let is_there = |main: &Value| main.as_str().is_some_and(|main| facts.makes(main));
        let no = if given.is_some() {
            None
        } else if is_copied_from(&package.dir) {
            Some("it is an example, a template or a fixture; a [[service]] in xtask.toml makes it one all the same")
        } else if kind::is_shipped(&facts.folder) {
            None
        } else if in_apps && by_main && !is_there(&manifest["main"]) && !is_there(&manifest["module"]) {
            Some("its `main` is not there, and it has no start script")
        } else if in_apps && !(by_main && is_published(manifest)) {
            None
        } else if is_published(manifest) {
            Some("it is a command that npm publishes (`bin`)")
        } else if by_main {
            Some("outside apps/ a `main` alone makes no service, and it has no start script")
        } else if used.contains(package.name()) {
            Some("other packages depend on it; a [[service]] in xtask.toml makes it one all the same")
        } else {
            None
        };
        if let Some(no) = no {
            found.others.push((package.dir.clone(), no.to_owned()));
            continue;
        }
        let scripts = ["build", "build:prod", "build:production", "compile", "bundle", "docs:build"];
        let build = scripts.into_iter().find(|script| manifest["scripts"][*script].is_string()).unwrap_or("build");
        let mut tasks = toolchain::tasks(workspace, &closure(workspace, package), "build");
        if build != "build" {
            tasks.push(build.to_owned());
        }
        let note = known.note.clone().or_else(|| of_root(workspace, package));
        let others = nest::others(&facts, &known.command);
        let given = given.filter(|name| !others.iter().any(|(other, _)| other == name));
        // All of them are built together, once for each of their services.
        tasks.extend(others.iter().map(|(name, _)| name.clone()).filter(|_| !facts.script(build).contains("--all")));
        found.add(workspace, package, &package.dir, given, Known { note, ..known }, tasks.clone());
        for (name, known) in others {
            found.add(workspace, package, &package.dir, Some(name), known, tasks.clone());
        }
    }
    let package = workspace.package(workspace.root_package());
    for project in projects {
        match project.known(workspace, &root) {
            Ok(known) => found.add(workspace, package, &project.folder, None, known, vec![project.build()]),
            Err(why) => found.others.push((project.folder, why)),
        }
    }
    Ok(found)
}

/// True where the root starts a file of its own by Node, none of the packages' and none of its tools', and has dependencies to run with.
fn starts_itself(workspace: &Workspace, root: &Value) -> bool {
    let start = Start::of(root).filter(|start| start.script.is_some());
    let words: Vec<String> = start.and_then(|start| serde_json::from_str(&start.command).ok()).unwrap_or_default();
    let file =
        words.iter().skip(1).find(|word| !word.starts_with('-')).filter(|_| words.first().is_some_and(|word| word == "node"));
    let is_own = |file: &String| {
        let file = file.trim_start_matches("./");
        let is_tool = ["scripts", "script", "tools", "bin", "dev"].iter().any(|folder| file.split('/').next() == Some(folder));
        !is_tool && workspace.owner(file) == workspace.root_package()
    };
    file.is_some_and(is_own) && root["dependencies"].as_object().is_some_and(|all| !all.is_empty())
}

/// The names of the packages that a build of one needs, its own among them.
fn closure<'w>(workspace: &'w Workspace, package: &Package) -> Vec<&'w str> {
    let closure = workspace.by_dir(&package.dir).map(|id| workspace.closure(id, Scope::BUILD));
    closure.iter().flat_map(|closure| &closure.packages).map(|id| workspace.package(*id).name()).into_vec()
}

/// What is to be known where a build waits for the root's own tasks: an image is built by its packages' scripts.
fn of_root(workspace: &Workspace, package: &Package) -> Option<String> {
    let tasks = toolchain::of_root(workspace, &closure(workspace, package));
    (!tasks.is_empty()).then(|| {
        let names: Vec<&str> = tasks.iter().map(String::as_str).into_vec();
        format!(
            "turbo.json puts the root's `{}` before its build, which no image runs: let a script of the package that needs it make the same, or commit what it makes",
            names.join("`, `")
        )
    })
}

impl Found {
    /// Adds the service of a package, or of a project of Nx's in a folder of it.
    fn add(
        &mut self,
        workspace: &Workspace,
        package: &Package,
        folder: &str,
        given: Option<String>,
        known: Known,
        tasks: Vec<String>,
    ) {
        let name = given.unwrap_or_else(|| match folder {
            "." => root_name(workspace).unwrap_or_else(|| "app".to_owned()),
            _ => unique(folder, &self.services),
        });
        if name.parse::<ServiceName>().is_err() || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            self.others.push((folder.to_owned(), format!("`{name}` can be no Dockerfile target")));
            return;
        }
        if let Some(other) = taken(&name, &self.services) {
            let why = format!(
                "`{name}` is a service or a stage in {}: a [[service]] in xtask.toml with `package = \"{folder}\"` gives it a `name` of its own",
                other.folder
            );
            self.others.push((folder.to_owned(), why));
            return;
        }
        self.services.push(Service {
            name,
            folder: folder.to_owned(),
            why: known.why.clone(),
            note: known.note.clone(),
            package: package.dir.clone(),
            filter: filter(package),
            known,
            tasks,
        });
    }
}

fn manifest(workspace: &Workspace, package: &Package) -> Result<Value> {
    let file = package.path("package.json");
    let text = read_text(&workspace.root().join(&file))?;
    package::json(&text).map_err(|e| Error::usage("not a package manifest").at(&file, Some(e.line())))
}

/// True of a package in a folder of what is copied or read, and never run where it lies.
fn is_copied_from(dir: &str) -> bool {
    let folders = ["example", "examples", "template", "templates", "fixtures", "__fixtures__"];
    dir.split('/').rev().skip(1).any(|part| folders.contains(&part))
}

/// True of a command-line program that is published: a package for all, which starts what it installs as a command.
fn is_published(manifest: &Value) -> bool {
    let commands = match &manifest["bin"] {
        Value::String(file) => vec![file.as_str()],
        Value::Object(files) => files.values().filter_map(Value::as_str).into_vec(),
        _ => Vec::new(),
    };
    let start = manifest["scripts"]["start"].as_str();
    let starts = |file: &&str| start.is_none_or(|start| start.contains(file.trim_start_matches("./")));
    manifest["private"] != true && manifest["version"].is_string() && commands.iter().any(starts)
}

/// The folder's name, or where another service has that, or a stage that every Dockerfile has, the whole way to it.
fn unique(folder: &str, services: &[Service]) -> String {
    const STAGES: [&str; 8] = ["base", "runtime", "manifests", "production", "sources", "dependency-sources", "collect", "files"];
    let last = folder.rsplit('/').next().unwrap_or(folder).to_ascii_lowercase();
    let is_taken = taken(&last, services).is_some() || STAGES.contains(&last.as_str());
    if is_taken { folder.replace('/', "-").to_ascii_lowercase() } else { last }
}

/// The service whose name, or one of whose stages' names, a new one of this name would have too.
fn taken<'s>(name: &str, services: &'s [Service]) -> Option<&'s Service> {
    let stage_of =
        |stage: &str, name: &str| stage.strip_prefix(name).is_some_and(|rest| ["", "-production", "-build"].contains(&rest));
    services.iter().find(|other| stage_of(name, &other.name) || stage_of(&other.name, name))
}

/// What a service of the root's package is called: as that is, or the root's folder where that says what every root is.
pub(super) fn root_name(workspace: &Workspace) -> Option<String> {
    let named = workspace.package(workspace.root_package()).manifest.name.as_deref();
    let last = named.map(|name| name.rsplit('/').next().unwrap_or(name));
    let here = workspace.root().file_name().and_then(|name| name.to_str());
    let says = |name: &&str| !["root", "monorepo", "workspace", "source"].contains(name);
    let names = last.filter(says).into_iter().chain(here);
    names.map(str::to_ascii_lowercase).find(|name| name.parse::<ServiceName>().is_ok())
}

/// A package as pnpm's filter takes it.
pub(super) fn filter(package: &Package) -> String {
    package.manifest.name.clone().unwrap_or_else(|| format!("./{}", package.dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written::workspace;

    #[test]
    fn a_command_that_npm_publishes_is_no_service_in_apps_either_and_a_service_is_started_as_pnpm_does() {
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\nnodeOptions: --conditions=source\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            (
                "apps/cli/package.json",
                r#"{"name": "c", "version": "1.0.0", "main": "./dist/index.js", "bin": {"c": "bin/c.js"}}"#,
            ),
            (
                "apps/jobs/package.json",
                r#"{"name": "j", "version": "1.0.0", "main": "./dist/index.js", "private": true, "bin": "j.js"}"#,
            ),
            (
                "apps/api/package.json",
                r#"{"name": "a", "version": "1.0.0", "scripts": {"start": "node ../../dist/a/main.js"}, "bin": "b.js"}"#,
            ),
        ];
        let (_dir, workspace) = workspace(&files);
        let found = services(&workspace, &[], &[]).unwrap();
        let names: Vec<&str> = found.services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["api", "jobs"]);
        let text = crate::dockerfile::text(&workspace, &found.services, "Dockerfile");
        assert!(
            text.contains("WORKDIR /app/apps/api\nENV PATH=/app/apps/api/node_modules/.bin:/app/node_modules/.bin:$PATH\n"),
            "{text}"
        );
        assert_eq!(found.others, [("apps/cli".to_owned(), "it is a command that npm publishes (`bin`)".to_owned())]);
    }

    #[test]
    fn the_root_is_a_service_where_it_is_alone_or_builds_itself() {
        let of = |manifest: &str, others: &[(&str, &str)], named: &[(String, String)]| {
            let root = [
                ("package.json", manifest),
                ("pnpm-workspace.yaml", "packages: ['packages/*']\n"),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ];
            let (_dir, workspace) = workspace(&[&root[..], others].concat());
            let found = services(&workspace, named, &[]).unwrap();
            let text = crate::dockerfile::text(&workspace, &found.services, "Dockerfile");
            (found.services.into_iter().map(|service| format!("{} {}", service.name, service.package)).collect::<Vec<_>>(), text)
        };
        let library = [("packages/a/package.json", r#"{"name": "a", "main": "i.js"}"#)];
        let server = r#"{"name": "@acme/shop", "scripts": {"start": "node src/main.js"}}"#;
        let (services, text) = of(server, &[], &[]);
        assert_eq!(services, ["shop ."]);
        assert!(
            text.contains("WORKDIR /app\nENV PATH=/app/node_modules/.bin:$PATH\nCOPY")
                && text.contains("install-closure production @acme/shop\n"),
            "{text}"
        );
        assert!(of(server, &library, &[]).0.is_empty(), "it may start what packages are");
        let starts = |file: &str| {
            of(&server.replace("src/main.js", file).replace("\"}}", "\"}, \"dependencies\": {\"ms\": \"2\"}}"), &library, &[]).0
        };
        assert_eq!(starts("dist/main.js"), ["shop ."]);
        for other in ["packages/a/i.js", "scripts/all.js"] {
            assert!(starts(other).is_empty(), "{other}");
        }
        assert_eq!(of(server, &library, &[(".".to_owned(), "front".to_owned())]).0, ["front ."]);
        let next = r#"{"name": "shop", "scripts": {"build": "next build"}, "dependencies": {"next": "16", "a": "workspace:*"}}"#;
        let (services, text) = of(next, &library, &[]);
        assert_eq!(services, ["shop ."]);
        assert!(
            text.contains("id=next-shop-shop,target=/app/.next/cache") && text.contains("collect-closure next . .next\n"),
            "{text}"
        );
        assert!(of(r#"{"scripts": {"build": "turbo build", "start": "turbo start"}}"#, &[], &[]).0.is_empty());
    }

    #[test]
    fn a_task_of_the_roots_before_a_build_is_told() {
        let graph =
            r#"{"tasks": {"build": {"dependsOn": ["^build", "//#lint:all"]}, "words#build": {"dependsOn": ["//#version"]}}}"#;
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*', 'packages/*']\n"),
            (
                "pnpm-lock.yaml",
                "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/api:\n    dependencies:\n      words:\n        specifier: workspace:*\n        \
                 version: link:../../packages/words\n\n  apps/other: {}\n\n  packages/words: {}\n",
            ),
            ("turbo.json", graph),
            (
                "apps/api/package.json",
                r#"{"name": "api", "scripts": {"start": "node a.js"}, "dependencies": {"words": "workspace:*"}}"#,
            ),
            ("apps/other/package.json", r#"{"name": "other", "scripts": {"start": "node a.js"}}"#),
            ("packages/words/package.json", r#"{"name": "words"}"#),
        ];
        let (_dir, workspace) = workspace(&files);
        let found = services(&workspace, &[], &[]).unwrap().services;
        let notes: Vec<Option<&str>> = found.iter().map(|service| service.note.as_deref()).collect();
        assert!(notes[0].unwrap().starts_with("turbo.json puts the root's `version` before its build"), "{notes:?}");
        assert_eq!((notes[1], found[0].tasks.as_slice()), (None, ["build".to_owned()].as_slice()));
    }

    #[test]
    fn no_two_services_have_a_stage_of_one_name() {
        let manifest = r#"{"scripts": {"start": "node a.js"}}"#;
        let apps = ["Web", "api", "api-build", "my-app", "my_app", "web", "web-build"].map(|app| format!("apps/{app}"));
        let folders = apps.into_iter().chain(["x/production".to_owned()]);
        let manifests: Vec<String> = folders.map(|folder| format!("{folder}/package.json")).collect();
        let mut files = vec![
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*', 'x/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ];
        files.extend(manifests.iter().map(|file| (file.as_str(), manifest)));
        let (_dir, workspace) = workspace(&files);
        let found = services(&workspace, &[], &[]).unwrap();
        let shown: Vec<_> = found.services.iter().map(|s| format!("{} {}", s.name, s.folder)).collect();
        assert_eq!(
            shown,
            [
                "web apps/Web",
                "api apps/api",
                "apps-api-build apps/api-build",
                "my-app apps/my-app",
                "my_app apps/my_app",
                "apps-web apps/web",
                "x-production x/production",
            ]
        );
        let (folder, why) = &found.others[0];
        assert!(folder == "apps/web-build" && why.starts_with("`apps-web-build` is a service or a stage in apps/web"), "{why}");
    }

    #[test]
    fn a_template_is_copied_and_an_example_read_and_what_nx_alone_builds_is_said() {
        let starts = r#"{"scripts": {"start": "node a.js"}}"#;
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*', 'tools/templates/*', 'examples/*', 'libs/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("apps/templates/package.json", starts),
            ("tools/templates/api/package.json", starts),
            ("examples/api/package.json", starts),
            ("apps/made/package.json", "{\"nx\": {}, \"dependencies\": {\"next\": \"16\"}}"),
            ("nx.json", "{\"plugins\": [\"@nx/vite/plugin\"]}"),
            ("libs/ui/package.json", "{\"main\": \"src/index.ts\"}"),
            ("libs/bot/package.json", "{\"main\": \"src/index.js\"}"),
            ("libs/bot/fly.toml", "app = \"bot\"\n"),
            ("libs/ui/vite.config.ts", ""),
        ];
        let (_dir, workspace) = workspace(&files);
        let names = |named: &[(String, String)]| {
            let found = services(&workspace, named, &[]).unwrap().services;
            found.into_iter().map(|service| service.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["templates", "bot"]);
        let others = services(&workspace, &[], &[]).unwrap().others;
        assert!(others.iter().any(|(folder, why)| folder == "libs/ui" && why.starts_with("outside apps/")), "{others:?}");
        assert!(others.iter().any(|(folder, why)| folder == "apps/made" && why.starts_with("only nx knows")), "{others:?}");
        assert_eq!(names(&[("tools/templates/api".to_owned(), "api".to_owned())]), ["templates", "bot", "api"]);
    }
}
