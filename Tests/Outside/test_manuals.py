"""The manuals: every program, setting, logged event and option stands in them, they render without a warning, and what
they tell people to type works."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import semailtest
from semailtest import REPOSITORY

MAN = REPOSITORY / "man"
SOURCES = REPOSITORY / "Sources"
PAGES = sorted(MAN.iterdir())
MAIL_PATH = ("tcp-accept", "tls-wrap", "smtpd-session", "auth-check", "checkpassword-ldap", "qrunner", "maildir-deliver", "remote-relay", "dkim-sign", "sendmail", "courier-auth", "domain-check", "maildir-export")
# Pages of others that ours refer to.
FOREIGN = {"dpkg-divert.1", "tsig-keygen.8", "mkfs.ext4.8", "e2fsck.8", "resize2fs.8", "mount.8", "umount.8", "losetup.8", "curl.1", "nsupdate.1", "open.2", "strace.1", "tcpserver.1"}
DIALOGUE = "HELO me\nMAIL FROM:<me@example.org>\nRCPT TO:<xredon@semail.test>\nDATA\nSubject: hello\n\nIt works.\n.\nQUIT\n"


def page(name):
    return (MAN / name).read_text()


def swift(directory):
    """The text of every source file beneath a directory, by its path."""
    return {path: path.read_text() for path in sorted((SOURCES / directory).rglob("*.swift"))}


def item(text, title):
    """What a list of a page says under the item whose first line matches; up to the next item."""
    found = re.search(rf"^\.It {title}$\n(.*?)(?=^\.(?:It|El|Sh)\b)", text, re.MULTILINE | re.DOTALL)
    return found and found[1]


# -- all there --------------------------------------------------------------

def test_every_program_has_a_page():
    package = (REPOSITORY / "Package.swift").read_text()
    programs = set(re.findall(r'program\("([\w-]+)"', package)) | set(re.findall(r'\.executableTarget\(\s*name: "([\w-]+)"', package))
    assert programs >= {*MAIL_PATH, "semail"}
    # sendmail is for everybody, the others are for whoever runs the host.
    assert {path.stem for path in PAGES if path.suffix in (".1", ".8")} == programs
    assert [path.name for path in PAGES if path.suffix == ".1"] == ["sendmail.1"]


def test_every_setting_is_explained():
    settings = re.findall(r'Setting\("([\w-]+)", \.(\w+), (nil|"([^"]*)")', "".join((SOURCES / "Control" / name).read_text() for name in ("Setting.swift", "HomeSettings.swift")))
    assert len(settings) >= 51
    control = page("semail-control.5")
    for name, kind, fallback, default in settings:
        text = item(control, f"Cm {name}")
        assert text, f"{name} is not in semail-control.5"
        assert re.match({"text": "Text|An address", "count": "A count", "size": "A size", "duration": "A duration", "range": "Two numbers", "choice": "Yes or no",
                         "lines": "Lines"}[kind], text), f"{name}: semail-control.5 does not say that it is of the kind {kind}"
        if default:
            assert re.search(rf"\n\.Li {re.escape(default)} [.,]\n", text), f"{name}: semail-control.5 does not say that the default is {default}"
        elif fallback == "nil":
            assert "no default" in text, name
    assert set(re.findall(r"^\.It Cm (.*)", control, re.MULTILINE)) == {name for name, *_ in settings}


def calls(text):
    """Level, event and fields of each line that a source file logs."""
    for found in re.finditer(r"\bLog\.(info|warning|error)\(|(?<!func )(?<![\w.])log\(", text):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        call = text[found.end():end]
        event = re.match(r'"([a-z-]+)"', call)
        fields = re.findall(r'\.(?:text|bytes|count)\("(\w+)"', call)
        yield found[1], event and event[1], fields


def test_every_event_is_explained():
    log = page("semail-log.5")
    count = 0
    for program in MAIL_PATH:
        section = re.search(rf"^\.Sh {program.upper()}\n(.*?)^\.Sh ", log, re.MULTILINE | re.DOTALL)
        assert section, f"semail-log.5 has no section {program.upper()}"
        section = section[1]
        everywhere = re.search(r"^\.Sh EVERY PROGRAM\n(.*?)^\.Sh ", log, re.MULTILINE | re.DOTALL)[1]
        explained = {}
        for level, event, fields in re.findall(r"^\.It (\w+) Sy ([\w-]+) Li (.*)$", section + everywhere, re.MULTILINE):
            explained.setdefault(event, []).append((level, fields.replace("=", "").split()))
        logged = set()
        for path, text in swift(program).items():
            # An event that is passed to a function of its own: its level and fields are there.
            passed = next(((level, fields) for level, event, fields in calls(text) if event is None and level), None)
            for level, event, fields in calls(text):
                if event is None:
                    continue
                if level is None:
                    level, fields = passed
                count += 1
                logged.add(event)
                assert event in explained, f"{path.name} logs {event}, which semail-log.5 does not have under {program}"
                assert any(level == one and set(fields) <= set(names) for one, names in explained[event]), (path.name, level, event, fields)
        extra = set(explained) - logged - {"ended", "unprotected"}
        assert not extra, f"semail-log.5 has {extra} under {program}, and nothing logs that"
    assert count > 75
    assert '.fatal' in (SOURCES / "Program/Program.swift").read_text() and item(log, "fatal Sy ended Li reason=")


def help_of(name, *words):
    result = subprocess.run([semailtest.program(name), *words, "--help"], capture_output=True, text=True, env={"SWIFT_BACKTRACE": "enable=no"})
    assert result.returncode == 0
    return result.stdout


def options_in(text):
    """Options that a help text explains, without their first hyphen."""
    found = set()
    for line in text.splitlines():
        explained = re.match(r"\s+(-[\w-]+(?:, -[\w-]+)*)", line)
        if explained:
            found |= {word.removeprefix("-") for word in explained[1].split(", ")}
    return found


def page_of(name):
    return next(path for path in PAGES if path.stem == name).read_text()


@pytest.mark.parametrize("name", sorted({*MAIL_PATH} - {"sendmail"}))
def test_options_of(name):
    text = page_of(name)
    shown = set(re.findall(r"\bFl ([\w-]+)", " ".join(re.findall(r"^\.It (Fl .*)", text, re.MULTILINE))))
    assert options_in(help_of(name)) | {"-help", "-version"} == shown
    synopsis = re.search(r"^\.Sh SYNOPSIS\n(.*?)^\.Sh ", text, re.MULTILINE | re.DOTALL)[1]
    # Those without a value may stand behind one hyphen.
    words = set(re.findall(r"\bFl ([\w-]+)", synopsis))
    assert shown == {word for word in words if word[0] == "-"} | set("".join(word for word in words if word[0] != "-")) | {"-version"}


def test_options_of_sendmail():
    """They are glued to their values, and most are of no effect: what its help has, the page has, and the other way round."""
    text = page("sendmail.1")
    items = re.findall(r"^\.It (Fl .*)", text, re.MULTILINE)
    shown = set(re.findall(r"\bFl ([\w-]+)", " ".join(items)))
    help = help_of("sendmail")
    assert options_in(help) | set(re.findall(r"-(\w+) is the same", help)) | {"-help", "-version"} == shown
    idle = re.search(r"^Of no effect.*\n\.Fl (.*) \.$", text, re.MULTILINE)[1].split()
    assert re.findall(r"-(\w)", re.search(r"Of no effect: (.*?)\.", help, re.DOTALL)[1]) == sorted(idle, key=lambda letter: (letter.lower(), letter))


def test_options_of_semail():
    text = page("semail.8")
    shown = set(re.findall(r"\bFl ([\w-]+)", " ".join(re.findall(r"^\.It (Fl .*)", text, re.MULTILINE))))
    found = set()

    def look(*words):
        nonlocal found
        help = help_of("semail", *words)
        found |= options_in(help)
        if "SUBCOMMANDS:" in help:
            for word in re.findall(r"^  (\w+) {2,}", help.split("SUBCOMMANDS:")[1], re.MULTILINE):
                yield from look(*words, word)
        else:
            yield words

    commands = list(look())
    assert ("queue", "flush") in commands and ("init",) in commands and ("dkim", "show") in commands and ("user", "import") in commands and len(commands) == 32
    assert found == shown
    for words in commands:
        assert item(text, f"Cm {' '.join(words)}(?: .*)?") is not None, f"semail.8 does not explain {' '.join(words)}"


def test_keys_of_json_documents():
    text = re.search(r"^\.Sh OUTPUT\n(.*?)^\.Sh ", page("semail.8"), re.MULTILINE | re.DOTALL)[1] + page("semail.8")
    keys = {key for source in swift("semail").values() for key in re.findall(r'\("(\w+)", (?:\.\w+\(|\w+\.map \{ \.\w+\()', source)}
    assert {"mailboxes", "nextTry", "isWell", "error"} <= keys
    assert not {key for key in keys if not re.search(rf"\b{key}\b", text)}


def test_reserved_names():
    names = re.search(r"reserved: Set<String> = \[(.*?)\]", (SOURCES / "Provisioning/Names.swift").read_text(), re.DOTALL)[1]
    paragraph = re.search(r"^abuse, .*?\.$", page("semail.8"), re.MULTILINE | re.DOTALL)[0]
    assert set(re.findall(r'"([\w-]+)"', names)) == set(re.findall(r"[\w-]+", paragraph.split(" speak for")[0].replace("\nspeak", " speak"))) - {"and", "speak"}


# -- well formed ------------------------------------------------------------

def rendered(path):
    result = subprocess.run([semailtest.tool("groff"), "-mdoc", "-ww", "-Tutf8", path], capture_output=True, text=True)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return re.sub(r"\x1b\[[\d;]*m|.\x08", "", result.stdout)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_renders(path):
    text = rendered(path)
    assert not [line for line in text.splitlines() if len(line) > 80]
    assert text.splitlines()[0].startswith(f"{path.stem.upper()}({path.suffix[1:]})")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_is_in_order(path):
    text = path.read_text()
    sections = re.findall(r"^\.Sh (.*)", text, re.MULTILINE)
    assert sections[0] == "NAME" and sections[-1 if sections[-1] != "STANDARDS" else -2] == "SEE ALSO"
    if path.suffix in (".1", ".8"):
        order = ["SYNOPSIS", "DESCRIPTION", "EXIT CODES", "ENVIRONMENT", "OPTIONS", "NOTES", "EXAMPLES"]
        if path.suffix == ".1":
            order.remove("NOTES")
        assert [section for section in sections if section in order] == order
    for name, section in re.findall(r"\.Xr ([\w-]+) (\d)", text):
        assert f"{name}.{section}" in {page.name for page in PAGES} | FOREIGN, f"{name}({section})"


def test_the_picture_comes_first():
    lines = rendered(MAN / "semail.7").splitlines()
    start = next(number for number, line in enumerate(lines) if line == "DESCRIPTION")
    assert "inbound" in lines[start + 1]
    assert "tcp-accept ----" in lines[start + 2] and "smtpd-session" in lines[start + 2]
    picture = "\n".join(lines[start + 1:start + 20])
    assert not [name for name in MAIL_PATH if name not in picture and name not in ("sendmail", "courier-auth", "domain-check", "maildir-export")]


# -- true -------------------------------------------------------------------

class Hand:
    """A user with the programs in PATH and a directory."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("tcp-accept", "smtpd-session", "qrunner", "maildir-deliver", "remote-relay", "dkim-sign", "semail"):
            shutil.copy(semailtest.program(name), directory / name)
        self.user = semailtest.PLAIN_USER if os.geteuid() == 0 else None
        if self.user:
            os.chown(directory, self.user, self.user)
        os.chmod(directory, 0o755)

    def sh(self, script, **options):
        identity = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        result = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=60, cwd=self.directory, **identity, **options,
                                env={"PATH": f"{self.directory}:/usr/bin:/bin", "LANG": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no"})
        assert result.returncode == 0, (script, result)
        return result.stdout


@pytest.fixture
def hand():
    with tempfile.TemporaryDirectory(prefix="semail-test-") as name:
        yield Hand(Path(name))


def test_trying_each_stage_by_hand(hand):
    section = re.search(r"^\.Sh BY HAND\n(.*?)^\.Sh ", page("semail.7"), re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed", section, re.MULTILINE | re.DOTALL)
    home, session, look, deliver, outgoing, server = [block.replace("/tmp/try", str(hand.directory / "try")) for block in blocks]
    export = home.splitlines()[0] + "\n"
    assert "xredon@semail.test" in hand.sh(home)
    assert "250 2.0.0 queued as" in hand.sh(export + session, input=DIALOGUE)
    shown = hand.sh(export + look)
    for expected in ("semail 1\n", "to W xredon@semail.test", "\tnew\t", "Return-Path: <me@example.org>", "It works."):
        assert expected in shown
    hand.sh(export + "printf 'Subject: x\\n\\nAgain.\\n' > message\n" + deliver)
    assert hand.sh(export + "cat $SEMAIL_HOME/mnt/xredon/Maildir/new/* | grep -c Again") == "1\n"
    # As the owner's user, who may send for himself alone; and what would go to a host, up to the connection.
    submission, sign, relay = re.fullmatch(r"(smtpd-session submission)\n(dkim-sign < message) \|\s+(remote-relay .*)\n", outgoing).groups()
    sent = hand.sh(export + submission, input=DIALOGUE.replace("me@example.org", "xredon@semail.test").replace("RCPT TO:<xredon@semail.test>", "RCPT TO:<anna@[127.0.0.1]>"))
    assert "250 2.0.0 queued as" in sent, sent
    assert hand.sh(export + sign) == "Subject: x\n\nAgain.\n"
    refused = hand.sh(export + f"{relay.replace('remote-relay', 'remote-relay -p 1').replace('example.org ', '[127.0.0.1] ', 1)} < message || test $? = 111")
    assert refused.startswith("z\t4.4.1\tanna@example.org\t"), refused
    # The server with a port that is free, and another client than a person.
    assert "nc -C 127.0.0.1 2525" in server
    server = server.replace("127.0.0.1 2525", "127.0.0.1 0").replace("nc -C 127.0.0.1 0\n", "")
    script = export + re.sub(r"&\n", "2>>log & pids=\"$pids $!\"\n", server) + """
        while ! port=$(sed -n 's/.*listening.* port=\\([0-9]*\\) .*/\\1/p' log | grep .); do sleep 0.05; done
        semail doctor --port $port | grep '^well.port'
        kill $pids
        wait
        """
    assert "220 mail.semail.test ESMTP SEMail" in hand.sh("pids=\n" + script)


def test_a_session_as_smtpd_session_shows_it(hand):
    block = re.search(r"^\$ smtpd-session inbound\n(.*?)^\.Ed", page("smtpd-session.8"), re.MULTILINE | re.DOTALL)[1].replace("\\&", "")
    typed = "".join(line + "\n" for line in block.splitlines() if not re.match(r"\d{3}[ -]", line))
    answered = [line for line in block.splitlines() if re.match(r"\d{3}[ -]", line)]
    hand.sh("semail init home --hostname mail.semail.test; semail --home home mailbox create xredon xredon@semail.test")
    without_id = lambda lines: [re.sub(r"queued as \w{16}$", "queued as ID", line) for line in lines]
    assert without_id(hand.sh("SEMAIL_HOME=$PWD/home smtpd-session inbound", input=typed).splitlines()) == without_id(answered)


def test_flushes_are_as_many_as_told(hand):
    semailtest.tool("strace")
    table = re.search(r'^\.Bl -column "delivery of one".*?^\.El', page("semail-queue.5"), re.MULTILINE | re.DOTALL)[0]
    told = dict(re.findall(r"^\.It (\w[\w ]*) Ta ([\w +]+) Ta", table, re.MULTILINE))
    assert told == {"acceptance": "2", "delivery of one": "2", "delivery of n": "n + 1", "relaying": "0", "report": "2", "record": "0"}
    hand.sh("semail init home --hostname mail.semail.test; semail --home home mailbox create xredon xredon@semail.test")

    def flushes(command, input=None):
        hand.sh(f"SEMAIL_HOME=$PWD/home strace -f -qq -o trace -e trace=fsync,fdatasync,sync,syncfs,write,sendto {command}", input=input)
        return (hand.directory / "trace").read_text()

    trace = flushes("smtpd-session inbound", DIALOGUE)
    # By hand all replies are one write; both flushes come before it.
    before = trace[:trace.index("250 2.0.0 queued") if "250 2.0.0 queued" in trace else trace.rindex("write(1,")]
    assert before.count("sync(") == trace.count("sync(") == 2
    assert flushes("qrunner --once").count("sync(") == 2
    for _ in range(3):
        flushes("smtpd-session inbound", DIALOGUE)
    assert flushes("qrunner --once").count("sync(") == 4
    # Nobody any more: one bounce, to a sender whose mailbox is here.
    flushes("smtpd-session inbound", DIALOGUE.replace("me@example.org", "postmaster@mail.semail.test"))
    hand.sh("rm home/mailboxes/xredon@semail.test")
    assert sum(flushes("qrunner --once").count("sync(") for _ in range(2)) == 2 + 2, "the bounce, and its delivery"
