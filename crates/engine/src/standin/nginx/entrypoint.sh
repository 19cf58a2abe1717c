#!/bin/sh
# What a container of nginx does before anything else: it runs what lies in /docker-entrypoint.d, in the order of the names.
set -eu
case ${1:-} in
  nginx | nginx-debug)
    for file in /docker-entrypoint.d/*; do
      case $file in
        *.envsh) if [ -x "$file" ]; then . "$file"; fi ;;
        *.sh) if [ -x "$file" ]; then "$file"; fi ;;
      esac
    done
    ;;
esac
exec "$@"
