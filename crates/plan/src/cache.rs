//! Which cache tiers a build uses. An order of preference, not a pile: an inline or `mode=min` source beside a `mode=max` one
//! was measured to lose build-stage hits, so the previous image serves only where no max source is there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Folder;
use monoship_core::collect::Collect as _;
use monoship_core::name::{ImageRef, Platform, Tag};
use monoship_core::sorted::SortedSet;

/// A kind of cache, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// GitHub's cache service: fast, scoped, gone after seven days without use.
    Gha,
    /// A cache manifest in the registry: lasting, shared.
    Registry,
    /// The image that was pushed last, through the cache metadata it carries.
    Previous,
    /// Cache metadata inside the image that is pushed now.
    Inline,
    /// What `RUN --mount=type=cache` keeps, as an image in the registry tier's repository: see [`crate::mounts`].
    Mounts,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gha => "gha",
            Self::Registry => "registry",
            Self::Previous => "previous",
            Self::Inline => "inline",
            Self::Mounts => "mounts",
        })
    }
}

/// What was decided about a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Read, and written where this run writes caches.
    Used,
    /// Read; it cannot be, or is not to be, written.
    ReadOnly(String),
    /// Nothing is there to read yet; this run writes it.
    WriteOnly(String),
    /// Nothing is there, and this run does not write it.
    Missing(String),
    /// It could not be asked.
    Unreachable(String),
    /// It is not used, because of this.
    LeftOut(String),
}

impl Verdict {
    /// Its name, as the record has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::ReadOnly(_) => "read-only",
            Self::WriteOnly(_) => "write-only",
            Self::Missing(_) => "missing",
            Self::Unreachable(_) => "unreachable",
            Self::LeftOut(_) => "left-out",
        }
    }

    /// Why it is not simply used.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Used => None,
            Self::ReadOnly(why) | Self::WriteOnly(why) | Self::Missing(why) | Self::Unreachable(why) | Self::LeftOut(why) => {
                Some(why)
            }
        }
    }

    /// True where what is there is read.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self, Self::Used | Self::ReadOnly(_))
    }

    /// True where this run writes it.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self, Self::Used | Self::WriteOnly(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used => f.write_str("used"),
            Self::ReadOnly(why) => write!(f, "read only: {why}"),
            Self::WriteOnly(why) => write!(f, "write only: {why}"),
            Self::Missing(why) => write!(f, "missing: {why}"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::LeftOut(why) => write!(f, "left out: {why}"),
        }
    }
}

/// A tier of one target, with its verdict: shown by `--dry-run`, kept in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Its kind.
    pub kind: Kind,
    /// The gha scope or the registry reference.
    pub place: String,
    /// What was decided.
    pub verdict: Verdict,
}

/// The outcome of asking whether something is there to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It is there.
    Found,
    /// It is not there.
    Missing,
    /// It could not be asked, because of this.
    Unreachable(String),
    /// It is not to be asked, because of this.
    Off(String),
}

/// Whether a tier can be written, and the reason where it cannot.
pub type Writable = Result<(), String>;

/// What is known about one target's tiers when the decision is made. Gathered by a stage; this module does no I/O.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The gha tier: whether it can be read. BuildKit says nothing about an unknown scope, so "found" means "can be asked".
    pub gha: Probe,
    /// Whether the runner's token may write it.
    pub gha_writable: Writable,
    /// The gha protocol's version flag must be given.
    pub gha_v2: bool,
    /// The registry tier.
    pub registry: Probe,
    /// Whether the registry tier's repository can be pushed to.
    pub registry_writable: Writable,
    /// The registry tier's repository.
    pub registry_repository: Option<ImageRef>,
    /// The tags of that repository, where runs for several platforms keep their caches side by side; `None` where they do not.
    pub registry_tags: Option<SortedSet<String>>,
    /// The image that was pushed last.
    pub previous: Probe,
    /// Its name.
    pub previous_image: Option<ImageRef>,
    /// Why cache metadata is not put inside the image, where it is not.
    pub inline_off: Option<String>,
    /// Why this run reads no caches, where it does not.
    pub no_read: Option<String>,
    /// Why this run writes no caches, where it does not.
    pub no_write: Option<String>,
}

/// The tiers of one target, and what they come to on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachePlan {
    /// Every tier with its verdict, in order of preference.
    pub tiers: Vec<Tier>,
    /// `--cache-from` values.
    pub from: Vec<String>,
    /// `--cache-to` values.
    pub to: Vec<String>,
}

