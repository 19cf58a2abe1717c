//! `cargo xtask cache`: what the tiers hold, what of it goes, and filling them.

mod show;

use crate::cli;
use crate::command::build::{broken_off, conclude, tell_commands};
use crate::command::{Call, Finished, ask, tell};
use crate::job::Job;
use crate::run;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::pool;
use monoship_core::sorted::SortedSet;
use monoship_core::text;
use monoship_github::api::Api;
use monoship_plan::config::Upkeep;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_plan::services::{Service, select};
use monoship_plan::upkeep::{Known, PrunePlan, Tier, clear};
use monoship_report::Reporter;
use monoship_report::record::RunRecord;
use monoship_steps::upkeep::{self, Held, TierReader, apply, overview};
use monoship_steps::{Session, caches};

/// Does what `action` says.
///
/// # Errors
/// When the monorepo cannot be read, a tier that was asked for by name cannot be looked into, or nobody agrees to what goes.
pub fn run(action: &cli::Cache, call: &Call<'_>) -> Result<Finished> {
    match action {
        cli::Cache::Ls(flags) => ls(flags, call),
        cli::Cache::Prune(flags) => {
            check_prune(flags)?;
            let how = How::from(flags.removing);
            prune(call, &flags.tier, |configured| policy(flags, configured), how).map(|pruned| pruned.finished())
        }
        cli::Cache::Clear(flags) => clear_caches(flags, call),
        cli::Cache::Warm(flags) => warm(flags, call),
    }
}

/// What every action but `warm` begins with.
struct Opened {
    session: Session,
    reporter: Reporter,
    services: Vec<Service>,
    api: Result<Api, &'static str>,
}

impl Opened {
    fn new(call: &Call<'_>) -> Result<Self> {
        let (session, reporter) = call.session()?;
        let services = upkeep::services(&session)?;
        let api = session.github()?;
        Ok(Self { session, reporter, services, api })
    }

    /// What is known of services alone: enough to list and to clear.
    fn services_known<'a>(&self, policy: &'a Upkeep) -> Result<Known<'a>> {
        upkeep::known(&self.session, &self.services, None, policy)
    }

    /// Branches and pull requests too, where a tier that knows them is looked into.
    fn known<'a>(&self, policy: &'a Upkeep, tiers: &[Tier]) -> Result<Known<'a>> {
        let api = match &self.api {
            _ if !tiers.is_empty() && tiers.iter().all(|tier| *tier == Tier::Engine) => None,
            Ok(api) => Some(api),
            Err(why) => {
                let images =
                    if self.session.is_at_github()? { ", and no image goes, which notes of a release may name" } else { "" };
                let message = format!("GitHub is not asked, so no branch and no pull request counts as gone{images}: {why}");
                self.session.events.notice(Level::Info, None, message, None);
                None
            }
        };
        upkeep::known(&self.session, &self.services, api, policy)
    }

    fn reader(&self) -> TierReader<'_> {
        TierReader::new(&self.session, self.api.as_ref().map_err(|why| *why))
    }

    /// Looks into the tiers. One that was asked for by name has to be there; of the others it is said why they are left out.
    fn look(&self, known: &Known<'_>, asked: &[Tier]) -> Result<Held> {
        let tiers = if asked.is_empty() { &Tier::ALL[..] } else { asked };
        let held = upkeep::look(&self.session, &self.reader(), known, tiers);
        for (tier, why) in held.left_out().into_iter().filter(|(tier, _)| tiers.contains(tier)) {
            if !asked.is_empty() {
                return Err(Error::failed(format!("the tier {} cannot be looked into: {why}", tier.as_str())));
            }
            self.session.events.notice(Level::Info, None, format!("{} is left out: {why}", tier.as_str()), None);
        }
        Ok(held)
    }
}

fn ls(flags: &cli::CacheLs, call: &Call<'_>) -> Result<Finished> {
    let opened = Opened::new(call)?;
    let known = opened.services_known(&opened.session.config.cache.upkeep)?;
    let held = opened.look(&known, &flags.tier)?;
    let past = opened.session.history().read()?.runs;
    let scopes = overview::overview(&held, &known, &opened.session.config.base_target, &overview::last_hits(&past));
    opened.reporter.finish();
    show::scopes(&scopes, &held, known.now, flags.json)?;
    Ok(Finished::Well)
}

/// What pruning came to.
pub struct Pruned {
    /// What was to go.
    pub plan: PrunePlan,
    /// What became of that.
    pub applied: apply::Applied,
    /// Tiers that could not be looked into, with the reason.
    pub left_out: Vec<(Tier, String)>,
}

