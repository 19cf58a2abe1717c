//! Versions of container packages by GitHub's Packages API (docs.github.com/rest/packages/packages): the only way to delete an image
//! on GHCR, whose registry answers 405 to a manifest's `DELETE`. Children and attestations of live images look untagged here;
//! what may go is decided by who has walked them.

use std::time::SystemTime;

use serde::Deserialize;

use crate::api::Api;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::percent_encode;
use monoship_core::name::{Digest, Tag};

/// What GitHub says of a version that it keeps for good, whoever asks: the last tagged one of its package, or one that many have pulled. Asking
/// again at every upkeep gives the same, and nothing of ours is wrong.
#[derive(Debug)]
pub struct KeptByGithub(String);

impl std::fmt::Display for KeptByGithub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeptByGithub {}

/// Whose packages they are: GitHub has a path for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// An organisation's.
    Organization,
    /// A user's.
    User,
}

/// A version: one manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersion {
    /// GitHub's number for it.
    pub id: u64,
    /// The manifest's digest.
    pub digest: Digest,
    /// Tags that point to it; empty for children, attestations, and what was left behind.
    pub tags: Vec<Tag>,
    /// When it was last changed.
    pub updated_at: SystemTime,
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
    name: String,
    updated_at: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    container: Container,
}

#[derive(Deserialize, Default)]
struct Container {
    #[serde(default)]
    tags: Vec<String>,
}

impl Listed {
    fn version(self) -> Result<PackageVersion> {
        let updated_at = humantime::parse_rfc3339_weak(&self.updated_at)
            .map_err(|e| Error::failed(format!("GitHub lists a package version at `{}`", self.updated_at)).source(e))?;
        let tags = self.metadata.container.tags.into_iter().map(|tag| tag.parse()).collect::<Result<_>>()?;
        Ok(PackageVersion { id: self.id, digest: self.name.parse()?, tags, updated_at })
    }
}

impl Api {
    fn package_path(&self, owner: Owner, package: &str) -> String {
        let kind = match owner {
            Owner::Organization => "orgs",
            Owner::User => "users",
        };
        format!("/{kind}/{}/packages/container/{}", self.repository().owner(), percent_encode(package))
    }

    /// The names of the repository owner's container packages, `repo/api` for `ghcr.io/<owner>/repo/api`.
    ///
    /// # Errors
    /// As [`Api::call`]; it needs the permission `packages: read`.
    pub fn packages(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Package {
            name: String,
        }
        for kind in ["orgs", "users"] {
            let path = format!("/{kind}/{}/packages?package_type=container&per_page=100", self.repository().owner());
            if self.call("GET", &path, None)?.status() == 404 {
                continue;
            }
            let mut found = Vec::new();
            self.pages(&path, |page: Vec<Package>| {
                found.extend(page.into_iter().map(|package| package.name));
                true
            })?;
            return Ok(found);
        }
        Ok(Vec::new())
    }

    /// Every version of the repository owner's container package (`repo/api` for `ghcr.io/<owner>/repo/api`), and whose it is;
    /// `None` where there is no such package.
    ///
    /// # Errors
    /// As [`Api::call`]; it needs the permission `packages: read`. A version that is no image's.
    pub fn package_versions(&self, package: &str) -> Result<Option<(Owner, Vec<PackageVersion>)>> {
        for owner in [Owner::Organization, Owner::User] {
            let path = self.package_path(owner, package);
            if self.call("GET", &path, None)?.status() == 404 {
                continue;
            }
            let mut listed = Vec::new();
            self.pages(&format!("{path}/versions?per_page=100"), |page: Vec<Listed>| {
                listed.extend(page);
                true
            })?;
            let versions = listed.into_iter().map(Listed::version).collect::<Result<_>>()?;
            return Ok(Some((owner, versions)));
        }
        Ok(None)
    }

    /// Deletes a version. False where it was gone already, which is as good.
    ///
    /// # Errors
    /// As [`Api::call`]; it needs the permission `packages: write`. GitHub refuses to delete a package's last tagged version.
    pub fn delete_package_version(&self, owner: Owner, package: &str, id: u64) -> Result<bool> {
        let answer = self.call("DELETE", &format!("{}/versions/{id}", self.package_path(owner, package)), None)?;
        match answer.status() {
            200..=299 => Ok(true),
            404 => Ok(false),
            400 if ["cannot delete the last", "cannot be deleted"].iter().any(|words| answer.problem().contains(words)) => {
                Err(Error::failed("GitHub keeps it")
                    .source(KeptByGithub(answer.problem()))
                    .hint("if nothing of the package is needed, delete the whole package on its page at GitHub"))
            }
            _ => Err(answer.unexpected("the deletion of a package version")),
        }
    }
}
