//! Commits: naming them, the default branch, and the point where two lines of history part. A shallow clone is deepened until what
//! was asked for is certain.

use std::time::Duration;

use super::{Git, Question};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::sorted::SortedSet;

/// How many commits each attempt fetches beyond the last; after these, everything.
const DEEPEN: [&str; 3] = ["100", "1000", "10000"];

/// How long a remote has to say which branches it has: images wait for the answer.
const REMOTE: Duration = Duration::from_secs(20);

/// See [`Git::head`]: the answer to read.
pub struct Head(Question);

impl Head {
    /// The commit and its branch, each where there is one.
    ///
    /// # Errors
    /// When git ended badly, or the run is closing.
    pub fn read(self) -> Result<(Option<String>, Option<String>)> {
        let said = self.0.answer()?.unwrap_or_default();
        let mut lines = said.lines().map(str::to_owned);
        Ok((lines.next(), lines.next().filter(|branch| branch != "HEAD")))
    }
}

impl Git {
    /// The branch that is checked out; `None` where none is.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn branch(&self) -> Result<Option<String>> {
        // Git's short name says more where a tag has the branch's: `heads/v1.2.3`.
        let head = self.ask(&["symbolic-ref", "--quiet", "HEAD"])?;
        Ok(head.map(|head| head.strip_prefix("refs/heads/").map_or(head.clone(), str::to_owned)))
    }

    /// Asks for the commit that is checked out and its branch, in one question.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn head(&self) -> Result<Head> {
        self.start(&["rev-parse", "HEAD", "--abbrev-ref", "HEAD"]).map(Head)
    }

    /// The full id of the commit that `revision` names.
    ///
    /// # Errors
    /// When there is none, or its name could be taken for an option.
    pub fn resolve(&self, revision: &str) -> Result<String> {
        self.find(revision)?.ok_or_else(|| {
            let hint = if revision == "HEAD" {
                "nothing is committed yet: commit it first"
            } else if is_full_id(revision) {
                "neither this clone nor its remote has it: a force push takes commits away"
            } else {
                "check its spelling; in a shallow or single-branch clone, fetch it first (`git fetch origin <branch>`)"
            };
            Error::usage(format!("git knows no commit `{revision}`")).hint(hint)
        })
    }

    fn find(&self, revision: &str) -> Result<Option<String>> {
        if revision.is_empty() || revision.starts_with('-') {
            return Err(Error::usage(format!("`{revision}` is not a revision")));
        }
        // All that stands behind `:/` is text to be looked for in messages, and what has it is a commit.
        let commit = if revision.starts_with(":/") { revision.to_owned() } else { format!("{revision}^{{commit}}") };
        self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])
    }

    /// The full id of the commit that `revision` names. One that is given by its id or by a tag is fetched where it is not here, and a
    /// shallow clone that lacks what is named otherwise is deepened.
    ///
    /// # Errors
    /// When there is none, or it cannot be fetched.
    pub fn at_hand(&self, revision: &str) -> Result<String> {
        if let Some(commit) = self.find(revision)? {
            return Ok(commit);
        }
        if let Some(remote) = self.remote_name()? {
            if is_full_id(revision) {
                let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
                // Its tree is enough to compare with; a whole clone must not become a shallow one for it.
                fetch.extend(self.is_shallow()?.then_some("--depth=1"));
                if self.ask(&[&fetch[..], &[&remote, revision]].concat())?.is_some() {
                    return self.resolve(revision);
                }
            } else if self.has_tag(&remote, revision)? {
                self.fetch_tag(&remote, revision)?;
                return self.resolve(revision);
            }
        }
        for step in steps() {
            if !self.is_shallow()? {
                break;
            }
            self.fetch(&step, revision, "HEAD")?;
            if let Some(commit) = self.find(revision)? {
                return Ok(commit);
            }
        }
        self.resolve(revision)
    }

    /// The default branch, as a whole reference: what the remote's HEAD is known to point to, else its `main` or `master`, else ours. A clone
    /// of one other branch asks the remote.
    ///
    /// # Errors
    /// When none can be found.
    pub fn default_branch(&self) -> Result<String> {
        // Git's own words for what is no repository.
        self.read(&["rev-parse", "--git-dir"])?;
        let remote = self.remote_name()?;
        let mut names = vec!["refs/heads/main".to_owned(), "refs/heads/master".to_owned()];
        if let Some(remote) = &remote {
            if let Some(head) = self.ask(&["symbolic-ref", "--quiet", &tracking(remote, "HEAD")])? {
                return Ok(head);
            }
            names.splice(0..0, [tracking(remote, "main"), tracking(remote, "master")]);
        }
        // A clone of one branch knows nothing of the others.
        let remote_first = remote.as_deref().map(|remote| self.fetched_default(remote)).transpose()?.flatten();
        let known = || names.iter().find(|name| matches!(self.find(name), Ok(Some(_)))).cloned();
        remote_first.or_else(known).ok_or_else(|| {
            Error::usage("git does not know which branch is the default one")
                .hint("name it with `--since`, or run `git remote set-head origin --auto`")
        })
    }

    /// The remote's default branch as the remote names it, fetched where it is not here. `None` where it cannot be asked.
    fn fetched_default(&self, remote: &str) -> Result<Option<String>> {
        let told = self.ask(&["ls-remote", "--symref", remote, "HEAD"])?.unwrap_or_default();
        let Some(branch) = told.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD")) else {
            return Ok(None);
        };
        let name = tracking(remote, branch);
        if self.find(&name)?.is_none() {
            self.fetch_branch(remote, branch)?;
        }
        Ok(Some(name))
    }

    fn has_tag(&self, remote: &str, tag: &str) -> Result<bool> {
        let reference = format!("refs/tags/{tag}");
        let listed = self.ask(&["ls-remote", "--tags", remote, &reference])?.unwrap_or_default();
        Ok(of_reference(&listed, &reference).is_some())
    }

    /// Fetches one tag. A shallow clone gets its commit alone, with the contents of its files as they are read; a whole one stays whole.
    ///
    /// # Errors
    /// When the remote has no such tag or cannot be asked.
    pub fn fetch_tag(&self, remote: &str, tag: &str) -> Result<()> {
        let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        if self.is_shallow()? {
            fetch.extend(["--depth=1", "--filter=blob:none"]);
        }
        let reference = format!("refs/tags/{tag}:refs/tags/{tag}");
        self.bytes(&[&fetch[..], &[remote, &reference]].concat()).map(drop)
    }

    /// True where a commit is on a branch of the remote, as it is there now. Of a shallow clone more history is fetched until that is certain.
    ///
    /// # Errors
    /// When the remote has no such branch or cannot be asked.
    pub fn is_on(&self, remote: &str, branch: &str, commit: &str) -> Result<bool> {
        let revision = tracking(remote, branch);
        // What is known already is enough for a yes.
        if self.find(&revision)?.is_some() && self.is_within(&revision, commit)? {
            return Ok(true);
        }
        self.fetch_branch(remote, branch)?;
        self.is_within(&revision, commit)
    }

    /// Fetches one branch; a shallow clone gets its head alone.
    fn fetch_branch(&self, remote: &str, branch: &str) -> Result<()> {
        let spec = refspec(remote, branch);
        let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        fetch.extend(self.is_shallow()?.then_some("--depth=1"));
        self.bytes(&[&fetch[..], &[remote, &spec]].concat()).map(drop)
    }

    fn is_within(&self, revision: &str, commit: &str) -> Result<bool> {
        if self.is_shallow()? {
            return Ok(self.merge_base_of(revision, commit)? == commit);
        }
        Ok(self.ask(&["merge-base", "--is-ancestor", commit, revision])?.is_some())
    }

    /// The commits that a branch of the remote has beyond `commit`, newest first, at most so many. Of a branch that was made anew without it, its head
    /// alone.
    ///
    /// # Errors
    /// When the remote cannot be asked.
    pub fn newer_on(&self, remote: &str, branch: &str, commit: &str, most: usize) -> Result<Vec<String>> {
        let Some(head) = self.head_at(remote, branch)?.filter(|head| head != commit) else {
            return Ok(Vec::new());
        };
        if self.find(&head)?.is_none() {
            self.fetch_branch(remote, branch)?;
        }
        let is_on = match self.is_within(&head, commit) {
            Err(error) if error.is_cancelled() => return Err(error),
            // Of what was taken off the branch a remote tells nothing more.
            found => found.unwrap_or_default(),
        };
        if !is_on {
            return Ok(vec![head]);
        }
        let newer = self.read(&["rev-list", &format!("--max-count={most}"), &head, "--not", commit])?;
        Ok(newer.lines().map(str::to_owned).into_vec())
    }

    /// The commit that a branch of the remote is at, where HEAD's history does not have it. Fetches nothing.
    ///
    /// # Errors
    /// When the remote cannot be asked.
    pub fn head_missing_here(&self, remote: &str, branch: &str) -> Result<Option<String>> {
        let Some(head) = self.head_at(remote, branch)? else { return Ok(None) };
        let is_here = self.has(&head)? && self.ask(&["merge-base", "--is-ancestor", &head, "HEAD"])?.is_some();
        Ok(Some(head).filter(|_| !is_here))
    }

    /// The commit that a branch of the remote is at.
    fn head_at(&self, remote: &str, branch: &str) -> Result<Option<String>> {
        let reference = format!("refs/heads/{branch}");
        let listed = self.command(&["ls-remote", "--heads", remote, &reference]).timeout(REMOTE).read(self.shutdown())?;
        Ok(of_reference(&listed, &reference).map(str::to_owned))
    }

    /// The branches that a remote has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn branches_at(&self, remote: &str) -> Result<Vec<String>> {
        let listed = self.command(&["ls-remote", "--heads", remote]).timeout(REMOTE).read(self.shutdown())?;
        Ok(listed.lines().filter_map(|line| Some(line.split_once("\trefs/heads/")?.1.to_owned())).into_vec())
    }

    fn is_shallow(&self) -> Result<bool> {
        Ok(self.ask(&["rev-parse", "--is-shallow-repository"])?.as_deref() == Some("true"))
    }

    /// True where the object is here (a partial clone may fetch it).
    pub(super) fn has(&self, id: &str) -> Result<bool> {
        Ok(self.ask(&["cat-file", "-e", id])?.is_some())
    }

    /// The commit where the history of `revision` and of HEAD part: what "since `revision`" compares with. In a shallow clone
    /// the history is fetched until the answer is certain.
    ///
    /// # Errors
    /// When there is no such commit, the two share no history, or a shallow clone cannot be deepened.
    pub fn merge_base(&self, revision: &str) -> Result<String> {
        self.merge_base_of(revision, "HEAD")
    }

    /// The same of another commit than HEAD.
    ///
    /// # Errors
    /// As [`Git::merge_base`].
    pub fn merge_base_of(&self, revision: &str, head: &str) -> Result<String> {
        for step in steps() {
            // A step can bring everything there is: then nothing is cut, and what is not found is not there.
            if !self.is_shallow()? {
                break;
            }
            if let Some(base) = self.certain_base(revision, head)? {
                return Ok(base);
            }
            self.fetch(&step, revision, head)?;
        }
        let commit = self.resolve(revision)?;
        self.parting(&commit, head)?.ok_or_else(|| {
            Error::usage(format!("`{revision}` and HEAD share no history")).hint("name a revision of this line of history")
        })
    }

    /// Fetches more history of what is checked out and of `revision`. What CI checks out (a pull request's merge commit) is on no
    /// branch, and a clone of one branch fetches no other: both are asked for by name, and where the remote refuses
    /// that, whatever the clone is set up to fetch.
    fn fetch(&self, depth: &str, revision: &str, head: &str) -> Result<()> {
        let remote = self.remote_name()?.ok_or_else(|| too_shallow(revision, None))?;
        let head = self.resolve(head)?;
        let short = revision.strip_prefix("refs/remotes/").unwrap_or(revision);
        let wanted = match short.strip_prefix(&format!("{remote}/")) {
            Some(branch) => Some(refspec(&remote, branch)),
            None => is_full_id(revision).then(|| revision.to_owned()),
        };
        let all = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", depth, &remote];
        let mut named = all.to_vec();
        named.push(&head);
        named.extend(wanted.as_deref());
        if self.ask(&named)?.is_some() {
            return Ok(());
        }
        self.bytes(&all).map(drop).map_err(|error| if error.is_cancelled() { error } else { too_shallow(revision, Some(error)) })
    }

    fn parting(&self, commit: &str, head: &str) -> Result<Option<String>> {
        let base = self.ask(&["merge-base", commit, head])?;
        Ok(base.and_then(|text| text.lines().next().map(str::to_owned)))
    }

    /// The parting point of a shallow clone, where no path that leads to it was cut: a cut could hide a later one.
    fn certain_base(&self, revision: &str, head: &str) -> Result<Option<String>> {
        let Some(commit) = self.find(revision)? else { return Ok(None) };
        let Some(base) = self.parting(&commit, head)? else { return Ok(None) };
        let since = self.read(&["rev-list", &commit, head, "--not", &base])?;
        let file = self.root.join(self.read(&["rev-parse", "--git-path", "shallow"])?);
        let cut = if file.exists() { read_text(&file)? } else { String::new() };
        let cut: SortedSet<&str> = cut.lines().into_set();
        Ok((!since.lines().any(|commit| cut.contains(commit))).then_some(base))
    }
}

