#!/bin/sh
# usage: restore.sh
# Copies into each cache mount at /mounts what an image holds for it at /kept.
set -eu
for mount in /mounts/*; do
  kept=/kept/${mount##*/}
  if [ -d "$kept" ]; then cp -a "$kept/." "$mount"; fi
done
