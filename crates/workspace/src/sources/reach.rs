//! What lies outside a package and is its source all the same: named by its settings, by its scripts, or by a symbolic link. Few files are
//! read for it: those directly in a package's folder. What deeper ones import is looked for when they are copied (`imports`).

use std::path::Path;

use serde_json::Value;

use super::super::git::Mode;
use super::super::load::{PackageId, Workspace};
use super::super::package::INSTALL_SCRIPTS;
use super::super::tools::is_by_nx;
use super::imports::{self, is_script};
use super::{Sources, json, parent};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use pnpm::join;

/// What a package reaches outside of itself.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Files by their place in the tree (a reference would tie the type to one lifetime), and whose each is.
    pub(super) places: Vec<(usize, PackageId)>,
    /// Links that lead to what is not there, and where each leads.
    pub(super) dangling: Vec<(String, String)>,
}

/// What belongs to an install, and is in its context in a form of its own.
const INSTALLS: [&str; 5] = ["package.json", "pnpm-workspace.yaml", "pnpm-lock.yaml", ".npmrc", ".pnpmfile.cjs"];

/// How settings are called that tools look for from a package upwards.
pub(crate) const LOOKED_UP: [&str; 6] =
    ["babel.config.", ".babelrc", "postcss.config.", ".postcssrc", "tailwind.config.", ".browserslistrc"];

/// What a package reaches.
pub(super) fn reached(sources: &Sources<'_>, workspace: &Workspace, id: PackageId) -> Reached {
    let mut reach = Reach { sources, workspace, id, found: SortedSet::new(), dangling: Vec::new() };
    reach.run();
    let places = reach.found.iter().filter_map(|path| Some((sources.tree.place(path)?, workspace.owner(path))));
    Reached { places: places.into_vec(), dangling: reach.dangling }
}

struct Reach<'a, 't> {
    sources: &'a Sources<'t>,
    workspace: &'a Workspace,
    id: PackageId,
    found: SortedSet<String>,
    dangling: Vec<(String, String)>,
}

impl Reach<'_, '_> {
    fn run(&mut self) {
        let (sources, package) = (self.sources, self.workspace.package(self.id));
        let is_root = self.id == sources.root_package;
        for file in sources.of(self.id) {
            if file.mode == Mode::Symlink {
                self.link(&file.path);
                continue;
            }
            let name = file.path.rsplit('/').next().unwrap_or(&file.path);
            let settings = name.starts_with("tsconfig") || name == "jsconfig.json";
            let here = parent(&file.path) == package.dir;
            if settings && (here || !is_root) && Path::new(name).extension().is_some_and(|ext| ext == "json") {
                if is_root {
                    self.found.insert(file.path.to_string());
                }
                self.settings(&file.path, !is_root);
            } else if here && !is_root && name != "package.json" && (is_script(name) || is_settings(name)) {
                self.literals(&file.path);
            } else if here && !is_root && is_generators(name) {
                let text = self.workspace.contents().text(&file.path).unwrap_or_default();
                text.split([' ', '\n', '\r', '\'', '"', '[', ']', ',']).for_each(|word| self.named_file(&package.dir, word));
            }
        }
        if !is_root {
            self.scripts();
            self.looked_up();
        }
    }

    /// Adds the root's settings of tools that look for them from a package upwards, where the package has none of its own.
    fn looked_up(&mut self) {
        let (tree, package) = (self.sources.tree, self.workspace.package(self.id));
        for kind in LOOKED_UP {
            let of_kind = |dir: &str| {
                let kind = if dir == "." { kind.to_owned() } else { format!("{dir}/{kind}") };
                let from = tree.files().partition_point(|file| *file.path < *kind);
                tree.files()
                    .get(from)
                    .map(|file| &*file.path)
                    .filter(|path| path.starts_with(&kind) && !path[kind.len()..].contains('/'))
            };
            if let Some(found) = of_kind(".").filter(|_| of_kind(&package.dir).is_none())
                && self.found.insert(found.to_owned())
            {
                self.literals(found);
            }
        }
    }

