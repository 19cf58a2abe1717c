//! Release notes end to end: what a person finds on the release's page after a run, whatever GitHub did meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use monoship_core::env::Env;
use monoship_core::error::Result;
use monoship_core::event::{Event, Events};
use monoship_core::execute::http::{Http, Limits};
use monoship_core::execute::retry::Policy;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::Digest;
use monoship_github::api::{Api, Place};
use monoship_github::notes::{BODY_LIMIT, ImageNote, ReleaseNotes};
use monoship_plan::request::Missing;
use monoship_steps::update_release::{NotesRequest, Outcome, Report, update_release};
use serde_json::json;
use support::actions_cache::CacheStore;
use support::github_api::{GithubApi, READ_TOKEN, TOKEN};
use support::http::{Break, Response};

/// The markers, as they have to be for the notes of earlier releases to be found.
const BEGIN: &str = "<!-- xtask:images:begin -->";
const END: &str = "<!-- xtask:images:end -->";

const QUICK: Policy =
    Policy { attempts: 3, first: Duration::from_millis(1), ceiling: Duration::from_millis(2), patience: Duration::from_secs(2) };

fn notes(byte: u8) -> ReleaseNotes {
    let image = ImageNote {
        service: "api".parse().unwrap(),
        image: "ghcr.io/org/repo/api".parse().unwrap(),
        digest: Some(Digest::of(&[byte])),
        platforms: Vec::new(),
        change: None,
    };
    let tag: monoship_core::name::Tag = "v1.2.3".parse().unwrap();
    ReleaseNotes { tag: tag.clone(), folder: None, image_tag: tag, images: vec![image], previous: None, details: None }
}

/// The fake, a folder, and what was said.
pub struct Trial {
    pub fake: GithubApi,
    dir: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl Trial {
    fn new() -> Self {
        Self::with_caches(CacheStore::default())
    }

    pub fn with_caches(caches: CacheStore) -> Self {
        let fake = GithubApi::start("org/repo", caches);
        Self { fake, dir: tempfile::tempdir().unwrap(), said: Arc::default() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("notes.md")
    }

    pub fn api(&self, token: &str) -> (Api, Events) {
        let vars =
            [("GITHUB_API_URL", self.fake.url()), ("GITHUB_REPOSITORY", "org/repo".into()), ("GITHUB_TOKEN", token.into())];
        let env = Env::new("/", vars.map(|(name, value)| (name.to_owned(), value)));
        let said = Arc::clone(&self.said);
        let events = Events::new(move |event| {
            if let Event::Notice { message, .. } = event {
                said.lock().unwrap().push(message);
            }
        });
        let place = Place::from_env(&env, None).unwrap().unwrap();
        let http = Http::new(&env, Limits::STANDARD, &Shutdown::new());
        (Api::new(http, place, events.clone()).with_policy(QUICK), events)
    }

    fn run_as(&self, token: &str, change: impl FnOnce(&mut NotesRequest<'_>)) -> Result<Report> {
        let (api, events) = self.api(token);
        let (notes, file) = (notes(1), self.file());
        let mut request = NotesRequest {
            notes: &notes,
            missing: Missing::Fail,
            prerelease: false,
            dry_run: false,
            file: None,
            fallback: &file,
        };
        change(&mut request);
        update_release(Ok(&api), &request, &events)
    }

    fn run(&self) -> Result<Report> {
        self.run_as(TOKEN, |_| ())
    }

    fn writes(&self) -> usize {
        self.fake.state().release("v1.2.3").writes
    }

    fn said(&self, what: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(what))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// GitHub sends who asks for the old name on to the new place, changes too.
#[test]
fn the_notes_of_a_repository_that_was_renamed_are_written() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "By hand.");
    let id = trial.fake.state().releases[0].id;
    let moved = |to: &str| Response::json(307, &serde_json::json!({"message": "Temporary Redirect"})).header("location", to);
    trial.fake.fail_next("PATCH", "releases/", moved(&format!("{}/repos/org/repo/releases/{id}", trial.fake.url())));
    trial.run_as(TOKEN, |_| ()).unwrap();
    assert!(trial.fake.body("v1.2.3").contains(BEGIN), "{}", trial.fake.body("v1.2.3"));
    // Not to another server.
    trial.fake.release("v1.2.3", "");
    trial.fake.state().releases.remove(0);
    trial.fake.fail_next("PATCH", "releases/", moved("https://elsewhere.example/repos/org/repo/releases/1"));
    assert!(trial.run_as(TOKEN, |_| ()).unwrap_err().to_string().contains("307"));
}

/// As in a monorepo whose packages have releases of their own.
#[test]
fn a_release_is_found_however_many_of_single_packages_have_come_since() {
    let trial = Trial::new();
    // A hundred such bodies are one page.
    trial.fake.release("v2.0.0", &"\u{1f389}".repeat(60_000));
    trial.fake.release("v3.0.0", "");
    trial.fake.state().release("v3.0.0").prerelease = true;
    trial.fake.release("v1.9.1", "");
    trial.fake.state().release("v1.9.1").draft = true;
    for number in 0..350 {
        trial.fake.release(&format!("@acme/ui@1.0.{number}"), &"\u{1f389}".repeat(if number > 250 { 60_000 } else { 0 }));
    }
    let (api, _) = trial.api(TOKEN);
    let tag = |text: &str| text.parse::<monoship_core::name::Tag>().unwrap();
    assert_eq!(api.release_before(&tag("v2.1.0")).unwrap().map(|release| release.tag_name), Some("v2.0.0".to_owned()));
    assert!(api.release_of(&tag("v1.9.1")).unwrap().is_some_and(|release| release.draft));
    assert!(api.releases().unwrap().iter().any(|release| release.tag_name == "v3.0.0" && release.prerelease));
    api.create_release(&tag("v1.9.0"), "", false).unwrap();
    assert_eq!(trial.fake.state().bodies.last().unwrap().1["make_latest"], "false");
}

#[test]
fn the_section_is_written_once_and_a_rerun_writes_nothing() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "## Changes 🎉\r\n\r\n* one\r\n");
    let report = trial.run().unwrap();
    assert_eq!((report.outcome, trial.writes()), (Outcome::Updated, 1));
    assert_eq!(report.body, trial.fake.body("v1.2.3"));
    assert!(report.body.starts_with("## Changes 🎉\r\n\r\n* one\r\n\r\n<!-- xtask:images:begin -->\r\n## 🐳 Docker Images\r\n"));
    assert!(report.diff.contains("+ docker pull ghcr.io/org/repo/api:v1.2.3"), "{}", report.diff);
    assert_eq!(report.url.as_deref(), Some("https://github.com/org/repo/releases/tag/v1.2.3"));
    let again = trial.run().unwrap();
    assert_eq!((again.outcome, again.diff.as_str(), trial.writes()), (Outcome::Unchanged, "", 1));
}

