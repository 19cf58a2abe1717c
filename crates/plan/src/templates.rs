//! The tags of a release, by `[release] tags`: which a version gets, and which tag can be a release's. One grammar serves both, so that what
//! publishing makes is what branches keep off and what upkeep leaves alone. No I/O.

use semver::Version;

use monoship_core::error::{Error, Result};
use monoship_core::name::Tag;

/// The templates of a release's tags: `v{version}`, `{major}.{minor}`, `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplates(Vec<Template>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The whole version, without `v`.
    Version,
    Major,
    Minor,
    Patch,
}

/// What a tag says of the release it is put for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It names this one version, and never moves.
    Exact,
    /// It floats over the versions that have this major and minor number, where one is given: `1.2`, `1`, `latest`.
    Floating {
        /// The major number.
        major: Option<u64>,
        /// The minor number.
        minor: Option<u64>,
    },
}

impl Scope {
    /// True where the tag ranges over `version` too.
    #[must_use]
    pub fn covers(self, version: &Version) -> bool {
        match self {
            Self::Exact => false,
            Self::Floating { major, minor } => {
                major.is_none_or(|major| major == version.major) && minor.is_none_or(|minor| minor == version.minor)
            }
        }
    }
}

const PLACES: [(&str, Part); 4] =
    [("{version}", Part::Version), ("{major}", Part::Major), ("{minor}", Part::Minor), ("{patch}", Part::Patch)];

impl TagTemplates {
    /// Reads templates.
    ///
    /// # Errors
    /// One that names something else than `{version}`, `{major}`, `{minor}` and `{patch}`, or makes no tag.
    pub fn parse<T: AsRef<str>>(templates: &[T]) -> Result<Self> {
        templates.iter().map(|written| Template::parse(written.as_ref())).collect::<Result<_>>().map(Self)
    }

    /// No templates: no tag is a release's.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The tags of a version, in the templates' order. One that is not released yet (a pre-release by its number, or by GitHub's own
    /// mark) gets the exact ones only.
    ///
    /// # Errors
    /// What comes out is not a tag: build metadata, for example.
    pub fn made_of(&self, version: &Version, released: bool) -> Result<Vec<Tag>> {
        let mut tags = Vec::new();
        for template in &self.0 {
            let exact = template.scope(version) == Scope::Exact;
            if !exact && (!released || !version.pre.is_empty()) {
                continue;
            }
            let tag = template.expand(version)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    /// What a tag says of the version it is put for; `None` for one that no template makes of it, and no order of versions governs.
    #[must_use]
    pub fn scope(&self, tag: &Tag, version: &Version) -> Option<Scope> {
        let made = |template: &&Template| template.expand(version).is_ok_and(|made| made == *tag);
        let scopes = self.0.iter().filter(made).map(|template| template.scope(version));
        // Two templates may make one tag: then the stricter one counts.
        scopes.min_by_key(|scope| *scope != Scope::Exact).or_else(|| plain_scope(tag))
    }

    /// The version that a tag names exactly, by a template or as it stands.
    #[must_use]
    pub fn version_of(&self, tag: &Tag) -> Option<Version> {
        let by_template = self.0.iter().find_map(|template| template.version_in(tag.as_str()));
        by_template.or_else(|| plain_version(tag.as_str()))
    }

    /// True where a release can have put the tag.
    #[must_use]
    pub fn can_make(&self, tag: &Tag) -> bool {
        self.0.iter().any(|template| matches(&template.parts, tag.as_str()))
    }

    /// Refuses tags that are a release's, or the tool's own, for whoever is no release: a branch, or `--tag`.
    ///
    /// # Errors
    /// The first such tag, with why it is taken.
    pub fn keep_off<'t>(&self, tags: impl IntoIterator<Item = &'t Tag>) -> Result<()> {
        for tag in tags {
            if let Some(whose) = self.taken(tag) {
                return Err(Error::usage(format!("the tag `{tag}` is not free: {whose}"))
                    .hint("name another with `--tag NAME`, or rename the branch"));
            }
        }
        Ok(())
    }

    /// [`TagTemplates::keep_off`] for a branch's own tag, which also leaves commits their tags.
    ///
    /// # Errors
    /// As there; a name of which no tag can be made.
    pub fn of_branch(&self, branch: &str) -> Result<Tag> {
        let tag = Tag::of_branch(branch)?;
        if tag.is_of_commit() {
            return Err(Error::usage(format!(
                "the tag `{tag}` of the branch `{}` is not free: it names a commit",
                branch.escape_debug()
            ))
            .hint("name another with `--tag NAME`, or rename the branch"));
        }
        self.keep_off([&tag])?;
        Ok(tag)
    }

    fn taken(&self, tag: &Tag) -> Option<&'static str> {
        let text = tag.as_str();
        if plain_version(text).is_some() || plain_scope(tag).is_some() {
            return Some("it reads as a release's version, and only a release puts it");
        }
        if self.can_make(tag) {
            return Some("releases put it, by `[release] tags`");
        }
        if tag.is_content() {
            return Some("it names an image by its inputs, and every machine takes it for that");
        }
        tag.about().is_some().then_some("signatures and attestations of an image are kept under it")
    }
}

