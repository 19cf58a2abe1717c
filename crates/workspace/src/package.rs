//! Packages: what of a `package.json` an install reads, and where the packages of a workspace are. Reads files, decides nothing.

use std::path::Path;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use pnpm::join;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::glob::{Component, Patterns};
use monoship_core::error::{Error, Result, read_text};
use monoship_core::execute::cores;
use monoship_core::fault;

/// The fields of a `package.json` that `pnpm install --frozen-lockfile` reads; a reduced manifest is this struct, written again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    /// The package's name; a package without one can be installed, but nothing can depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package_manager: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bin: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) directories: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engines: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_engines: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    libc: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) scripts: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) publish_config: Map<String, Value>,
    /// What it needs to run.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub dependencies: Map<String, Value>,
    /// What it needs to be built or tested.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub dev_dependencies: Map<String, Value>,
    /// What it runs without where it cannot be installed.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub optional_dependencies: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) peer_dependencies: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) peer_dependencies_meta: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) dependencies_meta: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) resolutions: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) pnpm: Map<String, Value>,
    /// What a build's tools look for in the manifests of all folders above theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    browserslist: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postcss: Option<Value>,
}

/// The scripts that an install runs, of a workspace's own packages too.
pub const INSTALL_SCRIPTS: [&str; 7] =
    ["pnpm:devPreinstall", "preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"];

/// Those of them that make a package ready to be developed or published. pnpm runs them in a production install too, which lacks the
/// tools they need (`husky`, a compiler).
pub const PREPARE_SCRIPTS: [&str; 3] = ["preprepare", "prepare", "postprepare"];

/// What pnpm downloads like a package.
const RUNTIMES: [&str; 3] = ["node", "deno", "bun"];

