//! Attestations as a registry holds them: found in the index, their statements read and understood as far as they are checked. What they
//! should say is not known here.
//!
//! Formats: BuildKit's `docs/attestations/` (storage, SLSA definitions), in-toto Statement v0.1 and v1, SLSA provenance v0.2 and v1,
//! SPDX 2.3, package URLs.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use super::manifest::{Descriptor, Document, Manifest, Raw};
use super::registry::Registry;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::percent_decode;
use monoship_core::name::{Digest, ImageRef, Platform};
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};

/// A statement larger than this is not read: a bill of materials with every file of an image has some tens of megabytes.
const MAX_STATEMENT: u64 = 128 << 20;

/// What in-toto statements lie under.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The annotation that says what a statement's predicate is.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Where SLSA v0.2 provenance keeps BuildKit's own words.
const BUILDKIT_METADATA: &str = "https://mobyproject.org/buildkit@v1#metadata";

/// One platform's image and what is attested about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// `None` where the index does not say.
    pub platform: Option<Platform>,
    /// The image's manifest.
    pub manifest: Digest,
    /// The manifests that the statements say they are about.
    pub subjects: SortedSet<Digest>,
    /// How it was built.
    pub provenance: Option<Provenance>,
    /// What is in it.
    pub sbom: Option<Sbom>,
    /// The kinds of statements that are understood no further.
    pub others: Vec<String>,
}

/// How an image was built, from SLSA provenance of either version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The builder's id; empty where it was built outside of CI.
    pub builder: String,
    /// The repository that was built, as the provenance words it.
    pub source: Option<String>,
    /// The commit that was built.
    pub revision: Option<String>,
    /// Images and other inputs.
    pub materials: Vec<Material>,
    /// `target`, `build-arg:…` and the like; empty with `mode=min`.
    pub arguments: SortedMap<String, String>,
}

/// An input of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// As it stands in the provenance: `pkg:docker/node@24-slim?platform=linux%2Famd64`, `https://…`.
    pub uri: String,
    /// Its SHA-256.
    pub digest: Option<Digest>,
}

impl Material {
    /// The image that a `pkg:docker` URL names, without a digest.
    #[must_use]
    pub fn image(&self) -> Option<ImageRef> {
        let name = self.uri.strip_prefix("pkg:docker/")?.split('?').next()?;
        let name = percent_decode(name);
        let text = match name.rsplit_once('@') {
            Some((name, version)) if !version.contains(':') => format!("{name}:{version}"),
            Some((name, _)) => name.to_owned(),
            None => name,
        };
        text.parse().ok()
    }
}

/// A bill of materials, as far as npm packages go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sbom {
    /// How many packages of any kind it names.
    pub packages: usize,
    /// The npm packages.
    pub npm: Vec<NpmPackage>,
}

/// An npm package in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NpmPackage {
    /// `@scope/name`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The files in the image that say it is there; none where the generator does not tell.
    pub files: Vec<String>,
}

/// The attestations of every platform of an image.
///
/// # Errors
/// When the image is not there, cannot be read, or a statement is malformed. Missing attestations are no error.
pub fn read(registry: &Registry, image: &ImageRef, raw: &Raw) -> Result<Vec<Attested>> {
    let Document::Index(index) = raw.document()? else {
        return Ok(vec![Attested::none(None, raw.digest())]);
    };
    let mut all = Vec::new();
    for entry in index.images() {
        let platform = entry.platform.as_ref().and_then(super::manifest::PlatformSpec::name);
        let mut attested = Attested::none(platform, &entry.digest);
        for (_, attestation) in index.attestations().filter(|(about, _)| *about == entry.digest.as_str()) {
            attested.add(registry, image, attestation)?;
        }
        all.push(attested);
    }
    Ok(all)
}

/// SLSA provenance as it stands in an image's attestation, of either version.
#[derive(Debug)]
pub struct Predicate(Value);

impl From<Value> for Predicate {
    fn from(predicate: Value) -> Self {
        Self(predicate)
    }
}

