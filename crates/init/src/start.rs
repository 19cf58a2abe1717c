//! How a package is started: what its script means, followed to the program that runs, in a form that a production image can run.

use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use monoship_workspace::dockerfile::quoted_words;
use monoship_workspace::tools::is_command_of;

/// How a package is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The script that says so; none for `main` and for what a framework is known by.
    pub script: Option<String>,
    /// What it runs, as it is written.
    pub run: String,
    /// The same in CMD's JSON form.
    pub command: String,
    /// A program of the development dependencies that it needs.
    pub tool: Option<String>,
}

/// The scripts that can start a service in production, the likelier first: where there is one for production, `start` is for developers.
const SCRIPTS: [&str; 7] = ["start:prod", "start:production", "start:docker", "prod", "start", "serve", "server"];

impl Start {
    /// Of a package by its scripts, else by its `main`.
    pub(super) fn of(manifest: &Value) -> Option<Self> {
        let script = |name: &&str| Some(((*name).to_owned(), manifest["scripts"][*name].as_str()?.to_owned()));
        let scripts: Vec<(String, String)> = SCRIPTS.iter().filter_map(script).into_vec();
        let named = scripts.iter().filter(|(name, _)| !matches!(name.as_str(), "serve" | "server" | "prod"));
        let by_node = |text: &str| !is_for_developers(text) && text.split_whitespace().any(|word| word == "node");
        let chosen = named
            .clone()
            .find(|(_, text)| !is_for_developers(text))
            .or_else(|| scripts.iter().find(|(_, text)| by_node(text)))
            .or_else(|| named.clone().next());
        let main = manifest["main"].as_str().or_else(|| manifest["module"].as_str());
        let by_main = |main: &str| Self { script: None, run: main.to_owned(), command: json(&["node", main]), tool: None };
        match chosen {
            Some((name, text)) => Self::of_script(manifest, name, text),
            None => main.map(by_main),
        }
    }

    fn of_script(manifest: &Value, name: &str, text: &str) -> Option<Self> {
        let of = |command, tool| Some(Self { script: Some(name.to_owned()), run: text.to_owned(), command, tool });
        let Some(steps) = staged(manifest, name, "", 0) else {
            let made = built(manifest).or_else(|| compiled(manifest, text))?;
            return of(json(&["node", &made]), None);
        };
        let tool = tool(manifest, &steps);
        // A compiled program beside a script for developers: `tsx src/index.ts`, and `main` is dist/index.js.
        match built(manifest).filter(|_| tool.is_some()) {
            Some(built) => of(json(&["node", &built]), None),
            None => of(command(&steps.join(" && ")), tool),
        }
    }

