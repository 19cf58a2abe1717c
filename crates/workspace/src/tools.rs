//! What a package uses of the root package's dependencies without having it itself: `tsc` in a script, a preset in a settings file,
//! `@types/*` in a compile, an undeclared import. pnpm installs the root's dependencies with every filtered install, and puts its commands on
//! the path; a closure takes what is used, so that another tool's update rebuilds nothing. Texts are searched, not parsed: what is taken too
//! many costs an install a moment.

use serde_json::Value;

use super::contents::Contents;
use super::hoisting;
use super::load::{PackageId, Workspace};
use super::package::{INSTALL_SCRIPTS, Manifest};
use super::sources::{LOOKED_UP, imports, with_comments};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use pnpm::join;

/// The root's dependencies that a package uses, by the name they are imported by.
#[derive(Debug, Default, Clone)]
pub(super) struct Tools {
    /// To be built.
    pub(super) build: SortedSet<String>,
    /// To run: these are no development dependencies.
    pub(super) run: SortedSet<String>,
}

/// Commands that are not called like their package: `tsc` of `typescript`. Others are found by `<command>`, `<command>-cli`,
/// `@scope/<command>`, `@<command>/cli`, `@<scope>/cli` for `<scope>-cli`.
const COMMANDS: [(&str, &[&str]); 23] = [
    ("typescript", &["tsc"]),
    ("@typescript/native-preview", &["tsgo"]),
    ("@nestjs/cli", &["nest"]),
    ("npm-run-all", &["run-s", "run-p"]),
    ("npm-run-all2", &["run-s", "run-p", "npm-run-all"]),
    ("@angular/cli", &["ng"]),
    ("@sveltejs/kit", &["svelte-kit"]),
    ("@react-router/dev", &["react-router"]),
    ("@remix-run/dev", &["remix"]),
    ("@graphql-codegen/cli", &["graphql-codegen", "gql-gen"]),
    ("@rsbuild/core", &["rsbuild"]),
    ("@rslib/core", &["rslib"]),
    ("@builder.io/qwik", &["qwik"]),
    ("copyfiles", &["copyup"]),
    ("cross-env", &["cross-env-shell"]),
    ("@vercel/ncc", &["ncc"]),
    ("@tanstack/router-cli", &["tsr"]),
    ("@bufbuild/protoc-gen-es", &["protoc-gen-es"]),
    ("@medusajs/cli", &["medusa"]),
    ("moleculer", &["moleculer-runner"]),
    ("nx", &["nx"]),
    ("pm2", &["pm2-runtime"]),
    ("turbo", &["turbo"]),
];

/// Tools that a package's other dependency calls by itself.
const FAMILIES: [(&str, &str); 3] = [("@prisma/client", "prisma"), ("drizzle-orm", "drizzle-kit"), ("next", "typescript")];

/// What no image is made with, however it is named in a settings file.
const NEVER: [&str; 20] = [
    "eslint",
    "@eslint",
    "typescript-eslint",
    "@typescript-eslint",
    "oxlint",
    "stylelint",
    "prettier",
    "@biomejs",
    "husky",
    "lefthook",
    "lint-staged",
    "commitlint",
    "@commitlint",
    "commitizen",
    "@changesets",
    "semantic-release",
    "@semantic-release",
    "release-it",
    "knip",
    "syncpack",
];

/// The same, but that a compiler which reads tests asks for it.
const FOR_TESTS: [&str; 5] = ["vitest", "@vitest", "jest", "ts-jest", "@playwright"];

