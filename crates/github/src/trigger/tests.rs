//! Recorded events and what they start.

use serde_json::{Value, json};

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn env(vars: &[(&str, &str)]) -> Env {
    Env::new("/", vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// As a runner presents it, and as a replay does: both must agree, but for the commit that only a runner names.
fn plan(name: &str, payload: &Value) -> Result<CiPlan> {
    let replayed = event::plan(&payload.to_string(), None, &env(&[]));
    let real = event::plan(&payload.to_string(), Some(name), &env(&[]));
    if let (Ok(replayed), Ok(real)) = (&replayed, &real) {
        assert_eq!(replayed, real);
    }
    real
}

fn repository() -> Value {
    json!({"full_name": "org/repo", "default_branch": "main"})
}

fn pull_request(head_repo: &Value, action: &str) -> Value {
    json!({"action": action, "number": 7, "repository": repository(), "pull_request": {
        "number": 7,
        "base": {"ref": "main", "sha": A, "repo": repository()},
        "head": {"ref": "evil; rm -rf", "sha": B, "repo": head_repo},
    }})
}

#[test]
fn a_published_release_and_a_dispatch_with_a_tag_release_it() {
    let release = |action: &str, tag: &str| json!({"action": action, "release": {"tag_name": tag, "prerelease": tag.contains('-')}, "repository": repository()});
    let made = plan("release", &release("published", "v1.2.3")).unwrap();
    let action = |tag: &str, prerelease| Action::Release { tag: tag.parse().unwrap(), prerelease, release_must_exist: true };
    assert_eq!((&made.action, made.trusted, &made.cache), (&action("v1.2.3", Some(false)), true, &CacheUse::ReadWrite));
    assert_eq!(made.lines()[0], "release v1.2.3 published: release v1.2.3");
    assert_eq!(plan("release", &release("published", "1.0.0-rc.1")).unwrap().action, action("1.0.0-rc.1", Some(true)));
    assert!(matches!(plan("release", &release("edited", "v1.2.3")).unwrap().action, Action::Nothing { .. }));
    for other in ["latest", "nightly", "v1", "v1.2.3;ls", "v1.2.3\n", "../v1.2.3", ""] {
        let made = plan("release", &release("published", other)).unwrap();
        assert!(matches!(&made.action, Action::Nothing { why } if !why.contains('\n')), "{other}: {made:?}");
    }
    assert!(plan("release", &release("published", "v1.2.3+build")).is_err_and(|error| error.exit_code() == 2));
    let dispatch = |inputs: Value| json!({"inputs": inputs, "ref": "refs/heads/main", "repository": repository()});
    assert_eq!(plan("workflow_dispatch", &dispatch(json!({"tag": "v2.0.0"}))).unwrap().action, action("v2.0.0", None));
    for bad in ["latest", "v1", "v1.2.3;ls", "v1.2.3+build"] {
        assert!(plan("workflow_dispatch", &dispatch(json!({"tag": bad}))).is_err_and(|error| error.exit_code() == 2), "{bad}");
    }
    for none in [json!(null), json!({}), json!({"tag": " "})] {
        let made = plan("workflow_dispatch", &dispatch(none)).unwrap();
        assert_eq!(made.action, Action::Build { since: None, push: false });
    }
}

#[test]
fn github_s_own_marks_of_a_release_are_honoured() {
    let release = |action: &str, prerelease: bool, draft: bool| {
        let release = json!({"tag_name": "v2.0.0", "prerelease": prerelease, "draft": draft});
        plan("release", &json!({"action": action, "release": release, "repository": repository()})).unwrap()
    };
    let flag = |made: &CiPlan| match made.action {
        Action::Release { prerelease, .. } => prerelease,
        _ => panic!("{made:?}"),
    };
    assert_eq!(flag(&release("published", true, false)), Some(true));
    assert_eq!(
        release("published", true, false).lines()[0],
        "pre-release v2.0.0 published: release v2.0.0, a pre-release: its exact tags alone"
    );
    assert_eq!(flag(&release("prereleased", true, false)), Some(true));
    // The promotion of a pre-release, which is also what follows the publication of any other.
    assert_eq!(flag(&release("released", false, false)), Some(false));
    for nothing in ["created", "edited", "deleted", "unpublished"] {
        assert!(
            matches!(release(nothing, false, false).action, Action::Nothing { ref why } if why.contains(nothing)),
            "{nothing}"
        );
    }
    assert!(matches!(release("published", false, true).action, Action::Nothing { ref why } if why.contains("draft")));
}

#[test]
fn a_tag_of_one_package_starts_nothing_however_it_comes() {
    for (tag, package) in [
        ("@acme/api@1.2.3", "@acme/api"),
        ("api@1.2.3", "api"),
        ("api/v1.2.3", "api"),
        ("apps/api/1.2.3-rc.1", "apps/api"),
        ("my-api-v1.2.3", "my-api"),
        ("api-1.2.3-rc.1", "api"),
    ] {
        let release = json!({"action": "published", "release": {"tag_name": tag}, "repository": repository()});
        let pushed = json!({"ref": format!("refs/tags/{tag}"), "before": ZERO, "after": B, "repository": repository()});
        let called = CiPlan::detect(&env(&[("GITHUB_ACTIONS", "true")]), None, Some(tag)).unwrap();
        for made in [plan("release", &release).unwrap(), plan("push", &pushed).unwrap(), called] {
            let Action::Nothing { why } = &made.action else { panic!("{tag}: {made:?}") };
            assert!(why.contains(&format!("a version of {package} alone")), "{why}");
        }
    }
}

#[test]
fn another_workflow_calls_for_a_tag_whatever_event_started_it() {
    let runner =
        env(&[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_EVENT_PATH", "/none"), ("GITHUB_SHA", A)]);
    let action = Action::Release { tag: "v1.2.3".parse().unwrap(), prerelease: None, release_must_exist: true };
    for tag in ["v1.2.3", "refs/tags/v1.2.3"] {
        let made = CiPlan::detect(&runner, None, Some(tag)).unwrap();
        assert_eq!(
            (made.system, &made.action, made.lines()[0].as_str()),
            (System::Github, &action, "dispatched for v1.2.3: release v1.2.3")
        );
    }
    // No input is an empty text.
    assert!(CiPlan::detect(&runner, None, Some("")).is_err_and(|error| error.to_string().contains("/none")));
    assert!(CiPlan::detect(&runner, None, Some("v1")).is_err_and(|error| error.exit_code() == 2));
}

#[test]
fn a_push_builds_what_changed_and_only_the_default_branch_pushes() {
    let push = |git_ref: &str, before: &str, deleted: bool| json!({"ref": git_ref, "before": before, "after": B, "deleted": deleted, "repository": repository()});
    let made = plan("push", &push("refs/heads/main", A, false)).unwrap();
    let since = Some(Since::Commit(A.parse().unwrap()));
    assert_eq!(made.action, Action::Build { since: since.clone(), push: true });
    assert_eq!(made.commit, Some(B.parse().unwrap()));
    assert_eq!(plan("push", &push("refs/heads/feat/x", A, false)).unwrap().action, Action::Build { since, push: false });
    assert_eq!(made.cache, CacheUse::ReadWrite);
    assert!(matches!(plan("push", &push("refs/heads/x", A, false)).unwrap().cache, CacheUse::Read(_)));
    let first = plan("push", &push("refs/heads/main", ZERO, false)).unwrap();
    assert_eq!(first.action, Action::Build { since: None, push: true });
    assert!(matches!(plan("push", &push("refs/heads/x", A, true)).unwrap().action, Action::Nothing { .. }));
}

#[test]
fn a_forks_own_events_write_nothing_where_the_images_are_another_owners() {
    let fork = json!({"full_name": "Me/repo", "default_branch": "main", "fork": true});
    let push = |repository: &Value| json!({"ref": "refs/heads/main", "before": A, "after": B, "repository": repository});
    let at = |event: &str, payload: &Value, place: &str| {
        let (made, said) = plan(event, payload).unwrap().in_a_fork(Some(&place.parse().unwrap()));
        (made.action, said)
    };
    let since = Some(Since::Commit(A.parse().unwrap()));
    let said = "nothing is pushed: this is Me's fork, and the images are org's".to_owned();
    let not_pushed = Action::Build { since: since.clone(), push: false };
    assert_eq!(at("push", &push(&fork), "ghcr.io/org/repo"), (not_pushed, Some(said)));
    let week = json!({"schedule": "1 1 * * 1", "repository": fork});
    assert!(matches!(at("schedule", &week, "ghcr.io/org/repo").0, Action::Nothing { .. }));
    // Its own place, another registry, whose owners are not GitHub's, and a repository that is no fork.
    let pushed = (Action::Build { since, push: true }, None);
    for (repository, place) in [(&fork, "ghcr.io/me/repo"), (&fork, "r.example/org/repo"), (&repository(), "ghcr.io/acme/x")] {
        assert_eq!(at("push", &push(repository), place), pushed, "{place}");
    }
}

#[test]
fn a_pushed_tag_is_released_when_it_is_a_version() {
    let push = |tag: &str, deleted: bool| json!({"ref": format!("refs/tags/{tag}"), "before": ZERO, "after": B, "deleted": deleted, "repository": repository()});
    let action = Action::Release { tag: "v1.2.3".parse().unwrap(), prerelease: None, release_must_exist: false };
    assert_eq!(plan("push", &push("v1.2.3", false)).unwrap().action, action);
    for other in ["nightly", "v1.2.3+build", "a/b"] {
        let made = plan("push", &push(other, false)).unwrap();
        assert!(matches!(made.action, Action::Nothing { ref why } if why.contains(other)), "{made:?}");
    }
    assert!(matches!(plan("push", &push("v1.2.3", true)).unwrap().action, Action::Nothing { .. }));
}

#[test]
fn a_pull_request_reads_caches_and_pushes_nothing_whoever_sends_it() {
    let ours = plan("pull_request", &pull_request(&repository(), "synchronize")).unwrap();
    let action = Action::Build { since: Some(Since::MergeBase(A.parse().unwrap())), push: false };
    assert_eq!((&ours.action, ours.trusted), (&action, true));
    assert_eq!(ours.cache, CacheUse::Read("a pull request only reads caches".into()));
    let fork = json!({"full_name": "evil/repo"});
    for head in [fork, Value::Null] {
        let theirs = plan("pull_request", &pull_request(&head, "opened")).unwrap();
        assert_eq!((&theirs.action, theirs.trusted), (&action, false));
        assert!(theirs.lines()[0].starts_with("pull request 7 from a fork: build what changed since the merge base"));
    }
    let closed = plan("pull_request", &pull_request(&repository(), "closed")).unwrap();
    assert!(matches!(closed.action, Action::Nothing { .. }));
}

#[test]
fn a_merge_queue_and_the_clock_have_their_plans() {
    let queue = json!({"action": "checks_requested", "repository": repository(),
        "merge_group": {"head_sha": B, "base_sha": A, "base_ref": "refs/heads/main", "head_ref": "refs/heads/gh-readonly-queue/main/x"}});
    let made = plan("merge_group", &queue).unwrap();
    assert_eq!(made.trigger, Trigger::MergeQueue { base: "main".into() });
    assert_eq!(made.action, Action::Build { since: Some(Since::MergeBase(A.parse().unwrap())), push: false });
    assert_eq!(plan("schedule", &json!({"schedule": "17 3 * * 1"})).unwrap().action, Action::Upkeep);
}

#[test]
fn events_that_must_not_be_built_or_are_unknown_are_refused_with_the_way_out() {
    let error = plan("pull_request_target", &pull_request(&Value::Null, "opened")).unwrap_err();
    assert!(error.to_string().contains("secrets") && error.exit_code() == 2, "{error}");
    let error = plan("pull_requests", &json!({})).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("did you mean `pull_request`?")), "{error}");
    assert!(plan("push", &json!({"ref": "refs/pull/1/merge"})).is_err());
    for broken in [r#"{"ref": "refs/heads/x", "before": 7}"#, "[]", "", "{}"] {
        assert!(event::plan(broken, None, &env(&[])).is_err(), "{broken}");
    }
}

#[test]
fn the_environment_or_a_replayed_file_says_which_event_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("event.json");
    std::fs::write(&file, pull_request(&repository(), "opened").to_string()).unwrap();
    let runner = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_EVENT_PATH", file.to_str().unwrap()),
        ("GITHUB_SHA", A),
    ];
    let made = CiPlan::detect(&env(&runner), None, None).unwrap();
    assert_eq!((made.system, made.commit.as_ref().map(CommitId::as_str)), (System::Github, Some(A)));
    assert_eq!(default_branch(&env(&runner)).unwrap().as_deref(), Some("main"));
    assert_eq!(default_branch(&env(&[("GITHUB_EVENT_PATH", runner[2].1)])).unwrap(), None);
    // On a laptop, and inside another event's run.
    assert!(matches!(CiPlan::detect(&env(&[]), Some(&file), None).unwrap().trigger, Trigger::PullRequest { .. }));
    let other = env(&[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "schedule"), ("GITHUB_EVENT_PATH", "/none")]);
    assert!(matches!(CiPlan::detect(&other, Some(&file), None).unwrap().trigger, Trigger::PullRequest { .. }));
    let error = CiPlan::detect(&other, None, None).unwrap_err();
    assert!(error.to_string().contains("/none"), "{error}");
    std::fs::write(&file, "{").unwrap();
    let error = CiPlan::detect(&env(&[]), Some(&file), None).unwrap_err();
    assert!(error.to_string().starts_with(file.to_str().unwrap()), "{error}");
}

