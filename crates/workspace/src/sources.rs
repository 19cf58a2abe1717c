//! Whose file is whose: the files of each package, and the shared ones at the root that packages' TypeScript settings reach. The
//! files come from git's view of the tree, less what the ignore file excludes; nothing else is looked at.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use super::git::{File, Mode, Tree};
use super::graph::Closure;
use super::load::{PackageId, Workspace};
use pnpm::join;

/// The files of a workspace by package.
pub struct Sources<'t> {
    tree: &'t Tree,
    by_package: Vec<Vec<&'t File>>,
    submodules: Vec<&'t File>,
    /// What each package's settings reach, by its place in the tree (a reference would tie the type to one lifetime), and whose it is.
    reach: Vec<OnceLock<Vec<(usize, PackageId)>>>,
    looks_up: Vec<OnceLock<bool>>,
    root_package: PackageId,
}

impl<'t> Sources<'t> {
    /// Gives each of `files` (sorted by path; those of `tree` that the ignore file leaves) to the package with the longest folder
    /// that holds it. What lies in a package's own `node_modules` is an install's, and nobody's source.
    pub fn new(workspace: &Workspace, tree: &'t Tree, files: impl IntoIterator<Item = &'t File>) -> Self {
        let count = workspace.packages().len();
        let mut by_package = vec![Vec::new(); count];
        let mut submodules = Vec::new();
        // Neighbours mostly share a folder: the last answer saves most of the look-ups.
        let mut last: Option<(&str, Option<PackageId>)> = None;
        for file in files {
            let dir = parent(&file.path);
            let owner = match last {
                Some((known, owner)) if known == dir => owner,
                _ => {
                    let id = workspace.owner(dir);
                    let modules = workspace.package(id).path("node_modules");
                    let installed = Path::new(dir).starts_with(&modules);
                    (!installed).then_some(id)
                }
            };
            last = Some((dir, owner));
            if let Some(id) = owner {
                by_package[id.0 as usize].push(file);
                submodules.extend((file.mode == Mode::Submodule).then_some(file));
            }
        }
        let (reach, looks_up) = ((0..count).map(|_| OnceLock::new()).collect(), (0..count).map(|_| OnceLock::new()).collect());
        Self { tree, by_package, submodules, reach, looks_up, root_package: workspace.root_package() }
    }

