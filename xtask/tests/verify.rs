//! A release's claims against what a real registry holds. The attestations have the form that BuildKit 0.25 gave them on a real engine.

use monoship_core::error::Error;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::manifest::Document;
use monoship_docker::registry::Registry;
use monoship_github::notes::Listed;
use monoship_plan::affected::{Affected, Verdict as Affects};
use monoship_plan::config::pins::Pins;
use monoship_plan::templates::TagTemplates;
use monoship_publish::Order;
use monoship_steps::verify::{Check, Finding, Noted, Report, Service, Verdict, VerifyRequest, verify};
use serde_json::{Value, json};
use support::image::TestImage;
use support::registry::{RegistryServer, anonymous};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const BUILDER: &str = "https://github.com/org/repo/";

fn base_digest() -> Digest {
    Digest::of(b"the base image")
}

/// As BuildKit writes it with `mode=max`, less the build steps.
fn provenance(base: &Digest, commit: &str) -> Value {
    json!({
        "builder": {"id": format!("{BUILDER}actions/runs/1/attempts/1")},
        "buildType": "https://mobyproject.org/buildkit@v1",
        "materials": [
            {"uri": "pkg:docker/docker/buildkit-syft-scanner@stable-1", "digest": {"sha256": Digest::of(b"scanner").hex()}},
            {"uri": "pkg:docker/node@24-slim?platform=linux%2Famd64", "digest": {"sha256": base.hex()}},
        ],
        "invocation": {
            "configSource": {"entryPoint": "Dockerfile"},
            "parameters": {"frontend": "dockerfile.v0", "args": {"target": "api"}, "locals": [{"name": "context"}]},
            "environment": {"platform": "linux/amd64"},
        },
        "metadata": {
            "completeness": {"parameters": true, "environment": true, "materials": false},
            "https://mobyproject.org/buildkit@v1#metadata": {"vcs": {"source": BUILDER, "revision": commit}},
        },
    })
}

/// As syft writes it: an npm package for each of name, version and folder.
fn sbom(packages: &[(&str, &str, &str)]) -> Value {
    let npm = packages.iter().map(|(name, version, folder)| {
        json!({
            "name": name, "SPDXID": "SPDXRef-1", "versionInfo": version,
            "sourceInfo": format!("acquired package info from installed node module manifest file: {folder}/package.json"),
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": format!("pkg:npm/{name}@{version}")}],
        })
    });
    let debian = json!({"name": "bash", "SPDXID": "SPDXRef-2", "versionInfo": "5", "externalRefs": [{"referenceLocator": "pkg:deb/debian/bash@5"}]});
    json!({"spdxVersion": "SPDX-2.3", "packages": npm.chain([debian]).collect::<Vec<_>>()})
}

