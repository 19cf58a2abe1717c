//! What a release claims, checked against what the registry holds: tags and digests, attestations, materials, packages, signatures. Changes
//! nothing; returns findings and prints none.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::{SortedMap, SortedSet};
use std::fmt;

use serde::Serialize;

use crate::{proof, sources};

use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Platform, ServiceName, Tag};
use monoship_core::text::counted;
use monoship_docker::attest::{self, Attested, NpmPackage, Provenance, Sbom};
use monoship_docker::cosign::{Cosign, Signer};
use monoship_docker::manifest::Raw;
use monoship_docker::registry::Registry;
use monoship_github::notes::Listed;
use monoship_plan::affected::Affected;
use monoship_plan::config::pins::Pins;
use monoship_plan::explain;
use monoship_publish::Order;

/// How many names a finding lists before it counts the rest.
const LISTED: usize = 5;

/// What is checked of one service.
#[derive(Debug, Clone)]
pub struct Service {
    /// The service.
    pub name: ServiceName,
    /// Its repository, without tag.
    pub repository: ImageRef,
    /// The release's tags.
    pub tags: Vec<Tag>,
    /// What the release notes say of it.
    pub noted: Noted,
    /// What its production closure installs from the lock, name and version; `None` checks no packages.
    pub packages: Option<SortedSet<(String, String)>>,
}

/// What a release's notes say of a service.
#[derive(Debug, Clone)]
pub enum Noted {
    /// They could not be read, or list no image at all: why, as a fragment.
    Nowhere(String),
    /// They list others.
    Others,
    /// This.
    Here(Listed),
}

/// What is checked.
pub struct VerifyRequest<'a> {
    /// The release, among others.
    pub order: Order,
    /// The services.
    pub services: Vec<Service>,
    /// The commit of the release's tag.
    pub commit: Option<String>,
    /// What differs between the commit that an image was built from and the release's.
    pub changes: &'a (dyn Fn(&str) -> Result<Affected> + Sync),
    /// What the builder's id must begin with, for example `https://github.com/org/repo/`; `None` accepts any.
    pub builder: Option<String>,
    /// `xtask.lock` at that commit.
    pub pins: &'a Pins,
    /// Images that may be materials without a pin: the SBOM scanner is pulled by buildx itself.
    pub unpinned: Vec<ImageRef>,
    /// The workspace's own package names, which the lock does not list.
    pub own_packages: SortedSet<String>,
    /// Whether provenance and a bill of materials have to be there.
    pub want_provenance: bool,
    /// As above.
    pub want_sbom: bool,
    /// Whose signature has to be there, and the command that tells; without one it cannot be told.
    pub signature: Option<(Signer, Option<Cosign>)>,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Every tag of the release is there and they agree.
    Tags,
    /// The registry has all of it, so that it can be pulled.
    Whole,
    /// The release notes name this digest and these tags.
    Notes,
    /// Provenance is attested.
    Provenance,
    /// The statements are about this very image.
    Subject,
    /// It was built from the release's commit, or from one in which what goes into it is the same.
    Source,
    /// It was built where it should be.
    Builder,
    /// It was built on the pinned images.
    Materials,
    /// A bill of materials is attested.
    Sbom,
    /// What is in it is what the lock says.
    Packages,
    /// It is signed.
    Signature,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It cannot be told from what is there.
    Unknown,
    /// It does not hold.
    Failed,
}

/// The outcome of one check of one service, or of one of its platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The service.
    pub service: ServiceName,
    /// The platform, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What was checked.
    pub check: Check,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found, as a fragment.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Passed => "ok",
            Verdict::Unknown => "unknown",
            Verdict::Failed => "FAILED",
        };
        write!(f, "{mark:<7} {}", self.service)?;
        if let Some(platform) = &self.platform {
            write!(f, " {platform}")?;
        }
        write!(f, " {}: {}", format!("{:?}", self.check).to_lowercase(), self.detail)
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// By service, in the order of the checks.
    pub findings: Vec<Finding>,
    /// What each service's tags point to, where they agree.
    pub digests: SortedMap<ServiceName, Digest>,
}

impl Report {
    /// True where nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Failed)
    }
}

/// Checks a release.
///
/// # Errors
/// When a registry cannot be reached or refuses. What is wrong with the release is a finding.
pub fn verify(request: &VerifyRequest<'_>, registry: &Registry) -> Result<Report> {
    let mut report = Report { findings: Vec::new(), digests: SortedMap::new() };
    for outcome in in_parallel(&request.services, |service| Checks::run(request, registry, service)) {
        let (findings, digest) = outcome?;
        if let (Some(digest), Some(first)) = (digest, findings.first()) {
            report.digests.insert(first.service.clone(), digest);
        }
        report.findings.extend(findings);
    }
    Ok(report)
}

