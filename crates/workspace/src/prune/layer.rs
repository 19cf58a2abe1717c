//! The files of an install layer: manifests, settings, lock, and whatever of the repository these name.

use super::super::contents::Contents;
use super::super::git::Mode;
use super::super::graph::Closure;
use super::super::load::{PackageId, SETTINGS, Workspace};
use super::super::package::{INSTALL_SCRIPTS, Manifest, Package};
use super::super::sources::{Sources, parent};
use super::{Content, Text, settings};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;
use pnpm::join;
use pnpm::lock::Cut;

/// The files of a closure's install layer.
pub(super) fn files(workspace: &Workspace, sources: &Sources<'_>, closure: &Closure, cut: &Cut) -> SortedMap<String, Content> {
    let mut layer = Layer { workspace, sources, closure, cut, files: SortedMap::new() };
    layer.root();
    // A whole lock has every importer, and pnpm looks for each: then every manifest is kept.
    let all: Vec<PackageId> = match workspace.scanned() {
        Some(_) => closure.packages.iter().copied().into_vec(),
        None => workspace.ids().into_vec(),
    };
    for id in all.into_iter().filter(|id| *id != workspace.root_package()) {
        layer.package(id);
    }
    layer.folders();
    layer.files
}

struct Layer<'a> {
    workspace: &'a Workspace,
    sources: &'a Sources<'a>,
    closure: &'a Closure,
    cut: &'a Cut,
    files: SortedMap<String, Content>,
}

