//! The Dockerfile for a workspace's services, made of the same stages as the tool's own.

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
pub(super) struct Service {
    name: String,
    folder: String,
    /// As pnpm's filter takes it.
    package: String,
    /// The start command, in CMD's JSON form.
    command: String,
}

/// The services among `apps/*`, and the folders that are none, with why.
///
/// # Errors
/// When there is no service, or a manifest cannot be read.
pub(super) fn services(workspace: &Workspace) -> Result<(Vec<Service>, Vec<String>)> {
    let (mut services, mut left_out) = (Vec::new(), Vec::new());
    for package in workspace.packages() {
        let Some(name) = package.dir.strip_prefix("apps/") else { continue };
        let is_stage = name.parse::<ServiceName>().is_ok() && name.starts_with(|c: char| c.is_ascii_lowercase());
        let manifest: Value = serde_json::from_str(&read_text(&workspace.root().join(package.path("package.json")))?)
            .map_err(|e| Error::usage("not a package manifest").at(package.path("package.json"), Some(e.line())))?;
        match command(&manifest) {
            _ if !is_stage => left_out.push(format!("{}: its name can be no Dockerfile target", package.dir)),
            None => left_out.push(format!("{}: its package.json has neither a start script nor `main`", package.dir)),
            Some(command) => services.push(Service {
                name: name.to_owned(),
                folder: package.dir.clone(),
                package: package.manifest.name.clone().unwrap_or_else(|| format!("./{}", package.dir)),
                command,
            }),
        }
    }
    if services.is_empty() {
        let hint = "a service is a folder apps/<name> whose package.json has a start script or `main`";
        let why = if left_out.is_empty() { String::new() } else { format!(" ({})", left_out.join("; ")) };
        return Err(Error::usage(format!("there is no service in apps/{why}")).at(workspace.root(), None).hint(hint));
    }
    Ok((services, left_out))
}

/// How a package is started, in CMD's JSON form.
fn command(manifest: &Value) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_./:@,+=".contains(c);
    let words = match manifest["scripts"]["start"].as_str() {
        // No shell between the engine and the service: signals arrive.
        Some(start) if start.starts_with("node ") && start.chars().all(plain) => {
            start.split_whitespace().map(str::to_owned).collect()
        }
        Some(start) => vec!["sh".to_owned(), "-c".to_owned(), format!("PATH=node_modules/.bin:$PATH; exec {start}")],
        None => vec!["node".to_owned(), manifest["main"].as_str()?.to_owned()],
    };
    Some(words.iter().map(|word| Value::from(word.as_str()).to_string()).collect::<Vec<_>>().join(", "))
        .map(|all| format!("[{all}]"))
}

/// The Dockerfile.
pub(super) fn text(workspace: &Workspace, services: &[Service]) -> String {
    let root = workspace.package(workspace.root_package());
    let manager = root.manifest.package_manager().and_then(|manager| manager.strip_prefix("pnpm@"));
    let pnpm = manager.and_then(|version| version.split('+').next()).unwrap_or(PNPM);
    let node = format!("node:{}-bookworm-slim", node(workspace));
    let mut text = include_str!("head.Dockerfile").replace("{node}", &node).replace("{pnpm}", pnpm);
    for service in services {
        let Service { name, folder, package, command } = service;
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

    #[test]
    fn a_start_script_becomes_a_command_that_gets_signals() {
        let of = |manifest: Value| command(&manifest).unwrap_or_default();
        assert_eq!(
            of(json!({"scripts": {"start": "node --enable-source-maps dist/main.js"}})),
            "[\"node\", \"--enable-source-maps\", \"dist/main.js\"]"
        );
        assert_eq!(
            of(json!({"scripts": {"start": "next start -p $PORT"}})),
            "[\"sh\", \"-c\", \"PATH=node_modules/.bin:$PATH; exec next start -p $PORT\"]"
        );
        assert_eq!(of(json!({"main": "index.js"})), "[\"node\", \"index.js\"]");
        assert_eq!(of(json!({"scripts": {"test": "x"}})), "");
    }
}