    /// Of a package without any of these scripts: by one with a name of its own (`start:worker`), or by what its developers run, compiled.
    pub(super) fn otherwise(manifest: &Value) -> Option<Self> {
        let scripts = manifest["scripts"].as_object()?;
        let own = scripts.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?))).find(|(name, text)| {
            let kind = name.strip_prefix("start:").unwrap_or_default();
            let elsewhere = ["dev", "debug", "watch", "test", "local", "inspect", "db"].iter().any(|word| kind.contains(word));
            !kind.is_empty() && !elsewhere && !is_for_developers(text)
        });
        if let Some((name, text)) = own {
            return Self::of_script(manifest, name, text);
        }
        let (name, text) = ["dev", "start:dev"].iter().find_map(|name| Some((*name, scripts.get(*name)?.as_str()?)))?;
        match compiled(manifest, text) {
            Some(file) => {
                let command = json(&["node", &file]);
                Some(Self { script: Some(name.to_owned()), run: text.to_owned(), command, tool: None })
            }
            // What else runs for developers is a server of theirs.
            None => Self::of_script(manifest, name, text)
                .filter(|start| ["\"node\"", "exec tsx ", "exec ts-node "].iter().any(|run| start.command.contains(run))),
        }
    }

    /// As developers start its sources by `tsx`, without what watches.
    pub(super) fn by_tsx(manifest: &Value) -> Option<Self> {
        let scripts = ["dev", "start:dev"].into_iter().filter_map(|name| Some((name, manifest["scripts"][name].as_str()?)));
        let mut runs = scripts.filter_map(|(name, text)| {
            let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).into_vec();
            let file = words
                .iter()
                .skip_while(|word| **word != "tsx")
                .find(|word| [".ts", ".tsx", ".mts"].iter().any(|end| word.ends_with(end)))?;
            let plain = file.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            let command = command(&format!("tsx {file}"));
            plain.then(|| Self {
                script: Some(name.to_owned()),
                run: text.to_owned(),
                command,
                tool: tool(manifest, &["tsx".to_owned()]),
            })
        });
        runs.next().filter(|_| ["dependencies", "devDependencies"].iter().any(|field| manifest[*field].get("tsx").is_some()))
    }

    /// A command that a package manager runs before its script, and this does not.
    pub(super) fn left_out(&self, manifest: &Value) -> Option<String> {
        around(manifest, "pre", self.script.as_deref()?, 0).1.into_iter().next()
    }

    /// True where Node runs a file of its own last.
    pub(super) fn is_by_node(&self) -> bool {
        self.command.starts_with("[\"node\"") || self.command.contains(" exec node ")
    }

    /// Of what a framework makes.
    pub(super) fn made(run: &str) -> Self {
        Self { script: None, run: run.to_owned(), command: command(run), tool: None }
    }
}

/// True where a script starts what watches and compiles.
pub(super) fn is_for_developers(script: &str) -> bool {
    let words: Vec<&str> = script.split_whitespace().into_vec();
    let has = |word: &str| words.contains(&word);
    let pair = |a: &str, b: &str| words.windows(2).any(|pair| pair == [a, b]);
    has("--watch")
        || has("nodemon")
        || has("ts-node-dev")
        || has("tsnd")
        || has("tsc-watch")
        || has("concurrently") && !runs_services(script)
        || has("watch")
        || ["next", "astro", "nuxt", "nuxi", "vinxi", "wrangler", "remix", "react-router"].iter().any(|tool| pair(tool, "dev"))
        || ["react-scripts", "craco", "gatsby", "docusaurus", "expo"].iter().any(|tool| pair(tool, "start"))
        || ["ng", "ember", "rspack", "vue-cli-service"].iter().any(|tool| pair(tool, "serve"))
        || ["rsbuild", "rspress", "vitepress", "umi", "max", "slidev"].iter().any(|tool| pair(tool, "dev"))
        || pair("eleventy", "--serve")
        || words.first().is_some_and(|word| ["parcel", "slidev"].contains(word)) && !has("build")
        || pair("webpack", "serve")
        || pair("vite", "dev")
        || words.last() == Some(&"vite")
        || words.windows(2).any(|pair| ["run", "pnpm", "yarn", "bun"].contains(&pair[0]) && is_developers(pair[1]))
        || words.first().is_some_and(|word| {
            ["vite", "storybook", "start-storybook", "web-dev-server", "turbo", "nx", "electron"].contains(word)
        })
}

/// True where each of the commands that one script starts side by side is Node's, and none watches.
fn runs_services(script: &str) -> bool {
    let words = words(script);
    let quoted = words.iter().filter(|word| word.starts_with(['"', '\'']) || word.starts_with("\\\""));
    let commands: Vec<&str> = quoted.map(|word| word.trim_matches(['"', '\'', '\\'])).into_vec();
    !commands.is_empty() && commands.iter().all(|command| command.starts_with("node ") && !is_for_developers(command))
}

/// True of the name of a script that only developers run.
fn is_developers(name: &str) -> bool {
    ["dev", "develop", "watch", "start:dev"].contains(&name)
}

