//! What builds take from outside that is no base image and no frontend: the scanner of `--sbom`, and the addresses that an ADD fetches. They are asked what they hold; nothing is kept.

use std::io::Read as _;
use std::time::Duration;

use ring::digest;
use serde::Deserialize;

use crate::Session;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::http::{Http, Request};
use monoship_core::execute::pool;
use monoship_core::name::{ImageRef, hex, nearest};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::manifest::Document;
use monoship_docker::registry::Registry;
use monoship_plan::config::Sbom;
use monoship_workspace::dockerfile::{Address, Dockerfile, Slice, Stage};
use monoship_workspace::git::Git;

/// What BuildKit runs for `--sbom=true`.
pub const SCANNER: &str = "docker/buildkit-syft-scanner:stable-1";

/// An address is given up after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Configurations of images are a few kB.
const MAX_CONFIG: u64 = 4 << 20;

/// So much of an address is read to know its content, where the server has no word for it.
const MAX_READ: u64 = 64 << 20;

/// The error of an image that cannot be had, or, where its name is rather that of a stage that is mistyped, one that says so.
#[must_use]
pub fn or_mistyped(dockerfile: &Dockerfile, images: &SortedSet<ImageRef>, error: Error) -> Error {
    let said = error.to_string();
    let found = images.iter().find_map(|image| {
        let name = image.familiar();
        let near = stage_meant(dockerfile, &name).filter(|_| said.contains(&image.to_string()))?.to_owned();
        let mut steps = dockerfile.stages().iter().flat_map(Stage::instructions);
        let starts = dockerfile.stages().iter().find(|stage| stage.base() == name).map(Stage::line);
        let from = format!("--from={name}");
        let line = starts.or_else(|| steps.find(|step| step.flags.contains(&from)).map(|step| step.line));
        Some((name, near, line))
    });
    let Some((name, near, line)) = found.filter(|_| !error.is_cancelled()) else { return error };
    let hint = format!("did you mean `{near}`? Taken for an image, it cannot be pulled: {said}");
    Error::usage(format!("there is no stage `{name}`")).at(dockerfile.path(), line).hint(hint)
}

/// The stage that is rather meant by what is taken for an image's name.
#[must_use]
pub fn stage_meant<'d>(dockerfile: &'d Dockerfile, name: &str) -> Option<&'d str> {
    let is_bare = !name.contains(['/', ':', '@']);
    nearest(name, dockerfile.targets()).filter(|_| is_bare)
}

/// The ONBUILD triggers of an image that is named by its digest; of several platforms the first one's.
///
/// # Errors
/// When its registry does not answer, or what it answers is no image.
pub fn triggers(registry: &Registry, image: &ImageRef) -> Result<Vec<String>> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Config {
        on_build: Option<Vec<String>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Image {
        config: Config,
    }
    let mut image = image.clone();
    let manifest = loop {
        match registry.need_manifest(&image)?.document()? {
            Document::Manifest(manifest) => break manifest,
            Document::Index(index) => match index.images().next() {
                Some(first) => image = image.with_digest(first.digest.clone()),
                None => return Ok(Vec::new()),
            },
        }
    };
    let bytes = registry.blob(&image, &manifest.config.digest, MAX_CONFIG)?;
    Ok(serde_json::from_slice::<Image>(&bytes).unwrap_or_default().config.on_build.unwrap_or_default())
}

/// The image that makes SBOMs, where they are made.
///
/// # Errors
/// When BuildKit's own is no image's name.
pub fn scanner(sbom: &Sbom) -> Result<Option<ImageRef>> {
    Ok(match sbom {
        Sbom::On => Some(SCANNER.parse()?),
        Sbom::Generator(image) => Some(image.clone()),
        Sbom::Off => None,
    })
}