#[test]
fn a_dry_run_shows_the_body_and_writes_nowhere() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "text\n");
    let dry = |r: &mut NotesRequest<'_>| r.dry_run = true;
    let report = trial.run_as(TOKEN, dry).unwrap();
    assert_eq!((report.outcome, trial.writes(), trial.file().exists()), (Outcome::Shown, 0, false));
    assert!(report.body.starts_with("text\n\n<!-- xtask") && report.diff.contains("+ ## 🐳 Docker Images"));
    trial.fake.state().releases.clear();
    assert!(trial.run_as(TOKEN, dry).unwrap().body.starts_with(BEGIN));
    assert!(trial.fake.state().releases.is_empty());
}

#[test]
fn a_draft_is_found_and_its_text_kept() {
    let trial = Trial::new();
    trial.fake.release("v1.2.2", "other");
    trial.fake.release("v1.2.3", "draft text");
    trial.fake.state().release("v1.2.3").draft = true;
    let report = trial.run().unwrap();
    assert_eq!((report.outcome, report.draft), (Outcome::Updated, true));
    assert!(trial.fake.body("v1.2.3").starts_with("draft text\n\n<!--"));
    assert_eq!(trial.fake.body("v1.2.2"), "other");
}

#[test]
fn a_draft_behind_many_releases_is_found_on_a_later_page() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "old draft");
    trial.fake.state().release("v1.2.3").draft = true;
    for patch in 0..230 {
        trial.fake.release(&format!("v0.0.{patch}"), "");
    }
    assert_eq!(trial.run().unwrap().outcome, Outcome::Updated);
    let lists = trial.fake.state().log.iter().filter(|line| line.starts_with("GET /repos/org/repo/releases 200")).count();
    assert!(lists >= 3, "{lists}");
}

