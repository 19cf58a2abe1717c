//! What a package is, by its manifest and the settings of its framework: which folder its build makes, how that is started, on which port.

use std::path::{Path, PathBuf};

use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_workspace::Workspace;
use monoship_workspace::tools::is_command_of;
use pnpm::join;

use super::browser::{astro, browser, files, flag};
use super::start::{Start, environment_file, is_for_developers};

/// How a service's image is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its production dependencies beside what it is built to.
    Node,
    /// The same with one folder, from the root or the package's, in place of the package's own.
    Beside(String),
    /// All of its dependencies: it is started by a tool of the development ones.
    Development,
    /// Next.js's standalone output, which holds its own dependencies, in the folder that its build makes.
    Next(String),
    /// A folder that holds its own dependencies: Nitro's `.output`.
    Output(String),
    /// A folder of files for browsers.
    Static(String),
}

/// A package that can be a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub kind: Kind,
    /// How it is recognised.
    pub why: String,
    /// The start command in CMD's JSON form.
    pub command: String,
    /// The port that it listens on, where its framework has one.
    pub port: Option<u16>,
    /// What it is told by the environment to listen on every address.
    pub env: Vec<(&'static str, String)>,
    /// What is to be known about it.
    pub note: Option<String>,
}

/// What decides: a manifest and the root's, and the files in its folder.
pub(super) struct Facts<'a> {
    pub manifest: &'a Value,
    pub root: &'a Value,
    pub folder: PathBuf,
    /// The folder from the root.
    pub dir: &'a str,
}

const DEPENDENCIES: [&str; 2] = ["dependencies", "devDependencies"];

impl<'a> Facts<'a> {
    pub(super) fn of(workspace: &Workspace, dir: &'a str, manifest: &'a Value, root: &'a Value) -> Self {
        Self { manifest, root, folder: workspace.root().join(dir), dir }
    }

    /// True where it has a dependency, or the root does and its own scripts or settings use that.
    pub(super) fn needs(&self, name: &str) -> bool {
        let has = |manifest: &Value| DEPENDENCIES.iter().any(|field| manifest[field].get(name).is_some());
        has(self.manifest) || (has(self.root) && self.uses(name))
    }

    fn uses(&self, name: &str) -> bool {
        let scripts = ["build", "start", "dev"].into_iter().flat_map(|script| self.script(script).split_whitespace());
        let mut commands = scripts.filter(|word| word.chars().next().is_some_and(char::is_alphabetic));
        commands.any(|word| is_command_of(word, name))
            || ["vite.config", "svelte.config", "astro.config"].iter().any(|stem| self.settings(stem).contains(name))
    }

    /// True where a program comes with one of its dependencies or the root's.
    fn brings(&self, program: &str) -> bool {
        brings(self.manifest, program) || brings(self.root, program)
    }

    pub(super) fn runs(&self, name: &str) -> bool {
        self.manifest["dependencies"].get(name).is_some()
    }

    pub(super) fn script(&self, name: &str) -> &str {
        self.manifest["scripts"][name].as_str().unwrap_or_default()
    }

    /// The text of a framework's settings, whatever their ending, without lines that are comments; empty where there are none.
    pub(super) fn settings(&self, stem: &str) -> String {
        let files = ["ts", "mts", "js", "mjs", "cjs"].map(|ending| self.folder.join(format!("{stem}.{ending}")));
        let text = files.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let counts = |line: &&str| !["//", "/*", "*"].iter().any(|comment| line.trim_start().starts_with(comment));
        text.lines().filter(counts).into_vec().join("\n")
    }

