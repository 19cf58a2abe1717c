//! A signed release, read back by programs that are not ours: cosign, skopeo and docker.

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::sha256_hex;

use crate::harness::{SERVICES, Scene, statuses};
use support::engine::{environment, shared};
use support::repo::{Ran, git};
use support::sigstore::{ISSUER, Sigstore};
use support::tools::{COSIGN, SKOPEO, Tool};

const PASSWORD: &str = "only for this test";

/// A scene with cosign on the path.
fn with_cosign() -> Scene {
    let path = format!("{}:{}", COSIGN.path().parent().unwrap().display(), environment().get("PATH").unwrap());
    Scene::new().with(|repo| repo.env("PATH", path))
}

/// A scene whose releases are signed with a key pair of its own.
fn scene() -> Scene {
    let scene = with_cosign().with(|repo| repo.env("COSIGN_PASSWORD", PASSWORD));
    call(&scene, &COSIGN, &["generate-key-pair"]).read(&Shutdown::new()).unwrap();
    scene.repo.write(".gitignore", "cosign.key\ntarget\n");
    let config = scene.repo.read("xtask.toml") + "[release]\nsign = \"cosign.key\"\npublic-key = \"cosign.pub\"\n";
    scene.repo.write("xtask.toml", &config);
    scene.repo.commit("sign");
    scene
}

fn call(scene: &Scene, tool: &Tool, args: &[&str]) -> Invocation {
    let call = Invocation::new(tool.path()).args(args.iter().copied());
    call.env("COSIGN_PASSWORD", PASSWORD).dir(scene.repo.path())
}

/// How many signatures were put.
fn signatures(scene: &Scene) -> usize {
    scene.registry.count("PUT", "/manifests/sha256-")
}

#[test]
fn a_signed_release_is_read_back_by_cosign_skopeo_and_docker_and_one_carried_forward_is_not_signed_again() {
    let scene = scene();
    scene.tag("v1.0.0", "");
    scene.release("v1.0.0").exits(0);
    let log = scene.registry.log();
    let first = |part: &str| log.iter().position(|line| line.starts_with("PUT ") && line.contains(part)).unwrap();
    let last = log.iter().rposition(|line| line.starts_with("PUT ") && line.contains("/manifests/sha256-")).unwrap();
    assert!(last < first("/manifests/v1.0.0"), "a tag was put before the last signature: {log:?}");
    let read = |tool: &Tool, args: &[&str]| call(&scene, tool, args).read(&Shutdown::new()).unwrap();
    let (registry, body) = (shared().registry(), scene.github.body("v1.0.0"));
    for service in SERVICES {
        let digest = scene.tags(service)["v1.0.0"].clone();
        let image = format!("{registry}/{}/{service}", scene.namespace);
        let signed =
            read(&COSIGN, &["verify", "--insecure-ignore-tlog=true", "--key", "cosign.pub", &format!("{image}@{digest}")]);
        assert!(signed.contains(&digest), "{signed}");
        let inspect = ["--insecure-policy", "inspect", "--tls-verify=false"];
        let tagged = format!("docker://{image}:1.0");
        let raw = call(&scene, &SKOPEO, &[&inspect[..], &["--raw", &tagged]].concat()).run(&Shutdown::new()).unwrap();
        assert_eq!(format!("sha256:{}", sha256_hex(&raw.stdout)), digest, "{service}");
        let seen = read(&SKOPEO, &[&inspect[..], &["--override-os=linux", &tagged]].concat());
        assert!(seen.contains("\"v1.0.0\"") && seen.contains("\"Digest\""), "{seen}");
        // The very commands of the notes.
        for reference in [format!("{image}:v1.0.0"), format!("{image}@{digest}")] {
            let noted = reference.replace(&registry, &scene.registry.host());
            assert!(body.contains(&format!("docker pull {noted}\n")), "{noted} is not in {body}");
            shared().engine.docker().args(["pull", "--quiet", &noted]).read(&Shutdown::new()).unwrap();
        }
    }
    let verified = scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0).stdout;
    assert_eq!(verified.matches("signature: by cosign.pub\n").count(), SERVICES.len(), "{verified}");

    scene.tag("v1.0.1", "");
    let carried = scene.release("v1.0.1").exits(0);
    assert_eq!((statuses(&carried.json()), signatures(&scene)), (["unchanged"; 2], 0));
    std::fs::create_dir(scene.repo.path().join("other")).unwrap();
    let pair = call(&scene, &COSIGN, &["generate-key-pair"]).dir(scene.repo.path().join("other"));
    pair.read(&Shutdown::new()).unwrap();
    let stranger = scene.run(&["verify", "v1.0.1", "--allow-stand-ins", "--key", "other/cosign.pub"]).exits(1);
    assert!(stranger.stdout.contains("FAILED  web signature: cosign verify: "), "{}", stranger.stdout);
}