#[test]
fn a_missing_release_is_made_only_when_asked_for() {
    let trial = Trial::new();
    let error = trial.run().unwrap_err();
    assert!(error.to_string().contains("org/repo has no release v1.2.3"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--create")));
    let report = trial.run_as(TOKEN, |r| (r.missing, r.prerelease) = (Missing::Create, true)).unwrap();
    assert_eq!((report.outcome, trial.writes()), (Outcome::Created, 0));
    assert!(trial.fake.body("v1.2.3").starts_with(BEGIN) && trial.fake.state().release("v1.2.3").prerelease);
    assert_eq!(trial.run_as(TOKEN, |r| r.missing = Missing::Create).unwrap().outcome, Outcome::Unchanged);
}

#[test]
fn a_pushed_tag_without_a_release_leaves_its_notes_in_a_file() {
    let trial = Trial::new();
    let report = trial.run_as(TOKEN, |r| r.missing = Missing::ToFile).unwrap();
    assert!(matches!(&report.outcome, Outcome::NotDone { why, .. } if why.contains("no release")), "{report:?}");
    assert!(read(&trial.file()).starts_with(BEGIN) && trial.fake.state().releases.is_empty());
}

#[test]
fn a_release_made_by_someone_else_meanwhile_is_used() {
    let trial = Trial::new();
    // As it also looks when our own POST arrived and only its answer was lost.
    trial.fake.before_next("POST", |state| state.add("v1.2.3", "theirs"));
    let report = trial.run_as(TOKEN, |r| r.missing = Missing::Create).unwrap();
    assert_eq!(report.outcome, Outcome::Updated);
    assert!(trial.fake.body("v1.2.3").starts_with("theirs\n\n<!--"));
}

#[test]
fn a_lost_race_is_seen_and_nobodys_text_is_lost() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "before");
    // Someone saves the page they opened before our write: our section is gone, their text is there.
    trial.fake.after_next("PATCH", |state| state.release("v1.2.3").body = Some("edited by hand".into()));
    let report = trial.run().unwrap();
    assert_eq!((report.outcome, trial.writes()), (Outcome::Updated, 2));
    assert!(trial.fake.body("v1.2.3").starts_with("edited by hand\n\n<!-- xtask:images:begin -->"));
    assert_eq!(report.body, trial.fake.body("v1.2.3"));
}

#[test]
fn someone_who_never_stops_writing_is_reported() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "x");
    for _ in 0..9 {
        trial.fake.after_next("PATCH", |state| state.release("v1.2.3").body = Some("mine".into()));
    }
    let error = trial.run().unwrap_err();
    assert!(error.to_string().contains("changed by someone else"), "{error}");
    assert_eq!((trial.writes(), trial.fake.body("v1.2.3").as_str()), (5, "mine"));
}

#[test]
fn an_immutable_release_leaves_the_notes_in_a_file() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "fixed");
    trial.fake.state().release("v1.2.3").immutable = true;
    let report = trial.run().unwrap();
    let Outcome::NotDone { why, file } = report.outcome else { panic!("{report:?}") };
    assert!(why.contains("immutable") && read(&file).starts_with(BEGIN), "{why}");
    assert_eq!(trial.fake.body("v1.2.3"), "fixed");
}

#[test]
fn a_release_that_turns_immutable_meanwhile_is_the_same() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "fixed");
    trial.fake.before_next("PATCH", |state| state.release("v1.2.3").immutable = true);
    let report = trial.run().unwrap();
    assert!(matches!(&report.outcome, Outcome::NotDone { why, .. } if why.contains("immutable")), "{report:?}");
}

#[test]
fn without_a_token_the_notes_go_to_files_and_it_says_what_was_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let (notes, fallback, file) = (notes(1), dir.path().join("target/notes.md"), dir.path().join("wanted.md"));
    let request = NotesRequest {
        notes: &notes,
        missing: Missing::Fail,
        prerelease: false,
        dry_run: false,
        file: Some(&file),
        fallback: &fallback,
    };
    let report = update_release(Err("there is no token"), &request, &Events::none()).unwrap();
    assert_eq!(report.outcome, Outcome::NotDone { why: "there is no token".into(), file: fallback.clone() });
    assert_eq!((read(&fallback), read(&file)), (report.body.clone(), report.body));
}

#[test]
fn a_token_that_may_not_write_is_told_what_it_lacks() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "x");
    let error = trial.run_as(READ_TOKEN, |_| ()).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("contents: write")), "{error}");
    let error = trial.run_as("ghs_expired", |_| ()).unwrap_err();
    assert!(error.to_string().contains("401") && error.to_string().contains("Bad credentials"), "{error}");
    assert!(!format!("{error} {:?}", error.hint_text()).contains("ghs_expired"));
    // A refusal is not worth a second try.
    assert_eq!(trial.fake.state().log.iter().filter(|line| line.ends_with("401") || line.ends_with("403")).count(), 2);
}

