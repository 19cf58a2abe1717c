//! Which images passed which of a team's stages: one small file for each, named by the image's digest. What is missing is not known, and the
//! worst that follows is a check that was not needed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_atomically};
use monoship_core::name::{Digest, StageName};
use monoship_core::sorted::Order as _;

/// How many images of a stage are remembered; the oldest go.
const REMEMBERED: usize = 500;

/// The images that passed a stage on this machine.
#[derive(Debug, Clone)]
pub struct Passed {
    folder: PathBuf,
}

impl Passed {
    /// Those of a stage, under `root`, which is `target/xtask`.
    #[must_use]
    pub fn new(root: &Path, stage: &StageName) -> Self {
        Self { folder: root.join("state/passed").join(stage.as_str()) }
    }

    /// True where this very image passed.
    #[must_use]
    pub fn has(&self, image: &Digest) -> bool {
        self.path(image).is_file()
    }

    /// Remembers that an image passed.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn remember(&self, image: &Digest) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::io("create", &self.folder, e))?;
        write_atomically(&self.path(image), b"")?;
        self.trim();
        Ok(())
    }

    /// Forgets an image: the stage is run again for it.
    ///
    /// # Errors
    /// When its file is there and cannot be removed.
    pub fn forget(&self, image: &Digest) -> Result<()> {
        match std::fs::remove_file(self.path(image)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &self.path(image), error)),
            _ => Ok(()),
        }
    }

    fn path(&self, image: &Digest) -> PathBuf {
        self.folder.join(image.as_str().replace(':', "-"))
    }

    fn trim(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, PathBuf)> =
            entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).into_vec();
        files.order();
        let over = files.len().saturating_sub(REMEMBERED);
        for (_, path) in files.into_iter().take(over) {
            // Another run may have been faster.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_passed_one_stage_has_not_passed_another() {
        let dir = tempfile::tempdir().unwrap();
        let of = |stage: &str| Passed::new(dir.path(), &stage.parse().unwrap());
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        of("smoke").remember(&one).unwrap();
        assert_eq!([of("smoke").has(&one), of("smoke").has(&other), of("scan").has(&one)], [true, false, false]);
        of("smoke").forget(&one).unwrap();
        assert!(!of("smoke").has(&one));
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let passed = Passed::new(dir.path(), &"smoke".parse().unwrap());
        (0..REMEMBERED + 3).for_each(|n| passed.remember(&Digest::of(n.to_string().as_bytes())).unwrap());
        assert_eq!(std::fs::read_dir(&passed.folder).unwrap().count(), REMEMBERED);
    }
}
