//! Gates stop what exceeds them, and whoever is to be told of it is told, without what nobody else may know.

use std::sync::{Arc, Mutex};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use serde_json::Value;

use crate::harness::{clone, turn};
use support::http::{Request, Response, Server};

const KEY: &str = "only for this test";

/// What OpenSSL makes of it.
fn hmac(key: &str, body: &[u8]) -> String {
    let call = Invocation::new("openssl").args(["dgst", "-sha256", "-hmac", key]).stdin(body.to_vec());
    call.read(&Shutdown::new()).unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn an_image_over_its_bound_fails_the_run_and_every_channel_is_told_but_for_secrets() {
    let _turn = turn();
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let log = seen.clone();
    let server = Server::start(move |request| {
        log.lock().unwrap().push(request.clone());
        // Slack's webhooks answer so where the address is not known any more.
        Response::status(if request.path.starts_with("/slack") { 410 } else { 204 })
    });
    let repo = clone()
        .env("HOOK_URL", format!("{}/hook/not-for-logs", server.url()))
        .env("HOOK_KEY", KEY)
        .env("SLACK_URL", format!("{}/slack/not-for-logs", server.url()));
    let written = repo.read("xtask.toml");
    let notify = "[notify]\non = ['failure']\nwebhook-url-env = 'HOOK_URL'\nwebhook-key-env = 'HOOK_KEY'\n\
                  slack-url-env = 'SLACK_URL'\ncommand = ['sh', '-c', 'cat > told.json; printenv HOOK_URL >&2; sleep 60']\ntimeout = '1s'\n";
    let gates = "[gates]\nimage-size = '1MB'\nwasted-bytes = { bound = '0', action = 'warn' }\n";
    repo.write("xtask.toml", &format!("{written}\n{gates}\n{notify}"));

    let ran = repo.xtask(&["build", "api", "--json"]).exits(1);
    assert!(ran.stderr.contains("gate failed: image-size: api: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("is more than 1.00 MB"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the Slack webhook could not be told: it answered with status 410"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the command could not be told: "), "a command without end is given up: {}", ran.stderr);
    assert!(!ran.stderr.contains("not-for-logs") && !ran.stderr.contains(KEY), "{}", ran.stderr);
    let record = ran.json();
    assert_eq!((&record["outcome"], &record["tasks"][2]["status"]), (&"failed".into(), &"built".into()), "{record:#}");
    assert_eq!(record["gates"][0]["gate"], "image-size");

    let requests = seen.lock().unwrap().clone();
    let hook = requests.iter().find(|request| request.path.starts_with("/hook")).unwrap();
    assert_eq!(hook.header("x-hub-signature-256"), Some(format!("sha256={}", hmac(KEY, &hook.body)).as_str()));
    let message = hook.json();
    assert_eq!((&message["occasion"], &message["run"]), (&"failure".into(), &record["id"]));
    assert!(message["about"][0].as_str().unwrap().starts_with("gate image-size: api: "), "{message:#}");
    assert_eq!(serde_json::from_str::<Value>(&repo.read("told.json")).unwrap(), message);
    let slack = requests.iter().find(|request| request.path.starts_with("/slack")).unwrap().json();
    assert!(slack["text"].as_str().unwrap().contains("build api failed\n• gate image-size"), "{slack:#}");

    // A bound that holds, and nobody to tell of a success.
    repo.write("xtask.toml", &format!("{written}\n[gates]\nimage-size = '1GB'\n\n{notify}"));
    repo.xtask(&["build", "api"]).exits(0);
    assert_eq!(seen.lock().unwrap().len(), requests.len());
}

#[test]
fn a_build_that_is_slower_than_its_median_is_told_and_a_hook_that_never_answers_holds_up_nothing() {
    let _turn = turn();
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let log = seen.clone();
    let hook = Server::start(move |request| {
        log.lock().unwrap().push(request.clone());
        // Whoever waits for the answer never ends.
        std::thread::sleep(std::time::Duration::from_hours(1));
        Response::status(204)
    });
    let repo = clone().env("HOOK_URL", format!("{}/not-for-logs", hook.url())).env("SLACK_URL", "not-for-logs");
    let notify =
        "[notify]\nwebhook-url-env = 'HOOK_URL'\nslack-url-env = 'SLACK_URL'\ncommand = ['not-a-program']\ntimeout = '1s'\n";
    let gates = "[gates]\nbuild-time = { of-median = 2, action = 'warn' }\n";
    repo.write("xtask.toml", &format!("{}\n{notify}\n{gates}", repo.read("xtask.toml")));
    repo.xtask(&["build", "api"]).exits(0);
    assert!(seen.lock().unwrap().is_empty(), "the first build has no median");

    // Five builds of a millisecond.
    let history = repo.read("target/xtask/history.jsonl");
    let mut run: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    let api = run["tasks"].as_array().unwrap().iter().position(|task| task["task"]["service"] == "api").unwrap();
    run["tasks"][api]["took"] = 1.into();
    let past = (1..=5).map(|n| {
        run["id"] = format!("20260101T00000000{n}-{n:04}").into();
        format!("{run}\n")
    });
    let past: String = past.collect();
    repo.write("target/xtask/history.jsonl", &past);
    repo.write("apps/api/src/slower.ts", "export const slower = true;\n");
    let ran = repo.xtask(&["build", "api"]).exits(0);
    for told in
        ["gate: build-time: api: ", "the webhook could not be told: it did not answer in time", "the command could not be told: "]
    {
        assert!(ran.stderr.contains(told), "no {told:?} in {}", ran.stderr);
    }
    assert!(ran.stderr.contains("the Slack webhook could not be told: its variable does not hold a URL"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("not-for-logs"), "{}", ran.stderr);
    let told = seen.lock().unwrap()[0].json();
    assert_eq!(told["occasion"], "slow");
    assert!(told["about"][0].as_str().unwrap().ends_with(" times its median of 0.0s"), "{told:#}");
}
