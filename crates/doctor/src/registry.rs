//! Registries: does each answer, and what may we do with each repository? Pushing is tried with an upload that is cancelled, deleting
//! with a digest that is nobody's: neither leaves anything.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::{SortedMap, SortedSet};

use super::{Checkup, Finding, Severity};
use monoship_core::error::Result;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::registry::{Access, Deletion};
use monoship_plan::config::Switch;
use monoship_steps::configuration;

/// What may be done with a repository.
struct Rights {
    pull: Result<Access>,
    push: Result<Access>,
    delete: Result<Deletion>,
}

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let config = &checkup.config;
    let Some(prefix) = &config.images.prefix else {
        return vec![Finding::note(
            "no-registry",
            "no registry is configured: images stay in the engine",
            configuration::NAME_A_REGISTRY,
        )];
    };
    let mut repositories: SortedSet<ImageRef> =
        checkup.services().iter().filter_map(|service| config.images.image(&service.name).ok()).into_set();
    repositories.extend(config.cache.repository.clone().filter(|_| config.cache.registry == Switch::Auto));
    if repositories.is_empty() {
        repositories.insert(prefix.clone());
    }
    let repositories: Vec<ImageRef> = repositories.into_iter().into_vec();
    let rights = in_parallel(&repositories, |repository| Rights {
        pull: checkup.registry.can_pull(repository),
        push: checkup.registry.can_push(repository),
        delete: checkup.registry.delete_manifest(repository, &Digest::of(b"nobody's: may we delete?")),
    });
    // Repositories of which the same is found share a line.
    let mut lines: SortedMap<(Severity, &'static str, String, String), Vec<String>> = SortedMap::new();
    let is_of_host = |code: &str| matches!(code, "registry-unreachable" | "credentials-unreadable");
    let mut of_hosts = SortedSet::new();
    for (repository, rights) in repositories.iter().zip(&rights) {
        // What is wrong with a host is told once: each error names the address of its own repository.
        let is_new = |finding: &Finding| !is_of_host(finding.code) || of_hosts.insert((finding.code, repository.registry()));
        for finding in judged(repository, rights, checkup.env.flag("CI")).into_iter().filter(is_new) {
            let key = (finding.severity, finding.code, finding.what, finding.fix.unwrap_or_default());
            lines.entry(key).or_default().push(repository.repository().to_owned());
        }
    }
    let found = lines.into_iter().rev().map(|((severity, code, what, fix), names)| {
        let what = if is_of_host(code) { what } else { format!("{}: {what}", names.join(", ")) };
        Finding::new(severity, code, what, fix)
    });
    found.into_vec()
}

fn judged(repository: &ImageRef, rights: &Rights, in_ci: bool) -> Vec<Finding> {
    let host = repository.registry();
    let login = format!("`docker login {host}` as someone who may; in a workflow give the job `packages: write`");
    let mut found = Vec::new();
    match &rights.pull {
        // An error with a place is about a file: the user's Docker configuration.
        Err(error) if error.place().is_some() => {
            return vec![Finding::error(Severity::Problem, "credentials-unreadable", error, "fix the file, or log in anew")];
        }
        Err(error) => {
            let what = format!("{host} does not answer: {error}");
            let fix = error.hint_text().unwrap_or("check the host's name and the network");
            // A build that pushes nothing goes on without its cache.
            let found = Finding::warning("registry-unreachable", what, fix);
            return vec![if in_ci { Finding { severity: Severity::Problem, ..found } } else { found }];
        }
        Ok(Access::Denied(why)) => {
            found.push(Finding::problem("registry-pull-denied", format!("{host} does not let us pull: {why}"), &login));
        }
        Ok(Access::Granted) => {}
    }
    match &rights.push {
        Ok(Access::Granted) => {}
        Ok(Access::Denied(why)) => {
            found.push(Finding::warning("registry-push-denied", format!("{host} does not let us push: {why}"), &login));
        }
        Err(error) => found.push(Finding::error(
            Severity::Warning,
            "registry-push-denied",
            error,
            "run it again; the registry answers other questions",
        )),
    }
    match &rights.delete {
        Ok(Deletion::Unsupported) => found.push(Finding::note(
            "registry-keeps-all",
            format!("{host} deletes nothing by its registry API"),
            "GHCR deletes by GitHub's Packages API; a registry of your own wants REGISTRY_STORAGE_DELETE_ENABLED=true",
        )),
        Ok(Deletion::Deleted | Deletion::Absent) => {}
        Err(_) if !matches!(rights.push, Ok(Access::Granted)) => {}
        Err(error) => found.push(Finding::note(
            "registry-delete-denied",
            format!("{host} does not let us delete: {error}"),
            "only pruning needs it: log in as someone who may",
        )),
    }
    if found.is_empty() {
        found.push(Finding::good(format!("{host} lets us pull, push and delete")));
    }
    found
}
