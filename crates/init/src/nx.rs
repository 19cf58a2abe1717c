//! What Nx builds of a package that has no script for it: the targets of its `package.json` or `project.json`, and those that Nx's plugins
//! infer from settings files. Source: nx.dev, "Project configuration" and "Inferred tasks".

use std::path::Path;

use serde_json::{Value, json};

use super::kind::{Kind, Known};
use monoship_workspace::sources::with_comments;

/// Plugins that infer a build from a settings file, with the command that they run there.
const INFERRED: [(&str, &str, &str); 8] = [
    ("@nx/next", "next.config", "next build"),
    ("@nx/nuxt", "nuxt.config", "nuxt build"),
    ("@nx/react/router-plugin", "react-router.config", "react-router build"),
    ("@nx/remix", "remix.config", "remix build"),
    ("@nx/vite", "vite.config", "vite build"),
    ("@nx/rsbuild", "rsbuild.config", "rsbuild build"),
    ("@nx/rspack", "rspack.config", "rspack build"),
    ("@nx/webpack", "webpack.config", "webpack-cli build"),
];

/// The manifest with scripts that say what Nx's targets do, where it has none and Nx has a build of it. `dir` is the package's folder.
pub(super) fn with_targets(manifest: &Value, root: &Path, dir: &str) -> Option<Value> {
    let read = |path: &Path| std::fs::read_to_string(path).ok().and_then(|text| with_comments(&text));
    let settings = std::fs::read_to_string(root.join("nx.json")).ok().filter(|_| manifest["scripts"]["build"].is_null())?;
    let folder = root.join(dir);
    let project = read(&folder.join("project.json")).unwrap_or_default();
    let target =
        |name: &str| [&manifest["nx"], &project].into_iter().map(|of| &of["targets"][name]).find(|target| target.is_object());
    // One that only adds to what a plugin infers has no command.
    let runs = |target: &&Value| {
        ["executor", "command"].iter().any(|key| target[*key].is_string()) || target["options"]["command"].is_string()
    };
    let own = target("build").filter(runs);
    let build = match own {
        Some(target) => explicit(target),
        None => inferred(&settings, &folder)?.to_owned(),
    };
    let serves = target("serve").and_then(|serve| serve["executor"].as_str()).is_some_and(|executor| executor.ends_with(":node"));
    let main = own.map_or_else(|| Some("dist/main.js".to_owned()), |target| made(&target["options"], dir));
    let mut manifest = manifest.clone();
    manifest["scripts"]["build"] = json!(build);
    if let Some(main) = main.filter(|_| serves && manifest["scripts"]["start"].is_null()) {
        manifest["scripts"]["start"] = json!(format!("node {main}"));
    }
    Some(manifest)
}

/// Why an application of Nx's is no service where neither its targets nor its manifest say how it starts.
pub(super) const UNKNOWN: &str =
    "only nx knows how it is built, or started: give its package.json `build` and `start` scripts, or it a Dockerfile";

/// True of a package in `apps/` that Nx knows as a project, and that holds no tests of another.
pub(super) fn is_application(manifest: &Value, folder: &Path) -> bool {
    let is_project = !manifest["nx"].is_null() || folder.join("project.json").is_file();
    is_project && !folder.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-e2e"))
}

/// What Nx's generators write for Node listens on `localhost` and port 3000 where the environment says nothing else.
pub(super) fn started(known: Known) -> Known {
    let why = format!("Nx: {}", known.why.trim_start_matches("script `start`: "));
    match known.kind {
        Kind::Node => Known { why, port: Some(3000), env: vec![("HOST", "0.0.0.0".to_owned())], ..known },
        _ => Known { why, ..known },
    }
}

/// The command that a target comes to, as far as it tells a framework.
fn explicit(target: &Value) -> String {
    let executor = target["executor"].as_str().unwrap_or_default();
    let (options, command) = (&target["options"], target["command"].as_str());
    if let Some(command) = command.or_else(|| options["command"].as_str()) {
        return command.to_owned();
    }
    let of = |tool: &str| executor.contains(&format!("/{tool}:"));
    match ["next", "vite", "webpack", "rspack", "nuxt", "remix"].into_iter().find(|tool| of(tool)) {
        Some(tool) => format!("{tool} build"),
        None => "nx build".to_owned(),
    }
}

fn inferred(settings: &str, folder: &Path) -> Option<&'static str> {
    let is_there =
        |stem: &str| ["js", "cjs", "mjs", "ts", "mts"].iter().any(|end| folder.join(format!("{stem}.{end}")).is_file());
    let found = INFERRED.iter().find(|(plugin, stem, _)| settings.contains(&format!("\"{plugin}")) && is_there(stem));
    found.map(|(_, _, command)| *command)
}

/// The file that a build for Node makes of its `main`, from the package's folder. `None` where that lies elsewhere: no image takes it from there.
fn made(options: &Value, dir: &str) -> Option<String> {
    let path = options["outputPath"].as_str()?;
    let path =
        path.strip_prefix("{projectRoot}").or_else(|| path.strip_prefix("{workspaceRoot}/").unwrap_or(path).strip_prefix(dir))?;
    let main = options["outputFileName"].as_str().or_else(|| options["main"].as_str()).unwrap_or("main.js");
    let file = main.rsplit('/').next()?;
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    Some(format!("{}/{stem}.js", path.strip_prefix('/')?.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_scripts_where_a_package_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("apps/api");
        std::fs::create_dir_all(&folder).unwrap();
        let scripts =
            |manifest: Value| with_targets(&manifest, dir.path(), "apps/api").map(|manifest| manifest["scripts"].clone());
        let target = |build: Value| json!({"nx": {"targets": {"build": build, "serve": {"executor": "@nx/js:node"}}}});
        let esbuild = |path: &str| {
            target(json!({"executor": "@nx/esbuild:esbuild", "options": {"outputPath": path, "main": "apps/api/src/main.ts"}}))
        };
        assert_eq!(scripts(esbuild("apps/api/dist")), None, "it is no workspace of Nx");

        std::fs::write(dir.path().join("nx.json"), r#"{"plugins": [{"plugin": "@nx/next/plugin"}, "@nx/webpack/plugin"]}"#)
            .unwrap();
        let node = json!({"build": "nx build", "start": "node dist/main.js"});
        assert_eq!(scripts(esbuild("apps/api/dist")), Some(node.clone()));
        assert_eq!(scripts(esbuild("{projectRoot}/dist")), Some(node));
        assert_eq!(scripts(esbuild("dist/apps/api")), Some(json!({"build": "nx build"})), "beside the package");
        assert_eq!(scripts(json!({"scripts": {"build": "tsc"}})), None);
        assert_eq!(scripts(json!({})), None, "Nx has no build of it");
        let vite = json!({"nx": {"targets": {"build": {"executor": "@nx/vite:build"}}}});
        assert_eq!(scripts(vite), Some(json!({"build": "vite build"})));

        // By a plugin and the file that it looks for.
        std::fs::write(folder.join("webpack.config.js"), "").unwrap();
        let serve = json!({"nx": {"targets": {"serve": {"executor": "@nx/js:node"}}}});
        assert_eq!(scripts(serve), Some(json!({"build": "webpack-cli build", "start": "node dist/main.js"})));
        std::fs::write(folder.join("next.config.js"), "").unwrap();
        assert_eq!(scripts(json!({})), Some(json!({"build": "next build"})));
        assert_eq!(scripts(json!({"nx": {"targets": {"build": {"cache": false}}}})), Some(json!({"build": "next build"})));
    }
}
