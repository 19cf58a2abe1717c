//! The variables that a repository's `.npmrc` takes its tokens from: secrets of the install.

use std::collections::BTreeSet;
use std::path::Path;

/// The names in `${NAME}` of the root's `.npmrc`.
pub(super) fn variables(root: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root.join(".npmrc")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']));
    let names = lines.flat_map(|line| line.split("${").skip(1)).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    // `${NAME-default}`, and `${NAME?}` of npm.
    let plain = names.map(|name| name.split([':', '-', '?']).next().unwrap_or(name));
    plain
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_named_by_their_variables() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "//npm.acme.dev/:_authToken=${NPM_TOKEN}\n@acme:registry=https://npm.acme.dev/\n# ${OLD}\n//b/:_password=${B-}\n";
        std::fs::write(dir.path().join(".npmrc"), text).unwrap();
        assert_eq!(variables(dir.path()).into_iter().collect::<Vec<_>>(), ["B", "NPM_TOKEN"]);
        assert!(variables(&dir.path().join("none")).is_empty());
    }
}
