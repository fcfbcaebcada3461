#!/bin/sh
# All tests. The agent's ten minutes on the lab go beside the others; what times something or owns ports goes alone.
set -u
cd "$(dirname "$0")/.." || exit 1
pytest='.venv/bin/python -m pytest -q'
alone='serial or root or live'
day=tests/lab/test_agent.py
log=$(mktemp)

$pytest "$day" >"$log" 2>&1 </dev/null &
beside=$!
trap 'kill "$beside" 2>/dev/null; rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

$pytest -m "$alone" --ignore "$day" </dev/null
first=$?
$pytest -n 2 -m "not ($alone)" </dev/null
second=$?
echo "linkwitness: waiting for the agent's run on the lab ($day)"
wait "$beside"
third=$?
cat "$log"
[ "$first" = 0 ] && [ "$second" = 0 ] && [ "$third" = 0 ]
