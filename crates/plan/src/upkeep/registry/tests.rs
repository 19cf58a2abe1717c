//! What goes and what stays, on repositories of a few manifests each.

use super::*;
use crate::config::Upkeep;
use crate::config::upkeep::{Age, Size};
use crate::templates::TagTemplates;

const RELEASE_TAGS: [&str; 5] = ["v{version}", "{version}", "{major}.{minor}", "{major}", "latest"];

const OWNER: &str = "github.com/o/r";

const DAY: Duration = Duration::from_hours(24);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1_000 * DAY
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn known(policy: &Upkeep) -> Known<'_> {
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    Known {
        now: now(),
        policy,
        services: names(&["api", "web", "base"]),
        gha_prefix: "monorepo-".to_owned(),
        pulls: Some(SortedSet::from([7])),
        branches: Some(names(&["main", "feat/x", "pr-9"])),
        former_branches: ["feat-old", "main"].map(|name| name.parse().unwrap()).into(),
        release_tags: TagTemplates::parse(&RELEASE_TAGS).unwrap(),
        tag_rules: crate::tags::Tags::default(),
        owner: OWNER.to_owned(),
        named: Some(SortedSet::from([digest("named"), digest("in part/amd64")])),
    }
}

/// A repository made of names: a manifest's digest is its name's, its one blob is `<name>.blob` of 100 bytes, it has 10 itself.
struct Made(Repository);

impl Made {
    fn images(service: &str) -> Self {
        Self::new(&format!("r.example/o/r/{service}"), Holds::Images(service.to_owned()))
    }

    fn caches(ours: &[&str]) -> Self {
        Self::new("r.example/o/cache", Holds::Caches { ours: ours.iter().map(|name| (*name).to_owned()).collect() })
    }

    fn new(image: &str, holds: Holds) -> Self {
        Self(Repository {
            image: image.parse().unwrap(),
            holds,
            nodes: BTreeMap::new(),
            lists_untagged: false,
            unfinished: SortedSet::new(),
        })
    }

    fn node(mut self, name: &str, days: u32, tags: &[&str], change: impl FnOnce(&mut Node)) -> Self {
        let mut node = Node {
            bytes: 10,
            blobs: vec![(digest(&format!("{name}.blob")), 100)],
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            time: Some(now() - days * DAY),
            mark: Some(OWNER.to_owned()),
            ..Node::default()
        };
        change(&mut node);
        self.0.nodes.insert(digest(name), node);
        self
    }

    /// An index over a manifest and its attestation, as BuildKit pushes them.
    fn image(self, name: &str, days: u32, tags: &[&str]) -> Self {
        let (child, attestation) = (format!("{name}/amd64"), format!("{name}/att"));
        let children = vec![digest(&child), digest(&attestation)];
        self.node(&child, days, &[], |_| ()).node(&attestation, days, &[], |_| ()).node(name, days, tags, |node| {
            node.children = children;
            node.blobs.clear();
        })
    }
}

/// What goes, by the names in `names`, in the order of deletion; with the reasons of the removals.
fn gone(repositories: Vec<Made>, policy: &Upkeep, names: &[&str]) -> (Vec<String>, Vec<String>) {
    let repositories: Vec<Repository> = repositories.into_iter().map(|made| made.0).collect();
    let removals = decide(&repositories, &known(policy));
    let name =
        |digest_of: &Digest| names.iter().find(|name| digest(name) == *digest_of).map_or("?".to_owned(), |n| (*n).to_owned());
    let digests = removals.iter().flat_map(|removal| match &removal.action {
        Action::Manifests { digests, .. } => digests.iter().map(name).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    });
    (digests.collect(), removals.iter().map(|removal| removal.why.clone()).collect())
}