/// A manifest as it is written, with a byte order mark or without: pnpm reads both.
///
/// # Errors
/// When it is no JSON, or has another form than wanted.
pub fn json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
}

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    /// When it is no JSON object or a field that an install reads has the wrong type.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let read = json(text);
        // Templates leave it empty, which is no name for pnpm.
        let named = |manifest: Self| Self { name: manifest.name.filter(|name| !name.is_empty()), ..manifest };
        read.map(named).map(Self::with_runtimes).map_err(|e| {
            if let Some(error) = unfinished_merge(text, path) {
                return error;
            }
            if text.trim().is_empty() {
                return Error::usage("this is not a package manifest: it is empty").at(path, None).hint("write one: `pnpm init`");
            }
            let line = Some(e.line()).filter(|line| *line > 0);
            let error = Error::usage(format!("this is not a package manifest: {}", fault::words(&e.to_string())));
            let error = error.at(path, line);
            // A file that ends with its line ends before any column of the next.
            if e.column() == 0 { error } else { error.hint(format!("look at column {}", e.column())) }
        })
    }

    /// The same with what pnpm makes of the runtimes that it is to download: a dependency of each of `engines.runtime`, and a development
    /// dependency of `devEngines.runtime` (`convertEnginesRuntimeToDependencies` in its `manifest-utils`). The lock has them as such.
    fn with_runtimes(mut self) -> Self {
        let fields = [(&self.engines, &mut self.dependencies), (&self.dev_engines, &mut self.dev_dependencies)];
        for (engines, dependencies) in fields {
            let wanted = engines.as_ref().and_then(|engines| engines.get("runtime"));
            let all = wanted.map_or(&[][..], |wanted| wanted.as_array().map_or(std::slice::from_ref(wanted), Vec::as_slice));
            for name in RUNTIMES {
                let runtime = all.iter().find(|runtime| runtime["name"] == name && runtime["onFail"] == "download");
                if let Some(version) = runtime.and_then(|runtime| runtime["version"].as_str())
                    && !dependencies.contains_key(name)
                {
                    dependencies.insert(name.to_owned(), format!("runtime:{version}").into());
                }
            }
        }
        self
    }

    /// The package manager that `packageManager` names, version included: `pnpm@10.34.9`.
    #[must_use]
    pub fn package_manager(&self) -> Option<&str> {
        self.package_manager.as_ref()?.as_str()
    }

    /// The pnpm that `devEngines` asks for: a version, or a range.
    #[must_use]
    pub fn development_pnpm(&self) -> Option<&str> {
        let wanted = self.dev_engines.as_ref()?.get("packageManager")?;
        let mut all = wanted.as_array().map_or(std::slice::from_ref(wanted), Vec::as_slice).iter();
        all.find(|one| one["name"] == "pnpm")?["version"].as_str()
    }

    /// Every dependency: its name, its specifier, and whether it is for development only. Peers are not among them.
    pub fn all_dependencies(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let production = [&self.dependencies, &self.optional_dependencies];
        let production = production.into_iter().flatten().map(|entry| (entry, false));
        let all = production.chain(self.dev_dependencies.iter().map(|entry| (entry, true)));
        all.map(|((name, specifier), dev)| (name.as_str(), specifier.as_str().unwrap_or_default(), dev))
    }

    /// True where whoever has the package is to have a dependency of this name.
    #[must_use]
    pub fn has_peer(&self, name: &str) -> bool {
        self.peer_dependencies.contains_key(name)
    }

    /// The reduced manifest: scripts that no install runs are left out, and with `production` those of [`PREPARE_SCRIPTS`] and the development
    /// dependencies, together with peers that only they provide (pnpm's automatic peers would look for them in the lock).
    #[must_use]
    pub fn reduced(&self, production: bool) -> Self {
        let mut reduced = self.clone();
        reduced.scripts.retain(|name, _| INSTALL_SCRIPTS.contains(&name.as_str()));
        reduced.publish_config.retain(|name, _| matches!(name.as_str(), "directory" | "linkDirectory"));
        if production {
            reduced.scripts.retain(|name, _| !PREPARE_SCRIPTS.contains(&name.as_str()));
            let dev = std::mem::take(&mut reduced.dev_dependencies);
            reduced.peer_dependencies.retain(|name, _| !dev.contains_key(name));
            without_runtime(&mut reduced.dev_engines);
            (reduced.browserslist, reduced.postcss) = (None, None);
        }
        reduced
    }

    /// The same without any dependency, for a workspace root whose own are not installed.
    #[must_use]
    pub fn without_dependencies(mut self) -> Self {
        self.dependencies.clear();
        self.dev_dependencies.clear();
        self.optional_dependencies.clear();
        self.peer_dependencies.clear();
        // Its scripts need what is no longer installed; this one runs before anything is.
        self.scripts.retain(|name, _| name == "pnpm:devPreinstall");
        without_runtime(&mut self.engines);
        without_runtime(&mut self.dev_engines);
        self
    }

    /// The same with these dependencies alone, of a workspace root whose others are not installed.
    #[must_use]
    pub fn with_only(&self, names: &SortedSet<String>) -> Self {
        let mut only = self.clone().without_dependencies();
        let kept = |all: &Map<String, Value>| -> Map<String, Value> {
            all.iter().filter(|(name, _)| names.contains(*name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        only.dependencies = kept(&self.dependencies);
        only.dev_dependencies = kept(&self.dev_dependencies);
        only.optional_dependencies = kept(&self.optional_dependencies);
        only
    }

    /// Pretty JSON with a line end, keys sorted within each field.
    #[must_use]
    pub fn emit(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is made of JSON values");
        text.push('\n');
        text
    }

    /// The files that become commands in `node_modules/.bin`, relative to the package.
    #[must_use]
    pub fn bin_files(&self) -> Vec<&str> {
        match &self.bin {
            Some(Value::String(file)) => vec![file],
            Some(Value::Object(files)) => files.values().filter_map(Value::as_str).into_vec(),
            _ => Vec::new(),
        }
    }

    /// The folder whose every file becomes a command (`directories.bin`).
    #[must_use]
    pub fn bin_folder(&self) -> Option<&str> {
        self.directories.as_ref()?.get("bin")?.as_str()
    }
}

/// The error for a file that git has left half merged, where it is one.
#[must_use]
pub fn unfinished_merge(text: &str, path: &Path) -> Option<Error> {
    let line = pnpm::lock::conflict(text)?;
    let hint = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if name.starts_with("pnpm-lock") => "finish the merge: `pnpm install` merges its lock by itself",
        _ => "finish the merge",
    };
    Some(Error::usage("merge conflict markers").at(path, Some(line)).hint(hint))
}

/// Without the runtimes of which pnpm would make dependencies again.
fn without_runtime(engines: &mut Option<Value>) {
    if let Some(Value::Object(fields)) = engines {
        fields.remove("runtime");
    }
}

/// A package of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its folder, relative to the workspace root, `/` between components; `.` for the root itself.
    pub dir: String,
    /// What an install reads of its `package.json`.
    pub manifest: Manifest,
}