/// What the package `id` uses of the root's dependencies.
pub(super) fn of(workspace: &Workspace, id: PackageId) -> Tools {
    let root = &workspace.package(workspace.root_package()).manifest;
    let package = workspace.package(id);
    let own: SortedSet<&str> = package.manifest.all_dependencies().map(|(name, ..)| name).into_set();
    let is_candidate = |name: &str| !own.contains(name) && workspace.by_name(name) != Some(id);
    let candidates: Vec<(&str, bool)> =
        root.all_dependencies().filter(|(name, ..)| is_candidate(name)).map(|(name, _, dev)| (name, dev)).into_vec();
    let mut tools = Tools::default();
    if id == workspace.root_package() {
        return tools;
    }
    // Nx reads all plugins that its settings name, whatever it builds; what those take is in no settings, and they look at what lies at the root.
    if is_by_nx(workspace, id) {
        tools.build = root.all_dependencies().map(|(name, ..)| name.to_owned()).into_set();
    }
    if candidates.is_empty() {
        return tools;
    }
    let names = Folder::of(workspace.contents(), &package.dir);
    let mut look = Look { workspace, candidates: &candidates, texts: SortedSet::new(), found: SortedSet::new() };
    let words = script_words(&package.manifest);
    look.commands(words.iter().map(String::as_str));
    for name in names.settings() {
        look.settings(&package.path(name));
    }
    // `node ../../scripts/build.mjs`, or `cd ../.. && node scripts/build.mjs`.
    let folders: &[&str] = if words.contains("cd") { &[&package.dir, "."] } else { &[&package.dir] };
    let named = folders.iter().flat_map(|dir| words.iter().filter_map(|word| join(dir, word)));
    for path in named.filter(|path| imports::is_script(path)).into_vec() {
        if look.is_the_roots(&path) {
            look.settings(&path);
        }
    }
    look.looked_up(&names, |reader| own.contains(reader) || words.contains(reader));
    let is_typescript = names.0.iter().any(|name| name.starts_with("tsconfig"))
        || ["typescript", "tsx", "ts-node", "tsup"].iter().any(|name| own.contains(name) || look.found.contains(*name));
    for (name, _) in &candidates {
        let of_family = FAMILIES.iter().any(|(user, tool)| tool == name && own.contains(user));
        let compiles = is_typescript && (name.starts_with("@types/") || ["typescript", "tslib"].contains(name));
        if of_family || compiles {
            look.found.insert((*name).to_owned());
        }
    }
    let is_of = |name: &str, all: &[&str]| {
        all.iter().any(|one| name == *one || name.starts_with(&format!("{one}-")) || name.starts_with(&format!("{one}/")))
    };
    let never = |name: &str| is_of(name, &NEVER) || is_of(name, &FOR_TESTS);
    look.found.retain(|name| !never(name));
    // A linter may bring what a build uses.
    let used = |names: &SortedSet<&str>| {
        let mut used = SortedSet::new();
        scripts(workspace, &package.dir, &mut |text| {
            used.extend(imports::named(text).filter(|name| names.contains(name)).map(str::to_owned));
            used.len() < names.len()
        });
        let of_family = |name: &str| FAMILIES.iter().any(|(user, tool)| *tool == name && own.contains(user));
        let is_used = |name: &&&str| of_family(name) || (is_typescript && **name == "typescript") || words.contains(**name);
        used.extend(names.iter().filter(is_used).map(|name| (*name).to_owned()));
        used
    };
    look.found.extend(hoisting::of(workspace, id, &candidates, used));
    let open: Vec<&str> =
        candidates.iter().map(|(name, _)| *name).filter(|name| !never(name) && may_be_imported(name)).into_vec();
    let in_use = imported(workspace, &package.dir, &open, &|path| !is_test(path));
    let for_running = |name: &&(&str, bool)| !name.1 && in_use.contains(name.0);
    tools.run = candidates.iter().filter(for_running).map(|(name, _)| (*name).to_owned()).into_set();
    tools.build.extend(look.found);
    tools.build.extend(in_use);
    if ["tsc", "tsgo", "vue-tsc"].iter().any(|compiler| words.contains(*compiler)) {
        let is_open = |name: &&str| !tools.build.contains(*name) && !is_of(name, &NEVER) && may_be_imported(name);
        let open: Vec<&str> = candidates.iter().map(|(name, _)| *name).filter(is_open).into_vec();
        let settings = names.0.iter().filter(|name| name.starts_with("tsconfig"));
        let settings = settings.filter_map(|name| with_comments(&workspace.contents().text(&package.path(name))?));
        let below = tests_read(&settings.into_vec());
        let is_compiled = |path: &str| is_test(path) && below.iter().any(|start| path.starts_with(start));
        let tested = if below.is_empty() { SortedSet::new() } else { imported(workspace, &package.dir, &open, &is_compiled) };
        tools.build.extend(tested);
    }
    tools
}