    /// The whole tree the files are from.
    #[must_use]
    pub fn tree(&self) -> &'t Tree {
        self.tree
    }

    /// The files of a package, sorted by path. The root package's are all that no other package has.
    #[must_use]
    pub fn of(&self, id: PackageId) -> &[&'t File] {
        &self.by_package[id.0 as usize]
    }

    /// The submodules among the files that are not checked out.
    pub fn submodules(&self) -> impl Iterator<Item = &'t File> {
        self.submodules.iter().copied()
    }

    /// The packages of a closure whose files are its sources.
    pub fn packages<'c>(&self, closure: &'c Closure) -> impl Iterator<Item = PackageId> + use<'c> {
        let (root, root_files) = (self.root_package, closure.root_files);
        closure.packages.iter().copied().filter(move |id| *id != root || root_files)
    }

    /// The files outside a closure's packages that belong to its sources all the same: everything that the `extends` of its packages'
    /// `tsconfig*.json` reach, what their `files`, `include` and `typeRoots` name at the root, and the root's own settings where
    /// a TypeScript package has none (elsewhere they are nobody's input: mostly they list every package). Folders outside every
    /// package that its packages link to are sources too.
    #[must_use]
    pub fn shared(&self, workspace: &Workspace, closure: &Closure) -> BTreeSet<&'t str> {
        let mut all = BTreeSet::new();
        let looks_up =
            self.packages(closure).any(|id| *self.looks_up[id.0 as usize].get_or_init(|| self.looks_up(workspace, id)));
        for id in self.packages(closure).chain(looks_up.then_some(self.root_package)) {
            let reach = self.reach[id.0 as usize].get_or_init(|| {
                let reached = self.reached_by(workspace, id);
                reached.iter().filter_map(|path| Some((self.tree.place(path)?, workspace.owner(path)))).collect()
            });
            let is_shared =
                |owner: PackageId| !closure.packages.contains(&owner) || (owner == self.root_package && !closure.root_files);
            all.extend(reach.iter().filter(|(_, owner)| is_shared(*owner)).map(|(at, _)| &*self.tree.files()[*at].path));
        }
        for dir in closure.linked_folders.iter().chain(&closure.copied_folders) {
            all.extend(self.tree.under(dir).iter().map(|file| &*file.path));
        }
        all
    }

    /// True where a package has TypeScript and no settings of its own, so that compilers look for some above it.
    fn looks_up(&self, workspace: &Workspace, id: PackageId) -> bool {
        let own = workspace.package(id).path("tsconfig.json");
        let is_typescript =
            |file: &&File| Path::new(&*file.path).extension().is_some_and(|e| matches!(e.to_str(), Some("ts" | "tsx")));
        self.tree.get(&own).is_none() && self.of(id).iter().copied().any(|file| is_typescript(&file))
    }

    fn reached_by(&self, workspace: &Workspace, id: PackageId) -> BTreeSet<String> {
        let is_root = id == self.root_package;
        let mut reached = BTreeSet::new();
        for file in self.of(id) {
            let name = file.path.rsplit('/').next().unwrap_or(&file.path);
            let settings = name.starts_with("tsconfig") || name == "jsconfig.json";
            let here = !is_root || !file.path.contains('/');
            if settings && here && Path::new(name).extension().is_some_and(|ext| ext == "json") {
                if is_root {
                    reached.insert(file.path.to_string());
                }
                self.follow(workspace, &file.path, !is_root, &mut reached);
            }
        }
        reached
    }

    /// Adds what the settings file `path` extends, and what that extends.
    fn follow(&self, workspace: &Workspace, path: &str, named: bool, reached: &mut BTreeSet<String>) {
        let Some(settings) = workspace.contents().text(path).and_then(|text| json_with_comments(&text)) else {
            // Whoever compiles with it will say what is wrong with it.
            return;
        };
        let dir = parent(path);
        if named {
            self.named(&settings, dir, reached);
        }
        let extends = &settings["extends"];
        let extends = extends.as_array().map_or(std::slice::from_ref(extends), Vec::as_slice);
        for target in extends.iter().filter_map(Value::as_str).filter(|target| target.starts_with('.')) {
            let candidates = [target.to_owned(), format!("{target}.json"), format!("{target}/tsconfig.json")];
            let found = candidates.iter().filter_map(|target| join(dir, target)).find(|path| self.tree.get(path).is_some());
            if let Some(found) = found
                && reached.insert(found.clone())
            {
                self.follow(workspace, &found, named, reached);
            }
        }
    }

    /// Adds the files at, or below, the paths that settings name outside their own folder.
    fn named(&self, settings: &Value, dir: &str, reached: &mut BTreeSet<String>) {
        let lists = [&settings["files"], &settings["include"], &settings["compilerOptions"]["typeRoots"]];
        let names = lists.into_iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        for name in names.filter(|name| name.starts_with("..") && !name.contains("node_modules")) {
            let plain: Vec<&str> = name.split('/').take_while(|part| !part.contains(['*', '?'])).collect();
            let Some(path) = join(dir, &plain.join("/")).filter(|path| path != ".") else { continue };
            reached.extend(self.tree.get(&path).map(|file| file.path.to_string()));
            reached.extend(self.tree.under(&path).iter().map(|file| file.path.to_string()));
        }
    }
}

/// The folder a path lies in; `.` at the root.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rfind('/').map_or(".", |at| &path[..at])
}

/// Reads JSON with comments and trailing commas, as TypeScript's settings files may be written.
fn json_with_comments(text: &str) -> Option<Value> {
    // Most have neither.
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest)?;
            plain.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = &comment[comment.find("*/")? + 2..];
        } else {
            if matches!(c, '}' | ']') && plain.trim_end().ends_with(',') {
                plain.truncate(plain.trim_end().len() - 1);
            }
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    serde_json::from_str(&plain).ok()
}

/// The length of the string literal that `text` starts with.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some(at + 1),
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_comments_and_trailing_commas() {
        let text = "// head\n{ /* a */ \"extends\": \"../x\", // \"no\"\n \"u\": \"http://a/*b*/\\\"//\", \"l\": [1, 2,\n], }\n";
        let value = json_with_comments(text).unwrap();
        assert_eq!(value, serde_json::json!({"extends": "../x", "u": "http://a/*b*/\"//", "l": [1, 2]}));
        assert_eq!(json_with_comments("{ /* open"), None);
        assert_eq!(json_with_comments("{ \"open"), None);
    }
}