struct Scene {
    _server: RegistryServer,
    registry: Registry,
    repository: ImageRef,
    pins: Pins,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let server = RegistryServer::plain();
        let repository = format!("{}/org/repo/api", server.host()).parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let text = format!("version = 1\n[images]\n\"docker.io/library/node:24-slim\" = \"{}\"\n", base_digest());
        let pins = Pins::parse(&text, "xtask.lock".as_ref()).unwrap();
        Self { _server: server, registry: anonymous(), repository, pins, dir }
    }

    fn tag(&self, text: &str) -> ImageRef {
        self.repository.with_tag(text.parse().unwrap())
    }

    fn good() -> Vec<(&'static str, Value)> {
        let packages = [
            ("hono", "4.6.0", "/app/node_modules/.pnpm/hono@4.6.0/node_modules/hono"),
            ("@org/shared", "0.0.0", "/app/node_modules/@org/shared"),
            ("npm", "11.0.0", "/usr/local/lib/node_modules/npm"),
            // As real packages have them: a fixture, a vendored copy, a bundled dependency, and a fixture of our own.
            ("transport", "0.0.1", "/app/node_modules/.pnpm/hono@4.6.0/node_modules/hono/test/fixtures/transport"),
            ("vendored", "1.0.0", "/app/node_modules/.pnpm/@a+b@1.0.0/node_modules/@a/b/dist/vendored"),
            ("bundled", "1.0.0", "/app/node_modules/.pnpm/hono@4.6.0/node_modules/hono/node_modules/bundled"),
            ("fixture", "1.0.0", "/app/apps/api/dist/fixture"),
        ];
        vec![
            ("https://spdx.dev/Document", sbom(&packages)),
            ("https://slsa.dev/provenance/v0.2", provenance(&base_digest(), COMMIT)),
        ]
    }

    /// Pushes an image with these attestations under both tags and verifies them.
    fn verify(&self, attestations: Vec<(&'static str, Value)>, change: impl FnOnce(&mut VerifyRequest<'_>)) -> Report {
        let image = TestImage { attestations, ..TestImage::new("verified") };
        let raw = image.push(&self.registry, &self.tag("v1.2.3"));
        self.registry.put_manifest(&self.tag("latest"), &raw).unwrap();
        self.verify_as_is(change)
    }

    /// What is found in what was pushed last, where the notes name this digest and say to pull these.
    fn noted(&self, digest: &Digest, pulls: &[String]) -> Report {
        let listed = Listed { digest: digest.clone(), pulls: pulls.to_vec() };
        self.verify_as_is(|request| request.services[0].noted = Noted::Here(listed))
    }

    fn verify_as_is(&self, change: impl FnOnce(&mut VerifyRequest<'_>)) -> Report {
        let locked = [("hono", "4.6.0"), ("fsevents", "2.3.3")].map(|(name, version)| (name.to_owned(), version.to_owned()));
        let service = Service {
            name: "api".parse().unwrap(),
            repository: self.repository.clone(),
            tags: ["v1.2.3", "latest"].map(|tag| tag.parse::<Tag>().unwrap()).to_vec(),
            noted: Noted::Nowhere("GitHub was not asked".to_owned()),
            packages: Some(SortedSet::from(locked)),
        };
        let mut request = VerifyRequest {
            order: Order {
                templates: TagTemplates::parse(&["v{version}", "{version}", "latest"]).unwrap(),
                version: "1.2.3".parse().unwrap(),
                unreleased: SortedSet::new(),
            },
            services: vec![service],
            commit: Some(COMMIT.to_owned()),
            changes: &|_| Err(Error::failed("git does not know it")),
            builder: Some(BUILDER.to_owned()),
            pins: &self.pins,
            unpinned: vec!["docker/buildkit-syft-scanner:stable-1".parse().unwrap()],
            own_packages: SortedSet::from(["@org/shared".to_owned()]),
            want_provenance: true,
            want_sbom: true,
            signature: None,
        };
        change(&mut request);
        verify(&request, &self.registry).unwrap()
    }
}