/// With what the paths of those tests start, below a package's folder, that a compiler with one of these settings reads.
fn tests_read(settings: &[Value]) -> Vec<String> {
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).into_vec();
    let leaves_tests_out = |one: &Value| texts(&one["exclude"]).iter().any(|text| text.contains("test") || text.contains("spec"));
    let start = |pattern: &String| pattern.trim_start_matches("./").split('*').next().unwrap_or_default().to_owned();
    if settings.iter().any(leaves_tests_out) {
        return Vec::new();
    }
    let included = |one: &Value| match one["include"].is_array() {
        true => texts(&one["include"]).iter().map(start).into_vec(),
        // Settings that only lead to others, or name each file, read none.
        false if one["files"].is_null() => vec![String::new()],
        false => Vec::new(),
    };
    settings.iter().flat_map(included).into_vec()
}

/// True of a package that Nx may build by targets: it has no script for that, but targets, or Nx has plugins that infer some.
pub(super) fn is_by_nx(workspace: &Workspace, id: PackageId) -> bool {
    let root = &workspace.package(workspace.root_package()).manifest;
    let package = workspace.package(id);
    let text = |file: &str| workspace.contents().text(file);
    let has_targets = |file: &&str| text(&package.path(file)).is_some_and(|text| text.contains("\"targets\""));
    let infers = |settings: &str| settings.contains("\"plugins\"");
    !package.manifest.scripts.contains_key("build")
        && root.all_dependencies().any(|(name, ..)| name == "nx")
        && text("nx.json").is_some_and(|settings| infers(&settings) || ["package.json", "project.json"].iter().any(has_targets))
}

/// True where sources may import a package: no compiler's declarations, no command-line tool.
fn may_be_imported(name: &str) -> bool {
    let tools =
        ["typescript", "turbo", "nx", "rimraf", "concurrently", "npm-run-all", "cross-env", "lerna", "nodemon", "tsx", "ts-node"];
    !name.starts_with("@types/") && !name.ends_with("-cli") && !name.ends_with("/cli") && !tools.contains(&name)
}

struct Look<'a> {
    workspace: &'a Workspace,
    candidates: &'a [(&'a str, bool)],
    /// The settings files that were read.
    texts: SortedSet<String>,
    found: SortedSet<String>,
}

