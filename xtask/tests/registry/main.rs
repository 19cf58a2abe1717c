//! The registry client against the distribution project's registry: open, with passwords, with token auth, with TLS of a private
//! authority, and on bad days.

mod answers;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use monoship_core::env::Env;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::SortedSet;
use monoship_docker::manifest::{Document, OCI_INDEX, OCI_MANIFEST, Raw};
use monoship_docker::reach;
use monoship_docker::registry::{Access, Deletion, Registry};
use support::faulty_proxy::{Fault, FaultyProxy};
use support::http::{Response, Server};
use support::image::TestImage;
use support::registry::{Auth, HANG, RegistryServer, anonymous, client};
use support::token_server::{IDENTITY, TokenServer};
use support::x509::Authority;

fn image(host: &str, rest: &str) -> ImageRef {
    format!("{host}/{rest}").parse().unwrap()
}

#[test]
fn manifests_come_back_byte_for_byte_and_are_found_copied_and_deleted() {
    let server = RegistryServer::plain();
    let registry = anonymous();
    let source = image(&server.host(), "org/repo/api:v1");
    assert_eq!(registry.resolve(&source).unwrap(), None, "no such repository yet");
    assert!(registry.tags(&source).unwrap().is_empty());

    let made = TestImage { platforms: vec!["linux/amd64", "linux/arm64"], ..TestImage::new("one") };
    let made = TestImage { attestations: vec![("https://spdx.dev/Document", serde_json::json!({}))], ..made };
    let index = made.push(&registry, &source);
    let found = registry.resolve(&source).unwrap().unwrap();
    assert_eq!((&found.digest, found.size, found.media_type.as_str()), (index.digest(), index.bytes().len() as u64, OCI_INDEX));
    assert_eq!(registry.manifest(&source).unwrap().unwrap(), index);

    let copy = image(&server.host(), "org/repo/copy:latest");
    assert_eq!(registry.copy(&source, &copy).unwrap(), index);
    assert_eq!(registry.manifest(&copy).unwrap().unwrap().bytes(), index.bytes());
    let Document::Index(parsed) = index.document().unwrap() else { panic!("not an index") };
    for child in &parsed.manifests {
        let child = copy.without_reference().with_digest(child.digest.clone());
        assert!(registry.resolve(&child).unwrap().is_some(), "{child} did not come along");
    }

    let wanted = [copy.clone(), image(&server.host(), "no/such:x"), source.clone()];
    let found: Vec<bool> = registry.resolve_all(&wanted).into_iter().map(|found| found.unwrap().is_some()).collect();
    assert_eq!(found, [true, false, true]);
    assert_eq!(registry.catalog(&server.host()).unwrap(), ["org/repo/api", "org/repo/copy"]);
    assert_eq!(registry.tags(&source).unwrap(), ["v1".parse().unwrap()]);
    assert_eq!((registry.can_pull(&source).unwrap(), registry.can_push(&source).unwrap()), (Access::Granted, Access::Granted));

    assert_eq!(registry.delete_tag(&source, source.tag().unwrap()).unwrap(), Deletion::Unsupported);
    assert_eq!(registry.delete_manifest(&source, index.digest()).unwrap(), Deletion::Deleted);
    assert_eq!(registry.delete_manifest(&source, index.digest()).unwrap(), Deletion::Absent);
    assert_eq!(registry.resolve(&source).unwrap(), None);
    assert!(registry.resolve(&copy).unwrap().is_some());
}

