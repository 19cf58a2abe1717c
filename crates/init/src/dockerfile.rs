//! The Dockerfile for a workspace's services, made of the same stages as the tool's own.

use std::collections::BTreeSet;

use serde_json::Value;

use monoship_core::error::{Error, Result, read_text};
use monoship_core::name::ServiceName;
use monoship_docker::capability::Version;
use monoship_workspace::Workspace;

/// The Node that services run on, where the workspace names none.
const NODE: u32 = 24;

/// The pnpm that installs, where the workspace pins none.
const PNPM: &str = "10";

/// A service that a Dockerfile is written for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, and its Dockerfile target.
    pub name: String,
    /// Its package's folder.
    pub folder: String,
    /// How it is recognised.
    pub why: String,
    /// As pnpm's filter takes it.
    package: String,
    /// The start command, in CMD's JSON form.
    command: String,
}

/// What the packages of a workspace are.
#[derive(Debug, Default)]
pub struct Found {
    /// The services.
    pub services: Vec<Service>,
    /// Folders that are none, each with the reason.
    pub others: Vec<(String, String)>,
}

/// Looks for services: packages that can be started. In `apps/` a `main` is enough for that; elsewhere, where libraries lie too, only a
/// start script counts, of a package that no other one depends on. `named` are packages that `xtask.toml` calls services, with the name
/// of the target.
///
/// # Errors
/// When a manifest cannot be read.
pub(super) fn services(workspace: &Workspace, named: &[(String, String)]) -> Result<Found> {
    let used: BTreeSet<&str> =
        workspace.packages().iter().flat_map(|package| package.manifest.all_dependencies()).map(|(name, ..)| name).collect();
    let mut found = Found::default();
    for package in workspace.packages().iter().filter(|package| package.dir != ".") {
        let file = package.path("package.json");
        let manifest: Value = serde_json::from_str(read_text(&workspace.root().join(&file))?.trim_start_matches('\u{feff}'))
            .map_err(|e| Error::usage("not a package manifest").at(&file, Some(e.line())))?;
        let in_apps = package.dir.strip_prefix("apps/").is_some_and(|rest| !rest.contains('/'));
        let given =
            named.iter().find(|(there, _)| *there == package.dir || *there == package.name()).map(|(_, target)| target.clone());
        let start = Start::of(&manifest);
        let no = match &start {
            None if in_apps => Some("its package.json has neither a start script nor `main`"),
            None => Some("its package.json has no start script"),
            Some(_) if in_apps || given.is_some() => None,
            Some(Start { script: None, .. }) => Some("outside apps/ a `main` alone makes no service, and it has no start script"),
            Some(_) if used.contains(package.name()) => {
                Some("other packages depend on it; a [[service]] in xtask.toml makes it one all the same")
            }
            Some(_) => None,
        };
        match (start, no) {
            (Some(start), None) => {
                let name = given.unwrap_or_else(|| unique(&package.dir, &found.services));
                if name.parse::<ServiceName>().is_err() || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                    found.others.push((package.dir.clone(), format!("`{name}` can be no Dockerfile target")));
                    continue;
                }
                found.services.push(Service {
                    name,
                    folder: package.dir.clone(),
                    why: start
                        .script
                        .map_or_else(|| format!("`main` is {}", start.run), |script| format!("script `{script}`: {}", start.run)),
                    package: package.manifest.name.clone().unwrap_or_else(|| format!("./{}", package.dir)),
                    command: start.command,
                });
            }
            (_, no) => found.others.push((package.dir.clone(), no.unwrap_or_default().to_owned())),
        }
    }
    Ok(found)
}

/// The folder's name, or where another service has that, the whole way to it.
fn unique(folder: &str, services: &[Service]) -> String {
    let last = folder.rsplit('/').next().unwrap_or(folder);
    if services.iter().any(|service| service.name == last) { folder.replace('/', "-") } else { last.to_owned() }
}

/// How a package is started.
struct Start {
    /// The script that says so; none for `main`.
    script: Option<&'static str>,
    /// What it runs, as it is written.
    run: String,
    /// The same in CMD's JSON form.
    command: String,
}

impl Start {
    /// Of a script for production and `start` the former: the latter is then for developers.
    fn of(manifest: &Value) -> Option<Self> {
        let script = |name: &'static str| Some((name, manifest["scripts"][name].as_str()?));
        let Some((name, text)) = ["start:prod", "start:production", "start"].into_iter().find_map(script) else {
            let main = manifest["main"].as_str()?;
            return Some(Self { script: None, run: main.to_owned(), command: json(&["node", main]) });
        };
        Some(Self { script: Some(name), run: text.to_owned(), command: command(text) })
    }
}

/// What starts by a script, in CMD's JSON form. No shell stays between the engine and the service where that can be had: signals arrive.
fn command(script: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_./:@,+=".contains(c);
    if script.starts_with("node ") && script.chars().all(plain) {
        return json(&script.split_whitespace().collect::<Vec<_>>());
    }
    json(&["sh", "-c", &format!("PATH=node_modules/.bin:$PATH; {}", replaced(script))])
}

