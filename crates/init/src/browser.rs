//! What a package makes for browsers: the folder that its bundler or its framework leaves, by command and settings.

use serde_json::Value;

use super::kind::{Facts, Kind, Known, value};
use super::start::{Start, is_for_developers};
use monoship_core::collect::Collect as _;

/// Bundlers that make pages where there is one to begin with.
const BUNDLERS: [&str; 4] = ["@rsbuild/core", "parcel", "webpack", "@rspack/core"];

/// Programs that make pages of whatever they find, and the folder that they put them into.
const SITES: [(&str, &str); 5] = [
    ("@11ty/eleventy", "_site"),
    ("@rspress/core", "doc_build"),
    ("@slidev/cli", "dist"),
    ("ember-cli", "dist"),
    ("rspress", "doc_build"),
];

/// How a Storybook is built.
const STORYBOOK: [&str; 3] = ["storybook build", "sb build", "build-storybook"];

/// What a bundler makes for browsers.
pub(super) fn browser(facts: &Facts<'_>, start: Option<&Start>, own_server: bool) -> Option<Known> {
    if own_server {
        return None;
    }
    let build =
        ["build", "docs:build"].map(|name| facts.script(name)).into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let serves = start.is_none_or(|start| {
        is_for_developers(&start.run)
            || ["vite preview", "serve ", "http-server", "sirv"].iter().any(|server| start.run.contains(server))
            || start.script.is_none()
            || start.run.trim().is_empty()
    });
    if !serves {
        return None;
    }
    let found = |name: &str, folder: String| Some(files(name, &folder));
    let or = |named: Option<String>, usual: &str| named.unwrap_or_else(|| usual.to_owned());
    if facts.needs("vitepress") && build.contains("vitepress") {
        let root = root_of(build).unwrap_or(".");
        let settings = facts.settings(&format!("{root}/.vitepress/config"));
        let made = flag(build, &["--outDir"]).or_else(|| value(&settings, "outDir"));
        let made = facts.below(&format!("{root}/{}", or(made, ".vitepress/dist")))?;
        return found("vitepress build", made).map(|known| known.below(base_of(build, &settings, "base")));
    }
    if facts.needs("@docusaurus/core") {
        let base = base_of("", &facts.settings("docusaurus.config"), "baseUrl");
        return found("docusaurus build", or(flag(build, &["--out-dir"]), "build")).map(|known| known.below(base));
    }
    if STORYBOOK.iter().any(|command| build.contains(command)) {
        return found("storybook build", or(flag(build, &["--output-dir", "-o"]), "storybook-static"));
    }
    if facts.needs("react-scripts") && build.contains("react-scripts") {
        return found("react-scripts build", "build".to_owned());
    }
    if facts.needs("gatsby") && build.contains("gatsby") {
        return found("gatsby build", "public".to_owned());
    }
    if let Some(tool) = ["max", "umi"].into_iter().find(|tool| build.contains(&format!("{tool} build"))) {
        let settings = facts.settings(".umirc") + &facts.settings("config/config");
        return found(&format!("{tool} build"), or(facts.folder_in(&settings, "outputPath"), "dist"));
    }
    if facts.needs("@angular/core") && build.contains("ng build") {
        return by_angular(facts);
    }
    if facts.needs("@vue/cli-service") && build.contains("vue-cli-service") {
        let settings = facts.settings("vue.config");
        let made = flag(build, &["--dest"]).or_else(|| facts.folder_in(&settings, "outputDir"));
        return found("vue-cli-service build", or(made, "dist")).map(|known| known.below(base_of("", &settings, "publicPath")));
    }
    if (build.contains("vite") || facts.needs("vite"))
        && let Some(folder) = by_vite(facts, build)
    {
        let base = base_of(build, &facts.settings("vite.config"), "base");
        return found("vite build", folder).map(|known| known.below(base));
    }
    if let Some((tool, folder)) = SITES.iter().find(|(tool, _)| facts.needs(tool) && !build.is_empty()) {
        return found(tool, named(facts, build).unwrap_or_else(|| (*folder).to_owned()));
    }
    for tool in BUNDLERS {
        let page = ["index.html", "src/index.html", "public/index.html"].iter().any(|page| facts.has(page));
        let has_page = page || (tool == "@rsbuild/core" && build.contains("rsbuild build"));
        if facts.needs(tool) && has_page && !build.is_empty() && !facts.runs("express") && !facts.runs("fastify") {
            return found(tool, named(facts, build).unwrap_or_else(|| "dist".to_owned()));
        }
    }
    None
}

/// The folder that a `build` command is given as its root.
fn root_of(command: &str) -> Option<&str> {
    command.split_whitespace().skip_while(|word| *word != "build").nth(1).filter(|word| !word.starts_with('-'))
}

/// The folder that Vite makes, where its root has a page. Its output lies below the root.
fn by_vite(facts: &Facts<'_>, build: &str) -> Option<String> {
    let settings = facts.settings("vite.config");
    let words = build.split("&&").find(|step| step.contains("vite")).unwrap_or(build);
    let root = root_of(words).map(str::to_owned).or_else(|| value(&settings, "root")).unwrap_or_else(|| ".".to_owned());
    let made = flag(words, &["--outDir"]).or_else(|| value(&settings, "outDir")).unwrap_or_else(|| "dist".to_owned());
    facts.has(&format!("{root}/index.html")).then(|| facts.below(&format!("{root}/{made}")))?
}

/// The path below which pages say that they lie, by a flag of a command or a key of settings: `base: '/docs/'`.
fn base_of(command: &str, settings: &str, key: &str) -> Option<String> {
    flag(command, &["--base"]).or_else(|| value(settings, key))
}

