//! Signing what a release publishes, by cosign: after every image stands, before the first version tag is put. So a tag never names an
//! unsigned image, and a signature that cannot be made leaves every tag as it was.

use std::path::Path;

use crate::Session;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Level, Task};
use monoship_core::execute::pool::in_parallel;
use monoship_core::execute::process::Invocation;
use monoship_docker::cosign::{Cosign, Signer};
use monoship_github::{trigger, workflow};
use monoship_plan::config::{Keyless, Signing as Configured};
use monoship_publish::{self as publish, ServicePlan};
use monoship_workspace::git::Remote;

/// GitHub's issuer of identities for workflows, as a regular expression.
const GITHUB_ISSUER: &str = r"^https://token\.actions\.githubusercontent\.com$";

/// From which of these variables cosign takes an identity in GitHub Actions. Where there is none it would wait for somebody with a browser.
const IDENTITY: [&str; 2] = ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SIGSTORE_ID_TOKEN"];

/// Secrets that cosign needs: its own, an identity's, and those of the services that keep keys.
const MAY_HAVE: [&str; 8] =
    ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AWS_*", "AZURE_*", "COSIGN_*", "DOCKER_AUTH_CONFIG", "GOOGLE_*", "SIGSTORE_*", "VAULT_*"];

/// The command that signs and checks.
pub fn cosign(session: &Session) -> Cosign {
    let command = Invocation::new("cosign").dir(&session.home).may_have(&MAY_HAVE);
    // A key may lie in a variable of any name.
    let keys = match &session.config.release.signing {
        Configured::Key { private, public } => vec![private, public],
        Configured::Off | Configured::Keyless(_) => Vec::new(),
    };
    let variables: Vec<&str> = keys.into_iter().filter_map(|key| key.strip_prefix("env://")).into_vec();
    Cosign::new(command.may_have(&variables), &session.shutdown)
}

/// Whose signature a release has to carry; `None` where it is not signed.
///
/// # Errors
/// A keyless signature whose identity nobody says.
pub fn expected(session: &Session) -> Result<Option<Signer>> {
    match &session.config.release.signing {
        Configured::Off => Ok(None),
        Configured::Key { public, .. } => Ok(Some(Signer::Key(public.clone()))),
        Configured::Keyless(said) => {
            let Keyless { identity, issuer, signing_config, trusted_root } = said.clone();
            let identity = identity.map_or_else(|| repository(session), Ok)?;
            let issuer = issuer.unwrap_or_else(|| GITHUB_ISSUER.to_owned());
            Ok(Some(Signer::Keyless { identity, issuer, signing_config, trusted_root }))
        }
    }
}

/// Whose signature proves that a content image was made by a run that was allowed to: a release's signer, since branches are signed by the
/// same workflow; `None` where nothing is signed.
///
/// # Errors
/// As [`expected`].
pub fn trusted(session: &Session) -> Result<Option<Signer>> {
    expected(session)
}

/// The workflow that `ci workflow` writes, run for a tag or for the default branch. Any workflow at any ref would be anybody's who may push
/// a branch.
fn repository(session: &Session) -> Result<String> {
    let remote = session.git().remote()?.ok_or_else(|| {
        Error::usage("[release] sign = \"keyless\" needs to know who signs")
            .hint("set `[release] identity` to a regular expression, or give the repository a git remote")
    })?;
    let (root, word) = (session.config.repository(&session.home), session.config.word());
    let branch = branch(root, &word, &session.env)?;
    Ok(generated(&remote, branch.as_deref(), &word))
}

/// The branch that the generated workflow pushes images of; `None` where nothing says. A job has no workflow files, since its checkout is of
/// what cargo needs, but an event.
fn branch(root: &Path, word: &str, env: &Env) -> Result<Option<String>> {
    match workflow::written(root, word)? {
        Some(written) => Ok(Some(written.branch)),
        None => trigger::default_branch(env),
    }
}

/// A text as a regular expression that it alone matches.
fn literal(text: &str) -> String {
    text.chars().flat_map(|c| [(c.is_ascii_punctuation() && !"-_/".contains(c)).then_some('\\'), Some(c)]).flatten().collect()
}

/// The expression of the identities under which the generated workflow of a repository runs. That of a workspace in a folder has the folder's
/// `word` in its name.
fn generated(remote: &Remote, branch: Option<&str>, word: &str) -> String {
    let words = [&remote.host, &remote.owner, &remote.name].map(|word| literal(word));
    let branch = branch.map_or_else(|| "(main|master)".to_owned(), literal);
    // A remote's letters may be written in either case.
    let of = if word.is_empty() { String::new() } else { format!("-{word}") };
    format!(r"(?i)^https://{}/\.github/workflows/(images|xtask){of}\.yml@refs/(tags/.+|heads/{branch})$", words.join("/"))
}

/// What signs a branch's images, where that can be done here: a laptop has no identity, and what it pushes a release builds again.
pub fn for_branch(session: &Session) -> Option<Signing> {
    match Signing::configured(session) {
        Ok(signing) => signing,
        Err(error) => {
            let hint = "a release builds what is not signed again".to_owned();
            session.events.notice(Level::Info, Some(Task::Publish), format!("these images are not signed: {error}"), Some(hint));
            None
        }
    }
}

/// Makes the signatures of one release.
pub struct Signing {
    cosign: Cosign,
    signs: Signer,
    expected: Signer,
}

