//! Lines of a log that the Actions runner takes as commands: groups, annotations, masks. Text only: what is said comes from callers,
//! who write it to standard error, which the runner reads as well.
//!
//! Source: docs.github.com "workflow commands for GitHub Actions"; escaping as in `actions/toolkit`, `packages/core/command.ts`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::record::TaskRecord;
use crate::step;
use monoship_core::collect::Collect as _;
use monoship_core::error::Error;
use monoship_core::event::Status;
use monoship_core::text;

/// How serious an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Fails nothing by itself, and shows red.
    Error,
    /// Shows yellow.
    Warning,
    /// Shows grey.
    Notice,
}

/// An annotation: a message that GitHub shows beside a file's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation<'a> {
    /// How serious.
    pub severity: Severity,
    /// A heading.
    pub title: Option<&'a str>,
    /// The file, from the repository's root, and the line counted from 1.
    pub place: Option<(&'a Path, Option<usize>)>,
    /// What is to be said; may have several lines.
    pub message: &'a str,
}

/// Opens a foldable group of log lines.
#[must_use]
pub fn group(title: &str) -> String {
    format!("::group::{}", data(title))
}

/// Closes the group.
#[must_use]
pub fn end_group() -> String {
    "::endgroup::".to_owned()
}

/// A line of somebody else's output that the runner must not take as a command: the runner reads `::name::` at the start of any
/// line, and the older `##[name]` anywhere in it.
#[must_use]
pub fn inert(line: &str) -> String {
    let line = text::without_commands(line);
    if line.trim_start().starts_with("::") { format!("\u{200b}{line}") } else { line.into_owned() }
}

impl Annotation<'_> {
    /// The command.
    #[must_use]
    pub fn command(&self) -> String {
        let mut properties = Vec::new();
        if let Some((file, line)) = self.place {
            properties.push(format!("file={}", property(&file.to_string_lossy())));
            properties.extend(line.map(|line| format!("line={line}")));
        }
        properties.extend(self.title.map(|title| format!("title={}", property(title))));
        let name = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        let mut command = format!("::{name}");
        if !properties.is_empty() {
            write!(command, " {}", properties.join(",")).expect("writing to a String cannot fail");
        }
        format!("{command}::{}", data(self.message))
    }
}

/// Where a workspace lies, as GitHub names files: from the repository's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The repository's root.
    pub root: PathBuf,
    /// The workspace's folder in it, which is empty for the root's: what an error names by a relative path lies below it.
    pub folder: PathBuf,
}

/// The annotation of an error: beside the file and line it concerns, its hint below it. Places outside the repository are left in the message.
#[must_use]
pub fn error_command(error: &Error, there: &Whereabouts) -> String {
    let hint = error.hint_text().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let place = place_in(error, there);
    let place = place.as_ref().map(|(file, line)| (file.as_path(), *line));
    // Beside its place a message need not name it.
    let message = if place.is_some() { error.without_place() } else { error.to_string() };
    Annotation { severity: Severity::Error, title: Some("cargo xtask"), place, message: &(message + &hint) }.command()
}

/// An error in a line, its file named as the repository has it: `Dockerfile:12: there is no instruction …`.
#[must_use]
pub fn error_line(error: &Error, there: &Whereabouts) -> String {
    let Some((file, line)) = place_in(error, there) else { return error.to_string() };
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}: {}", file.display(), error.without_place())
}

/// The place that an error concerns, where it is in the repository.
fn place_in(error: &Error, there: &Whereabouts) -> Option<(PathBuf, Option<usize>)> {
    let (file, line) = error.place()?;
    let inside = if file.is_absolute() { file.strip_prefix(&there.root).ok()?.to_owned() } else { there.folder.join(file) };
    Some((of_checkout(&inside, &there.folder).to_owned(), line))
}

/// A file of a sparse checkout of ours (`target/xtask/checkout/<what>/<commit>/…` below the workspace), as the repository has it: what is checked
/// out begins at its root.
fn of_checkout<'a>(file: &'a Path, folder: &Path) -> &'a Path {
    let Ok(below) = file.strip_prefix(folder.join("target/xtask/checkout")) else { return file };
    let mut parts = below.components();
    parts.by_ref().take(2).for_each(drop);
    parts.as_path()
}

