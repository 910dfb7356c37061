"""courier-auth: the protocol of Courier's authdaemond and authpipe, on top of run/auth and the mailbox files."""

import os
import random
import re
import shutil
import socket
import subprocess
import time

import pytest

from semailtest import Home, await_true, tool
from slapd import PEOPLE, Slapd

PASSWORD = dict(PEOPLE)["ssow"]
OPTIONS = "wbnochangepass=1,disableshared=1"


@pytest.fixture(scope="module")
def slapd():
    with Slapd() as slapd:
        yield slapd


@pytest.fixture
def house(slapd):
    """A home with run/auth, whose passwords are slapd's; addresses in capitals are told from small ones nowhere."""
    with Home() as home:
        slapd.control(home)
        start_auth(home)
        yield home


def start_auth(home, *checker, options=()):
    home.spawn(home.program("tcp-accept"), ["-i", "0", "-r", "0", "-c", "60", "unix", home.directory / "run/auth", home.program("auth-check"), *options, *(checker or [home.program("checkpassword-ldap")])], log="auth")
    assert await_true(lambda: (home.directory / "run/auth").exists(), 10)


def login(user, password=PASSWORD, service="webmail", kind="login", client=None):
    data = f"{service}\n{kind}\n{user}\n{password}\n".encode()
    return (f"TCPREMOTEIP={client}\n".encode() if client else b"") + b"AUTH %d\n" % len(data) + data


def find(user, service="webmail"):
    return f"PRE . {service} {user}\n".encode()


def ask(home, *requests, timeout=60):
    return home.run("courier-auth", input=b"".join(requests), timeout=timeout)


def person(home, owner, address=None):
    uid, gid = home._mailbox_user(owner)
    maildir = home.maildir(owner)
    return f"UID={uid}\nGID={gid}\nHOME={maildir.parent}\nADDRESS={address or owner + '@semail.test'}\nMAILDIR={maildir}\nOPTIONS={OPTIONS}\n.\n"


def closed(name, why):
    return f"UID=65534\nGID=65534\nHOME=/\nADDRESS={name}\nMAILDIR=/nonexistent/{why}\nOPTIONS={OPTIONS}\n.\n"


# -- who gets in ----------------------------------------------------------------

@pytest.mark.parametrize("name", ["ssow", "SSOW", "ssow@semail.test", "SSow@Semail.Test"])
def test_right(house, name):
    result = ask(house, login(name, client="192.0.2.7"))
    assert (result.returncode, result.stdout.decode()) == (0, person(house, "ssow"))
    assert result.stderr.decode() == "courier-auth: info: admitted service=webmail client=192.0.2.7 owner=ssow\n"


@pytest.mark.parametrize("name, password", [("ssow", "wrong"), ("ssow", ""), ("nobody", PASSWORD), ("xredon", PASSWORD), ("nobody@semail.test", PASSWORD), ("*", PASSWORD), ("ssow)(uid=*", PASSWORD)])
def test_wrong(house, name, password):
    result = ask(house, login(name, password))
    assert (result.returncode, result.stdout) == (0, b"FAIL\n")
    assert b" info: refused service=webmail " in result.stderr and (not password or password.encode() not in result.stderr)


def test_many_requests_on_one_pipe(house):
    """As authpipe has it: one process, one request after the other."""
    result = ask(house, find("ssow"), login("ssow", "wrong"), login("ssow"), find("nobody", "imap"), b"ENUMERATE\n", login("xredon", "battery staple", service="imap"))
    people = "".join(f"{owner}@semail.test\t{house._mailbox_user(owner)[0]}\t{house._mailbox_user(owner)[1]}\t{house.maildir(owner).parent}\t{house.maildir(owner)}\t{OPTIONS}\n" for owner in ("ssow", "xredon"))
    *others, listed, last = re.split(r"(?=ssow@semail\.test\t|xredon@semail\.test\t)", result.stdout.decode())
    text = result.stdout.decode()
    assert text.startswith(person(house, "ssow") + "FAIL\n" + person(house, "ssow") + "FAIL\n") and text.endswith(person(house, "xredon"))
    middle = text[len(person(house, "ssow") * 2 + "FAIL\n" * 2):-len(person(house, "xredon"))]
    assert sorted(middle.splitlines()) == sorted((people + ".").splitlines()) and middle.endswith("\n.\n")


@pytest.mark.parametrize("name, found", [("ssow", "ssow"), ("SSOW", "ssow"), ("xredon@semail.test", "xredon"), ("XREDON@semail.TEST", "xredon")])
def test_find(house, name, found):
    assert ask(house, find(name)).stdout.decode() == person(house, found)


