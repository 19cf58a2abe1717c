//! Adopting the library in a pnpm monorepo: which files are missing there and what goes into them. A file that is there is kept, or gets
//! the lines that it lacks; none is replaced, none of the library's source is copied, and nothing is built.

mod browser;
mod cargo_settings;
mod chosen;
mod development;
pub mod diagnosis;
mod dockerfile;
mod edit;
pub mod generated;
mod ignore;
pub mod kept;
mod kind;
mod nest;
mod node;
mod nothing;
mod npmrc;
mod nx;
pub mod origin;
pub mod services;
mod settings;
mod start;
mod there;
mod toolchain;
pub mod variables;
pub mod workflow;
#[cfg(test)]
mod written;

use std::path::{Path, PathBuf};

use monoship_core::error::{Error, Result, read_text, write_checked_in};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::SortedSet;
use monoship_core::stamp::stamped;
use monoship_workspace::Workspace;
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::Git;
use monoship_workspace::managers::{below, is_workspace, no_workspace};

use cargo_settings::Build;
use services::Found;
use there::There;

/// The Dockerfile's name, where `xtask.toml` says nothing.
const DOCKERFILE: &str = "Dockerfile.monorepo-optimized";

/// The pipeline that an adopter begins with: this repository's own.
const PIPELINE: &str = include_str!("main.rs.txt");

/// This library's version, in every file that it generates.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Write(String),
    /// It is there, and gets lines that it lacks: its new text, and what was added.
    Add(String, String),
    /// It is there and stays as it is.
    Keep,
    /// It cannot be changed safely: what to do by hand.
    ByHand(String),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file, relative to the root.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
    /// What is to be known about it.
    pub note: Option<String>,
}

/// What is asked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The monorepo's root.
    pub root: &'a Path,
    /// The name of the crate, of its folder, and of cargo's alias.
    pub name: &'a str,
    /// Where the library comes from; the best known place where it is not said.
    pub from: Option<&'a origin::From>,
    /// What paths on the command line are relative to.
    pub cwd: &'a Path,
    /// A Dockerfile is written for services that have one of the repository's own, too.
    pub anew: bool,
    /// The services that are adopted, by name or folder; all that are found where none is named.
    pub only: &'a [String],
    /// The folder of cargo's own settings on this machine.
    pub cargo_home: Option<&'a Path>,
    /// True where cargo is told by the environment to compile for another machine.
    pub crosses: bool,
    /// The stop switch.
    pub shutdown: &'a Shutdown,
}

/// What adopting comes to.
#[derive(Debug)]
pub struct Adoption {
    /// The monorepo's root.
    pub root: PathBuf,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What the packages of each workspace are, by the workspace's folder; the root's is empty.
    pub found: Vec<(String, Found)>,
}

/// Works out what is missing in a monorepo. Of several workspaces below one folder each gets its own files, and that folder the crate for all.
///
/// # Errors
/// When it is no pnpm workspace with a lock, has no service or none of a name that is asked for, has something else by the crate's name, or a
/// file there cannot be read.
pub fn plan(wanted: &Wanted<'_>) -> Result<Adoption> {
    let root = wanted.root;
    let several = if root.join("pnpm-workspace.yaml").is_file() { Vec::new() } else { below(root) };
    let folders = if several.is_empty() && is_workspace(root) { vec![String::new()] } else { several };
    // A single one below is adopted where it lies: nobody else needs the crate.
    if !(folders.len() > 1 || folders.iter().any(String::is_empty)) {
        return Err(no_workspace(root, "name the folder that has the pnpm-workspace.yaml with --dir"));
    }
    let there = There::read(root, wanted.shutdown)?;
    let workspaces = folders.iter().map(|folder| Workspace::load(&root.join(folder))).collect::<Result<Vec<_>>>()?;
    let mut steps = of_crate(wanted, &there, &workspaces)?;
    let mut all = Vec::new();
    for (folder, workspace) in folders.iter().zip(&workspaces) {
        let (found, own) = of_workspace(wanted, &root.join(folder), workspace)?;
        let below = |path: &str| if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
        let own = own.into_iter().map(|step| Step { path: below(&step.path), ..step });
        // The root's own ignore file stands with the crate.
        let new: Vec<Step> = own.filter(|step| !steps.iter().any(|other| other.path == step.path)).collect();
        steps.extend(new);
        all.push((folder.clone(), found));
    }
    chosen::check(wanted.only, &all)?;
    Ok(Adoption { root: root.to_owned(), steps, found: all })
}