impl Pruned {
    /// How a command ends that did this.
    pub fn finished(&self) -> Finished {
        if self.applied.is_well() { Finished::Well } else { Finished::Badly }
    }
}

/// Removes what nobody needs by the configuration's policy, without asking; the table of it is for standard output, unless that is
/// somebody else's.
///
/// # Errors
/// As `cache prune`.
pub fn upkeep(call: &Call<'_>, print_table: bool) -> Result<Pruned> {
    let how = How { yes: true, dry_run: false, shown: if print_table { Shown::Table } else { Shown::Nothing } };
    prune(call, &[], Clone::clone, how)
}

fn prune(call: &Call<'_>, tiers: &[Tier], policy: impl FnOnce(&Upkeep) -> Upkeep, how: How) -> Result<Pruned> {
    let opened = Opened::new(call)?;
    let policy = policy(&opened.session.config.cache.upkeep);
    let known = opened.known(&policy, tiers)?;
    let mut held = opened.look(&known, tiers)?;
    held.count_hits(&overview::last_hits(&opened.session.history().read()?.runs));
    let plan = upkeep::plan(&held, &known);
    carry_out(opened, call, &held, plan, how, || Ok(()))
}

/// The configuration's policy with what the flags say.
/// Refuses flags that none of the chosen tiers goes by.
fn check_prune(flags: &cli::CachePrune) -> Result<()> {
    let asks = |tier| flags.tier.is_empty() || flags.tier.contains(&tier);
    let refused = |flag: &str, tiers: &str| {
        let chosen = flags.tier.iter().map(|tier| tier.as_str()).into_vec().join(", ");
        Err(Error::usage(format!("`{flag}` means nothing for the tier {chosen}"))
            .hint(format!("it is for {tiers}; leave it out")))
    };
    if flags.max_count.is_some() && !asks(Tier::Registry) {
        return refused("--max-count", "registry");
    }
    if !flags.protect.is_empty() && !asks(Tier::Registry) {
        return refused("--protect", "registry");
    }
    if flags.max_size.is_some() && !asks(Tier::Registry) && !asks(Tier::Engine) {
        return refused("--max-size", "registry and engine");
    }
    if !flags.only.is_empty() && !asks(Tier::Registry) && !asks(Tier::Gha) {
        return refused("--only", "gha and registry");
    }
    Ok(())
}

fn policy(flags: &cli::CachePrune, configured: &Upkeep) -> Upkeep {
    Upkeep {
        max_age: flags.max_age.or(configured.max_age),
        max_count: flags.max_count.or(configured.max_count),
        max_size: flags.max_size.or(configured.max_size),
        protect: configured.protect.iter().chain(&flags.protect).cloned().into_vec(),
        leftovers: if flags.only.is_empty() { configured.leftovers.clone() } else { flags.only.clone() },
    }
}

fn clear_caches(flags: &cli::CacheClear, call: &Call<'_>) -> Result<Finished> {
    let opened = Opened::new(call)?;
    let known = opened.services_known(&opened.session.config.cache.upkeep)?;
    let base = &opened.session.config.base_target;
    let (bases, services): (Vec<&String>, Vec<&String>) = flags.services.iter().partition(|name| *name == base);
    let services: Vec<String> = services.into_iter().cloned().into_vec();
    let named = !flags.services.is_empty();
    let chosen = if named && services.is_empty() { Vec::new() } else { select(opened.services.clone(), &services)? };
    let held = opened.look(&known, &flags.tier)?;
    let targets: SortedSet<String> = chosen.iter().map(|service| &service.caches).chain(bases).cloned().into_set();
    let plan = clear::decide(
        held.gha.as_deref().unwrap_or_default(),
        held.registry.as_deref().unwrap_or_default(),
        held.engine.as_ref().ok().map(|(name, records)| (name.as_str(), records.as_slice())),
        &known,
        named.then_some(&targets),
    );
    let how = How::from(flags.removing);
    let state = opened.session.state();
    let local = flags.tier.is_empty() || flags.tier.contains(&Tier::Engine);
    let cleared = carry_out(opened, call, &held, plan, how, || {
        // Other tiers are elsewhere: what is here may go on being used.
        if !local {
            return Ok(());
        }
        if !named && held.engine.is_ok() {
            return state.forget(None);
        }
        // The engine's build cache knows no services: the next build of these is told to use none of it.
        chosen.iter().try_for_each(|service| state.clear(&service.name))
    });
    cleared.map(|cleared| cleared.finished())
}

