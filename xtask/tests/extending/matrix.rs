//! The same stage in the jobs of a matrix: each image is tried by its service's job, and the last job takes over what came of it.

use serde_json::json;

use crate::harness::{Shop, server};
use support::repo::{Ran, git};

struct Jobs {
    shop: Shop,
    event: String,
}

impl Jobs {
    /// The event of a push of what main is now.
    fn of(shop: Shop) -> Self {
        let after = git(shop.repo.path(), &["rev-parse", "HEAD"]);
        let payload = json!({
            "ref": "refs/heads/main", "before": "0000000000000000000000000000000000000000", "after": after,
            "repository": {"full_name": "org/repo", "default_branch": "main"},
        });
        shop.repo.write("target/event.json", &payload.to_string());
        let event = shop.repo.path().join("target/event.json").to_str().unwrap().to_owned();
        Self { shop, event }
    }

    fn job(&self, args: &[&str]) -> Ran {
        self.job_of("smoke", args)
    }

    fn job_of(&self, example: &str, args: &[&str]) -> Ran {
        let all = [&["ci", "--event", &self.event, "--allow-stand-ins"], args].concat();
        self.shop.repo.example(example, &all)
    }
}

#[test]
fn a_service_that_its_job_refuses_is_published_by_none_and_one_that_passed_is_not_tried_twice() {
    let shop = Shop::new("jobs");
    shop.repo.write("apps/web/server.mjs", &server("jobs", 500));
    shop.repo.commit("a web that is not well");
    let jobs = Jobs::of(shop);
    let plan = jobs.job(&["plan"]).exits(0);
    assert_eq!(plan.json(), json!({"service": ["api", "web"]}));
    jobs.job(&["base"]).exits(0);
    let api = jobs.job(&["service", "api"]).exits(0);
    assert!(api.stderr.contains("smoke"), "{}", api.stderr);
    let web = jobs.job(&["service", "web"]).exits(1);
    assert!(web.stderr.contains("web does not answer /health"), "{}", web.stderr);
    let publish = jobs.job(&["publish"]).exits(1);
    assert!(
        publish.stderr.contains("nothing is published") && publish.stderr.contains("web: smoke failed"),
        "{}",
        publish.stderr
    );
    assert_eq!((jobs.shop.tags("api"), jobs.shop.tags("web")), (vec![], vec![]));

    // The repaired commit: api stands, and no job is made for it; whoever publishes finds that it passed.
    jobs.shop.repo.write("apps/web/server.mjs", &server("jobs", 200));
    jobs.shop.repo.commit("a web that is well again");
    let jobs = Jobs::of(jobs.shop);
    std::fs::remove_dir_all(jobs.shop.repo.path().join("target/xtask/ci")).unwrap();
    assert_eq!(jobs.job(&["plan"]).exits(0).json(), json!({"service": ["web"]}));
    jobs.job(&["service", "web"]).exits(0);
    let publish = jobs.job(&["publish"]).exits(0);
    let row = |service: &str| publish.stderr.lines().find(|line| line.starts_with(service)).unwrap().to_owned();
    assert!(row("api").contains("passed before") && row("web").contains("passed"), "{}", publish.stderr);
    assert_eq!((jobs.shop.tags("api"), jobs.shop.tags("web")), (vec!["main".to_owned()], vec!["main".to_owned()]));

    // What the first job's stages came to stands in the record of the run.
    jobs.shop.script("check.sh", "true");
    jobs.shop.script("deploy.sh", "true");
    jobs.shop.script("integration.sh", "true");
    jobs.job_of("deploy", &["plan"]).exits(0);
    let publish = jobs.job_of("deploy", &["publish"]).exits(0);
    let row = |stage: &str| publish.stderr.lines().any(|line| line.starts_with(stage) && line.contains("done"));
    assert!(row("check ") && row("integration ") && row("deploy "), "{}", publish.stderr);
    // One that fails in the last job fails that job, whether it keeps the tags back or comes after them.
    for stage in ["integration", "deploy"] {
        jobs.shop.script(&format!("{stage}.sh"), "echo no room; exit 3");
        let publish = jobs.job_of("deploy", &["publish"]).exits(1);
        assert!(publish.stderr.contains(&format!("error: {stage} failed: `./{stage}.sh ")), "{}", publish.stderr);
        jobs.shop.script(&format!("{stage}.sh"), "true");
    }
    jobs.shop.script("check.sh", "echo a finding; exit 3");
    let plan = jobs.job_of("deploy", &["plan"]).exits(1);
    assert!(plan.stderr.contains("a finding") && !plan.stderr.contains("stages::plan"), "{}", plan.stderr);
}
