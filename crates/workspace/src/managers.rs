//! What is said of a folder that is no root of a pnpm workspace: whose workspace it is, where one lies below it, and what leads to one.

use monoship_core::collect::Collect as _;
use monoship_core::execute::process::quoted;
use monoship_core::sorted::Order as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::context::to_check_out;
use super::package;
use monoship_core::error::{Error, Result, read_text};

/// The lock files of other package managers, and whether `pnpm import` reads them.
const LOCKS: [(&str, &str, bool); 5] = [
    ("package-lock.json", "npm", true),
    ("npm-shrinkwrap.json", "npm", true),
    ("yarn.lock", "yarn", true),
    ("bun.lock", "bun", false),
    ("bun.lockb", "bun", false),
];

/// The error for a folder without a `pnpm-workspace.yaml`; `hint` is said where nothing better is known.
#[must_use]
pub fn no_workspace(root: &Path, hint: &str) -> Error {
    let shown = root.display();
    if let Some((file, target)) = root.ancestors().find_map(dangling) {
        let hint = to_check_out(&target.to_string_lossy());
        return Error::usage(format!("{} is a link to {}, which is not there", file.display(), target.display()))
            .hint(format!("bring it back; where a sparse checkout leaves it out, {hint}"));
    }
    let patterns = patterns(root).unwrap_or_default();
    let lock = LOCKS.iter().find(|(file, ..)| root.join(file).is_file());
    if !patterns.is_empty() || lock.is_some() && !root.join("pnpm-lock.yaml").is_file() {
        let (whose, import) = match lock {
            Some((file, manager, true)) => (format!("{manager} ({file})"), format!("`pnpm import` (it reads {file})")),
            Some((file, manager, false)) => (format!("{manager} ({file})"), "`pnpm install`".to_owned()),
            None => ("npm, yarn or bun (`workspaces` in package.json)".to_owned(), "`pnpm install`".to_owned()),
        };
        let listed: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).into_vec();
        let listed = if listed.is_empty() { "\"apps/*\", \"packages/*\"".to_owned() } else { listed.join(", ") };
        return Error::usage(format!("{shown} belongs to {whose}: only pnpm's workspaces can be taken apart yet"))
            .hint(format!("pnpm takes it over with a pnpm-workspace.yaml, `packages: [{listed}]`, and {import}"));
    }
    let error = Error::usage(format!("{shown} is not the root of a pnpm workspace"));
    if let Some(misnamed) = MISNAMED.iter().find(|file| root.join(file).is_file()) {
        return error.hint(format!("pnpm reads pnpm-workspace.yaml alone: `git mv {misnamed} pnpm-workspace.yaml`"));
    }
    match below(root).as_slice() {
        [] => error.hint(hint),
        [one] => {
            let word = quoted(one.as_ref());
            error.hint(format!("there is one in {one}/: go there, pass `--workspace {word}`, or give `init` `--dir {word}`"))
        }
        several => {
            let (all, first) = (several.join("/, ") + "/", quoted(several[0].as_ref()));
            error.hint(format!(
                "there are some in {all}: go to one, or pass it, as in `--workspace {first}`; `init` adopts all of them"
            ))
        }
    }
}

/// The folder's `pnpm-workspace.yaml` with what it is a link to, where that is not there.
fn dangling(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let file = dir.join("pnpm-workspace.yaml");
    let target = std::fs::read_link(&file).ok().filter(|_| !file.exists())?;
    Some((file, target))
}

/// What people call it, and pnpm refuses (`workspace/find-workspace-dir`).
const MISNAMED: [&str; 3] = ["pnpm-workspace.yml", "pnpm-workspaces.yaml", "pnpm-workspaces.yml"];

/// True of the root of a workspace: of several packages, or of one that has a lock.
#[must_use]
pub fn is_workspace(root: &Path) -> bool {
    let has = |file: &str| root.join(file).is_file();
    has("pnpm-workspace.yaml") || has("pnpm-lock.yaml") && patterns(root).is_ok_and(|patterns| patterns.is_empty())
}

