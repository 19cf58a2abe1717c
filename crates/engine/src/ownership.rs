//! Whose the engine's folders are. Root runs programs out of them, so nobody else may be able to put one there. Looks; changes nothing.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use monoship_core::error::{Error, Result};

/// Write access of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// In such a folder others can add names, and touch none but their own: `/tmp`.
const STICKY: u32 = 0o1000;

/// Checks that a folder is this user's own and that nobody else may write into it, nor put another in its place. One that is not there
/// yet is fine.
///
/// # Errors
/// Another owner, write access for others, or a link; with what to do.
pub fn check(dir: &Path) -> Result<()> {
    let Some(metadata) = metadata(dir)? else { return Ok(()) };
    let own = rustix::process::geteuid().as_raw();
    let refused = |why: String| {
        Error::failed(format!("the embedded engine does not use {}: {why}", dir.display())).hint(
            "the engine runs as root whatever programs lie there: name a folder of its own in XTASK_CACHE_DIR and XTASK_ENGINE_DATA, \
             or remove this one",
        )
    };
    if !metadata.is_dir() {
        return Err(refused("it is not a folder".to_owned()));
    }
    if metadata.uid() != own {
        return Err(refused(format!("it belongs to user {}, and this is user {own}", metadata.uid())));
    }
    let mode = metadata.permissions().mode();
    if mode & OTHERS_WRITE != 0 {
        return Err(refused(format!("others may write into it (mode {:o})", mode & 0o7777)));
    }
    for above in dir.ancestors().skip(1) {
        let Some(metadata) = self::metadata(above)? else { continue };
        let mode = metadata.permissions().mode();
        if mode & 0o002 != 0 && mode & STICKY == 0 {
            return Err(refused(format!("others may write into {} above it (mode {:o})", above.display(), mode & 0o7777)));
        }
    }
    Ok(())
}

fn metadata(dir: &Path) -> Result<Option<std::fs::Metadata>> {
    match std::fs::symlink_metadata(dir) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", dir, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path, mode: u32) {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_put_programs_into_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/engine");
        std::fs::create_dir_all(&inner).unwrap();
        mode(&inner, 0o755);
        check(&inner).unwrap();
        check(&inner.join("not there yet")).unwrap();
        for open in [0o775, 0o757, 0o1777] {
            mode(&inner, open);
            assert!(check(&inner).unwrap_err().to_string().contains("others may write into it"), "{open:o}");
        }
        mode(&inner, 0o700);
        mode(inner.parent().unwrap(), 0o777);
        assert!(check(&inner).unwrap_err().to_string().contains("above it"));
        mode(inner.parent().unwrap(), 0o1777);
        check(&inner).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(check(&link).unwrap_err().to_string().contains("not a folder"));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&inner, Some(4_321), None).unwrap();
            assert!(check(&inner).unwrap_err().to_string().contains("belongs to user 4321"));
        }
    }
}
