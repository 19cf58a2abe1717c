//! Understanding `xtask.toml` and the `XTASK_*` variables that overrule it, with errors that show file, line and nearest key.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::arguments::{EPOCH, epoch};
use crate::config::validated::{Config, validate};
use crate::config::written::Written;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Carried, Error, Result};
use monoship_core::fault;
use monoship_core::name::{ImageRef, nearest};
use monoship_core::sorted::SortedMap;
use monoship_workspace::package::unfinished_merge;

/// Variables that start with `XTASK_` and are not keys of the file.
const RESERVED: [&str; 3] = ["XTASK_CACHE_DIR", "XTASK_ENGINE_DATA", "XTASK_RETRY_WAIT"];

/// The sections a variable can name.
const SECTIONS: [&str; 10] = ["images", "base", "cache", "attest", "checkout", "release", "builders", "stats", "gates", "notify"];

/// Understands the text of a file, none where it is missing, overlays `XTASK_<SECTION>_<KEY>` variables, and validates. `file` is for errors
/// only; `remote` is the registry and namespace that the git remote suggests.
///
/// # Errors
/// Malformed TOML, an unknown key, a value of the wrong type or meaning: with file, line, value and, where one is near, the key that was meant.
pub fn of_text(
    file: &Path,
    text: Option<&str>,
    env: &Env,
    remote: &dyn Fn() -> Result<Option<(String, String)>>,
) -> Result<Config> {
    let mut written: Written = text.map(|text| parse(file, text)).transpose()?.unwrap_or_default();
    let variables: Vec<_> = variables(env).into_vec();
    if !variables.is_empty() {
        // The file and each variable have been understood by themselves, so that an error names its place; what they come to together is
        // understood from their tables, and no key is listed for that.
        let mut merged: toml::Table = text.map(|text| parse(file, text)).transpose()?.unwrap_or_default();
        for (name, value) in variables {
            overlay(&mut merged, from_variable(name, value)?);
        }
        written = understood(&merged).map_err(|error| explained(error.message()).at(file, None))?;
    }
    // buildx takes it for `--platform` where none is given, so it decides what is built.
    if let Some(platform) = env.get("DOCKER_DEFAULT_PLATFORM").filter(|_| written.images.platforms.is_none()) {
        let platform = platform.parse().map_err(|e| Error::usage(format!("variable DOCKER_DEFAULT_PLATFORM: {e}")))?;
        written.images.platforms = Some(vec![platform]);
    }
    env.get(EPOCH).map(epoch).transpose()?;
    // Git is asked only where the answer counts: a namespace of one part does not say what the repository is called.
    let named = written.images.registry.is_some() && written.images.namespace.as_ref().is_some_and(|name| name.contains('/'));
    // A repository may have a name that no image can have; then its images are not called after it.
    let can_be = |(registry, namespace): &(String, String)| format!("{registry}/{namespace}").parse::<ImageRef>().is_ok();
    let remote = if named { None } else { remote()?.filter(can_be) };
    let places = text.filter(|text| text.contains("service:")).map(places).unwrap_or_default();
    let placed = |mut config: Config| {
        for service in &mut config.services {
            service.context_lines = places.get(service.name.as_str()).cloned().unwrap_or_default();
        }
        Config { file: file.to_owned(), ..config }
    };
    validate(written, env, remote).map(placed).map_err(|error| {
        let line = text.and_then(|text| line_of(text, &error.to_string()));
        match variable_of(env, &error.to_string()).filter(|_| line.is_none()) {
            Some(variable) => of_variable(variable, &error),
            None => error.at(file, line),
        }
    })
}

/// The lines that have the contexts of services, by service and context: what is wrong with one can depend on all services, which are found
/// later.
fn places(text: &str) -> SortedMap<String, SortedMap<String, usize>> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        service: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        #[serde(default)]
        contexts: SortedMap<String, toml::Spanned<toml::Value>>,
    }
    let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
    let services = toml::from_str::<Document>(text).map(|document| document.service).unwrap_or_default();
    let lines = |contexts: SortedMap<String, toml::Spanned<toml::Value>>| {
        contexts.into_iter().map(|(name, source)| (name, line(source.span().start))).into_map()
    };
    services.into_iter().map(|service| (service.name, lines(service.contexts))).into_map()
}