def test_cut_anywhere(house):
    """Octets come as they come."""
    text = find("ssow") + login("ssow", client="2001:db8::1") + find("xredon")
    for size in (1, 2, 7, 50):
        process = subprocess.Popen([house.program("courier-auth")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=house.environment(), bufsize=0, **house._identity())
        for place in range(0, len(text), size):
            process.stdin.write(text[place:place + size])
            if size > 5:
                time.sleep(0.002)
        output, _ = process.communicate(timeout=30)
        assert output.decode() == person(house, "ssow") * 2 + person(house, "xredon")


# -- mailboxes that are not open --------------------------------------------------

def unsettle(home, inner, owner, address):
    directory = home.directory / "mailboxes" / inner
    directory.mkdir(exist_ok=True)
    os.chmod(directory, 0o755)
    (directory / address).write_text(f"owner {owner}\nuid 30009\ngid 30009\nmaildir /nowhere/{owner}/Maildir\nstate active\n")
    os.chmod(directory / address, 0o644)
    for name in (f"~{owner}", address):
        (home.directory / "mailboxes" / name).unlink(missing_ok=True)


@pytest.mark.parametrize("state, other", [("suspended", b""), ("making", b""), ("leaving", b""), ("none", b"FAIL\n")])
def test_not_open(house, state, other):
    """SqWebMail is told so in its own way; for other services it is a temporary failure, or none if there is no mailbox at all."""
    if state == "suspended":
        house.set_state("ssow@semail.test", "suspended")
    elif state in ("making", "leaving"):
        unsettle(house, f".{state}", "ssow", "ssow@semail.test")
    else:
        for name in ("~ssow", "ssow@semail.test"):
            (house.directory / "mailboxes" / name).unlink()
    result = ask(house, login("ssow"))
    assert (result.returncode, result.stdout.decode()) == (0, closed("ssow", state))
    assert f" info: closed service=webmail client=\"\" owner=ssow because={state}\n" in result.stderr.decode()
    assert ask(house, find("ssow@semail.test")).stdout.decode() == closed("ssow@semail.test", state)
    result = ask(house, login("ssow", service="imap"))
    assert (result.returncode, result.stdout) == (0 if other else 111, other)
    # Who does not know the password hears nothing of it.
    assert ask(house, login("ssow", "wrong")).stdout == b"FAIL\n"


def test_never_root(house):
    path = house.directory / "mailboxes/ssow@semail.test"
    path.write_text(re.sub("uid .*", "uid 0", path.read_text()))
    assert b"UID=0\n" not in ask(house, login("ssow"), find("ssow")).stdout


def test_not_as_root():
    if os.geteuid() != 0:
        pytest.fail("this test needs root")
    with Home(user=None) as home:
        result = home.run("courier-auth")
        assert result.returncode == 100 and b"-u" in result.stderr


# -- guessing, and a directory that is down ------------------------------------------

def test_guesses_are_slowed(house):
    seconds = []
    for _ in range(8):
        started = time.monotonic()
        assert ask(house, login("ssow", "wrong", client="192.0.2.9")).stdout == b"FAIL\n"
        seconds.append(time.monotonic() - started)
    assert max(seconds[:4]) < 1 and seconds[5] >= 1 and seconds[6] >= 2 and seconds[7] >= 4, seconds
    counts = sorted(path.name for path in (house.directory / "run/guesses").iterdir())
    assert counts == ["address-192.0.2.9", "user-ssow"]


def test_too_many_guesses(slapd):
    with Home() as home:
        slapd.control(home)
        start_auth(home, options=("-l", "3"))
        # A known address: the owner's own.
        assert ask(home, login("ssow", client="192.0.2.1")).stdout.decode() == person(home, "ssow")
        for _ in range(3):
            ask(home, login("ssow", "wrong", client="192.0.2.9"))
        result = ask(home, login("ssow", client="192.0.2.9"))
        assert (result.returncode, result.stdout) == (111, b"") and b"unavailable" in result.stderr and b"too many wrong passwords" in result.stderr
        # Strangers who guess do not keep the user out: the client's address has been passed on.
        assert ask(home, login("ssow", client="192.0.2.1")).stdout.decode() == person(home, "ssow")


@pytest.mark.parametrize("service", ["webmail", "imap"])
def test_dead_directory(house, service):
    house.control("ldap-uri", "ldap://127.0.0.1:1")
    result = ask(house, find("ssow"), login("ssow", service=service), find("xredon"))
    assert (result.returncode, result.stdout.decode()) == (111, person(house, "ssow"))
    assert b" error: unavailable service=" in result.stderr and PASSWORD.encode() not in result.stderr


@pytest.mark.parametrize("answer", ["", "ok", "ok ", "yes", "no more", "later", "ok ssow", "\\0", "slow", "x" * 600])
def test_nonsense_from_run_auth(empty_home, answer):
    """Only a whole line of the four kinds is an answer; `ok ssow` here has no line end."""
    empty_home.spawn(empty_home.program("tcp-accept"), ["-i", "0", "-r", "0", "unix", empty_home.directory / "run/auth", "/bin/sh", "-c", f"cat > /dev/null; printf '%b' '{answer}'"], log="auth")
    assert await_true(lambda: (empty_home.directory / "run/auth").exists(), 10)
    result = ask(empty_home, login("ssow"))
    assert (result.returncode, result.stdout) == (111, b"")


def test_administrators_too(empty_home):
    empty_home.spawn(empty_home.program("tcp-accept"), ["-i", "0", "-r", "0", "unix", empty_home.directory / "run/auth", "/bin/sh", "-c", "cat > /dev/null; printf 'ok ssow\\tadmin\\n'"], log="auth")
    assert await_true(lambda: (empty_home.directory / "run/auth").exists(), 10)
    assert ask(empty_home, login("ssow")).stdout.decode() == person(empty_home, "ssow")


def test_no_run_auth(empty_home):
    result = ask(empty_home, login("ssow"))
    assert (result.returncode, result.stdout) == (111, b"") and b"unavailable" in result.stderr


# -- what a stranger may send ---------------------------------------------------------

@pytest.mark.parametrize("text", [
    login("../ssow@semail.test"), login("ssow/../ssow"), login(".making/x@semail.test"), login("ssow@semail.test/"), login("~ssow"), login("#30001"), login("@semail.test"), login("ssow\0x"), login("ssow\x7f"),
    login("ssow", "x" * 513), login("x" * 513), login("ssow", kind="cram-md5"), login("ssow", kind=""), login("", PASSWORD), login("ssow", "a\nb"), login("ssow", "a\0b"), login("ssow", service=""),
    b"AUTH 5\nabcde", b"AUTH 0\n", b"AUTH 16\nwebmail\nlogin\n\n\n", b"PRE\n", b"PRE .\n", b"PRE . webmail\n", b"PRE . webmail ../../etc/passwd\n", b"PRE . webmail ~ssow\n", b"PRE . webmail .making\n", b"PRE . webmail \x01\n",
    b"PRE . imap " + b"x" * 4000 + b"\n", b"PASSWD webmail\tssow\tcorrect horse\tnew\n", b"PASSWD\n",
], ids=lambda text: text[:30].decode(errors="replace"))
def test_refused(house, text):
    result = ask(house, text)
    assert result.returncode == 0 and (result.stdout == b"FAIL\n" or b"/nonexistent/none" in result.stdout), result


@pytest.mark.parametrize("text", [b"\n", b"HELO\n", b"AUTH\n", b"AUTH x\n", b"AUTH -1\n", b"AUTH 99999\n", b"AUTH 8193\n", b"AUTH 1 2\n", b"ENUMERATE x\n", b"GET / HTTP/1.1\r\n", b"\0\0\0\n", b"X" * 10000, b"A=" + b"x" * 9000 + b"\n",
                                  b"AUTH 10\nabc", b"AUTH 10", b"PRE . webmail ssow", b"TCPREMOTEIP=1\n" * 2000], ids=lambda text: text[:20].decode(errors="replace"))
def test_malformed(house, text):
    """It ends, and says nothing; what stands behind is not read."""
    result = ask(house, text + (b"" if text in (b"AUTH 10\nabc", b"AUTH 10", b"PRE . webmail ssow") else find("ssow")))
    assert (result.returncode, result.stdout) == (100, b""), result


def test_a_client_that_stalls(house):
    """In the middle of a request it waits 30 seconds; between requests, as long as it takes."""
    silent = subprocess.Popen([house.program("courier-auth")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=house.environment(), **house._identity())
    stalled = subprocess.Popen([house.program("courier-auth")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=house.environment(), **house._identity())
    stalled.stdin.write(b"AUTH 30\nweb")
    stalled.stdin.flush()
    assert stalled.wait(45) == 111
    assert silent.poll() is None
    output, _ = silent.communicate(find("ssow"), timeout=10)
    assert output.decode() == person(house, "ssow") and silent.returncode == 0


def test_forged_client(house):
    """A client's address goes into a count's name and a log line, and nowhere else."""
    for client in ("../../x", "a b", "192.0.2.1\x1b[2J", "x" * 100):
        result = ask(house, login("ssow", "wrong", client=client))
        assert result.stdout == b"FAIL\n" and b"\x1b" not in result.stderr
    assert all(re.fullmatch(r"(address|user)-[A-Za-z0-9.%_@-]+", path.name) for path in (house.directory / "run/guesses").iterdir())


def test_noise(house):
    """Whatever comes: no crash, nothing said that is not an answer, and soon over."""
    generator = random.Random(5)
    pieces = [b"AUTH ", b"PRE ", b"PASSWD ", b"ENUMERATE", b"\n", b" ", b"\0", b"\t", b"=", b"TCPREMOTEIP=", b"12\n", b"webmail\n", b"login\n", b"ssow\n", b"\xff\xfe", b"99", b"@", b"../"]
    for _ in range(60):
        text = b"".join(generator.choice(pieces) for _ in range(generator.randrange(1, 60)))
        result = ask(house, text, timeout=30)
        assert result.returncode in (0, 100, 111), (text, result)
        assert re.fullmatch(rb"(FAIL\n|UID=\d+\nGID=\d+\nHOME=[^\n]+\nADDRESS=[^\n]*\nMAILDIR=[^\n]+\nOPTIONS=[^\n]+\n\.\n|([^\t\n]+\t[^\n]+\n)*\.\n)*", result.stdout), (text, result)


# -- with Courier itself ---------------------------------------------------------------

def test_by_authpipe(slapd):
    """courier-authlib's own authdaemond and its module authpipe, in a place of their own, and authtest."""
    if os.geteuid() != 0:
        pytest.fail("this test needs root")
    for path in ("/usr/lib/courier-authlib/libauthpipe.so", "/usr/lib/courier/courier-authlib/authdaemond"):
        assert os.path.exists(path), f"{path} is not there: install courier-authdaemon and courier-authlib-pipe"
    with Home() as home:
        slapd.control(home)
        start_auth(home)
        etc = home.directory / "etc-courier"
        etc.mkdir()
        (etc / "authdaemonrc").write_text('authmodulelist="authpipe"\nauthmodulelistorig="authpipe"\ndaemons=2\nauthdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=""\nLOGGEROPTS=""\n')
        program = etc / "authProg"
        program.write_text(f"#!/bin/sh\nexec env SEMAIL_HOME={home.directory} {home.program('courier-auth')} -u {home.user}:{home.user}\n")
        program.chmod(0o755)
        script = f"""set -e
            mount --bind {etc} /etc/courier
            mount -t tmpfs tmpfs /run/courier
            mkdir -p /run/courier/authdaemon
            /usr/lib/courier/courier-authlib/authdaemond < /dev/null > /dev/null 2>&1 & daemon=$!
            trap 'kill $daemon' EXIT
            for try in 1 2 3 4 5 6 7 8 9 10; do [ -S /run/courier/authdaemon/socket ] || sleep 0.2; done
            set +e
            authtest ssow; echo "code $?"
            authtest -s webmail ssow '{PASSWORD}'; echo "code $?"
            authtest -s webmail ssow wrong; echo "code $?"
            authtest -s imap xredon@semail.test 'battery staple'; echo "code $?"
            authenumerate"""
        # courierlogger sets what authdaemonrc says in the environment; by hand that is ours to do.
        done = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True, stdin=subprocess.DEVNULL)
        uid = home._mailbox_user("ssow")[0]
        assert re.findall(r"code (\d+)", done.stdout) == ["0", "0", "1", "0"], done.stdout
        assert done.stdout.count("Authentication succeeded.") == 3 and f"Home Directory: {home.directory}/mnt/ssow" in done.stdout, done.stdout
        assert f"ssow@semail.test\t{uid}\t{uid}\t{home.directory}/mnt/ssow\t{home.directory}/mnt/ssow/Maildir" in done.stdout, done.stdout


def test_locked(house):
    """What it may still do once it reads: not start a program, not write a file, not reach the network."""
    process = subprocess.Popen([house.program("courier-auth")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=house.environment(), **house._identity())
    try:
        assert await_true(lambda: "Seccomp:\t2" in open(f"/proc/{process.pid}/status").read(), 10)
        status = open(f"/proc/{process.pid}/status").read()
        assert "NoNewPrivs:\t1" in status and re.search(r"CapEff:\t0+\n", status)
    finally:
        process.communicate(timeout=10)
