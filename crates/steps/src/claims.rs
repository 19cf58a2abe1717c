//! What a release claims, read where it says so: the tag's own commit (services, pins, lock) and the release's notes. Whether the claims hold
//! is checked in `verify.rs`.

use std::sync::{Mutex, PoisonError};

use crate::checkout::{self, Asked, At};
use crate::project::{self, Project};
use crate::publication::Marks;
use crate::verify::{Noted, Service, VerifyRequest};
use crate::{Session, bases, configuration, inputs, outside, signing, since};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{ImageRef, ReleaseTag, ServiceName, Tag};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::cosign::{Cosign, Signer};
use monoship_github::notes::{self, Listed};
use monoship_plan;
use monoship_plan::affected::Affected;
use monoship_plan::config::pins::Pins;
use monoship_plan::config::{Attest, Config, Provenance, Sbom};
use monoship_plan::services::discover;
use monoship_publish::Order;
use monoship_workspace::Workspace;
use monoship_workspace::git::is_full_id;
use monoship_workspace::graph::Scope;

/// A release's claims.
pub struct Claims {
    tag: ReleaseTag,
    commit: String,
    order: Order,
    services: Vec<Service>,
    pins: Pins,
    base_images: SortedSet<ImageRef>,
    own_packages: SortedSet<String>,
    attest: Attest,
    signer: Option<Signer>,
}

/// What the caller knows and the release does not say.
pub struct Expected {
    /// What the builder's id must begin with; `None` accepts any.
    pub builder: Option<String>,
    /// Accept base images that `xtask.lock` does not pin.
    pub stand_ins: bool,
    /// Whose signature has to be there, in place of the configured one.
    pub signer: Option<Signer>,
    /// What checks it, where it is here.
    pub cosign: Option<Cosign>,
}

/// Reads the claims of a tag from a sparse checkout of its commit, which is removed again.
///
/// # Errors
/// An unknown tag, a commit that is no monorepo, no registry, or no answer from GitHub where there is a token for it.
pub fn gather(session: &Session, tag: &ReleaseTag) -> Result<Claims> {
    let (tag, commit) = checkout::resolve(&session.git(), tag, Asked::OriginIfThere)?;
    let session = configuration::at_commit(session, &commit)?;
    let at = At { purpose: "verify", name: tag.tag.as_str(), commit: &commit, keep: false };
    checkout::within(&session, &at, |root| read(&session, &tag, &commit, &project::load(&session, root)?))
}

/// The services of a monorepo, each with its image's repository.
///
/// # Errors
/// Where there is no service, or no registry is configured.
pub fn services(config: &Config, project: &Project) -> Result<Vec<(monoship_plan::services::Service, ImageRef)>> {
    let Some(prefix) = &config.images.prefix else {
        return Err(Error::usage("there is no registry to look into").hint(configuration::NAME_A_REGISTRY));
    };
    let targets: Vec<&str> = project.dockerfile.targets().into_vec();
    let services = discover(config, &project.packages(), &targets)?.into_iter();
    services
        .map(|service| {
            let repository = format!("{prefix}/{}", service.name).parse()?;
            Ok((service, repository))
        })
        .collect()
}

fn read(session: &Session, tag: &ReleaseTag, commit: &str, project: &Project) -> Result<Claims> {
    let config = &session.config;
    // Whatever keeps GitHub from being asked is told by who reads the notes.
    let marks = Marks::ask(session, tag, Some(false))?;
    let tags = session.release_tags(tag, !marks.prerelease)?;
    let noted = noted(session, &tag.tag)?;
    let services = services(config, project)?.into_iter().map(|(service, repository)| Service {
        repository,
        tags: tags.clone(),
        noted: match &noted {
            Ok(listed) => listed.get(&service.name).map_or(Noted::Others, |listed| Noted::Here(listed.clone())),
            Err(why) => Noted::Nowhere(why.clone()),
        },
        packages: locked(&project.workspace, &service.package),
        name: service.name,
    });
    Ok(Claims {
        services: services.into_vec(),
        order: marks.order(session, tag),
        pins: configuration::pins(&project.root.join(bases::PINS))?,
        base_images: inputs::external_images(session, project)?,
        own_packages: project.packages().into_values().into_set(),
        attest: config.attest.clone(),
        signer: signing::expected(session)?,
        tag: tag.clone(),
        commit: commit.to_owned(),
    })
}

