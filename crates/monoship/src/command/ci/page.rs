//! What a job tells of itself: step outputs, and the job summary.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::CiPart;
use crate::command::cache::Pruned;
use crate::command::{Call, Finished};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Status, Task};
use monoship_core::name::{Digest, ServiceName, Tag};
use monoship_core::sorted::SortedMap;
use monoship_core::text;
use monoship_github::actions::Runner;
use monoship_github::trigger::{Action, CiPlan};
use monoship_publish::Published;
use monoship_report::commands::error_line;
use monoship_report::job_summary::{self, LIMIT, RemovedRow, ServiceRow, Summary, Verdict};
use monoship_report::record::RunRecord;
use monoship_report::record::stats::TierStats;
use monoship_report::results::Planned;
use monoship_steps::jobs::PlanFile;
use monoship_steps::publication::Sizes;
use monoship_steps::update_release::{Outcome, Report};
use monoship_steps::upkeep::apply;

/// The step outputs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outputs {
    /// Each service's image.
    digests: SortedMap<ServiceName, Digest>,
    /// Every tag that is there now, as a whole image name.
    tags: Vec<String>,
    /// The services that are built, or have to be.
    affected: Vec<ServiceName>,
    /// What the plan's job hands to GitHub: `{"service":["api"]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<serde_json::Value>,
    /// The platforms that the base is built for, each with its runner: `{"include":[{"platform":"linux/arm64","runner":"ubuntu-24.04-arm"}]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    platforms: Option<serde_json::Value>,
    /// The file that a job leaves for the next ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<PathBuf>,
}

/// The page of one job.
pub(super) struct Page {
    summary: Summary,
    pub(super) outputs: Outputs,
}

/// A part's name, as it is typed.
pub(super) fn word(part: &CiPart) -> String {
    match part {
        CiPart::Plan { .. } => "plan".to_owned(),
        CiPart::Base => "base".to_owned(),
        CiPart::Service { name } => format!("service {name}"),
        CiPart::Publish => "publish".to_owned(),
        CiPart::Workflow(_) => "workflow".to_owned(),
    }
}

impl Page {
    pub(super) fn new(understood: &CiPlan, part: Option<&CiPart>) -> Self {
        let part = part.map(|part| format!(" ({})", word(part))).unwrap_or_default();
        let notices = match &understood.action {
            Action::Nothing { why } => vec![format!("nothing to do: {why}")],
            _ => Vec::new(),
        };
        let summary = Summary { title: format!("{}{part}", understood.trigger), notices, ..Summary::default() };
        Self { summary, outputs: Outputs::default() }
    }

    /// Takes in what was built, and what the caches cost.
    pub(super) fn run(&mut self, record: &RunRecord, costs: &[TierStats]) {
        self.summary.services = job_summary::rows(&record.tasks);
        self.summary.tiers = job_summary::tiers(&record.tasks, costs);
        if !record.unaffected.is_empty() {
            let names: Vec<&str> = record.unaffected.iter().map(ServiceName::as_str).into_vec();
            self.summary.notices.push(format!("not affected, and not built: {}", names.join(", ")));
        }
        let word = |fails| if fails { "gate failed" } else { "gate" };
        let gates = record.gates.iter().map(|gate| format!("{}: {}: {}", word(gate.fails), gate.gate, gate.text));
        self.summary.notices.extend(gates);
        for task in &record.tasks {
            let Task::Service(service) = &task.task else { continue };
            if let Some(digest) = &task.digest {
                self.outputs.digests.insert(service.clone(), digest.clone());
            }
            if task.status != Status::Unchanged {
                self.outputs.affected.push(service.clone());
            }
        }
    }

    /// Takes in what upkeep removed.
    pub(super) fn pruned(&mut self, pruned: &Pruned) {
        let rows = pruned.plan.removals.iter().map(|removal| {
            let failed = pruned.applied.failed.iter().find(|(failed, _)| failed == removal);
            RemovedRow {
                place: format!("{}: {}", removal.tier.as_str(), removal.place),
                name: removal.name.clone(),
                bytes: removal.bytes,
                why: failed.map_or_else(|| removal.why.clone(), |(_, error)| format!("not removed: {error}")),
            }
        });
        self.summary.removed = rows.into_vec();
        let apply::Applied { done, bytes, .. } = pruned.applied;
        self.summary.notices.push(match pruned.plan.removals.as_slice() {
            [] => "there was nothing to remove".to_owned(),
            _ => format!("removed {}, {}", text::counted(done, "item"), text::bytes(bytes)),
        });
        let left_out = pruned.left_out.iter().map(|(tier, why)| format!("{} is left out: {why}", tier.as_str()));
        self.summary.notices.extend(left_out);
    }