#[test]
fn a_signature_that_cannot_be_made_leaves_no_version_tag_and_the_release_is_completed_by_a_rerun() {
    let scene = scene();
    scene.tag("v1.0.0", "");
    let run = |name: &str, value: &str| {
        let args = ["release", "v1.0.0", "--allow-stand-ins"];
        let output = scene.repo.command(&args).env(name, value).output().unwrap();
        Ran::new(&args, &output)
    };
    let without = scene.repo.path().join("nowhere");
    let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", without.display());
    let refused = run("PATH", &path).exits(1);
    assert!(refused.stderr.contains("cosign is not here"), "{}", refused.stderr);
    assert!(SERVICES.iter().all(|service| scene.tags(service).is_empty()), "something was built in vain");

    let failed = run("COSIGN_PASSWORD", "wrong").exits(1);
    assert!(failed.stderr.contains("cosign sign: "), "{}", failed.stderr);
    assert!(!failed.stderr.contains("wrong") && !failed.stderr.contains(PASSWORD), "{}", failed.stderr);
    assert!(SERVICES.iter().all(|service| scene.stands(service) && scene.version_tags(service).is_empty()));
    scene.no_checkout();
    assert!(git(scene.repo.path(), &["status", "--porcelain"]).is_empty());

    let rerun = scene.release("v1.0.0").exits(0);
    assert_eq!((statuses(&rerun.json()), signatures(&scene)), (["unchanged"; 2], SERVICES.len()));
    let verify = |path: &str| {
        let args = ["verify", "v1.0.0", "--allow-stand-ins"];
        Ran::new(&args, &scene.repo.command(&args).env("PATH", path).output().unwrap()).exits(1).stdout
    };
    assert!(verify(&path).contains("FAILED  web signature: cosign"), "{}", verify(&path));
    scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0);
}

#[test]
fn a_keyless_release_is_signed_by_the_workflow_and_verify_takes_no_other_identity_issuer_or_instance() {
    const WORKFLOW: &str = "https://github.com/org/repo/.github/workflows/release.yml@refs/tags/v1.0.0";
    let sigstore = Sigstore::start(WORKFLOW);
    let scene = with_cosign().with(|repo| sigstore.job().into_iter().fold(repo, |repo, (name, value)| repo.env(name, value)));
    let config = r#"[release]
sign = "keyless"
identity = '^https://github\.com/org/repo/'
signing-config = "sigstore/signing-config.json"
trusted-root = "sigstore/trusted-root.json"
"#;
    scene.repo.write("xtask.toml", &(scene.repo.read("xtask.toml") + config));
    scene.repo.write("sigstore/signing-config.json", &sigstore.signing_config());
    scene.repo.write("sigstore/trusted-root.json", &sigstore.trusted_root());
    scene.repo.write("sigstore/another.json", &Sigstore::start(WORKFLOW).trusted_root());
    scene.repo.commit("sign");
    scene.tag("v1.0.0", "");
    let args = ["release", "v1.0.0", "--allow-stand-ins"];
    let mut unknown = scene.repo.command(&args);
    unknown.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "");
    let refused = Ran::new(&args, &unknown.output().unwrap()).exits(1).stderr;
    assert!(refused.contains("`id-token: write`"), "{refused}");
    assert!(SERVICES.iter().all(|service| scene.tags(service).is_empty()), "something was built in vain");

    scene.release("v1.0.0").exits(0);
    assert_eq!(signatures(&scene), SERVICES.len());
    let digest = &scene.tags("web")["v1.0.0"];
    let image = format!("{}/{}/web@{digest}", shared().registry(), scene.namespace);
    let root = ["--trusted-root", "sigstore/trusted-root.json"];
    let who = ["--certificate-identity", WORKFLOW, "--certificate-oidc-issuer", ISSUER];
    let seen = call(&scene, &COSIGN, &[&["verify"], &root[..], &who, &[&image]].concat()).read(&Shutdown::new()).unwrap();
    assert!(seen.contains(digest), "{seen}");

    let verify = |name: &str, value: &str| {
        let args = ["verify", "v1.0.0", "--allow-stand-ins"];
        Ran::new(&args, &scene.repo.command(&args).env(name, value).output().unwrap())
    };
    let good = verify("XTASK_RELEASE_ISSUER", &format!("^{ISSUER}$")).exits(0).stdout;
    assert!(good.contains("ok      web signature: by ^https://github\\.com/org/repo/\n"), "{good}");
    for (name, other) in [
        ("XTASK_RELEASE_IDENTITY", "^https://github\\.com/org/other/"),
        ("XTASK_RELEASE_ISSUER", "^https://gitlab\\.com$"),
        ("XTASK_RELEASE_TRUSTED_ROOT", "sigstore/another.json"),
    ] {
        let refused = verify(name, other).exits(1).stdout;
        assert!(refused.contains("FAILED  web signature: cosign verify: "), "{name}={other}: {refused}");
    }
}