    /// Adds what the settings file `path` extends, and what that extends.
    fn settings(&mut self, path: &str, named: bool) {
        let Some(settings) = self.workspace.contents().text(path).and_then(|text| json::with_comments(&text)) else {
            // Whoever compiles with it will say what is wrong with it.
            return;
        };
        let dir = parent(path);
        if named {
            self.named(&settings, dir);
        } else {
            self.projects(&settings, dir);
        }
        let extends = &settings["extends"];
        let extends = extends.as_array().map_or(std::slice::from_ref(extends), Vec::as_slice);
        for target in extends.iter().filter_map(Value::as_str).filter(|target| target.starts_with('.')) {
            let candidates = [target.to_owned(), format!("{target}.json"), format!("{target}/tsconfig.json")];
            let tree = self.sources.tree;
            let found = candidates.iter().filter_map(|target| join(dir, target)).find(|path| tree.get(path).is_some());
            if let Some(found) = found
                && self.found.insert(found.clone())
            {
                self.settings(&found, named);
            }
        }
    }

    /// Adds the settings of the projects that the root's refer to, and of those that these do: a bundler which takes the root's for a package
    /// reads them all, and fails where one is missing.
    fn projects(&mut self, settings: &Value, dir: &str) {
        let tree = self.sources.tree;
        for project in settings["references"].as_array().into_iter().flatten().filter_map(|project| project["path"].as_str()) {
            let candidates = [project.to_owned(), format!("{project}/tsconfig.json")];
            let found = candidates.iter().filter_map(|project| join(dir, project)).find(|path| tree.get(path).is_some());
            if let Some(found) = found
                && self.found.insert(found.clone())
            {
                self.settings(&found, false);
            }
        }
    }

    /// Adds the files at, or below, the paths that settings name outside their own folder. `paths` mostly lead to packages, each of which
    /// a closure has, or has not, for its own reasons: of these only what is no package's.
    fn named(&mut self, settings: &Value, dir: &str) {
        let options = &settings["compilerOptions"];
        let lists = [&settings["files"], &settings["include"], &options["typeRoots"]].into_iter().filter_map(Value::as_array);
        for name in lists.flatten().filter_map(Value::as_str) {
            self.at_or_below(name, dir, |_| true);
        }
        // Projects that `tsc --build` makes first; most are packages.
        let (workspace, root) = (self.workspace, self.sources.root_package);
        for project in settings["references"].as_array().into_iter().flatten().filter_map(|project| project["path"].as_str()) {
            let folder = project.rfind('/').filter(|_| is_settings(project)).map_or(project, |at| &project[..at]);
            self.at_or_below(folder, dir, |path| workspace.owner(path) == root);
        }
        let base = options["baseUrl"].as_str().and_then(|base| join(dir, base)).unwrap_or_else(|| dir.to_owned());
        for name in
            options["paths"].as_object().into_iter().flat_map(|paths| paths.values()).filter_map(Value::as_array).flatten()
        {
            let Some(name) = name.as_str() else { continue };
            self.at_or_below(name, &base, |path| workspace.owner(path) == root);
        }
    }

    fn at_or_below(&mut self, name: &str, dir: &str, counts: impl Fn(&str) -> bool) {
        if !name.starts_with("..") || name.contains("node_modules") {
            return;
        }
        let plain: Vec<&str> = name.split('/').take_while(|part| !part.contains(['*', '?', '{', '[', '('])).into_vec();
        let Some(path) = join(dir, &plain.join("/")).filter(|path| path != ".") else { return };
        let tree = self.sources.tree;
        let found = tree.get(&path).into_iter().chain(tree.under(&path)).filter(|file| counts(&file.path));
        self.found.extend(found.map(|file| file.path.to_string()));
    }

