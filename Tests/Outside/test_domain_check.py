"""domain-check at a real named: what is right, wrong, missing and not to be told, in a network of its own; and what it may do."""

import ctypes
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections import namedtuple

import pytest

import semailtest
from networklab import Network, end_with_tests

HOST = "mail.house.test"
KEY = "v=DKIM1; k=rsa; p=" + "MIIB" * 98
OTHER_KEY = "v=DKIM1; k=ed25519; p=E0LmNpGUxaJIQXoVhnAY26AEh9CiEaVOZ3Cp0p+bGuw="
Line = namedtuple("Line", "kind state name wanted found")


def strings(text):
    return "TXT " + " ".join(f'"{text[place:place + 255]}"' for place in range(0, len(text), 255))


@pytest.fixture(scope="module")
def network():
    with Network() as network:
        network.client = network.host("client.test", 2)
        network.names.address(HOST, "192.0.2.1", "2001:db8::1")
        network.names.address("mail.elsewhere.test", "192.0.2.2")
        # Somebody who says he knows about broken.test, and is not there; and one who says nothing.
        network.names.set("broken.test", "NS ns.broken.test.")
        network.names.set("ns.broken.test", "A 198.51.100.2")
        yield network


def see(network, resolver):
    """For a process before its exec: it is on the client's host, with a resolver of its own if there is one to see."""
    network.client.enter()
    if resolver:
        assert ctypes.CDLL(None).unshare(0x20000) == 0
        subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)
    end_with_tests()


class Check:
    def __init__(self, code, output, log, seconds):
        self.code, self.log, self.seconds = code, log, seconds
        self.lines = [Line(*line.split("\t")) for line in output.splitlines()]

    def __getitem__(self, kind):
        found = [line for line in self.lines if line.kind == kind]
        return found[0] if kind != "dkim" else found

    def __repr__(self):
        return f"exit {self.code} after {self.seconds:.1f} s\n" + "\n".join(map(str, self.lines)) + f"\n{self.log}"


def check(network, domain, keys="", host=HOST, user=semailtest.PLAIN_USER, code=None, resolver=None, arguments=()):
    program = semailtest._build_for(user) / "domain-check"
    semailtest.program("domain-check")

    def prepare():
        see(network, resolver)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)

    start = time.monotonic()
    done = subprocess.run([program, *arguments, host, domain], input=keys, capture_output=True, text=True, timeout=30, preexec_fn=prepare,
                          env={"SWIFT_BACKTRACE": "enable=no"})
    result = Check(done.returncode, done.stdout, done.stderr, time.monotonic() - start)
    assert done.returncode == code, result
    return result


def publish(network, domain, *records, dmarc=("TXT \"v=DMARC1; p=none\"",), keys=(), **more):
    network.names.set(domain, *records)
    network.names.set(f"_dmarc.{domain}", *dmarc)
    for selector, text in keys:
        network.names.set(f"{selector}._domainkey.{domain}", text)
    network.names.publish()


def wanted(domain, *keys):
    return "".join(f"{selector}._domainkey.{domain}\t{text}\n" for selector, text in keys)


# -- what is right --------------------------------------------------------------------

def test_all_is_well(network):
    keys = [("a", KEY), ("b", OTHER_KEY)]
    publish(network, "well.test", f"MX 10 {HOST}.", 'TXT "v=spf1 mx -all"', 'TXT "something else"', keys=[(name, strings(text)) for name, text in keys])
    result = check(network, "well.test", wanted("well.test", *keys), code=0)
    assert result.lines == [
        Line("mx", "ok", "well.test", f"10 {HOST}", f"10 {HOST}"), Line("spf", "ok", "well.test", "v=spf1 mx -all", "v=spf1 mx -all"),
        Line("dkim", "ok", "a._domainkey.well.test", KEY, KEY), Line("dkim", "ok", "b._domainkey.well.test", OTHER_KEY, OTHER_KEY),
        Line("dmarc", "ok", "_dmarc.well.test", "v=DMARC1; p=quarantine", "v=DMARC1; p=none")]
    assert result.log == "" and result.seconds < 2
    # As people write names.
    assert check(network, "WELL.Test.", host=HOST.upper() + ".", code=0)["mx"].state == "ok"


