//! Lets build steps trust the certificate authorities that this machine's tools were told to trust. Where a company's proxy looks into TLS,
//! no step that downloads works without them, and Dockerfiles of others do not ask for a secret. No layer and no image has a trace of it:
//! the files are mounted below `/dev`, which each step has in memory, and the variables are set for the step's processes alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result, write_atomically};
use monoship_docker::engine::{CA_VARIABLES, ca_bundle};

use super::apt::make_executable;
use super::layout::Layout;

/// Where a step finds the files.
const IN_STEP: &str = "/dev/xtask-trust";

/// Variables that name a bundle of certificates, with the file that each names on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust(Vec<(&'static str, PathBuf)>);

impl Trust {
    /// What the environment names: each variable as it is set here. Node's has the bundle in any case, since `npm` and `pnpm` read no other.
    /// Nothing where no variable names a file; the defaults are good then.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let named = |name: &&str| env.get(name).map(|file| env.cwd.join(file)).filter(|file| file.is_file());
        let all = CA_VARIABLES.iter().map(|name| (*name, if *name == CA_VARIABLES[0] { ca_bundle(env) } else { named(name) }));
        Self(all.filter_map(|(name, file)| Some((name, file?))).into_vec())
    }

    /// Puts the files where the engine's steps are given them, and says which program is to start these in place of runc; `None` where there is
    /// nothing to trust.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(super) fn hand_over(&self, layout: &Layout) -> Result<Option<PathBuf>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let folder = layout.run().join("trust");
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        for (name, file) in &self.0 {
            let certificates = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
            write_atomically(&folder.join(name), &certificates)?;
        }
        let starter = layout.run().join("start-step");
        write_atomically(&starter, self.starter(&folder).as_bytes())?;
        make_executable(&starter)?;
        Ok(Some(starter))
    }

    /// BuildKit calls it as it would call runc, after it has written the step's `config.json` (opencontainers/runtime-spec): one line by Go's
    /// encoder, in which a quote inside of a text is escaped. So `"env":[` is the process's list and nothing else. What a Dockerfile sets
    /// comes later in that list, and wins.
    fn starter(&self, folder: &Path) -> String {
        let set = self.0.iter().fold(String::new(), |mut set, (name, _)| {
            let _ = write!(set, r#""{name}={IN_STEP}/{name}","#);
            set
        });
        let mount = format!(
            r#"{{"destination":"{IN_STEP}","type":"bind","source":"{}","options":["bind","ro","nosuid","nodev","noexec"]}}"#,
            folder.display()
        );
        format!(
            r#"#!/bin/sh
# Adds the certificate authorities of this machine to a build step, and starts it.
word=
for next; do
  if [ "$word" = --bundle ]; then
    busybox sed -i -e 's|"env":\[|&{set}|' -e 's|{{"destination":"/dev",[^}}]*}}|&,{mount}|' "$next/config.json"
  fi
  word=$next
done
exec runc "$@"
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_is_given_as_it_is_set_here_and_nodes_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
        std::fs::write(dir.path().join("all.pem"), "y").unwrap();
        let env = Env::new(dir.path(), []);
        assert_eq!(Trust::of(&env), Trust::default());
        assert_eq!(Trust::of(&env.clone().with("SSL_CERT_FILE", "/nowhere.pem")), Trust::default());
        let (own, all) = (dir.path().join("ca.pem"), dir.path().join("all.pem"));
        let both = env.clone().with("NODE_EXTRA_CA_CERTS", "ca.pem").with("SSL_CERT_FILE", "all.pem");
        assert_eq!(Trust::of(&both).0, [("NODE_EXTRA_CA_CERTS", own), ("SSL_CERT_FILE", all.clone())]);
        let curls = env.with("CURL_CA_BUNDLE", all.to_str().unwrap());
        assert_eq!(Trust::of(&curls).0, [("NODE_EXTRA_CA_CERTS", all.clone()), ("CURL_CA_BUNDLE", all)]);
    }
}
