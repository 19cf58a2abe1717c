//! How `cache` shows what it found and what it did: a table for people, versioned JSON for programs.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;

use crate::command::{print_json, tell};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::sorted::SortedMap;
use monoship_core::text;
use monoship_plan::upkeep::{PrunePlan, Removal};
use monoship_report::columns_of_output;
use monoship_report::summary::aligned;
use monoship_steps::upkeep::Held;
use monoship_steps::upkeep::apply::Applied;
use monoship_steps::upkeep::overview::Scope;

/// The version of what `--json` prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// How many services are named before the rest is counted.
const NAMED: usize = 4;

/// The scopes of all tiers.
pub fn scopes(scopes: &[Scope], held: &Held, now: SystemTime, json: bool) -> Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Shown<'a> {
        version: u32,
        scopes: &'a [Scope],
        /// Tiers that could not be looked into, with the reason.
        left_out: SortedMap<&'static str, &'a str>,
    }
    if json {
        let left_out = held.left_out().into_iter().map(|(tier, why)| (tier.as_str(), why)).into_map();
        return print_json(&Shown { version: VERSION, scopes, left_out });
    }
    let ago =
        |time: Option<SystemTime>| time.map(|time| text::age(now.duration_since(time).unwrap_or_default())).unwrap_or_default();
    let rows: Vec<Vec<String>> = scopes
        .iter()
        .map(|scope| {
            let on = scope.git_ref.as_ref().map(|git_ref| format!(" on {git_ref}")).unwrap_or_default();
            vec![
                scope.tier.as_str().to_owned(),
                text::clean(&format!("{}{on}", in_words(scope))),
                text::counted(scope.count, scope.what),
                text::bytes(scope.bytes),
                ago(scope.written),
                ago(scope.used),
                users(&scope.users),
            ]
        })
        .into_vec();
    if rows.is_empty() {
        let is_any = [held.gha.is_ok(), held.registry.is_ok(), held.engine.is_ok()].contains(&true);
        return tell(if is_any { "the tiers hold nothing\n" } else { "no tier can be looked into from here\n" });
    }
    let columns = ["tier", "scope", "holds", "size", "age", "last hit", "used by"];
    tell(&aligned(&columns, &rows, &[3, 4, 5], columns_of_output(), |_, _, cell| cell.to_owned()))
}

/// The scope as a person calls it: the engine's are BuildKit's kinds of records (`client.UsageRecordType`).
fn in_words(scope: &Scope) -> &str {
    match scope.scope.as_str() {
        "regular" => "build steps",
        "source.local" => "build contexts that were sent",
        "source.git.checkout" => "checkouts of git contexts",
        "exec.cachemount" => "cache mounts: package stores, builds",
        "frontend" => "Dockerfile frontends",
        "internal" => "the builder's own data",
        named => named,
    }
}

fn users(users: &[String]) -> String {
    let named = users.iter().take(NAMED).map(|user| text::clean(user)).into_vec().join(", ");
    let rest = users.len().saturating_sub(NAMED);
    if rest == 0 { named } else { format!("{named} and {rest} more") }
}

/// What would go.
pub fn plan(plan: &PrunePlan) -> String {
    if plan.removals.is_empty() {
        return "nothing to remove\n".to_owned();
    }
    let row = |removal: &Removal| {
        vec![
            removal.tier.as_str().to_owned(),
            text::clean(&removal.place),
            text::clean(&removal.name),
            text::bytes(removal.bytes),
            text::clean(&removal.why),
        ]
    };
    let rows: Vec<Vec<String>> = plan.removals.iter().map(row).into_vec();
    let mut shown =
        aligned(&["tier", "where", "what", "frees", "why"], &rows, &[3], columns_of_output(), |_, _, cell| cell.to_owned());
    let _ = writeln!(shown, "{}, {}", text::counted(plan.removals.len(), "item"), text::bytes(plan.bytes()));
    shown
}

/// What became of it.
pub fn outcome(plan: &PrunePlan, applied: &Applied, dry_run: bool) -> Result<()> {
    let mut shown = String::new();
    for (removal, error) in &applied.failed {
        let hint = error.hint_text().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        let line = format!("not removed: {} {}: {error}{hint}", removal.place, removal.name);
        let _ = writeln!(shown, "{}", text::clean(&line));
    }
    if !dry_run && !plan.removals.is_empty() {
        let _ = writeln!(shown, "removed {}, {}", text::counted(applied.done, "item"), text::bytes(applied.bytes));
    }
    tell(&shown)
}

/// The plan and what became of it, for programs.
pub fn outcome_json(plan: &PrunePlan, applied: &Applied, dry_run: bool) -> Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Shown<'a> {
        version: u32,
        dry_run: bool,
        removals: &'a [Removal],
        bytes: u64,
        removed: usize,
        freed_bytes: u64,
        failed: Vec<Failed<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Failed<'a> {
        place: &'a str,
        name: &'a str,
        error: String,
    }
    let failed = applied.failed.iter().map(|(removal, error)| Failed {
        place: &removal.place,
        name: &removal.name,
        error: error.to_string(),
    });
    print_json(&Shown {
        version: VERSION,
        dry_run,
        removals: &plan.removals,
        bytes: plan.bytes(),
        removed: applied.done,
        freed_bytes: applied.bytes,
        failed: failed.into_vec(),
    })
}