/// The verdict and the words of one check.
fn of(report: &Report, check: Check) -> (Verdict, &str) {
    let finding = report.findings.iter().find(|finding| finding.check == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check:?} in {report:#?}"));
    (finding.verdict, finding.detail.as_str())
}

#[test]
fn a_release_as_it_should_be_passes_every_check() {
    let scene = Scene::new();
    let report = scene.verify(Scene::good(), |_| ());
    let checks: Vec<Check> = report.findings.iter().map(|finding| finding.check).collect();
    let expected = [
        Check::Tags,
        Check::Whole,
        Check::Notes,
        Check::Subject,
        Check::Provenance,
        Check::Source,
        Check::Builder,
        Check::Materials,
        Check::Sbom,
        Check::Packages,
    ];
    assert_eq!(checks, expected);
    let passed = |finding: &Finding| finding.verdict == Verdict::Passed || finding.check == Check::Notes;
    assert!(report.findings.iter().all(passed), "{report:#?}");
    assert_eq!(of(&report, Check::Notes), (Verdict::Unknown, "GitHub was not asked"));
    assert_eq!(of(&report, Check::Packages).1, "1 of 2 locked; not in the image: fsevents@2.3.3");
    let digest = report.digests.values().next().unwrap().clone();
    let noted = scene.noted(&digest, &[format!("{}:v1.2.3", scene.repository), format!("{}@{digest}", scene.repository)]);
    assert_eq!(of(&noted, Check::Notes).0, Verdict::Passed);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][3]["platform"], "linux/amd64");
    assert_eq!(report.findings[0].to_string(), format!("ok      api tags: v1.2.3, latest at {digest}"));

    // A clean-up took a layer: the manifests stand, and every pull fails.
    let index = scene.registry.need_manifest(&scene.tag("latest")).unwrap().document().unwrap();
    let image = scene.repository.with_digest(index.children()[0].digest.clone());
    let Document::Manifest(image) = scene.registry.need_manifest(&image).unwrap().document().unwrap() else { panic!() };
    let layer = image.layers[0].digest.clone();
    let host = scene.repository.registry();
    ureq::delete(format!("http://{host}/v2/{}/blobs/{layer}", scene.repository.repository())).call().unwrap();
    let report = scene.verify_as_is(|_| ());
    let (verdict, detail) = of(&report, Check::Whole);
    assert!(verdict == Verdict::Failed && detail.contains(&format!("lost {layer}")), "{detail}");
}

#[test]
fn each_thing_that_is_wrong_is_found_and_named() {
    let scene = Scene::new();
    let spdx = |packages: &[(&str, &str, &str)]| vec![("https://spdx.dev/Document", sbom(packages)), Scene::good().remove(1)];
    let slsa = |base: &Digest, commit: &str| {
        vec![Scene::good().remove(0), ("https://slsa.dev/provenance/v0.2", provenance(base, commit))]
    };
    let other = Digest::of(b"another base");

    let report = scene.verify(slsa(&other, COMMIT), |_| ());
    let (verdict, detail) = of(&report, Check::Materials);
    assert!(verdict == Verdict::Failed && detail.contains(other.as_str()) && detail.contains(base_digest().as_str()), "{detail}");
    let report = scene.verify(Scene::good(), |request| request.unpinned.clear());
    assert_eq!(
        of(&report, Check::Materials),
        (Verdict::Failed, "docker.io/docker/buildkit-syft-scanner:stable-1 is not in xtask.lock")
    );

    let report = scene.verify(slsa(&base_digest(), &format!("{COMMIT}-dirty")), |_| ());
    assert_eq!(of(&report, Check::Source).0, Verdict::Failed);
    let report = scene.verify(Scene::good(), |request| request.builder = None);
    assert!(matches!(of(&report, Check::Builder), (Verdict::Unknown, detail) if detail.starts_with(&format!("by {BUILDER}"))));
    let report = scene.verify(Scene::good(), |request| request.builder = Some("https://github.com/evil/".to_owned()));
    assert_eq!(of(&report, Check::Builder).0, Verdict::Failed);

    for folder in [
        "/app/node_modules/hono",
        "/app/node_modules/.pnpm/hono@4.6.1/node_modules/hono",
        "/app/node_modules/other/node_modules/hono",
    ] {
        let report = scene.verify(spdx(&[("hono", "4.6.1", folder)]), |_| ());
        assert_eq!(of(&report, Check::Packages), (Verdict::Failed, "not in the lock's closure: hono@4.6.1"), "{folder}");
    }
    let report = scene.verify(spdx(&[("@a/b", "1.0.0", "/app/node_modules/.pnpm/@a+b@1.0.0/node_modules/@a/b")]), |_| ());
    assert_eq!(of(&report, Check::Packages), (Verdict::Failed, "not in the lock's closure: @a/b@1.0.0"));
    let report = scene.verify(spdx(&[]), |_| ());
    assert_eq!(of(&report, Check::Packages).0, Verdict::Failed, "an image without any of its packages");

    let report = scene.verify(Vec::new(), |_| ());
    assert_eq!((of(&report, Check::Provenance).0, of(&report, Check::Sbom).0), (Verdict::Failed, Verdict::Failed));
    let report = scene.verify(Vec::new(), |request| (request.want_provenance, request.want_sbom) = (false, false));
    assert!(report.is_good());
    let digest = scene.verify(Scene::good(), |_| ()).digests.values().next().unwrap().clone();
    assert!(matches!(of(&scene.noted(&other, &[]), Check::Notes), (Verdict::Failed, detail) if detail.contains(other.as_str())));
    for pull in [format!("{}:v1.2.2", scene.repository), format!("ghcr.io/evil/api@{digest}"), "--all".to_owned()] {
        let detail = format!("they say to pull {pull}");
        assert_eq!(of(&scene.noted(&digest, &[pull]), Check::Notes), (Verdict::Failed, detail.as_str()));
    }
    let report = scene.verify_as_is(|request| request.services[0].noted = Noted::Others);
    assert_eq!(of(&report, Check::Notes), (Verdict::Failed, "they do not list it"));
}

