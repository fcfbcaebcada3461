#!/bin/sh
# Installs the Debian packages of tests/packages.txt that are missing. Their services are kept from starting.
# Without root it only says what is missing; the tests that need it are then reported as not run.
set -eu
list=$(dirname "$0")/packages.txt
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d} # says whether services may start
mark='linkwitness tests: no service starts'

PATH=$PATH:/usr/sbin:/sbin
missing=$(grep -v '^#' "$list" | while read -r _ package tool; do
    command -v "$tool" >/dev/null || echo "$package"
done | sort -u | tr '\n' ' ')
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "linkwitness: not installed: $missing(tests that need them are reported as not run)" >&2
    exit 0
fi

restore() {
    if grep -qs "$mark" "$policy"; then rm -f "$policy"; fi
    if [ -e "$policy.linkwitness" ]; then mv "$policy.linkwitness" "$policy"; fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
restore # what a killed run left
if [ -e "$policy" ]; then mv "$policy" "$policy.linkwitness"; fi
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
install() {
    # shellcheck disable=SC2086 # one word a package
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 $missing </dev/null >&2
}
echo "linkwitness: installing $missing" >&2
install || { apt-get update -qq -o DPkg::Lock::Timeout=120 </dev/null >&2 && install; }
