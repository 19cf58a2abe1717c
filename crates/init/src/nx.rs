//! What Nx builds of a package that has no script for it, and of a project that is no package: the targets of its `package.json` or
//! `project.json`, and those that Nx's plugins infer from settings files. Source: nx.dev, "Project configuration" and "Inferred tasks".

use std::path::Path;

use serde_json::{Value, json};

use super::browser;
use super::kind::{self, Facts, Kind, Known};
use monoship_core::collect::Collect as _;
use monoship_workspace::Workspace;
use monoship_workspace::sources::with_comments;
use pnpm::join;

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

/// Why an application of Nx's is no service where neither its targets nor its manifest say how it starts.
pub(super) const UNKNOWN: &str =
    "only nx knows how it is built, or started: give its package.json `build` and `start` scripts, or it a Dockerfile";

/// What Nx's targets say of a folder.
pub(super) struct Targets {
    /// The manifest with scripts that say what they do.
    pub manifest: Value,
    /// The folder, and that of the package that it is installed by: itself, or the root.
    dir: String,
    package: String,
    /// The build, where it is written out.
    build: Option<Value>,
    /// The folder that the build makes, from the root, where that is said.
    made: Option<String>,
}

/// The targets of the folder `dir`, where its manifest has no scripts for them and Nx has a build of it.
pub(super) fn targets(manifest: &Value, root: &Path, dir: &str, package: &str) -> Option<Targets> {
    let by_nx = |script: &Value| script.as_str().is_none_or(|script| script.starts_with("nx "));
    let scripts = &manifest["scripts"];
    let settings = std::fs::read_to_string(root.join("nx.json")).ok().filter(|_| by_nx(&scripts["build"]))?;
    let folder = root.join(dir);
    let project = project(root, dir);
    let target =
        |name: &str| [&manifest["nx"], &project].into_iter().map(|of| &of["targets"][name]).find(|target| target.is_object());
    // One that only adds to what a plugin infers has no command.
    let runs = |target: &&Value| {
        ["executor", "command"].iter().any(|key| target[*key].is_string()) || target["options"]["command"].is_string()
    };
    let build = target("build").filter(runs);
    let command = match build {
        Some(target) => explicit(target),
        None => inferred(&settings, &folder)?.to_owned(),
    };
    let serves = target("serve").and_then(|serve| serve["executor"].as_str()).is_some_and(|executor| executor.ends_with(":node"));
    let said = build.and_then(|target| output_path(&target["options"], dir)).or_else(|| configured(&folder, dir));
    let made = said.or_else(|| join(dir, "dist").filter(|_| serves));
    let mut manifest = manifest.clone();
    manifest["scripts"]["build"] = json!(command);
    if by_nx(&manifest["scripts"]["start"]) {
        let stem = build.map_or("main", |target| stem(&target["options"]));
        let start =
            made.as_deref().filter(|_| serves).map(|made| format!("node {}/{stem}.js", below(made, package).unwrap_or(made)));
        manifest["scripts"]["start"] = start.map_or(Value::Null, Value::from);
    }
    Some(Targets { manifest, dir: dir.to_owned(), package: package.to_owned(), build: build.cloned(), made })
}

impl Targets {
    /// What it is; `root` is the root's manifest.
    ///
    /// # Errors
    /// Why it is no service.
    pub(super) fn known(&self, workspace: &Workspace, root: &Value) -> Result<Known, String> {
        let executor = self.build.as_ref().and_then(|build| build["executor"].as_str()).unwrap_or_default();
        let of_angular = self.build.as_ref().filter(|_| ["@angular", "@nx/angular:"].iter().any(|of| executor.starts_with(of)));
        if executor == "@nx/next:build" && self.beside().is_some() {
            return Err(format!(
                "@nx/next:build puts Next.js's server into {}, apart from what it serves: let nx infer the build \
                 (`nx g @nx/next:convert-to-inferred`), or give it a Dockerfile",
                self.made.as_deref().unwrap_or_default()
            ));
        }
        let known = match of_angular {
            Some(target) => browser::angular(last(&self.dir), target).ok_or_else(|| UNKNOWN.to_owned())?,
            None => kind::of(&Facts::of(workspace, &self.dir, &self.manifest, root))?,
        };
        // A library has a `main` and a build, too.
        if known.why.starts_with("`main`") {
            return Ok(known);
        }
        let why = format!("Nx: {}", known.why.trim_start_matches("script `start`: "));
        Ok(match known.kind {
            Kind::Node => {
                let kind = self.beside().map_or(Kind::Node, |made| Kind::Beside(made.to_owned()));
                // What Nx's generators write listens on `localhost` and port 3000 where the environment says nothing else.
                let port = known.port.or(Some(3000));
                let env = if known.port.is_none() { vec![("HOST", "0.0.0.0".to_owned())] } else { known.env };
                Known { kind, why, port, env, ..known }
            }
            Kind::Static(_) if of_angular.is_none() && self.made.is_some() => {
                let made = self.made.as_deref().unwrap_or_default();
                Known { why, ..browser::files("nx build", below(made, &self.dir).unwrap_or(made)) }
            }
            _ => Known { why, ..known },
        })
    }