/// The checks of one service.
struct Checks<'a> {
    request: &'a VerifyRequest<'a>,
    service: &'a Service,
    platform: Option<Platform>,
    findings: Vec<Finding>,
}

impl<'a> Checks<'a> {
    fn run(request: &'a VerifyRequest<'a>, registry: &Registry, service: &'a Service) -> Result<(Vec<Finding>, Option<Digest>)> {
        let mut checks = Self { request, service, platform: None, findings: Vec::new() };
        let Some(raw) = checks.tags(registry)? else { return Ok((checks.findings, None)) };
        if let Some(lost) = proof::lost(registry, &service.repository, &raw.document()?, true)? {
            let detail = format!("the registry has lost {lost}: no pull succeeds; release it again, with --rebuild --move-tags");
            checks.found(Check::Whole, Verdict::Failed, detail);
            return Ok((checks.findings, Some(raw.digest().clone())));
        }
        checks.found(Check::Whole, Verdict::Passed, "the registry has each manifest and layer");
        checks.notes(raw.digest());
        checks.signature(raw.digest());
        for attested in attest::read(registry, &service.repository, &raw)? {
            checks.platform.clone_from(&attested.platform);
            checks.provenance(registry, &attested)?;
            checks.sbom(&attested);
        }
        Ok((checks.findings, Some(raw.digest().clone())))
    }

    fn found(&mut self, check: Check, verdict: Verdict, detail: impl Into<String>) {
        let (service, platform) = (self.service.name.clone(), self.platform.clone());
        self.findings.push(Finding { service, platform, check, verdict, detail: detail.into() });
    }

    fn holds(&mut self, check: Check, holds: bool, detail: impl Into<String>) {
        self.found(check, if holds { Verdict::Passed } else { Verdict::Failed }, detail);
    }

    /// The image all tags agree on. A floating tag may have gone on to a newer release.
    fn tags(&mut self, registry: &Registry) -> Result<Option<Raw>> {
        let targets: Vec<ImageRef> = self.service.tags.iter().map(|tag| self.service.repository.with_tag(tag.clone())).into_vec();
        let found = registry.resolve_all(&targets).into_iter().collect::<Result<Vec<_>>>()?;
        let existing = registry.tags(&self.service.repository)?;
        let (mut missing, mut digests) = (Vec::new(), SortedMap::<Digest, Vec<&Tag>>::new());
        let mut moved_on = 0;
        for (target, found) in targets.iter().zip(found) {
            let Some(tag) = target.tag() else { continue };
            let now = found.as_ref().map(|found| &found.digest);
            let newer = self.request.order.held_by(registry, target, now, &existing)?;
            match found {
                Some(found) if newer.is_none() => digests.entry(found.digest).or_default().push(tag),
                None if newer.is_none() => missing.push(tag.to_string()),
                _ => moved_on += 1,
            }
        }
        if !missing.is_empty() {
            self.found(Check::Tags, Verdict::Failed, format!("missing: {}", missing.join(", ")));
        }
        if digests.len() > 1 {
            let each = digests.iter().map(|(digest, tags)| format!("{} at {}", join(tags.iter()), digest.short()));
            self.found(Check::Tags, Verdict::Failed, format!("the tags disagree: {}", each.into_vec().join("; ")));
            return Ok(None);
        }
        let Some((digest, tags)) = digests.into_iter().next() else { return Ok(None) };
        if missing.is_empty() {
            let others = if moved_on == 0 { String::new() } else { format!("; {moved_on} moved on to a newer release") };
            self.found(Check::Tags, Verdict::Passed, format!("{} at {digest}{others}", join(tags.iter())));
        }
        registry.need_manifest(&self.service.repository.with_digest(digest)).map(Some)
    }