const IGNORED: &str = ".gitignore";

/// The steps for the crate, and for cargo to find it.
fn of_crate(wanted: &Wanted<'_>, there: &There, workspaces: &[Workspace]) -> Result<Vec<Step>> {
    let (root, name) = (wanted.root, wanted.name);
    if let Some(above) = adopted_above(root, name) {
        let note = Some("it is for every workspace of the repository".to_owned());
        return Ok(vec![Step { note, ..step(&above, Change::Keep) }]);
    }
    if let Some(folder) = adopted_in(there, name)? {
        let note = Some(format!("the crate `{name}`, which lies there"));
        return Ok(vec![Step { note, ..step(&folder, Change::Keep) }]);
    }
    let config = if root.join(".cargo/config").is_file() { ".cargo/config" } else { ".cargo/config.toml" };
    let aliases = there.text(config)?;
    let mut steps = Vec::new();
    if is_adopted(wanted, there, aliases.as_deref())? {
        steps.push(step(name, Change::Keep));
    } else {
        check_toolchain(there)?;
        let from = origin::dependency(wanted.from, &root.join(name), wanted.cwd, wanted.shutdown)?;
        let mut manifest = step(&format!("{name}/Cargo.toml"), Change::Write(crate_manifest(name, &from.text)));
        manifest.note = Some(format!("{} = {} ({})", origin::PACKAGE, from.text, from.why));
        steps.extend([manifest, step(&format!("{name}/src/main.rs"), Change::Write(PIPELINE.to_owned()))]);
    }
    let apart: SortedSet<String> = workspaces.iter().flat_map(|workspace| there.apart(workspace, name)).collect();
    let apart: Vec<String> = apart.into_iter().collect();
    steps.push(step("Cargo.toml", edit::manifest(there.text("Cargo.toml")?.as_deref(), name, &apart)));
    let note = aliases.as_deref().and_then(edit::vendored).map(|folder| {
        format!("cargo takes crates from {folder} alone: `cargo vendor {folder}` brings those of the library, and is to be run before the first build")
    });
    let folders = root.ancestors().map(|folder| folder.join(".cargo")).chain(wanted.cargo_home.map(Path::to_owned));
    let crosses = wanted.crosses || Build::read(folders)?.target.is_some();
    steps.push(Step { note, ..step(config, edit::alias(aliases.as_deref(), name, crosses)) });
    let git = Git::at(root, wanted.shutdown);
    let note = git
        .ask(&["check-ignore", "--no-index", "Cargo.lock"])?
        .map(|_| "git ignores Cargo.lock, which pins the library: without it each machine takes versions of its own".to_owned());
    steps.push(Step { note, ..step(IGNORED, edit::ignored(there.text(IGNORED)?.as_deref())) });
    Ok(steps)
}

/// The folder that the repository has moved the crate to.
///
/// # Errors
/// As [`workflow::check_member`].
fn adopted_in(there: &There, name: &str) -> Result<Option<String>> {
    for folder in there.crates() {
        let manifest = there.text(&format!("{folder}/Cargo.toml"))?.and_then(|text| text.parse::<toml::Table>().ok());
        let Some(manifest) = manifest.filter(|manifest| workflow::crate_name(manifest) == Some(name)) else { continue };
        workflow::check_member(&manifest, folder)?;
        if folder != name {
            return Ok(Some(folder.to_owned()));
        }
    }
    Ok(None)
}