impl Signing {
    /// What the configuration asks for; `None` where it asks for nothing. Called before anything is built.
    ///
    /// # Errors
    /// Where cosign is not installed, and as [`expected`].
    pub fn configured(session: &Session) -> Result<Option<Self>> {
        let Some(expected) = expected(session)? else { return Ok(None) };
        let cosign = cosign(session);
        if !cosign.is_there() {
            return Err(Error::failed("[release] sign is set, and cosign is not here")
                .hint("install cosign (sigstore.dev), or set `sign = false`; nothing was built or published"));
        }
        let signs = match &session.config.release.signing {
            Configured::Key { private, .. } => Signer::Key(private.clone()),
            _ if session.env.flag("GITHUB_ACTIONS") && !IDENTITY.iter().any(|name| session.env.get(name).is_some()) => {
                return Err(Error::failed("[release] sign = \"keyless\", and this job has no identity to sign with")
                    .hint("give it the permission `id-token: write`; nothing was built or published"));
            }
            _ => expected.clone(),
        };
        Ok(Some(Self { cosign, signs, expected }))
    }

    /// Signs every image of a publication of which a tag is to be put, unless it carries that signature: one that is carried forward does.
    ///
    /// # Errors
    /// When cosign fails, or what it signed does not verify.
    pub fn sign(&self, session: &Session, publication: &publish::Plan) -> Result<()> {
        let services: Vec<&ServicePlan> = publication.services.iter().filter(|service| service.changes()).into_vec();
        in_parallel(&services, |service| self.sign_one(session, service)).into_iter().collect()
    }

    fn sign_one(&self, session: &Session, service: &ServicePlan) -> Result<()> {
        let (repository, digest) = (service.source.without_reference(), service.manifest.digest());
        if service.new {
            // cosign reads what it signs.
            session.registry.put_manifest(&repository.with_digest(digest.clone()), &service.manifest)?;
        } else if self.cosign.verify(&repository, digest, &self.expected).is_ok() {
            return Ok(());
        }
        session.shutdown.check()?;
        session.events.doing(&Task::Publish, format!("signing {}", service.service));
        self.cosign.sign(&repository, digest, &self.signs)?;
        self.cosign.verify(&repository, digest, &self.expected).map_err(|error| {
            Error::failed(format!("{repository}@{digest} was signed, and the signature does not verify: {error}"))
                .hint("do `sign` and `public-key`, or `identity` and `issuer`, belong together?")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::execute::shutdown::Shutdown;

    #[test]
    fn only_the_generated_workflow_for_a_tag_or_the_default_branch_of_this_repository_is_trusted() {
        let remote = Remote::parse("git@github.com:org/my.shop.git").unwrap();
        let matches = |branch: Option<&str>, word: &str, identity: &str| {
            // The syntax is that of Go's library, which grep's extended one shares here, but for how letters are said to be alike.
            let pattern = generated(&remote, branch, word);
            let pattern = pattern.strip_prefix("(?i)").unwrap();
            let grep = Invocation::new("grep").args(["--extended-regexp", "--ignore-case", "--quiet", "--", pattern]);
            grep.stdin(format!("https://{identity}\n")).read(&Shutdown::new()).is_ok()
        };
        let good = "github.com/Org/my.shop/.github/workflows";
        for (branch, identity, trusted) in [
            (None, format!("{good}/images.yml@refs/tags/v1.0.0"), true),
            (None, format!("{good}/xtask.yml@refs/heads/main"), true),
            (Some("trunk"), format!("{good}/xtask.yml@refs/heads/trunk"), true),
            (Some("trunk"), format!("{good}/xtask.yml@refs/heads/main"), false),
            (Some("v1.x+(new)"), format!("{good}/xtask.yml@refs/heads/v1.x+(new)"), true),
            (Some("v1.x+(new)"), format!("{good}/xtask.yml@refs/heads/v1xx(new)"), false),
            (None, format!("{good}/images.yml@refs/heads/feature"), false),
            (None, format!("{good}/images.yml@refs/heads/main2"), false),
            (None, format!("{good}/images.yml@refs/pull/7/merge"), false),
            (None, format!("{good}/preview.yml@refs/tags/v1.0.0"), false),
            (None, "github.com/org/other/.github/workflows/images.yml@refs/tags/v1.0.0".to_owned(), false),
            (None, "github.com/org/my-shop/.github/workflows/images.yml@refs/tags/v1.0.0".to_owned(), false),
            (None, format!("example.org/{good}/images.yml@refs/tags/v1.0.0"), false),
        ] {
            assert_eq!(matches(branch, "", &identity), trusted, "{identity} for {branch:?}");
        }
        for (name, trusted) in [("xtask-backend", true), ("images-backend", true), ("xtask", false), ("xtask-frontend", false)] {
            assert_eq!(matches(None, "backend", &format!("{good}/{name}.yml@refs/tags/v1.0.0")), trusted, "{name}");
            assert!(!matches(None, "", &format!("{good}/{name}.yml@refs/tags/v1.0.0")) || name == "xtask", "{name}");
        }
    }
    #[test]
    fn the_branch_is_the_workflow_files_or_the_events_where_a_job_has_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let event = dir.path().join("event.json");
        std::fs::write(&event, r#"{"repository": {"default_branch": "trunk"}}"#).unwrap();
        let shell = Env::new(dir.path(), []);
        assert_eq!(branch(dir.path(), "", &shell).unwrap(), None);
        let job = shell.with("GITHUB_ACTIONS", "true").with("GITHUB_EVENT_PATH", event.to_str().unwrap());
        assert_eq!(branch(dir.path(), "", &job).unwrap().as_deref(), Some("trunk"));
        let options = workflow::Options { branch: "develop".to_owned(), ..Default::default() };
        workflow::write(dir.path(), &options, false).unwrap();
        assert_eq!(branch(dir.path(), "", &job).unwrap().as_deref(), Some("develop"));
    }
}
