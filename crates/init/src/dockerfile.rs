//! The Dockerfile for a workspace's services, made of the same stages as the tool's own.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use monoship_core::error::{Error, Result, read_text};
use monoship_core::name::ServiceName;
use monoship_workspace::package::Package;
use monoship_workspace::{Closure, PackageId, Scope, Workspace};

use super::kind::{self, Facts, Kind, Known};
use super::variables::{self, Variables};
use super::{development, npmrc, nx, toolchain};

/// A service that a Dockerfile is written for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, and its Dockerfile target.
    pub name: String,
    /// Its package's folder.
    pub folder: String,
    /// How it is recognised.
    pub why: String,
    /// What is to be known about it.
    pub note: Option<String>,
    /// As pnpm's filter takes it.
    package: String,
    /// What it is.
    known: Known,
    /// The scripts that build it, in their order.
    tasks: Vec<String>,
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
    /// Where images go, as far as it is known from what they are called today: `ghcr.io/acme`.
    pub prefix: Option<String>,
}

/// Looks for services: packages that can be started, or that make files for browsers. In `apps/` a `main` is enough for that; elsewhere, where
/// libraries lie too, it takes a framework, a start script or a Dockerfile, of a package that no other one depends on. `named` are packages
/// that `xtask.toml` calls services, with the name of the target.
///
/// # Errors
/// When a manifest cannot be read.
pub(super) fn services(workspace: &Workspace, named: &[(String, String)]) -> Result<Found> {
    let used: BTreeSet<&str> =
        workspace.packages().iter().flat_map(|package| package.manifest.all_dependencies()).map(|(name, ..)| name).collect();
    let mut found = Found::default();
    let root = std::fs::read_to_string(workspace.root().join("package.json")).unwrap_or_default();
    let root: Value = serde_json::from_str(root.trim_start_matches('\u{feff}')).unwrap_or_default();
    for package in workspace.packages().iter().filter(|package| package.dir != ".") {
        let file = package.path("package.json");
        let manifest: Value = serde_json::from_str(read_text(&workspace.root().join(&file))?.trim_start_matches('\u{feff}'))
            .map_err(|e| Error::usage("not a package manifest").at(&file, Some(e.line())))?;
        let by_nx = nx::with_targets(&manifest, workspace.root(), &package.dir);
        let is_by_nx = by_nx.is_some();
        let manifest = by_nx.unwrap_or(manifest);
        let in_apps = package.dir.strip_prefix("apps/").is_some_and(|rest| !rest.contains('/'));
        let given =
            named.iter().find(|(there, _)| *there == package.dir || *there == package.name()).map(|(_, target)| target.clone());
        let facts = Facts { manifest: &manifest, root: &root, folder: workspace.root().join(&package.dir) };
        let known = match kind::of(&facts) {
            // A library of nx's, too, has a `main` and a build.
            Ok(known) if is_by_nx && !known.why.starts_with("`main`") => nx::started(known),
            Ok(known) => development::needed(known, workspace, &package.dir, &manifest),
            Err(why) => {
                let has_script = !is_by_nx && !manifest["scripts"]["build"].is_null();
                let why = match (in_apps, manifest["main"].is_null()) {
                    (true, _) if !has_script && nx::is_application(&manifest, &facts.folder) => nx::UNKNOWN.to_owned(),
                    (false, true) if why.contains("neither") => "its package.json has no start script".to_owned(),
                    _ => why,
                };
                found.others.push((package.dir.clone(), why));
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
        } else if in_apps && !(by_main && is_published(&manifest)) {
            None
        } else if is_published(&manifest) {
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
        let name = given.unwrap_or_else(|| unique(&package.dir, &found.services));
        if name.parse::<ServiceName>().is_err() || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.others.push((package.dir.clone(), format!("`{name}` can be no Dockerfile target")));
            continue;
        }
        let scripts = ["build", "build:prod", "build:production", "compile", "bundle"];
        let build = scripts.into_iter().find(|script| manifest["scripts"][*script].is_string()).unwrap_or("build");
        let mut tasks = toolchain::tasks(workspace, package.name(), "build");
        if build != "build" {
            tasks.push(build.to_owned());
        }
        found.services.push(Service {
            name,
            folder: package.dir.clone(),
            why: known.why.clone(),
            note: known.note.clone(),
            package: filter(package),
            known,
            tasks,
        });
    }
    Ok(found)
}

/// The applications that only nx knows, by their project.json: without a package.json pnpm installs nothing for them.
pub(super) fn of_nx(workspace: &Workspace, files: &[String]) -> Vec<(String, String)> {
    let is_app = |folder: &str| {
        let text = std::fs::read_to_string(workspace.root().join(folder).join("project.json")).unwrap_or_default();
        monoship_workspace::sources::with_comments(&text).is_some_and(|project| project["projectType"] == "application")
    };
    let folders = files.iter().filter_map(|file| file.strip_suffix("/project.json"));
    let apps = folders.filter(|folder| workspace.by_dir(folder).is_none() && !folder.ends_with("-e2e") && is_app(folder));
    let why = "nx knows it by its project.json, but it has no package.json, and pnpm installs for packages: give it one, or a Dockerfile";
    apps.map(|folder| (folder.to_owned(), why.to_owned())).collect()
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
        Value::Object(files) => files.values().filter_map(Value::as_str).collect(),
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
    let is_taken = services.iter().any(|service| service.name == last) || STAGES.contains(&last.as_str());
    if is_taken { folder.replace('/', "-").to_ascii_lowercase() } else { last }
}

/// The Dockerfile.
pub(super) fn text(workspace: &Workspace, services: &[Service], file: &str) -> String {
    let pnpm = toolchain::pnpm(workspace);
    let node = toolchain::node(workspace, &pnpm);
    let pnpm = toolchain::pnpm_on(pnpm, &node);
    let unlike = toolchain::pinned(workspace).filter(|pinned| pinned.split('.').next() != pnpm.split('.').next());
    let pin = unlike.map_or_else(
        || "# Equal to `packageManager` in package.json.\n".to_owned(),
        |pinned| format!("# package.json pins pnpm {pinned}, which does not read this repository's lock.\n"),
    );
    let closures: Vec<(PackageId, _)> = services
        .iter()
        .filter_map(|service| workspace.by_dir(&service.folder))
        .map(|id| (id, workspace.closure(id, Scope::BUILD)))
        .collect();
    let native = closures.iter().find_map(|(_, closure)| toolchain::native(workspace, closure));
    let (build_image, base) = match &native {
        Some(name) => (
            format!(
                "# With the compilers that `{name}` is built by at install; no service runs on it.\nARG BUILD_IMAGE=node:{node}-bookworm\n"
            ),
            "{BUILD_IMAGE}",
        ),
        None => (String::new(), "{NODE_IMAGE}"),
    };
    let openssl = closures.iter().any(|(_, closure)| toolchain::needs_openssl(workspace, closure));
    let given = |wanted: bool, package: &str, why: &str| {
        let install = "RUN apt-get update && apt-get install --yes --no-install-recommends";
        if wanted { format!("# {why}\n{install} {package} && rm -rf /var/lib/apt/lists/*\n") } else { String::new() }
    };
    let packages = given(openssl, "openssl", "Prisma's engine loads OpenSSL's library.");
    // The image with compilers has both.
    let git = closures.iter().any(|(_, closure)| toolchain::needs_git(workspace, closure));
    let build_packages = if native.is_some() {
        String::new()
    } else {
        given(openssl, "openssl", "Without it Prisma takes an engine for another OpenSSL than the image has.")
            + &given(git, "git", "A build asks it; no service's image has it.")
    };
    let mut text = include_str!("head.Dockerfile")
        .replace("{file}", file)
        .replace("{node}", &format!("node:{node}-bookworm-slim"))
        .replace("{pin}", &pin)
        .replace("{pnpm}", &pnpm)
        .replace("{build-image}", &build_image)
        .replace("{{base}}", base)
        .replace("{packages}", &packages)
        .replace("{build-packages}", &build_packages);
    if services.iter().any(|service| matches!(service.known.kind, Kind::Static(_))) {
        text += include_str!("files.Dockerfile");
    }
    let secrets: String = npmrc::variables(workspace.root())
        .iter()
        .map(|(name, needed)| {
            format!("    --mount=type=secret,id={name},env={name}{} \\\n", if *needed { ",required=true" } else { "" })
        })
        .collect();
    for (service, (_, closure)) in services.iter().zip(&closures) {
        let folders: Vec<&str> = closure
            .packages
            .iter()
            .map(|id| workspace.package(*id).dir.as_str())
            .filter(|dir| *dir != "." && *dir != service.folder)
            .collect();
        let prisma = closure.packages.iter().any(|id| {
            workspace.package(*id).manifest.all_dependencies().any(|(name, ..)| name == "@prisma/client" || name == "prisma")
        });
        let variables = variables::of(workspace.root(), &[&folders[..], &[&service.folder]].concat(), prisma);
        let production = workspace.by_dir(&service.folder).map(|id| workspace.closure(id, Scope::PRODUCTION));
        let filters = Filters {
            everything: filters(workspace, &service.package, closure),
            production: production.map(|closure| filters(workspace, &service.package, &closure)).unwrap_or_default(),
            below: !folders.is_empty(),
        };
        service.stages(&mut text, &variables, &secrets, &filters);
    }
    text
}

/// The file of those that a build makes by which Node starts, as CMD has it.
fn started(command: &str) -> Option<String> {
    let words: Vec<String> = serde_json::from_str(command).ok()?;
    let words: Vec<&str> = if words.len() == 3 && words[0] == "sh" {
        words[2].split_whitespace().collect()
    } else {
        words.iter().map(String::as_str).collect()
    };
    let made =
        |word: &&str| ["dist/", "build/", "lib/", "out/"].iter().any(|folder| word.trim_start_matches("./").starts_with(folder));
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) && !word.contains("..");
    let at = words.iter().position(|word| *word == "node")?;
    words[at + 1..]
        .iter()
        .map(|word| word.trim_start_matches("./"))
        .find(made)
        .filter(plain)
        .filter(|file| !file.ends_with('/'))
        .map(str::to_owned)
}

