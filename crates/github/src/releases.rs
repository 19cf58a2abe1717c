//! Releases by GitHub's REST API (docs.github.com/rest/releases/releases). What goes into a body is `notes.rs`'s business.

use serde::Deserialize;
use serde_json::json;

use crate::api::Api;
use monoship_core::error::Result;
use monoship_core::name::{Digest, Tag};
use monoship_core::sorted::SortedSet;

/// How many releases GitHub lists at most, whoever asks.
const LISTED: usize = 10_000;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// GitHub's number for it.
    pub id: u64,
    /// Its tag, as written: it need not be an image tag.
    pub tag_name: String,
    /// Null where it was made without notes.
    #[serde(default)]
    pub body: Option<String>,
    /// Not published: found by listing only.
    #[serde(default)]
    pub draft: bool,
    /// Marked as a pre-release.
    #[serde(default)]
    pub prerelease: bool,
    /// Cannot be changed any more.
    #[serde(default)]
    pub immutable: bool,
    /// Its page.
    #[serde(default)]
    pub html_url: String,
}

impl Release {
    /// True for one that is published, and not as a pre-release.
    #[must_use]
    pub fn is_released(&self) -> bool {
        !self.draft && !self.prerelease
    }
}

/// The version of a tag, with or without `v`.
fn version(tag: &str) -> Option<semver::Version> {
    semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Done; the release as GitHub has it now.
    Done(Release),
    /// Refused by validation (422), with what GitHub says.
    Refused(String),
    /// The release is gone, or was never there (404).
    Gone,
}

impl Api {
    /// The release of a tag: the published one, else the newest draft of that tag.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn release_of(&self, tag: &Tag) -> Result<Option<Release>> {
        if let Some(release) = self.get(&format!("releases/tags/{tag}"))? {
            return Ok(Some(release));
        }
        let mut found = None;
        self.each_release(|release| {
            found = Some(release).filter(|release| release.draft && release.tag_name == tag.as_str());
            found.is_none()
        })?;
        Ok(found)
    }

    /// Every release, the one that was made last first, drafts included where the token may see them. Where each package has releases of its
    /// own, thousands can have come since the one that is looked for.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn releases(&self) -> Result<Vec<Release>> {
        let mut found = Vec::new();
        self.each_release(|release| {
            found.push(release);
            true
        })?;
        Ok(found)
    }

    /// The same one by one, for as long as `more` says so.
    fn each_release(&self, mut more: impl FnMut(Release) -> bool) -> Result<()> {
        let mut left = LISTED;
        self.pages("releases?per_page=100", |page: Vec<Release>| {
            left = left.saturating_sub(page.len());
            page.into_iter().all(&mut more) && left > 0
        })
    }

    /// What the notes of all releases name by digest, drafts included where the token may see them.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn named_digests(&self) -> Result<SortedSet<Digest>> {
        let mut found = SortedSet::new();
        self.pages("releases?per_page=100", |page: Vec<Release>| {
            found.extend(page.iter().filter_map(|release| release.body.as_deref()).flat_map(named));
            true
        })?;
        Ok(found)
    }

    /// The published release that comes before `tag` in semver's order; pre-releases, by number or by GitHub's mark, count only for a
    /// pre-release.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn release_before(&self, tag: &Tag) -> Result<Option<Release>> {
        let Some(this) = version(tag.as_str()) else { return Ok(None) };
        let releases = self.releases()?.into_iter().filter(|release| !release.draft);
        let versions = releases.filter_map(|release| Some((version(&release.tag_name)?, release)));
        let counts = |v: &semver::Version, release: &Release| v.pre.is_empty() && release.is_released() || !this.pre.is_empty();
        let before = versions.filter(|(v, release)| *v < this && counts(v, release));
        Ok(before.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, release)| release))
    }

    /// True where a newer version is released already.
    fn is_overtaken(&self, tag: &Tag) -> Result<bool> {
        let Some(this) = version(tag.as_str()) else { return Ok(false) };
        let is_newer = |release: &Release| {
            release.is_released() && version(&release.tag_name).is_some_and(|other| other.pre.is_empty() && other > this)
        };
        let mut found = false;
        self.each_release(|release| {
            found = is_newer(&release);
            !found
        })?;
        Ok(found)
    }

    /// Replaces a release's body.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn write_body(&self, id: u64, body: &str) -> Result<Change> {
        let answer = self.call("PATCH", &format!("releases/{id}"), Some(&json!({"body": body})))?;
        match answer.status() {
            200 => answer.json().map(Change::Done),
            404 => Ok(Change::Gone),
            422 => Ok(Change::Refused(answer.problem())),
            _ => Err(answer.unexpected("a change of the release")),
        }
    }

    /// Publishes a release of an existing tag. `Refused` where there is one already, also when our own first try succeeded and
    /// only its answer was lost. GitHub would call any new release its latest one: a pre-release is not, nor one that comes after a newer
    /// version (a backport).
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn create_release(&self, tag: &Tag, body: &str, prerelease: bool) -> Result<Change> {
        let latest = !prerelease && !self.is_overtaken(tag)?;
        let request = json!({
            "tag_name": tag, "name": tag, "body": body, "prerelease": prerelease, "draft": false,
            "make_latest": if latest { "true" } else { "false" },
        });
        let answer = self.call("POST", "releases", Some(&request))?;
        match answer.status() {
            200 | 201 => answer.json().map(Change::Done),
            422 => Ok(Change::Refused(answer.problem())),
            _ => Err(answer.unexpected("the new release")),
        }
    }
}

/// Every digest in a text, in our section of it or elsewhere.
fn named(text: &str) -> impl Iterator<Item = Digest> {
    text.match_indices("sha256:").filter_map(|(at, start)| text.get(at..at + start.len() + 64)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_notes_name_them() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let text = format!("`ghcr.io/o/r/api@{one}`\r\n| {two}|, sha256:short and sha256:é{}", "0".repeat(64));
        assert_eq!(named(&text).collect::<Vec<_>>(), [one, two]);
    }
}