#[test]
fn what_stands_between_us_and_a_release_is_told_with_the_way_on() {
    let told = |answers: &[(&'static str, Response)]| {
        let trial = Trial::new();
        for (method, answer) in answers {
            trial.fake.fail_next(method, "releases", answer.clone());
        }
        let error = trial.run_as(TOKEN, |request| request.missing = Missing::Create).unwrap_err();
        format!("{error} | {}", error.hint_text().unwrap_or_default())
    };
    let answer = |status: u16, message: &str| Response::json(status, &json!({"message": message}));
    let missing = || ("GET", answer(404, "Not Found"));
    let unseen = told(&[missing(), missing()]);
    assert!(unseen.contains("404") && unseen.contains("check GITHUB_REPOSITORY"), "{unseen}");
    let unwritable = told(&[missing(), ("POST", answer(404, "Not Found"))]);
    assert!(unwritable.contains("check GITHUB_REPOSITORY"), "{unwritable}");
    let sso =
        answer(403, "Resource protected by organization SAML enforcement.").header("x-github-sso", "required; url=https://x");
    let sso = told(&[("GET", sso)]);
    assert!(sso.contains("authorize the token") && !sso.contains("contents: write"), "{sso}");
    let page = Response { body: b"<html>Sign in</html>".to_vec(), ..Response::status(200) }.header("content-type", "text/html");
    let page = told(&[("GET", page)]);
    assert!(page.contains("a page for people") && page.contains("asks for a login"), "{page}");
    let errors = json!([{"message": "pre_receive Repository rule violations found\n\nCannot create ref"},
        {"message": "tag_name was used by an immutable release"}]);
    let taken = Response::json(422, &json!({"message": "Validation Failed", "errors": errors}));
    let taken = told(&[("POST", taken)]);
    assert!(taken.contains("found Cannot create ref") && taken.contains("release another version"), "{taken}");
}

#[test]
fn bad_moments_and_limits_are_waited_out() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "x");
    trial.fake.fail_next("GET", "releases", GithubApi::bad_gateway());
    trial.fake.fail_next("GET", "releases", Response::status(200).broken(Break::HangUp));
    trial.fake.fail_next("PATCH", "releases", GithubApi::slow_down(0));
    trial.fake.fail_next("PATCH", "releases", GithubApi::rate_limited(0));
    assert_eq!(trial.run().unwrap().outcome, Outcome::Updated);
    assert!(trial.said("502") && trial.said("secondary rate limit") && trial.said("trying again"));
    assert_eq!(trial.writes(), 1);
}

#[test]
fn a_wait_longer_than_our_patience_is_an_error_that_names_it() {
    let trial = Trial::new();
    trial.fake.release("v1.2.3", "x");
    trial.fake.fail_next("PATCH", "releases", GithubApi::slow_down(3_600));
    let error = trial.run().unwrap_err();
    assert!(error.to_string().contains("429") && error.hint_text().is_some_and(|hint| hint.contains("3600 s")), "{error}");
    for _ in 0..3 {
        trial.fake.fail_next("GET", "releases", GithubApi::bad_gateway());
    }
    let error = trial.run().unwrap_err();
    assert!(error.to_string().contains("502") && error.hint_text().is_some_and(|hint| hint.contains("3 times")), "{error}");
}

#[test]
fn a_body_near_the_limit_gets_a_shorter_section_that_github_takes() {
    let trial = Trial::new();
    let text = "🎉".repeat(BODY_LIMIT - 300);
    trial.fake.release("v1.2.3", &text);
    assert_eq!(trial.run().unwrap().outcome, Outcome::Updated);
    let body = trial.fake.body("v1.2.3");
    assert!(body.starts_with(&text) && body.ends_with(&format!("{END}\n")) && trial.said("near its limit"));
    trial.fake.state().release("v1.2.3").body = Some("x".repeat(BODY_LIMIT));
    let error = trial.run().unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    assert_eq!(trial.fake.body("v1.2.3").len(), BODY_LIMIT);
}

#[test]
fn the_release_before_is_the_nearest_older_version() {
    let trial = Trial::new();
    for tag in ["v1.2.2", "v1.3.0", "v1.2.3-rc.1", "nightly", "1.2.1", "1.1.0"] {
        trial.fake.release(tag, tag);
    }
    trial.fake.release("v1.2.3", "draft");
    trial.fake.state().release("v1.2.2").draft = true;
    trial.fake.state().release("1.1.0").prerelease = true;
    let (api, _) = trial.api(TOKEN);
    let before = |tag: &str| api.release_before(&tag.parse().unwrap()).unwrap().map(|release| release.tag_name);
    assert_eq!(before("v1.2.3").as_deref(), Some("1.2.1"));
    assert_eq!(before("v1.2.3-rc.2").as_deref(), Some("v1.2.3-rc.1"));
    assert_eq!((before("1.2.1"), before("1.2.1-rc.1").as_deref()), (None, Some("1.1.0")), "a pre-release by GitHub's mark");
    assert_eq!((before("v0.1.0"), before("nightly")), (None, None));
}
