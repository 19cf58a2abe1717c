//! Dockerfiles of strangers, as small as they can be: which service each is.

use super::*;
use crate::There;
use crate::written::workspace;

fn there(files: &[String]) -> There {
    There { files: files.to_vec(), ..There::default() }
}

#[test]
fn a_dockerfile_that_starts_nothing_or_copies_what_is_not_there_makes_no_service() {
    let of = |text: &str| {
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
        let context = ".".to_owned();
        let said = Said {
            name: String::new(),
            dockerfile: "Dockerfile".to_owned(),
            context,
            target: None,
            args: SortedMap::new(),
            varied: SortedSet::new(),
            given: Given::new(),
            image: None,
            by: String::new(),
        };
        is_none(&said, &dockerfile, &["apps/web/package.json".to_owned(), "nginx.conf".to_owned()])
    };
    assert_eq!(
        of("FROM node:24 AS base\nCMD [\"node\"]\nFROM base\nCOPY ./apps/web package*.json /app/\nCOPY --from=base /x /x\n"),
        None
    );
    assert_eq!(of("FROM nginx:alpine\nCOPY nginx.conf /etc/nginx/\n"), None);
    assert!(of("FROM node:24-alpine AS base\nFROM base\nRUN apk add jq\n").unwrap().contains("no CMD"));
    assert!(of("FROM node:24\nCOPY apps/docs /app\nCMD [\"node\"]\n").unwrap().starts_with("it copies `apps/docs`"));
}

#[test]
fn a_dockerfile_for_developing_or_in_an_example_is_nobodys_image() {
    let is_one = |path: &str| is_dockerfile(path) && is_for_use(path);
    for path in [
        "Dockerfile",
        "apps/web/Dockerfile",
        "Dockerfile.web",
        "docker/web.Dockerfile",
        "docker/web.dockerfile",
        ".docker/web/Dockerfile.prod",
    ] {
        assert!(is_one(path), "{path}");
    }
    for path in [
        "Dockerfile.dev",
        ".devcontainer/Dockerfile",
        "examples/a/Dockerfile",
        "Dockerfile.monorepo-optimized",
        "apps/web/Dockerfile.dockerignore",
    ] {
        assert!(!is_one(path), "{path}");
    }
}

#[test]
fn a_dockerfile_that_is_older_than_the_workspace_makes_no_service() {
    let of = |spec: &str, dockerfile: &str| {
        let files = [
            ("package.json", "{}".to_owned()),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\n".to_owned()),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
            ("apps/api/package.json", format!("{{\"name\": \"api\", \"dependencies\": {{\"a\": \"1\", \"b\": \"{spec}\"}}}}")),
            ("apps/api/Dockerfile", dockerfile.to_owned()),
        ];
        let (_dir, workspace) = workspace(&files);
        let (found, others) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
        (found.len(), others.into_iter().map(|(_, why)| why).collect::<String>())
    };
    let installs = "FROM node:24\nCOPY package.json ./\nRUN npm i -g pnpm && pnpm install\nCMD [\"node\", \"a.js\"]\n";
    for spec in ["workspace:*", "catalog:"] {
        let (found, why) = of(spec, installs);
        assert!(found == 0 && why == "it installs apps/api alone, whose `b` only the whole workspace has", "{found} {why}");
    }
    assert_eq!(of("^1.0.0", installs), (1, String::new()));
    let made = "FROM node:24\nRUN npm install -g pm2\nCOPY package.json ./\nCMD [\"node\", \"a.js\"]\n";
    assert_eq!(of("workspace:*", made), (1, String::new()));
}

