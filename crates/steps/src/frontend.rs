//! What reads a Dockerfile: the image that its `# syntax=` or an argument names, held to its pin, or the engine's own frontend where that stands
//! in for Docker's.

use std::path::PathBuf;

use crate::Session;
use crate::project::Project;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::name::ImageRef;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::spec::BuildSpec;
use monoship_plan::config::Config;
use monoship_plan::services::{Service, discover};
use monoship_workspace::dockerfile::{Dockerfile, without_syntax};

/// The argument that names the frontend, whatever the Dockerfile says.
pub const SYNTAX_ARGUMENT: &str = "BUILDKIT_SYNTAX";

/// The image that reads the Dockerfile, where it or an argument names one (`forwardGateway` in BuildKit's Dockerfile frontend: the
/// first word is the image).
///
/// # Errors
/// When it is no image's name.
pub fn frontend(dockerfile: &Dockerfile, args: &SortedMap<String, String>) -> Result<Option<ImageRef>> {
    let given = args.get(SYNTAX_ARGUMENT).map(String::as_str).filter(|given| !given.trim().is_empty());
    let written = given.or_else(|| dockerfile.syntax()).and_then(|written| written.split_whitespace().next());
    let at = |error: Error| match given {
        Some(_) => error,
        None => error.at(dockerfile.path(), Some(1)),
    };
    written.map(|written| written.parse().map_err(at)).transpose()
}

/// The frontends of every build of the workspace.
///
/// # Errors
/// When one is no image's name.
pub fn frontends(session: &Session, project: &Project) -> Result<SortedSet<ImageRef>> {
    let names: Vec<&str> = project.dockerfile.targets().into_vec();
    let services = discover(&session.config, &project.packages(), &names)?;
    frontends_of(&session.config, &services, |service| {
        service.map_or(&project.dockerfile, |service| &project.view(service).dockerfile)
    })
}

/// The same where the services are known.
///
/// # Errors
/// When one is no image's name.
pub fn frontends_of<'d>(
    config: &Config,
    services: &[Service],
    dockerfile_of: impl Fn(Option<&Service>) -> &'d Dockerfile,
) -> Result<SortedSet<ImageRef>> {
    let of_services = services.iter().map(|service| (dockerfile_of(Some(service)), &service.build_args));
    let all = of_services.chain([(dockerfile_of(None), &config.images.build_args)]);
    all.filter_map(|(dockerfile, args)| frontend(dockerfile, args).transpose()).collect()
}

/// The Dockerfile as the builder is handed it: where the engine's own frontend reads it, a copy without the `# syntax=` line, by which the builder
/// would look for another, and beside it the ignore file that goes with it. The copy has the name of the original, which errors tell.
///
/// # Errors
/// When it cannot be read or written.
pub fn handed(session: &Session, spec: &BuildSpec) -> Result<PathBuf> {
    if !spec.built_in_frontend {
        return Ok(spec.dockerfile.clone());
    }
    let folder = session.run.folder().join("dockerfiles").join(spec.task.to_string());
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let name = spec.dockerfile.file_name().unwrap_or_default();
    let copy = folder.join(name);
    write_atomically(&copy, without_syntax(&read_text(&spec.dockerfile)?).as_bytes())?;
    let ignore = |path: &PathBuf| {
        let mut path = path.clone().into_os_string();
        path.push(".dockerignore");
        PathBuf::from(path)
    };
    let theirs = ignore(&spec.dockerfile);
    if theirs.exists() {
        write_atomically(&ignore(&copy), read_text(&theirs)?.as_bytes())?;
    }
    Ok(copy)
}