    /// True where a `main` is there, has a source beside it, or lies in a folder, where builds put it: `npm init` writes `index.js` everywhere.
    pub(super) fn makes(&self, main: &str) -> bool {
        let main = main.trim_start_matches("./");
        let stem = main.rsplit_once('.').map_or(main, |(stem, _)| stem);
        main.contains('/') || ["", ".js", ".mjs", ".cjs", ".ts", ".mts"].iter().any(|end| self.has(&format!("{stem}{end}")))
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    /// The folder that settings name under a key: below its own from there, another one from the root.
    pub(super) fn folder_in(&self, settings: &str, key: &str) -> Option<String> {
        self.below(&value(settings, key)?)
    }

    /// A folder named from its own: below its own from there, another one from the root.
    pub(super) fn below(&self, named: &str) -> Option<String> {
        let path = join(self.dir, named)?;
        let own = if self.dir == "." { None } else { path.strip_prefix(self.dir).and_then(|path| path.strip_prefix('/')) };
        Some(own.map_or_else(|| path.clone(), str::to_owned))
    }
}

/// Programs by which services of other languages are started: no image of Node's has them.
const OF_OTHERS: [&str; 20] = [
    "air",
    "bundle",
    "cargo",
    "celery",
    "dotnet",
    "flask",
    "go",
    "gradle",
    "gunicorn",
    "hypercorn",
    "java",
    "mix",
    "mvn",
    "php",
    "poetry",
    "python",
    "python3",
    "ruby",
    "uv",
    "uvicorn",
];

/// True where a program comes with one of a manifest's dependencies.
fn brings(manifest: &Value, program: &str) -> bool {
    let mut names = DEPENDENCIES.iter().filter_map(|field| manifest[*field].as_object()).flatten().map(|(name, _)| name);
    names.any(|name| name == program || is_command_of(program, name))
}

/// True where scripts of a manifest have those of other packages run.
pub(super) fn calls_others(manifest: &Value) -> bool {
    const RUNNERS: [&str; 9] = ["turbo", "lerna", "run-many", "-r", "--recursive", "--filter", "-F", "--parallel", "workspaces"];
    let scripts = ["build", "start"].iter().filter_map(|name| manifest["scripts"][*name].as_str());
    scripts.flat_map(|script| script.split([' ', '='])).any(|word| RUNNERS.contains(&word))
}

/// True where a manifest's build calls what builds it by name: no tool that calls the builds of other packages.
pub(super) fn builds_itself(manifest: &Value) -> bool {
    const BUILDERS: [&str; 13] = [
        "next",
        "nuxt",
        "nuxi",
        "nitro",
        "vite",
        "astro",
        "nest",
        "react-router",
        "remix",
        "vinxi",
        "ng",
        "gatsby",
        "docusaurus",
    ];
    let build = manifest["scripts"]["build"].as_str().unwrap_or_default();
    build.split("&&").any(|step| step.split_whitespace().next().is_some_and(|program| BUILDERS.contains(&program)))
}

/// What a package is; an error says why it is no service, where that can be said.
pub(super) fn of(facts: &Facts<'_>) -> Result<Known, String> {
    if let Some(why) = elsewhere(facts) {
        return Err(why.to_owned());
    }
    let start = Start::of(facts.manifest);
    let is_there = |start: &Start| start.script.is_some() || facts.makes(&start.run);
    let start = match start {
        Some(start) if is_there(&start) => Some(start),
        other => Start::otherwise(facts.manifest).filter(|_| serves(facts)).or(other),
    };
    if let Some(known) = framework(facts, start.as_ref()) {
        return known;
    }
    let Some(start) = start else {
        return Err(match facts.script("start") {
            "" if is_moons(facts) => {
                "its start is a task of moon's (moon.yml), which no image runs: give its package.json `build` and `start`"
                    .to_owned()
            }
            "" => "its package.json has neither a start script nor `main`".to_owned(),
            script => format!("its script `start` is for developers ({script}), and nothing says what its build makes"),
        });
    };
    if let Some(other) = start.tool.as_ref().filter(|tool| OF_OTHERS.contains(&tool.as_str()) && !facts.brings(tool)) {
        return Err(format!("it is started by `{other}`, which is none of Node's: with a Dockerfile of its own it is a service"));
    }
    if let Some(other) = compiler_of_another(facts).filter(|_| !start.is_by_node()) {
        return Err(format!("it is built by `{other}`, which is none of Node's: with a Dockerfile of its own it is a service"));
    }
    let why = match &start.script {
        Some(script) => format!("script `{script}`: {}", start.run),
        None => format!("`main` is {}", start.run),
    };
    let note = start.tool.as_ref().map(|tool| {
        if facts.brings(tool) {
            format!("it is started by `{tool}`, no production dependency: the image gets the development ones too; move it to `dependencies`")
        } else {
            format!("it is started by `{tool}`, which no dependency brings, and the image has Node alone: it will not start; add what brings it to `dependencies`, or start it by `node`")
        }
    });
    let unread = start.run.split_whitespace().find_map(environment_file).map(|file| {
        format!("its script reads `{file}`, and no image has `.env` files: give the service the variables of that where it runs")
    });
    let in_shell =
        start.run.split_whitespace().filter(|word| Path::new(word).extension().is_some_and(|ending| ending == "sh")).find_map(
            |file| {
                let text = std::fs::read_to_string(facts.folder.join(file)).ok()?;
                let manager = text.lines().filter_map(|line| line.split_whitespace().find(|word| *word != "exec"));
                let manager = manager.into_iter().find(|word| ["pnpm", "yarn", "bun"].contains(word))?;
                Some(format!("`{file}` calls `{manager}`, and no image has it: let it call the program itself"))
            },
        );
    let left_out = || {
        let command = start.left_out(facts.manifest)?;
        Some(format!(
            "before its script a package manager runs `{command}`, and the image does not: put into the script what it needs there"
        ))
    };
    let note = note.or(unread).or(in_shell).or_else(left_out);
    let kind = if start.tool.is_some() { Kind::Development } else { Kind::Node };
    Ok(Known { kind, why, command: start.command, port: None, env: Vec::new(), note })
}

/// True where moon starts a package by a task that no script stands for.
fn is_moons(facts: &Facts<'_>) -> bool {
    let text = std::fs::read_to_string(facts.folder.join("moon.yml")).unwrap_or_default();
    text.lines().any(|line| ["start:", "serve:"].contains(&line.trim()))
}

/// The program of another language that a package's build calls.
fn compiler_of_another<'a>(facts: &'a Facts<'_>) -> Option<&'a str> {
    let mut programs = facts
        .script("build")
        .split(['&', ';', '|'])
        .filter_map(|step| step.split_whitespace().find(|word| !word.contains('=') && !["cd", "cross-env"].contains(word)));
    programs.find(|program| OF_OTHERS.contains(program) && !facts.brings(program))
}

/// True where what developers run is a service: an app's, or one with a server's library.
fn serves(facts: &Facts<'_>) -> bool {
    const LIBRARIES: [&str; 16] = [
        "@apollo/server",
        "@hapi/hapi",
        "@hono/node-server",
        "@nestjs/core",
        "amqplib",
        "bullmq",
        "discord.js",
        "express",
        "fastify",
        "graphql-yoga",
        "grammy",
        "koa",
        "polka",
        "socket.io",
        "telegraf",
        "ws",
    ];
    facts.folder.parent().and_then(Path::file_name).is_some_and(|above| above == "apps")
        || LIBRARIES.iter().any(|name| facts.runs(name))
}

/// Packages that run on a phone, a desktop, in an editor, or on somebody else's servers.
fn elsewhere(facts: &Facts<'_>) -> Option<&'static str> {
    let uses = |name: &str| facts.needs(name);
    if uses("expo") || uses("react-native") {
        return Some("it is an app for phones");
    }
    if ["electron", "electrobun", "@tauri-apps/cli", "@neutralinojs/neu", "nw"].into_iter().any(uses) {
        return Some("it is a desktop app");
    }
    if facts.manifest["engines"].get("vscode").is_some() || uses("wxt") || uses("plasmo") || uses("@crxjs/vite-plugin") {
        return Some("it is an extension of an editor or a browser");
    }
    if talks_to_its_caller(facts) {
        return Some("it talks to the program that starts it, by standard input and output (MCP)");
    }
    let start = facts.script("start");
    if (uses("wrangler") && (start.is_empty() || start.contains("wrangler"))) || (start.contains("vercel dev")) {
        return Some("it runs on somebody else's servers (wrangler, vercel)");
    }
    let tests = ["@playwright/test", "cypress"].iter().any(|tool| uses(tool));
    if tests && facts.script("build").is_empty() && facts.script("start").is_empty() && facts.manifest["main"].is_null() {
        return Some("it holds tests");
    }
    None
}

/// True where what a package starts serves the Model Context Protocol to the program that starts it, and nobody else: no port is opened.
fn talks_to_its_caller(facts: &Facts<'_>) -> bool {
    let scripts = ["start", "dev"].into_iter().flat_map(|name| facts.script(name).split_whitespace());
    let entries = scripts.chain(["src/index.ts", "index.ts", "index.js"]).filter(|word| word.contains('.'));
    let text = entries.filter_map(|entry| std::fs::read_to_string(facts.folder.join(entry)).ok()).collect::<String>();
    let serves = ["HTTPServerTransport", "SSEServerTransport", "listen(", "serve("].iter().any(|call| text.contains(call));
    text.contains("StdioServerTransport") && !serves
}

/// A framework's service, where the package uses one.
fn framework(facts: &Facts<'_>, start: Option<&Start>) -> Option<Result<Known, String>> {
    let script =
        ["start:prod", "start:production", "start"].map(|name| facts.script(name)).into_iter().find(|text| !text.is_empty());
    let script = script.unwrap_or_default();
    let own_server = start.is_some_and(|start| start.script.is_some() && start.is_by_node())
        && !script.contains(".output/")
        && !script.contains(".next/standalone");
    if facts.needs("next") && facts.script("build").contains("next build") && !own_server {
        return Some(Ok(next(facts)));
    }
    if facts.needs("nuxt") {
        let generates =
            facts.script("build").contains("generate") || says(&facts.settings("nuxt.config"), "ssr:false") && script.is_empty();
        return Some(Ok(if generates {
            files("nuxt", &format!("{}/public", nitro_output(facts)))
        } else {
            nitro("nuxt", facts)
        }));
    }
    // Alone, or as a bundler's plugin.
    let build = facts.script("build");
    let is_nitro = build.contains("nitro build")
        || (facts.needs("nitro") && build.contains("vite build") && facts.settings("vite.config").contains("nitro/vite"));
    if is_nitro && !own_server {
        return Some(Ok(nitro("nitro build", facts)));
    }
    // Without Nitro's plugin TanStack Start makes a handler, which a server of another package serves: `srvx dist/server/server.js`.
    let by_another = start.is_some_and(|start| {
        let serves = |tool: &str| script.split_whitespace().any(|word| word == tool);
        let is_usual = is_for_developers(&start.run) || script.contains(".output") || ["vinxi", "vite"].into_iter().any(serves);
        start.script.is_some() && start.tool.is_none() && !is_usual
    });
    for name in
        ["@tanstack/react-start", "@tanstack/solid-start", "@tanstack/start", "@solidjs/start", "@analogjs/platform", "vinxi"]
    {
        if facts.needs(name) && !own_server && !by_another {
            return Some(Ok(nitro(name, facts)));
        }
    }
    if facts.needs("@sveltejs/kit") {
        return Some(svelte(facts, start));
    }
    // Its build makes an application with a manifest of its own, whose start script is this package's: it is meant to be run there.
    if facts.runs("@adonisjs/core")
        && build.contains("ace build")
        && start.is_some_and(|start| start.run.contains(" bin/server.js"))
    {
        let (port, env) = (Some(3333), vec![("HOST", "0.0.0.0".to_owned())]);
        let command = Start::made(&format!("cd build && {}", start?.run)).command;
        return Some(Ok(Known { kind: Kind::Node, why: "node ace build".to_owned(), command, port, env, note: None }));
    }
    if facts.needs("astro") && !own_server && (facts.script("build").contains("astro") || script.contains("astro")) {
        return Some(astro(facts));
    }
    if (facts.needs("@react-router/dev") || facts.needs("@remix-run/dev")) && !facts.script("build").is_empty() {
        if ["react-router.config", "vite.config"].iter().any(|stem| says(&facts.settings(stem), "ssr:false")) {
            let made = value(&facts.settings("react-router.config"), "buildDirectory").unwrap_or_else(|| "build".to_owned());
            return Some(Ok(files("react-router", &format!("{made}/client"))));
        }
        return None;
    }
    browser(facts, start, own_server).map(Ok)
}

fn next(facts: &Facts<'_>) -> Known {
    let settings = facts.settings("next.config");
    if says(&settings, "output:'export'") || says(&settings, "output:\"export\"") {
        let folder = facts.folder_in(&settings, "distDir").unwrap_or_else(|| "out".to_owned());
        return files("next", &folder).below(value(&settings, "basePath"));
    }
    let has_flag = settings.contains("standalone");
    let note = "next.config does not say `output: 'standalone'`: the Dockerfile asks for it by NEXT_PRIVATE_STANDALONE; say it there to have it everywhere";
    Known {
        kind: Kind::Next(facts.folder_in(&settings, "distDir").unwrap_or_else(|| ".next".to_owned())),
        why: "next build".to_owned(),
        command: "[\"node\", \"server.js\"]".to_owned(),
        port: flag(facts.script("start"), &["-p", "--port"]).and_then(|port| port.parse().ok()).or(Some(3000)),
        env: vec![("HOSTNAME", "0.0.0.0".to_owned())],
        note: (!has_flag).then(|| note.to_owned()),
    }
}

/// True where settings have these words, however they are spaced.
fn says(settings: &str, words: &str) -> bool {
    settings.split_whitespace().collect::<String>().contains(words)
}

/// The folder that Nitro makes, as its settings say, alone or in a framework's.
fn nitro_output(facts: &Facts<'_>) -> String {
    let settings = ["nitro.config", "nuxt.config"].map(|stem| facts.settings(stem)).join("\n");
    let named = settings.find("output:").and_then(|at| value(&settings[at..], "dir"));
    named.and_then(|named| facts.below(&named)).unwrap_or_else(|| ".output".to_owned())
}

fn nitro(name: &str, facts: &Facts<'_>) -> Known {
    let made = nitro_output(facts);
    Known {
        command: Start::made(&format!("node {made}/server/index.mjs")).command,
        kind: Kind::Output(made),
        why: name.to_owned(),
        port: Some(3000),
        env: vec![("HOST", "0.0.0.0".to_owned())],
        note: None,
    }
}

fn svelte(facts: &Facts<'_>, start: Option<&Start>) -> Result<Known, String> {
    // Since SvelteKit 3 its settings may be the plugin's.
    let settings = ["svelte.config", "vite.config"].map(|stem| facts.settings(stem)).join("\n");
    if settings.contains("adapter-static") {
        return Ok(files("@sveltejs/adapter-static", &facts.folder_in(&settings, "pages").unwrap_or_else(|| "build".to_owned())));
    }
    if !settings.contains("adapter-node") {
        return Err("its SvelteKit adapter makes nothing that a container runs; `@sveltejs/adapter-node` does".to_owned());
    }
    let made = || Start::made(&format!("node {}", value(&settings, "out").unwrap_or_else(|| "build".to_owned()))).command;
    let command = start.filter(|start| start.tool.is_none()).map_or_else(made, |start| start.command.clone());
    let why = "@sveltejs/adapter-node".to_owned();
    Ok(Known { kind: Kind::Node, why, command, port: Some(3000), env: vec![("HOST", "0.0.0.0".to_owned())], note: None })
}

/// The path that settings give a key: a text, or a call that joins some to the folder of the settings (`path.resolve(__dirname, '../out')`).
pub(super) fn value(settings: &str, key: &str) -> Option<String> {
    let is_key = |at: usize| !settings[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let key = format!("{key}:");
    let at = settings.match_indices(&key).map(|(at, _)| at).find(|at| is_key(*at))?;
    let written = settings[at + key.len()..].trim_start();
    let folder = match literal(written) {
        Some(folder) => folder.to_owned(),
        None => joined(written)?,
    };
    (!folder.contains(['$', ' '])).then_some(folder)
}

/// The text between the quotes that something begins with.
fn literal(written: &str) -> Option<&str> {
    let quote = written.chars().next().filter(|c| ['\'', '"', '`'].contains(c))?;
    written[1..].split(quote).next()
}

fn joined(written: &str) -> Option<String> {
    let calls = ["path.resolve(", "path.join(", "resolve(", "join(", "fileURLToPath(new URL(", "new URL("];
    let arguments = calls.iter().find_map(|call| written.strip_prefix(call))?.split(')').next()?;
    let is_here = |part: &&str| !["__dirname", "import.meta.dirname", "import.meta.url", "process.cwd("].contains(part);
    let parts = arguments.split(',').map(str::trim).filter(|part| !part.is_empty()).filter(is_here);
    Some(parts.map(literal).collect::<Option<Vec<_>>>()?.join("/"))
}

/// True where a folder has a file that says that it is shipped: a Dockerfile of its own, or what a hosting platform reads.
pub(super) fn is_shipped(folder: &Path) -> bool {
    const FILES: [&str; 5] = ["Dockerfile", "Procfile", "fly.toml", "railway.json", "railway.toml"];
    FILES.iter().any(|file| folder.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(manifest: &Value, files: &[(&str, &str)]) -> Result<Kind, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        of(&Facts { manifest, root: &json!({}), folder: dir.path().to_owned(), dir: "apps/a" }).map(|known| known.kind)
    }

    #[test]
    fn frameworks_are_recognised_by_what_they_build() {
        let next = json!({"scripts": {"build": "next build", "start": "next start"}, "dependencies": {"next": "15"}});
        let made = |folder: &str| Ok(Kind::Next(folder.to_owned()));
        assert_eq!(kind(&next, &[]), made(".next"));
        assert_eq!(kind(&next, &[("next.config.mjs", "export default { distDir: './build/next' }")]), made("build/next"));
        assert_eq!(
            kind(&next, &[("next.config.js", "module.exports = { output:  'export' }")]),
            Ok(Kind::Static("out".to_owned()))
        );
        let custom = json!({"scripts": {"build": "next build", "start": "node server.js"}, "dependencies": {"next": "15"}});
        assert_eq!(kind(&custom, &[]), Ok(Kind::Node));
        let port = |start: &str| {
            let manifest = json!({"scripts": {"build": "next build", "start": start}, "dependencies": {"next": "15"}});
            of(&Facts { manifest: &manifest, root: &json!({}), folder: "/nowhere".into(), dir: "apps/a" }).unwrap().port
        };
        assert_eq!(
            ["next start --port=4000", "next start -p 4001", "next start -p $PORT"].map(port),
            [Some(4000), Some(4001), Some(3000)]
        );
        let custom = json!({"scripts": {"build": "next build", "start": "cross-env NODE_ENV=production node server.js"}, "dependencies": {"next": "15"}});
        assert_eq!(kind(&custom, &[]), Ok(Kind::Node));
        let nuxt = json!({"scripts": {"build": "nuxt build"}, "devDependencies": {"nuxt": "4"}});
        assert_eq!(
            kind(&nuxt, &[("nuxt.config.ts", "export default {\n  // ssr: false,\n}")]),
            Ok(Kind::Output(".output".to_owned()))
        );
        assert_eq!(
            kind(&nuxt, &[("nuxt.config.ts", "export default { ssr: false }")]),
            Ok(Kind::Static(".output/public".to_owned()))
        );
        let moved = "export default { nitro: { output: { dir: './made' } } }";
        assert_eq!(kind(&nuxt, &[("nuxt.config.ts", moved)]), Ok(Kind::Output("made".to_owned())));
        let nitro = json!({"scripts": {"build": "nitro build", "start": "node .output/server/index.mjs"}});
        assert_eq!(kind(&nitro, &[]), Ok(Kind::Output(".output".to_owned())));
        let start = |start: &str| {
            let needs = json!({"@tanstack/react-start": "1", "srvx": "0.11"});
            kind(&json!({"scripts": {"build": "vite build", "start": start}, "dependencies": needs}), &[])
        };
        assert_eq!(start("srvx --prod -s ../client dist/server/server.js"), Ok(Kind::Node));
        for usual in ["node .output/server/index.mjs", "vite preview", "vinxi start"] {
            assert_eq!(start(usual), Ok(Kind::Output(".output".to_owned())), "{usual}");
        }
        let vite =
            json!({"scripts": {"build": "tsc && vite build", "preview": "vite preview"}, "devDependencies": {"vite": "7"}});
        assert_eq!(kind(&vite, &[("index.html", "")]), Ok(Kind::Static("dist".to_owned())));
        let elsewhere = [("index.html", ""), ("vite.config.ts", "export default { build: { outDir: 'public/app' } }")];
        assert_eq!(kind(&vite, &elsewhere), Ok(Kind::Static("public/app".to_owned())));
        let umi = json!({"scripts": {"build": "max build", "dev": "max dev", "start": "npm run dev"}, "dependencies": {"@umijs/max": "4"}});
        assert_eq!(kind(&umi, &[]), Ok(Kind::Static("dist".to_owned())));
        assert_eq!(kind(&umi, &[(".umirc.ts", "export default { outputPath: './out' }")]), Ok(Kind::Static("out".to_owned())));
        let angular = json!({"scripts": {"build": "ng build", "start": "ng serve"}, "dependencies": {"@angular/core": "20"}});
        let project = |builder: &str, options: &str| {
            let of = format!(
                "{{\"projects\": {{\"shop\": {{\"architect\": {{\"build\": {{\"builder\": \"@angular/{builder}\", \"options\": {{{options}}}}}}}}}}}}}"
            );
            kind(&angular, &[("angular.json", &of)])
        };
        let made = |folder: &str| Ok(Kind::Static(folder.to_owned()));
        assert_eq!(project("build:application", ""), made("dist/shop/browser"));
        assert_eq!(project("build:application", "\"outputPath\": {\"base\": \"dist\", \"browser\": \"\"}"), made("dist"));
        assert_eq!(project("build-angular:browser", "\"outputPath\": \"out/shop\""), made("out/shop"));
        let ssr = "\"ssr\": {\"entry\": \"src/server.ts\"}";
        assert_eq!(project("build:application", ssr), Ok(Kind::Node));
        assert_eq!(project("build:application", &format!("{ssr}, \"outputMode\": \"static\"")), made("dist/shop/browser"));
        let astro = json!({"scripts": {"build": "astro build", "start": "astro dev"}, "dependencies": {"astro": "5"}});
        assert_eq!(kind(&astro, &[]), Ok(Kind::Static("dist".to_owned())));
        let elsewhere = [("astro.config.mjs", "export default defineConfig({ outDir: './out/site' })")];
        assert_eq!(kind(&astro, &elsewhere), Ok(Kind::Static("out/site".to_owned())));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("start.sh"), "#!/bin/sh\n# pnpm\nexec pnpm prisma migrate deploy\n").unwrap();
        let shell = json!({"scripts": {"start": "sh ./start.sh"}});
        let facts = Facts { manifest: &shell, root: &json!({}), folder: dir.path().to_owned(), dir: "apps/a" };
        assert!(of(&facts).unwrap().note.unwrap().starts_with("`./start.sh` calls `pnpm`"));
        let python = json!({"scripts": {"start": "LOG=1 uvicorn main:app"}});
        assert!(kind(&python, &[]).unwrap_err().starts_with("it is started by `uvicorn`, which is none of Node's"));
        let go = |start: &str| json!({"scripts": {"build": "CGO_ENABLED=0 go build -o dist/a .", "start": start}});
        assert!(kind(&go("./dist/a"), &[]).unwrap_err().starts_with("it is built by `go`, which is none of Node's"));
        assert_eq!(kind(&go("node a.js"), &[]), Ok(Kind::Node));
        let command = |manifest: &Value| {
            of(&Facts { manifest, root: &json!({}), folder: "/nowhere".into(), dir: "apps/a" }).unwrap().command
        };
        let adonis = |start: &str| {
            command(&json!({"scripts": {"build": "node ace build", "start": start}, "dependencies": {"@adonisjs/core": "6"}}))
        };
        let within = "[\"sh\", \"-c\", \"cd build && exec node bin/server.js\"]";
        assert_eq!(adonis("node bin/server.js"), within);
        assert_eq!(adonis("node build/bin/server.js"), "[\"node\", \"build/bin/server.js\"]");
        let svelte = json!({"scripts": {"build": "vite build"}, "devDependencies": {"@sveltejs/kit": "2"}});
        assert_eq!(kind(&svelte, &[("svelte.config.js", "import a from '@sveltejs/adapter-node'")]), Ok(Kind::Node));
        assert!(kind(&svelte, &[("svelte.config.js", "import a from '@sveltejs/adapter-auto'")]).is_err());
        assert_eq!(kind(&svelte, &[("vite.config.ts", "import a from '@sveltejs/adapter-node'")]), Ok(Kind::Node));
        let settings = "{ timeout: 5, layout: 'a', out: dir, x: 'b' }";
        assert_eq!((value(settings, "out"), value(settings, "x")), (None, Some("b".to_owned())));
    }

    #[test]
    fn files_for_browsers_lie_where_commands_and_settings_say() {
        let of_vite = |build: &str, settings: &str| {
            let vite = json!({"scripts": {"build": build}, "devDependencies": {"vite": "7"}});
            kind(&vite, &[("client/index.html", ""), ("vite.config.ts", settings)])
        };
        let files = |folder: &str| Ok(Kind::Static(folder.to_owned()));
        assert_eq!(of_vite("vite build client --outDir=../public", ""), files("public"));
        assert_eq!(of_vite("tsc && vite build client", ""), files("client/dist"));
        let resolved = "export default { root: 'client', build: { outDir: path.resolve(__dirname, 'out', 'site') } }";
        assert_eq!(of_vite("vite build", resolved), files("client/out/site"));
        let joined = "export default { root: path.join(import.meta.dirname, 'client'), build: { outDir: fileURLToPath(new URL('../out', import.meta.url)) } }";
        assert_eq!(of_vite("vite build", joined), files("out"));
        assert!(of_vite("vite build", "export default { root: process.env.ROOT }").is_err());
        let by = |tool: &str, build: &str, settings: &[(&str, &str)]| {
            let manifest = json!({"scripts": {"docs:build": build}, "devDependencies": {tool: "1"}});
            kind(&manifest, &[&[("index.html", "")], settings].concat())
        };
        assert_eq!(by("parcel", "parcel build --dist-dir www", &[]), files("www"));
        assert_eq!(
            by(
                "webpack",
                "webpack",
                &[("webpack.config.js", "output: { filename: 'a.js', path: path.resolve(__dirname, 'out') }")]
            ),
            files("out")
        );
        assert_eq!(
            by("@rsbuild/core", "rsbuild build", &[("rsbuild.config.ts", "distPath: { root: 'pages', js: 'js' }")]),
            files("pages")
        );
        assert_eq!(by("@11ty/eleventy", "eleventy", &[]), files("_site"));
        assert_eq!(by("vitepress", "vitepress build docs", &[]), files("docs/.vitepress/dist"));
        let settings = ("docs/.vitepress/config.mts", "export default defineConfig({ outDir: '../public' })");
        assert_eq!(by("vitepress", "vitepress build docs", &[settings]), files("public"));
        assert_eq!(by("@docusaurus/core", "docusaurus build --out-dir site", &[]), files("site"));
        assert_eq!(by("storybook", "storybook build", &[]), files("storybook-static"));
        assert_eq!(by("storybook", "storybook build -o out/book", &[]), files("out/book"));
        assert_eq!(
            by("@vue/cli-service", "vue-cli-service build", &[("vue.config.js", "{ outputDir: '../../public' }")]),
            files("public")
        );
        let routes = json!({"scripts": {"build": "react-router build"}, "devDependencies": {"@react-router/dev": "7"}});
        let settings = [("react-router.config.ts", "export default {ssr:false,buildDirectory:'out'}")];
        assert_eq!(kind(&routes, &settings), Ok(Kind::Static("out/client".to_owned())));
        for (tool, start) in
            [("@11ty/eleventy", "eleventy --serve"), ("@slidev/cli", "slidev --open"), ("ember-cli", "ember serve")]
        {
            let site = json!({"scripts": {"build": tool, "start": start}, "devDependencies": {tool: "1"}});
            assert!(matches!(kind(&site, &[]), Ok(Kind::Static(_))), "{start}");
        }
        let parcel = json!({"scripts": {"build": "parcel build", "start": "parcel"}, "devDependencies": {"parcel": "2"}});
        assert_eq!(kind(&parcel, &[("src/index.html", "")]), Ok(Kind::Static("dist".to_owned())));
    }

    #[test]
    fn pages_that_say_they_lie_below_a_path_are_served_there() {
        let command = |settings: (&str, &str), build: &str, tool: &str| {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in [("index.html", ""), settings] {
                std::fs::write(dir.path().join(name), text).unwrap();
            }
            let manifest = json!({"scripts": {"build": build}, "devDependencies": {tool: "1"}});
            let facts = Facts { manifest: &manifest, root: &json!({}), folder: dir.path().to_owned(), dir: "apps/a" };
            serde_json::from_str::<Vec<String>>(&of(&facts).unwrap().command).unwrap()[3..].to_vec()
        };
        let vite = |settings: &str, build: &str| command(("vite.config.ts", settings), build, "vite");
        assert_eq!(vite("export default { base: '/shop/' }", "vite build"), ["/shop"]);
        assert_eq!(vite("", "vite build --base=/a/b"), ["/a/b"]);
        for none in
            ["base: '/'", "base: './'", "base: '//cdn/x'", "base: 'https://cdn/x/'", "base: process.env.BASE", "base: '/a b'"]
        {
            assert!(vite(&format!("export default {{ {none} }}"), "vite build").is_empty(), "{none}");
        }
        for (settings, text, build, tool) in [
            (
                "docusaurus.config.ts",
                "const config = { url: 'https://a.dev', baseUrl: '/book/' }",
                "docusaurus build",
                "@docusaurus/core",
            ),
            ("astro.config.mjs", "export default defineConfig({ base: '/book' })", "astro build", "astro"),
            ("next.config.js", "module.exports = { output: 'export', basePath: '/book' }", "next build", "next"),
        ] {
            assert_eq!(command((settings, text), build, tool), ["/book"], "{tool}");
        }
    }

    #[test]
    fn what_the_root_has_counts_where_a_package_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = json!({"devDependencies": {"nuxt": "4", "@sveltejs/kit": "2", "tsx": "4"}});
        let of = |manifest: &Value| of(&Facts { manifest, root: &root, folder: dir.path().to_owned(), dir: "apps/a" });
        let nuxt = json!({"scripts": {"build": "nuxt build", "dev": "nuxt dev"}});
        assert_eq!(of(&nuxt).unwrap().kind, Kind::Output(".output".to_owned()));
        assert!(of(&json!({"scripts": {"build": "tsc"}})).is_err());
        let note = |start: &str| of(&json!({"scripts": {"start": start}})).unwrap().note.unwrap();
        assert!(note("tsx a.ts").contains("move it to `dependencies`"));
        assert!(note("bun ./a.js").contains("which no dependency brings"));
        std::fs::write(
            dir.path().join("svelte.config.js"),
            "import { x } from '@sveltejs/kit/y'\nimport a from '@sveltejs/adapter-node'",
        )
        .unwrap();
        assert_eq!(of(&json!({"scripts": {"build": "vite build"}})).unwrap().why, "@sveltejs/adapter-node");
    }

    #[test]
    fn what_runs_elsewhere_is_no_service_and_a_tool_takes_its_dependencies_along() {
        assert!(kind(&json!({"scripts": {"start": "expo start"}, "dependencies": {"expo": "54"}}), &[]).is_err());
        assert!(kind(&json!({"scripts": {"build": "tsc"}}), &[]).is_err());
        let moon = [("moon.yml", "tasks:\n  start:\n    command: node dist/main.js\n")];
        assert!(kind(&json!({}), &moon).unwrap_err().contains("moon.yml"));
        let dir = tempfile::tempdir().unwrap();
        let facts = Facts { manifest: &json!({}), root: &json!({}), folder: dir.path().to_owned(), dir: "apps/a" };
        assert!(!facts.makes("index.js") && facts.makes("./dist/index.js"));
        std::fs::write(dir.path().join("index.ts"), "").unwrap();
        assert!(facts.makes("./index.js"));
        let tsx = json!({"scripts": {"start": "tsx index.ts"}, "devDependencies": {"tsx": "4"}});
        assert_eq!(kind(&tsx, &[]), Ok(Kind::Development));
        let caller = "await server.connect(new StdioServerTransport());\n";
        assert!(kind(&tsx, &[("index.ts", caller)]).unwrap_err().contains("standard input"));
        let both = format!("{caller}createServer(handler).listen(3000);\n");
        assert_eq!(kind(&tsx, &[("index.ts", &both)]), Ok(Kind::Development));
    }
}
