# Every service of this monorepo: `docker buildx build --target <service> -f {file} .`
# Written by `cargo xtask init`, yours from now on. `init --refresh` shows what a newer library would write.
#
# The stages `manifests`, `production` and `sources` are doors: a named build context of the same name replaces the
# stage (`--build-context sources=DIR`), so that a service can be given its own closure and nothing else. Without
# that, they cut what they need out of the repository themselves.
ARG NODE_IMAGE={node}
{build-image}
# ── base: Node, pnpm, and the scripts that every service's stages call ──────────────────────────────────────────────
FROM ${{base}} AS base
{build-packages}{pin}ARG PNPM_VERSION={pnpm}
# The pnpm of the image is the one that runs; later versions would fetch the one of a lock.
ENV CI=true NODE_COMPILE_CACHE=/opt/compile-cache pnpm_config_pm_on_fail=ignore
# Asking for the version fills the compile cache, which saves every later call of pnpm its start-up.
RUN --mount=type=cache,id=npm,target=/root/.npm \
    --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
    npm install --global --no-audit --no-fund --no-update-notifier --fetch-timeout=15000 --fetch-retries=6 \
      --fetch-retry-factor=2 --fetch-retry-mintimeout=2000 --fetch-retry-maxtimeout=20000 \
      "pnpm@${PNPM_VERSION}" && \
    pnpm --version > /usr/local/lib/pnpm-version

COPY <<'SCRIPT' /usr/local/lib/own-process-id.cjs
// pnpm names unfinished files after its process id, which is the same in every container: two that fetch one package into one store
// could leave half of it.
Object.defineProperty(process, 'pid', { value: 2 ** 22 + require('node:crypto').randomInt(2 ** 31) });
SCRIPT

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/install-closure
#!/bin/sh
# usage: install-closure production|everything PACKAGE…
# Installs into the current folder what each PACKAGE needs, as the lock mounted at /manifests says. `production` leaves node_modules folders and
# nothing else, in /production/app too: BuildKit reads all that lies beside what is copied out of a stage, so it lies alone. `everything`
# adds what a build needs to them.
set -eu
state=/var/lib/install-state
store=/pnpm/store
if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi
export pnpm_config_cache_dir=$store/metadata
# What is compiled at install takes the headers that the image has, in place of a download.
if [ -d /usr/local/include/node ]; then export npm_config_nodedir=/usr/local; fi
# No image takes along the browsers and databases for tests that some packages download at install. What the Dockerfile sets counts.
export CHROMEDRIVER_SKIP_DOWNLOAD="${CHROMEDRIVER_SKIP_DOWNLOAD-1}" MONGOMS_DISABLE_POSTINSTALL="${MONGOMS_DISABLE_POSTINSTALL-1}"
export CYPRESS_INSTALL_BINARY="${CYPRESS_INSTALL_BINARY-0}" ELECTRON_SKIP_BINARY_DOWNLOAD="${ELECTRON_SKIP_BINARY_DOWNLOAD-1}"
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD="${PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD-1}" PUPPETEER_SKIP_DOWNLOAD="${PUPPETEER_SKIP_DOWNLOAD-1}"
# The Node is the image's: pnpm would download another.
lay() {
  cp -R /manifests/. "$1"
  for settings in "$1/.npmrc" "$1/pnpm-workspace.yaml"; do
    if [ -f "$settings" ]; then sed -i '/^use-node-version/d; /^"\{0,1\}useNodeVersion/d' "$settings"; fi
  done
}
lay .
# pnpm takes variables in credentials (`${NPM_TOKEN}`) from the user's settings alone, since 10.34. No value gets into the file.
if [ -f .npmrc ]; then grep -F '${' .npmrc > "$HOME/.npmrc" || true; fi
# Scripts of dependencies run here. Those of the workspace's own packages need sources, and run when these are there. A plan knows it by
# the next line.
# own-scripts: later
# What pnpm's `NAME...` does not follow, for it reads manifests: what the lock links by a path, an override or a version.
how=$1
shift
packages=$(printf '%s\n' "$@")
linked=$(PACKAGES=$packages node -e '
  const path = require("node:path");
  const below = (at) => fs.readdirSync(at, { withFileTypes: true }).filter((one) => one.isDirectory() && one.name !== "node_modules")
    .map(({ name }) => path.join(at, name)).flatMap((folder) => [folder, ...below(folder)]);
  const text = (folder, file) => (fs.existsSync(path.join(folder, file)) ? fs.readFileSync(path.join(folder, file), "utf8") : "");
  const [names, links] = [new Map(), new Map()];
  for (const folder of [".", ...below(".")]) {
    const written = text(folder, "package.json");
    if (written) {
      const { scripts, ...manifest } = JSON.parse(written.replace(/^\uFEFF/, ""));
      if (scripts) fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify(manifest));
      names.set(folder, manifest.name ?? `./${folder}`);
    }
    const importers = text(folder, "pnpm-lock.yaml").split(/^importers:$/m).slice(1).map((document) => document.split(/^\S/m)[0]);
    for (const importer of importers.flatMap((all) => all.split(/^ {2}(?=\S)/m).slice(1))) {
      const at = path.join(folder, /^["\x27]?([^"\x27:]+)/.exec(importer)[1]);
      const found = [...importer.matchAll(/: ["\x27]?(link|file):(.*?)["\x27]?(?:\(.*)?$/gm)];
      links.set(at, found.map(([, how, to]) => path.join(how === "link" ? at : folder, to)));
    }
  }
  // A link may lead to what a build makes within a package.
  const owner = (to) => (names.has(to) || path.dirname(to) === to || to === ".." ? to : owner(path.dirname(to)));
  const asked = process.env.PACKAGES.split("\n");
  const met = new Set([...names].flatMap(([folder, name]) => (asked.includes(name) || asked.includes(`./${folder}`) ? [folder] : [])));
  for (const folder of met) (links.get(folder) ?? []).map(owner).filter((to) => to !== "." && names.has(to)).forEach((to) => met.add(to));
  console.log([...met].map((folder) => names.get(folder)).join("\n"));')
