#!/bin/sh
# Installs everything under a prefix, or removes what it installed there.
#
#   scripts/install.sh [--from DIR] PREFIX     from DIR's built files; without --from it builds a release first
#   scripts/install.sh --uninstall PREFIX
#
# DESTDIR is put before every path, as packagers want it. Settings lie in /etc/srv6 with the prefixes /usr and /usr/local, and
# in PREFIX/etc/srv6 elsewhere; they are never overwritten, and stay when the rest goes. Nothing is started.
set -eu
cd "$(dirname "$0")/.."

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

usage="want [--from DIR] PREFIX, or --uninstall PREFIX"
from="" prefix="" uninstall=""
while [ "$#" -gt 0 ]; do
  case "$1" in
  --from)
    [ "$#" -ge 2 ] || fail "--from wants a folder"
    from="$2"
    shift
    ;;
  --uninstall) uninstall=1 ;;
  -*) fail "unknown option $1; $usage" ;;
  *)
    [ -z "$prefix" ] || fail "two prefixes, $prefix and $1; $usage"
    prefix="$1"
    ;;
  esac
  shift
done
case "$prefix" in
/) prefix="" ;;
/*) prefix="${prefix%/}" ;;
"") fail "no prefix; $usage" ;;
*) fail "PREFIX $prefix: want an absolute path" ;;
esac
case "$prefix" in
/usr | /usr/local) etc=/etc/srv6 ;;
*) etc="$prefix/etc/srv6" ;;
esac
destdir="${DESTDIR:-}"
list="$prefix/share/nccl-net-srv6/installed"

if [ -n "$uninstall" ]; then
  [ -z "$from" ] || fail "--from goes with installing; $usage"
  [ -f "$destdir$list" ] || fail "$destdir$list is missing: nothing was installed there by this script"
  files="$(cat "$destdir$list")"
  for file in $files; do rm -f "$destdir$file"; done
  # And the folders that nobody else has anything in.
  for file in $files; do
    folder="${file%/*}"
    while [ -n "$folder" ] && [ "$folder" != "$prefix" ] && rmdir "$destdir$folder" 2>/dev/null; do
      folder="${folder%/*}"
    done
  done
  [ ! -d "$destdir$etc" ] || printf 'settings stay in %s\n' "$destdir$etc"
  exit 0
fi

if [ -z "$from" ]; then
  cargo build --release --locked -p nccl-net-srv6 -p srv6-shim -p srv6ctl -p srv6-agent
  from=target/release
fi
for file in libnccl_net_srv6.so libsrv6_shim.so srv6ctl srv6d; do
  [ -f "$from/$file" ] || fail "$from/$file is missing; build it by: cargo build --release --locked --workspace"
done

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# put MODE FILE PATH: by rename, so that a running program keeps the file that it has mapped.
put() {
  install -D -m "$1" "$2" "$destdir$3.new"
  mv -f "$destdir$3.new" "$destdir$3"
  printf '%s\n' "$3" >>"$scratch/installed"
}

put 755 "$from/srv6ctl" "$prefix/bin/srv6ctl"
put 755 "$from/srv6d" "$prefix/bin/srv6d"
# The names that NCCL and people look for; Cargo can't put a dash in one. In a folder of its own: a job chooses the plugin.
put 644 "$from/libnccl_net_srv6.so" "$prefix/lib/nccl-net-srv6/libnccl-net-srv6.so"
put 644 "$from/libsrv6_shim.so" "$prefix/lib/nccl-net-srv6/libsrv6-shim.so"

"$from/srv6ctl" man "$scratch/man" >/dev/null
for page in "$scratch"/man/*; do put 644 "$page" "$prefix/share/man/man1/${page##*/}"; done
"$from/srv6ctl" completions bash >"$scratch/bash"
"$from/srv6ctl" completions zsh >"$scratch/zsh"
"$from/srv6ctl" completions fish >"$scratch/fish"
put 644 "$scratch/bash" "$prefix/share/bash-completion/completions/srv6ctl"
# Debian's zsh looks for what packages bring elsewhere than for what the administrator brings.
if [ "$prefix" = /usr ]; then zsh=vendor-completions; else zsh=site-functions; fi
put 644 "$scratch/zsh" "$prefix/share/zsh/$zsh/_srv6ctl"
put 644 "$scratch/fish" "$prefix/share/fish/vendor_completions.d/srv6ctl.fish"

sed -e "s,/usr/bin/srv6d,$prefix/bin/srv6d,; s,/etc/srv6/,$etc/,; s,/usr/share/doc,$prefix/share/doc," \
  deploy/systemd/srv6d.service >"$scratch/srv6d.service"
put 644 "$scratch/srv6d.service" "$prefix/lib/systemd/system/srv6d.service"
put 644 deploy/systemd/sysusers.conf "$prefix/lib/sysusers.d/nccl-net-srv6.conf"
put 644 deploy/systemd/sysctl.conf "$prefix/share/doc/nccl-net-srv6/examples/90-srv6.conf"

put 644 LICENSE "$prefix/share/doc/nccl-net-srv6/LICENSE"
for file in README.md CHANGELOG.md docs/*.md; do put 644 "$file" "$prefix/share/doc/nccl-net-srv6/${file##*/}"; done
for file in examples/fabrics/*.json; do put 644 "$file" "$prefix/share/doc/nccl-net-srv6/examples/${file##*/}"; done

if [ ! -e "$destdir$etc/srv6d.toml" ]; then
  install -D -m 644 deploy/systemd/srv6d.toml "$destdir$etc/srv6d.toml"
fi
printf '%s\n' "$list" >>"$scratch/installed"
install -D -m 644 "$scratch/installed" "$destdir$list"
printf 'installed under %s\n' "$destdir$prefix"