#[test]
fn one_dockerfile_for_all_is_a_service_for_each_value_of_its_argument() {
    let files = [
        ("package.json", "{}"),
        ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ("apps/web/package.json", "{\"name\": \"@a/web\"}"),
        ("apps/api/package.json", "{\"name\": \"@a/api\"}"),
        ("Dockerfile", "FROM node:24\nARG APP\nCOPY . .\nRUN pnpm --filter $APP build\nCMD [\"node\", \"main.js\"]\n"),
        (
            "docker/all/Dockerfile",
            "FROM node:24 AS build\nCOPY . .\nFROM node:24\nCOPY --from=build /app/apps/web/dist /app/apps/api/dist /app/\nCMD [\"x\"]\n",
        ),
        (
            "compose.yml",
            "services:\n  one:\n    build: {context: ., args: {APP: '@a/web', MODE: $MODE}}\n  two:\n    build:\n      context: .\n      args: [APP=api, OTHER=1]\n",
        ),
    ];
    let (_dir, workspace) = workspace(&files);
    let (found, others) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
    assert_eq!(others, []);
    let shown: Vec<String> =
        found.iter().map(|kept| format!("{} {:?} {:?} {}", kept.name, kept.package, kept.args, kept.covers.join(" "))).collect();
    assert_eq!(
        shown,
        [
            "all None {} apps/web apps/api",
            "api Some(\"apps/api\") {\"APP\": \"api\"} ",
            "web Some(\"apps/web\") {\"APP\": \"@a/web\"} ",
        ]
    );
}

#[test]
fn scripts_tell_of_what_nothing_describes_and_add_nothing_to_what_something_does() {
    let files = [
        ("package.json", "{\"scripts\": {\"image\": \"docker build -t look --target build -f web.Dockerfile .\"}}"),
        ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ("apps/web/package.json", "{\"name\": \"@a/web\"}"),
        ("apps/api/package.json", "{\"name\": \"@a/api\"}"),
        ("Dockerfile", "FROM node:24\nARG APP\nCOPY . .\nRUN make $APP\nCMD [\"node\", \"main.js\"]\n"),
        ("web.Dockerfile", "FROM node:24 AS build\nCOPY apps/web /app\nCMD [\"x\"]\nFROM build AS run\nCMD [\"y\"]\n"),
        ("compose.yml", "services:\n  site: {build: {context: ., dockerfile: web.Dockerfile, target: run}}\n"),
        ("build-all.sh", "for app in api web; do docker build --build-arg APP=$app -t ghcr.io/acme/$app:v1 .; done\n"),
    ];
    let (_dir, workspace) = workspace(&files);
    let (found, others) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
    assert_eq!(others, []);
    let shown = |kept: &Kept| format!("{} {} {} {:?} {:?}", kept.name, kept.dockerfile, kept.why(), kept.args, kept.image);
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        [
            "api Dockerfile Dockerfile, context . by build-all.sh {\"APP\": \"api\"} Some(\"ghcr.io/acme/api\")",
            "site web.Dockerfile web.Dockerfile, context . by compose.yml {} None",
            "web Dockerfile Dockerfile, context . by build-all.sh {\"APP\": \"web\"} Some(\"ghcr.io/acme/web\")",
        ]
    );
}

#[test]
fn several_dockerfiles_of_a_package_are_a_service_each_but_for_one_that_starts_the_same() {
    let image = |starts: &str| format!("FROM node:24\nCOPY apps packages /app/\nCMD {starts}\n");
    let files = [
        ("package.json", "{\"name\": \"shop\"}".to_owned()),
        ("pnpm-workspace.yaml", "packages: ['apps/*', 'packages/*']\n".to_owned()),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
        ("apps/api/package.json", "{\"name\": \"@a/api\"}".to_owned()),
        ("apps/api/Dockerfile", image("api.js")),
        ("apps/api/Dockerfile.jobs", image("jobs.js")),
        ("apps/api/Dockerfile.slim", image("api.js")),
        ("apps/api/Dockerfile.worker", image("worker.js")),
        ("packages/crawl/package.json", "{\"name\": \"@a/crawl\"}".to_owned()),
        ("packages/crawl/Dockerfile.fast", image("crawl.js")),
        ("packages/crawl/Dockerfile.full", image("crawl.js")),
        (
            "compose.yml",
            "x-all: &all\n  restart: always\nservices:\n\
             \x20 api: {<<: *all, build: {context: ., dockerfile: apps/api/Dockerfile}}\n\
             \x20 worker: {<<: *all, build: {context: ., dockerfile: apps/api/Dockerfile.worker}}\n\
             \x20 crawl-fast: {build: {context: ., dockerfile: packages/crawl/Dockerfile.fast}}\n\
             \x20 crawl-full: {build: {context: ., dockerfile: packages/crawl/Dockerfile.full}}\n"
                .to_owned(),
        ),
        ("deploy/compose.yml", "services:\n  api: [\n".to_owned()),
    ];
    let (_dir, workspace) = workspace(&files);
    let (found, others) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
    let shown: Vec<(&str, &str)> = found.iter().map(|kept| (kept.name.as_str(), kept.dockerfile.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("api", "apps/api/Dockerfile"),
            ("crawl-fast", "packages/crawl/Dockerfile.fast"),
            ("crawl-full", "packages/crawl/Dockerfile.full"),
            ("jobs", "apps/api/Dockerfile.jobs"),
            ("worker", "apps/api/Dockerfile.worker"),
        ]
    );
    let none: Vec<String> = others.iter().map(|(path, why)| format!("{path}: {why}")).collect();
    assert_eq!(
        none,
        [
            "deploy/compose.yml: line 3: a value is missing here, or a bracket is not closed",
            "apps/api/Dockerfile.slim: `api` is built by apps/api/Dockerfile"
        ]
    );
}

