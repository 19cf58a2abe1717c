//! What several services need is downloaded once and built once, whoever asks first; and no build sees what its hash does not know.

use std::collections::BTreeMap;

use crate::harness::{cache_mounts, clone_to_look_at, docker, record, seat};
use support::engine::shared;
use support::repo::Repo;

/// Each package's build writes what nobody can write twice, a link that leads nowhere, an empty folder, and whether it sees a package. No path
/// says which: it is not taken along for it. While `needy` is built for the second service, with all packages in sight, the first one
/// builds `words`.
const BUILD: &str = "import fs from 'node:fs';\n\
    const until = (happened) => { for (let tries = 0; tries < 100 && !happened(); tries++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100); };\n\
    const isKept = (key) => fs.existsSync(`/builds/${key}/written/packages/words/dist/id`);\n\
    fs.mkdirSync('dist/empty', { recursive: true });\n\
    const seen = fs.existsSync(['..', '..', 'packages', 'hidden', 'dist', 'id'].join('/'));\n\
    fs.rmSync('dist/nowhere', { force: true });\n\
    fs.symlinkSync('nowhere', 'dist/nowhere');\n\
    if (process.cwd().endsWith('needy') && !seen) throw new Error('hidden is not there');\n\
    if (process.cwd().endsWith('words')) until(() => fs.existsSync('/builds/needy-sees-all'));\n\
    if (process.cwd().endsWith('needy')) {\n\
      fs.writeFileSync('/builds/needy-sees-all', '');\n\
      until(() => fs.readdirSync('/builds').some(isKept));\n\
    }\n\
    fs.writeFileSync('dist/id', `${crypto.randomUUID()} ${seen}`);\n";

