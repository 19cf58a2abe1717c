//! Which manifests of a registry go. Only what carries this repository's mark may: a name says nothing of who gave it. Of that,
//! reachability comes first: whatever a tag that stays leads to (an index's platform manifests, their
//! attestations, signatures and other artifacts about any of them) stays, tagged or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::{Action, Known, Removal, Tier, target_of};
use crate::config::upkeep::Leftover;
use crate::mounts::MOUNTS;
use monoship_core::collect::Collect as _;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::{Order as _, SortedSet};
use monoship_core::text;
use monoship_docker::reach::Node;
use monoship_workspace::glob::Component;

/// What is younger may belong to a push that is under way: children come before their index, the index before its tag.
const UNDER_WAY: Duration = Duration::from_hours(24);

/// What a repository is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// A service's images.
    Images(String),
    /// Cache manifests, a tag for each target. Other repositories of the organisation may keep theirs here too: a tag of a service that
    /// is gone is known to be ours where there are images of that service below our prefix.
    Caches {
        /// Services, gone or not, that have images of ours.
        ours: SortedSet<String>,
    },
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name, without tag.
    pub image: ImageRef,
    /// What it is for.
    pub holds: Holds,
    /// Every manifest that was seen.
    pub nodes: BTreeMap<Digest, Node>,
    /// True where untagged manifests are listed too (GHCR), and not only what a tag leads to.
    pub lists_untagged: bool,
    /// Manifests that an earlier prune was about to delete when it was ended.
    pub unfinished: SortedSet<Digest>,
}

/// What becomes of a manifest that tags point to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop(String),
    /// Only a content tag or a commit names it, or it is a cache: it stays unless a bound is passed.
    Spare(Option<SystemTime>),
}

type Fates<'r> = BTreeMap<&'r Digest, Fate>;

/// Decides, for all repositories of a registry at once: blobs may be shared between them.
#[must_use]
pub fn decide(repositories: &[Repository], known: &Known<'_>) -> Vec<Removal> {
    let mut fates: Vec<Fates<'_>> = repositories.iter().map(|repository| repository.fates(known)).into_vec();
    for (repository, fates) in repositories.iter().zip(&mut fates) {
        by_age(fates, known);
        if matches!(repository.holds, Holds::Images(_)) {
            by_count(fates, known);
        }
    }
    by_size(repositories, &mut fates, known);
    settle(repositories, &fates, known)
}

/// The cache manifests whose every tag `is_cache` picks.
#[must_use]
pub fn clear(repositories: &[Repository], is_cache: impl Fn(&Tag) -> bool, why: &str, known: &Known<'_>) -> Vec<Removal> {
    let fates = repositories.iter().map(|repository| {
        let caches = matches!(repository.holds, Holds::Caches { .. });
        let goes = |node: &Node| caches && node.own_tags().next().is_some() && node.own_tags().all(&is_cache);
        let fate = |digest: &Digest, node: &Node| {
            if goes(node) && repository.is_ours(digest, node, known) { Fate::Drop(why.to_owned()) } else { Fate::Keep }
        };
        repository.fates(known).into_keys().map(|digest| (digest, fate(digest, &repository.nodes[digest]))).collect::<Fates<'_>>()
    });
    settle(repositories, &fates.into_vec(), known)
}

/// From fates to removals: what goes, with all that nothing that stays needs.
fn settle(repositories: &[Repository], fates: &[Fates<'_>], known: &Known<'_>) -> Vec<Removal> {
    let needed: Vec<BTreeSet<&Digest>> = repositories.iter().zip(fates).map(|(r, fates)| r.needed(fates, known)).into_vec();
    let mut counted = blobs(repositories, &needed);
    let mut removals = Vec::new();
    for ((repository, fates), needed) in repositories.iter().zip(fates).zip(&needed) {
        removals.extend(repository.removals(fates, needed, &mut counted, known));
    }
    removals
}

/// What tags and manifests need that came after a repository was looked into: `before` is what the plan was made from.
#[must_use]
pub fn needed_by_new<'r>(before: &Repository, after: &'r Repository) -> BTreeSet<&'r Digest> {
    let is_new = |digest: &Digest, node: &Node| {
        let known = before.nodes.get(digest);
        known.is_none_or(|known| node.tags.iter().any(|tag| !known.tags.contains(tag)))
    };
    let mut needed = BTreeSet::new();
    for (digest, node) in after.nodes.iter().filter(|(digest, node)| is_new(digest, node)) {
        after.walk(digest, &mut |digest| needed.insert(digest));
        // A new signature of something is a use of it.
        if let Some(about) = node.about() {
            after.walk(&about, &mut |digest| needed.insert(digest));
        }
    }
    needed
}

