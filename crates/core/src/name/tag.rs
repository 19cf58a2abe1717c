//! Image tags, and what each kind of them is made from: a branch, a commit, a pull request, inputs. Each way of making one has its inverse
//! beside it: what puts tags and what takes them away must read them alike. The tags of a release are `monoship_plan::tags`'s.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Digest, sha256_hex, validated};
use crate::collect::Collect as _;
use crate::error::{Error, Result};

/// How many letters a tag may have.
const LONGEST: usize = 128;

/// How many digits stand for the end of a branch's name that is too long.
const BRANCH_DIGITS: usize = 12;

/// How many digits of a commit's id stand in its tag.
const COMMIT_DIGITS: usize = 12;

/// How many digits of a fingerprint stand in its tag.
const CONTENT_DIGITS: usize = 40;

/// An image tag: a letter, digit or `_`, then up to 127 of these, `.` and `-` (distribution's `reference` grammar).
///
/// ```
/// # use monoship_core::name as monoship;
/// fn is_nightly(tag: &monoship::Tag) -> bool {
///     tag.as_str().starts_with("nightly-")
/// }
///
/// assert!(is_nightly(&"nightly-2026-11-28".parse().unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);
validated!(Tag);

impl FromStr for Tag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if (1..=128).contains(&text.len()) && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-') {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("`{text}` is not an image tag"))
            .hint("a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and does not start with `.` or `-`"))
    }
}

impl Tag {
    /// A branch's name as far as a tag can say it: what cannot stand in one becomes `-`, and of a name that is too long the digest's first twelve
    /// digits stand for its end. Two branches may come to one tag.
    ///
    /// # Errors
    /// When nothing of the name can stand in a tag.
    #[doc(hidden)]
    pub fn of_branch(branch: &str) -> Result<Self> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let text: String = branch.chars().map(plain).collect();
        let mut text = text.trim_start_matches(['.', '-']).to_owned();
        if text.len() > LONGEST {
            text.truncate(LONGEST - 1 - BRANCH_DIGITS);
            text = format!("{text}-{}", &sha256_hex(branch.as_bytes())[..BRANCH_DIGITS]);
        }
        text.parse().map_err(|_| {
            Error::usage(format!("no image tag can be made of the branch `{}`", branch.escape_debug()))
                .hint("name a tag with `--tag`, or the branch with letters or digits")
        })
    }

    /// True where the branch's images are put under this tag: the inverse of [`Tag::of_branch`].
    #[doc(hidden)]
    #[must_use]
    pub fn is_of_branch(&self, branch: &str) -> bool {
        Self::of_branch(branch).is_ok_and(|tag| tag == *self)
    }

    /// `sha-` and the first twelve digits of a commit's id; `None` for what is too short to be one.
    #[doc(hidden)]
    #[must_use]
    pub fn of_commit(commit: &str) -> Option<Self> {
        let digits = commit.get(..COMMIT_DIGITS).filter(|digits| digits.bytes().all(is_hex))?;
        Some(Self(format!("sha-{digits}")))
    }

    /// True for a tag that [`Tag::of_commit`] makes. Other tools make `sha-` and seven digits.
    #[doc(hidden)]
    #[must_use]
    pub fn is_of_commit(&self) -> bool {
        self.0.strip_prefix("sha-").is_some_and(|digits| digits.len() == COMMIT_DIGITS && digits.bytes().all(is_hex))
    }

    /// The pull request's number in `pr-12`.
    #[doc(hidden)]
    #[must_use]
    pub fn pull(&self) -> Option<u64> {
        self.0.strip_prefix("pr-")?.parse().ok()
    }

    /// `in-` and the first forty digits of a fingerprint.
    pub(super) fn of_inputs(fingerprint: &str) -> Self {
        Self(format!("in-{}", &fingerprint[..CONTENT_DIGITS]))
    }

    /// True for a tag that names an image by its inputs, whole or, with a platform behind it, a part of it.
    #[doc(hidden)]
    #[must_use]
    pub fn is_content(&self) -> bool {
        let digits = self.0.strip_prefix("in-").and_then(|rest| rest.split('-').next());
        digits.is_some_and(|digits| digits.len() == CONTENT_DIGITS && digits.bytes().all(is_hex))
    }

    /// The manifest that what stands under this tag is about: `sha256-<hex>`, with or without an ending such as `.sig`, by the referrers tag
    /// schema (OCI distribution-spec 1.1) and by cosign.
    #[doc(hidden)]
    #[must_use]
    pub fn about(&self) -> Option<Digest> {
        let hex = self.0.strip_prefix("sha256-")?.split('.').next()?;
        format!("sha256:{hex}").parse().ok()
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// A release's tag: a semantic version with or without `v`, which is also an image tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseTag {
    /// As written: `v1.2.3`.
    pub tag: Tag,
    /// Without the `v`.
    pub version: semver::Version,
}

