//! What is hashed is what is built: files that git ignores or converts, addresses, arguments that BuildKit sets, the frontend. Each as a user
//! met it with another tool, on a Dockerfile of a few lines.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

use crate::harness::{clone_to_look_at, docker, seat, sh, task, wait_for};
use support::engine::shared;
use support::faulty_proxy::FaultyProxy;
use support::http::{Response, Server};
use support::repo::{Ran, Repo};

/// A clone with a name of its own, whose one service is built by these lines of a Dockerfile.
fn with(lines: &str) -> Repo {
    let repo = clone_to_look_at();
    repo.edit("package.json", "\"monorepo\"", &format!("\"bytes{}\"", repo.path().file_name().unwrap().display()));
    repo.write("Dockerfile.monorepo-optimized", &format!("FROM scratch AS base\n\n{lines}\n"));
    repo.write(".dockerignore", "**/.git\ntarget\n**/node_modules\n");
    repo.write("apps/api/dist/main.js", "1");
    repo.commit("a short Dockerfile");
    repo
}

/// The line of `plan` about the service.
fn plan(repo: &Repo) -> String {
    let said = repo.xtask(&["plan", "--explain"]).exits(0);
    format!("{}{}", said.stdout, said.stderr)
}

fn fingerprint(repo: &Repo) -> String {
    let plan = repo.xtask(&["plan", "--json"]).exits(0).json();
    plan["services"][0]["fingerprint"].as_str().unwrap_or_else(|| panic!("{plan:#}")).to_owned()
}

#[test]
fn an_edit_to_a_file_that_git_ignores_and_the_dockerfile_copies_is_built() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nCOPY apps/api/dist /app");
    assert_eq!(sh(&repo, "git status --short"), "");
    repo.xtask(&["build"]).exits(0);
    assert!(plan(&repo).contains("  unchanged  "), "{}", plan(&repo));
    repo.write("apps/api/dist/main.js", "2");
    let said = plan(&repo);
    assert!(said.contains("build") && said.contains("file apps/api/dist/main.js changed"), "{said}");
    // So with a mount of the whole context, permission bits and folders that git does not know.
    repo.write("Dockerfile.monorepo-optimized", "FROM scratch AS base\nFROM scratch AS api\nCOPY apps/api /app\n");
    let edits = ["chmod 600 apps/api/dist/main.js", "mkdir apps/api/empty", "rm -r apps/api/dist", "ln -s x apps/api/dist"];
    let mut known = vec![fingerprint(&repo)];
    for edit in edits {
        sh(&repo, edit);
        let now = fingerprint(&repo);
        assert!(!known.contains(&now), "{edit}");
        known.push(now);
    }
}

#[test]
fn an_edit_that_a_builder_would_not_be_sent_is_refused() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nCOPY apps/api/dist /app");
    repo.xtask(&["build"]).exits(0);
    sh(
        &repo,
        "touch --reference=apps/api/dist/main.js time; printf 2 > apps/api/dist/main.js; touch --reference=time apps/api/dist/main.js; rm time",
    );
    let refused = repo.xtask(&["build"]).fails();
    let said = "`apps/api/dist/main.js` changed since it was sent to a builder, but kept its size and time";
    assert!(refused.stderr.contains(said) && refused.stderr.contains("touch apps/api/dist/main.js"), "{}", refused.stderr);
    sh(&repo, "touch apps/api/dist/main.js");
    repo.xtask(&["build"]).exits(0);
    // So of a folder that is a named context.
    repo.write("Dockerfile.monorepo-optimized", "FROM scratch AS base\nFROM scratch AS api\nCOPY --from=more . /\n");
    repo.write("xtask.toml", "[images]\ncontexts = { more = \"more\" }\n");
    repo.write("more/f", "1");
    repo.xtask(&["build"]).exits(0);
    sh(&repo, "touch --reference=more/f time; printf 2 > more/f; touch --reference=time more/f");
    let refused = repo.xtask(&["build"]).fails();
    assert!(refused.stderr.contains("`more/f` changed since it was sent to a builder, but kept"), "{}", refused.stderr);
}

