//! A workspace that has one of everything which a cut can get wrong, on packages of a few kilobytes.

use std::path::Path;

use support::pnpm::Pnpm;

/// Who reads the settings: pnpm 9 knows only those in the root manifest and `.npmrc`.
fn settings_in_manifest(pnpm: &Pnpm) -> bool {
    pnpm.major < 10
}

/// Writes the workspace into `root` and lets `pnpm` make its lock.
pub fn workspace(root: &Path, pnpm: &Pnpm) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let settings = serde_json::json!({
        // A `$` reference to a dependency of the root, a nested selector, and one that only another service meets.
        "overrides": {"ms": "$ms", "once>wrappy": "1.0.2", "is-number": "6.0.0"},
        "packageExtensions": {"has-flag": {"dependencies": {"inherits": "2.0.4"}}},
        "patchedDependencies": {"is-number@6.0.0": "patches/is-number.patch", "inherits@2.0.4": "patches/inherits.patch"},
        "ignoredOptionalDependencies": ["fsevents"],
    });
    let mut manifest = serde_json::json!({
        "name": "root", "private": true, "version": "1.0.0",
        "dependencies": {"ms": "2.1.2"}, "devDependencies": {"is-odd": "3.0.1", "@s/core": "workspace:*"},
    });
    let mut yaml = serde_json::json!({
        "packages": ["apps/*", "packages/*", "!**/test/**"],
        "catalog": {"ms": "2.1.3", "wrappy": "1.0.2"},
        "catalogs": {"old": {"once": "1.4.0", "inherits": "2.0.3"}},
    });
    if settings_in_manifest(pnpm) {
        manifest["pnpm"] = settings;
        write(".npmrc", "link-workspace-packages=true\n");
    } else {
        yaml["linkWorkspacePackages"] = true.into();
        yaml.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    }
    write("package.json", &manifest.to_string());
    write("pnpm-workspace.yaml", &yaml.to_string());
    for (path, text) in FILES {
        write(path, text);
    }
    for package in ["inherits", "is-number"] {
        let added = format!("--- /dev/null\n+++ b/extra.js\n@@ -0,0 +1 @@\n+// {package}\n");
        write(&format!("patches/{package}.patch"), &format!("diff --git a/extra.js b/extra.js\nnew file mode 100644\n{added}"));
    }
    tarball(&root.join("vendor/tar-1.0.0.tgz"));
    pnpm.must(root, &["install", "--lockfile-only"]);
}

const FILES: [(&str, &str); 18] = [
    // Injected, aliased and dev-only packages of the workspace; a peer-suffixed entry; a named catalog; a package with commands.
    (
        "apps/api/package.json",
        r#"{"name": "api", "version": "1.0.0", "private": true, "scripts": {"build": "tsc"},
            "dependencies": {"@s/core": "workspace:*", "@s/inj": "workspace:*", "ui-alias": "workspace:@s/ui@*", "debug": "4.3.4",
                "supports-color": "8.1.1", "once": "catalog:old", "@s/tool": "workspace:^"},
            "devDependencies": {"is-even": "1.0.0", "@s/empty": "workspace:*"},
            "dependenciesMeta": {"@s/inj": {"injected": true}}}"#,
    ),
    // A published folder, the default catalog, a patched entry and an optional one that is ignored.
    (
        "apps/web/package.json",
        r#"{"name": "web", "version": "1.0.0", "private": true,
            "dependencies": {"@s/pub": "workspace:*", "wrappy": "catalog:", "is-odd": "3.0.1", "debug": "4.3.4"},
            "optionalDependencies": {"fsevents": "2.3.3"}}"#,
    ),
    // A tarball and a folder of the repository.
    (
        "packages/core/package.json",
        r#"{"name": "@s/core", "version": "1.2.0", "devDependencies": {"is-odd": "3.0.1"}, "dependencies": {"ms": "catalog:",
            "tar": "file:../../vendor/tar-1.0.0.tgz", "plain": "file:../../vendor/plain", "debug": "4.3.4"}}"#,
    ),
    // A link by a plain version, and a peer that only a development dependency provides.
    (
        "packages/ui/package.json",
        r#"{"name": "@s/ui", "version": "2.0.0", "dependencies": {"@s/core": "^1.0.0"}, "peerDependencies": {"debug": "*"},
            "devDependencies": {"debug": "4.3.4"}}"#,
    ),
    (
        "packages/inj/package.json",
        r#"{"name": "@s/inj", "version": "1.0.0", "main": "index.js", "dependencies": {"once": "1.4.0", "@s/ui": "workspace:*"},
            "devDependencies": {"escape-html": "1.0.3"}}"#,
    ),
    ("packages/inj/index.js", "module.exports = 1\n"),
    ("packages/empty/package.json", r#"{"name": "@s/empty", "version": "1.0.0"}"#),
    (
        "packages/pub/package.json",
        r#"{"name": "@s/pub", "version": "1.0.0", "publishConfig": {"directory": "dist", "linkDirectory": true},
            "dependencies": {"escape-html": "1.0.3"}}"#,
    ),
    ("packages/pub/dist/package.json", r#"{"name": "@s/pub", "version": "1.0.0"}"#),
    (
        "packages/tool/package.json",
        r#"{"name": "@s/tool", "version": "1.0.0", "bin": {"tool": "bin/tool.js", "unbuilt": "dist/unbuilt.js"}}"#,
    ),
    ("packages/tool/bin/tool.js", "#!/usr/bin/env node\nconsole.log(1)\n"),
    // Nobody's dependency.
    (
        "packages/other/package.json",
        r#"{"name": "@s/other", "version": "1.0.0", "dependencies": {"wrappy": "1.0.2", "array-flatten": "1.1.1"}}"#,
    ),
    ("vendor/plain/package.json", r#"{"name": "plain", "version": "1.0.0", "dependencies": {"escape-html": "1.0.3"}}"#),
    ("vendor/plain/index.js", "module.exports = 2\n"),
    // A hook that loads another file, and changes what an entry depends on.
    (".pnpmfile.cjs", "module.exports = { hooks: { readPackage: require('./hooks/read') } }\n"),
    (
        "hooks/read.js",
        "module.exports = (p) => { if (p.name === 'supports-color') p.dependencies['depd'] = '2.0.0'; return p }\n",
    ),
    ("hooks/unused.js", "throw new Error('not loaded')\n"),
    ("packages/core/src/index.ts", "export const one = 1\n"),
];

/// A tarball of one file, `package/package.json`.
fn tarball(path: &Path) {
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("package")).unwrap();
    std::fs::write(source.path().join("package/package.json"), r#"{"name": "tar", "version": "1.0.0"}"#).unwrap();
    support::repo::tar(path, source.path(), "package");
}