def test_nothing_is_there(network):
    network.names.publish()
    result = check(network, "nobody.test", wanted("nobody.test", ("a", KEY)), code=100)
    assert [line.state for line in result.lines] == ["missing"] * 4 and {line.found for line in result.lines} == {""}


def test_names_in_other_letters(network):
    publish(network, "xn--brse-5qa.test", f"MX 10 {HOST}.", 'TXT "v=spf1 mx -all"')
    result = check(network, "Börse.test", code=0)
    assert [line.state for line in result.lines] == ["ok"] * 3 and result["mx"].name == "xn--brse-5qa.test"


@pytest.mark.parametrize("records, state, found", [
    ([f"MX 0 {HOST}."], "ok", f"0 {HOST}"),
    ([f"MX 10 {HOST}.", "MX 20 mail.elsewhere.test."], "ok", f"10 {HOST}, 20 mail.elsewhere.test"),
    ([f"MX 10 {HOST}.", "MX 10 mail.elsewhere.test."], "ok", f"10 mail.elsewhere.test, 10 {HOST}"),
    ([f"MX 20 {HOST}.", "MX 10 mail.elsewhere.test."], "wrong", f"10 mail.elsewhere.test, 20 {HOST}"),
    (["MX 10 mail.elsewhere.test."], "wrong", "10 mail.elsewhere.test"),
    ([f"MX 10 x.{HOST}."], "wrong", f"10 x.{HOST}"),
    (["MX 0 ."], "wrong", "0 ."),
    # The host's own address, and no word that mail shall go there.
    (["A 192.0.2.1"], "missing", ""),
    (["TXT x"], "missing", ""),
])
def test_mx(network, records, state, found):
    publish(network, "mx.test", *records)
    result = check(network, "mx.test", code={"ok": 0}.get(state, 100))
    assert (result["mx"].state, result["mx"].found) == (state, ", ".join(sorted(found.split(", "), key=lambda text: (int(text.split()[0]), text))) if ", " in found else found)


SPF = [
    ("v=spf1 mx -all", "ok"), ("V=SPF1 MX ~ALL", "ok"), ("v=spf1 +mx ?all", "ok"), ("v=spf1 mx:spf.test -all", "ok"), ("v=spf1 mx/24 -all", "ok"),
    (f"v=spf1 a:{HOST} -all", "ok"), (f"v=spf1 a:{HOST}/32//128 -all", "ok"), ("v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all", "ok"),
    ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", "ok"), ("v=spf1 include:_spf.elsewhere.test mx -all", "ok"), ("v=spf1 +all", "ok"),
    ("v=spf1  mx   -all", "ok"), ("v=spf1 mx redirect=elsewhere.test", "ok"), ("v=spf1 ip4:198.51.100.0/24 mx -all", "ok"),
    ("v=spf1 -all", "wrong"), ("v=spf1", "wrong"), ("v=spf1 a -all", "wrong"), ("v=spf1 a:mail.elsewhere.test -all", "wrong"), ("v=spf1 -mx +all", "wrong"),
    ("v=spf1 -all mx", "wrong"), ("v=spf1 ip4:192.0.2.1 -all", "wrong"), ("v=spf1 ip6:2001:db8::1 -all", "wrong"), ("v=spf1 ip4:192.0.2.2 ip6:2001:db8::1 -all", "wrong"),
    ("v=spf1 include:_spf.elsewhere.test -all", "wrong"), ("v=spf1 redirect=_spf.elsewhere.test", "wrong"), ("v=spf1 ip4:192.0.2.0/33 ip6:::/129 -all", "wrong"),
    ("v=spf1 ip4:nonsense ip6: ip4:1.2.3.4/ -all", "wrong"), ("v=spf1 ~ip4:192.0.2.0/24 +all", "wrong"), ("v=spf1 mx:elsewhere.test -all", "wrong"),
    ("v=spf10 mx -all", "missing"), ("spf1 mx", "missing"), ("", "missing"),
]


@pytest.mark.parametrize("text, state", SPF)
def test_spf(network, text, state):
    publish(network, "spf.test", f"MX 10 {HOST}.", f'TXT "{text}"')
    result = check(network, "spf.test", code=0)["spf"]
    assert (result.state, result.found) == (state, text if state != "missing" else "")


