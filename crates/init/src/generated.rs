//! Files that the library wrote and that carry its version: which of them are older than it, and what it would write today.

use std::path::Path;

use semver::Version;

use monoship_core::error::{Result, read_text, write_checked_in};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::stamp::{self, Stamp};
use monoship_github::notes::diff;
use monoship_github::workflow;
use monoship_plan::config::{Config, Folder};

use crate::workflow::{options, tool};
use crate::{VERSION, dockerfile_today, dockerignore_today, ignore};

/// A generated file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// From the workspace's root: that of a workflow may lead out of it.
    pub path: String,
    /// What it says of itself.
    pub stamp: Stamp,
    text: String,
}

/// What a refresh does with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The file as it is.
    pub there: Generated,
    /// What it would be.
    pub text: String,
    /// The difference.
    pub diff: String,
}

/// This library's version.
///
/// # Panics
/// Never: cargo takes no other version.
#[must_use]
pub fn version() -> Version {
    VERSION.parse().unwrap_or(Version::new(0, 0, 0))
}

/// A path from the repository's root as it is from the workspace's: what is said of a workspace's files is said from there.
fn from_workspace(config: &Config, path: &str) -> String {
    "../".repeat(config.folder.as_ref().map_or(0, Folder::depth)) + path
}

/// The generated files that are there. One whose line with the version somebody took out is theirs.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn there(root: &Path, config: &Config) -> Result<Vec<Generated>> {
    let mut found = Vec::new();
    let beside = format!("{}{}", config.images.dockerfile, ignore::FILE);
    let own = [ignore::FILE.to_owned(), beside, config.images.dockerfile.clone()].map(|path| (path, None));
    let folder = config.folder.as_ref().map_or("", Folder::as_str);
    let workflows = workflow::paths(&config.word()).map(|path| (from_workspace(config, &path), Some(folder)));
    for (path, folder) in own.into_iter().chain(workflows) {
        let file = root.join(&path);
        if !file.is_file() {
            continue;
        }
        let text = read_text(&file)?;
        if folder.is_none_or(|folder| folder.is_empty() || workflow::is_ours(&text, folder)) {
            found.extend(stamp::read(&text).map(|stamp| Generated { path, stamp, text }));
        }
    }
    Ok(found)
}

/// The generated files that are not what this version would write. A file that somebody edited, or that a newer version wrote, is among
/// them only where it is older.
///
/// # Errors
/// A file that cannot be read, or what the files depend on.
pub fn outdated(root: &Path, config: &Config, shutdown: &Shutdown) -> Result<Vec<Refresh>> {
    let there = there(root, config)?;
    let mut workflows = Vec::new();
    let paths = workflow::paths(&config.word()).map(|path| from_workspace(config, &path));
    if there.iter().any(|file| paths.contains(&file.path)) {
        workflows = workflow::generate(&options(root, config, None, None, None, shutdown)?)?;
    }
    let mut found = Vec::new();
    for file in there {
        let older = file.stamp.version < version();
        if file.stamp.version > version() || (file.stamp.edited && !older) {
            continue;
        }
        let text = if file.path.ends_with(ignore::FILE) {
            dockerignore_today(root, &tool(root)?, shutdown)?
        } else if let Some(workflow) = workflows.iter().find(|workflow| from_workspace(config, &workflow.path) == file.path) {
            workflow.content.clone()
        } else {
            dockerfile_today(root, &file.path, shutdown)?
        };
        if older || text != file.text.replace("\r\n", "\n") {
            found.push(Refresh { diff: diff(&file.text, &text), there: file, text });
        }
    }
    Ok(found)
}

/// Writes them: those that nobody edited, and with `edited` the others too. Returns the paths that were written.
///
/// # Errors
/// When a file cannot be written.
pub fn refresh<'a>(root: &Path, files: &'a [Refresh], edited: bool) -> Result<Vec<&'a str>> {
    let wanted = files.iter().filter(|file| edited || !file.there.stamp.edited);
    wanted.map(|file| write_checked_in(&root.join(&file.there.path), &file.text).map(|()| file.there.path.as_str())).collect()
}