    /// The folder that the build makes, where no package's own holds it.
    fn beside(&self) -> Option<&str> {
        self.made.as_deref().filter(|made| self.dir != self.package || below(made, &self.package).is_none())
    }
}

/// An application that Nx knows by a `project.json`, and that is no package: the root's package.json has all that it depends on.
pub(super) struct Project {
    /// Its folder.
    pub folder: String,
    /// What Nx calls it.
    name: String,
}

/// The applications among the projects that are no packages; those that hold tests of another are none.
pub(super) fn projects(workspace: &Workspace, files: &[String]) -> Vec<Project> {
    let folders = files.iter().filter_map(|file| file.strip_suffix("/project.json"));
    let of = |folder: &str| {
        let project = project(workspace.root(), folder);
        let name = project["name"].as_str().unwrap_or_else(|| last(folder)).to_owned();
        (project["projectType"] == "application").then(|| Project { folder: folder.to_owned(), name })
    };
    folders.filter(|folder| workspace.by_dir(folder).is_none() && !folder.ends_with("-e2e")).filter_map(of).into_vec()
}

impl Project {
    /// The task that builds it, as nx takes it.
    pub(super) fn build(&self) -> String {
        format!("{}:build", self.name)
    }

    /// What it is; `root` is the root's manifest.
    ///
    /// # Errors
    /// Why it is no service.
    pub(super) fn known(&self, workspace: &Workspace, root: &Value) -> Result<Known, String> {
        let unknown = "no target of its project.json says how it is built, or started: give it a Dockerfile";
        let targets = targets(&json!({}), workspace.root(), &self.folder, ".").ok_or_else(|| unknown.to_owned())?;
        // It has no package.json that could say so.
        targets.known(workspace, root).map_err(|why| if why.contains("package.json") { unknown.to_owned() } else { why })
    }
}

fn project(root: &Path, dir: &str) -> Value {
    let text = std::fs::read_to_string(root.join(dir).join("project.json")).unwrap_or_default();
    with_comments(&text).unwrap_or_default()
}