impl Template {
    fn parse(written: &str) -> Result<Self> {
        let hint = "a template is a tag that may hold {version}, {major}, {minor} and {patch}";
        let wrong = |why: &str| Error::usage(format!("[release] tags: `{written}` {why}")).hint(hint);
        let (mut parts, mut rest) = (Vec::new(), written);
        while !rest.is_empty() {
            let found = PLACES.iter().find_map(|(name, part)| Some((rest.strip_prefix(name)?, part)));
            if let Some((after, part)) = found {
                parts.push(part.clone());
                rest = after;
                continue;
            }
            let end = rest[1..].find('{').map_or(rest.len(), |at| at + 1);
            let end = if rest.is_char_boundary(end) { end } else { rest.len() };
            if rest.starts_with('{') || rest[..end].contains('}') {
                return Err(wrong("names something that no version has"));
            }
            parts.push(Part::Text(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        let template = Self { written: written.to_owned(), parts };
        // Whatever the numbers are, they are letters of a tag.
        template.expand(&Version::new(1, 2, 3)).map_err(|_| wrong("makes no tag"))?;
        Ok(template)
    }

    fn has(&self, part: &Part) -> bool {
        self.parts.contains(part)
    }

    fn scope(&self, version: &Version) -> Scope {
        let all_numbers = [Part::Major, Part::Minor, Part::Patch].iter().all(|part| self.has(part));
        if self.has(&Part::Version) || (all_numbers && version.pre.is_empty()) {
            return Scope::Exact;
        }
        Scope::Floating {
            major: self.has(&Part::Major).then_some(version.major),
            minor: self.has(&Part::Minor).then_some(version.minor),
        }
    }

    fn expand(&self, version: &Version) -> Result<Tag> {
        let text: String = self.parts.iter().map(|part| part.of(version)).collect();
        text.parse().map_err(|e: Error| {
            Error::usage(format!("[release] tags: `{}` makes no tag of {version}: {e}", self.written))
                .hint("a template may hold {version}, {major}, {minor} and {patch}")
        })
    }

    /// The version of which this template makes exactly that tag.
    fn version_in(&self, tag: &str) -> Option<Version> {
        let at = self.parts.iter().position(|part| *part == Part::Version)?;
        let text =
            |parts: &[Part]| parts.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect();
        let (before, after): (String, String) = (text(&self.parts[..at]), text(&self.parts[at + 1..]));
        let version: Version = tag.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?.parse().ok()?;
        self.expand(&version).is_ok_and(|made| made.as_str() == tag).then_some(version)
    }
}

impl Part {
    fn of(&self, version: &Version) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Version => version.to_string(),
            Self::Major => version.major.to_string(),
            Self::Minor => version.minor.to_string(),
            Self::Patch => version.patch.to_string(),
        }
    }
}

/// True where some version makes `text` of the parts.
fn matches(parts: &[Part], text: &str) -> bool {
    let Some((first, others)) = parts.split_first() else { return text.is_empty() };
    match first {
        Part::Text(literal) => text.strip_prefix(literal.as_str()).is_some_and(|rest| matches(others, rest)),
        Part::Version => (1..=text.len()).any(|end| {
            text.get(..end).is_some_and(|version| version.parse::<Version>().is_ok()) && matches(others, &text[end..])
        }),
        Part::Major | Part::Minor | Part::Patch => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            (1..=digits).any(|end| matches(others, &text[end..]))
        }
    }
}

/// The version that a tag is, with or without `v`: `v1.2.3`, `1.2.3-rc.1`.
fn plain_version(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix(['v', 'V']).unwrap_or(text)).ok()
}

