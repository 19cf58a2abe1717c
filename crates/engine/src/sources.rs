//! The machine's apt sources, read so that the engine's packages come from the mirror this machine already trusts. Pure
//! functions on text: who reads the files and runs apt is [`super::apt`].

use std::fmt::Write as _;

use monoship_core::collect::Collect as _;

/// One deb822 stanza or one `deb …` line: what we keep of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    /// A keyring's path, or a key block as it stood (deb822 allows that). `None`: the keyrings in `trusted.gpg.d`.
    signed_by: Option<String>,
}

/// The distribution, from `os-release` (see os-release(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// `debian` or `ubuntu`; derivatives count as what they derive from.
    pub family: Family,
    /// The release's code name: `bookworm`, `noble`.
    pub codename: String,
}

/// The distributions whose packages we know the names of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Debian and derivatives.
    Debian,
    /// Ubuntu and derivatives.
    Ubuntu,
}

impl Distribution {
    /// From the text of `/etc/os-release`. `None` for any other family, or where no code name is given.
    #[must_use]
    pub fn parse(os_release: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
        };
        let ids = [value("ID"), value("ID_LIKE")].into_iter().flatten().into_vec().join(" ");
        let is = |id: &str| ids.split_whitespace().any(|word| word == id);
        let (family, codename) = match (is("ubuntu"), is("debian")) {
            (true, _) => (Family::Ubuntu, value("UBUNTU_CODENAME").or_else(|| value("VERSION_CODENAME"))?),
            (false, true) => (Family::Debian, value("DEBIAN_CODENAME").or_else(|| value("VERSION_CODENAME"))?),
            (false, false) => return None,
        };
        Some(Self { family, codename })
    }

    /// Ubuntu keeps the engine in `universe`.
    fn components(&self) -> &'static [&'static str] {
        match self.family {
            Family::Debian => &["main"],
            Family::Ubuntu => &["main", "universe"],
        }
    }

    fn family_name(&self) -> &'static str {
        match self.family {
            Family::Debian => "debian",
            Family::Ubuntu => "ubuntu",
        }
    }
}

/// Reads a `.sources` file: stanzas of `Field: value`, continuation lines indented, `#` comments (see sources.list(5)).
/// Disabled stanzas and source-only ones are left out.
#[must_use]
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).into_vec();
    lines.split(|line| line.trim().is_empty()).filter_map(stanza).into_vec()
}

fn stanza(lines: &[&str]) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push('\n');
            value.push_str(line);
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let value = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words = |name: &str| value(name).unwrap_or("").split_whitespace().map(str::to_owned).into_vec();
    let enabled = !value("enabled").is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "no" | "false" | "0"));
    if !enabled || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let signed_by = value("signed-by").filter(|v| !v.is_empty()).map(str::to_owned);
    Some(Source { uris: words("uris"), suites: words("suites"), components: words("components"), signed_by })
}

/// Reads a `sources.list`: `deb [option=value …] uri suite component…`, `#` comments (see sources.list(5)).
#[must_use]
pub fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(|line| one_line(line.split('#').next().unwrap_or(""))).into_vec()
}

fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source {
        uris: vec![uri],
        suites: vec![suite],
        components: words.into_vec(),
        signed_by: signed_by.map(|paths| paths.replace(',', " ")),
    })
}

/// The sources of the machine's own release (with its updates and security updates), and the base to derive another
/// suite's from. Repositories of others that use the same code name as their suite are told apart by their keyring and path.
///
/// `None` where no source names this release.
#[must_use]
pub fn own_release(sources: &[Source], distribution: &Distribution) -> Option<(Vec<Source>, Source)> {
    let aliases = ["stable", "testing", "unstable", "sid", "oldstable", "devel"];
    let ours: Vec<(u8, &Source)> = sources.iter().filter_map(|s| Some((trust(s, distribution)?, s))).into_vec();
    let best = ours.iter().map(|(score, _)| *score).max()?;
    let ours = || ours.iter().filter(|(score, _)| *score == best).map(|(_, source)| *source);
    let has = |name: &str| ours().any(|s| s.suites.iter().any(|suite| suite == name));
    let codename = distribution.codename.as_str();
    let name = if has(codename) { codename } else { aliases.into_iter().find(|alias| has(alias))? };
    let wanted = [name.to_owned(), format!("{name}-updates"), format!("{name}-security")];
    let own: Vec<Source> = ours().filter_map(|s| s.narrowed(|suite| wanted.iter().any(|w| w == suite), distribution)).into_vec();
    let base = ours().find(|s| s.suites.iter().any(|suite| suite == name))?.clone();
    Some((own, base))
}

/// How sure it is that a source is the distribution's own; `None` where it cannot be.
fn trust(source: &Source, distribution: &Distribution) -> Option<u8> {
    let family = distribution.family_name();
    let by_key = match source.signed_by.as_deref() {
        Some(key) if key.contains(&format!("{family}-archive")) => 2,
        None => 1,
        Some(key) if key.contains("BEGIN PGP") => 1,
        Some(_) => 0,
    };
    let has_component = source.components.iter().any(|c| c == "main");
    let fetchable = |uri: &String| !uri.starts_with("cdrom:");
    if !has_component || !source.uris.iter().any(fetchable) {
        return None;
    }
    let by_path = u8::from(source.uris.iter().any(|uri| uri.contains(family)));
    Some(by_key + by_path).filter(|score| *score > 0)
}