#[test]
fn without_bounds_only_what_serves_nobody_goes() {
    let api = Made::images("api")
        .image("release", 900, &["v1.2.3", "1.2.3", "1.2", "1", "latest"])
        .image("branch", 900, &["feat-x", "in-0123456789012345678901234567890123456789"])
        .image("mine", 900, &["staging"])
        .image("content", 900, &["in-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha-0123456789ab"])
        .image("open", 900, &["pr-7"])
        .image("called so", 900, &["pr-9"])
        .image("closed", 900, &["pr-8", "in-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"])
        .image("left", 900, &["feat-old"]);
    let names = ["closed", "closed/amd64", "closed/att", "left", "left/amd64", "left/att"];
    let (mut digests, mut why) = gone(vec![api], &Upkeep::default(), &names);
    assert!(digests.iter().position(|d| d == "closed") < digests.iter().position(|d| d == "closed/att"), "{digests:?}");
    digests.sort();
    why.sort();
    assert_eq!(digests, names);
    assert_eq!(why, ["branch feat-old is gone", "pull request 8 is closed"]);
}

#[test]
fn nothing_goes_that_is_not_marked_as_ours_whatever_it_is_called() {
    let theirs = |mark: Option<&str>| {
        let mark = mark.map(str::to_owned);
        move |node: &mut Node| node.mark = mark
    };
    let docs = |mark: Option<&'static str>| {
        let mut docs = Made::images("docs")
            .node("commit", 900, &["sha-abc123456789"], theirs(mark))
            .node("closed", 900, &["pr-8"], theirs(mark))
            .node("untagged", 900, &[], theirs(mark));
        docs.0.lists_untagged = true;
        docs
    };
    let api =
        |mark| Made::images("api").node("prod", 900, &["feat-old", "in-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"], theirs(mark));
    let cache = |mark| Made::caches(&["old"]).node("old", 900, &["old"], theirs(mark));
    for mark in [None, Some("github.com/o/another")] {
        let made = vec![docs(mark), api(mark), cache(mark)];
        assert_eq!(made[0].0.foreign(&known(&Upkeep::default())), 2);
        assert!(gone(made, &Upkeep { max_count: Some(0), ..Upkeep::default() }, &[]).0.is_empty(), "{mark:?}");
        assert!(clear(&[cache(mark).0], |_| true, "x", &known(&Upkeep::default())).is_empty());
    }
    let made = vec![docs(Some(OWNER)), api(Some(OWNER)), cache(Some(OWNER))];
    let names = ["commit", "closed", "untagged", "prod", "old"];
    let mut gone = gone(made, &Upkeep::default(), &names).0;
    gone.sort();
    assert_eq!(gone, ["closed", "commit", "old", "prod", "untagged"]);
}

#[test]
fn what_notes_name_by_digest_stays_tagged_or_not() {
    let mut api = Made::images("api").image("named", 900, &[]).image("unnamed", 900, &[]).node("gone", 9, &["pr-8"], |_| ());
    api = api.image("in part", 900, &["pr-8", "feat-old"]);
    api.0.lists_untagged = true;
    let (mut digests, _) = gone(vec![api], &Upkeep::default(), &["unnamed", "unnamed/amd64", "unnamed/att", "gone"]);
    digests.sort();
    assert_eq!(digests, ["gone", "unnamed", "unnamed/amd64", "unnamed/att"]);
    let policy = Upkeep::default();
    let blind = Known { named: None, ..known(&policy) };
    assert!(decide(&[Made::images("api").node("gone", 9, &["pr-8"], |_| ()).0], &blind).is_empty(), "notes that cannot be read");
}

#[test]
fn what_github_does_not_tell_counts_as_there() {
    let api = || Made::images("api").image("closed", 9, &["pr-8"]).image("left", 9, &["feat-old"]);
    let policy = Upkeep::default();
    let blind = Known { pulls: None, branches: None, ..known(&policy) };
    assert!(decide(&[api().0], &blind).is_empty());
    let none = Upkeep { leftovers: Vec::new(), ..Upkeep::default() };
    assert!(gone(vec![api()], &none, &[]).0.is_empty());
}

