"""Passwords: checkpassword-ldap against a real slapd, auth-check with programs of every kind, and both behind AUTH."""

import base64
import concurrent.futures
import os
import re
import smtplib
import socket
import subprocess
import time

import pytest

from faultlab import Taken
from semailtest import Home, await_true
from slapd import BASE, PEOPLE, SEARCHER, Slapd

WRONG, MISUSE, LATER = 1, 2, 111
PASSWORD = b"correct horse"


@pytest.fixture(scope="module")
def slapd():
    with Slapd() as slapd:
        yield slapd


@pytest.fixture(scope="module")
def asking():
    with Home() as home:
        yield home


class Silent:
    """A server that accepts and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def run(home, name, *arguments, input=b"", **options):
    started = time.monotonic()
    result = subprocess.run([home.program(name), *map(str, arguments)], input=input, capture_output=True, env=home.environment(), timeout=60, **home._identity(), **options)
    result.seconds = time.monotonic() - started
    assert b"correct horse" not in result.stdout + result.stderr
    return result


def check(home, user, password=PASSWORD, program=("sh", "-c", 'echo "$USER|$HOME|$SHELL"'), data=None, environment={}):
    """The checkpassword interface: descriptor 3."""
    reading, writing = os.pipe()
    os.write(writing, user + b"\0" + password + b"\0Y1\0" if data is None else data)
    os.close(writing)
    started = time.monotonic()
    result = subprocess.run(["sh", "-c", 'exec "$0" "$@" 3<&0 </dev/null', home.program("checkpassword-ldap"), *program], stdin=reading, capture_output=True,
                            env=home.environment(**environment), timeout=60, **home._identity())
    os.close(reading)
    result.seconds = time.monotonic() - started
    assert not password or len(password) < 4 or password not in result.stderr
    return result


# -- checkpassword-ldap: who gets in ----------------------------------------

@pytest.mark.parametrize("number, uid, password", [(number, *person) for number, person in enumerate(PEOPLE)], ids=[uid for uid, _ in PEOPLE])
def test_right(slapd, asking, number, uid, password):
    slapd.control(asking)
    result = check(asking, uid.encode(), password.encode())
    assert (result.returncode, result.stdout.decode(), result.stderr) == (0, f"{uid}|/home/{number}|/bin/false\n", b"")


@pytest.mark.parametrize("name, uid", [(b"SSOW", "ssow"), (b"mIXED", "Mixed"), (b"ssow@semail.test", "ssow"), (b"SSow@SEMAIL.test", "ssow")])
def test_other_spellings(slapd, asking, name, uid):
    slapd.control(asking)
    result = check(asking, name, dict(PEOPLE)[uid].encode())
    assert result.returncode == 0 and result.stdout.decode().split("|")[0] == uid


def test_home_and_shell_that_are_not_known(slapd, asking):
    slapd.control(asking)
    assert check(asking, b"bare", b"b", environment={"HOME": "/mine", "SHELL": "/mine", "USER": "mine"}).stdout == b"bare|/|/bin/sh\n"


@pytest.mark.parametrize("name, password, because", [
    (b"ssow", b"wrong", "password"), (b"ssow", b"Correct horse", "password"), (b"ssow", b"correct horse ", "password"), (b"ssow", b"", "malformed"), (b"ssow", b"battery staple", "password"),
    (b"ssow", b"p" * 500, "password"), (b"ssow", b"\xff\xfe", "password"), (b"ssow", b"{SSHA}", "password"),
    (b"nobody", PASSWORD, "unknown"), (b"", PASSWORD, "malformed"), (b"nobody", b"", "malformed"), (b"", b"", "malformed"), (b"locked", b"x", "password"),
    (b"locked", b"", "malformed"), (b"twin", b"t", "ambiguous"),
    # Injection attempts; each would match ssow if a sign of it were syntax.
    (b"*", PASSWORD, "unknown"), (b"s*", PASSWORD, "unknown"), (b"ssow*", PASSWORD, "unknown"), (b"a)(uid=*", PASSWORD, "unknown"), (b"*)(uid=ssow", PASSWORD, "unknown"),
    (b"ssow)(objectClass=*", PASSWORD, "unknown"),
    (b"x)(|(uid=ssow", PASSWORD, "unknown"), (b"\\", PASSWORD, "unknown"), (b"\\73sow", PASSWORD, "unknown"), (b"\\2a", PASSWORD, "unknown"), (b"(ssow)", PASSWORD, "unknown"),
    (b"&ssow", PASSWORD, "unknown"),
    (b"cn=Person", PASSWORD, "unknown"), (b"ou=people,dc=semail,dc=test", PASSWORD, "unknown"), (b"%u", PASSWORD, "unknown"), (b"ssow\nx", PASSWORD, "unknown"),
    # What the directory takes for the same, and whoever counts guesses would not.
    (b" ssow", PASSWORD, "unknown"), (b"ssow ", PASSWORD, "unknown"), ("ｓsow".encode(), PASSWORD, "unknown"), ("ſsow".encode(), PASSWORD, "unknown"),
    ("JÖRG".encode(), "grün".encode(), "unknown"), ("jo\u0308rg".encode(), "grün".encode(), "unknown"),
    (b"\xff", PASSWORD, "unknown"), (b"\xc3\x28", PASSWORD, "unknown"), ("☃".encode(), PASSWORD, "unknown"), (b"x" * 255, PASSWORD, "unknown"), (b"x" * 256, PASSWORD, "malformed"),
    (b"x" * 480, PASSWORD, "malformed"),
    (b"nobody@semail.test", PASSWORD, "mailbox"), (b"ssow@elsewhere.test", PASSWORD, "mailbox"), (b"@", PASSWORD, "mailbox"), (b"../mailboxes/ssow@semail.test", PASSWORD, "mailbox"),
    (b"ssow@semail.test@semail.test", PASSWORD, "mailbox"),
])
def test_refused(slapd, asking, name, password, because):
    slapd.control(asking)
    result = check(asking, name, password)
    assert (result.returncode, result.stdout) == (WRONG, b"")
    assert result.stderr.startswith(b"checkpassword-ldap: info: refused user=") and result.stderr.endswith(f" because={because}\n".encode()) and result.stderr.count(b"\n") == 1


def test_an_empty_password_asks_nobody(asking):
    asking.control("ldap-base", BASE)
    asking.control("ldap-uri", "ldap://127.0.0.1:1")
    assert check(asking, b"ssow", b"").returncode == WRONG
    assert check(asking, b"ssow", b"x").returncode == LATER


def test_nobody_of_another_branch(slapd, asking):
    slapd.control(asking, base=f"ou=others,{BASE}", bind_dn=SEARCHER, bind_password="look")
    assert check(asking, b"ssow").returncode == WRONG


# -- the interface ----------------------------------------------------------

@pytest.mark.parametrize("data", [b"", b"ssow", b"ssow\0", b"ssow\0correct horse", b"ssow\0correct horse\0" + b"x" * 512, b"\0" * 513], ids=lambda data: f"{len(data)}")
def test_misuse(slapd, asking, data):
    slapd.control(asking)
    result = check(asking, b"", data=data)
    assert result.returncode == MISUSE and b" error: misused reason=" in result.stderr


def test_misuse_of_the_call(slapd, asking):
    slapd.control(asking)
    assert check(asking, b"ssow", program=()).returncode == MISUSE
    assert check(asking, b"ssow", program=("-y", "true")).returncode == MISUSE
    assert run(asking, "checkpassword-ldap", "true").returncode == MISUSE


@pytest.mark.parametrize("data", [b"ssow\0correct horse\0", b"ssow\0correct horse\0\0", b"ssow\0correct horse\0Y1234567890\0", b"ssow\0correct horse\0" + b"x" * 400])
def test_what_the_interface_allows(slapd, asking, data):
    slapd.control(asking)
    assert check(asking, b"", data=data).returncode == 0


def test_by_hand_as_the_manual_says(slapd, asking):
    slapd.control(asking)
    script = f"printf 'ssow\\0correct horse\\0\\0' | {asking.program('checkpassword-ldap')} true 3<&0"
    assert subprocess.run(["sh", "-c", script], env=asking.environment(), **asking._identity()).returncode == 0
    assert subprocess.run(["sh", "-c", script.replace("horse", "house")], env=asking.environment(), stderr=subprocess.DEVNULL, **asking._identity()).returncode == WRONG


def test_what_the_program_gets(slapd, asking):
    slapd.control(asking)
    result = check(asking, b"ssow", program=("sh", "-c", 'printf "%s\n" "$0" "$@"; ls -l /proc/self/fd; grep Seccomp: /proc/self/status', "one", "two words", "", "-x"))
    lines = result.stdout.decode().splitlines()
    assert lines[:4] == ["one", "two words", "", "-x"]
    # Closed: the credentials, and whatever was open to ask.
    assert not [line for line in lines if " 3 -> " in line and "/proc/" not in line] and not [line for line in lines if "socket:" in line]
    assert "Seccomp:\t0" in lines
    assert check(asking, b"ssow", program=("sh", "-c", "exit 42")).returncode == 42
    result = check(asking, b"ssow", program=("no-such-program",))
    assert result.returncode == LATER and b"no-such-program" in result.stderr


# -- the ways to the directory ----------------------------------------------

def roads(slapd):
    return {"ldap": {}, "ldaps": {"uri": slapd.secure}, "starttls": {"tls": "starttls"}, "ldapi": {"uri": slapd.local}, "ldapi, no TLS needed": {"uri": slapd.local, "tls": "starttls"},
            "searcher": {"bind_dn": SEARCHER, "bind_password": "look"}, "searcher, starttls": {"bind_dn": SEARCHER, "bind_password": "look", "tls": "starttls"},
            "filter": {"filter": "(&(objectClass=posixAccount)(|(uid=%u)(mail=%u)))"}, "second server": {"uri": f"ldap://127.0.0.1:1 {slapd.plain}"},
            "second server, ldaps": {"uri": f"ldaps://127.0.0.1:1  {slapd.secure}"}}


@pytest.mark.parametrize("road", ["ldap", "ldaps", "starttls", "ldapi", "ldapi, no TLS needed", "searcher", "searcher, starttls", "filter", "second server", "second server, ldaps"])
def test_roads(slapd, asking, road):
    slapd.control(asking, **roads(slapd)[road])
    assert check(asking, b"ssow").returncode == 0
    assert check(asking, b"ssow", b"wrong").returncode == WRONG
    assert check(asking, b"nobody", b"wrong").returncode == WRONG


def dead_ends(slapd):
    others = "/etc/ssl/certs/ca-certificates.crt"
    return {
        "no server": ({"uri": "ldap://127.0.0.1:1"}, "connect"), "no servers": ({"uri": "ldap://127.0.0.1:1 ldaps://127.0.0.1:1 ldapi://%2Fnonexistent"}, "nonexistent"),
        "no such host": ({"uri": "ldap://nowhere.invalid"}, "nowhere.invalid"),
        "wrong authority, starttls": ({"tls": "starttls", "ca": others}, "certificate"), "wrong authority, ldaps": ({"uri": slapd.secure, "ca": others}, "certificate"),
        "wrong name, starttls": ({"tls": "starttls", "uri": f"ldap://[::1]:{slapd.port}"}, "certificate"), "wrong name, ldaps": ({"uri": slapd.secure.replace("127.0.0.1", "[::1]")}, "certificate"),
        "no authorities": ({"tls": "starttls", "ca": "/nonexistent"}, "/nonexistent cannot be read"), "empty authorities": ({"uri": slapd.secure, "ca": "/dev/null"}, "certificate"),
        "TLS to a port without": ({"uri": slapd.plain.replace("ldap:", "ldaps:")}, "handshake"), "no TLS to a port with": ({"uri": slapd.secure.replace("ldaps:", "ldap:")}, ""),
        "wrong searcher": ({"bind_dn": f"cn=nobody,{BASE}", "bind_password": "look"}, "Invalid credentials"),
        "wrong searcher's password": ({"bind_dn": SEARCHER, "bind_password": "wrong"}, "Invalid credentials"),
        "no searcher's password": ({"bind_dn": SEARCHER, "bind_password": ""}, "ldap-bind-password"), "missing searcher's password": ({"bind_dn": SEARCHER}, "ldap-bind-password"),
        "malformed searcher": ({"bind_dn": "nonsense", "bind_password": "x"}, "Invalid DN"),
        "no such base": ({"base": "ou=nowhere," + BASE}, "No such object"), "malformed base": ({"base": "nonsense"}, "Invalid DN"), "no base": ({"base": None}, "ldap-base is missing"),
        "base nobody may see": ({"base": f"ou=others,{BASE}"}, "No such object"),
        "no server named": ({"uri": " "}, "names no server"), "no such scheme": ({"uri": "http://127.0.0.1"}, "does not begin with"), "no address": ({"uri": "ldap://["}, "no address"),
        "filter without user": ({"filter": "(uid=ssow)"}, "%u"), "half a value": ({"filter": "(uid=x%u)"}, "%u"), "pattern": ({"filter": "(uid=%u*)"}, "%u"),
        "name as user": ({"filter": "(%u=ssow)"}, "%u"), "malformed filter": ({"filter": "((uid=%u)"}, "filter"),
        "no such protection": ({"tls": "maybe"}, "neither starttls nor none"), "protection by default": ({"tls": None, "ca": None}, "certificate"),
    }


ENDS = ["no server", "no servers", "no such host", "wrong authority, starttls", "wrong authority, ldaps", "wrong name, starttls", "wrong name, ldaps", "no authorities",
    "empty authorities", "TLS to a port without", "no TLS to a port with",
        "wrong searcher", "wrong searcher's password", "no searcher's password", "missing searcher's password", "malformed searcher", "no such base", "malformed base", "no base",
        "base nobody may see", "no server named", "no such scheme", "no address",
        "filter without user", "half a value", "pattern", "name as user", "malformed filter", "no such protection", "protection by default"]


@pytest.mark.parametrize("end", ENDS)
def test_dead_ends(slapd, asking, end):
    """Never a yes, and never a no: the user's password may be right."""
    settings, words = dead_ends(slapd)[end]
    slapd.control(asking, **settings)
    result = check(asking, b"ssow")
    assert (result.returncode, result.stdout) == (LATER, b"") and b" fatal: ended reason=" in result.stderr and words in result.stderr.decode()
    assert check(asking, b"ssow", b"wrong").returncode == LATER


