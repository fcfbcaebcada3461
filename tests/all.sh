#!/bin/sh
# All tests. What mostly waits on the lab (the agent's day, the contract's month, traced paths, clocks that are set) goes
# beside the others; what times something or owns ports goes alone. What fails beside others is run once more when
# nothing else runs: on a host whose cores are shared, a late process is no verdict; what fails alone as well is one.
# Both runs are shown.
set -u
cd "$(dirname "$0")/.." || exit 1
pytest='.venv/bin/python -m pytest -q'
alone='serial or root or live'
day=tests/lab/test_agent.py
month=tests/lab/test_contract_month.py
paths='tests/lab/test_path.py tests/live/test_against_traceroute.py tests/lab/test_clock_steps.py
tests/lab/test_agent_clock.py tests/lab/test_canary.py'
work=$(mktemp -d)
running=

# beside NAME FILES: in the background, its output and what failed in $work
beside() {
    # shellcheck disable=SC2086 # one word a file
    $pytest -o cache_dir="$work/$1.cache" $2 >"$work/$1.log" 2>&1 </dev/null &
    running="$running $!"
}
trap 'kill $running 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# again NAME ARGUMENTS: the tests of that run that failed
again() {
    echo "linkwitness: once more, alone: what failed of $1"
    name=$1
    shift
    $pytest -o cache_dir="$work/$name.cache" --last-failed --last-failed-no-failures none "$@" </dev/null
}

beside day "$day"
beside month "$month"
beside paths "$paths"
# shellcheck disable=SC2086 # as above
set -- $(for file in $day $month $paths; do echo "--ignore=$file"; done)
$pytest -o cache_dir="$work/alone.cache" -m "$alone" "$@" </dev/null
first=$?
$pytest -o cache_dir="$work/unit.cache" -n 2 -m "not ($alone)" </dev/null
second=$?
failed=0
for name in day month paths; do
    echo "linkwitness: waiting for the run beside the others: $name"
    # shellcheck disable=SC2086 # process ids
    set -- $running
    process=$1
    shift
    running=$*
    wait "$process"
    status=$?
    cat "$work/$name.log"
    case $name in day) files=$day ;; month) files=$month ;; *) files=$paths ;; esac
    # shellcheck disable=SC2086 # as above
    if [ "$status" = 1 ]; then again "$name" $files; status=$?; fi
    [ "$status" = 0 ] || failed=1
done
# shellcheck disable=SC2086 # as above
set -- $(for file in $day $month $paths; do echo "--ignore=$file"; done)
if [ "$first" = 1 ]; then again alone -m "$alone" "$@"; first=$?; fi
if [ "$second" = 1 ]; then again unit -m "not ($alone)"; second=$?; fi
[ "$first" = 0 ] && [ "$second" = 0 ] && [ "$failed" = 0 ]
