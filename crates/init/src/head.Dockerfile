# Every service of this monorepo: `docker buildx build --target <service> -f {file} .`
# Written by `cargo xtask init`, yours from now on. `init --refresh` shows what a newer library would write.
#
# The stages `manifests`, `production` and `sources` are doors: a named build context of the same name replaces the
# stage (`--build-context sources=DIR`), so that a service can be given its own closure and nothing else. Without
# that, they cut what they need out of the repository themselves.
ARG NODE_IMAGE={node}

# ── base: Node, pnpm, and the two scripts that every service's stages call ──────────────────────────────────────────
FROM ${NODE_IMAGE} AS base
# Equal to `packageManager` in package.json.
ARG PNPM_VERSION={pnpm}
ENV CI=true NODE_COMPILE_CACHE=/opt/compile-cache
# Asking for the version fills the compile cache, which saves every later call of pnpm its start-up.
RUN --mount=type=cache,id=npm,target=/root/.npm \
    --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
    npm install --global --no-audit --no-fund --no-update-notifier --fetch-timeout=15000 \
      "pnpm@${PNPM_VERSION}" && \
    pnpm --version

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/install-closure
#!/bin/sh
# usage: install-closure production|everything PACKAGE
# Installs into the current folder what PACKAGE needs, as the lock mounted at /manifests says. `production` leaves
# node_modules folders and nothing else; `everything` adds what a build needs to them.
set -eu
state=/var/lib/install-state
if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi
cp -R /manifests/. .
# The store is a mount of its own, which no hard link can leave: copy at once. Installs that run at once have one each:
# pnpm names unfinished files after its process id, which is the same in every container, so that two that fetch one
# package into one store can leave half of it. A stalled download is given up and tried again after 15 seconds instead
# of 60. Without `--fail-if-no-match` an install of nothing succeeds, and is cached.
install() {
  pnpm install --frozen-lockfile --prefer-offline --store-dir /pnpm/store --config.package-import-method=copy \
    --fetch-timeout=15000 --reporter=append-only --fail-if-no-match --filter "$1..." $2
}
case $1 in
  production)
    install "$2" --prod
    # pnpm's own records hold this run's time: they would make equal installs differ. A later `everything` needs them.
    mkdir -p $state/node_modules/.pnpm
    for record in node_modules/.modules.yaml node_modules/.pnpm/lock.yaml; do
      if [ -e $record ]; then mv $record $state/$record; fi
    done
    rm -f node_modules/.pnpm-workspace-state*.json
    find . -name node_modules -prune -o ! -type d -exec rm {} +
    find . -type d -empty -delete
    ;;
  everything)
    if [ -d $state ]; then cp -R $state/. .; fi
    install "$2" ""
    ;;
esac
SCRIPT

COPY --chmod=755 <<'SCRIPT' /usr/local/bin/build-closure
#!/bin/sh
# usage: build-closure PACKAGE
# Runs the `build` scripts of PACKAGE and of the packages it needs on the sources mounted at /sources, over an installed closure,
# and leaves in /out all of them but what an install makes.
set -eu
cp -R /sources/. .
pnpm --config.verify-deps-before-run=false --recursive --filter "$1..." --if-present run build
mkdir -p /out
(cd /sources && find . -mindepth 2 -name package.json -not -path '*/node_modules/*') | while read -r manifest; do
  tar -cf - --exclude=node_modules "${manifest%/package.json}" | tar -xf - -C /out
done
chmod -R u=rwX,go=rX /out
SCRIPT

WORKDIR /app

# ── the doors ───────────────────────────────────────────────────────────────────────────────────────────────────────
# What an install reads, and nothing else: an edit to a source leaves this stage's content, and so every install, alone.
FROM base AS collect
WORKDIR /context
RUN --mount=type=bind,target=/context \
    mkdir /manifests && \
    find . -type f \( -name package.json -o -name .npmrc -o -name '.pnpmfile.*' -o -name pnpm-lock.yaml \
      -o -name pnpm-workspace.yaml -o -path './patches/*' \) -exec cp --parents {} /manifests \;

FROM scratch AS manifests
COPY --from=collect /manifests /

# The same for the production install, which a named context can cut further.
FROM manifests AS production

FROM scratch AS sources
COPY . /

# ── runtime: what every service runs on ─────────────────────────────────────────────────────────────────────────────
FROM ${NODE_IMAGE} AS runtime
ENV NODE_ENV=production
WORKDIR /app
USER 1000:1000
