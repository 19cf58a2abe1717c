//! The lock as it was found: scanned, whole, or one for each package; and what of a package it does not have.

use std::path::Path;

use super::super::package::{Package, unfinished_merge};
use super::{LOCK, PackageId, Workspace};
use crate::yaml::{self, Yaml};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::sorted::{SortedMap, SortedSet};
use pnpm::lock::{Lock, Refusal};

/// The lock file as far as it is understood.
#[derive(Debug)]
pub enum LockState {
    /// It can be cut.
    Scanned(Box<Lock>),
    /// It holds something the scanner does not know, and is only ever used whole.
    Whole {
        /// Its text.
        text: String,
        /// What was not understood, and where.
        refusal: Refusal,
    },
}

impl LockState {
    /// A lock in the middle of a merge, or one that was cut off, is no lock: neither pnpm nor a cut can use it.
    pub(super) fn of(text: String, path: &Path) -> Result<Self> {
        match Lock::scan(text.clone()) {
            Ok(lock) => Ok(Self::Scanned(Box::new(lock))),
            Err(refusal) => match unfinished_merge(&text, path) {
                Some(error) => Err(error),
                None if refusal.broken => Err(broken(&refusal, path)),
                // What is no YAML is read by nobody.
                None => match yaml::parse(&text) {
                    Ok(_) => Ok(Self::Whole { text, refusal }),
                    Err(e) => Err(broken(&Refusal { line: e.line, reason: e.message, broken: true }, path)),
                },
            },
        }
    }

    /// The locks of packages that have one each, by folder; what of them cannot be read stops who needs it, and is kept in `unread`.
    pub(super) fn each(mut files: Vec<(String, String)>, unread: &mut SortedMap<String, Refusal>) -> Self {
        loop {
            match Lock::scan_each(files.clone()) {
                Ok(lock) => return Self::Scanned(Box::new(lock)),
                Err((dir, refusal)) => {
                    files.retain(|(of, _)| *of != dir);
                    unread.insert(dir, refusal);
                }
            }
        }
    }
}

/// The error for a lock that no install can use.
fn broken(refusal: &Refusal, path: &Path) -> Error {
    let error = Error::usage(format!("this lock cannot be used: {}", refusal.reason)).at(path, Some(refusal.line));
    let hint = if refusal.broken {
        "restore it (`git checkout`), or let pnpm fix it: `pnpm install --fix-lockfile`"
    } else {
        &renewed(&refusal.reason)
    };
    error.hint(hint)
}

/// How a lock that is not understood becomes one that is.
#[must_use]
pub fn renewed(reason: &str) -> String {
    // pnpm 9 and later ignore what the oldest wrote, and resolve every version anew.
    if reason.contains("pnpm 7") {
        "`npx pnpm@8 install --lockfile-only` writes one that can be cut, with the same versions".to_owned()
    } else {
        "`pnpm install --lockfile-only` of pnpm 8 to 12 writes one that can be cut".to_owned()
    }
}

/// A package's own lock, where each has one.
pub(crate) fn own_lock(dir: &str) -> String {
    if dir == "." { LOCK.to_owned() } else { format!("{dir}/{LOCK}") }
}

impl Workspace {
    /// The locks of an install of these packages, by path: the one that all share, or each package's own and the root's.
    pub(crate) fn lock_files(&self, packages: &SortedSet<PackageId>) -> Vec<String> {
        match self.scanned() {
            Some(lock) if lock.is_split() => {
                let is_in = |dir: &&str| *dir == "." || self.by_dir(dir).is_some_and(|id| packages.contains(&id));
                lock.files().filter(is_in).map(own_lock).into_vec()
            }
            _ => vec![LOCK.to_owned()],
        }
    }

    /// What a manifest wants and the lock does not have as it is written there, in a sentence: a frozen install refuses it. Nothing is said
    /// of names that overrides change, nor where a hook changes manifests. Found once for each package.
    #[must_use]
    pub fn behind(&self, id: PackageId) -> Option<&str> {
        self.behind[id.0 as usize].get_or_init(|| behind(self, id)).as_deref()
    }

    /// Why an install of a package is refused, whatever it depends on: the lock knows nothing of it, or nobody knows its lock.
    pub(crate) fn not_locked(&self, id: PackageId) -> Option<Error> {
        let package = self.package(id);
        if let Some(refusal) = self.unread.get(&package.dir) {
            let file = package.path(LOCK);
            let path = self.root.join(&file);
            let text = self.contents.text(&file).unwrap_or_default();
            return Some(unfinished_merge(&text, &path).unwrap_or_else(|| broken(refusal, &path)));
        }
        let lock = self.scanned()?;
        if lock.importer(&package.dir).is_some() || package.manifest.all_dependencies().next().is_none() {
            return None;
        }
        let hint = "`pnpm install --lockfile-only` puts it there; commit that";
        let lacks = if lock.is_split() { " and no lock of its own" } else { ", and the lock has no entry for it" };
        let error = Error::usage(format!("{} has dependencies{lacks}", package.dir));
        Some(error.at(self.root.join(self.lock_of(package)), None).hint(hint))
    }

    /// The lock that has a package.
    fn lock_of(&self, package: &Package) -> String {
        if self.is_split() { package.path(LOCK) } else { LOCK.to_owned() }
    }
}

fn behind(workspace: &Workspace, id: PackageId) -> Option<String> {
    let lock = workspace.scanned().filter(|lock| !lock.has_hooks())?;
    let package = workspace.package(id);
    let importer = lock.importer(&package.dir).into_iter();
    let locked = importer.flat_map(|importer| lock.dependencies(importer));
    let locked: SortedMap<&str, &str> = locked.map(|(_, locked)| (locked.alias.as_str(), locked.specifier.as_str())).into_map();
    let overrides = workspace.settings.iter().filter_map(|tree| tree.get("overrides")).flat_map(Yaml::entries);
    let overrides: SortedSet<&str> =
        overrides.map(|(selector, _)| selector.as_str()).chain(lock.overrides().map(|(selector, _)| selector)).into_set();
    let is_overridden = |name: &str| overrides.iter().any(|selector| selector.contains(name));
    let is_optional = |name: &str| package.manifest.optional_dependencies.contains_key(name);
    let (manifest, file) = (package.path("package.json"), workspace.lock_of(package));
    let mut wanted = package.manifest.all_dependencies().filter(|(name, ..)| !is_overridden(name));
    let unlike = wanted.find(|(name, wanted, _)| match locked.get(name) {
        Some(locked) => locked != wanted,
        // `ignoredOptionalDependencies` leaves them out.
        None => !is_optional(name),
    });
    if let Some((name, wanted, _)) = unlike {
        let has = locked.get(name).map_or("does not have it".to_owned(), |locked| format!("has `{locked}`"));
        return Some(format!("{manifest} wants {name} `{wanted}`, and {file} {has}"));
    }
    // `autoInstallPeers` puts peers there.
    let is_wanted = |name: &str| {
        package.manifest.all_dependencies().any(|(there, ..)| there == name)
            || package.manifest.peer_dependencies.contains_key(name)
    };
    let (name, has) = locked.iter().find(|(name, _)| !is_wanted(name) && !is_overridden(name))?;
    Some(format!("{file} has {name} `{has}` for {manifest}, which does not want it"))
}