impl Look<'_> {
    fn commands<'w>(&mut self, words: impl Iterator<Item = &'w str>) {
        for word in words {
            let provides = |name: &str| is_command_of(word, name) || is_within(word, name);
            self.found.extend(self.candidates.iter().filter(|(name, _)| provides(name)).map(|(name, _)| (*name).to_owned()));
        }
    }

    /// Adds what a settings file names, and what the root's settings that it names do.
    fn settings(&mut self, path: &str) {
        if !self.texts.insert(path.to_owned()) {
            return;
        }
        let Some(text) = self.workspace.contents().text(path) else { return };
        let dir = super::sources::parent(path);
        for literal in literals(&text) {
            let named = self.candidates.iter().filter(|(name, _)| is_within(literal, name));
            self.found.extend(named.map(|(name, _)| (*name).to_owned()));
            if literal.starts_with("../") || (literal.starts_with("./") && self.is_the_roots(path)) {
                for ending in ["", ".json", ".js", ".cjs", ".mjs", ".ts"] {
                    let shared = join(dir, &format!("{literal}{ending}")).filter(|path| self.is_the_roots(path));
                    shared.into_iter().for_each(|path| self.settings(&path));
                }
            }
        }
    }

    /// Adds what the root's settings name that a bundler of the package looks for, where the package has none of its own.
    fn looked_up(&mut self, names: &Folder, uses: impl Fn(&str) -> bool) {
        const READERS: [&str; 14] = [
            "@angular/cli",
            "@babel/cli",
            "@babel/core",
            "@rsbuild/core",
            "@rspack/core",
            "@sveltejs/kit",
            "astro",
            "next",
            "nuxt",
            "parcel",
            "postcss",
            "react-scripts",
            "vite",
            "webpack",
        ];
        if !READERS.into_iter().any(uses) {
            return;
        }
        let of_root = Folder::of(self.workspace.contents(), ".");
        for kind in LOOKED_UP.iter().filter(|kind| !names.0.iter().any(|name| name.starts_with(**kind))) {
            of_root.0.iter().filter(|name| name.starts_with(kind)).for_each(|name| self.settings(name));
        }
    }

    fn is_the_roots(&self, path: &str) -> bool {
        self.workspace.owner(path) == self.workspace.root_package() && path.contains('.')
    }
}

/// True where a package's command is this word, as far as its name tells.
#[must_use]
pub fn is_command_of(word: &str, package: &str) -> bool {
    let (scope, last) = match package.strip_prefix('@').and_then(|scoped| scoped.split_once('/')) {
        Some((scope, last)) => (Some(scope), last),
        None => (None, package),
    };
    let of_scope = scope.is_some_and(|scope| last == "cli" && (word == scope || word.strip_suffix("-cli") == Some(scope)));
    // `@react-router/serve`: react-router-serve; `@remix-run/serve`: remix-serve.
    let before = word.strip_suffix(last).and_then(|before| before.strip_suffix('-'));
    let joined =
        before.is_some_and(|before| scope.is_some_and(|scope| scope == before || scope.strip_suffix("-run") == Some(before)));
    let known = COMMANDS.iter().any(|(name, commands)| *name == package && commands.contains(&word));
    word == last || last.strip_suffix("-cli") == Some(word) || of_scope || joined || known
}

/// True where a text is a package's name or leads into it: `@tsconfig/node22/tsconfig.json`.
fn is_within(text: &str, package: &str) -> bool {
    text.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The words of the scripts that make or start a package, and of those that these call.
fn script_words(manifest: &Manifest) -> SortedSet<String> {
    let makes = |name: &str| {
        let stage = name.split([':', '-']).next().unwrap_or(name);
        let stage = stage.strip_prefix("pre").or_else(|| stage.strip_prefix("post")).unwrap_or(stage);
        INSTALL_SCRIPTS.contains(&name)
            || ["build", "bundle", "codegen", "compile", "db", "generate", "gen", "prisma", "start", "clean"].contains(&stage)
    };
    let mut open: Vec<&str> = manifest.scripts.keys().map(String::as_str).filter(|name| makes(name)).into_vec();
    let (mut read, mut words) = (SortedSet::new(), SortedSet::new());
    while let Some(name) = open.pop() {
        let Some(script) = manifest.scripts.get(name).and_then(|script| script.as_str()) else { continue };
        if !read.insert(name) {
            continue;
        }
        for word in script.split(|c: char| c.is_whitespace() || "\"'`=;()&|,".contains(c)).filter(|word| !word.is_empty()) {
            words.insert(word.to_owned());
            open.extend(manifest.scripts.get_key_value(word).map(|(name, _)| name.as_str()));
        }
    }
    words
}

/// The texts between quotes of one line each.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split(['\'', '"', '`']))
        .filter(|literal| !literal.is_empty() && !literal.contains(char::is_whitespace))
}

/// The names of the files directly in a package's folder.
struct Folder(Vec<String>);

