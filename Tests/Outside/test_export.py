"""maildir-export: what it writes is read again by others (Python's tarfile and mailbox, GNU tar), message for message; hostile Maildirs;
and the service, which becomes each mailbox's user and no other."""

import hashlib
import io
import mailbox
import os
import random
import re
import signal
import socket
import stat
import subprocess
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import pytest

import semailtest
from semailtest import await_true, tool

PORTAL = 61030
ACCEPT_USER = "61021:61021"


def make(path, user=None):
    for name in ("", "tmp", "new", "cur"):
        (path / name).mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            os.chown(path / name, user, user)
    return path


def export(form, maildir, home=None, user=None, **options):
    environment = {"SWIFT_BACKTRACE": "enable=no", "SEMAIL_HOME": str(home.directory if home else "/nonexistent")}
    arguments = ["-u", f"{user}:{user}"] if user is not None else []
    return subprocess.run([semailtest.program("maildir-export"), *arguments, form, str(maildir)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, env=environment, **options)


def exported(form, maildir, **options):
    done = export(form, maildir, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="semail-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def maildir(place):
    return make(place / "Maildir")


# -- the world's messages ---------------------------------------------------------------

def corpus(count=500):
    """Messages as they come, and as nobody should write them."""
    choice = random.Random(7)
    words = [b"From here", b"From ", b">From there", b">>>From x", b"from small", b"Fromage", b"", b" From", b">", b">>", b"From", b"\xff\xfe\x00", b"\r", b".", b"x" * 2000, b"F" * 70_000]
    for number in range(count):
        header = [b"Return-Path: <sender%d@example.org>" % number] if number % 3 else []
        if number % 11 == 0:
            header = [b"Return-Path: <>"]
        header += [b"Subject: message %d" % number, b"From: somebody <a@b.example>", b"Status: their own" if number % 17 == 0 else b"To: x@y.example"]
        lines = [choice.choice(words) for _ in range(choice.randrange(30))]
        end = b"" if number % 5 == 0 else b"\n"
        text = b"\n".join(header + [b""] + lines) + end
        if number == 100:
            text = b""
        if number == 101:
            text = b"From the first line on\n"
        if number == 102:
            text = b"\n\n\n"
        if number == 103:
            # Across the pieces in which it is read.
            text = b"a" * 65534 + b"\n>From the next piece\n" + b"b" * (65536 * 2 - 65555 - 2) + b"\n>" + b">" * 70_000 + b"From far away\nFr"
        yield number, text


def fill(maildir, count=500):
    """{path below the Maildir: content}"""
    folders = ["", ".Sent", ".Work.2026", "Archive", "Archive/Old"]
    made = {}
    for folder in folders:
        make(maildir / folder)
    for number, text in corpus(count):
        folder = folders[number % 7 if number % 7 < 5 else 0]
        name = f"{1795475915 + number}.M{number}P{number}.host,S={len(text)}"
        inner = "new"
        if number % 2:
            inner, name = "cur", name + ":2," + ["", "S", "RS", "FS", "T", "DF", "FRST"][number % 7]
        path = f"{folder}/{inner}/{name}".lstrip("/")
        (maildir / path).write_bytes(text)
        os.utime(maildir / path, (1795475915 + number, 1795475915 + number))
        made[path] = text
    (maildir / "subscriptions").write_text("Sent\n")
    (maildir / ".Sent/maildirfolder").write_text("")
    (maildir / "tmp/being-delivered").write_text("half a mess")
    return made


def quoted(text):
    """As mboxrd has it."""
    text = re.sub(rb"(?m)^(>*From )", rb">\1", text)
    return text if text.endswith(b"\n") or not text else text + b"\n"


def test_list(maildir):
    made = fill(maildir)
    text = exported("list", maildir).decode()
    new = sum("new/" in path for path in made)
    assert text == f"new {new}\ncur {len(made) - new}\nnewest {1795475915 + 499}\noctets {sum(map(len, made.values()))}\n"


def test_list_where_names_do_not_tell(maildir):
    assert exported("list", maildir) == b"new 0\ncur 0\nnewest 0\noctets 0\n"
    for name, text in (("new/hello", b"12345"), ("cur/other:2,S", b"123"), ("cur/17.x,S=none:2,", b"1"), ("cur/99999999999999999999.x,S=4", b"1234")):
        (maildir / name).write_bytes(text)
        os.utime(maildir / name, (1000 + len(text), 1000 + len(text)))
    assert exported("list", maildir) == b"new 1\ncur 3\nnewest 1005\noctets 13\n"


def test_tar_is_the_maildir(maildir):
    made = fill(maildir)
    octets = exported("tar", maildir)
    assert len(octets) % 512 == 0 and octets.endswith(bytes(1024))
    made |= {"subscriptions": b"Sent\n", ".Sent/maildirfolder": b""}
    found, directories = {}, set()
    with tarfile.open(fileobj=io.BytesIO(octets)) as archive:
        for member in archive:
            assert member.name.split("/")[0] == "Maildir" and (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            if member.isdir():
                assert member.mode == 0o700
                directories.add(member.name)
                continue
            assert member.isreg() and member.mode == 0o600 and os.path.dirname(member.name) in directories, member.name
            path = member.name.removeprefix("Maildir/")
            assert path not in found
            found[path] = archive.extractfile(member).read()
            assert member.mtime == int((maildir / path).stat().st_mtime)
    assert found == made
    assert directories == {"Maildir", *(f"Maildir/{path.relative_to(maildir)}" for path in maildir.rglob("*") if path.is_dir())}


def test_tar_for_gnu_tar(maildir, place):
    """Unpacked it is a Maildir again, from which the same archive is made."""
    fill(maildir, 60)
    octets = exported("tar", maildir)
    (place / "again").mkdir()
    done = subprocess.run([tool("tar"), "-x", "-f", "-", "-C", place / "again"], input=octets, capture_output=True)
    assert done.returncode == 0 and done.stderr == b"", done
    def known(text):
        with tarfile.open(fileobj=io.BytesIO(text)) as archive:
            return {member.name: (member.mode, archive.extractfile(member).read() if member.isreg() else None) for member in archive}
    again = exported("tar", place / "again/Maildir")
    assert known(again) == known(octets)


def test_mbox_has_every_message(maildir):
    made = fill(maildir)
    octets = exported("mbox", maildir)
    # By the letter: all messages, each between its From line and an empty line.
    pieces = re.split(rb"(?m)^From (?=\S+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\n)", octets)
    assert pieces[0] == b"" and len(pieces) == len(made) + 1
    expected = []
    for path, text in made.items():
        folder, inner, name = ("/" + path).rsplit("/", 2)
        number = int(name.split(".")[0])
        sender = re.match(rb"Return-Path: <([^>]+)>", text)
        line = (sender[1] if sender else b"MAILER-DAEMON") + time.strftime(" %a %b %e %H:%M:%S %Y\n", time.gmtime(number)).encode()
        flags = name.partition(":2,")[2]
        status = ("R" if "S" in flags else "") + ("O" if inner == "cur" else "")
        marks = "".join(letter for flag, letter in (("R", "A"), ("F", "F"), ("D", "T"), ("T", "D")) if flag in flags)
        lines = (f"Status: {status}\n" if status else "") + (f"X-Status: {marks}\n" if marks else "")
        folder = folder.lstrip("/").removeprefix(".")
        lines += f"X-Folder: {folder}\n" if folder else ""
        expected.append(line + lines.encode() + quoted(text) + b"\n")
    assert sorted(pieces[1:]) == sorted(expected)


def test_mbox_for_python(maildir, place):
    """As a mail reader takes it: number, subjects, flags, folders, and bodies with one `>` taken away."""
    made = fill(maildir)
    (place / "mbox").write_bytes(exported("mbox", maildir))
    box = mailbox.mbox(place / "mbox", create=False)
    assert len(box) == len(made)
    subjects = sorted(str(message["Subject"]) for message in box if message["Subject"])
    assert subjects == sorted(re.search(rb"(?m)^Subject: (.*)$", text)[1].decode() for text in made.values() if b"Subject" in text)
    flagged = sum("F" in message.get_flags() for message in box)
    assert flagged == sum("F" in path.partition(":2,")[2] for path in made)
    assert sum("R" in message.get_flags() for message in box) == sum("S" in path.partition(":2,")[2] for path in made)
    assert {str(message["X-Folder"]) for message in box if message["X-Folder"]} == {"Sent", "Work.2026", "Archive", "Archive/Old"}
    for key in list(box.keys())[:100]:
        raw = box.get_bytes(key)
        text = re.sub(rb"(?m)^>(>*From )", rb"\1", re.sub(rb"^(?:(?:Status|X-Status|X-Folder): .*\n)*", b"", raw))
        # Python takes the empty line between messages for the message's.
        assert any(text.rstrip(b"\n") == known.rstrip(b"\n") for known in made.values())


def test_by_hand_in_a_home(empty_home):
    """OWNER as well as the path; also of a mailbox that is suspended."""
    path = empty_home.maildir("ssow")
    (path / "new/1795475915.x,S=3").write_bytes(b"abc")
    for state in ("active", "suspended"):
        empty_home.set_state("ssow@semail.test", state)
        for subject in ("ssow", f"{path}/"):
            done = empty_home.run("maildir-export", "list", subject)
            assert done.returncode == 0 and done.stdout == b"new 1\ncur 0\nnewest 1795475915\noctets 3\n", done
            assert re.fullmatch(rf"maildir-export: info: exported maildir={subject} as=list messages=1 octets=3 skipped=0\n", done.stderr.decode())
    done = empty_home.run("maildir-export", "list", "nobody")
    assert done.returncode == 100 and done.stdout == b"" and done.stderr == b"maildir-export: info: unknown owner=nobody\n"


@pytest.mark.parametrize("arguments", [["zip", "x"], ["tar"], ["list", "a", "b"], ["-x"], ["-u"]])
def test_called_wrongly(arguments):
    done = subprocess.run([semailtest.program("maildir-export"), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 100 and done.stdout == "" and "usage:" in done.stderr, done


def test_a_maildir_that_is_not_there(place):
    done = export("tar", place / "nothing")
    assert done.returncode == 111 and done.stdout == b"" and b"No such file" in done.stderr


# -- while others are at work ---------------------------------------------------------------

def test_readers_and_deliveries_go_on(maildir):
    """Messages that stay are there exactly once, whatever is renamed, moved and removed meanwhile."""
    kept = {f"{1795475915 + number}.K{number}.host,S=20": b"Subject: kept %5d\n" % number for number in range(3000)}
    for number, (name, text) in enumerate(kept.items()):
        (maildir / ("new" if number % 2 else "cur") / (name + ("" if number % 2 else ":2,"))).write_bytes(text)
    over = threading.Event()

    def work():
        choice = random.Random(3)
        count = 0
        while not over.is_set():
            inner = choice.choice(["new", "cur"])
            names = os.listdir(maildir / inner)
            for name in choice.sample(names, min(40, len(names))):
                base = name.partition(":")[0]
                os.rename(maildir / inner / name, maildir / "cur" / f"{base}:2,{choice.choice(['', 'S', 'FS', 'RS'])}")
            count += 1
            (maildir / f"new/{1795480000 + count}.N{count}.host").write_bytes(b"Subject: comes\n")
            (maildir / f"new/{1795480000 + count - 5}.N{count - 5}.host").unlink(missing_ok=True)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(6):
            octets = exported("mbox", maildir)
            found = re.findall(rb"^Subject: kept +(\d+)$", octets, re.MULTILINE)
            assert len(found) == len(set(found)) == len(kept), (len(found), len(set(found)))
    finally:
        over.set()
        worker.join()


def test_a_file_that_changes_while_it_is_read(maildir):
    """An archive stays one, whatever becomes of a file: its octets are as many as its header says."""
    path = maildir / "new/1795475915.x"
    path.write_bytes(b"x" * (8 << 20))
    (maildir / "new/1795475916.y").write_bytes(b"the next one")
    process = subprocess.Popen([semailtest.program("maildir-export"), "tar", f"{maildir}/"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    beginning = process.stdout.read(4096)
    os.truncate(path, 100_000)
    octets = beginning + process.stdout.read()
    assert process.wait() == 0
    with tarfile.open(fileobj=io.BytesIO(octets)) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}
    assert len(members["Maildir/new/1795475915.x"]) == 8 << 20 and members["Maildir/new/1795475916.y"] == b"the next one"


# -- hostile Maildirs -------------------------------------------------------------------------

@pytest.fixture
def trap(place):
    """A Maildir whose owner means no good, and a secret outside that root could read."""
    secret = place / "secret"
    secret.write_bytes(b"a secret of another")
    maildir = make(place / "Maildir")
    (place / "elsewhere").mkdir()
    make(place / "elsewhere")
    (place / "elsewhere/new/1.secret").write_bytes(b"a secret of another")
    for inner in ("new", "cur", "tmp", ""):
        (maildir / inner / "1795475915.link").symlink_to(secret)
        (maildir / inner / "1795475916.directory-link").symlink_to(place / "elsewhere")
        os.mkfifo(maildir / inner / "1795475917.fifo")
        (maildir / inner / "1795475918.dangling").symlink_to("nowhere")
        (maildir / inner / "1795475919.loop").symlink_to("1795475919.loop")
        os.mknod(maildir / inner / "1795475920.zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(maildir / inner / "1795475921.socket"))
    (maildir / "new/1795475922.directory").mkdir()
    (maildir / "new/1795475922.directory/inside").write_bytes(b"inside")
    # Folders that lead out, and one that leads in.
    (maildir / ".Link").symlink_to(place / "elsewhere")
    make(maildir / ".Half")
    for inner in ("new", "cur"):
        os.rmdir(maildir / ".Half" / inner)
        (maildir / ".Half" / inner).symlink_to(place / f"elsewhere/{inner}")
    # Names of all kinds.
    names = [b"1795475930.\xff\xfe", b"1795475931.\nFrom x\n", "1795475932.ä€😀".encode(), b"1795475933." + b"n" * 244, b"1795475934. ..\\", b"..hidden", b"1795475935.:2,", b"1795475936.a:2,\xff\nF",
             b"1795475937.-rf *", b"1795475938.%s%n"]
    for name in names:
        with open(os.path.join(os.fsencode(maildir / "new"), name), "wb") as file:
            file.write(b"Subject: honest\n")
    return maildir, names


def assert_harmless(done, maildir):
    assert done.returncode == 0, done.stderr
    assert b"secret" not in done.stdout and b"inside" not in done.stdout


@pytest.mark.parametrize("form", ["list", "tar", "mbox"])
def test_a_hostile_maildir_is_harmless(trap, form):
    maildir, names = trap
    start = time.monotonic()
    done = export(form, f"{maildir}/")
    assert time.monotonic() - start < 5
    assert_harmless(done, maildir)
    if form == "list":
        assert done.stdout.startswith(b"new %d\ncur 0\n" % len(names))
    if form == "mbox":
        assert done.stdout.count(b"Subject: honest\n") == len(names) and len(re.findall(rb"(?m)^From \S+ \w{3} \w{3} ", done.stdout)) == len(names)
    if form == "tar":
        with tarfile.open(fileobj=io.BytesIO(done.stdout), errors="surrogateescape") as archive:
            members = archive.getmembers()
        assert {member.type for member in members} == {tarfile.REGTYPE, tarfile.DIRTYPE}
        assert {os.fsencode(member.name).removeprefix(b"Maildir/new/") for member in members if member.isreg()} == set(names)
        listed = subprocess.run([tool("tar"), "-t", "-f", "-"], input=done.stdout, capture_output=True)
        assert listed.returncode == 0, listed
    assert re.search(rb"skipped=(\d+)\n", done.stderr)


def test_directories_without_end(maildir):
    path, deepest = maildir, 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for _ in range(200):
            name = "d" * 200
            os.mkdir(name, dir_fd=descriptor)
            inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            for part in ("new", "cur"):
                os.mkdir(part, dir_fd=descriptor)
            with open(os.open("new/1.x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor), "wb") as file:
                file.write(b"Subject: deep\n")
    finally:
        os.close(descriptor)
    octets = exported("tar", maildir)
    with tarfile.open(fileobj=io.BytesIO(octets)) as archive:
        files = [member for member in archive if member.isreg()]
    assert len(files) == 12 and max(len(member.name) for member in files) > 2400
    assert exported("list", maildir).startswith(b"new 12\n")
    subprocess.run(["rm", "-rf", maildir], check=True)


def test_lengths_of_names_at_the_limits(maildir):
    """Around 100 octets, 155 and a slash, and pax beyond."""
    make(maildir / ("." + "f" * 130))
    expected = set()
    for folder in ("", "." + "f" * 130 + "/"):
        for length in (80, 86, 87, 88, 89, 99, 100, 101, 120, 200, 255):
            path = f"{folder}new/" + "n" * length
            (maildir / path).write_bytes(b"x")
            expected.add("Maildir/" + path)
    with tarfile.open(fileobj=io.BytesIO(exported("tar", maildir))) as archive:
        assert {member.name for member in archive if member.isreg()} == expected


# -- much ---------------------------------------------------------------------------------------

def peak_of(process):
    """Kilobytes, looked at until it ends."""
    peak = 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text()) if Path(f"/proc/{process.pid}/status").exists() else None
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(0.02)
    return peak


def drain(process, expected):
    """Reads all of it; (octets, SHA-256)."""
    digest, count = hashlib.sha256(), 0
    while piece := process.stdout.read(1 << 20):
        digest.update(piece)
        count += len(piece)
    expected.append((count, digest.hexdigest()))


@pytest.mark.parametrize("form", ["tar", "mbox"])
def test_memory_stays_flat(place, form):
    """A gigabyte: one message of 600 MB, and 20,000 of 20 KB. And a hundred."""
    peaks = {}
    for count, large in ((100, 0), (20_000, 600 << 20)):
        maildir = make(place / f"Maildir{count}")
        text = (b"Subject: many\n\n" + b"From here on it is text of some length\n" * 500)[:20_480 - 1] + b"\n"
        for number in range(count):
            (maildir / f"cur/{1795475915 + number}.x,S={len(text)}:2,S").write_bytes(text)
        if large:
            with open(maildir / "new/1795475000.large", "wb") as file:
                for _ in range(large >> 20):
                    file.write(b"y" * ((1 << 20) - 1) + b"\n")
        start = time.monotonic()
        process = subprocess.Popen([semailtest.program("maildir-export"), form, f"{maildir}/"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        found = []
        reader = threading.Thread(target=drain, args=(process, found))
        reader.start()
        peaks[count] = peak_of(process)
        reader.join()
        assert process.returncode == 0 and found[0][0] > count * len(text) + large
        print(f"{form}: {found[0][0] >> 20} MB in {time.monotonic() - start:.1f} s, peak {peaks[count]} KB")
        subprocess.run(["rm", "-rf", maildir], check=True)
    assert peaks[20_000] < 12_000 and peaks[20_000] < peaks[100] + 6000, peaks


# -- the service -----------------------------------------------------------------------------------

class Service:
    """run/export as etc/service/export/run starts it; the portal is the group 61030."""

    def __init__(self, home):
        self.home = home
        self.path = home.directory / "run/export"
        os.chmod(home.directory / "run", 0o1771)
        home.spawn("tcp-accept", ["-u", ACCEPT_USER, "-n", "30000-59999", "-c", "50", "-i", "0", "-r", "0", "-o", f"0660:{PORTAL}", "unix", self.path, home.program("maildir-export")],
                   log="export")
        assert await_true(lambda: "listening" in home.log("export"))

    def ask(self, line, user=PORTAL, group=PORTAL, timeout=20):
        """What comes back, as a process of the user asks."""
        script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(sys.stdin.buffer.read())\n"
                  "try:\n    while piece := s.recv(65536): sys.stdout.buffer.write(piece)\nexcept ConnectionResetError: pass")
        done = subprocess.run(["/usr/bin/python3", "-c", script, self.path], input=line, capture_output=True, timeout=timeout, user=user, group=group, extra_groups=[])
        return done.stdout if done.returncode == 0 else done.stderr


@pytest.fixture
def home():
    with semailtest.Home(user="services") as home:
        for owner in ("ssow", "xredon"):
            (home.maildir(owner) / "new/1795475915.x,S=5").write_bytes(owner.encode())
            os.chown(home.maildir(owner) / "new/1795475915.x,S=5", home._uids[owner], home._uids[owner])
            os.chmod(home.maildir(owner) / "new/1795475915.x,S=5", 0o600)
        yield home


@pytest.fixture
def service(home):
    return Service(home)


def test_the_portal_gets_what_it_asks_for(home, service):
    assert service.ask(b"list ssow\n") == b"new 1\ncur 0\nnewest 1795475915\noctets 5\n"
    with tarfile.open(fileobj=io.BytesIO(service.ask(b"tar xredon\n"))) as archive:
        assert archive.extractfile("Maildir/new/1795475915.x,S=5").read() == b"xredon"
    assert service.ask(b"mbox ssow\n").endswith(b"\nssow\n\n")
    home.set_state("ssow@semail.test", "suspended")
    assert service.ask(b"list ssow\n").startswith(b"new 1\n")


@pytest.mark.parametrize("line", [
    b"\n", b"list\n", b"list \n", b"zip ssow\n", b"list ssow xredon\n", b"list  ssow\n", b"list ../ssow\n", b"list /etc\n", b"list ssow/../xredon\n", b"list " + b"x" * 600 + b"\n",
    b"list \0\n", b"list ~ssow\n", b"list nobody\n", b"list ssow@semail.test\n", b"list \xff\n", b"LIST ssow\n", b"list #30001\n",
])
def test_requests_that_are_none(home, service, line):
    assert service.ask(line) == b""
    assert re.search(r"malformed|unknown", home.log("export"))
    assert service.ask(b"list ssow\n").startswith(b"new 1\n")


def test_others_cannot_connect(service):
    for user, group in ((61031, 61031), (30001, 30001), (61021, 61021)):
        assert b"PermissionError" in service.ask(b"list ssow\n", user, group)


def test_nobody_asks_and_says_nothing(service):
    """For ten seconds, and others are served meanwhile."""
    with socket.socket(socket.AF_UNIX) as quiet:
        quiet.connect(str(service.path))
        quiet.sendall(b"list ss")
        assert service.ask(b"list ssow\n").startswith(b"new 1\n")
        quiet.settimeout(15)
        start = time.monotonic()
        assert quiet.recv(100) == b"" and 8 < time.monotonic() - start < 13


def worker_of(home):
    """The process of a request."""
    accept = home.processes["export"].pid
    return await_true(lambda: [int(pid) for pid in Path(f"/proc/{accept}/task/{accept}/children").read_text().split()])


def test_it_is_the_mailboxs_user_and_nobody_else(home, service):
    """By the kernel's word, while a slow reader holds it; taken over, it could become nobody and open nothing."""
    path = home.maildir("ssow") / "new/1795475916.large"
    path.write_bytes(b"x" * (4 << 20))
    os.chown(path, home._uids["ssow"], home._uids["ssow"])
    facts = lambda pid: dict(re.findall(r"^(\w+):[ \t]*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(service.path))
        [pid] = worker_of(home)
        before = facts(pid)
        assert before["Uid"].split() == ["61021"] * 4 and int(before["CapEff"], 16) == (1 << 6 | 1 << 7) and before["NoNewPrivs"] == "1"
        slow.sendall(b"tar ssow\n")
        slow.recv(100)
        [pid] = worker_of(home)
        after = facts(pid)
        assert after["Uid"].split() == after["Gid"].split() == [str(home._uids["ssow"])] * 4 and after["Groups"].strip() == ""
        assert int(after["CapEff"], 16) == int(after["CapPrm"], 16) == int(after["CapAmb"], 16) == 0 and after["Seccomp"] == "2" and after["NoNewPrivs"] == "1"
        assert int(after["Seccomp_filters"]) >= 3


def test_a_mailbox_of_root_or_of_a_service_is_not_read(home, service):
    """Whatever a mailbox' file says: tcp-accept's filter has the last word."""
    for uid, gid in ((0, 0), (61022, 61022), (30001, 0), (60000, 60000)):
        text = f"owner ssow\nuid {uid}\ngid {gid}\nmaildir {home.maildir('ssow')}\nstate active\n"
        (home.directory / "mailboxes/ssow@semail.test").write_text(text)
        assert service.ask(b"list ssow\n") == b"", (uid, gid)
        assert "become ssow: Operation not permitted" in home.log("export")


def test_one_owner_cannot_reach_another(home, service):
    """A Maildir that its owner has replaced by a link to another's."""
    maildir = home.maildir("ssow")
    subprocess.run(["rm", "-rf", maildir], check=True)
    maildir.symlink_to(home.maildir("xredon"))
    assert service.ask(b"tar ssow\n") == b""
    # And one with open doors, whose files are another's.
    maildir.unlink()
    make(maildir, home._uids["ssow"])
    for name in ("new", "cur"):
        os.rmdir(maildir / name)
        (maildir / name).symlink_to(home.maildir("xredon") / name)
    assert service.ask(b"list ssow\n") == b"new 0\ncur 0\nnewest 0\noctets 0\n"
    os.link(home.maildir("xredon") / "new/1795475915.x,S=5", maildir / "tmp/x")
    (maildir / "new").unlink()
    (maildir / "new").mkdir()
    os.chown(maildir / "new", home._uids["ssow"], home._uids["ssow"])
    os.rename(maildir / "tmp/x", maildir / "new/hard-link")
    assert b"xredon" not in service.ask(b"tar ssow\n")


def test_a_reader_that_goes_away(home, service):
    path = home.maildir("ssow") / "new/1795475916.large"
    path.write_bytes(b"x" * (16 << 20))
    os.chown(path, home._uids["ssow"], home._uids["ssow"])
    for form in (b"tar", b"mbox"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(service.path))
            client.sendall(form + b" ssow\n")
            client.recv(1000)
        accept = home.processes["export"].pid
        assert await_true(lambda: not Path(f"/proc/{accept}/task/{accept}/children").read_text().split(), 5)


def test_twenty_at_once(service):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(service.ask(b"list ssow\n"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"new 1\ncur 0\nnewest 1795475915\noctets 5\n"] * 20


def test_what_it_opens_is_in_the_maildir_alone(maildir):
    """And nothing of it is opened for writing."""
    fill(maildir, 30)
    trace = maildir.parent / "trace"
    subprocess.run([tool("strace"), "-f", "-qq", "-o", trace, "-e", "trace=%file,seccomp", semailtest.program("maildir-export"), "tar", f"{maildir}/"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    text = trace.read_text()
    locked = text[text.index("seccomp("):]
    assert not re.search(r"O_WRONLY|O_RDWR|O_CREAT|unlink|rename|mkdir|link\(", locked)
    assert not re.search(r'open(at)?\([^)]*"/', locked), locked
