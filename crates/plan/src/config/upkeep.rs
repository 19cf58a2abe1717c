//! What `cache prune` goes by: bounds on age, number and size, tags that stay, and which leftovers go. Read from `[cache]` and from flags
//! alike. Nothing is looked at or deleted here.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use monoship_core::error::{Carried, Error, Result};

/// A length of time as people write it: `30d`, `2weeks`, `12h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Age(pub Duration);

/// A number of bytes as people write it, in decimal units: `20GB`, `500MB`, `1000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

impl FromStr for Age {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        humantime::parse_duration(text).map(Self).map_err(|_| {
            Error::usage(format!("`{text}` is not a length of time")).hint("write a number with a unit, such as 30d or 12h")
        })
    }
}

impl FromStr for Size {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor: Option<u64> = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kb" => Some(1_000),
            "m" | "mb" => Some(1_000_000),
            "g" | "gb" => Some(1_000_000_000),
            "t" | "tb" => Some(1_000_000_000_000),
            _ => None,
        };
        let bytes = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| {
            Error::usage(format!("`{text}` is not a size")).hint("write a whole number with a unit, such as 20GB or 500MB")
        })
    }
}

impl TryFrom<String> for Age {
    type Error = Carried;
    fn try_from(text: String) -> Result<Self, Carried> {
        Ok(text.parse::<Self>()?)
    }
}

impl TryFrom<String> for Size {
    type Error = Carried;
    fn try_from(text: String) -> Result<Self, Carried> {
        Ok(text.parse::<Self>()?)
    }
}

/// A place that keeps what builds made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// GitHub's cache service.
    Gha,
    /// The registry: cache manifests and images.
    Registry,
    /// The local engine's build cache.
    Engine,
}

impl Tier {
    /// All of them, in order of preference.
    pub const ALL: [Self; 3] = [Self::Gha, Self::Registry, Self::Engine];

    /// Its name, as on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gha => "gha",
            Self::Registry => "registry",
            Self::Engine => "engine",
        }
    }
}

/// A kind of leftover: something that serves nobody any more, whatever its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Leftover {
    /// What a pull request that is closed has left.
    ClosedPulls,
    /// What a branch that is gone has left.
    GoneBranches,
    /// Caches and unreleased images of a service that is gone.
    GoneServices,
    /// Exports of a gha scope that a newer one has replaced.
    OldIndexes,
    /// Manifests that nothing points to, where the registry lists them.
    Untagged,
}

impl Leftover {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::ClosedPulls, Self::GoneBranches, Self::GoneServices, Self::OldIndexes, Self::Untagged];
}

/// The policies of `cache prune`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upkeep {
    /// What was not used, or where that is not known not written, for longer goes.
    pub max_age: Option<Age>,
    /// How many images that only a content tag or a commit names stay in each repository.
    pub max_count: Option<usize>,
    /// How much the registry, and the engine, may hold; the oldest go first.
    pub max_size: Option<Size>,
    /// Tags that stay, as patterns with `*`, beside those of releases and branches.
    pub protect: Vec<String>,
    /// The leftovers that go.
    pub leftovers: Vec<Leftover>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { max_age: None, max_count: None, max_size: None, protect: Vec::new(), leftovers: Leftover::ALL.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_read_as_people_write_them() {
        assert_eq!("30d".parse::<Age>().unwrap().0, Duration::from_hours(720));
        let sizes = [("20GB", 20_000_000_000), ("500 mb", 500_000_000), ("7", 7), ("3k", 3_000)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse::<Size>().unwrap().0, bytes, "{text}");
        }
        for bad in ["", "GB", "-1GB", "1.5GB", "1 parsec", "99999999999TB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert!("soon".parse::<Age>().unwrap_err().hint_text().is_some());
    }
}
