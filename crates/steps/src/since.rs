//! What a change since another revision touches. The inputs of every service are made from that revision's own configuration, packages,
//! lock, Dockerfile and pins, by the functions that make those of now, and the two are compared. Nothing is checked out.

use std::sync::Arc;

use crate::bases::{Bases, PINS};
use crate::configuration::suggested;
use crate::inputs;
use crate::project::{Project, has_only_own};
use crate::sent::Known;
use crate::service::lay_over;
use crate::{Session, contexts, sources};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::pool;
use monoship_core::name::ServiceName;
use monoship_core::sorted::SortedMap;
use monoship_docker::capability::Capabilities;
use monoship_plan::affected::{Affected, affected};
use monoship_plan::built_from;
use monoship_plan::config::pins::Pins;
use monoship_plan::config::{self, Config};
use monoship_plan::fingerprint::Inputs;
use monoship_plan::request::{BuildRequest, ReleaseRequest, Since};
use monoship_plan::services::{Service, discover};
use monoship_workspace::Workspace;
use monoship_workspace::contents::Commit;
use monoship_workspace::dockerfile::{Dockerfile, place};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::Git;
use monoship_workspace::sent::Sent;
use pnpm::join;

/// Compares the services of now, whose inputs are `after`, with those of the revision that `since` means, whose inputs are returned too. Where that revision cannot
/// be read as a monorepo, every service counts as new, and a warning says why: building too much is better than guessing.
///
/// # Errors
/// When git knows no such revision, or a shallow clone cannot be deepened to it.
pub fn compare(
    session: &Session,
    here: &Project,
    capabilities: Capabilities,
    request: &BuildRequest,
    bases: &Bases,
    since: &Since,
    after: &SortedMap<ServiceName, Inputs>,
) -> Result<(Affected, SortedMap<ServiceName, Inputs>)> {
    let git = session.git();
    let commit = commit(&git, since)?;
    let before = Commit::at(&git, &commit)
        .and_then(|commit| read(session, commit, Some(here)))
        .and_then(|(config, project)| inputs_of(session, capabilities, request, bases, &config, &project));
    let before = match before {
        Ok(before) => before,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            let message = format!("nothing can be compared with {commit:.12}: {error}");
            session.events.notice(Level::Warning, None, message, Some("every service counts as affected".to_owned()));
            SortedMap::new()
        }
    };
    Ok((Affected { verdicts: affected(&before, after), commit }, before))
}

/// What of a release differs from an earlier one, each by the configuration and the pins of its own commit. It is the same on every machine:
/// no engine is asked, and no stand-in counts.
///
/// # Errors
/// When a commit is not here or cannot be read as a monorepo.
pub fn between(session: &Session, release: &ReleaseRequest, before: &str, after: &str) -> Result<Affected> {
    let git = session.git();
    let at = |commit| {
        let (config, project) = read(session, Commit::at(&git, commit)?, None)?;
        let request = release.build(&config, pool::builds_at_once());
        inputs_of(session, Capabilities::default(), &request, &Bases::default(), &config, &project)
    };
    Ok(Affected { commit: before.to_owned(), verdicts: affected(&at(before)?, &at(after)?) })
}

/// The commit to compare with.
///
/// # Errors
/// As [`compare`].
pub fn commit(git: &Git, since: &Since) -> Result<String> {
    match since {
        Since::Revision(revision) => git.at_hand(revision),
        Since::MergeBase(revision) => git.merge_base(revision),
        Since::DefaultBranch => git.merge_base(&git.default_branch()?),
    }
}

