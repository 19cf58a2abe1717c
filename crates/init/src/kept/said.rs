//! What files of compose, bake, Skaffold and workflows, and command lines in scripts, say of a repository's builds: which Dockerfile, in which
//! context, up to which stage.

use serde_json::Value;

use super::given::{self, Given};
use super::shell::{self, Variables};
use super::{bake, workflow};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};
use monoship_workspace::sources::with_comments;
use monoship_workspace::yaml::{self, Yaml};
use pnpm::join;

/// One build as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub name: String,
    pub dockerfile: String,
    pub context: String,
    pub target: Option<String>,
    /// Its arguments, as far as their values are known.
    pub args: SortedMap<String, String>,
    /// Those that a variable has a part in.
    pub varied: SortedSet<String>,
    /// What it is given besides.
    pub given: Given,
    /// The image that it makes, without a tag.
    pub image: Option<String>,
    pub by: String,
}

impl Said {
    /// With arguments by name; one without a value is a variable of its name.
    pub(super) fn with<'a>(mut self, args: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        for (name, value) in args {
            if value.is_none_or(|value| value.replace("$$", "").contains('$')) {
                self.varied.insert(name.to_owned());
            }
            self.args.extend(value.and_then(unset).map(|value| (name.to_owned(), value)));
        }
        self
    }

    /// True where no file describes it and a script calls it.
    pub(super) fn is_by_script(&self) -> bool {
        is_script(&self.by)
    }
}

/// A text as compose has it where no variable is set: `${PORT:-3000}` is `3000`. `None` where one has no default.
fn unset(text: &str) -> Option<String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        whole += before;
        if let Some(after) = behind.strip_prefix('$') {
            whole.push('$');
            rest = after;
            continue;
        }
        let (variable, after) = behind.strip_prefix('{')?.split_once('}')?;
        let (name, default) = variable.split_once('-')?;
        let name = name.strip_suffix(':').unwrap_or(name);
        let is_plain = !default.contains('$') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        whole += Some(default).filter(|_| is_plain)?;
        rest = after;
    }
    Some(whole + rest)
}

pub(super) fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// What the files of a repository say of builds, and the files that cannot be read, each with the reason. `read` gives a file's text. First what
/// describes builds for use, then what describes them for developing, then what scripts call.
pub(super) fn all(files: &[String], read: impl Fn(&str) -> Option<String>) -> (Vec<Said>, Vec<(String, String)>) {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let mut files_in_order: Vec<&String> = files.iter().into_vec();
    files_in_order.order_by_key(|path| (is_script(path), is_for_developing(path)));
    for path in files_in_order {
        let Some((reader, text)) = reader(path).and_then(|reader| Some((reader, read(path)?))) else { continue };
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let is_there = |said: &Said| files.contains(&said.dockerfile);
        match reader(path, folder, &text) {
            // `docker compose --project-directory . -f deploy/compose.yml`: its paths are from the root.
            Ok(said) if folder != "." && !said.is_empty() && !said.iter().any(is_there) => match reader(path, ".", &text) {
                Ok(from_root) if from_root.iter().any(is_there) => found.extend(from_root),
                _ => found.extend(said),
            },
            Ok(said) => found.extend(said),
            Err(why) => unreadable.push((path.clone(), why)),
        }
    }
    (found, unreadable)
}

/// The text with what GitHub would fill in for the repository's name and owner, in small letters, as image names have them.
pub(super) fn named_for(repository: &str, text: &str) -> String {
    let repository = repository.to_ascii_lowercase();
    let owner = repository.split('/').next().unwrap_or_default();
    let filled = [("github.repository_owner", owner), ("github.repository", &repository)];
    filled.into_iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{{ {name} }}}}"), value).replace(&format!("${{{{{name}}}}}"), value)
    })
}

/// `docker-compose.dev.yml`, `compose.override.yml` and their like.
fn is_for_developing(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let words = ["dev", "development", "local", "override", "test", "ci", "debug"];
    name.split(['.', '-', '_']).any(|part| words.contains(&part))
}

/// Reads a file by its path, its folder and its text. An error says what is wrong with it, and where.
type Reader = fn(&str, &str, &str) -> Result<Vec<Said>, String>;

