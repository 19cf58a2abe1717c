//! GitHub's cache service: does this job have its token, and what may it do?

use std::time::SystemTime;

use super::{Checkup, Finding};
use monoship_github::token::{GhaAccess, Protocol};
use monoship_plan::config::Switch;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    if checkup.config.cache.gha == Switch::Off {
        return vec![Finding::good("turned off in xtask.toml")];
    }
    if !checkup.env.flag("GITHUB_ACTIONS") && checkup.env.get("ACTIONS_RUNTIME_TOKEN").is_none() {
        return vec![Finding::good("not in GitHub Actions: this tier is not used")];
    }
    let access = GhaAccess::detect(&checkup.env, SystemTime::now());
    let said = access.to_string();
    let export = "export ACTIONS_RUNTIME_TOKEN, ACTIONS_RESULTS_URL and ACTIONS_CACHE_SERVICE_V2 from an actions/github-script step (docs/ci.md)";
    let found = match &access {
        GhaAccess::Write { .. } => Finding::good(said),
        GhaAccess::Read { .. } => Finding::note("gha-read-only", said, "a pull request from a fork may not write; other runs do"),
        GhaAccess::Expired(_) => {
            Finding::warning("gha-token-expired", said, "run the job again: a token lives as long as its job")
        }
        GhaAccess::Absent(_) if said.contains("clock") => {
            Finding::warning("gha-token-not-yet-valid", said, "set the machine's clock")
        }
        GhaAccess::Absent(_) => Finding::warning("gha-token-missing", said, export),
    };
    let mut found = vec![found];
    let old = checkup.engine.as_ref().is_ok_and(|engine| engine.as_ref().is_some_and(|engine| !engine.capabilities.gha_v2));
    if access.readable().is_ok() && old && Protocol::detect(&checkup.env) == Some(Protocol::V2) {
        let what = "this engine speaks only the first version of the protocol, which GitHub has turned off";
        found.push(Finding::warning(
            "gha-protocol",
            what,
            "update to engine 28 and buildx 0.21, with the containerd image store",
        ));
    }
    found
}