impl Layer<'_> {
    fn text(&mut self, path: impl Into<String>, text: Text) {
        self.files.insert(path.into(), Content::Text(text));
    }

    /// Takes a file of the repository as it is, unless something else is already in its place.
    fn copy(&mut self, path: &str) {
        self.files.entry(path.to_owned()).or_insert_with(|| Content::Copy(path.to_owned()));
    }

    fn copy_if_there(&mut self, path: &str) -> bool {
        let there = self.sources.tree().get(path).is_some_and(|file| file.mode != Mode::Submodule);
        if there {
            self.copy(path);
        }
        there
    }

    fn copy_all(&mut self, dir: &str) {
        let tree = self.sources.tree();
        tree.under(dir).iter().for_each(|file| self.copy(&file.path));
    }

    /// What stands at the root: manifest, settings, lock, and the files that they name.
    fn root(&mut self) {
        let id = self.workspace.root_package();
        let scanned = self.workspace.scanned();
        let strips = scanned.is_some() && !self.closure.packages.contains(&id);
        let production = scanned.is_some() && !self.closure.with_dev(id);
        let manifest = self.workspace.package(id).manifest.reduced(production);
        let mut manifest = if strips { manifest.with_only(&self.closure.tools) } else { manifest };
        settings::prune_manifest(&mut manifest, scanned, self.cut);
        let mut named = settings::patch_files(&manifest);
        self.text("package.json", Text::new(manifest.emit()));
        if let Some(tree) = self.workspace.settings() {
            let tree = settings::prune(tree, self.workspace, self.closure, self.cut);
            named.extend(settings::patch_files_of(&tree));
            self.text(SETTINGS, Text::new(tree.emit()));
        }
        let locks = self.workspace.lock_files(&self.closure.packages);
        self.files.extend(locks.into_iter().map(|path| (path, Content::Lock)));
        for path in &named {
            self.copy(path);
        }
        self.copy_if_there(".npmrc");
        for hooks in settings::hook_files(self.workspace) {
            self.script(&hooks);
        }
        let sources = self.sources;
        for path in sources.of_settings(|| settings::files_of_values(self.workspace, sources.tree())) {
            self.copy(path);
        }
        self.commands(id);
    }

    /// A script and what it names by a relative path, and so on.
    fn script(&mut self, path: &str) {
        if self.files.contains_key(path) || !self.copy_if_there(path) {
            return;
        }
        let Some(text) = self.workspace.contents().text(path) else { return };
        for named in settings::relative_literals(&text) {
            for ending in ["", ".js", ".cjs", ".mjs", ".json", "/index.js"] {
                if let Some(found) = join(parent(path), &format!("{named}{ending}")) {
                    self.script(&found);
                }
            }
        }
    }

    fn package(&mut self, id: PackageId) {
        let package = self.workspace.package(id);
        if self.closure.injected.contains(&id) {
            let sources = self.sources;
            sources.of(id).iter().for_each(|file| self.copy(&file.path));
            self.copy(&package.path("package.json"));
            return;
        }
        let production = self.workspace.scanned().is_some() && !self.closure.with_dev(id);
        self.text(package.path("package.json"), self.workspace.reduced_manifest(id, production));
        self.commands(id);
        self.install_scripts(package);
    }

    /// Stubs for the commands of a package that are there.
    fn commands(&mut self, id: PackageId) {
        let package = self.workspace.package(id);
        let mut paths: Vec<String> = package.manifest.bin_files().iter().map(|file| package.path(file)).into_vec();
        if let Some(folder) = package.manifest.bin_folder() {
            paths.extend(self.sources.tree().under(&package.path(folder)).iter().map(|file| file.path.to_string()));
        }
        for path in paths {
            if self.sources.tree().get(&path).is_some() {
                let line = first_line(self.workspace.contents(), &path);
                self.files.entry(path).or_insert_with(|| Content::Stub(line.into()));
            }
        }
    }

    /// The files of a package that its install scripts name: `node scripts/postinstall.js`.
    fn install_scripts(&mut self, package: &Package) {
        let scripts = package.manifest.scripts.iter().filter(|(name, _)| INSTALL_SCRIPTS.contains(&name.as_str()));
        let words = scripts.filter_map(|(_, script)| script.as_str()).flat_map(|script| script.split([' ', '=', '\'', '"', ';']));
        for word in words.filter(|word| word.contains(['.', '/'])) {
            self.script(&package.path(word));
        }
    }

    /// Folders and tarballs outside every package. Of a linked folder pnpm reads the manifest, for its commands.
    fn folders(&mut self) {
        let closure = self.closure;
        for dir in &closure.linked_folders {
            self.copy_if_there(&format!("{dir}/package.json"));
        }
        closure.copied_folders.iter().for_each(|dir| self.copy_all(dir));
        closure.tarballs.iter().for_each(|path| self.copy(path));
        if self.workspace.scanned().is_none() {
            self.workspace.packages().iter().for_each(|package| self.named_by(package));
        }
    }

    /// Where the lock was not understood, the manifests say which folders and tarballs an install reads, and which packages it copies.
    fn named_by(&mut self, package: &Package) {
        let sources = self.sources;
        for (name, specifier, _) in package.manifest.all_dependencies() {
            let injected = package.manifest.dependencies_meta.get(name).is_some_and(|meta| meta["injected"] == true);
            let path = specifier.strip_prefix("file:").and_then(|path| join(&package.dir, path)).filter(|path| path != ".");
            let copied = path.as_deref().and_then(|path| self.workspace.by_dir(path));
            if let Some(id) = copied.or_else(|| self.workspace.by_name(name).filter(|_| injected)) {
                sources.of(id).iter().for_each(|file| self.copy(&file.path));
            } else if let Some(path) = path {
                self.copy_if_there(&path);
                self.copy_all(&path);
            }
        }
    }
}

/// A script's `#!` line with its line end; empty where it has none.
fn first_line(contents: &Contents, path: &str) -> String {
    // The kernel reads at most 256 bytes of such a line.
    let mut line = contents.start(path, 256);
    if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
        line.truncate(end + 1);
    }
    String::from_utf8(line).ok().filter(|line| line.starts_with("#!")).unwrap_or_default()
}

impl Workspace {
    /// The reduced manifest of a package, made once.
    #[must_use]
    pub fn reduced_manifest(&self, id: PackageId, production: bool) -> Text {
        let made = || Text::new(Manifest::reduced(&self.package(id).manifest, production).emit());
        self.reduced_cell(id, production).get_or_init(made).clone()
    }
}
