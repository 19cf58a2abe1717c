//! What `--json` prints is what `docs/schemas` says. Every test that reads such an output holds it against its schema
//! (`support::repo::Ran::json`); here are those that need nothing, and the check itself.

use serde_json::json;

use support::repo::{Repo, here};
use support::schema::{check, of_line};

#[test]
fn what_needs_no_engine_prints_what_its_schema_says() {
    let repo = Repo::new().env("XTASK_ENGINE_DATA", here().join("target/no-engine"));
    for line in [
        &["plan", "--json"][..],
        &["plan", "--json", "--since", "HEAD"],
        &["build", "--dry-run", "--json"],
        &["stats", "--json"],
        &["prune", "api", "--json"],
        &["engine", "status", "--json"],
    ] {
        repo.xtask(line).exits(0).json();
    }
    // What it says of this machine is not the point.
    let doctor = repo.xtask(&["doctor", "--json"]);
    assert!(matches!(doctor.code, 0 | 1), "{}", doctor.stderr);
    doctor.json();
}

#[test]
fn every_schema_is_of_a_line_and_every_verb_that_prints_json_has_one() {
    let lines = [
        "build --json",
        "build --dry-run --json",
        "release v1.0.0 --json",
        "cache warm --json",
        "cache ls --json",
        "cache prune --json",
        "engine status --json",
        "plan --json",
        "stats --json",
        "doctor --json",
        "verify v1.0.0 --json",
        "prune api --json",
        "ci --json",
        "layers --json",
    ];
    let mut named: Vec<String> = lines.iter().filter_map(|line| Some(of_line(line)?.0)).collect();
    named.sort();
    named.dedup();
    let mut there: Vec<String> = std::fs::read_dir(here().join("docs/schemas"))
        .unwrap()
        .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    there.sort();
    assert_eq!(named, there);
    assert_eq!(of_line("build"), None);
}

#[test]
fn a_field_that_no_schema_knows_or_that_is_missing_is_found() {
    let (_, schema) = of_line("plan --json").unwrap();
    let service =
        json!({"service": "api", "action": "build", "fingerprint": "f", "reasons": [{"reason": "forced"}], "digest": null});
    assert_eq!(check(&schema, &json!({"version": 2, "services": [service]})), [""; 0]);
    let wrong = |change: &str, to: serde_json::Value| {
        let mut service = service.clone();
        service[change] = to;
        check(&schema, &json!({"version": 2, "services": [service]})).len()
    };
    assert_eq!(wrong("new", json!(1)), 1);
    assert_eq!(wrong("action", json!("skip")), 1);
    assert_eq!(wrong("reasons", json!([{"reason": "forced", "more": 1}])), 1);
    assert_eq!(check(&schema, &json!({"version": 2})), [": \"services\" is missing"]);
}
