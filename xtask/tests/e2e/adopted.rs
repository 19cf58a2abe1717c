//! Small workspaces of the kinds that are common, adopted by `init` and built and started as it wrote them. One workspace holds them all, so
//! that it is installed from one lock. It takes longest of all and runs beside the others: it begins first.

mod servers;

use std::time::{Duration, Instant};

use crate::harness::{docker, give_back, record, task, try_docker};
use support::engine::{environment_of, shared};
use support::pnpm;
use support::repo::{Repo, here, xtask};
use support::turn::beside;

/// A compiler at the root, which the packages' scripts call and do not have; a task that `turbo.json` puts before a build; what a build writes
/// into `node_modules`; a tool of the development dependencies that starts a service; files for browsers; an output that stands alone.
const FILES: [(&str, &str); 38] = [
    (
        "package.json",
        r#"{"name": "gallery", "private": true, "packageManager": "pnpm@10.34.9", "engines": {"node": ">=24"},
 "pnpm": {"onlyBuiltDependencies": ["@sentry/cli", "@swc/core", "diskusage", "esbuild", "nx", "puppeteer"]}, "scripts": {"build": "tsc -b", "postinstall": "exit 9"}, "devDependencies": {"typescript": "5.9.3", "@types/node": "24.10.1", "rimraf": "6.1.2", "nx": "22.0.2", "is-even": "1.0.0"}}"#,
    ),
    ("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - backend\n  - packages/*\n"),
    ("turbo.json", r#"{"tasks": {"build": {"dependsOn": ["^build", "codegen", "lint"]}, "codegen": {}, "lint": {}}}"#),
    (
        "tsconfig.base.json",
        r#"{"compilerOptions": {"module": "nodenext", "target": "es2022", "strict": true, "declaration": true, "skipLibCheck": true}}"#,
    ),
    (".gitignore", "node_modules\ndist\ngenerated\n/target/\n"),
    // A library that a compiler at the root makes.
    (
        "packages/words/package.json",
        r#"{"name": "@g/words", "version": "1.0.0", "type": "module", "main": "dist/index.js", "types": "dist/index.d.ts", "scripts": {"build": "rimraf dist && tsc -p ."}}"#,
    ),
    (
        "packages/words/tsconfig.json",
        r#"{"extends": "../../tsconfig.base.json", "compilerOptions": {"outDir": "dist", "rootDir": "src"}, "include": ["src"]}"#,
    ),
    ("packages/words/src/index.ts", "export const greeting = (name: string) => `hello ${name} on ${process.platform}`;\n"),
    ("packages/words/src/index.test.ts", "throw new Error('a test');\n"),
    // A library that the root's build compiles.
    ("packages/marks/package.json", r#"{"name": "@g/marks", "version": "1.0.0", "type": "module", "main": "dist/index.js"}"#),
    (
        "packages/marks/tsconfig.json",
        r#"{"extends": "../../tsconfig.base.json", "compilerOptions": {"composite": true, "outDir": "dist", "rootDir": "src"}, "include": ["src"]}"#,
    ),
    ("packages/marks/src/index.ts", "export const mark: string = 'compiled by the root';\n"),
    // Called like what tests leave.
    ("backend/coverage/plan.json", "{}\n"),
    ("backend/api.spec.json", "{}\n"),
    // A service outside apps/, with its own postinstall.
    (
        "backend/package.json",
        r#"{"name": "@g/backend", "type": "module", "scripts": {"codegen": "node codegen.mjs", "build": "tsc -p .", "lint": "exit 7",
 "postinstall": "node postinstall.mjs", "start": "npm run build && cross-env NODE_ENV=production node dist/main.js", "build:watch": "tsc -w"},
 "dependencies": {"@g/marks": "workspace:*", "@g/words": "workspace:*", "ms": "2.1.3"}}"#,
    ),
    (
        "backend/postinstall.mjs",
        "import { writeFileSync } from 'node:fs';\nwriteFileSync('src/installed.ts', 'export const installed = true;\\n');\n",
    ),
    (
        "backend/codegen.mjs",
        "import { createRequire } from 'node:module';\nimport { dirname } from 'node:path';\nimport { writeFileSync } from 'node:fs';\n\
         const ms = createRequire(import.meta.url).resolve('ms');\n\
         writeFileSync(`${dirname(ms)}/generated.js`, \"module.exports = 'generated';\\n\");\n",
    ),
    (
        "backend/tsconfig.json",
        r#"{"extends": "../tsconfig.base.json", "compilerOptions": {"outDir": "dist", "rootDir": "src"}, "include": ["src"]}"#,
    ),
    (
        "backend/src/main.ts",
        "import { createServer } from 'node:http';\nimport { createRequire } from 'node:module';\nimport { greeting } from '@g/words';\nimport { mark } from '@g/marks';\n\
         import { installed } from './installed.js';\nconst generated = createRequire(import.meta.url)('ms/generated.js');\n\
         createServer((_, answer) => answer.end([greeting('backend'), generated, installed, mark, process.env.NODE_ENV, process.getuid?.()].join())).listen(3000);\n",
    ),
    ("backend/.env.local", "SECRET=in-no-image\n"),
    // A start command that only a development dependency has.
    (
        "apps/tsx/package.json",
        r#"{"name": "@g/tsx", "type": "module", "scripts": {"start": "tsx watch src/main.ts"}, "dependencies": {"@g/words": "workspace:*"}, "devDependencies": {"tsx": "4.20.6"}}"#,
    ),
    (
        "apps/tsx/src/main.ts",
        "import { createServer } from 'node:http';\nimport { greeting } from '@g/words';\nconst name: string = 'tsx';\ncreateServer((_, answer) => answer.end(greeting(name))).listen(3000);\n",
    ),
    // Files for browsers.
    (
        "apps/site/package.json",
        r#"{"name": "@g/site", "type": "module", "scripts": {"dev": "vite", "build": "vite build", "preview": "vite preview"}, "devDependencies": {"vite": "7.1.12"}}"#,
    ),
    ("apps/site/index.html", "<!doctype html><title>site</title><script type=\"module\" src=\"/main.ts\"></script>\n"),
    ("apps/site/.env.example", "VITE_TITLE=from-the-example\n"),
    ("apps/site/.env", "VITE_SECRET=in-no-image\n"),
    // It leads to a package that it does not declare, and that cannot be built.
    ("apps/site/tsconfig.json", r#"{"references": [{"path": "../../packages/types"}]}"#),
    ("apps/site/vite.config.js", "export default { base: '/shop/' };\n"),
    ("apps/site/main.ts", "document.title = import.meta.env.VITE_TITLE;\n"),
    ("packages/types/package.json", r#"{"name": "@g/types", "version": "1.0.0", "scripts": {"build": "exit 6"}}"#),
    ("packages/types/tsconfig.json", r#"{"compilerOptions": {"composite": true}, "include": ["*.ts"]}"#),
    // A framework whose output stands alone.
    (
        "apps/web/package.json",
        r#"{"name": "@g/web", "scripts": {"dev": "next dev", "build": "next build", "start": "next start"},
 "dependencies": {"next": "16.0.3", "react": "19.2.0", "react-dom": "19.2.0", "@g/words": "workspace:*"}, "devDependencies": {"@types/react": "19.2.2"}}"#,
    ),
    (
        "apps/web/tsconfig.json",
        r#"{"compilerOptions": {"module": "esnext", "moduleResolution": "bundler", "jsx": "preserve", "strict": true, "noEmit": true, "allowJs": true, "skipLibCheck": true, "esModuleInterop": true, "lib": ["dom", "esnext"], "isolatedModules": true, "resolveJsonModule": true, "incremental": true, "plugins": [{"name": "next"}]}, "include": ["**/*.ts", "**/*.tsx"], "exclude": ["node_modules"]}"#,
    ),
    (
        "apps/web/app/layout.tsx",
        "export default function Layout({ children }: { children: React.ReactNode }) {\n  return <html><body>{children}</body></html>;\n}\n",
    ),
    (
        "apps/web/app/page.tsx",
        "import { greeting } from '@g/words';\nexport const dynamic = 'force-dynamic';\nexport default function Page() {\n  return <p>{greeting('web')}</p>;\n}\n",
    ),
    ("apps/web/public/robots.txt", "User-agent: *\n"),
    // No services.
    (
        "apps/phone/package.json",
        r#"{"name": "@g/phone", "scripts": {"start": "expo start"}, "dependencies": {"expo": "workspace:*"}}"#,
    ),
    ("packages/expo/package.json", r#"{"name": "expo", "version": "1.0.0"}"#),
];

/// SvelteKit, React Router and Nest, each with its own build command and server. Nest's compiler puts `main` where its script does not start it,
/// and has a second application.
const FRAMEWORKS: [(&str, &str); 17] = [
    (
        "apps/kit/package.json",
        r#"{"name": "@g/kit", "type": "module", "scripts": {"dev": "vite dev", "build": "vite build"}, "dependencies": {"@g/words": "workspace:*"},
 "devDependencies": {"@sveltejs/adapter-node": "5.4.0", "@sveltejs/kit": "2.48.4", "@sveltejs/vite-plugin-svelte": "6.2.1", "svelte": "5.43.3", "vite": "7.1.12"}}"#,
    ),
    (
        "apps/kit/svelte.config.js",
        "import adapter from '@sveltejs/adapter-node';\nexport default { kit: { adapter: adapter() } };\n",
    ),
    ("apps/kit/vite.config.js", "import { sveltekit } from '@sveltejs/kit/vite';\nexport default { plugins: [sveltekit()] };\n"),
    ("apps/kit/src/app.html", "<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>\n"),
    (
        "apps/kit/src/routes/+page.server.js",
        "import { greeting } from '@g/words';\nexport const load = () => ({ text: greeting('kit') });\n",
    ),
    ("apps/kit/src/routes/+page.svelte", "<script>let { data } = $props();</script>\n<p>{data.text}</p>\n"),
    (
        "apps/routes/package.json",
        r#"{"name": "@g/routes", "type": "module", "scripts": {"build": "react-router build", "start": "react-router-serve ./build/server/index.js"},
 "dependencies": {"@g/words": "workspace:*", "@react-router/node": "7.9.5", "@react-router/serve": "7.9.5", "isbot": "5.1.31", "react": "19.2.0", "react-dom": "19.2.0", "react-router": "7.9.5"},
 "devDependencies": {"@react-router/dev": "7.9.5", "vite": "7.1.12"}}"#,
    ),
    (
        "apps/routes/vite.config.js",
        "import { reactRouter } from '@react-router/dev/vite';\nexport default { plugins: [reactRouter()] };\n",
    ),
    (
        "apps/routes/app/root.jsx",
        "import { Outlet } from 'react-router';\nexport default function Root() {\n  return <html><body><Outlet /></body></html>;\n}\n",
    ),
    ("apps/routes/app/routes.js", "import { index } from '@react-router/dev/routes';\nexport default [index('./home.jsx')];\n"),
    (
        "apps/routes/app/home.jsx",
        "import { greeting } from '@g/words';\nexport const loader = () => ({ text: greeting('routes') });\nexport default function Home({ loaderData }) {\n  return <p>{loaderData.text}</p>;\n}\n",
    ),
    (
        "apps/nest/package.json",
        r#"{"name": "@g/nest", "scripts": {"build": "nest build", "start": "nest start", "start:dev": "nest start --watch"},
 "dependencies": {"@nestjs/common": "11.1.8", "@nestjs/core": "11.1.8", "@nestjs/platform-express": "11.1.8", "reflect-metadata": "0.2.2", "rxjs": "7.8.2"},
 "devDependencies": {"@nestjs/cli": "11.0.10"}}"#,
    ),
    (
        "apps/nest/nest-cli.json",
        r#"{"sourceRoot": "src", "projects": {"tick": {"root": "tick", "sourceRoot": "tick", "compilerOptions": {"tsConfigPath": "tick/tsconfig.json"}}}}"#,
    ),
    (
        "apps/nest/tick/tsconfig.json",
        r#"{"extends": "../tsconfig.json", "compilerOptions": {"outDir": "../dist/tick", "composite": false}, "include": ["*.ts"]}"#,
    ),
    (
        "apps/nest/tick/main.ts",
        "import { createServer } from 'node:http';\ncreateServer((_, answer) => answer.end(`hello tick on ${process.platform}`)).listen(3000);\n",
    ),
    (
        "apps/nest/tsconfig.json",
        r#"{"compilerOptions": {"module": "commonjs", "target": "es2022", "outDir": "dist", "composite": true, "experimentalDecorators": true, "emitDecoratorMetadata": true, "skipLibCheck": true}, "include": ["src"]}"#,
    ),
    (
        "apps/nest/src/main.ts",
        "import 'reflect-metadata';\nimport { Controller, Get, Module } from '@nestjs/common';\nimport { NestFactory } from '@nestjs/core';\n\
         @Controller()\nclass Root {\n  @Get() hello() {\n    return `hello nest on ${process.platform}`;\n  }\n}\n\
         @Module({ controllers: [Root] })\nclass App {}\nvoid NestFactory.create(App).then((app) => app.listen(3000));\n",
    ),
];