/// Whose caches: a target and its platforms, which name its scopes. One scope for each target and set of platforms that is built together:
/// an export replaces what its scope held, so runs for other platforms must not write the same.
#[derive(Debug, Clone, Copy)]
pub struct Scoped<'a> {
    /// The Dockerfile target.
    pub target: &'a str,
    /// The folder of the workspace: a repository has one cache service for all of them.
    pub folder: Option<&'a Folder>,
    /// The platforms that this run builds; empty means the engine's own.
    pub run: &'a [Platform],
    /// The platforms that are configured, which other runs may build.
    pub configured: &'a [Platform],
}

impl Scoped<'_> {
    /// The target, with `-<os>-<arch>` for each platform of the run where runs can differ in them: the tag in the registry, and the gha
    /// scope's name after [`gha_prefix`].
    #[must_use]
    pub fn name(&self) -> String {
        if self.is_one_of_several() { self.named(self.run) } else { self.target.to_owned() }
    }

    /// The names under which runs for other platforms leave theirs. What does not depend on the platform (a stage that runs on the builder's
    /// own, files that are only copied) is found there.
    #[must_use]
    pub fn others(&self) -> Vec<String> {
        if !self.is_one_of_several() {
            return Vec::new();
        }
        let all: SortedSet<&Platform> = self.run.iter().chain(self.configured).into_set();
        let mut names: Vec<String> = all.iter().map(|one| self.named(std::slice::from_ref(*one))).into_vec();
        names.push(if self.configured.len() > 1 { self.named(self.configured) } else { self.target.to_owned() });
        let own = self.name();
        names.retain(|name| *name != own);
        names
    }

    /// True where more than one platform is configured, and where the command line names others than those.
    fn is_one_of_several(&self) -> bool {
        self.run.len() > 1 || self.configured.len() > 1 || self.run != self.configured
    }

    fn named(&self, platforms: &[Platform]) -> String {
        let sorted: SortedSet<&Platform> = platforms.iter().into_set();
        sorted.into_iter().fold(self.target.to_owned(), |name, platform| name + &platform.scope_suffix())
    }

    fn scope(&self) -> String {
        gha_scope(self.folder, &self.name())
    }
}

/// How the gha scopes of a workspace begin.
#[must_use]
pub fn gha_prefix(folder: Option<&Folder>) -> String {
    folder.map_or_else(|| "monorepo-".to_owned(), |folder| format!("monorepo.{}.", folder.word()))
}

/// The gha scope of a cache's name.
#[must_use]
pub fn gha_scope(folder: Option<&Folder>, name: &str) -> String {
    gha_prefix(folder) + name
}

/// Decides the tiers of a target. `shared` are targets whose caches hold steps of this one too (the base).
pub fn resolve(own: Scoped<'_>, shared: &[Scoped<'_>], facts: &Facts) -> CachePlan {
    let mut plan = CachePlan::default();
    let all = || std::iter::once(&own).chain(shared);
    // The likeliest first: BuildKit stops at the first source that knows a step.
    let names: Vec<String> = all().map(Scoped::name).chain(all().flat_map(Scoped::others)).into_vec();
    let gha = verdict(&facts.gha, &facts.gha_writable, facts);
    let version = if facts.gha_v2 { ",version=2" } else { "" };
    if gha.reads() {
        plan.from.extend(names.iter().map(|name| format!("type=gha,scope={}{version}", gha_scope(own.folder, name))));
    }
    if gha.writes() {
        plan.to.push(format!("type=gha,mode=max,scope={}{version},ignore-error=true", own.scope()));
    }
    plan.tiers.push(Tier { kind: Kind::Gha, place: own.scope(), verdict: gha });

    let (registry, place) = match &facts.registry_repository {
        None => (Verdict::LeftOut("no registry is configured".to_owned()), String::new()),
        Some(repository) => {
            let place = |name: &str| cache_image(repository, name).map(|image| image.to_string()).unwrap_or_default();
            let verdict = verdict(&facts.registry, &facts.registry_writable, facts);
            if verdict.reads() {
                let there = |name: &&String| facts.registry_tags.as_ref().is_none_or(|tags| tags.contains(*name));
                plan.from.extend(names.iter().filter(there).map(|name| format!("type=registry,ref={}", place(name))));
            }
            if verdict.writes() {
                let flags = "mode=max,image-manifest=true,oci-mediatypes=true,compression=zstd,ignore-error=true";
                plan.to.push(format!("type=registry,ref={},{flags}", place(&own.name())));
            }
            (verdict, place(&own.name()))
        }
    };
    plan.tiers.push(Tier { kind: Kind::Registry, place, verdict: registry });
    resolve_image_tiers(&mut plan, facts);
    plan
}