/// The first document of a YAML file.
pub(super) fn tree(text: &str) -> Result<Yaml, String> {
    Ok(documents(text)?.into_iter().next().unwrap_or_else(|| Yaml::Map(Vec::new())))
}

fn documents(text: &str) -> Result<Vec<Yaml>, String> {
    yaml::parse_with_merges(text).map_err(|error| format!("line {}: {}", error.line, error.message))
}

/// Who reads a file of this name.
fn reader(path: &str) -> Option<Reader> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_yaml = ["yml", "yaml"].contains(&ending(name));
    let tests = path.contains("e2e") || path.contains("test");
    match name {
        _ if tests => None,
        _ if is_yaml && path.starts_with(".github/workflows/") => Some(workflow::read),
        _ if is_yaml && (name.starts_with("docker-compose") || name.starts_with("compose")) => Some(compose),
        "docker-bake.hcl" | "docker-bake.override.hcl" => Some(bake::hcl),
        "docker-bake.json" => Some(bake::json),
        "skaffold.yaml" | "skaffold.yml" => Some(skaffold),
        "cloudbuild.yaml" | "cloudbuild.yml" => Some(cloud_build),
        "package.json" | "project.json" => Some(|path, folder, text| Ok(manifest(path, folder, text))),
        _ if is_script(path) => Some(|path, folder, text| Ok(shell::builds(path, folder, text, &Variables::new()))),
        _ => None,
    }
}

/// Files of commands: shell, make and its like, other CI systems.
fn is_script(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ci = [".gitlab-ci.yml", ".travis.yml", "azure-pipelines.yml", "bitbucket-pipelines.yml", "buildspec.yml", "jenkinsfile"];
    let runners =
        ["makefile", "gnumakefile", "justfile", ".justfile", "taskfile.yml", "taskfile.yaml", "package.json", "project.json"];
    ["sh", "bash", "mk"].contains(&ending(&name))
        || ci.contains(&name.as_str())
        || runners.contains(&name.as_str())
        || path == ".circleci/config.yml"
}

pub(super) fn said(
    by: &str,
    folder: &str,
    name: &str,
    context: Option<&str>,
    dockerfile: Option<&str>,
    target: Option<&str>,
) -> Option<Said> {
    let context = join(folder, context.unwrap_or(".").trim_end_matches('/'))?;
    let dockerfile = join(&context, dockerfile.unwrap_or("Dockerfile"))?;
    Some(Said {
        name: name.to_owned(),
        dockerfile,
        context,
        target: target.map(str::to_owned),
        args: SortedMap::new(),
        varied: SortedSet::new(),
        given: Given::new(),
        image: None,
        by: by.to_owned(),
    })
}

/// The name of an image in a registry, of a reference: no tag, no digest, nothing that a variable has a part in. `None` without a host: that may be
/// a name for one machine alone.
pub(super) fn image(reference: &str) -> Option<String> {
    let name = reference.trim().split('@').next()?;
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    // compose's `${TAG:-latest}` has a colon of its own.
    let name = name.split_once(":$").map_or(name, |(name, _)| name);
    let (host, _) = name.split_once('/')?;
    let is_whole = !name.contains(['$', '{', '}', ' ']);
    (is_whole && host.contains(['.', ':']) && !host.starts_with("localhost")).then(|| name.to_owned())
}

fn compose(path: &str, folder: &str, text: &str) -> Result<Vec<Said>, String> {
    let tree = tree(text)?;
    let services = tree.get("services").map_or(&[][..], Yaml::entries);
    let of = |(name, service): &(String, Yaml)| {
        let build = service.get("build")?;
        let image = service.get("image").and_then(Yaml::as_str).and_then(image);
        if let Some(context) = build.as_str() {
            return said(path, folder, name, Some(&unset(context)?), None, None).map(|said| Said { image, ..said });
        }
        if build.get("dockerfile_inline").is_some() {
            return None;
        }
        // What only a variable says is not known.
        let text = |key: &str| build.get(key).and_then(Yaml::as_str).map_or(Some(None), |text| unset(text).map(Some));
        let (context, dockerfile, target) = (text("context")?, text("dockerfile")?, text("target")?);
        let args = build.get("args");
        let listed = args.map_or(&[][..], Yaml::items).iter().filter_map(Yaml::as_str);
        let listed = listed.map(|item| item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value))));
        let mapped = args.map_or(&[][..], Yaml::entries).iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let said = said(path, folder, name, context.as_deref(), dockerfile.as_deref(), target.as_deref())?;
        Some(Said { given: given::of_compose(build, &tree, folder), image, ..said.with(listed.chain(mapped)) })
    };
    Ok(services.iter().filter_map(of).into_vec())
}