impl Folder {
    fn of(contents: &Contents, dir: &str) -> Self {
        Self(match contents {
            Contents::Disk(root) => {
                let entries = std::fs::read_dir(root.join(dir)).into_iter().flatten().flatten();
                entries.filter_map(|entry| entry.file_name().into_string().ok()).into_vec()
            }
            Contents::Commit(commit) => {
                let below = commit.tree().under(dir).iter().filter_map(|file| file.path.strip_prefix(dir)?.strip_prefix('/'));
                below.filter(|name| !name.contains('/')).map(str::to_owned).into_vec()
            }
        })
    }

    /// Those that settle how a package is built.
    fn settings(&self) -> impl Iterator<Item = &str> {
        let is_settings = |name: &&str| {
            let hidden = name.starts_with('.') && (name.ends_with("rc") || name.contains("rc."));
            let named = name.starts_with("tsconfig") || name.contains(".config.") || name.contains(".config-");
            let others =
                ["jsconfig.json", "nest-cli.json", "angular.json", "project.json", "codegen.ts", "codegen.yml", "gulpfile.js"];
            let lints = ["eslint", "prettier", "vitest", "jest", "playwright", "cypress", "lint-staged", "commitlint"];
            (hidden || named || others.contains(name)) && !lints.iter().any(|lint| name.contains(lint))
        };
        self.0.iter().map(String::as_str).filter(is_settings)
    }
}

/// Which of these packages the scripts and styles below a folder import, as far as they are wanted.
fn imported(workspace: &Workspace, dir: &str, names: &[&str], wanted: &dyn Fn(&str) -> bool) -> SortedSet<String> {
    let mut found = SortedSet::new();
    if names.is_empty() {
        return found;
    }
    files(workspace, dir, &|path| imports::may_import(path) && wanted(path), &mut |_, text| {
        let is_named = |name: &&&str| !found.contains(**name) && imports_package(text, name);
        let new: Vec<String> = names.iter().filter(is_named).map(|name| (*name).to_owned()).into_vec();
        found.extend(new);
        found.len() < names.len()
    });
    found
}

/// Reads the scripts below a folder that are no tests, as long as somebody wants more.
pub fn scripts(workspace: &Workspace, dir: &str, look: &mut dyn FnMut(&str) -> bool) {
    read(workspace, dir, &|path| !is_test(path), look);
}

/// True of a test among a package's files, by its path below the package's folder.
#[must_use]
pub fn is_test(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| ["test", "tests", "e2e", "__tests__"].contains(&folder))
        || name.contains(".test.")
        || name.contains(".spec.")
}

/// Reads those scripts below a folder whose paths there are wanted.
fn read(workspace: &Workspace, dir: &str, wanted: &dyn Fn(&str) -> bool, look: &mut dyn FnMut(&str) -> bool) {
    files(workspace, dir, &|path| imports::is_script(path) && wanted(path), &mut |_, text| look(text));
}