def test_all_dead_ends_are_tried(slapd):
    assert set(dead_ends(slapd)) == set(ENDS)


@pytest.mark.parametrize("uri, tls, most", [("ldap://{}", "none", 4), ("ldap://{}", "starttls", 4), ("ldaps://{}", "none", 6)])
def test_a_server_that_says_nothing(slapd, asking, uri, tls, most):
    with Silent() as silent:
        slapd.control(asking, uri=uri.replace("{}", f"127.0.0.1:{silent.port}"), tls=tls)
        result = check(asking, b"ssow")
    assert result.returncode == LATER and 2.5 < result.seconds < most


def test_a_server_that_says_nothing_is_passed_over(slapd, asking):
    with Silent() as silent:
        slapd.control(asking, uri=f"ldaps://127.0.0.1:{silent.port} {slapd.plain}")
        result = check(asking, b"ssow")
    assert result.returncode == 0 and result.seconds < 6


# A network of one's own, in which what is sent to 198.51.100.2 is never answered.
BLACK_HOLE = """
ip link set lo up
ip link add hole type veth peer name other
ip link set hole up
ip link set other up
ip address add 198.51.100.1/24 dev hole
ip neighbour add 198.51.100.2 lladdr 02:00:00:00:00:02 dev hole
exec "$@"
"""


