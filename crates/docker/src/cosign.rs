//! Signatures, made and checked by `cosign` where it is installed. Always over a digest, never a tag.

use std::fmt;
use std::time::Duration;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};

/// Keyless signing waits for a certificate and a log entry.
const LIMIT: Duration = Duration::from_mins(2);

/// Whose signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A key pair: a file, or a key service's URL as cosign takes it. The transparency log is left out: a key needs no witness.
    Key(String),
    /// An identity that an OpenID issuer vouches for, as regular expressions.
    Keyless {
        /// For example `https://github.com/org/repo/.*`.
        identity: String,
        /// For example `https://token.actions.githubusercontent.com`.
        issuer: String,
        /// The file with the services of a private instance; `None`: those that cosign knows, the public instance's.
        signing_config: Option<String>,
        /// The file with their keys and certificates.
        trusted_root: Option<String>,
    },
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Keyless { identity, .. } => f.write_str(identity),
        }
    }
}

/// The `cosign` command, with the variables of the registry's clients.
#[derive(Clone)]
pub struct Cosign {
    command: Invocation,
    shutdown: Shutdown,
}

impl Cosign {
    /// Uses this command, for example `Invocation::new("cosign").env("DOCKER_CONFIG", …)`.
    #[must_use]
    pub fn new(command: Invocation, shutdown: &Shutdown) -> Self {
        Self { command, shutdown: shutdown.clone() }
    }

    /// True where it can be started.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.command.clone().arg("version").timeout(LIMIT).run(&self.shutdown).is_ok_and(|output| output.success())
    }

    /// Signs an image.
    ///
    /// # Errors
    /// When cosign is not there, fails, or takes more than two minutes.
    pub fn sign(&self, image: &ImageRef, digest: &Digest, signer: &Signer) -> Result<()> {
        let words = match signer {
            // From 2.6 a signing configuration is preferred, and from 3.0 it is the default and contradicts leaving out the log.
            Signer::Key(key) if self.knows_signing_config()? => {
                vec!["sign", "--yes", "--use-signing-config=false", "--tlog-upload=false", "--key", key]
            }
            Signer::Key(key) => vec!["sign", "--yes", "--tlog-upload=false", "--key", key],
            Signer::Keyless { signing_config, trusted_root, .. } => {
                let files = [("--signing-config", signing_config), ("--trusted-root", trusted_root)];
                [&["sign", "--yes"][..], &given(&files)].concat()
            }
        };
        self.run(&words, image, digest)
    }

    /// Distributions build it without a version number, so its help has to tell.
    fn knows_signing_config(&self) -> Result<bool> {
        let output = self.command.clone().args(["sign", "--help"]).timeout(LIMIT).run(&self.shutdown)?;
        Ok(output.text().contains("--use-signing-config"))
    }

    /// Checks that an image is signed so.
    ///
    /// # Errors
    /// When it is not, or cosign cannot tell.
    pub fn verify(&self, image: &ImageRef, digest: &Digest, signer: &Signer) -> Result<()> {
        let words = match signer {
            Signer::Key(key) => vec!["verify", "--insecure-ignore-tlog=true", "--key", key],
            Signer::Keyless { identity, issuer, trusted_root, .. } => {
                let who = ["verify", "--certificate-identity-regexp", identity, "--certificate-oidc-issuer-regexp", issuer];
                [&who[..], &given(&[("--trusted-root", trusted_root)])].concat()
            }
        };
        self.run(&words, image, digest)
    }

    fn run(&self, words: &[&str], image: &ImageRef, digest: &Digest) -> Result<()> {
        let target = image.without_reference().with_digest(digest.clone()).to_string();
        let invocation = self.command.clone().args(words.iter().copied()).arg(target).timeout(LIMIT);
        let output = invocation.run(&self.shutdown)?;
        if output.success() {
            return Ok(());
        }
        // cosign says much; the last line is the reason.
        let said = output.error_tail();
        let reason = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        Err(Error::failed(format!(
            "cosign {}: {}",
            words[0],
            reason.trim().rsplit("error during command execution: ").next().unwrap_or_default()
        )))
    }
}

/// The flags that have a value.
fn given<'a>(flags: &[(&'a str, &'a Option<String>)]) -> Vec<&'a str> {
    flags.iter().filter_map(|(flag, value)| Some([*flag, value.as_deref()?])).flatten().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_digest_is_signed_and_checked_and_the_reason_of_a_refusal_is_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("cosign");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {}/calls\n[ \"$2\" = --help ] && echo ' --key=x'\nif [ \"$1\" = verify ]; then echo main.go: noise >&2; echo 'Error: error during command execution: no signatures found' >&2; exit 10; fi\n",
            dir.path().display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let cosign = Cosign::new(Invocation::new(&program), &Shutdown::new());
        let image: ImageRef = "ghcr.io/o/r/api:v1".parse().unwrap();
        let digest = Digest::of(b"");
        assert!(cosign.is_there());
        cosign.sign(&image, &digest, &Signer::Key("k.key".to_owned())).unwrap();
        let [identity, issuer, config] = ["https://i/.*", "https://t", "c.json"].map(str::to_owned);
        let keyless = Signer::Keyless { identity, issuer, signing_config: Some(config), trusted_root: None };
        cosign.sign(&image, &digest, &keyless).unwrap();
        let error = cosign.verify(&image, &digest, &keyless).unwrap_err();
        assert_eq!(error.to_string(), "cosign verify: no signatures found");
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        let expected = format!(
            "version\nsign --help\nsign --yes --tlog-upload=false --key k.key ghcr.io/o/r/api@{digest}\nsign --yes --signing-config c.json ghcr.io/o/r/api@{digest}\nverify --certificate-identity-regexp https://i/.* --certificate-oidc-issuer-regexp https://t ghcr.io/o/r/api@{digest}\n"
        );
        assert_eq!(calls, expected);
        let absent = Cosign::new(Invocation::new(dir.path().join("none")), &Shutdown::new());
        assert!(!absent.is_there());
    }
}