/// How a plan is carried out.
#[derive(Clone, Copy)]
struct How {
    yes: bool,
    dry_run: bool,
    shown: Shown,
}

/// What standard output gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Table,
    Json,
    Nothing,
}

impl From<cli::Removing> for How {
    fn from(asked: cli::Removing) -> Self {
        let shown = if asked.json { Shown::Json } else { Shown::Table };
        Self { yes: asked.yes, dry_run: asked.dry_run, shown }
    }
}

/// Shows a plan, asks, and carries it out; `then` is done with it, unless this is a dry run.
fn carry_out(
    opened: Opened,
    call: &Call<'_>,
    held: &Held,
    plan: PrunePlan,
    how: How,
    then: impl FnOnce() -> Result<()>,
) -> Result<Pruned> {
    if how.shown == Shown::Table {
        tell(&show::plan(&plan))?;
    }
    let mut applied = apply::Applied::default();
    if !how.dry_run {
        if !plan.removals.is_empty() {
            agree(call, &plan, how)?;
            applied = apply::apply(&opened.session, &opened.reader(), held, &plan)?;
        }
        then()?;
    }
    opened.reporter.finish();
    match how.shown {
        Shown::Table => show::outcome(&plan, &applied, how.dry_run)?,
        Shown::Json => show::outcome_json(&plan, &applied, how.dry_run)?,
        Shown::Nothing => {}
    }
    let left_out = held.left_out().into_iter().map(|(tier, why)| (tier, why.to_owned())).into_vec();
    Ok(Pruned { plan, applied, left_out })
}

/// Asks on a terminal; elsewhere somebody has to have said it.
fn agree(call: &Call<'_>, plan: &PrunePlan, how: How) -> Result<()> {
    if how.yes {
        return Ok(());
    }
    if how.shown != Shown::Table || !(call.env.stdin_is_terminal && call.env.stderr_is_terminal) {
        return Err(Error::usage("removing needs a confirmation, and there is no terminal to ask on")
            .hint("pass --yes to remove it, or --dry-run to see what would go"));
    }
    let answer = ask(&format!("Remove {}? [y/N]", text::counted(plan.removals.len(), "item")))?;
    if matches!(answer.unwrap_or_default().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Error::failed("nothing was removed: the answer was not yes"))
}

fn warm(flags: &cli::CacheWarm, call: &Call<'_>) -> Result<Finished> {
    let (session, reporter) = call.build_session()?;
    let destination = Destination::Output("type=cacheonly".to_owned());
    let request = BuildRequest {
        services: flags.services.clone(),
        force: true,
        no_cache_to: (flags.tier == Tier::Engine).then(|| "the engine keeps its own".to_owned()),
        warms: Some(flags.tier),
        ..BuildRequest::new(
            format!("cache warm --tier {}", flags.tier.as_str()),
            destination,
            &session.config,
            pool::builds_at_once(),
        )
    };
    if flags.dry_run {
        let ran = run::run(call.app, session, Job::build(request).without_effects())?;
        reporter.finish();
        tell_commands(&ran, flags.json)?;
        return Ok(Finished::Well);
    }
    caches::may_warm(&session, flags.tier)?;
    let folder = session.run.clone();
    let ran = run::run(call.app, session, Job::build(request)).inspect_err(|_| broken_off(&folder, flags.json))?;
    reporter.finish();
    let finished = conclude(call, &ran.session, ran.record(), "", flags.json)?;
    match unwritten(ran.record(), flags.tier) {
        Some(why) if finished == Finished::Well => {
            Err(Error::failed(format!("the tier {} was not filled: {why}", flags.tier.as_str()))
                .hint("`cargo xtask cache warm --dry-run` shows the tiers' verdicts"))
        }
        _ => Ok(finished),
    }
}

/// Why the tier that was to be filled is not: a build does not fail for a cache, but here it is the whole point.
fn unwritten(record: &RunRecord, tier: Tier) -> Option<String> {
    let mut exports = record.tasks.iter().flat_map(|task| &task.cache_exports);
    let failed = exports.find_map(|export| export.error.clone());
    let tiers = record.tasks.iter().flat_map(|task| &task.tiers).filter(|verdict| verdict.tier == tier.as_str());
    let mut unwritten = tiers.filter(|verdict| !matches!(verdict.verdict.as_str(), "used" | "write-only"));
    failed.or_else(|| unwritten.next().map(|verdict| format!("{}: {}", verdict.verdict, verdict.why)))
}
