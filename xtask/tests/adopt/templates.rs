//! What `init` writes is what this repository has: neither is changed without the other.

use support::repo::here;

fn read(file: &str) -> String {
    std::fs::read_to_string(here().join(file)).unwrap()
}

fn template(name: &str) -> String {
    read(&format!("crates/init/src/{name}"))
}

#[test]
fn an_adopters_pipeline_and_alias_are_this_repositorys_own() {
    assert_eq!(template("main.rs.txt"), read("xtask/src/main.rs"));
    // What follows is for this repository's tests.
    let config = read(".cargo/config.toml");
    assert!(config.starts_with(&template("cargo-config.toml")), "{config}");
}

#[test]
fn an_adopters_workspace_compiles_the_library_as_this_one_does() {
    let profile = |text: String| text.parse::<toml::Table>().unwrap()["profile"]["dev"].clone();
    assert_eq!(profile(template("workspace.toml")), profile(read("Cargo.toml")));
}

#[test]
fn the_generated_dockerfile_installs_and_builds_as_this_repositorys_own_does() {
    let script = |text: &str, name: &str| {
        let from = text.find(name).unwrap_or_else(|| panic!("there is no {name}"));
        text[from..from + text[from..].find("\nSCRIPT\n").unwrap()].to_owned()
    };
    let (own, theirs) = (read("Dockerfile.monorepo-optimized"), template("head.Dockerfile"));
    // A plan knows by this comment that an install runs no script of the workspace's own packages.
    let mark = "# own-scripts: later";
    assert!(theirs.contains(mark) && read("crates/steps/src/contexts.rs").contains(mark));
    for name in ["/usr/local/lib/own-process-id.cjs", "/usr/local/bin/install-closure", "/usr/local/bin/build-once"] {
        assert_eq!(script(&theirs, name), script(&own, name), "{name}: one of them was changed and the other was not");
    }
}
