#!/bin/sh
# usage: keep.sh
# Leaves at /new what the cache mounts at /mounts have and an image at /before has not: every file of another name, size or time, and
# all folders, which have owners and modes.
set -eu
export LC_ALL=C
mkdir -p /new /before /lists
list() { (cd "$1" && find . ! -type d -exec stat -c '%s %Y %n' {} + | sort); }
list /before > /lists/before
list /mounts > /lists/mounts
cd /mounts
(find . -type d; comm -13 /lists/before /lists/mounts | cut -d ' ' -f 3-) > /lists/new
tar -cf - --no-recursion -T /lists/new | tar -xf - -C /new
