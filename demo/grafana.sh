#!/bin/sh
# Runs a Grafana with Statline in it, in the foreground: its own data directory, Statline's data source and dashboards
# provisioned, everyone an administrator, and nobody but this machine able to reach it. `make demo` starts Grafana this way.
set -eu

usage() {
    cat <<'USAGE'
usage: grafana.sh --plugins DIR --data DIR [--home DIR] [--port N] [--provisioning DIR] [--dashboards DIR]
       grafana.sh --find

  --plugins DIR       holds statline-stats-datasource/, as `make dist` leaves it in dist/
  --data DIR          Grafana's database and logs; made when missing
  --home DIR          a Grafana release or a built source tree: bin/grafana, conf/, public/
                      (default: $GRAFANA_HOME, else the home of the `grafana` on the PATH, else the image of
                      $GRAFANA_IMAGE in Docker)
  --port N            the port on 127.0.0.1; 0 lets the kernel choose (default: 3000)
  --provisioning DIR  (default: provisioning/ beside this script's directory)
  --dashboards DIR    (default: dashboards/ beside this script's directory)
  --find              tells which Grafana would be run, and fails when there is none

The data source takes its addresses from STATLINE_ADDRESS and STATLINE_POSTGRES_{HOST,DATABASE,USER,PASSWORD,SSLMODE};
provisioning/datasources/statline.yaml tells what they mean. Ready when GET /api/health answers 200.
USAGE
}

fail() {
    echo "grafana.sh: $1" >&2
    exit 2
}

image=${GRAFANA_IMAGE:-docker.io/grafana/grafana:12.4.0}
find_only=
repository=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
home=${GRAFANA_HOME:-}
plugins=
data=
port=3000
provisioning=$repository/provisioning
dashboards=$repository/dashboards

while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --find)
            find_only=yes
            shift
            continue
            ;;
        --home | --plugins | --data | --port | --provisioning | --dashboards)
            [ $# -ge 2 ] || fail "$1 needs a value"
            ;;
        *)
            usage >&2
            fail "unknown argument $1"
            ;;
    esac
    case $1 in
        --home) home=$2 ;;
        --plugins) plugins=$2 ;;
        --data) data=$2 ;;
        --port) port=$2 ;;
        --provisioning) provisioning=$2 ;;
        --dashboards) dashboards=$2 ;;
    esac
    shift 2
done

# Sets $binary and $home, or $in_docker; fails when there is no Grafana.
in_docker=
find_grafana() {
    if [ -n "$home" ]; then
        home=$(CDPATH='' cd -- "$home" && pwd)
        binary=$home/bin/grafana
        [ -x "$binary" ] || binary=$(command -v grafana) ||
            fail "neither $home/bin/grafana nor a grafana on the PATH is there"
    elif binary=$(command -v grafana); then
        binary=$(readlink -f -- "$binary")
        for candidate in "$(dirname -- "$(dirname -- "$binary")")" /usr/share/grafana; do
            if [ -f "$candidate/conf/defaults.ini" ]; then
                home=$candidate
                break
            fi
        done
        [ -n "$home" ] || fail "found $binary, but no conf/defaults.ini near it; pass --home"
    elif docker info >/dev/null 2>&1; then
        in_docker=yes
        return
    else
        fail "no Grafana: set GRAFANA_HOME, pass --home, put grafana on the PATH or start Docker"
    fi
    [ -f "$home/conf/defaults.ini" ] || fail "$home is no Grafana home: it has no conf/defaults.ini"
}

find_grafana
if [ -n "$find_only" ]; then
    echo "${in_docker:+$image in Docker}${home}"
    exit 0
fi
[ -n "$plugins" ] || fail "--plugins is missing; grafana.sh --help tells more"
[ -n "$data" ] || fail "--data is missing; grafana.sh --help tells more"

mkdir -p -- "$data"
data=$(CDPATH='' cd -- "$data" && pwd)
plugins=$(CDPATH='' cd -- "$plugins" && pwd)
[ -f "$plugins/statline-stats-datasource/plugin.json" ] ||
    echo "grafana.sh: no statline-stats-datasource/plugin.json in $plugins; Grafana starts without the plugin" >&2

export STATLINE_DASHBOARDS="$dashboards"

export GF_PATHS_DATA="$data"
export GF_PATHS_LOGS="$data/log"
export GF_PATHS_PLUGINS="$plugins"
export GF_PATHS_PROVISIONING="$provisioning"
export GF_DATABASE_TYPE=sqlite3
export GF_LOG_MODE=console

export GF_SERVER_PROTOCOL=http
export GF_SERVER_HTTP_ADDR=127.0.0.1
export GF_SERVER_HTTP_PORT="$port"
export GF_SERVER_DOMAIN=localhost

export GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS=statline-stats-datasource
export GF_PLUGINS_PREINSTALL_DISABLED=true
export GF_PLUGINS_PLUGIN_ADMIN_ENABLED=false
export GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED=true

# Safe because the address above is the loopback one.
export GF_AUTH_ANONYMOUS_ENABLED=true
export GF_AUTH_ANONYMOUS_ORG_ROLE=Admin
export GF_AUTH_DISABLE_LOGIN_FORM=true
export GF_AUTH_BASIC_ENABLED=false

# Nothing leaves the machine.
export GF_ANALYTICS_REPORTING_ENABLED=false
export GF_ANALYTICS_CHECK_FOR_UPDATES=false
export GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false
export GF_ANALYTICS_FEEDBACK_LINKS_ENABLED=false
export GF_NEWS_NEWS_FEED_ENABLED=false
export GF_SECURITY_DISABLE_GRAVATAR=true
export GF_SNAPSHOTS_EXTERNAL_ENABLED=false

if [ -z "$in_docker" ]; then
    exec "$binary" server --homepath "$home"
fi

# The image keeps its own paths; the host's network is used, so that 127.0.0.1 means the same inside.
export GF_PATHS_DATA=/var/lib/grafana
export GF_PATHS_LOGS=/var/lib/grafana/log
export GF_PATHS_PLUGINS=/var/lib/grafana/plugins
export GF_PATHS_PROVISIONING=/etc/grafana/provisioning
export STATLINE_DASHBOARDS=/etc/statline/dashboards
set --
for name in $(env | sed -n 's/^\(\(GF\|STATLINE\)_[A-Z0-9_]*\)=.*/\1/p'); do
    set -- "$@" --env "$name"
done
exec docker run --rm --network host "$@" \
    --volume "$plugins:/var/lib/grafana/plugins:ro" \
    --volume "$provisioning:/etc/grafana/provisioning:ro" \
    --volume "$dashboards:/etc/statline/dashboards:ro" \
    "$image"
