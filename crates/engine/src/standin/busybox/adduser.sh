#!/bin/sh
# usage: adduser [-DHS] [-u NUMBER] [-G GROUP] [-h HOME] [-s SHELL] [-g NAME] [-k SKELETON] USER [GROUP]
#        addgroup [-S] [-g NUMBER] GROUP, addgroup USER GROUP
# As busybox's own, which the distribution builds without: it has these commands from another package.
set -eu
free() { # FROM FILE: the first number from FROM on that FILE does not have
  number=$1
  while cut -d : -f 3 "$2" | grep -qx "$number"; do number=$((number + 1)); done
  echo "$number"
}
join() { # USER GROUP
  if ! grep -q "^$2:" /etc/group; then echo "${0##*/}: unknown group $2" >&2; exit 1; fi
  awk -F : -v user="$1" -v group="$2" 'BEGIN { OFS = ":" } $1 == group { $4 = $4 == "" ? user : $4 "," user } { print }' /etc/group > /etc/group.new
  cat /etc/group.new > /etc/group
  rm /etc/group.new
}
first=1000 number='' group='' home='' shell=/bin/sh gecos='' makes_home=yes
while getopts 'DHSu:G:h:s:g:k:' option; do
  case $option in
    H) makes_home=no ;;
    S) first=100 shell=/bin/false makes_home=no ;;
    u) number=$OPTARG ;;
    G) group=$OPTARG ;;
    h) home=$OPTARG makes_home=yes ;;
    s) shell=$OPTARG ;;
    g) gecos=$OPTARG ;;
    *) ;;
  esac
done
shift $((OPTIND - 1))
name=$1
if [ $# -gt 1 ]; then
  join "$1" "$2"
elif [ "${0##*/}" = addgroup ]; then
  if grep -q "^$name:" /etc/group; then echo "addgroup: group '$name' in use" >&2; exit 1; fi
  echo "$name:x:${gecos:-$(free "$first" /etc/group)}:" >> /etc/group
else
  if grep -q "^$name:" /etc/passwd; then echo "adduser: user '$name' in use" >&2; exit 1; fi
  number=${number:-$(free "$first" /etc/passwd)}
  home=${home:-/home/$name}
  if [ -z "$group" ]; then
    group=$name
    echo "$name:x:$number:" >> /etc/group
  fi
  gid=$(awk -F : -v group="$group" '$1 == group { print $3 }' /etc/group)
  echo "$name:x:$number:${gid:?"unknown group $group"}:$gecos:$home:$shell" >> /etc/passwd
  if [ "$makes_home" = yes ]; then
    mkdir -p "$home"
    chown "$number:$gid" "$home"
  fi
fi