#[test]
fn blobs_go_up_in_one_piece_or_many_and_come_down_whole_in_ranges_or_as_a_stream() {
    let server = RegistryServer::plain();
    let registry = anonymous();
    let place = image(&server.host(), "a/b");
    let kind = "application/octet-stream";
    for (bytes, chunk) in [(&b""[..], 4), (b"abc", 4), (b"abcd", 4), (b"abcdefghij", 4), (b"0123456789", 100)] {
        let pushed = registry.push_blob_in_pieces(&place, kind, bytes, chunk).unwrap();
        assert_eq!(pushed.digest, Digest::of(bytes));
        assert_eq!(registry.has_blob(&place, &pushed.digest).unwrap(), Some(bytes.len() as u64));
        assert_eq!(registry.blob(&place, &pushed.digest, 100).unwrap(), bytes);
        let mut streamed = Vec::new();
        registry.open_blob(&place, &pushed.digest).unwrap().read_to_end(&mut streamed).unwrap();
        assert_eq!(streamed, bytes);
    }
    let digest = Digest::of(b"abcdefghij");
    let proxy = FaultyProxy::start(&server.host());
    proxy.fail("HEAD", "/blobs/", Fault::Status(403, Vec::new()), usize::MAX);
    let (guarded, behind) = (anonymous(), image(&proxy.host(), "a/b"));
    assert_eq!(guarded.has_blob(&behind, &digest).unwrap(), Some(10), "where HEAD is refused, GET tells");
    assert_eq!(guarded.has_blob(&behind, &Digest::of(b"no")).unwrap(), None);
    assert_eq!(guarded.push_blob(&behind, kind, b"new").unwrap().size, 3);
    assert!(registry.blob(&place, &digest, 9).unwrap_err().to_string().contains("more than 9 bytes"));
    assert_eq!(registry.has_blob(&place, &Digest::of(b"no")).unwrap(), None);
    let other = image(&server.host(), "c/d");
    assert!(registry.mount_blob(&place, &other, &digest).unwrap());
    assert_eq!(registry.blob(&other, &digest, 100).unwrap(), b"abcdefghij");
    assert!(!registry.mount_blob(&place, &other, &Digest::of(b"no")).unwrap());
}

/// A client whose Docker configuration, in `dir`, is `config`, and who trusts `authority`.
fn configured(dir: &Path, config: &serde_json::Value, authority: Option<&Authority>) -> Registry {
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.display());
    let mut env = Env::new(dir, [("DOCKER_CONFIG".to_owned(), dir.display().to_string()), ("PATH".to_owned(), path)]);
    if let Some(authority) = authority {
        let bundle = dir.join("ca.pem");
        std::fs::write(&bundle, authority.certificate.pem()).unwrap();
        env = env.with("SSL_CERT_FILE", bundle.to_str().unwrap());
    }
    client(&env)
}

fn auths(host: &str, pair: &str) -> serde_json::Value {
    serde_json::json!({"auths": {host: {"auth": BASE64_STANDARD.encode(pair)}}})
}

