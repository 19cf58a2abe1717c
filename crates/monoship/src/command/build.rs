//! `cargo xtask build`: flags to a request, the pipeline, and its outcome on the screen or as JSON.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli;
use crate::command::{Call, Finished, print, print_json};
use crate::job::Job;
use crate::run::{self, Ran};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Status, Task};
use monoship_core::execute::pool;
use monoship_core::execute::process::Invocation;
use monoship_core::name::{ImageRef, ServiceName, Tag};
use monoship_core::secret::mask;
use monoship_core::sorted::SortedSet;
use monoship_core::text;
use monoship_core::tool;
use monoship_docker::engine::Engine;
use monoship_docker::spec::{BuildSpec, Output};
use monoship_init::diagnosis::{self, Finding};
use monoship_plan::affected::Affected;
use monoship_plan::cache::Tier;
use monoship_plan::config::{Provenance, Sbom};
use monoship_plan::explain::Reason;
use monoship_plan::request::{BuildRequest, Destination, Since};
use monoship_plan::{Decision, Plan, TargetPlan};
use monoship_report::closing::{self, Went};
use monoship_report::output;
use monoship_report::record::{Outcome, Run, RunRecord, TaskRecord};
use monoship_report::summary;
use monoship_steps::bases::{PINS, no_pins};
use monoship_steps::planning::no_registry;
use monoship_steps::{Session, build, newest};

/// Builds.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome.
pub fn run(flags: &cli::Build, call: &Call<'_>) -> Result<Finished> {
    let early_scan = call.begin_scan();
    let (session, reporter) = if flags.dry_run { call.session()? } else { call.build_session()? };
    let session = Session { early_scan, ..session };
    // Who names tags means them.
    let branch = if flags.push && flags.tags.is_empty() { session.git().branch()? } else { None };
    let job = Job { branch, ..Job::build(request(flags, &session)?) };
    if flags.dry_run {
        let ran = run::run(call.app, session, job.without_effects())?;
        reporter.finish();
        tell_commands(&ran, flags.json)?;
        return Ok(Finished::Well);
    }
    let folder = session.run.clone();
    let ran = run::run(call.app, session, job).inspect_err(|_| broken_off(&folder, flags.json))?;
    reporter.finish();
    let next = next(&ran, call);
    conclude(call, &ran.session, ran.record(), &next, flags.json)
}

/// What was made, and what one may do next.
fn next(ran: &Ran, call: &Call<'_>) -> String {
    let (tasks, paint) = (&ran.record().tasks, call.style().paint);
    let first = ran.plan().services.first();
    let went = match first.map(|service| &service.target.spec.output) {
        Some(Output::Load { .. }) if is_out_of_reach(ran) => Went::ToEmbedded,
        Some(Output::Load { .. }) => Went::ToEngine,
        Some(Output::Push { .. }) => Went::ToRegistry,
        _ => Went::Elsewhere,
    };
    let log = |task: &Task| from_here(&ran.session, call, task).display().to_string();
    let causes = text::folded(&causes(ran), call.columns());
    closing::images(tasks, went, paint) + &causes + &closing::failed(tasks, log, paint)
}

/// What the logs of first builds say that failed, where it is known what mends that.
fn causes(ran: &Ran) -> String {
    let first = Reason::NeverBuilt.to_string();
    let is_told = |task: &TaskRecord| task.failure.as_ref().is_some_and(|failure| failure.gone().is_some());
    let failed = ran.record().tasks.iter().filter(|task| task.status == Status::Failed && task.why == first && !is_told(task));
    let mut known: Vec<(Vec<String>, Finding)> = Vec::new();
    for task in failed {
        let text = std::fs::read(ran.session.run.log_path(&task.task)).unwrap_or_default();
        let Some(finding) = diagnosis::of(&String::from_utf8_lossy(&text)).into_iter().next() else { continue };
        match known.iter_mut().find(|(_, there)| *there == finding) {
            Some((tasks, _)) => tasks.push(task.task.to_string()),
            None => known.push((vec![task.task.to_string()], finding)),
        }
    }
    let lines =
        known.iter().map(|(tasks, finding)| format!("why:  {}: {}\nfix:  {}\n", tasks.join(", "), finding.what, finding.fix));
    lines.collect()
}

/// What mends a build whose base image is gone.
fn gone(record: &RunRecord) -> String {
    let images: SortedSet<&str> = record.tasks.iter().filter_map(|task| task.failure.as_ref()?.gone()).into_set();
    let lines = images.iter().map(|image| {
        format!(
            "why:  {image} is pinned to a digest that its registry has no more\n\
             fix:  `cargo xtask update {image}` pins it as it is there now; a digest in the Dockerfile itself is yours to change\n"
        )
    });
    lines.collect()
}

/// True where this shell's `docker` talks to another engine than the one that was built on.
fn is_out_of_reach(ran: &Ran) -> bool {
    ran.progress.engine.as_ref().is_some_and(Engine::is_embedded) && ran.session.env.get("DOCKER_HOST").is_none()
}

