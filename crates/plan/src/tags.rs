//! Which tags a release gets, and which tags are a release's: upkeep and branch builds go by the inverse. No I/O.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use monoship_core::error::{Error, Result};
use monoship_core::name::{ReleaseTag, Tag};

/// A release, as far as its tags may depend on it. All of it is the same on every machine and in every rerun.
///
/// ```
/// # use monoship_plan::tags as monoship;
/// fn monthly(release: &monoship::Release) -> String {
///     format!("{}-{}", release.version(), &release.day()[..7])
/// }
///
/// # fn main() -> monoship_core::error::Result<()> {
/// let release = monoship::Release::new("v1.2.3", "2026-11-28T20:59:16+00:00")?;
/// assert_eq!(monthly(&release), "1.2.3-2026-11");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Release {
    /// The git tag and the version that it names.
    #[doc(hidden)]
    pub tag: ReleaseTag,
    /// When its commit was made, as RFC 3339: `2026-11-28T20:59:16+00:00`.
    #[doc(hidden)]
    pub committed: String,
    /// Its commit's full id.
    #[doc(hidden)]
    pub commit: String,
    /// A pre-release, by its number or by GitHub's mark.
    #[doc(hidden)]
    pub prerelease: bool,
}

impl Release {
    /// A release of this git tag, whose commit was made then: for tests of a rule.
    ///
    /// ```
    /// # use monoship_plan::tags as monoship;
    /// # fn main() -> monoship_core::error::Result<()> {
    /// let release = monoship::Release::new("v2.0.0-rc.1", "2026-11-28T20:59:16+00:00")?;
    /// assert!(release.is_prerelease());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A tag that names no version.
    pub fn new(tag: &str, committed: impl Into<String>) -> Result<Self> {
        let tag: ReleaseTag = tag.parse()?;
        let prerelease = !tag.version.pre.is_empty();
        Ok(Self { tag, committed: committed.into(), commit: "0".repeat(40), prerelease })
    }

    /// The same of this commit.
    ///
    /// ```
    /// # use monoship_plan::tags as monoship;
    /// # fn main() -> monoship_core::error::Result<()> {
    /// let release = monoship::Release::new("v1.2.3", "2026-11-28T20:59:16+00:00")?.at_commit("8b1f0c9d3a52e6f7");
    /// assert_eq!(&release.commit()[..7], "8b1f0c9");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn at_commit(self, commit: impl Into<String>) -> Self {
        Self { commit: commit.into(), ..self }
    }

    /// The full id of its commit, in hexadecimal digits.
    ///
    /// ```
    /// # fn rule(release: &monoship_plan::tags::Release) {
    /// let tag = format!("{}-{}", release.version(), &release.commit()[..7]);
    /// # }
    /// ```
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The version without `v`: `1.2.3`.
    ///
    /// ```
    /// # fn rule(release: &monoship_plan::tags::Release) {
    /// let tag = format!("build-{}", release.version());
    /// # }
    /// ```
    #[must_use]
    pub fn version(&self) -> String {
        self.tag.version.to_string()
    }

    /// The day on which its commit was made, `2026-11-28`.
    ///
    /// ```
    /// # fn rule(release: &monoship_plan::tags::Release) {
    /// let tag = release.day().replace('-', ".");
    /// # }
    /// ```
    #[must_use]
    pub fn day(&self) -> &str {
        self.committed.get(..10).unwrap_or(&self.committed)
    }

    /// True for a version such as `1.2.3-rc.1`, and for one that GitHub marks so, whatever its number.
    ///
    /// ```
    /// # fn rule(release: &monoship_plan::tags::Release) {
    /// let channel = if release.is_prerelease() { "next" } else { "stable" };
    /// # }
    /// ```
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.prerelease
    }
}

/// A rule for tags of a team's own, and its inverse.
///
/// ```
/// # mod monoship { pub use monoship_core::name::Tag; pub use monoship_plan::tags::{Release, TagRule, Tags}; }
/// use monoship::{Release, Tag, TagRule};
///
/// /// `2026.11.28`, the day of the release's commit.
/// struct Calendar;
///
/// impl TagRule for Calendar {
///     fn tags(&self, release: &Release) -> Vec<String> {
///         vec![release.day().replace('-', ".")]
///     }
///
///     fn owns(&self, tag: &Tag) -> bool {
///         let parts: Vec<&str> = tag.as_str().split('.').collect();
///         parts.len() == 3 && parts[0].len() == 4 && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()))
///     }
/// }
/// ```
pub trait TagRule: Send + Sync {
    /// The tags that a release gets from this rule. Equal releases get equal tags.
    fn tags(&self, release: &Release) -> Vec<String>;

    /// True for every tag that this rule has made or may make. No branch takes such a tag, and `cache prune` knows it for a release's.
    fn owns(&self, tag: &Tag) -> bool;

    /// Why a tag of this rule is not needed any more; by default each is, for ever. `cache prune` removes what no other tag keeps.
    fn retired(&self, tag: &Tag, now: SystemTime) -> Option<String> {
        let _ = (tag, now);
        None
    }
}

/// The rules by which a release gets its tags.
///
/// ```
/// # mod monoship { pub use monoship_core::name::Tag; pub use monoship_plan::tags::{Release, TagRule, Tags}; }
/// # use monoship::{Release, Tag, TagRule};
/// use monoship::Tags;
///
/// # struct Calendar;
/// # impl TagRule for Calendar {
/// #     fn tags(&self, _: &Release) -> Vec<String> { Vec::new() }
/// #     fn owns(&self, _: &Tag) -> bool { false }
/// # }
/// let both = Tags::semver().and(Calendar);
/// let alone = Tags::none().and(Calendar);
/// ```
#[derive(Clone)]
pub struct Tags {
    templates: bool,
    rules: Vec<Arc<dyn TagRule>>,
}

