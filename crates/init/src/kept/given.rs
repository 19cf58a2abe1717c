//! What files of compose, bake, Skaffold and workflows give a build beside its Dockerfile, its context and its arguments: secrets, agents, named contexts,
//! hosts, network, limits, labels. Each goes under the key that `xtask.toml` has for it; what that cannot say is left out.

use super::bake;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;
use monoship_workspace::yaml::Yaml;
use pnpm::join;
use toml::Value;

/// The keys of a `[[service]]` with their values.
pub(super) type Given = SortedMap<&'static str, Value>;

/// A file's entries by their names there, each as a list of texts: `name=value` where it is a table.
pub(super) trait Source {
    /// What stands under `key`, with what no text says left out; nothing where it is not there.
    fn texts(&self, key: &str) -> Vec<String>;
}

impl Source for Yaml {
    fn texts(&self, key: &str) -> Vec<String> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let listed = value.items().iter().filter_map(|item| item.as_str().map(str::to_owned));
        let mapped = value.entries().iter().filter_map(|(name, value)| match limits(value) {
            Some(limits) => Some(format!("{name}={limits}")),
            None => Some(format!("{name}={}", value.as_str()?)),
        });
        // Workflows have a line for each.
        let lines = value.as_str().unwrap_or_default().lines().map(|line| line.trim().to_owned());
        listed.chain(mapped).chain(lines).filter(|text| !text.is_empty()).into_vec()
    }
}

/// compose's `nofile: {soft: 1024, hard: 2048}`.
fn limits(value: &Yaml) -> Option<String> {
    Some(format!("{}:{}", value.get("soft")?.as_str()?, value.get("hard")?.as_str()?))
}

/// What compose's `build` says. `top` is the whole file, which says where secrets are; `folder` is what its paths are relative to.
pub(super) fn of_compose(build: &Yaml, top: &Yaml, folder: &str) -> Given {
    let names = build.get("secrets").map_or(&[][..], Yaml::items).iter();
    let secrets = names.filter_map(|item| {
        let source = item.as_str().or_else(|| item.get("source")?.as_str())?;
        let id = item.get("target").and_then(Yaml::as_str).unwrap_or(source);
        let known = top.get("secrets")?.get(source)?;
        let text = |key: &str| known.get(key).and_then(Yaml::as_str);
        match (text("environment"), text("file")) {
            (Some(name), _) => Some(format!("id={id},env={name}")),
            (None, Some(file)) => Some(format!("id={id},src={}", path(folder, file)?)),
            (None, None) => None,
        }
    });
    let keys = [("contexts", "additional_contexts"), ("add-hosts", "extra_hosts"), ("allow", "entitlements")];
    let same = ["ssh", "network", "ulimits", "labels", "platforms"].map(|key| (key, key));
    let mut given = taken(build, folder, keys.into_iter().chain(same).chain([("shm-size", "shm_size")]));
    put(&mut given, "secrets", secrets.into_vec());
    given
}

/// What a step of `docker/build-push-action` is given; `value` fills in the expressions of a text, or knows that one is not known.
pub(super) fn of_workflow(step: &Yaml, value: &impl Fn(&str) -> Option<String>) -> Given {
    struct Filled<'a, F>(&'a Yaml, &'a F);
    impl<F: Fn(&str) -> Option<String>> Source for Filled<'_, F> {
        fn texts(&self, key: &str) -> Vec<String> {
            self.0.texts(key).iter().filter_map(|text| self.1(text)).into_vec()
        }
    }
    let keys = [
        ("contexts", "build-contexts"),
        ("add-hosts", "add-hosts"),
        ("allow", "allow"),
        ("ssh", "ssh"),
        ("network", "network"),
        ("shm-size", "shm-size"),
        ("ulimits", "ulimit"),
        ("labels", "labels"),
        ("platforms", "platforms"),
    ];
    let mut given = taken(&Filled(step, value), ".", keys);
    // `npm=${{ secrets.NPM_TOKEN }}`: of here on it is a variable of that name.
    let by_secret = step.texts("secrets").into_iter().filter_map(|line| {
        let (id, expression) = line.split_once('=')?;
        let name = expression.trim().strip_prefix("${{")?.strip_suffix("}}")?.trim();
        Some(format!("id={id},env={}", name.strip_prefix("secrets.").or_else(|| name.strip_prefix("env."))?))
    });
    let pairs = |key: &str, kind: &str| -> Vec<String> {
        let lines = step.texts(key).into_iter();
        lines.filter_map(|line| line.split_once('=').map(|(id, value)| format!("id={id},{kind}={value}"))).into_vec()
    };
    let all = by_secret.chain(pairs("secret-envs", "env")).chain(pairs("secret-files", "src"));
    put(&mut given, "secrets", all.filter(|secret| !secret.contains("${{")).into_vec());
    given
}

