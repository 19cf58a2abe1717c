//! The applications of a Nest workspace: one package that builds several, by its `nest-cli.json`. Source: docs.nestjs.com/cli/monorepo.

use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_workspace::sources::with_comments;
use pnpm::join;

use super::kind::{Facts, Kind, Known};
use super::start::Start;

/// The applications of a package beside the one that its own scripts build and start, each with what it is. `nest build NAME` builds one.
pub(super) fn others(facts: &Facts<'_>, command: &str) -> Vec<(String, Known)> {
    let read = |file: &str| with_comments(&std::fs::read_to_string(facts.folder.join(file)).ok()?);
    let Some(settings) = read("nest-cli.json").filter(|_| facts.needs("@nestjs/cli")) else { return Vec::new() };
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let is_own =
        |project: &Value| ["root", "sourceRoot"].iter().any(|key| project[*key].is_string() && project[*key] == settings[*key]);
    let projects = settings["projects"].as_object().into_iter().flatten().filter(|(_, project)| project["type"] != "library");
    projects
        .filter(|(_, project)| !is_own(project))
        .filter_map(|(name, project)| {
            let root = text(project, "root").unwrap_or_else(|| format!("apps/{name}"));
            let file = text(&project["compilerOptions"], "tsConfigPath").unwrap_or_else(|| format!("{root}/tsconfig.app.json"));
            let folder = file.rsplit_once('/').map_or(".", |(folder, _)| folder);
            let made = read(&file).and_then(|compiler| join(folder, compiler["compilerOptions"]["outDir"].as_str()?));
            let entry = text(project, "entryFile").unwrap_or_else(|| "main".to_owned());
            let file = format!("{}/{entry}.js", made.unwrap_or_else(|| format!("dist/{root}")));
            let known = Known {
                kind: Kind::Node,
                why: format!("nest build {name}"),
                command: Start::made(&format!("node {file}")).command,
                port: None,
                env: Vec::new(),
                note: None,
            };
            // A start script may name another than the one that is built where none is named.
            (!command.contains(file.trim_end_matches(".js"))).then(|| (name.clone(), known))
        })
        .into_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applications_beside_the_one_that_starts_are_services_too() {
        let dir = tempfile::tempdir().unwrap();
        let settings = r#"{"sourceRoot": "apps/web/src", "monorepo": true, "root": "apps/web", "projects": {
            "web": {"type": "application", "root": "apps/web"}, "shared": {"type": "library", "root": "libs/shared"},
            "jobs": {"type": "application", "root": "apps/jobs", "entryFile": "start", "compilerOptions": {"tsConfigPath": "apps/jobs/tsconfig.app.json"}},
            "mail": {"type": "application"}}}"#;
        std::fs::create_dir_all(dir.path().join("apps/jobs")).unwrap();
        std::fs::write(dir.path().join("nest-cli.json"), settings).unwrap();
        std::fs::write(dir.path().join("apps/jobs/tsconfig.app.json"), r#"{"compilerOptions": {"outDir": "../../out/jobs"}}"#)
            .unwrap();
        let manifest = json!({"devDependencies": {"@nestjs/cli": "11"}});
        let facts = Facts { manifest: &manifest, root: &json!({}), folder: dir.path().to_owned(), dir: "backend" };
        let found = |command: &str| {
            let all = others(&facts, command).into_iter();
            all.map(|(name, known)| format!("{name} {}", known.command)).collect::<Vec<_>>()
        };
        let [jobs, mail] = [r#"jobs ["node", "out/jobs/start.js"]"#, r#"mail ["node", "dist/apps/mail/main.js"]"#];
        assert_eq!(found(r#"["node", "dist/apps/web/main"]"#), [jobs, mail]);
        assert_eq!(found(r#"["node", "dist/apps/mail/main"]"#), [jobs]);
    }
}