    /// Takes in what must be built.
    pub(super) fn planned(&mut self, file: &PlanFile, matrix: serde_json::Value, platforms: Option<serde_json::Value>) {
        let build = |name: &&ServiceName| file.services[*name].present.is_none();
        self.outputs.affected = file.services.keys().filter(build).cloned().into_vec();
        for (service, planned) in &file.services {
            self.outputs.digests.extend(planned.present.clone().map(|digest| (service.clone(), digest)));
        }
        (self.outputs.matrix, self.outputs.platforms) = (Some(matrix), platforms);
        let row = |(name, planned): (&ServiceName, &Planned)| {
            let status = planned.present.is_some().then_some(Status::Unchanged);
            ServiceRow { digest: planned.present.clone(), ..ServiceRow::new(name.as_str(), status, &planned.why) }
        };
        self.summary.services = file.services.iter().map(row).into_vec();
    }

    /// Takes in what was published.
    pub(super) fn published(&mut self, published: &[Published], sizes: &Sizes) {
        for one in published {
            self.outputs.digests.insert(one.service.clone(), one.digest.clone());
            self.outputs.tags.extend(one.tags.iter().map(|tag| format!("{}:{}", one.repository, tag.tag)));
            let row = self.summary.services.iter_mut().find(|row| row.name == one.service.as_str());
            if let (Some(row), Some(bytes)) = (row, sizes.get(&one.service)) {
                row.bytes = *bytes;
                row.digest = Some(one.digest.clone());
            }
        }
    }

    /// Takes in a release's page.
    pub(super) fn release(&mut self, tag: &Tag, notes: &Report) {
        self.summary.release = Some((tag.clone(), notes.url.clone()));
        if let Outcome::NotDone { why, .. } = &notes.outcome {
            self.summary.notices.push(format!("the notes are not on GitHub: {why}"));
        }
    }

    /// Writes outputs and summary, where there is a runner that takes them.
    ///
    /// # Errors
    /// When the runner's files cannot be written.
    pub(super) fn tell(&mut self, runner: &Runner, done: Result<&Finished, &Error>, call: &Call<'_>) -> Result<()> {
        let digests = serde_json::to_string(&self.outputs.digests).expect("names and digests are text");
        let affected = serde_json::to_string(&self.outputs.affected).expect("names are text");
        runner.set_output("digests", &digests)?;
        runner.set_output("tags", &self.outputs.tags.join("\n"))?;
        runner.set_output("affected", &affected)?;
        runner.set_output("changed", if self.outputs.affected.is_empty() { "false" } else { "true" })?;
        if let Some(matrix) = &self.outputs.matrix {
            runner.set_output("matrix", &matrix.to_string())?;
        }
        if let Some(platforms) = &self.outputs.platforms {
            runner.set_output("platforms", &platforms.to_string())?;
        }
        if let Some(result) = &self.outputs.result {
            runner.set_output("result", &result.to_string_lossy())?;
            // What an artifact may be called: a platform's slash may not be in it.
            let name = result.file_stem().unwrap_or_default().to_string_lossy();
            runner.set_output("artifact", &format!("xtask-{name}"))?;
        }
        self.summary.verdict = match done {
            Ok(Finished::Well) => Verdict::Succeeded,
            Ok(Finished::Badly) => Verdict::Failed,
            Err(error) if error.is_cancelled() => Verdict::Cancelled,
            Err(error) => {
                self.summary.notices.push(error_line(error, &call.whereabouts()));
                self.summary.notices.extend(error.hint_text().map(|hint| format!("hint: {hint}")));
                Verdict::Failed
            }
        };
        self.summary.took = call.elapsed();
        runner.add_summary(&job_summary::render(&self.summary, LIMIT))
    }
}
