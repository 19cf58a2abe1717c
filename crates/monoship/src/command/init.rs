//! `cargo xtask init`: what another monorepo needs to use the library, written there; and what was generated, brought up to date.

mod attempt;

use std::fmt::Write as _;
use std::path::Path;

use crate::cli;
use crate::command::{Call, Finished, ask, tell};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::quoted;
use monoship_core::sorted::SortedMap;
use monoship_core::text;
use monoship_init::generated::{self, Refresh};
use monoship_init::services::Found;
use monoship_init::workflow::tool;
use monoship_init::{Adoption, Change, Step, VERSION, Wanted};

/// Adopts.
///
/// # Errors
/// As the stage's.
pub fn run(flags: &cli::Init, call: &Call<'_>) -> Result<Finished> {
    let cwd = &call.env.cwd;
    let dir = cwd.join(&flags.dir);
    if !dir.is_dir() {
        return Err(Error::usage(format!("there is no folder {}", dir.display())).hint("create it, or pass another `--dir`"));
    }
    let root = dir.canonicalize().map_err(|e| Error::io("find", &dir, e))?;
    if flags.refresh {
        return refresh(flags, &root, call);
    }
    let name = flags.name.clone().map_or_else(|| tool(&root), Ok)?;
    let cargo_home =
        call.env.get("CARGO_HOME").map(|home| cwd.join(home)).or_else(|| call.env.home().map(|home| home.join(".cargo")));
    let wanted = Wanted {
        root: &root,
        name: &name,
        from: flags.from.as_ref(),
        cwd,
        anew: flags.new_dockerfile,
        only: &flags.services,
        cargo_home: cargo_home.as_deref(),
        crosses: call.env.get("CARGO_BUILD_TARGET").is_some(),
        shutdown: call.shutdown,
    };
    let mut adoption = monoship_init::plan(&wanted)?;
    if let (Some(service), [(first, _), _, ..]) = (&flags.attempt, &adoption.found[..]) {
        return Err(Error::usage(format!("`--try {service}`: there are several workspaces here"))
            .hint(format!("leave it out; then `cargo {name} init --dir {first} --try {service}`")));
    }
    let asks = asks(flags, call, &adoption);
    if asks {
        tell(&listed(&adoption))?;
        let only = choose(&adoption)?;
        if !only.is_empty() {
            adoption = monoship_init::plan(&Wanted { only: &only, ..wanted })?;
        }
    }
    if !flags.dry_run {
        monoship_init::apply(&adoption)?;
    }
    let listed = if asks { String::new() } else { listed(&adoption) };
    tell(&(listed + &told(&adoption, &name, flags)))?;
    flags.attempt.as_deref().map_or(Ok(Finished::Well), |service| attempt::run(service, &root, call))
}

/// True where services would be adopted that nobody has named, and somebody sits there who can be asked.
fn asks(flags: &cli::Init, call: &Call<'_>, adoption: &Adoption) -> bool {
    let names_services = |step: &Step| {
        let is_settings = Path::new(&step.path).file_name().is_some_and(|name| name == "xtask.toml");
        is_settings && matches!(step.change, Change::Write(_) | Change::Add(..))
    };
    let is_new = adoption.steps.iter().any(names_services);
    let is_said = flags.yes || flags.dry_run || !flags.services.is_empty();
    is_new && !is_said && call.env.stdin_is_terminal && call.env.stderr_is_terminal
}

/// The names of the services to adopt, as they are typed; none where it is all of them.
fn choose(adoption: &Adoption) -> Result<Vec<String>> {
    let count = adoption.found.iter().map(|(_, found)| found.services.len() + found.kept.len()).sum();
    let answer = ask(&format!("Adopt {}? [Y/n, or the names of some]", text::counted(count, "service")))?;
    let Some(answer) = answer else { return Err(Error::failed("nothing was written: there was no answer")) };
    match answer.to_ascii_lowercase().as_str() {
        "" | "y" | "yes" => Ok(Vec::new()),
        "n" | "no" => Err(Error::failed("nothing was written: the answer was no")),
        _ => Ok(answer.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).into_vec()),
    }
}

/// What the packages of each workspace are.
fn listed(adoption: &Adoption) -> String {
    let mut text = String::new();
    for (folder, packages) in &adoption.found {
        if adoption.found.len() > 1 {
            let _ = writeln!(text, "{:<11}  {folder}", "workspace");
        }
        text += &found(packages);
        text.push('\n');
    }
    text
}

