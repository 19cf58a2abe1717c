//! A big workspace made from a seed, for benchmarks and tests of scale: a valid pnpm workspace with its lock, a Dockerfile with a
//! target for each service, pins, and one git commit. The same size and seed give the same bytes on every machine.

#![expect(clippy::disallowed_methods, reason = "git is run as a user would")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// How big.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Packages, services included.
    pub packages: usize,
    /// Services among them.
    pub services: usize,
    /// Files, about: they are spread evenly over the packages.
    pub files: usize,
}

impl Size {
    /// A fifth of the packages services, a hundred files in each. With 1,000 packages it is the size that promises are made for.
    pub const fn of(packages: usize) -> Self {
        Self { packages, services: if packages < 5 { 1 } else { packages / 5 }, files: packages * 100 }
    }
}

/// Packages of the made-up registry.
const REGISTRY: usize = 400;

/// A pseudo-random sequence (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }

    /// Up to `most` distinct numbers below `bound`.
    fn some(&mut self, most: usize, bound: usize) -> BTreeSet<usize> {
        if bound == 0 { BTreeSet::new() } else { (0..most).map(|_| self.below(bound)).collect() }
    }
}

/// A package: where it lies, what it is called, what it needs.
struct Package {
    dir: String,
    name: String,
    workspace: BTreeSet<usize>,
    registry: BTreeSet<usize>,
}

/// Writes the workspace into `root`, which must be empty or absent, and commits it.
pub fn workspace(root: &Path, size: Size, seed: u64) {
    let mut random = Random(seed);
    let packages = packages(size, &mut random);
    let registry: Vec<BTreeSet<usize>> = (0..REGISTRY).map(|n| random.some(3, n)).collect();
    let files = size.files.saturating_sub(size.packages * 2) / size.packages.max(1);
    for (at, package) in packages.iter().enumerate() {
        write(root, &format!("{}/package.json", package.dir), &manifest(package, &packages));
        write(root, &format!("{}/tsconfig.json", package.dir), "{ \"extends\": \"../../tsconfig.base.json\" }\n");
        for file in 0..files {
            let text = format!("export const value{file} = {};\n", (at % 16) * 1_000 + file);
            write(root, &format!("{}/src/part{}/file{file}.ts", package.dir, file / 20), &text);
        }
    }
    write(root, "package.json", "{\n  \"name\": \"bulk\",\n  \"private\": true,\n  \"packageManager\": \"pnpm@10.34.9\"\n}\n");
    write(root, "pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n");
    write(root, "pnpm-lock.yaml", &lock(&packages, &registry));
    write(root, "tsconfig.base.json", "{ \"compilerOptions\": { \"strict\": true } }\n");
    write(root, ".gitignore", "node_modules\ndist\ntarget\n");
    write(root, ".dockerignore", "**/node_modules\n**/dist\n.git\ntarget\n");
    write(root, "Dockerfile.monorepo-optimized", &dockerfile(size.services, &packages));
    let head = "# Written by `cargo xtask update`. Commit it.\nversion = 1\n\n[images]\n";
    let digest = "0123456789abcdef".repeat(4);
    write(root, "xtask.lock", &format!("{head}\"docker.io/library/node:24-bookworm-slim\" = \"sha256:{digest}\"\n"));
    write(root, "xtask.toml", "[images]\nregistry = \"ghcr.io\"\nnamespace = \"org/bulk\"\n");
    commit(root);
}

fn packages(size: Size, random: &mut Random) -> Vec<Package> {
    let libraries = size.packages - size.services;
    (0..size.packages)
        .map(|n| match n.checked_sub(libraries) {
            None => Package {
                dir: format!("packages/p{n}"),
                name: format!("@bulk/p{n}"),
                workspace: random.some(2, n),
                registry: random.some(3, REGISTRY),
            },
            Some(service) => Package {
                dir: format!("apps/s{service}"),
                name: format!("@bulk/s{service}"),
                workspace: random.some(4, libraries),
                registry: random.some(6, REGISTRY),
            },
        })
        .collect()
}

fn manifest(package: &Package, all: &[Package]) -> String {
    let workspace = package.workspace.iter().map(|n| (all[*n].name.clone(), "workspace:*".to_owned()));
    let registry = package.registry.iter().map(|n| (format!("ext-{n}"), format!("^1.{n}.0")));
    let dependencies: BTreeMap<String, String> = workspace.chain(registry).collect();
    let value = serde_json::json!({
        "name": package.name,
        "version": "0.0.0",
        "private": true,
        "main": "dist/index.js",
        "scripts": { "build": "tsc -b" },
        "dependencies": dependencies,
    });
    serde_json::to_string_pretty(&value).expect("plain data serialises") + "\n"
}