# A stalled download is given up after 15 seconds instead of 60, and tried again soon and often: a registry may be silent for two minutes.
# pnpm 12 is no script that Node runs, and has no flag for the first; those before take a timeout of `--config.…` for none.
case $(cat /usr/local/lib/pnpm-version) in
  [1-9].* | 1[01].*) pnpm="node --require /usr/local/lib/own-process-id.cjs $(command -v pnpm)" timeout=--fetch-timeout ;;
  *) pnpm=pnpm timeout=--config.fetch-timeout ;;
esac
here() {
  $pnpm "$@" --store-dir $store --reporter=append-only $timeout=15000 \
    --config.fetch-retries=6 --config.fetch-retry-factor=2 --config.fetch-retry-mintimeout=2000 --config.fetch-retry-maxtimeout=20000
}
# Installs run side by side and share the store; each package is downloaded by the first that needs it, the others wait for that.
# `fetched` has the packages that the store holds. Without `flock` (util-linux) two may download the same.
# Since 11 pnpm asks the registry of each package of a lock whether it passes the workspace's policies, and knows again a lock that passed.
# Each service has a lock of its own, so what passed as it was fetched counts as passed: by the same pnpm, under the same policies.
policies() {
  cat /usr/local/lib/pnpm-version
  env | grep -i '^pnpm_config_\(minimum\|trust\)' | sort
  if [ -e pnpm-workspace.yaml ]; then awk "/^[^ #-]/ { on = /^[\"']?(minimumReleaseAge|trust)/ } on" pnpm-workspace.yaml; fi
}
fetched=$store/fetched-$(policies | sha256sum | cut -c -16)
is_fetched() { [ -z "$(comm -23 /tmp/wanted "$fetched")" ]; }
download() {
  sed -n 's/.*integrity: \(sha[^,}]*\).*/\1/p' pnpm-lock.yaml | sort -u > /tmp/wanted
  touch "$fetched"
  if is_fetched; then return 0; fi
  exec 9> $store/turn
  if command -v flock > /dev/null; then flock 9; fi
  if ! is_fetched; then
    work=$(mktemp -d $store/work.XXXXXX)
    lay "$work"
    if (cd "$work" && here fetch --config.enable-modules-dir=false); then
      sort -u /tmp/wanted "$fetched" > "$work/fetched" && mv "$work/fetched" "$fetched"
    fi
    rm -rf "$work"
  fi
  exec 9>&-
}
# The store is a mount of its own, which no hard link can leave, and no link may lead into it: copy at once, to here. Without `--fail-if-no-match` an install of nothing
# succeeds, and is cached.
filters="$(printf ' --filter %s...' "$@")$(printf ' --filter %s' ${linked:-"$@"})"
# Then the root's dependencies, which packages call, are installed where the root is asked for; with one lock for all they are in any case.
own_locks=$(find . -mindepth 2 -name pnpm-lock.yaml -not -path '*/node_modules/*')
if [ -n "$own_locks" ] && [ -e pnpm-lock.yaml ]; then filters="$filters --filter ."; fi
# The folders that an install makes: the root's, and each package's.
modules() { find . -name node_modules -prune -print; }
install() {
  case $(cat /usr/local/lib/pnpm-version) in [1-7].* | 8.?.* | 8.1[0-2].*) strict='' ;; *) strict=--fail-if-no-match ;; esac
  here install --frozen-lockfile --prefer-offline --config.package-import-method=copy --config.enable-global-virtual-store=false \
    $strict $filters "$@"
}
# Where each package has a lock of its own, each is fetched by its install.
if [ -z "$own_locks" ]; then
  download
  if is_fetched; then export pnpm_config_trust_lockfile=true; fi
fi
case $how in
  production)
    install --prod
    # By these names a build knows what an image has, also what it has yet to make: a copy of a folder (`publishConfig.directory`).
    modules | while read -r made; do find "$made/.pnpm" -mindepth 1 -maxdepth 1 2>/dev/null || true; done > /var/lib/production-packages
    # What a compiler leaves beside what it makes.
    find . -type d -path '*/node_modules/*/build/Release/obj.target' -prune -exec rm -rf {} +
    # pnpm's own records hold this run's time: they would make equal installs differ. A later `everything` needs them.
    mkdir -p $state
    modules | while read -r made; do
      for record in "$made/.modules.yaml" "$made/.pnpm/lock.yaml"; do
        if [ -e "$record" ]; then mkdir -p "$state/${record%/*}" && mv "$record" "$state/$record"; fi
      done
      rm -f "$made"/.pnpm-workspace-state*.json
    done
    find . -name node_modules -prune -o ! -type d -exec rm {} +
    find . -type d -empty -delete
    mkdir /production && cp -al . /production/app
    ;;
  everything)
    printf '%s\n' "$packages" > /var/lib/installed-packages
    if [ -d $state ]; then
      cp -R $state/. .
    fi
    install
    ;;
