//! Whether what a builder takes was edited before it had it. A builder takes the files of its contexts, and what addresses hold, as it comes to
//! them, which can be long after they were read: the image may then hold other bytes than its fingerprint says, and nobody may meet it under its
//! content tag.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::bases::HERE;
use crate::contexts::Cut;
use crate::inputs::Target;
use crate::project::Project;
use crate::{STATE, Session, build, given, outside};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::ImageRef;
use monoship_core::sorted::{SortedMap, side_by_side};
use monoship_docker::engine::Engine;
use monoship_plan::TargetPlan;
use monoship_plan::fingerprint::Inputs;
use monoship_plan::part::{MainContext, Part};
use monoship_plan::services::Service;
use monoship_workspace::dockerfile::{self, Slice};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::sent::Sent;

/// File systems note times more coarsely than the clock tells them.
const COARSE: Duration = Duration::from_secs(1);

/// What was edited of what a service's builder takes: the first file or folder that is another than it was read as, where one was edited after
/// `since`, or an address that holds something else. What gets no name is taken for nothing else, and is not looked at.
///
/// # Errors
/// When something of it cannot be read; git failures.
pub fn edited(
    session: &Session,
    (project, engine): (&Project, &Engine),
    cut: &Cut<'_>,
    (service, target, plan): (&Service, &Target<'_>, &TargetPlan),
    since: SystemTime,
) -> Result<Option<String>> {
    if plan.spec.output.names().is_empty() {
        return Ok(None);
    }
    if let Some(path) = cut.edited(session, &service.name)? {
        return Ok(Some(said(&path.strip_prefix(&project.root).unwrap_or(&path).display().to_string())));
    }
    let since = since - COARSE;
    let view = project.view(service);
    if let Some(path) = instructions(target, view, plan.inputs.main.is_some())? {
        let path = path.strip_prefix(&project.root).unwrap_or(&path);
        return Ok(Some(said(&path.display().to_string())));
    }
    if let (Some(main), Some(sent)) = (&plan.inputs.main, view.last_sent())
        && was_touched(&view.root, main.entries().iter().map(|(path, _)| &**path), since)
    {
        let now = session.git().in_worktree(&project.root).worktree()?;
        let folder = view.root.strip_prefix(&project.root).ok().and_then(Path::to_str).unwrap_or_default();
        let now = if folder.is_empty() { now } else { now.below(folder) };
        let again = sent.again(&view.root, &now, &view.ignore, STATE)?;
        let slice = target.slice(view)?;
        let seen = |sent: &Sent| MainContext::new(sent).seen_by(&slice);
        let before = seen(&sent);
        // Triggers of its base see what no line of the Dockerfile names.
        let by_lines = before.as_ref().is_some_and(|before| before.hash() == main.hash());
        let path = if by_lines { first_change(before.as_ref(), seen(&again).as_ref()) } else { sent.changed(&again).pop_first() };
        if let Some(path) = path {
            return Ok(Some(if folder.is_empty() { said(&path) } else { said(&format!("{folder}/{path}")) }));
        }
    }
    if !service.given.contexts.is_empty()
        && project.named_touched(|root, paths| was_touched(root, paths, since))
        && let Some(path) = project.edited_in_named()?
    {
        return Ok(Some(said(&path.strip_prefix(&project.root).unwrap_or(&path).display().to_string())));
    }
    let moved = outside::moved(session, &plan.inputs.addresses).or_else(|| given::moved(session, &service.given, &plan.inputs));
    match moved {
        Some(address) => Ok(Some(format!("what {address} holds changed"))),
        None => taken_otherwise(&plan.inputs, &build::materials(session, plan), engine.capabilities.containerd_store),
    }
}

/// What a builder has taken as something else than it was taken for, by what it says itself: an image that only the engine has and that was given
/// another content meanwhile.
///
/// # Errors
/// An address whose ETag stays while its content changes: the builder's cache goes on with what was, each time.
fn taken_otherwise(inputs: &Inputs, materials: &SortedMap<String, String>, ids_are_digests: bool) -> Result<Option<String>> {
    let stale = |(address, held): &(&String, &String)| {
        materials.get(*address).is_some_and(|taken| held.starts_with("sha256:") && taken != *held)
    };
    if let Some((address, _)) = inputs.addresses.iter().find(stale) {
        let why = format!(
            "the builder has another content of {address} than it holds: its cache goes by the server's ETag, which has stayed"
        );
        return Err(Error::failed(why).hint(
            "pin it with `ADD --checksum=sha256:…`, or have the builder forget what it fetched: `docker buildx prune --all`",
        ));
    }
    let moved = |(image, id): &(&ImageRef, &String)| {
        let Some(id) = id.strip_prefix(HERE).filter(|_| ids_are_digests) else { return false };
        let name = format!("pkg:docker/{}@{}?", image.without_reference().familiar(), image.reference());
        materials.iter().any(|(uri, taken)| uri.starts_with(&name) && taken != id)
    };
    Ok(inputs.bases.iter().find(moved).map(|(image, _)| format!("the engine's image {} changed", image.familiar())))
}

/// The Dockerfile, where what a target reaches of it reads otherwise by now; or the ignore file, where it does and `sees_main`. A builder reads
/// both as it begins.
fn instructions(target: &Target<'_>, view: &Project, sees_main: bool) -> Result<Option<PathBuf>> {
    let path = view.dockerfile.path();
    let read = |slice: &Slice<'_>| {
        let texts = slice.texts().into_iter().map(|stage| (stage.name, stage.steps.into_iter().map(|(text, _)| text).into_vec()));
        (texts.into_vec(), slice.escape(), slice.syntax().map(str::to_owned))
    };
    // What is no Dockerfile any more is another, too.
    let again = dockerfile::load(path).ok();
    let again = again.as_ref().and_then(|dockerfile| target.slice_of(dockerfile).ok());
    let before = target.slice(view)?;
    if again.is_none_or(|again| read(&again) != read(&before)) {
        return Ok(Some(path.to_owned()));
    }
    let ignore = dockerfile::ignore_file(path, &view.root);
    let rules = ignore.as_deref().map(Ignore::load).transpose()?.unwrap_or_default();
    Ok((sees_main && rules != view.ignore).then(|| ignore.unwrap_or_else(|| view.root.join(".dockerignore"))))
}