/// What pnpm is to install for a service: its package, and those that no manifest leads to.
struct Filters {
    everything: String,
    production: String,
    /// It needs packages of the workspace, which are built in a step before its own.
    below: bool,
}

fn filters(workspace: &Workspace, package: &str, closure: &Closure) -> String {
    let others = closure.undeclared.keys().map(|id| filter(workspace.package(*id)));
    std::iter::once(package.to_owned()).chain(others).collect::<Vec<_>>().join(" ")
}

/// A package as pnpm's filter takes it.
fn filter(package: &Package) -> String {
    package.manifest.name.clone().unwrap_or_else(|| format!("./{}", package.dir))
}

impl Service {
    /// Its stages: what it runs with, what it is built in, what it is.
    fn stages(&self, text: &mut String, variables: &Variables, secrets: &str, filters: &Filters) {
        let Self { name, folder, package, known, tasks, .. } = self;
        let install = |how: &str| {
            let (from, wanted) = match how {
                "production" => ("production", &filters.production),
                _ => ("manifests", &filters.everything),
            };
            format!(
                "RUN --mount=type=bind,from={from},target=/manifests \\\n    --mount=type=cache,id=pnpm-store,target=/pnpm/store \\\n{secrets}    \
                 --mount=type=secret,id=ca \\\n    install-closure {how} {wanted}\n"
            )
        };
        let _ = writeln!(text, "\n# ── {name} ──");
        let before = if known.kind == Kind::Node {
            let _ = write!(text, "FROM base AS {name}-production\n{}\n", install("production"));
            format!("{name}-production")
        } else {
            "base".to_owned()
        };
        let _ = write!(text, "FROM {before} AS {name}-build\n{}", install("everything"));
        for (variable, value) in &variables.public {
            let _ = writeln!(text, "ARG {variable}={value}");
        }
        if !variables.private.is_empty() {
            let _ = writeln!(
                text,
                "# For the build alone, where the environment says nothing: as the repository's example of it has them."
            );
            let _ = writeln!(text, "COPY <<'VARIABLES' /var/lib/build.env");
            for (variable, value) in &variables.private {
                let _ = writeln!(text, ": \"${{{variable}:={value}}}\"");
            }
            let _ = writeln!(text, "VARIABLES");
        }
        let standalone = if known.kind == Kind::Next { "NEXT_PRIVATE_STANDALONE=true " } else { "" };
        let cache = match known.kind {
            Kind::Next => format!("    --mount=type=cache,id=next-{name},target=/app/{folder}/.next/cache \\\n"),
            _ => String::new(),
        };
        let collect = match &known.kind {
            Kind::Node => {
                let started = started(&known.command).map(|file| format!(" && \\\n    collect-closure started {folder} {file}"));
                format!(" && \\\n    collect-closure packages {}{}", filters.production, started.unwrap_or_default())
            }
            Kind::Development => {
                let started =
                    started(&known.command).map(|file| format!(" && \\\n    collect-closure started {folder} {file} /app"));
                let rests = "find . \\( -name .cache -o -path '*/build/Release/obj.target' \\) -path '*/node_modules/*' -prune";
                format!("{} && \\\n    {rests} -exec rm -rf {{}} +", started.unwrap_or_default())
            }
            Kind::Next => format!(" && \\\n    collect-closure next {folder}"),
            Kind::Output(made) => format!(" && \\\n    collect-closure folder {folder} {made}"),
            Kind::Static(made) => format!(" && \\\n    collect-closure files {folder} {made}"),
        };
        let build = |from: &str, cache: &str, which: &str| {
            let tasks = tasks.join(" ");
            format!(
                "RUN --mount=type=bind,from={from},target=/sources \\\n    --mount=type=cache,id=builds,target=/builds \\\n{cache}    \
                 --mount=type=secret,id=ca \\\n    {standalone}build-closure {which}{package} {tasks}"
            )
        };
        if filters.below {
            let _ = writeln!(text, "{}", build("dependency-sources", "", "--dependencies "));
        }
        let _ = writeln!(text, "{}{collect}", build("sources", &cache, ""));
        self.image(text);
    }