/// What each address holds that a target fetches and the Dockerfile does not pin. One that does not say is another each time it is asked, so
/// that whoever fetches it is built, and is named in a warning.
///
/// # Errors
/// When the run is closing.
pub fn held(session: &Session, slices: &[Slice<'_>], dockerfile: &str) -> Result<SortedMap<String, String>> {
    let unpinned = slices.iter().flat_map(Slice::addresses).filter(|address| !address.is_pinned()).into_set();
    let unpinned: Vec<&Address> = unpinned.into_iter().into_vec();
    if unpinned.is_empty() {
        return Ok(SortedMap::new());
    }
    let asked = pool::in_parallel(&unpinned, |address| (*address, ask(session, address)));
    session.shutdown.check()?;
    let mut all = SortedMap::new();
    for (address, held) in asked {
        let held = held.unwrap_or_else(|why| {
            let message =
                format!("{dockerfile}:{} adds {}, and what it holds is not known: {why}", address.line, address.address);
            let hint =
                "what it goes into is built each time; pin it with `ADD --checksum=sha256:…`, or a commit's full id".to_owned();
            session.events.notice(Level::Warning, None, message, Some(hint));
            unknown(session)
        });
        all.insert(address.address.clone(), held);
    }
    Ok(all)
}

/// What an address holds, or a fragment that says why nobody can tell.
///
/// # Errors
/// See above.
pub fn ask(session: &Session, address: &Address) -> Result<String, String> {
    match address.repository() {
        _ if address.address.contains('$') => Err("it depends on a variable that has no value here".to_owned()),
        Some((place, revision)) => of_repository(&session.git(), place, revision),
        None => of_url(&session.http, &address.address),
    }
}

/// How it begins what an address counts as holding that cannot be asked.
const UNKNOWN: &str = "unknown at ";

/// What an address counts as holding that cannot be asked: what no run before has met.
pub fn unknown(session: &Session) -> String {
    let moment = session.begun.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{UNKNOWN}{moment}")
}

/// The first of these addresses that holds something else than was asked before. One that does not answer now is not known to.
pub fn moved(session: &Session, asked: &SortedMap<String, String>) -> Option<String> {
    let asked = asked.iter().filter(|(_, held)| !held.starts_with(UNKNOWN));
    let differs = |(address, held): &(&String, &String)| {
        let address = Address { address: (*address).clone(), line: 0, checksum: false };
        ask(session, &address).is_ok_and(|now| now != **held)
    };
    asked.into_iter().find(differs).map(|(address, _)| address.clone())
}

/// The server's own word for the content, where that is one (a strong `ETag`, which BuildKit goes by too), else the content's hash.
fn of_url(http: &Http, url: &str) -> Result<String, String> {
    let (head, mut body) = http.open(Request::get(url).whole(PATIENCE)).map_err(|error| error.to_string())?;
    if head.status != 200 {
        return Err(format!("status {}", head.status));
    }
    if let Some(tag) = head.header("etag").filter(|tag| !tag.starts_with("W/") && tag.len() > 2) {
        return Ok(format!("etag {tag}"));
    }
    let mut hasher = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut seen) = (vec![0; 64 << 10], 0);
    loop {
        match body.read(&mut buffer).map_err(|error| error.to_string())? {
            0 => return Ok(format!("sha256:{}", hex(hasher.finish().as_ref()))),
            read => {
                seen += read as u64;
                hasher.update(&buffer[..read]);
            }
        }
        if seen > MAX_READ {
            return Err(format!("it is larger than {} MB, and its server has no strong ETag", MAX_READ >> 20));
        }
    }
}

/// The commit that a branch or tag of a repository is at.
fn of_repository(git: &Git, place: &str, revision: &str) -> Result<String, String> {
    let names = if revision.is_empty() {
        vec!["HEAD".to_owned()]
    } else {
        ["refs/heads/", "refs/tags/", "refs/", ""].map(|prefix| format!("{prefix}{revision}")).into()
    };
    let mut words = vec!["ls-remote", "--", place];
    words.extend(names.iter().map(String::as_str));
    let call = git.command(&words).env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=5").timeout(PATIENCE);
    let answer = call.read(git.shutdown()).map_err(|error| error.to_string())?;
    // `ls-remote` lists what ends so, `refs/heads/fix/main` too; a builder takes what is called so.
    let is_named = |line: &&str| line.split_once('\t').is_some_and(|(_, name)| names.iter().any(|one| one == name));
    let found: Vec<&str> = answer.lines().filter(is_named).into_vec();
    if found.is_empty() {
        return Err(format!("its repository has no `{}`", if revision.is_empty() { "HEAD" } else { revision }));
    }
    Ok(found.iter().map(|line| line.replace('\t', " ")).into_vec().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::execute::process::Invocation;
    use monoship_core::execute::shutdown::Shutdown;

    #[test]
    fn a_branch_is_the_one_of_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        let shutdown = Shutdown::new();
        let run = |args: &str| Invocation::new("git").args(args.split(' ')).dir(dir.path()).read(&shutdown).unwrap();
        run("init --quiet --initial-branch=main");
        run("-c user.name=t -c user.email=t@example.org commit --quiet --allow-empty --message=one");
        run("branch fix/main");
        run("branch fix/other");
        let git = Git::at(dir.path(), &shutdown);
        let asked = |revision: &str| of_repository(&git, dir.path().to_str().unwrap(), revision);
        assert_eq!(asked("main").unwrap(), format!("{} refs/heads/main", run("rev-parse HEAD")));
        assert_eq!(asked("heads/main"), asked("main"));
        assert_eq!(asked("other").unwrap_err(), "its repository has no `other`");
    }
}
