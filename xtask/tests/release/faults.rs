//! Bad days of the registry during a whole release: while buildx pushes images, and while our client puts tags.

use std::time::Duration;

use crate::harness::{SERVICES, Scene, statuses};
use support::faulty_proxy::Fault;
use support::token_server::TokenServer;

fn status(code: u16) -> Fault {
    Fault::Status(code, Vec::new())
}

/// What a registry says to a token that has expired meanwhile.
fn expired(tokens: &TokenServer) -> Fault {
    let challenge = format!(r#"Bearer realm="{}",service="{}",error="invalid_token""#, tokens.realm(), TokenServer::SERVICE);
    Fault::Status(401, vec![("www-authenticate", challenge)])
}

#[test]
fn what_passes_is_ridden_out_wherever_it_comes_and_a_refusal_leaves_every_tag_as_it_was() {
    let (scene, tokens) = (Scene::new(), TokenServer::start());
    scene.tag("v1.0.0", "");
    let limited = || Fault::Status(429, vec![("retry-after", "1".to_owned())]);
    let hang = || Fault::Hang(Duration::from_secs(1));
    let of_builder = [
        ("POST", "api/blobs/uploads", limited()),
        ("PUT", "api/blobs/uploads", Fault::Reset),
        ("PUT", "api/manifests/in-", expired(&tokens)),
        ("POST", "web/blobs/uploads", status(503)),
        ("PUT", "web/blobs/uploads", status(500)),
        ("PUT", "web/manifests/in-", hang()),
    ];
    let of_client = [
        ("POST", "api/blobs/uploads", limited()),
        ("GET", "api/manifests/in-", Fault::Truncate),
        ("GET", "web/manifests/in-", status(503)),
        ("PUT", "api/manifests/v1.0.0", limited()),
        ("PUT", "api/manifests/1.0.0", status(500)),
        ("PUT", "web/manifests/v1.0.0", expired(&tokens)),
        ("PUT", "web/manifests/1.0.0", Fault::Lost),
        ("PUT", "api/manifests/latest", Fault::Reset),
        ("PUT", "web/manifests/latest", hang()),
    ];
    for (method, part, fault) in of_builder {
        scene.registry.fail_builder(method, part, fault);
    }
    for (method, part, fault) in of_client {
        scene.registry.fail(method, part, fault, 1);
    }
    let ran = scene.run(&["release", "v1.0.0", "--allow-stand-ins", "--json"]).exits(0);
    assert_eq!(statuses(&ran.json()), ["built"; 2]);
    assert_eq!(scene.registry.still_to_come(), [""; 0]);
    scene.whole();

    let before = SERVICES.map(|service| scene.version_tags(service));
    scene.repo.write("apps/web/src/more.ts", "export const more = 1;\n");
    scene.repo.commit("web says more");
    scene.tag("v1.1.0", "as it was");
    scene.registry.fail("GET", "/tags/list", status(403), 9);
    let refused = scene.run(&["release", "v1.1.0", "--allow-stand-ins"]).exits(1);
    assert!(refused.stderr.contains("does not let us list the tags of"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("built in"), "it is known before anything is built: {}", refused.stderr);
    for (part, says) in [("web/blobs/uploads", "a bad day"), ("web/manifests/latest", "does not let us write to")] {
        scene.registry.heal();
        scene.registry.fail("PUT", part, status(403), 1);
        let refused = scene.run(&["release", "v1.1.0", "--allow-stand-ins"]).exits(1);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        assert_eq!(SERVICES.map(|service| scene.version_tags(service)), before, "{part}");
        assert_eq!(scene.github.body("v1.1.0"), "as it was");
    }
}