#[test]
fn gitlab_and_a_bare_shell_are_understood() {
    let gitlab = |vars: &[(&str, &str)]| {
        let base = [("GITLAB_CI", "true"), ("CI_DEFAULT_BRANCH", "main"), ("CI_COMMIT_SHA", B)];
        CiPlan::detect(&env(&[&base, vars].concat()), None, None).unwrap()
    };
    let tag = Action::Release { tag: "v1.2.3".parse().unwrap(), prerelease: None, release_must_exist: false };
    assert_eq!(gitlab(&[("CI_COMMIT_TAG", "v1.2.3")]).action, tag);
    let push = gitlab(&[("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_BEFORE_SHA", A)]);
    assert_eq!(push.action, Action::Build { since: Some(Since::Commit(A.parse().unwrap())), push: true });
    let new = gitlab(&[("CI_COMMIT_BRANCH", "x"), ("CI_COMMIT_BEFORE_SHA", ZERO)]);
    assert_eq!(new.action, Action::Build { since: None, push: false });
    assert_eq!(gitlab(&[("CI_PIPELINE_SOURCE", "schedule"), ("CI_COMMIT_BRANCH", "main")]).action, Action::Upkeep);
    let request = [
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
        ("CI_MERGE_REQUEST_IID", "5"),
        ("CI_MERGE_REQUEST_PROJECT_ID", "1"),
        ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "2"),
        ("CI_MERGE_REQUEST_DIFF_BASE_SHA", A),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
    ];
    let made = gitlab(&request);
    assert_eq!(made.trigger, Trigger::PullRequest { number: 5, base: "main".into(), fork: true });
    assert_eq!(made.action, Action::Build { since: Some(Since::MergeBase(A.parse().unwrap())), push: false });
    assert!(!made.trusted && matches!(made.cache, CacheUse::Read(_)));
    let child = [("CI_PIPELINE_SOURCE", "parent_pipeline"), ("CI_COMMIT_REF_NAME", "feat")];
    let child = gitlab(&[&request[1..], &child].concat());
    assert_eq!((child.trigger, child.action), (made.trigger.clone(), made.action.clone()));
    let mirrored = gitlab(&[
        ("CI_PIPELINE_SOURCE", "external_pull_request_event"),
        ("CI_EXTERNAL_PULL_REQUEST_IID", "5"),
        ("CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME", "next"),
        ("CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_SHA", A),
        // The request's branch: here the default one.
        ("CI_COMMIT_BRANCH", "main"),
    ]);
    assert_eq!(mirrored.trigger, Trigger::PullRequest { number: 5, base: "next".into(), fork: false });
    assert_eq!(mirrored.action, made.action);
    let train = gitlab(&[&request[..], &[("CI_MERGE_REQUEST_EVENT_TYPE", "merge_train")]].concat());
    assert_eq!(train.trigger, Trigger::MergeQueue { base: "main".into() });
    let shell = CiPlan::detect(&env(&[]), None, None).unwrap();
    assert_eq!((shell.system, shell.action), (System::Shell, Action::Build { since: None, push: false }));
    assert_eq!(CiPlan::detect(&env(&[("CI_COMMIT_TAG", "v1.2.3")]), None, None).unwrap().action, tag);
}

