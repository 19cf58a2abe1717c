//! `xtask.toml`: what one that is there says of services, and what it gets.

use std::fmt::Write as _;
use std::path::Path;

use super::services::{Found, Service};
use super::{Change, DOCKERFILE, edit};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{Dockerfile, load as dockerfile_of};
use monoship_workspace::git::Tree;
use monoship_workspace::prune::PrunePlan;
use monoship_workspace::sources::Sources;

const SETTINGS: &str =
    "# Every key has a default that suits most repositories: docs/configuration.md of the library lists them all.\n\n[images]\n";

/// Where images go, where nobody has said it.
const PLACES: &str = "# registry = \"ghcr.io\"       # where images are pushed; on github.com it is known from the git remote\n\
                      # namespace = \"org/repo\"\n";

/// The same where today's images say it.
fn places(prefix: &str) -> String {
    let (registry, namespace) = prefix.split_once('/').unwrap_or((prefix, ""));
    format!("registry = \"{registry}\"\nnamespace = \"{namespace}\"\n")
}

/// The Dockerfile that an `xtask.toml` names.
pub(super) fn configured(settings: Option<&str>) -> Option<String> {
    let settings: toml::Table = toml::from_str(settings?).ok()?;
    Some(settings.get("images")?.get("dockerfile")?.as_str()?.to_owned())
}

/// Where images go by an `xtask.toml`.
pub(super) fn configured_prefix(settings: Option<&str>) -> Option<String> {
    let settings: toml::Table = toml::from_str(settings?).ok()?;
    let text = |key: &str| settings.get("images")?.get(key)?.as_str().map(str::to_owned);
    Some(format!("{}/{}", text("registry")?, text("namespace")?))
}

/// The targets of the Dockerfile that is configured, as far as it is there.
pub(super) fn targets(root: &Path, settings: Option<&str>) -> SortedSet<String> {
    let file = root.join(configured(settings).unwrap_or_else(|| DOCKERFILE.to_owned()));
    let dockerfile = file.exists().then(|| dockerfile_of(&file).ok()).flatten();
    dockerfile.iter().flat_map(Dockerfile::targets).map(str::to_owned).into_set()
}

/// What an `xtask.toml` says is no service: folders, and names.
pub(super) fn not_services(settings: Option<&str>) -> Vec<String> {
    let settings: toml::Table = settings.and_then(|text| toml::from_str(text).ok()).unwrap_or_default();
    let listed = settings.get("images").and_then(|images| images.get("not-services")?.as_array()).into_iter().flatten();
    listed.filter_map(|one| one.as_str().map(str::to_owned)).into_vec()
}

/// The packages that an `xtask.toml` calls services, each with its target.
pub(super) fn named(settings: Option<&str>) -> Vec<(String, String)> {
    let settings: toml::Table = settings.and_then(|text| toml::from_str(text).ok()).unwrap_or_default();
    let entries = settings.get("service").and_then(|services| services.as_array()).into_iter().flatten();
    let of = |entry: &toml::Value| -> Option<(String, String)> {
        let name = entry.get("name")?.as_str()?;
        let text = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        let package =
            text("package").map_or_else(|| format!("apps/{name}"), |package| package.trim_matches(['.', '/']).to_owned());
        Some((package, text("target").unwrap_or(name).to_owned()))
    };
    entries.filter_map(of).into_vec()
}

/// The services that an `xtask.toml` gives a Dockerfile of their own, each with its package's folder.
pub(super) fn owned(settings: Option<&str>) -> Vec<(String, Option<String>)> {
    let settings: toml::Table = settings.and_then(|text| toml::from_str(text).ok()).unwrap_or_default();
    let entries = settings.get("service").and_then(|services| services.as_array()).into_iter().flatten();
    let of = |entry: &toml::Value| -> Option<(String, Option<String>)> {
        let text = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        let own = monoship_plan::config::Own::of(text("dockerfile"), text("context"), text("target")).ok()??;
        Some((text("name")?.to_owned(), text("package").map_or_else(|| Some(own.folder()), |package| Some(package.to_owned()))))
    };
    entries.filter_map(of).into_vec()
}

/// What each service's sources lack of what they import and read by a path, by the service's name.
pub(super) type Lacking = SortedMap<String, SortedSet<String>>;

/// The same, found out.
pub(super) fn lacking(workspace: &Workspace, services: &[Service], tree: &Tree) -> Lacking {
    let sources = Sources::new(workspace, tree, tree.files());
    let of = |service: &Service| {
        let package = workspace.by_dir(&service.package).filter(|_| service.package != ".")?;
        // What is wrong with the workspace is told by whoever plans.
        let plan = PrunePlan::new(workspace, &sources, package, false).ok()?;
        Some((service.name.clone(), plan.to_include(workspace, &sources))).filter(|(_, paths)| !paths.is_empty())
    };
    services.iter().filter_map(of).into_map()
}

