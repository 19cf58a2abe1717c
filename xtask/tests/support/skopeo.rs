//! skopeo, a client of registries that shares nothing with ours: the machine's, else the distribution's packages, unpacked under the target
//! folder and kept between runs. Nothing is installed.

use std::path::PathBuf;
use std::sync::LazyLock;

use xtask::engine::apt::{Apt, Release};
use xtask::event::Events;
use xtask::execute::process::Invocation;
use xtask::execute::shutdown::Shutdown;

use super::repo::target_dir;

/// `skopeo` with what it needs to talk to a registry without TLS and without a trust policy; arguments follow.
pub fn skopeo() -> Invocation {
    static FOUND: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let installed = Invocation::new("skopeo").arg("--version").run(&Shutdown::new()).is_ok_and(|output| output.success());
        (!installed).then(unpacked)
    });
    let call = match &*FOUND {
        None => Invocation::new("skopeo"),
        Some(root) => {
            let libraries = format!("{0}/usr/lib/{1}-linux-gnu:{0}/lib/{1}-linux-gnu", root.display(), std::env::consts::ARCH);
            Invocation::new(root.join("usr/bin/skopeo")).env("LD_LIBRARY_PATH", libraries)
        }
    };
    call.arg("--insecure-policy")
}

fn unpacked() -> PathBuf {
    let (root, shutdown, events) = (target_dir().join("skopeo"), Shutdown::new(), Events::none());
    let done = root.join("root");
    if done.join("usr/bin/skopeo").is_file() {
        return done;
    }
    // Beside it first, so that a test that is killed leaves no half of it.
    let staging = tempfile::tempdir_in(target_dir()).unwrap();
    let apt = Apt::new(Release::Own, staging.path(), &events, &shutdown).unwrap();
    apt.update().unwrap();
    let archives = apt.download_closure(&["skopeo"]).unwrap();
    let unpacked = staging.path().join("root");
    for entry in std::fs::read_dir(archives).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // Its libraries, less the C library, which has to be the machine's.
        let wanted =
            name.starts_with("skopeo_") || (name.starts_with("lib") && !name.starts_with("libc6") && !name.contains("perl"));
        if wanted && entry.path().extension().is_some_and(|ending| ending == "deb") {
            let call = Invocation::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(&unpacked);
            call.read(&shutdown).unwrap();
        }
    }
    std::fs::create_dir_all(&root).unwrap();
    // Another test binary may have been quicker.
    let _ = std::fs::rename(&unpacked, &done);
    done
}
