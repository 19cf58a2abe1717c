//! Which release a floating tag belongs to: the newest of its range. Asks the registry what it points to; changes nothing.

use semver::Version;

use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::execute::pool::in_parallel;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::{Order as _, SortedSet};
use monoship_docker::registry::Registry;
use monoship_plan::templates::{Scope, TagTemplates};

/// What a release's tags are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which tags a version gets.
    pub templates: TagTemplates,
    /// The release's version.
    pub version: Version,
    /// Versions whose images may stand and that are not released yet: pre-releases by GitHub's mark. They hold no tag.
    pub unreleased: SortedSet<Version>,
}

impl Order {
    /// What a tag says of the release.
    #[must_use]
    pub fn scope(&self, tag: &Tag) -> Option<Scope> {
        self.templates.scope(tag, &self.version)
    }

    /// True for a tag that names this version and never moves.
    #[must_use]
    pub fn is_exact(&self, tag: &Tag) -> bool {
        self.scope(tag) == Some(Scope::Exact)
    }

    /// The newer releases that may hold a tag, with the exact tags they have here; the newest first. A floating one is held by those that it
    /// ranges over. What a rule of the team's own makes of a version is not known, so any may hold its tag.
    fn newer<'t>(&self, tag: &Tag, existing: &'t [Tag]) -> Vec<(Version, &'t Tag)> {
        let scope = self.scope(tag);
        let counts = |version: &Version| match scope {
            Some(Scope::Exact) => false,
            Some(scope) => version.pre.is_empty() && scope.covers(version) && !self.unreleased.contains(version),
            None => true,
        };
        let versions = existing.iter().filter_map(|tag| Some((self.templates.version_of(tag)?, tag)));
        let mut newer: Vec<(Version, &Tag)> =
            versions.filter(|(version, _)| *version > self.version && counts(version)).into_vec();
        newer.order_by(|a, b| b.cmp(a));
        newer
    }

    /// The newer release that holds a floating tag, or a rule's, so that this one must leave it where it is. `now` is what the tag points to, `existing`
    /// are the repository's tags.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn held_by(
        &self,
        registry: &Registry,
        target: &ImageRef,
        now: Option<&Digest>,
        existing: &[Tag],
    ) -> Result<Option<Version>> {
        let Some(tag) = target.tag() else { return Ok(None) };
        for (version, exact) in self.newer(tag, existing) {
            let Some(now) = now else { return Ok(self.scope(tag).map(|_| version)) };
            if registry.resolve(&target.with_tag(exact.clone()))?.is_some_and(|found| found.digest == *now) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// The same for a run that may put the tag: a newer version that stands whole counts too, wherever the floating tag points. Its run may
    /// be just before its last tags, and where a registry deletes nothing no word of it is there that would say so.
    pub(super) fn left_to(
        &self,
        registry: &Registry,
        target: &ImageRef,
        now: Option<&Digest>,
        existing: &[Tag],
        whole: &SortedSet<Version>,
    ) -> Result<Option<Version>> {
        match target.tag().and_then(|tag| self.newest_of(tag, whole, existing)) {
            Some((version, _)) => Ok(Some(version)),
            None => self.held_by(registry, target, now, existing),
        }
    }

    /// The versions that have all their exact tags in each of these repositories.
    pub(super) fn whole(&self, repositories: &[impl AsRef<[Tag]>]) -> SortedSet<Version> {
        let Some(first) = repositories.first() else { return SortedSet::new() };
        let versions: SortedSet<Version> = first.as_ref().iter().filter_map(|tag| self.templates.version_of(tag)).into_set();
        let stands = |version: &Version| {
            let exact = self.templates.made_of(version, false).unwrap_or_default();
            !exact.is_empty() && repositories.iter().all(|tags| exact.iter().all(|tag| tags.as_ref().contains(tag)))
        };
        versions.into_iter().filter(stands).into_set()
    }

    /// The newest of these releases that a floating tag ranges over, and its exact tag here.
    pub(super) fn newest_of<'t>(&self, tag: &Tag, of: &SortedSet<Version>, existing: &'t [Tag]) -> Option<(Version, &'t Tag)> {
        self.scope(tag)?;
        self.newer(tag, existing).into_iter().find(|(version, _)| of.contains(version))
    }

    /// The same as it is now: a newer release may have been published since the plan.
    ///
    /// # Errors
    /// As [`Order::held_by`].
    pub(super) fn overtaken(&self, registry: &Registry, target: &ImageRef, now: Option<&Digest>) -> Result<Option<Version>> {
        match target.tag() {
            Some(tag) if !self.is_exact(tag) => self.held_by(registry, target, now, &registry.tags(target)?),
            _ => Ok(None),
        }
    }
}