/// The file that a build makes and `main` names, or where compilers put what `src/` holds.
fn built(manifest: &Value) -> Option<String> {
    let main = manifest["main"].as_str()?;
    is_made(main).then(|| main.to_owned())
}

/// True of a file in a folder where builds put theirs.
fn is_made(file: &str) -> bool {
    let folders = ["dist/", "build/", "lib/", "out/", ".output/"];
    let file = file.strip_prefix("./").unwrap_or(file);
    folders.iter().any(|folder| file.starts_with(folder))
}

/// The file that a build makes of the one that a developer's script runs: `tsx watch src/index.ts`, and `tsc` puts it into `dist/`. Or that
/// file itself, where the script waits for it: `nodemon --watch dist dist/index.js`.
fn compiled(manifest: &Value, script: &str) -> Option<String> {
    let build = manifest["scripts"]["build"].as_str()?;
    let runs = |word: &&str| is_made(word) && [".js", ".mjs", ".cjs"].iter().any(|end| word.ends_with(end));
    if let Some(file) = script.split_whitespace().map(|word| word.trim_matches(['\'', '"', '\\'])).find(runs) {
        return Some(file.to_owned());
    }
    if script.contains("nest start") {
        return Some("dist/main".to_owned());
    }
    let compiles = ["tsc", "tsup", "tsdown", "swc", "esbuild", "unbuild", "rollup", "ncc", "babel"];
    if !build.split_whitespace().any(|word| compiles.contains(&word)) {
        return None;
    }
    if let Some(built) = built(manifest) {
        return Some(built);
    }
    let source = script.split_whitespace().find_map(|word| {
        let word = word.trim_matches(['\'', '"']).trim_start_matches("./");
        word.strip_suffix(".ts").or_else(|| word.strip_suffix(".mts"))
    })?;
    let bundled = !build.contains("tsc");
    let file = if bundled { source.rsplit('/').next()? } else { source.strip_prefix("src/").unwrap_or(source) };
    Some(format!("dist/{file}.js"))
}

/// A text as long as this one, with an `x` for each byte between quotes: separators stand in what is left of it.
fn unquoted(text: &str) -> String {
    let mut quote = None;
    let mut is_escaped = false;
    let mask = |c: char| {
        let is_literal = std::mem::take(&mut is_escaped);
        match quote {
            Some(open) => {
                is_escaped = c == '\\' && open == '"' && !is_literal;
                if c == open && !is_literal {
                    quote = None;
                }
                "x".repeat(c.len_utf8())
            }
            None if ['"', '\''].contains(&c) && !is_literal => {
                quote = Some(c);
                "x".to_owned()
            }
            None => {
                is_escaped = c == '\\';
                c.to_string()
            }
        }
    };
    text.chars().map(mask).collect()
}

/// The words of a command, with their quotes.
fn words(text: &str) -> Vec<String> {
    quoted_words(text, '\\')
}

/// The commands of a script that are run one after the other.
fn steps(script: &str) -> Vec<&str> {
    let mask = unquoted(script);
    let ends = mask.match_indices("&&").map(|(at, _)| at).chain([script.len()]);
    let mut start = 0;
    let parts = ends.map(|end| script[std::mem::replace(&mut start, (end + 2).min(script.len()))..end].trim());
    parts.filter(|step| !step.is_empty()).into_vec()
}

/// The commands that one of a manifest's scripts comes to in production, with those that pnpm runs before and after it (`prestart`), and with
/// the arguments that it is called with.
fn staged(manifest: &Value, name: &str, arguments: &str, depth: usize) -> Option<Vec<String>> {
    let around = |stage: &str| around(manifest, stage, name, depth).0;
    let mut commands = production(manifest, manifest["scripts"][name].as_str()?, depth + 1)?;
    if let Some(last) = commands.last_mut().filter(|_| !arguments.is_empty()) {
        last.push(' ');
        last.push_str(arguments);
    }
    Some([around("pre"), commands, around("post")].concat())
}