/// What Skaffold's `docker` section of an artifact has.
pub(super) fn of_skaffold(docker: &Yaml, folder: &str) -> Given {
    let mut given = taken(docker, folder, [("add-hosts", "addHost"), ("ssh", "ssh"), ("network", "network")]);
    let secrets = docker.get("secrets").map_or(&[][..], Yaml::items).iter().filter_map(|secret| {
        let text = |key: &str| secret.get(key).and_then(Yaml::as_str);
        match (text("id")?, text("env"), text("src")) {
            (id, Some(name), _) => Some(format!("id={id},env={name}")),
            (id, None, Some(file)) => Some(format!("id={id},src={}", path(folder, file)?)),
            (id, None, None) => Some(format!("id={id},env={id}")),
        }
    });
    put(&mut given, "secrets", secrets.into_vec());
    given
}

/// What the flags of `docker build` give.
pub(super) fn of_command(flags: &impl Source, folder: &str) -> Given {
    let keys = [
        ("contexts", "build-context"),
        ("add-hosts", "add-host"),
        ("ulimits", "ulimit"),
        ("labels", "label"),
        ("platforms", "platform"),
    ];
    let same = ["ssh", "network", "allow", "shm-size"].map(|key| (key, key));
    let mut given = taken(flags, folder, keys.into_iter().chain(same));
    let place = |part: &str| match part.split_once('=') {
        Some((key @ ("src" | "source"), file)) => path(folder, file).map(|file| format!("{key}={file}")),
        _ => Some(part.to_owned()),
    };
    let secrets = flags.texts("secret").into_iter().filter(|secret| !secret.contains('$'));
    let secrets = secrets.filter_map(|secret| secret.split(',').map(place).collect::<Option<Vec<_>>>());
    put(&mut given, "secrets", secrets.map(|parts| parts.join(",")).into_vec());
    given
}

/// What a target of bake has.
pub(super) fn of_bake(target: &bake::Target<'_>, folder: &str) -> Given {
    let keys = [("contexts", "contexts"), ("add-hosts", "extra-hosts"), ("allow", "entitlements"), ("shm-size", "shm-size")];
    let same = ["ssh", "network", "ulimits", "labels", "platforms"].map(|key| (key, key));
    let mut given = taken(target, folder, keys.into_iter().chain(same));
    put(&mut given, "secrets", target.texts("secret"));
    given
}

/// The entries that every kind of file has, by our key and theirs.
fn taken(source: &impl Source, folder: &str, keys: impl IntoIterator<Item = (&'static str, &'static str)>) -> Given {
    let mut given = Given::new();
    for (key, theirs) in keys {
        let texts: Vec<String> = source.texts(theirs).into_iter().filter(|text| !text.contains('$')).into_vec();
        match key {
            "contexts" => table(&mut given, key, texts.iter().filter_map(|text| context(folder, text))),
            "labels" => table(&mut given, key, texts.iter().filter_map(|text| pair(text))),
            "network" | "shm-size" => {
                // A network of compose's own is none of the builder's.
                let known = |text: &&String| key == "shm-size" || ["default", "none", "host"].contains(&text.as_str());
                given.extend(texts.first().filter(known).map(|text| (key, Value::from(text.as_str()))));
            }
            "platforms" => {
                let all = texts.iter().flat_map(|text| text.split(','));
                put(&mut given, key, all.map(|one| one.trim().to_owned()).into_vec());
            }
            "ssh" => {
                put(&mut given, key, texts.iter().map(|text| text.strip_prefix("id=").unwrap_or(text).to_owned()).into_vec());
            }
            "add-hosts" => put(&mut given, key, texts.iter().map(|text| text.replacen('=', ":", 1)).into_vec()),
            _ => put(&mut given, key, texts),
        }
    }
    given
}