#[test]
fn a_dockerfile_that_copies_everything_and_works_in_its_folder_by_its_path_has_the_root_for_a_context() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("apps/api")).unwrap();
    std::fs::write(dir.path().join("apps/api/package.json"), "{}").unwrap();
    let of = |run: &str| {
        let text = format!("FROM python:3\nCOPY . .\nRUN {run}\nCMD [\"start\"]\n");
        context_of(dir.path(), "apps/api/Dockerfile", &Dockerfile::parse(Path::new("Dockerfile"), &text).unwrap())
    };
    assert_eq!(of("cd apps/api && uv sync"), ".");
    assert_eq!(of("npm ci"), "apps/api");
}

#[test]
fn the_stages_of_one_dockerfile_are_about_the_packages_that_they_start() {
    let files = [
        ("package.json", "{\"name\": \"shop\"}"),
        ("pnpm-workspace.yaml", "packages: ['apps/*', 'packages/*']\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ("apps/api/package.json", "{\"name\": \"@a/api\", \"scripts\": {\"start\": \"node main.js\"}}"),
        ("apps/docs/package.json", "{\"name\": \"@a/docs\", \"scripts\": {\"start\": \"node docs.js\"}}"),
        ("packages/db/package.json", "{\"name\": \"@a/db\"}"),
        (
            "Dockerfile",
            "FROM node:24 AS build\nCOPY . /app/\nFROM build AS migrate\nWORKDIR /app/packages/db\nCMD [\"migrate\"]\n\
             FROM build AS api\nCMD [\"node\", \"apps/api/main.js\"]\n",
        ),
        (
            "compose.yml",
            "services:\n  migrate: {build: {context: ., target: migrate}}\n  api: {build: {context: ., target: api}}\n",
        ),
    ];
    let (_dir, workspace) = workspace(&files);
    let names = files.map(|(file, _)| file.to_owned());
    let shown = |kept: &Kept| format!("{} {:?} {:?}", kept.name, kept.target.as_deref(), kept.package.as_deref());
    let (found, _) = find(&workspace, &names, &[], None);
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        ["api Some(\"api\") Some(\"apps/api\")", "migrate Some(\"migrate\") Some(\"packages/db\")"]
    );
    let all = crate::candidates(&workspace, None, &there(&names), false).unwrap();
    assert_eq!(all.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["docs"]);
}

#[test]
fn a_dockerfile_is_about_the_package_of_its_arguments_default_or_of_the_folder_above_its_own() {
    let image = |line: &str| format!("FROM node:24\n{line}COPY . .\nWORKDIR /app\nCMD [\"node\", \"main.js\"]\n");
    let files = [
        ("package.json", "{\"name\": \"shop\"}".to_owned()),
        ("pnpm-workspace.yaml", "packages: ['apps/*']\n".to_owned()),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
        ("apps/api/package.json", "{\"name\": \"@a/api\"}".to_owned()),
        ("apps/web/package.json", "{\"name\": \"@a/web\"}".to_owned()),
        ("apps/api/other/Dockerfile", image("")),
        ("deploy/Dockerfile", format!("ARG TAG=24\nARG PACKAGE=\"@a/web\"\n{}", image(""))),
        (
            ".github/workflows/deploy.yml",
            "jobs:\n  all:\n    steps:\n      - uses: docker/build-push-action@v6\n        with: {context: ., file: deploy/Dockerfile}\n\
             \x20     - uses: docker/build-push-action@v6\n        with: {context: ., file: apps/api/other/Dockerfile}\n"
                .to_owned(),
        ),
    ];
    let (_dir, workspace) = workspace(&files);
    let (found, _) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
    let shown = |kept: &Kept| format!("{} {}", kept.name, kept.package.clone().unwrap_or_default());
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), ["api apps/api", "web apps/web"]);
}