/// Reads those files below a folder whose paths there are wanted, as long as `look` wants more; it gets path and text. What is made or
/// installed is none of them, and what other packages' folders hold is theirs.
pub fn files(workspace: &Workspace, dir: &str, wanted: &dyn Fn(&str) -> bool, look: &mut dyn FnMut(&str, &str) -> bool) {
    let is_made =
        |folder: &str| folder.starts_with('.') || ["node_modules", "dist", "build", "out", "coverage"].contains(&folder);
    let mut wants_more = true;
    let mut look = |below: &str, path: &str| {
        if let Some(text) = Some(path).filter(|_| wants_more).and_then(|path| workspace.contents().text(path)) {
            wants_more = look(below, &text);
        }
    };
    match workspace.contents() {
        Contents::Commit(commit) => {
            let own = workspace.owner(dir);
            let below = |path: &str| {
                if dir == "." { Some(path.to_owned()) } else { Some(path.strip_prefix(dir)?.strip_prefix('/')?.to_owned()) }
            };
            for file in commit.tree().under(dir) {
                let below = below(&file.path).filter(|path| {
                    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
                    wanted(path) && !folders.split('/').any(is_made)
                });
                if let Some(below) = below.filter(|_| workspace.owner(&file.path) == own) {
                    look(&below, &file.path);
                }
            }
        }
        Contents::Disk(root) => {
            let mut open = vec![String::new()];
            while let Some(folder) = open.pop() {
                for entry in std::fs::read_dir(root.join(dir).join(&folder)).into_iter().flatten().flatten() {
                    let Ok(name) = entry.file_name().into_string() else { continue };
                    let (below, path) = (format!("{folder}{name}"), format!("{dir}/{folder}{name}"));
                    match entry.file_type() {
                        Ok(kind) if kind.is_dir() => {
                            let below = format!("{below}/");
                            if !is_made(&name) && workspace.by_dir(&path).is_none() {
                                open.push(below);
                            }
                        }
                        Ok(kind) if kind.is_file() && wanted(&below) => look(&below, &path),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Which of these packages the scripts below a folder import for more than their types.
#[must_use]
pub fn imported_values(workspace: &Workspace, dir: &str, names: &[&str]) -> SortedSet<String> {
    let mut found = SortedSet::new();
    scripts(workspace, dir, &mut |text| {
        let is_type = |line: &str| ["import type", "export type"].iter().any(|word| line.trim_start().starts_with(word));
        let values: String = text.lines().filter(|line| !is_type(line)).flat_map(|line| [line, "\n"]).collect();
        found.extend(names.iter().filter(|name| imports_package(&values, name)).map(|name| (*name).to_owned()));
        found.len() < names.len()
    });
    found
}

/// True where a script below a folder imports a package of this name.
pub(super) fn imports(workspace: &Workspace, dir: &str, name: &str) -> bool {
    !imported(workspace, dir, &[name], &|path| !is_test(path)).is_empty()
}

/// True where a text imports a package: its name stands in quotes behind `from`, `import` or `require(`.
fn imports_package(text: &str, name: &str) -> bool {
    memchr::memmem::find_iter(text.as_bytes(), name).any(|at| {
        let Some(quote) = text[..at].chars().next_back().filter(|c| matches!(c, '\'' | '"')) else { return false };
        let ends = text[at + name.len()..].starts_with([quote, '/']);
        ends && imports::is_import(&text[..at - 1])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_its_packages_whatever_that_is_called() {
        for (word, package) in [
            ("tsc", "typescript"),
            ("rimraf", "rimraf"),
            ("nest", "@nestjs/cli"),
            ("babel", "@babel/cli"),
            ("sentry-cli", "@sentry/cli"),
            ("webpack", "webpack-cli"),
            ("run-s", "npm-run-all"),
            ("svelte-kit", "@sveltejs/kit"),
        ] {
            assert!(is_command_of(word, package), "{word} {package}");
        }
        assert!(!is_command_of("cli", "@sentry/kit") && !is_command_of("ts", "typescript"));
        assert!(is_within("@tsconfig/node22/tsconfig.json", "@tsconfig/node22") && !is_within("viteo", "vite"));
    }

    #[test]
    fn words_are_those_of_scripts_that_make_it_and_of_what_they_call() {
        let text = r#"{"scripts": {"build": "pnpm run clean && cross-env A=1 tsc -p .", "clean": "rimraf dist", "lint": "eslint .",
            "start": "node -r tsconfig-paths/register dist/main.js"}}"#;
        let words = script_words(&Manifest::parse(text, "package.json".as_ref()).unwrap());
        for word in ["rimraf", "cross-env", "tsc", "tsconfig-paths/register"] {
            assert!(words.contains(word), "{word}");
        }
        assert!(!words.contains("eslint"));
    }

    #[test]
    fn an_import_is_one_where_a_word_of_it_stands_before() {
        assert!(imports_package("import z from 'zod'", "zod") && imports_package("require(\"zod/v4\")", "zod"));
        assert!(!imports_package("const a = 'zod'", "zod") && !imports_package("import z from 'zod-form'", "zod"));
    }
}