/// What Astro makes: files, or a server that renders them.
pub(super) fn astro(facts: &Facts<'_>) -> Result<Known, String> {
    let settings = facts.settings("astro.config");
    let made = facts.folder_in(&settings, "outDir").unwrap_or_else(|| "dist".to_owned());
    if facts.needs("@astrojs/node") {
        return Ok(Known {
            kind: Kind::Node,
            why: "@astrojs/node".to_owned(),
            command: Start::made(&format!("node {made}/server/entry.mjs")).command,
            port: Some(4321),
            env: vec![("HOST", "0.0.0.0".to_owned())],
            note: None,
        });
    }
    let others = ["@astrojs/vercel", "@astrojs/netlify", "@astrojs/cloudflare"];
    match others.iter().find(|name| facts.needs(name) && settings.contains("adapter")) {
        Some(adapter) => Err(format!("its adapter {adapter} makes nothing that a container runs; `@astrojs/node` does")),
        None => Ok(files("astro build", &made).below(value(&settings, "base"))),
    }
}

/// The folder that a bundler's command or its settings name.
fn named(facts: &Facts<'_>, build: &str) -> Option<String> {
    let by_flag = flag(build, &["--output-path", "-o", "--dist-dir", "--output"]);
    let settings: String = ["webpack.config", "rspack.config", "rsbuild.config", ".eleventy", "eleventy.config"]
        .iter()
        .map(|stem| facts.settings(stem))
        .collect();
    // Rsbuild's `distPath` is a text, or an object whose `root` is one.
    let at = settings.find("distPath:").map(|at| &settings[at..]);
    let by_settings = || at.and_then(|at| value(at, "distPath").or_else(|| value(at, "root")));
    let by_output =
        || settings.find("output:").and_then(|at| value(&settings[at..], "path").or_else(|| value(&settings[at..], "output")));
    facts.below(&by_flag.or_else(by_settings).or_else(by_output)?)
}

/// What an option of a command is given.
pub(super) fn flag(command: &str, names: &[&str]) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().into_vec();
    let apart = words.windows(2).find(|pair| names.contains(&pair[0])).map(|pair| pair[1]);
    let joined =
        || words.iter().find_map(|word| word.split_once('=').filter(|(name, _)| names.contains(name)).map(|(_, value)| value));
    apart.or_else(joined).map(str::to_owned)
}

/// What Angular makes of the one project of a package.
fn by_angular(facts: &Facts<'_>) -> Option<Known> {
    let text = std::fs::read_to_string(facts.folder.join("angular.json")).ok()?;
    let settings = monoship_workspace::sources::with_comments(&text)?;
    let is_app = |project: &&(&String, &Value)| project.1["projectType"] != "library";
    let (name, project) = settings["projects"].as_object()?.iter().find(|project| is_app(&project))?;
    let targets = if project["architect"].is_object() { &project["architect"] } else { &project["targets"] };
    angular(name, &targets["build"])
}

/// What a target of Angular's makes, in its words or Nx's: files, or a server that renders them. Source: angular.dev, "Workspace configuration".
pub(super) fn angular(name: &str, target: &Value) -> Option<Known> {
    let builder = ["builder", "executor"].iter().find_map(|key| target[*key].as_str()).unwrap_or_default();
    let options = &target["options"];
    let path = &options["outputPath"];
    let base = path.as_str().or_else(|| path["base"].as_str()).map_or_else(|| format!("dist/{name}"), str::to_owned);
    // The builders since Angular 17 put them a folder deeper.
    let is_new = builder.ends_with(":application");
    let below = |kind: &str| if is_new { path[kind].as_str().unwrap_or(kind).to_owned() } else { String::new() };
    let has_server = options["ssr"].is_object() || options["ssr"] == true || options["outputMode"] == "server";
    if !has_server || options["outputMode"] == "static" {
        return Some(files("ng build", &format!("{base}/{}", below("browser"))));
    }
    let server = format!("{base}/{}/server.mjs", below("server"));
    let is_closed = options["security"]["allowedHosts"].as_array().is_some_and(Vec::is_empty);
    let note = "its server answers for no host but those that `security.allowedHosts` in angular.json names, or the variable NG_ALLOWED_HOSTS where it runs";
    is_new.then(|| Known {
        kind: Kind::Node,
        why: format!("ng build, the server {server}"),
        command: Start::made(&format!("node {server}")).command,
        port: Some(4000),
        env: Vec::new(),
        note: is_closed.then(|| note.to_owned()),
    })
}

impl Known {
    /// Files whose pages say that they lie below a path: the server finds them there too, as where a proxy takes the path away.
    pub(super) fn below(self, base: Option<String>) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let base = base.filter(|base| base.starts_with('/') && !base.starts_with("//") && base.chars().all(plain));
        match base.as_deref().map(|base| base.trim_end_matches('/')).filter(|base| !base.is_empty()) {
            Some(base) => Self { command: SERVE.replace(" \"/srv\"", &format!(" \"/srv\", \"{base}\"")), ..self },
            None => self,
        }
    }
}

/// The command by which files are served.
const SERVE: &str = "[\"node\", \"/usr/local/bin/serve-files\", \"/srv\"]";

pub(super) fn files(why: &str, folder: &str) -> Known {
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    Known {
        kind: Kind::Static(folder.to_owned()),
        why: format!("{why}, files in {folder}"),
        command: SERVE.to_owned(),
        port: Some(8080),
        env: Vec::new(),
        note: None,
    }
}
