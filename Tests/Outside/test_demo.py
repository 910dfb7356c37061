"""install.sh --demo, each time in a machine of its own: what it shows, and that nothing is left of it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

import peers
from machine import REPOSITORY, Machine, await_true
from test_install import PROGRAMS, refused

WHOLE = ["./install.sh", "--demo"]
# How it begins and ends has nothing to do with containers, which take a while.
WITHOUT = ["--without", "containers"]
DEMO = [*WHOLE, *WITHOUT]
PROMPT = "Ctrl-C ends it all and removes it."


@pytest.fixture(scope="module", autouse=True)
def built():
    """A build, and what the demo runs of others, so that no demo below waits for them: a machine has no way out to fetch it."""
    for name in peers.OF_THE_DEMO:
        peers.unpack(name)
    with Machine() as machine:
        machine.run([*DEMO, "--once"], timeout=1800)


@pytest.fixture
def machine():
    with Machine() as one:
        yield one


class Terminal:
    """A command inside a machine, on a terminal of its own."""

    def __init__(self, machine, arguments, **environment):
        self.output = ""
        self.descriptor, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        # The terminal is the command's own: nothing on the way there is interrupted by its Ctrl-C. And so are its signals, though the tests
        # run under nohup.
        self.process = subprocess.Popen(
            machine.command(["setsid", "--ctty", "env", "--default-signal", *arguments]), stdin=other, stdout=other, stderr=other, start_new_session=True,
            env={**machine.environment, "TERM": "xterm", **environment})
        os.close(other)

    def read(self, seconds):
        """Whatever comes within SECONDS; False when the other end is gone."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return True
        try:
            got = os.read(self.descriptor, 65536)
        except OSError:
            return False
        self.output += got.decode(errors="replace").replace("\r\n", "\n")
        return bool(got)

    def wait_for(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end and self.read(1), f"no {text!r} in:\n{self.output}"
        return self

    def press(self, keys):
        os.write(self.descriptor, keys)

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.read(0.2):
            pass
        try:
            return self.process.wait(max(1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {seconds} s:\n{self.output}") from None

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.descriptor)


@pytest.fixture
def terminal(machine):
    opened = []

    def open_one(arguments, **environment):
        opened.append(Terminal(machine, arguments, **environment))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def script_of(machine):
    """The process id of install.sh, which forks now and then."""
    return min(pid for pid, text in machine.processes().items() if text.startswith("/bin/bash ./install.sh"))


def nothing_is_left(machine):
    # mount(8) makes /run/mount where there is none.
    assert machine.changes().keys() <= {"/run/mount"}
    assert await_true(lambda: machine.processes() == {}, 5), machine.processes()
    assert "2525" not in machine.run(["ss", "-Hltn"]).stdout
    return True


def test_once_shows_messages_and_leaves_nothing(machine):
    done = machine.run([*WHOLE, "--once"], timeout=900)
    assert done.returncode == 0, done.stdout
    parts = re.split(r"^(?=[A-Za-z].*\n   )", done.stdout, flags=re.M)
    stranger, ourselves, school, answer = (next(part for part in parts if part.startswith(title)) for title in (
        "A stranger's message to xredon", "A message from ssow to xredon", "A message from ssow to anna", "Anna's answer"))

    # The dialogues, both sides.
    assert re.search(r"<- 220 .*\n   -> EHLO .*\n(?:   <- 250-.*\n)+   <- 250 .*\n   -> MAIL FROM:<somebody@client.example>\n   <- 250 2\.1\.0 .*\n"
                     r"   -> RCPT TO:<xredon@semail.test>\n   <- 250 2\.1\.5 .*\n   -> DATA\n   <- 354 ", stranger), stranger
    assert re.search(r"-> HELO semail.test\n   <- 250 .*\n   -> MAIL FROM:<ssow@ssow.semail.test>\n   <- 250 2\.1\.0 .*\n   -> RCPT TO:<xredon@semail.test>\n   <- 250 2\.1\.5 .*\n"
                     r"   -> DATA\n   <- 354 .*\n(?:   -> .*\n)+   -> \.\n   <- 250 2\.0\.0 queued as \w+\n   -> QUIT\n   <- 221 ", ourselves), ourselves

    def shown(part, place):
        found = re.search(rf"^   (/var/tmp/semail-demo\.[\d.]+/{place}/\S+) \(-rw-------, user \d+, \d+ octets\)\n((?:   \| ?.*\n)+)", part, re.M)
        assert found, part
        return re.sub("^   \\| ?", "", found[2], flags=re.M)

    # The files that arrived: where, and what is in them.
    first = shown(stranger, "mnt/xredon/Maildir/new")
    assert first.startswith("Return-Path: <somebody@client.example>\nDelivered-To: xredon@semail.test\nReceived: ")
    assert "\nIt does, if you can read this.\n" in first
    second = shown(ourselves, "mnt/xredon/Maildir/new")
    assert second.startswith("Return-Path: <ssow@ssow.semail.test>\nDelivered-To: xredon@semail.test\nReceived: from mail.semail.test ([")
    # By both servers, with the fields that were not typed.
    assert second.count("\nReceived: ") == 2 and "\nFrom: <ssow@ssow.semail.test>\nDate: " in second and "\nMessage-ID: <" in second
    third = shown(school, "postfix/mail/anna/Maildir/new")
    assert third.startswith("Return-Path: <ssow@ssow.semail.test>\n") and "by mx.school.test (Postfix) with ESMTPS id " in third
    fourth = shown(answer, "mnt/ssow/Maildir/new")
    assert fourth.startswith("Return-Path: <anna@school.test>\nDelivered-To: ssow@ssow.semail.test\nReceived: from mx.school.test ([")
    # The way there.
    for part, domain, host in ((ourselves, "semail.test", "mail.semail.test"), (school, "school.test", "mx.school.test")):
        assert f"   | named: query: {domain} IN MX\n" in part
        assert re.search(rf'^   \| remote-relay: info: connected host="{host} \[\S+\]" port=25 ', part, re.M), part
        assert re.search(rf'^   \| qrunner: info: relayed id=\w+ to=\S+ host="{host} \[', part, re.M), part
    assert 'tls="TLSv1.3 ' in school
    # The mailbox: made at the portal, step by step; its records; read over SSH; sent from inside; deleted.
    def part(title):
        return next(part for part in parts if part.startswith(title))
    made = part("ssow makes a mailbox")
    for step in ("The name is reserved", "The disk is made", "The container is started", "The DNS records are set", "Mail is let in"):
        assert re.search(rf"^   \| {step}, \d[\d.]*\sm?s$", made, re.M), made
    assert "   | ssow.semail.test. 300 IN MX 10 mail.semail.test.\n" in made and re.search(r"ssh -J semail-ssh@mail\.semail\.test ssow@172\.30\.0\.\d+", made)
    assert re.search(r"^   \| ssow\n   \| ssow\n(?:   \| ?.*\n)+   \| Somebody is\.\n", part("ssow's container"), re.M)
    assert "\nReceived: from ssow.semail.test ([172.30.0." in shown(part("A message from the container"), "mnt/xredon/Maildir/new")
    # Read in a browser, at the portal's address.
    assert re.search(r"^   ssow signs in at (http://127\.0\.0\.1:\d+)/mail\n   and reads, in a browser: Anna: Re: From one house to another\n   \| Somebody is\.\n", part("ssow's webmail"), re.M)
    deleted = part("ssow deletes the mailbox")
    assert "   | The name is given back, " in deleted and "   | ssow.semail.test: status: NXDOMAIN\n" in deleted
    # Every step says how long it took.
    assert len(re.findall(r"^   \d[\d.]* m?s$", done.stdout, re.M)) == len(re.findall(r"^[A-Za-z](?!t works|nded).*\n   ", done.stdout, re.M))
    assert nothing_is_left(machine)


def test_ctrl_c_ends_it_and_leaves_nothing(machine, terminal):
    demo = terminal(DEMO).wait_for(PROMPT)
    home = re.search(r"made +(/var/tmp/semail-demo\.[\d.]+)\n", demo.output).group(1)
    assert machine.run(["ls", home]).returncode == 0

    # Each stage runs as a user of its own, and none as root but provision.
    users = {}
    for pid, text in machine.processes().items():
        name = text.split()[0].rpartition("/")[2]
        # A delivery may have ended meanwhile.
        if name in (*PROGRAMS, "svlogd") and (facts := machine.facts(pid)):
            users.setdefault(name, set()).add(int(facts["Uid"].split()[1]))
    # Unless it delivers just now, as the mailbox's user.
    users["maildir-deliver"] -= set(range(30000, 60000))
    assert users == {"tcp-accept": {60990, 60995, 61002}, "smtpd-session": {60991}, "qrunner": {60992}, "maildir-deliver": {60992}, "svlogd": {60993},
                     "tls-wrap": {60994}, "remote-relay": {60996}, "dkim-sign": {60997}, "portal": {60998}, "provision": {0}}
    assert not re.search("6099[0-9]", machine.read("/etc/passwd"))

    # What it says to type next works.
    for command in re.findall(rf"^    ({re.escape(home)}/bin/semail .*)$", demo.output, re.M):
        done = machine.run(["sh", "-c", command], environment={**machine.environment, "SEMAIL_HOME": home})
        assert done.returncode == 0, f"{command}: {done.stdout}"
    tail = re.search(r"^    (tail -F .*)$", demo.output, re.M).group(1).replace("-F", "-n 100")
    assert "tcp-accept: info: listening address=127.0.0.1 port=587" in machine.run(["sh", "-c", tail], check=True).stdout
    manual = re.search(r"^    (man .*)$", demo.output, re.M).group(1)
    assert machine.run(["sh", "-c", manual]).returncode == 0
    assert f"    nc -C 127.0.0.1 2525 " in demo.output
    page = re.search(r"^    xdg-open (http://127\.0\.0\.1:\d+/)", demo.output, re.M).group(1)
    assert "<form" in machine.run(["curl", "-s", "-L", page]).stdout
    mail = re.search(r"^    xdg-open (http://127\.0\.0\.1:\d+/mail)", demo.output, re.M).group(1)
    assert mail == page + "mail" and "Read your mail" in machine.run(["curl", "-sL", mail]).stdout and "{" in machine.run(["curl", "-s", page + "webmail/webmail.css"]).stdout
    # Apache and SqWebMail: unpacked ones, the page's program as a user who is nobody.
    servers = {text.split()[0] for text in machine.processes().values() if "apache2" in text or "sqwebmaild" in text}
    assert {"/usr/sbin/apache2", "/usr/lib/courier/courier/sqwebmaild"} <= servers and machine.run(["pgrep", "-u", "61003", "apache2"]).returncode == 0
    sendmail = re.search(r"^    (printf .*sendmail .*)$", demo.output, re.M).group(1)
    machine.run(["bash", "-c", sendmail], environment={**machine.environment, "SEMAIL_HOME": home}, check=True)
    assert await_true(lambda: "Subject: hello" in machine.run(["sh", "-c", f"cat {home}/postfix/mail/anna/Maildir/new/*"]).stdout)
    for command in re.findall(r"^    (nsenter -t \d+ -n (?:nc|openssl) .*?)(?:   .*)?$", demo.output, re.M):
        assert "220 mail.semail.test " in machine.run(["sh", "-c", f"(sleep 1; echo QUIT) | timeout 10 {command}"]).stdout, command

    demo.press(b"\x03")
    assert demo.wait(20) == 0, demo.output
    assert f"Ended; {home} is gone again." in demo.output
    assert nothing_is_left(machine)


def test_mutt_reads_the_message(machine, terminal):
    demo = terminal(DEMO).wait_for(PROMPT)
    command = re.search(r"^    (mutt -f \S+)$", demo.output, re.M).group(1)
    # As a person would, but for the keys, which are given beforehand: the message to a file, then out.
    mutt = terminal([*command.split(), "-n", "-F", "/dev/null", "-e",
                     'set wait_key=no folder=/tmp move=no; push "<pipe-message>cat > /tmp/read-by-mutt<enter><exit>"'])
    mutt.wait(30)
    text = machine.read("/tmp/read-by-mutt")
    assert "Subject: Does it arrive?\n" in text and text.endswith("It does, if you can read this.\n")
    machine.run(["rm", "/tmp/read-by-mutt"], check=True)
    demo.press(b"\x03")
    assert demo.wait(20) == 0, demo.output
    assert nothing_is_left(machine)


@pytest.mark.parametrize("signal, code", [("INT", 0), ("TERM", 143), ("HUP", 143)])
def test_a_signal_ends_it_though_a_client_is_connected(machine, terminal, signal, code):
    demo = terminal(DEMO).wait_for(PROMPT)
    with machine.client(2525):
        machine.run(["kill", f"-{signal}", script_of(machine)], check=True)
        assert demo.wait(20) == code, demo.output
    assert nothing_is_left(machine)


def test_ctrl_c_in_the_middle_leaves_nothing(machine, terminal):
    for text in ("Packages", "Home", "Servers of others", "A network", "Services", "The name is reserved", "-> DATA"):
        demo = terminal(DEMO).wait_for(text)
        demo.press(b"\x03")
        assert demo.wait(30) in (0, 130), demo.output
        assert nothing_is_left(machine)


def test_killed_outright_its_services_end_and_nothing_is_left(machine, terminal):
    for text in ("A mailbox", "A network", PROMPT):
        terminal([*WHOLE, "/var/tmp/d", *WITHOUT]).wait_for(text)
        machine.run(["kill", "-KILL", script_of(machine)], check=True)
        assert await_true(lambda: machine.processes() == {}, 20), machine.processes()
        assert nothing_is_left(machine)


def test_the_remains_of_a_demo_are_taken_over(machine):
    """As after a power cut."""
    machine.run(["sh", "-c", "mkdir -p /var/tmp/d/service/inbound && touch /var/tmp/d/.semail-demo"], check=True)
    done = machine.run([*WHOLE, "/var/tmp/d", *WITHOUT, "--once"])
    assert done.returncode == 0, done.stdout
    # It found the directory, so it leaves it: empty.
    assert machine.changes().keys() - {"/run/mount"} == {"/var/tmp/d"}
    assert machine.run(["ls", "-A", "/var/tmp/d"]).stdout == ""


def test_a_busy_port_is_said_and_another_can_be_chosen(machine):
    with machine.listener(2525):
        assert re.fullmatch(r"port 2525 is in use by python3 \(process \d+\): end it, or choose another port with --port", refused(machine, DEMO))
        done = machine.run([*DEMO, "--port", "2626", "--once"])
        assert done.returncode == 0, done.stdout
    assert nothing_is_left(machine)


def test_two_demos_at_once_do_not_meet(machine, terminal):
    first = terminal([*WHOLE, "/var/tmp/first", *WITHOUT]).wait_for(PROMPT)
    assert re.search(r"/var/tmp/first holds a demo that runs: ", refused(machine, [*WHOLE, "/var/tmp/first", *WITHOUT, "--port", "2626", "--once"]))
    second = machine.run([*WHOLE, "/var/tmp/second", *WITHOUT, "--port", "2626", "--once"])
    assert second.returncode == 0, second.stdout
    assert "and reads, in a browser: " in second.stdout
    # The first one did not notice.
    assert "Read your mail" in machine.run(["curl", "-sL", re.search(r"(http://\S+/mail) ", first.output)[1]]).stdout
    machine.python("import smtplib; smtplib.SMTP('127.0.0.1', 2525, timeout=5).quit()")
    first.press(b"\x03")
    assert first.wait(20) == 0, first.output
    assert nothing_is_left(machine)


def test_without_webmail(machine):
    """Nothing of it is there, and the portal stands by itself."""
    done = machine.run([*DEMO, "--without", "webmail", "--once"])
    assert done.returncode == 0 and "It works." in done.stdout and "ebmail" not in done.stdout and "Apache" not in done.stdout, done.stdout
    assert nothing_is_left(machine)


def test_a_directory_with_something_in_it_is_not_touched(machine):
    machine.run(["sh", "-c", "mkdir /var/tmp/mine && echo precious > /var/tmp/mine/file"], check=True)
    assert refused(machine, [*WHOLE, "/var/tmp/mine", *WITHOUT]).startswith("/var/tmp/mine is not empty: ")
    assert machine.read("/var/tmp/mine/file") == "precious\n"


def test_a_directory_that_services_cannot_enter_is_said(machine):
    machine.run(["mkdir", "-m", "0700", "/var/tmp/closed"], check=True)
    assert "the services' users cannot get into /var/tmp/closed/demo" in refused(machine, [*WHOLE, "/var/tmp/closed/demo", *WITHOUT])


def test_a_file_system_that_runs_no_programs_is_said(machine):
    machine.run(["sh", "-c", "mkdir /var/tmp/noexec && mount -t tmpfs -o noexec,mode=0755 none /var/tmp/noexec"], check=True)
    assert "no programs can be run in /var/tmp/noexec/demo" in refused(machine, [*WHOLE, "/var/tmp/noexec/demo", *WITHOUT])


def test_a_second_run_skips_what_is_done(machine):
    done = machine.run([*DEMO, "--once"])
    assert done.returncode == 0, done.stdout
    assert re.search(r"^Packages\n   ok       .*runit", done.stdout, re.M)
    assert re.search(r"^Programs: build\n   ok       up to date: tcp-accept ", done.stdout, re.M)


def test_the_demo_runs_the_services_that_are_installed(machine, terminal):
    demo = terminal([*WHOLE, "/var/tmp/d", *WITHOUT]).wait_for(PROMPT)
    for path in sorted((REPOSITORY / "etc/service").rglob("run")):
        name = path.relative_to(REPOSITORY / "etc/service")
        # Web pages of others are not in it; the portal's port is this host's.
        if name.parts[0] not in ("courier-auth", "webmail", "imap"):
            assert machine.read(f"/var/tmp/d/{'stranger/' if name.parts[0] == 'portal' else ''}service/{name}") == path.read_text()
    demo.press(b"\x03")
    assert demo.wait(20) == 0, demo.output
    assert nothing_is_left(machine)
