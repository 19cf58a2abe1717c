//! Other CI systems, and none: the same command, told by other variables; and a GitHub event replayed where GitHub is not.

use monoship_github::workflow::Layout;
use serde_json::json;

use crate::forge::{Forge, SERVICES};
use support::github_api::TOKEN;
use support::repo::{Ran, git};

/// Runs `xtask ci` in a whole clone, as these systems have one, with these variables and no others of any CI system. What it is told to
/// release has its notes in a file, and nothing else has.
fn ci(forge: &Forge, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let (ran, notes) = ci_with_notes(forge, args, variables);
    assert_eq!(notes, variables.iter().any(|(name, _)| *name == "CI_COMMIT_TAG"), "{}", ran.stderr);
    ran
}

/// The same, and whether notes are in a file.
fn ci_with_notes(forge: &Forge, args: &[&str], variables: &[(&str, &str)]) -> (Ran, bool) {
    let dir = tempfile::tempdir().unwrap();
    let clone = dir.path().join("clone");
    git(dir.path(), &["clone", "--quiet", &format!("file://{}", forge.origin.path().display()), "clone"]);
    let mut command = forge.origin.command(&[&["ci", "--allow-stand-ins", "--json"], args].concat());
    let outside = forge.variables("shared").into_iter().filter(|(name, _)| !name.starts_with("GITHUB_"));
    command.current_dir(&clone).envs(outside).envs(variables.iter().copied());
    let ran = Ran::new(args, &command.output().unwrap());
    let notes = std::fs::read_dir(clone.join("target/xtask/release")).into_iter().flatten().flatten();
    let are_there = notes.into_iter().any(|file| file.path().extension().is_some_and(|extension| extension == "md"));
    (ran, are_there)
}

#[test]
fn a_tag_in_gitlab_or_a_bare_shell_is_released_with_its_notes_in_a_file_and_a_merge_request_only_builds() {
    let forge = Forge::small(Layout::Single);
    git(forge.origin.path(), &["tag", "v1.0.0"]);
    let sha = forge.id("main");
    let released =
        ci(&forge, &[], &[("GITLAB_CI", "true"), ("CI", "true"), ("CI_COMMIT_SHA", &sha), ("CI_COMMIT_TAG", "v1.0.0")]);
    let released = released.exits(0).json();
    assert_eq!(released["outputs"]["affected"], json!(SERVICES));
    for service in SERVICES {
        assert_eq!(released["outputs"]["digests"][service], forge.tags(service)["v1.0.0"]);
    }
    let again = ci(&forge, &[], &[("CI_COMMIT_TAG", "v1.0.0")]).exits(0);
    assert!(again.stderr.starts_with("tag v1.0.0 pushed: release v1.0.0\n"), "{}", again.stderr);
    assert_eq!(again.json()["outputs"]["affected"], json!([]));

    git(forge.origin.path(), &["checkout", "--quiet", "-b", "feature"]);
    forge.change("web", "feature");
    let (head, tags) = (forge.id("HEAD"), SERVICES.map(|service| forge.tags(service)));
    let request = [
        ("GITLAB_CI", "true"),
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
        ("CI_COMMIT_SHA", &head),
        ("CI_MERGE_REQUEST_IID", "5"),
        ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &sha),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
    ];
    let checked = ci(&forge, &[], &request).exits(0);
    assert_eq!(checked.json()["outputs"]["affected"], json!(["web"]), "{}", checked.stderr);
    assert!(!checked.stderr.contains("::group::"), "commands of a runner that is not there: {}", checked.stderr);
    assert_eq!(SERVICES.map(|service| forge.tags(service)), tags);
}

