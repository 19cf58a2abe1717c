//! Why a service is built: what differs between the inputs of its last build and those of now, in words and as data.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::fingerprint::{Inputs, Parts, StageInput};
use super::part::{Kind, Part};
use monoship_core::collect::Collect as _;
use monoship_core::name::ImageRef;
use monoship_core::sorted::{Order as _, SortedMap, side_by_side};
use monoship_core::text::written_out;

/// What became of something with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It differs.
    Changed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

/// One reason to build. As JSON an object whose `reason` tells the kind; the names are stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant's text says what its fields are")]
pub enum Reason {
    /// The user asked for it (`--force`).
    Forced,
    /// A cache is to be filled with it (`cache warm`).
    Warming,
    /// The user asked for every step to be executed (`--no-cache`).
    NoCache,
    /// Nothing that a step takes in differs, and no cache that was read has it.
    NotCached,
    /// Its caches were cleared (`cache clear`).
    Cleared,
    /// There is no record of a build.
    NeverBuilt,
    /// The revision that is compared with has no such service.
    New { since: String },
    /// It was built, and the image is not where it was put (`place`: the engine, or the registry's name).
    ImageGone { place: String },
    /// It was built before, and nobody answers who could say whether it still stands: for a plan alone.
    NoEngine,
    /// An image stands under its content tag, without proof that it was made from these inputs: `why` says what it lacks.
    Unproven { why: String },
    /// It was built, and what was made of it is not kept (`output`: as buildx takes it).
    NotKept { output: String },
    /// It was built and put elsewhere: `before` and `after` are the outputs, as the fingerprint has them.
    Place { before: String, after: String },
    /// The record was written by another version of the format, or cannot be read: nothing finer can be said.
    RecordUnreadable,
    /// Another stage is built now.
    Target { before: String, after: String },
    /// A file, by its path in the workspace.
    File { path: String, change: Change },
    /// A package joined or left the closure.
    Package { name: String, change: Change },
    /// An entry of the lock; `before` and `after` are versions (several, divided by a comma and a blank, where there are several).
    Lock { name: String, before: Option<String>, after: Option<String> },
    /// A setting of the workspace, the lock, the output or the attestations.
    Setting { name: String, change: Change },
    /// The image of another service, which it is built from.
    Service { name: String, change: Change },
    /// A named build context is given now and was not, or the other way round.
    Context { name: String, change: Change },
    /// A stage of the Dockerfile; `line` is that of the first step that differs, where it is still there.
    Stage { name: String, change: Change, line: Option<usize> },
    /// The `# syntax=` line.
    Syntax { before: Option<String>, after: Option<String> },
    /// A base image; `before` and `after` are digests.
    Base { image: ImageRef, before: Option<String>, after: Option<String> },
    /// What an ADD fetches from an address.
    Address { address: String, change: Change },
    /// A build argument. Its value is never shown.
    Argument { name: String, change: Change },
    /// A platform.
    Platform { name: String, change: Change },
}

/// One line, whatever the names in it hold.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.put(&mut text)?;
        f.write_str(&written_out(&text))
    }
}