/// A task's log, as it is reached from the working folder.
fn from_here(session: &Session, call: &Call<'_>, task: &Task) -> PathBuf {
    let log = session.run.log_path(task);
    log.strip_prefix(&call.env.cwd).map_or_else(|_| log.clone(), Path::to_owned)
}

/// The end of every run that builds: the failures, the table, what `next` says, and the data where it is asked for.
///
/// # Errors
/// When standard output cannot be written.
pub fn conclude(call: &Call<'_>, session: &Session, record: &RunRecord, next: &str, json: bool) -> Result<Finished> {
    let (paint, columns) = (call.style().paint, call.columns());
    let mut shown = summary::failures(&record.tasks, |task| session.run.log_path(task), paint);
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown += &summary::table(&record.tasks, paint, columns);
    let told =
        summary::misses(&record.tasks, paint) + &summary::moves(&record.tasks, paint) + &summary::gates(&record.gates, paint);
    shown += &text::folded(&told, columns);
    shown += &summary::totals(&record.tasks, record.took(), paint);
    shown += &tool::named(&(text::folded(&gone(record), columns) + next));
    // Nobody reads it where standard error is closed.
    let _ = output::err().write_all(mask(&shown).as_bytes());
    if json {
        print_json(record)?;
    }
    match record.outcome {
        Outcome::Succeeded => Ok(Finished::Well),
        Outcome::Failed => Ok(Finished::Badly),
        Outcome::Cancelled => Err(Error::cancelled()),
    }
}

/// The end of a run that came to no outcome of its tasks, as data where it is asked for: its error follows.
pub fn broken_off(run: &Run, json: bool) {
    if let Some(record) = run.read().ok().filter(|_| json) {
        // The error that follows is the nearer one.
        let _ = print_json(&record);
    }
}

/// What the flags and the configuration ask for.
fn request(flags: &cli::Build, session: &Session) -> Result<BuildRequest> {
    let config = &session.config;
    // Before an engine is started for it.
    if flags.push && config.images.prefix.is_none() {
        return Err(no_registry());
    }
    if flags.locked && !flags.allow_stand_ins && !session.home.join(PINS).exists() {
        return Err(no_pins());
    }
    let destination = match &flags.output {
        Some(output) if output.is_empty() => {
            return Err(Error::usage("`--output` is empty")
                .hint("name a folder, a file, or what buildx takes: `type=oci,dest={service}.tar`"));
        }
        Some(output) => Destination::Output(output.clone()),
        None if flags.push && flags.tags.is_empty() => Destination::Registry(tags_of_tree(session)?),
        None if flags.push => {
            session.keep_off(&flags.tags)?;
            Destination::Registry(flags.tags.clone())
        }
        None if flags.tags.is_empty() => into_engine(),
        None => Destination::Engine(flags.tags.clone()),
    };
    let plain = BuildRequest::new(command_line(flags), destination, config, pool::builds_at_once());
    Ok(BuildRequest {
        services: flags.services.clone(),
        since: flags.since.asked(),
        jobs: flags.jobs.unwrap_or(plain.jobs),
        fail_fast: flags.fail_fast,
        force: flags.force,
        no_cache: flags.no_cache,
        cache_from: flags.cache_from.is_none(),
        no_cache_to: flags.cache_to.map(|_| "--cache-to none".to_owned()),
        platforms: flags.platforms.clone(),
        provenance: flags.provenance.as_deref().map_or(Ok(config.attest.provenance), provenance)?,
        sbom: flags.sbom.as_deref().map_or(Ok(config.attest.sbom.clone()), sbom)?,
        locked: flags.locked,
        allow_stand_ins: flags.allow_stand_ins,
        no_stand_ins: flags.locked && !flags.allow_stand_ins,
        overwrite: flags.overwrite,
        ..plain
    })
}

/// Where a build goes that names no destination: into the engine, as `dev`.
pub fn into_engine() -> Destination {
    Destination::Engine(vec!["dev".parse().expect("`dev` is a tag")])
}

/// The tags of the working tree: its branch's, where it is on one, and the commit's unless it differs from that.
fn tags_of_tree(session: &Session) -> Result<Vec<Tag>> {
    let git = session.git();
    let commit = git.resolve("HEAD")?;
    // A working tree that differs from the commit has no right to its name.
    let clean = git.worktree()?.dirty().is_empty();
    branch_tags(session, git.branch()?.as_deref(), clean.then_some(commit.as_str()))
}

/// The branch's tag and the commit's.
///
/// # Errors
/// When nothing of the branch's name can stand in a tag, or its tag is a release's, or another branch's.
pub fn branch_tags(session: &Session, branch: Option<&str>, commit: Option<&str>) -> Result<Vec<Tag>> {
    let free =
        |branch: &str| session.branch_tag(branch).and_then(|tag| newest::keep_off_others(session, branch, &tag).map(|()| tag));
    let branch = branch.map(free).transpose()?;
    Ok([branch, commit.and_then(Tag::of_commit)].into_iter().flatten().into_vec())
}

fn provenance(text: &str) -> Result<Provenance> {
    let value = if text == "false" { toml::Value::Boolean(false) } else { toml::Value::String(text.to_owned()) };
    value.try_into().map_err(|e: toml::de::Error| Error::usage(format!("`--provenance {text}`: {}", e.message())))
}