impl FromStr for ReleaseTag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let version = semver::Version::parse(text.strip_prefix('v').unwrap_or(text));
        let hint = || match meant(text) {
            Some(whole) => format!("a release tag is a semantic version: {whole}"),
            None => "a release tag is a semantic version, such as v1.2.3 or 1.2.3-rc.1".to_owned(),
        };
        let version = version.map_err(|_| Error::usage(format!("`{text}` is not a release tag")).hint(hint()))?;
        if !version.build.is_empty() {
            let what = format!("`{text}` has build metadata (`+{}`), which no image tag can carry", version.build);
            return Err(Error::usage(what)
                .hint(format!("tag the commit {} too, and release that", text.split('+').next().unwrap_or(text))));
        }
        Ok(Self { tag: text.parse()?, version })
    }
}

/// The semantic version that a text is with the parts that it lacks, without zeros in front, and in small letters: `v1.2.0` for `V01.2`.
fn meant(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (v, numbers) = lower.strip_prefix('v').map_or(("", &*lower), |numbers| ("v", numbers));
    let mut numbers: Vec<&str> = numbers.split('.').map(without_zeros).into_vec();
    numbers.resize(numbers.len().max(3), "0");
    let version = numbers.join(".");
    semver::Version::parse(&version).is_ok().then(|| format!("{v}{version}"))
}

/// The last digit stays, whatever it is.
fn without_zeros(number: &str) -> &str {
    let zeros = number.bytes().take_while(|byte| *byte == b'0').count();
    &number[zeros.min(number.len().saturating_sub(1))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn a_text_that_is_nearly_a_release_tag_is_answered_with_the_tag_that_is_meant() {
        let cases = [
            ("1.2", ": 1.2.0"),
            ("v2", ": v2.0.0"),
            ("V1.2.3", ": v1.2.3"),
            ("2024.12.01", ": 2024.12.1"),
            ("v00.1", ": v0.1.0"),
            ("latest", "such as v1.2.3"),
            ("v", "such as v1.2.3"),
            ("1.2.3.4", "such as v1.2.3"),
        ];
        for (text, hint) in cases {
            let error = text.parse::<ReleaseTag>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not a release tag"));
            assert!(error.hint_text().is_some_and(|said| said.contains(hint)), "{error}: {hint}");
        }
        let error = "v1.2.3-rc.1+build".parse::<ReleaseTag>().unwrap_err();
        assert_eq!(error.hint_text(), Some("tag the commit v1.2.3-rc.1 too, and release that"));
    }

    #[test]
    fn a_branch_s_tag_is_made_and_known_again() {
        for (branch, made) in [("main", "main"), ("feat/x", "feat-x"), ("-.x", "x"), ("a#b c", "a-b-c"), ("v1.2", "v1.2")] {
            assert_eq!(Tag::of_branch(branch).unwrap(), tag(made));
            assert!(tag(made).is_of_branch(branch) && !tag("other").is_of_branch(branch), "{branch}");
        }
        let long = Tag::of_branch(&"x/".repeat(200)).unwrap();
        assert!(long.as_str().len() == 128 && long.is_of_branch(&"x/".repeat(200)));
        assert_ne!(long, Tag::of_branch(&"x/".repeat(201)).unwrap(), "two that begin alike");
        for nothing in ["", "---", "/", "\u{e4}"] {
            assert!(Tag::of_branch(nothing).is_err_and(|error| error.exit_code() == 2), "{nothing}");
        }
    }

    #[test]
    fn each_kind_of_tag_is_told_from_the_others() {
        let commit = Tag::of_commit("0123456789abcdef0123456789abcdef01234567").unwrap();
        assert!(commit == tag("sha-0123456789ab") && commit.is_of_commit() && !commit.is_content());
        assert!(!tag("sha-0123456").is_of_commit() && !tag("sha-next").is_of_commit() && Tag::of_commit("main").is_none());
        let content = Tag::of_inputs(&"a".repeat(64));
        assert!(content.is_content() && tag(&format!("{content}-linux-arm64")).is_content() && !content.is_of_commit());
        for other in ["in-abc", "in-progress", "in-", "main"] {
            assert!(!tag(other).is_content(), "{other}");
        }
        assert_eq!((tag("pr-12").pull(), tag("pr-x").pull(), tag("pr-").pull()), (Some(12), None, None));
        let digest = Digest::of(b"");
        assert_eq!(tag(&format!("sha256-{}.sig", digest.hex())).about(), Some(digest));
        assert_eq!(tag("sha256-1").about(), None);
    }
}
