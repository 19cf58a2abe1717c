//! Every row of the table of what registries answer, given to the real client by a server that answers so.

use std::sync::{Arc, Mutex};

use monoship_core::name::Digest;
use monoship_docker::manifest::{OCI_INDEX, Raw};
use monoship_docker::registry::answers::{Ask, Row, TABLE};
use monoship_docker::registry::{Access, Deletion, Registry, Verdict};
use serde_json::json;

use crate::image;
use support::http::{Request, Response, Server};
use support::registry::anonymous;

/// A registry that gives tokens for whatever is asked, and answers one kind of request as the row has it.
struct Stand {
    server: Server,
    asked: Arc<Mutex<usize>>,
}

/// What is asked of it, by the request's path.
fn ask_of(request: &Request) -> Option<Ask> {
    let path = request.path.strip_prefix("/v2/")?;
    Some(match request.method.as_str() {
        "DELETE" if path.contains("/manifests/") => Ask::Delete,
        "PUT" if path.contains("/manifests/") => Ask::PutTag,
        "POST" if path.ends_with("/blobs/uploads/") => Ask::Upload,
        "GET" if path.contains("/referrers/") => Ask::Referrers,
        "GET" if path.ends_with("/tags/list") => Ask::List,
        "GET" | "HEAD" if path.contains("/manifests/") => Ask::Manifest,
        _ => return None,
    })
}

fn body_of(row: &Row) -> Response {
    if row.code.is_empty() {
        return Response { body: row.says.as_bytes().to_vec(), ..Response::status(row.status) }
            .header("content-type", "text/html");
    }
    Response::json(row.status, &json!({"errors": [{"code": row.code, "message": row.says}]}))
}

