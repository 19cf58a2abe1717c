//! The gallery's services that make a server of their own kind, or need more of an install than files: Nuxt, Astro with its Node adapter, Prisma
//! without engines, a bundler with Drizzle, swc by Nx, a dependency that is compiled.

/// Each says hello. Nuxt's own install script prepares its types; Prisma's client is generated into the sources, and git does not have it.
pub const SERVERS: [(&str, &str); 23] = [
    (
        "apps/nuxt/package.json",
        r#"{"name": "@g/nuxt", "type": "module", "scripts": {"dev": "nuxt dev", "build": "nuxt build", "postinstall": "nuxt prepare"},
 "dependencies": {"nuxt": "4.2.1", "vue": "3.5.24"}}"#,
    ),
    ("apps/nuxt/nuxt.config.ts", "export default defineNuxtConfig({ compatibilityDate: '2025-11-01' });\n"),
    (
        "apps/nuxt/app/app.vue",
        "<script setup>\nconst { data } = await useFetch('/api/hello');\n</script>\n<template><p>{{ data.text }}</p></template>\n",
    ),
    (
        "apps/nuxt/server/api/hello.ts",
        "export default defineEventHandler(() => ({ text: `hello nuxt on ${process.platform}` }));\n",
    ),
    (
        "apps/astro/package.json",
        r#"{"name": "@g/astro", "type": "module", "scripts": {"dev": "astro dev", "build": "astro build"},
 "dependencies": {"@astrojs/node": "9.5.0", "@g/words": "workspace:*", "astro": "5.15.6"}}"#,
    ),
    (
        "apps/astro/astro.config.mjs",
        "import { defineConfig } from 'astro/config';\nimport node from '@astrojs/node';\n\
         export default defineConfig({ output: 'server', adapter: node({ mode: 'standalone' }) });\n",
    ),
    ("apps/astro/src/pages/index.astro", "---\nimport { greeting } from '@g/words';\n---\n<p>{greeting('astro')}</p>\n"),
    (
        "apps/prisma/package.json",
        r#"{"name": "@g/prisma", "type": "module", "scripts": {"build": "tsc -p .", "start": "node dist/main.js"},
 "dependencies": {"@prisma/adapter-libsql": "7.10.0", "@prisma/client": "7.10.0"}, "devDependencies": {"prisma": "7.10.0"}}"#,
    ),
    (
        "apps/prisma/prisma.config.ts",
        "import { defineConfig } from 'prisma/config';\nexport default defineConfig({ schema: 'prisma/schema.prisma' });\n",
    ),
    (
        "apps/prisma/prisma/schema.prisma",
        "generator client {\n  provider = \"prisma-client\"\n  output   = \"../src/generated\"\n}\ndatasource db {\n  provider = \"sqlite\"\n}\n\
         model Word {\n  id   Int    @id @default(autoincrement())\n  text String\n}\n",
    ),
    (
        "apps/prisma/tsconfig.json",
        r#"{"extends": "../../tsconfig.base.json", "compilerOptions": {"outDir": "dist", "rootDir": "src"}, "include": ["src"]}"#,
    ),
    (
        "apps/prisma/src/main.ts",
        "import { createServer } from 'node:http';\nimport { PrismaLibSql } from '@prisma/adapter-libsql';\n\
         import { PrismaClient } from './generated/client.js';\n\
         const prisma = new PrismaClient({ adapter: new PrismaLibSql({ url: 'file:/tmp/words.db' }) });\n\
         await prisma.$executeRawUnsafe('CREATE TABLE Word (id INTEGER PRIMARY KEY, text TEXT NOT NULL)');\n\
         const { text } = await prisma.word.create({ data: { text: `hello prisma on ${process.platform}` } });\n\
         createServer((_, answer) => answer.end(text)).listen(3000);\n",
    ),
    // A bundler, migrations that are read at the start, a browser for tests that is not to be downloaded, a command that looks for itself at install.
    (
        "apps/bundled/package.json",
        r#"{"name": "@g/bundled", "type": "module", "scripts": {"build": "tsup src/main.ts --format esm", "start": "node dist/main.js"},
 "dependencies": {"@libsql/client": "0.15.15", "drizzle-orm": "0.44.7"}, "devDependencies": {"@sentry/cli": "2.58.2", "puppeteer": "24.9.0", "tsup": "8.5.0"}}"#,
    ),
    (
        "apps/bundled/src/main.ts",
        "import { createServer } from 'node:http';\nimport { drizzle } from 'drizzle-orm/libsql';\nimport { migrate } from 'drizzle-orm/libsql/migrator';\n\
         import { sqliteTable, text } from 'drizzle-orm/sqlite-core';\n\
         const words = sqliteTable('words', { text: text().notNull() });\nconst db = drizzle('file:/tmp/words.db');\n\
         await migrate(db, { migrationsFolder: 'drizzle' });\n\
         await db.insert(words).values({ text: `hello bundled on ${process.platform}` });\nconst [first] = await db.select().from(words);\n\
         createServer((_, answer) => answer.end(first?.text)).listen(3000);\n",
    ),
    ("apps/bundled/drizzle/0000_words.sql", "CREATE TABLE `words` (`text` text NOT NULL);\n"),
    (
        "apps/bundled/drizzle/meta/_journal.json",
        r#"{"version": "7", "dialect": "sqlite", "entries": [{"idx": 0, "version": "6", "when": 1764000000000, "tag": "0000_words", "breakpoints": true}]}"#,
    ),
    // A compiler that knows no types, which Nx runs as a target: no script stands for it. It depends on the root.
    (
        "apps/swc/package.json",
        r#"{"name": "@g/swc", "type": "module", "scripts": {"start": "node dist/main.js"},
 "nx": {"targets": {"build": {"executor": "nx:run-commands", "outputs": ["{projectRoot}/dist"], "options": {"command": "swc src -d dist --strip-leading-paths", "cwd": "{projectRoot}"}}}},
 "dependencies": {"@g/words": "workspace:*", "gallery": "workspace:*"}, "devDependencies": {"@swc/cli": "0.7.8", "@swc/core": "1.15.0"}}"#,
    ),
    ("apps/swc/.swcrc", r#"{"jsc": {"parser": {"syntax": "typescript"}, "target": "es2022"}, "module": {"type": "es6"}}"#),
    (
        "apps/swc/src/main.ts",
        "import { createServer } from 'node:http';\nimport { readFileSync } from 'node:fs';\nimport { greeting } from '@g/words';\nconst name: string = 'swc';\n\
         readFileSync(new URL(import.meta.resolve('gallery/words/hello.txt')));\n\
         createServer((_, answer) => answer.end(greeting(name))).listen(3000);\n",
    ),
    // What a service reads of the root as it runs, by a path of several parts, and what it calls.
    ("words/hello.txt", "hello\n"),
    ("nx.json", r#"{"neverConnectToCloud": true, "analytics": false}"#),
    (
        "apps/native/package.json",
        r#"{"name": "@g/native", "scripts": {"start": "node main.js"}, "dependencies": {"diskusage": "1.2.0", "nanoid": "5.1.6"}}"#,
    ),
    (
        "apps/native/main.js",
        "const { total } = require('diskusage').checkSync('/');\nconst { join } = require('node:path');\n\
         const word = require('node:fs').readFileSync(join(__dirname, '..', '..', 'words', 'hello.txt'), 'utf8').trim();\n\
         require('node:child_process').execFileSync('nanoid');\n\
         if (require('../../package.json').name !== 'gallery') throw new Error('the root has another name');\n\
         const said = `${word} native on ${process.platform}`;\n\
         require('node:http').createServer((_, answer) => answer.end(total > 0 ? said : 'no disk')).listen(3000);\n",
    ),
];
