//! What a prune of a registry was about to delete. An index goes before its manifests, which nothing names afterwards: a prune that is
//! killed in between would leave them for ever, were they not written down. Kept in `target/xtask/cache/unfinished.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use monoship_core::error::{Error, Result, write_atomically};
use monoship_core::name::{Digest, ImageRef};
use monoship_core::sorted::{SortedMap, SortedSet};

/// The version this code writes and reads.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    manifests: SortedMap<String, SortedSet<Digest>>,
}

/// The note of a prune that is under way.
#[derive(Debug, Clone)]
pub struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// The note under `root`, which is `target/xtask`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { path: root.join("cache").join("unfinished.json") }
    }

    /// What earlier prunes did not come to, by repository. A file that cannot be read means that nothing is known.
    #[must_use]
    pub fn read(&self) -> SortedMap<String, SortedSet<Digest>> {
        let file = std::fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
        file.filter(|file| file.version == VERSION).map(|file| file.manifests).unwrap_or_default()
    }

    /// Notes what is about to be deleted, beside what is noted already.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be deleted.
    pub fn note<'a>(&self, manifests: impl Iterator<Item = (&'a ImageRef, &'a [Digest])>) -> Result<()> {
        let mut all = self.read();
        for (repository, digests) in manifests {
            all.entry(repository.to_string()).or_default().extend(digests.iter().cloned());
        }
        self.write(all)
    }

    /// Strikes what is deleted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn strike<'a>(&self, manifests: impl Iterator<Item = (&'a ImageRef, &'a [Digest])>) -> Result<()> {
        let mut all = self.read();
        if all.is_empty() {
            return Ok(());
        }
        for (repository, digests) in manifests {
            if let Some(noted) = all.get_mut(&repository.to_string()) {
                noted.retain(|digest| !digests.contains(digest));
            }
        }
        all.retain(|_, digests| !digests.is_empty());
        self.write(all)
    }

    fn write(&self, manifests: SortedMap<String, SortedSet<Digest>>) -> Result<()> {
        if manifests.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &self.path, error)),
                _ => Ok(()),
            };
        }
        let json = serde_json::to_vec(&File { version: VERSION, manifests });
        write_atomically(&self.path, &json.map_err(|e| Error::failed(format!("cannot write {}", self.path.display())).source(e))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_stays_until_it_is_struck_and_an_empty_note_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let note = Unfinished::new(dir.path());
        let (api, web): (ImageRef, ImageRef) = ("r.example/api".parse().unwrap(), "r.example/web".parse().unwrap());
        let digests = [Digest::of(b"1"), Digest::of(b"2")];
        note.note([(&api, &digests[..]), (&web, &digests[..1])].into_iter()).unwrap();
        note.strike([(&api, &digests[..1]), (&web, &digests[..])].into_iter()).unwrap();
        assert_eq!(note.read(), [("r.example/api".to_owned(), [digests[1].clone()].into())].into());
        note.strike([(&api, &digests[..])].into_iter()).unwrap();
        assert!(note.read().is_empty() && !note.path.exists());
        std::fs::write(&note.path, "{\"version\":2,\"manifests\":{}}").unwrap();
        assert!(note.read().is_empty());
    }
}
