//! Where an adopter's crate takes the library from: crates.io, a git repository, or a folder. Asks git, writes nothing.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use toml_edit::{Array, InlineTable, Value};

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::execute::shutdown::Shutdown;
use monoship_workspace::git::{Git, Remote};

/// Where this crate was compiled from.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Where the library was compiled from: its crates lie side by side.
fn library() -> PathBuf {
    Path::new(HERE).with_file_name(PACKAGE)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The library's package.
pub(crate) const PACKAGE: &str = "monoship";

/// What the crate turns on; one that builds without an engine of its own takes the first away.
const FEATURES: [&str; 2] = ["embedded-engine", "html"];

/// What `--from` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A version on crates.io; this library's where none is named.
    CratesIo(Option<String>),
    /// A git repository, that of this library's source where none is named, and a commit or tag of it; without one the branch counts,
    /// and `Cargo.lock` pins the commit.
    Git(Option<String>, Option<String>),
    /// The library's folder, or that of its repository; where this library was compiled from, if none is named.
    Path(Option<PathBuf>),
}

impl FromStr for From {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, place) = text.split_once('=').map_or((text, None), |(kind, place)| (kind, Some(place)));
        if place == Some("") {
            return Err(Error::usage(format!("`{text}` has nothing after the `=`")));
        }
        match kind {
            "crates-io" => {
                let version = place.map(str::to_owned);
                if version.as_ref().is_some_and(|version| semver::VersionReq::parse(version).is_err()) {
                    return Err(Error::usage(format!("`{}` is not a version", version.unwrap_or_default())));
                }
                Ok(Self::CratesIo(version))
            }
            "git" => {
                let (url, rev) = place.map_or((None, None), |place| match place.rsplit_once('#') {
                    Some((url, rev)) => (Some(url), Some(rev.to_owned())),
                    None => (Some(place), None),
                });
                Ok(Self::Git(url.filter(|url| !url.is_empty()).map(str::to_owned), rev))
            }
            "path" => Ok(Self::Path(place.map(PathBuf::from))),
            _ => Err(Error::usage("give crates-io, git or path, each with `=` and where: git=https://host/o/r#v1.2.3")),
        }
    }
}

/// The dependency, as it stands in the crate's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dependency {
    /// The value behind `monoship =`.
    pub text: String,
    /// Why it is this one, for the report.
    pub why: String,
}

/// The dependency of a crate in `folder`. Paths on the command line are relative to `cwd`.
///
/// # Errors
/// When there is no library where it is said to be, or git names no repository.
pub(super) fn dependency(from: Option<&From>, folder: &Path, cwd: &Path, shutdown: &Shutdown) -> Result<Dependency> {
    match from {
        Some(From::CratesIo(version)) => Ok(crates_io(version.as_deref(), "as asked for")),
        Some(From::Git(Some(url), rev)) => {
            let pin = rev.as_ref().map(|rev| ("rev", rev.clone()));
            Ok(made(&[("git", fetchable(url, cwd)), pin.unwrap_or_default()], "as asked for"))
        }
        Some(From::Git(None, rev)) => {
            let none = || {
                Error::usage("the git repository that this library came from is unknown")
                    .hint("name it: `--from git=https://host/owner/name`")
            };
            let own = of_checkout(&library(), shutdown)?.ok_or_else(none)?;
            let pin = rev.clone().map(|rev| ("rev", rev)).or(own.pin).unwrap_or_default();
            Ok(made(&[("git", own.url), pin], "as asked for"))
        }
        Some(From::Path(Some(path))) => path_to(&cwd.join(path), folder, "as asked for"),
        Some(From::Path(None)) => path_to(&library(), folder, "where this program was compiled from"),
        None => best_known(&library(), folder, cwd, shutdown),
    }
}

/// What every machine can have, where that is known of the `library` that this program was compiled with.
fn best_known(library: &Path, folder: &Path, cwd: &Path, shutdown: &Shutdown) -> Result<Dependency> {
    if let Some(table) = as_here(cwd) {
        return Ok(Dependency { text: table, why: "as this repository has it".to_owned() });
    }
    let cargo_keeps = |place: &str| library.to_string_lossy().contains(place);
    if cargo_keeps("/registry/src/") || cargo_keeps("/git/checkouts/") || !library.join("Cargo.toml").is_file() {
        return Ok(crates_io(None, "the version of this program"));
    }
    match of_checkout(library, shutdown)?.filter(|own| own.is_shared) {
        Some(own) => Ok(made(&[("git", own.url), own.pin.unwrap_or_default()], "the branch that this program was compiled from")),
        None => path_to(library, folder, "where this program was compiled from; nobody else has it there"),
    }
}

fn crates_io(version: Option<&str>, why: &str) -> Dependency {
    made(&[("version", version.unwrap_or(VERSION).to_owned())], why)
}