impl Repository {
    /// The fate of every manifest that stands by itself.
    fn fates<'r>(&'r self, known: &Known<'_>) -> Fates<'r> {
        let children: BTreeSet<&Digest> = self.nodes.values().flat_map(|node| &node.children).collect();
        let mut fates = Fates::new();
        for (digest, node) in &self.nodes {
            let stands = node.own_tags().next().is_some() || (node.about().is_none() && !children.contains(digest));
            if stands && (!self.is_ours(digest, node, known) || self.may_be_named(digest, known)) {
                // Another's, or nobody knows whose; or the notes of a release name it.
                fates.insert(digest, Fate::Keep);
            } else if node.own_tags().next().is_some() {
                fates.insert(digest, self.fate(node, known));
            } else if node.about().is_none() && !children.contains(digest) {
                // Only a registry that lists untagged manifests shows one that nothing points to, or one that was noted down.
                let fate = if self.unfinished.contains(digest) {
                    Fate::Drop("an earlier prune was ended before it came to this".to_owned())
                } else if self.is_leftover(node, known) {
                    Fate::Drop("nothing points to it".to_owned())
                } else {
                    Fate::Keep
                };
                fates.insert(digest, fate);
            }
        }
        fates
    }

    /// True of what carries this repository's mark, and of what an earlier prune was about to delete by that.
    fn is_ours(&self, digest: &Digest, node: &Node, known: &Known<'_>) -> bool {
        self.unfinished.contains(digest) || (!known.owner.is_empty() && node.mark.as_deref() == Some(known.owner.as_str()))
    }

    /// True of an image that notes of a release name, itself or a part of it (one platform's), or may name where they cannot be read.
    fn may_be_named(&self, digest: &Digest, known: &Known<'_>) -> bool {
        let Some(named) = &known.named else { return matches!(self.holds, Holds::Images(_)) };
        let mut found = false;
        if matches!(self.holds, Holds::Images(_)) && !named.is_empty() {
            self.walk(digest, &mut |part| {
                found |= named.contains(part);
                !found
            });
        }
        found
    }

    /// How many images or caches carry no mark of this repository, so that nothing of them may go.
    #[must_use]
    pub fn foreign(&self, known: &Known<'_>) -> usize {
        let marked = |node: &&Node| node.mark.as_deref() == Some(known.owner.as_str());
        self.nodes.values().filter(|node| node.own_tags().next().is_some()).filter(|node| !marked(node)).count()
    }

    fn is_leftover(&self, node: &Node, known: &Known<'_>) -> bool {
        let old = node.time.and_then(|time| known.now.duration_since(time).ok()).is_some_and(|age| age > UNDER_WAY);
        self.lists_untagged && old && known.drops(Leftover::Untagged)
    }

    fn fate(&self, node: &Node, known: &Known<'_>) -> Fate {
        let each = node.own_tags().map(|tag| self.of_tag(tag, node.time, known));
        // One tag that stays is enough.
        each.reduce(|all, one| match (all, one) {
            (Fate::Keep, _) | (_, Fate::Keep) => Fate::Keep,
            (Fate::Drop(why), _) | (_, Fate::Drop(why)) => Fate::Drop(why),
            (spare, Fate::Spare(_)) => spare,
        })
        .unwrap_or(Fate::Keep)
    }

    fn of_tag(&self, tag: &Tag, time: Option<SystemTime>, known: &Known<'_>) -> Fate {
        if known.policy.protect.iter().any(|pattern| Component::read(pattern).matches(tag.as_str(), true)) {
            return Fate::Keep;
        }
        match &self.holds {
            Holds::Caches { ours } => {
                if tag.as_str().starts_with(MOUNTS) {
                    return Fate::Spare(time);
                }
                let target = target_of(tag.as_str(), &known.services);
                match (known.is_service(target), ours.contains(target) && known.drops(Leftover::GoneServices)) {
                    (true, _) => Fate::Spare(time),
                    (false, true) => Fate::Drop(format!("there is no service {target} any more")),
                    (false, false) => Fate::Keep,
                }
            }
            Holds::Images(service) => match image_tag(tag, known) {
                Fate::Spare(_) if !known.is_service(service) && known.drops(Leftover::GoneServices) => {
                    Fate::Drop(format!("there is no service {service} any more"))
                }
                Fate::Spare(_) => Fate::Spare(time),
                other => other,
            },
        }
    }

