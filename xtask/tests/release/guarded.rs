//! A release to a registry that asks for tokens and shows a certificate of a private authority, with every way in which a Docker
//! configuration keeps credentials. buildx pushes there, our own client puts the tags, and somebody else's reads them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use serde_json::{Value, json};

use crate::harness::{SERVICES, Scene, statuses};
use support::engine::{NODE, environment, shared};
use support::registry::{Auth, RegistryServer};
use support::token_server::{IDENTITY, TokenServer};
use support::tools::SKOPEO;
use support::x509::Authority;

/// A helper program that knows one registry.
fn helper(dir: &Path, name: &str, host: &str, user: &str, secret: &str) {
    let file = dir.join(format!("docker-credential-{name}"));
    let answer = json!({"ServerURL": host, "Username": user, "Secret": secret});
    let script = format!(
        "#!/bin/sh\nread host\nif [ \"$host\" = {host} ]; then echo '{answer}'; else echo credentials not found; exit 1; fi\n"
    );
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The same scene for someone with this Docker configuration, who trusts the authority's certificate and no other.
fn of_user(scene: Scene, dir: &Path, host: &str, config: &Value, namespace: &str) -> Scene {
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let path = format!("{}:{}", dir.display(), environment().get("PATH").unwrap());
    scene.with(|repo| {
        repo.env("DOCKER_CONFIG", dir)
            .env("PATH", path)
            .env("SSL_CERT_FILE", dir.join("ca.crt"))
            .env("XTASK_IMAGES_REGISTRY", host)
            .env("XTASK_IMAGES_NAMESPACE", namespace)
    })
}

fn inspected(dir: &Path, image: &str) -> String {
    let skopeo = Invocation::new(SKOPEO.path()).args(["inspect", "--raw", "--creds=reader:look", "--cert-dir"]).arg(dir);
    skopeo.arg(format!("docker://{image}")).read(&Shutdown::new()).unwrap()
}

#[test]
fn a_whole_release_goes_through_token_auth_and_a_private_authority_with_every_way_of_keeping_credentials() {
    // While the certificates of the rest of the world still count.
    shared().stand_ins(&[NODE]);
    let (tokens, authority) = (TokenServer::start(), Authority::new("an authority of tests"));
    let server = RegistryServer::start(&Auth::Token(&tokens), Some(&authority));
    let (host, dir) = (server.host(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("ca.crt"), authority.certificate.pem()).unwrap();
    helper(dir.path(), "pair", &host, "writer", "right");
    helper(dir.path(), "identity", &host, "<token>", IDENTITY);
    let mut scene = Scene::alone();
    scene.tag("v1.0.0", "");
    scene.tag("v1.0.1", "");
    let ways = [
        ("auths", json!({"auths": {&host: {"auth": auth("writer:right")}}})),
        ("helpers", json!({"credHelpers": {&host: "pair"}})),
        ("store", json!({"credsStore": "identity"})),
    ];
    for (way, config) in &ways {
        scene = of_user(scene, dir.path(), &host, config, way);
        let first = scene.release("v1.0.0").exits(0);
        assert_eq!(statuses(&first.json()), ["built"; 2], "{way}");
        assert_eq!(statuses(&scene.release("v1.0.1").exits(0).json()), ["unchanged"; 2], "{way}");
        let verified = scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0).stdout;
        for service in SERVICES {
            assert!(verified.contains(&format!("ok      {service} tags: v1.0.0, 1.0.0 at sha256:")), "{way}: {verified}");
            let images = ["v1.0.0", "latest"].map(|tag| inspected(dir.path(), &format!("{host}/{way}/{service}:{tag}")));
            assert!(images[0] == images[1] && images[0].contains("attestation-manifest"), "{way}: {}", images[0]);
        }
        // buildx asks in the form of OAuth 2.
        let (asked, line) = (tokens.asked(), format!("POST writer repository:{way}/web:pull,push 200"));
        assert!(asked.contains(&line), "{way}: {asked:?}");
        let shown = first.stderr + &first.stdout;
        assert!(![IDENTITY, "writer:right", &auth("writer:right")].iter().any(|secret| shown.contains(secret)), "{shown}");
    }

    let reader = json!({"auths": {&host: {"auth": auth("reader:look")}}});
    let scene = of_user(scene, dir.path(), &host, &reader, "store");
    scene.run(&["verify", "v1.0.1", "--allow-stand-ins"]).exits(0);
    scene.tag("v1.0.2", "");
    let refused = scene.run(&["release", "v1.0.2", "--allow-stand-ins"]).exits(1);
    assert!(refused.stderr.contains("nothing was published: we may not push to "), "{}", refused.stderr);
    scene.repo.write("apps/web/src/more.ts", "export const more = 1;\n");
    scene.repo.commit("web says more");
    scene.tag("v1.0.3", "");
    let refused = scene.run(&["release", "v1.0.3", "--allow-stand-ins"]).exits(1).stderr;
    let named = format!("nothing was built: we may not push to {host}/store/web ");
    assert!(refused.contains(&named) && !refused.contains("web-build"), "{refused}");
    std::fs::write(dir.path().join("ca.crt"), Authority::new("an authority of tests").certificate.pem()).unwrap();
    let unknown = scene.run(&["verify", "v1.0.1", "--allow-stand-ins"]).exits(1);
    assert!(unknown.stderr.contains("name the bundle in SSL_CERT_FILE"), "{}", unknown.stderr);
}

/// A user and a password as `docker login` keeps them.
fn auth(pair: &str) -> String {
    BASE64_STANDARD.encode(pair)
}

#[test]
fn a_planted_image_is_built_again_and_never_released() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.release("v1.0.0").exits(0);
    let asked = scene.registry.log();
    let pushed = asked.iter().rposition(|line| line.starts_with("PUT") && line.contains("/manifests/in-")).unwrap();
    let again = asked[pushed + 1..].iter().filter(|line| line.contains("/manifests/in-")).collect::<Vec<_>>();
    assert!(again.is_empty(), "a content tag was read again between the build and the tags: {again:?}");

    let tags = scene.tags("api");
    let (content, made) = tags.iter().find(|(tag, _)| tag.starts_with("in-")).unwrap();
    // Somebody who may push puts another image under the tag of these inputs, and a machine without a record of its own releases.
    scene.tamper("api", content);
    let planted = scene.tags("api")[content].clone();
    assert_ne!(&planted, made);
    std::fs::remove_dir_all(scene.state("")).unwrap();
    scene.tag("v1.0.1", "");
    let record = scene.release("v1.0.1").exits(0).json();
    assert_eq!(statuses(&record), ["built", "unchanged"], "{record:#}");
    assert!(record.to_string().contains("is not trusted: it carries no mark of who made it"), "{record:#}");
    let released = &scene.tags("api")["v1.0.1"];
    assert!(*released != planted && scene.tags("api")[content] == *released, "{:?}", scene.tags("api"));

    std::fs::remove_dir_all(scene.state("")).unwrap();
    scene.tag("v1.0.2", "");
    assert_eq!(
        statuses(&scene.release("v1.0.2").exits(0).json()),
        ["unchanged"; 2],
        "marked images are carried forward by any machine"
    );
    // Whoever deletes what has no tag takes the images of an index that has one.
    let lost = scene.manifest("api", content)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    scene.delete("api", &format!("manifests/{lost}"));
    scene.tag("v1.0.3", "");
    let record = scene.release("v1.0.3").exits(0).json();
    assert_eq!(statuses(&record), ["built", "unchanged"], "{record:#}");
    assert!(record.to_string().contains(&format!("the registry has lost {lost} of it")), "{record:#}");
    // A registry's own clean-up takes layers.
    let image = scene.manifest("api", content)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let lost = scene.manifest("api", &image)["layers"][0]["digest"].as_str().unwrap().to_owned();
    scene.delete("api", &format!("blobs/{lost}"));
    scene.tag("v1.0.4", "");
    let record = scene.release("v1.0.4").exits(0).json();
    assert_eq!(statuses(&record), ["built", "unchanged"], "{record:#}");
    assert!(record.to_string().contains(&format!("the registry has lost {lost} of it")), "{record:#}");
    let rebuilt = scene.run(&["release", "v1.0.2", "--allow-stand-ins", "--rebuild", "--move-tags", "--json"]).exits(0).json();
    assert_eq!(statuses(&rebuilt), ["built"; 2]);
}