def test_spf_where_mail_goes_elsewhere(network):
    """mx lets whoever is the MX send, and that is not this host."""
    publish(network, "moving.test", "MX 10 mail.elsewhere.test.", 'TXT "v=spf1 mx -all"')
    assert check(network, "moving.test", code=100)["spf"].state == "wrong"
    publish(network, "moving.test", "MX 10 mail.elsewhere.test.", f"MX 20 {HOST}.", 'TXT "v=spf1 mx -all"')
    assert check(network, "moving.test", code=100)["spf"].state == "ok"


def test_two_spf_records_are_none(network):
    publish(network, "two.test", f"MX 10 {HOST}.", 'TXT "v=spf1 mx -all"', 'TXT "v=spf1 a -all"')
    result = check(network, "two.test", code=0)["spf"]
    assert result.state == "wrong" and sorted(result.found.split(" | ")) == ["v=spf1 a -all", "v=spf1 mx -all"]


@pytest.mark.parametrize("records, state", [
    ([strings(KEY)], "ok"), ([strings(KEY.replace("; ", ";"))], "ok"), ([strings(KEY.replace("v=DKIM1; ", "") + "; t=s; n=hello")], "ok"),
    ([strings(KEY.replace("k=rsa; ", ""))], "ok"), ([strings(KEY[:100] + " " + KEY[100:])], "ok"), ([strings(KEY), strings("v=DKIM1; p=" + KEY.split("p=")[1])], "ok"),
    ([strings(KEY.replace("MIIB", "MIIC"))], "wrong"), ([strings("v=DKIM1; p=")], "wrong"), ([strings(KEY[:-4])], "wrong"), (["TXT hello"], "wrong"),
    ([strings(KEY), strings(OTHER_KEY)], "wrong"), ([strings(KEY.replace("k=rsa", "k=ed25519"))], "wrong"), ([], "missing"), (["A 192.0.2.1"], "missing"),
])
def test_dkim(network, records, state):
    publish(network, "dkim.test", f"MX 10 {HOST}.")
    network.names.set("a._domainkey.dkim.test", *records)
    network.names.publish()
    [result] = check(network, "dkim.test", wanted("dkim.test", ("a", KEY)), code=0)["dkim"]
    assert result.state == state and result.wanted == KEY


@pytest.mark.parametrize("records, state", [
    (['TXT "v=DMARC1; p=reject; rua=mailto:x@y.example"'], "ok"), (['TXT "v=DMARC1;p=none"'], "ok"), (['TXT "other"', 'TXT "v=DMARC1; p=none"'], "ok"),
    (['TXT "v=DMARC10; p=none"'], "missing"), (['TXT "p=none; v=DMARC1"'], "missing"), (['TXT "v=DMARC1; p=none"', 'TXT "v=DMARC1; p=reject"'], "wrong"), ([], "missing"),
])
def test_dmarc(network, records, state):
    publish(network, "dmarc.test", f"MX 10 {HOST}.", dmarc=records)
    assert check(network, "dmarc.test", code=0)["dmarc"].state == state


def test_aliases_are_followed(network):
    """As people do who rent their DNS: the names of keys lead elsewhere, by several steps."""
    publish(network, "alias.test", f"MX 10 {HOST}.", 'TXT "v=spf1 mx -all"', dmarc=["CNAME one.elsewhere.test."])
    network.names.set("one.elsewhere.test", "CNAME two.elsewhere.test.")
    network.names.set("two.elsewhere.test", 'TXT "v=DMARC1; p=none"')
    network.names.set("a._domainkey.alias.test", "CNAME key1.elsewhere.test.")
    for number in range(1, 6):
        network.names.set(f"key{number}.elsewhere.test", f"CNAME key{number + 1}.elsewhere.test.")
    network.names.set("key6.elsewhere.test", strings(KEY))
    network.names.set("whole.alias.test", "CNAME alias.test.")
    # In a circle, and to nothing.
    network.names.set("b._domainkey.alias.test", "CNAME c._domainkey.alias.test.")
    network.names.set("c._domainkey.alias.test", "CNAME b._domainkey.alias.test.")
    network.names.set("d._domainkey.alias.test", "CNAME nothing.elsewhere.test.")
    network.names.publish()
    result = check(network, "alias.test", wanted("alias.test", *((name, KEY) for name in "abcd")), code=0)
    assert [line.state for line in result["dkim"]] == ["ok", result["dkim"][1].state, result["dkim"][2].state, "missing"] and result["dmarc"].state == "ok"
    assert {result["dkim"][1].state, result["dkim"][2].state} <= {"missing", "unknown"}
    assert check(network, "whole.alias.test", code=0)["mx"].state == "ok"