def test_a_server_that_is_gone_is_passed_over_and_remembered(slapd, asking):
    """Nothing answers at the first server's address, not even that nobody listens there."""
    assert os.geteuid() == 0, "only root can make a network"
    dead = "ldap://198.51.100.2"
    slapd.control(asking, uri=f"{dead} {slapd.local}")
    note = asking.directory / "run/guesses/silent-ldap:%2F%2F198.51.100.2"

    def ask(password=PASSWORD, code=0):
        script = BLACK_HOLE.replace('exec "$@"', 'exec setpriv --reuid %d --regid %d --clear-groups "$@" 3<&0 </dev/null' % (asking.user, asking.user))
        started = time.monotonic()
        done = subprocess.run(["unshare", "-n", "sh", "-euc", script, "sh", asking.program("checkpassword-ldap"), "true"], input=b"ssow\0" + password + b"\0\0", capture_output=True,
                              env=asking.environment(PATH="/usr/sbin:/usr/bin:/sbin:/bin"), timeout=60)
        assert done.returncode == code, done
        return time.monotonic() - started

    note.unlink(missing_ok=True)
    first = ask()
    assert 1.4 < first < 2.5 and note.exists()
    # For half a minute it is asked last: at once for everybody else.
    later = [ask(), ask(b"wrong", WRONG), ask()]
    print(f"a dead first server costs {first:.2f} s once, then {max(later):.2f} s")
    assert max(later) < 0.5
    # It is not given up: if nobody else answers, it is asked.
    slapd.control(asking, uri=f"{dead} ldapi://%2Fnowhere")
    assert 2.5 < ask(code=LATER) < 4
    slapd.control(asking, uri=f"{dead} {slapd.local}")
    for age, least, most in ((31, 1.4, 2.5), (-100, 1.4, 2.5)):
        note.write_text(f"{int(time.time()) - age}\n")
        assert least < ask() < most
    for text in ("", "nonsense", "9" * 100, "\0"):
        note.write_text(text)
        assert 1.4 < ask() < 2.5
    note.unlink()