#[test]
fn targets_are_told_apart_by_what_they_take_of_pnpms_deploy_or_by_their_names() {
    let manifest = "{\"scripts\": {\"start\": \"node main.js\"}}";
    let files = |workflow: &str| {
        [
            ("package.json", "{\"name\": \"shop\"}".to_owned()),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\n".to_owned()),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
            ("apps/api/package.json", manifest.to_owned()),
            ("apps/site/package.json", manifest.to_owned()),
            (
                "Dockerfile",
                "FROM node:24 AS build\nCOPY . .\nRUN pnpm deploy --filter=./apps/api --prod /prod/api\n\
                 RUN pnpm --filter ./apps/site deploy \"/prod/site\" && rm -rf /tmp/x\nFROM node:24 AS api\nCOPY --from=build /prod/api /app\nCMD [\"a.js\"]\n\
                 FROM nginx AS web\nCOPY --from=build /prod/site/dist /srv\nCMD [\"nginx\"]\nFROM node:24 AS jobs\nCOPY --from=build /x /x\nCMD [\"jobs.js\"]\n"
                    .to_owned(),
            ),
            (
                "compose.yml",
                "services:\n  site: {build: {context: ., target: web}}\n  api: {build: {context: ., target: api}}\n".to_owned(),
            ),
            (".github/workflows/images.yml", workflow.to_owned()),
        ]
    };
    let of = |workflow: &str| {
        let files = files(workflow);
        let (_dir, workspace) = workspace(&files);
        let (found, _) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
        let shown =
            |kept: &Kept| format!("{} {} {}", kept.name, kept.target.clone().unwrap(), kept.package.clone().unwrap_or_default());
        found.iter().map(shown).collect::<Vec<_>>()
    };
    let step =
        |target: &str| format!("      - uses: docker/build-push-action@v6\n        with: {{context: ., target: {target}}}\n");
    let jobs =
        |targets: &[&str]| targets.iter().fold("jobs:\n  all:\n    steps:\n".to_owned(), |text, target| text + &step(target));
    assert_eq!(of(""), ["api api apps/api", "site web apps/site"]);
    // A workflow names no service: compose does, or the target.
    assert_eq!(of(&jobs(&["api", "web", "jobs"])), ["api api apps/api", "jobs jobs ", "site web apps/site"]);
}

