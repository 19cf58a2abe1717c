//! Which build the reasons compare with, in words: when it was, and on which branch.

use std::time::SystemTime;

use crate::{Session, outcome};
use monoship_core::sorted::SortedMap;
use monoship_core::text;
use monoship_plan::explain::Reason;
use monoship_plan::{Compared, Decision, Plan};
use monoship_report::record::{RunId, Runs};

/// Says it of each service that is built for a difference.
pub(super) fn tell(session: &Session, plan: &mut Plan) {
    if plan.affected.is_some() {
        return;
    }
    let (state, runs) = (session.state(), Runs::new(&session.state_dir()));
    // Most services were last built by one run.
    let mut branches: SortedMap<RunId, Option<String>> = SortedMap::new();
    let mut here: Option<Option<String>> = None;
    for service in &mut plan.services {
        let Decision::Build { reasons } = &service.decision else { continue };
        if !reasons.iter().all(Reason::is_difference) {
            continue;
        }
        let Some(build) = state.latest(&service.service.name) else { continue };
        let of_run = |id: &RunId| runs.find(id).ok()?.read().ok()?.reference;
        let branch = build.run.and_then(|id| branches.entry(id.clone()).or_insert_with(|| of_run(&id)).clone());
        let here = here.get_or_insert_with(|| outcome::name(session, session.git().head()).1);
        let ago = text::age(SystemTime::now().duration_since(build.when).unwrap_or_default());
        let on = branch.as_ref().map(|branch| format!(" on {branch}")).unwrap_or_default();
        service.compared = Some(Compared {
            when: build.when,
            text: format!("your last build, {ago} ago{on}"),
            is_elsewhere: branch.is_some() && branch != *here,
            branch,
        });
    }
}