@pytest.mark.parametrize("uri", ["ldap://127.0.0.1:1 {}", "ldaps://127.0.0.1:1 {}", "ldapi://%2Fnowhere {}", "ldap://127.0.0.1:1 ldap://127.0.0.1:1 ldapi://%2Fnowhere {}"])
def test_a_server_that_refuses_costs_nothing(slapd, asking, uri):
    slapd.control(asking, uri=uri.replace("{}", slapd.local))
    for note in (asking.directory / "run/guesses").glob("silent-*"):
        note.unlink()
    result = check(asking, b"ssow")
    assert result.returncode == 0 and result.seconds < 0.5
    # It may be back at once.
    assert not list((asking.directory / "run/guesses").glob("silent-*"))


def test_without_a_place_to_remember_all_goes_on(slapd, asking):
    (asking.directory / "run/guesses").rename(asking.directory / "run/elsewhere")
    try:
        with Silent() as silent:
            slapd.control(asking, uri=f"ldap://127.0.0.1:{silent.port} {slapd.plain}")
            assert [check(asking, b"ssow").returncode for _ in range(2)] == [0, 0]
    finally:
        (asking.directory / "run/elsewhere").rename(asking.directory / "run/guesses")


def test_a_server_that_hangs_is_remembered_too(slapd, asking):
    with Silent() as silent:
        slapd.control(asking, uri=f"ldap://127.0.0.1:{silent.port} {slapd.plain}")
        first, second = check(asking, b"ssow"), check(asking, b"ssow")
    assert first.returncode == second.returncode == 0 and 2.5 < first.seconds < 4 and second.seconds < 0.5


# -- administrators ---------------------------------------------------------

def test_a_group_that_cannot_be_looked_at_keeps_nobody_out(slapd, asking):
    for group, words in (("nonsense", b"warning: group reason="), (f"cn=nowhere,{BASE}", b""), (f"ou=others,{BASE}", b"")):
        slapd.control(asking, admin_group=group)
        result = check(asking, b"ssow", program=("sh", "-c", 'echo "$USER$SEMAIL_ADMIN"'), environment={"SEMAIL_ADMIN": "1"})
        assert (result.returncode, result.stdout) == (0, b"ssow\n") and words in result.stderr
    slapd.control(asking, admin_group=None)


def test_nobody_is_an_administrator_without_a_password(slapd, asking):
    slapd.control(asking, admin_group=f"cn=locked,ou=people,{BASE}")
    assert check(asking, b"ssow", b"wrong").returncode == WRONG
    slapd.control(asking, admin_group=None)