/// The tiers that live in the service's own image: only where no max source, or no max target, is there.
fn resolve_image_tiers(plan: &mut CachePlan, facts: &Facts) {
    let max_source = !plan.from.is_empty();
    let previous = match (&facts.previous, &facts.previous_image) {
        (Probe::Off(why), _) => Verdict::LeftOut(why.clone()),
        (_, None) => Verdict::LeftOut("no registry is configured".to_owned()),
        _ if facts.no_read.is_some() => Verdict::LeftOut(facts.no_read.clone().unwrap_or_default()),
        _ if max_source => Verdict::LeftOut("a mode=max source is there, and mixing loses hits".to_owned()),
        (Probe::Missing, _) => Verdict::Missing("no image was pushed yet".to_owned()),
        (Probe::Unreachable(why), _) => Verdict::Unreachable(why.clone()),
        (Probe::Found, Some(image)) => {
            plan.from.push(format!("type=registry,ref={image}"));
            Verdict::ReadOnly("it is an image".to_owned())
        }
    };
    let place = facts.previous_image.as_ref().map(ToString::to_string).unwrap_or_default();
    plan.tiers.push(Tier { kind: Kind::Previous, place: place.clone(), verdict: previous });
    let max_target = !plan.to.is_empty();
    let inline = match (&facts.inline_off, &facts.no_write) {
        (Some(why), _) | (None, Some(why)) => Verdict::LeftOut(why.clone()),
        _ if max_target => Verdict::LeftOut("a mode=max cache is written".to_owned()),
        _ => {
            plan.to.push("type=inline".to_owned());
            Verdict::WriteOnly("no other cache can be written".to_owned())
        }
    };
    plan.tiers.push(Tier { kind: Kind::Inline, place, verdict: inline });
}

/// Where a cache lies in the registry tier; `None` where its name is too long for a tag.
#[must_use]
pub fn cache_image(repository: &ImageRef, name: &str) -> Option<ImageRef> {
    name.parse::<Tag>().ok().map(|tag| repository.with_tag(tag))
}

