//! Histories that are long, damaged, newer, written by several at once, and shared.

use std::path::Path;
use std::time::{Duration, SystemTime};

use monoship_core::name::ImageRef;
use monoship_docker::manifest::{CREATED, Document, OCI_EMPTY, OCI_MANIFEST, Raw};
use serde_json::{Value, json};

use support::registry::{RegistryServer, anonymous};
use support::repo::xtask;

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
            return json!({"task": {"service": name}, "status": "unchanged"});
        }
        let took = 9_000 + n % 10 * 100;
        json!({
            "task": {"service": name}, "status": "built", "took": took, "cached": 10, "total": 12, "size": 142_000_000,
            "ran": [[format!("[{name}-build 3/4] RUN pnpm --filter {name} build"), took - 3_000], [format!("[{name} 2/2] COPY"), 80]],
            "spent": {"transfer": 120, "export": 900, "cache-export": 1_500},
            "tiers": {"registry": "used", "gha": "left-out", "previous": "left-out", "inline": "left-out"},
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

#[test]
fn ten_thousand_runs_are_all_counted() {
    let root = root("127.0.0.1:9", &lines(0..10_000));
    let read = stats(root.path(), &[]);
    assert_eq!((&read["runs"], &read["services"][0]["built"]["count"]), (&10_000.into(), &2_500.into()));
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
    let image = shared_under(&server, "xtask-history");
    let manifest: Value = serde_json::from_slice(anonymous().need_manifest(&image).unwrap().bytes()).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.xtask.history.v1");
}

#[test]
fn an_image_is_not_taken_for_a_history_and_not_written_over() {
    let server = RegistryServer::plain();
    let image = shared_under(&server, "xtask-history");
    let client = anonymous();
    let config = client.push_blob(&image, OCI_EMPTY, b"{}").unwrap();
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [config]});
    let raw = Raw::new(OCI_MANIFEST, manifest.to_string());
    client.put_manifest(&image, &raw).unwrap();
    let root = root(&server.host(), &lines(0..2));
    let said = xtask(root.path(), &["stats", "--push"]).exits(1).stderr;
    assert!(said.contains("is not a history of runs") && said.contains("[stats] repository"), "{said}");
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

/// How many runs a machine without a history of its own finds in the registry.
fn runs_in(server: &RegistryServer) -> u64 {
    let fresh = root(&server.host(), "");
    xtask(fresh.path(), &["stats", "--pull"]).exits(0);
    stats(fresh.path(), &[])["runs"].as_u64().unwrap()
}

#[test]
fn five_processes_that_push_at_once_lose_nothing() {
    let server = RegistryServer::plain();
    for round in 0..4 {
        let machine = |n: u64| root(&server.host(), &lines(round * 50 + n * 10..round * 50 + n * 10 + 10));
        let machines: Vec<_> = (0..5).map(machine).collect();
        std::thread::scope(|scope| {
            for machine in &machines {
                scope.spawn(|| xtask(machine.path(), &["stats", "--push"]).exits(0));
            }
        });
        assert_eq!(runs_in(&server), (round + 1) * 50);
    }
    // Whoever pushes next, even with nothing of its own, leaves the whole under the common tag.
    xtask(root(&server.host(), "").path(), &["stats", "--push"]).exits(0);
    assert_eq!(held(&server, "xtask-history"), 200);
}

fn shared_under(server: &RegistryServer, tag: &str) -> ImageRef {
    format!("{}/acme/shop:{tag}", server.host()).parse().unwrap()
}

fn tags(server: &RegistryServer) -> Vec<String> {
    let tags = anonymous().tags(&shared_under(server, "xtask-history")).unwrap();
    tags.iter().map(ToString::to_string).collect()
}

/// How many lines lie under one tag.
fn held(server: &RegistryServer, tag: &str) -> usize {
    let (image, client) = (shared_under(server, tag), anonymous());
    let Document::Manifest(manifest) = client.need_manifest(&image).unwrap().document().unwrap() else { panic!("an index") };
    let lines = client.blob(&image, &manifest.layers[0].digest, manifest.layers[0].size).unwrap();
    String::from_utf8(lines).unwrap().lines().count()
}

/// Makes every part look as old as this.
fn age_parts(server: &RegistryServer, age: Duration) {
    let client = anonymous();
    for tag in tags(server).iter().filter(|tag| *tag != "xtask-history") {
        let image = shared_under(server, tag);
        let mut manifest: Value = serde_json::from_slice(client.need_manifest(&image).unwrap().bytes()).unwrap();
        manifest["annotations"][CREATED] = humantime::format_rfc3339_millis(SystemTime::now() - age).to_string().into();
        client.put_manifest(&image, &Raw::new(OCI_MANIFEST, manifest.to_string())).unwrap();
    }
}

#[test]
fn a_push_that_another_overtook_is_read_all_the_same_and_its_part_goes_only_when_the_whole_has_its_lines() {
    let server = RegistryServer::plain();
    let machine = |range| root(&server.host(), &lines(range));
    xtask(machine(0..3).path(), &["stats", "--push"]).exits(0);
    let (common, client) = (shared_under(&server, "xtask-history"), anonymous());
    let before = client.need_manifest(&common).unwrap();
    xtask(machine(3..5).path(), &["stats", "--push"]).exits(0);
    // As a push leaves it that read before this one and put after it.
    client.put_manifest(&common, &before).unwrap();
    assert_eq!((held(&server, "xtask-history"), runs_in(&server)), (3, 5));

    age_parts(&server, Duration::from_mins(59));
    let third = machine(5..6);
    xtask(third.path(), &["stats", "--push"]).exits(0);
    assert_eq!((held(&server, "xtask-history"), tags(&server).len()), (6, 1 + 3), "{:?}", tags(&server));
    client.put_manifest(&common, &before).unwrap();
    age_parts(&server, Duration::from_mins(61));
    assert!(xtask(third.path(), &["stats", "--push"]).exits(0).stderr.contains("0 runs came from the registry, 0 went there"));
    assert_eq!((held(&server, "xtask-history"), tags(&server)), (6, vec!["xtask-history".to_owned()]));
    assert_eq!(runs_in(&server), 6);
}

#[test]
fn a_registry_that_does_not_delete_keeps_the_parts_and_it_is_said() {
    let server = RegistryServer::that_does_not_delete();
    let machine = root(&server.host(), &lines(0..3));
    xtask(machine.path(), &["stats", "--push"]).exits(0);
    age_parts(&server, Duration::from_hours(2));
    let said = xtask(machine.path(), &["stats", "--push"]).exits(0).stderr;
    assert!(said.contains("cannot be removed") && said.contains("REGISTRY_STORAGE_DELETE_ENABLED"), "{said}");
    assert_eq!((tags(&server).len(), runs_in(&server)), (2, 3));
}
