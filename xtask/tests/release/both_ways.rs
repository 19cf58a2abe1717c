//! An image of a release is what a full, clean clone of its commit makes, to the byte: each layout is released, from a clone that lacks what
//! can be lacking, and built in such a clone; the images' manifests are compared.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::is_content;
use support::engine::{environment_of, shared};
use support::repo::{Ran, git, xtask_command};

/// One service, one package; nothing that would differ from build to build is put beside the image.
const CONFIG: &str =
    "[attest]\nsbom = false\nprovenance = false\n[cache]\ngha = false\nregistry = false\nprevious = false\ninline = false\n";

/// Everything that is sent of the pruned sources.
const SOURCES: &str =
    "FROM scratch AS base\n\nFROM scratch AS sources\nCOPY . /\n\nFROM scratch AS api\nCOPY --from=sources / /app\n";

/// Everything that is sent of the main context.
const WHOLE: &str = "FROM scratch AS base\n\nFROM scratch AS api\nCOPY . /app\n";

/// A repository under construction, with others that become its submodules beside it.
struct Layout {
    dir: tempfile::TempDir,
    /// Global settings of git, for whoever works with it.
    settings: String,
}

impl Layout {
    fn new(dockerfile: &str) -> Self {
        let layout = Self { dir: tempfile::tempdir().unwrap(), settings: String::new() };
        for (path, text) in [
            ("package.json", r#"{"name": "root", "private": true}"#),
            ("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n"),
            (
                "pnpm-lock.yaml",
                "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/api:\n    dependencies:\n      lib:\n        specifier: workspace:*\n        version: link:../../packages/lib\n\n  packages/lib: {}\n",
            ),
            ("apps/api/package.json", r#"{"name": "api", "dependencies": {"lib": "workspace:*"}}"#),
            ("apps/api/src/main.ts", "export {}\n"),
            ("packages/lib/package.json", r#"{"name": "lib"}"#),
            ("Dockerfile.monorepo-optimized", dockerfile),
            (".dockerignore", ".git\ntarget\n"),
            (".gitignore", "target\n"),
            ("xtask.toml", CONFIG),
        ] {
            layout.put(path, text);
        }
        git(&layout.root(), &["init", "--quiet", "--initial-branch=main"]);
        layout
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("origin")
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.root().join(path)).unwrap();
        assert!(text.contains(from), "{path}: {text}");
        self.put(path, &text.replace(from, to));
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// A repository beside this one, with these files and perhaps a submodule of its own.
    fn beside(&self, name: &str, files: &[(&str, &str)], inner: Option<(&str, &str)>) {
        let root = self.dir.path().join(name);
        for (path, text) in files {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        }
        self.git(self.dir.path(), &["init", "--quiet", "--initial-branch=main", name]);
        if let Some((of, path)) = inner {
            self.git(&root, &["submodule", "--quiet", "add", &format!("../{of}"), path]);
        }
        self.commit(&root);
    }

    fn commit(&self, root: &Path) {
        self.git(root, &["add", "--all"]);
        self.git(root, &["commit", "--quiet", "--allow-empty", "--message", "all"]);
    }

    /// Git as this layout's user has it: nothing of the machine's, submodules from folders allowed.
    fn git(&self, dir: &Path, args: &[&str]) -> String {
        let file = self.write_settings();
        let settings = [
            "-c".to_owned(),
            format!("include.path={}", file.display()),
            "-c".to_owned(),
            "protocol.file.allow=always".to_owned(),
        ];
        git(dir, &settings.iter().map(String::as_str).chain(args.iter().copied()).collect::<Vec<_>>())
    }

    fn write_settings(&self) -> PathBuf {
        let file = self.dir.path().join("gitconfig");
        let allowed = "[user]\n\tname = t\n\temail = t@example.org\n[protocol \"file\"]\n\tallow = always\n[uploadpack]\n\tallowFilter = true\n";
        std::fs::write(&file, format!("{allowed}{}", self.settings)).unwrap();
        file
    }

    /// Runs `xtask` in a folder; the image goes to a namespace of its own.
    fn xtask(&self, dir: &Path, namespace: &str, args: &[&str]) -> Ran {
        let env = environment_of("shared");
        let mut command = xtask_command(dir, args);
        command
            .env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
            .env("XTASK_BUILDERS_ENGINE", "embedded")
            .env("XTASK_BUILDERS_STAND_INS", "always")
            .env("XTASK_IMAGES_REGISTRY", shared().registry())
            .env("XTASK_IMAGES_NAMESPACE", namespace)
            .env("GIT_CONFIG_GLOBAL", self.write_settings())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        Ran::new(args, &command.output().unwrap()).exits(0)
    }

    /// Tags what is there, releases it from `clone` of it (made with these flags; none means the repository itself), and builds it in a full
    /// clone. `below` is the workspace's folder in the repository.
    fn same_both_ways(&self, what: &str, clone: Option<&[&str]>, below: &str) {
        self.commit(&self.root());
        self.git(&self.root(), &["tag", "v1.0.0"]);
        let url = format!("file://{}", self.root().display());
        let cloned = |name: &str, flags: &[&str]| {
            let into = self.dir.path().join(name);
            self.git(self.dir.path(), &[&["clone", "--quiet"][..], flags, &[&url, into.to_str().unwrap()]].concat());
            into
        };
        let user = clone.map_or_else(|| self.root(), |flags| cloned("user", flags));
        let full = cloned("full", &["--recurse-submodules", "--branch", "v1.0.0", "-c", "advice.detachedHead=false"]);
        let before = settings_of(&user);
        let namespace = |way: &str| {
            let unique = self.dir.path().file_name().unwrap().to_string_lossy().to_lowercase();
            format!("both/{}-{way}", unique.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
        };
        self.xtask(&user.join(below), &namespace("release"), &["release", "v1.0.0", "--allow-stand-ins"]);
        self.xtask(&full.join(below), &namespace("full"), &["build", "--push"]);
        assert_eq!(image(&namespace("release")), image(&namespace("full")), "{what}");
        assert_eq!(settings_of(&user), before, "{what}: the user's git folder");
    }
}

/// What of a git folder nobody but its user changes: its settings, its notes of work trees, its references' folders and whatever lies at its top.
fn settings_of(repository: &Path) -> BTreeMap<String, Vec<u8>> {
    let git = repository.join(".git");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&git).unwrap() {
        let (name, path) = entry.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).unwrap();
        // Git refreshes its index when it is asked what is dirty.
        let content = if path.is_dir() || name == "index" { Vec::new() } else { std::fs::read(path).unwrap() };
        found.insert(name, content);
    }
    found
}

/// The manifest that stands under a content tag: layers, configuration, fingerprint; all but where it lies.
fn image(namespace: &str) -> serde_json::Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let get = |path: &str| {
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/json";
        let url = format!("http://{}/v2/{namespace}/api/{path}", shared().registry());
        let mut answer = agent.get(&url).header("accept", accept).call().unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{url}");
        answer.body_mut().read_to_vec().unwrap()
    };
    let listed: serde_json::Value = serde_json::from_slice(&get("tags/list")).unwrap();
    let tags = listed["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str());
    let content: Vec<&str> = tags.filter(|tag| is_content(tag)).collect();
    assert_eq!(content.len(), 1, "{listed}");
    let mut manifest: serde_json::Value = serde_json::from_slice(&get(&format!("manifests/{}", content[0]))).unwrap();
    assert!(manifest["layers"].as_array().is_some_and(|layers| !layers.is_empty()), "{manifest:#}");
    manifest["annotations"].as_object_mut().unwrap().remove("vnd.monoship.repository").unwrap();
    manifest
}

#[test]
fn the_main_context_and_what_lies_beside_the_default_patterns() {
    let layout = Layout::new(WHOLE);
    for (path, text) in [
        ("docs/guide/a [1].md", "a\n"),
        ("assets/ünïcode  name.svg", "<svg/>\n"),
        ("secret.pem", "no\n"),
        ("docker/rules", "**/*.pem\n.git\ntarget\ndocs/left-out\n"),
        ("docs/left-out/b.md", "b\n"),
        ("run.sh", "#!/bin/sh\n"),
    ] {
        layout.put(path, text);
    }
    std::fs::set_permissions(layout.root().join("run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    layout.link("docs/latest", "guide");
    layout.put("docker/real", WHOLE);
    layout.link("docker/app.Dockerfile", "real");
    layout.link("docker/app.Dockerfile.dockerignore", "rules");
    layout.edit("xtask.toml", "[attest]", "[images]\ndockerfile = \"docker/app.Dockerfile\"\n[attest]");
    layout.same_both_ways("a Dockerfile in a folder, which is a link as are its own ignore rules", None, "");
}

#[test]
fn packages_elsewhere_and_what_they_name_outside_of_themselves() {
    let layout = Layout::new(SOURCES);
    std::fs::rename(layout.root().join("apps"), layout.root().join("services")).unwrap();
    std::fs::rename(layout.root().join("packages"), layout.root().join("libs")).unwrap();
    layout.edit("pnpm-workspace.yaml", "apps/*\n  - packages/*", "'{services,others}/*'\n  - libs/**");
    layout.edit("pnpm-lock.yaml", "apps/api", "services/api");
    layout.edit("pnpm-lock.yaml", "packages/lib", "libs/lib");
    let service = "[[service]]\nname = \"api\"\npackage = \"services/api\"\ninclude = [\"prisma/**\", \"env/.{a,b}\"]\n";
    layout.edit("xtask.toml", "[attest]", &format!("{service}[attest]"));
    for (path, text) in [
        ("services/api/tsconfig.json", r#"{"extends": "../../config/ts/base"}"#),
        ("config/ts/base.json", r#"{"extends": "./strict.json"}"#),
        ("config/ts/strict.json", "{}"),
        ("services/api/vite.config.mjs", "import '../../tools/vite.mjs'\n"),
        ("tools/vite.mjs", "import './more.mjs'\n"),
        ("tools/more.mjs", "\n"),
        ("prisma/deep/schema.prisma", "\n"),
        ("env/.a", "\n"),
        ("shared/assets/logo.svg", "<svg/>\n"),
    ] {
        layout.put(path, text);
    }
    layout.link("services/api/public", "../../shared/assets");
    layout.same_both_ways("packages, settings and links elsewhere", Some(&["--filter=blob:none", "--sparse"]), "");
}

#[test]
fn submodules_as_packages_within_packages_and_within_each_other() {
    for (what, clone) in
        [("filled in the clone", None), ("not filled, blob-less and sparse", Some(&["--filter=blob:none", "--sparse"][..]))]
    {
        let layout = Layout::new(
            "FROM scratch AS base\n\nFROM scratch AS sources\nCOPY . /\n\nFROM scratch AS api\nCOPY --from=sources / /app\nCOPY packages /packages\nCOPY vendor /vendor\n",
        );
        layout.beside("inner", &[("inner.txt", "inner\n")], None);
        layout.beside(
            "lib",
            &[("package.json", r#"{"name": "lib"}"#), ("index.ts", "export {}\n")],
            Some(("inner", "deep/inner")),
        );
        layout.beside("assets", &[("logo.svg", "<svg/>\n")], None);
        std::fs::remove_dir_all(layout.root().join("packages/lib")).unwrap();
        for (of, path) in [("lib", "packages/lib"), ("assets", "apps/api/assets"), ("assets", "vendor/assets")] {
            layout.git(&layout.root(), &["submodule", "--quiet", "add", &format!("../{of}"), path]);
        }
        layout.git(&layout.root(), &["submodule", "--quiet", "update", "--init", "--recursive"]);
        layout.commit(&layout.root());
        // A later commit of a submodule is nobody's business.
        layout.beside("lib", &[("index.ts", "export const later = 1\n")], None);
        layout.same_both_ways(what, clone, "");
    }
}

#[test]
fn links_of_the_repository_to_what_the_default_patterns_leave_out() {
    let layout = Layout::new(
        "FROM scratch AS base\n\nFROM scratch AS sources\nCOPY . /\n\nFROM scratch AS api\nCOPY --from=sources / /app\nCOPY docs /docs\nCOPY *.pem /\n",
    );
    std::fs::create_dir(layout.root().join("config")).unwrap();
    for (path, target) in [
        ("pnpm-lock.yaml", "config/lock.yaml"),
        ("pnpm-workspace.yaml", "config/workspace.yaml"),
        ("xtask.toml", "config/xtask.toml"),
        ("packages/lib/package.json", "config/lib.json"),
    ] {
        std::fs::rename(layout.root().join(path), layout.root().join(target)).unwrap();
        layout.link(path, &format!("{}{target}", "../".repeat(path.matches('/').count())));
    }
    layout.put("content/docs/deep/a.md", "a\n");
    layout.link("docs", "content/docs");
    layout.put("a.pem", "a\n");
    layout.put("rules/ignore", "*.pem\n!a.pem\n.git\ntarget\n");
    layout.put("b.pem", "left out\n");
    std::fs::remove_file(layout.root().join(".dockerignore")).unwrap();
    layout.link(".dockerignore", "rules/ignore");
    layout.same_both_ways("links", Some(&["--filter=blob:none"]), "");
}

#[test]
fn line_ends_and_filters_are_those_of_a_clone_of_this_machine() {
    let mut layout = Layout::new(WHOLE);
    layout.settings = "[filter \"upper\"]\n\tclean = tr A-Z a-z\n\tsmudge = tr a-z A-Z\n\trequired = true\n".to_owned();
    layout.put(".gitattributes", "*.crlf text eol=crlf\n*.up filter=upper\n* text=auto\n");
    layout.put("a.crlf", "one\ntwo\n");
    layout.put("b.up", "one\ntwo\n");
    layout.put("packages/lib/.gitattributes", "*.txt eol=crlf\n");
    layout.put("packages/lib/c.txt", "one\n");
    layout.commit(&layout.root());
    // What only this clone says is not what a clone has.
    git(&layout.root(), &["config", "core.autocrlf", "true"]);
    std::fs::create_dir_all(layout.root().join(".git/info")).unwrap();
    std::fs::write(layout.root().join(".git/info/attributes"), "*.json eol=crlf\n").unwrap();
    layout.same_both_ways("filters", None, "");
}

#[test]
fn a_workspace_in_a_folder_of_its_repository() {
    let layout = Layout::new(WHOLE);
    let below = layout.root().join("code/ws");
    std::fs::create_dir_all(&below).unwrap();
    for entry in std::fs::read_dir(layout.root()).unwrap() {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
        if name != "code" && name != ".git" {
            std::fs::rename(path, below.join(name)).unwrap();
        }
    }
    layout.put("apps/other.txt", "not of the workspace\n");
    layout.put("code/ws/tools/x.txt", "x\n");
    layout.same_both_ways("a workspace in a folder", None, "code/ws");
}
