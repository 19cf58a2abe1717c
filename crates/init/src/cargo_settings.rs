//! What cargo's settings say of builds: for which machine, and into which folder.

use std::path::PathBuf;

use monoship_core::error::{Result, read_text};

/// The table `[build]`, as far as it decides where a crate is compiled to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The machine that is compiled for: the one that cargo runs on where nothing is said.
    pub target: Option<String>,
    /// The folder, in place of `target`.
    pub target_dir: Option<String>,
}

impl Build {
    /// Reads the settings in these folders, the nearest first: of each key the first counts.
    ///
    /// Source: doc.rust-lang.org/cargo/reference/config.html "Hierarchical structure".
    ///
    /// # Errors
    /// A file that cannot be read. One that is no TOML is cargo's to tell of.
    pub fn read(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let mut all = Self::default();
        for folder in folders {
            let files = ["config", "config.toml"].map(|name| folder.join(name));
            let Some(file) = files.iter().find(|file| file.is_file()) else { continue };
            let settings: toml::Table = read_text(file)?.parse().unwrap_or_default();
            let said = |key: &str| {
                // Several machines may be named in a list.
                let value = settings.get("build")?.get(key)?;
                value.as_str().or_else(|| value.as_array()?.first()?.as_str()).map(str::to_owned)
            };
            all.target = all.target.or_else(|| said("target"));
            all.target_dir = all.target_dir.or_else(|| said("target-dir"));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_settings_count_key_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        put("shop/.cargo/config.toml", "[build]\ntarget-dir = \"out\"\n");
        put("home/config.toml", "[build]\ntarget = [\"wasm32-unknown-unknown\"]\ntarget-dir = \"/var/cargo\"\n");
        let read = |folders: &[&str]| Build::read(folders.iter().map(|folder| dir.path().join(folder))).unwrap();
        let found = read(&["shop/.cargo", ".cargo", "home"]);
        assert_eq!((found.target.as_deref(), found.target_dir.as_deref()), (Some("wasm32-unknown-unknown"), Some("out")));
        assert_eq!(read(&["shop/apps/.cargo"]), Build::default());
    }
}