    fn notes(&mut self, digest: &Digest) {
        let listed = match &self.service.noted {
            Noted::Nowhere(why) => return self.found(Check::Notes, Verdict::Unknown, why.clone()),
            Noted::Others => return self.found(Check::Notes, Verdict::Failed, "they do not list it"),
            Noted::Here(listed) => listed,
        };
        if listed.digest != *digest {
            return self.found(Check::Notes, Verdict::Failed, format!("they name {}", listed.digest));
        }
        let repository = &self.service.repository;
        let tagged = self.service.tags.iter().map(|tag| repository.with_tag(tag.clone()));
        let known: Vec<String> = tagged.chain([repository.with_digest(digest.clone())]).map(|image| image.to_string()).into_vec();
        match listed.pulls.iter().find(|image| !known.contains(image)) {
            Some(other) => self.found(Check::Notes, Verdict::Failed, format!("they say to pull {other}")),
            None => self.found(Check::Notes, Verdict::Passed, "they name this digest"),
        }
    }

    fn signature(&mut self, digest: &Digest) {
        let Some((signer, cosign)) = &self.request.signature else { return };
        let Some(cosign) = cosign else {
            // What is expected and cannot be shown is not there.
            return self.found(Check::Signature, Verdict::Failed, "cosign, which could check it, is not here");
        };
        match cosign.verify(&self.service.repository, digest, signer) {
            Ok(()) => self.found(Check::Signature, Verdict::Passed, format!("by {signer}")),
            Err(error) => self.found(Check::Signature, Verdict::Failed, error.to_string()),
        }
    }

    fn provenance(&mut self, registry: &Registry, attested: &Attested) -> Result<()> {
        if !attested.subjects.is_empty() {
            let wrong: Vec<_> = attested.subjects.iter().filter(|subject| **subject != attested.manifest).into_vec();
            let detail = match wrong.first() {
                None => attested.manifest.to_string(),
                Some(other) => format!("a statement is about {other}, not about {}", attested.manifest),
            };
            self.holds(Check::Subject, wrong.is_empty(), detail);
        }
        let Some(provenance) = &attested.provenance else {
            let verdict = if self.request.want_provenance { Verdict::Failed } else { Verdict::Unknown };
            self.found(Check::Provenance, verdict, "none attested");
            return Ok(());
        };
        self.found(Check::Provenance, Verdict::Passed, counted(provenance.materials.len(), "material"));
        self.source(provenance);
        self.builder(provenance);
        self.materials(registry, provenance)
    }

    fn source(&mut self, provenance: &Provenance) {
        let Some(commit) = &self.request.commit else { return };
        match &provenance.revision {
            None => self.found(Check::Source, Verdict::Unknown, "the provenance names no commit"),
            Some(built) if built.trim_end_matches("-dirty") == commit && built != commit => {
                self.found(Check::Source, Verdict::Failed, format!("built from {commit} with uncommitted changes"));
            }
            Some(built) if built == commit => self.found(Check::Source, Verdict::Passed, built.clone()),
            Some(built) => self.carried(built, commit),
        }
    }

    /// An image is carried forward from the commit that built it to one in which nothing of what goes into it changed.
    fn carried(&mut self, built: &str, commit: &str) {
        let carried = format!("built from {built} and carried forward to {commit}");
        match (self.request.changes)(built).map(|affected| affected.reasons(&self.service.name)) {
            Ok(None) => self.found(Check::Source, Verdict::Passed, carried),
            Ok(Some(reasons)) => {
                let why = explain::summary(&reasons, LISTED);
                self.found(Check::Source, Verdict::Failed, format!("{carried}, where it would be another: {why}"));
            }
            Err(error) => self.found(Check::Source, Verdict::Unknown, format!("{carried}; what changed cannot be told: {error}")),
        }
    }

    fn builder(&mut self, provenance: &Provenance) {
        let builder =
            if provenance.builder.is_empty() { "outside of CI".to_owned() } else { format!("by {}", provenance.builder) };
        let builder = builder.as_str();
        match &self.request.builder {
            None => self.found(Check::Builder, Verdict::Unknown, format!("{builder}; --builder says which it has to be")),
            Some(wanted) if provenance.builder.starts_with(wanted.as_str()) => self.holds(Check::Builder, true, builder),
            Some(wanted) => self.holds(Check::Builder, false, format!("built {builder}, expected {wanted}")),
        }
    }