/// The crate in a folder above, within the repository, that stands on the library: as a path from `root`.
fn adopted_above(root: &Path, name: &str) -> Option<String> {
    if root.join(".git").exists() {
        return None;
    }
    let mut up = String::new();
    for folder in root.ancestors().skip(1) {
        up.push_str("../");
        let manifest = std::fs::read_to_string(folder.join(name).join("Cargo.toml")).ok().and_then(|text| text.parse().ok());
        if manifest.is_some_and(|manifest: toml::Table| {
            manifest.get("dependencies").is_some_and(|all| all.get(origin::PACKAGE).is_some())
        }) {
            return Some(format!("{up}{name}"));
        }
        if folder.join(".git").exists() {
            return None;
        }
    }
    None
}

/// What the packages of a workspace are, and the steps for its own files.
fn of_workspace(wanted: &Wanted<'_>, root: &Path, workspace: &Workspace) -> Result<(Found, Vec<Step>)> {
    let name = wanted.name;
    let there = There::read(root, wanted.shutdown)?;
    let settings = there.text("xtask.toml")?;
    let found = found(workspace, settings.as_deref(), &there, wanted)?;
    let mut steps = vec![step(IGNORED, edit::ignored(there.text(IGNORED)?.as_deref()))];
    let file = settings::configured(settings.as_deref()).unwrap_or_else(|| DOCKERFILE.to_owned());
    let is_made = !root.join(&file).exists();
    let needed = if is_made { &found.services[..] } else { &[] };
    let secrets = if is_made { npmrc::variables(root).into_keys().collect() } else { SortedSet::new() };
    let lacking = match needed {
        [_, ..] if settings.is_none() => settings::lacking(workspace, needed, &Git::at(root, wanted.shutdown).worktree()?),
        _ => settings::Lacking::new(),
    };
    steps.push(step("xtask.toml", settings::services_in(settings.as_deref(), needed, &found, &secrets, &lacking)));
    let beside = format!("{file}{}", ignore::FILE);
    if root.join(ignore::FILE).exists() {
        steps.push(completed(&there, name, ignore::FILE)?);
        let theirs = Ignore::load(&root.join(ignore::FILE))?;
        let hidden = ignore::hidden(workspace, &found.services, &there.files, &theirs).filter(|_| is_made);
        if let Some(hidden) = hidden.filter(|_| !root.join(&beside).exists()) {
            // Docker takes the one that is called like the Dockerfile in place of the other.
            let note = format!("{} is for another Dockerfile: it hides {hidden}", ignore::FILE);
            steps.push(Step { note: Some(note), ..dockerignore(&there, name, &beside)? });
        }
    } else {
        steps.push(dockerignore(&there, name, ignore::FILE)?);
    }
    // Docker takes such a one in place of the context's.
    let own = found.kept.iter().filter(|kept| kept.context == ".").map(|kept| format!("{}{}", kept.dockerfile, ignore::FILE));
    let own: SortedSet<String> = own.filter(|own| root.join(own).exists()).collect();
    steps.extend(own.iter().map(|own| completed(&there, name, own)).collect::<Result<Vec<_>>>()?);
    if found.services.is_empty() {
        return Ok((found, steps));
    }
    let text = || stamped(&dockerfile::text(workspace, &found.services, &file), 2, VERSION);
    let is_root = |service: &services::Service| service.package == ".";
    let note = toolchain::of_root_install(workspace).filter(|_| is_made && !found.services.iter().all(is_root));
    steps.push(Step { note, ..step(&file, if is_made { Change::Write(text()) } else { Change::Keep }) });
    Ok((found, steps))
}

/// Carries the steps out.
///
/// # Errors
/// When a file cannot be written. Run again, it goes on with what is missing.
pub fn apply(adoption: &Adoption) -> Result<()> {
    for step in &adoption.steps {
        if let Change::Write(text) | Change::Add(text, _) = &step.change {
            write_checked_in(&adoption.root.join(&step.path), text)?;
        }
    }
    Ok(())
}

