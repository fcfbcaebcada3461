#!/bin/sh
# All tests. What runs for minutes on the lab (the agent's day, the contract's month) goes beside the others; what times
# something or owns ports goes alone.
set -u
cd "$(dirname "$0")/.." || exit 1
pytest='.venv/bin/python -m pytest -q'
alone='serial or root or live'
day=tests/lab/test_agent.py
month=tests/lab/test_contract_month.py
day_log=$(mktemp)
month_log=$(mktemp)

$pytest "$day" >"$day_log" 2>&1 </dev/null &
day_run=$!
$pytest "$month" >"$month_log" 2>&1 </dev/null &
month_run=$!
trap 'kill "$day_run" "$month_run" 2>/dev/null; rm -f "$day_log" "$month_log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

$pytest -m "$alone" --ignore "$day" --ignore "$month" </dev/null
first=$?
$pytest -n 2 -m "not ($alone)" </dev/null
second=$?
echo "linkwitness: waiting for the agent's run on the lab ($day)"
wait "$day_run"
third=$?
cat "$day_log"
echo "linkwitness: waiting for the contract's month on the lab ($month)"
wait "$month_run"
fourth=$?
cat "$month_log"
[ "$first" = 0 ] && [ "$second" = 0 ] && [ "$third" = 0 ] && [ "$fourth" = 0 ]
