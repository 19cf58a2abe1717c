//! A workspace that is not at the root of its repository: what its folder adds to names that the whole repository shares. Of several workspaces
//! in one repository none has the images, caches or release notes of another.

use std::fmt;
use std::path::Path;

use crate::config::Config;
use monoship_core::collect::Collect as _;

/// The folder of a workspace, from the root of its git repository; never that root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(String);

impl Folder {
    /// `None` for the root.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let path = path.trim_matches('/');
        (!path.is_empty() && path != ".").then(|| Self(path.to_owned()))
    }

    /// As a path with slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many folders it lies below the root: 2 of `services/web`.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.split('/').count()
    }

    /// What an image's name has of it: `services/my-web`.
    #[must_use]
    pub fn in_image(&self) -> String {
        self.0.split('/').map(word).into_vec().join("/")
    }

    /// One word of it, of small letters, digits and `-`: `services-my-web`.
    #[must_use]
    pub fn word(&self) -> String {
        word(&self.0)
    }
}

impl Config {
    /// The root of the repository in which the workspace at `home` lies.
    #[must_use]
    pub fn repository<'a>(&self, home: &'a Path) -> &'a Path {
        home.ancestors().nth(self.folder.as_ref().map_or(0, Folder::depth)).unwrap_or(home)
    }

    /// The word that names have of the workspace's folder; empty for the root.
    #[must_use]
    pub fn word(&self) -> String {
        self.folder.as_ref().map(Folder::word).unwrap_or_default()
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn word(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).into_vec();
    if words.is_empty() { "folder".to_owned() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_can_be_part_of_an_images_name_and_of_a_scopes() {
        let folder = |path: &str| Folder::new(path).map(|folder| (folder.in_image(), folder.word()));
        assert_eq!(folder("services/My_Web"), Some(("services/my-web".to_owned(), "services-my-web".to_owned())));
        assert_eq!([folder(""), folder("."), folder("/")], [None, None, None]);
    }
}