#[test]
fn a_tag_that_stays_keeps_what_a_tag_that_goes_shares_with_it() {
    // Two indexes over one platform manifest: annotations make such, and so does a rebuild that comes out equal.
    let api = Made::images("api").image("old", 40, &["in-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]).node(
        "new",
        1,
        &["v1.0.0"],
        |node| {
            node.children = vec![digest("old/amd64")];
            node.blobs.clear();
        },
    );
    let policy = Upkeep { max_age: Some(Age(30 * DAY)), ..Upkeep::default() };
    let (digests, why) = gone(vec![api], &policy, &["old", "old/att"]);
    assert_eq!(digests, ["old", "old/att"]);
    assert_eq!(why, ["not used for 40d, more than 30d"]);
}

#[test]
fn signatures_and_referrers_live_and_go_with_what_they_are_about() {
    let signature = |name: &str| format!("sha256-{}.sig", digest(name).hex());
    let fallback = format!("sha256-{}", digest("closed/amd64").hex());
    let api = Made::images("api")
        .image("live", 9, &["v1.0.0"])
        .image("closed", 9, &["pr-8"])
        .node("live.sig", 9, &[&signature("live")], |_| ())
        .node("live.sig.sig", 9, &[&signature("live.sig")], |_| ())
        .node("live.ref", 9, &[], |node| node.subject = Some(digest("live/amd64")))
        .node("closed.sig", 9, &[&signature("closed")], |_| ())
        .node("closed.refs", 9, &[&fallback], |node| node.children = vec![digest("closed.ref")])
        .node("closed.ref", 9, &[], |node| node.subject = Some(digest("closed/amd64")))
        .node("elsewhere.sig", 900, &[&signature("an image that only its digest names")], |_| ());
    let expected = ["closed", "closed.ref", "closed.refs", "closed.sig", "closed/amd64", "closed/att"];
    let (mut digests, why) = gone(vec![api], &Upkeep::default(), &expected);
    digests.sort();
    assert_eq!(digests, expected);
    assert_eq!(why.len(), 1, "one removal: {why:?}");
}

#[test]
fn untagged_manifests_go_only_where_they_are_listed_and_nothing_leads_to_them_and_no_push_is_under_way() {
    let made = || {
        let made = Made::images("api").image("live", 90, &["v1.0.0"]).image("lost", 90, &[]).image("pushing", 0, &[]);
        made.node("live.ref", 90, &[], |node| node.subject = Some(digest("live/amd64")))
            .node("stray.ref", 90, &[], |node| node.subject = Some(digest("an image that is gone")))
            .node("unknown", 90, &[], |node| node.time = None)
    };
    let mut listed = made();
    listed.0.lists_untagged = true;
    let expected = ["lost", "lost/amd64", "lost/att", "stray.ref"];
    let (mut digests, _) = gone(vec![listed], &Upkeep::default(), &expected);
    digests.sort();
    assert_eq!(digests, expected);
    assert!(gone(vec![made()], &Upkeep::default(), &[]).0.is_empty());
}

#[test]
fn what_a_prune_that_was_killed_had_not_come_to_goes_with_the_next_unless_a_tag_has_come_to_need_it() {
    let mut api =
        Made::images("api").node("left/amd64", 9, &[], |_| ()).node("left/att", 9, &[], |_| ()).image("live", 9, &["v1.0.0"]);
    api.0.unfinished = ["left/amd64", "live/amd64", "gone before"].map(digest).into();
    assert_eq!(gone(vec![api], &Upkeep::default(), &["left/amd64"]).0, ["left/amd64"]);
}

#[test]
fn caches_of_services_that_are_gone_go_and_those_of_other_repositories_stay() {
    let caches = Made::caches(&["api", "old"])
        .node("api", 900, &["api"], |_| ())
        .node("both", 900, &["api-linux-amd64-linux-arm64"], |_| ())
        .node("old", 1, &["old"], |_| ())
        .node("old arm", 1, &["old-linux-arm64-v8"], |_| ())
        .node("theirs", 900, &["theirs"], |_| ());
    let old = Made::images("old").image("released", 900, &["v1.0.0"]).image("content", 9, &["sha-0123456789ab"]);
    let expected = ["content", "content/amd64", "content/att", "old", "old arm"];
    let (mut digests, why) = gone(vec![old, caches], &Upkeep::default(), &expected);
    digests.sort();
    assert_eq!(digests, expected);
    assert!(why.iter().all(|why| why == "there is no service old any more"), "{why:?}");
}

#[test]
fn kept_cache_mounts_are_caches_like_the_others() {
    let caches = || {
        let caches = Made::caches(&["api"]).node("mounts", 900, &["_mounts"], |_| ());
        caches.node("mounts of api", 9, &["_mounts.api-linux-arm64"], |_| ()).node("theirs", 900, &["_other"], |_| ())
    };
    assert!(gone(vec![caches()], &Upkeep::default(), &[]).0.is_empty());
    let policy = Upkeep { max_age: Some(Age(45 * DAY)), ..Upkeep::default() };
    assert_eq!(gone(vec![caches()], &policy, &["mounts"]).0, ["mounts"]);
}

#[test]
fn bounds_take_the_oldest_and_never_what_is_protected_or_of_unknown_age() {
    let tag = |n: u32| format!("sha-{n:012}");
    let made = |extra: &str| {
        let made = (1..=6).fold(Made::images("api"), |made, n| made.image(&format!("i{n}"), n * 10, &[&tag(n)]));
        made.image("release", 900, &["v1.0.0"])
            .image("kept", 900, &[&tag(7), extra])
            .node("ageless", 0, &[&tag(8)], |n| n.time = None)
    };
    let names = ["i1", "i2", "i3", "i4", "i5", "i6", "release", "kept", "ageless"];
    let heads = |policy: &Upkeep| -> Vec<String> {
        let (digests, _) = gone(vec![made("keep-me")], policy, &names);
        digests.into_iter().filter(|name| name != "?").collect()
    };
    let protect = vec!["keep-*".to_owned()];
    let base = Upkeep { protect, ..Upkeep::default() };
    assert!(heads(&base).is_empty());
    assert_eq!(heads(&Upkeep { max_age: Some(Age(45 * DAY)), ..base.clone() }), ["i6", "i5"]);
    assert_eq!(heads(&Upkeep { max_count: Some(3), ..base.clone() }), ["i6", "i5", "i4", "i3"]);
    // An image has three manifests of 10 bytes and two blobs of 100: 230. Eight of them and the ageless one: 1950.
    assert_eq!(heads(&Upkeep { max_size: Some(Size(1_950)), ..base.clone() }), [""; 0]);
    assert_eq!(heads(&Upkeep { max_size: Some(Size(1_949)), ..base.clone() }), ["i6"]);
    assert_eq!(heads(&Upkeep { max_size: Some(Size(1)), ..base.clone() }), ["i6", "i5", "i4", "i3", "i2", "i1"]);
}

#[test]
fn a_size_counts_a_shared_blob_once_and_what_is_freed_is_what_nothing_else_has() {
    let shared = |node: &mut Node| node.blobs = vec![(digest("shared"), 1_000), (digest("own"), 5)];
    let api = Made::images("api").node("a", 9, &["sha-000000000000"], shared).node("b", 1, &["main"], |node| {
        node.blobs = vec![(digest("shared"), 1_000)];
    });
    let policy = Upkeep { max_age: Some(Age(DAY)), ..Upkeep::default() };
    let removals = decide(&[api.0], &known(&policy));
    assert_eq!(
        removals.iter().map(|removal| (removal.name.as_str(), removal.bytes)).collect::<Vec<_>>(),
        [("sha-000000000000", 15)]
    );
}

#[test]
fn a_tag_that_was_put_after_the_plan_keeps_all_it_leads_to() {
    let before = Made::images("api").image("closed", 9, &["pr-8"]).0;
    let after = Made::images("api").image("closed", 9, &["pr-8", "v2.0.0"]).0;
    let needed = needed_by_new(&before, &after);
    assert_eq!(needed.len(), 3);
    assert!(needed_by_new(&before, &before).is_empty());
    let index = Made::images("api").image("closed", 9, &["pr-8"]).node("new", 0, &["v2.0.0"], |node| {
        node.children = vec![digest("closed/amd64")];
    });
    assert!(needed_by_new(&before, &index.0).contains(&digest("closed/amd64")));
}