/// The images that the release's notes list; the inner error is a fragment that says why none are known.
fn noted(session: &Session, tag: &Tag) -> Result<Result<SortedMap<ServiceName, Listed>, String>> {
    let api = match session.github()? {
        Ok(api) => api,
        Err(why) => return Ok(Err(format!("GitHub was not asked: {why}"))),
    };
    let Some(release) = api.release_of(tag)? else { return Ok(Err(format!("{} has no release {tag}", api.repository()))) };
    let listed = notes::listed(release.body.as_deref().unwrap_or_default(), &session.markers());
    Ok(if listed.is_empty() { Err("they list no image".to_owned()) } else { Ok(listed) })
}

/// Name and version of every package of the lock that running a service takes; `None` where the lock could not be scanned.
fn locked(workspace: &Workspace, folder: &str) -> Option<SortedSet<(String, String)>> {
    let lock = workspace.scanned()?;
    let closure = workspace.closure(workspace.by_dir(folder)?, Scope::PRODUCTION);
    let kept = (0_u32..).zip(&closure.snapshots).filter(|(at, kept)| **kept && lock.local(*at).is_none());
    Some(kept.filter_map(|(at, _)| name_and_version(lock.package_key(at))).into_set())
}

/// `@scope/name@1.2.3` divided; the version begins at the first `@` that is not a scope's.
fn name_and_version(key: &str) -> Option<(String, String)> {
    let at = 1 + key.get(1..)?.find('@')?;
    Some((key[..at].to_owned(), key[at + 1..].to_owned()))
}

impl Claims {
    /// True where the configuration at the tag asks for a signature.
    #[must_use]
    pub fn signed(&self) -> bool {
        self.signer.is_some()
    }

    /// What of the release differs from an earlier commit, read once for each.
    ///
    /// # Errors
    /// Of the function: when that is no commit's id, or the commit cannot be had.
    pub fn changes(&self, session: &Session) -> impl Fn(&str) -> Result<Affected> + Sync {
        let release = monoship_plan::request::ReleaseRequest::new(self.tag.clone());
        let known = Mutex::new(SortedMap::<String, Affected>::new());
        move |built| {
            if !is_full_id(built) {
                return Err(Error::failed(format!("`{built}` is not a commit")));
            }
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(affected) = known.get(built) {
                return Ok(affected.clone());
            }
            let before = session.git().at_hand(built)?;
            let affected = since::between(session, &release, &before, &self.commit)?;
            known.insert(built.to_owned(), affected.clone());
            Ok(affected)
        }
    }

    /// The request to the verify stage, with what [`Claims::changes`] makes.
    ///
    /// # Errors
    /// When the scanner's name is no image's.
    pub fn request<'a>(
        &'a self,
        expected: Expected,
        changes: &'a (dyn Fn(&str) -> Result<Affected> + Sync),
    ) -> Result<VerifyRequest<'a>> {
        let scanner = match &self.attest.sbom {
            Sbom::On => Some(outside::SCANNER.parse()?),
            Sbom::Generator(image) => Some(image.clone()),
            Sbom::Off => None,
        };
        let bases = self.base_images.iter().filter(|_| expected.stand_ins).cloned();
        Ok(VerifyRequest {
            order: self.order.clone(),
            services: self.services.clone(),
            commit: Some(self.commit.clone()),
            changes,
            builder: expected.builder,
            pins: &self.pins,
            unpinned: bases.chain(scanner).into_vec(),
            own_packages: self.own_packages.clone(),
            want_provenance: self.attest.provenance != Provenance::Off,
            want_sbom: self.attest.sbom != Sbom::Off,
            signature: expected.signer.or_else(|| self.signer.clone()).map(|signer| (signer, expected.cosign)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_key_is_a_name_and_a_version() {
        let of = |key: &str| name_and_version(key).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(of("hono@4.6.0").as_deref(), Some("hono 4.6.0"));
        assert_eq!(of("@scope/a@1.0.0").as_deref(), Some("@scope/a 1.0.0"));
        assert_eq!(of("a@https://host/@x/a.tgz").as_deref(), Some("a https://host/@x/a.tgz"));
        assert_eq!(of("a"), None);
        assert_eq!(of(""), None);
    }
}
