"""testssl.sh looks at the port for TLS, in a network of its own: it finds nothing below its best.

By default the sections that say most; SEMAIL_LONG=1: all of them.
"""

import json
import os
import subprocess
from collections import Counter

import pytest

import semailtest
from faultlab import LONG
from networklab import Holder, end_with_tests
from semailtest import await_true, tool
from tlslab import Server, openssl, signed_certificate

# Protocols, kinds of ciphers, forward secrecy, extensions and certificate, renegotiation, compression, downgrades.
SECTIONS = [] if LONG else ["-p", "-s", "-f", "-S", "-R", "-C", "-Z"]
# Of the scanner itself, not of what it looks at.
OF_THE_SCANNER = {"engine_problem", "service", "old_fart"}


@pytest.fixture
def network():
    assert os.geteuid() == 0, "a network of one's own is root's to make"
    holder = Holder()
    yield holder
    holder.close()


def scan(network, place, name, port, *options):
    """{finding: (severity, words)} of everything that testssl.sh looked at."""
    report = place / f"{port}.json"
    done = subprocess.run(
        [tool("nsenter"), "-t", str(network.pid), "-n", "-m", tool("testssl"), "--warnings", "off", "--color", "0", "--ip", "127.0.0.1", "--nodns", "none",
         "--jsonfile", report, *options, f"{name}:{port}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=800, cwd=place, preexec_fn=end_with_tests)
    assert report.exists(), done.stdout[-3000:]
    return {found["id"]: (found["severity"], found["finding"]) for found in json.loads(report.read_text()) if found["id"] not in OF_THE_SCANNER}


def faults(found):
    bad = {name: words for name, words in found.items() if words[0] not in ("OK", "INFO")}
    # Its client has nothing to say, and every other time is gone before the ticket of TLS 1.3 arrives, with which it would come again.
    # test_tls.py resumes with five clients.
    if bad.get("sessionresumption_ticket") == ("WARN", "check failed because of connect problem"):
        del bad["sessionresumption_ticket"]
    return bad


def test_nothing_below_the_best(network, tmp_path):
    with semailtest.Home(user="services") as home:
        server = Server(home, port=465, before_exec=network.enter)
        (tmp_path / "authority.pem").write_bytes(signed_certificate(server.keys, "default", "mail.semail.test"))
        found = scan(network, tmp_path, "mail.semail.test", 465, "--add-ca", tmp_path / "authority.pem", *SECTIONS)
    print(f"\n{len(found)} findings: {Counter(severity for severity, _ in found.values())}")
    assert not faults(found)
    # It has seen what it was to see.
    good = {name for name, (severity, _) in found.items() if severity == "OK"}
    assert good >= {"SSLv2", "SSLv3", "TLS1_2", "TLS1_3", "PFS", "cipherlist_NULL", "cipherlist_STRONG", "cert_chain_of_trust", "cert_trust",
                    "secure_renego", "secure_client_renego", "CRIME_TLS"}, found
    if LONG:
        assert good >= {"heartbleed", "CCS", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4"}, found


def test_the_scanner_finds_what_is_bad(network, tmp_path):
    """Another server, badly set up."""
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "5", "-subj", "/CN=bad.semail.test", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate")
    server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:4465", "-key", tmp_path / "key", "-cert", tmp_path / "certificate", "-quiet",
                               "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              preexec_fn=lambda: (network.enter(), end_with_tests()))
    try:
        listening = [tool("nsenter"), "-t", str(network.pid), "-n", tool("ss"), "-Hltn", "sport = :4465"]
        assert await_true(lambda: subprocess.run(listening, capture_output=True).stdout, 10)
        bad = faults(scan(network, tmp_path, "bad.semail.test", 4465, "-p"))
    finally:
        server.kill()
        server.wait()
        server.stdin.close()
    assert {"TLS1_1", "TLS1_2"} <= bad.keys(), bad