def test_a_server_that_stops_within_a_handshake(slapd, asking):
    """StartTLS is granted, and then nothing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(1000)
        # LDAPMessage 1, ExtendedResponse, success.
        connection.sendall(bytes.fromhex("300c020101780 70a010004000400".replace(" ", "")))
        while connection.recv(1000):
            pass

    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(serve)
        slapd.control(asking, uri=f"ldap://127.0.0.1:{listener.getsockname()[1]}", tls="starttls")
        result = check(asking, b"ssow")
    listener.close()
    assert result.returncode == LATER and result.seconds < 6


@pytest.mark.parametrize("said", [b"", b"\0" * 100, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\x84\x7f\xff\xff\xff", b"\x30\x05\x02\x01\x07\x65\x00", os.urandom(3000)],
    ids=["nothing", "zeros", "http", "endless", "foreign", "noise"])
def test_a_server_that_is_none(slapd, asking, said):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(said)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(serve)
        slapd.control(asking, uri=f"ldap://127.0.0.1:{listener.getsockname()[1]}")
        result = check(asking, b"ssow")
    listener.close()
    assert result.returncode == LATER and b"signal" not in result.stderr and result.seconds < 6


def test_a_referral_is_not_followed(asking):
    """Whoever is referred to would get the searcher's password, and the user's."""
    called = socket.create_server(("127.0.0.1", 0))
    called.settimeout(0.5)
    with Slapd(f'referral "ldap://127.0.0.1:{called.getsockname()[1]}"') as slapd:
        slapd.control(asking, base="dc=elsewhere,dc=test", bind_dn=SEARCHER, bind_password="look")
        result = check(asking, b"ssow")
    assert result.returncode == LATER
    with pytest.raises(TimeoutError):
        called.accept()
    called.close()


@pytest.mark.parametrize("name, value", [("LDAPTLS_REQCERT", "never"), ("LDAPTLS_CACERT", "{ca}"), ("LDAPURI", "{plain}"), ("LDAPCONF", "{directory}/ldap.conf"), ("HOME", "{directory}")])
def test_the_environment_decides_nothing(slapd, asking, name, value):
    (slapd.directory / "ldap.conf").write_text("TLS_REQCERT never\n")
    (slapd.directory / ".ldaprc").write_text("TLS_REQCERT never\n")
    slapd.control(asking, tls="starttls", ca="/etc/ssl/certs/ca-certificates.crt")
    assert check(asking, b"ssow", environment={name: value.format(ca=slapd.ca, plain=slapd.plain, directory=slapd.directory)}).returncode == LATER


def test_a_password_that_others_may_not_read(slapd, asking):
    slapd.control(asking, bind_dn=SEARCHER, bind_password="look")
    if os.geteuid() == 0:
        os.chown(asking.directory / "control/ldap-bind-password", 0, 0)
        os.chmod(asking.directory / "control/ldap-bind-password", 0o400)
        result = check(asking, b"ssow")
        assert result.returncode == LATER and b"ldap-bind-password: Permission denied" in result.stderr
    (asking.directory / "control/ldap-bind-password").unlink()


# -- auth-check -------------------------------------------------------------

CHECKPASSWORD = r'''#!/usr/bin/python3
import os, sys, time
data = os.read(3, 512)
os.close(3)
user, password = data.split(b"\0")[:2]
with open(os.environ["SEMAIL_HOME"] + "/asked", "a") as asked:
    asked.write(f"{user.decode()} {data.count(bytes(1))}\n")
word = password.decode()
if word.startswith("exit "): sys.exit(int(word[5:]))
if word == "hang": time.sleep(100)
if word == "hang deaf":
    import signal
    for number in range(1, 32):
        if number not in (9, 17, 19): signal.signal(number, signal.SIG_IGN)
    time.sleep(100)
if word == "talk": print("some words\nok mallory\n")
if word == "lie": print("ok mallory"); sys.exit(1)
if word == "crash": os.kill(os.getpid(), 11)
if word == "child":
    if os.fork() == 0: os.close(2); time.sleep(5); os._exit(0)
if word in ("right", "talk", "child"): os.environ["USER"] = user.decode()
elif word.startswith("as "): os.environ["USER"] = word[3:]
elif word.startswith("admin "): os.environ["USER"] = user.decode(); os.environ["SEMAIL_ADMIN"] = word[6:]
elif word != "no user": sys.exit(1)
os.execvp(sys.argv[1], sys.argv[1:])
'''

SHELL_CHECKPASSWORD = '''#!/bin/sh
# Fits, as any program of the interface does.
[ "$(tr '\\0' '\\n' <&3 | head -n 2)" = "ssow
right" ] || exit 1
exec 3<&-
USER=ssow HOME=/home/ssow SHELL=/bin/sh
export USER HOME SHELL
exec "$@"
'''


class Guard:
    """auth-check in a home, with a directory of counts and programs to ask."""

    def __init__(self, home):
        self.home = home
        self.counts = home._make("guesses", 0o700)
        for name, text in (("checkpassword", CHECKPASSWORD), ("shell", SHELL_CHECKPASSWORD)):
            (home.directory / name).write_text(text)
            (home.directory / name).chmod(0o755)

    def __call__(self, password, user="ssow", client="192.0.2.1", options=(), program="checkpassword", data=None, environment={}):
        data = b"\0".join(word.encode() if isinstance(word, str) else word for word in (client, user, password)) + b"\0" if data is None else data
        started = time.monotonic()
        result = subprocess.run([self.home.program("auth-check"), "-d", self.counts, *map(str, options), self.home.directory / program], input=data, capture_output=True,
                                env=self.home.environment(**environment), timeout=60, **self.home._identity())
        result.seconds = time.monotonic() - started
        result.answer = result.stdout.decode().rstrip("\n")
        assert result.stdout.count(b"\n") == (1 if result.returncode == 0 else 0)
        return result

    @property
    def asked(self):
        path = self.home.directory / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def count(self, name):
        path = self.counts / name
        return sum(map(int, path.read_text().split()[1:])) if path.exists() else None


@pytest.fixture
def guard(empty_home):
    return Guard(empty_home)


@pytest.mark.parametrize("password, answer, code", [
    ("right", "ok ssow", 0), ("wrong", "no", 0), ("exit 1", "no", 0), ("exit 2", "later .* called wrongly", 0), ("exit 111", "later .* cannot tell now", 0),
    ("exit 0", "later .* not run what it was given", 0), ("exit 77", "later .* ended with 77", 0),
    ("crash", "later .* signal 11", 0), ("talk", "ok ssow", 0), ("lie", "no", 0), ("no user", "later .* cannot tell now", 0), ("child", "ok ssow", 0), ("", "no", 0),
    ("as xredon", "ok xredon", 0), ("as two words", "later .*", 0), ("as ../x", "later .*", 0), ("as x\nok y", "later .*", 0),
    ("admin 1", "ok ssow\tadmin", 0), ("admin 0", "ok ssow", 0), ("admin ", "ok ssow", 0), ("as x\tadmin", "later .*", 0),
    ("x" * 505, "no", 0), ("as jörg", "ok jörg", 0),
])
def test_answers(guard, password, answer, code):
    result = guard(password, environment={"USER": "mallory", "HOME": "/root", "SEMAIL_ADMIN": "1"})
    assert result.returncode == code and re.fullmatch(answer, result.answer), result
    assert result.seconds < 1
    # One line for what is not a yes, and no secret in it.
    said = result.stderr.decode()
    assert password not in said.replace("exit ", "") or len(password) < 5
    if answer == "no":
        assert said == "auth-check: info: refused client=192.0.2.1 user=ssow failures=1\n"
    elif answer.startswith("later"):
        assert "auth-check: error: unavailable client=192.0.2.1 user=ssow reason=" in said
    else:
        assert said == ""


def test_what_is_asked(guard):
    guard("right")
    assert guard.asked == ["ssow 3"]
    # What the interface has no room for, and what must not decide anything, is asked of nobody.
    for user, password in (("ssow", ""), ("", "right"), ("ssow", "x" * 506), ("u" * 600, "right")):
        assert guard(password, user=user, client="192.0.2.9").answer == "no"
    assert guard.asked == ["ssow 3"]


def test_a_shell_script_fits(guard):
    assert guard("right", program="shell").answer == "ok ssow"
    assert guard("wrong", program="shell").answer == "no"


@pytest.mark.parametrize("data", [b"", b"a", b"a\0b\0", b"a\0b\0c", b"a\0b\0c\0d", b"a\0b\0c\0\0", b"a\0b\0" + b"c" * 2000 + b"\0", b"x" * 1024])
def test_malformed_questions(guard, data):
    result = guard("", data=data)
    assert (result.returncode, result.answer) == (100, "") and b" error: malformed reason=" in result.stderr
    assert guard.asked == [] and list(guard.counts.iterdir()) == []


def test_a_question_that_does_not_come_to_its_end(guard):
    """The three NULs are enough: nobody waits for the end of the connection."""
    process = subprocess.Popen([guard.home.program("auth-check"), "-d", guard.counts, guard.home.directory / "checkpassword"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=guard.home.environment(), **guard.home._identity())
    process.stdin.write(b"192.0.2.1\0ssow\0ri")
    process.stdin.flush()
    time.sleep(0.3)
    assert process.poll() is None
    process.stdin.write(b"ght\0")
    process.stdin.flush()
    assert process.stdout.readline() == b"ok ssow\n"
    assert process.wait(5) == 0


def test_calls_that_make_no_sense(guard):
    assert run(guard.home, "auth-check").returncode == 100
    assert run(guard.home, "auth-check", "-w", "0", "true").returncode == 100
    assert run(guard.home, "auth-check", "-l", "x", "true").returncode == 100
    result = run(guard.home, "auth-check", "-d", guard.home.directory / "nowhere", "true", input=b"a\0b\0c\0")
    assert (result.returncode, result.stdout) == (111, b"")
    result = run(guard.home, "auth-check", "-d", guard.counts, "no-such-program", input=b"a\0b\0c\0")
    assert (result.returncode, result.stdout) == (111, b"")


@pytest.mark.parametrize("password", ["hang", "hang deaf"])
def test_a_program_that_hangs_is_killed(guard, password):
    result = guard(password, options=["-t", 1])
    assert result.answer.startswith("later ") and 0.9 < result.seconds < 2.5
    assert guard.count("user-ssow") == guard.count("address-192.0.2.1") == 0
    assert not await_true(lambda: not running(guard.home.directory / "checkpassword"), 3) is None


def running(path):
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and str(path).encode() in open(f"/proc/{entry}/cmdline", "rb").read():
                found.append(entry)
        except OSError:
            pass
    return found


def test_it_is_locked_when_it_reads(guard):
    process = subprocess.Popen([guard.home.program("auth-check"), "-d", guard.counts, guard.home.directory / "checkpassword"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=guard.home.environment(), **guard.home._identity())
    status = lambda: open(f"/proc/{process.pid}/status").read()
    assert await_true(lambda: "Seccomp:\t2" in status() and "NoNewPrivs:\t1" in status(), 5)
    [child] = [pid for pid in running(guard.home.directory / "checkpassword") if pid != str(process.pid) and f"PPid:\t{process.pid}\n" in open(f"/proc/{pid}/status").read()]
    # What it has started is as free as it was.
    assert "Seccomp:\t0" in open(f"/proc/{child}/status").read()
    # And has nothing of the client.
    assert os.readlink(f"/proc/{child}/fd/0") == "/dev/null"
    process.stdin.close()
    assert process.wait(10) == 100
    assert await_true(lambda: not running(guard.home.directory / "checkpassword"), 3)


def test_what_it_must_not_it_cannot(guard):
    """As if somebody had taken it over who has it ask a question of his."""
    (guard.counts / "user-ssow").write_text("")
    guard.home._own(guard.counts / "user-ssow")
    process = subprocess.Popen([guard.home.program("auth-check"), "-d", guard.counts, guard.home.directory / "checkpassword"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=guard.home.environment(), **guard.home._identity())
    victim = subprocess.Popen(["/usr/bin/sleep", "60"], **guard.home._identity())
    try:
        assert await_true(lambda: "Seccomp:\t2" in open(f"/proc/{process.pid}/status").read(), 5)
        with Taken(process.pid) as taken:
            for call in (("execve", "/bin/true", 0, 0), ("fork",), ("socket", socket.AF_INET, socket.SOCK_STREAM, 0), ("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0),
                         ("kill", victim.pid, 9), ("kill", -1, 9), ("ptrace", 0x4206, victim.pid, 0, 0), ("openat", -100, "/etc/passwd", 0, 0), ("setresuid", 0, 0, 0),
                         ("openat", -100, guard.home.directory / "control/hostname", 0, 0), ("openat", -100, guard.home.directory / "asked", 0o101, 0o600), ("bind", 0, 0, 0)):
                result = taken.call(*call)
                assert result in (-1, -13), (call, result)
            assert taken.call("openat", -100, guard.counts / "user-ssow", 2, 0) >= 0
        assert victim.poll() is None
    finally:
        for one in (process, victim):
            one.kill()
            one.wait()


# -- guessing ---------------------------------------------------------------

def test_answers_become_slow_and_then_there_are_none(guard):
    for number, pause in enumerate((0, 1, 2, 4)):
        result = guard("wrong", options=["-l", 4])
        assert result.answer == "no" and f"failures={number + 1}\n" in result.stderr.decode()
        # On a busy machine it takes longer, and never less.
        assert pause <= result.seconds < pause + 2
    for password in ("wrong", "right"):
        result = guard(password, options=["-l", 4])
        assert result.answer.startswith("slow ") and 1 <= int(result.answer.split()[1]) <= 7200 and result.seconds < 3
        assert "auth-check: info: slowed client=192.0.2.1 user=ssow seconds=" in result.stderr.decode()
    assert len(guard.asked) == 4
    # Who is refused unasked is not counted: else one who tries on would never get in.
    assert guard.count("user-ssow") == guard.count("address-192.0.2.1") == 4
    # Another from there is refused too; the user from elsewhere as well, another from elsewhere not.
    assert guard("right", user="xredon", options=["-l", 4]).answer.startswith("slow")
    assert guard("right", client="198.51.100.1", options=["-l", 4]).answer.startswith("slow")
    assert guard("right", user="xredon", client="198.51.100.1", options=["-l", 4]).answer == "ok xredon"


def test_no_limit(guard):
    for _ in range(30):
        assert guard("wrong", options=["-l", 0]).answer == "no"
    assert list(guard.counts.iterdir()) == []


def test_what_counts_slides_out(guard):
    options = ["-l", 4, "-w", 1]
    for name in ("user-ssow", "address-192.0.2.1"):
        (guard.counts / name).write_text(f"{int(time.time()):010} 0000000004 0000000000\n")
        guard.home._own(guard.counts / name)
    result = guard("right", options=options)
    assert result.answer.startswith("slow ")
    time.sleep(int(result.answer.split()[1]))
    assert guard("right", options=options).answer == "ok ssow"
    assert guard.count("user-ssow") == 0


def test_a_right_password_pays_for_the_user_only(guard):
    options = ["-l", 40]
    for _ in range(6):
        guard("wrong", options=options)
    assert guard("right", user="xredon", options=options).answer == "ok xredon"
    assert (guard.count("user-ssow"), guard.count("user-xredon"), guard.count("address-192.0.2.1")) == (6, 0, 3)
    assert guard("right", options=options).answer == "ok ssow"
    assert (guard.count("user-ssow"), guard.count("address-192.0.2.1")) == (0, 1)


def test_nobody_is_kept_out_by_others_guessing(guard):
    """Where a user has come from before, others' wrong guesses of the user's password count for nothing."""
    options = ["-l", 4]
    assert guard("right", options=options).answer == "ok ssow"
    with_others = guard.counts / "user-ssow"
    with_others.write_text(f"{int(time.time()) // 3600:010} 0000000004 0000000000\n")
    assert guard("right", client="198.51.100.1", options=options).answer.startswith("slow")
    result = guard("right", options=options)
    assert result.answer == "ok ssow" and result.seconds < 1
    # Guessing from there is limited all the same.
    with_others.write_text(f"{int(time.time()) // 3600:010} 0000000004 0000000000\n")
    (guard.counts / "address-192.0.2.1").write_text(f"{int(time.time()) // 3600:010} 0000000004 0000000000\n")
    assert guard("right", options=options).answer.startswith("slow")
    # The last four places, the latest first.
    for number in range(10, 15):
        with_others.unlink(missing_ok=True)
        assert guard("right", client=f"192.0.2.{number}", options=options).answer == "ok ssow"
    assert (guard.counts / "known-ssow").read_text().split() == [f"192.0.2.{number}" for number in (14, 13, 12, 11)]


@pytest.mark.parametrize("password", ["exit 111", "crash", "exit 0"])
def test_a_dead_backend_counts_nothing(guard, password):
    for _ in range(6):
        assert guard(password, options=["-l", 4]).answer.startswith("later ")
    assert guard.count("user-ssow") == guard.count("address-192.0.2.1") == 0


@pytest.mark.parametrize("client, name", [
    ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("2001:DB8:1:2::", "2001:db8:1:2::"), ("::ffff:192.0.2.1", "192.0.2.1"), ("::1", "::"), ("", None),
    ("not an address", "not%20an%20address"), ("../../x", "..%2F..%2Fx"), ("x" * 300, "%long"),
])
def test_names_of_clients(guard, client, name):
    guard("wrong", client=client)
    assert sorted(path.name for path in guard.counts.iterdir()) == sorted(["user-ssow"] + ([f"address-{name}"] if name else []))


@pytest.mark.parametrize("user, name", [("SSow", "ssow"), ("a/b", "a%2Fb"), ("..", ".."), ("jörg", "j%C3%B6rg"), ("ssow@semail.test", "ssow@semail.test"), ("", ""), ("ü" * 200,
    "%long"), ("a\nb", "a%0Ab")])
def test_names_of_users(guard, user, name):
    guard("wrong", user=user)
    assert sorted(path.name for path in guard.counts.iterdir()) == ["address-192.0.2.1", f"user-{name}"]


def test_many_at_once_are_counted_each(guard):
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        answers = [result.answer for result in pool.map(lambda number: guard("wrong", user=f"user{number % 3}", options=["-l", 400]), range(60))]
    assert answers == ["no"] * 60
    assert guard.count("address-192.0.2.1") == 60 and [guard.count(f"user-user{number}") for number in range(3)] == [20] * 3


def test_many_at_once_do_not_outrun_the_limit(guard):
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = [result.answer.split()[0] for result in pool.map(lambda _: guard("wrong", options=["-l", 4]), range(40))]
    assert answers.count("no") == 4 and answers.count("slow") == 36 and len(guard.asked) == 4


def test_damaged_counts_count_nothing(guard):
    for text in ("", "x", "1 2", "-1 -1 -1\n", "9" * 500, "0 99999999999999999999 0\n", "\0" * 40):
        for name in ("user-ssow", "address-192.0.2.1"):
            (guard.counts / name).write_text(text)
            guard.home._own(guard.counts / name)
        assert guard("wrong", options=["-l", 4]).answer == "no"


def test_counts_are_bounded_in_number(guard):
    old, recent = time.time() - 10 * 3600, time.time() - 60
    for number in range(10_400):
        path = guard.counts / f"user-made-up-{number:05}"
        path.write_text("0 0 0\n")
        os.utime(path, (recent - 1100 + number / 10,) * 2)
    for name, age in (("user-old", old), ("address-192.0.2.77", old), ("known-ssow", old), ("known-gone", time.time() - 91 * 86400)):
        (guard.counts / name).write_text("")
        os.utime(guard.counts / name, (age, age))
    for path in guard.counts.iterdir():
        guard.home._own(path)
    # Sweeping is done now and then, when a file is new.
    for number in range(600):
        guard("exit 111", user=f"new{number}", client="")
        names = os.listdir(guard.counts)
        if "user-old" not in names:
            break
    names = set(os.listdir(guard.counts))
    assert not {"user-old", "address-192.0.2.77", "known-gone"} & names and "known-ssow" in names
    assert len(names) <= 10_001 and "user-made-up-10399" in names and "user-made-up-00000" not in names and f"user-new{number}" in names


# -- in service -------------------------------------------------------------

@pytest.fixture
def service(slapd, empty_home):
    """auth-check and checkpassword-ldap behind run/auth, and the outgoing server in front of them."""
    home = empty_home
    slapd.control(home)
    home.control("auth-without-tls", "yes")
    home._make("run/guesses", 0o700)
    home.spawn(home.program("tcp-accept"), ["unix", home.directory / "run/auth", home.program("auth-check"), "-l", "3", home.program("checkpassword-ldap")], log="auth")
    assert await_true(lambda: (home.directory / "run/auth").exists(), 10)
    home.start_accept(session=("submission",), host="127.0.0.1")
    return home


def auth(home, user, password, client="127.0.0.1"):
    with smtplib.SMTP(client, home.port, local_hostname="client.example", timeout=30) as smtp:
        smtp.ehlo()
        code, text = smtp.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
        return f"{code} {text.decode()}"


def test_behind_auth(service):
    assert auth(service, "ssow", "correct horse") == "235 2.7.0 Welcome"
    assert auth(service, "ssow@semail.test", "correct horse").startswith("235")
    assert auth(service, "ssow", "wrong").startswith("535 5.7.8")
    # In the directory, and without a mailbox here.
    assert auth(service, "jörg", "grün").startswith("535")
    # Nothing that was said stands in a log.
    logs = service.log("auth") + service.log("tcp-accept")
    assert "horse" not in logs and "wrong" not in logs and "refused client=127.0.0.1 user=ssow failures=1" in logs


def test_an_administrator_behind_auth(service):
    """Sessions look at the owner alone."""
    answer = b"ok ssow\tadmin\n"
    service.stop_process("auth")
    (service.directory / "run/auth").unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(service.directory / "run/auth"))
    os.chmod(service.directory / "run/auth", 0o777)
    listener.listen()

    def serve():
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(answer)
            connection.close()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(serve)
        assert auth(service, "ssow", "correct horse") == "235 2.7.0 Welcome"
        assert auth(service, "ssow", "whatever") == "235 2.7.0 Welcome"
    listener.close()


def test_a_dead_directory_behind_auth(service):
    service.control("ldap-uri", "ldap://127.0.0.1:1")
    for _ in range(6):
        assert auth(service, "ssow", "correct horse").startswith("454 4.7.0")
    service.stop_process("auth")
    assert auth(service, "ssow", "correct horse").startswith("454 4.7.0")


def test_guessing_behind_auth(service):
    started = time.monotonic()
    answers = [auth(service, "ssow", f"guess {number}")[:3] for number in range(6)]
    assert answers == ["535"] * 3 + ["454"] * 3 and time.monotonic() - started > 3
    assert auth(service, "ssow", "correct horse").startswith("454 4.7.0 Too many")
