//! Others' programs that read a registry: cosign and skopeo, from the distribution's packages, unpacked once into the target folder and kept
//! across runs. Nothing is installed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use xtask::engine::apt::{Apt, Release};
use xtask::event::Events;
use xtask::execute::process::Invocation;
use xtask::execute::shutdown::Shutdown;

use super::repo::target_dir;

/// The folder with `cosign` and `skopeo`, for a PATH.
pub fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let home = target_dir().join("tools");
        let bin = home.join("bin");
        if !home.join("whole").is_file() {
            // What a killed run left half made goes.
            let _ = std::fs::remove_dir_all(&home);
            std::fs::create_dir_all(&bin).unwrap();
            cosign(&home);
            skopeo(&home);
            for folder in ["apt", "debs", "cosign/usr/share", "skopeo/usr/share"] {
                let _ = std::fs::remove_dir_all(home.join(folder));
            }
            std::fs::write(home.join("whole"), "").unwrap();
        }
        bin
    })
}

/// Newer than most releases, and a static program but for the C library.
fn cosign(home: &Path) {
    let (events, shutdown) = (Events::none(), Shutdown::new());
    let apt = Apt::new(Release::Testing, home, &events, &shutdown).unwrap();
    apt.update().unwrap();
    let debs = home.join("debs");
    apt.download(&["cosign"], &debs).unwrap();
    unpack(&debs, &home.join("cosign"));
    wrap(home, "cosign", "cosign/usr/bin/cosign");
}

/// The machine's own, with every library but the C library, which is the machine's.
fn skopeo(home: &Path) {
    let (events, shutdown) = (Events::none(), Shutdown::new());
    let apt = Apt::new(Release::Own, home, &events, &shutdown).unwrap();
    apt.update().unwrap();
    let debs = apt.download_closure(&["skopeo"]).unwrap();
    unpack(&debs, &home.join("skopeo"));
    wrap(home, "skopeo", "skopeo/usr/bin/skopeo");
}

fn unpack(debs: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    for deb in std::fs::read_dir(debs).unwrap().map(|entry| entry.unwrap().path()) {
        let system = deb.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libc6_"));
        if deb.extension().is_some_and(|kind| kind == "deb") && !system {
            Invocation::new("dpkg-deb").arg("--extract").args([&deb, into]).read(&Shutdown::new()).unwrap();
        }
    }
}

/// A script, so that no program but this one sees the libraries.
fn wrap(home: &Path, name: &str, program: &str) {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let script = format!(
        "#!/bin/sh\nroot=\"${{0%/*}}/../{name}\"\n\
         LD_LIBRARY_PATH=\"$root/usr/lib/{triplet}:$root/lib/{triplet}\" exec \"${{0%/*}}/../{program}\" \"$@\"\n"
    );
    let path = home.join("bin").join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