/// The commands that pnpm runs before or after a script, and those that are left out: what calls no dependency for running prepares a
/// developer's machine (`docker compose up`), unless it migrates. What stands around a developers' script serves them too.
fn around(manifest: &Value, stage: &str, name: &str, depth: usize) -> (Vec<String>, Vec<String>) {
    let text = manifest["scripts"][format!("{stage}{name}")].as_str();
    let text = text.filter(|text| !is_developers(name) && !is_for_developers(text));
    let commands = text.and_then(|text| production(manifest, text, depth + 1)).unwrap_or_default();
    let is_brought = |tool: &str| {
        let names = manifest["devDependencies"].as_object().into_iter().flatten().map(|(name, _)| name);
        names.into_iter().any(|name| name == tool || is_command_of(tool, name))
    };
    commands.into_iter().partition(|command| match tool(manifest, std::slice::from_ref(command)) {
        Some(tool) => command.contains("migrat") && is_brought(&tool),
        None => true,
    })
}

/// The commands that a script comes to in production: without what builds, with what it calls. `None` where it only serves developers.
fn production(manifest: &Value, script: &str, depth: usize) -> Option<Vec<String>> {
    let mask = unquoted(script);
    if depth > 5 || mask.contains(['|', ';', '\n', '(']) || mask.replace("&&", "").contains('&') {
        return (!is_for_developers(script)).then(|| vec![script.trim().to_owned()]);
    }
    let mut found = Vec::new();
    for step in steps(script) {
        let (step, called) = unwrapped(step);
        match called {
            Some((name, arguments)) if manifest["scripts"][name.as_str()].is_string() => {
                if is_a_build(&name) {
                    continue;
                }
                found.extend(staged(manifest, &name, &arguments, depth)?);
            }
            _ if is_install(&step.split_whitespace().take(2).into_vec()) => {}
            _ if is_a_build(step.split_whitespace().next()?) || step.starts_with("prisma generate") => {}
            _ => found.push(program(&step)?),
        }
    }
    (!found.is_empty()).then_some(found)
}

/// A command less the programs that only prepare its environment, and the script that it calls with its arguments, where it is one of a
/// package manager's.
fn unwrapped(step: &str) -> (String, Option<(String, String)>) {
    let words = words(step);
    let mut words: Vec<&str> = words.iter().map(String::as_str).into_vec();
    let mut vars = Vec::new();
    loop {
        while words.first().is_some_and(|word| is_assignment(word)) {
            vars.push(words.remove(0));
        }
        match words.first() {
            Some(&("cross-env" | "cross-env-shell" | "exec" | "env")) if words.len() > 1 => drop(words.remove(0)),
            Some(&("dotenv" | "dotenvx" | "env-cmd" | "dotenv-flow" | "with-env")) if words.len() > 1 => {
                words.remove(0);
                if let Some(at) = words.iter().position(|word| *word == "--") {
                    words.drain(..=at);
                } else {
                    while words.first().is_some_and(|word| word.starts_with('-') || *word == "run") {
                        let takes_value = ["-e", "-f", "-p", "-c"].contains(&words.remove(0));
                        if takes_value && !words.is_empty() {
                            words.remove(0);
                        }
                    }
                }
            }
            _ => break,
        }
    }
    // pnpm and yarn hand on all that stands behind the name, the others what stands behind `--`.
    let behind = |words: &[&str]| words.iter().skip_while(|word| **word != "--").skip(1).copied().into_vec().join(" ");
    let called = match &words[..] {
        ["pnpm" | "yarn", "run", name, rest @ ..] => Some((*name, rest.join(" "))),
        ["pnpm" | "yarn", name, rest @ ..] if !name.starts_with('-') && !["exec", "dlx"].contains(name) => {
            Some((*name, rest.join(" ")))
        }
        ["npm" | "bun", "run", name, rest @ ..] | ["nr", name, rest @ ..] | ["node", "--run", name, rest @ ..] => {
            Some((*name, behind(rest)))
        }
        ["npm", name @ "start", rest @ ..] => Some((*name, behind(rest))),
        _ => None,
    };
    let called = called.filter(|_| vars.is_empty()).map(|(name, arguments)| (name.to_owned(), arguments));
    // `pnpm exec X`, `npx X`: the image has no package manager.
    match words[..] {
        ["pnpm" | "npm" | "yarn", "exec", ..] | ["pnpm", "dlx", ..] => drop(words.drain(..2)),
        ["npx" | "pnpx" | "bunx", ..] => drop(words.drain(..1)),
        _ => {}
    }
    (vars.iter().chain(&words).copied().into_vec().join(" "), called)
}