/// The scope of a tag that no template is known of: `1.2.3`, `v1.2`, `1`, `latest`.
fn plain_scope(tag: &Tag) -> Option<Scope> {
    let text = tag.as_str();
    if text == "latest" {
        return Some(Scope::Floating { major: None, minor: None });
    }
    if plain_version(text).is_some() {
        return Some(Scope::Exact);
    }
    let numbers = text.strip_prefix(['v', 'V']).unwrap_or(text).split('.').map(|number| number.parse().ok());
    match numbers.collect::<Option<Vec<u64>>>()?.as_slice() {
        [major] => Some(Scope::Floating { major: Some(*major), minor: None }),
        [major, minor] => Some(Scope::Floating { major: Some(*major), minor: Some(*minor) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(written: &[&str]) -> TagTemplates {
        TagTemplates::parse(written).unwrap()
    }

    fn usual() -> TagTemplates {
        templates(&["v{version}", "{version}", "{major}.{minor}", "{major}", "latest"])
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn a_version_gets_its_tags_and_one_that_is_not_released_the_exact_ones_alone() {
        let made = |version: &str, released| {
            let tags = usual().made_of(&version.parse().unwrap(), released).unwrap();
            tags.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(made("1.2.3", true), ["v1.2.3", "1.2.3", "1.2", "1", "latest"]);
        assert_eq!(made("2.0.0", false), ["v2.0.0", "2.0.0"]);
        assert_eq!(made("2.0.0-rc.1", true), ["v2.0.0-rc.1", "2.0.0-rc.1"]);
        assert!(usual().made_of(&"1.0.0+build".parse().unwrap(), true).is_err(), "a `+` cannot stand in a tag");
        let numbers = templates(&["r{major}.{minor}.{patch}", "stable"]);
        assert_eq!(numbers.made_of(&"1.2.3".parse().unwrap(), false).unwrap(), [tag("r1.2.3")]);
        assert!(numbers.made_of(&"1.2.3-rc.1".parse().unwrap(), true).unwrap().is_empty());
    }

    #[test]
    fn what_no_version_has_and_what_makes_no_tag_is_refused_when_it_is_read() {
        for (wrong, why) in [
            ("{vresion}", "no version has"),
            ("a}", "no version has"),
            ("{version} x", "no tag"),
            ("", "no tag"),
            ("-{major}", "no tag"),
        ] {
            let error = TagTemplates::parse(&[wrong]).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_inverse_knows_every_tag_that_was_made_and_its_scope() {
        let own = templates(&["release-{version}-slim", "release-{major}", "{major}x{minor}", "stable"]);
        for version in ["1.2.3", "10.0.0", "2.0.0-rc.1.x"] {
            let version: Version = version.parse().unwrap();
            for made in own.made_of(&version, true).unwrap() {
                assert!(own.can_make(&made), "{made}");
                assert!(own.scope(&made, &version).is_some(), "{made}");
            }
        }
        let version: Version = "1.2.3".parse().unwrap();
        assert_eq!(own.scope(&tag("release-1.2.3-slim"), &version), Some(Scope::Exact));
        assert_eq!(own.scope(&tag("release-1"), &version), Some(Scope::Floating { major: Some(1), minor: None }));
        assert_eq!(own.scope(&tag("stable"), &version), Some(Scope::Floating { major: None, minor: None }));
        assert_eq!(own.scope(&tag("main"), &version), None);
        assert_eq!(own.version_of(&tag("release-1.2.3-slim")), Some(version));
        assert_eq!((own.version_of(&tag("release-1")), own.version_of(&tag("stable"))), (None, None));
        for other in ["release-", "release-x", "release-1-slim", "x", "1x", "stabler", "main"] {
            assert!(!own.can_make(&tag(other)), "{other}");
        }
    }

    #[test]
    fn nobody_but_a_release_takes_a_release_s_tag() {
        let own = templates(&["release-{version}", "stable", "edge-{major}"]);
        let content = format!("in-{}", "a".repeat(40));
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        for taken in [
            "1",
            "1.2",
            "1.2.3",
            "v1",
            "v1.2",
            "v1.2.3",
            "1.2.3-rc.1",
            "latest",
            "stable",
            "release-1.2.3",
            "edge-7",
            &content,
            &format!("{content}-linux-amd64"),
            &signature,
        ] {
            let error = own.keep_off([&tag(taken)]).unwrap_err();
            assert!(error.exit_code() == 2 && error.hint_text().is_some_and(|hint| hint.contains("--tag")), "{taken}: {error}");
        }
        for free in [
            "main",
            "1.x",
            "v1.x",
            "feat-1.2",
            "release-next",
            "release-1.2",
            "sha-0123456789ab",
            "pr-12",
            "in-progress",
            "2024-11-28",
        ] {
            own.keep_off([&tag(free)]).unwrap_or_else(|error| panic!("{free}: {error}"));
        }
    }
}