#[test]
fn the_argument_and_the_targets_that_nobody_writes_down_are_a_service_each() {
    let manifest = |name: &str| format!("{{\"name\": \"@a/{name}\", \"scripts\": {{\"start\": \"node main.js\"}}}}");
    let files = |dockerfile: &str| {
        [
            ("package.json", "{\"name\": \"shop\"}".to_owned()),
            ("pnpm-workspace.yaml", "packages: ['apps/**']\n".to_owned()),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
            ("apps/api/package.json", manifest("api")),
            ("apps/jobs/api/package.json", manifest("jobs-api")),
            (
                "apps/web/package.json",
                "{\"name\": \"@a/web\", \"scripts\": {\"build\": \"vite build\"}, \"devDependencies\": {\"vite\": \"7\"}}"
                    .to_owned(),
            ),
            ("apps/web/index.html", String::new()),
            ("Dockerfile", dockerfile.to_owned()),
        ]
    };
    let of = |dockerfile: &str| {
        let files = files(dockerfile);
        let (_dir, workspace) = workspace(&files);
        let found = crate::candidates(&workspace, None, &there(&files.map(|(file, _)| file.to_owned())), false).unwrap();
        let kept = |kept: &Kept| {
            format!("{} {:?} {:?} {:?}", kept.name, kept.package.as_deref().unwrap_or_default(), kept.target, kept.args)
        };
        let own = found.services.iter().map(|service| service.name.clone()).collect::<Vec<_>>();
        (found.kept.iter().map(kept).collect::<Vec<_>>(), own, found.others)
    };
    let (kept, own, others) = of(
        "FROM node:24\nARG APP\nCOPY . .\nRUN turbo prune ${APP} && pnpm --filter ${APP}... build\nCMD [\"node\", \"main.js\"]\n",
    );
    assert_eq!(
        kept,
        [
            "api \"apps/api\" None {\"APP\": \"@a/api\"}",
            "apps-jobs-api \"apps/jobs/api\" None {\"APP\": \"@a/jobs-api\"}",
            "web \"apps/web\" None {\"APP\": \"@a/web\"}"
        ]
    );
    assert!(own.is_empty() && others.is_empty(), "{own:?} {others:?}");
    // A scope before it; a later declaration has a value of its own.
    let (kept, ..) = of(
        "FROM node:24 AS build\nARG APP\nCOPY . .\nRUN turbo prune @a/${APP} --docker\nFROM node:24\nARG APP=unknown\nENV APP=${APP}\nCMD [\"node\", \".\"]\n",
    );
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!(kept[1], "apps-jobs-api \"apps/jobs/api\" None {\"APP\": \"jobs-api\"}");
    // A folder's name where it stands in a path; an argument with a value that is no package picks none.
    let (kept, ..) = of(
        "FROM node:24\nARG APP=web\nCOPY . .\nRUN pnpm -F \"$APP\" build\nWORKDIR /app/apps/$APP\nCMD [\"node\", \"main.js\"]\n",
    );
    assert_eq!(kept[0], "api \"apps/api\" None {\"APP\": \"api\"}");
    let (kept, ..) = of("FROM node:24\nARG MODE=all\nCOPY . .\nRUN pnpm --filter=$MODE build\nCMD [\"node\", \"main.js\"]\n");
    assert_eq!(kept, ["shop \"\" None {}"]);
    let targets = "FROM node:24 AS build\nCOPY . .\nFROM node:24 AS one\nCOPY --from=build /apps/api/dist /app/apps/api/dist\nCMD [\"pnpm\", \"start\"]\n\
                   FROM node:24 AS two\nCOPY --from=build /apps/web/dist /app/apps/web/dist\nCMD [ \"pnpm\", \"run\", \"start\" ]\n";
    let (kept, own, others) = of(targets);
    assert_eq!(kept, ["api \"apps/api\" Some(\"one\") {}"]);
    assert_eq!(own, ["apps-jobs-api", "web"]);
    assert_eq!(
        others,
        [("Dockerfile (two)".to_owned(), "it starts `pnpm run start`, and apps/web has no such script".to_owned())]
    );
}

#[test]
fn what_a_new_dockerfile_was_written_for_stays_with_it() {
    let files = [
        ("package.json", "{\"name\": \"shop\"}"),
        ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ("apps/api/package.json", "{\"scripts\": {\"start\": \"node main.js\"}}"),
        ("apps/api/Dockerfile", "FROM node:24\nCOPY . .\nCMD [\"node\", \"main.js\"]\n"),
        ("apps/web/package.json", "{\"scripts\": {\"start\": \"node main.js\"}}"),
        ("apps/web/Dockerfile", "FROM node:24\nCOPY . .\nCMD [\"node\", \"main.js\"]\n"),
        ("Dockerfile.monorepo-optimized", "FROM node:24 AS base\nFROM base AS api\n"),
    ];
    let (_dir, workspace) = workspace(&files);
    let found = crate::candidates(&workspace, None, &there(&files.map(|(file, _)| file.to_owned())), false).unwrap();
    assert_eq!(found.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["api"]);
    assert_eq!(found.kept.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["web"]);
    let settings = "[[service]]\nname = 'web'\ndockerfile = 'apps/web/Dockerfile'\n";
    let found = crate::candidates(&workspace, Some(settings), &there(&files.map(|(file, _)| file.to_owned())), false).unwrap();
    assert_eq!((found.kept.len(), found.settled), (0, vec!["web".to_owned()]));
}

