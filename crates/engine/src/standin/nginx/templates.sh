#!/bin/sh
# Writes what lies in the templates' folder into the settings', with the environment's variables filled in. Others, nginx's own, stay.
set -eu
from=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
into=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
if [ ! -d "$from" ]; then exit 0; fi
known=$(awk -v wanted="${NGINX_ENVSUBST_FILTER:-}" \
  'BEGIN { for (name in ENVIRON) if (name ~ wanted && name ~ /^[A-Za-z_][A-Za-z0-9_]*$/) printf "${%s} ", name }')
find "$from" -follow -type f -name "*$suffix" | while read -r template; do
  made=$into/${template#"$from/"}
  made=${made%"$suffix"}
  mkdir -p "${made%/*}"
  envsubst "$known" < "$template" > "$made"
done
