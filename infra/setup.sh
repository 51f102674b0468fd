#!/bin/sh
# Makes .venv from requirements.lock: with uv where it is found, with venv and pip where it is not.
# PYTHON picks the interpreter; without it the first fitting one of the usual names is taken.
set -eu

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if fits "$name"; then
            command -v "$name"
            return
        fi
    done
    echo "Fraisier needs Python 3.10 to 3.13, and ${PYTHON:-no python3 here} is none of them." >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)," >&2
    echo "or name one: make setup PYTHON=/path/to/python3.12" >&2
    return 1
}

with_uv() {
    echo "setup: $("$python" --version), with uv"
    uv venv --quiet --allow-existing --python "$python" .venv
    uv pip install --quiet --python .venv/bin/python --require-hashes --requirement requirements.lock
    uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
}

with_pip() {
    echo "setup: $("$python" --version), with pip (a minute or two; uv would be faster)"
    if ! "$python" -m venv .venv; then
        echo "$python cannot make a venv. On Debian and Ubuntu: apt-get install python3-venv" >&2
        return 1
    fi
    .venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
    .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
}

cd "$(dirname "$0")/.."
python=$(find_python)
if command -v uv >/dev/null 2>&1; then with_uv; else with_pip; fi
.venv/bin/python -c 'import fraisier.nats, fraisier.orchestrator, fraisier.providers, fraisier.workflows'
echo "setup: done in .venv"