    fn materials(&mut self, registry: &Registry, provenance: &Provenance) -> Result<()> {
        let (mut good, mut bad) = (0, Vec::new());
        for material in &provenance.materials {
            let Some(image) = material.image() else { continue };
            if let Some(from) = self.request.services.iter().find(|one| one.repository == image.without_reference()) {
                match sources::unlike_released(registry, from, material.digest.as_ref())? {
                    None => good += 1,
                    Some(why) => bad.push(format!("{image} {why}")),
                }
                continue;
            }
            // A reference by digest alone has lost its tag: any pin of its repository with that digest will do.
            let of_repository = || {
                let same = |pin: &ImageRef| image.tag().is_none() && pin.without_reference() == image;
                self.request.pins.iter().find(|(pin, digest)| same(pin) && Some(*digest) == material.digest.as_ref())
            };
            let pinned = self.request.pins.get(&image).or_else(|| of_repository().map(|(_, digest)| digest));
            match (pinned, &material.digest) {
                (Some(pinned), Some(used)) if pinned == used => good += 1,
                (Some(pinned), used) => {
                    let used = used.as_ref().map_or("no digest".to_owned(), Digest::to_string);
                    bad.push(format!("{image} was {used}, pinned is {pinned}"));
                }
                (None, _) if self.request.unpinned.contains(&image) => {}
                (None, _) => bad.push(format!("{image} is not in xtask.lock")),
            }
        }
        let detail = if bad.is_empty() { format!("{good} as pinned") } else { bad.join("; ") };
        self.holds(Check::Materials, bad.is_empty(), detail);
        Ok(())
    }

    fn sbom(&mut self, attested: &Attested) {
        let Some(sbom) = &attested.sbom else {
            let verdict = if self.request.want_sbom { Verdict::Failed } else { Verdict::Unknown };
            return self.found(Check::Sbom, verdict, "none attested");
        };
        self.found(Check::Sbom, Verdict::Passed, format!("{} packages", sbom.packages));
        if let Some(locked) = &self.service.packages {
            self.packages(sbom, locked);
        }
    }

    fn packages(&mut self, sbom: &Sbom, locked: &SortedSet<(String, String)>) {
        let application = sbom.npm.iter().filter(|package| is_installed(package));
        let present: SortedSet<(String, String)> = application
            .filter(|package| !self.request.own_packages.contains(&package.name))
            .map(|package| (package.name.clone(), package.version.clone()))
            .into_set();
        let shown = |(name, version): &(String, String)| format!("{name}@{version}");
        let foreign: Vec<String> = present.difference(locked).map(shown).into_vec();
        if !foreign.is_empty() {
            return self.found(Check::Packages, Verdict::Failed, format!("not in the lock's closure: {}", shorten(&foreign)));
        }
        let absent: Vec<String> = locked.difference(&present).map(shown).into_vec();
        // Packages for other platforms and optional ones are in the lock and not in the image.
        let rest = if absent.is_empty() { String::new() } else { format!("; not in the image: {}", shorten(&absent)) };
        let verdict = if present.is_empty() && !locked.is_empty() { Verdict::Failed } else { Verdict::Passed };
        self.found(Check::Packages, verdict, format!("{} of {} locked{rest}", present.len(), locked.len()));
    }
}

/// True for what an install put there, which the lock has to know. A scanner names every `package.json` with a name and a version in it,
/// also those that are part of another package: its fixtures, its vendored copies, its bundled dependencies. Those came in its tarball,
/// which the lock's checksum covers. npm, corepack and what they bring come with Node's image; a manifest outside of any `node_modules` is
/// a source file. A generator that does not tell where it looked is believed.
fn is_installed(package: &NpmPackage) -> bool {
    package.files.is_empty() || package.files.iter().any(|file| of_the_application(file) && is_packages_own(file))
}

fn of_the_application(file: &str) -> bool {
    !["/usr/local/lib/node_modules/", "/usr/lib/node_modules/", "/opt/"].iter().any(|dir| file.starts_with(dir))
}

/// True for `…/node_modules/<name>/package.json`; in pnpm's store the first `<name>` of a folder is the package, and others are
/// bundled in it.
fn is_packages_own(file: &str) -> bool {
    const FOLDER: &str = "/node_modules/";
    let in_store = file.split_once("/node_modules/.pnpm/").and_then(|(_, entry)| entry.split_once(FOLDER));
    let Some((_, inside)) = in_store.or_else(|| file.rsplit_once(FOLDER)) else { return false };
    let name = inside.strip_suffix("/package.json");
    name.is_some_and(|name| name.matches('/').count() == usize::from(name.starts_with('@')))
}

fn join<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).into_vec().join(", ")
}

fn shorten(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).cloned().into_vec().join(", ");
    if names.len() > LISTED { format!("{listed} and {} more", names.len() - LISTED) } else { listed }
}

/// The error that ends a command whose report is not good.
#[must_use]
pub fn failure(report: &Report, name: &str) -> Error {
    let failed = report.findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    Error::failed(format!("{name} does not verify: {failed} of {} checks failed", report.findings.len()))
}
