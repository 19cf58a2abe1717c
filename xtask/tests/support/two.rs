//! A repository with two workspaces, `backend` and `frontend`, of one service each.

use super::repo::Repo;

/// The folders, each with its service.
pub const WORKSPACES: [(&str, &str); 2] = [("backend", "api"), ("frontend", "web")];

/// Writes them: each has its own lock, and both are called alike.
pub fn write(repo: &Repo) {
    let unique = repo.path().display().to_string();
    for (folder, service) in WORKSPACES {
        let put = |file: &str, text: &str| repo.write(&format!("{folder}/{file}"), text);
        put("package.json", r#"{"name":"root","private":true,"packageManager":"pnpm@10.34.9"}"#);
        put("pnpm-workspace.yaml", "packages:\n  - apps/*\n");
        let settings = "settings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n";
        put(
            "pnpm-lock.yaml",
            &format!("lockfileVersion: '9.0'\n\n{settings}\nimporters:\n\n  .: {{}}\n\n  apps/{service}: {{}}\n"),
        );
        let manifest = format!(r#"{{"name":"{service}","version":"1.0.0","scripts":{{"start":"node src/main.js"}}}}"#);
        put(&format!("apps/{service}/package.json"), &manifest);
        put(&format!("apps/{service}/src/main.js"), &format!("console.log({unique:?})\n"));
        let copies = format!("FROM scratch AS base\n\nFROM scratch AS {service}\nCOPY apps/{service}/src /app\n");
        put("Dockerfile.monorepo-optimized", &copies);
    }
    repo.write(".gitignore", "target/\n");
    repo.commit("two workspaces");
}