/// What a started image answers on a port, from within: the first answer of a minute.
#[track_caller]
pub fn answer(image: &str, port: u16, path: &str) -> String {
    let id = docker(shared(), &["run", "--detach", image]);
    let id = id.trim();
    let ask = format!(
        "fetch('http://127.0.0.1:{port}{path}').then(async (r) => console.log(r.status, await r.text()), () => process.exit(1))"
    );
    let until = Instant::now() + Duration::from_mins(3);
    let answer = loop {
        let (code, text) = try_docker(shared(), &["exec", id, "node", "-e", &ask]);
        if code == Some(0) {
            break text;
        }
        let (_, log) = try_docker(shared(), &["logs", id]);
        assert!(Instant::now() < until, "{image} does not answer: {text} {log}");
        std::thread::sleep(Duration::from_millis(200));
    };
    docker(shared(), &["rm", "--force", id]);
    answer
}

/// The files of an image below a folder.
fn files(image: &str, folder: &str) -> String {
    docker(shared(), &["run", "--rm", "--entrypoint", "find", image, folder, "-not", "-path", "*/node_modules/*/node_modules/*"])
}

/// Where those answer that say hello.
const PORTS: [(&str, u16); 10] = [
    ("astro", 4321),
    ("bundled", 3000),
    ("kit", 3000),
    ("native", 3000),
    ("nest", 3000),
    ("nuxt", 3000),
    ("prisma", 3000),
    ("routes", 3000),
    ("swc", 3000),
    ("tick", 3000),
];