fn sbom(text: &str) -> Result<Sbom> {
    match text {
        "true" => Ok(Sbom::On),
        "false" => Ok(Sbom::Off),
        image => image.parse::<ImageRef>().map(Sbom::Generator),
    }
}

/// The services and the flags that decide what is made; for the record.
fn command_line(flags: &cli::Build) -> String {
    let mut words = vec!["build".to_owned()];
    words.extend(flags.services.clone());
    words.extend(match flags.since.asked() {
        Some(Since::Revision(revision)) => vec!["--since".to_owned(), revision],
        Some(_) => vec!["--affected".to_owned()],
        None => Vec::new(),
    });
    let switches =
        [(flags.push, "--push"), (flags.force, "--force"), (flags.no_cache, "--no-cache"), (flags.fail_fast, "--fail-fast")];
    words.extend(switches.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned()));
    words.join(" ")
}

/// A command that would run, as data.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownCommand {
    task: Task,
    /// The program, then its arguments.
    command: Vec<String>,
}

/// What `--dry-run --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownCommands {
    version: u32,
    /// Those that would run, in any order.
    commands: Vec<ShownCommand>,
    /// The services for which nothing would.
    unchanged: Vec<ServiceName>,
}

/// The version of what it prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// Prints what would run.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn tell_commands(ran: &Ran, json: bool) -> Result<()> {
    if !json {
        return print(&commands(ran));
    }
    let plan = ran.plan();
    let buildx = buildx_of(ran);
    let text = |word: &OsStr| word.to_string_lossy().into_owned();
    let shown = |spec: &BuildSpec| {
        let call = build::command(&ran.session, &buildx, spec);
        let command = std::iter::once(call.program()).chain(call.arguments()).map(text).into_vec();
        ShownCommand { task: spec.task.clone(), command }
    };
    let targets = plan.base.iter().chain(plan.to_build().map(|service| &service.target));
    let skipped = plan.services.iter().filter(|service| !service.is_built());
    let skipped = skipped.map(|service| &service.service.name).chain(left_out(plan));
    print_json(&ShownCommands {
        version: VERSION,
        commands: targets.flat_map(TargetPlan::builds).map(shown).into_vec(),
        unchanged: skipped.cloned().into_vec(),
    })
}

/// The services that are not affected, less those in the plan all the same because an affected one is built from them.
fn left_out(plan: &Plan) -> impl Iterator<Item = &ServiceName> {
    let is_in_plan = |name: &ServiceName| plan.services.iter().any(|service| service.service.name == *name);
    plan.affected.iter().flat_map(Affected::unaffected).filter(move |name| !is_in_plan(name))
}

/// Without an engine, the client's name stands for whichever will be there.
fn buildx_of(ran: &Ran) -> Invocation {
    ran.progress.engine.as_ref().map_or_else(|| Invocation::new("docker").arg("buildx"), Engine::buildx)
}

/// A look as the very commands that would run, with every cache tier's verdict as a comment, then the team's stages.
pub(crate) fn commands(ran: &Ran) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let plan = ran.plan();
    let buildx = buildx_of(ran);
    let told = |tier: &Tier| {
        let place = if tier.place.is_empty() { String::new() } else { format!(" ({})", tier.place) };
        format!("#   cache {:<9} {}{place}\n", tier.kind, tier.verdict)
    };
    if let Some(mounts) = &plan.mounts {
        let _ = write!(
            text,
            "# cache mounts {}\n{}\n",
            mounts.caches.iter().map(|cache| cache.trim_start_matches("id=")).into_vec().join("; "),
            told(&mounts.tier)
        );
    }
    for target in plan.base.iter().chain(plan.to_build().map(|service| &service.target)) {
        let _ = writeln!(text, "# {}", target.spec.task);
        target.tiers.iter().for_each(|tier| text.push_str(&told(tier)));
        for spec in target.builds() {
            let _ = writeln!(text, "{}\n", build::command(&ran.session, &buildx, spec));
        }
        let is_content = |image: &&ImageRef| image.tag().is_some_and(Tag::is_content) && !target.is_part;
        if let Some(image) = target.spec.output.names().last().filter(is_content) {
            let how = if target.by_platform.is_empty() { "tagged" } else { "joined" };
            let _ = writeln!(text, "# {how} as {image}\n");
        }
    }
    for service in &plan.services {
        for name in &service.renames {
            let content = service.target.spec.output.names().last();
            let _ = content.map(|content| writeln!(text, "# {}: docker tag {content} {name}", service.service.name));
        }
        if let Decision::Skip { digest, .. } = &service.decision {
            let _ = writeln!(text, "# {}: nothing to build, {digest} stands", service.service.name);
        }
    }
    if let Some(affected) = &plan.affected {
        for name in left_out(plan) {
            let _ = writeln!(text, "# {name}: nothing to build, not affected since {:.12}", affected.commit);
        }
    }
    for stage in &ran.progress.would {
        let _ = writeln!(text, "{stage}");
    }
    text
}
