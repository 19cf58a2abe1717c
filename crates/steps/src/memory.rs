//! How much memory the builds of a run take at their height, and how much there is for them: those that have no room together wait for each
//! other. A kernel that runs out of memory kills whatever it likes, and the build that dies so says no more than `exit code: 137`.

use crate::Session;
use crate::planning::image_store;
use crate::project::Project;
use monoship_core::event::Level;
use monoship_core::text::bytes;
use monoship_docker::engine::Engine;
use monoship_plan::services::Service;

/// What a build takes whose service says nothing: a compiler's run over some hundred files.
const USUAL: u64 = 500_000_000;

/// What is taken for the builds of these tools: about three times what was measured of small ones (docs/configuration.md).
const GREEDY: [(&str, u64); 4] = [
    ("next", 1_500_000_000),
    ("nuxt", 1_500_000_000),
    ("@angular/build", 1_500_000_000),
    ("@angular-devkit/build-angular", 1_500_000_000),
];

/// How much memory there is for builds, in bytes; `u64::MAX` where nobody knows. An eighth of the machine's is left to the rest of it.
pub fn room(session: &Session, engine: &Engine) -> u64 {
    if let Some(said) = session.config.memory {
        return said.0;
    }
    // A builder that buildx knows may be on another machine than the engine that answers here.
    let is_elsewhere = session.config.builder.is_some() || engine.engine_version.is_none();
    let asked = || image_store(session, engine).memory().ok().flatten();
    let total = if is_elsewhere { None } else { asked() };
    total.map_or(u64::MAX, |total| total / 8 * 7)
}

/// What a build of this service takes at its height, in bytes: what is said of it, or what the tools it declares are known to take.
pub fn takes(project: &Project, service: &Service) -> u64 {
    let greedy = || {
        let package = project.workspace.package(project.workspace.find(&service.package).ok()?);
        let tool = |name: &str| GREEDY.iter().find(|(tool, _)| *tool == name);
        package.manifest.all_dependencies().filter_map(|(name, ..)| tool(name)).map(|(_, takes)| *takes).max()
    };
    service.memory.map(|said| said.0).or_else(greedy).unwrap_or(USUAL)
}

/// Says once that builds wait for each other's memory, where so many at once would not have room.
pub fn tell(session: &Session, room: u64, all: &[u64], jobs: usize) {
    let mut largest = all.to_vec();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let together: u64 = largest.iter().take(jobs).sum();
    if together > room {
        let text = format!(
            "{} builds at once would take about {}, and there are {} for them: some wait for others",
            largest.len().min(jobs),
            bytes(together),
            bytes(room)
        );
        let hint = "`memory` under a [[service]] says what its build takes, `memory` under [builders] how much there is";
        session.events.notice(Level::Info, None, text, Some(hint.to_owned()));
    }
}