/// A dependency of these keys; one without a name is left out.
fn made(keys: &[(&str, String)], why: &str) -> Dependency {
    let mut table = InlineTable::new();
    for (key, value) in keys.iter().filter(|(key, _)| !key.is_empty()) {
        table.insert(*key, Value::from(value.as_str()));
    }
    table.insert("features", Value::Array(FEATURES.into_iter().collect::<Array>()));
    Dependency { text: table.to_string(), why: why.to_owned() }
}

fn path_to(place: &Path, folder: &Path, why: &str) -> Result<Dependency> {
    let named = |dir: &Path| -> bool {
        let manifest = read_text(&dir.join("Cargo.toml")).ok().and_then(|text| text.parse::<toml::Table>().ok());
        manifest.is_some_and(|manifest| manifest.get("package").and_then(|p| p.get("name")?.as_str()) == Some(PACKAGE))
    };
    let found = [place.to_owned(), place.join("crates").join(PACKAGE)].into_iter().find(|dir| named(dir)).ok_or_else(|| {
        Error::usage(format!("the library is not in {}", place.display()))
            .hint("name its folder, or that of its repository: `--from path=../monoship`")
    })?;
    let found = found.canonicalize().map_err(|e| Error::io("find", &found, e))?;
    let text = relative(&found, folder);
    let text = text.to_str().ok_or_else(|| Error::usage(format!("{} is not UTF-8, which a manifest must be", text.display())))?;
    Ok(made(&[("path", text.to_owned())], why))
}

/// The way from one folder to another. Both are absolute, without links.
fn relative(to: &Path, from: &Path) -> PathBuf {
    let (to, from): (Vec<Component>, Vec<Component>) = (to.components().into_vec(), from.components().into_vec());
    let shared = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    from[shared..].iter().map(|_| Component::ParentDir).chain(to[shared..].iter().copied()).collect()
}

/// The dependency of the repository that the command is given in, where it means the same everywhere.
fn as_here(cwd: &Path) -> Option<String> {
    let manifest = cwd.ancestors().map(|dir| dir.join("xtask/Cargo.toml")).find(|file| file.is_file())?;
    let manifest: toml_edit::DocumentMut = read_text(&manifest).ok()?.parse().ok()?;
    let dependency = manifest.get("dependencies")?.get(PACKAGE)?;
    match dependency.as_str() {
        Some(version) => Some(crates_io(Some(version), "").text),
        None if dependency.get("git").is_none() && dependency.get("version").is_none() => None,
        None if dependency.get("path").is_some() => None,
        None => Some(dependency.clone().into_value().ok()?.as_inline_table()?.to_string().trim().to_owned()),
    }
}