    /// Adds what a file names by a relative path outside of its package, and what that names.
    fn literals(&mut self, path: &str) {
        let Some(text) = self.workspace.contents().text(path) else { return };
        for named in imports::literals(&text) {
            self.named_by(path, parent(path), &named);
            // Or from a folder of the package, as a framework's settings have it: Nitro's `serverAssets` from `server`.
            if named.starts_with("../../") && !self.leads(parent(path), &named) {
                self.named_by(path, parent(path), &named[3..]);
            }
        }
        self.environment(&text);
        // What lies beside a file of the package is the package's.
        if self.workspace.owner(path) != self.id {
            imports::beside(&text).for_each(|named| self.named_by(path, parent(path), named));
        }
    }

    /// True where something lies at a path, or where its pattern begins.
    fn leads(&self, dir: &str, named: &str) -> bool {
        let tree = self.sources.tree;
        let plain = named.split('/').take_while(|part| !part.contains('*')).into_vec().join("/");
        imports::resolve(tree, dir, named).is_some() || join(dir, &plain).is_some_and(|path| !tree.under(&path).is_empty())
    }

    /// Adds a file, or what no package has of a folder or a pattern: `cp -r ../../templates dist`, `schema: '../../schema/*.graphql'`.
    fn named_file(&mut self, dir: &str, named: &str) {
        self.named_by("", dir, named);
    }

    /// The same of what a file names. Folders that a linter's or a test's settings name are for these.
    fn named_by(&mut self, path: &str, dir: &str, named: &str) {
        const CHECKS: [&str; 6] = ["cypress", "eslint", "jest", "playwright", "stylelint", "vitest"];
        let Some(found) = imports::resolve(self.sources.tree, dir, named) else {
            if CHECKS.iter().any(|check| path.rsplit('/').next().is_some_and(|name| name.contains(check))) {
                return;
            }
            let (workspace, root) = (self.workspace, self.sources.root_package);
            let outside = named.strip_prefix("./").unwrap_or(named);
            return self.at_or_below(outside, dir, |path| workspace.owner(path) == root && !INSTALLS.contains(&path));
        };
        let is_own = self.workspace.owner(&found) == self.id;
        if is_own || INSTALLS.contains(&found.as_str()) || !self.found.insert(found.clone()) {
            return;
        }
        if is_script(&found) {
            self.literals(&found);
        } else if is_settings(found.rsplit('/').next().unwrap_or(&found)) {
            self.literals(&found);
            self.settings(&found, true);
        }
    }

    /// Adds what a package's scripts run outside of it: `node ../../scripts/build.mjs`. Those that no image is made by (a linter's, a test's)
    /// do not count.
    fn scripts(&mut self) {
        let (package, workspace) = (self.workspace.package(self.id), self.workspace);
        let makes = |name: &str| {
            let stage = name.split(':').next().unwrap_or(name);
            let stage = stage.strip_prefix("pre").or_else(|| stage.strip_prefix("post")).unwrap_or(stage);
            INSTALL_SCRIPTS.contains(&name)
                || ["build", "bundle", "codegen", "compile", "gen", "generate", "start"].contains(&stage)
        };
        // And what these call: `pnpm run types && vite build`.
        let all = &package.manifest.scripts;
        let mut names: Vec<&str> = all.keys().map(String::as_str).filter(|name| makes(name)).into_vec();
        let mut scripts: Vec<&str> = Vec::new();
        for at in 0.. {
            let Some(script) = names.get(at).map(|name| all[*name].as_str().unwrap_or_default()) else { break };
            let called = script.split_whitespace().filter_map(|word| all.get_key_value(word)).map(|(name, _)| name.as_str());
            called.for_each(|name| {
                if !names.contains(&name) {
                    names.push(name);
                }
            });
            scripts.push(script);
        }
        for script in &scripts {
            // `cd ../.. && node scripts/build.mjs`
            let mut dir = package.dir.clone();
            for step in script.split(['&', ';']) {
                let mut words = step.split([' ', '=', '\'', '"', '(', ')']).filter(|word| !word.is_empty());
                if words.clone().next() == Some("cd") {
                    dir = words.nth(1).and_then(|to| join(&dir, to)).unwrap_or(dir);
                    continue;
                }
                let is_away = dir != package.dir;
                for word in words {
                    if word.starts_with("../") || is_away && word.contains('.') {
                        self.named_file(&dir, word);
                    } else if is_script(word) {
                        self.script(&dir, word);
                    }
                }
            }
        }
        // Tools that run other packages' tasks by settings at the root. Nx builds packages that have no script, too.
        let calls = |tool: &str| scripts.iter().any(|script| script.split_whitespace().any(|word| word == tool));
        let turbo = calls("turbo").then_some(["turbo.json", "turbo.jsonc"].as_slice());
        let nx = (calls("nx") || is_by_nx(workspace, self.id)).then_some(["nx.json"].as_slice());
        let there = turbo.into_iter().chain(nx).flatten().filter(|file| self.sources.tree.get(file).is_some());
        self.found.extend(there.map(|file| (*file).to_owned()));
    }

