//! The repository's address, and the owner and name that can be read in it.

use super::Git;
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::sorted::SortedMap;

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
    /// The remote to ask: `origin` where there is one, and the sole one; of several others the one that git is told to use, by
    /// `checkout.defaultRemote`, the branch's upstream, that of every branch that has one, or `remote.pushDefault`; else the first by name.
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
        let settings = r"^(remote\..+\.url|url\..+\.insteadof|branch\..+\.remote|checkout\.defaultremote|remote\.pushdefault)$";
        let answer = self.ask(&["config", "-z", "--get-regexp", settings])?.unwrap_or_default();
        chosen(&answer, &|| self.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]))
    }
}

/// The remote to ask from `git config -z`: `<key>`, a line end, the value, a zero byte, for each. Of several addresses of a remote the
/// first counts, and the longest matching `insteadOf` is replaced in it, as git does: but where GitHub is named, that is the repository, and
/// the other address a way to it (a mirror, another key). `branch` is asked for where it counts.
fn chosen(settings: &str, branch: &dyn Fn() -> Result<Option<String>>) -> Result<Option<(String, String)>> {
    let entries = || settings.split('\0').filter_map(|entry| entry.split_once('\n'));
    let between = |key: &'_ str, start: &str, end: &str| Some(key.strip_prefix(start)?.strip_suffix(end)?.to_owned());
    let mut remotes = SortedMap::new();
    for (key, url) in entries() {
        if let Some(name) = between(key, "remote.", ".url") {
            remotes.entry(name).or_insert_with(|| url.to_owned());
        }
    }
    let named = match remotes.len() {
        0 => return Ok(None),
        1 => None,
        _ if remotes.contains_key("origin") => Some("origin".to_owned()),
        _ => told(&entries().into_vec(), &remotes, branch)?,
    };
    let Some((name, url)) = named.and_then(|name| remotes.remove(&name).map(|url| (name, url))).or_else(|| remotes.pop_first())
    else {
        return Ok(None);
    };
    let replaced = entries()
        .filter_map(|(key, short)| Some((between(key, "url.", ".insteadof")?, url.strip_prefix(short)?)))
        .min_by_key(|(_, rest)| rest.len())
        .map(|(long, rest)| long + rest);
    let is_named = Remote::parse(&url).is_some_and(|remote| remote.host == "github.com");
    Ok(Some((name, replaced.filter(|_| !is_named).unwrap_or(url))))
}

/// Which of several remotes git is told to use, where it is told (git-checkout(1), git-push(1), `remote.pushDefault` in git-config(1)). Of a key
/// that is given several times the last counts.
fn told(
    settings: &Vec<(&str, &str)>,
    remotes: &SortedMap<String, String>,
    branch: &dyn Fn() -> Result<Option<String>>,
) -> Result<Option<String>> {
    let is_there = |name: &&str| remotes.contains_key(*name);
    let last = |wanted: &str| settings.iter().rfind(|(key, _)| *key == wanted).map(|(_, value)| *value).filter(is_there);
    if let Some(name) = last("checkout.defaultremote") {
        return Ok(Some(name.to_owned()));
    }
    let upstream = branch()?.and_then(|branch| last(&format!("branch.{}.remote", branch.trim())));
    let of_branches = || {
        let all = settings.iter().filter(|(key, _)| key.starts_with("branch.") && key.ends_with(".remote"));
        let mut all = all.map(|(_, value)| *value).filter(is_there);
        all.next().filter(|first| all.all(|other| other == *first))
    };
    Ok(upstream.or_else(of_branches).or_else(|| last("remote.pushdefault")).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::chosen;

    fn of(settings: &str, branch: Option<&str>) -> Option<(String, String)> {
        chosen(settings, &|| Ok(branch.map(str::to_owned))).unwrap()
    }

    fn named(settings: &str, branch: Option<&str>) -> String {
        of(settings, branch).unwrap().0
    }

    #[test]
    fn the_remote_to_ask_is_origin_or_the_first_with_its_shorthand_written_out() {
        let both = "remote.up.url\nu:x/y\0remote.origin.url\nhub:x/y\0remote.origin.url\nother\0branch.main.remote\nup\0";
        let short = "url.https://github.com/.insteadof\nhub:\0url.bad:.insteadof\nh\0";
        assert_eq!(of(&format!("{both}{short}"), Some("main")), Some(("origin".into(), "https://github.com/x/y".into())));
        let settings = "remote.origin.url\nhttps://github.com/x/y\0url.https://mirror/.insteadof\nhttps://github.com/\0";
        assert_eq!(of(settings, None), Some(("origin".into(), "https://github.com/x/y".into())));
        assert_eq!(of("remote.b.c.url\n1\0remote.a.url\n2\0", None), Some(("a".into(), "2".into())));
        assert_eq!(of(short, None), None);
    }

    #[test]
    fn of_several_remotes_that_are_no_origin_the_one_counts_that_git_is_told_to_use() {
        // What `git clone -o company` and `git remote add aside` leave.
        let two = "remote.company.url\n1\0branch.main.remote\ncompany\0remote.aside.url\n2\0";
        assert_eq!(named(two, Some("main")), "company");
        assert_eq!(named(two, None), "company", "the upstream of every branch that has one");
        let both = format!("{two}branch.side.remote\naside\0branch.odd.remote\n.\0");
        assert_eq!((named(&both, Some("side")), named(&both, Some("main"))), ("aside".to_owned(), "company".to_owned()));
        assert_eq!(named(&both, Some("new")), "aside", "nobody says, so it is the first");
        assert_eq!(named(&format!("{both}remote.pushdefault\ncompany\0"), Some("new")), "company");
        let told = format!("{both}checkout.defaultremote\naside\0checkout.defaultremote\ncompany\0");
        assert_eq!(named(&told, Some("side")), "company");
        assert_eq!(named(&format!("{two}checkout.defaultremote\ngone\0"), Some("main")), "company");
    }
}