/// Skaffold's artifacts that a Dockerfile makes, of every module. Source: skaffold.dev "skaffold.yaml", `build.artifacts[].docker`.
fn skaffold(path: &str, folder: &str, text: &str) -> Result<Vec<Said>, String> {
    let mut found = Vec::new();
    for module in documents(text)? {
        let artifacts = module.get("build").and_then(|build| build.get("artifacts")).map_or(&[][..], Yaml::items);
        for artifact in artifacts {
            let others = ["buildpacks", "jib", "ko", "bazel", "custom"];
            let Some(reference) = artifact.get("image").and_then(Yaml::as_str) else { continue };
            if others.iter().any(|other| artifact.get(other).is_some()) {
                continue;
            }
            let docker = artifact.get("docker").or_else(|| artifact.get("kaniko"));
            let text = |key: &str| docker?.get(key)?.as_str();
            let name = reference.rsplit('/').next().unwrap_or(reference);
            let name = name.split([':', '@']).next().unwrap_or(name);
            let context = artifact.get("context").and_then(Yaml::as_str);
            let args = docker.and_then(|docker| docker.get("buildArgs")).map_or(&[][..], Yaml::entries);
            let args = args.iter().map(|(key, value)| (key.as_str(), value.as_str().filter(|value| !value.contains("{{"))));
            let given = docker.map(|docker| given::of_skaffold(docker, folder)).unwrap_or_default();
            let said = said(path, folder, name, context, text("dockerfile"), text("target"));
            found.extend(said.map(|said| Said { given, image: image(reference), ..said.with(args) }));
        }
    }
    Ok(found)
}

/// What the scripts of a `package.json` call, and the targets of Nx's there or in a `project.json`. One that cannot be read is the workspace's to
/// tell of.
fn manifest(path: &str, folder: &str, text: &str) -> Vec<Said> {
    let manifest = with_comments(text).unwrap_or_default();
    let called = |folder: &str, command: &str| shell::builds(path, folder, command, &Variables::new());
    let scripts = manifest["scripts"].as_object().into_iter().flatten().filter_map(|(_, script)| script.as_str());
    let mut found: Vec<Said> = scripts.flat_map(|script| called(folder, script)).into_vec();
    let name = manifest["name"].as_str().unwrap_or_else(|| folder.rsplit('/').next().unwrap_or(folder));
    let filled =
        |text: &str| text.replace("{projectRoot}", folder).replace("{projectName}", name).replace("{workspaceRoot}", ".");
    let targets = [&manifest["targets"], &manifest["nx"]["targets"]].into_iter().filter_map(Value::as_object).flatten();
    for (_, target) in targets {
        let options = &target["options"];
        // Nx starts commands at the root.
        let Some(start) = join(".", &filled(options["cwd"].as_str().unwrap_or("."))) else { continue };
        let several = options["commands"].as_array().into_iter().flatten();
        let commands = [&target["command"], &options["command"]].into_iter().chain(several);
        let text = |command: &Value| command.as_str().or_else(|| command["command"].as_str()).map(&filled);
        found.extend(commands.filter_map(text).flat_map(|command| called(&start, &command)));
    }
    found
}

