#!/usr/bin/env bash
# ./run_local.sh               installs into .venv (once) and runs the demo
# ./run_local.sh test          the tests
# ./run_local.sh --human ...   everything else goes to `python -m pipeline curate`
set -euo pipefail
cd "$(dirname "$0")"

install() { # install EXTRAS: anew only when setup.py or the extras change
  local stamp=".venv/installed-$1-$(cksum <setup.py | tr -d ' ')"
  [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
  [ -e "$stamp" ] && return
  echo "Installing into .venv (some minutes, once) ..." >&2
  .venv/bin/python -m pip install -qq --editable ".$2" >&2
  touch "$stamp"
}

case "${1:-demo}" in
  test)
    shift
    install test "[test,gcp]"
    .venv/bin/python -m ruff check .
    exec .venv/bin/python -m pytest -n logical --maxprocesses 4 "$@"
    ;;
  demo)
    install run ""
    exec .venv/bin/python -m pipeline demo
    ;;
  *)
    install run ""
    exec .venv/bin/python -m pipeline curate "$@"
    ;;
esac