/// The monorepo as it is in a commit, with its configuration. Where it is compared with the working tree `here`, files are as a checkout
/// would have them on this machine, and what git does not know is taken to have been the same then.
fn read(session: &Session, commit: Commit, here: Option<&Project>) -> Result<(Config, Project)> {
    let root = &session.home;
    let mut config = match session.config.file.strip_prefix(root) {
        Ok(file) => {
            let text = commit.text(&file.to_string_lossy());
            config::of_text(&session.config.file, text.as_deref(), &session.env, &|| {
                suggested(&session.git(), session.config.folder.as_ref())
            })?
        }
        // A file from elsewhere is no part of any revision.
        Err(_) => session.config.clone(),
    };
    config.folder.clone_from(&session.config.folder);
    lay_over(&mut config, &session.overlay.services)?;
    let name = join(".", &config.images.dockerfile).unwrap_or_default();
    let without = || has_only_own(&config).then(|| format!("FROM scratch AS {}\n", config.base_target));
    let missing = || Error::usage("there is no Dockerfile").at(&config.images.dockerfile, None);
    let link = |path: &str| commit.link(path);
    let text = place::of_dockerfile(&name, &link).and_then(|path| commit.text(&path)).or_else(without).ok_or_else(missing)?;
    let dockerfile = Dockerfile::parse(&root.join(&name), &text)?;
    let ignore = place::of_ignore_files(&name, ".", &link).iter().find_map(|path| commit.text(path));
    let ignore = ignore.map(|text| Ignore::parse(&text)).transpose()?.unwrap_or_default();
    let (tree, sent) = match here {
        Some(here) => {
            let tree = commit.tree().as_checked_out_beside(&here.tree);
            let sent = Sent::of_commit(&tree, &ignore, &here.last_sent().unwrap_or_default(), &here.tree);
            (Arc::new(tree), sent)
        }
        None => (Arc::clone(commit.tree()), Sent::of_tree(commit.tree(), &ignore)),
    };
    let (root, known) = (root.clone(), Known::given(sent, here));
    let workspace = Arc::new(Workspace::of_commit(commit)?);
    let project = Project { root, workspace: Arc::clone(&workspace), dockerfile, ignore, tree, known, views: SortedMap::new() };
    let mut project = project.with_views(&config)?;
    for (place, view) in &mut project.views {
        let there = here.and_then(|here| here.views.get(place));
        let sent = match there {
            Some(there) => Sent::of_commit(&view.tree, &view.ignore, &there.last_sent().unwrap_or_default(), &there.tree),
            None => Sent::of_tree(&view.tree, &view.ignore),
        };
        view.known = Known::given(sent, there);
    }
    Ok((config, project))
}

fn inputs_of(
    session: &Session,
    capabilities: Capabilities,
    request: &BuildRequest,
    bases: &Bases,
    config: &Config,
    project: &Project,
) -> Result<SortedMap<ServiceName, Inputs>> {
    let names: Vec<&str> = project.dockerfile.targets().into_vec();
    let is_wanted =
        |service: &Service| request.services.is_empty() || request.services.iter().any(|n| n == service.name.as_str());
    let all = discover(config, &project.packages(), &names)?;
    let services = built_from::complete(&all, all.iter().filter(|service| is_wanted(service)).cloned().into_vec());
    let cut = contexts::plan(project, &services)?;
    let targets = inputs::of_services(session, request, &services, &cut);
    let pins = project.workspace.contents().text(PINS);
    let pins = pins.map(|text| Pins::parse(&text, &project.root.join(PINS))).transpose()?.unwrap_or_default();
    let bases = bases.at(pins);
    let views: Vec<&Project> = services.iter().map(|service| project.view(service)).into_vec();
    let cut_out = targets.iter().zip(&views).map(|(target, view)| Ok(bases.with_triggers(target.slice(view)?)));
    let mut slices = cut_out.collect::<Result<Vec<_>>>()?;
    sources::see_triggers(&services, &mut slices);
    let sliced = inputs::Sliced { targets: &targets, slices: &slices, views: &views };
    let gathered = inputs::gather(session, project, capabilities, request, &sliced, &bases)?;
    Ok(services.into_iter().map(|service| service.name).zip(gathered).into_map())
}