/// The steps of Google's Cloud Build that call Docker. Source: cloud.google.com, "Build configuration file schema".
fn cloud_build(path: &str, _: &str, text: &str) -> Result<Vec<Said>, String> {
    let tree = tree(text)?;
    let mut found = Vec::new();
    for step in tree.get("steps").map_or(&[][..], Yaml::items) {
        let text = |key: &str| step.get(key).and_then(Yaml::as_str);
        let args: Vec<&str> = step.get("args").map_or(&[][..], Yaml::items).iter().filter_map(Yaml::as_str).into_vec();
        let Some(folder) = join(".", text("dir").unwrap_or(".")) else { continue };
        match &args[..] {
            ["build", args @ ..] | ["buildx", "build", args @ ..] if text("name").is_some_and(|name| name.contains("docker")) => {
                found.extend(shell::asked(path, &folder, args, &Variables::new()));
            }
            _ => found.extend(args.iter().flat_map(|arg| shell::builds(path, &folder, arg, &Variables::new()))),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_says_which_dockerfile_builds_what() {
        let text = "services:\n  db:\n    image: postgres\n  api:\n    build: ./api\n  web:\n    build:\n      context: ..\n      dockerfile: apps/web/Dockerfile\n      target: runner\n";
        let found = compose("deploy/docker-compose.yml", "deploy", text).unwrap();
        let shown: Vec<String> =
            found.iter().map(|s| format!("{} {} {} {:?}", s.name, s.dockerfile, s.context, s.target)).collect();
        assert_eq!(shown, ["api deploy/api/Dockerfile deploy/api None", "web apps/web/Dockerfile . Some(\"runner\")"]);
        let text = "services:\n  api:\n    build: {context: '${ROOT:-.}', target: '${TARGET-dev}'}\n  web:\n    build: {context: ., target: $TARGET}\n";
        let found = compose("compose.yml", ".", text).unwrap();
        assert_eq!((found.len(), found[0].context.as_str(), found[0].target.as_deref()), (1, ".", Some("dev")));
    }

    #[test]
    fn skaffold_says_what_its_artifacts_are_made_of() {
        let text = "build:\n  artifacts:\n    - image: ghcr.io/acme/shop-api\n      context: ../\n      docker:\n        dockerfile: apps/api/Dockerfile\n        target: prod\n        \
                    buildArgs: {A: '1', B: '{{.X}}'}\n        secrets: [{id: npm, env: NPM_TOKEN}, {id: file, src: t}]\n        addHost: ['a:10.0.0.7']\n    \
                    - {image: go-thing, ko: {}}\n---\nbuild:\n  artifacts: [{image: web, context: web}]\n";
        let found = skaffold("deploy/skaffold.yaml", "deploy", text).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|s| format!("{} {} {} {:?} {:?} {:?}", s.name, s.dockerfile, s.context, s.target, s.args, s.image))
            .collect();
        assert_eq!(
            shown,
            [
                r#"shop-api apps/api/Dockerfile . Some("prod") {"A": "1"} Some("ghcr.io/acme/shop-api")"#,
                "web deploy/web/Dockerfile deploy/web None {} None"
            ]
        );
        let given: Vec<String> = found[0].given.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        assert_eq!(given, [r#"add-hosts = ["a:10.0.0.7"]"#, r#"secrets = ["id=npm,env=NPM_TOKEN", "id=file,src=deploy/t"]"#]);
    }

    #[test]
    fn a_compose_file_in_a_folder_may_have_its_paths_from_the_root() {
        let files = [".docker/compose.yml", ".docker/api/Dockerfile.prod"].map(str::to_owned);
        let of = |dockerfile: &str| {
            let text = format!("services:\n  api: {{build: {{context: ., dockerfile: {dockerfile}}}}}\n");
            let (found, _) = all(&files, |_| Some(text.clone()));
            (found[0].dockerfile.clone(), found[0].context.clone())
        };
        let wanted = |context: &str| (".docker/api/Dockerfile.prod".to_owned(), context.to_owned());
        assert_eq!(of("./.docker/api/Dockerfile.prod"), wanted("."));
        assert_eq!(of("api/Dockerfile.prod"), wanted(".docker"));
    }

    #[test]
    fn what_is_for_use_comes_before_what_is_for_developing() {
        let files = ["docker-compose.dev.yml", "docker-compose.yml", "compose.override.yaml"].map(str::to_owned);
        let text = |path: &str| Some(format!("services:\n  api: {{build: {{context: ., dockerfile: {path}.Dockerfile}}}}\n"));
        let (found, unreadable) = all(&files, text);
        let by: Vec<&str> = found.iter().map(|said| said.by.as_str()).collect();
        assert_eq!((by, unreadable.len()), (vec!["docker-compose.yml", "docker-compose.dev.yml", "compose.override.yaml"], 0));
    }
}