fn helper(dir: &Path, name: &str, answer: &str) {
    let file = dir.join(format!("docker-credential-{name}"));
    std::fs::write(&file, format!("#!/bin/sh\nread host\nprintf '{answer}' \"$host\"\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn token_auth_behind_a_private_authority_works_with_every_way_of_keeping_credentials() {
    let (tokens, authority) = (TokenServer::start(), Authority::new("an authority of tests"));
    let server = RegistryServer::start(&Auth::Token(&tokens), Some(&authority));
    let (host, dir) = (server.host(), tempfile::tempdir().unwrap());
    helper(dir.path(), "pair", r#"{"ServerURL":"%s","Username":"writer","Secret":"right"}"#);
    helper(dir.path(), "identity", &format!(r#"{{"ServerURL":"%s","Username":"<token>","Secret":"{IDENTITY}"}}"#));
    let ways = [
        auths(&host, "writer:right"),
        serde_json::json!({"credHelpers": {&host: "pair"}}),
        serde_json::json!({"credsStore": "identity"}),
        serde_json::json!({"auths": {&host: {"identitytoken": IDENTITY}}}),
    ];
    for (number, config) in ways.iter().enumerate() {
        let registry = configured(dir.path(), config, Some(&authority));
        let place = image(&host, &format!("org/way{number}:v1"));
        let pushed = TestImage::new("token").push(&registry, &place);
        assert_eq!(registry.manifest(&place).unwrap().unwrap(), pushed, "{config}");
        let copy = image(&host, &format!("org/copy{number}:v1"));
        registry.copy(&place, &copy).unwrap();
        assert_eq!(registry.delete_manifest(&copy, pushed.digest()).unwrap(), Deletion::Deleted);
        assert!(registry.catalog(&host).unwrap().contains(&format!("org/way{number}")));
    }
    let asked = tokens.asked();
    assert!(
        asked.iter().any(|line| line.starts_with("POST writer ")) && asked.iter().all(|line| line.ends_with(" 200")),
        "{asked:?}"
    );
    let pushes = asked.iter().filter(|line| line.contains("org/way0:pull,push 200")).count();
    assert_eq!(pushes, 1, "a token is used again: {asked:?}");
}

#[test]
fn who_may_not_is_told_so_and_rights_are_probed_without_a_trace() {
    let tokens = TokenServer::start();
    let server = RegistryServer::start(&Auth::Token(&tokens), None);
    let (host, dir) = (server.host(), tempfile::tempdir().unwrap());
    let writer = configured(dir.path(), &auths(&host, "writer:right"), None);
    let place = image(&host, "org/api:v1");
    let pushed = TestImage::new("rights").push(&writer, &place);
    assert_eq!((writer.can_pull(&place).unwrap(), writer.can_push(&place).unwrap()), (Access::Granted, Access::Granted));

    let reader = configured(dir.path(), &auths(&host, "reader:look"), None);
    assert_eq!(reader.can_pull(&place).unwrap(), Access::Granted);
    assert!(matches!(reader.can_push(&place).unwrap(), Access::Denied(_)));
    assert_eq!(reader.resolve(&place).unwrap().unwrap().digest, *pushed.digest());
    let error = reader.put_manifest(&place, &pushed).unwrap_err();
    assert!(error.to_string().contains("does not let us write to org/api"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains(&format!("docker login {host}"))));

    let wrong = configured(dir.path(), &auths(&host, "writer:wr0ng"), None);
    let error = wrong.resolve(&place).unwrap_err();
    assert!(error.to_string().contains("refuses `writer`: ") && !error.to_string().contains("wr0ng"), "{error}");
    assert!(matches!(anonymous().can_pull(&place).unwrap(), Access::Denied(_)));
    let uploads = server.folder().join("data/docker/registry/v2/repositories/org/api/_uploads");
    let left = std::fs::read_dir(uploads).unwrap().filter(|entry| entry.as_ref().unwrap().path().join("startedat").exists());
    // (Distribution 2.8 leaves the folder of a cancelled upload with a hash state in it, and purges it later.)
    assert_eq!(left.count(), 0, "a probe's upload stayed");
}

#[test]
fn basic_auth_works_and_an_unknown_authority_is_a_clear_refusal() {
    let authority = Authority::new("an authority of tests");
    let server = RegistryServer::start(&Auth::Basic, Some(&authority));
    let (host, dir) = (server.host(), tempfile::tempdir().unwrap());
    let place = image(&host, "org/api:v1");
    let writer = configured(dir.path(), &auths(&host, "writer:right"), Some(&authority));
    let pushed = TestImage::new("basic").push(&writer, &place);
    assert_eq!(writer.resolve(&place).unwrap().unwrap().digest, *pushed.digest());
    let error = configured(dir.path(), &auths(&host, "writer:wr0ng"), Some(&authority)).resolve(&place).unwrap_err();
    assert!(error.to_string().contains("does not let us read org/api") && !error.to_string().contains("wr0ng"), "{error}");
    let error = configured(dir.path(), &auths(&host, "writer:right"), None).resolve(&place).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("SSL_CERT_FILE")), "{error}");
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_said_once() {
    let server = RegistryServer::plain();
    let proxy = FaultyProxy::start(&server.host());
    let registry = anonymous();
    let place = image(&proxy.host(), "org/api:v1");
    let pushed = TestImage::new("faults").push(&registry, &place);
    let status = |status| Fault::Status(status, Vec::new());
    let passing = [status(500), status(503), status(429), Fault::Reset, Fault::Truncate, Fault::Corrupt, Fault::Hang(HANG)];
    for fault in passing {
        proxy.heal();
        proxy.fail("GET", "/manifests/v1", fault.clone(), 1);
        assert_eq!(registry.manifest(&place).unwrap().unwrap(), pushed, "{fault:?}");
        assert_eq!(proxy.count("GET", "/manifests/v1"), 2, "{fault:?}");
    }
    for (fault, says) in [(status(403), "FAULT: a bad day (status 403)"), (status(400), "FAULT: a bad day (status 400)")] {
        proxy.heal();
        proxy.fail("GET", "/manifests/v1", fault, 9);
        let error = registry.manifest(&place).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(proxy.count("GET", "/manifests/v1"), 1);
    }
    // It is in the list, so that it is there and not for us.
    assert!(!registry.hides_missing(&proxy.host()));
    proxy.heal();
    proxy.fail("GET", "/manifests/v1", status(503), 9);
    let error = registry.manifest(&place).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("tried 3 times")), "{error}");
}

#[test]
fn a_servers_retry_after_is_kept_to_and_one_that_is_too_long_ends_it() {
    let server = RegistryServer::plain();
    let proxy = FaultyProxy::start(&server.host());
    let registry = anonymous();
    let place = image(&proxy.host(), "org/api:v1");
    TestImage::new("limits").push(&registry, &place);
    let limited = |seconds: u32| Fault::Status(429, vec![("retry-after", seconds.to_string())]);
    // Limited until half a second after the first answer: who comes back earlier than it says has used up all tries by then.
    proxy.fail("HEAD", "/manifests/v1", limited(1), usize::MAX);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while proxy.log().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(500));
            proxy.heal();
        });
        assert!(registry.resolve(&place).unwrap().is_some());
    });
    proxy.fail("HEAD", "/manifests/v1", limited(600), 1);
    let error = registry.resolve(&place).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("600 s")), "{error}");
}