impl Stand {
    /// Who asks with a token to read only is answered so; who may write, too, unless `truth` is told to these.
    fn answering(row: &'static Row, truth: Option<u16>) -> Self {
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let server = Server::start(move |request| {
            let host = request.header("host").unwrap_or_default().to_owned();
            if request.path == "/token" {
                return Response::json(200, &json!({"token": request.param("scope").unwrap_or_default()}));
            }
            let Some(token) = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) else {
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"stand\"");
                return Response::status(401).header("www-authenticate", challenge);
            };
            let told = truth.filter(|_| token.contains("push"));
            match ask_of(request) {
                Some(ask) if ask == row.ask => {
                    *count.lock().unwrap() += 1;
                    told.map_or_else(|| body_of(row), Response::status)
                }
                // What the client looks at before or after.
                Some(Ask::List) => Response::json(200, &json!({"tags": ["there"]})),
                _ => Response::status(if request.path == "/v2/" { 200 } else { 404 }),
            }
        });
        Self { server, asked }
    }

    fn place(&self, rest: &str) -> monoship_core::name::ImageRef {
        image(self.server.url().trim_start_matches("http://"), rest)
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[test]
fn every_registry_s_answer_means_to_the_client_what_the_table_says() {
    for row in TABLE {
        let stand = Stand::answering(row, None);
        let registry = anonymous();
        match row.ask {
            Ask::Manifest => reads(&registry, &stand, row),
            Ask::PutTag => puts(&registry, &stand, row),
            Ask::Upload => uploads(&registry, &stand, row),
            Ask::Delete => deletes(&registry, &stand, row),
            Ask::Referrers => refers(&registry, &stand, row),
            Ask::List => lists(&registry, &stand, row),
        }
        assert!(stand.asked() > 0, "{row:?}");
    }
}

fn reads(registry: &Registry, stand: &Stand, row: &'static Row) {
    let place = stand.place("shop/api:1");
    let found = registry.resolve(&place);
    match row.verdict {
        Verdict::Absent => assert_eq!(found.unwrap(), None, "{row:?}"),
        Verdict::AbsentOrDenied => {
            // Nobody is told more, but the list has no such tag: it is not there, and this registry hides that.
            assert_eq!(found.unwrap(), None, "{row:?}");
            assert!(registry.hides_missing(place.registry()));
            // The list has it: it is there, and not for us.
            let error = anonymous().resolve(&stand.place("shop/api:there")).unwrap_err();
            assert!(error.to_string().contains("does not let us read shop/api"), "{row:?}: {error}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("no such image")), "{row:?}: {error}");
            // Who may write is told that it is not there yet.
            let open = Stand::answering(row, Some(404));
            let registry = anonymous();
            assert_eq!(registry.resolve(&open.place("shop/api:1")).unwrap(), None, "{row:?}");
            assert!(!registry.hides_missing(open.place("shop/api:1").registry()), "{row:?}");
        }
        Verdict::Passing => passes(stand, row, &found.unwrap_err()),
        Verdict::Unsupported => {
            assert!(found.unwrap_err().to_string().contains("(status 405)"), "{row:?}");
            assert_eq!(stand.asked(), 2, "{row:?}: by HEAD, and by GET");
        }
        other => panic!("{row:?}: nobody reads {other:?}"),
    }
}

/// What may pass was tried again, and is not called a refusal.
fn passes(stand: &Stand, row: &Row, error: &monoship_core::error::Error) {
    assert!(stand.asked() >= 3, "{row:?} was asked {} times", stand.asked());
    assert!(error.hint_text().is_some_and(|hint| hint.contains("tried 3 times")), "{row:?}: {error}");
}

fn puts(registry: &Registry, stand: &Stand, row: &'static Row) {
    let raw = Raw::new(OCI_INDEX, json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string());
    let place = stand.place("shop/api:1");
    if row.verdict == Verdict::Passing {
        return passes(stand, row, &registry.try_put_manifest(&place, &raw).unwrap_err());
    }
    let refusal = registry.try_put_manifest(&place, &raw).unwrap().unwrap_or_else(|| panic!("{row:?} was taken"));
    assert_eq!((refusal.verdict, stand.asked()), (row.verdict, if row.status == 401 { 2 } else { 1 }), "{row:?}");
    assert!(row.verdict.is_for_good() && refusal.said.contains(&row.says[..row.says.len().min(40)]), "{refusal:?}");
    // A person reads the registry's words and what can be done, and not that another try could help.
    let error = registry.put_manifest(&place, &raw).unwrap_err();
    let hint = error.hint_text().unwrap_or_default();
    assert!(!hint.is_empty() && !hint.contains("run this again") && !hint.contains("later"), "{row:?}: {error} ({hint})");
}

fn uploads(registry: &Registry, stand: &Stand, row: &'static Row) {
    let access = registry.can_push(&stand.place("shop/api"));
    if row.verdict == Verdict::Passing {
        return passes(stand, row, &access.unwrap_err());
    }
    let Access::Denied(refusal) = access.unwrap() else { panic!("{row:?} counts as granted") };
    assert_eq!(refusal.verdict, row.verdict, "{row:?}");
    let way_out = refusal.verdict.way_out("r.example").unwrap_or_default();
    let expected = match row.verdict {
        Verdict::NoRepository => "create the repository first",
        Verdict::TooMuch => "make room",
        Verdict::ReadOnly => "try later",
        _ => "docker login r.example",
    };
    assert!(way_out.contains(expected), "{row:?}: {way_out}");
}

fn deletes(registry: &Registry, stand: &Stand, row: &'static Row) {
    let place = stand.place("shop/api");
    let done = registry.delete_manifest(&place, &Digest::of(b"any"));
    match row.verdict {
        Verdict::Absent => assert_eq!(done.unwrap(), Deletion::Absent, "{row:?}"),
        Verdict::Unsupported => {
            assert_eq!(done.unwrap(), Deletion::Unsupported, "{row:?}");
            // Nothing is put there in the attempt to take a tag away by another way.
            assert_eq!(registry.remove_tag(&place, &"1".parse().unwrap()).unwrap(), Deletion::Unsupported, "{row:?}");
        }
        _ => {
            let error = done.unwrap_err();
            let said = error.to_string();
            assert!(said.contains(&row.says[..row.says.len().min(40)]), "{row:?}: {error}");
        }
    }
}

fn refers(registry: &Registry, stand: &Stand, row: &'static Row) {
    let listed = registry.referrers(&stand.place("shop/api"), &Digest::of(b"any"));
    assert_eq!((listed.unwrap(), row.verdict), (None, Verdict::Unsupported), "{row:?}");
}

fn lists(registry: &Registry, stand: &Stand, row: &'static Row) {
    let place = stand.place("shop/api");
    match row.verdict {
        Verdict::Absent => assert!(registry.tags(&place).unwrap().is_empty(), "{row:?}"),
        Verdict::AbsentOrDenied => {
            assert!(registry.tags(&place).is_err() && stand.asked() > 1, "{row:?}");
            let open = Stand::answering(row, Some(404));
            assert!(anonymous().tags(&open.place("shop/api")).unwrap().is_empty(), "{row:?}");
        }
        Verdict::Passing => passes(stand, row, &registry.tags(&place).unwrap_err()),
        // Without the number of its own it answers the same here: what counts is that it was asked so.
        Verdict::PageTooLong => assert!(registry.tags(&place).is_err() && stand.asked() == 2, "{row:?}"),
        Verdict::Unsupported => assert!(registry.tags(&place).is_err() && stand.asked() == 1, "{row:?}"),
        other => panic!("{row:?}: no list is {other:?}"),
    }
}

#[test]
fn a_list_that_breaks_off_is_no_list_and_one_without_our_number_is_read_whole() {
    let server = Server::start(|request| {
        if request.path.contains("/broken/") && request.param("last").is_some() {
            return Response::json(404, &json!({"errors": [{"code": "NAME_UNKNOWN", "message": "gone"}]}));
        }
        if request.param("n").is_some() {
            return Response::json(400, &json!({"errors": [{"code": "PAGINATION_NUMBER_INVALID", "message": "too many"}]}));
        }
        let page = Response::json(200, &json!({"tags": [if request.param("last").is_some() { "b" } else { "a" }]}));
        if request.param("last").is_some() { page } else { page.header("link", "<?last=a>; rel=next") }
    });
    let host = server.url().trim_start_matches("http://").to_owned();
    let tags = anonymous().tags(&image(&host, "shop/whole")).unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
    let error = anonymous().tags(&image(&host, "shop/broken")).unwrap_err();
    assert!(error.to_string().contains("breaks off after page 1"), "{error}");
}

/// A registry that answers for one manifest as `answer` has it.
fn answering(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Server {
    Server::start(move |request| if request.path == "/v2/" { Response::status(200) } else { answer(request) })
}

#[test]
fn where_head_is_not_known_a_manifest_is_found_and_a_page_for_people_is_none() {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string();
    let digest = Digest::of(index.as_bytes());
    let without_head = answering(move |request| match request.method.as_str() {
        "HEAD" => Response::status(405),
        _ => Response { body: index.clone().into_bytes(), ..Response::status(200) }.header("content-type", OCI_INDEX),
    });
    let place = |server: &Server| image(server.url().trim_start_matches("http://"), "shop/api:1");
    assert_eq!(anonymous().resolve(&place(&without_head)).unwrap().map(|found| found.digest), Some(digest));

    let page = answering(|_| Response::status(200).header("content-type", "text/html; charset=utf-8"));
    for error in [anonymous().resolve(&place(&page)).unwrap_err(), anonymous().manifest(&place(&page)).unwrap_err()] {
        assert!(error.to_string().contains("a page for people where the manifest of"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("a proxy asks for a login")), "{error}");
    }
    let error = anonymous().tags(&place(&page)).unwrap_err();
    assert!(error.to_string().contains("it answers with something else than a list"), "{error}");
}

#[test]
fn a_registry_that_does_not_say_what_it_sends_and_takes_without_a_word_is_understood() {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string();
    let raw = Raw::new(OCI_INDEX, index.clone());
    for said in ["application/octet-stream", "text/plain; charset=utf-8", ""] {
        let index = index.clone();
        let server = answering(move |request| match request.method.as_str() {
            "PUT" => Response::status(204),
            _ => Response::bytes(200, index.clone().into_bytes()).header("content-type", said),
        });
        let place = image(server.url().trim_start_matches("http://"), "shop/api:1");
        assert_eq!(anonymous().manifest(&place).unwrap().unwrap(), raw, "{said}");
        anonymous().put_manifest(&place, &raw).unwrap();
    }
}

#[test]
fn a_refusal_has_the_words_of_who_refuses_in_whatever_part_of_the_answer_they_stand() {
    let denied = |answer: Response| {
        let server = answering(move |_| answer.clone());
        let place = image(server.url().trim_start_matches("http://"), "shop/api");
        let Access::Denied(refusal) = anonymous().can_push(&place).unwrap() else { panic!("it counts as granted") };
        (refusal.verdict, refusal.said)
    };
    let error = |detail: serde_json::Value| json!({"errors": [{"code": "UNKNOWN", "message": "", "detail": detail}]});
    assert_eq!(denied(Response::json(400, &error(json!("why")))).1, "UNKNOWN: why (status 400)");
    assert_eq!(denied(Response::json(400, &error(json!({"for": "programs"})))).1, "UNKNOWN (status 400)");
    let elsewhere = Response::status(307).header("location", "https://r.example/v2/?signature=secret");
    assert_eq!(denied(elsewhere).1, "it sends us to https://r.example/v2/ (status 307)");

    // DigitalOcean's token server says what its registry would.
    let server = Server::start(|request| {
        let host = request.header("host").unwrap_or_default().to_owned();
        if request.path == "/token" {
            let full = "registry contains 1 repositories, limit is 1";
            return Response::json(403, &json!({"errors": [{"code": "DENIED", "message": full}]}));
        }
        Response::status(401).header("www-authenticate", format!("Bearer realm=\"http://{host}/token\",service=\"r\""))
    });
    let place = image(server.url().trim_start_matches("http://"), "shop/api");
    let Access::Denied(refusal) = anonymous().can_push(&place).unwrap() else { panic!("it counts as granted") };
    let said = "its token server refuses anonymous users: DENIED: registry contains 1 repositories, limit is 1 (status 403)";
    assert_eq!((refusal.verdict, refusal.said.as_str()), (Verdict::TooMuch, said));
}
