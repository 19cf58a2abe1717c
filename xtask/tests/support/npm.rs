//! A file out of a package of npm's, fetched once and kept across runs.

use monoship_core::execute::process::Invocation;

use super::fetch::fetch;
use super::repo::target_dir;
use super::turn;

/// The text of a file of `package`, which has its version: `axe-core@4.10.3`.
pub fn file(package: &str, path: &str) -> String {
    let home = target_dir().join("npm").join(package);
    let name = package.rsplit_once('@').map_or(package, |(name, _)| name);
    let file = home.join("node_modules").join(name).join(path);
    let _alone = turn::at("npm");
    if !file.is_file() {
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("package.json"), "{\"private\":true}").unwrap();
        let args =
            ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--fetch-timeout=30000", package];
        fetch(package, || Invocation::new("npm").args(args).dir(&home));
    }
    std::fs::read_to_string(&file).unwrap()
}
