//! The repository's address, and the owner and name that can be read in it.

use std::collections::BTreeMap;

use super::Git;
use monoship_core::error::Result;

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
        let host = lower(host)?;
        // What listens on port 443 for whom port 22 is closed to is the same forge under another name (docs of GitHub, GitLab, Bitbucket).
        let same =
            [("ssh.github.com", "github.com"), ("altssh.gitlab.com", "gitlab.com"), ("altssh.bitbucket.org", "bitbucket.org")];
        let host = same.iter().find(|(alias, _)| *alias == host).map_or(host.clone(), |(_, forge)| (*forge).to_owned());
        // A host of `~/.ssh/config`, as GitHub's documentation calls them where each repository has a deploy key, or each account a key.
        let host = if host.starts_with("github.com-") { "github.com".to_owned() } else { host };
        Some(Self { host, owner: lower(owner)?, name: lower(name)? })
    }
}

impl Git {
    /// The remote to ask: `origin` where there is one, else the first.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn remote_name(&self) -> Result<Option<String>> {
        Ok(self.remote_url()?.map(|(name, _)| name))
    }

    /// The remote's address, taken apart. `None` without a remote, or where the address names no owner.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn remote(&self) -> Result<Option<Remote>> {
        Ok(self.remote_url()?.and_then(|(_, url)| Remote::parse(&url)))
    }

    /// The remote with its address. One process instead of `git remote` and `git remote get-url`: every command waits for it.
    fn remote_url(&self) -> Result<Option<(String, String)>> {
        let settings = r"^(remote\..+\.url|url\..+\.insteadof)$";
        let answer = self.ask(&["config", "-z", "--get-regexp", settings])?.unwrap_or_default();
        Ok(chosen(&answer))
    }
}

/// The remote to ask from `git config -z`: `<key>`, a line end, the value, a zero byte, for each. Of several addresses of a remote the
/// first counts, and the longest matching `insteadOf` is replaced in it, as git does: but where GitHub is named, that is the repository, and
/// the other address a way to it (a mirror, another key).
fn chosen(settings: &str) -> Option<(String, String)> {
    let entries = || settings.split('\0').filter_map(|entry| entry.split_once('\n'));
    let between = |key: &'_ str, start: &str, end: &str| Some(key.strip_prefix(start)?.strip_suffix(end)?.to_owned());
    let mut remotes = BTreeMap::new();
    for (key, url) in entries() {
        if let Some(name) = between(key, "remote.", ".url") {
            remotes.entry(name).or_insert_with(|| url.to_owned());
        }
    }
    let (name, url) = remotes.remove_entry("origin").or_else(|| remotes.pop_first())?;
    let replaced = entries()
        .filter_map(|(key, short)| Some((between(key, "url.", ".insteadof")?, url.strip_prefix(short)?)))
        .min_by_key(|(_, rest)| rest.len())
        .map(|(long, rest)| long + rest);
    let is_named = Remote::parse(&url).is_some_and(|remote| remote.host == "github.com");
    Some((name, replaced.filter(|_| !is_named).unwrap_or(url)))
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn the_remote_to_ask_is_origin_or_the_first_with_its_shorthand_written_out() {
        let both = "remote.up.url\nu:x/y\0remote.origin.url\nhub:x/y\0remote.origin.url\nother\0";
        let short = "url.https://github.com/.insteadof\nhub:\0url.bad:.insteadof\nh\0";
        assert_eq!(chosen(&format!("{both}{short}")), Some(("origin".into(), "https://github.com/x/y".into())));
        let named = "remote.origin.url\nhttps://github.com/x/y\0url.https://mirror/.insteadof\nhttps://github.com/\0";
        assert_eq!(chosen(named), Some(("origin".into(), "https://github.com/x/y".into())));
        assert_eq!(chosen("remote.b.c.url\n1\0remote.a.url\n2\0"), Some(("a".into(), "2".into())));
        assert_eq!(chosen(short), None);
    }
}