esac
SCRIPT

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/build-once
#!/usr/bin/env node
// usage: build-once [--dependencies] PACKAGE COMMAND…
// Lays the sources mounted at /sources over an installed closure, and runs COMMAND in the folder of each workspace package that PACKAGE
// needs, dependencies first, and in its own. With `--dependencies` not in its own: a step of that alone is not run again when PACKAGE is
// edited, on a machine neither that has nothing but a registry's cache. The step after it takes over what that left.
//
// What a build writes is kept in /builds under a hash of all that it can see: its files, the root's, the builds of what it needs, the
// versions installed, Node, the environment. Who needs the package next takes that, for this service or another. So that the hash tells
// all, each build sees the packages that it declares or names by a relative path, and no others. One that fails so sees them all, and is
// not kept; nor is one that depends on what no hash tells (`file:`).
//
// CommonJS: a file without an ending is no ES module before Node 22.
const { spawn, spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const [, script, ...words] = process.argv;
const isBefore = words[0] === '--dependencies' && words.shift() !== undefined;
const [wanted, ...command] = words;
const [sources, shared, own] = ['/sources', '/builds', fs.mkdtempSync('/tmp/builds-')];
const MONTH = 30 * 86_400_000;
const hash = (...parts) => parts.reduce((all, part) => all.update(`${part.length}:`).update(part), createHash('sha256')).digest('hex');
const list = (folder) => (fs.existsSync(folder) ? fs.readdirSync(folder, { withFileTypes: true }) : []).sort((a, b) => (a.name < b.name ? -1 : 1));
const text = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');

// The workspace's packages are those the lock has, which names no root that is alone; where each has its own, every folder with a manifest.
const manifests = (folder) => list(folder).flatMap(({ name }) => {
  const file = path.join(folder, name);
  if (name === 'node_modules') return [];
  return name === 'package.json' ? [path.relative(sources, folder) || '.'] : fs.lstatSync(file).isDirectory() ? manifests(file) : [];
});
const importers = text('pnpm-lock.yaml').split(/^importers:$/m).slice(1).map((document) => document.split(/^\S/m)[0]).join('');
const locked = importers.matchAll(/^ {2}'?([^\s'].*?)'?:(?: \{\})?$/gm);
const each = manifests(sources);
const isSplit = each.some((folder) => folder !== '.' && fs.existsSync(path.join(folder, 'pnpm-lock.yaml')));
const folders = new Set(isSplit ? each : ['.', ...[...locked].map(([, folder]) => folder)]);
const manifest = (folder) => JSON.parse(fs.readFileSync(path.join(sources, folder, 'package.json'), 'utf8').replace(/^\uFEFF/, ''));

/** The files of a package: no other package's, and nothing that an install makes. */
const belongs = (folder) => (file) => path.basename(file) !== 'node_modules' && (file === folder || !folders.has(file));
function* files(folder, within = folder) {
  for (const entry of list(path.join(sources, within))) {
    const file = path.join(within, entry.name);
    if (belongs(folder)(file)) entry.isDirectory() ? yield* files(folder, file) : yield file;
  }
}
const content = (file) => {
  const [at, stat] = [path.join(sources, file), fs.lstatSync(path.join(sources, file))];
  return hash(file, String(stat.mode), stat.isSymbolicLink() ? fs.readlinkSync(at) : fs.readFileSync(at));
};

