//! What a team may get wrong in its program, and stages before there is a plan. No engine is needed for either.

use super::*;
use crate::context::Context;
use crate::job::Job;
use crate::run::Ran;
use crate::stages::{self, Image, Images, Published, PublishedImage};
use monoship_core::event::{Stage, Status, Task};
use monoship_core::execute::pool;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_report::record::{Outcome, RunRecord, TaskRecord};

/// Runs a build's pipeline in an empty workspace, and gives its result with what the stage `lint` logged.
fn ran(pipeline: fn(&Context) -> Result<()>) -> (Result<Ran>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pnpm-workspace.yaml"), "packages: []\n").unwrap();
    let (app, shutdown) = (App::new(pipeline), Shutdown::new());
    let env = Env::new(dir.path(), [("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let Line::Library(cli) = parse(&app, ["xtask", "build", "--progress", "quiet"].map(Into::into)).unwrap() else {
        panic!("build is the library's")
    };
    let (begun, started) = (SystemTime::now(), Instant::now());
    let call = Call { app: &app, global: &cli.global, env: &env, shutdown: &shutdown, begun, started, is_elsewhere: false };
    let (session, reporter) = call.build_session().unwrap();
    let request = BuildRequest::new("build", build::into_engine(), &session.config, pool::builds_at_once());
    let log = session.run.log_path(&Task::Stage(Stage { stage: "lint".parse().unwrap(), service: None }));
    let result = crate::run::run(&app, session, Job::build(request));
    reporter.finish();
    (result, std::fs::read_to_string(log).unwrap_or_default())
}

fn error(pipeline: fn(&Context) -> Result<()>) -> String {
    ran(pipeline).0.err().expect("it is refused").to_string()
}

#[test]
fn a_pipeline_without_a_plan_is_refused_with_the_line_that_it_lacks() {
    assert_eq!(error(|_| Ok(())), "this pipeline does not call `stages::plan`");
    assert_eq!(error(|cx| stages::checkout(cx).map(drop)), "this pipeline does not call `stages::plan`");
}

#[test]
fn a_stage_before_the_plan_has_a_log_and_its_failure_is_the_runs() {
    let (result, log) = ran(|cx| {
        let tree = stages::checkout(cx)?;
        cx.stage("lint", &tree, |cx, _| {
            cx.log("looking at it");
            cx.command("sh").args(["-c", "echo a finding; exit 3"]).run()
        })
    });
    let error = result.err().expect("the stage failed");
    assert!(error.to_string().starts_with("lint failed: `sh "), "{error}");
    assert!(error.to_string().contains("exit code 3") && error.to_string().contains("a finding"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.starts_with("its whole log: ") && hint.ends_with("lint.log")), "{error:?}");
    assert!(log.contains("looking at it\n") && log.contains("$ sh -c") && log.contains("  a finding\n"), "{log}");
}

/// What a verb of a team's own comes to that does this.
fn seeded(seed: fn(&Context, &[String]) -> Result<()>) -> Result<Finished> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pnpm-workspace.yaml"), "packages: []\n").unwrap();
    let (app, shutdown) = (App::new(|_| Ok(())).verb("seed", "Seeds", seed), Shutdown::new());
    let env = Env::new(dir.path(), [("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let Line::Own(at, global, args) = parse(&app, ["xtask", "--progress", "quiet", "seed"].map(Into::into)).unwrap() else {
        panic!("seed is the team's")
    };
    let (begun, started) = (SystemTime::now(), Instant::now());
    let call = Call { app: &app, global: &global, env: &env, shutdown: &shutdown, begun, started, is_elsewhere: false };
    own::run(&app.verbs[at], &args, &call)
}

#[test]
fn a_stage_is_tested_by_calling_it_in_a_workspace() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("xtask.toml"), "").unwrap();
    std::fs::create_dir(dir.path().join("apps")).unwrap();
    let app = App::new(|_| Ok(()));
    let seed = |cx: &Context| cx.command("sh").args(["-c", "pwd"]).read().map(|said| (said, cx.env("REGION").map(str::to_owned)));
    let (folder, region) = app.in_workspace(dir.path().join("apps"), &[("REGION", "eu")], seed).unwrap();
    assert_eq!((Path::new(&folder), region.as_deref()), (&*dir.path().canonicalize().unwrap(), Some("eu")));
    let program = dir.path().join("apps/deploy");
    std::fs::write(&program, "#!/bin/sh\necho to $REGION as ${DEPLOY_TOKEN:-nobody}\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().join("apps").display());
    let vars = [("PATH", path.as_str()), ("REGION", "eu"), ("DEPLOY_TOKEN", "seven77")];
    let deploy = |names: &'static [&'static str]| {
        app.in_workspace(dir.path(), &vars, |cx| cx.command("deploy").secrets(names.iter().copied()).read()).unwrap()
    };
    assert_eq!((deploy(&[]), deploy(&["DEPLOY_*"])), ("to eu as nobody".to_owned(), "to eu as seven77".to_owned()));
    let refused = app.in_workspace(dir.path(), &[], |_| Err::<(), _>(Error::failed("too large"))).unwrap_err();
    assert_eq!(refused.to_string(), "too large");
    let images = || Images::new(["api", "web"].map(|name| Image::new(name, "node:24").unwrap()));
    let only_web = |_: &Context, image: &Image| if image.service() == "web" { Ok(()) } else { Err(Error::failed("no web")) };
    let tried = app.in_workspace(dir.path(), &[], |cx| cx.each("scan", images(), only_web)).unwrap();
    assert_eq!(tried.standing().map(Image::service).collect::<Vec<_>>(), ["web"]);
    let api = PublishedImage::new("api", &format!("shop/api@sha256:{}", "8b1f".repeat(16)), &["main"]).unwrap();
    let deploy = |cx: &Context| {
        let published = Published::new([api]);
        let mut deployed = Vec::new();
        cx.stage("deploy", &published, |_, published| {
            deployed.extend(published.images().flat_map(PublishedImage::tags).map(str::to_owned));
            stages::update_release(cx, published)
        })?;
        assert!(stages::publish(cx, images())?.is_empty(), "nothing was built");
        Ok(deployed)
    };
    assert_eq!(app.in_workspace(dir.path(), &[], deploy).unwrap(), ["main"]);
    let slow = |cx: &Context| cx.command("sh").args(["-c", "echo begun; sleep 60"]).timeout(Duration::from_secs(2)).run();
    let late = app.in_workspace(dir.path(), &[], slow).unwrap_err();
    assert_eq!(late.to_string(), "`sh -c 'echo begun; sleep 60'` did not finish within 2.0s: begun");
    std::fs::write(dir.path().join("xtask.toml"), "[image]\n").unwrap();
    assert!(app.in_workspace(dir.path(), &[], |_| Ok(())).unwrap_err().to_string().contains("unknown key `image`"));
}

#[test]
fn a_plan_says_of_each_service_why() {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("package.json", "{\"name\": \"shop\"}"),
        ("pnpm-workspace.yaml", "packages: [apps/*]\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/api: {}\n"),
        ("Dockerfile.monorepo-optimized", "FROM scratch AS base\nFROM base AS api\nCOPY apps/api /app\n"),
        ("apps/api/package.json", "{\"name\": \"api\"}"),
    ] {
        std::fs::create_dir_all(dir.path().join("apps/api")).unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let (app, shutdown) = (App::new(|_| Ok(())), Shutdown::new());
    let env = Env::new(dir.path(), [("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let Line::Library(cli) = parse(&app, ["xtask", "plan", "--progress", "quiet"].map(Into::into)).unwrap() else { panic!() };
    let (begun, started) = (SystemTime::now(), Instant::now());
    let call = Call { app: &app, global: &cli.global, env: &env, shutdown: &shutdown, begun, started, is_elsewhere: false };
    let (session, _reporter) = call.session().unwrap();
    let request = |destination| BuildRequest::new("plan", destination, &session.config, pool::builds_at_once());
    let cx = Context::new(session.clone(), Job::build(request(build::into_engine())).without_effects());
    let tree = stages::checkout(&cx).unwrap();
    let plan = stages::plan(&cx, &stages::prepare(&cx, &tree).unwrap()).unwrap();
    assert_eq!(plan.to_build().collect::<Vec<_>>(), ["api"]);
    assert_eq!((plan.why("api").as_deref(), plan.why("web")), (Some("never built here"), None));
    let branch = Job::build(request(Destination::Registry(vec!["main".parse().unwrap()])));
    assert!(!cx.publishes() && Context::new(session, branch).publishes());
}

#[test]
fn a_pipeline_or_a_verb_that_panics_has_failed() {
    assert_eq!(error(|_| panic!("no {}", "stage")), "the pipeline panicked: no stage");
    let failed = seeded(|_, _| panic!("no database")).expect_err("it failed");
    assert_eq!(failed.to_string(), "`seed` panicked: no database");
    assert!(seeded(|_, _| Ok(())).is_ok());
}

#[test]
fn a_verb_whose_pipeline_has_a_failure_in_its_record_has_failed() {
    let failed = seeded(|cx, _| {
        let mut record = RunRecord::new("20260101T000000000-abcd".parse().unwrap(), SystemTime::UNIX_EPOCH, "seed");
        record.tasks.push(TaskRecord::new(Task::Base, Status::Failed));
        cx.progress().record = Some(record);
        Ok(())
    });
    assert_eq!(failed.expect_err("it failed").to_string(), "base failed");
    let failed = seeded(|cx, _| {
        let tree = stages::checkout(cx)?;
        recorded(cx);
        cx.stage("tell", &tree, |_, _| Err(Error::failed("nobody listens")))
    });
    assert_eq!(failed.expect_err("it failed").to_string(), "tell failed: nobody listens");
}

#[test]
fn a_stage_that_fails_because_the_run_is_stopped_is_stopped_itself() {
    let (result, _) = ran(|cx| {
        let tree = stages::checkout(cx)?;
        cx.stage("lint", &tree, |cx, _| {
            cx.session().shutdown.close();
            Err(Error::failed("the linter is gone"))
        })
    });
    assert!(result.err().expect("it is stopped").is_cancelled());
}

/// A run with a record, as it has one from the plan on.
fn recorded(cx: &Context) {
    let id = "20260101T000000000-abcd".parse().unwrap();
    cx.progress().record = Some(RunRecord::new(id, SystemTime::UNIX_EPOCH, "build"));
}

#[test]
fn a_run_that_is_stopped_in_a_stage_says_what_it_came_to_and_begins_no_other() {
    let (result, log) = ran(|cx| {
        let tree = stages::checkout(cx)?;
        recorded(cx);
        let done = cx.stage("deploy", &tree, |cx, _| {
            cx.session().shutdown.close();
            cx.pause(Duration::from_mins(1))
        });
        let _ = cx.stage("lint", &tree, |cx, _| {
            cx.log("begun");
            Ok(())
        });
        done
    });
    let ran = result.expect("there is a record to show");
    assert_eq!(ran.record().outcome, Outcome::Cancelled);
    assert!(ran.record().tasks.iter().all(|task| task.status == Status::Cancelled), "{:?}", ran.record());
    assert!(!log.contains("begun"), "{log}");
}

#[test]
fn what_a_stage_says_can_be_done_is_in_its_log_and_in_the_record() {
    let (result, log) = ran(|cx| {
        let tree = stages::checkout(cx)?;
        recorded(cx);
        cx.stage("lint", &tree, |_, _| Err(Error::failed("4 findings").hint("run `pnpm lint --fix`")))
    });
    let ran = result.expect("there is a record to show");
    let lint = ran.record().tasks.last().expect("the stage stands in it");
    assert_eq!((lint.why.as_str(), lint.hint.as_deref()), ("4 findings", Some("run `pnpm lint --fix`")));
    assert!(log.contains("4 findings\n") && log.contains("hint: run `pnpm lint --fix`\n"), "{log}");
}

#[test]
fn a_stage_that_panics_has_failed() {
    let (result, log) = ran(|cx| {
        let tree = stages::checkout(cx)?;
        cx.stage("lint", &tree, |_, tree| panic!("no rule for {:?}", tree.commit()))
    });
    assert_eq!(result.err().expect("the stage failed").to_string(), "lint failed: it panicked: no rule for None");
    assert!(log.contains("it panicked: no rule for None"), "{log}");
}

#[test]
fn two_stages_of_one_name_are_refused() {
    let twice = |cx: &Context| {
        let tree = stages::checkout(cx)?;
        cx.stage("lint", &tree, |_, _| Ok(()))?;
        cx.stage("lint", &tree, |_, _| Ok(()))
    };
    assert_eq!(error(twice), "two stages of this pipeline are called `lint`");
}

#[test]
fn the_list_has_the_first_line_of_what_a_verb_does_and_its_own_help_all_of_it() {
    let app = App::new(|_| Ok(())).verb("promote", "Moves a tag on\n\n--yes: without asking", |_, _| Ok(()));
    let mut command = definition(&app);
    let list = command.render_help().to_string();
    assert!(list.contains("Moves a tag on") && !list.contains("--yes"), "{list}");
    let help = command.find_subcommand_mut("promote").unwrap().render_long_help().to_string();
    assert!(help.starts_with("Moves a tag on\n\n--yes: without asking\n"), "{help}");
}

#[test]
fn a_verb_that_cannot_be_called_so_is_refused() {
    let why = |names: &[&'static str]| {
        let app = names.iter().fold(App::new(|_| Ok(())), |app, name| app.verb(name, "", |_, _| Ok(())));
        own::check_names(&app).err().map(|error| error.to_string())
    };
    assert_eq!(why(&["seed", "db-seed"]), None);
    assert_eq!(why(&["seed", "build"]).unwrap(), "a verb cannot be called `build`: the library has one of this name");
    assert_eq!(why(&["help"]).unwrap(), "a verb cannot be called `help`: the library has one of this name");
    assert_eq!(why(&["seed", "seed"]).unwrap(), "a verb cannot be called `seed`: it is there twice");
    assert!(why(&["Seed it"]).unwrap().starts_with("a verb cannot be called `Seed it`: use lower-case letters"));
}

#[test]
fn json_says_the_same_and_commands_nobody() {
    let value = serde_json::json!({"path": "a ##[set-output name=b;]c ### d", "line": "\u{200b}"});
    let shown = without_commands(value.to_string());
    assert!(!shown.contains("##"), "{shown}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    assert_eq!(without_commands("{\"a\": \"## b\"}".to_owned()), "{\"a\": \"## b\"}");
}