#[test]
fn a_tag_is_released_wherever_a_ci_system_names_it_and_by_no_other_system_s_variable() {
    let action = |vars: &[(&str, &str)]| CiPlan::detect(&env(vars), None, None).unwrap().action;
    let release = Action::Release { tag: "v1.2.3".parse().unwrap(), prerelease: None, release_must_exist: false };
    let build = Action::Build { since: None, push: false };
    for (system, variable, value) in [
        ("CIRCLECI", "CIRCLE_TAG", "v1.2.3"),
        ("JENKINS_URL", "TAG_NAME", "v1.2.3"),
        ("TF_BUILD", "BUILD_SOURCEBRANCH", "refs/tags/v1.2.3"),
        ("CODEBUILD_BUILD_ID", "CODEBUILD_WEBHOOK_TRIGGER", "tag/v1.2.3"),
    ] {
        assert_eq!(action(&[(system, "true"), (variable, value)]), release, "{system}");
        assert_eq!(action(&[(variable, value)]), build, "{variable} alone");
        assert_eq!(action(&[(system, "true"), (variable, "refs/heads/v1.2.3")]) == build, value.contains('/'), "{system}");
    }
    assert!(matches!(action(&[("BUILDKITE", "true"), ("BUILDKITE_TAG", "nightly")]), Action::Nothing { .. }));
}

#[test]
fn a_dispatch_on_a_tag_is_for_that_tag_and_one_on_a_branch_for_what_it_names() {
    let action = |event: &Value| plan("workflow_dispatch", event).unwrap().action;
    let release = Action::Release { tag: "v1.2.3".parse().unwrap(), prerelease: None, release_must_exist: true };
    assert_eq!(action(&json!({"ref": "refs/tags/v1.2.3", "inputs": null})), release);
    assert_eq!(action(&json!({"ref": "refs/tags/v2.0.0", "inputs": {"tag": "v1.2.3"}})), release);
    assert!(matches!(action(&json!({"ref": "refs/tags/nightly"})), Action::Nothing { .. }));
    assert_eq!(action(&json!({"ref": "refs/heads/v1.2.3"})), Action::Build { since: None, push: false });
}
