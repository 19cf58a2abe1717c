//! The variables that a repository's `.npmrc` takes its tokens from: secrets of the install.

use std::path::Path;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;

/// The names in `${NAME}` of the root's `.npmrc`, each with whether no install is without it: where it is for a registry that the file names,
/// and that is not npm's own, which gives most packages to everybody.
pub(super) fn variables(root: &Path) -> SortedMap<String, bool> {
    let text = std::fs::read_to_string(root.join(".npmrc")).unwrap_or_default();
    let lines: Vec<(&str, &str)> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('=').map(|(key, value)| (key.trim(), value.trim())))
        .into_vec();
    let registries = lines.iter().filter(|(key, _)| *key == "registry" || key.ends_with(":registry"));
    let hosts: Vec<&str> =
        registries.filter_map(|(_, url)| url.split_once("://")).map(|(_, place)| place.trim_end_matches('/')).into_vec();
    let mut found = SortedMap::new();
    for (key, value) in lines {
        let place = key.strip_prefix("//").and_then(|rest| rest.rsplit_once(':')).map(|(place, _)| place.trim_end_matches('/'));
        let is_private = place.is_some_and(|place| !is_npms(place) && hosts.contains(&place));
        for name in value.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name) {
            // `${NAME-default}`, and `${NAME?}` of npm.
            let plain = name.split([':', '-', '?']).next().unwrap_or(name);
            if !plain.is_empty() && plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                *found.entry(plain.to_owned()).or_insert(false) |= is_private && plain == name;
            }
        }
    }
    found
}

/// True for npm's own registry, by the domain that npm has: `HOST[:PORT][/PATH]`.
fn is_npms(place: &str) -> bool {
    let host = place.split(['/', ':']).next().unwrap_or(place);
    host.rsplit_once('.').is_some_and(|(name, top)| top == "org" && name.rsplit('.').next() == Some("npmjs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_named_by_their_variables_and_no_install_is_without_those_of_private_registries() {
        let dir = tempfile::tempdir().unwrap();
        let text = "//npm.acme.dev/:_authToken=${NPM_TOKEN}\n@acme:registry=https://npm.acme.dev/\n# ${OLD}\n//b/:_password=${B-}\n\
                    //OWN/:_authToken=${PUBLISH_TOKEN}\nregistry=https://OWN\n//c/:_authToken=${C}\n";
        let own = ["registry", "npmjs", "org"].join(".");
        std::fs::write(dir.path().join(".npmrc"), text.replace("OWN", &own)).unwrap();
        let found: Vec<(String, bool)> = variables(dir.path()).into_iter().collect();
        let named = |name: &str, needed| (name.to_owned(), needed);
        assert_eq!(found, [named("B", false), named("C", false), named("NPM_TOKEN", true), named("PUBLISH_TOKEN", false)]);
        assert!(variables(&dir.path().join("none")).is_empty());
    }
}
