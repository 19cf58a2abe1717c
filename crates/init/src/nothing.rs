//! What is said where a workspace has no service: why each package is none, and what of the repository looks like one all the same.

use monoship_core::collect::Collect as _;
use monoship_core::error::Error;
use monoship_core::sorted::SortedSet;
use monoship_workspace::Workspace;

/// The error. `files` are those that git has, `others` the packages that are none, each with the reason.
pub(super) fn error(workspace: &Workspace, files: &[String], others: &[(String, String)]) -> Error {
    let why: Vec<String> = others.iter().map(|(folder, why)| format!("{folder}: {why}")).into_vec();
    let why = if why.is_empty() { "it has no package but its root".to_owned() } else { why.join("; ") };
    let manifests: SortedSet<&str> = files.iter().filter_map(|file| file.strip_suffix("/package.json")).into_set();
    let unnamed: Vec<&str> = manifests.into_iter().filter(|dir| workspace.by_dir(dir).is_none()).into_vec();
    let hint = if others.iter().all(|(folder, _)| folder == ".") && !unnamed.is_empty() {
        let patterns: SortedSet<String> = unnamed
            .iter()
            .map(|dir| dir.rsplit_once('/').map_or((*dir).to_owned(), |(above, _)| format!("{above}/*")))
            .into_set();
        let patterns: Vec<String> = patterns.into_iter().into_vec();
        format!(
            "pnpm-workspace.yaml names none of {}: `packages: [{}]`, then `pnpm install`",
            unnamed.join(", "),
            patterns.join(", ")
        )
    } else {
        "a service is a package with a start script, or one in apps/ with `main`".to_owned()
    };
    Error::usage(format!("no package of the workspace is a service ({why})")).at(workspace.root(), None).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written::workspace;

    #[test]
    fn what_looks_like_a_service_and_cannot_be_one_is_named() {
        let hint = |files: &[(&str, &str)]| {
            let root = [
                ("package.json", r#"{"name": "w"}"#),
                ("pnpm-workspace.yaml", "{}\n"),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
            ];
            let all: Vec<(&str, &str)> = root.into_iter().chain(files.iter().copied()).collect();
            let (_dir, workspace) = workspace(&all);
            let paths: Vec<String> = all.iter().map(|(path, _)| (*path).to_owned()).collect();
            error(&workspace, &paths, &[]).hint_text().unwrap().to_owned()
        };
        let unnamed = hint(&[("packages/b/package.json", "{}"), ("packages/a/package.json", "{}"), ("web/package.json", "{}")]);
        assert_eq!(
            unnamed,
            "pnpm-workspace.yaml names none of packages/a, packages/b, web: `packages: [packages/*, web]`, then `pnpm install`"
        );
        assert!(hint(&[]).starts_with("a service is a package with a start script"));
    }
}
