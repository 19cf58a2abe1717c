//! Cache mounts that a new machine gets back from the registry.

use serde_json::Value;

use crate::harness::{building_on, mini, second_engine, task, turn};
use support::repo::{Ran, Repo};

/// One step fills a mount and says what it found in it; it is run again where the package that the service needs is edited. The first time it
/// takes long enough to be worth keeping.
const DOCKERFILE: &str = "FROM node:24-bookworm-slim AS base\n\nFROM scratch AS manifests\nCOPY package.json /\n\nFROM scratch AS sources\nCOPY . /\n\n\
     FROM sources AS dependency-sources\n\n\
     FROM base AS api\nUSER 1000:1000\n\
     RUN --mount=type=cache,id=builds,target=/store,uid=1000,gid=1000 --mount=type=bind,from=dependency-sources,target=/deps \\\n  \
     if [ -e /store/folder/kept ]; then cd /store/folder; echo \"found $(stat -c '%u %a %Y' kept .) $(readlink link) $(ls)\"; else echo found nothing; fi; \\\n  \
     if [ \"$(cat /deps/packages/lib/version)\" = one ]; then sleep 5; fi; mkdir -p /store/folder; cd /store/folder; echo kept > kept; chmod 640 kept; touch -d @1000000000 kept; ln -sf kept link; \\\n  \
     cat /deps/packages/lib/version > \"$(cat /deps/packages/lib/version)\"; chmod 750 .\n\
     COPY --from=sources /apps/api/src /app\n";

fn mounts(record: &Value) -> (String, String) {
    let plan = record["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "plan").unwrap();
    let tier = plan["tiers"].as_array().unwrap().iter().find(|tier| tier["tier"] == "mounts").unwrap();
    let text = |key: &str| tier[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("why"))
}

/// How the tasks that move the mounts ended.
fn moved(record: &Value) -> Vec<String> {
    let tasks = record["tasks"].as_array().unwrap().iter();
    let moving = tasks.filter(|task| ["restore", "keep"].contains(&task["task"].as_str().unwrap_or_default()));
    moving.map(|task| format!("{} {}", task["task"].as_str().unwrap(), task["status"].as_str().unwrap())).collect()
}

#[test]
fn a_new_builder_gets_the_cache_mounts_back_and_only_what_is_new_goes_to_the_registry() {
    let _turn = turn();
    let registry = second_engine().registry();
    let repo = building_on("second", mini(DOCKERFILE))
        .env("XTASK_IMAGES_REGISTRY", &registry)
        .env("XTASK_IMAGES_NAMESPACE", "mounts/shop")
        .env("CI", "true");
    repo.write("packages/lib/version", "one");
    repo.write("xtask.toml", "[attest]\nsbom = false\nprovenance = false\n");
    repo.commit("a version");
    // Each on a machine that has nothing, not even a record of what was built.
    let build = |repo: &Repo, args: &[&str]| -> (Ran, Value) {
        second_engine();
        let _ = std::fs::remove_dir_all(repo.path().join("target/xtask"));
        let ran =
            repo.xtask(&[&["build", "--push", "--allow-stand-ins", "--json", "--progress", "plain"], args].concat()).exits(0);
        let record = ran.json();
        (ran, record)
    };
    let (ran, first) = build(&repo, &[]);
    assert_eq!(mounts(&first), ("write-only".to_owned(), "nothing is there yet".to_owned()));
    assert!(ran.stderr.contains("│   found nothing"), "{}", ran.stderr);
    assert_eq!(moved(&first), ["keep done"], "{}", ran.stderr);

    let kept = || -> Value {
        let place = format!("http://{registry}/v2/mounts/shop/cache/manifests/_mounts");
        let call = ureq::get(&place).header("accept", "application/vnd.oci.image.manifest.v1+json").call();
        serde_json::from_str(&call.unwrap().body_mut().read_to_string().unwrap()).unwrap()
    };
    let layers = || kept()["layers"].as_array().unwrap().clone();

    // What cannot be restored costs nobody a build. It is kept anew, whole.
    repo.write("packages/lib/version", "two");
    second_engine().lose_blob(layers()[0]["digest"].as_str().unwrap());
    let (ran, second) = build(&repo, &[]);
    assert_eq!(moved(&second), ["restore not-run", "keep done"], "{}", ran.stderr);
    assert!(ran.stderr.contains("the steps that use them begin with nothing"), "{}", ran.stderr);
    assert!(ran.stderr.contains("│   found nothing") && layers().len() == 1, "{}", ran.stderr);

    // Owner, mode, time and links are as they were. What is new lies in a layer of its own.
    repo.write("packages/lib/version", "three");
    let (ran, third) = build(&repo, &[]);
    assert_eq!(
        (mounts(&third).0.as_str(), moved(&third).join(", ").as_str()),
        ("used", "restore done, keep done"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("│   found 1000 640 1000000000\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("│   1000 750 ") && ran.stderr.contains(" kept kept"), "{}", ran.stderr);
    let manifest = kept();
    assert_eq!(layers().len(), 2, "{manifest:#}");
    assert!(manifest["annotations"]["vnd.monoship.repository"].is_string(), "{manifest:#}");
    let note: Value = serde_json::from_str(manifest["annotations"]["vnd.monoship.mounts"].as_str().unwrap()).unwrap();
    assert_eq!((&note["restored"], note["made"].as_array().unwrap().len()), (&Value::from(1), 3), "{note:#}");

    // The service's own sources are none of that step's business, which lies in the registry's cache.
    repo.write("apps/api/src/main.ts", "console.log('edited')\n");
    let (ran, fourth) = build(&repo, &[]);
    assert_eq!(mounts(&fourth), ("left-out".to_owned(), "the steps that would use them lie in the other tiers".to_owned()));
    assert_eq!(task(&fourth, "api")["status"], "built");
    assert!(moved(&fourth).is_empty() && !ran.stderr.contains("│   found"), "{}", ran.stderr);

    // A step of an instant is not worth it, and that is known from the third.
    repo.write("packages/lib/version", "four");
    let (ran, fifth) = build(&repo, &[]);
    let (verdict, why) = mounts(&fifth);
    assert_eq!((verdict.as_str(), moved(&fifth).len()), ("left-out", 0), "{why}");
    assert!(why.starts_with("moving them took ") && why.ends_with(" longer than what they spared"), "{why}");
    assert!(ran.stderr.contains("│   found nothing"), "{}", ran.stderr);

    let shown = repo.xtask(&["build", "--push", "--allow-stand-ins", "--force", "--dry-run"]).exits(0).stdout;
    assert!(
        shown.contains("# cache mounts builds,uid=1000,gid=1000\n#   cache mounts    left out: the builder has some already"),
        "{shown}"
    );
}