/// The annotations of a run: each failed task beside the Dockerfile's line, each finding of BuildKit's checks once. `dockerfile` is a path from the
/// repository's root.
#[must_use]
pub fn findings(tasks: &[TaskRecord], dockerfile: &Path) -> Vec<String> {
    // BuildKit names the file by the last part of its path.
    let place = |file: &str| if dockerfile.ends_with(file) { dockerfile.to_owned() } else { PathBuf::from(file) };
    let failed = tasks.iter().filter(|task| task.status == Status::Failed).map(|task| {
        let failure = task.failure.as_ref();
        let source = failure.and_then(|failure| failure.source.as_ref()).map(|source| (place(&source.file), Some(source.line)));
        let step = failure
            .and_then(|failure| failure.step.as_deref())
            .map(|step| format!(" at {}", step::text(step)))
            .unwrap_or_default();
        let hint = task.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let said = failure.map_or_else(
            || task.why.clone() + &hint,
            |failure| [std::slice::from_ref(&failure.message), tail(&failure.log)].concat().join("\n"),
        );
        let place = source.as_ref().map(|(file, line)| (file.as_path(), *line));
        let title = format!("{} failed{step}", task.task);
        Annotation { severity: Severity::Error, title: Some(&title), place, message: &said }.command()
    });
    let warnings = tasks.iter().flat_map(|task| &task.warnings).map(|warning| {
        let source = warning.file.as_deref().map(|file| (place(file), warning.line));
        let place = source.as_ref().map(|(file, line)| (file.as_path(), *line));
        Annotation { severity: Severity::Warning, title: Some("Dockerfile"), place, message: &warning.short }.command()
    });
    let mut found: Vec<String> = failed.into_vec();
    found.extend(warnings.into_set());
    found
}

/// As much of a log as fits beside a line of code.
fn tail(log: &[String]) -> &[String] {
    &log[log.len().saturating_sub(10)..]
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_escaped_as_the_runner_unescapes_them() {
        let annotation = Annotation {
            severity: Severity::Error,
            title: Some("a,b: c"),
            place: Some((Path::new("apps/a:b,c/Dockerfile"), Some(7))),
            message: "100 %\r\nnext ::error::",
        };
        assert_eq!(
            annotation.command(),
            "::error file=apps/a%3Ab%2Cc/Dockerfile,line=7,title=a%2Cb%3A c::100 %25%0D%0Anext ::error::"
        );
        let plain = Annotation { severity: Severity::Notice, title: None, place: None, message: "x" };
        assert_eq!(plain.command(), "::notice::x");
        assert_eq!(group("api\n::error::x"), "::group::api%0A::error::x");
    }

    #[test]
    fn an_error_is_shown_beside_its_line() {
        let at = |root: &str, folder: &str| Whereabouts { root: root.into(), folder: folder.into() };
        let error = Error::usage("unknown key `regsitry`").at("/repo/xtask.toml", Some(3)).hint("did you mean `registry`?");
        assert_eq!(
            error_command(&error, &at("/repo", "")),
            "::error file=xtask.toml,line=3,title=cargo xtask::unknown key `regsitry`%0Ahint: did you mean `registry`?"
        );
        assert!(error_command(&error, &at("/other", "")).starts_with("::error title=cargo xtask::/repo/xtask.toml:3: "));
        let error = Error::usage("x").at("/repo/target/xtask/checkout/ci/0123456789ab/docker/Dockerfile", Some(7));
        assert_eq!(error_line(&error, &at("/repo", "")), "docker/Dockerfile:7: x");
        assert!(error_command(&error, &at("/repo", "")).starts_with("::error file=docker/Dockerfile,line=7,title="));

        // Of a workspace in a folder: by the whole path, in a checkout, and by a path from the workspace.
        let checkout = "/repo/backend/target/xtask/checkout/ci/0123456789ab/backend/xtask.toml";
        for file in ["/repo/backend/xtask.toml", checkout, "xtask.toml"] {
            let error = Error::usage("x").at(file, Some(7));
            assert_eq!(error_line(&error, &at("/repo", "backend")), "backend/xtask.toml:7: x");
        }
    }

    #[test]
    fn a_childs_line_is_never_a_command() {
        for evil in ["::error::x", "  ::set-output name=a::b", "::stop-commands::t", "a ##[error]x", "##[add-mask]a"] {
            let line = inert(evil);
            assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "{line}");
        }
        assert_eq!(inert("npm warn :: fine # [x]"), "npm warn :: fine # [x]");
    }

    #[test]
    fn a_failed_build_is_shown_at_its_dockerfile_line_and_a_finding_of_many_services_once() {
        use monoship_core::event::Task;
        use monoship_docker::rawjson::{Excerpt, Failure, Warning};
        let warning = |file: &str| Warning {
            short: "old (line 2)".into(),
            detail: vec![],
            url: String::new(),
            file: Some(file.into()),
            line: Some(2),
        };
        let of = |name: &str, status| TaskRecord {
            warnings: vec![warning("Dockerfile")],
            ..TaskRecord::new(Task::Service(name.parse().unwrap()), status)
        };
        let source = Excerpt { file: "Dockerfile".into(), line: 12, lines: vec![] };
        let failure = Failure {
            step: Some("[api 3/4] RUN tsc".into()),
            message: "exit code: 2".into(),
            log: vec!["a.ts: 50 %".into()],
            source: Some(source),
        };
        let failed = TaskRecord { failure: Some(failure), ..of("api", Status::Failed) };
        assert_eq!(
            findings(&[failed, of("web", Status::Built)], Path::new("docker/Dockerfile")),
            [
                "::error file=docker/Dockerfile,line=12,title=api failed at [api 3/4] RUN tsc::exit code: 2%0Aa.ts: 50 %25",
                "::warning file=docker/Dockerfile,line=2,title=Dockerfile::old (line 2)",
            ]
        );
    }
}
