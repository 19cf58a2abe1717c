//! Marked secrets in every place that they can be, verbs that fail in many ways, and nothing of them in anything that is written, sent, or
//! passed to a child that does not need it. No engine is needed: what fails says the most.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use support::http::{Response, Server};
use support::repo::{Repo, git};

/// Where each secret is, and what it is. All are long and odd enough to be found in any text.
const SECRETS: [(&str, &str); 9] = [
    ("GITHUB_TOKEN", "ghs_Marked0GithubToken1For2This3Test4"),
    ("GH_TOKEN", "ghp_Marked0OtherToken1For2This3Test45"),
    ("NPM_TOKEN", "npm-Marked&Token/\"quoted\"=9"),
    ("ACTIONS_RUNTIME_TOKEN", "Marked.Runtime.Token-0123456789"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "Marked-Identity-Token-0123456789"),
    ("COSIGN_PASSWORD", "Marked-Cosign-Password-01"),
    ("DOCKER_AUTH_CONFIG", r#"{"auths":{"127.0.0.1:9":{"auth":"dTpNYXJrZWQtUmVnaXN0cnktUGFzc3dvcmQ="}}}"#),
    // Told by nothing in its name: the configuration says what it is.
    ("PLAIN_NAME", "http://127.0.0.1:9/hook/Marked-Hook-Path-0123456789"),
    ("ANOTHER_NAME", "Marked-Signing-Thing-0123456789"),
];

/// Every text in which a secret would be given away.
fn marks() -> Vec<String> {
    let mut marks =
        vec!["Marked-Registry-Password".to_owned(), "Marked-Hook-Path".to_owned(), "Marked-Proxy-Password".to_owned()];
    for (_, secret) in SECRETS {
        marks.push(secret.to_owned());
        let json = serde_json::Value::from(secret).to_string();
        marks.push(json.trim_matches('"').to_owned());
        // Without the last characters, which share a digit with what follows.
        let basic = BASE64_STANDARD.encode(format!("x-access-token:{secret}"));
        marks.push(basic[..basic.len() - 4].to_owned());
        let alone = BASE64_STANDARD.encode(secret);
        marks.push(alone[..alone.len() - 4].to_owned());
    }
    marks
}

/// A program that writes down its variables, and then does as it is told.
fn spy(dir: &Path, name: &str, script: &str) {
    let file = dir.join(name);
    let log = dir.join(format!("{name}.env"));
    std::fs::write(&file, format!("#!/bin/sh\n{{ echo \"# $*\"; env; }} >> {}\n{script}\n", log.display())).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Every file below a folder, as text.
fn below(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            below(&path, found);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.insert(path.display().to_string(), text);
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of places, verbs and failures")]
fn no_marked_secret_is_in_anything_that_is_written_or_passed_on() {
    let (told, heard) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(0)));
    let (log, count) = (Arc::clone(&told), Arc::clone(&heard));
    let hook = Server::start(move |request| {
        log.lock().unwrap().push_str(&String::from_utf8_lossy(&request.body));
        *count.lock().unwrap() += 1;
        Response::status(204)
    });
    // A registry and a GitHub that say back all that they were handed.
    let status = Arc::new(AtomicU16::new(403));
    let says = Arc::clone(&status);
    let mirror = Server::start(move |request| {
        let handed = format!("{:?}", request.headers);
        let body = serde_json::json!({"message": handed, "errors": [{"code": "DENIED", "message": handed}]});
        Response::json(says.load(Ordering::SeqCst), &body)
    });
    let bin = tempfile::tempdir().unwrap();
    // What talks to a remote fails, and says all that it was handed.
    let real = "/usr/bin/git";
    let fails = "case \"$*\" in *ls-remote*|*fetch*|*worktree*|*' show '*) env >&2; exit 128;; esac";
    spy(bin.path(), "git", &format!("{fails}\nexec {real} \"$@\""));
    for program in ["docker", "docker-buildx", "cosign", "teller"] {
        spy(bin.path(), program, "env; env >&2; exit 1");
    }
    let repo = Repo::new();
    repo.write(
        "xtask.toml",
        "[images]\nregistry = '127.0.0.1:9'\nnamespace = 'org/shop'\ndockerfile = 'Dockerfile.monorepo-optimized'\n\
         [builders]\nengine = 'docker'\n[release]\nsign = 'env://ANOTHER_NAME'\npublic-key = 'cosign.pub'\n\
         [notify]\nwebhook-url-env = 'HOOK_URL'\nslack-url-env = 'PLAIN_NAME'\nwebhook-key-env = 'ANOTHER_NAME'\ncommand = ['teller']\n",
    );
    repo.commit("who is told");
    git(repo.path(), &["tag", "v1.0.0"]);
    git(repo.path(), &["remote", "add", "origin", "https://github.com/org/shop.git"]);
    let out = tempfile::tempdir().unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let event = out.path().join("event.json");
    std::fs::write(&event, r#"{"release":{"tag_name":"v1.0.0"},"action":"released"}"#).unwrap();
    let verbs: [&[&str]; 19] = [
        &["build"],
        &["build", "--push"],
        &["plan"],
        &["plan", "--json"],
        &["release", "v1.0.0"],
        &["release", "v1.0.0", "--local-tag"],
        &["release", "v1.0.0", "--local-tag", "--dry-run"],
        &["release", "v1.0.0", "--local-tag", "--rebuild"],
        &["release", "v1.0.0", "--local-tag", "--notes-only"],
        &["verify", "v1.0.0"],
        &["cache", "ls"],
        &["cache", "prune", "--dry-run"],
        &["cache", "clear", "--tier", "registry", "--dry-run"],
        &["layers", "api"],
        &["doctor"],
        &["ci"],
        &["ci", "plan"],
        &["ci", "publish"],
        &["stats", "--pull", "--html", "page.html"],
    ];
    let closed = "http://127.0.0.1:9".to_owned();
    // Nobody there, on a laptop and in CI; refused for good; and no answer at all to what was asked.
    let days = [(false, closed.clone(), 0), (true, closed, 0), (true, mirror.url(), 403), (true, mirror.url(), 500)];
    let (mut places, mut failures) = (0, 0);
    for (actions, elsewhere, answers) in &days {
        status.store(*answers, Ordering::SeqCst);
        for args in verbs {
            let mut command = repo.command(args);
            // What does not answer is asked again all the same.
            command.env("XTASK_RETRY_WAIT", "5ms");
            command.env("PATH", &path).env("HOOK_URL", hook.url()).env("INNOCENT", SECRETS[2].1);
            command.env("GITHUB_OUTPUT", out.path().join("output")).env("GITHUB_STEP_SUMMARY", out.path().join("summary"));
            command.env("NO_PROXY", "*").env("HTTPS_PROXY", "http://u:Marked-Proxy-Password@127.0.0.1:9");
            command.env("GITHUB_API_URL", elsewhere).env("GITHUB_REPOSITORY", "org/shop");
            command.env("XTASK_IMAGES_REGISTRY", elsewhere.trim_start_matches("http://"));
            if *actions {
                command.env("GITHUB_ACTIONS", "true").env("CI", "true").env("GITHUB_SERVER_URL", "https://github.com");
                command
                    .env("GITHUB_EVENT_NAME", "release")
                    .env("GITHUB_EVENT_PATH", &event)
                    .env("GITHUB_REF", "refs/tags/v1.0.0");
            }
            SECRETS.iter().for_each(|(name, value)| _ = command.env(name, value));
            let ended = command.output().unwrap();
            failures += usize::from(!ended.status.success());
            let mut written = BTreeMap::new();
            written.insert("standard output".to_owned(), String::from_utf8_lossy(&ended.stdout).into_owned());
            written.insert("standard error".to_owned(), String::from_utf8_lossy(&ended.stderr).into_owned());
            for dir in [repo.path().join("target"), out.path().to_owned()] {
                below(&dir, &mut written);
            }
            written.insert("messages".to_owned(), told.lock().unwrap().clone());
            places += written.len();
            for (place, text) in &written {
                for mark in marks() {
                    assert!(!text.contains(&mark), "{mark} is in {place} of {args:?}: {text}");
                }
            }
        }
    }
    println!(
        "{} verbs on {} days: {failures} of {} runs failed; {} secrets in {} forms were looked for in {places} texts",
        verbs.len(),
        days.len(),
        verbs.len() * days.len(),
        SECRETS.len() + 2,
        marks().len()
    );
    assert!(failures >= 40 && places > 400, "{failures} runs failed, and {places} texts were looked through");
    assert!(*heard.lock().unwrap() > 0, "nobody was told");

    // What children were handed: by each, only what it needs.
    let mut environments = BTreeMap::new();
    below(bin.path(), &mut environments);
    environments.retain(|file, _| file.strip_suffix(".env").is_some());
    assert!(environments.len() >= 2, "{:?}", environments.keys());
    for (file, text) in &environments {
        let program = Path::new(file).file_stem().unwrap().to_str().unwrap();
        let needs: &[&str] = match program {
            "docker" | "docker-buildx" => &["ACTIONS_RUNTIME_TOKEN", "DOCKER_AUTH_CONFIG"],
            "cosign" => &["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "COSIGN_PASSWORD", "DOCKER_AUTH_CONFIG", "ANOTHER_NAME"],
            _ => &[],
        };
        for (name, secret) in SECRETS.iter().filter(|(name, _)| !needs.contains(name)) {
            assert!(!text.contains(secret), "{program} was handed {name}");
        }
        assert!(!text.contains("INNOCENT="), "{program} was handed a secret under another name");
    }
    // Git is handed the job's token in Actions alone, and only where it may ask a remote.
    let basic = BASE64_STANDARD.encode(format!("x-access-token:{}", SECRETS[1].1));
    let asked = &environments[&bin.path().join("git.env").display().to_string()];
    for call in asked.split("# --no-optional-locks").skip(1).filter(|call| call.contains(&basic)) {
        let line = call.lines().next().unwrap();
        assert!(
            !["ls-files", "diff-files", "rev-parse", "config", "symbolic-ref"].iter().any(|word| line.contains(word)),
            "{line}"
        );
    }
    assert!(asked.contains(&basic), "it is handed to whom needs it");
}