/// The `workspaces` of a package.json, in either of their forms.
fn patterns(root: &Path) -> Result<Vec<String>> {
    let manifest: Value = package::json(&read_text(&root.join("package.json"))?).unwrap_or_default();
    let workspaces = &manifest["workspaces"];
    let list = workspaces.as_array().or_else(|| workspaces["packages"].as_array());
    Ok(list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).into_vec())
}

/// The folders below that are roots of pnpm workspaces: one folder down or, as in `services/web`, two.
#[must_use]
pub fn below(root: &Path) -> Vec<String> {
    let folders = |of: &str| -> Vec<String> {
        let entries = std::fs::read_dir(root.join(of)).into_iter().flatten().flatten();
        let names = entries.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok());
        let seen = names.filter(|name| !name.starts_with('.') && !["node_modules", "target"].contains(&name.as_str()));
        seen.map(|name| if of.is_empty() { name } else { format!("{of}/{name}") }).into_vec()
    };
    let is_root = |folder: &String| root.join(folder).join("pnpm-workspace.yaml").is_file();
    let (mut found, others): (Vec<String>, Vec<String>) = folders("").into_iter().partition(is_root);
    found.extend(others.iter().flat_map(|folder| folders(folder)).filter(is_root));
    found.order();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(files: &[(&str, &str)]) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let error = no_workspace(dir.path(), "elsewhere");
        (error.to_string().replace(dir.path().to_str().unwrap(), "ROOT"), error.hint_text().unwrap().to_owned())
    }

    #[test]
    fn another_managers_workspace_is_called_so_with_the_way_to_pnpms() {
        let manifest = r#"{"workspaces": ["apps/*", "libs/*"]}"#;
        let (error, hint) = said(&[("package.json", manifest), ("package-lock.json", "{}")]);
        assert_eq!(error, "ROOT belongs to npm (package-lock.json): only pnpm's workspaces can be taken apart yet");
        let way = "pnpm takes it over with a pnpm-workspace.yaml, `packages: [\"apps/*\", \"libs/*\"]`, and ";
        assert_eq!(hint, format!("{way}`pnpm import` (it reads package-lock.json)"));
        let (error, hint) = said(&[("package.json", r#"{"workspaces": {"packages": ["apps/*", "libs/*"]}}"#), ("bun.lock", "")]);
        assert!(error.contains("bun (bun.lock)"), "{error}");
        assert_eq!(hint, format!("{way}`pnpm install`"));
        assert!(said(&[("package.json", manifest)]).0.contains("npm, yarn or bun"));
        assert!(said(&[("package.json", "{}"), ("yarn.lock", "")]).0.contains("yarn (yarn.lock)"));
    }

    #[test]
    fn a_link_to_what_is_not_checked_out_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("config/workspace.yaml", dir.path().join("pnpm-workspace.yaml")).unwrap();
        let error = no_workspace(&dir.path().join("apps/api"), "elsewhere");
        assert!(
            error.to_string().ends_with("/pnpm-workspace.yaml is a link to config/workspace.yaml, which is not there"),
            "{error}"
        );
        assert!(
            error.hint_text().is_some_and(|hint| hint.contains("`git sparse-checkout add config`")),
            "{:?}",
            error.hint_text()
        );
    }

    #[test]
    fn a_workspace_below_is_named() {
        let (error, hint) = said(&[("web/pnpm-workspace.yaml", ""), ("docs/readme.md", "")]);
        assert_eq!(error, "ROOT is not the root of a pnpm workspace");
        assert_eq!(hint, "there is one in web/: go there, pass `--workspace web`, or give `init` `--dir web`");
        assert_eq!(said(&[]).1, "elsewhere");
        assert!(said(&[("pnpm-workspace.yml", "")]).1.ends_with("`git mv pnpm-workspace.yml pnpm-workspace.yaml`"));
        let several = [
            ("web/pnpm-workspace.yaml", ""),
            ("services/api/pnpm-workspace.yaml", ""),
            ("node_modules/a/pnpm-workspace.yaml", ""),
        ];
        let hint = "there are some in services/api/, web/: go to one, or pass it, as in `--workspace services/api`; `init` adopts all of them";
        assert_eq!(said(&several).1, hint);
    }
}