impl Predicate {
    /// The first provenance of an attestation; bills of materials, which are large, are not read. `attestation` is an attestation's
    /// manifest in the image's repository.
    ///
    /// # Errors
    /// When a statement cannot be read or is malformed.
    pub fn read(registry: &Registry, image: &ImageRef, attestation: &Manifest) -> Result<Option<Self>> {
        let is_provenance = |layer: &&Descriptor| {
            layer.media_type == IN_TOTO
                && layer.annotations.get(PREDICATE_TYPE).is_some_and(|kind| kind.starts_with("https://slsa.dev/provenance/"))
        };
        let Some(layer) = attestation.layers.iter().find(is_provenance) else { return Ok(None) };
        let bytes = registry.blob(image, &layer.digest, MAX_STATEMENT.min(layer.size))?;
        let malformed = |e| Error::failed(format!("statement {} of {image} is malformed", layer.digest)).source(e);
        let statement: Statement = serde_json::from_slice(&bytes).map_err(malformed)?;
        Ok(Some(statement.predicate.into()))
    }

    /// When the image was built.
    #[must_use]
    pub fn built_at(&self) -> Option<SystemTime> {
        let time = self.either("/metadata/buildFinishedOn", "/runDetails/metadata/finishedOn").as_str()?;
        humantime::parse_rfc3339_weak(time).ok()
    }

    /// What BuildKit adds in its own words; null where another built it.
    #[must_use]
    pub fn buildkit_metadata(&self) -> &Value {
        let old = format!("/metadata/{}", BUILDKIT_METADATA.replace('/', "~1"));
        self.either(&old, "/runDetails/metadata/buildkit_metadata")
    }

    /// The steps of the build; null with `mode=min`.
    #[must_use]
    pub fn build_config(&self) -> &Value {
        self.either("/buildConfig", "/buildDefinition/internalParameters/buildConfig")
    }

    /// `target`, `build-arg:…` and the like; empty with `mode=min`.
    #[must_use]
    pub fn arguments(&self) -> SortedMap<String, String> {
        arguments(self.either("/invocation/parameters/args", "/buildDefinition/externalParameters/request/args"))
    }

    /// What of it is checked.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        let source = self.either("/invocation/configSource", "/buildDefinition/externalParameters/configSource");
        let vcs = &self.buildkit_metadata()["vcs"];
        Provenance {
            builder: text(self.either("/builder/id", "/runDetails/builder/id")).unwrap_or_default(),
            source: text(&source["uri"]).or_else(|| text(&vcs["source"])),
            revision: text(&source["digest"]["sha1"]).or_else(|| text(&vcs["revision"])),
            materials: materials(self.either("/materials", "/buildDefinition/resolvedDependencies")),
            arguments: self.arguments(),
        }
    }

    /// What version 0.2 has at one place and version 1 at another: <https://slsa.dev/spec/v0.2/provenance> and
    /// <https://slsa.dev/spec/v1.0/provenance>.
    fn either(&self, old: &str, new: &str) -> &Value {
        self.0.pointer(old).or_else(|| self.0.pointer(new)).unwrap_or(&Value::Null)
    }
}

impl Attested {
    fn none(platform: Option<Platform>, manifest: &Digest) -> Self {
        let manifest = manifest.clone();
        Self { platform, manifest, subjects: SortedSet::new(), provenance: None, sbom: None, others: Vec::new() }
    }

    fn add(&mut self, registry: &Registry, image: &ImageRef, attestation: &Descriptor) -> Result<()> {
        let place = image.without_reference().with_digest(attestation.digest.clone());
        let Document::Manifest(manifest) = registry.need_manifest(&place)?.document()? else {
            return Err(Error::failed(format!("attestation {place} is an index")));
        };
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == IN_TOTO) {
            let bytes = registry.blob(image, &layer.digest, MAX_STATEMENT.min(layer.size))?;
            let malformed = |e| Error::failed(format!("statement {} of {place} is malformed", layer.digest)).source(e);
            let statement: Statement = serde_json::from_slice(&bytes).map_err(malformed)?;
            self.subjects.extend(statement.subject.iter().filter_map(Subject::digest));
            match statement.predicate_type.as_str() {
                "https://slsa.dev/provenance/v0.2" | "https://slsa.dev/provenance/v1" => {
                    self.provenance = Some(Predicate::from(statement.predicate).provenance());
                }
                "https://spdx.dev/Document" => {
                    let document: Spdx = serde_json::from_value(statement.predicate).map_err(malformed)?;
                    self.sbom.get_or_insert_default().add(document);
                }
                other => self.others.push(other.to_owned()),
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    #[serde(default)]
    subject: Vec<Subject>,
    predicate: Value,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: SortedMap<String, String>,
}

impl Subject {
    fn digest(&self) -> Option<Digest> {
        sha256(self.digest.get("sha256").map(String::as_str))
    }
}

fn sha256(hex: Option<&str>) -> Option<Digest> {
    format!("sha256:{}", hex?).parse().ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn materials(list: &Value) -> Vec<Material> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let read = |item: &Value| Some(Material { uri: text(&item["uri"])?, digest: sha256(item["digest"]["sha256"].as_str()) });
    list.iter().filter_map(read).into_vec()
}

fn arguments(map: &Value) -> SortedMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).into_map()
}

