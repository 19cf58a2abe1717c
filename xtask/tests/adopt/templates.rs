//! What `init` writes is what this repository has: neither is changed without the other.

use crate::support::repo::here;

fn read(file: &str) -> String {
    std::fs::read_to_string(here().join(file)).unwrap()
}

fn template(name: &str) -> String {
    read(&format!("crates/init/src/{name}"))
}

#[test]
fn an_adopters_pipeline_and_alias_are_this_repositorys_own() {
    assert_eq!(template("main.rs.txt"), read("xtask/src/main.rs"));
    assert_eq!(template("cargo-config.toml"), read(".cargo/config.toml"));
}

#[test]
fn an_adopters_workspace_compiles_the_library_as_this_one_does() {
    let profile = |text: String| text.parse::<toml::Table>().unwrap()["profile"]["dev"].clone();
    assert_eq!(profile(template("workspace.toml")), profile(read("Cargo.toml")));
}

#[test]
fn the_generated_dockerfile_installs_as_this_repositorys_own_does() {
    let script = |text: String| {
        let from = text.find("/usr/local/bin/install-closure").unwrap();
        text[from..from + text[from..].find("\nSCRIPT\n").unwrap()].to_owned()
    };
    let own = script(read("Dockerfile.monorepo-optimized"));
    assert_eq!(script(template("head.Dockerfile")), own, "one of them was changed and the other was not");
}