    /// Everything that what stays leads to.
    fn needed<'r>(&'r self, fates: &Fates<'r>, known: &Known<'_>) -> BTreeSet<&'r Digest> {
        let mut needed = BTreeSet::new();
        for (digest, fate) in fates {
            if !matches!(fate, Fate::Drop(_)) {
                self.walk(digest, &mut |digest| needed.insert(digest));
            }
        }
        let attached: Vec<(&Digest, &Node, Digest)> =
            self.nodes.iter().filter(|(d, _)| !fates.contains_key(*d)).filter_map(|(d, n)| Some((d, n, n.about()?))).into_vec();
        // A signature may itself be signed: until nothing is added.
        loop {
            let before = needed.len();
            for (digest, node, about) in &attached {
                let stays = if self.nodes.contains_key(about) { needed.contains(about) } else { !self.is_leftover(node, known) };
                if stays {
                    self.walk(digest, &mut |digest| needed.insert(digest));
                }
            }
            if needed.len() == before {
                return needed;
            }
        }
    }

    /// What these manifests and all below them come to, each blob counted once.
    pub fn bytes<'r>(&'r self, digests: impl Iterator<Item = &'r Digest>) -> u64 {
        let mut seen = BTreeSet::new();
        digests.for_each(|digest| self.walk(digest, &mut |digest| seen.insert(digest)));
        let nodes = seen.iter().map(|digest| &self.nodes[*digest]);
        let mut blobs = BTreeMap::new();
        let own: u64 =
            nodes.inspect(|node| blobs.extend(node.blobs.iter().map(|(b, size)| (b, *size)))).map(|node| node.bytes).sum();
        own + blobs.values().sum::<u64>()
    }

    /// Hands a manifest and all below it to `visit`, what points before what is pointed to; where it returns false, nothing below is
    /// looked at.
    fn walk<'r>(&'r self, digest: &Digest, visit: &mut dyn FnMut(&'r Digest) -> bool) {
        let Some((digest, node)) = self.nodes.get_key_value(digest) else { return };
        if visit(digest) {
            node.children.iter().for_each(|child| self.walk(child, visit));
        }
    }

    fn removals<'r>(
        &'r self,
        fates: &Fates<'r>,
        needed: &BTreeSet<&'r Digest>,
        counted: &mut BTreeSet<&'r Digest>,
        known: &Known<'_>,
    ) -> Vec<Removal> {
        let mut listed = BTreeSet::new();
        let dropped = fates.iter().filter_map(|(digest, fate)| match fate {
            Fate::Drop(why) => Some((*digest, why.clone())),
            _ => None,
        });
        let mut dropped: Vec<(&Digest, String)> = dropped.into_vec();
        dropped.order_by_key(|(digest, _)| (self.nodes[*digest].time, *digest));
        // Without a mark nobody knows whose they are, but for what an earlier prune had begun with.
        let strays = |node: &Node| node.about().is_some_and(|about| !self.nodes.contains_key(&about));
        let stray = self.nodes.iter().filter(|(d, node)| !fates.contains_key(d) && strays(node) && self.is_ours(d, node, known));
        dropped.extend(stray.filter(|(d, _)| !needed.contains(d)).map(|(d, _)| (d, "what it is about is gone".to_owned())));
        let mut removals = Vec::new();
        for (head, why) in dropped {
            let mut digests: Vec<&Digest> = Vec::new();
            let mut open = vec![head];
            while let Some(next) = open.pop() {
                let from = digests.len();
                self.walk(next, &mut |digest| {
                    let goes = !needed.contains(digest) && listed.insert(digest);
                    if goes {
                        digests.push(digest);
                    }
                    goes
                });
                let added: BTreeSet<&Digest> = digests[from..].iter().copied().collect();
                let about = |node: &Node| node.about().is_some_and(|about| added.contains(&about));
                open.extend(self.nodes.iter().filter(|(d, node)| !fates.contains_key(d) && about(node)).map(|(d, _)| d));
            }
            if !digests.is_empty() {
                removals.push(self.removal(head, why, &digests, counted));
            }
        }
        removals
    }

    fn removal<'r>(&'r self, head: &Digest, why: String, digests: &[&'r Digest], counted: &mut BTreeSet<&'r Digest>) -> Removal {
        let mut bytes = 0;
        for node in digests.iter().map(|digest| &self.nodes[*digest]) {
            bytes += node.bytes;
            bytes += node.blobs.iter().filter(|(blob, _)| counted.insert(blob)).map(|(_, size)| size).sum::<u64>();
        }
        let tags: Vec<&str> = self.nodes[head].tags.iter().map(Tag::as_str).into_vec();
        Removal {
            tier: Tier::Registry,
            place: self.image.to_string(),
            name: if tags.is_empty() { format!("sha256:{}", head.short()) } else { tags.join(", ") },
            why,
            bytes,
            action: Action::Manifests {
                repository: self.image.clone(),
                digests: digests.iter().map(|digest| (*digest).clone()).into_vec(),
            },
        }
    }
}

