//! Platforms that images are made for, as Go, containerd and BuildKit know them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{nearest, validated};
use crate::collect::Collect as _;
use crate::error::{Error, Result};

/// A platform, `os/arch` or `os/arch/variant`, as buildx takes it, in containerd's normal form (`platforms/database.go`, `normalizeArch`): what is one
/// platform to a builder is one here, too.
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
        let parts: Vec<&str> = text.split('/').into_vec();
        let word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if let ([os, arch] | [os, arch, _], true) = (&parts[..], parts.iter().all(word))
            && SYSTEMS.contains(os)
            && ARCHITECTURES.contains(arch)
            && parts.get(2).is_none_or(|variant| is_variant(arch, variant))
        {
            return Ok(Self(match (*arch, parts.get(2).copied()) {
                ("amd64", Some("v1")) | ("arm64", Some("v8")) => format!("{os}/{arch}"),
                ("arm", None) => format!("{os}/arm/v7"),
                _ => text.to_owned(),
            }));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_one_that_there_is_and_another_is_answered_with_the_nearest() {
        for known in ["linux/amd64", "linux/arm64/v9", "linux/arm/v7", "windows/amd64", "wasi/wasm", "linux/s390x"] {
            assert_eq!(known.parse::<Platform>().unwrap().as_str(), known);
        }
        let normal = [("linux/arm64/v8", "linux/arm64"), ("linux/amd64/v1", "linux/amd64"), ("linux/arm", "linux/arm/v7")];
        for (written, normal) in normal {
            assert_eq!(written.parse::<Platform>().unwrap().as_str(), normal);
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
}