#[test]
fn an_image_of_an_earlier_commit_has_to_be_what_the_releases_commit_would_make() {
    let scene = Scene::new();
    let built = "f".repeat(40);
    let earlier = vec![Scene::good().remove(0), ("https://slsa.dev/provenance/v0.2", provenance(&base_digest(), &built))];
    let found = |verdict: Affects| {
        let changes = move |commit: &str| {
            assert_eq!(commit, "f".repeat(40));
            Ok(Affected { commit: commit.to_owned(), verdicts: SortedMap::from([("api".parse().unwrap(), verdict.clone())]) })
        };
        let report = scene.verify(earlier.clone(), |request| request.changes = Box::leak(Box::new(changes)));
        let (verdict, detail) = of(&report, Check::Source);
        (verdict, detail.to_owned())
    };
    let carried = format!("built from {built} and carried forward to {COMMIT}");
    assert_eq!(found(Affects::Unchanged), (Verdict::Passed, carried.clone()));
    let (verdict, detail) = found(Affects::New);
    assert!(verdict == Verdict::Failed && detail.starts_with(&format!("{carried}, where it would be another: ")), "{detail}");
    let report = scene.verify(earlier.clone(), |_| ());
    let detail = format!("{carried}; what changed cannot be told: git does not know it");
    assert_eq!(of(&report, Check::Source), (Verdict::Unknown, detail.as_str()));
}

#[test]
fn statements_about_another_image_are_found() {
    let scene = Scene::new();
    let stranger = Digest::of(b"another image");
    let image = TestImage { attestations: Scene::good(), wrong_subject: Some(stranger.clone()), ..TestImage::new("stranger") };
    let raw = image.push(&scene.registry, &scene.tag("v1.2.3"));
    scene.registry.put_manifest(&scene.tag("latest"), &raw).unwrap();
    let report = scene.verify_as_is(|_| ());
    assert!(matches!(of(&report, Check::Subject), (Verdict::Failed, detail) if detail.contains(stranger.as_str())));
}

#[test]
fn missing_tags_and_tags_that_disagree_are_found_and_a_newer_release_may_hold_latest() {
    let scene = Scene::new();
    assert_eq!(of(&scene.verify_as_is(|_| ()), Check::Tags), (Verdict::Failed, "missing: v1.2.3, latest"));
    TestImage::new("one").push(&scene.registry, &scene.tag("v1.2.3"));
    let two = TestImage::new("two").push(&scene.registry, &scene.tag("latest"));
    let report = scene.verify_as_is(|_| ());
    assert!(matches!(of(&report, Check::Tags), (Verdict::Failed, detail) if detail.starts_with("the tags disagree: ")));
    assert!(report.digests.is_empty());
    scene.registry.put_manifest(&scene.tag("v1.3.0"), &two).unwrap();
    let report = scene.verify_as_is(|_| ());
    assert!(matches!(of(&report, Check::Tags), (Verdict::Passed, detail) if detail.ends_with("1 moved on to a newer release")));
    assert!(scene.dir.path().exists());
}