/// This repository without its packages, and its Dockerfile without their sections.
fn without_services() -> (Repo, String) {
    let repo = clone_to_look_at();
    let own = repo.read("Dockerfile.monorepo-optimized");
    for folder in ["apps", "packages"] {
        std::fs::remove_dir_all(repo.path().join(folder)).unwrap();
    }
    repo.write("package.json", r#"{"name":"once","private":true,"packageManager":"pnpm@10.34.9"}"#);
    (repo, own[..own.find("# ── api ─").unwrap()].to_owned())
}

/// Two services over `words`; the second needs `hidden` too, which `words` looks for, and `needy`, which fails without `hidden` and does
/// not declare it. What is linked of `words` is made by its build. The installs and the builds are this repository's own.
fn workspace() -> Repo {
    let (repo, mut dockerfile) = without_services();
    // Nothing of an earlier run is what this one needs.
    let unique = repo.path().display().to_string();
    for service in ["first", "second"] {
        dockerfile.push_str(&format!(
            "FROM base AS {service}-build\n\
             RUN --mount=type=bind,from=manifests,target=/manifests --mount=type=cache,id=pnpm-store,target=/pnpm/store \
             --mount=type=secret,id=ca install-closure everything {service}\n\
             RUN --mount=type=bind,from=dependency-sources,target=/sources --mount=type=cache,id=once{unique},target=/builds \
             build-once --dependencies {service} node build.mjs\n\
             RUN --mount=type=bind,from=sources,target=/sources --mount=type=cache,id=once{unique},target=/builds \
             if [ -e /sources/apps/{service}/elsewhere ]; then rm -rf /builds/*; fi && ln -sfn nowhere /builds/renamed-meanwhile && \
             build-once {service} node build.mjs && mkdir /out && for package in packages/*; do \
             if [ -d $package/dist ]; then rmdir $package/dist/empty && cp $package/dist/id /out/$(basename $package); fi; done && cp apps/{service}/dist/id /out/own\n\
             FROM scratch AS {service}\nCOPY --from={service}-build /out /\n"
        ));
    }
    repo.write("Dockerfile.monorepo-optimized", &dockerfile);
    // The Node that it asks pnpm for is no image's: none is downloaded.
    repo.write("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\nuseNodeVersion: 22.0.0\n");
    let mut lock = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n".to_owned();
    let packages: [(&str, &str, &[&str]); 5] = [
        ("apps", "first", &["words"]),
        ("apps", "second", &["words", "hidden", "needy"]),
        ("packages", "words", &[]),
        ("packages", "hidden", &[]),
        ("packages", "needy", &[]),
    ];
    for (folder, name, needs) in packages {
        let wanted: Vec<String> = needs.iter().map(|need| format!(r#""{need}": "workspace:*""#)).collect();
        let publish = if name == "words" { r#""publishConfig": {"directory": "dist"}, "# } else { "" };
        let manifest = format!(
            r#"{{"name": "{name}", "private": true, {publish}"scripts": {{"start": "node ."}}, "dependencies": {{{}}}}}"#,
            wanted.join(", ")
        );
        repo.write(&format!("{folder}/{name}/package.json"), &manifest);
        repo.write(&format!("{folder}/{name}/build.mjs"), BUILD);
        repo.write(&format!("{folder}/{name}/source.txt"), &unique);
        let nothing = if name == "words" { "\n    publishDirectory: dist" } else { " {}" };
        lock.push_str(&format!("\n  {folder}/{name}:{}\n", if needs.is_empty() { nothing } else { "\n    dependencies:" }));
        for need in needs {
            let linked = if *need == "words" { "words/dist" } else { need };
            lock.push_str(&format!(
                "      {need}:\n        specifier: workspace:*\n        version: link:../../packages/{linked}\n"
            ));
        }
    }
    repo.write("pnpm-lock.yaml", &lock);
    repo.write("packages/words/tsconfig.json", r#"{"extends": "../../tsconfig.base.json"}"#);
    repo.write("tsconfig.base.json", "{}");
    repo.commit("two services");
    repo
}

/// What each package's build left in the images: of `first` and of `second`.
fn built(repo: &Repo, services: &[&str]) -> BTreeMap<String, String> {
    record(repo.xtask(&[&["build", "--json"], services].concat()), 0);
    let mut found = BTreeMap::new();
    for service in ["first", "second"] {
        let dir = tempfile::tempdir().unwrap();
        let container = docker(shared(), &["create", &repo.image(&format!("{service}:dev")), "none"]);
        docker(shared(), &["cp", &format!("{}:/", container.trim()), dir.path().to_str().unwrap()]);
        docker(shared(), &["rm", container.trim()]);
        for file in ["own", "words", "hidden", "needy"] {
            if let Ok(text) = std::fs::read_to_string(dir.path().join(file)) {
                found.insert(format!("{service}/{file}"), text);
            }
        }
    }
    found
}

#[test]
fn what_two_services_need_is_built_once_and_sees_what_it_declares_alone() {
    let _seat = seat();
    let _mounts = cache_mounts();
    let repo = workspace();
    let edited = format!("edited in {}", repo.path().display());
    let once = built(&repo, &[]);
    assert_eq!(
        once.keys().collect::<Vec<_>>(),
        ["first/own", "first/words", "second/hidden", "second/needy", "second/own", "second/words"]
    );
    assert_eq!(once["first/words"], once["second/words"], "built twice");
    assert!(once["first/words"].ends_with(" false"), "a package that is not declared was seen: {once:#?}");
    assert!(once["second/own"].ends_with(" true"), "one that is declared was not: {once:#?}");

    // An edit reaches whoever needs it, and nobody else.
    repo.write("apps/first/source.txt", &edited);
    let first = built(&repo, &[]);
    let changed = |before: &BTreeMap<String, String>, after: &BTreeMap<String, String>| -> Vec<String> {
        after.keys().filter(|file| before.get(*file) != after.get(*file)).cloned().collect()
    };
    assert_eq!(changed(&once, &first), ["first/own"]);
    repo.write("packages/hidden/source.txt", &edited);
    let hidden = built(&repo, &[]);
    assert_eq!(changed(&first, &hidden), ["second/hidden", "second/needy", "second/own"], "what fails alone is built each time");
    repo.write("packages/words/source.txt", &edited);
    let words = built(&repo, &[]);
    assert_eq!(changed(&hidden, &words), ["first/own", "first/words", "second/needy", "second/own", "second/words"]);
    assert_eq!(words["first/words"], words["second/words"]);

    // A machine that has the step before out of a registry's cache, and no build that is kept, takes that step's.
    repo.write("apps/second/elsewhere", "");
    let elsewhere = built(&repo, &[]);
    assert_eq!(changed(&words, &elsewhere), ["second/own"]);

    // What lies at the root may be read by every build.
    std::fs::remove_file(repo.path().join("apps/second/elsewhere")).unwrap();
    repo.write("tsconfig.base.json", r#"{"compilerOptions": {"strict": true}}"#);
    let mut before = built(&repo, &[]);
    assert_eq!(changed(&elsewhere, &before).len(), before.len(), "{before:#?}");
    // So may what an install leaves there: how pnpm runs scripts, and what tools look for in the manifests above.
    for (file, from, to) in [
        ("pnpm-workspace.yaml", "packages:", "shellEmulator: true\npackages:"),
        ("package.json", r#""private""#, r#""browserslist": ["node 24"], "private""#),
    ] {
        repo.write(file, &repo.read(file).replace(from, to));
        let after = built(&repo, &[]);
        assert_eq!(changed(&before, &after).len(), after.len(), "{file}: {after:#?}");
        before = after;
    }
}

/// As pnpm writes it.
const LINKED: &str = "lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

overrides:
  other: workspace:*

importers:

  .: {}

  apps/by-copy:
    dependencies:
      made:
        specifier: workspace:*
        version: file:packages/made/out
    dependenciesMeta:
      made:
        injected: true

  apps/by-link:
    dependencies:
      lib:
        specifier: link:../../packages/lib
        version: link:../../packages/lib

  apps/by-override:
    dependencies:
      other:
        specifier: workspace:*
        version: link:../../packages/an other

  apps/by-path:
    dependencies:
      lib:
        specifier: workspace:../../packages/lib
        version: link:../../packages/lib

  packages/lib:
    dependencies:
      ms:
        specifier: 2.1.3
        version: 2.1.3

  packages/made:
    publishDirectory: out

  packages/an other:
    dependencies:
      ms:
        specifier: 2.1.3
        version: 2.1.3

packages:

  made@file:packages/made/out:
    resolution: {directory: packages/made/out, type: directory}

  ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}

snapshots:

  made@file:packages/made/out: {}

  ms@2.1.3: {}
";

#[test]
fn what_the_lock_links_is_installed_with_what_it_needs_however_a_manifest_names_it() {
    let _seat = seat();
    let (repo, mut dockerfile) = without_services();
    let apps = [
        ("by-link", "lib", "link:../../packages/lib"),
        ("by-path", "lib", "workspace:../../packages/lib"),
        ("by-override", "other", "^1.0.0"),
    ];
    for (app, needs, version) in apps {
        let manifest =
            format!(r#"{{"name": "{app}", "scripts": {{"start": "node ."}}, "dependencies": {{"{needs}": "{version}"}}}}"#);
        repo.write(&format!("apps/{app}/package.json"), &manifest);
        dockerfile.push_str(&format!(
            "FROM base AS {app}-build\n\
             RUN --mount=type=bind,from=manifests,target=/manifests --mount=type=cache,id=pnpm-store,target=/pnpm/store \
             --mount=type=secret,id=ca install-closure everything {app}\n\
             RUN cd apps/{app}/node_modules/{needs} && node -e 'require(\"ms\")'\n\
             FROM scratch AS {app}\nCOPY --from={app}-build /app/apps/{app}/package.json /\n"
        ));
    }
    // What is copied is a folder that a build makes: whoever needs it is built behind it.
    repo.write(
        "apps/by-copy/package.json",
        r#"{"name": "by-copy", "scripts": {"start": "node ."}, "dependencies": {"made": "workspace:*"}, "dependenciesMeta": {"made": {"injected": true}}}"#,
    );
    repo.write("packages/made/package.json", r#"{"name": "made", "version": "1.0.0", "publishConfig": {"directory": "out"}}"#);
    dockerfile.push_str(
        "FROM base AS by-copy-build\n\
         RUN --mount=type=bind,from=manifests,target=/manifests --mount=type=cache,id=pnpm-store,target=/pnpm/store \
         --mount=type=secret,id=ca install-closure everything by-copy\n\
         RUN --mount=type=bind,from=sources,target=/sources build-once by-copy sh -c 'basename $PWD >> /order' && \
         test \"$(tr '\\n' ' ' < /order)\" = 'made by-copy '\n\
         FROM scratch AS by-copy\nCOPY --from=by-copy-build /order /\n",
    );
    for (package, folder) in [("lib", "lib"), ("other", "an other")] {
        let manifest = format!(r#"{{"name": "{package}", "version": "1.0.0", "dependencies": {{"ms": "2.1.3"}}}}"#);
        repo.write(&format!("packages/{folder}/package.json"), &manifest);
    }
    repo.write("Dockerfile.monorepo-optimized", &dockerfile.replace("PNPM_VERSION=10.34.9", "PNPM_VERSION=11"));
    // No image has the store to which that would link. Before 11, pnpm takes it for off in CI.
    let settings = "packages:\n  - apps/*\n  - packages/*\noverrides:\n  other: workspace:*\nenableGlobalVirtualStore: true\n";
    repo.write("pnpm-workspace.yaml", settings);
    repo.write("pnpm-lock.yaml", LINKED);
    repo.commit("four services");
    repo.xtask(&["build"]).exits(0);
}
