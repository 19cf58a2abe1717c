//! Names that come from outside, validated where they are made: once a value has one of these types it may go into a
//! command line, a file name, a URL or Markdown. No I/O here.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

mod digest;
mod image;
mod platform;
mod tag;

pub use self::digest::{Digest, Fingerprint, hex, sha256_base64, sha256_hex};
pub use self::image::{DOCKER_HUB, ImageRef, familiar};
pub use self::platform::Platform;
pub use self::tag::{ReleaseTag, Tag};

/// Implements what every validated string newtype has: parsing, serde through the parser, display, ordering.
#[macro_export]
macro_rules! validated {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::error::Carried;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Ok(text.parse::<Self>()?)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}
use validated;

/// A service: one path component of an image reference, which also serves as Dockerfile target, cache scope, folder and
/// file name. Lower-case letters and digits, single `.`, one or two `_`, any run of `-` between them; at most 64 bytes.
/// The grammar is that of a repository path component in the distribution project's `reference` package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);
validated!(ServiceName);

impl FromStr for ServiceName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.len() <= 64 && is_path_component(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("`{text}` is not a service name")).hint(
            "a service name is one part of an image name: lower-case letters, digits, and `.`, `_` or `-` between them; no slash",
        ))
    }
}

fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = text.starts_with(alphanumeric) && text.ends_with(alphanumeric);
    let separators = text.split(alphanumeric).filter(|s| !s.is_empty());
    ends && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// A stage that a team adds to the pipeline, and what its log is called. The grammar is a service's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StageName(String);
validated!(StageName);

/// What the pipeline's own stages are called in displays and logs.
const OWN_STAGES: [&str; 6] = ["engine", "checkout", "plan", "base", "publish", "notes"];

impl FromStr for StageName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if OWN_STAGES.contains(&text) {
            return Err(Error::usage(format!("a stage cannot be called `{text}`: one of the pipeline's own is"))
                .hint("choose another name"));
        }
        if text.len() <= 64 && is_path_component(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("`{text}` is not a stage's name"))
            .hint("use lower-case letters, digits, and `.`, `_` or `-` between them"))
    }
}

/// The candidate nearest to what was written, where one is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler does not see that the letters of a very short name were swapped.
    let is_near = |it: &&str| {
        strsim::jaro_winkler(written, it) > 0.75
            || strsim::damerau_levenshtein(written, it) <= 1
            || it.eq_ignore_ascii_case(written)
    };
    let near = candidates.into_iter().filter(is_near);
    near.min_by_key(|candidate| strsim::levenshtein(written, candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_one_path_component() {
        for good in ["api", "web-2", "a__b", "a--b", "a.b", "0"] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "A", "-a", "a-", "a..b", "a___b", "a b", "../x", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("schedular", ["api", "scheduler", "web"]), Some("scheduler"));
        assert_eq!(nearest("API", ["api", "scheduler", "web"]), Some("api"));
        assert_eq!(nearest("zzz", ["api", "scheduler", "web"]), None);
    }
}