impl Default for Tags {
    fn default() -> Self {
        Self::semver()
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tags {{ templates: {}, rules: {} }}", self.templates, self.rules.len())
    }
}

impl Tags {
    /// The templates of `[release] tags`, by default `v1.2.3`, `1.2.3`, `1.2`, `1` and `latest`.
    ///
    /// ```
    /// # use monoship_plan::tags as monoship;
    /// let tags = monoship::Tags::semver();
    /// ```
    #[must_use]
    pub fn semver() -> Self {
        Self { templates: true, rules: Vec::new() }
    }

    /// No rule at all, to begin with.
    ///
    /// ```
    /// # use monoship_plan::tags as monoship;
    /// # fn rules(calendar: impl monoship::TagRule + 'static) {
    /// let tags = monoship::Tags::none().and(calendar);
    /// # }
    /// ```
    #[must_use]
    pub fn none() -> Self {
        Self { templates: false, rules: Vec::new() }
    }

    /// Adds a rule.
    ///
    /// ```
    /// # mod monoship { pub use monoship_core::name::Tag; pub use monoship_plan::tags::{Release, TagRule, Tags}; }
    /// use monoship::{Release, Tag, TagRule, Tags};
    ///
    /// struct Nightly;
    ///
    /// impl TagRule for Nightly {
    ///     fn tags(&self, release: &Release) -> Vec<String> {
    ///         vec![format!("nightly-{}", release.day())]
    ///     }
    ///
    ///     fn owns(&self, tag: &Tag) -> bool {
    ///         tag.as_str().starts_with("nightly-")
    ///     }
    /// }
    ///
    /// let tags = Tags::semver().and(Nightly);
    /// ```
    #[must_use]
    pub fn and(mut self, rule: impl TagRule + 'static) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// True where the templates of `[release] tags` count.
    #[doc(hidden)]
    #[must_use]
    pub fn uses_templates(&self) -> bool {
        self.templates
    }

    /// True where there is a rule beside the templates.
    #[doc(hidden)]
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// What the rules beside the templates make of a release.
    ///
    /// # Errors
    /// When a rule makes what is no tag, or does not know its own: a tag that it would not recognise would be taken for a branch's.
    #[doc(hidden)]
    pub fn of(&self, release: &Release) -> Result<Vec<Tag>> {
        let mut tags = Vec::new();
        for rule in &self.rules {
            for text in rule.tags(release) {
                let tag: Tag = text.parse()?;
                if !rule.owns(&tag) {
                    return Err(
                        Error::usage(format!("a tag rule makes `{tag}`, but does not own it")).hint("fix the rule's `owns`")
                    );
                }
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
        Ok(tags)
    }

    /// True for a tag that one of these rules has made or may make.
    #[doc(hidden)]
    #[must_use]
    pub fn own(&self, tag: &Tag) -> bool {
        self.rules.iter().any(|rule| rule.owns(tag))
    }

    /// Why a tag is not needed any more by the rules that own it.
    #[doc(hidden)]
    #[must_use]
    pub fn retired(&self, tag: &Tag, now: SystemTime) -> Option<String> {
        let mut owners = self.rules.iter().filter(|rule| rule.owns(tag)).peekable();
        owners.peek()?;
        owners.map(|rule| rule.retired(tag, now)).collect::<Option<Vec<_>>>()?.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Days;

    impl TagRule for Days {
        fn tags(&self, release: &Release) -> Vec<String> {
            vec![format!("day-{}", release.day()), format!("day-{}-{:.7}", release.day(), release.commit())]
        }
        fn owns(&self, tag: &Tag) -> bool {
            tag.as_str().starts_with("day-")
        }
        fn retired(&self, tag: &Tag, _: SystemTime) -> Option<String> {
            (tag.as_str() < "day-2026").then(|| "of another year".to_owned())
        }
    }

    struct Forgetful;

    impl TagRule for Forgetful {
        fn tags(&self, _: &Release) -> Vec<String> {
            vec!["edge".to_owned()]
        }
        fn owns(&self, _: &Tag) -> bool {
            false
        }
    }

    fn release() -> Release {
        Release::new("v1.2.3", "2026-11-28T20:59:16+00:00").unwrap()
    }

    #[test]
    fn a_rule_makes_tags_and_knows_them_again() {
        let tags = Tags::semver().and(Days);
        let made = ["day-2026-11-28", "day-2026-11-28-8b1f0c9"].map(|tag| tag.parse().unwrap());
        assert_eq!(tags.of(&release().at_commit("8b1f0c9d3a52e6f7")).unwrap(), made);
        assert!(tags.own(&"day-2020-01-01".parse().unwrap()) && !tags.own(&"main".parse().unwrap()));
        let retired = |tag: &str| tags.retired(&tag.parse().unwrap(), SystemTime::UNIX_EPOCH);
        assert_eq!(
            (retired("day-2020-01-01").as_deref(), retired("day-2026-01-01"), retired("main")),
            (Some("of another year"), None, None)
        );
    }

    #[test]
    fn a_rule_that_does_not_know_its_own_tag_is_refused() {
        let error = Tags::none().and(Forgetful).of(&release()).unwrap_err();
        assert!(error.to_string().contains("makes `edge`, but does not own it"), "{error}");
    }
}
