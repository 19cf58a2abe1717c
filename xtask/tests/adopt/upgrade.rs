//! From `init` to the next version of the library.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::foreign::{Foreign, Library};
use support::repo::{Ran, xtask};

/// The generated files that the doctor calls older, as `<severity> <file>`.
fn older(doctor: &Ran) -> BTreeSet<String> {
    let findings = doctor.json()["findings"].as_array().unwrap().clone();
    let named = findings.iter().filter(|finding| finding["code"] == "generated-older");
    let words = |finding: &Value| {
        let file = finding["what"].as_str().unwrap().split(' ').next().unwrap();
        format!("{} {file}", finding["severity"].as_str().unwrap())
    };
    named.map(words).collect()
}

#[test]
fn an_adopter_plans_from_every_folder_and_is_brought_along_by_cargo_update() {
    let library = Library::new();
    library.at_version(&Library::version());
    let foreign = Foreign::new();
    let before = foreign.files();
    let told = foreign.init(&library.path(), &[]).exits(0).stdout;
    let added: Vec<String> = foreign.files().into_iter().filter(|file| !before.contains(file)).collect();
    assert!(added.len() <= 8, "{added:#?}");
    let own: Vec<&String> = added.iter().filter(|file| file.starts_with("xtask/")).collect();
    assert_eq!(own, ["xtask/Cargo.toml", "xtask/src/main.rs"]);
    assert!(own.iter().map(|file| foreign.read(file).lines().count()).sum::<usize>() <= 60);
    for file in &added {
        assert!(told.contains(&format!("write        {file}")), "{file} is not told of: {told}");
    }
    for line in [
        "service      api in apps/api (script `start`: node main.js)",
        "no service   packages/words: outside apps/ a `main` alone makes no service, and it has no start script",
        "change       .gitignore: add `/target/`",
        "without `**/coverage`, which would hide packages/words/coverage/index.ts",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }

    foreign.cargo("apps/api", &["generate-lockfile"]).exits(0);
    let native = foreign.cargo("packages/native", &["metadata", "--no-deps", "--format-version", "1"]).exits(0);
    assert_eq!(native.json()["packages"][0]["name"], "native", "their crate is no longer their own");
    let adopted = foreign.content();
    let again = foreign.init(&library.path(), &[]).exits(0).stdout;
    assert!(!again.contains("write ") && !again.contains("change "), "{again}");
    assert_eq!(foreign.content(), adopted, "a second init changed something");

    // As this version would say it, were it compiled from there.
    let own = |args: &[&str]| xtask(foreign.path(), args);
    own(&["ci", "workflow"]).exits(0);
    assert!(older(&own(&["doctor", "--json"])).is_empty());
    assert_eq!(own(&["init", "--refresh"]).exits(0).stdout.lines().count(), 1);

    let next = Library::next();
    library.at_version(&next);
    foreign.cargo(".", &["update", "--package", "monoship"]).exits(0);
    assert!(foreign.read("Cargo.lock").contains(&format!("name = \"monoship\"\nversion = \"{next}\"")));
    let plan = foreign.cargo("apps/api", &["xtask", "plan"]).exits(0);
    assert!(plan.stdout.starts_with("api "), "{}", plan.stdout);
    assert!(!plan.stderr.contains("warning"), "{}", plan.stderr);
    let dockerfile = "Dockerfile.monorepo-optimized";
    let edited = foreign.read(dockerfile) + "# a line of their own\n";
    foreign.write(dockerfile, &edited);
    let doctor = foreign.cargo(".", &["xtask", "doctor", "--json"]);
    let workflows = ["warning .github/workflows/images.yml", "warning .github/workflows/xtask.yml"];
    let named = ["note Dockerfile.monorepo-optimized", "warning .dockerignore"].into_iter().chain(workflows);
    assert_eq!(older(&doctor), named.map(str::to_owned).collect());

    let before = foreign.content();
    let dry = foreign.cargo(".", &["xtask", "init", "--refresh", "--dry-run"]).exits(0).stdout;
    assert!(dry.contains("- # a line of their own") && dry.contains("would write  .dockerignore"), "{dry}");
    assert_eq!(foreign.content(), before, "a look wrote something");
    let told = foreign.cargo("packages", &["xtask", "init", "--dir", "..", "--refresh"]).exits(0).stdout;
    assert!(told.contains(&format!("keep         {dockerfile}: it was edited")), "{told}");
    assert_eq!(foreign.read(dockerfile), edited);
    let doctor = foreign.cargo(".", &["xtask", "doctor", "--json"]);
    assert_eq!(older(&doctor), BTreeSet::from([format!("note {dockerfile}")]));
    foreign.cargo(".", &["xtask", "init", "--refresh", "--yes"]).exits(0);
    assert!(!foreign.read(dockerfile).contains("their own") && foreign.read(dockerfile).contains(&next));
    assert!(older(&foreign.cargo(".", &["xtask", "doctor", "--json"])).is_empty());
    foreign.cargo(".", &["xtask", "ci", "workflow", "--check"]).exits(0);
}