/// The git repository of this library's source.
struct Checkout {
    url: String,
    /// The branch, or the commit where there is none.
    pin: Option<(&'static str, String)>,
    /// True where others find this very source there.
    is_shared: bool,
}

fn of_checkout(library: &Path, shutdown: &Shutdown) -> Result<Option<Checkout>> {
    if !library.is_dir() {
        return Ok(None);
    }
    let git = Git::at(library, shutdown);
    let Some(url) = git.ask(&["config", "--get", "remote.origin.url"])? else { return Ok(None) };
    let branch = git.branch()?.map(|branch| ("branch", branch));
    let pin = match branch {
        Some(branch) => Some(branch),
        None => git.ask(&["rev-parse", "HEAD"])?.map(|commit| ("rev", commit)),
    };
    let there = git.ask(&["for-each-ref", "--count=1", "--contains=HEAD", "refs/remotes/origin"])?;
    let clean = git.ask(&["status", "--porcelain", "--", "."])?;
    let is_shared = Remote::parse(&url).is_some() && there.is_some_and(|refs| !refs.is_empty()) && clean.as_deref() == Some("");
    Ok(Some(Checkout { url: fetchable(&url, library), pin, is_shared }))
}

/// An address as cargo takes it: with a scheme. Who asks, and their password, stay out of a manifest that everybody reads: git knows them.
fn fetchable(url: &str, cwd: &Path) -> String {
    for scheme in ["https://", "http://"] {
        let Some(rest) = url.strip_prefix(scheme) else { continue };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        return format!("{scheme}{}/{path}", host.rsplit('@').next().unwrap_or(host));
    }
    let short = url.split_once(':').filter(|(host, _)| !host.contains('/') && !url.contains("://"));
    match short {
        Some((host, path)) => format!("ssh://{host}/{}", path.trim_start_matches('/')),
        None if url.contains("://") => url.to_owned(),
        None => {
            let path = cwd.join(url);
            format!("file://{}", path.canonicalize().unwrap_or(path).display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::execute::process::Invocation;

    fn text(from: &str) -> String {
        let from = from.parse().unwrap();
        dependency(Some(&from), Path::new("/shop/xtask"), Path::new("/shop"), &Shutdown::new()).unwrap().text
    }

    #[test]
    fn what_is_asked_for_stands_in_the_manifest() {
        let features = "features = [\"embedded-engine\", \"html\"] }";
        assert_eq!(text("crates-io"), format!("{{ version = \"{VERSION}\", {features}"));
        assert_eq!(text("crates-io=0.3"), format!("{{ version = \"0.3\", {features}"));
        let git = "git = \"https://github.com/o/r\"";
        assert_eq!(text("git=https://github.com/o/r"), format!("{{ {git}, {features}"));
        assert_eq!(text("git=https://github.com/o/r#v1"), format!("{{ {git}, rev = \"v1\", {features}"));
        for asked in ["git=https://x-access-token:ghp_1@github.com/o/r", "git=https://somebody@github.com/o/r"] {
            assert_eq!(text(asked), format!("{{ {git}, {features}"), "{asked}");
        }
        assert_eq!(text("git=git@host:o/r.git"), format!("{{ git = \"ssh://git@host/o/r.git\", {features}"));
        let way = relative(&library(), Path::new("/shop/xtask"));
        assert_eq!(text("path"), format!("{{ path = \"{}\", {features}", way.display()));
        for wrong in ["", "npm", "path=", "crates-io=x y"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_leads_from_the_crate_to_the_library() {
        let way = |to: &str, from: &str| relative(Path::new(to), Path::new(from)).display().to_string();
        assert_eq!(way("/a/lib/crates/monoship", "/a/shop/xtask"), "../../lib/crates/monoship");
        assert_eq!(way("/a/shop/vendor/m", "/a/shop/xtask"), "../vendor/m");
    }

    #[test]
    fn a_folder_without_the_library_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let from = From::Path(Some(dir.path().to_owned()));
        let error = dependency(Some(&from), Path::new("/shop/xtask"), dir.path(), &Shutdown::new()).unwrap_err();
        assert!(error.to_string().contains("the library is not in"), "{error}");
    }

    /// The library in a git repository of its own, and what `init` of a program compiled from there takes it from.
    struct Source {
        dir: tempfile::TempDir,
        shutdown: Shutdown,
    }

    impl Source {
        fn new(below: &str) -> Self {
            let source = Self { dir: tempfile::tempdir().unwrap(), shutdown: Shutdown::new() };
            std::fs::create_dir_all(source.dir.path().join(below).join("crates/monoship")).unwrap();
            source
        }

        fn library(&self, below: &str) -> PathBuf {
            let library = self.dir.path().join(below).join("crates/monoship");
            std::fs::write(library.join("Cargo.toml"), "[package]\nname = \"monoship\"\n").unwrap();
            library
        }

        fn git(&self, args: &[&str]) {
            let identity = ["-c", "user.name=t", "-c", "user.email=t@t.example"];
            let call = Invocation::new("git").args(identity).args(args).dir(self.dir.path());
            call.read(&self.shutdown).unwrap();
        }

        fn text(&self, library: &Path) -> String {
            let root = self.dir.path().canonicalize().unwrap();
            best_known(library, &root.join("shop/xtask"), &root.join("shop"), &self.shutdown).unwrap().text
        }
    }

    #[test]
    fn without_a_word_the_library_comes_from_where_every_machine_can_have_it() {
        let source = Source::new("");
        let library = source.library("");
        source.git(&["init", "--quiet", "--initial-branch=next"]);
        source.git(&["add", "crates"]);
        source.git(&["commit", "--quiet", "--message=one"]);
        let (of_path, of_git) =
            ("{ path = \"../../crates/monoship\",", "{ git = \"https://host.example/o/r\", branch = \"next\",");
        let takes = |start: &str| {
            let text = source.text(&library);
            assert!(text.starts_with(start), "{text}");
        };
        takes(of_path);
        source.git(&["remote", "add", "origin", "https://host.example/o/r"]);
        takes(of_path);
        source.git(&["update-ref", "refs/remotes/origin/next", "HEAD"]);
        takes(of_git);
        // Nobody else has the edit, or the commit.
        std::fs::write(library.join("lib.rs"), "// mine\n").unwrap();
        takes(of_path);
        source.git(&["add", "crates"]);
        source.git(&["commit", "--quiet", "--message=two"]);
        takes(of_path);
        // A repository that has the library from elsewhere says so for its neighbours.
        let theirs = "{ git = \"https://host.example/fork\", rev = \"v1\" }";
        std::fs::create_dir_all(source.dir.path().join("shop/xtask")).unwrap();
        let manifest = source.dir.path().join("shop/xtask/Cargo.toml");
        std::fs::write(&manifest, format!("[dependencies]\nmonoship = {theirs}\n")).unwrap();
        takes(theirs);
    }

    #[test]
    fn what_cargo_fetched_comes_from_crates_io_and_so_does_what_is_gone() {
        let version = format!("{{ version = \"{VERSION}\",");
        for below in ["registry/src/index", "git/checkouts/r-0/1"] {
            let source = Source::new(below);
            let text = source.text(&source.library(below));
            assert!(text.starts_with(&version), "{below}: {text}");
        }
        let source = Source::new("");
        assert!(source.text(&source.dir.path().join("gone")).starts_with(&version));
    }
}
