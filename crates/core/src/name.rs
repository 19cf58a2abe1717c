//! Names that come from outside, validated where they are made: once a value has one of these types it may go into a
//! command line, a file name, a URL or Markdown. No I/O here.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

mod tag;

pub use self::tag::Tag;

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
            type Error = $crate::error::Error;
            fn try_from(text: String) -> $crate::error::Result<Self> {
                text.parse()
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
        let version = version.map_err(|e| {
            Error::usage(format!("`{text}` is not a release tag: {e}"))
                .hint("a release tag is a semantic version, such as v1.2.3 or 1.2.3-rc.1")
        })?;
        if !version.build.is_empty() {
            return Err(Error::usage(format!(
                "`{text}` has build metadata (`+{}`), which no image tag can carry",
                version.build
            )));
        }
        Ok(Self { tag: text.parse()?, version })
    }
}

/// A content digest, `sha256:` and 64 lower-case hexadecimal digits (OCI image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);
validated!(Digest);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", sha256_hex(bytes)))
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first twelve hexadecimal digits, for tables.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex64(hex) => Ok(Self(text.to_owned())),
            _ => Err(Error::failed(format!("`{text}` is not a sha256 digest"))),
        }
    }
}

/// A service's fingerprint: 64 lower-case hexadecimal digits over everything that can change its image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);
validated!(Fingerprint);

impl Fingerprint {
    /// The fingerprint of an input description in its serialised form.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256_hex(bytes))
    }

    /// The tag under which an image with these inputs is kept: `in-` and the first 40 digits.
    #[must_use]
    pub fn content_tag(&self) -> Tag {
        Tag::of_inputs(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if is_hex64(text) { Ok(Self(text.to_owned())) } else { Err(Error::failed(format!("`{text}` is not a fingerprint"))) }
    }
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// A platform, `os/arch` or `os/arch/variant`, as buildx takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform(String);
validated!(Platform);

impl Platform {
    /// The platform that a builder on this machine has without being told one, as BuildKit spells it (`containerd/platforms`): Linux,
    /// whatever the machine runs, because its containers do.
    #[must_use]
    pub fn native() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "arm" => "arm/v7",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self(format!("linux/{arch}"))
    }

    /// Its parts: system, architecture, and the variant, which is empty where there is none.
    #[must_use]
    pub fn parts(&self) -> [&str; 3] {
        let mut parts = self.0.split('/');
        [(); 3].map(|()| parts.next().unwrap_or_default())
    }

    /// `-<os>-<arch>[-<variant>]`, what is added to a cache scope where more than one platform is built.
    #[must_use]
    pub fn scope_suffix(&self) -> String {
        format!("-{}", self.0.replace('/', "-"))
    }
}

/// The systems that images are made for (`go tool dist list`).
const SYSTEMS: [&str; 10] =
    ["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "wasi", "wasip1"];

/// The architectures that images are made for (`go tool dist list`).
const ARCHITECTURES: [&str; 15] = [
    "amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "loong64", "mips64le", "mips64", "mipsle", "mips", "ppc64",
    "wasm", "wasm32",
];

/// The variants that containerd knows of an architecture (`platforms/database.go`); of one that has none of note, any word.
fn is_variant(arch: &str, variant: &str) -> bool {
    match arch {
        "arm" => ["v5", "v6", "v7", "v8"].contains(&variant),
        "arm64" => ["v8", "v9"].contains(&variant),
        "amd64" => ["v1", "v2", "v3", "v4"].contains(&variant),
        _ => true,
    }
}

impl FromStr for Platform {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if let ([os, arch] | [os, arch, _], true) = (&parts[..], parts.iter().all(word))
            && SYSTEMS.contains(os)
            && ARCHITECTURES.contains(arch)
            && parts.get(2).is_none_or(|variant| is_variant(arch, variant))
        {
            return Ok(Self(text.to_owned()));
        }
        // A bare architecture, or one by the name that `uname -m` gives it, means Linux.
        let meant = match parts[..] {
            ["x86_64" | "x64"] | ["linux", "x86_64" | "x64"] => Some("linux/amd64".to_owned()),
            ["aarch64"] | ["linux", "aarch64"] => Some("linux/arm64".to_owned()),
            [arch] if ARCHITECTURES.contains(&arch) => Some(format!("linux/{arch}")),
            [arch] => nearest(arch, ARCHITECTURES).map(|near| format!("linux/{near}")),
            [os, arch, ..] => {
                let os = if SYSTEMS.contains(&os) { Some(os) } else { nearest(os, SYSTEMS) };
                let arch = if ARCHITECTURES.contains(&arch) { Some(arch) } else { nearest(arch, ARCHITECTURES) };
                os.zip(arch).map(|(os, arch)| format!("{os}/{arch}"))
            }
            [] => None,
        };
        Err(match meant {
            Some(meant) => Error::usage(format!("`{text}` is not a platform: did you mean `{meant}`?")),
            None => Error::usage(format!("`{text}` is not a platform: write `os/arch`, for example `linux/amd64`")),
        })
    }
}

