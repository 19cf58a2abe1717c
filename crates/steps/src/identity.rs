//! By which name a builder knows a main context. It goes by the last part of its path, and asks of what it knows by that name only for files of
//! another size or time (`fsutil`'s `diff`). A named context it knows by this and its own name, whichever folder it is. And a folder of
//! which the permissions alone changed keeps its place in the keys of steps (moby/buildkit#7176). So where the path says too little, a link
//! to the folder is handed over, whose name says it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::Session;
use monoship_core::error::{Error, Result};
use monoship_core::name::sha256_hex;
use monoship_core::sorted::SortedMap;
use monoship_docker::spec::BuildSpec;
use monoship_plan::fingerprint::Inputs;
use monoship_plan::part::Part;

/// The link to hand over in place of the folder `root`; none where its own path will do. `contexts` are the named ones.
pub fn link(session: &Session, root: &Path, inputs: &Inputs, contexts: &SortedMap<String, String>) -> Option<PathBuf> {
    let parts = inputs.contexts.values().flat_map(SortedMap::values).chain(&inputs.main);
    let odd = parts.flat_map(Part::odd_folders).map(|(path, mode)| format!("{mode} {path}\0"));
    let named = contexts.iter().filter(|(_, place)| Path::new(place).is_dir()).map(|(name, place)| format!("{name} {place}\0"));
    let said: String = odd.chain(named).collect();
    if said.is_empty() {
        return None;
    }
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let hash = sha256_hex(format!("{said}{}", root.display()).as_bytes());
    // Not below the folder itself: whoever walks through it would come back to it.
    Some(session.env.cache_dir().join("contexts").join(format!("{name}-{}", &hash[..12])))
}

/// Makes the link of a build that has one.
///
/// # Errors
/// When it cannot be made.
pub fn make(spec: &BuildSpec) -> Result<()> {
    let Some(link) = &spec.link else { return Ok(()) };
    if std::fs::read_link(link).is_ok_and(|there| there == spec.context) {
        return Ok(());
    }
    let failed = |e| Error::io("write", link, e);
    if let Some(folder) = link.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    match symlink(&spec.context, link) {
        // Another build of this run was faster.
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(e)),
        _ => Ok(()),
    }
}
