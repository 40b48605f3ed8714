#!/bin/sh
# Installs Debian packages that are missing: as root, or through sudo when that asks for no password.
set -eu

if ! command -v apt-get >/dev/null; then
    echo "install.sh: this is no Debian; please install: $*" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "install.sh: please run as root: apt-get install $*" >&2
        exit 1
    fi
    as_root='sudo -n'
fi
echo "installing $*" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
