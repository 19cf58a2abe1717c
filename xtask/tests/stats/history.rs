//! Histories that are long, damaged, newer, written by several at once, and shared.

#![expect(clippy::disallowed_methods, reason = "a test runs the binary as a user would")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use xtask::docker::manifest::{OCI_EMPTY, OCI_MANIFEST, Raw};

use crate::support::registry::{RegistryServer, anonymous};
use crate::support::repo::xtask;

/// A root that `stats` works in, with this history; its images go to `registry`.
pub fn root(registry: &str, history: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("target/xtask")).unwrap();
    std::fs::write(root.path().join("pnpm-workspace.yaml"), "packages: []\n").unwrap();
    std::fs::write(root.path().join("xtask.toml"), format!("[images]\nregistry = '{registry}'\nnamespace = 'acme/shop'\n"))
        .unwrap();
    std::fs::write(history_file(root.path()), history).unwrap();
    root
}

fn history_file(root: &Path) -> std::path::PathBuf {
    root.join("target/xtask/history.jsonl")
}

/// The `n`th line of a history in CI: half an hour apart, one of four services built, by the format that version 1 writes.
pub fn line(n: u64) -> String {
    let started = SystemTime::UNIX_EPOCH + Duration::from_hours(490_896) + Duration::from_mins(30) * u32::try_from(n).unwrap();
    let started = humantime::format_rfc3339_millis(started).to_string();
    let id: String = started.chars().filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    let service = |(at, name): (u64, &str)| {
        if !(n + at).is_multiple_of(4) {
            return json!({"task": {"service": name}, "status": "skipped"});
        }
        let took = 9_000 + n % 10 * 100;
        json!({
            "task": {"service": name}, "status": "built", "took": took, "cached": 10, "total": 12, "size": 142_000_000,
            "ran": [[format!("[{name}-build 3/4] RUN pnpm --filter {name} build"), took - 3_000], [format!("[{name} 2/2] COPY"), 80]],
            "spent": {"transfer": 120, "export": 900, "cache-export": 1_500},
            "tiers": {"registry": "used", "gha": "left-out", "image": "left-out", "inline": "left-out"},
            "imports": [[format!("ghcr.io/acme/cache:{name}"), 210, true]], "exports": [["registry", 1_500, true]],
        })
    };
    let tasks: Vec<Value> = (0..).zip(["api", "scheduler", "web", "worker"]).map(service).collect();
    let run = json!({
        "v": 1, "id": format!("{id}-{n:04x}"), "started": started, "took": 10_000, "command": "build", "outcome": "succeeded",
        "ci": true, "commit": "0123456789abcdef0123456789abcdef01234567", "tasks": tasks,
    });
    format!("{run}\n")
}

fn lines(range: std::ops::Range<u64>) -> String {
    range.map(line).collect()
}

fn stats(root: &Path, args: &[&str]) -> Value {
    xtask(root, &[&["stats", "--json"], args].concat()).exits(0).json()
}

/// Seconds of processor time that `xtask stats` takes, on all cores together. The clock on the wall says more of what else this
/// machine does: on a quiet one with two cores or more it shows less than this.
fn processor_seconds(root: &Path) -> f64 {
    let script = "\"$0\" stats > /dev/null && times";
    let output = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_xtask")]).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The second line is the children's: `0m0.210s 0m0.030s`.
    let text = String::from_utf8(output.stdout).unwrap();
    let seconds = |time: &str| -> f64 {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    text.lines().nth(1).unwrap().split_whitespace().map(seconds).sum()
}

#[test]
fn ten_thousand_runs_take_less_than_half_a_second() {
    let root = root("127.0.0.1:9", &lines(0..10_000));
    let read = stats(root.path(), &[]);
    assert_eq!((&read["runs"], &read["services"][0]["built"]["count"]), (&10_000.into(), &2_500.into()));
    let took: Vec<f64> = (0..5).map(|_| processor_seconds(root.path())).collect();
    assert!(took.iter().any(|seconds| *seconds < 0.5), "{took:?} s");
}

#[test]
fn a_truncated_last_line_and_a_newer_versions_line_cost_nothing_else() {
    let newer = r#"{"v":99,"id":"20990101T000000000-1","shape":{"new":true}}"#;
    let whole = format!("{}{newer}\n{}", lines(0..3), line(3));
    let root = root("127.0.0.1:9", &whole[..whole.len() - 50]);
    let read = stats(root.path(), &[]);
    assert_eq!((&read["runs"], &read["damaged"], &read["newer"]), (&3.into(), &1.into(), &1.into()));
    let shown = xtask(root.path(), &["stats"]).exits(0).stdout;
    assert!(shown.contains("not counted: 1 line damaged, 1 of a newer version"), "{shown}");
    assert_eq!(std::fs::read_to_string(history_file(root.path())).unwrap(), whole[..whole.len() - 50], "reading changes nothing");
}

#[test]
fn ci_and_laptops_see_one_history_through_the_registry() {
    let server = RegistryServer::plain();
    let newer = "{\"v\":99,\"id\":\"20990101T000000000-1\",\"shape\":1}\n";
    let ci = root(&server.host(), &format!("{}{newer}", lines(0..5)));
    let laptop = root(&server.host(), &format!("{}damaged{{", lines(4..9)));
    let said = |root: &Path, flag| xtask(root, &["stats", flag]).exits(0).stderr;
    assert!(said(laptop.path(), "--pull").contains("0 runs came"), "nothing is there yet");
    assert!(said(ci.path(), "--push").contains("0 runs came from the registry, 6 went there"));
    assert!(said(laptop.path(), "--push").contains("5 runs came from the registry, 4 went there"));
    assert!(said(ci.path(), "--push").contains("4 runs came from the registry, 0 went there"));
    let (ours, theirs) = (stats(ci.path(), &[]), stats(laptop.path(), &[]));
    assert_eq!((&ours["runs"], &ours["newer"], &ours["damaged"]), (&9.into(), &1.into(), &0.into()));
    assert_eq!(ours, theirs);

    // Anybody's registry client sees what it is.
    let image = format!("{}/acme/shop:xtask-history", server.host()).parse().unwrap();
    let manifest: Value = serde_json::from_slice(anonymous().need_manifest(&image).unwrap().bytes()).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.xtask.history.v1");
}

#[test]
fn an_image_is_not_taken_for_a_history_and_not_written_over() {
    let server = RegistryServer::plain();
    let image = format!("{}/acme/shop:xtask-history", server.host()).parse().unwrap();
    let client = anonymous();
    let config = client.push_blob(&image, OCI_EMPTY, b"{}").unwrap();
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [config]});
    let raw = Raw::new(OCI_MANIFEST, manifest.to_string());
    client.put_manifest(&image, &raw).unwrap();
    let root = root(&server.host(), &lines(0..2));
    let said = xtask(root.path(), &["stats", "--push"]).exits(1).stderr;
    assert!(said.contains("something else than a history") && said.contains("[stats] repository"), "{said}");
    assert_eq!(client.need_manifest(&image).unwrap().digest(), raw.digest());
}

#[test]
fn processes_that_write_one_history_at_once_lose_nothing() {
    let server = RegistryServer::plain();
    let ci = root(&server.host(), &lines(0..300));
    xtask(ci.path(), &["stats", "--push"]).exits(0);
    let laptop = root(&server.host(), &lines(300..310));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| xtask(laptop.path(), &["stats", "--pull"]).exits(0));
        }
    });
    let read = stats(laptop.path(), &[]);
    assert_eq!((&read["runs"], &read["damaged"]), (&310.into(), &0.into()));
}
