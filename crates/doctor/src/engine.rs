//! The engine: is there one, can it keep every cache, is its buildx new enough? None is started.

use super::{Checkup, Finding, Severity};
use monoship_docker::capability::CONTAINERD_STORE_HINT;
use monoship_docker::engine::{Engine, existing};
use monoship_plan::config::EngineChoice;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    match &checkup.engine {
        Err(error) => {
            vec![Finding::error(Severity::Problem, "engine-unreachable", error, "start it, or unset what points at it")]
        }
        Ok(None) => {
            let (lacks_plugin, is_root) = (existing::lacks_plugin(&checkup.env), rustix::process::geteuid().is_root());
            none(checkup.config.engine, lacks_plugin, is_root, existing::on_path(&checkup.env, "npm").is_some())
        }
        Ok(Some(engine)) => findings(checkup, engine),
    }
}

/// Nothing answers. `lacks_plugin`: there is a client without buildx.
fn none(choice: EngineChoice, lacks_plugin: bool, is_root: bool, has_npm: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    if choice != EngineChoice::Embedded && lacks_plugin {
        let what = "there is a docker client, but its buildx plugin is missing";
        found.push(Finding::warning("buildx-missing", what, "install docker-buildx for your client"));
    }
    let install = "install Docker with buildx and start it, or point `DOCKER_HOST` at an engine";
    found.push(if choice == EngineChoice::Docker || !cfg!(target_os = "linux") {
        Finding::problem("no-engine", "no Docker answers here", install)
    } else if !is_root {
        Finding::problem("no-engine", "no Docker answers here, and the embedded engine needs root", install)
    } else {
        Finding::note("engine-not-started", "no engine runs; the next build starts the embedded one", "`cargo xtask engine up`")
    });
    if !has_npm && found.last().is_some_and(|finding| finding.code == "engine-not-started") {
        let what = "npm is not on PATH: where Docker Hub does not answer, the stand-in for Node's image is made with it";
        found.push(Finding::note("npm-missing", what, "install npm, where builds cannot reach Docker Hub"));
    }
    found
}

fn findings(checkup: &Checkup, engine: &Engine) -> Vec<Finding> {
    let mut found = Vec::new();
    let (can, buildx) = (&engine.capabilities, engine.buildx_version);
    let version = engine.engine_version.map(|version| format!("engine {version}, ")).unwrap_or_default();
    let kind = if engine.is_embedded() { "embedded: " } else { "" };
    if !can.rawjson {
        let what = format!("buildx {buildx} cannot report progress as data, which every build needs");
        found.push(Finding::problem("buildx-too-old", what, "install buildx 0.12 or newer; 0.22 has all that is used"));
    }
    if !can.containerd_store {
        let what = "the engine keeps images in a graph driver: it can write no cache but the inline one, and no attestations";
        found.push(Finding::warning("graph-driver-store", what, CONTAINERD_STORE_HINT));
    } else if can.rawjson && !(can.push_without_store && can.gha_v2) {
        let what = format!("{version}buildx {buildx}: pushes are slower, and GitHub's cache service cannot be used");
        found.push(Finding::note("engine-outdated", what, "update to engine 28 and buildx 0.22"));
    }
    if let Some(name) = &checkup.config.builder {
        let known = engine.buildx().args(["inspect", name]).timeout(std::time::Duration::from_secs(5)).run(&checkup.shutdown);
        if !known.is_ok_and(|output| output.success()) {
            let fix = format!("`docker buildx create --name {name}`, or take `builder` out of xtask.toml");
            found.push(Finding::problem("builder-missing", format!("buildx does not know a builder `{name}`"), fix));
        }
    }
    if found.is_empty() {
        found.push(Finding::good(format!("{kind}{version}buildx {buildx}, containerd image store")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(choice: EngineChoice, lacks_plugin: bool, is_root: bool) -> Vec<&'static str> {
        none(choice, lacks_plugin, is_root, !lacks_plugin).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn without_an_engine_it_depends_on_root_and_the_choice_whether_a_build_can_have_one() {
        assert_eq!(codes(EngineChoice::Auto, true, false), ["buildx-missing", "no-engine"]);
        assert_eq!(codes(EngineChoice::Docker, false, true), ["no-engine"]);
        assert_eq!(codes(EngineChoice::Embedded, true, false), ["no-engine"]);
        if cfg!(target_os = "linux") {
            assert_eq!(codes(EngineChoice::Auto, true, true), ["buildx-missing", "engine-not-started", "npm-missing"]);
            assert_eq!(codes(EngineChoice::Embedded, false, true), ["engine-not-started"]);
        }
    }
}
