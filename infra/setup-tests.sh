#!/usr/bin/env bash
# Has ready what the tests need beside Python. Where it may, it installs with apt; otherwise it says what is
# missing and how to get it.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

has() { command -v "$1" >/dev/null 2>&1; }
engine_answers() { has docker && docker info >/dev/null 2>&1; }

# What is missing, as Debian's package names.
missing() {
    engine_answers || { has dockerd && has docker; } || echo docker.io
    has mmdebstrap || echo mmdebstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
    has ssh-keygen || echo openssh-client
    has sshd || echo openssh-server
    has iptables || echo iptables
    has chromium || echo chromium
    has ps || echo procps
    has git || echo git
    has promtool || echo prometheus
    has haproxy || echo haproxy
    has caddy || echo caddy
    has pgbouncer || echo pgbouncer
    has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql
    has busybox || echo busybox-static
    has docker-registry || echo docker-registry
    compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || echo libfaketime
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

may_install() { has apt-get && { [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }; }

install_missing() {
    local packages
    packages=$(missing)
    packages=${packages//$'\n'/ }
    if [ -z "$packages" ]; then
        return
    fi
    if ! may_install; then
        echo "The tests need more than is here, and only root may install it. Please run:" >&2
        echo "  sudo apt-get install $packages" >&2
        echo "(or what your system calls them), then make test again." >&2
        return 1
    fi
    echo "setup-tests: installing $packages"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $packages >/dev/null
}

# Root starts an engine for the time of the tests; anybody else has to be let in.
check_engine() {
    if ! engine_answers && [ "$(id -u)" != 0 ]; then
        echo "No Docker engine lets $(id -un) in. Please start one and add yourself to its group:" >&2
        echo "  sudo systemctl start docker && sudo usermod -aG docker $(id -un)" >&2
        echo "then log in anew and make test again." >&2
        return 1
    fi
}

install_missing
check_engine
.venv/bin/python -m fraisier.orchestrator.launcher nats-server temporal nats docker-compose
.venv/bin/python -m tests.support.testbed
echo "setup-tests: done"
