//! `cargo xtask ci`: the event is read, what it asks for is done by the same pipeline as on a laptop, and the CI system is told of it.

mod page;
mod parts;
mod workflow;

use std::io::Write as _;

use serde::Serialize;

use crate::cli::{self, CiPart};
use crate::command::build::branch_tags;
use crate::command::{Call, Finished, print_json};
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::pool::builds_at_once;
use monoship_core::name::ReleaseTag;
use monoship_core::secret::mask;
use monoship_github::actions::Runner;
use monoship_github::token::GhaAccess;
use monoship_github::trigger::{self, Action, CacheUse, CiPlan, CommitId, System, Trigger};
use monoship_plan::request::{BuildRequest, Destination, Missing, ReleaseRequest, Since};
use monoship_report::output;
use monoship_steps::Session;
use monoship_steps::checkout;

use page::{Outputs, Page};

/// The version of what `--json` prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// What `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    version: u32,
    understood: &'a CiPlan,
    outputs: &'a Outputs,
    /// What kept the work from coming to an outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

/// Does what the event asks for, or a part of it.
///
/// # Errors
/// An event that cannot be understood or must not be built; whatever keeps the work from coming to an outcome.
pub fn run(flags: &cli::Ci, call: &Call<'_>) -> Result<Finished> {
    if let Some(CiPart::Workflow(own)) = &flags.part {
        let ignored = [(flags.event.is_some(), "--event"), (flags.allow_stand_ins, "--allow-stand-ins"), (flags.json, "--json")];
        if let Some((_, flag)) = ignored.iter().find(|(given, _)| *given) {
            return Err(
                Error::usage(format!("`{flag}` means nothing for `ci workflow`, which writes files")).hint("leave it out")
            );
        }
        return workflow::run(own, call);
    }
    let env = call.env;
    let runner = Runner::from_env(env);
    let understood = CiPlan::detect(env, flags.event.as_deref(), flags.tag.as_deref())?;
    begin(env, &understood);
    let mut page = Page::new(&understood, flags.part.as_ref());
    let done = match &understood.action {
        Action::Nothing { .. } => Ok(Finished::Well),
        _ => work(flags, call, &understood, &mut page),
    };
    page.tell(&runner, done.as_ref(), call)?;
    if flags.json {
        let error = done.as_ref().err();
        let (hint, error) = (error.and_then(Error::hint_text), error.map(Error::to_string));
        print_json(&Shown { version: VERSION, understood: &understood, outputs: &page.outputs, error, hint })?;
    }
    done
}

fn work(flags: &cli::Ci, call: &Call<'_>, understood: &CiPlan, page: &mut Page) -> Result<Finished> {
    if understood.action == Action::Upkeep && flags.part.is_some() {
        return Err(Error::usage(format!("{} has no parts", understood.trigger)).hint("run `cargo xtask ci`"));
    }
    if let (Some(platform), None) = (&flags.platform, &flags.part)
        && (understood.pushes() || understood.action == Action::Upkeep)
    {
        return Err(Error::usage(format!("{} is not for {platform} alone", understood.trigger)).hint(
            "one platform's part of an image is built by `cargo xtask ci service`, and joined by `cargo xtask ci publish`",
        ));
    }
    let (session, reporter) = match flags.part {
        Some(CiPart::Plan { .. } | CiPart::Publish) => call.session()?,
        _ => call.build_session()?,
    };
    let (understood, left_undone) = understood.clone().in_a_fork(session.config.images.prefix.as_ref());
    if let Some(said) = left_undone {
        session.events.notice(Level::Info, None, said, None);
    }
    if let Action::Nothing { .. } = understood.action {
        reporter.finish();
        return Ok(Finished::Well);
    }
    if understood.trigger == Trigger::Unknown {
        mention_tag(&session)?;
    }
    let event = Event::new(flags, call, &understood, &session)?;
    match &flags.part {
        None => parts::all(&event, reporter, page),
        Some(CiPart::Plan { by_platform }) => parts::plan(&event, reporter, page, *by_platform),
        Some(CiPart::Base) => parts::base(&event, reporter, page),
        Some(CiPart::Service { name }) => parts::service(&event, reporter, page, name),
        Some(CiPart::Publish) => parts::publish(&event, reporter, page),
        Some(CiPart::Workflow(flags)) => workflow::run(flags, call),
    }
}