impl Package {
    /// Its name, or its folder where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.manifest.name.as_deref().unwrap_or(&self.dir)
    }

    /// The path of `file` in the package, relative to the workspace root.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        // Mostly it is a plain name: this is asked for each package of each closure.
        if self.dir != "." && !file.contains('/') && !file.starts_with('.') && !file.is_empty() {
            return [&self.dir, "/", file].concat();
        }
        join(&self.dir, file).unwrap_or_else(|| file.to_owned())
    }
}

/// Finds and reads the packages that `patterns` name below `root`, the root package first, the others by folder.
/// Only folders on a pattern's way are read; `node_modules` and `bower_components` never are, links to folders are not followed.
///
/// # Errors
/// When a folder or manifest cannot be read, or a manifest is in a format that only pnpm reads (`package.yaml`, `package.json5`).
pub fn discover(root: &Path, patterns: &Patterns) -> Result<Vec<Package>> {
    let mut dirs = [String::from(".")].into_iter().into_set();
    for pattern in patterns.positive() {
        walk(root, ".", pattern, &mut dirs)?;
    }
    let dirs: Vec<String> = dirs.into_iter().filter(|dir| dir == "." || !patterns.rejects(dir)).into_vec();
    let packages = cores::try_map(&dirs, |dir| read(root, dir.clone()))?;
    Ok(packages.into_iter().flatten().into_vec())
}

fn read(root: &Path, dir: String) -> Result<Option<Package>> {
    let folder = if dir == "." { root.to_owned() } else { root.join(&dir) };
    let path = folder.join("package.json");
    if path.is_file() {
        let manifest = Manifest::parse(&read_text(&path)?, &path)?;
        return Ok(Some(Package { dir, manifest }));
    }
    for other in ["package.json5", "package.yaml"] {
        let path = folder.join(other);
        if path.is_file() {
            return Err(Error::usage(format!("manifests in {other} are not supported"))
                .at(path, None)
                .hint("write it as package.json"));
        }
    }
    Ok(None)
}

/// Collects the folders below `dir` that the remaining components of a pattern lead to.
fn walk(root: &Path, dir: &str, pattern: &[Component], found: &mut SortedSet<String>) -> Result<()> {
    let Some((first, rest)) = pattern.split_first() else {
        found.insert(dir.to_owned());
        return Ok(());
    };
    let any = first.is_any();
    if any {
        walk(root, dir, rest, found)?;
    } else if let Some(name) = first.plain() {
        let below = join(dir, name).filter(|below| root.join(below).is_dir());
        return below.map_or(Ok(()), |below| walk(root, &below, rest, found));
    }
    for name in folders(&root.join(dir))? {
        if first.matches(&name, false) {
            let below = join(dir, &name).unwrap_or(name);
            walk(root, &below, if any { pattern } else { rest }, found)?;
        }
    }
    Ok(())
}

