//! Which of the services that were found are adopted: those that a user names, less those that `xtask.toml` says are none.

use super::kept::Kept;
use super::services::Found;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::nearest;
use monoship_core::sorted::SortedSet;

/// True where a list has a service, by its name or by its folder.
fn has(list: &[String], name: &str, folder: &str) -> bool {
    list.iter().any(|one| one == name || one.trim_start_matches("./").trim_end_matches('/') == folder)
}

/// Takes out the services that `xtask.toml` says are none.
pub(super) fn leave_out(found: &mut Found, none: &[String]) {
    retain(found, "xtask.toml says so (`not-services`)", |name, folder| !has(none, name, folder));
}

/// Takes out the services that are not among those that were chosen. Those that have a target already stay what they are.
pub(super) fn choose(found: &mut Found, only: &[String], targets: &SortedSet<String>) {
    if !only.is_empty() {
        let is_chosen = |name: &str, folder: &str| has(only, name, folder) || targets.contains(name);
        found.left_out = retain(found, "it was not chosen", is_chosen);
    }
}

/// Keeps the services of which this is true. The others are told with the reason, and returned: by their folders, where they do not share one.
fn retain(found: &mut Found, why: &str, stays: impl Fn(&str, &str) -> bool) -> SortedSet<String> {
    let mut out = Vec::new();
    let mut is_in = |name: &str, folder: &str| {
        let stays = stays(name, folder);
        if !stays {
            out.push((name.to_owned(), folder.to_owned()));
        }
        stays
    };
    found.services.retain(|service| is_in(&service.name, &service.folder));
    found.kept.retain(|kept| is_in(&kept.name, kept.folder()));
    let folders = found.services.iter().map(|service| service.folder.as_str()).chain(found.kept.iter().map(Kept::folder));
    let called = out.into_iter().map(|(name, folder)| {
        let is_shared = folder == "." || folders.clone().any(|other| other == folder);
        if is_shared { name } else { folder }
    });
    let called: SortedSet<String> = called.into_set();
    found.others.extend(called.iter().map(|called| (called.clone(), why.to_owned())));
    called
}

/// What a folder is called, whatever it lies in.
fn last(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

/// Refuses the name of what is no service.
pub(super) fn check(only: &[String], workspaces: &[(String, Found)]) -> Result<()> {
    let all = || workspaces.iter().map(|(_, found)| found);
    for wanted in only {
        let one = std::slice::from_ref(wanted);
        let is_there = |found: &Found| {
            found.services.iter().any(|service| has(one, &service.name, &service.folder))
                || found.kept.iter().any(|kept| has(one, &kept.name, kept.folder()))
                || found.settled.contains(wanted)
        };
        if all().any(is_there) {
            continue;
        }
        let is_none = |(folder, _): &&(String, String)| has(one, folder, folder) || last(folder) == wanted;
        if let Some((folder, why)) = all().flat_map(|found| &found.others).find(is_none) {
            return Err(Error::usage(format!("{folder} is no service: {why}")));
        }
        let services = all().flat_map(|found| {
            let new = found.services.iter().map(|service| service.name.as_str());
            new.chain(found.kept.iter().map(|kept| kept.name.as_str())).chain(found.left_out.iter().map(|folder| last(folder)))
        });
        let error = Error::usage(format!("there is no service `{wanted}`"));
        return Err(match nearest(wanted, services.clone()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("there are {}", services.into_vec().join(", "))),
        });
    }
    Ok(())
}