#[test]
fn an_upload_survives_a_break_an_expired_token_and_a_registry_that_forgot_it() {
    let tokens = TokenServer::start();
    let server = RegistryServer::start(&Auth::Token(&tokens), None);
    let proxy = FaultyProxy::start(&server.host());
    let dir = tempfile::tempdir().unwrap();
    let registry = configured(dir.path(), &auths(&proxy.host(), "writer:right"), None);
    let place = image(&proxy.host(), "org/api:v1");
    let expired = || {
        let challenge = format!(r#"Bearer realm="{}",service="{}",error="invalid_token""#, tokens.realm(), TokenServer::SERVICE);
        Fault::Status(401, vec![("www-authenticate", challenge)])
    };
    let lost = Fault::Status(404, Vec::new());
    let faults = [
        ("POST", Fault::Reset),
        ("PATCH", Fault::Reset),
        ("PATCH", expired()),
        ("PUT", Fault::Lost),
        ("PUT", expired()),
        ("PUT", lost),
    ];
    for (number, (method, fault)) in faults.into_iter().enumerate() {
        proxy.heal();
        proxy.fail(method, "/blobs/uploads", fault.clone(), 1);
        let bytes = format!("the bytes of upload {number}").into_bytes();
        let pushed = registry.push_blob_in_pieces(&place, "application/octet-stream", &bytes, 10).unwrap();
        assert_eq!(registry.blob(&place, &pushed.digest, 100).unwrap(), bytes, "{method} {fault:?}");
    }
    let before = tokens.asked().len();
    proxy.heal();
    proxy.fail("PUT", "/manifests/v1", expired(), 1);
    TestImage::new("expired").push(&registry, &place);
    assert!(tokens.asked().len() > before, "a fresh token was bought");
}

/// A registry of one image that knows the referrers API, as distribution 3 does and the engine's does not.
fn with_referrers(index: Raw, child: Raw, about_child: Raw) -> Server {
    Server::start(move |request| {
        let serve =
            |raw: &Raw| Response { body: raw.bytes().to_vec(), ..Response::status(200) }.header("content-type", raw.media_type());
        let listed = |all: &[&Raw]| {
            let entries: Vec<_> = all.iter().map(|raw| raw.descriptor()).collect();
            Response::json(200, &serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))
        };
        let path = request.path.trim_start_matches("/v2/a/b/");
        match path.split_once('/') {
            Some(("tags", _)) => Response::json(200, &serde_json::json!({"tags": ["v1"]})),
            Some(("referrers", about)) if about == child.digest().as_str() => listed(&[&about_child]),
            Some(("referrers", _)) => listed(&[]),
            Some(("manifests", "v1")) => serve(&index),
            Some(("manifests", digest)) => {
                let all = [&index, &child, &about_child];
                all.iter().find(|raw| raw.digest().as_str() == digest).map_or(Response::status(404), |raw| serve(raw))
            }
            _ => Response::status(if request.path == "/v2/" { 200 } else { 404 }),
        }
    })
}