/// True of a package in `apps/` that Nx knows as a project, and that holds no tests of another.
pub(super) fn is_application(manifest: &Value, folder: &Path) -> bool {
    let is_project = !manifest["nx"].is_null() || folder.join("project.json").is_file();
    is_project && !folder.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-e2e"))
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

/// The folder that a target's options say, from the root.
fn output_path(options: &Value, dir: &str) -> Option<String> {
    let path = &options["outputPath"];
    let path = path.as_str().or_else(|| path["base"].as_str())?.replace("{projectRoot}", dir).replace("{workspaceRoot}/", "");
    join(".", path.trim_end_matches('/')).filter(|path| !path.contains('{'))
}

/// The same as the settings of webpack or rspack say it: `path: join(__dirname, '../../dist/apps/api')`.
fn configured(folder: &Path, dir: &str) -> Option<String> {
    let mut texts =
        ["webpack.config", "rspack.config"].iter().flat_map(|stem| ["js", "cjs", "ts"].map(|end| format!("{stem}.{end}")));
    let text = texts.find_map(|file| std::fs::read_to_string(folder.join(file)).ok())?;
    let (_, path) = text.split_once("path: ").and_then(|(_, call)| call.split_once("__dirname"))?;
    let literal = path.split(['\'', '"', '`']).nth(1)?;
    join(dir, literal).filter(|path| path != dir)
}

/// The name of the file that a build for Node makes of its `main`, without its ending.
fn stem(options: &Value) -> &str {
    let main = options["outputFileName"].as_str().or_else(|| options["main"].as_str()).unwrap_or("main.js");
    let file = last(main);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// A path below a folder, from there.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    if folder == "." { Some(path) } else { path.strip_prefix(folder)?.strip_prefix('/') }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{Found, services};
    use crate::written::workspace;

    #[test]
    fn targets_are_scripts_where_a_package_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("apps/api");
        std::fs::create_dir_all(&folder).unwrap();
        let scripts = |manifest: Value| {
            let targets = targets(&manifest, dir.path(), "apps/api", "apps/api")?;
            let script = |name: &str| targets.manifest["scripts"][name].as_str().map(str::to_owned);
            Some([script("build"), script("start")].into_iter().flatten().collect::<Vec<_>>().join("; "))
        };
        let target = |build: Value| json!({"nx": {"targets": {"build": build, "serve": {"executor": "@nx/js:node"}}}});
        let esbuild = |path: &str| {
            target(json!({"executor": "@nx/esbuild:esbuild", "options": {"outputPath": path, "main": "apps/api/src/main.ts"}}))
        };
        assert_eq!(scripts(esbuild("apps/api/dist")), None, "it is no workspace of Nx");

        std::fs::write(dir.path().join("nx.json"), r#"{"plugins": [{"plugin": "@nx/next/plugin"}, "@nx/webpack/plugin"]}"#)
            .unwrap();
        let runs = |scripts: &str| Some(scripts.to_owned());
        assert_eq!(scripts(esbuild("apps/api/dist")), runs("nx build; node dist/main.js"));
        assert_eq!(scripts(esbuild("{projectRoot}/dist")), runs("nx build; node dist/main.js"));
        assert_eq!(scripts(esbuild("dist/apps/api")), runs("nx build; node dist/apps/api/main.js"), "beside the package");
        assert_eq!(scripts(json!({"scripts": {"build": "tsc"}})), None);
        assert_eq!(scripts(json!({})), None, "Nx has no build of it");
        let vite = json!({"nx": {"targets": {"build": {"executor": "@nx/vite:build"}}}});
        assert_eq!(scripts(vite), runs("vite build"));

        // By a plugin and the file that it looks for.
        std::fs::write(folder.join("webpack.config.js"), "").unwrap();
        let serve = json!({"nx": {"targets": {"serve": {"executor": "@nx/js:node"}}}});
        assert_eq!(scripts(serve.clone()), runs("webpack-cli build; node dist/main.js"));
        let output = "module.exports = { output: { path: join(__dirname, '../../dist/apps/api') } };";
        std::fs::write(folder.join("webpack.config.js"), output).unwrap();
        assert_eq!(scripts(serve), runs("webpack-cli build; node dist/apps/api/main.js"));
        std::fs::write(folder.join("next.config.js"), "").unwrap();
        assert_eq!(scripts(json!({})), runs("next build"));
        assert_eq!(scripts(json!({"nx": {"targets": {"build": {"cache": false}}}})), runs("next build"));
    }

    /// The root has what all of them depend on.
    const ROOT: [(&str, &str); 4] = [
        (
            "package.json",
            r#"{"name": "@acme/source", "dependencies": {"next": "16", "@angular/core": "22"}, "devDependencies": {"nx": "23", "vite": "8"}}"#,
        ),
        ("pnpm-workspace.yaml", "{}\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ("nx.json", r#"{"plugins": ["@nx/vite/plugin", "@nx/next/plugin"]}"#),
    ];

    fn found(files: &[(&str, &str)]) -> (Found, String) {
        let all = [&ROOT[..], files].concat();
        let (_dir, workspace) = workspace(&all);
        let paths: Vec<String> = all.iter().map(|(path, _)| (*path).to_owned()).collect();
        let found = services(&workspace, &[], &paths).unwrap();
        let text = crate::dockerfile::text(&workspace, &found.services, "Dockerfile");
        (found, text)
    }

    #[test]
    fn projects_that_are_no_packages_are_services_of_the_root() {
        let node = r#"{"name": "api", "projectType": "application", /* ours */ "targets": {
            "build": {"executor": "@nx/webpack:webpack", "options": {"outputPath": "dist/apps/api", "main": "apps/api/src/main.ts"}},
            "serve": {"executor": "@nx/js:node"}}}"#;
        let angular = r#"{"name": "shop-front", "projectType": "application", "targets": {
            "build": {"executor": "@angular/build:application", "options": {"outputPath": "dist/apps/shop"}}}}"#;
        let application = r#"{"projectType": "application"}"#;
        let (found, text) = found(&[
            ("apps/api/project.json", node),
            ("apps/api-e2e/project.json", application),
            ("apps/shop/project.json", angular),
            ("apps/site/project.json", application),
            ("apps/site/vite.config.mts", "export default { build: { outDir: '../../dist/apps/site' } };"),
            ("apps/site/index.html", ""),
            ("apps/web/project.json", application),
            ("apps/web/next.config.js", "module.exports = { output: 'standalone' };"),
            ("apps/odd/project.json", application),
            ("libs/ui/project.json", r#"{"projectType": "library"}"#),
        ]);
        let shown: Vec<_> = found.services.iter().map(|s| format!("{} {} {} {}", s.name, s.folder, s.package, s.why)).collect();
        assert_eq!(
            shown,
            [
                "api apps/api . Nx: node dist/apps/api/main.js",
                "shop apps/shop . Nx: ng build, files in dist/apps/shop/browser",
                "site apps/site . Nx: vite build, files in dist/apps/site",
                "web apps/web . Nx: next build",
            ]
        );
        assert_eq!(found.others.len(), 1);
        assert!(
            found.others[0].0 == "apps/odd" && found.others[0].1.starts_with("no target of its project.json"),
            "{:?}",
            found.others
        );
        for line in [
            "build-closure @acme/source api:build && \\\n    collect-closure packages && \\\n    collect-closure folder . dist/apps/api && \\\n    \
             collect-closure imported . dist/apps/api && \\\n    collect-closure started . dist/apps/api/main.js\n",
            "WORKDIR /app\nENV PATH=/app/node_modules/.bin:$PATH\nCOPY --link --from=api-production /production/app /app\n",
            "CMD [\"node\", \"dist/apps/api/main.js\"]\n",
            "build-closure @acme/source shop-front:build && \\\n    collect-closure files apps/shop dist/apps/shop/browser\n",
            "collect-closure files apps/site dist/apps/site\n",
            "target=/app/apps/web/.next/cache",
            "build-closure @acme/source web:build && \\\n    collect-closure next apps/web .next\n",
            "WORKDIR /app/apps/web\n",
        ] {
            assert!(text.contains(line), "{line}\n{}", &text[text.find("# ── api").unwrap()..]);
        }
    }

    #[test]
    fn a_project_at_the_root_is_the_roots_package() {
        let manifest =
            r#"{"name": "shop", "scripts": {"start": "nx serve", "build": "nx build"}, "devDependencies": {"nx": "23"}}"#;
        let project = r#"{"name": "shop", "projectType": "application", "targets": {
            "build": {"executor": "@nx/esbuild:esbuild", "options": {"outputPath": "dist/shop", "main": "src/main.ts"}},
            "serve": {"executor": "@nx/js:node"}}}"#;
        let (found, text) = found(&[("package.json", manifest), ("project.json", project)]);
        let shown: Vec<_> = found.services.iter().map(|s| format!("{} {} {}", s.name, s.package, s.why)).collect();
        assert_eq!(shown, ["shop . Nx: node dist/shop/main.js"]);
        assert!(
            text.contains("build-closure shop build && \\\n    collect-closure packages shop && \\\n    collect-closure started")
        );
    }

    #[test]
    fn what_nx_makes_beside_a_package_is_taken_into_its_folder_and_a_server_without_its_files_is_refused() {
        let targets = |build: &str| {
            format!(
                r#"{{"name": "@acme/api", "nx": {{"targets": {{"build": {build}, "serve": {{"executor": "@nx/js:node"}}}}}}}}"#
            )
        };
        let esbuild = targets(r#"{"executor": "@nx/esbuild:esbuild", "options": {"outputPath": "dist/apps/api"}}"#);
        let next = targets(r#"{"executor": "@nx/next:build", "options": {"outputPath": "dist/apps/web"}}"#);
        let packages = ("pnpm-workspace.yaml", "packages: ['apps/*']\n");
        let (found, text) = found(&[packages, ("apps/api/package.json", &esbuild), ("apps/web/package.json", &next)]);
        assert_eq!(found.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["api"]);
        assert!(
            text.contains("collect-closure packages @acme/api && \\\n    collect-closure folder apps/api dist/apps/api"),
            "{text}"
        );
        assert!(text.contains("WORKDIR /app/apps/api\n"));
        let (folder, why) = &found.others[0];
        assert!(folder == "apps/web" && why.contains("nx g @nx/next:convert-to-inferred"), "{why}");
    }
}
