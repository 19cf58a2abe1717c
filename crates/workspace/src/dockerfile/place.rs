//! Which file a builder reads for a name. It is sent a folder and follows links within that alone (`FollowLinks` of tonistiigi/fsutil): `..`
//! ends at the folder, and `/` begins there, wherever on this machine the link would lead.

use std::path::{Path, PathBuf};

use monoship_core::collect::Collect as _;
use pnpm::join;

use crate::sources::parent;

/// Links that lead to links are followed this often, as by the builder.
const MAX_LINKS: usize = 255;

/// What `name` leads to in a folder, relative to it; `link` says where a link of the folder leads. `None` where links go in a circle, or to the
/// folder itself.
pub fn within(name: &str, link: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut left: Vec<String> = name.split('/').rev().map(str::to_owned).into_vec();
    let (mut at, mut links): (Vec<String>, _) = (Vec::new(), 0);
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." => drop(at.pop()),
            _ => {
                at.push(part);
                let Some(target) = link(&at.join("/")) else { continue };
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.starts_with('/') {
                    at.clear();
                } else {
                    at.pop();
                }
                left.extend(target.split('/').rev().map(str::to_owned));
            }
        }
    }
    (!at.is_empty()).then(|| at.join("/"))
}

/// [`within`] for a file of a repository, in the folder `dir` of it; paths and links are relative to the repository.
pub fn below(dir: &str, name: &str, link: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    join(dir, &within(name, &|path| link(&join(dir, path)?))?)
}

/// What a builder reads as the Dockerfile at `path`: it is sent the folder that holds it.
pub fn of_dockerfile(path: &str, link: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    below(parent(path), path.rsplit('/').next()?, link)
}

/// What a builder reads as the ignore file of a Dockerfile in a context, the one that counts first: `<Dockerfile>.dockerignore` beside it, then
/// `.dockerignore` at the context's root (BuildKit's `dockerui`).
pub fn of_ignore_files(dockerfile: &str, context: &str, link: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let own = of_dockerfile(&format!("{dockerfile}.dockerignore"), link);
    own.into_iter().chain(below(context, ".dockerignore", link)).into_vec()
}

/// [`within`] for a file of a folder on disk.
pub fn on_disk(folder: &Path, name: &str) -> Option<PathBuf> {
    let link = |path: &str| std::fs::read_link(folder.join(path)).ok()?.into_os_string().into_string().ok();
    within(name, &link).map(|path| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_folder_that_a_builder_is_sent() {
        let links = [
            ("plain", "docker/ign"),
            ("absolute", "/docker/ign"),
            ("above", "../../docker/ign"),
            ("twice", "docker/again"),
            ("docker/again", "../plain"),
            ("by-folder", "folder/ign"),
            ("folder", "docker"),
            ("circle", "circle"),
            ("itself", "."),
        ];
        let link = |path: &str| links.iter().find(|(name, _)| *name == path).map(|(_, target)| (*target).to_owned());
        for name in ["docker/ign", "plain", "absolute", "above", "twice", "by-folder", "folder/ign"] {
            assert_eq!(within(name, &link).as_deref(), Some("docker/ign"), "{name}");
        }
        assert_eq!((within("circle", &link), within("itself", &link)), (None, None));
        let link = |path: &str| match path {
            "docker/a.dockerignore" => Some("../shared/ign".to_owned()),
            "apps/api/.dockerignore" => Some("/ign".to_owned()),
            _ => None,
        };
        assert_eq!(of_ignore_files("docker/a", "apps/api", &link), ["docker/shared/ign", "apps/api/ign"]);
        assert_eq!(of_ignore_files("a", ".", &link), ["a.dockerignore", ".dockerignore"]);
    }
}