#[test]
fn what_is_about_a_manifest_is_found_where_the_registry_lists_it_and_nobody_minds_where_it_does_not() {
    let blob = |text: &str| serde_json::to_value(Raw::new("application/octet-stream", text).descriptor()).unwrap();
    let child = serde_json::json!({"schemaVersion": 2, "config": blob("config"), "layers": [blob("layer")]});
    let child = Raw::new(OCI_MANIFEST, child.to_string());
    let about = serde_json::json!({"schemaVersion": 2, "config": blob("{}"), "layers": [], "subject": child.descriptor()});
    let about = Raw::new(OCI_MANIFEST, about.to_string());
    let index = Raw::new(OCI_INDEX, serde_json::json!({"schemaVersion": 2, "manifests": [child.descriptor()]}).to_string());
    let server = with_referrers(index.clone(), child.clone(), about.clone());
    let place = image(server.url().trim_start_matches("http://"), "a/b");
    let nodes = reach::read(&anonymous(), &place, None, &SortedSet::new()).unwrap();
    assert_eq!(nodes.keys().collect::<SortedSet<_>>(), [index.digest(), child.digest(), about.digest()].into());
    assert_eq!(nodes[about.digest()].subject.as_ref(), Some(child.digest()));
    assert_eq!((nodes[index.digest()].tags.len(), &nodes[index.digest()].children), (1, &vec![child.digest().clone()]));

    let real = RegistryServer::plain();
    let place = image(&real.host(), "a/b:v1");
    let pushed = TestImage::new("plain").push(&anonymous(), &place);
    assert_eq!(anonymous().referrers(&place, pushed.digest()).unwrap(), None);
    assert_eq!(reach::read(&anonymous(), &place.without_reference(), None, &SortedSet::new()).unwrap().len(), 2);
}

#[test]
fn listings_are_read_page_by_page_and_a_circle_ends() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Server::start(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let next = match request.param("last") {
            None if request.path.contains("/circle/") => "same",
            None => "b",
            Some("b") => "d",
            Some("same") => "same",
            Some(_) => return Response::json(200, &serde_json::json!({"tags": ["e", ".not-a-tag"]})),
        };
        let tags = if request.param("last").is_none() { vec!["a", "b"] } else { vec!["c", "d"] };
        let link = format!(r#"<{}?last={next}&n=2>; rel="next""#, request.path);
        Response::json(200, &serde_json::json!({"tags": tags})).header("link", link)
    });
    let host = server.url().trim_start_matches("http://").to_owned();
    let tags = anonymous().tags(&image(&host, "a/pages")).unwrap();
    assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    asked.store(0, Ordering::SeqCst);
    let error = anonymous().tags(&image(&host, "a/circle")).unwrap_err();
    assert!(error.to_string().contains("does not end"), "{error}");
    assert!(asked.load(Ordering::SeqCst) < 5, "it goes round and round");
}

#[test]
fn a_tag_that_is_listed_and_cannot_be_read_keeps_anything_from_being_deleted_and_one_that_went_does_not() {
    let server = RegistryServer::plain();
    let proxy = FaultyProxy::start(&server.host());
    let registry = anonymous();
    let place: ImageRef = format!("{}/org/repo/api", proxy.host()).parse().unwrap();
    for tag in ["1", "2"] {
        TestImage::new(tag).push(&registry, &place.with_tag(tag.parse().unwrap()));
    }
    let read = || monoship_docker::reach::read(&registry, &place, None, &SortedSet::new());
    let whole = read().unwrap().len();
    proxy.fail_exactly("GET", "/manifests/2", Fault::Says(404, "MANIFEST_UNKNOWN", "manifest unknown"), 1);
    let error = read().unwrap_err().to_string();
    assert!(error.contains("2 is listed and is not there"), "{error}");
    assert_eq!(read().unwrap().len(), whole);
    // It is in the first list alone.
    registry.remove_tag(&place, &"2".parse().unwrap()).unwrap();
    let listed = serde_json::json!({"name": "org/repo/api", "tags": ["1", "2"]});
    proxy.fail("GET", "/tags/list", Fault::Body(listed.to_string()), 1);
    assert!(read().unwrap().len() < whole);
}