impl Reason {
    fn put(&self, f: &mut String) -> fmt::Result {
        // A stand-in's has a word before it.
        let short = |digest: &str| match digest.find("sha256:").and_then(|at| digest.get(..at + 19)) {
            Some(head) => format!("{head}…"),
            None => digest.to_owned(),
        };
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        match self {
            Self::Forced => f.write_str("asked for with --force"),
            Self::Warming => f.write_str("a cache is filled with it"),
            Self::NoCache => f.write_str("asked for with --no-cache"),
            Self::NotCached => f.write_str("unchanged, and in no cache that was read"),
            Self::Cleared => f.write_str("its caches were cleared"),
            Self::NeverBuilt => f.write_str("never built here"),
            Self::New { since } => write!(f, "new since {since:.12}"),
            Self::NoEngine => write!(f, "no engine here to say whether the image still stands"),
            Self::ImageGone { place } => write!(f, "image is gone from {place}"),
            Self::Unproven { why } => write!(f, "what stands under its content tag is not trusted: {why}"),
            Self::NotKept { output } if output == "type=cacheonly" => f.write_str("check build: nothing is kept"),
            Self::NotKept { output } => write!(f, "unchanged; {output} is written on each run"),
            Self::Place { after, .. } if after == "type=cacheonly" => f.write_str("check build: nothing is kept"),
            Self::Place { before, after } => match (place(before), place(after)) {
                (Some((_, put)), Some((there, _))) if before != after => {
                    write!(f, "not in {there} yet: the last build was {put}")
                }
                _ => write!(f, "put to {after}, and the last build to {before}"),
            },
            Self::RecordUnreadable => f.write_str("the record of its last build is of another version"),
            Self::Target { before, after } => write!(f, "target {before} → {after}"),
            Self::File { path, change } => write!(f, "file {path} {change}"),
            Self::Package { name, change } => write!(f, "package {name} {change}"),
            Self::Lock { name, before: Some(before), after: Some(after) } if before == after => {
                // What has no version is a block of the lock with a name of its own.
                write!(f, "{} changed in the lock", [name.as_str(), after].join(" ").trim_end())
            }
            Self::Lock { name, before: Some(before), after: Some(after) } => write!(f, "{name} {before} → {after}"),
            Self::Lock { name, before, after } => {
                let change = if after.is_some() { "added" } else { "removed" };
                write!(f, "{name} {} {change}", word(&after.clone().or_else(|| before.clone())))
            }
            Self::Setting { name, change } => write!(f, "setting {name} {change}"),
            Self::Service { name, change } => write!(f, "service {name} {change}"),
            Self::Context { name, change } => write!(f, "build context {name} {change}"),
            Self::Stage { name, change, line: Some(line) } => write!(f, "stage {name} {change} (Dockerfile line {line})"),
            Self::Stage { name, change, line: None } => write!(f, "stage {name} {change}"),
            Self::Syntax { before, after } => write!(f, "Dockerfile syntax {} → {}", word(before), word(after)),
            Self::Base { image, before: Some(before), after: Some(after) } => {
                write!(f, "base {} moved {} → {}", image.familiar(), short(before), short(after))
            }
            Self::Base { image, after, .. } => {
                write!(f, "base {} {}", image.familiar(), if after.is_some() { "added" } else { "removed" })
            }
            Self::Address { address, change } => write!(f, "{address} {change}"),
            Self::Argument { name, change } => write!(f, "build argument {name} {change}"),
            Self::Platform { name, change } => write!(f, "platform {name} {change}"),
        }
    }

    /// True where it says in what the inputs differ from those of the last build.
    #[must_use]
    pub fn is_difference(&self) -> bool {
        !matches!(
            self,
            Self::Forced
                | Self::Warming
                | Self::NoCache
                | Self::NotCached
                | Self::Cleared
                | Self::NeverBuilt
                | Self::New { .. }
                | Self::ImageGone { .. }
                | Self::NoEngine
                | Self::Unproven { .. }
                | Self::NotKept { .. }
                | Self::Place { .. }
                | Self::RecordUnreadable
        )
    }
}

/// The first `most` reasons on one line, and how many more there are.
#[must_use]
pub fn summary(reasons: &[Reason], most: usize) -> String {
    let mut text = reasons.iter().take(most).map(ToString::to_string).into_vec().join("; ");
    if reasons.len() > most {
        text.extend(["; and ", &(reasons.len() - most).to_string(), " more"]);
    }
    text
}

/// Everything that differs between the inputs of a build and those of now: what a person most likely did comes first. Empty where
/// their fingerprints are equal.
#[must_use]
pub fn explain(before: &Inputs, after: &Inputs) -> Vec<Reason> {
    if before.schema != after.schema {
        return vec![Reason::RecordUnreadable];
    }
    let mut reasons = Vec::new();
    if before.target != after.target {
        reasons.push(Reason::Target { before: before.target.clone(), after: after.target.clone() });
    }
    contexts(before, after, &mut reasons);
    stages(before, after, &mut reasons);
    if before.syntax != after.syntax {
        reasons.push(Reason::Syntax { before: before.syntax.clone(), after: after.syntax.clone() });
    }
    for (image, (before, after)) in differing(&before.bases, &after.bases) {
        reasons.push(Reason::Base { image: image.clone(), before: before.cloned(), after: after.cloned() });
    }
    for (address, (before, after)) in differing(&before.addresses, &after.addresses) {
        reasons.push(Reason::Address { address: address.clone(), change: change(before, after) });
    }
    for (name, (before, after)) in differing(&before.arguments, &after.arguments) {
        reasons.push(Reason::Argument { name: name.clone(), change: change(before, after) });
    }
    let gone = before.platforms.difference(&after.platforms).map(|platform| (platform, Change::Removed));
    let new = after.platforms.difference(&before.platforms).map(|platform| (platform, Change::Added));
    reasons.extend(gone.chain(new).map(|(platform, change)| Reason::Platform { name: platform.to_string(), change }));
    settings(before, after, &mut reasons);
    reasons
}

