//! A look at a pipeline: what a team's stages would do is said, and nothing is done.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::Shop;

/// Every file below a folder but git's, with its bytes.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".git") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_dry_run_names_the_stages_in_their_order_and_runs_none() {
    let shop = Shop::new("dry");
    let smoke = shop.repo.example("smoke", &["build", "--dry-run"]).exits(0);
    assert!(smoke.stdout.contains("# smoke: api, web\n"), "{}", smoke.stdout);
    let deploy = shop.repo.example("deploy", &["build", "--dry-run"]).exits(0);
    assert!(deploy.stdout.contains("# deploy: once the images are published\n"), "{}", deploy.stdout);
    shop.repo.example("minimal", &["plan"]).exits(0);
}

/// No Docker, no network, no cache folder: an answer all the same, and nothing on disk but the run's own record.
#[test]
fn a_look_needs_nothing_and_changes_nothing() {
    let shop = Shop::new("bare");
    let pin = format!("version = 1\n\n[images]\n\"docker.io/library/node:24-bookworm-slim\" = \"sha256:{}\"\n", "a".repeat(64));
    shop.repo.write("xtask.lock", &pin);
    shop.repo.commit("pinned");
    let nowhere = shop.repo.path().join("nowhere");
    let before = files(shop.repo.path());
    for args in [&["plan"][..], &["plan", "--explain"], &["plan", "--json"], &["build", "--dry-run"]] {
        let mut command = support::repo::example_command("minimal", shop.repo.path(), args);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &nowhere).env("XTASK_CACHE_DIR", nowhere.join("cache"));
        // A proxy that nobody answers at: whoever asks the network learns that there is none.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {err}");
        assert!(out.contains("api") && out.contains("web"), "{args:?}: {out}");
        assert!(err.contains("no engine is running"), "{args:?}: {err}");
        let mut after = files(shop.repo.path());
        after.retain(|name, _| !name.starts_with("target/xtask/aside/"));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{args:?}");
        assert_eq!(before, after, "{args:?}");
    }
}