/// The script with `exec` before its last command, where that is a program of its own: `exec` takes no list, no assignment and no
/// builtin. A script with anything but `&&` between its commands stays as it is.
fn replaced(script: &str) -> String {
    let (before, last) = script.rsplit_once("&&").map_or(("", script), |(before, last)| (before, last));
    let odd = |text: &str| {
        text.contains(['|', ';', '(', ')', '{', '}', '`', '\n', '<', '>', '\'', '"', '\\'])
            || text.replace("&&", "").contains('&')
    };
    let words: Vec<&str> = last.split_whitespace().collect();
    let is_assignment = |word: &&&str| {
        word.split_once('=')
            .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    let assigned = words.iter().take_while(is_assignment).count();
    let builtin = [
        "cd", "export", "set", "exec", "if", "for", "while", "until", "case", "!", ".", "source", "eval", "test", "[", ":",
        "wait", "trap", "exit",
    ];
    match words.get(assigned) {
        // In front of `exec`, which is a special builtin, an assignment is exported to what follows.
        Some(first) if !odd(script) && !builtin.contains(first) => {
            let before = if before.is_empty() { String::new() } else { format!("{}&& ", before.trim_start()) };
            let (vars, rest) = (words[..assigned].join(" "), words[assigned..].join(" "));
            format!("{before}{vars}{}exec {rest}", if assigned == 0 { "" } else { " " })
        }
        _ => script.to_owned(),
    }
}

fn json(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| Value::from(*word).to_string()).collect();
    format!("[{}]", words.join(", "))
}

/// The Dockerfile.
pub(super) fn text(workspace: &Workspace, services: &[Service], file: &str) -> String {
    let root = workspace.package(workspace.root_package());
    let manager = root.manifest.package_manager().and_then(|manager| manager.strip_prefix("pnpm@"));
    let pnpm = manager.and_then(|version| version.split('+').next()).unwrap_or(PNPM);
    let node = format!("node:{}-bookworm-slim", node(workspace));
    let mut text = include_str!("head.Dockerfile").replace("{file}", file).replace("{node}", &node).replace("{pnpm}", pnpm);
    for service in services {
        let Service { name, folder, package, command, .. } = service;
        let stages = include_str!("service.Dockerfile").replace("{name}", name).replace("{folder}", folder);
        text += &stages.replace("{package}", package).replace("{command}", command);
    }
    text
}

/// The major version of Node that `.nvmrc` or `.node-version` names.
fn node(workspace: &Workspace) -> u32 {
    let named = [".nvmrc", ".node-version"].iter().find_map(|file| std::fs::read_to_string(workspace.root().join(file)).ok());
    let major = |text: &str| -> Option<u32> {
        let text = text.trim().trim_start_matches('v');
        Version::find(text).map(|version| version.major).or_else(|| text.parse().ok())
    };
    named.as_deref().and_then(major).unwrap_or(NODE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(manifest: &Value) -> String {
        Start::of(manifest).map(|start| start.command).unwrap_or_default()
    }

    #[test]
    fn a_start_script_becomes_a_command_that_gets_signals() {
        assert_eq!(
            of(&json!({"scripts": {"start": "node --enable-source-maps dist/main.js"}})),
            "[\"node\", \"--enable-source-maps\", \"dist/main.js\"]"
        );
        assert_eq!(
            of(&json!({"scripts": {"start": "next start -p $PORT"}})),
            "[\"sh\", \"-c\", \"PATH=node_modules/.bin:$PATH; exec next start -p $PORT\"]"
        );
        assert_eq!(of(&json!({"main": "index.js"})), "[\"node\", \"index.js\"]");
        assert_eq!(of(&json!({"scripts": {"test": "x"}})), "");
        assert_eq!(of(&json!({"scripts": {"start": "nest start", "start:prod": "node dist/main"}})), "[\"node\", \"dist/main\"]");
    }

    #[test]
    fn exec_stands_only_before_a_program_of_its_own() {
        for (script, then) in [
            ("next start", "exec next start"),
            ("NODE_ENV=production node index.js", "NODE_ENV=production exec node index.js"),
            ("A=1 B=$C prisma migrate deploy && X=2 node m.js", "A=1 B=$C prisma migrate deploy && X=2 exec node m.js"),
            ("cd dist && node main.js", "cd dist && exec node main.js"),
            ("cd dist; node main.js", "cd dist; node main.js"),
            ("node x.js || exit 1", "node x.js || exit 1"),
            ("node index.js & node b.js", "node index.js & node b.js"),
            ("node a.js && exit 3", "node a.js && exit 3"),
            ("exec node a.js", "exec node a.js"),
            ("node -e 'a && b'", "node -e 'a && b'"),
        ] {
            assert_eq!(replaced(script), then);
        }
    }
}