    /// Adds what one of the package's own scripts names outside of it, from where it lies or from where it is run.
    fn script(&mut self, dir: &str, word: &str) {
        let Some(path) = join(dir, word).filter(|path| self.workspace.owner(path) == self.id && parent(path) != dir) else {
            return;
        };
        let text = self.sources.tree.get(&path).and_then(|_| self.workspace.contents().text(&path)).unwrap_or_default();
        for named in imports::literals(&text) {
            self.named_by(&path, parent(&path), &named);
            self.named_by(&path, dir, &named);
        }
    }

    /// Adds the files of the environment in the folder that a bundler's settings name for them (Vite's `envDir: '../..'`), as far as the
    /// ignore file leaves them.
    fn environment(&mut self, text: &str) {
        for (at, key) in text.match_indices("envDir") {
            let line = text[at + key.len()..].split('\n').next().unwrap_or_default();
            let parts = line.split(['\'', '"']).skip(1).step_by(2).take_while(|part| part.starts_with(".."));
            let folder = parts.into_vec().join("/");
            for file in [".env", ".env.production"] {
                let Some(path) = join(&self.workspace.package(self.id).dir, &format!("{folder}/{file}")) else { continue };
                let owner = self.workspace.owner(&path);
                if owner != self.id && self.sources.holds(owner, &path) {
                    self.found.insert(path);
                }
            }
        }
    }

    /// Adds what a symbolic link leads to outside of the package: a file, or all below a folder. One within the package may lead to what its
    /// build makes; one that leads out of the repository is refused when it is copied; one to a folder that holds the package takes nothing along.
    fn link(&mut self, path: &str) {
        let (tree, own) = (self.sources.tree, &self.workspace.package(self.id).dir);
        let Some(target) = self.workspace.contents().link(path) else { return };
        let Some(to) = join(parent(path), &target).filter(|to| self.workspace.owner(to) != self.id) else { return };
        let holds_package = to == "." || Path::new(own).starts_with(&to);
        let below = tree.get(&to).into_iter().chain(if holds_package { &[] } else { tree.under(&to) });
        let below: Vec<_> = below.into_vec();
        if below.is_empty() && !holds_package {
            self.dangling.push((path.to_owned(), target));
        }
        for file in below {
            let is_new = self.found.insert(file.path.to_string());
            if is_new && file.mode == Mode::Symlink {
                self.link(&file.path);
            }
        }
    }
}

/// A tool's settings that can name files: `.babelrc`, `.swcrc`, `nest-cli.json`.
fn is_settings(name: &str) -> bool {
    let ends = |ending: &str| name.len() > ending.len() && name.ends_with(ending);
    ends(".json") || ends(".json5") || ends(".jsonc") || (name.starts_with('.') && ends("rc"))
}

/// A generator's settings that are YAML, where paths need no quotes.
fn is_generators(name: &str) -> bool {
    let (stem, ending) = name.rsplit_once('.').unwrap_or_default();
    ["yml", "yaml"].contains(&ending) && ["codegen", "graphql.config", ".graphqlrc"].contains(&stem)
}
