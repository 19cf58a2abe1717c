//! What a Dockerfile is built for where no file of compose, bake or a workflow says it: people type the argument, or the target.

use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{Dockerfile, Instruction, Stage};

use super::{Said, package_of, takes};

/// Its builds: one for each package that `services` has, by name and folder, where an argument picks the package; one for each target that
/// starts something, where it has several; else the one of its last stage.
pub(super) fn builds(workspace: &Workspace, dockerfile: &Dockerfile, last: Said, services: &[(String, String)]) -> Vec<Said> {
    let found = by_argument(workspace, dockerfile, &last, services);
    let found = if found.is_empty() { by_target(workspace, dockerfile, &last) } else { found };
    if found.is_empty() { vec![last] } else { found }
}

fn by_argument(workspace: &Workspace, dockerfile: &Dockerfile, last: &Said, services: &[(String, String)]) -> Vec<Said> {
    let all = || dockerfile.stages().iter().flat_map(Stage::instructions);
    // A stage knows an argument that it declares. With a value of its own it may be about something else.
    let is_open = |(_, name): &(String, String)| {
        let declared = || all().filter(|one| one.keyword == "ARG");
        let is_asked = declared().any(|one| one.args == *name);
        let given = declared().find_map(|one| one.args.split_once('=').filter(|(arg, _)| arg == name));
        takes(dockerfile, name) && (is_asked || given.is_none_or(|(_, value)| workspace.find(value.trim_matches('"')).is_ok()))
    };
    let Some((before, name)) = all().flat_map(picking).find(is_open) else { return Vec::new() };
    let in_path = before.is_empty()
        && all().any(|one| one.args.contains(&format!("/${name}")) || one.args.contains(&format!("/${{{name}}}")));
    let of = |(service, folder): &(String, String)| {
        let package = workspace.package(workspace.by_dir(folder)?);
        let own = package.manifest.name.as_deref().and_then(|own| own.strip_prefix(&before));
        let value = if in_path { folder.rsplit('/').next()?.to_owned() } else { own?.to_owned() };
        let args = SortedMap::from([(name.clone(), value)]);
        Some(Said { name: service.clone(), args, by: format!("its argument {name}"), ..last.clone() })
    };
    services.iter().filter_map(of).into_vec()
}

/// The variables by which a command picks a package, each with what stands before it: `--filter=${APP}...`, `turbo prune @apps/$APP`.
fn picking(one: &Instruction) -> Vec<(String, String)> {
    let words: Vec<&str> =
        one.args.split(|c: char| c.is_whitespace() || "=\"'".contains(c)).filter(|word| !word.is_empty()).into_vec();
    let pairs = words.windows(2).filter(|pair| one.keyword == "RUN" && ["--filter", "-F", "prune", "--scope"].contains(&pair[0]));
    let name = |word: &str| {
        let (before, word) = word.trim_start_matches("...").split_once('$')?;
        let word = word.strip_prefix('{').unwrap_or(word);
        let name: String = word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let is_scope = before.is_empty() || before.starts_with('@') && before.ends_with('/');
        (!name.is_empty() && is_scope).then(|| (before.to_owned(), name))
    };
    pairs.filter_map(|pair| name(pair[1])).into_vec()
}

fn by_target(workspace: &Workspace, dockerfile: &Dockerfile, last: &Said) -> Vec<Said> {
    let stages = dockerfile.stages();
    let taken = |name: &str| {
        let flag = format!("--from={name}");
        stages.iter().any(|stage| {
            stage.base().eq_ignore_ascii_case(name)
                || stage.instructions().iter().any(|one| one.flags.iter().any(|other| other.eq_ignore_ascii_case(&flag)))
        })
    };
    let starts = |stage: &&Stage| stage.instructions().iter().any(|one| ["CMD", "ENTRYPOINT"].contains(&one.keyword.as_str()));
    let ends = stages.iter().filter(starts).filter_map(Stage::name).filter(|name| !taken(name));
    let said = |name: &str| Said { target: Some(name.to_owned()), by: format!("its target {name}"), ..last.clone() };
    let found: Vec<Said> = ends.map(said).into_vec();
    // Each is about a package of its own, or they are variants of one.
    let about: Option<SortedSet<String>> = found.iter().map(|said| package_of(workspace, said, dockerfile)).collect();
    if found.len() > 1 && about.is_some_and(|about| about.len() == found.len()) { found } else { Vec::new() }
}
