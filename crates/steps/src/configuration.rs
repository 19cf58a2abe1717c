//! Whose `xtask.toml` a run goes by: the working tree's or, for what concerns a release, its commit's. And `xtask.lock`. What the files say
//! is understood where no file is read.

use std::path::Path;

use crate::Session;
use crate::service::lay_over;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result, read_text, write_checked_in};
use monoship_plan::config::pins::Pins;
use monoship_plan::config::{self, Config, Folder};
use monoship_workspace::git::Git;
use monoship_workspace::package;

/// The file, at the repository's root.
pub const FILE: &str = "xtask.toml";

/// Reads the configuration from `file`, which counts as empty where it is missing and not `required`. `remote` is the registry and namespace
/// that the git remote suggests.
///
/// # Errors
/// When it cannot be read; as [`config::of_text`].
pub fn load(file: &Path, required: bool, env: &Env, remote: &dyn Fn() -> Result<Option<(String, String)>>) -> Result<Config> {
    let text = match std::fs::exists(file) {
        Ok(false) if !required => None,
        Ok(false) => {
            return Err(Error::usage(format!("there is no {}", file.display()))
                .hint("create it (an empty file will do), or pass another `--config`"));
        }
        _ => Some(read_text(file)?),
    };
    config::of_text(file, text.as_deref(), env, remote)
}

/// What images that no registry has are told apart by: the name in the root's package.json, which every clone and working tree of a
/// repository has, else the folder's; as an image's name can have it. `@acme/shop` is `acme-shop`. A workspace in a folder of its repository has
/// that in its name: two of them may be called the same.
#[must_use]
pub fn local_name(home: &Path) -> String {
    let manifest = std::fs::read_to_string(home.join("package.json")).ok();
    let manifest = manifest.and_then(|text| package::json::<serde_json::Value>(&text).ok());
    let own = || home.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = manifest.and_then(|manifest| manifest["name"].as_str().map(str::to_owned)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(own).to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).into_vec();
    let name = if words.is_empty() { "repository".to_owned() } else { words.join("-") };
    match folder(home).map(|folder| folder.word()) {
        Some(word) if name != word && !name.ends_with(&format!("-{word}")) => format!("{name}-{word}"),
        _ => name,
    }
}

/// Reads the pinned images; of a file that is not there, none.
///
/// # Errors
/// When it cannot be read; as [`Pins::parse`].
pub fn pins(file: &Path) -> Result<Pins> {
    if file.exists() { Pins::parse(&read_text(file)?, file) } else { Ok(Pins::default()) }
}

/// Writes them in one step, where the text differs from what is there.
///
/// # Errors
/// When the file cannot be written.
pub fn save_pins(pins: &Pins, file: &Path) -> Result<()> {
    let text = pins.to_text();
    if std::fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    write_checked_in(file, &text)
}

/// The same run by the configuration of a commit. Which engine builds, and under which local names, stays the machine's choice, and a file
/// that the command line names holds for every commit.
///
/// # Errors
/// As [`config::of_text`]; git failures.
pub fn at_commit(session: &Session, commit: &str) -> Result<Session> {
    if session.config.file != session.home.join(FILE) {
        return Ok(session.clone());
    }
    let git = session.git();
    let text = git.text_at(commit, FILE)?;
    let name = format!("{FILE} of commit {commit:.12}");
    let mut config =
        config::of_text(Path::new(&name), text.as_deref(), &session.env, &|| suggested(&git, session.config.folder.as_ref()))?;
    config.file.clone_from(&session.config.file);
    config.folder.clone_from(&session.config.folder);
    config.engine = session.config.engine;
    config.images.local.clone_from(&session.config.images.local);
    lay_over(&mut config, &session.overlay.services)?;
    Ok(Session { config, ..session.clone() })
}

/// What can be done where no registry is known.
pub const NAME_A_REGISTRY: &str =
    "set `[images] registry` and `namespace` in xtask.toml: only of a git remote at github.com they are known, as ghcr.io's";

/// The registry and namespace of a repository on GitHub, whose registry is at a host of its own; elsewhere nothing is guessed. A workspace in a
/// folder of it has a namespace below.
///
/// # Errors
/// When git does not answer.
pub fn suggested(git: &Git, folder: Option<&Folder>) -> Result<Option<(String, String)>> {
    let remote = git.remote()?.filter(|remote| remote.host == "github.com");
    let below = folder.map(|folder| format!("/{}", folder.in_image())).unwrap_or_default();
    Ok(remote.map(|remote| ("ghcr.io".to_owned(), format!("{}/{}{below}", remote.owner, remote.name))))
}

/// Where in its repository a workspace lies; `None` for the repository's root, and where there is no repository. A working tree has `.git` at its
/// root, as a folder or, of `git worktree` and submodules, as a file.
#[must_use]
pub fn folder(home: &Path) -> Option<Folder> {
    let home = home.canonicalize().ok()?;
    let root = home.ancestors().find(|folder| folder.join(".git").exists())?;
    Folder::new(home.strip_prefix(root).ok()?.to_str()?)
}