fn is_a_build(word: &str) -> bool {
    let builds = [
        "build", "prebuild", "clean", "compile", "tsc", "rimraf", "tsup", "esbuild", "webpack", "rollup", "lint", "install",
        "swc",
    ];
    builds.contains(&word) || word.starts_with("build:") || word.starts_with("clean:")
}

/// The file of the environment that an option of Node's names, of those that no image has.
pub(super) fn environment_file(option: &str) -> Option<&str> {
    let file = option.strip_prefix("--env-file=")?;
    file.rsplit('/').next().is_some_and(|name| name.starts_with(".env")).then_some(file)
}

/// True of the first two words of a package manager's install.
pub(super) fn is_install(words: &[&str]) -> bool {
    matches!(words, ["pnpm" | "npm" | "yarn" | "bun", "install" | "i" | "ci"])
}

/// One command as production runs it; `None` where it has none.
fn program(step: &str) -> Option<String> {
    if is_for_developers(step) && !step.starts_with("tsx watch") {
        return None;
    }
    let words = words(step);
    let words: Vec<&str> = words.iter().map(String::as_str).into_vec();
    let vars = words.iter().take_while(|word| is_assignment(word)).count();
    let (vars, words) = words.split_at(vars);
    let words: Vec<&str> = match words {
        ["nest", "start", ..] => vec!["node", "dist/main"],
        ["tsx", "watch", rest @ ..] => [&["tsx"], rest].concat(),
        ["nuxt" | "nuxi", "start" | "preview", ..] => vec!["node", ".output/server/index.mjs"],
        ["astro", "preview" | "start", ..]
        | ["pnpm" | "npm" | "yarn", "test", ..]
        | ["vitest" | "jest" | "playwright" | "mocha", ..] => return None,
        _ => words.to_vec(),
    };
    let words: Vec<&str> = words.into_iter().filter(|word| environment_file(word).is_none()).into_vec();
    Some([vars, &words].concat().join(" "))
}

/// A program of these commands that is no production dependency, and no system's.
fn tool(manifest: &Value, steps: &[String]) -> Option<String> {
    let provides = |field: &str, word: &str| {
        manifest[field].as_object().is_some_and(|all| all.keys().any(|name| name == word || is_command_of(word, name)))
    };
    let system = [
        "node", "sh", "bash", "cd", "echo", "exit", "exec", "export", "set", "mkdir", "cp", "rm", "sleep", "test", "[", "if",
        "ls", "mv", "cat",
    ];
    for step in steps {
        let words = words(step);
        let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|word| is_assignment(word)).into_vec();
        let Some(first) = words.first() else { continue };
        let loaded =
            words.windows(2).filter(|pair| ["--import", "-r", "--require", "--loader"].contains(&pair[0])).map(|pair| pair[1]);
        let options = words.iter().filter_map(|word| word.strip_prefix("--import=").or_else(|| word.strip_prefix("--loader=")));
        let modules = loaded.chain(options).filter(|name| !name.starts_with(['.', '/'])).map(|name| {
            let parts = if name.starts_with('@') { 2 } else { 1 };
            name.splitn(parts + 1, '/').take(parts).into_vec().join("/")
        });
        let mut programs: SortedSet<String> = modules.into_set();
        if !system.contains(first) && !first.contains('/') {
            programs.insert((*first).to_owned());
        }
        let missing =
            programs.into_iter().find(|word| !provides("dependencies", word) && !provides("optionalDependencies", word));
        if missing.is_some() {
            return missing;
        }
    }
    None
}