fn said(path: &str) -> String {
    format!("`{path}` was edited")
}

/// The first entry that one of the parts has and the other has not.
fn first_change(before: Option<&Part>, after: Option<&Part>) -> Option<String> {
    let (before, after) = (before.into_iter().flat_map(Part::entries), after.into_iter().flat_map(Part::entries));
    let (was, is) = side_by_side(before, after, |a, b| a.0.cmp(&b.0)).find(|(was, is)| was != is)?;
    was.or(is).map(|(path, _)| path.to_string())
}

/// True where one of these paths, or a folder that leads to one, has changed since then or is gone. An edit cannot hide from the time of the
/// last change to an inode, which nobody can set.
fn was_touched<'p>(root: &Path, paths: impl Iterator<Item = &'p str>, since: SystemTime) -> bool {
    let changed = |path: &str| {
        let Ok(there) = root.join(path).symlink_metadata() else { return true };
        let at = Duration::new(there.ctime().try_into().unwrap_or(0), there.ctime_nsec().try_into().unwrap_or(0));
        SystemTime::UNIX_EPOCH + at >= since
    };
    let mut folders = [""].into_iter().into_set();
    for path in paths.map(|path| path.trim_end_matches('/')) {
        if changed(path) {
            return true;
        }
        let mut folder = path;
        while let Some((parent, _)) = folder.rsplit_once('/')
            && folders.insert(parent)
        {
            folder = parent;
        }
    }
    folders.into_iter().any(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_builder_says_that_it_took_is_held_against_what_was_read() {
        let (read, other) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let (url, image) = ("https://acme.example/cfg.json", "localhost:5000/acme/base");
        let inputs = Inputs {
            schema: 2,
            target: "api".into(),
            syntax: None,
            stages: SortedMap::new(),
            contexts: SortedMap::new(),
            main: None,
            bases: SortedMap::from([
                (image.parse().unwrap(), format!("{HERE}{read}")),
                ("node:24".parse().unwrap(), read.clone()),
            ]),
            addresses: SortedMap::from([
                (url.to_owned(), read.clone()),
                ("https://acme.example/b".to_owned(), "etag \"1\"".into()),
            ]),
            arguments: SortedMap::new(),
            platforms: [].into_iter().into_set(),
            settings: SortedMap::new(),
        };
        let taken = |uri: &str, digest: &String, ids_are_digests| {
            taken_otherwise(&inputs, &SortedMap::from([(uri.to_owned(), digest.clone())]), ids_are_digests)
        };
        let purl = format!("pkg:docker/{image}@latest?platform=linux%2Famd64");
        for (uri, digest) in [(url, &read), ("https://acme.example/b", &other), (purl.as_str(), &read)] {
            assert_eq!(taken(uri, digest, true).unwrap(), None, "{uri}");
        }
        assert!(taken(url, &other, true).unwrap_err().to_string().contains(url));
        assert_eq!(taken(&purl, &other, true).unwrap().unwrap(), format!("the engine's image {image} changed"));
        assert_eq!(taken(&purl, &other, false).unwrap(), None, "an id that is a configuration's");
    }

    #[test]
    fn an_edit_a_new_file_and_one_that_is_gone_are_seen_and_what_lies_elsewhere_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |path: &str| dir.path().join(path);
        for folder in ["a/deep", "b"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        let paths = ["a/deep/one", "a/two"];
        paths.iter().chain(&["b/other"]).for_each(|file| std::fs::write(path(file), "1").unwrap());
        let touched = |since| was_touched(dir.path(), paths.into_iter(), since);
        let pause = || std::thread::sleep(Duration::from_millis(20));
        let now = || {
            pause();
            let now = SystemTime::now();
            pause();
            now
        };
        let since = now();
        std::fs::write(path("b/other"), "2").unwrap();
        assert!(!touched(since));
        std::fs::write(path("a/deep/one"), "2").unwrap();
        assert!(touched(since));
        let since = now();
        let file = std::fs::File::options().write(true).open(path("a/two")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(touched(since), "whatever time it is given");
        let since = now();
        std::fs::write(path("a/deep/new"), "").unwrap();
        assert!(touched(since));
        let since = now();
        std::fs::remove_file(path("a/two")).unwrap();
        assert!(touched(since));
    }
}