/// The names of the folders in `path`, links and dependency folders left out.
fn folders(path: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(path).map_err(|e| Error::io("read", path, e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", path, e))?;
        let is_folder = entry.file_type().map_err(|e| Error::io("read", &entry.path(), e))?.is_dir();
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string())
            && !matches!(name.as_str(), "node_modules" | "bower_components")
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_where_the_patterns_say_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["", "apps/a", "apps/a/node_modules/x", "apps/.b", "libs/deep/c", "libs/deep/test/d", "other", "apps/none"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
            if dir != "apps/none" {
                std::fs::write(root.path().join(dir).join("package.json"), format!("{{\"name\": \"n-{dir}\"}}")).unwrap();
            }
        }
        let patterns = Patterns::new(["apps/**", "libs/**", "missing/*", "!**/test/**"]);
        let dirs: Vec<String> = discover(root.path(), &patterns).unwrap().into_iter().map(|p| p.dir).collect();
        assert_eq!(dirs, [".", "apps/a", "libs/deep/c"]);
    }

    #[test]
    fn an_empty_name_is_none() {
        let name = |text: &str| Manifest::parse(text, "package.json".as_ref()).unwrap().name;
        assert_eq!(name(r#"{"name": ""}"#), None);
        assert_eq!(name(r#"{"name": "a"}"#).as_deref(), Some("a"));
    }

    #[test]
    fn a_runtime_that_pnpm_downloads_is_a_dependency_as_in_the_lock() {
        let text = r#"{"engines": {"node": ">=22", "runtime": [{"name": "bun", "version": "1.3.0", "onFail": "download"}]},
            "devEngines": {"runtime": {"name": "node", "version": "^22.0.0", "onFail": "download"}}}"#;
        let manifest = Manifest::parse(text, Path::new("package.json")).unwrap();
        let all: Vec<_> = manifest.all_dependencies().collect();
        assert_eq!(all, [("bun", "runtime:1.3.0", false), ("node", "runtime:^22.0.0", true)]);
        let production = manifest.reduced(true);
        assert_eq!(production.all_dependencies().count(), 1, "{}", production.emit());
        assert!(!production.emit().contains("^22.0.0") && !manifest.without_dependencies().emit().contains("runtime"));
        let warned = text.replace("download", "warn");
        assert_eq!(Manifest::parse(&warned, Path::new("package.json")).unwrap().all_dependencies().count(), 0);
    }

    #[test]
    fn a_manifest_in_another_format_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        std::fs::write(root.path().join("a/package.yaml"), "name: a").unwrap();
        let error = discover(root.path(), &Patterns::new(["*"])).unwrap_err();
        assert!(error.to_string().contains("package.yaml"), "{error}");
        std::fs::write(root.path().join("a/package.json"), "{\n \"name\": 1}").unwrap();
        let error = discover(root.path(), &Patterns::new(["*"])).unwrap_err();
        assert_eq!(error.place().unwrap().1, Some(2), "{error}");
    }

    #[test]
    fn a_reduced_manifest_keeps_what_an_install_reads() {
        let text = r#"{"name": "a", "version": "1.0.0", "description": "x", "scripts": {"build": "tsc", "postinstall": "node x.js"},
            "dependencies": {"b": "1"}, "devDependencies": {"react": "1"}, "peerDependencies": {"react": "*", "b": "*"},
            "publishConfig": {"directory": "dist", "tag": "next"}, "main": "x.js", "bin": {"a": "bin/a.js"},
            "browserslist": ["node 24"]}"#;
        let manifest = Manifest::parse(text, Path::new("package.json")).unwrap();
        let full: Value = serde_json::from_str(&manifest.reduced(false).emit()).unwrap();
        assert_eq!(full["scripts"], serde_json::json!({"postinstall": "node x.js"}));
        assert_eq!(full["publishConfig"], serde_json::json!({"directory": "dist"}));
        assert!(full["devDependencies"].is_object() && full.get("main").is_none() && full.get("pnpm").is_none());
        assert_eq!(full["browserslist"], serde_json::json!(["node 24"]), "a build looks for it in all folders above");
        let production: Value = serde_json::from_str(&manifest.reduced(true).emit()).unwrap();
        assert_eq!(production["peerDependencies"], serde_json::json!({"b": "*"}));
        assert!(production.get("devDependencies").is_none() && production.get("browserslist").is_none());
    }
}
