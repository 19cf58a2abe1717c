//! A stage between build and publish, on one machine: what it refuses is published under no tag, is not taken for built, and is tried again.

use crate::harness::{Shop, server, stage, status};
use monoship_core::execute::shutdown::Shutdown;
use support::engine::shared;

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
}

#[test]
fn an_image_that_a_check_build_does_not_keep_is_loaded_to_be_tried_and_no_container_is_left() {
    let shop = Shop::alone("check");
    let checked = shop.repo.example("smoke", &["ci"]).exits(0);
    assert!(checked.stderr.contains("smoke"), "{}", checked.stderr);
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