/// `pnpm-lock.yaml` as pnpm 9 and later write it.
fn lock(packages: &[Package], registry: &[BTreeSet<usize>]) -> String {
    let mut text = String::from(
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n",
    );
    let by_dir: BTreeMap<&str, &Package> = packages.iter().map(|package| (package.dir.as_str(), package)).collect();
    for (dir, package) in by_dir {
        if package.workspace.is_empty() && package.registry.is_empty() {
            put(&mut text, format_args!("\n  {dir}: {{}}\n"));
            continue;
        }
        put(&mut text, format_args!("\n  {dir}:\n    dependencies:\n"));
        let links = package.workspace.iter().map(|n| &packages[*n]);
        let links = links.map(|to| (format!("'{}'", to.name), "workspace:*".to_owned(), format!("link:../../{}", to.dir)));
        let versions = package.registry.iter().map(|n| (format!("ext-{n}"), format!("^1.{n}.0"), format!("1.{n}.0")));
        for (name, specifier, version) in links.chain(versions).collect::<BTreeSet<_>>() {
            put(&mut text, format_args!("      {name}:\n        specifier: {specifier}\n        version: {version}\n"));
        }
    }
    let used = closure(packages, registry);
    text.push_str("\npackages:\n");
    for (key, n) in &used {
        let integrity = format!("sha512-{:0>86}==", format!("{n}A"));
        put(&mut text, format_args!("\n  {key}:\n    resolution: {{integrity: {integrity}}}\n"));
    }
    text.push_str("\nsnapshots:\n");
    for (key, n) in &used {
        if registry[*n].is_empty() {
            put(&mut text, format_args!("\n  {key}: {{}}\n"));
            continue;
        }
        put(&mut text, format_args!("\n  {key}:\n    dependencies:\n"));
        for (name, on) in registry[*n].iter().map(|on| (format!("ext-{on}"), on)).collect::<BTreeMap<_, _>>() {
            put(&mut text, format_args!("      {name}: 1.{on}.0\n"));
        }
    }
    text
}

/// Every registry package that some package reaches, by its key.
fn closure(packages: &[Package], registry: &[BTreeSet<usize>]) -> BTreeMap<String, usize> {
    let mut open: Vec<usize> = packages.iter().flat_map(|package| package.registry.iter().copied()).collect();
    let mut used = BTreeMap::new();
    while let Some(n) = open.pop() {
        if used.insert(format!("ext-{n}@1.{n}.0"), n).is_none() {
            open.extend(&registry[n]);
        }
    }
    used
}

/// A Dockerfile in the shape of this repository's own: doors that named contexts replace, then three stages for each service.
fn dockerfile(services: usize, packages: &[Package]) -> String {
    let mut text = String::from(
        "ARG NODE_IMAGE=node:24-bookworm-slim\n\nFROM ${NODE_IMAGE} AS base\nWORKDIR /app\n\n\
         FROM scratch AS manifests\nCOPY . /\n\nFROM manifests AS production\n\nFROM scratch AS sources\nCOPY . /\n\n\
         FROM ${NODE_IMAGE} AS runtime\nENV NODE_ENV=production\n",
    );
    let first = packages.len() - services;
    for (n, package) in packages[first..].iter().enumerate() {
        let name = &package.name;
        put(
            &mut text,
            format_args!(
                "\n# ── s{n} ──\nFROM base AS s{n}-production\n\
                 RUN --mount=type=bind,from=production,target=/manifests pnpm install --prod --filter {name}...\n\n\
                 FROM base AS s{n}-build\n\
                 RUN --mount=type=bind,from=manifests,target=/manifests pnpm install --filter {name}...\n\
                 RUN --mount=type=bind,from=sources,target=/sources pnpm --filter {name}... build\n\n\
                 FROM runtime AS s{n}\n\
                 COPY --link --from=s{n}-production /production/app /app\nCOPY --link --from=s{n}-build /built/app /app\n\
                 CMD [\"node\", \"{}/dist/index.js\"]\n",
                package.dir
            ),
        );
    }
    text
}

fn put(text: &mut String, args: std::fmt::Arguments<'_>) {
    text.write_fmt(args).expect("writing to a String cannot fail");
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}

fn commit(root: &Path) {
    let settings = ["-c", "user.name=bulk", "-c", "user.email=bulk@example.org", "-c", "gc.auto=0", "-c", "core.compression=0"];
    // Fixed dates, so that the commit too is the same everywhere.
    let date = "2024-01-01T00:00:00Z";
    for args in [&["init", "--quiet", "--initial-branch=main"][..], &["add", "--all"], &["commit", "--quiet", "--message=bulk"]] {
        let mut git = Command::new("git");
        git.current_dir(root).args(settings).args(args).env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date);
        assert!(git.status().expect("git runs").success(), "git {args:?}");
    }
}
