#!/bin/sh
# A stranger's path, timed: a clone of this repository, a small pnpm workspace beside it, and the README's lines in it, unchanged. Nothing is
# on the path but Rust, git and the system's own programs; home, caches and engine are new.
#
#   bench/stranger.sh          with the packages that cargo has downloaded already
#   bench/stranger.sh --cold   without them
set -eu

here=$(cd "$(dirname "$0")/.." && pwd -P)
place=$(mktemp -d)
mkdir "$place/home" "$place/bin"
for program in cargo rustc git; do ln -s "$(command -v $program)" "$place/bin/"; done
cargo_home=${CARGO_HOME:-$HOME/.cargo}
test "${1:-}" != --cold || cargo_home=$place/cargo

alone() {
    env -i HOME="$place/home" PATH="$place/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" CARGO_HOME="$cargo_home" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" \
        XTASK_CACHE_DIR="$place/cache" XTASK_ENGINE_DATA="$place/engine" ${CARGO_HTTP_CAINFO:+CARGO_HTTP_CAINFO="$CARGO_HTTP_CAINFO"} \
        ${https_proxy:+https_proxy="$https_proxy"} ${SSL_CERT_FILE:+SSL_CERT_FILE="$SSL_CERT_FILE"} \
        ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"} NPM_CONFIG_USERCONFIG="${NPM_CONFIG_USERCONFIG:-$HOME/.npmrc}" "$@"
}
trap 'cd "$place/shop" && alone cargo xtask engine reset > /dev/null 2>&1; rm -rf "$place"' EXIT

git clone --quiet "$here" "$place/monoship"
mkdir -p "$place/shop/apps/api" && cd "$place/shop"
git init --quiet
echo '{"name": "shop", "private": true, "packageManager": "pnpm@10.34.9"}' > package.json
printf 'packages:\n  - apps/*\n' > pnpm-workspace.yaml
printf "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n\n  apps/api: {}\n" > pnpm-lock.yaml
echo '{"name": "@shop/api", "scripts": {"start": "node main.js"}}' > apps/api/package.json
echo "console.log('up');" > apps/api/main.js

began=$(date +%s)
sed -n '/^## In your own repository/,/^## Beside/p' "$place/monoship/README.md" | sed -n '/^```sh$/,/^```$/p' | sed '1d;$d' > "$place/lines"
while read -r line; do
    before=$(date +%s)
    alone sh -c "$line" > "$place/said" 2>&1 < /dev/null || { cat "$place/said"; echo "failed: $line"; exit 1; }
    echo "$(($(date +%s) - before)) s  $line"
done < "$place/lines"
echo "$(($(date +%s) - began)) s  all of it"
tail -3 "$place/said"
