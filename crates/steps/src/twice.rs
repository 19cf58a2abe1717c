//! Telling of names that stand twice where BuildKit and pnpm say nothing, or say it late, and take one of the two.

use crate::Session;
use crate::project::Project;
use monoship_core::collect::Collect as _;
use monoship_core::event::Level;
use monoship_core::sorted::SortedMap;
use monoship_plan::services::Service;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::Dockerfile;

/// Warns of stages and packages whose names stand twice.
pub fn tell(session: &Session, project: &Project, services: &[Service]) {
    let dockerfiles: SortedMap<_, &Dockerfile> = project.all().map(|view| (view.dockerfile.path(), &view.dockerfile)).into_map();
    for (path, dockerfile) in dockerfiles {
        let file = path.strip_prefix(&project.root).unwrap_or(path).display();
        for (name, first, second) in stages(dockerfile) {
            let what = format!(
                "{file}:{second}: a second stage is called `{name}`, like the one on line {first}; from here on the name means this one"
            );
            session.events.notice(Level::Warning, None, what, Some("give one of them another name".to_owned()));
        }
    }
    for (name, folders) in packages(&project.workspace, services) {
        let what = format!(
            "{} have the same name, `{name}`: pnpm links one of them, and its --filter may mean another",
            manifests(&folders)
        );
        session.events.notice(Level::Warning, None, what, Some("give each a name of its own".to_owned()));
    }
}

fn manifests(folders: &[&str]) -> String {
    let files: Vec<String> = folders.iter().map(|folder| format!("{folder}/package.json")).into_vec();
    files.join(" and ")
}

/// Each name that two stages have, with the lines of both. BuildKit goes by the last one before (`dockerfile2llb`, rule `DuplicateStageName`).
fn stages(dockerfile: &Dockerfile) -> Vec<(&str, usize, usize)> {
    let (mut seen, mut twice) = (SortedMap::new(), Vec::new());
    for stage in dockerfile.stages() {
        if let Some(name) = stage.name()
            && let Some(first) = seen.insert(name, stage.line())
        {
            twice.push((name, first, stage.line()));
        }
    }
    twice
}

/// Each name that several packages have, with their folders, where it matters: a service's, or one that a package depends on. Examples and
/// fixtures that are called alike harm nobody.
fn packages<'a>(workspace: &'a Workspace, services: &[Service]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut named: SortedMap<&str, Vec<&str>> = SortedMap::new();
    for package in workspace.packages() {
        if let Some(name) = &package.manifest.name {
            named.entry(name).or_default().push(&package.dir);
        }
    }
    let is_service = |folders: &[&str]| services.iter().any(|service| folders.contains(&service.package.as_str()));
    let depends = |name: &str| {
        workspace.packages().iter().any(|package| package.manifest.all_dependencies().any(|(wanted, _, _)| wanted == name))
    };
    named.into_iter().filter(|(name, folders)| folders.len() > 1 && (is_service(folders) || depends(name))).into_vec()
}