/// An image reference, taken apart: `[registry/]repository[:tag][@digest]`. A name without a registry is Docker Hub's, a
/// single component lies under `library/` there (distribution's `reference`, "familiar" names).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// The registry that a name without one means.
pub const DOCKER_HUB: &str = "docker.io";

impl ImageRef {
    /// The host, with its port where it has one: `docker.io`, `ghcr.io`, `127.0.0.1:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry, `library/` included: `library/node`, `org/repo/api`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where one is written.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, where one is written.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry calls the manifest: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_ref().map(Tag::as_str)).unwrap_or("latest")
    }

    /// The name as the `docker` client writes it: without Docker Hub's host and its `library/`.
    pub fn familiar(&self) -> String {
        familiar(&self.to_string()).to_owned()
    }

    /// The same image under another tag, without digest.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Self {
        Self { tag: Some(tag), digest: None, ..self.clone() }
    }

    /// The same repository at a digest; the tag is kept (`name:tag@digest`), which is how a pin reads.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The repository alone, without tag and digest.
    #[must_use]
    pub fn without_reference(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }
}

/// A full image name without Docker Hub's host and its `library/`.
pub fn familiar(full: &str) -> &str {
    full.strip_prefix("docker.io/library/").or_else(|| full.strip_prefix("docker.io/")).unwrap_or(full)
}

impl FromStr for ImageRef {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("`{text}` is not an image reference: {why}"));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|e| wrong(&e.to_string()))?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse::<Tag>().map_err(|e| wrong(&e.to_string()))?)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => (DOCKER_HUB, name.to_owned()),
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        let host_ok = registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        if !host_ok {
            return Err(wrong("the registry is not a host name"));
        }
        if path.len() > 255 || !path.split('/').all(is_path_component) {
            return Err(wrong("a name has lower-case letters, digits, and `.`, `_`, `-` between them, in parts divided by `/`"));
        }
        Ok(Self { registry: registry.to_owned(), repository: path, tag, digest })
    }
}

impl TryFrom<String> for ImageRef {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

/// The full form, registry included.
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The candidate nearest to what was written, where one is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler does not see that the letters of a very short name were swapped.
    let is_near = |it: &&str| strsim::jaro_winkler(written, it) > 0.75 || strsim::damerau_levenshtein(written, it) <= 1;
    let near = candidates.into_iter().filter(is_near);
    near.min_by_key(|candidate| strsim::levenshtein(written, candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_one_that_there_is_and_another_is_answered_with_the_nearest() {
        for known in ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "windows/amd64", "wasi/wasm", "linux/s390x"] {
            assert_eq!(known.parse::<Platform>().unwrap().as_str(), known);
        }
        let meant = |text: &str| text.parse::<Platform>().unwrap_err().to_string();
        for (text, meant_by_it) in [
            ("linux/arm46", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("linxu/amd64", "linux/amd64"),
            ("linux/amd64/v9", "linux/amd64"),
        ] {
            assert_eq!(meant(text), format!("`{text}` is not a platform: did you mean `{meant_by_it}`?"));
        }
        assert!(meant("").contains("write `os/arch`") && meant("linux/qqqqqq").contains("not a platform"));
    }

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
    fn image_references_come_apart_as_docker_reads_them() {
        let cases = [
            ("node", "docker.io/library/node", "latest"),
            ("node:24-slim", "docker.io/library/node:24-slim", "24-slim"),
            ("docker/scanner:stable-1", "docker.io/docker/scanner:stable-1", "stable-1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "latest"),
            ("localhost/a:1", "localhost/a:1", "1"),
        ];
        for (text, full, reference) in cases {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!((image.to_string().as_str(), image.reference()), (full, reference));
            assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
        }
        for bad in ["", "A", "a:", "a@sha256:12", "a//b", "ghcr.io/Org/x", "a b", "-x"] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_keeps_its_tag_beside_it_in_a_pin() {
        let digest = Digest::of(b"");
        assert_eq!(digest.short(), "e3b0c44298fc");
        let pinned = "node:24".parse::<ImageRef>().unwrap().with_digest(digest.clone());
        assert_eq!(pinned.to_string(), format!("docker.io/library/node:24@{digest}"));
        assert_eq!(pinned.reference(), digest.as_str());
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("schedular", ["api", "scheduler", "web"]), Some("scheduler"));
        assert_eq!(nearest("zzz", ["api", "scheduler", "web"]), None);
    }
}