/// Settings that go with where an image is put: they say nothing where that differs.
const OF_PLACE: [&str; 3] = ["platform", "provenance", "sbom"];

fn settings(before: &Inputs, after: &Inputs, reasons: &mut Vec<Reason>) {
    let mut differing = differing(&before.settings, &after.settings);
    // Where an image is put says nothing beside what is in it.
    let put = differing.remove(&"output".to_owned()).map(|(before, after)| (before.cloned(), after.cloned()));
    let moves = put.as_ref().is_some_and(|(before, after)| kind(before.as_deref()) != kind(after.as_deref()));
    let own = differing.into_iter().filter(|(name, _)| !(moves && OF_PLACE.contains(&name.as_str())));
    reasons.extend(own.map(|(name, (before, after))| Reason::Setting { name: name.clone(), change: change(before, after) }));
    if let (true, Some((before, after))) = (reasons.is_empty(), put) {
        let word = |output: Option<String>| output.unwrap_or_else(|| "nowhere".to_owned());
        reasons.push(Reason::Place { before: word(before), after: word(after) });
    }
}

/// The kind of place that an output puts images in.
fn kind(output: Option<&str>) -> Option<&'static str> {
    output.and_then(place).map(|place| place.0)
}

/// Where an output puts images, and how one says that it did.
fn place(output: &str) -> Option<(&'static str, &'static str)> {
    match output {
        "engine" => Some(("the engine", "loaded into the engine")),
        "registry" | "registry zstd" => Some(("the registry", "pushed")),
        "type=cacheonly" => Some(("any place", "a check, which keeps nothing")),
        _ => None,
    }
}

/// What differs between two maps, with what each has.
fn differing<'m, K: Ord, V: PartialEq>(
    before: &'m SortedMap<K, V>,
    after: &'m SortedMap<K, V>,
) -> SortedMap<&'m K, (Option<&'m V>, Option<&'m V>)> {
    let pairs = side_by_side(before.iter(), after.iter(), |a, b| a.0.cmp(b.0));
    let pairs = pairs.filter_map(|(was, is)| Some((was.or(is)?.0, (was.map(|(_, value)| value), is.map(|(_, value)| value)))));
    pairs.filter(|(_, (was, is))| was != is).into_map()
}

fn change<T>(before: Option<&T>, after: Option<&T>) -> Change {
    match (before, after) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    }
}

/// A file can be in several contexts (a manifest among the sources and among the manifests), and is one reason.
fn contexts(before: &Inputs, after: &Inputs, reasons: &mut Vec<Reason>) {
    let mut found = Vec::new();
    for (name, (before, after)) in differing(&before.contexts, &after.contexts) {
        match (before, after) {
            (Some(before), Some(after)) => parts(before, after, &mut found),
            (before, after) => found.push(Reason::Context { name: name.clone(), change: change(before, after) }),
        }
    }
    if before.main != after.main {
        let empty = Part::new::<String>(Kind::Files, []);
        entries(before.main.as_ref().unwrap_or(&empty), after.main.as_ref().unwrap_or(&empty), &mut found);
    }
    let rank = |reason: &Reason| match reason {
        Reason::File { .. } => 0,
        Reason::Package { .. } => 1,
        // An entry whose version stays has mostly changed for the sake of one whose version does not.
        Reason::Lock { before, after, .. } if before != after => 2,
        Reason::Lock { .. } => 3,
        Reason::Setting { .. } => 4,
        _ => 5,
    };
    // What a file's change comes to, where the file itself is named.
    let files: Vec<String> =
        found.iter().filter_map(|r| if let Reason::File { path, .. } = r { Some(path.clone()) } else { None }).into_vec();
    found.retain(|reason| !matches!(reason, Reason::Setting { name, .. } if files.contains(name)));
    found.order_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    found.dedup();
    reasons.append(&mut found);
}