/// The variables that stand for keys, with their values.
fn variables(env: &Env) -> impl Iterator<Item = (&str, &str)> {
    env.vars().filter(|(name, _)| name.starts_with("XTASK_") && !RESERVED.contains(name))
}

/// The variable that has the value which an error quotes, alone or as an item of a list.
fn variable_of<'e>(env: &'e Env, error: &str) -> Option<&'e str> {
    let quoted = quoted_in(error)?;
    let item = format!("\"{quoted}\"");
    variables(env).find(|(_, value)| value.trim_end_matches('/') == quoted || value.contains(&item)).map(|(name, _)| name)
}

/// What an error quotes first: the value that it is about.
fn quoted_in(error: &str) -> Option<&str> {
    error.split('`').nth(1)
}

/// The same error, about what a variable holds.
fn of_variable(name: &str, error: &Error) -> Error {
    let shown = Error::usage(format!("variable {name}: {error}"));
    match error.hint_text() {
        Some(hint) => shown.hint(hint),
        None => shown,
    }
}

/// The line of the text that has the value which an error quotes, where one alone has it; the last of those that have what stands there twice.
fn line_of(text: &str, error: &str) -> Option<usize> {
    let quoted = quoted_in(error).filter(|quoted| !quoted.is_empty())?;
    let has_it = |line: &str| line.contains(quoted) && !line.trim_start().starts_with('#');
    let lines: Vec<usize> = text.lines().enumerate().filter(|(_, line)| has_it(line)).map(|(at, _)| at + 1).into_vec();
    match lines[..] {
        [one] => Some(one),
        [.., last] if error.contains("twice") => Some(last),
        _ => None,
    }
}

fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        if let Some(error) = unfinished_merge(text, file) {
            return error;
        }
        let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let at = error.span().and_then(|span| text.get(span)).map(str::trim).filter(|at| !at.is_empty());
        let explained = match (error.message(), at) {
            // Its parser points at the key, and does not name it.
            ("duplicate key", Some(key)) => explained(&format!("duplicate key `{key}`")).hint("leave one of them"),
            (message, _) => explained(message),
        };
        explained.at(file, line)
    })
}

/// `XTASK_CACHE_GHA=false` as the document `[cache] gha = false`. A value that is not TOML is a string.
fn from_variable(name: &str, value: &str) -> Result<toml::Table> {
    let lower = name["XTASK_".len()..].to_ascii_lowercase();
    let (section, key) = lower.split_once('_').unwrap_or((&lower, ""));
    if !SECTIONS.contains(&section) || key.is_empty() {
        let meant = nearest(section, SECTIONS).map(|near| format!("did you mean `XTASK_{}_…`?", near.to_ascii_uppercase()));
        let hint = meant.unwrap_or_else(|| "a variable is XTASK_<SECTION>_<KEY>, for example XTASK_IMAGES_REGISTRY".to_owned());
        return Err(Error::usage(format!("variable {name}: it matches no key of xtask.toml")).hint(hint));
    }
    let key = key.replace('_', "-");
    let document = |value: toml::Value| {
        toml::Table::from_iter([(section.to_owned(), toml::Table::from_iter([(key.clone(), value)]).into())])
    };
    // A line end could smuggle in a second key, so such a value is only ever a string.
    let bare = (!value.contains('\n')).then(|| toml::from_str(&format!("value = {value}")).ok()).flatten();
    let bare = bare.and_then(|mut table: toml::Table| table.remove("value")).map(&document);
    let quoted = document(toml::Value::String(value.to_owned()));
    if let Some(bare) = bare.filter(|bare| understood(bare).is_ok()) {
        return Ok(bare);
    }
    understood(&quoted).map(|_| quoted).map_err(|error| of_variable(name, &explained(error.message())))
}