/// The Dockerfile that would be written today, whole.
///
/// # Errors
/// As [`plan`].
pub fn dockerfile_today(root: &Path, file: &str, shutdown: &Shutdown) -> Result<String> {
    let workspace = Workspace::load(root)?;
    let settings = root.join("xtask.toml");
    let settings = settings.exists().then(|| read_text(&settings)).transpose()?;
    // Those that have one of the repository's own are named in xtask.toml, and so is what was not chosen.
    let found = candidates(&workspace, settings.as_deref(), &There::read(root, shutdown)?, true)?;
    Ok(stamped(&dockerfile::text(&workspace, &found.services, file), 2, VERSION))
}

/// The ignore file that would be written today, whole. `name` is the folder of the repository's own crate.
///
/// # Errors
/// When git refuses.
pub fn dockerignore_today(root: &Path, name: &str, shutdown: &Shutdown) -> Result<String> {
    let there = There::read(root, shutdown)?;
    let (text, _) = there.ignore(name)?;
    Ok(stamped(&text, 0, VERSION))
}

fn step(path: &str, change: Change) -> Step {
    Step { path: path.to_owned(), change, note: None }
}

fn found(workspace: &Workspace, settings: Option<&str>, there: &There, wanted: &Wanted<'_>) -> Result<Found> {
    let mut found = candidates(workspace, settings, there, wanted.anew)?;
    chosen::choose(&mut found, wanted.only, &settings::targets(workspace.root(), settings));
    Ok(found)
}

/// What can be adopted, whatever is chosen of it.
fn candidates(workspace: &Workspace, settings: Option<&str>, there: &There, anew: bool) -> Result<Found> {
    let mut found = services::services(workspace, &settings::named(settings), &there.files)?;
    let own = settings::owned(settings);
    found.prefix = settings::configured_prefix(settings);
    found.settled = own.iter().map(|(name, _)| name.clone()).collect();
    if !anew {
        let packages: Vec<_> = found.services.iter().map(|service| (service.name.clone(), service.folder.clone())).collect();
        let (kept, none) = kept::find(workspace, &there.files, &packages, there.repository.as_deref());
        found.kept = kept;
        found.others.extend(none);
        // Run again, it stands by what `--new-dockerfile` wrote before: those packages have a target.
        let made = settings::targets(workspace.root(), settings);
        let has_target = |kept: &kept::Kept| {
            let service = found.services.iter().find(|service| Some(&service.folder) == kept.package.as_ref());
            made.contains(service.map_or(&kept.name, |service| &service.name))
        };
        found.prefix = found.prefix.take().or_else(|| kept::prefix(&found.kept));
        found.kept.retain(|kept| !own.iter().any(|(name, _)| *name == kept.name) && !has_target(kept));
    }
    let kept = &found.kept;
    let is_kept = |folder: &str| {
        let is_about = |kept: &kept::Kept| {
            kept.package.as_deref() == Some(folder)
                || kept.covers.iter().any(|dir| dir == folder)
                || kept.dockerfile.rsplit_once('/').map_or(".", |(dir, _)| dir) == folder
        };
        kept.iter().any(is_about) || own.iter().any(|(_, package)| package.as_deref() == Some(folder))
    };
    found.services.retain(|service| !is_kept(&service.folder) && !own.iter().any(|(name, _)| *name == service.name));
    found.others.retain(|(folder, _)| !is_kept(folder));
    // A generated target and a build of theirs of one name would be one service: theirs is it.
    let (services, others, kept) = (&mut found.services, &mut found.others, &found.kept);
    services.retain(|service| {
        let theirs = kept.iter().find(|kept| kept.name == service.name);
        others.extend(theirs.map(|kept| (service.folder.clone(), format!("`{}` is built by {}", kept.name, kept.dockerfile))));
        theirs.is_none()
    });
    if found.services.is_empty() && found.kept.is_empty() && own.is_empty() {
        return Err(nothing::error(workspace, &there.files, &found.others));
    }
    chosen::leave_out(&mut found, &settings::not_services(settings));
    Ok(found)
}

