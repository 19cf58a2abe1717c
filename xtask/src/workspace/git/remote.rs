//! The repository's address, and the owner and name that can be read in it.

use super::Git;
use crate::error::Result;

/// A remote repository as its address names it. Credentials in the address are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The host, lower-cased, without port: `github.com`.
    pub host: String,
    /// What stands before the name, lower-cased: `org`, or `group/subgroup`.
    pub owner: String,
    /// The repository's name, lower-cased, without `.git`.
    pub name: String,
}

impl Remote {
    /// Reads an address: `https://host/owner/name.git`, `ssh://git@host:22/owner/name`, `git@host:owner/name.git`. `None` for a path on
    /// this machine and for anything without an owner. Lower-cased, because image names must be.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let (authority, path) = match url.split_once("://") {
            Some(("file", _)) => return None,
            Some((_, rest)) => rest.split_once('/')?,
            None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        let path = path.trim_matches('/');
        let (owner, name) = path.strip_suffix(".git").unwrap_or(path).rsplit_once('/')?;
        let lower = |text: &str| (!text.is_empty()).then(|| text.to_ascii_lowercase());
        Some(Self { host: lower(host)?, owner: lower(owner)?, name: lower(name)? })
    }
}

impl Git {
    /// The remote to ask: `origin` where there is one, else the first.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn remote_name(&self) -> Result<Option<String>> {
        let names = self.ask(&["remote"])?.unwrap_or_default();
        let origin = names.lines().find(|name| *name == "origin");
        Ok(origin.or(names.lines().next()).map(str::to_owned))
    }

    /// The remote's address, taken apart. `None` without a remote, or where the address names no owner.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn remote(&self) -> Result<Option<Remote>> {
        let Some(name) = self.remote_name()? else { return Ok(None) };
        Ok(self.ask(&["remote", "get-url", &name])?.as_deref().and_then(Remote::parse))
    }
}
