//! The Dockerfile for a workspace's services, made of the same stages as the tool's own.

use std::fmt::Write as _;

use monoship_core::collect::Collect as _;
use monoship_core::name::ServiceName;
use monoship_workspace::{Closure, PackageId, Scope, Workspace};
use pnpm::join;

use super::kind::Kind;
use super::services::{Service, filter};
use super::variables::{self, Variables};
use super::{node, npmrc, toolchain};

/// The Dockerfile.
pub(super) fn text(workspace: &Workspace, services: &[Service], file: &str) -> String {
    let pnpm = toolchain::pnpm(workspace);
    let node = node::node(workspace, &pnpm);
    let pnpm = node::pnpm_on(pnpm, &node);
    let unlike = toolchain::pinned(workspace).filter(|pinned| pinned.split('.').next() != pnpm.split('.').next());
    let pin = unlike.map_or_else(
        || "# Equal to `packageManager` in package.json.\n".to_owned(),
        |pinned| format!("# package.json pins pnpm {pinned}, which does not read this repository's lock.\n"),
    );
    let closures: Vec<(PackageId, _)> = services
        .iter()
        .filter_map(|service| workspace.by_dir(&service.package))
        .map(|id| (id, workspace.closure(id, Scope::BUILD)))
        .into_vec();
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
        .replace("{node-options}", &node_options(workspace))
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
            .filter(|dir| *dir != "." && *dir != service.package)
            .into_vec();
        let prisma = closure.packages.iter().any(|id| {
            workspace.package(*id).manifest.all_dependencies().any(|(name, ..)| name == "@prisma/client" || name == "prisma")
        });
        let variables = variables::of(workspace, &[&folders[..], &[&service.folder]].concat(), prisma);
        let production = workspace.by_dir(&service.package).map(|id| workspace.closure(id, Scope::PRODUCTION));
        let filters = Filters {
            everything: filters(workspace, &service.filter, closure),
            production: production.map(|closure| filters(workspace, &service.filter, &closure)).unwrap_or_default(),
            below: !folders.is_empty(),
            beside: beside(workspace, service),
            repository: repository(workspace),
        };
        service.stages(&mut text, &variables, &secrets, &filters);
    }
    text
}

/// What pnpm starts every script with, and nobody else.
fn node_options(workspace: &Workspace) -> String {
    let Some(options) = workspace.node_options() else { return String::new() };
    let escaped = options.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    format!("# As pnpm's settings say for each script.\nENV NODE_OPTIONS=\"{escaped}\"\n")
}

