//! A stranger's first line: `../monoship/adopt`, which leaves nothing to compile for the next ones but the pipeline itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::foreign::{Foreign, Library};

/// What cargo makes of a workspace, or has made, by package: the files' names have a hash of all that decides how they are compiled.
fn artifacts(foreign: &Foreign, manifest: &str) -> BTreeMap<String, Vec<String>> {
    let args = ["build", "--package", "xtask", "--message-format", "json", "--manifest-path", manifest];
    let told = foreign.cargo(".", &args).exits(0).stdout;
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if line["reason"] == "compiler-artifact" {
            let files = line["filenames"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned());
            made.entry(line["package_id"].as_str().unwrap().to_owned()).or_default().extend(files);
        }
    }
    made.retain(|package, _| !package.contains("/xtask#"));
    made
}

#[test]
fn adopting_compiles_in_place_what_the_next_commands_need() {
    let library = Library::new();
    let foreign = Foreign::new();
    let program = library.path().join("adopt").display().to_string();
    let before = foreign.files();
    let dry = foreign.run(&program, ".", &["--dry-run"]).exits(0).stdout;
    assert!(dry.contains("service      api in apps/api") && dry.contains("xtask/Cargo.toml"), "{dry}");
    assert_eq!(foreign.files(), before, "a dry run wrote something");
    let told = foreign.run(&program, ".", &[]).exits(0).stdout;
    assert!(told.contains("write        xtask/Cargo.toml: monoship = { path = "), "{told}");
    assert!(foreign.files().contains(&"Cargo.lock".to_owned()), "the versions that were compiled are not kept");
    let (first, then) = (artifacts(&foreign, "target/xtask/adopt/Cargo.toml"), artifacts(&foreign, "Cargo.toml"));
    assert!(first.len() > 100, "{}", first.len());
    assert_eq!(first, then, "what was compiled to adopt is not what `cargo xtask` wants");
    let plan = foreign.cargo("apps/api", &["xtask", "plan"]).exits(0);
    assert!(plan.stdout.starts_with("api "), "{}", plan.stdout);

    // Where the library comes from can be said, once.
    let other = Foreign::new();
    let told = other.run(&program, ".", &["--from", "crates-io"]).exits(0).stdout;
    assert!(told.contains("write        xtask/Cargo.toml: monoship = { version = "), "{told}");
}