#[test]
fn a_recorded_event_is_replayed_on_a_laptop_and_one_that_asks_for_nothing_does_nothing() {
    let forge = Forge::small(Layout::Single);
    git(forge.origin.path(), &["checkout", "--quiet", "-b", "feature"]);
    forge.change("api", "feature");
    let event = forge.pull_request("org/repo");
    git(forge.origin.path(), &["checkout", "--quiet", "feature"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), event.payload.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let replayed = ci(&forge, &["--event", path], &[]).exits(0).json();
    assert_eq!(replayed["outputs"]["affected"], json!(["api"]), "{replayed:#}");
    assert_eq!(replayed["understood"]["trigger"]["event"], "pull-request");
    assert_eq!(ci(&forge, &["plan", "--event", path], &[]).exits(0).json()["outputs"]["matrix"], json!({"service": ["api"]}));

    let head = forge.id("feature");
    let push =
        json!({"ref": "refs/heads/feature", "before": forge.id("main"), "after": head, "repository": {"default_branch": "main"}});
    std::fs::write(file.path(), push.to_string()).unwrap();
    let pushed = ci(&forge, &["--event", path], &[]).exits(0);
    assert_eq!(pushed.json()["outputs"]["affected"], json!(["api"]), "{}", pushed.stderr);
    assert!(pushed.stderr.contains("push nothing\ncaches are read: only the default branch"), "{}", pushed.stderr);
    assert_eq!(pushed.json()["outputs"]["tags"], json!([]));

    std::fs::write(file.path(), json!({"ref": "refs/tags/nightly", "before": "", "after": forge.id("main")}).to_string())
        .unwrap();
    let nothing = ci(&forge, &["--event", path], &[]).exits(0);
    assert!(nothing.stderr.contains("nothing: `nightly` is not a release tag"), "{}", nothing.stderr);
    std::fs::write(file.path(), "{").unwrap();
    assert!(ci(&forge, &["--event", path], &[]).exits(2).stderr.contains(path));
}

#[test]
fn a_version_tag_pushed_to_github_is_released_with_its_notes_on_its_page_or_else_in_a_file() {
    let forge = Forge::small(Layout::Single);
    let file = tempfile::NamedTempFile::new().unwrap();
    let api = forge.github.url();
    let job = [("GITHUB_API_URL", api.as_str()), ("GITHUB_REPOSITORY", "org/repo"), ("GITHUB_TOKEN", TOKEN)];
    let pushed = |tag: &str| {
        git(forge.origin.path(), &["tag", tag]);
        let before = "0".repeat(40);
        let payload = json!({"ref": format!("refs/tags/{tag}"), "before": before, "after": forge.id(tag), "created": true});
        std::fs::write(file.path(), payload.to_string()).unwrap();
        let (ran, notes) = ci_with_notes(&forge, &["--event", file.path().to_str().unwrap()], &job);
        let ran = ran.exits(0);
        assert!(ran.stderr.starts_with(&format!("tag {tag} pushed: release {tag}\n")), "{}", ran.stderr);
        (ran.json(), notes)
    };
    let (first, notes) = pushed("v1.0.0");
    assert!(notes, "there is no release to write to: {first:#}");
    assert_eq!((&first["understood"]["trigger"]["event"], &first["outputs"]["affected"]), (&json!("tag-push"), &json!(SERVICES)));
    for service in SERVICES {
        let tags = forge.tags(service);
        assert_eq!([&tags["v1.0.0"], &tags["1.0"], &tags["latest"]], [first["outputs"]["digests"][service].as_str().unwrap(); 3]);
    }

    forge.github.release("v1.1.0", "By hand.");
    let (second, notes) = pushed("v1.1.0");
    assert!(!notes, "{second:#}");
    assert_eq!(second["outputs"]["affected"], json!([]));
    let body = forge.github.body("v1.1.0");
    assert!(body.starts_with("By hand.") && body.contains(&forge.tags("web")["v1.1.0"]), "{body}");
}

#[test]
fn a_clone_that_was_not_pulled_leaves_the_branch_s_tag_to_what_others_published_and_one_that_is_ahead_takes_it() {
    let forge = Forge::small(Layout::Single);
    let dir = tempfile::tempdir().unwrap();
    let clone = |name: &str| {
        git(dir.path(), &["clone", "--quiet", &format!("file://{}", forge.origin.path().display()), name]);
        dir.path().join(name)
    };
    let run = |clone: &std::path::Path, more: &[&str]| {
        let args = [&["build", "api", "--push", "--allow-stand-ins"], more].concat();
        let mut command = forge.origin.command(&args);
        let outside = forge.variables("shared").into_iter().filter(|(name, _)| !name.starts_with("GITHUB_"));
        Ran::new(&args, &command.current_dir(clone).envs(outside).output().unwrap())
    };
    let push = |clone: &std::path::Path, more: &[&str]| run(clone, more).exits(0).stderr;
    let stale = clone("stale");
    forge.change("api", "second");
    let fresh = clone("fresh");
    push(&fresh, &[]);
    let now = forge.tags("api")["main"].clone();
    let said = push(&stale, &[]);
    let second = forge.id("HEAD");
    assert!(said.contains(&format!("`main` stays where it is: {}, which is newer", &second[..12])), "{said}");
    assert_eq!(forge.tags("api")["main"], now);
    // Its own commit has its tag, and who means it takes the branch's.
    let own = git(&stale, &["rev-parse", "HEAD"]);
    let older = forge.tags("api")[&format!("sha-{}", &own[..12])].clone();
    push(&stale, &["--tag", "main"]);
    assert_eq!(forge.tags("api")["main"], older);
    // What is not pushed yet follows what is.
    git(&fresh, &["commit", "--quiet", "--allow-empty", "--message", "not pushed"]);
    assert!(!push(&fresh, &[]).contains("stays where it is"));
    assert_eq!(forge.tags("api")["main"], now);
    // Two branches that come to one tag: it is that of the one which is called so.
    git(forge.origin.path(), &["branch", "feat-x"]);
    git(&fresh, &["switch", "--quiet", "--create", "feat/x"]);
    let said = run(&fresh, &[]).exits(2).stderr;
    assert!(
        said.contains("the tag `feat-x` of the branch `feat/x` is not free: it is that of the branch `feat-x`, too"),
        "{said}"
    );
    git(&fresh, &["switch", "--quiet", "--create", "feat-x"]);
    push(&fresh, &[]);
    assert_eq!(forge.tags("api")["feat-x"], now);
}