/// By way of its text: what reads a document's text is there anyway, and what reads its values would be compiled beside it.
fn understood(document: &toml::Table) -> std::result::Result<Written, toml::de::Error> {
    toml::from_str(&document.to_string())
}

/// Each key of each section of `top` takes the place of the one that is there.
fn overlay(below: &mut toml::Table, top: toml::Table) {
    for (section, keys) in top {
        match (below.get_mut(&section), keys) {
            (Some(toml::Value::Table(there)), toml::Value::Table(keys)) => there.extend(keys),
            (_, keys) => drop(below.insert(section, keys)),
        }
    }
}

/// Turns serde's message for an unknown key into ours, with the nearest known one.
fn explained(message: &str) -> Error {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(unknown) = quoted.next()
    {
        let known: Vec<&str> = quoted.into_vec();
        let hint = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys here: {}", known.join(", ")),
        };
        return Error::usage(format!("unknown key `{unknown}`")).hint(hint);
    }
    let hint = message.split_once(Carried::HINT).and_then(|(_, hint)| hint.lines().next());
    let error = Error::usage(fault::words(message.trim_end()));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Provenance, Switch};

    fn load_text(text: &str, vars: &[(&str, &str)]) -> Result<Config> {
        let env = Env::new("/", vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        of_text(Path::new("/xtask.toml"), Some(text), &env, &|| Ok(Some(("ghcr.io".to_owned(), "org/repo".to_owned()))))
    }

    fn error(text: &str) -> (String, String) {
        let error = load_text(text, &[]).unwrap_err();
        let shown = error.to_string();
        (shown[shown.find("xtask.toml").unwrap()..].to_owned(), error.hint_text().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_wrong_value_is_said_of_where_it_stands_the_file_s_line_or_its_own_variable() {
        let said = |text: &str, vars: &[(&str, &str)]| load_text(text, vars).unwrap_err().to_string();
        let url = ("XTASK_IMAGES_REGISTRY", "https://ghcr.io/");
        let about = "[images] registry: `https://ghcr.io` is a URL, not a host";
        assert_eq!(said("", &[url]), format!("variable XTASK_IMAGES_REGISTRY: {about}"));
        assert_eq!(said("[images]\nregistry = \"https://ghcr.io\"\n", &[]), format!("/xtask.toml:2: {about}"));
        // A variable that only happens to have the quoted text in it is not to blame, nor one that stands for no key.
        let others =
            [("XTASK_CACHE_DIR", "namespace"), ("XTASK_IMAGES_LOCAL", "a/namespaces"), ("XTASK_IMAGES_NAMESPACE", "Org/repo")];
        let capitals = "[images] namespace `Org/repo` has capital letters";
        assert!(said("", &others).starts_with(&format!("variable XTASK_IMAGES_NAMESPACE: {capitals}")), "{}", said("", &others));
        let twice = "[[service]]\nname = \"a\"\n[[service]]\nname = \"a\"\n";
        assert!(said(twice, &[("XTASK_IMAGES_LOCAL", "shop/a"), ("XTASK_CACHE_DIR", "a")]).starts_with("/xtask.toml:"));
    }

    #[test]
    fn an_empty_file_has_the_names_of_the_git_remote() {
        let config = load_text("", &[]).unwrap();
        assert_eq!(config.images.prefix.unwrap().to_string(), "ghcr.io/org/repo");
        assert_eq!(config.cache.repository.unwrap().to_string(), "ghcr.io/org/repo/cache");
        // GitHub takes names that no image can have.
        for name in ["org/my.site-", "org/_x", "org/a..b"] {
            let remote = || Ok(Some(("ghcr.io".to_owned(), name.to_owned())));
            let of = |text: &str| of_text(Path::new("/xtask.toml"), Some(text), &Env::new("/", []), &remote);
            assert!(of("").unwrap().images.prefix.is_none(), "{name}");
            assert!(of("[images]\nregistry = 'ghcr.io'\n").unwrap_err().to_string().contains("`namespace` is not set"), "{name}");
        }
    }

    #[test]
    fn no_phrase_of_tomls_parser_is_left_as_it_is() {
        let cases = [
            ("a = \"x\n", "a string ends with its line: a `\"` is missing"),
            ("a = 'x\n", "a string ends with its line: a `'` is missing"),
            ("a: 1\n", "a `=` is missing between a key and its value"),
            ("a = [\"1\" \"2\"]\n", "a `,` is missing between the items of a list"),
            ("a = { b = 1 c = 2 }\n", "a `,` belongs here"),
            ("a = [1\n", "a list does not end: a `]` is missing"),
            ("a = { b = 1\n", "a table does not end: a `}` is missing"),
            ("[a\n", "a `]` is missing after the section's name"),
            ("a = 1\na = 2\n", "this key is set twice"),
        ];
        let said = cases.map(|(text, _)| fault::words(toml::from_str::<toml::Table>(text).unwrap_err().message()));
        assert_eq!(said.each_ref().map(String::as_str), cases.map(|(_, expected)| expected));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        let (shown, hint) = error("[images]\nregistry = 'ghcr.io'\nnamepsace = 'a/b'\n");
        assert_eq!((shown.as_str(), hint.as_str()), ("xtask.toml:3: unknown key `namepsace`", "did you mean `namespace`?"));
        let (shown, hint) = error("[chache]\ngha = true\n");
        assert_eq!((shown.as_str(), hint.as_str()), ("xtask.toml:1: unknown key `chache`", "did you mean `cache`?"));
    }

    #[test]
    fn a_key_and_a_section_that_are_there_twice_are_named() {
        for (text, said) in [("[gates]\nx = 1\n[gates]\n", "3: `gates`"), ("a = 1\na = 2\n", "2: `a`")] {
            let (shown, hint) = error(text);
            assert_eq!((shown, hint.as_str()), (format!("xtask.toml:{said} is set twice"), "leave one of them"));
        }
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_shown_with_its_line() {
        let (shown, _) = error("# image-size = '200 bananas'\n[gates]\nimage-size = '200 bananas'\n");
        assert!(shown.starts_with("xtask.toml:3: ") && shown.contains("`200 bananas`"), "{shown}");
        let (shown, _) = error("[gates]\nimage-size = 'big'\nwasted-bytes = 'big'\n");
        assert!(shown.starts_with("xtask.toml: "), "which of the two is not known: {shown}");
    }

    #[test]
    fn the_platform_of_the_users_client_counts_where_none_is_configured() {
        let vars = [("DOCKER_DEFAULT_PLATFORM", "linux/arm64")];
        let platforms =
            |text: &str| load_text(text, &vars).unwrap().images.platforms.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(platforms(""), ["linux/arm64"]);
        assert_eq!(platforms("[images]\nplatforms = ['linux/amd64']\n"), ["linux/amd64"]);
        let error = load_text("", &[("DOCKER_DEFAULT_PLATFORM", "amd64")]).unwrap_err().to_string();
        assert!(error.starts_with("variable DOCKER_DEFAULT_PLATFORM: `amd64` is not a platform"), "{error}");
    }

    #[test]
    fn a_time_that_no_image_can_carry_is_refused_before_anything_is_built() {
        for bad in ["abc", " 5", "1.5", "99999999999999"] {
            let error = load_text("", &[(EPOCH, bad)]).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(&format!("`{bad}`, which is no time")), "{error}");
        }
        assert!(load_text("", &[(EPOCH, "1700000000")]).is_ok() && load_text("", &[(EPOCH, "-5")]).is_ok());
        assert!(load_text("[[service]]\nname = 'a'\nbuild-args = { SOURCE_DATE_EPOCH = 'now' }\n", &[]).is_err());
    }

    #[test]
    fn malformed_toml_and_wrong_values_name_their_line() {
        assert!(error("[images\n").0.starts_with("xtask.toml:1: "));
        assert!(error("\n[images]\nplatforms = ['amd64']\n").0.starts_with("xtask.toml:3: `amd64` is not a platform"));
        assert!(error("[[service]]\nname = 'a/b'\n").0.starts_with("xtask.toml:2: `a/b` is not a service name"));
        assert_eq!(error("[builders]\njobs = 'four'\n").0, "xtask.toml:2: expected a whole number from 1, found \"four\"");
        assert_eq!(error("[builders]\njobs = 0\n").0, "xtask.toml:2: expected a whole number from 1, found 0");
        assert!(error("[images]\nplatforms = 'linux/amd64'\n").0.contains("expected a list: `[\"…\"]`, found \"linux/amd64\""));
        assert!(error("[cache]\ngha = 3\n").0.contains("expected true, false or \"auto\", found 3"));
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        assert!(error("[[service]]\nname = 'a'\n[[service]]\nname = 'a'\n").0.contains("configured twice"));
        for secret in ["NPM_TOKEN", "token", "DB_PASSWORDS", "RSA_PRIVATE_KEY_2", "GITHUBTOKEN", "AWS_SECRET_ACCESS_KEY"] {
            assert!(error(&format!("[images]\nbuild-args = {{ {secret} = 'x' }}\n")).1.contains("build secret"), "{secret}");
        }
        assert!(load_text("[images]\nbuild-args = { TOKENIZER = '2', PASSWORDLESS = '1', SESSION_SECRET_FILE = '/s', PUBLIC_TOKEN = 'x' }\n", &[]).is_ok());
        assert!(error("[images]\nregistry = 'no host'\n").0.contains("is not the host of a registry"));
        assert_eq!(error("[images]\nregistry = 'https://ghcr.io/'\n").1, "leave `https://` out: `registry = \"ghcr.io\"`");
        assert!(error("[images]\nsecrets = ['id=npm,evn=A']\n").0.starts_with("xtask.toml:2: a secret has no `evn`"));
        assert!(error("[[service]]\nname = 'a'\nsecerts = []\n").1.contains("did you mean `secrets`?"));
        assert!(error("[release]\nsign = 'cosign.key'\n").1.contains("`public-key`"));
        assert!(error("[release]\nsign = true\n").0.contains("expected \"keyless\", a key or false, found true"));
        assert!(error("[release]\nidentity = 'x'\n").0.contains("mean nothing without `sign`"));
        assert!(error("[cache]\nrepository = 'ghcr.io/o/cache:x'\n").0.contains("has a tag"));
    }

    #[test]
    fn a_registry_without_a_namespace_is_no_place_for_images() {
        let alone = |text: &str| {
            let env = Env::new("/", []);
            let error = of_text(Path::new("xtask.toml"), Some(text), &env, &|| Ok(None)).unwrap_err();
            error.hint_text().unwrap_or_default().to_owned()
        };
        assert_eq!(alone("[images]\nregistry = 'ghcr.io'\n"), "add `namespace = \"org/repo\"`, or set XTASK_IMAGES_NAMESPACE");
        assert_eq!(alone("[images]\nnamespace = 'org/repo'\n"), "add `registry = \"ghcr.io\"`, or set XTASK_IMAGES_REGISTRY");
        // It is said of where the other one stands.
        let said = |text: &str, vars: &[(&str, &str)]| {
            let env = Env::new("/", vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
            of_text(Path::new("/xtask.toml"), Some(text), &env, &|| Ok(None)).unwrap_err().to_string()
        };
        let about = "[images] registry is set to `r.io:5000`, but `namespace` is not set";
        assert_eq!(said("", &[("XTASK_IMAGES_REGISTRY", "r.io:5000")]), format!("variable XTASK_IMAGES_REGISTRY: {about}"));
        assert_eq!(said("[images]\nregistry = 'r.io:5000'\n", &[]), format!("/xtask.toml:2: {about}"));
    }

    #[test]
    fn a_registry_is_a_host_and_a_namespace_what_images_can_have_there() {
        let prefix = |images: &str| load_text(&format!("[images]\n{images}\n"), &[]).unwrap().images.prefix.unwrap().to_string();
        assert_eq!(prefix("registry = 'ghcr.io/'\nnamespace = 'a/b'"), "ghcr.io/a/b");
        assert_eq!(prefix("registry = 'index.docker.io'\nnamespace = 'acme'"), "docker.io/acme");
        for host in ["ghcr.io/acme", "shop", "r.io:", "r.io:99999", "a b"] {
            let (said, hint) = error(&format!("[images]\nregistry = '{host}'\nnamespace = 'a'\n"));
            assert!(said.starts_with("xtask.toml:2: [images] registry: `") && hint.contains("belongs in `namespace`"), "{said}");
        }
        let said = load_text("", &[("XTASK_IMAGES_REGISTRY", "")]).unwrap_err().to_string();
        assert!(said.starts_with("variable XTASK_IMAGES_REGISTRY: "), "{said}");
        assert!(error("[images]\nnamespace = 'a//b'\n").0.starts_with("xtask.toml:2: [images] namespace: `a//b` cannot"));
        // Nothing of it is another repository's, and nothing lies at the namespace itself, which is no repository.
        let hub = load_text("[images]\nregistry = 'docker.io'\nnamespace = 'acme'\n", &[]).unwrap();
        assert_eq!(hub.cache.repository.unwrap().to_string(), "docker.io/acme/repo-cache");
        assert_eq!(hub.history.unwrap().to_string(), "docker.io/acme/repo-history:xtask-history");
        // The remote's name is none of Docker Hub's.
        let (said, hint) = error("[images]\nregistry = 'docker.io'\n");
        assert!(said.contains("`org/repo` has several parts") && hint == "write `namespace = \"org\"`", "{said} {hint}");
    }

    #[test]
    fn every_section_but_the_services_can_be_named_by_a_variable() {
        let known = error("[nothing-like-it]").1;
        let known = known.strip_prefix("known keys here: ").unwrap();
        let known: Vec<&str> = known.split(", ").filter(|section| *section != "service").collect();
        assert_eq!(known, SECTIONS);
    }

    #[test]
    fn a_build_argument_takes_what_a_variable_has_when_the_file_is_read() {
        let file = "[images]\nbuild-args = { A = { env = 'WHERE' }, B = { env = 'NOWHERE', default = 'b' }, C = { env = 'NOWHERE' } }\n\
                    [[service]]\nname = 'api'\nbuild-args = { A = { env = 'EMPTY', default = 'here' } }\n";
        let config = load_text(file, &[("WHERE", "there"), ("EMPTY", "")]).unwrap();
        let text =
            |args: &SortedMap<String, String>| args.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(text(&config.images.build_args), ["A=there", "B=b"]);
        assert_eq!(text(&config.services[0].build_args), ["A=here"]);
        let refused =
            |written: &str| load_text(&format!("[images]\nbuild-args = {{ {written} }}\n"), &[]).unwrap_err().to_string();
        for written in ["A = 2", "A = { default = 'b' }", "A = { env = 'B', or = 'c' }", "A = { env = 1 }"] {
            assert!(refused(written).contains("xtask.toml:2: a build argument is a text, or"), "{}", refused(written));
        }
        assert!(refused("API_TOKEN = { env = 'NOWHERE' }").contains("`API_TOKEN` looks like a secret"));
        assert!(refused("A = { env = 'NPM_TOKEN' }").contains("`NPM_TOKEN` looks like a secret"));
    }

    #[test]
    fn a_variable_takes_the_place_of_its_key_and_of_no_other() {
        let file =
            "[images]\nregistry = 'ghcr.io'\nnamespace = 'a/b'\nbuild-args = { A = '1', B = '2' }\n[[service]]\nname = 'api'\n";
        let vars =
            [("XTASK_IMAGES_BUILD_ARGS", "{ C = '3' }"), ("XTASK_BUILDERS_JOBS", "3"), ("XTASK_GATES_IMAGE_SIZE", "200MB")];
        let config = load_text(file, &vars).unwrap();
        assert_eq!(config.images.prefix.unwrap().to_string(), "ghcr.io/a/b");
        assert_eq!(config.images.build_args.into_iter().collect::<Vec<_>>(), [("C".to_owned(), "3".to_owned())]);
        assert_eq!((config.services.len(), config.jobs.map(std::num::NonZero::get)), (1, Some(3)));
        let both = load_text("[images]\nnamepsace = 'x'\n", &vars).unwrap_err();
        assert!(both.to_string().contains("xtask.toml:2: unknown key `namepsace`"), "{both}");
        let smuggled = load_text("", &[("XTASK_IMAGES_NAMESPACE", "'a'\nregistry = 'b'")]).unwrap_err().to_string();
        assert!(!smuggled.contains("registry = \"b\""), "{smuggled}");
    }

    #[test]
    fn a_fleet_is_checked_node_by_node() {
        let config =
            load_text("[builders]\nfleet = [{ builder = 'one', platforms = ['linux/amd64'], weight = 2 }]\n", &[]).unwrap();
        let node = &config.fleet[0];
        assert_eq!((node.builder.as_str(), node.weight.get(), node.builds.get()), ("one", 2, 2));
        let one = "{ builder = 'one', platforms = ['linux/amd64'] }";
        for (fleet, said) in [
            (format!("[{one}, {one}]"), "names the builder `one` twice"),
            ("[{ builder = 'one', platforms = [] }]".to_owned(), "`one` has no platforms"),
            ("[{ builder = '-x', platforms = ['linux/amd64'] }]".to_owned(), "`-x` is not a builder's name"),
            ("[{ builder = 'one', platforms = ['linux/amd64'], wieght = 2 }]".to_owned(), "unknown key `wieght`"),
            ("[{ builder = 'one', platforms = ['linux/amd64'], builds = 0 }]".to_owned(), "a whole number from 1, found 0"),
            ("[{ builder = 'one' }]".to_owned(), "`platforms` is missing"),
        ] {
            let (shown, _) = error(&format!("[builders]\nfleet = {fleet}\n"));
            assert!(shown.contains(said) && shown.starts_with("xtask.toml:2: "), "{shown}");
        }
        let (shown, _) = error(&format!("[builders]\nbuilder = 'two'\nfleet = [{one}]\n"));
        assert!(shown.contains("names one builder, and `fleet` several"), "{shown}");
        let variable = [("XTASK_BUILDERS_FLEET", "[{ builder = 'one', platforms = ['linux/amd64'] }]")];
        assert_eq!(load_text("", &variable).unwrap().fleet.len(), 1);
    }

    #[test]
    fn a_variable_overrules_the_file_and_a_wrong_one_is_named() {
        let vars = [("XTASK_CACHE_GHA", "false"), ("XTASK_ATTEST_PROVENANCE", "min"), ("XTASK_IMAGES_NAMESPACE", "x/y")];
        let config = load_text("[cache]\ngha = true\n[images]\nnamespace = 'a/b'\n", &vars).unwrap();
        assert_eq!((config.cache.gha, config.attest.provenance), (Switch::Off, Provenance::Min));
        assert_eq!(config.images.prefix.unwrap().repository(), "x/y");
        let wrong = load_text("", &[("XTASK_CACHE_GHAA", "1")]).unwrap_err();
        assert_eq!(wrong.hint_text(), Some("did you mean `gha`?"), "{wrong}");
        assert!(load_text("", &[("XTASK_IMAEGS_X", "1")]).unwrap_err().hint_text().unwrap().contains("XTASK_IMAGES_"));
    }
}
