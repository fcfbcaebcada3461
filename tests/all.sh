#!/bin/sh
# All tests. What runs for minutes on the lab (the agent's day, the contract's month) goes beside the others; what times
# something or owns ports goes alone. What fails beside others is run once more when nothing else runs: on a host whose
# cores are shared, a late process is no verdict; what fails alone as well is one. Both runs are in the output.
set -u
cd "$(dirname "$0")/.." || exit 1
pytest='.venv/bin/python -m pytest -q'
alone='serial or root or live'
day=tests/lab/test_agent.py
month=tests/lab/test_contract_month.py
day_log=$(mktemp)
month_log=$(mktemp)
first_failed=$(mktemp -d)
second_failed=$(mktemp -d)

$pytest "$day" >"$day_log" 2>&1 </dev/null &
day_run=$!
$pytest "$month" >"$month_log" 2>&1 </dev/null &
month_run=$!
trap 'kill "$day_run" "$month_run" 2>/dev/null; rm -rf "$day_log" "$month_log" "$first_failed" "$second_failed"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# again CACHE EXPRESSION: the tests that failed, by the cache of their run
again() {
    echo "linkwitness: once more, alone: the tests that failed beside others"
    $pytest -o cache_dir="$1" --last-failed --last-failed-no-failures none -m "$2" \
        --ignore "$day" --ignore "$month" </dev/null
}

$pytest -o cache_dir="$first_failed" -m "$alone" --ignore "$day" --ignore "$month" </dev/null
first=$?
$pytest -o cache_dir="$second_failed" -n 2 -m "not ($alone)" </dev/null
second=$?
echo "linkwitness: waiting for the agent's run on the lab ($day)"
wait "$day_run"
third=$?
cat "$day_log"
echo "linkwitness: waiting for the contract's month on the lab ($month)"
wait "$month_run"
fourth=$?
cat "$month_log"
if [ "$first" = 1 ]; then again "$first_failed" "$alone"; first=$?; fi
if [ "$second" = 1 ]; then again "$second_failed" "not ($alone)"; second=$?; fi
[ "$first" = 0 ] && [ "$second" = 0 ] && [ "$third" = 0 ] && [ "$fourth" = 0 ]