#[derive(Deserialize)]
struct Spdx {
    #[serde(default)]
    packages: Vec<SpdxPackage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    name: String,
    #[serde(default)]
    version_info: String,
    #[serde(default)]
    source_info: String,
    #[serde(default)]
    external_refs: Vec<ExternalRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    #[serde(default)]
    reference_locator: String,
}

impl Sbom {
    fn add(&mut self, document: Spdx) {
        self.packages += document.packages.len();
        let is_npm = |package: &SpdxPackage| package.external_refs.iter().any(|r| r.reference_locator.starts_with("pkg:npm/"));
        for package in document.packages.into_iter().filter(is_npm) {
            // Syft's words: "acquired package info from installed node module manifest file: /a/package.json, /b/package.json".
            let files = package.source_info.split_once(": ").map(|(_, files)| files.split(", ").map(str::to_owned).into_vec());
            self.npm.push(NpmPackage { name: package.name, version: package.version_info, files: files.unwrap_or_default() });
        }
        self.npm.order();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn materials_name_images_in_every_way_buildkit_writes_them() {
        let cases = [
            ("pkg:docker/node@24-slim?platform=linux%2Famd64", Some("docker.io/library/node:24-slim")),
            ("pkg:docker/docker/buildkit-syft-scanner@stable-1", Some("docker.io/docker/buildkit-syft-scanner:stable-1")),
            ("pkg:docker/ghcr.io/org/base@1.0?digest=sha256:ab&platform=linux%2Farm64", Some("ghcr.io/org/base:1.0")),
            ("pkg:docker/127.0.0.1%3A5000/a/b@1", Some("127.0.0.1:5000/a/b:1")),
            ("pkg:docker/127.0.0.1:5000/a/b@1", Some("127.0.0.1:5000/a/b:1")),
            ("pkg:docker/node", Some("docker.io/library/node")),
            ("https://example.com/file.tgz", None),
            ("pkg:docker/%zz..", None),
        ];
        for (uri, image) in cases {
            let material = Material { uri: uri.to_owned(), digest: None };
            assert_eq!(material.image().map(|image| image.to_string()).as_deref(), image, "{uri}");
        }
    }

    #[test]
    fn both_versions_of_provenance_say_the_same() {
        let provenance = |predicate: Value| Predicate::from(predicate).provenance();
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let list = json!([{"uri": "pkg:docker/node@24", "digest": {"sha256": hex}}, {"uri": "x", "digest": {"sha1": "1"}}, {}]);
        let vcs = json!({"vcs": {"source": "https://github.com/o/r", "revision": "0123abc"}});
        let args = json!({"target": "api", "build-arg:X": "1", "odd": 3});
        let old = provenance(json!({
            "builder": {"id": "https://github.com/o/r/actions/runs/1"}, "materials": list,
            "invocation": {"configSource": {"entryPoint": "Dockerfile"}, "parameters": {"args": args}},
            "metadata": {BUILDKIT_METADATA: vcs},
        }));
        let new = provenance(json!({
            "buildDefinition": {"externalParameters": {"configSource": {"path": "Dockerfile"}, "request": {"args": args}},
                "resolvedDependencies": list},
            "runDetails": {"builder": {"id": "https://github.com/o/r/actions/runs/1"}, "metadata": {"buildkit_metadata": vcs}},
        }));
        assert_eq!(old, new);
        assert_eq!((old.revision.as_deref(), old.arguments["target"].as_str(), old.materials.len()), (Some("0123abc"), "api", 2));
        assert_eq!(old.materials[0].digest.as_ref().unwrap().hex(), hex);
        assert_eq!(provenance(json!(null)), Provenance::default());
    }
}