#[test]
fn common_kinds_build_and_start_as_init_wrote_them() {
    let _turn = beside();
    shared();
    let env = environment_of("shared");
    let repo = Repo::of(&[&FILES[..], &FRAMEWORKS, &servers::SERVERS].concat())
        .env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
        .env("XTASK_BUILDERS_ENGINE", "embedded")
        .env("XTASK_BUILDERS_STAND_INS", "always");
    let ten = pnpm::all().iter().find(|pnpm| pnpm.major == 10).unwrap();
    support::fetch::patiently("the packages' metadata", || {
        let output = ten.run(repo.path(), &["install", "--lockfile-only"]);
        let text = || String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(monoship_core::error::Error::failed(text())) }
    });
    let told = xtask(here(), &["init", "--from", "crates-io", "--dir", repo.path().to_str().unwrap()]).exits(0).stdout;
    for line in [
        "service      backend in backend (script `start`: npm run build && cross-env NODE_ENV=production node dist/main.js)",
        "service      site in apps/site (vite build, files in dist)",
        "service      web in apps/web (next build)",
        "service      kit in apps/kit (@sveltejs/adapter-node)",
        "service      routes in apps/routes (script `start`: react-router-serve ./build/server/index.js)",
        "service      nest in apps/nest (script `start`: nest start)",
        "service      tick in apps/nest (nest build tick)",
        "service      nuxt in apps/nuxt (nuxt)",
        "service      astro in apps/astro (@astrojs/node)",
        "service      swc in apps/swc (Nx: node dist/main.js)",
        "it is started by `tsx`, no production dependency: the image gets the development ones too",
        "no service   apps/phone: it is an app for phones",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    repo.commit("adopted");
    // Its own scripts wait for their sources.
    let planned = repo.xtask(&["plan"]).exits(0);
    assert!(!planned.stderr.contains("runs at install"), "{}", planned.stderr);
    assert!(planned.stderr.contains("site: apps/site/tsconfig.json leads to packages/types"), "{}", planned.stderr);
    // An engine of an earlier run has these images.
    let built = record(repo.xtask(&["build", "--force", "--json"]), 0);
    let services =
        ["astro", "backend", "bundled", "kit", "native", "nest", "nuxt", "prisma", "routes", "site", "swc", "tick", "tsx", "web"];
    for service in services {
        assert_eq!(task(&built, service)["status"], "built", "{built:#}");
    }

    assert_eq!(
        answer(&repo.image("backend:dev"), 3000, "/").trim(),
        "200 hello backend on linux,generated,true,compiled by the root,production,1000"
    );
    let inside = files(&repo.image("backend:dev"), "/app");
    assert!(inside.contains("/app/packages/words/dist/index.js") && inside.contains("/app/backend/dist/main.js"), "{inside}");
    assert!(inside.contains("/app/backend/coverage/plan.json") && inside.contains("/app/backend/api.spec.json"), "{inside}");
    for no in ["typescript", "rimraf", "is-even", ".env", "index.test.ts", "tsbuildinfo"] {
        assert!(!inside.contains(no), "{no}: {inside}");
    }
    assert_eq!(answer(&repo.image("tsx:dev"), 3000, "/").trim(), "200 hello tsx on linux");
    assert!(answer(&repo.image("site:dev"), 8080, "/some/page").contains("<title>site</title>"));
    assert!(answer(&repo.image("site:dev"), 8080, "/shop/some/page").contains("src=\"/shop/assets/"));
    assert!(answer(&repo.image("site:dev"), 8080, "/missing.js").starts_with("404"));
    let script = files(&repo.image("site:dev"), "/srv/assets");
    let script = script.lines().find(|path| path.contains("index-")).unwrap();
    let text = answer(&repo.image("site:dev"), 8080, &format!("/shop{}", script.trim_start_matches("/srv")));
    assert!(text.contains("from-the-example"), "{text}");
    assert!(answer(&repo.image("web:dev"), 3000, "/").contains("hello web on linux"));
    assert!(answer(&repo.image("web:dev"), 3000, "/robots.txt").contains("User-agent"));
    let inside = files(&repo.image("routes:dev"), "/app");
    assert!(inside.contains("/@react-router/serve") && !inside.contains("/@react-router/dev"), "{inside}");
    std::thread::scope(|scope| {
        for (service, port) in PORTS {
            let image = repo.image(&format!("{service}:dev"));
            scope.spawn(move || {
                let said = answer(&image, port, "/");
                assert!(said.starts_with("200 ") && said.contains(&format!("hello {service} on linux")), "{said}");
            });
        }
    });
    // A compiler is in the build stages alone, and what it leaves beside its work is in no image.
    let inside = docker(
        shared(),
        &[
            "run",
            "--rm",
            "--entrypoint",
            "find",
            &repo.image("native:dev"),
            "/app",
            "/usr",
            "-name",
            "*.node",
            "-o",
            "-name",
            "*.o",
            "-o",
            "-name",
            "g++*",
        ],
    );
    assert!(inside.lines().all(|file| file.ends_with("/diskusage.node")) && inside.contains("/build/Release/"), "{inside}");
    let inside = files(&repo.image("web:dev"), "/app/apps/web");
    assert!(!inside.contains("/cache/") && !inside.contains("page.tsx"), "{inside}");
    an_unused_tool_rebuilds_nobody(&repo);
    give_back(shared(), "local/gallery/*", &format!("@g/|({}) [0-9]+/", services.join("|")));
}

/// A tool of the root's that nobody calls rebuilds nobody but what Nx builds: what its plugins take is not known.
fn an_unused_tool_rebuilds_nobody(repo: &Repo) {
    // By hand: pnpm may choose other optional peers when it resolves all again.
    repo.edit("package.json", ", \"is-even\": \"1.0.0\"", "");
    repo.edit("pnpm-lock.yaml", "      is-even:\n        specifier: 1.0.0\n        version: 1.0.0\n", "");
    let plan = repo.xtask(&["plan"]).exits(0).stdout;
    assert!(plan.lines().all(|line| line.contains("  unchanged  ") != line.starts_with("swc ")), "{plan}");
}