/// What a tag on a service's image says of it; the time is not looked at.
fn image_tag(tag: &Tag, known: &Known<'_>) -> Fate {
    // Parts of an image for several platforms too.
    if tag.is_content() || tag.is_of_commit() {
        return Fate::Spare(None);
    }
    let is_branch = |branches: &SortedSet<String>| branches.iter().any(|branch| tag.is_of_branch(branch));
    if let Some(number) = tag.pull() {
        // A branch may be called so.
        let other = known.branches.as_ref().is_some_and(is_branch);
        return match &known.pulls {
            Some(open) if !open.contains(&number) && !other && known.drops(Leftover::ClosedPulls) => {
                Fate::Drop(format!("pull request {number} is closed"))
            }
            _ => Fate::Keep,
        };
    }
    if let Some(why) = known.tag_rules.retired(tag, known.now) {
        return Fate::Drop(why);
    }
    let is_release = known.tag_rules.own(tag) || known.release_tags.can_make(tag);
    let exists = known.branches.as_ref().is_none_or(is_branch);
    let was_branch = known.former_branches.contains(tag);
    if !is_release && !exists && was_branch && known.drops(Leftover::GoneBranches) {
        return Fate::Drop(format!("branch {tag} is gone"));
    }
    // A release, a branch that is there, or a name that somebody gave.
    Fate::Keep
}

fn by_age(fates: &mut Fates<'_>, known: &Known<'_>) {
    for fate in fates.values_mut() {
        if let Fate::Spare(time) = fate
            && let Some(why) = known.too_old(*time)
        {
            *fate = Fate::Drop(why);
        }
    }
}

fn by_count(fates: &mut Fates<'_>, known: &Known<'_>) {
    let Some(most) = known.policy.max_count else { return };
    // Of unknown age is as good as new.
    let over: Vec<&Digest> = spares(std::slice::from_ref(fates)).into_iter().rev().skip(most).map(|spare| spare.2).into_vec();
    for digest in over {
        fates.insert(digest, Fate::Drop(format!("more than the {most} newest")));
    }
}

/// What may go, the oldest first, with the number of its repository.
fn spares<'r>(fates: &[Fates<'r>]) -> Vec<(Option<SystemTime>, usize, &'r Digest)> {
    let mut spares = Vec::new();
    for (at, fates) in fates.iter().enumerate() {
        spares.extend(fates.iter().filter_map(|(digest, fate)| match fate {
            Fate::Spare(time) => Some((*time, at, *digest)),
            _ => None,
        }));
    }
    spares.order_by_key(|(time, at, digest)| (time.is_none(), *time, *at, *digest));
    spares
}

/// Drops the oldest until the rest is small enough. How many that takes is found by halving: each one dropped frees something or nothing.
fn by_size(repositories: &[Repository], fates: &mut [Fates<'_>], known: &Known<'_>) {
    let Some(most) = known.policy.max_size.map(|size| size.0) else { return };
    let spares: Vec<_> = spares(fates).into_iter().filter(|(time, ..)| time.is_some()).into_vec();
    let why = format!("all together are more than {}, and these are the oldest", text::bytes(most));
    let without = |count: usize| {
        let mut tried = fates.to_vec();
        for (_, at, digest) in &spares[..count] {
            tried[*at].insert(digest, Fate::Drop(why.clone()));
        }
        tried
    };
    let fits = |count: usize| total(repositories, &without(count), known) <= most;
    let (mut low, mut high) = (0, spares.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if fits(middle) { high = middle } else { low = middle + 1 }
    }
    let settled = without(low);
    fates.clone_from_slice(&settled);
}

/// What a registry holds of these, each blob once.
fn total(repositories: &[Repository], fates: &[Fates<'_>], known: &Known<'_>) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for (repository, fates) in repositories.iter().zip(fates) {
        for digest in repository.needed(fates, known) {
            let node = &repository.nodes[digest];
            bytes += node.bytes;
            bytes += node.blobs.iter().filter(|(blob, _)| seen.insert(blob)).map(|(_, size)| size).sum::<u64>();
        }
    }
    bytes
}

/// The blobs that what stays needs.
fn blobs<'r>(repositories: &'r [Repository], needed: &[BTreeSet<&'r Digest>]) -> BTreeSet<&'r Digest> {
    let nodes = repositories.iter().zip(needed).flat_map(|(r, needed)| needed.iter().map(|digest| &r.nodes[*digest]));
    nodes.flat_map(|node| node.blobs.iter().map(|(blob, _)| blob)).collect()
}

#[cfg(test)]
mod tests;