#[test]
fn contexts_that_a_builder_would_take_for_others_are_told_apart() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nCOPY apps/api /app\nCOPY --from=more f /\n");
    let built = |asked: &str| {
        repo.xtask(&["build", "--overwrite", "--output", "type=local,dest=out/{service}"]).exits(0);
        sh(&repo, asked)
    };
    // Files of one size and time under one name, as archives and scripts make them.
    sh(&repo, "mkdir one two; printf 1 > one/f; printf 2 > two/f; touch --date=2020-01-01 one/f two/f");
    for (folder, content) in [("one", "1"), ("two", "2")] {
        repo.write("xtask.toml", &format!("[images]\ncontexts = {{ more = \"{folder}\" }}\n"));
        assert_eq!(built("cat out/api/f"), content);
    }
    // Of a folder a builder takes the permissions over, and the step that copies it from its cache.
    for bits in ["755", "700", "755"] {
        sh(&repo, &format!("chmod {bits} apps/api/dist"));
        assert_eq!(built("stat --format=%a out/api/app/dist"), bits);
    }
}

#[test]
fn a_file_of_another_folder_with_the_contexts_name_is_not_taken_for_this_one() {
    let _seat = seat();
    // A builder knows a context by its folder's name; times in whole seconds are what archives and scripts give.
    let repo = with("FROM scratch AS api\nCOPY apps/api/dist /app");
    let within = tempfile::tempdir().unwrap();
    let name = repo.path().file_name().unwrap();
    let other = within.path().join(name);
    let say = |path: &std::path::Path, content: &str| {
        let file = path.join("apps/api/dist/main.js");
        std::fs::write(&file, content).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_hours(473_352);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    };
    say(repo.path(), "1");
    repo.xtask(&["build"]).exits(0);
    sh(&repo, &format!("cp --archive . '{}'", other.display()));
    say(&other, "2");
    let build = || {
        let mut command = repo.command(&["build"]);
        Ran::new(&["build"], &command.current_dir(&other).output().unwrap())
    };
    // What it has of the first one's state is of other paths.
    let refused = build().fails();
    assert!(refused.stderr.contains("`apps/api/dist/main.js` has the size and time of another file"), "{}", refused.stderr);
    std::fs::File::options()
        .write(true)
        .open(other.join("apps/api/dist/main.js"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    build().exits(0);
}

#[test]
fn clones_of_one_commit_with_other_bytes_on_disk_have_other_fingerprints() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nCOPY apps/api/src /app");
    sh(&repo, "git config filter.fake.clean 'sed s/REAL/POINTER/'; git config filter.fake.smudge 'sed s/POINTER/REAL/'");
    repo.write(".gitattributes", "*.bin filter=fake\n");
    repo.write("apps/api/src/a.bin", "REAL");
    repo.commit("a filtered file");
    let converted = fingerprint(&repo);
    sh(
        &repo,
        "git config --unset filter.fake.smudge; git config --unset filter.fake.clean; rm apps/api/src/a.bin; git checkout apps/api/src/a.bin",
    );
    assert_eq!((repo.read("apps/api/src/a.bin"), sh(&repo, "git status --short")), ("POINTER".to_owned(), String::new()));
    assert_ne!(fingerprint(&repo), converted);
    // Where what converted a file is gone, git goes by the size and time that it noted then.
    repo.write("apps/api/src/a.txt", "one\r\n");
    sh(&repo, "touch --date='1 minute ago' apps/api/src/a.txt; git -c core.autocrlf=input add apps/api/src; git commit -qm text");
    assert_eq!(sh(&repo, "git status --short"), "");
    let as_git_keeps_it = fingerprint(&repo);
    let refused = repo.xtask(&["build"]).fails();
    let said = ["`apps/api/src/a.txt` is not what git takes it for", "touch apps/api/src/a.txt"];
    assert!(said.iter().all(|part| refused.stderr.contains(part)), "{}", refused.stderr);
    sh(&repo, "touch apps/api/src/a.txt");
    repo.xtask(&["build"]).exits(0);
    assert_ne!(fingerprint(&repo), as_git_keeps_it);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    repo.write(".gitattributes", "*.bin filter=lfs -text\n");
    repo.write("apps/api/src/a.bin", pointer);
    let said = plan(&repo);
    assert!(said.contains("`apps/api/src/a.bin` is a Git LFS pointer") && said.contains("git lfs pull"), "{said}");
}

#[test]
fn a_stage_that_is_chosen_by_the_builders_own_platform_is_built_without_naming_one() {
    let _seat = seat();
    let own = monoship_core::name::Platform::native();
    let arch = own.parts()[1];
    for argument in ["TARGETARCH", "BUILDARCH"] {
        let repo = with(&format!("FROM scratch AS rt-{arch}\nFROM rt-${{{argument}}} AS api\nCOPY apps/api/src /app"));
        repo.xtask(&["build"]).exits(0);
        repo.xtask(&["build", "--dry-run", "--platform", own.as_str()]).exits(0);
    }
}

#[test]
fn an_address_whose_content_moves_is_asked_again() {
    let _seat = seat();
    let content = Arc::new(Mutex::new("one"));
    let next = Arc::new(Mutex::new(None));
    let (served, then) = (Arc::clone(&content), Arc::clone(&next));
    let server = Server::start(move |_| {
        let mut content = served.lock().unwrap();
        let after = then.lock().unwrap().take().unwrap_or(*content);
        Response::bytes(200, std::mem::replace(&mut *content, after).as_bytes().to_vec())
    });
    let url = format!("{}/cfg.json", server.url());
    let repo = with(&format!("FROM scratch AS api\nADD {url} /app/"));
    repo.xtask(&["build"]).exits(0);
    assert!(plan(&repo).contains("  unchanged  "), "{}", plan(&repo));
    *content.lock().unwrap() = "two";
    let said = plan(&repo);
    assert!(said.contains(&format!("{url} changed")), "{said}");
    // The plan asks first; what the builder gets then is another.
    *next.lock().unwrap() = Some("three");
    let told = repo.xtask(&["build"]).exits(1).stderr;
    assert!(told.contains(&format!("what {url} holds changed while the run was under way")), "{told}");
    *content.lock().unwrap() = "two";
    assert!(plan(&repo).contains("  build"), "nothing stands for what was asked first: {}", plan(&repo));
    // A weak ETag may stay while the content changes, and a builder's cache goes by it.
    let served = Arc::clone(&content);
    let weak = Server::start(move |request| match request.header("if-none-match") {
        Some(_) => Response::status(304).header("etag", "W/\"1\""),
        None => Response::bytes(200, served.lock().unwrap().as_bytes().to_vec()).header("etag", "W/\"1\""),
    });
    let stays = with(&format!("FROM scratch AS api\nADD {}/cfg.json /app/", weak.url()));
    stays.xtask(&["build"]).exits(0);
    *content.lock().unwrap() = "four";
    let told = stays.xtask(&["build"]).exits(1).stderr;
    assert!(told.contains("goes by the server's ETag, which has stayed") && told.contains("--checksum"), "{told}");
    // Where nobody answers nobody knows, and it is built.
    drop(server);
    let said = plan(&repo);
    assert!(said.contains("what it holds is not known") && said.contains("--checksum") && said.contains("build"), "{said}");
    let pinned = with(&format!("FROM scratch AS api\nADD --checksum=sha256:{} {url} /app/", "0".repeat(64)));
    let said = plan(&pinned);
    assert!(!said.contains("is not known"), "{said}");
}

#[test]
fn variables_of_the_users_client_make_no_other_image_of_the_same_inputs() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nCOPY apps/api/dist /app");
    let run = |args: &[&str], name: &str, value: &str| Ran::new(args, &repo.command(args).env(name, value).output().unwrap());
    let built = |name: &str| {
        let record = run(&["build", "--force", "--json"], name, "full").exits(0).json();
        task(&record, "api")["digest"].as_str().unwrap().to_owned()
    };
    let plain = built("UNRELATED");
    for name in ["BUILDX_GIT_LABELS", "BUILDX_NO_DEFAULT_LOAD"] {
        assert_eq!(built(name), plain, "{name}");
    }
    // What a policy does cannot be taken away: it is there to deny. So it counts.
    let before = fingerprint(&repo);
    repo.write("policy.json", r#"{"rules": []}"#);
    let with_policy = |file: &str| run(&["plan", "--json"], "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", file);
    let plan = with_policy("policy.json").exits(0).json();
    assert_ne!(plan["services"][0]["fingerprint"], before);
    assert!(with_policy("nowhere.json").fails().stderr.contains("`EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` names it"));
}

#[test]
fn an_image_of_a_file_that_was_edited_while_it_was_built_is_nobodys() {
    let _seat = seat();
    let repo = with("");
    let unique = repo.path().display().to_string();
    let copies = "COPY apps/api/dist /app\nCOPY --from=sources / /sources\n";
    let steps = format!("FROM node:24-bookworm-slim AS api\nRUN sleep 2 # {unique}\n{copies}");
    repo.write("Dockerfile.monorepo-optimized", &format!("FROM scratch AS base\nFROM scratch AS sources\n{steps}"));
    let dockerfile = "Dockerfile.monorepo-optimized";
    let edited_meanwhile = |more: &[&str], host: &str, file: &str, text: &str| {
        let before = repo.read(file);
        let shown = tempfile::NamedTempFile::new().unwrap();
        let mut command = repo.command(&[&["build", "--progress", "plain"], more].concat());
        let command = command.env("XTASK_IMAGES_REGISTRY", host).env("XTASK_IMAGES_NAMESPACE", "edited");
        let mut child = command.stdout(Stdio::null()).stderr(shown.reopen().unwrap()).spawn().unwrap();
        wait_for(shown.path(), &mut child, "target api");
        repo.write(file, text);
        assert_eq!(child.wait().unwrap().code(), Some(1));
        repo.write(file, &before);
        let told = std::fs::read_to_string(shown.path()).unwrap();
        assert!(told.contains(&format!("`{file}` was edited while the run was under way")), "{told}");
        told
    };
    edited_meanwhile(&[], "localhost:1", "apps/api/dist/main.js", "2");
    // Whoever edits all that lies below the root edits the copies that builders take, too.
    edited_meanwhile(&[], "localhost:1", "target/xtask/context/node_modules/api/sources/apps/api/package.json", "{}");
    // A builder reads these as it begins, which is when others have made room for it.
    edited_meanwhile(&[], "localhost:1", dockerfile, &repo.read(dockerfile).replace("/app", "/srv"));
    edited_meanwhile(&[], "localhost:1", ".dockerignore", "apps/api/dist/none\n");
    // As it was read, whatever the builder was sent: nothing stands for it.
    assert!(plan(&repo).contains("  build"), "{}", plan(&repo));

    // Of what is pushed nobody sees a content tag, not for a moment: a run that is killed then takes nothing back.
    let proxy = FaultyProxy::start(&shared().engine.registry.unwrap().to_string());
    let put: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&put);
    proxy.weather(Arc::new(move |request| {
        if let Some((_, tag)) = request.path.split_once("/api/manifests/").filter(|_| request.method == "PUT") {
            seen.lock().unwrap().push(tag.to_owned());
        }
        (Duration::ZERO, None)
    }));
    edited_meanwhile(&["--push", "--allow-stand-ins"], &proxy.host(), "apps/api/dist/main.js", "2");
    let put = put.lock().unwrap().clone();
    let is_content = |tag: &String| tag.strip_prefix("in-").is_some_and(|rest| !rest.contains('-'));
    assert!(put.iter().any(|tag| tag.starts_with("in-")) && !put.iter().any(is_content), "{put:?}");
    // Nor in the engine: nothing but what the user calls it is left there.
    let left = docker(shared(), &["image", "ls", "--format", "{{.Tag}}", "localhost:1/edited/api"]);
    assert_eq!(left.trim(), "dev");
}