fn told(adoption: &Adoption, name: &str, flags: &cli::Init) -> String {
    let several = adoption.found.len() > 1;
    let mut text = String::new();
    let mut by_hand = false;
    for step in &adoption.steps {
        let (verb, more) = match &step.change {
            Change::Write(_) => ("write", String::new()),
            Change::Add(_, what) => ("change", format!(": add {what}")),
            Change::Keep => ("keep", String::new()),
            Change::ByHand(what) => {
                by_hand = true;
                ("left to you", format!(": {what}"))
            }
        };
        let note = step.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        let _ = writeln!(text, "{verb:<11}  {}{more}{note}", step.path);
    }
    let go = if flags.dir.as_os_str() == "." { String::new() } else { format!("cd {} && ", quoted(flags.dir.as_os_str())) };
    let in_one =
        adoption.found.first().filter(|_| several).map(|(folder, _)| format!(" --workspace {}", quoted(folder.as_ref())));
    let in_one = in_one.unwrap_or_default();
    let _ = match (flags.dry_run, by_hand) {
        (true, _) => writeln!(text, "\nnothing was written; the same without --dry-run writes it"),
        (false, true) => writeln!(text, "\nnext: what is left to you, then {go}cargo {name}{in_one} doctor"),
        (false, false) => writeln!(text, "\nnext: {go}cargo {name}{in_one} doctor, then cargo {name}{in_one} build"),
    };
    text
}

/// The services, and the other packages by the reason why they are none.
fn found(found: &Found) -> String {
    let mut text = String::new();
    for service in &found.services {
        let _ = writeln!(text, "{:<11}  {} in {} ({})", "service", service.name, service.folder, service.why);
    }
    for kept in &found.kept {
        let _ = writeln!(text, "{:<11}  {} ({})", "service", kept.name, kept.why());
    }
    for name in &found.settled {
        let _ = writeln!(text, "{:<11}  {name} (by xtask.toml)", "service");
    }
    // What is the same of several is said once.
    let mut notes: SortedMap<String, Vec<&str>> = SortedMap::new();
    let of_kept =
        found.kept.iter().flat_map(|kept| kept.notes(found.prefix.as_deref()).into_iter().map(|note| (note, &kept.name)));
    let of_new = found.services.iter().filter_map(|service| Some((service.note.clone()?, &service.name)));
    of_new.chain(of_kept).for_each(|(note, name)| notes.entry(note).or_default().push(name));
    for (note, names) in notes {
        let _ = writeln!(text, "{:<11}  {}: {note}", "note", names.join(", "));
    }
    let mut reasons: SortedMap<&str, Vec<&str>> = SortedMap::new();
    for (folder, why) in &found.others {
        reasons.entry(why).or_default().push(folder);
    }
    for (why, folders) in reasons {
        let _ = writeln!(text, "{:<11}  {}: {why}", "no service", folders.join(", "));
    }
    text
}

fn refresh(flags: &cli::Init, root: &Path, call: &Call<'_>) -> Result<Finished> {
    let config = call.config(root)?;
    let files = generated::outdated(root, &config, call.shutdown)?;
    if files.is_empty() {
        let mut edited = generated::there(root, &config)?;
        edited.retain(|file| file.stamp.edited);
        let edited: Vec<&str> = edited.iter().map(|file| file.path.as_str()).into_vec();
        tell(&match edited[..] {
            [] => format!("every generated file is as monoship {VERSION} writes it\n"),
            _ => format!("no generated file is older than monoship {VERSION}; edited, and kept so: {}\n", edited.join(", ")),
        })?;
        return Ok(Finished::Well);
    }
    let mut text: String = files.iter().map(shown).collect();
    let written = if flags.dry_run { Vec::new() } else { generated::refresh(root, &files, flags.yes)? };
    for file in &files {
        let path = file.there.path.as_str();
        let edited = file.there.stamp.edited && !flags.yes;
        let (verb, why) = match (flags.dry_run, written.contains(&path)) {
            (true, _) if edited => {
                ("would keep", ": it was edited; take over what you want of the above, or all of it with --yes")
            }
            (true, _) => ("would write", ""),
            (false, true) => ("write", ""),
            (false, false) => ("keep", ": it was edited; take over what you want of the above, or all of it with --yes"),
        };
        let _ = writeln!(text, "{verb:<11}  {path}{why}");
    }
    tell(&text)?;
    Ok(Finished::Well)
}

/// A file with what would change in it.
fn shown(file: &Refresh) -> String {
    let stamp = &file.there.stamp;
    let edited = if stamp.edited { ", and was edited since" } else { "" };
    let diff = if file.diff.ends_with('\n') { file.diff.clone() } else { format!("{}\n", file.diff) };
    format!("{}: monoship {} wrote it{edited}\n{diff}\n", file.there.path, stamp.version)
}