/// True for what can be nothing but an object's whole id.
pub fn is_full_id(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The reference that keeps a remote's branch. Whole: `origin/main` is first of all a tag of that name, which is for whoever may push tags.
fn tracking(remote: &str, branch: &str) -> String {
    format!("refs/remotes/{remote}/{branch}")
}

/// The id that a listing of a remote has of this reference. `ls-remote` lists all that end so: a branch can be called `x/refs/heads/main`.
fn of_reference<'l>(listed: &'l str, reference: &str) -> Option<&'l str> {
    listed.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == reference).map(|(id, _)| id)
}

/// What fetches a remote's branch into its [`tracking`] reference.
fn refspec(remote: &str, branch: &str) -> String {
    format!("+refs/heads/{branch}:{}", tracking(remote, branch))
}

/// How far each attempt to deepen a clone goes.
fn steps() -> impl Iterator<Item = String> {
    DEEPEN.iter().map(|n| format!("--deepen={n}")).chain(["--unshallow".to_owned()])
}

fn too_shallow(revision: &str, cause: Option<Error>) -> Error {
    let error = Error::failed(format!("this clone is too shallow to know what changed since `{revision}`"))
        .hint("run `git fetch --unshallow`; in GitHub Actions give the checkout step `fetch-depth: 0`");
    match cause {
        Some(cause) => error.source(cause),
        None => error,
    }
}