#[test]
fn what_the_users_own_sparse_checkout_leaves_out_is_named_and_is_not_pushed() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nCOPY apps/api /app");
    let looks = ["build", "api", "--dry-run"];
    repo.xtask(&looks).exits(0);
    sh(&repo, "git sparse-checkout set --no-cone '/*' '!/apps/api/src/'");
    let left_out = "the sparse checkout leaves out apps/api/src/main.ts, which this line copies";
    let said = repo.xtask(&looks).exits(0).stderr;
    assert!(said.contains(&format!("Dockerfile.monorepo-optimized:4: {left_out}: the image lacks it")), "{said}");
    let pushing = ["build", "api", "--dry-run", "--push", "--tag", "one"];
    let env = [("XTASK_IMAGES_REGISTRY", "localhost:1"), ("XTASK_IMAGES_NAMESPACE", "sparse")];
    let ran = repo.command(&pushing).envs(env).output().unwrap();
    let said = Ran::new(&pushing, &ran).exits(2).stderr;
    assert!(said.contains(left_out) && said.contains("`git sparse-checkout add apps/api/src`"), "{said}");
    // What no step copies is nobody's loss; what a pruned context holds is needed.
    repo.write("Dockerfile.monorepo-optimized", "FROM scratch AS base\nFROM scratch AS api\nCOPY apps/api/package.json /app/\n");
    let said = repo.xtask(&looks).exits(0).stderr;
    assert!(!said.contains("sparse checkout"), "{said}");
    let pruned = "FROM scratch AS base\nFROM scratch AS sources\nFROM scratch AS api\nCOPY --from=sources / /app\n";
    repo.write("Dockerfile.monorepo-optimized", pruned);
    let said = repo.xtask(&looks).exits(2).stderr;
    assert!(said.contains("the sparse checkout leaves out apps/api/src/main.ts, which the build needs"), "{said}");
}