impl Source {
    /// The file with the keys that it is checked by, where it names one.
    #[must_use]
    pub fn keyring(&self) -> Option<&str> {
        self.signed_by.as_deref().filter(|keys| keys.starts_with('/') && !keys.contains([' ', '\n']))
    }

    fn narrowed(&self, keep: impl Fn(&str) -> bool, distribution: &Distribution) -> Option<Self> {
        let suites: Vec<String> = self.suites.iter().filter(|suite| keep(suite)).cloned().into_vec();
        if suites.is_empty() {
            return None;
        }
        Some(self.with_suites(suites, distribution))
    }

    /// The same mirror and keys with other suites, and only the components we need.
    #[must_use]
    pub fn with_suites(&self, suites: Vec<String>, distribution: &Distribution) -> Self {
        let components = distribution.components().iter().map(|c| (*c).to_owned()).into_vec();
        let uris = self.uris.iter().filter(|uri| !uri.starts_with("cdrom:")).cloned().into_vec();
        Self { uris, suites, components, signed_by: self.signed_by.clone() }
    }

    /// As a deb822 stanza. `Trusted: yes` is never carried over: apt checks signatures here whatever the machine allows.
    #[must_use]
    pub fn to_deb822(&self) -> String {
        let mut text = String::new();
        let fields = [("URIs", &self.uris), ("Suites", &self.suites), ("Components", &self.components)];
        text.push_str("Types: deb\n");
        for (name, words) in fields {
            writeln!(text, "{name}: {}", words.join(" ")).expect("writing to a String cannot fail");
        }
        if let Some(key) = &self.signed_by {
            writeln!(text, "Signed-By: {key}").expect("writing to a String cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_CODENAME=bookworm\n";
    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    fn debian() -> Distribution {
        Distribution::parse(DEBIAN).unwrap()
    }

    #[test]
    fn derivatives_count_as_what_they_derive_from() {
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=xia\nUBUNTU_CODENAME=noble\n";
        let mint = Distribution::parse(mint).unwrap();
        assert_eq!((mint.family, mint.codename.as_str()), (Family::Ubuntu, "noble"));
        assert_eq!(debian().family, Family::Debian);
        assert_eq!(Distribution::parse("ID=fedora\nVERSION_CODENAME=\n"), None);
    }

    #[test]
    fn both_formats_read_alike_and_others_repositories_are_left_out() {
        let deb822 = format!(
            "# a comment\nTypes: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
             Components: main contrib\nSigned-By: {KEYRING}\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/debian\n\
             Suites: bookworm\nComponents: main\n\nTypes: deb\nURIs: https://vendor.example/debian\nSuites: bookworm\n\
             Components: main\nSigned-By: /usr/share/keyrings/vendor.gpg\n"
        );
        let lines = format!(
            "deb cdrom:[x]/ bookworm main\ndeb-src http://mirror.example/debian bookworm main\n\
             deb [arch=amd64 signed-by={KEYRING}] http://mirror.example/debian bookworm main contrib # ours\n\
             deb [signed-by={KEYRING}] http://mirror.example/debian bookworm-updates main contrib\n\
             deb [signed-by=/k/vendor.gpg] https://vendor.example/debian bookworm main\n"
        );
        for sources in [parse_deb822(&deb822), parse_one_line(&lines)] {
            let (own, base) = own_release(&sources, &debian()).unwrap();
            let suites: Vec<&str> = own.iter().flat_map(|s| &s.suites).map(String::as_str).collect();
            assert_eq!(suites, ["bookworm", "bookworm-updates"]);
            assert!(own.iter().all(|s| s.uris == ["http://mirror.example/debian"] && s.components == ["main"]));
            assert_eq!(
                base.with_suites(vec!["testing".into()], &debian()).to_deb822(),
                format!(
                    "Types: deb\nURIs: http://mirror.example/debian\nSuites: testing\nComponents: main\nSigned-By: {KEYRING}\n"
                )
            );
        }
    }

    #[test]
    fn a_machine_that_follows_an_alias_is_understood_and_security_comes_along() {
        let lines = "deb http://m.example/debian testing main\ndeb http://m.example/debian-security testing-security main\n";
        let forky = Distribution { codename: "forky".into(), ..debian() };
        let (own, _) = own_release(&parse_one_line(lines), &forky).unwrap();
        assert_eq!(own.len(), 2);
        assert_eq!(own_release(&parse_one_line("deb http://m.example/other nodistro main"), &forky), None);
        assert_eq!(own_release(&[], &forky), None);
    }

    #[test]
    fn a_key_in_the_stanza_is_kept_as_it_stands() {
        let text = "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n\
                    Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let (own, _) = own_release(&parse_deb822(text), &debian()).unwrap();
        assert!(own[0].to_deb822().contains("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"));
        assert_eq!(parse_deb822(&own[0].to_deb822()), own);
    }

    #[test]
    fn malformed_sources_are_no_sources() {
        for text in ["deb", "deb [x", "deb [x] http://a", "debx http://a b main", "Types deb\n  x", " lost\n"] {
            assert_eq!((parse_one_line(text), parse_deb822(text)), (vec![], vec![]), "{text}");
        }
    }
}