#[test]
fn an_argument_counts_wherever_a_dockerfile_declares_it() {
    let text = "ARG NODE_VERSION ALPINE=3\nFROM node:${NODE_VERSION}\nARG SHA=none\nCMD [\"node\"]\n";
    let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
    let taken = ["NODE_VERSION", "ALPINE", "SHA", "NODE"].map(|name| takes(&dockerfile, name));
    assert_eq!(taken, [true, true, true, false]);
}

#[test]
fn images_keep_their_names_where_those_are_ours_and_what_changes_is_told() {
    let dockerfile = "FROM node:24\nCOPY apps/api .\nCMD [\"node\", \"x.js\"]\n";
    let workflow = "env: {PLACE: 'ghcr.io/${{github.repository_owner}}'}\njobs:\n  a:\n    strategy: {matrix: {platform: [linux/amd64, linux/arm64]}}\n    steps:\n      - {id: meta, uses: docker/metadata-action@v5, with: {images: '${{ env.PLACE }}/api:${{ github.sha }}'}}\n      \
                    - uses: docker/build-push-action@v6\n        with: {context: ., file: apps/api/Dockerfile, platforms: '${{ matrix.platform }}', tags: '${{ steps.meta.outputs.tags }}'}\n";
    let compose = "services:\n  web:\n    image: ${REGISTRY:-ghcr.io}/x/web\n    build: {context: ., dockerfile: apps/web/Dockerfile, platforms: [linux/amd64]}\n";
    let files = [
        ("package.json", r#"{"name": "shop"}"#),
        ("pnpm-workspace.yaml", "packages: [apps/*]\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
        ("apps/api/package.json", r#"{"name": "api"}"#),
        ("apps/api/Dockerfile", dockerfile),
        ("apps/web/package.json", r#"{"name": "web"}"#),
        ("apps/web/Dockerfile", dockerfile),
        (".github/workflows/a.yml", workflow),
        ("compose.yaml", compose),
    ];
    let (_dir, workspace) = workspace(&files);
    let (kept, _) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], Some("Acme/shop"));
    let names: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
    assert_eq!(names, ["api", "web"]);
    assert_eq!(prefix(&kept).as_deref(), Some("ghcr.io/acme"));
    assert!(kept[0].entry().ends_with("\n# platforms = [\"linux/amd64\", \"linux/arm64\"]\n"), "{}", kept[0].entry());
    assert!(kept[1].entry().ends_with("\n# platforms = [\"linux/amd64\"]\n"), "{}", kept[1].entry());
    let notes = kept[0].notes(Some("ghcr.io/acme"));
    assert!(notes.len() == 1 && notes[0].starts_with("was built for linux/amd64, linux/arm64"), "{notes:?}");
    assert!(kept[0].notes(None)[1].starts_with("its image was called ghcr.io/acme/api"), "{:?}", kept[0].notes(None));
    assert_eq!(kept[1].notes(None), Vec::<String>::new());
}

#[test]
fn an_image_in_a_registry_has_a_name_and_one_with_variables_none() {
    let of = |reference: &str| said::image(reference);
    for (reference, name) in [
        ("ghcr.io/acme/api:1.2", Some("ghcr.io/acme/api")),
        ("ghcr.io/acme/api:${TAG:-latest}", Some("ghcr.io/acme/api")),
        ("reg.example:5000/acme/api", Some("reg.example:5000/acme/api")),
        ("reg.example/api@sha256:0", Some("reg.example/api")),
        ("${REGISTRY}/acme/api", None),
        ("acme/api:dev", None),
        ("localhost:5000/api", None),
        ("api", None),
    ] {
        assert_eq!(of(reference).as_deref(), name, "{reference}");
    }
}

#[test]
fn a_target_that_is_called_like_a_package_is_its_service_though_one_stage_builds_all() {
    let dockerfile = "FROM node:24 AS base\nFROM base AS build\nCOPY . /src\nRUN pnpm deploy --filter=api /prod/api\nRUN pnpm deploy --filter=@w/web /prod/web\n\
                      FROM base AS api\nCOPY --from=build /prod/api /app\nCMD [\"node\", \"main.js\"]\n\
                      FROM nginx AS web\nCOPY apps/web/nginx.conf /etc/nginx/\nCOPY --from=build /prod/web/dist /app\n";
    let step = |target: &str| {
        format!(
            "      - uses: docker/build-push-action@v5\n        with: {{context: ., target: {target}, tags: 'ghcr.io/a/{target}:1'}}\n"
        )
    };
    let workflow = format!("jobs:\n  api:\n    steps:\n{}  web:\n    steps:\n{}", step("api"), step("web"));
    let files = [
        ("package.json", r#"{"name": "w"}"#),
        ("pnpm-workspace.yaml", "packages: [apps/*]\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
        ("apps/api/package.json", r#"{"name": "api", "scripts": {"start": "nest start"}}"#),
        ("apps/web/package.json", r#"{"name": "@w/web"}"#),
        ("apps/web/nginx.conf", ""),
        ("Dockerfile", dockerfile),
        (".github/workflows/a.yml", &workflow),
    ];
    let (_dir, workspace) = workspace(&files);
    let found = crate::candidates(&workspace, None, &there(&files.map(|(file, _)| file.to_owned())), false).unwrap();
    let kept: Vec<String> = found.kept.iter().map(|kept| format!("{} {:?} {:?}", kept.name, kept.target, kept.package)).collect();
    assert_eq!(kept, [r#"api Some("api") Some("apps/api")"#, r#"web Some("web") Some("apps/web")"#]);
    assert_eq!((found.services.len(), found.prefix.as_deref()), (0, Some("ghcr.io/a")));
}

#[test]
fn arguments_that_variables_give_and_those_that_look_like_secrets_are_told() {
    let dockerfile = "FROM node:24\nARG PORT MODE URL REV AUTH_SECRET DB_PASSWORD\nCOPY . .\nCMD [\"node\", \"x.js\"]\n";
    let compose = "services:\n  web:\n    build:\n      context: .\n      dockerfile: apps/web/Dockerfile\n      args:\n        PORT: ${PORT:-3000}\n        MODE: a$$b\n        \
                   URL: ${URL}\n        AUTH_SECRET: ${AUTH_SECRET:-placeholder}\n        DB_PASSWORD: ${DB_PASSWORD}\n        OTHER: ${OTHER}\n";
    let workflow = "jobs:\n  a:\n    strategy:\n      matrix:\n        include:\n          - app: api\n            args: |\n              MODE=prod\n              URL=${{ vars.URL }}\n    \
                    steps:\n      - uses: docker/build-push-action@v6\n        with:\n          context: .\n          file: apps/${{ matrix.app }}/Dockerfile\n          \
                    build-args: |\n            ${{ matrix.args }}\n            REV=${{ github.sha }}\n";
    let files = [
        ("package.json", "{}"),
        ("pnpm-workspace.yaml", "packages: [apps/*]\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
        ("apps/api/package.json", "{}"),
        ("apps/api/Dockerfile", dockerfile),
        ("apps/web/package.json", "{}"),
        ("apps/web/Dockerfile", dockerfile),
        (".github/workflows/a.yml", workflow),
        ("compose.yaml", compose),
    ];
    let (_dir, workspace) = workspace(&files);
    let (kept, _) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
    let args: Vec<&SortedMap<String, String>> = kept.iter().map(|kept| &kept.args).collect();
    let is = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(args, [&is(&[("MODE", "prod")]), &is(&[("MODE", "a$b"), ("PORT", "3000")])]);
    assert_eq!(
        kept[0].notes(None),
        [
            ".github/workflows/a.yml takes REV, URL from variables: set them as `build-args` in xtask.toml, `NAME = { env = \"NAME\" }` where a variable has it"
        ]
    );
    assert_eq!(
        kept[1].notes(None),
        [
            "compose.yaml takes PORT, URL from variables: set them as `build-args` in xtask.toml, `NAME = { env = \"NAME\" }` where a variable has it",
            "AUTH_SECRET, DB_PASSWORD of compose.yaml is left out: an image keeps its build arguments. Make it a build secret (`secrets`), or give the ARG a default"
        ]
    );
}

#[test]
fn folders_of_one_name_are_a_service_each() {
    let folders = ["apps/Web", "apps/my-app", "apps/my_app", "apps/web", "services/web"];
    let manifests = folders.map(|folder| format!("{folder}/package.json"));
    let dockerfiles = folders.map(|folder| format!("{folder}/Dockerfile"));
    let mut files = vec![
        ("package.json", "{}"),
        ("pnpm-workspace.yaml", "packages: [apps/*, services/*]\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
    ];
    files.extend(manifests.iter().map(|file| (file.as_str(), "{}")));
    files.extend(dockerfiles.iter().map(|file| (file.as_str(), "FROM node:24\nCOPY . .\nCMD [\"node\", \"x.js\"]\n")));
    let (_dir, workspace) = workspace(&files);
    let paths: Vec<String> = files.iter().map(|(file, _)| (*file).to_owned()).collect();
    let (kept, others) = find(&workspace, &paths, &[], None);
    let shown: Vec<String> = kept.iter().map(|kept| format!("{} {}", kept.name, kept.dockerfile)).collect();
    assert_eq!(
        shown,
        [
            "apps-web apps/web/Dockerfile",
            "my-app apps/my-app/Dockerfile",
            "my_app apps/my_app/Dockerfile",
            "services-web services/web/Dockerfile",
            "web apps/Web/Dockerfile",
        ]
    );
    assert_eq!(others, []);
}

#[test]
fn a_dockerfile_is_about_the_package_that_it_starts_wherever_the_image_has_the_workspace() {
    let files = |name: &'static str, dockerfile: &'static str| {
        [
            ("package.json", r#"{"name": "shop"}"#),
            ("pnpm-workspace.yaml", "packages: [apps/*, packages/*]\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
            ("apps/api/package.json", r#"{"name": "@s/api", "scripts": {"start": "node x.js"}}"#),
            ("apps/web/package.json", r#"{"name": "@s/web", "scripts": {"start": "node x.js"}}"#),
            ("packages/server/package.json", r#"{"name": "@s/server"}"#),
            (name, dockerfile),
        ]
    };
    let of = |name: &'static str, dockerfile: &'static str| {
        let files = files(name, dockerfile);
        let (_dir, workspace) = workspace(&files);
        let (kept, others) = find(&workspace, &files.map(|(file, _)| file.to_owned()), &[], None);
        assert_eq!(others, []);
        kept.into_iter().map(|kept| (kept.name, kept.package.unwrap_or_default())).collect::<Vec<_>>()
    };
    let is = |name: &str, package: &str| vec![(name.to_owned(), package.to_owned())];
    // The manifest beside it says which, though a library is there, too.
    let beside = "FROM node:24 AS build\nCOPY . /usr/src/app\nFROM node:24\nWORKDIR /app\nCOPY --from=build /prod/dist ./dist\n\
                  COPY --from=build /usr/src/app/apps/api/package.json ./package.json\nCOPY --from=build /usr/src/app/packages/server ./packages/server\nCMD [\"pnpm\", \"start\"]\n";
    assert_eq!(of("Dockerfile", beside), is("api", "apps/api"));
    let elsewhere = "FROM node:24\nWORKDIR /usr/src/repo\nCOPY . .\nRUN pnpm --filter @s/server build\nWORKDIR /usr/src/repo/apps/web\nCMD [\"pnpm\", \"start\"]\n";
    assert_eq!(of("docker/Dockerfile", elsewhere), is("web", "apps/web"));
    let beside_others = "FROM node:24\nWORKDIR /app\nCOPY --from=build /app/apps/web/dist apps/web/dist\nCOPY --from=build /app/packages/server/dist packages/server/dist\n\
                         WORKDIR /app/packages/server\nCMD [\"node\", \"x.js\"]\n";
    assert_eq!(of("docker/Dockerfile", beside_others), is("server", "packages/server"));
    // What its file and others call it is its name, whatever package it is about.
    let mut named =
        files("docker/migrate.Dockerfile", "FROM node:24\nCOPY packages/server /app\nCMD [\"node\", \"x.js\"]\n").to_vec();
    named.push(("compose.yml", "services:\n  migrate: {build: {context: ., dockerfile: docker/migrate.Dockerfile}}\n"));
    let (_dir, of_migrate) = workspace(&named);
    let paths: Vec<String> = named.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(find(&of_migrate, &paths, &[], None).0[0].name, "migrate");
    // What package manager it takes is no name.
    assert_eq!(of("Dockerfile.pnpm", "FROM node:24\nCOPY . .\nCMD [\"node\", \"x.js\"]\n"), is("shop", ""));
}
