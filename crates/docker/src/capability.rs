//! What this engine and this buildx can do, decided from their versions here and nowhere else. No I/O, no processes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The leading numbers of a version as the tools print them: `28.5.2+dfsg4`, `v0.29.1`, `github.com/docker/buildx 0.13.1+ds1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number, 0 where there is none.
    pub minor: u32,
    /// The third number, 0 where there is none.
    pub patch: u32,
}

impl Version {
    /// A version of these numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The first word of `text` that starts with `number.number`, a leading `v` allowed.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
            let mut numbers = word[..end].split('.').map(str::parse::<u32>);
            let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            Some(Self::new(major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

/// What may be asked of a pair of engine and buildx: by default nothing. Each field says which release brought it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capabilities {
    /// `type=image,push=true,store=false`: BuildKit pushes and nothing is unpacked here. The docker driver of buildx before
    /// 0.22 pushes through the daemon *after* the build, from the store, so that it fails with `tag does not exist`.
    pub push_without_store: bool,
    /// `type=image` of the engine's own builder puts the image into its store like `--load`, and lets its layers be packed with zstd
    /// instead of gzip, for two thirds of the CPU time of an export. Asked of the engines that `push_without_store` is asked of.
    pub load_packed_with_zstd: bool,
    /// `type=gha,version=2`: buildx 0.21 forwards the v2 URL, BuildKit 0.20 (engine 28.0) speaks it.
    pub gha_v2: bool,
    /// `--progress=rawjson`: buildx 0.12.
    pub rawjson: bool,
    /// `BUILDX_METADATA_WARNINGS=1` puts lint warnings into the metadata file: buildx 0.16.
    pub metadata_warnings: bool,
    /// `BUILDX_METADATA_PROVENANCE` chooses what provenance the metadata file carries: buildx 0.14.
    pub metadata_provenance: bool,
    /// `--call=check` runs the Dockerfile's lints without building: buildx 0.15 and BuildKit 0.15 (engine 27.0).
    pub call_check: bool,
    /// `rewrite-timestamp=true` for images equal to the byte: BuildKit 0.13 (engine 26.0).
    pub rewrite_timestamp: bool,
    /// Attestations and every cache exporter: they need the containerd image store (or a builder that is not the engine's
    /// own). With a graph driver only the inline cache can be exported and attestations are refused.
    pub containerd_store: bool,
}

impl Capabilities {
    /// For an engine with the containerd image store and this buildx.
    #[must_use]
    pub fn from_versions(engine: Version, buildx: Version) -> Self {
        let engine_is = |major| engine >= Version::new(major, 0, 0);
        let buildx_is = |minor| buildx >= Version::new(0, minor, 0);
        Self {
            push_without_store: engine_is(28) && buildx_is(22),
            load_packed_with_zstd: engine_is(28) && buildx_is(22),
            gha_v2: engine_is(28) && buildx_is(21),
            rawjson: buildx_is(12),
            metadata_warnings: buildx_is(16),
            metadata_provenance: buildx_is(14),
            call_check: engine_is(27) && buildx_is(15),
            rewrite_timestamp: engine_is(26),
            containerd_store: true,
        }
    }

    /// The same on an engine that keeps images in a graph driver: buildx then loads and pushes through the daemon.
    #[must_use]
    pub fn without_containerd_store(self) -> Self {
        Self {
            push_without_store: false,
            load_packed_with_zstd: false,
            gha_v2: false,
            rewrite_timestamp: false,
            containerd_store: false,
            ..self
        }
    }

    /// For a plan where no engine answers: an engine and a plugin of today.
    #[must_use]
    pub fn current() -> Self {
        Self::from_versions(Version::new(28, 5, 2), Version::new(0, 29, 1))
    }

    /// For a builder that is not the engine's own (remote, kubernetes, docker-container): BuildKit itself exports, its
    /// version is not known without a round trip, and builders of the last two years do all this.
    #[must_use]
    pub fn of_builder(buildx: Version) -> Self {
        Self::from_versions(Version::new(u32::MAX, 0, 0), buildx.max(Version::new(0, 12, 0)))
            .with_direct_push(buildx >= Version::new(0, 8, 0))
    }

    fn with_direct_push(self, push_without_store: bool) -> Self {
        // Such a builder loads by sending the engine an archive.
        Self { push_without_store, load_packed_with_zstd: false, ..self }
    }
}

/// How to turn the containerd image store on, for the error of whoever needs it.
pub const CONTAINERD_STORE_HINT: &str = "turn the containerd image store on: `\"features\": {\"containerd-snapshotter\": true}` in \
the engine's daemon.json (Docker Desktop: Settings, General), restart it, and run this again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_tools_print() {
        let cases = [
            ("github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4", Version::new(0, 29, 1)),
            ("github.com/docker/buildx v0.13.1 788433953af10f2a698f5c07611dddce2e08c7a0", Version::new(0, 13, 1)),
            ("28.5.2+dfsg4", Version::new(28, 5, 2)),
            ("Docker version 26.1.5+dfsg1, build a72d7cd", Version::new(26, 1, 5)),
            ("27.0-rc.1", Version::new(27, 0, 0)),
        ];
        for (text, version) in cases {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        assert_eq!(Version::find("no version, 3 words"), None);
    }

    #[test]
    fn the_two_suites_differ_where_they_were_measured_to_differ() {
        let testing = Capabilities::from_versions(Version::new(28, 5, 2), Version::new(0, 29, 1));
        let stable = Capabilities::from_versions(Version::new(26, 1, 5), Version::new(0, 13, 1));
        assert!(testing.push_without_store && testing.gha_v2 && testing.metadata_warnings && testing.call_check);
        assert!(!stable.push_without_store && !stable.gha_v2 && !stable.metadata_warnings && !stable.call_check);
        assert!(stable.rawjson && stable.rewrite_timestamp && stable.containerd_store);
        assert!(testing.load_packed_with_zstd && !stable.load_packed_with_zstd);
        assert!(!testing.without_containerd_store().push_without_store);
        assert!(!testing.without_containerd_store().load_packed_with_zstd);
        assert!(!Capabilities::of_builder(Version::new(0, 29, 1)).load_packed_with_zstd);
        assert!(Capabilities::of_builder(Version::new(0, 13, 1)).push_without_store);
    }
}
