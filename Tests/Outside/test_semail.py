"""semail, the administrator's command, as root and as an ordinary user.

Everything it prints is checked the three ways it prints: for programs (tabs), for people (a terminal), as JSON.
"""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import semailtest
from semailtest import PLAIN_USER, await_true

PROGRAMS = ("semail", "smtpd-session", "qrunner", "maildir-deliver", "remote-relay", "dkim-sign", "tcp-accept")
DIALOGUE = b"HELO me\nMAIL FROM:<%s>\nRCPT TO:<%s>\nDATA\nSubject: %s\nFrom: me\n\nIt works.\n.\nQUIT\n"
QUEUE_USER, SMTPD_USER = 61043, 61044
IS_ROOT = os.geteuid() == 0


def scratch():
    """A directory that every user can reach, and that is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="semail-test-"))
    os.chmod(directory, 0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def programs():
    """The programs where every user can reach them."""
    for directory in scratch():
        for name in PROGRAMS:
            shutil.copy(semailtest.program(name), directory / name)
        yield directory


class Admin:
    """Somebody with a home: root (user None), or an ordinary user."""

    def __init__(self, programs, directory, user):
        self.programs = programs
        self.directory = directory
        self.user = user
        self.home = directory / "home"
        self.started = []

    def environment(self, **more):
        return {"PATH": f"{self.programs}:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no",
                "SEMAIL_HOME": str(self.home), **more}

    def identity(self):
        return {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}

    def program(self, name, *arguments, input=b"", environment=None, user=True, prefix=()):
        return subprocess.run([*prefix, self.programs / name, *map(str, arguments)], input=input, capture_output=True, timeout=120,
                              cwd=self.directory, env=self.environment(**(environment or {})), **(self.identity() if user else {}))

    def semail(self, *arguments, **options):
        """Exit code, standard output, standard error."""
        result = self.program("semail", *arguments, **options)
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    def ok(self, *arguments, **options):
        code, out, err = self.semail(*arguments, **options)
        assert (code, err) == (0, ""), f"semail {arguments}: {code} {out} {err}"
        return out

    def json(self, *arguments, code=0, **options):
        result = self.semail(*arguments, "--json", **options)
        assert result[0] == code, result
        return json.loads(result[1])

    def refused(self, *arguments, code=1, **options):
        """The sentence of a command that does not do what it is told."""
        result = self.semail(*arguments, **options)
        assert result[0] == code, result
        assert result[2].startswith("semail: ") and result[2].count("\n") == 1, result
        assert result[1] == "", result
        return result[2]

    def terminal(self, *arguments, typed=b"", environment=None):
        """Exit code and what a terminal shows."""
        pid, descriptor = pty.fork()
        if pid == 0:
            try:
                if self.user is not None:
                    os.setgroups([]), os.setgid(self.user), os.setuid(self.user)
                os.execve(self.programs / "semail", ["semail", *map(str, arguments)],
                          self.environment(TERM="xterm", **(environment or {})))
            finally:
                os._exit(127)
        if typed:
            os.write(descriptor, typed)
        shown = b""
        while True:
            try:
                more = os.read(descriptor, 65536)
            except OSError:
                break
            if not more:
                break
            shown += more
        os.close(descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode().replace("\r\n", "\n")

    def init(self, *arguments):
        return self.ok("init", self.home, "--hostname", "mail.semail.test", *arguments)

    def queue_message(self, recipient="xredon@semail.test", sender="ssow@semail.test", subject="hello"):
        result = self.program("smtpd-session", "inbound", input=DIALOGUE % (sender.encode(), recipient.encode(), subject.encode()))
        return re.search(rb"queued as (\w{16})", result.stdout)[1].decode()

    def start(self, *command):
        process = subprocess.Popen([self.programs / command[0], *map(str, command[1:])], cwd=self.directory, env=self.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self.identity())
        self.started.append(process)
        return process

    def start_qrunner(self, *arguments):
        process = self.start("qrunner", *arguments)
        assert await_true(lambda: self.semail("queue", "flush", "--json")[1].find('"isRunning": true') > 0 or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
        return process

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()
            process.stderr.close()
        self.started = []

    def maildir(self, owner):
        return self.home / "mnt" / owner / "Maildir"

    def chown(self, path):
        if self.user is not None:
            os.chown(path, self.user, self.user)


USERS = ["root", "user"] if IS_ROOT else ["user"]


@pytest.fixture(params=USERS)
def somebody(request, programs):
    """root, and then an ordinary user, each with no home yet."""
    yield from make_admin(programs, None if request.param == "root" or not IS_ROOT else PLAIN_USER)


@pytest.fixture
def user(programs):
    yield from make_admin(programs, PLAIN_USER if IS_ROOT else None)


@pytest.fixture
def root(programs):
    assert IS_ROOT, "these tests are run by root"
    yield from make_admin(programs, None)


def make_admin(programs, user):
    for directory in scratch():
        admin = Admin(programs, directory, user)
        admin.chown(directory)
        yield admin
        admin.stop()


@pytest.fixture
def at_home(somebody):
    """Somebody with a home and the mailbox of xredon."""
    somebody.init()
    somebody.ok("mailbox", "create", "xredon", "xredon@semail.test")
    return somebody


@pytest.fixture
def user_home(user):
    user.init()
    user.ok("mailbox", "create", "xredon", "xredon@semail.test")
    return user


@pytest.fixture
def root_home(root):
    root.init()
    root.ok("mailbox", "create", "xredon", "xredon@semail.test")
    return root


def snapshot(directory):
    """Everything beneath a directory: type, mode, owner, times, content."""
    result = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else os.readlink(path) if path.is_symlink() else None
        result[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    return result


def findings(admin, *arguments, level=None):
    """Of doctor, by what was checked."""
    result = {}
    for finding in json.loads(admin.semail("doctor", "--json", *arguments)[1])["findings"]:
        if level is None or finding["level"] == level:
            result.setdefault(finding["check"], []).append(finding)
    return result


# -- how it is called -------------------------------------------------------

def test_version_help_and_misuse(user):
    assert re.fullmatch(r"semail \(SEMail\) \d+\.\d+\.\d+\n", user.ok("--version"))
    assert "mailbox" in user.ok("--help") and "--json" in user.ok("--help")
    for words in (["mailbox", "create", "--help"], ["queue", "delete", "--help"], ["help", "doctor"]):
        assert "--json" in user.ok(*words)
    for words in (["nonsense"], ["mailbox", "create", "one"], ["queue", "hold"], ["config", "--unset"], ["config", "a", "b", "c"],
                  ["init", "x"], ["init", "x", "--hostname", "a.test", "--home", "y"], ["doctor", "--port", "70000"]):
        code, out, err = user.semail(*words)
        assert code == 64 and out == "" and "Usage:" in err, (words, code, out, err)


def test_common_options_stand_anywhere(user):
    user.init()
    empty = user.environment(SEMAIL_HOME="/nonexistent")
    expected = user.ok("mailbox", "list")
    home = ["--home", user.home]
    for words in ([*home, "mailbox", "list"], ["mailbox", "list", *home], [f"--home={user.home}", "mailbox", "list"]):
        assert user.ok(*words, environment=empty) == expected
    assert json.loads(user.ok("--json", *home, "mailbox", "list", environment=empty)) == user.json("mailbox", "list")
    assert user.ok("--home", "./home/.", "mailbox", "list", environment=empty) == expected


def test_no_home(user):
    assert "there is no home at" in user.refused("mailbox", "list")
    code, out, err = user.semail("queue", "list", "--json")
    assert code == 1 and "there is no home" in json.loads(out)["error"] and err.startswith("semail: ")


# -- init -------------------------------------------------------------------

def test_init_makes_a_whole_home(somebody):
    out = somebody.init()
    assert "postmaster@mail.semail.test" in out
    home = somebody.home
    assert (home / "control/hostname").read_text() == "mail.semail.test\n"
    uid = somebody.user if somebody.user is not None else os.geteuid()
    for name, mode in (("", 0o755), ("control", 0o755), ("mailboxes", 0o755), ("queue", 0o711), ("queue/new", 0o700), ("queue/later", 0o700),
                       ("queue/hold", 0o700), ("queue/reason", 0o700), ("run", 0o711), ("mnt", 0o711), ("control/hostname", 0o644),
                       ("mailboxes/postmaster@mail.semail.test", 0o644), ("mailboxes/@mail.semail.test", 0o644), ("mnt/postmaster", 0o711)):
        status = (home / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (mode, uid), name
    assert stat.S_ISFIFO((home / "run/trigger").stat().st_mode)
    box = 30000 if uid == 0 else uid
    for name in ("", "tmp", "new", "cur"):
        status = (somebody.maildir("postmaster") / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, box)
    assert findings(somebody, level="mend") == {}
    # It can be used at once.
    somebody.queue_message("postmaster@mail.semail.test")
    assert somebody.program("qrunner", "--once").returncode == 0
    assert len(list((somebody.maildir("postmaster") / "new").iterdir())) == 1


def test_init_again_changes_nothing(at_home):
    (at_home.home / "control/recipients").write_text("200\n")
    os.chmod(at_home.home / "queue/hold", 0o750)
    before = snapshot(at_home.home)
    out = at_home.ok("init", at_home.home, "--hostname", "other.test")
    assert "nothing was changed" in out and "hostname is mail.semail.test already" in out
    assert snapshot(at_home.home) == before
    os.rmdir(at_home.home / "queue/hold")
    assert at_home.json("init", at_home.home, "--hostname", "mail.semail.test")["made"] == [str(at_home.home / "queue/hold")]


def test_init_whatever_the_umask(somebody):
    assert subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", somebody.programs / "semail", "init", somebody.home, "--hostname", "mail.semail.test"],
                          env=somebody.environment(), capture_output=True, **somebody.identity()).returncode == 0
    assert stat.S_IMODE((somebody.home / "control/hostname").stat().st_mode) == 0o644
    assert findings(somebody, level="mend") == {}


@pytest.mark.parametrize("hostname", ["-", "-a.test", "a b.test", "a..test", "1.2.3.4", "mail.seméil.test", "a/b", "x" * 64 + ".test", "a_b.test", "@", "a.test\nb"])
def test_init_wants_a_hostname(user, hostname):
    assert re.search("host name|xn--", user.refused("init", user.home, f"--hostname={hostname}"))
    assert not user.home.exists()


def test_init_takes_no_directory_of_others(user):
    other = user.directory / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    user.chown(other)
    assert "not empty" in user.refused("init", other, "--hostname", "a.test")
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    assert "does not exist" in user.refused("init", user.directory / "no/where", "--hostname", "a.test")
    assert "not a directory" in user.refused("init", other / "thesis.txt", "--hostname", "a.test")
    assert "too long" in user.refused("init", user.directory / ("x" * 100), "--hostname", "a.test")


def test_root_in_the_home_of_a_user_becomes_that_user(root, programs):
    user = Admin(programs, root.directory, PLAIN_USER)
    os.chown(root.directory, PLAIN_USER, PLAIN_USER)
    user.init()
    root.ok("mailbox", "create", "xredon", "xredon@semail.test")
    root.ok("config", "recipients", "150")
    id = user.queue_message()
    root.ok("queue", "hold", id)
    assert {path.lstat().st_uid for path in [root.home, *root.home.rglob("*")]} == {PLAIN_USER}
    assert findings(root, level="mend") == {}


# -- an installation's table ------------------------------------------------

TABLE = f"""
# As etc/hier, with numbers.
d 0755 0 0 HOME
l 0777 0 0 HOME/control -> HOME-settings
d 0755 0 0 HOME-settings
d 0755 root root HOME/mailboxes
d 0711 {QUEUE_USER} {QUEUE_USER} HOME/queue
d 3770 {QUEUE_USER} {SMTPD_USER} HOME/queue/new
d 0700 {QUEUE_USER} {QUEUE_USER} HOME/queue/later
d 0700 {QUEUE_USER} {QUEUE_USER} HOME/queue/hold
d 0700 {QUEUE_USER} {QUEUE_USER} HOME/queue/reason
d 0711 {QUEUE_USER} {QUEUE_USER} HOME/run
p 0620 {QUEUE_USER} {SMTPD_USER} HOME/run/trigger
d 0711 0 0 HOME/mnt
f 0755 0 0 HOME/program
"""


@pytest.fixture
def installed(root):
    table = root.directory / "hier"
    table.write_text(TABLE.replace("HOME-settings", f"{root.home}-settings"))
    root.table = table
    root.init("--hier", table)
    root.ok("mailbox", "create", "xredon", "xredon@semail.test")
    return root


def test_a_table_is_obeyed_and_checked(installed):
    assert os.readlink(installed.home / "control") == f"{installed.home}-settings"
    for name, mode, uid, gid in (("queue/new", 0o3770, QUEUE_USER, SMTPD_USER), ("run/trigger", 0o620, QUEUE_USER, SMTPD_USER),
                                 ("queue", 0o711, QUEUE_USER, QUEUE_USER), ("mailboxes", 0o755, 0, 0)):
        status = (installed.home / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, uid, gid), name
    check = lambda: findings(installed, "--hier", installed.table)["home"]
    assert [finding["level"] for finding in check()] == ["well"]

    # Each thing that is wrong is told with a command that mends it.
    os.chmod(installed.home / "queue/new", 0o770)
    os.chown(installed.home / "queue/hold", 0, 0)
    (installed.home / "program").write_text("")
    found = check()
    assert [finding["level"] for finding in found] == ["mend"] * 3
    for finding in found:
        assert finding["remedy"].startswith("run: ch")
        subprocess.run(["sh", "-c", finding["remedy"].removeprefix("run: ")], check=True)
    assert [finding["level"] for finding in check()] == ["well"]

    os.rmdir(installed.home / "queue/reason")
    os.remove(installed.home / "run/trigger")
    (installed.home / "run/trigger").write_text("")
    assert {finding["text"] for finding in check()} == {f"{installed.home}/queue/reason is missing",
                                                        f"{installed.home}/run/trigger should be a FIFO and is a file"}


def test_a_table_that_makes_no_sense(root):
    for line, what in (("d 0755 0 0", "line 1"), ("x 0755 0 0 HOME", "no type x"), ("d 9 0 0 HOME", "line 1"),
                       ("d 0755 no-such-user 0 HOME", "there is no user no-such-user"), ("l 0777 0 0 HOME/a", "line 1")):
        table = root.directory / "hier"
        table.write_text(line + "\n")
        assert what in root.refused("init", root.home, "--hostname", "a.test", "--hier", table)
        assert not root.home.exists()
    assert "--hier" in root.refused("init", root.home, "--hostname", "a.test", "--hier", "/nonexistent")


def test_what_root_does_to_the_queue_is_qrunners_to_change(installed):
    def session():
        result = subprocess.run([installed.programs / "smtpd-session", "-u", f"{SMTPD_USER}:{SMTPD_USER}", "inbound"], capture_output=True,
                                input=DIALOGUE % (b"a@b.test", b"xredon@semail.test", b"x"), env=installed.environment())
        return re.search(rb"queued as (\w{16})", result.stdout)[1].decode()

    ids = [session() for _ in range(3)]
    queue = installed.home / "queue"
    installed.ok("queue", "hold", ids[0])
    assert (queue / "lock").stat().st_uid == QUEUE_USER
    installed.ok("queue", "delete", "--yes", ids[2])
    # Out of reach, so that it waits for later.
    away = installed.directory / "away"
    installed.maildir("xredon").rename(away)
    qrunner = ["qrunner", "-u", f"{QUEUE_USER}:{SMTPD_USER}"]
    assert installed.program(*qrunner, "--once").returncode == 0
    assert [path.name for path in queue.glob("later/*/*")] == [ids[1]]
    installed.ok("queue", "retry", ids[1])
    installed.ok("queue", "release", ids[0])
    assert {path.stat().st_uid for path in queue.rglob("*") if path.is_dir()} == {QUEUE_USER}
    away.rename(installed.maildir("xredon"))
    assert installed.program(*qrunner, "--once").returncode == 0
    assert len(list((installed.maildir("xredon") / "new").iterdir())) == 2
    assert [path for path in queue.glob("*/*/*") if path.is_file()] == []
    # The settings and mailboxes stay root's, and readable for the services.
    installed.ok("config", "recipients", "300")
    for name in ("control/recipients", "mailboxes/xredon@semail.test"):
        status = (installed.home / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o644, 0)


# -- mailbox ----------------------------------------------------------------

def test_create_as_root_gives_each_a_user_of_its_own(root):
    root.init()
    assert root.json("mailbox", "create", "xredon", "Xredon@Semail.TEST") == {
        "address": "xredon@semail.test", "owner": "xredon", "uid": 30001, "gid": 30001,
        "maildir": str(root.maildir("xredon")), "state": "active", "isNew": True}
    assert re.fullmatch(f"owner xredon\nuid 30001\ngid 30001\nmaildir {root.maildir('xredon')}\nstate active\nsince \\d+\n",
                        (root.home / "mailboxes/xredon@semail.test").read_text())
    assert root.json("mailbox", "create", "ssow", "ssow@semail.test")["uid"] == 30002
    # Not that of somebody who has just gone.
    root.ok("mailbox", "delete", "--yes", "xredon@semail.test")
    assert root.json("mailbox", "create", "cat", "cat@semail.test")["uid"] == 30003
    for name in ("", "tmp", "new", "cur"):
        status = (root.maildir("cat") / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o700, 30003, 30003)
    assert stat.S_IMODE((root.home / "mnt/cat").stat().st_mode) == 0o711 and (root.home / "mnt/cat").stat().st_uid == 0
    assert findings(root, level="mend") == {}


def test_create_until_no_uid_is_left(root):
    root.init()
    root.ok("config", "mailbox-uids", "30000-30002")
    root.ok("mailbox", "create", "a", "a@x.test")
    root.ok("mailbox", "create", "b", "b@x.test")
    assert "every uid of 30000-30002 is in use" in root.refused("mailbox", "create", "c", "c@x.test")
    root.ok("mailbox", "delete", "--yes", "a@x.test")
    assert root.json("mailbox", "create", "c", "c@x.test")["uid"] == 30001
    # An account of the host is nobody's mailbox.
    root.ok("config", "mailbox-uids", "65534-65535")
    assert root.json("mailbox", "create", "d", "d@x.test")["uid"] == 65535


def test_create_as_a_user_makes_it_theirs(user):
    user.init()
    assert user.json("mailbox", "create", "xredon", "xredon@semail.test")["uid"] == (user.user or os.geteuid())
    assert user.json("mailbox", "create", "ssow", "ssow@semail.test")["uid"] == (user.user or os.geteuid())
    assert findings(user, level="mend") == {}


def test_create_again(at_home):
    before = snapshot(at_home.home)
    assert "was there already" in at_home.ok("mailbox", "create", "xredon", "xredon@semail.test")
    assert at_home.json("mailbox", "create", "xredon", "XREDON@semail.test")["isNew"] is False
    assert snapshot(at_home.home) == before


def test_create_refuses(at_home):
    before = snapshot(at_home.home)
    assert "xredon has the mailbox xredon@semail.test" in at_home.refused("mailbox", "create", "xredon", "other@semail.test")
    assert "is the mailbox of xredon" in at_home.refused("mailbox", "create", "ssow", "xredon@semail.test")
    for name in ("abuse", "Postmaster", "hostmaster", "webmaster", "root", "admin", "administrator", "security", "noc", "mailer-daemon"):
        assert "is reserved" in at_home.refused("mailbox", "create", "ssow", f"{name}@semail.test")
    assert snapshot(at_home.home) == before
    at_home.ok("config", "aliases", "info@semail.test xredon@semail.test")
    assert "aliases" in at_home.refused("mailbox", "create", "ssow", "info@semail.test")


@pytest.mark.parametrize("address", [
    "", "@", "a", "a@", "@b.test", "a b@c.test", ".a@b.test", "a.@b.test", "a..b@c.test", "-a@b.test", "a-@b.test", "a+b@c.test", "a/b@c.test",
    "../x@c.test", "a%b@c.test", "a!b@c.test", '"a b"@c.test', "ä@b.test", "a@ä.test", "a@b..test", "a@-b.test", "a@b-.test", "a@[127.0.0.1]",
    "a@127.0.0.1", "a@b.test@c.test", "a\n@b.test", "a@b.test\n", "x" * 65 + "@b.test", "a@" + "x" * 64 + ".test",
    "a@" + ".".join(["x" * 60] * 5), "\u202ea@b.test"])
def test_addresses_that_can_be_no_mailbox(user_home, address):
    before = snapshot(user_home.home)
    user_home.refused("mailbox", "create", "--", "ssow", address)
    assert snapshot(user_home.home) == before


@pytest.mark.parametrize("owner", ["", ".", "..", "a/b", "../a", "A", "a b", "-a", "a-", ".a", "ä", "a\n", "x" * 65, "a..b", "a@b"])
def test_owners_that_can_be_none(user_home, owner):
    before = snapshot(user_home.home)
    code, _, _ = user_home.semail("mailbox", "create", "--", owner, "new@semail.test")
    assert code == 1 and snapshot(user_home.home) == before


@pytest.mark.parametrize("address", ["a@b", "1@2.test", "a.b-c_d@x-y.test", "x" * 64 + "@" + "y" * 63 + ".test", "a@xn--bcher-kva.test"])
def test_addresses_that_can(user_home, address):
    user_home.ok("mailbox", "create", "ssow", address)
    assert user_home.queue_message(address)


def test_many_at_once_get_different_users(root):
    root.init()
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda number: root.json("mailbox", "create", f"u{number}", f"u{number}@semail.test"), range(24)))
        assert len({one["uid"] for one in made}) == 24
        same = list(pool.map(lambda _: root.json("mailbox", "create", "same", "same@semail.test"), range(12)))
        assert sorted(one["isNew"] for one in same) == [False] * 11 + [True] and len({one["uid"] for one in same}) == 1
    assert findings(root, level="mend") == {}


def test_list_and_show(at_home):
    lines = [line.split("\t") for line in at_home.ok("mailbox", "list").splitlines()]
    uid = str((at_home.maildir("xredon")).stat().st_uid)
    assert lines[1] == ["xredon@semail.test", "xredon", uid, "active", str(at_home.maildir("xredon"))]
    assert [one["address"] for one in at_home.json("mailbox", "list")["mailboxes"]] == ["postmaster@mail.semail.test", "xredon@semail.test"]
    (at_home.maildir("xredon") / "new/1.a.b").write_text("x" * 100)
    (at_home.maildir("xredon") / "cur/2.a.b:2,S").write_text("x" * 23)
    at_home.ok("config", "aliases", "info@semail.test xredon@semail.test\n# nothing\nsales@semail.test postmaster@mail.semail.test XREDON@semail.test")
    shown = at_home.json("mailbox", "show", "XRedon@semail.test")
    assert (shown["new"], shown["cur"], shown["octets"], shown["aliases"]) == (1, 1, 123, ["info@semail.test", "sales@semail.test"])
    assert shown["freeOctets"] > 0
    facts = dict(line.split("\t", 1) for line in at_home.ok("mailbox", "show", "xredon@semail.test").splitlines())
    assert (facts["owner"], facts["size"], facts["aliases"]) == ("xredon", "123", "info@semail.test sales@semail.test")
    assert "there is no mailbox nobody@semail.test" in at_home.refused("mailbox", "show", "nobody@semail.test")


def test_delete(at_home):
    at_home.ok("mailbox", "create", "ssow", "ssow@semail.test")
    for name in ("new/1.a.b", "cur/2.a.b:2,", ".Sent/cur/3"):
        path = at_home.maildir("xredon") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mail")
        for changed in (path, path.parent, path.parent.parent):
            at_home.chown(changed)
    # Whoever owns a Maildir can put a link into it.
    precious = at_home.directory / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    (at_home.maildir("xredon") / "new/link").symlink_to(precious)
    (at_home.maildir("xredon") / "cur/deep").symlink_to("/")
    assert "--yes" in at_home.refused("mailbox", "delete", "xredon@semail.test")
    assert at_home.json("mailbox", "delete", "--yes", "xredon@semail.test")["mailKeptAt"] is None
    assert (precious / "file").read_text() == "precious"
    assert not (at_home.home / "mnt/xredon").exists() and not (at_home.home / "mailboxes/xredon@semail.test").exists()
    assert (at_home.home / "mailboxes/@semail.test").exists()
    at_home.ok("mailbox", "delete", "--yes", "ssow@semail.test")
    assert not (at_home.home / "mailboxes/@semail.test").exists()
    assert "there is no mailbox" in at_home.refused("mailbox", "delete", "--yes", "ssow@semail.test")
    assert findings(at_home, level="mend") == {}


def test_delete_asks_a_person(user_home):
    (user_home.maildir("xredon") / "new/1").write_text("mail")
    code, shown = user_home.terminal("mailbox", "delete", "xredon@semail.test", typed=b"n\n")
    assert code == 1 and "Remove xredon@semail.test of xredon and 1 message in it? [y/N]" in shown and "nothing was removed" in shown
    assert user_home.maildir("xredon").exists()
    code, shown = user_home.terminal("mailbox", "delete", "xredon@semail.test", typed=b"y\n")
    assert code == 0 and not user_home.maildir("xredon").exists()


def test_delete_refuses_what_others_rely_on(at_home):
    assert "postmaster" in at_home.refused("mailbox", "delete", "--yes", "postmaster@mail.semail.test")
    at_home.ok("config", "aliases", "info@semail.test xredon@semail.test")
    assert "info@semail.test" in at_home.refused("mailbox", "delete", "--yes", "xredon@semail.test")
    at_home.ok("config", "aliases", "--unset")
    at_home.ok("config", "postmaster", "xredon@semail.test")
    assert "postmaster" in at_home.refused("mailbox", "delete", "--yes", "xredon@semail.test")
    at_home.ok("mailbox", "delete", "--yes", "postmaster@mail.semail.test")
    assert at_home.maildir("xredon").exists()


def test_delete_can_keep_the_mail(at_home):
    before = at_home.json("mailbox", "show", "xredon@semail.test")
    (at_home.maildir("xredon") / "new/1").write_text("mail")
    assert at_home.json("mailbox", "delete", "--keep-mail", "xredon@semail.test")["mailKeptAt"] == before["maildir"]
    assert "mnt/xredon holds mail" in findings(at_home, level="note")["mailboxes"][0]["text"]
    at_home.ok("mailbox", "create", "ssow", "ssow@semail.test")
    after = at_home.json("mailbox", "create", "xredon", "new-name@semail.test")
    assert (after["uid"], after["isNew"]) == (before["uid"], True)
    assert at_home.json("mailbox", "show", "new-name@semail.test")["new"] == 1


def test_create_takes_over_no_foreign_maildir(root_home):
    root_home.ok("mailbox", "delete", "--keep-mail", "xredon@semail.test")
    os.chown(root_home.maildir("xredon"), 4711, 4711)
    assert "4711" in root_home.refused("mailbox", "create", "xredon", "xredon@semail.test")
    os.chown(root_home.maildir("xredon"), 30001, 30001)
    os.rmdir(root_home.maildir("xredon") / "tmp")
    sentence = root_home.refused("mailbox", "create", "xredon", "xredon@semail.test")
    subprocess.run(["sh", "-c", sentence.split("run: ")[1]], check=True)
    root_home.ok("mailbox", "create", "xredon", "xredon@semail.test")
    assert findings(root_home, level="mend") == {}


# What changes a file system; each call is a point at which the machine may stop.
CALLS = ("mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,chown,lchown,fchownat,chmod,fchmod,fchmodat,linkat,rename,renameat,renameat2,"
         "unlink,unlinkat,rmdir,fsync")


def points(admin, *words):
    """Runs a command, and tells every changing call it makes as (name, which of that name), in order."""
    trace = admin.directory / "trace"
    assert admin.program("semail", *words, prefix=(semailtest.tool("strace"), "-qq", "-o", trace, "-e", f"trace={CALLS}")).returncode == 0
    names = [line.split("(")[0] for line in trace.read_text().splitlines()]
    trace.unlink()
    assert len(names) > 5
    return [(name, names[:place + 1].count(name)) for place, name in enumerate(names)]


def kill_at(admin, point, *words):
    """Runs a command that is killed when it is about to make this call."""
    name, number = point
    result = admin.program("semail", *words, prefix=(
        "strace", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", f"inject={name}:signal=KILL:when={number}"))
    assert result.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (point, result)


def test_create_killed_at_every_call(root):
    root.init()
    words = ("mailbox", "create", "new", "new@semail.test")
    for point in points(root, *words):
        root.ok("mailbox", "delete", "--yes", "new@semail.test")
        kill_at(root, point, *words)
        # There or not there; nothing that would disturb a service; and the next try completes it.
        addresses = [one["address"] for one in root.json("mailbox", "list")["mailboxes"]]
        assert [finding for finding in findings(root, level="mend").get("mailboxes", []) if "a marker and no mailbox" not in finding["text"]] == [], point
        assert root.json(*words)["isNew"] == ("new@semail.test" not in addresses)
        assert [finding["level"] for finding in findings(root)["mailboxes"]] == ["well"], point
        id = root.queue_message("new@semail.test")
        root.ok("queue", "delete", "--yes", id)


def test_delete_killed_at_every_call(root):
    root.init()
    words = ("mailbox", "delete", "--yes", "old@semail.test")

    def create():
        root.ok("mailbox", "create", "old", "old@semail.test")
        for name in ("new/1", "cur/.hidden"):
            (root.maildir("old") / name).write_text("mail")

    create()
    for point in points(root, *words):
        create()
        kill_at(root, point, *words)
        # Until the address is gone everything is; then the same command goes on.
        if (root.home / "mailboxes/old@semail.test").exists():
            assert [finding["level"] for finding in findings(root)["mailboxes"]] == ["well"], point
            assert root.json("mailbox", "show", "old@semail.test")["new"] == 1
        code, _, err = root.semail(*words)
        assert code == 0 or "there is no mailbox" in err, point
        assert not (root.home / "mnt/old").exists()
        assert [finding["level"] for finding in findings(root)["mailboxes"]] == ["well"], point


def test_init_killed_at_every_call(root):
    words = ("init", root.home, "--hostname", "mail.semail.test")
    for point in points(root, *words):
        shutil.rmtree(root.home)
        kill_at(root, point, *words)
        root.ok(*words)
        assert findings(root, level="mend") == {}, point


# -- queue ------------------------------------------------------------------

def later(admin):
    """A message that was tried: its mailbox is out of reach. Returns its id and what brings the mailbox back."""
    id = admin.queue_message(subject="later")
    box, away = admin.home / "mnt/xredon", admin.home / "mnt/.away"
    box.rename(away)
    assert admin.program("qrunner", "--once").returncode == 0
    return id, lambda: away.rename(box)


def test_queue_list_and_show(at_home):
    assert at_home.ok("queue", "list") == "" and at_home.json("queue", "list") == {"messages": []}
    tried, _ = later(at_home)
    held = at_home.queue_message(subject="held")
    at_home.ok("queue", "hold", held)
    new = at_home.queue_message("postmaster@mail.semail.test", "", subject="new \x1b[2J\xff")
    lines = [line.split("\t") for line in at_home.ok("queue", "list").splitlines()]
    assert [line[:2] for line in lines] == [[new, "new"], [held, "hold"], [tried, "later"]]
    assert [line[5:] for line in lines] == [["<>", "postmaster@mail.semail.test"], ["ssow@semail.test", "xredon@semail.test"]] + [["ssow@semail.test", "xredon@semail.test"]]
    assert all(line[2].isdigit() and line[3].isdigit() for line in lines)
    assert lines[0][4] == "-" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", lines[2][4])

    messages = at_home.json("queue", "list")["messages"]
    assert [(one["id"], one["state"], one["sender"], one["recipients"]) for one in messages] == [
        (new, "new", "", ["postmaster@mail.semail.test"]), (held, "hold", "ssow@semail.test", ["xredon@semail.test"]),
        (tried, "later", "ssow@semail.test", ["xredon@semail.test"])]
    assert set(messages[0]) == {"id", "state", "received", "size", "sender", "recipients", "nextTry", "isMalformed"}

    shown = at_home.json("queue", "show", tried)
    assert [(reason["recipient"], reason["status"]) for reason in shown["reasons"]] == [("xredon@semail.test", "4.2.1")]
    assert "Subject: later\n" in shown["headers"] and "It works" not in shown["headers"]
    text = at_home.ok("queue", "show", tried)
    assert f"file\tqueue/later/" in text and "reason\txredon@semail.test: 4.2.1 " in text and "\nSubject: later\n" in text
    # Nothing that a stranger wrote reaches a terminal as it is.
    assert "\x1b" not in at_home.ok("queue", "show", new) and "Subject: new \\u{1b}[2J" in at_home.ok("queue", "show", new)
    for id in ("nonsense", "0000000000000000", "../new"):
        assert "there is no message" in at_home.refused("queue", "show", id)


def test_queue_on_a_terminal(user_home):
    id, _ = later(user_home)
    code, shown = user_home.terminal("queue", "list", environment={"NO_COLOR": "1"})
    head, line, tail = shown.splitlines()
    assert code == 0 and "\x1b" not in shown
    assert head.split() == ["ID", "STATE", "AGE", "SIZE", "NEXT", "TRY", "SENDER", "WAITING", "RECIPIENTS"]
    for title, value in (("STATE", "later"), ("SENDER", "ssow@semail.test"), ("WAITING", "xredon@semail.test")):
        assert line[head.index(title):].startswith(value)
    assert tail == "1 message"
    assert "\x1b[1mID" in user_home.terminal("queue", "list", environment={"NO_COLOR": ""})[1]
    assert "\x1b" not in user_home.terminal("queue", "list", environment={"TERM": "dumb"})[1]
    assert "\x1b" not in user_home.terminal("queue", "list", "--json")[1]


def test_orders_without_qrunner(user_home):
    one, two = user_home.queue_message(), user_home.queue_message()
    assert "qrunner" not in user_home.ok("queue", "hold", one, two)
    assert sorted(path.name for path in (user_home.home / "queue/hold").iterdir()) == sorted([one, two])
    code, out, err = user_home.semail("queue", "hold", one)
    assert code == 1 and "is held already" in err
    code, out, err = user_home.semail("queue", "release", one, "nonsense", "0000000000000000")
    assert code == 1 and out.startswith(f"{one}: released; qrunner is not running") and err.count("semail: ") == 2
    assert user_home.json("queue", "release", one, code=1) == {
        "order": "release", "isRunning": False, "messages": [{"id": one, "isDone": False, "text": f"{one} is not held"}]}
    assert "--yes" in user_home.refused("queue", "delete", two)
    assert user_home.terminal("queue", "delete", two, typed=b"\n")[0] == 1
    assert user_home.terminal("queue", "delete", two, typed=b"yes\n")[0] == 0
    assert [message["id"] for message in user_home.json("queue", "list")["messages"]] == [one]


def test_retry_and_flush_without_qrunner(user_home):
    id, bring_back = later(user_home)
    place = next((user_home.home / "queue/later").iterdir())
    user_home.ok("queue", "retry", id)
    assert not place.exists() and user_home.json("queue", "list")["messages"][0]["state"] == "later"
    minute = int(next((user_home.home / "queue/later").iterdir()).name)
    assert minute * 60 <= time.time()
    for number in (3, 2, 1):  # Three that are due at different times; one directory is due already.
        (user_home.home / f"queue/later/{int(time.time()) // 60 + number * 10}").mkdir()
    for path in (user_home.home / "queue/later").iterdir():
        user_home.chown(path)
    user_home.ok("queue", "flush")
    assert all(int(path.name) * 60 <= time.time() for path in (user_home.home / "queue/later").iterdir())
    assert len(list((user_home.home / "queue/later").iterdir())) == 4
    bring_back()
    assert user_home.program("qrunner", "--once").returncode == 0
    assert len(list((user_home.maildir("xredon") / "new").iterdir())) == 1


def test_orders_to_a_running_qrunner(at_home):
    id, bring_back = later(at_home)
    at_home.start_qrunner()
    assert at_home.json("queue", "hold", id) == {"order": "hold", "isRunning": True, "messages": [{"id": id, "isDone": True, "text": None}]}
    assert (at_home.home / "queue/hold" / id).exists()
    code, _, err = at_home.semail("queue", "retry", id)
    assert code == 1 and "held" in err
    bring_back()
    assert at_home.ok("queue", "release", id) == f"{id}: released, and being tried\n"
    assert await_true(lambda: list((at_home.maildir("xredon") / "new").iterdir()))
    other = at_home.queue_message("postmaster@mail.semail.test")
    assert await_true(lambda: at_home.json("queue", "list")["messages"] == [])
    code, _, err = at_home.semail("queue", "delete", "--yes", other)
    assert code == 1 and "there is no message" in err
    assert at_home.ok("queue", "flush") == "qrunner tries everything now\n"


def test_orders_while_somebody_else_has_the_lock(user_home):
    id = user_home.queue_message()
    with open(user_home.home / "queue/lock", "a") as lock:
        user_home.chown(user_home.home / "queue/lock")
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "try again" in user_home.refused("queue", "hold", id)
        assert (user_home.home / "queue/new" / id).exists()
        assert len(user_home.ok("queue", "list").splitlines()) == 1
    user_home.ok("queue", "hold", id)


def test_a_queue_with_things_that_are_no_messages(user_home):
    id = user_home.queue_message()
    new = user_home.home / "queue/new"
    (new / "0000000000000001").write_text("nonsense")
    (new / "0000000000000002").write_text("")
    os.mkfifo(new / "0000000000000003")
    (new / "0000000000000004").symlink_to("/etc/passwd")
    (new / "README").write_text("not an id")
    for path in new.iterdir():
        if not path.is_symlink():
            user_home.chown(path)
    lines = dict(line.split("\t")[:2] for line in user_home.ok("queue", "list").splitlines())
    assert lines == {id: "new", **{f"000000000000000{number}": "malformed" for number in (1, 2, 3, 4)}}
    assert sum(one["isMalformed"] for one in user_home.json("queue", "list")["messages"]) == 4
    user_home.ok("queue", "show", "0000000000000003")
    assert any("4 files in the queue" in finding["text"] for finding in findings(user_home, level="mend")["queue"])
    user_home.ok("queue", "delete", "--yes", *[name for name in lines if name != id])
    assert findings(user_home, level="mend").get("queue") is None


def test_a_long_queue_costs_no_memory(user_home):
    source = user_home.home / "queue/new" / user_home.queue_message()

    def peak(*words):
        with subprocess.Popen([user_home.programs / "semail", *words], stdout=subprocess.PIPE, env=user_home.environment(),
                              **user_home.identity()) as process:
            lines = sum(1 for _ in process.stdout)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return lines, usage.ru_maxrss

    _, little = peak("queue", "list")
    for number in range(30000):
        os.link(source, source.with_name(f"{number:016d}"))
    for words in (["queue", "list"], ["queue", "list", "--json"]):
        lines, much = peak(*words)
        assert lines > 30000 and much < little + 3000, f"{' '.join(words)}: {little} KB for one, {much} KB for 30001"


# -- config -----------------------------------------------------------------

def test_config_list(user_home):
    lines = [line.split("\t") for line in user_home.ok("config").splitlines()]
    assert all(len(line) == 5 and line[3] == "semail-control(5)" for line in lines)
    table = {line[0]: line[1:3] for line in lines}
    assert table["hostname"] == ["mail.semail.test", "none"] and table["message-size"] == ["50M", "50M"] and len(table) >= 19
    user_home.ok("config", "message-size", "1G")
    settings = {one["name"]: one for one in user_home.json("config")["settings"]}
    assert settings["message-size"] == {
        "name": "message-size", "value": "1G", "default": "50M", "isSet": True, "isValid": True, "meaning": "largest message accepted",
        "documentation": "semail-control(5)", "file": str(user_home.home / "control/message-size")}
    (user_home.home / "control/hops").write_text("many\n")
    assert "hops\tmany (not understood)\t100" in user_home.ok("config")
    os.remove(user_home.home / "control/hostname")
    assert "control/hostname is missing" in user_home.ok("config")


def test_config_sets_and_unsets(at_home):
    assert at_home.ok("config", "idle-time") == "5m\n"
    assert at_home.ok("config", "idle-time", "90s").startswith("idle-time is 90s")
    assert (at_home.home / "control/idle-time").read_text() == "90s\n"
    assert stat.S_IMODE((at_home.home / "control/idle-time").stat().st_mode) == 0o644
    assert at_home.json("config", "idle-time")["isSet"] is True
    # Whoever may know a value stays so.
    os.chmod(at_home.home / "control/idle-time", 0o600)
    at_home.ok("config", "idle-time", "80s")
    assert stat.S_IMODE((at_home.home / "control/idle-time").stat().st_mode) == 0o600
    assert "the default" in at_home.ok("config", "idle-time", "--unset")
    assert at_home.ok("config", "idle-time", "--unset") and at_home.ok("config", "idle-time") == "5m\n"
    assert not (at_home.home / "control/idle-time").exists()
    assert "no default" in at_home.refused("config", "hostname", "--unset")
    assert "there is no setting nonsense" in at_home.refused("config", "nonsense", "1")


@pytest.mark.parametrize("name, value", [
    ("message-size", "64"), ("message-size", "1T"), ("message-size", "-1"), ("recipients", "99"), ("recipients", "x"), ("recipients", "1K"),
    ("command-length", "511"), ("line-length", "999"), ("hops", "1"), ("errors", "0"), ("deliveries", "0"), ("sessions", "0"), ("idle-time", "0s"),
    ("idle-time", "5 m"), ("queue-lifetime", "5w"), ("mailbox-uids", "0-5"), ("mailbox-uids", "9-5"), ("mailbox-uids", "5"),
    ("hostname", "a b"), ("hostname", ""), ("postmaster", "nobody@semail.test"), ("postmaster", "nonsense"),
    ("aliases", "info@semail.test"), ("aliases", "info xredon@semail.test"), ("aliases", "info@semail.test nobody@semail.test"), ("hops", "99999999999999999999")])
def test_config_refuses(user_home, name, value):
    before = snapshot(user_home.home / "control")
    user_home.refused("config", "--", name, value)
    assert snapshot(user_home.home / "control") == before


def test_config_from_standard_input(user_home):
    lines = "# people\ninfo@semail.test xredon@semail.test\n\nsales@semail.test\txredon@semail.test postmaster@mail.semail.test\n"
    user_home.ok("config", "aliases", "-", input=lines.encode())
    assert (user_home.home / "control/aliases").read_text() == lines
    assert user_home.ok("config", "aliases") == lines
    assert user_home.queue_message("sales@semail.test")
    assert "a.test" in user_home.ok("config", "hostname", "A.TEST") and user_home.ok("config", "hostname") == "a.test\n"


# -- doctor -----------------------------------------------------------------

def test_doctor_at_a_good_home(at_home):
    code, out, err = at_home.semail("doctor")
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert all(len(line) == 4 for line in lines)
    assert [line[1] for line in lines] == ["home", "settings", "mailboxes", "postmaster", "qrunner", "queue", "disk", "port", "dns", "clock"]
    document = at_home.json("doctor")
    assert document["isWell"] is True and document["home"] == str(at_home.home)
    assert all(set(finding) == {"check", "level", "text", "remedy"} for finding in document["findings"])
    before = snapshot(at_home.home)
    at_home.ok("doctor")
    assert snapshot(at_home.home) == before
    code, shown = at_home.terminal("doctor")
    assert code == 0 and "\x1b[32mwell\x1b[0m" in shown and shown.endswith("all is well\n")


BREAKS = {
    "home": [
        (lambda a: shutil.rmtree(a.home / "queue/hold"), "queue/hold is missing"),
        (lambda a: os.chmod(a.home / "mailboxes", 0o777), "mailboxes has the mode 777"),
    ],
    "settings": [
        (lambda a: (a.home / "control/recipients").write_text("many\n"), '"many" is no value for recipients'),
        (lambda a: (a.home / "control/recipients").write_text("7\n"), "RFC 5321"),
        (lambda a: (a.home / "control/aliases").write_text("info@semail.test gone@semail.test\n"), "there is no mailbox gone@semail.test"),
        (lambda a: os.remove(a.home / "control/hostname"), "control/hostname is missing"),
        (lambda a: (a.home / "control/hostname").write_text("not a name\n"), "no host name"),
    ],
    "mailboxes": [
        (lambda a: (a.home / "mailboxes/xredon@semail.test").write_text("owner xredon\n"), "makes no sense"),
        (lambda a: shutil.rmtree(a.maildir("xredon")), "there is no directory"),
        (lambda a: os.rmdir(a.maildir("xredon") / "cur"), "Maildir/cur is no directory"),
        (lambda a: os.chmod(a.maildir("xredon"), 0o777), "has the mode 777"),
        (lambda a: os.remove(a.home / "mailboxes/@semail.test"), "no marker"),
        (lambda a: (a.home / "mailboxes/@other.test").write_text(""), "a marker and no mailbox"),
        (lambda a: (a.home / "mailboxes/Big@semail.test").write_text((a.home / "mailboxes/xredon@semail.test").read_text()), "small letters"),
        (lambda a: (a.home / "mailboxes/two@semail.test").write_text((a.home / "mailboxes/xredon@semail.test").read_text()), "xredon owns two@semail.test and xredon@semail.test"),
        (lambda a: (a.home / "mailboxes/xredon@semail.test").write_text(f"owner xredon\nuid 30001\ngid 30001\nmaildir {a.directory}\n"), "is not beneath"),
    ],
    "postmaster": [
        (lambda a: (a.home / "control/postmaster").write_text("gone@semail.test\n"), "nobody gets the mail for postmaster"),
    ],
    "qrunner": [(lambda a: a.queue_message(), "nothing is delivered")],
}


@pytest.mark.parametrize("check, number", [(check, number) for check, cases in BREAKS.items() for number in range(len(cases))])
def test_doctor_finds(at_home, check, number):
    wreck, text = BREAKS[check][number]
    assert findings(at_home, level="mend") == {}
    wreck(at_home)
    found = findings(at_home, level="mend")
    assert any(text in finding["text"] for finding in found.get(check, [])), found
    assert all(finding["remedy"] for finding in found[check])
    assert at_home.semail("doctor")[0] == 1


def test_doctor_finds_owners(root_home):
    root_home.ok("mailbox", "create", "ssow", "ssow@semail.test")
    file = root_home.home / "mailboxes/ssow@semail.test"
    text = file.read_text()
    for new, expected in ((text.replace("30002", "30001"), "share the uid 30001"), (text.replace("30002", "99"), "outside of mailbox-uids")):
        file.write_text(new)
        assert any(expected in finding["text"] for finding in findings(root_home, level="mend")["mailboxes"])
    file.write_text(text)
    os.chmod(file, 0o600)
    [finding] = findings(root_home, level="mend")["mailboxes"]
    subprocess.run(["sh", "-c", finding["remedy"].removeprefix("run: ")], check=True)
    os.chown(root_home.maildir("ssow"), 0, 0)
    [finding] = findings(root_home, level="mend")["mailboxes"]
    subprocess.run(["sh", "-c", finding["remedy"].removeprefix("run: ")], check=True)
    assert findings(root_home, level="mend") == {}


def test_doctor_notes(user_home):
    (user_home.home / "control/sise").write_text("1\n")
    (user_home.home / "mnt/ghost").mkdir()
    path = user_home.home / "mailboxes/xredon@semail.test"
    path.write_text(path.read_text().replace("active", "suspended"))
    (user_home.maildir("postmaster") / "new/1").write_text("mail")
    notes = findings(user_home, level="note")
    texts = " ".join(finding["text"] for found in notes.values() for finding in found)
    for expected in ("control/sise is no setting", "mnt/ghost holds mail", "xredon@semail.test is suspended", "has 1 unread message"):
        assert expected in texts
    assert user_home.semail("doctor")[0] == 0
    os.utime(user_home.maildir("postmaster") / "new/1", (0, time.time() - 8 * 86400))
    assert "the oldest 8d old" in findings(user_home, level="mend")["postmaster"][0]["text"]


def test_doctor_looks_at_the_queue(user_home):
    id = user_home.queue_message()
    path = user_home.home / "queue/new" / id
    old = re.sub(rb"received \d+", b"received %d" % (time.time() - 3600), path.read_bytes())
    path.write_bytes(old)
    assert f"{id} has waited for 1h without being tried" in findings(user_home, level="mend")["queue"][0]["text"]
    user_home.ok("queue", "hold", id)
    assert "1 message is on hold" in findings(user_home, level="note")["queue"][0]["text"]
    (user_home.home / f"queue/later/{int(time.time()) // 60 + 60}").mkdir()
    path = next((user_home.home / "queue/later").iterdir()) / id
    path.write_bytes(re.sub(rb"received \d+", b"received %d" % (time.time() - 86400), old))
    os.remove(user_home.home / "queue/hold" / id)
    for changed in (path.parent, path):
        user_home.chown(changed)
    assert f"the oldest, {id}, is 1d old" in findings(user_home, level="note")["queue"][0]["text"]


def test_doctor_sees_qrunner_and_the_port(at_home):
    at_home.start_qrunner()
    assert findings(at_home)["qrunner"][0]["text"] == "qrunner is running, and answers"
    accept = at_home.start("tcp-accept", "127.0.0.1", "0", "smtpd-session", "inbound")
    port = re.search(rb"listening address=\S+ port=(\d+)", accept.stderr.readline())[1].decode()
    [finding] = findings(at_home, "--port", port)["port"]
    assert finding["level"] == "well" and "220 mail.semail.test ESMTP SEMail" in finding["text"]


def test_doctor_at_the_wrong_port(user_home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer(line):
            connection, _ = server.accept()
            with connection:
                connection.sendall(line)
                connection.recv(100)

        for line, expected in ((b"220 other.test ESMTP Sendwhale\r\n", "another server answers"), (b"421 4.7.0 busy\r\n", "turns us away")):
            thread = threading.Thread(target=answer, args=(line,))
            thread.start()
            assert expected in findings(user_home, "--port", port)["port"][0]["text"]
            thread.join()
    [finding] = findings(user_home, "--port", port)["port"]
    assert finding["level"] == "mend" and "nobody answers" in finding["text"]


def test_doctor_without_the_right_to_look(installed, programs):
    user = Admin(programs, installed.directory, PLAIN_USER)
    found = findings(user, "--hier", installed.table)
    assert found["queue"][0]["level"] == "note" and "run it as root" in found["queue"][0]["remedy"]


def in_a_world_of_its_own(admin, script):
    """Runs a script with mounts and network of its own; returns what doctor then says."""
    result = subprocess.run(["unshare", "-mn", "--propagation", "private", "sh", "-euc", f"ip link set lo up\n{script}\nexec semail doctor --json"],
                            capture_output=True, text=True, env=admin.environment(), cwd=admin.directory, timeout=60)
    assert result.returncode in (0, 1), result
    found = {}
    for finding in json.loads(result.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


def test_doctor_looks_at_disks(root_home):
    home = root_home.home
    keep = "cp -a {0} copy; mount -t tmpfs -o size={1},mode=711 none {0}; cp -a copy/. {0}"
    [finding] = in_a_world_of_its_own(root_home, keep.format(home / "queue", "20M"))["disk"][:1]
    assert finding["level"] == "mend" and "the queue" in finding["text"] and "nearly full" in finding["text"]
    shutil.rmtree(root_home.directory / "copy")
    found = in_a_world_of_its_own(root_home, f"mount --bind {home}/queue {home}/queue; mount -o remount,bind,ro {home}/queue")["disk"]
    assert found[0]["level"] == "mend" and "read-only" in found[0]["text"]
    found = in_a_world_of_its_own(root_home, keep.format(home / "mnt/xredon", "500K"))["disk"]
    assert any(finding["level"] == "mend" and "the volume of xredon@semail.test" in finding["text"] for finding in found)


def test_doctor_looks_at_names(root_home):
    root_home.ok("config", "hostname", "mail.semail-doctor.org")
    hosts = "echo '{} mail.semail-doctor.org' > hosts; mount --bind hosts /etc/hosts; printf 'nameserver 127.0.0.1\\n' > resolv; mount --bind resolv /etc/resolv.conf"
    for address, level, text in (("192.0.2.7", "well", "is 192.0.2.7"), ("127.0.1.1", "note", "as this host sees it"), ("192.0.2.8", "note", "no address of this host")):
        [finding] = in_a_world_of_its_own(root_home, f"ip address add 192.0.2.7/32 dev lo; {hosts.format(address)}")["dns"]
        assert finding["level"] == level and text in finding["text"], finding
    [finding] = in_a_world_of_its_own(root_home, hosts.format("192.0.2.9").replace("mail.semail-doctor.org", "else.test"))["dns"]
    assert finding["level"] == "mend" and "no address for mail.semail-doctor.org" in finding["text"]


def test_doctor_looks_at_the_clock(user_home):
    os.utime(user_home.home / "control", (time.time() + 86400, time.time() + 86400))
    assert "but the home was changed at" in findings(user_home, level="mend")["clock"][0]["text"]
