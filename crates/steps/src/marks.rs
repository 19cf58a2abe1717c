//! What this repository's mark on images and caches says, and putting it on what the builder does not mark itself.

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::name::ImageRef;
use monoship_docker::mark::Mark;
use monoship_docker::spec::BuildSpec;

use crate::Session;

/// This repository, as its mark names it: by its remote, so that all clones of it agree and none of its forks; where it has none, by the
/// namespace of its images. A workspace in a folder of it has that in its mark: what is another workspace's is not its own to remove.
///
/// # Errors
/// When git cannot be run, or neither is known.
pub fn owner(session: &Session) -> Result<String> {
    if let Some(remote) = session.git().remote()? {
        let folder = session.config.folder.as_ref().map(|folder| format!("/{folder}")).unwrap_or_default();
        return Ok(format!("{}/{}/{}{folder}", remote.host, remote.owner, remote.name));
    }
    let prefix = session.config.images.prefix.as_ref().map(|prefix| prefix.repository().to_owned());
    prefix.ok_or_else(|| {
        Error::usage("this repository has no name to mark images with")
            .hint("give it a git remote, or set `[images] registry` and `namespace` in xtask.toml")
    })
}

/// The mark of what is no image.
///
/// # Errors
/// As [`owner`].
pub fn of_cache(session: &Session) -> Result<Mark> {
    Ok(Mark { repository: owner(session)?, fingerprint: None })
}

/// Marks the caches that a build has written to a registry. One that cannot be marked is a warning: it is only never removed.
pub fn caches(session: &Session, spec: &BuildSpec) {
    for cache in spec.cache_to.iter().filter_map(|target| written_to(target)) {
        let marked = of_cache(session).and_then(|mark| put_on(session, &mark, &cache));
        if let Err(error) = marked
            && !error.is_cancelled()
        {
            let message = format!("the cache {cache} could not be marked as this repository's: {error}");
            let hint = "`cargo xtask cache prune` leaves it alone until the next build writes it".to_owned();
            session.events.notice(Level::Warning, Some(spec.task.clone()), message, Some(hint));
        }
    }
}

/// The image reference in `type=registry,ref=…`.
fn written_to(target: &str) -> Option<ImageRef> {
    let words: Vec<&str> = target.split(',').into_vec();
    let named = words.contains(&"type=registry");
    words.iter().filter(|_| named).find_map(|word| word.strip_prefix("ref=")?.parse().ok())
}

fn put_on(session: &Session, mark: &Mark, cache: &ImageRef) -> Result<()> {
    let Some(raw) = session.registry.manifest(cache)? else { return Ok(()) };
    if Mark::of(&raw.document()?).as_ref() == Some(mark) {
        return Ok(());
    }
    session.registry.put_manifest(cache, &mark.put_on(&raw)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registrys_cache_has_a_manifest_to_mark() {
        let cache = "type=registry,ref=ghcr.io/o/r/cache:api,mode=max,image-manifest=true";
        assert_eq!(written_to(cache).unwrap().to_string(), "ghcr.io/o/r/cache:api");
        assert_eq!(written_to("type=gha,scope=ref=x"), None);
        assert_eq!(written_to("type=inline"), None);
    }
}