/// The crate's manifest.
fn crate_manifest(name: &str, dependency: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\n{} = {dependency}\n",
        origin::PACKAGE
    )
}

/// True where the crate is there already and stands on the library.
///
/// # Errors
/// Where something else has its name.
fn is_adopted(wanted: &Wanted<'_>, there: &There, aliases: Option<&str>) -> Result<bool> {
    let name = wanted.name;
    let taken = |what: String| {
        let other = if name == "xtask" { "ship" } else { "xtask" };
        Error::usage(what).hint(format!("`--name {other}` makes a crate `{other}` beside it, called as `cargo {other}`"))
    };
    let manifest = there.text(&format!("{name}/Cargo.toml"))?.map(|text| text.parse::<toml::Table>());
    match manifest {
        Some(Ok(manifest)) if manifest.get("dependencies").is_some_and(|all| all.get(origin::PACKAGE).is_some()) => {
            return Ok(true);
        }
        Some(_) => return Err(taken(format!("{name}/ is a crate of your own"))),
        None if there.root.join(name).exists() => return Err(taken(format!("there is something else in {name}/"))),
        None => {}
    }
    if let edit::Answers::Other(command) = edit::answers(aliases, name) {
        return Err(taken(format!("`cargo {name}` is an alias of your own: {command}")));
    }
    for folder in there.crates().chain(["."]) {
        let manifest = there.text(&format!("{folder}/Cargo.toml"))?.and_then(|text| text.parse::<toml::Table>().ok());
        if manifest.is_some_and(|manifest| manifest.get("package").and_then(|p| p.get("name")?.as_str()) == Some(name)) {
            return Err(taken(format!("{folder}/ is a crate `{name}` of your own")));
        }
    }
    Ok(false)
}

/// Refuses a repository that pins a toolchain which is too old for the library: cargo reads the members of a workspace all at once, so with the
/// crate among them it would build nothing of it any more.
fn check_toolchain(there: &There) -> Result<()> {
    let file = if there.root.join("rust-toolchain.toml").is_file() { "rust-toolchain.toml" } else { "rust-toolchain" };
    let text = there.text(file)?.unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let channel = table.get("toolchain").and_then(|toolchain| toolchain.get("channel")?.as_str()).unwrap_or(text.trim());
    let number = |version: &str| -> Option<(u32, u32)> {
        let mut parts = version.split(['.', '-']).map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let is_old = number(channel).zip(number(needed)).is_some_and(|(there, needed)| there < needed);
    if is_old {
        return Err(Error::usage(format!("{file} pins Rust {channel}, and the library needs {needed}"))
            .hint(format!("raise it to {needed} or newer first; the older one could no longer build the workspace")));
    }
    Ok(())
}

fn dockerignore(there: &There, name: &str, path: &str) -> Result<Step> {
    let (text, left_out) = there.ignore(name)?;
    let note = left_out.iter().map(|(rule, path)| format!("without `{rule}`, which would hide {path}")).collect::<Vec<_>>();
    let step = step(path, Change::Write(stamped(&text, 0, VERSION)));
    Ok(Step { note: (!note.is_empty()).then(|| note.join("; ")), ..step })
}

/// What an ignore file of the repository's own lacks. One that nobody can read is `doctor`'s to tell of.
fn completed(there: &There, name: &str, path: &str) -> Result<Step> {
    let theirs = there.text(path)?.unwrap_or_default();
    let lacks = ignore::completed(&theirs, &there.paths(), name, there.has_own_rust(name)).ok().flatten();
    Ok(step(path, lacks.map_or(Change::Keep, |(text, added)| Change::Add(text, added))))
}