/// What other releases have put.
pub(super) struct Others {
    /// The tags of each repository, in the order in which they were asked for; none where versions are not ordered.
    pub existing: Vec<Vec<Tag>>,
    /// The versions that stand for every service.
    pub whole: SortedSet<Version>,
}

impl Others {
    /// Asks for them.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub(super) fn read(order: Option<&Order>, registry: &Registry, repositories: &[&ImageRef]) -> Result<Self> {
        let Some(order) = order else {
            return Ok(Self { existing: vec![Vec::new(); repositories.len()], whole: SortedSet::new() });
        };
        let existing = in_parallel(repositories, |repository| registry.tags(repository));
        let existing = existing.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Self { whole: order.whole(&existing), existing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn a_version_is_whole_with_all_its_exact_tags_at_every_service() {
        let templates = TagTemplates::parse(&["v{version}", "{version}", "latest"]).unwrap();
        let order = Order { templates, version: Version::new(1, 0, 0), unreleased: SortedSet::new() };
        let api: Vec<Tag> = ["v1.1.0", "1.1.0", "v1.2.0", "1.2.0", "v1.3.0", "1.3.0", "latest"].map(tag).to_vec();
        let web: Vec<Tag> = ["1.1.0", "v1.1.0", "v1.2.0", "in-1"].map(tag).to_vec();
        assert_eq!(order.whole(&[api, web]), SortedSet::from([Version::new(1, 1, 0)]));
        assert_eq!(order.whole(&[] as &[Vec<Tag>]), SortedSet::new());
    }

    #[test]
    fn a_floating_tag_ranges_over_the_newer_releases_and_never_over_what_is_not_released() {
        let existing: Vec<Tag> =
            ["v1.2.9", "1.10.0", "v2.0.0", "3.0.0-rc.1", "v4.0.0", "latest", "in-abc", "1.2"].map(tag).to_vec();
        let templates = TagTemplates::parse(&["v{version}", "{major}.{minor}", "{major}", "latest", "stable"]).unwrap();
        let newest = |floating: &str, ours: &str| {
            let unreleased = SortedSet::from([Version::new(4, 0, 0)]);
            let order = Order { templates: templates.clone(), version: ours.parse().unwrap(), unreleased };
            order.newer(&tag(floating), &existing).first().map(|(version, _)| version.to_string())
        };
        let cases = [
            ("latest", "1.2.10", Some("2.0.0")),
            ("stable", "1.2.10", Some("2.0.0")),
            ("1", "1.2.10", Some("1.10.0")),
            ("1.2", "1.2.10", None),
            ("1.2", "1.2.8", Some("1.2.9")),
            ("latest", "2.0.1", None),
            ("latest", "2.0.0", None),
            ("edge", "1.0.0", Some("4.0.0")),
            ("edge", "3.0.0-beta.1", Some("4.0.0")),
            ("edge", "4.0.0", None),
            ("v1.2.8", "1.2.8", None),
        ];
        for (floating, ours, expected) in cases {
            assert_eq!(newest(floating, ours).as_deref(), expected, "{floating} for {ours}");
        }
        let order = Order { templates, version: Version::new(1, 0, 0), unreleased: SortedSet::new() };
        let whole = SortedSet::from([Version::new(4, 0, 0)]);
        let rules = order.newest_of(&tag("edge"), &whole, &existing);
        assert_eq!(rules, None, "a newer version need not have a rule's tag: only one that has it keeps it");
    }
}