/// What starts by a script, in CMD's JSON form. No shell stays between the engine and the service where that can be had: signals arrive.
pub(super) fn command(script: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_./:@,+=".contains(c);
    if script.starts_with("node ") && script.chars().all(plain) {
        return json(&script.split_whitespace().into_vec());
    }
    json(&["sh", "-c", &replaced(script)])
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The script with `exec` before its last command, where that is a program of its own: `exec` takes no list, no assignment and no
/// builtin. A script with anything but `&&` between its commands stays as it is.
fn replaced(script: &str) -> String {
    let mask = unquoted(script);
    let at = mask.rfind("&&");
    let (before, last) = at.map_or(("", script), |at| (&script[..at], &script[at + 2..]));
    let is_odd = mask.contains(['|', ';', '(', ')', '`', '\n', '<', '>', '\\'])
        || mask.replace("&&", "").contains('&')
        || words(script).contains(&"{".to_owned());
    let words = words(last);
    let words: Vec<&str> = words.iter().map(String::as_str).into_vec();
    let assigned = words.iter().take_while(|word| is_assignment(word)).count();
    let builtin = [
        "cd", "export", "set", "exec", "if", "for", "while", "until", "case", "!", ".", "source", "eval", "test", "[", ":",
        "wait", "trap", "exit",
    ];
    match words.get(assigned) {
        // In front of `exec`, which is a special builtin, an assignment is exported to what follows.
        Some(first) if !is_odd && !builtin.contains(first) => {
            let before = if before.is_empty() { String::new() } else { format!("{}&& ", before.trim_start()) };
            let (vars, rest) = (words[..assigned].join(" "), words[assigned..].join(" "));
            format!("{before}{vars}{}exec {rest}", if assigned == 0 { "" } else { " " })
        }
        _ => script.to_owned(),
    }
}

fn json(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| Value::from(*word).to_string()).into_vec();
    format!("[{}]", words.join(", "))
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
            of(&json!({"scripts": {"start": "next start -p $PORT"}, "dependencies": {"next": "15"}})),
            "[\"sh\", \"-c\", \"exec next start -p $PORT\"]"
        );
        assert_eq!(of(&json!({"main": "index.js"})), "[\"node\", \"index.js\"]");
        assert_eq!(of(&json!({"scripts": {"test": "x"}})), "");
        assert_eq!(of(&json!({"scripts": {"serve": "node dist/a.js", "start": "nodemon a.ts"}})), json(&["node", "dist/a.js"]));
        assert_eq!(of(&json!({"scripts": {"serve": "vite preview"}, "main": "a.js"})), json(&["node", "a.js"]));
    }

    #[test]
    fn a_script_is_followed_to_what_runs_in_production() {
        let node = |script: &str, others: &[(&str, &str)]| {
            let mut manifest = json!({"scripts": {"start": script}, "main": "dist/index.js"});
            others.iter().for_each(|(name, text)| manifest["scripts"][*name] = json!(text));
            of(&manifest)
        };
        let main = "[\"node\", \"dist/main\"]";
        assert_eq!(node("nest start", &[("start:prod", "node dist/main")]), main);
        assert_eq!(node("nest start", &[]), main);
        assert_eq!(node("pnpm start:prod", &[("start:prod", "node dist/main")]), main);
        for build in ["npm run build", "nr build", "node --run build"] {
            assert_eq!(node(&format!("{build} && node dist/main"), &[("build", "tsc")]), main, "{build}");
        }
        assert_eq!(
            node("cross-env NODE_ENV=production node dist/main", &[]),
            json(&["sh", "-c", "NODE_ENV=production exec node dist/main"])
        );
        assert_eq!(node("dotenv -e ../../.env -- node dist/main", &[]), main);
        let built = "[\"node\", \"dist/index.js\"]";
        let watches = json!({"scripts": {"start": "tsc-watch -b --onSuccess \"node ./build/main.js\"", "build": "tsc -b"}});
        assert_eq!(of(&watches), json(&["node", "./build/main.js"]));
        for script in ["tsx watch src/index.ts", "nodemon src/index.ts", "ts-node src/main.ts", "node --import tsx src/index.ts"]
        {
            assert_eq!(node(script, &[]), built, "{script}");
        }
    }

    #[test]
    fn what_stands_around_a_script_and_behind_its_name_is_run_too() {
        let node = |script: &str, others: &[(&str, &str)]| {
            let mut manifest = json!({"scripts": {"start": script, "serve": "node a.js", "build": "tsc"}});
            others.iter().for_each(|(name, text)| manifest["scripts"][*name] = json!(text));
            of(&manifest)
        };
        for (script, arguments) in [
            ("pnpm run serve --port 7", "\"--port\", \"7\""),
            ("pnpm serve -- --port 7", "\"--\", \"--port\", \"7\""),
            ("npm run serve -- --port 7", "\"--port\", \"7\""),
            ("node --run serve -- 7", "\"7\""),
        ] {
            assert_eq!(node(script, &[]), format!("[\"node\", \"a.js\", {arguments}]"), "{script}");
        }
        let shell = |script: &str| json(&["sh", "-c", script]);
        let around = [("prestart", "node migrate.js"), ("poststart", "node b.js"), ("preserve", "pnpm build && node c.js")];
        assert_eq!(node("pnpm serve", &around), shell("node migrate.js && node c.js && node a.js && exec node b.js"));
        for before in ["npm run build", "prisma generate", "tsc", "pnpm install", "docker compose up -d"] {
            assert_eq!(node("node a.js", &[("prestart", before)]), json(&["node", "a.js"]), "{before}");
        }
        let migrates = json!({"scripts": {"start": "node a.js", "prestart": "prisma migrate deploy && wait-on tcp:5432"}, "devDependencies": {"prisma": "7", "wait-on": "9"}});
        let start = Start::of(&migrates).unwrap();
        assert_eq!(start.command, shell("prisma migrate deploy && exec node a.js"));
        assert_eq!((start.left_out(&migrates).as_deref(), start.tool.as_deref()), (Some("wait-on tcp:5432"), Some("prisma")));
        let developers = json!({"scripts": {"dev": "node a.js", "predev": "docker compose up -d"}});
        assert_eq!(Start::otherwise(&developers).unwrap().command, json(&["node", "a.js"]));
    }

    #[test]
    fn quotes_keep_words_and_commands_together() {
        let start = Start::of(&json!({"scripts": {"start": "A='b c' node a.js --x \"y && z\""}})).unwrap();
        assert_eq!(start.command, json(&["sh", "-c", "A='b c' exec node a.js --x \"y && z\""]));
        assert_eq!(start.tool, None);
        let both = "concurrently -g \"node a.js\" 'node b.js'";
        let of = |script: &str| Start::of(&json!({"scripts": {"start": script}, "dependencies": {"concurrently": "9"}}));
        assert_eq!(of(both).unwrap().command, command(both));
        assert_eq!(of("concurrently \"node --watch a.js\" \"node b.js\""), None);
        assert_eq!(of("concurrently npm:dev:*"), None);
    }

    #[test]
    fn no_image_has_files_of_the_environment() {
        let script = |script: &str| of(&json!({"scripts": {"start": script}}));
        assert_eq!(script("node --env-file=../../.env.local a.js"), json(&["node", "a.js"]));
        for kept in ["--env-file-if-exists=.env", "--env-file=config/app.env"] {
            assert_eq!(script(&format!("node {kept} a.js")), json(&["node", kept, "a.js"]));
        }
    }

    #[test]
    fn what_developers_run_is_started_as_it_is_compiled() {
        let command = |scripts: Value| Start::otherwise(&json!({ "scripts": scripts })).map(|start| start.command);
        let node = |file: &str| Some(json(&["node", file]));
        assert_eq!(command(json!({"start:worker": "tsup && node dist/index.js", "build": "tsup"})), node("dist/index.js"));
        assert_eq!(command(json!({"dev": "tsup && node dist/index.js", "build": "tsup"})), node("dist/index.js"));
        assert_eq!(command(json!({"dev": "nest start --watch", "build": "nest build"})), node("dist/main"));
        assert_eq!(command(json!({"dev": "tsx watch src/server/index.ts", "build": "tsc -p ."})), node("dist/server/index.js"));
        assert_eq!(
            command(json!({"dev": "nodemon --exec tsx src/server.ts", "build": "tsup src/server.ts"})),
            node("dist/server.js")
        );
        assert_eq!(command(json!({"dev": "nodemon --watch dist dist/index.js", "build": "vite build"})), node("dist/index.js"));
        assert_eq!(command(json!({"start:debug": "node --inspect x.js", "dev": "tsup --watch", "build": "tsup"})), None);
        assert_eq!(command(json!({"build": "tsc"})), None);
        assert_eq!(command(json!({"dev": "pnpm with-env mintlify dev --port 3001"})), None);
    }

    #[test]
    fn sources_are_started_as_developers_do_where_they_have_tsx() {
        let by = |dev: &str, field: &str| {
            let start = Start::by_tsx(&json!({"scripts": {"dev": dev}, field: {"tsx": "4"}}))?;
            Some((start.command, start.tool.is_some()))
        };
        let runs = json(&["sh", "-c", "exec tsx src/index.ts"]);
        for dev in [
            "tsx watch --env-file=.env src/index.ts",
            "node --import tsx --watch src/index.ts | pino-pretty",
            "nodemon --exec 'tsx src/index.ts'",
        ] {
            assert_eq!(by(dev, "devDependencies"), Some((runs.clone(), true)), "{dev}");
        }
        assert_eq!(by("tsx src/index.ts", "dependencies"), Some((runs, false)));
        assert_eq!(by("tsx src/index.ts", "peerDependencies"), None);
        assert_eq!(by("ts-node src/index.ts", "dependencies"), None);
    }

    #[test]
    fn what_a_command_needs_of_the_development_dependencies_is_named() {
        let tool = |manifest: &Value| Start::of(manifest).and_then(|start| start.tool);
        assert_eq!(
            tool(&json!({"scripts": {"start": "tsx src/index.ts"}, "devDependencies": {"tsx": "4"}})),
            Some("tsx".to_owned())
        );
        assert_eq!(tool(&json!({"scripts": {"start": "tsx src/index.ts"}, "dependencies": {"tsx": "4"}})), None);
        for (start, package) in
            [("remix-serve build", "@remix-run/serve"), ("react-router-serve ./build/server/index.js", "@react-router/serve")]
        {
            assert_eq!(tool(&json!({"scripts": {"start": start}, "dependencies": {package: "2"}})), None, "{start}");
        }
        let migrates =
            json!({"scripts": {"start": "prisma migrate deploy && node dist/main.js"}, "devDependencies": {"prisma": "6"}});
        assert_eq!(tool(&migrates), Some("prisma".to_owned()));
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
            ("node -e 'a && b'", "exec node -e 'a && b'"),
            ("node a.js -p ${PORT:-3000}", "exec node a.js -p ${PORT:-3000}"),
            ("{ node a.js && node b.js", "{ node a.js && node b.js"),
            ("A='b c' node a.js \"d  e\" && B=\"$(c)\" node f.js", "A='b c' node a.js \"d  e\" && B=\"$(c)\" exec node f.js"),
        ] {
            assert_eq!(replaced(script), then);
        }
    }
}