fn parts(before: &Parts, after: &Parts, found: &mut Vec<Reason>) {
    for (name, (before, after)) in differing(before, after) {
        match (before, after) {
            (Some(before), Some(after)) => entries(before, after, found),
            (Some(part), None) | (None, Some(part)) => match part.kind() {
                Kind::Files => found.push(Reason::Package { name: name.clone(), change: change(before, after) }),
                Kind::Lock | Kind::Settings | Kind::Service => {
                    let empty = Part::new::<String>(part.kind(), []);
                    entries(before.unwrap_or(&empty), after.unwrap_or(&empty), found);
                }
            },
            (None, None) => {}
        }
    }
}

fn entries(before: &Part, after: &Part, found: &mut Vec<Reason>) {
    let map = |part: &Part| -> SortedMap<String, String> {
        part.entries().iter().map(|(name, value)| (name.to_string(), value.to_string())).into_map()
    };
    let (old, new) = (map(before), map(after));
    let differing = differing(&old, &new);
    match after.kind() {
        Kind::Files => found.extend(
            differing.into_iter().map(|(path, (old, new))| Reason::File { path: path.clone(), change: change(old, new) }),
        ),
        Kind::Settings => found.extend(
            differing.into_iter().map(|(name, (old, new))| Reason::Setting { name: name.clone(), change: change(old, new) }),
        ),
        Kind::Service => found.extend(
            differing.into_iter().map(|(name, (old, new))| Reason::Service { name: name.clone(), change: change(old, new) }),
        ),
        Kind::Lock => found.extend(versions(&differing)),
    }
}

/// Puts together what is one bump: `zod@3.22.0` gone and `zod@3.23.1` come. Peers in the key are left out of the version.
fn versions(differing: &SortedMap<&String, (Option<&String>, Option<&String>)>) -> Vec<Reason> {
    let mut by_name: SortedMap<&str, (Vec<&str>, Vec<&str>)> = SortedMap::new();
    for (key, (before, after)) in differing {
        let (name, version) = split_key(key);
        let (old, new) = by_name.entry(name).or_default();
        if before.is_some() && !old.contains(&version) {
            old.push(version);
        }
        if after.is_some() && !new.contains(&version) {
            new.push(version);
        }
    }
    let text = |versions: Vec<&str>| (!versions.is_empty()).then(|| versions.join(", "));
    let reasons = by_name.into_iter();
    reasons.map(|(name, (old, new))| Reason::Lock { name: name.to_owned(), before: text(old), after: text(new) }).into_vec()
}

/// `@scope/name@1.2.3(peer@4)` is `@scope/name` and `1.2.3`.
fn split_key(key: &str) -> (&str, &str) {
    let plain = key.split_once('(').map_or(key, |(plain, _)| plain);
    match plain.get(1..).and_then(|rest| rest.find('@')) {
        Some(at) => (&plain[..=at], &plain[at + 2..]),
        None => (plain, ""),
    }
}

fn stages(before: &Inputs, after: &Inputs, reasons: &mut Vec<Reason>) {
    let steps = |stages: &SortedMap<String, StageInput>| -> SortedMap<String, Vec<String>> {
        stages.iter().map(|(name, stage)| (name.clone(), stage.steps.clone())).into_map()
    };
    let (old, new) = (steps(&before.stages), steps(&after.stages));
    let mut found: Vec<Reason> = differing(&old, &new)
        .into_iter()
        .map(|(name, (old, new))| {
            let lines = after.stages.get(name).map(|stage| stage.lines.as_slice()).unwrap_or_default();
            let line = first_difference(old, new).and_then(|at| lines.get(at).or(lines.last())).copied();
            Reason::Stage { name: name.clone(), change: change(old, new), line }
        })
        .into_vec();
    // By place in the file, which is how one reads it.
    found.order_by_key(|reason| if let Reason::Stage { line, .. } = reason { *line } else { None });
    reasons.append(&mut found);
}

fn first_difference(old: Option<&Vec<String>>, new: Option<&Vec<String>>) -> Option<usize> {
    let new = new?;
    let Some(old) = old else { return Some(0) };
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    Some(same)
}

#[cfg(test)]
mod tests;