pub(crate) fn verdict(probe: &Probe, writable: &Writable, facts: &Facts) -> Verdict {
    let cannot_write = facts.no_write.clone().or_else(|| writable.clone().err());
    match (probe, &facts.no_read, cannot_write) {
        (Probe::Off(why), ..) | (Probe::Found, Some(why), Some(_)) => Verdict::LeftOut(why.clone()),
        (Probe::Unreachable(why), ..) => Verdict::Unreachable(why.clone()),
        (Probe::Found, None, None) => Verdict::Used,
        (Probe::Found, None, Some(why)) => Verdict::ReadOnly(why),
        (Probe::Found, Some(why), None) => Verdict::WriteOnly(why.clone()),
        (Probe::Missing, _, None) => Verdict::WriteOnly("nothing is there yet".to_owned()),
        (Probe::Missing, _, Some(why)) => Verdict::Missing(format!("nothing is there yet, and {why}")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn facts() -> Facts {
        Facts {
            gha: Probe::Found,
            gha_writable: Ok(()),
            gha_v2: true,
            registry: Probe::Found,
            registry_writable: Ok(()),
            registry_repository: Some("ghcr.io/org/cache".parse().unwrap()),
            registry_tags: None,
            previous: Probe::Found,
            previous_image: Some("ghcr.io/org/repo/api:latest".parse().unwrap()),
            inline_off: None,
            no_read: None,
            no_write: None,
        }
    }

    fn of(target: &str) -> Scoped<'_> {
        Scoped { target, folder: None, run: &[], configured: &[] }
    }

    fn verdicts(plan: &CachePlan) -> Vec<String> {
        plan.tiers.iter().map(|t| format!("{} {}", t.kind, t.verdict)).into_vec()
    }

    #[test]
    fn both_max_tiers_are_read_and_written_and_the_image_tiers_stay_out() {
        let plan = resolve(of("api"), &[of("base")], &facts());
        assert_eq!(
            plan.from,
            [
                "type=gha,scope=monorepo-api,version=2",
                "type=gha,scope=monorepo-base,version=2",
                "type=registry,ref=ghcr.io/org/cache:api",
                "type=registry,ref=ghcr.io/org/cache:base",
            ]
        );
        assert_eq!(plan.to.len(), 2);
        assert!(plan.to.iter().all(|to| to.contains("mode=max") && to.contains("ignore-error=true")));
        assert_eq!(
            verdicts(&plan),
            [
                "gha used",
                "registry used",
                "previous left out: a mode=max source is there, and mixing loses hits",
                "inline left out: a mode=max cache is written",
            ]
        );
    }

    #[test]
    fn a_read_only_token_writes_nothing() {
        let facts = Facts {
            gha_writable: Err("the token is read only".into()),
            registry_writable: Err("no credentials".into()),
            ..facts()
        };
        let plan = resolve(of("api"), &[], &Facts { inline_off: Some("off".into()), ..facts });
        assert!(plan.to.is_empty());
        assert_eq!(plan.tiers[0].verdict, Verdict::ReadOnly("the token is read only".into()));
    }

    #[test]
    fn the_previous_image_serves_only_where_no_max_source_does() {
        let off = Probe::Off("not in GitHub Actions".into());
        let facts = Facts { gha: off, registry: Probe::Missing, registry_writable: Err("no credentials".into()), ..facts() };
        let plan = resolve(of("api"), &[], &facts);
        assert_eq!(plan.from, ["type=registry,ref=ghcr.io/org/repo/api:latest"]);
        assert_eq!(plan.to, ["type=inline"]);
    }

    #[test]
    fn a_run_that_may_not_read_or_write_says_so_on_every_tier() {
        let facts = Facts { no_read: Some("--cache-from none".into()), no_write: Some("--cache-to none".into()), ..facts() };
        let plan = resolve(of("api"), &[of("base")], &facts);
        assert!(plan.from.is_empty() && plan.to.is_empty());
        assert!(plan.tiers.iter().all(|tier| matches!(tier.verdict, Verdict::LeftOut(_))), "{:?}", verdicts(&plan));
    }

    fn platforms(all: &[&str]) -> Vec<Platform> {
        all.iter().map(|name| name.parse().unwrap()).into_vec()
    }

    #[test]
    fn scopes_do_not_overwrite_each_other_across_platforms() {
        let (both, arm) = (platforms(&["linux/arm64", "linux/amd64"]), platforms(&["linux/arm64"]));
        let name = |run: &[Platform], configured: &[Platform]| Scoped { target: "api", folder: None, run, configured }.name();
        assert_eq!(name(&[], &[]), "api");
        assert_eq!(name(&arm, &arm), "api");
        let (joint, of_arm) = (name(&both, &both), name(&arm, &both));
        assert_eq!((joint.as_str(), of_arm.as_str()), ("api-linux-amd64-linux-arm64", "api-linux-arm64"));
        // Two machines that are each told their platform, where none is configured.
        assert_eq!(name(&arm, &[]), "api-linux-arm64");
        // No run's scope is another's, whoever it belongs to: a target, its platforms, the base.
        let runs = [both.clone(), arm.clone(), platforms(&["linux/amd64"]), platforms(&["linux/arm/v7"])];
        let targets = ["api", "api-linux", "base", "web"];
        let all = targets
            .iter()
            .flat_map(|target| runs.iter().map(|run| Scoped { target, folder: None, run, configured: &both }.name()));
        assert_eq!(all.into_set().len(), runs.len() * targets.len());
    }

    #[test]
    fn a_run_reads_what_runs_for_other_platforms_left_and_writes_its_own_only() {
        let (both, arm) = (platforms(&["linux/amd64", "linux/arm64"]), platforms(&["linux/arm64"]));
        let scoped = |target, run| Scoped { target, folder: None, run, configured: &both };
        let tags = ["api-linux-amd64", "api-linux-arm64", "base-linux-amd64-linux-arm64", "web-linux-amd64"];
        let facts = Facts { registry_tags: Some(tags.map(str::to_owned).into()), ..facts() };
        let plan = resolve(scoped("api", &arm), &[scoped("base", &arm)], &facts);
        let places = |kind: &str| -> Vec<&str> {
            let of_kind = plan.from.iter().filter_map(|from| from.strip_prefix(kind));
            of_kind.map(|place| place.trim_end_matches(",version=2")).into_vec()
        };
        // Nobody can ask which gha scopes there are, and BuildKit passes over those that are not.
        assert_eq!(
            places("type=gha,scope=monorepo-"),
            [
                "api-linux-arm64",
                "base-linux-arm64",
                "api-linux-amd64",
                "api-linux-amd64-linux-arm64",
                "base-linux-amd64",
                "base-linux-amd64-linux-arm64",
            ]
        );
        let cache = "type=registry,ref=ghcr.io/org/cache:";
        assert_eq!(places(cache), ["api-linux-arm64", "api-linux-amd64", "base-linux-amd64-linux-arm64"]);
        assert!(plan.to.len() == 2 && plan.to.iter().all(|to| to.contains("api-linux-arm64,")), "{:?}", plan.to);
    }
}