/// `xtask.toml` with an entry for each service that is not found without one, or lacks sources.
pub(super) fn services_in(
    settings: Option<&str>,
    services: &[Service],
    found: &Found,
    secrets: &SortedSet<String>,
    lacking: &Lacking,
) -> Change {
    let known = named(settings);
    let lacks = |folder: &str, name: &str| {
        (folder != format!("apps/{name}") || lacking.contains_key(name)) && !known.iter().any(|(_, target)| target == name)
    };
    let mut entries = String::new();
    let mut names = Vec::new();
    for service in services.iter().filter(|service| lacks(&service.package, &service.name)) {
        let _ = write!(entries, "\n[[service]]\nname = \"{}\"\npackage = \"{}\"\n", service.name, service.package);
        if let Some(paths) = lacking.get(&service.name) {
            let paths: Vec<String> = paths.iter().map(|path| format!("\"{path}\"")).into_vec();
            let _ = writeln!(entries, "include = [{}] # what its sources name outside of packages", paths.join(", "));
        }
        names.push(format!("`{}`", service.name));
    }
    for kept in &found.kept {
        entries += &kept.entry();
        names.push(format!("`{}`", kept.name));
    }
    match settings {
        None => {
            let secrets: Vec<String> = secrets.iter().map(|name| format!("\"id={name},env={name}\"")).into_vec();
            let given = if secrets.is_empty() {
                String::new()
            } else {
                format!("secrets = [{}] # what .npmrc takes its tokens from\n", secrets.join(", "))
            };
            // With a [[service]] what no entry names counts as meant so; what was not chosen is to be known when this is run again.
            let folders = found.others.iter().map(|(folder, _)| folder).filter(|folder| folder.starts_with("apps/"));
            let idle: SortedSet<&String> = folders.filter(|_| entries.is_empty()).chain(&found.left_out).into_set();
            let idle: Vec<String> = idle.into_iter().map(|folder| format!("\"{folder}\"")).into_vec();
            let idle = if idle.is_empty() { String::new() } else { format!("not-services = [{}]\n", idle.join(", ")) };
            let places = found.prefix.as_deref().map_or_else(|| PLACES.to_owned(), places);
            Change::Write(SETTINGS.to_owned() + &places + &idle + &given + &entries)
        }
        Some(_) if names.is_empty() && found.left_out.is_empty() => Change::Keep,
        Some(text) => {
            let left_out: Vec<&str> = found.left_out.iter().map(String::as_str).into_vec();
            let added = (!names.is_empty()).then(|| format!("the service {}", names.join(", ")));
            let idle = (!left_out.is_empty()).then(|| format!("`not-services` {}", left_out.join(", ")));
            match edit::without_services(text, &left_out) {
                Some(text) => Change::Add(edit::ended(&text) + &entries, added.into_iter().chain(idle).into_vec().join(", ")),
                None => Change::ByHand("it is not TOML; mend it, and run this again".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_workspace::git::File;

    use crate::services::services;
    use crate::written::workspace;

    #[test]
    fn what_sources_lack_is_included_where_nobody_has_written_settings() {
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/a: {}\n\n  apps/b: {}\n"),
            ("apps/a/package.json", r#"{"scripts": {"start": "node dist/a.js", "build": "tsc"}}"#),
            ("apps/a/src/deep/a.ts", "import '../../../../lib/x.js'\nreadFileSync('../../VERSION')\n"),
            ("apps/b/package.json", r#"{"scripts": {"start": "node b.js"}}"#),
            ("lib/x.ts", "import './y.js'\n"),
            ("lib/y.ts", "\n"),
            ("VERSION", "1\n"),
        ];
        let (_dir, workspace) = workspace(&files);
        let tree = files.iter().filter_map(|(path, _)| File::new(path, false, &"0".repeat(40)));
        let tree = Tree::from_files(tree.collect());
        let found = services(&workspace, &[], &[]).unwrap();
        let lacking = lacking(&workspace, &found.services, &tree);
        let Change::Write(text) = services_in(None, &found.services, &found, &SortedSet::new(), &lacking) else { panic!() };
        let entry = "[[service]]\nname = \"a\"\npackage = \"apps/a\"\ninclude = [\"VERSION\", \"lib\"] # what its sources name outside of packages\n";
        assert!(text.ends_with(entry), "{text}");
    }
}