    /// The last stage.
    fn image(&self, text: &mut String) {
        let Self { name, folder, known, .. } = self;
        let from = if matches!(known.kind, Kind::Static(_)) { "files" } else { "runtime" };
        let _ = writeln!(text, "\nFROM {from} AS {name}\nLABEL org.opencontainers.image.title=\"{name}\"");
        // Before what is copied: over linked layers BuildKit would have to put all of them together first.
        if !matches!(known.kind, Kind::Static(_)) {
            let _ = writeln!(text, "WORKDIR /app/{folder}");
        }
        let copies = match &known.kind {
            Kind::Node => {
                format!(
                    "COPY --link --from={name}-production /production/app /app\nCOPY --link --from={name}-build /built/app /app\n"
                )
            }
            Kind::Development => format!("COPY --link --from={name}-build /app /app\n"),
            Kind::Static(_) => format!("COPY --link --from={name}-build /built/app /srv\n"),
            Kind::Next | Kind::Output(_) => format!("COPY --link --from={name}-build /built/app /app\n"),
        };
        text.push_str(&copies);
        if let Some(port) = known.port {
            let env: String = known.env.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let _ = writeln!(text, "ENV PORT={port}{env}\nEXPOSE {port}");
            let _ = writeln!(
                text,
                "HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s \\\n  CMD [\"node\", \"-e\", \
                 \"fetch(`http://127.0.0.1:${{process.env.PORT}}/`).then((r) => process.exit(r.status < 500 ? 0 : 1), () => process.exit(1))\"]"
            );
        }
        let _ = writeln!(text, "CMD {}", known.command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written::workspace;

    #[test]
    fn a_command_that_npm_publishes_is_no_service_in_apps_either() {
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            (
                "apps/cli/package.json",
                r#"{"name": "c", "version": "1.0.0", "main": "./dist/index.js", "bin": {"c": "bin/c.js"}}"#,
            ),
            (
                "apps/jobs/package.json",
                r#"{"name": "j", "version": "1.0.0", "main": "./dist/index.js", "private": true, "bin": "j.js"}"#,
            ),
            ("apps/api/package.json", r#"{"name": "a", "version": "1.0.0", "scripts": {"start": "node a.js"}, "bin": "b.js"}"#),
        ];
        let (_dir, workspace) = workspace(&files);
        let found = services(&workspace, &[]).unwrap();
        let names: Vec<&str> = found.services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["api", "jobs"]);
        assert_eq!(found.others, [("apps/cli".to_owned(), "it is a command that npm publishes (`bin`)".to_owned())]);
    }

    #[test]
    fn what_only_nx_knows_is_said_to_be_no_package() {
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['libs/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("apps/api/project.json", "{\"projectType\": \"application\" /* ours */}"),
            ("apps/api-e2e/project.json", r#"{"projectType": "application"}"#),
            ("libs/ui/package.json", "{}"),
            ("libs/ui/project.json", r#"{"projectType": "library"}"#),
        ];
        let (_dir, workspace) = workspace(&files);
        let found = of_nx(&workspace, &files.map(|(file, _)| file.to_owned()));
        assert_eq!(found.iter().map(|(folder, _)| folder.as_str()).collect::<Vec<_>>(), ["apps/api"]);
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
            ("libs/ui/vite.config.ts", ""),
        ];
        let (_dir, workspace) = workspace(&files);
        let names = |named: &[(String, String)]| {
            let found = services(&workspace, named).unwrap().services;
            found.into_iter().map(|service| service.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["templates"]);
        let others = services(&workspace, &[]).unwrap().others;
        assert!(others.iter().any(|(folder, why)| folder == "libs/ui" && why.starts_with("outside apps/")), "{others:?}");
        assert!(others.iter().any(|(folder, why)| folder == "apps/made" && why.starts_with("only nx knows")), "{others:?}");
        assert_eq!(names(&[("tools/templates/api".to_owned(), "api".to_owned())]), ["templates", "api"]);
    }
}