#[test]
fn proxies_of_the_users_client_count_where_an_arg_declares_them() {
    let _seat = seat();
    let repo = with("FROM scratch AS api\nARG HTTP_PROXY\nLABEL proxy=$HTTP_PROXY");
    let with_proxy = |of: &Repo, address: &str| {
        of.write("client/config.json", &format!(r#"{{"proxies": {{"default": {{"httpProxy": "{address}"}}}}}}"#));
        let client = of.path().join("client");
        let output = of.command(&["plan", "--json"]).env("DOCKER_CONFIG", client).output().unwrap();
        let plan = Ran::new(&["plan"], &output).exits(0).json();
        plan["services"][0]["fingerprint"].as_str().unwrap().to_owned()
    };
    let one = with_proxy(&repo, "http://one");
    assert_eq!(with_proxy(&repo, "http://one"), one);
    assert_ne!(with_proxy(&repo, "http://two"), one);
    let undeclared = with("FROM scratch AS api\nCOPY apps/api/dist /app");
    assert_eq!(with_proxy(&undeclared, "http://one"), with_proxy(&undeclared, "http://two"));
}

/// Pushes an image of this Dockerfile to the engine's registry; its name.
fn push(name: &str, dockerfile: &str) -> String {
    let engine = &shared().engine;
    let (dir, name) = (tempfile::tempdir().unwrap(), format!("{}/{name}", engine.registry.unwrap()));
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    let output = format!("type=image,name={name},push=true");
    let call: Invocation = engine.buildx().args(["build", "--quiet", "--provenance=false", "--output", &output]);
    call.arg(dir.path()).read(&Shutdown::new()).unwrap();
    name
}

#[test]
fn an_image_with_triggers_takes_files_that_no_line_of_the_dockerfile_names() {
    let _seat = seat();
    let name = push("triggers-of-a-test:1", "FROM scratch\nLABEL a=b\nONBUILD COPY apps/api/dist /app\n");
    let repo = with(&format!("FROM {name} AS api"));
    repo.xtask(&["build"]).exits(0);
    assert!(repo.read("xtask.lock").contains("COPY apps/api/dist /app"), "{}", repo.read("xtask.lock"));
    assert!(plan(&repo).contains("  unchanged  "), "{}", plan(&repo));
    repo.write("apps/api/dist/main.js", "2");
    let said = plan(&repo);
    assert!(said.contains("file apps/api/dist/main.js changed"), "{said}");
}

#[test]
fn a_variable_names_files_as_the_builder_takes_it_be_it_of_the_base_image_or_of_an_earlier_line() {
    let _seat = seat();
    let name = push("variables-of-a-test:1", "FROM scratch\nENV DIST=apps/api/dist\n");
    // Of each Docker was seen to take `dist`.
    let copies = [
        "COPY ${DIST:-apps/api/src} /app",
        "ARG DIST\nCOPY $DIST /app",
        "ENV DIR=apps/api/src\nARG DIR=apps/api/dist\nCOPY $DIR /app",
        "ARG DIR=apps/api/src\nENV DIR=apps/api/dist\nCOPY $DIR /app",
    ];
    for copy in copies {
        let repo = with(&format!("FROM {name} AS api\n{copy}"));
        let built = |repo: &Repo| {
            let record = repo.xtask(&["build", "--json"]).exits(0).json();
            (task(&record, "api")["status"].clone(), task(&record, "api")["digest"].clone())
        };
        let before = built(&repo);
        assert_eq!(built(&repo), ("unchanged".into(), before.1.clone()), "{copy}");
        repo.write("apps/api/dist/main.js", "2");
        let after = built(&repo);
        assert!(after.0 == "built" && after.1 != before.1, "{copy}: {before:?} {after:?}");
    }
}

#[test]
fn the_frontend_is_pinned_like_a_base_image() {
    let _seat = seat();
    let frontend = |content: &str| push("frontend-of-a-test:1", &format!("FROM scratch\nLABEL content={content}\n"));
    let name = frontend("one");
    let repo = with("FROM scratch AS api\nCOPY apps/api/src /app");
    repo.write("Dockerfile.monorepo-optimized", &format!("# syntax={name}\n{}", repo.read("Dockerfile.monorepo-optimized")));
    let planned = repo.xtask(&["plan"]).exits(0);
    assert!(planned.stderr.contains(&format!("{name} is not in xtask.lock")), "{}", planned.stderr);
    let refused = repo.xtask(&["build", "--locked"]).fails();
    assert!(refused.stderr.contains("xtask.lock") && refused.stderr.contains("cargo xtask update"), "{}", refused.stderr);
    repo.xtask(&["update", &name]).exits(0);
    let (lock, before) = (repo.read("xtask.lock"), fingerprint(&repo));
    assert!(lock.contains(&format!("\"{name}\" = \"sha256:")), "{lock}");
    let shown = repo.xtask(&["build", "--dry-run", "--force"]).exits(0).stdout;
    assert!(shown.contains(&format!("BUILDKIT_SYNTAX={name}@sha256:")), "{shown}");
    frontend("two");
    assert_eq!(fingerprint(&repo), before, "a tag that moves is nothing to a pin");
    assert!(repo.xtask(&["update", &name]).exits(0).stdout.contains(&name));
    assert_ne!(fingerprint(&repo), before);
}