# -- what strangers write -----------------------------------------------------------------

def test_nothing_breaks_a_line(network):
    publish(network, "hostile.test", f"MX 10 {HOST}.", r'TXT "v=spf1 \009mx\010dkim\000\255\"\\ -all"', dmarc=[r'TXT "v=DMARC1; \027[31m"'])
    result = check(network, "hostile.test", code=0)
    assert len(result.lines) == 3
    assert result["spf"].found == r'v=spf1 \009mx\010dkim\000\255"\092 -all'
    assert result["dmarc"].found == r"v=DMARC1; \027[31m"


def test_a_huge_text(network):
    """Some thousand octets come by TCP; what is shown of them is cut."""
    publish(network, "huge.test", f"MX 10 {HOST}.", strings("v=spf1 mx " + "x" * 40_000), *(f'TXT "text {number} {"y" * 200}"' for number in range(60)))
    result = check(network, "huge.test", code=0)
    assert result["spf"].state == "ok" and result["spf"].found.startswith("v=spf1 mx xxx") and result["spf"].found.endswith("...") and len(result["spf"].found) == 503


def test_a_hundred_exchangers(network):
    publish(network, "many.test", *(f"MX {number + 10} mx{number}.elsewhere.test." for number in range(99)), f"MX 5 {HOST}.")
    result = check(network, "many.test", code=0)
    assert result["mx"].found.startswith(f"5 {HOST}, 10 mx0.elsewhere.test, ")


