//! A stage between build and publish, on one machine: what it refuses is published under no tag, is not taken for built, and is tried again.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Shop, server, stage, status};
use monoship_core::execute::shutdown::Shutdown;
use support::engine::shared;
use support::repo::{Ran, example_command};

#[test]
fn an_image_that_a_stage_refuses_keeps_every_tag_back_until_it_passes() {
    let shop = Shop::new("smoke");
    shop.repo.write("apps/web/server.mjs", &server("smoke", 500));
    shop.repo.commit("a web that is not well");
    let build = ["build", "--push", "--json"];

    let first = shop.repo.example("smoke", &build).exits(1);
    let record = first.json();
    assert_eq!((status(&record, "api"), status(&record, "web")), (&"built".into(), &"failed".into()), "{record:#}");
    assert_eq!(stage(&record, "smoke", "api")["status"], "done");
    assert_eq!(stage(&record, "smoke", "web")["why"], "web does not answer /health");
    assert!(first.stderr.contains("hint: its log has what it said\n"), "{}", first.stderr);
    assert_eq!((shop.tags("api"), shop.tags("web")), (vec![], vec![]), "a half of the services was published");
    let table: Vec<&str> = first.stderr.lines().filter(|line| line.starts_with("service ") || line.starts_with("web ")).collect();
    assert!(table.iter().any(|line| line.contains(" smoke ")), "no column in {table:?}");
    assert!(table.iter().any(|line| line.contains("smoke failed")), "{table:?}");
    let log = first.stderr.lines().find_map(|line| line.split_once("whole log:")).expect("a log is named").1.trim();
    assert!(std::fs::read_to_string(log).unwrap().contains("does not answer /health"), "{log}");

    // Its inputs have not changed, and still it is not called unchanged. What passed is not tried again.
    let second = shop.repo.example("smoke", &build).exits(1).json();
    assert_eq!((status(&second, "api"), status(&second, "web")), (&"unchanged".into(), &"failed".into()), "{second:#}");
    assert_eq!(stage(&second, "smoke", "api")["status"], "unchanged");
    assert_eq!(stage(&second, "smoke", "web")["status"], "failed");
    assert_eq!(shop.tags("web"), Vec::<String>::new());

    shop.repo.write("apps/web/server.mjs", &server("smoke", 200));
    shop.repo.commit("a web that is well again");
    let third = shop.repo.example("smoke", &build).exits(0).json();
    assert_eq!(stage(&third, "smoke", "web")["status"], "done", "{third:#}");
    assert_eq!(stage(&third, "smoke", "api")["status"], "unchanged");
    assert_eq!((shop.tags("api"), shop.tags("web")), (vec!["main".to_owned()], vec!["main".to_owned()]));

    let fourth = shop.repo.example("smoke", &build).exits(0).json();
    for service in ["api", "web"] {
        assert_eq!(
            (status(&fourth, service), &stage(&fourth, "smoke", service)["status"]),
            (&"unchanged".into(), &"unchanged".into())
        );
    }
    let forced = shop.repo.example("smoke", &["build", "--push", "--force", "--json"]).exits(0).json();
    assert_eq!(stage(&forced, "smoke", "api")["status"], "done", "--force tries again");

    // Stopped while an image that does not answer is tried: the table says so, and no tag moves to it.
    shop.repo.write("apps/web/server.mjs", &server("smoke again", 500));
    shop.repo.commit("a web that is not well again");
    let (stopped, record) = stopped_once(&shop, "smoke", &build, "smoke@web");
    assert_eq!((stopped.code, status(&record, "web")), (130, &"cancelled".into()), "{record:#}");
    assert_eq!(stage(&record, "smoke", "web")["status"], "cancelled");
    assert!(stopped.stderr.contains("smoke was stopped"), "{}", stopped.stderr);
    let again = shop.repo.example("smoke", &build).exits(1).json();
    assert_eq!(stage(&again, "smoke", "web")["status"], "failed", "what was stopped has not passed");
}

/// A run of an example that is stopped, as by Ctrl-C, once it says this, and its record.
fn stopped_once(shop: &Shop, example: &str, args: &[&str], says: &str) -> (Ran, Value) {
    let mut command = example_command(example, shop.repo.path(), args);
    command.envs(shop.repo.variables()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said: Vec<String> = Vec::new();
    said.extend(lines.by_ref().take_while(|line| !line.contains(says)));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    said.extend(lines);
    let output = Output { stderr: said.join("\n").into_bytes(), ..child.wait_with_output().unwrap() };
    let ran = Ran::new(args, &output);
    let record = ran.json();
    (ran, record)
}

#[test]
fn an_image_that_a_check_build_does_not_keep_is_loaded_to_be_tried_and_no_container_is_left() {
    let shop = Shop::alone("check");
    let checked = shop.repo.example("smoke", &["ci"]).exits(0);
    assert!(checked.stderr.contains("smoke"), "{}", checked.stderr);
    // A stage of all images gets them by the same name; where other jobs built them, it cannot be run, which is said.
    shop.script("check.sh", "true");
    shop.script("integration.sh", "echo \"$@\" > tested");
    shop.repo.example("deploy", &["ci"]).exits(0);
    let tested = shop.repo.read("tested");
    assert!(tested.contains(&format!("api={} ", shop.image("api", "check"))), "{tested}");
    for part in [&["ci", "plan"][..], &["ci", "service", "api"], &["ci", "service", "web"]] {
        shop.repo.example("deploy", part).exits(0);
    }
    let publish = shop.repo.example("deploy", &["ci", "publish"]).exits(0);
    assert!(publish.stderr.contains("integration is not run: a check in several jobs keeps no images"), "{}", publish.stderr);
    shop.repo.write("apps/api/server.mjs", &server("check", 500));
    shop.repo.commit("an api that is not well");
    let refused = shop.repo.example("smoke", &["ci"]).exits(1);
    assert!(refused.stderr.contains("api does not answer /health"), "{}", refused.stderr);
    // Docker keeps a container that it made and could not start.
    let dockerfile = shop.repo.read("Dockerfile.monorepo-optimized");
    shop.repo.write("Dockerfile.monorepo-optimized", &dockerfile.replace("[\"node\",", "[\"no-such-program\","));
    shop.repo.commit("an image that starts nothing");
    let refused = shop.repo.example("smoke", &["ci"]).exits(1);
    assert!(refused.stderr.contains("no-such-program"), "{}", refused.stderr);
    let left = shared().engine.docker().args(["ps", "--all", "--quiet"]).read(&Shutdown::new()).unwrap();
    assert_eq!(left.trim(), "", "containers are left");
}
