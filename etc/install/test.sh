# install.sh --test: everything the tests need, then all tests. The last line is "N passed, M failed".
# Read by install.sh.
# shellcheck shell=bash disable=SC2154

# shellcheck source=etc/install/courier.sh
. "$root/etc/install/courier.sh"

test_packages=(runit s6 iproute2 python3 python3-pytest python3-pytest-timeout python3-pytest-xdist swaks msmtp curl ucspi-tcp-ipv6 netcat-openbsd mutt
    strace gdb e2fsprogs xfsprogs tini man-db groff mandoc shellcheck openssl gnutls-bin testssl.sh default-jdk-headless
    slapd ldap-utils bind9 bind9-dnsutils opendkim python3-dkim python3-dnspython python3-nacl docker.io mmdebstrap nftables openssh-server
    openssh-client systemd-sysv runit-run podman netavark aardvark-dns runc qemu-system-x86 apache2 sqwebmail courier-authdaemon courier-authlib-pipe courier-imap
    isync chromium chromium-driver python3-selenium fonts-dejavu-core)
fuzz_seconds=20
passed=0 failed=0 unhappy=()

run_tests() {
    scratch_directory
    # Of whoever runs the tests, nothing that changes what they see.
    unset SEMAIL_HOME SEMAIL_BIN
    export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 SWIFT_BACKTRACE=enable=no
    # Or apt would fetch one with SqWebMail.
    step "A mail server of Debian's" stand_in_for_mta
    step 'Packages' packages "${build_packages[@]}" "${test_packages[@]}"
    step 'Programs: build' build
    find_swift
    # Swift's own compilers, for fuzzers and the small C programs of tests; Debian's Python, whatever else PATH has.
    PATH=/usr/bin:$PATH:$(dirname "$swift")
    step 'Unit tests (swift test)' unit_tests
    step 'Tests of the programs from outside (pytest)' outside_tests
    step "Fuzzers, $fuzz_seconds s each" alone fuzz as_builder "$root/Tests/Fuzz/run" "$fuzz_seconds"
    step 'Benchmark, one small round' alone benchmark "$root/Tests/Benchmarks/run" --quick
    say ''
    [ ${#unhappy[@]} = 0 ] || printf '%s\n' "${unhappy[@]}"
    say "$passed passed, $failed failed"
    [ "$failed" = 0 ] || exit 111
}

unit_tests() {
    local code=0
    # Shown are the failures, not the list of what passed.
    set -o pipefail
    run_swift test --package-path "$root" --parallel --xunit-output "$scratch/swift/unit.xml" 2>&1 | sed -u '/^[◇✔]/d' || code=$?
    set +o pipefail
    count 'swift test' $code "$scratch"/swift/unit*.xml
}

outside_tests() {
    local code=0
    # Two files at a time: most of a test is waiting.
    (cd "$root" && /usr/bin/python3 -m pytest -p no:cacheprovider -q -ra --timeout=900 --durations=10 -n 2 --dist loadfile --junitxml="$scratch/outside.xml" Tests/Outside) || code=$?
    count pytest $code "$scratch/outside.xml"
}

# One command, which is one test.
alone() {
    local name=$1 code=0
    shift
    "$@" || code=$?
    if [ $code = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        unhappy+=("FAILED $name: $* ended with $code")
    fi
}

# count RUNNER CODE FILE...: adds up JUnit's XML. What was skipped is said; a runner that failed and names no test has failed itself.
count() {
    local runner=$1 code=$2 kind text good=0 bad=0
    shift 2
    while IFS=$'\t' read -r kind text; do
        case $kind in
        passed) good=$((good + 1)) ;;
        failed) bad=$((bad + 1)) && unhappy+=("FAILED $text") ;;
        skipped) unhappy+=("SKIPPED $text") ;;
        esac
    done < <(/usr/bin/python3 - "$@" << 'END'
import os, sys
import xml.etree.ElementTree as tree
for path in filter(os.path.exists, sys.argv[1:]):
    for case in tree.parse(path).iter("testcase"):
        states = {child.tag: child for child in case}
        kind = "failed" if states.keys() & {"failure", "error"} else "skipped" if "skipped" in states else "passed"
        name = f"{case.get('classname')} {case.get('name')}"
        if kind == "skipped":
            name += ": " + (states["skipped"].get("message") or "no reason given")
        print(kind, " ".join(name.split()), sep="\t")
END
    )
    if [ "$code" != 0 ] && [ $bad = 0 ]; then
        bad=1
        unhappy+=("FAILED $runner ended with $code")
    elif [ "$good" = 0 ] && [ "$bad" = 0 ]; then
        bad=1
        unhappy+=("FAILED $runner ran no tests")
    fi
    passed=$((passed + good)) failed=$((failed + bad))
    say "   $runner: $good passed, $bad failed"
}