class Liar:
    """A resolver that answers with octets of a test's choice, or not at all."""

    def __init__(self, network, reply):
        self.reply = reply
        with network.client.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.socket.settimeout(0.05)
        self.is_over = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            try:
                question, client = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self.reply(question)
            if answer is not None:
                self.socket.sendto(answer, client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        self.socket.close()


@pytest.fixture
def local_resolver():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("nameserver 127.0.0.1\n")
        file.flush()
        os.chmod(file.name, 0o644)
        yield file.name


def header(question, code=0, answers=1):
    return question[:2] + bytes([0x81, 0x80 | code]) + question[4:6] + answers.to_bytes(2, "big") + b"\0\0\0\0"


def asked(question):
    end = question.index(b"\0", 12) + 5
    return question[12:end]


@pytest.mark.parametrize("reply, state", [
    (lambda question: header(question, code=2, answers=0) + asked(question), "unknown"),
    (lambda question: header(question, code=5, answers=0) + asked(question), "unknown"),
    (lambda question: header(question, code=3, answers=0) + asked(question), "missing"),
    (lambda question: header(question, answers=0) + asked(question), "missing"),
    (lambda question: header(question)[:11], "unknown"),
    (lambda question: header(question) + asked(question) + b"\xc0\x0c", "unknown"),
    # A pointer to itself; data that runs over the end; strings longer than their record.
    (lambda question: header(question) + asked(question) + bytes([0xc0, 12 + len(asked(question))]) + asked(question)[-4:] + b"\0\0\0\0\0\x04abcd", "unknown"),
    (lambda question: header(question) + asked(question) + b"\xc0\x0c" + asked(question)[-4:] + b"\0\0\0\0\xff\xffabcd", "unknown"),
    (lambda question: header(question) + asked(question) + b"\xc0\x0c" + asked(question)[-4:] + b"\0\0\0\0\0\x04\xffbcd", "missing"),
    (lambda question: None, "unknown"),
], ids=["SERVFAIL", "REFUSED", "NXDOMAIN", "no data", "half a header", "half a record", "a pointer to itself", "over the end", "a string too long", "silence"])
def test_answers_of_a_liar(network, local_resolver, reply, state):
    with Liar(network, reply):
        result = check(network, "liar.test", wanted("liar.test", ("a", KEY)), code=111 if state == "unknown" else 100, resolver=local_resolver)
    assert [line.state for line in result.lines] == [state] * 4 and result.seconds < 10, result


def test_a_server_of_the_domain_is_dead(network):
    network.names.publish()
    result = check(network, "broken.test", code=111)
    assert {line.state for line in result.lines} == {"unknown"} and result.seconds < 11, result


def test_a_resolver_that_is_not_there(network, local_resolver):
    """Refused at once."""
    result = check(network, "well.test", code=111, resolver=local_resolver)
    assert {line.state for line in result.lines} == {"unknown"} and result.seconds < 5, result


def test_a_resolver_in_a_black_hole(network):
    """Three of them, of which none answers."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("".join(f"nameserver 198.51.100.{number}\n" for number in (201, 202, 203)))
        file.flush()
        os.chmod(file.name, 0o644)
        for number in (201, 202, 203):
            network.client.swallow(f"198.51.100.{number}")
        result = check(network, "well.test", wanted("well.test", ("a", KEY)), code=111, resolver=file.name)
    assert [line.state for line in result.lines] == ["unknown"] * 4 and result.seconds < 10.5, result


def test_a_resolver_that_is_slow(network, local_resolver):
    """The first answer to each question is lost; it is asked again."""
    seen = set()

    def reply(question):
        if asked(question) in seen:
            return header(question, code=3, answers=0) + asked(question)
        seen.add(asked(question))
        return None

    with Liar(network, reply):
        result = check(network, "slow.test", code=100, resolver=local_resolver)
    assert [line.state for line in result.lines] == ["missing"] * 3 and result.seconds < 10, result


# -- how it is called, and what it may do -----------------------------------------------------

@pytest.mark.parametrize("arguments", [[], [HOST], [HOST, "a.test", "b.test"], ["mail", "a.test"], [HOST, "test"], [HOST, "a..test"], [HOST, "a b.test"], [HOST, "x" * 64 + ".test"], ["-x", HOST, "a.test"]])
def test_called_wrongly(arguments):
    done = subprocess.run([semailtest.program("domain-check"), *arguments], input="", capture_output=True, text=True)
    assert done.returncode == 100 and done.stdout == "" and done.stderr.startswith("domain-check: "), done


@pytest.mark.parametrize("keys", ["no tab\n", "a.test\tb\n" * 17, "a b.test\tx\n", "\tx\n", "a.test\t" + "x" * 70_000], ids=["no TAB", "too many", "no name", "an empty name", "too long"])
def test_keys_that_are_none(network, keys):
    network.names.publish()
    result = check(network, "nobody.test", keys, code=100)
    assert result.lines == [] and "standard input" in result.log


def test_it_becomes_a_user_and_can_open_nothing(network, local_resolver):
    """By the kernel's word, while it waits for an answer."""
    with Liar(network, lambda question: None):
        process = subprocess.Popen([semailtest.program("domain-check"), "-u", "61025:61025", HOST, "a.test"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, preexec_fn=lambda: see(network, local_resolver))
        time.sleep(0.7)
        status = open(f"/proc/{process.pid}/status").read()
        files = [os.readlink(f"/proc/{process.pid}/fd/{name}") for name in os.listdir(f"/proc/{process.pid}/fd")]
        assert process.wait(30) == 111 and process.stderr.read() == b""
    facts = dict(re.findall(r"^(\w+):[ \t]*(.*)$", status, re.MULTILINE))
    assert facts["Uid"].split() == ["61025"] * 4 and facts["Gid"].split() == ["61025"] * 4 and facts["Groups"].strip() == ""
    assert facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2" and int(facts["CapPrm"], 16) == int(facts["CapEff"], 16) == 0
    assert all(name.startswith(("socket:", "pipe:", "/dev/null")) for name in files), files
    trace = subprocess.run([semailtest.tool("strace"), "-f", "-qq", "-e", "trace=openat,open,execve,seccomp,sendto,sendmmsg,sendmsg,connect", semailtest.program("domain-check"), HOST, "a.invalid"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, preexec_fn=network.client.enter).stderr
    locked = trace[trace.index("seccomp("):]
    assert "open" not in locked and "execve" not in locked and re.search(r"send|connect", locked), trace


def test_a_reader_that_has_gone(network):
    network.names.publish()
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([semailtest.program("domain-check"), HOST, "nobody.test"], stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE, preexec_fn=network.client.enter)
    os.close(write)
    assert process.returncode == 111 and b"Broken pipe" in process.stderr
