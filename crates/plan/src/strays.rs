//! What looks like a service and is none: a folder of an app that no target builds, a target that no folder has. One that was renamed on one
//! side only would else vanish from every build and every release without a word. No I/O.

use std::fmt;

use crate::config::Config;
use crate::services::{APPS, Service};
use monoship_core::collect::Collect as _;
use monoship_core::name::{ServiceName, nearest};
use monoship_core::sorted::{SortedMap, SortedSet};

/// One that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stray {
    /// A folder of an app; `near` is a target that could be meant.
    Folder {
        /// Relative to the repository's root.
        folder: String,
        /// A target with a name like its.
        near: Option<String>,
    },
    /// A target like those of services, with its line.
    Target {
        /// The stage.
        name: String,
        /// Its line in the Dockerfile.
        line: usize,
    },
}

impl Stray {
    /// What says in `not-services` that it is meant so.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Folder { folder, .. } => folder,
            Self::Target { name, .. } => name,
        }
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { folder, near: None } => write!(f, "{folder} has no target in the Dockerfile, so it is not built"),
            Self::Folder { folder, near: Some(near) } => {
                write!(f, "{folder} has no target in the Dockerfile, so it is not built; is `{near}` meant for it?")
            }
            Self::Target { name, line } => {
                write!(f, "target {name} (Dockerfile line {line}) has no folder {APPS}{name}, so service {name} is not built")
            }
        }
    }
}

/// A stage that no service reaches.
#[derive(Debug, Clone, Copy)]
pub struct Unreached<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its FROM names, as written.
    pub base: &'a str,
    /// The line of its FROM.
    pub line: usize,
}

/// The lost ones. `targets` are the Dockerfile's stages with what their FROM names; `unreached` those that no service and not the base reaches;
/// `reaches` says what one of them reaches. A target counts as a service's where it starts from what a service's target starts from and no other
/// stage uses it.
#[must_use]
pub fn strays(
    config: &Config,
    packages: &SortedMap<String, String>,
    services: &[Service],
    targets: &SortedMap<&str, &str>,
    unreached: &[Unreached<'_>],
    reaches: impl Fn(&str) -> SortedSet<String>,
) -> Vec<Stray> {
    let declared = |name: &str| config.images.not_services.iter().any(|known| known.trim_end_matches('/') == name);
    let bases: SortedSet<&str> = services.iter().filter_map(|service| targets.get(service.target.as_str()).copied()).into_set();
    let like: Vec<&Unreached<'_>> = unreached
        .iter()
        .filter(|stage| bases.contains(stage.base) && stage.name.parse::<ServiceName>().is_ok() && !declared(stage.name))
        .into_vec();
    let used: SortedSet<String> = unreached
        .iter()
        .flat_map(|stage| reaches(stage.name).into_iter().filter(move |reached| reached != stage.name))
        .into_set();
    let lost_targets = like.into_iter().filter(|stage| !used.contains(stage.name));
    let mut strays: Vec<Stray> =
        lost_targets.map(|stage| Stray::Target { name: stage.name.to_owned(), line: stage.line }).into_vec();
    // Where services are configured one by one, a folder without an entry is meant so.
    if config.services.is_empty() {
        let built = |folder: &str| services.iter().any(|service| service.package == folder);
        for folder in packages.keys().filter(|folder| folder.starts_with(APPS) && !built(folder) && !declared(folder)) {
            let free =
                strays.iter().filter_map(|stray| if let Stray::Target { name, .. } = stray { Some(name.as_str()) } else { None });
            let near = nearest(folder.trim_start_matches(APPS), free.into_vec()).map(str::to_owned);
            strays.push(Stray::Folder { folder: folder.clone(), near });
        }
    }
    strays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::discover;
    use monoship_core::env::Env;

    fn found(config: &str, folders: &[&str]) -> Vec<String> {
        let config = crate::config::of_text("/xtask.toml".as_ref(), Some(config), &Env::new("/", []), &|| Ok(None)).unwrap();
        let packages: SortedMap<String, String> =
            folders.iter().map(|folder| ((*folder).to_owned(), (*folder).to_owned())).collect();
        let targets = SortedMap::from([
            ("base", "node"),
            ("runtime", "node"),
            ("api", "runtime"),
            ("worker-build", "runtime"),
            ("worker", "runtime"),
            ("lint", "base"),
        ]);
        let names: Vec<&str> = targets.keys().copied().collect();
        let services = discover(&config, &packages, &names).unwrap();
        let reaches = |name: &str| match name {
            "worker" => ["worker", "worker-build", "runtime"].map(str::to_owned).into(),
            name => SortedSet::from([name.to_owned()]),
        };
        let unreached: Vec<Unreached<'_>> = targets
            .iter()
            .filter(|(name, _)| !["base", "runtime"].contains(*name))
            .filter(|(name, _)| services.iter().all(|service| !reaches(&service.target).contains(**name)))
            .map(|(name, base)| Unreached { name, base, line: 7 })
            .collect();
        strays(&config, &packages, &services, &targets, &unreached, reaches).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_that_lost_its_folder_or_its_target_is_named() {
        let lost = found("", &["apps/api", "apps/workers"]);
        assert_eq!(
            lost,
            [
                "target worker (Dockerfile line 7) has no folder apps/worker, so service worker is not built",
                "apps/workers has no target in the Dockerfile, so it is not built; is `worker` meant for it?"
            ]
        );
    }

    #[test]
    fn what_is_declared_is_no_service_and_helpers_and_other_stages_are_none() {
        assert!(found("[images]\nnot-services = ['worker', 'apps/docs']\n", &["apps/api", "apps/docs"]).is_empty());
        assert_eq!(found("[[service]]\nname = 'worker'\npackage = 'apps/toiler'\n", &["apps/api", "apps/toiler"]).len(), 0);
    }
}