/// Adds what another place gives the same build. A matrix has a row for each platform.
pub(super) fn complete(given: &mut Given, other: &Given) {
    for (key, value) in other {
        match (given.entry(key).or_insert_with(|| value.clone()), value) {
            (Value::Array(known), Value::Array(more)) if *key == "platforms" => {
                let new: Vec<Value> = more.iter().filter(|one| !known.contains(one)).cloned().into_vec();
                known.extend(new);
            }
            _ => {}
        }
    }
}

fn put(given: &mut Given, key: &'static str, texts: Vec<String>) {
    if !texts.is_empty() {
        given.insert(key, Value::Array(texts.into_iter().map(Value::from).into_vec()));
    }
}

fn table(given: &mut Given, key: &'static str, pairs: impl Iterator<Item = (String, String)>) {
    let mut entries = toml::Table::new();
    for (name, value) in pairs {
        entries.insert(name, Value::from(value));
    }
    if !entries.is_empty() {
        given.insert(key, Value::Table(entries));
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
}

/// A named context as ours: a folder from the root, or an address. Another target of a bake file is none that a service can have.
fn context(folder: &str, text: &str) -> Option<(String, String)> {
    let (name, place) = pair(text)?;
    let is_address = place.contains("://") || place.starts_with("git@") || place.starts_with("service:");
    let place = if is_address { place } else { path(folder, &place).filter(|_| !place.contains(':'))? };
    Some((name, place))
}

/// A path of theirs from the root; beside the repository as it is, where that is what it is relative to.
fn path(folder: &str, path: &str) -> Option<String> {
    let beside = || (folder == "." || path.starts_with(['/', '~'])).then(|| path.to_owned());
    join(folder, path).or_else(beside)
}

/// What of it a Dockerfile asks for: a secret, an agent or a context that no step names is none of its own.
pub(super) fn asked_for(given: &Given, dockerfile: &str) -> Given {
    let id = |one: &Value| {
        let text = one.as_str().unwrap_or_default();
        text.split(',').find_map(|part| part.strip_prefix("id=")).unwrap_or(text).to_owned()
    };
    let names = |name: &str, before: &[&str]| {
        before.iter().any(|before| {
            dockerfile.match_indices(&format!("{before}{name}")).any(|(at, found)| {
                !dockerfile[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || "-_./:".contains(c))
            })
        })
    };
    let mut kept = Given::new();
    for (key, value) in given {
        let value = match (*key, value) {
            ("secrets", Value::Array(all)) => {
                let is_first = |at: usize| !all[..at].iter().any(|before| id(before) == id(&all[at]));
                let wanted = all.iter().enumerate().filter(|(at, one)| is_first(*at) && names(&id(one), &["id="]));
                Value::Array(wanted.map(|(_, one)| one.clone()).into_vec())
            }
            ("ssh", _) if !dockerfile.contains("type=ssh") => continue,
            ("contexts", Value::Table(all)) => Value::Table(
                all.iter().filter(|(name, _)| names(name, &["from=", "FROM "])).map(|(n, v)| (n.clone(), v.clone())).collect(),
            ),
            _ => value.clone(),
        };
        let is_empty = value.as_array().is_some_and(Vec::is_empty) || value.as_table().is_some_and(toml::Table::is_empty);
        if !is_empty {
            kept.insert(key, value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::said::all;
    use super::*;

    const DOCKERFILE: &str = "# syntax=docker/dockerfile:1\nFROM tools AS base\nRUN --mount=type=secret,id=npm --mount=type=ssh true\n\
                              COPY --from=shared x .\nRUN --mount=type=bind,from=schemas true\n";

    /// What the one build of a file is given, as `xtask.toml` says it.
    fn lines(path: &str, text: &str) -> Vec<String> {
        let (said, unreadable) = all(&[path.to_owned()], |_| Some(text.to_owned()));
        assert!(said.len() == 1 && unreadable.is_empty(), "{said:?} {unreadable:?}");
        asked_for(&said[0].given, DOCKERFILE).iter().map(|(key, value)| format!("{key} = {value}")).collect()
    }

    #[test]
    fn compose_gives_what_its_build_section_has() {
        let text = "services:\n  api:\n    build:\n      context: ..\n      additional_contexts: {shared: ../shared, tools: docker-image://node:24, shared-too: x}\n      \
                    secrets: [npm, {source: other, target: npm}, gone, unused]\n      ssh: [default]\n      extra_hosts: ['a.internal=10.0.0.7', 'b:10.0.0.8']\n      \
                    shm_size: 128m\n      network: mine\n      ulimits: {nofile: {soft: 1024, hard: 2048}, nproc: 99}\n      labels: {team: core, rev: '${REV}'}\n      entitlements: [network.host]\n\
                    secrets:\n  npm: {environment: NPM_TOKEN}\n  other: {file: ./token}\n  gone: {external: true}\n  unused: {file: y}\n";
        let given = lines("deploy/compose.yml", text);
        assert_eq!(
            given,
            [
                r#"add-hosts = ["a.internal:10.0.0.7", "b:10.0.0.8"]"#,
                r#"allow = ["network.host"]"#,
                r#"contexts = { shared = "shared", tools = "docker-image://node:24" }"#,
                r#"labels = { team = "core" }"#,
                r#"secrets = ["id=npm,env=NPM_TOKEN"]"#,
                r#"shm-size = "128m""#,
                r#"ssh = ["default"]"#,
                r#"ulimits = ["nofile=1024:2048", "nproc=99"]"#,
            ]
        );
    }

    #[test]
    fn a_workflow_gives_what_its_step_has() {
        let text = "env:\n  SHARED: shared\njobs:\n  images:\n    steps:\n      - uses: docker/build-push-action@v6\n        with:\n          context: .\n          \
                    build-contexts: |\n            shared=${{ env.SHARED }}\n            schemas=https://github.com/acme/schemas.git#v1\n          \
                    secrets: |\n            npm=${{ secrets.NPM_TOKEN }}\n            raw=value\n          secret-envs: npm=ALSO\n          \
                    labels: ${{ steps.meta.outputs.labels }}\n          network: host\n          ssh: default\n";
        let given = lines(".github/workflows/a.yml", text);
        assert_eq!(
            given,
            [
                r#"contexts = { schemas = "https://github.com/acme/schemas.git#v1", shared = "shared" }"#,
                r#"network = "host""#,
                r#"secrets = ["id=npm,env=NPM_TOKEN"]"#,
                r#"ssh = ["default"]"#,
            ]
        );
    }

    #[test]
    fn bake_gives_what_a_target_has_and_inherits() {
        let text = "variable \"TOKEN\" { default = \"NPM_TOKEN\" }\ntarget \"_all\" {\n  contexts = { shared = \"../shared\" }\n  labels = { team = \"core\" }\n}\n\
                    target \"api\" {\n  inherits = [\"_all\"]\n  context = \"..\"\n  contexts = { tools = \"target:_all\", schemas = \"docker-image://x\" }\n  \
                    secret = [\"type=env,id=npm,env=${TOKEN}\", { type = \"file\", id = \"unused\", src = \"y\" }]\n  ssh = [{ id = \"default\" }]\n  extra-hosts = { a = \"10.0.0.7\" }\n}\n";
        let given = lines("deploy/docker-bake.hcl", text);
        assert_eq!(
            given,
            [
                r#"add-hosts = ["a:10.0.0.7"]"#,
                r#"contexts = { schemas = "docker-image://x", shared = "shared" }"#,
                r#"labels = { team = "core" }"#,
                r#"secrets = ["type=env,id=npm,env=NPM_TOKEN"]"#,
                r#"ssh = ["default"]"#,
            ]
        );
    }
}