/** What a `node_modules` folder links to, from the root. */
const links = (modules) => Object.fromEntries(list(modules).filter(({ name }) => !name.startsWith('.')).flatMap(({ name }) => {
  const names = name.startsWith('@') ? list(path.join(modules, name)).map((entry) => `${name}/${entry.name}`) : [name];
  return names.map((one) => [one, real(path.join(modules, one))]);
}));
/** Where a link leads; of a workspace package to its folder, also where its build has yet to make what is linked (`publishConfig.directory`). */
const real = (link) => {
  const stat = fs.lstatSync(link);
  const to = stat.isSymbolicLink() ? path.resolve(fs.realpathSync(path.dirname(link)), fs.readlinkSync(link)) : link;
  const where = path.relative(process.cwd(), fs.existsSync(to) ? fs.realpathSync(to) : to);
  const lies = (folder) => folder !== '.' && `${where}/`.startsWith(`${folder}/`) && !where.slice(folder.length).includes('/node_modules/');
  return [...folders].filter(lies).sort((a, b) => b.length - a.length)[0] ?? where;
};
/** The folder of a virtual store that something installed lies in: its name holds version, peers and patch. */
const stored = (where) => /^((?:.*\/)?node_modules\/\.pnpm\/[^/]+)\/node_modules\//.exec(where)?.[1];
/** The workspace package that something installed is a copy of (`injected`), or of a folder in it: pnpm renews it when that is built. */
const injected = (where) => {
  const from = path.basename(stored(where) ?? '').split('@file+')[1];
  const isOf = (folder) => from?.startsWith(folder.replaceAll('/', '+')) && /^($|[_(+])/.test(from.slice(folder.length));
  return [...folders].filter(isOf).sort((a, b) => b.length - a.length)[0];
};
/** All that is installed for these links; `null` where a name does not tell the content. */
function installed(found) {
  const [seen, open] = [new Set(), [...found]];
  while (open.length > 0) {
    const name = stored(open.pop());
    if (name === undefined || /(^|@)file\+|(^|@)link\+/.test(path.basename(name))) return null;
    if (seen.has(name)) continue;
    seen.add(name);
    open.push(...Object.values(links(`${name}/node_modules`)).filter((where) => stored(where) !== name));
  }
  return JSON.stringify([...seen].sort());
}

/** The packages that a package's files name by a relative path: `../../packages/ui/src`, and all below where that has a wildcard. */
function named(folder) {
  const found = new Set();
  for (const file of files(folder)) {
    const stat = fs.lstatSync(path.join(sources, file));
    const text = stat.isFile() && stat.size < 1 << 19 ? fs.readFileSync(path.join(sources, file), 'utf8') : '';
    if (text.includes('\0')) continue;
    for (const [written] of text.matchAll(/(?:\.\.\/)+[\w@.*{[/-]*/g)) {
      const wild = /[*{[]/.test(written);
      const where = path.join(path.dirname(file), wild ? written.slice(0, written.search(/[^/]*[*{[]/)) : written);
      for (const other of folders) {
        const [below, above] = [`${where}/`.startsWith(`${other}/`), `${other}/`.startsWith(path.join(where, '/'))];
        if (other !== '.' && other !== folder && (below || (wild && above)) && fs.existsSync(path.join(sources, other, 'package.json'))) found.add(other);
      }
    }
  }
  return found;
}

/** What lies at the root and holds no package, but for what belongs to an install. */
const ofRoot = () => {
  const isKept = (name) => !/^(\.|node_modules$|pnpm-)/.test(name) && ![...folders].some((folder) => `${folder}/`.startsWith(`${name}/`));
  return list(sources).map(({ name }) => name).filter(isKept);
};

const packages = new Map();
const order = [];
function meet(folder, above) {
  const met = packages.get(folder);
  if (met !== undefined) return void (above.includes(folder) && above.slice(above.indexOf(folder)).forEach((one) => (packages.get(one).circular = true)));
  const { name, ...written } = manifest(folder);
  const linked = links(path.join(folder, 'node_modules'));
  const found = Object.values(linked);
  const declared = [...found, ...found.map(injected)].filter((where) => folders.has(where) && where !== folder);
  const needs = [...new Set([...declared, ...named(folder)])];
  const runs = { ...written.peerDependencies, ...written.optionalDependencies, ...written.dependencies };
  const running = Object.keys(runs).flatMap((name) => linked[name] ?? []);
  const production = running.filter((where) => declared.includes(where) && where !== '.');
  // A `link:` may lead to what is no package of the workspace, and a dependency on the root to the folder that holds them all.
  const isApart = (where) => !folders.has(where) && stored(where) === undefined && fs.existsSync(path.join(sources, where));
  const apart = running.filter(isApart).flatMap((where) => (where === '' ? ofRoot() : [where]));
  packages.set(folder, { name: name || folder, declared, needs, production, apart, outside: found.filter((where) => !folders.has(where)) });
  needs.forEach((need) => meet(need, [...above, folder]));
  order.push(folder);
}
const closure = (folder, edge = 'needs', seen = new Set()) => (seen.has(folder) ? seen : (seen.add(folder), packages.get(folder)[edge].forEach((need) => closure(need, edge, seen)), seen));
const lies = (name) => {
  const is = (folder) => folder === name.replace(/^\.\//, '') || (fs.existsSync(path.join(sources, folder, 'package.json')) && manifest(folder).name === name);
  const found = [...folders].find(is);
  if (found === undefined) throw new Error(`there is no package ${name} among the sources`);
  return found;
};
const target = lies(wanted);
// What was installed beside the package is needed by all that it does not need itself.
const beside = text('/var/lib/installed-packages').split('\n').filter((name) => name && name !== wanted).map(lies);
[...beside, target].forEach((folder) => packages.has(folder) || meet(folder, []));
const below = new Set(beside.flatMap((folder) => [...closure(folder)]));
for (const [folder, one] of packages) if (!below.has(folder)) one.needs.push(...beside.filter((other) => !one.needs.includes(other)));
const demanded = new Set();
const demand = (folder) => demanded.has(folder) || (demanded.add(folder), packages.get(folder).declared.forEach(demand));
demand(target);

/** A program's text, or its size where it is no script (Node, pnpm 12), and the manifest of the npm package it lies in. */
const program = (name) => {
  const found = process.env.PATH.split(':').map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
  const file = found === undefined ? name : fs.realpathSync(found);
  const { size } = fs.statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
  const manifests = ['package.json', '../package.json'].map((one) => text(path.join(path.dirname(file), one)));
  return [size < 1 << 20 ? text(file) : String(size), ...manifests].join('\n');
};
const { HOSTNAME, PWD, OLDPWD, SHLVL, _, ...environment } = process.env;
const secrets = list('/run/secrets').map(({ name }) => name).filter((name) => name !== 'ca');
const hoisted = Object.values(links('node_modules'));
const tools = [text(script), program(command[0]), program('pnpm'), process.version, process.arch, text('/etc/os-release')];
// What an install left at the root decides how scripts run, and tools look there too. What it installs is told by what lies here, and each
// service has its own part of the packages, catalogs, overrides and patches.
const settings = text('pnpm-workspace.yaml').split(/^(?=[^\s#-])/m).filter((one) => !/^["']?(packages|catalogs?|overrides|patchedDependencies)\b/.test(one));
const { browserslist, postcss } = JSON.parse(text('package.json').replace(/^\uFEFF/, '') || '{}');
const root = [...settings, text('.npmrc'), JSON.stringify([browserslist, postcss])];
const everywhere = hash(...tools, ...root, JSON.stringify([command, environment, secrets, hoisted]), ...[...files('.')].map(content));
for (const folder of order) {
  const one = packages.get(folder);
  const needs = one.needs.map((need) => packages.get(need).key ?? null);
  const held = installed([...hoisted.filter((where) => !folders.has(where)), ...one.outside]);
  const known = !one.circular && held !== null && !needs.includes(null) && folder !== '.' && fs.existsSync(shared);
  one.key = known ? hash(everywhere, folder, held, ...needs, ...[...files(folder)].map(content)) : null;
  one.kept = known ? path.join(shared, one.key) : path.join(own, String(order.indexOf(folder)));
}

/** What is built here. */
const all = new Set(order.filter((folder) => !isBefore || !closure(folder).has(target)));
/** The packages that lie here, each with whether its build does. */
const present = new Map();
/** Lets these packages lie here as their builds left them, and no others. One that was shown unbuilt may be built by now, here or for
    another service. */
function show(wanted) {
  const isBehind = (folder) => !present.get(folder) && fs.existsSync(packages.get(folder).kept);
  for (const folder of [...present.keys()].filter((folder) => !wanted.has(folder) || isBehind(folder))) {
    const files = list(folder).map(({ name }) => path.join(folder, name)).filter(belongs(folder));
    files.filter((one) => ![...folders].some((other) => other.startsWith(`${one}/`))).forEach((one) => fs.rmSync(one, { recursive: true }));
    present.delete(folder);
  }
  for (const folder of order.filter((folder) => wanted.has(folder) && !present.has(folder))) {
    copy(folder);
    const { kept } = packages.get(folder);
    const isBuilt = fs.existsSync(kept);
    if (isBuilt) {
      lay(`${kept}/written`, '.', () => true);
      JSON.parse(text(`${kept}/gone.json`)).forEach((file) => fs.rmSync(file, { force: true }));
    }
    present.set(folder, isBuilt);
  }
}
// Node's own copy takes no link that leads nowhere (22, 24), and Next.js leaves such.
const lay = (from, to, filter) => {
  if (!filter(from)) return;
  const stat = fs.lstatSync(from);
  if (stat.isDirectory()) {
    fs.mkdirSync(to, { recursive: true });
    return fs.readdirSync(from).forEach((name) => lay(path.join(from, name), path.join(to, name), filter));
  }
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.rmSync(to, { force: true, recursive: true });
  if (stat.isSymbolicLink()) fs.symlinkSync(fs.readlinkSync(from), to);
  else fs.copyFileSync(from, to);
};
const copy = (folder) => lay(path.join(sources, folder), folder, (from) => belongs(folder)(path.relative(sources, from) || '.'));
/** Its build, and those of all that need it, are no more what their hashes say. */
const forget = (folder) => {
  for (const other of order.filter((other) => closure(other).has(folder))) Object.assign(packages.get(other), { key: null, kept: path.join(own, String(order.indexOf(other))) });
};

/** Resolves once nobody else builds this key, with what lets go of it; or with `undefined` where somebody does and we do not wait. Who
    dies lets go too. Without `flock` (util-linux) two may build the same. */
function turn({ key, kept }, ...options) {
  if (key === null || fs.existsSync(kept)) return () => {};
  const holder = spawn('flock', [...options, `${kept}.lock`, 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const release = () => holder.stdin.end();
  return new Promise((resolve) => {
    holder.stdout.once('data', () => resolve(release));
    holder.once('error', () => resolve(() => {}));
    holder.once('exit', () => resolve(undefined));
  });
}
/** Runs the build, and keeps whatever it wrote, wherever that lies, but in what is mounted: a tool's cache. */
function build(folder, kept) {
  show(closure(folder));
  fs.writeFileSync(`${own}/mark`, '');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20); // a tick of the file system's clock
  const env = { ...process.env, npm_config_verify_deps_before_run: 'false', pnpm_config_verify_deps_before_run: 'false' };
  const attempt = () => spawnSync(command[0], command.slice(1), { stdio: 'inherit', cwd: folder, env });
  let ended = attempt();
  if (ended.status !== 0 && present.size < all.size) {
    console.log(`${packages.get(folder).name} needs more than it declares: again, with every package in sight, and not kept`);
    forget(folder);
    kept = packages.get(folder).kept;
    show(all);
    ended = attempt();
  }
  if (ended.status !== 0 && isBefore) return void console.log(`${folder}: its build fails without ${wanted}: left to the next step`);
  if (ended.status !== 0 && !demanded.has(folder)) {
    forget(folder);
    return console.log(`${folder}: its build failed, and no package depends on it: it lies here unbuilt`);
  }
  if (ended.status !== 0) {
    console.error(`${folder}: the build of ${packages.get(folder).name} failed${ended.error ? `: ${ended.error.message}` : ''}`);
    process.exit(ended.status ?? 1);
  }
  const kinds = ['(', '!', '-type', 'd', '-o', '-empty', ')', '!', '-name', '.pnpm-workspace-state*', '-cnewer', `${own}/mark`, '-print0'];
  const { stdout, status } = spawnSync('find', ['.', '-xdev', '(', '-path', '*/node_modules/.cache', '-o', '-path', '*/.next/cache', ')', '-prune', '-o', ...kinds], { encoding: 'utf8', maxBuffer: 1 << 30 });
  if (status !== 0) throw new Error('find cannot tell what was written');
  keep(kept, stdout.split('\0').filter(Boolean), [...files(folder)].filter((file) => !fs.lstatSync(file, { throwIfNoEntry: false })));
  present.set(folder, true);
}
/** Keeps a build: what it wrote, as that lies here, and which sources it took away. */
function keep(kept, written, gone) {
  const draft = fs.mkdtempSync(path.join(path.dirname(kept), '.draft-'));
  fs.mkdirSync(`${draft}/written`);
  written.forEach((one) => lay(one, `${draft}/written/${one}`, () => true));
  fs.writeFileSync(`${draft}/gone.json`, JSON.stringify(gone));
  try { fs.renameSync(draft, kept); } catch { fs.rmSync(draft, { recursive: true }); } // another was first
}

const LEFT = '/var/lib/built.json';
/** Leaves the builds lying here, for the next step. */
function leave() {
  const built = [...all].filter((folder) => folder !== '.' && fs.existsSync(packages.get(folder).kept));
  show(new Set(built));
  const below = (at) => (fs.lstatSync(at).isDirectory() && list(at).length > 0 ? list(at).flatMap(({ name }) => below(path.join(at, name))) : [at]);
  const left = built.map((folder) => {
    const { key, kept } = packages.get(folder);
    const written = below(`${kept}/written`).map((file) => path.relative(`${kept}/written`, file)).filter(Boolean);
    return [folder, { key, written, gone: JSON.parse(text(`${kept}/gone.json`)) }];
  });
  fs.writeFileSync(LEFT, JSON.stringify(Object.fromEntries(left)));
}
/** Keeps what the step before has left, where nobody has that any more. */
function take() {
  for (const [folder, { key, written, gone }] of Object.entries(JSON.parse(text(LEFT) || '{}'))) {
    const one = packages.get(folder);
    if (one === undefined) continue;
    present.set(folder, true);
    if (key === null) forget(folder);
    if (one.key === key && !fs.existsSync(one.kept)) keep(one.kept, written, gone);
  }
  show(new Set());
}

async function main() {
  copy('.');
  take();
  const open = new Set(all);
  while (open.size > 0) {
    // Whatever waits for nothing, but first what nobody else has in hand.
    const ready = [...open].filter((folder) => packages.get(folder).circular || packages.get(folder).needs.every((need) => !open.has(need)));
    let [folder, done] = [ready[0], undefined];
    for (folder of ready) if ((done = await turn(packages.get(folder), '-n'))) break;
    done ??= await turn(packages.get((folder = ready[0])));
    const one = packages.get(folder);
    if (fs.existsSync(one.kept)) {
      console.log(`${one.name} was built before, as ${one.key?.slice(0, 12) ?? 'the step before left it'}`);
      fs.utimesSync(one.kept, new Date(), new Date());
    } else {
      console.log(`building ${one.name}, as ${one.key?.slice(0, 12) ?? 'what cannot be kept'}`);
      build(folder, one.kept);
    }
    done?.();
    open.delete(folder);
    if (isBefore && !fs.existsSync(packages.get(folder).kept)) break;
  }
  if (isBefore) return leave();
  show(all);
  const taken = (folder) => [...closure(folder, 'production')].flatMap((one) => [one, ...packages.get(one).apart]);
  const runs = (folder) => [packages.get(folder).name, `./${folder}`].map((name) => [name, taken(folder)]);
  fs.writeFileSync('/var/lib/production.json', JSON.stringify(Object.fromEntries(order.flatMap(runs))));
  for (const { name } of list(shared)) {
    const file = path.join(shared, name);
    const stat = fs.statSync(file, { throwIfNoEntry: false }); // another's draft may have its name by now
    if (stat && Date.now() - stat.mtimeMs > MONTH) fs.rmSync(file, { recursive: true, force: true });
  }
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
SCRIPT

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/build-package
#!/usr/bin/env node
// usage: build-package TASK…, in a package's folder
// Runs what an install would have run had the sources been there, and then those of the TASKs that the package has, as scripts or by Nx.
// The task `references` stands for the `tsc -b` of the root, and the name of an application in `nest-cli.json` for its build.
const { spawnSync } = require("child_process");
const { existsSync, readFileSync } = require("fs");
const { join } = require("path");
const read = (file) => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8").replace(/^\uFEFF/, "")) : {});
const { name, nx, scripts = {}, dependencies = {}, devDependencies = {} } = read("package.json");
const tries = (env, ...words) => spawnSync("pnpm", words, { stdio: "inherit", env: { ...process.env, ...env } }).status ?? 1;
const run = (env, ...words) => {
  const status = tries(env, ...words);
  if (status !== 0) process.exit(status);
};
// Prisma's CLI downloads the engine of its migrations whatever it is asked for; to generate a client takes none.
let engine = {};
const generate = ["exec", "prisma", "generate"];
const schemas = ["prisma/schema.prisma", "prisma/schema", "schema.prisma", "prisma.config.ts"];
if (("@prisma/client" in dependencies || "prisma" in { ...dependencies, ...devDependencies }) && schemas.some(existsSync)) {
  if (tries({}, ...generate) !== 0) {
    console.log("again, without the engine of Prisma's migrations: where that cannot be downloaded, a client can be generated");
    engine = { PRISMA_SCHEMA_ENGINE_BINARY: "/bin/true", ...process.env };
    run(engine, ...generate);
  }
}
// Nx knows targets that no script stands for, and runs what they depend on first. `api:build` is one of a project that is no package.
function byNx(task) {
  const root = process.cwd().split("/").map((_, depth, parts) => parts.slice(0, parts.length - depth).join("/")).find((at) => existsSync(`${at}/nx.json`));
  const command = join(root ?? "", "node_modules/.bin/nx");
  if (root === undefined || !existsSync(command)) return;
  const [target, other] = task.split(":").reverse();
  if (other !== undefined && root !== process.cwd()) return;
  const project = other ?? nx?.name ?? read("project.json").name ?? name;
  const asked = spawnSync(command, ["show", "projects", "--with-target", target, "--json"], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  if (asked.status !== 0 || !JSON.parse(asked.stdout).includes(project)) return;
  const { status } = spawnSync(command, ["run", `${project}:${target}`], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
// The root's `tsc -b` compiles a package that has no build of its own, where that takes part in it.
function byReferences() {
  if (scripts.build) return;
  const takesPart = (settings) => {
    const { status, stdout } = spawnSync("pnpm", ["exec", "tsc", "--showConfig", "-p", settings], { encoding: "utf8" });
    return status === 0 && JSON.parse(stdout).compilerOptions?.composite;
  };
  const settings = ["tsconfig.build.json", "tsconfig.json"].filter(existsSync).find(takesPart);
  if (settings) run({}, "exec", "tsc", "-b", settings);
}
// Hooks of git are nobody's in an image.
const hooks = /\b(husky|lefthook|simple-git-hooks|only-allow|is-ci)\b/;
const tasks = process.argv.slice(2);
for (const task of ["preinstall", "install", "postinstall", "prepare", ...tasks]) {
  if (task === "references") byReferences();
  else if (!scripts[task] && read("nest-cli.json").projects?.[task]) run({}, "exec", "nest", "build", task);
  else if (!scripts[task] && tasks.includes(task)) byNx(task);
  if (!scripts[task] || task === "references" || hooks.test(scripts[task])) continue;
  run(/\bprisma (migrate|db)\b/.test(scripts[task]) ? {} : engine, "run", task);
}
SCRIPT

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/build-closure
#!/bin/sh
# usage: build-closure [--dependencies] PACKAGE TASK…
# Runs the TASKs of PACKAGE and of the packages it needs, or of these alone, each after those it needs, on the sources mounted at /sources,
# over an installed closure. What the environment does not say is taken from /var/lib/build.env.
set -eu
export NEXT_TELEMETRY_DISABLED=1 ASTRO_TELEMETRY_DISABLED=1 NUXT_TELEMETRY_DISABLED=1 TURBO_TELEMETRY_DISABLED=1
# Builds are kept by build-once, and each step is alone.
export NX_DAEMON=false NX_TUI=false NX_NO_CLOUD=true NX_CACHE_DIRECTORY=/tmp/nx NX_WORKSPACE_DATA_DIRECTORY=/tmp/nx
if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi
# As at an install: a package of the workspace may be compiled, too.
if [ -d /usr/local/include/node ]; then export npm_config_nodedir=/usr/local; fi
if [ -e /var/lib/build.env ]; then set -a; . /var/lib/build.env; set +a; fi
[ -e /var/lib/installed ] || touch /var/lib/installed
# A bundler's cache that is mounted is of the same dependencies, or empty: Turbopack keeps what it did not find, too.
lock=$(sha256sum pnpm-lock.yaml 2>/dev/null || true)
for cache in $(awk '$2 ~ "^/app/.*/cache$" { print $2 }' /proc/mounts); do
  if [ "$(cat "$cache/of-lock" 2>/dev/null || true)" = "$lock" ]; then continue; fi
  find "$cache" -mindepth 1 -delete
  echo "$lock" > "$cache/of-lock"
done
which=
if [ "$1" = --dependencies ]; then which=$1; shift; fi
package=$1
shift
build-once $which "$package" build-package "$@"
SCRIPT

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/collect-closure
#!/bin/sh
# usage: collect-closure packages [PACKAGE…] | next FOLDER MADE | folder FOLDER MADE | imported FOLDER MADE |
#   files FOLDER MADE | started FOLDER FILE [ROOT]
# Leaves in /built/app what of a build is to be in the image: the packages that PACKAGE needs to run, without what only building and testing them
# takes; Next.js's standalone output; the folder MADE as it lies, and what it imports of the development dependencies; or its content. MADE
# lies in FOLDER, or where that has none at the root.
set -eu
mkdir -p /built/app
made() { if [ ! -d "$1/$2" ] && [ -d "$2" ]; then echo "$2"; else echo "$1/$2"; fi; }
case $1 in
  packages)
    shift
    folders=$(node -p 'const of = JSON.parse(fs.readFileSync("/var/lib/production.json", "utf8"));
      [...new Set(process.argv.slice(1).flatMap((name) => [...of[name]]))].join("\n")' "$@")
    printf '%s\n' "$folders" | grep . | while read -r folder; do
      # A test is code: what only its name says to be one (`api.spec.json`, a folder `coverage`) is read when it runs.
      tests=$(for test in test spec; do for end in js jsx ts tsx cjs mjs cts mts d.ts d.cts d.mts; do echo "--exclude=*.$test.$end"; done; done)
      # shellcheck disable=SC2086 # an option a word
      (set -f && tar -cf - --exclude=node_modules --exclude='.env*' --exclude=.turbo --exclude=.wireit --exclude=.cache --exclude='*.tsbuildinfo' --exclude=__tests__ $tests \
        --exclude='*.js.map' --exclude='*.mjs.map' --exclude='*.cjs.map' --exclude='*.css.map' --exclude=.next/cache "./$folder") | tar -xf - -C /built/app
    done
    # What they read as they run, of what no package has: `../../proto/a.proto`, from the file or from where the service starts.
    node -e '
      const path = require("node:path");
      const folders = process.argv[1].split("\n").filter((folder) => folder !== "");
      const isScript = (file) => /\.[cm]?[jt]sx?$/.test(file) && !/\.config\./.test(file);
      const below = (at) => fs.readdirSync(at, { withFileTypes: true }).filter(({ name }) => name !== "node_modules").flatMap((entry) => {
        const file = path.join(at, entry.name);
        return entry.isDirectory() ? below(file) : entry.isFile() ? [file] : [];
      });
      // The root has what no manifest but its own stands above. What belongs to an install or a compiler, and secrets, no service reads; its
      // version it may read in the manifest of the root.
      const isRoots = (at) => at === "." || (!fs.existsSync(path.join(at, "package.json")) && isRoots(path.dirname(at)));
      const isKept = (at) => at === "package.json" || !/(^|\/)(\.|node_modules\/|package\.json$|pnpm-[^/]*\.yaml$|tsconfig[^/]*\.json$)/.test(at);
      const [met, found] = [new Set(["."]), new Set()];
      const look = (file, from) => {
        // `join(__dirname, "..", "..", "locales", name)`: as far as texts say it.
        const begun = /((?:__dirname|import\.meta\.dirname|import\.meta\.url\)\)|process\.cwd\(\))\s*,\s*)((?:(["\x27`])[\w@.\/-]+\3\s*,?\s*)+)/g;
        const text = fs.readFileSync(file, "utf8").replace(begun, (_, folder, parts) => `${folder}"${parts.match(/[\w@.\/-]+/g).join("/")}"`);
        const named = text.matchAll(/(["\x27`])((?:\.\.?\/)+[\w@][\w.@\/-]*?)(?:\/[^\/"\x27`]*\*[^"\x27`\n]*)?\1/g);
        const paths = [...named].flatMap(([, , name]) => from.flatMap((folder) => ["", ".js", ".cjs", ".mjs", ".json"].map((end) => path.join(folder, name) + end)));
        for (const at of paths) {
          if (met.has(at) || !fs.existsSync(at)) continue;
          met.add(at);
          if (at.startsWith("..") || !isKept(at) || !isRoots(at)) continue;
          const files = (fs.statSync(at).isDirectory() ? below(at) : [at]).filter(isKept);
          if (!files.every((one) => isRoots(path.dirname(one)))) continue;
          files.forEach((one) => found.add(one));
          files.filter(isScript).forEach((one) => look(one, [path.dirname(one)]));
        }
      };
      for (const folder of folders) {
        const within = path.join("/built/app", folder);
        below(within).filter(isScript).forEach((file) => look(file, [path.relative("/built/app", path.dirname(file)), folder]));
      }
      console.log([...found].join("\n"));
    ' "$folders" | while read -r file; do
      [ -n "$file" ] || continue
      mkdir -p "/built/app/$(dirname "$file")"
      cp "$file" "/built/app/$file"
    done
    # What the build wrote into packages that the image has: a generated client.
    find . -path '*/node_modules/*' -newer /var/lib/installed \( -type f -o -type l \) -not -path '*/.cache/*' -not -path '*/.vite*/*' \
      -not -path '*/.bin/*' -not -name '.modules.yaml' -not -name '.pnpm-workspace-state*' -not -name '*.tmp*' > /tmp/written
    while read -r file; do
      case $file in
        */node_modules/.pnpm/*)
          store=${file%%/node_modules/.pnpm/*}/node_modules/.pnpm
          entry=${file#"$store"/}
          grep -qxF "$store/${entry%%/*}" /var/lib/production-packages 2>/dev/null || continue ;;
      esac
      mkdir -p "/built/app/$(dirname "$file")"
      cp -P "$file" "/built/app/$file"
    done < /tmp/written
    ;;
  next)
    made=$2/$3/standalone
    if [ ! -d "$made" ]; then
      echo "next build made no $made: say \`output: 'standalone'\` in next.config, and here what \`distDir\` is" >&2
      exit 1
    fi
    # It begins at the folder that Next.js takes for the repository's root.
    if [ -e "$made/$2/server.js" ]; then cp -R "$made/." /built/app; else mkdir -p "/built/app/$2"; cp -R "$made/." "/built/app/$2"; fi
    mkdir -p "/built/app/$2/$3/cache"
    cp -R "$2/$3/static" "/built/app/$2/$3/static"
    if [ -d "$2/public" ]; then cp -R "$2/public" "/built/app/$2/public"; fi
    find /built/app -name '.env*' -delete
    chown -R 1000:1000 "/built/app/$2/$3/cache"
    ;;
  folder)
    mkdir -p "/built/app/$2/$3"
    cp -R "$(made "$2" "$3")/." "/built/app/$2/$3"
    ;;
  imported)
    # A bundler leaves packages out, wherever a manifest has them, and a compiler adds its helpers (`tslib`).
    node -e '
      const path = require("node:path");
      const [folder, made] = process.argv.slice(1);
      const found = new Set();
      const runs = (file) => fs.existsSync(path.join("/production/app", file));
      const list = (folder) => fs.readdirSync(folder, { withFileTypes: true });
      const files = (folder) => list(folder).flatMap((entry) => (entry.isDirectory() ? files(path.join(folder, entry.name)) : [path.join(folder, entry.name)]));
      const modules = (folder) => list(folder).flatMap(({ name }) => (name.startsWith("@") ? list(path.join(folder, name)).map((one) => `${name}/${one.name}`) : [name]));
      const take = (where) => {
        const real = path.relative(process.cwd(), fs.realpathSync(where));
        const store = /^(.*node_modules\/\.pnpm\/[^/]+)\/node_modules\//.exec(real)?.[1];
        const one = store ?? real;
        if (found.has(one) || runs(one)) return;
        found.add(one);
        if (store) modules(`${store}/node_modules`).forEach((name) => take(`${store}/node_modules/${name}`));
      };
      const text = files(made).filter((file) => /\.[cm]?js$/.test(file)).map((file) => fs.readFileSync(file, "utf8")).join("\n");
      const names = [...text.matchAll(/(?:\b(?:require|import)\s*\(?|\bfrom)\s*["\x27](@[\w.-]+\/[\w.-]+|[\w.-]+)/g)].map(([, name]) => name);
      for (const name of new Set(names)) {
        const link = [`${folder}/node_modules/${name}`, `node_modules/${name}`].find((one) => fs.existsSync(one));
        if (name.startsWith(".") || link === undefined || runs(link)) continue;
        take(link);
        found.add(link);
      }
      console.log([...found].join("\n"));
    ' "$2" "$(made "$2" "$3")" | while read -r one; do
      [ -n "$one" ] || continue
      mkdir -p "/built/app/$(dirname "$one")"
      cp -a "$one" "/built/app/$one"
    done
    ;;
  started)
    # The file that the service is started by: a compiler puts it deeper where it compiles more than `src`.
    cd "${4:-/built/app}/$2"
    for end in '' .js .cjs .mjs /index.js; do
      if [ -f "$3$end" ]; then exit 0; fi
    done
    stem=${3%.js}
    made=$(find "${3%%/*}" -name node_modules -prune -o -type f -name "${stem##*/}.js" -print 2>/dev/null || true)
    # Of several, as of several applications, the one below `src`.
    if [ "$(echo "$made" | wc -l)" -gt 1 ]; then made=$(echo "$made" | grep /src/ || echo "$made"); fi
    if [ -z "$made" ] || [ "$(echo "$made" | wc -l)" -gt 1 ]; then
      echo "$2 is started by $3, which its build did not make; it made:" >&2
      find "${3%%/*}" -name node_modules -prune -o -type f -name '*.*js' -print 2>/dev/null | head -n 10 >&2
      exit 1
    fi
    echo "$2 is started by $3, and its build made $made: that is what starts; say it in the start script"
    mkdir -p "${3%/*}"
    if grep -qs '"type": *"module"' package.json; then echo "import '/app/$2/$made';"; else echo "require('/app/$2/$made');"; fi > "$stem.js"
    ;;
  files)
    cp -R "$(made "$2" "$3")/." /built/app
    find /built/app -name '*.map' -delete
    ;;
esac
chmod -R u=rwX,go=rX /built/app
SCRIPT

WORKDIR /app

# ── the doors ───────────────────────────────────────────────────────────────────────────────────────────────────────
# What an install reads, and nothing else: an edit to a source leaves this stage's content, and so every install, alone.
FROM base AS collect
WORKDIR /context
RUN --mount=type=bind,target=/context \
    mkdir /manifests && \
    find . -type f \( -name package.json -o -name .npmrc -o -name '.pnpmfile.*' -o -name pnpm-lock.yaml \
      -o -name pnpm-workspace.yaml -o -path './patches/*' -o -name '*.patch' -o -name '*.tgz' \) -exec cp --parents {} /manifests \;

FROM scratch AS manifests
COPY --from=collect /manifests /

# The same for the production install, which a named context can cut further.
FROM manifests AS production

FROM scratch AS sources
COPY . /

# The same without the service itself: all that it needs of the workspace.
FROM sources AS dependency-sources

# ── runtime: what every service runs on ─────────────────────────────────────────────────────────────────────────────
FROM ${NODE_IMAGE} AS runtime
{packages}{node-options}ENV NODE_ENV=production
WORKDIR /app
USER 1000:1000
