//! The last lines of a run: what it made, under which names, and what one may do next. Pure.

use std::fmt::Write as _;

use super::style::Paint;
use crate::record::TaskRecord;
use monoship_core::collect::Collect as _;
use monoship_core::event::{Stage, Status, Task};
use monoship_core::name::{Digest, ImageRef};

/// Where a run's images went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Into the engine that this shell's `docker` talks to.
    ToEngine,
    /// Into the embedded engine, which this shell's `docker` does not know yet.
    ToEmbedded,
    /// To a registry.
    ToRegistry,
    /// Anywhere else; there is nothing to say of that.
    Elsewhere,
}

/// An image that a run made or found.
struct Made {
    names: Vec<ImageRef>,
    digest: Option<Digest>,
}

/// The images that were built, by name and digest, and how to run one; of a run that built none, how to run what stands.
#[must_use]
pub fn images(tasks: &[TaskRecord], went: Went, paint: Paint) -> String {
    let of = |status: Status| tasks.iter().filter(move |task| task.status == status).filter_map(made).into_vec();
    let (built, standing) = (of(Status::Built), of(Status::Unchanged));
    let mut text = String::new();
    match went {
        Went::Elsewhere => return text,
        Went::ToRegistry => {
            for image in &built {
                let (Some(name), Some(digest)) = (image.names.first(), &image.digest) else { continue };
                let tags = image.names.iter().filter_map(|name| name.tag().map(ToString::to_string)).into_vec();
                let pinned = name.without_reference().with_digest(digest.clone());
                let _ = writeln!(text, "  {pinned}  {}", paint.faint(&tags.join(", ")));
            }
            return text;
        }
        Went::ToEngine | Went::ToEmbedded => {}
    }
    let width = built.iter().flat_map(|image| &image.names).map(|name| name.familiar().len()).max().unwrap_or(0);
    for image in &built {
        let digest = image.digest.as_ref().map(|digest| format!("sha256:{}", digest.short())).unwrap_or_default();
        for name in &image.names {
            let line = format!("  {:<width$}  {}", name.familiar(), paint.faint(&digest));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    if let Some(name) = built.iter().chain(&standing).find_map(|image| image.names.first()) {
        let _ = writeln!(text, "{} docker run --rm {}", paint.hint("run one:"), name.familiar());
        if went == Went::ToEmbedded {
            let _ = writeln!(text, "  once in each shell, before that: eval \"$(cargo xtask engine env)\"");
        }
    }
    text
}

/// A service's image, without the names that are the tool's own.
fn made(task: &TaskRecord) -> Option<Made> {
    if !matches!(task.task, Task::Service(_)) {
        return None;
    }
    let content = task.fingerprint.as_ref().map(monoship_core::name::Fingerprint::content_tag);
    let names = task.images.iter().filter_map(|name| name.parse::<ImageRef>().ok());
    let names: Vec<ImageRef> = names.filter(|name| name.tag() != content.as_ref()).into_vec();
    (!names.is_empty()).then(|| Made { names, digest: task.digest.clone() })
}

/// What shows more after a failure, and what builds again what failed. `log` names a task's whole log.
#[must_use]
pub fn failed(tasks: &[TaskRecord], log: impl Fn(&Task) -> String, paint: Paint) -> String {
    let failed: Vec<&TaskRecord> = tasks.iter().filter(|task| task.status == Status::Failed).into_vec();
    // A service whose image a stage refused was built well, now or before: the stage's log has why.
    let is_refused = |service: &Task| {
        let of_it = |stage: &Stage| stage.service.as_ref().is_some_and(|name| *service == Task::Service(name.clone()));
        failed.iter().any(|task| matches!(&task.task, Task::Stage(stage) if of_it(stage)))
    };
    let Some(first) = failed.iter().find(|task| !is_refused(&task.task)) else { return String::new() };
    let services = failed.iter().filter(|task| matches!(task.task, Task::Service(_)));
    let names: Vec<String> = services.map(|task| task.task.to_string()).into_vec();
    let mut text = format!("{} less {}\n", paint.hint("see all of it:"), log(&first.task));
    if !names.is_empty() {
        let _ = writeln!(text, "{} cargo xtask build {}", paint.hint("build again:"), names.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, status: Status) -> TaskRecord {
        let fingerprint: monoship_core::name::Fingerprint = "1".repeat(64).parse().unwrap();
        let content = fingerprint.content_tag();
        let mut task = TaskRecord::new(Task::Service(name.parse().unwrap()), status);
        task.images = vec![format!("local/{name}:dev"), format!("local/{name}:{content}")];
        task.digest = Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap());
        task.fingerprint = Some(fingerprint);
        task
    }

    #[test]
    fn the_end_names_what_was_built_and_how_to_run_it() {
        let tasks = [task("api", Status::Built), task("scheduler", Status::Built), task("web", Status::Unchanged)];
        let expected = "  local/api:dev        sha256:aaaaaaaaaaaa
  local/scheduler:dev  sha256:aaaaaaaaaaaa
run one: docker run --rm local/api:dev
";
        assert_eq!(images(&tasks, Went::ToEngine, Paint::PLAIN), expected);
        let embedded = images(&tasks[2..], Went::ToEmbedded, Paint::PLAIN);
        assert_eq!(
            embedded,
            "run one: docker run --rm local/web:dev\n  once in each shell, before that: eval \"$(cargo xtask engine env)\"\n"
        );
        assert_eq!(images(&tasks, Went::Elsewhere, Paint::PLAIN), "");
        assert_eq!(images(&[task("api", Status::Failed)], Went::ToEngine, Paint::PLAIN), "");
    }

    #[test]
    fn what_was_pushed_is_named_by_its_digest() {
        let mut api = task("api", Status::Built);
        api.images = vec!["ghcr.io/acme/api:main".into(), "ghcr.io/acme/api:sha-1".into()];
        let digest = "a".repeat(64);
        assert_eq!(images(&[api], Went::ToRegistry, Paint::PLAIN), format!("  ghcr.io/acme/api@sha256:{digest}  main, sha-1\n"));
    }

    #[test]
    fn after_a_failure_it_says_what_shows_more() {
        let tasks = [task("api", Status::Built), task("web", Status::Failed), task("worker", Status::Failed)];
        let text = failed(&tasks, |task| format!("target/{task}.log"), Paint::PLAIN);
        assert_eq!(text, "see all of it: less target/web.log\nbuild again: cargo xtask build web worker\n");
        assert_eq!(failed(&tasks[..1], |_| String::new(), Paint::PLAIN), "");
    }

    #[test]
    fn of_an_image_that_a_stage_refused_it_names_the_stages_log() {
        let stage = Stage { stage: "smoke".parse().unwrap(), service: Some("web".parse().unwrap()) };
        let tasks = [task("web", Status::Failed), TaskRecord::new(Task::Stage(stage), Status::Failed)];
        let text = failed(&tasks, |task| format!("target/{task}.log"), Paint::PLAIN);
        assert_eq!(text, "see all of it: less target/smoke@web.log\nbuild again: cargo xtask build web\n");
    }
}