/// The file of those that a build makes by which Node starts, as CMD has it.
fn started(command: &str) -> Option<String> {
    let words: Vec<String> = serde_json::from_str(command).ok()?;
    let words: Vec<&str> = if words.len() == 3 && words[0] == "sh" {
        words[2].split_whitespace().into_vec()
    } else {
        words.iter().map(String::as_str).into_vec()
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

/// The folder outside of all packages where the file lies by which Node starts a service: `node ../../dist/apps/api/main.js`.
fn beside(workspace: &Workspace, service: &Service) -> Option<String> {
    let words: Vec<String> = serde_json::from_str(&service.known.command).ok()?;
    let mut words = words.iter().flat_map(|word| word.split_whitespace()).skip_while(|word| *word != "node");
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let file = words.find(|word| word.starts_with("../")).filter(plain)?;
    let file = join(&service.package, file)?;
    let (folder, _) = file.rsplit_once('/')?;
    (workspace.owner(&file) == workspace.root_package()).then(|| folder.to_owned())
}

/// What pnpm is to install for a service: its package, and those that no manifest leads to.
struct Filters {
    everything: String,
    production: String,
    /// It needs packages of the workspace, which are built in a step before its own.
    below: bool,
    /// The folder of no package that Node starts it from.
    beside: Option<String>,
    /// What tells a mounted cache of its name from that of another repository, which may have a service called so: `shop-`.
    repository: String,
}

/// How names of this repository begin, by its root's manifest: a clone's folder may be called anything.
fn repository(workspace: &Workspace) -> String {
    let name = workspace.package(workspace.root_package()).manifest.name.as_deref().unwrap_or_default();
    let last = name.rsplit('/').next().filter(|last| last.parse::<ServiceName>().is_ok());
    last.map(|last| format!("{last}-")).unwrap_or_default()
}

fn filters(workspace: &Workspace, package: &str, closure: &Closure) -> String {
    let others = closure.undeclared.keys().map(|id| filter(workspace.package(*id)));
    std::iter::once(package.to_owned()).chain(others).into_vec().join(" ")
}

/// Where a folder of the repository lies in an image.
fn within(folder: &str) -> String {
    if folder == "." { "/app".to_owned() } else { format!("/app/{folder}") }
}

impl Service {
    /// Its stages: what it runs with, what it is built in, what it is.
    fn stages(&self, text: &mut String, variables: &Variables, secrets: &str, filters: &Filters) {
        let Self { name, folder, filter: package, known, tasks, .. } = self;
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
        let before = if matches!(known.kind, Kind::Node | Kind::Beside(_)) {
            let _ = write!(text, "FROM base AS {name}-production\n{}\n", install("production"));
            format!("{name}-production")
        } else {
            "base".to_owned()
        };
        let _ = write!(text, "FROM {before} AS {name}-build\n{}", install("everything"));
        for (variable, value) in &variables.public {
            let _ = writeln!(text, "ARG {variable}={value}");
        }
        for variable in &variables.named {
            let _ = writeln!(text, "ARG {variable}");
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
        let standalone = if matches!(known.kind, Kind::Next(_)) { "NEXT_PRIVATE_STANDALONE=true " } else { "" };
        let cache = match &known.kind {
            Kind::Next(made) => {
                format!("    --mount=type=cache,id=next-{}{name},target={}/{made}/cache \\\n", filters.repository, within(folder))
            }
            _ => String::new(),
        };
        let starts = |root: &str| {
            let file = started(&known.command);
            file.map(|file| format!(" && \\\n    collect-closure started {} {file}{root}", self.package)).unwrap_or_default()
        };
        let collect = match &known.kind {
            Kind::Node => {
                let beside = filters.beside.as_ref().map(|folder| format!(" && \\\n    collect-closure folder . {folder}"));
                format!(" && \\\n    collect-closure packages {}{}{}", filters.production, beside.unwrap_or_default(), starts(""))
            }
            Kind::Beside(made) => {
                // A project of the root's is all that its bundler has taken in; what a package needs lies beside it.
                let packages = if self.package == "." { String::new() } else { format!(" {}", filters.production) };
                let made: String = ["folder", "imported"]
                    .iter()
                    .map(|what| format!(" && \\\n    collect-closure {what} {} {made}", self.package))
                    .collect();
                format!(" && \\\n    collect-closure packages{packages}{made}{}", starts(""))
            }
            Kind::Development => {
                let rests = "find . \\( -name .cache -o -path '*/build/Release/obj.target' \\) -path '*/node_modules/*' -prune";
                format!("{} && \\\n    {rests} -exec rm -rf {{}} +", starts(" /app"))
            }
            Kind::Next(made) => format!(" && \\\n    collect-closure next {folder} {made}"),
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
        let Self { name, known, .. } = self;
        let from = if matches!(known.kind, Kind::Static(_)) { "files" } else { "runtime" };
        let _ = writeln!(text, "\nFROM {from} AS {name}\nLABEL org.opencontainers.image.title=\"{name}\"");
        // Before what is copied: over linked layers BuildKit would have to put all of them together first.
        if !matches!(known.kind, Kind::Static(_)) {
            let _ = writeln!(text, "WORKDIR {}", within(self.started_in()));
        }
        if self.has_modules() {
            // As for a script of pnpm's: what it starts, or calls as it runs, may be a program of a dependency, or of one of the root's.
            let own = (self.package != ".").then(|| format!("{}/node_modules/.bin:", within(&self.package)));
            let _ = writeln!(text, "ENV PATH={}/app/node_modules/.bin:$PATH", own.unwrap_or_default());
        }
        let copies = match &known.kind {
            Kind::Node | Kind::Beside(_) => {
                format!(
                    "COPY --link --from={name}-production /production/app /app\nCOPY --link --from={name}-build /built/app /app\n"
                )
            }
            Kind::Development => format!("COPY --link --from={name}-build /app /app\n"),
            Kind::Static(_) => format!("COPY --link --from={name}-build /built/app /srv\n"),
            Kind::Next(_) | Kind::Output(_) => format!("COPY --link --from={name}-build /built/app /app\n"),
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