/// Says what was understood. Nothing of it needs to be masked by the runner, which knows its own tokens in base64 too: whatever we say
/// has passed our own mask.
fn begin(env: &Env, understood: &CiPlan) {
    let mut lines = Vec::new();
    lines.extend(understood.lines());
    if understood.system == System::Github {
        lines.push(format!("gha cache: {}", GhaAccess::detect(env, std::time::SystemTime::now())));
    }
    say(&lines);
}

/// Lines for a person, or for the runner.
fn say(lines: &[String]) {
    // Nobody reads it where standard error is closed.
    let _ = output::err().write_all(mask(&(lines.join("\n") + "\n")).as_bytes());
}

/// Says of a commit that a release's tag points to that it is not released: a CI system that is not known builds its tags as a bare shell does.
fn mention_tag(session: &Session) -> Result<()> {
    let tags = session.git().ask(&["tag", "--points-at", "HEAD"])?.unwrap_or_default();
    if let Some(tag) = tags.lines().find(|tag| tag.parse::<ReleaseTag>().is_ok()) {
        let said = format!("this commit is tagged {tag}, and nothing says that it shall be released");
        session.events.notice(Level::Info, None, said, Some(format!("for that set CI_COMMIT_TAG={tag}, or pass --tag {tag}")));
    }
    Ok(())
}

/// The commit that changes are counted from; none where it cannot be had, so that every service counts as affected.
fn compared_with(session: &Session, since: &trigger::Since, commit: &str) -> Result<Option<Since>> {
    let git = session.git();
    let found = match since {
        trigger::Since::Commit(before) => git.at_hand(before.as_str()),
        // The histories part where the built commit's does, which a replayed event's need not be HEAD.
        trigger::Since::MergeBase(base) => git.merge_base_of(base.as_str(), commit),
    };
    match found {
        Ok(commit) => Ok(Some(Since::Revision(commit))),
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => {
            let hint = "every service counts as affected".to_owned();
            session.events.notice(Level::Warning, None, format!("changes cannot be determined: {error}"), Some(hint));
            Ok(None)
        }
    }
}

/// An event: what it asks for, as every part of the work needs it.
struct Event<'a> {
    flags: &'a cli::Ci,
    call: &'a Call<'a>,
    understood: &'a CiPlan,
    session: &'a Session,
    /// The commit that is built.
    commit: String,
    release: Option<ReleaseRequest>,
    request: BuildRequest,
}

impl<'a> Event<'a> {
    fn new(flags: &'a cli::Ci, call: &'a Call<'a>, understood: &'a CiPlan, session: &'a Session) -> Result<Self> {
        let git = session.git();
        let head = || git.at_hand(understood.commit.as_ref().map_or("HEAD", CommitId::as_str));
        let (release, commit) = match &understood.action {
            Action::Release { tag, prerelease, release_must_exist } => {
                let (tag, commit) = checkout::released(session, &tag.as_str().parse::<ReleaseTag>()?, false)?;
                let missing = if *release_must_exist { Missing::Fail } else { Missing::ToFile };
                (
                    Some(ReleaseRequest {
                        missing,
                        prerelease: *prerelease,
                        allow_stand_ins: flags.allow_stand_ins,
                        ..ReleaseRequest::new(tag)
                    }),
                    commit,
                )
            }
            _ => (None, head()?),
        };
        let destination = match (&understood.action, &understood.trigger) {
            (Action::Build { push: true, .. }, Trigger::Push { branch, .. }) => {
                Destination::Registry(branch_tags(session, Some(branch), Some(&commit))?)
            }
            // Nothing is kept: the builder's cheapest output.
            _ => Destination::Output("type=cacheonly".to_owned()),
        };
        let since = match &understood.action {
            Action::Build { since: Some(since), .. } => compared_with(session, since, &commit)?,
            _ => None,
        };
        let command = flags.part.as_ref().map_or_else(|| "ci".to_owned(), |part| format!("ci {}", page::word(part)));
        let plain = match &release {
            Some(release) => release.build(&session.config, builds_at_once()),
            None => BuildRequest::new(command, destination, &session.config, builds_at_once()),
        };
        let request = BuildRequest {
            locked: true,
            // What is pushed must be whole: there the registry says what is missing, and the change only says why.
            unaffected_too: understood.pushes(),
            since,
            allow_stand_ins: flags.allow_stand_ins,
            no_cache_to: match &understood.cache {
                CacheUse::ReadWrite => None,
                CacheUse::Read(why) => Some(why.clone()),
            },
            ..plain
        };
        Ok(Self { flags, call, understood, session, commit, release, request })
    }
}
