"""Reads an SMTP transcript of Tests/Dialogues and holds it against the real smtpd-session.

Tests/Dialogues/README.md describes the transcripts. test_dialogues.py runs all of them; one alone:

    python3 Tests/Outside/dialogue.py Tests/Dialogues/mail/null-sender.txt
"""

import dataclasses
import datetime
import email.utils
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DIALOGUES = ROOT / "Tests" / "Dialogues"

TIME_LIMIT_SECONDS = 10
QUIET_SECONDS = 0.3

CONTROL = {"hostname": "mail.semail.test", "error-pause": "0s"}
MAILBOXES = [("ssow", "ssow@semail.test"), ("xredon", "xredon@semail.test")]
CONNECTION = {
    "PROTO": "TCP",
    "TCPREMOTEIP": "192.0.2.1",
    "TCPREMOTEPORT": "40000",
    "TCPLOCALIP": "127.0.0.1",
    "TCPLOCALPORT": "25",
}

TLS = {"SSL_PROTOCOL": "TLSv1.3", "SSL_CIPHER": "TLS_AES_256_GCM_SHA384"}

CITATION = re.compile(r"RFC \d{3,4} \d+(\.\d+)*: \S")


class TranscriptError(Exception):
    """The transcript is not written as the README says."""


class Mismatch(Exception):
    """The program did something else than the transcript says."""


# ---------------------------------------------------------------- reading a transcript

@dataclasses.dataclass
class Step:
    kind: str                 # send, expect, closed, waiting, pause, hang-up
    line: int                 # in the file
    shown: list               # as written there
    data: bytes = b""         # send
    replies: list = dataclasses.field(default_factory=list)   # expect: patterns of one whole reply
    seconds: float = 0.0      # pause


@dataclasses.dataclass
class Transcript:
    path: pathlib.Path
    comments: list
    control: dict
    mailboxes: list           # (owner, address, state)
    aliases: list
    environment: dict
    small_disks: list         # (place, size, full)
    by_hand: bool
    role: str                 # inbound, submission
    unix_uid: str             # the client came by a unix socket, as this user; None: by TCP
    links: list               # (name, target): what mailboxes/ holds beside the mailboxes
    spent: list               # (address, words): what a mailbox has sent already
    authentication: dict      # what run/auth answers, by (user, password); None: always the same
    steps: list
    queue: list               # (words, content or None, line)
    questions: list           # what run/auth was asked, (client, user, password); None: not looked at


ESCAPES = {"r": b"\r", "n": b"\n", "0": b"\0", "t": b"\t", "\\": b"\\"}
REPEATED = re.compile(r'"((?:[^"\\]|\\.)*)"\*(\d+)')


def exact_bytes(text):
    """The bytes that a `C-` or `|-` line stands for: escapes, and "text"*N repeated N times."""
    found, position = b"", 0
    for repeated in REPEATED.finditer(text):
        found += without_escapes(text[position:repeated.start()])
        found += without_escapes(repeated.group(1)) * int(repeated.group(2))
        position = repeated.end()
    return found + without_escapes(text[position:])


def without_escapes(text):
    found, position = b"", 0
    while position < len(text):
        if text[position] != "\\":
            found += text[position].encode()
            position += 1
            continue
        escape = text[position + 1:position + 2]
        if escape == "x" and re.fullmatch("[0-9a-fA-F]{2}", text[position + 2:position + 4]):
            found += bytes([int(text[position + 2:position + 4], 16)])
            position += 4
        elif escape in ESCAPES:
            found += ESCAPES[escape]
            position += 2
        else:
            raise TranscriptError(f"unknown escape in {text!r}")
    return found


def after_mark(line):
    """What follows the mark of two characters and its one space."""
    return line[3:] if line[2:3] == " " else line[2:]


def read(path):
    transcript = Transcript(path=path, comments=[], control=dict(CONTROL), mailboxes=[(o, a, "active") for o, a in MAILBOXES],
                            aliases=[], environment={}, small_disks=[], by_hand=False, role="inbound", unix_uid=None, links=[],
                            spent=[], authentication={}, steps=[], queue=[], questions=None)
    reply = None
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        def wrong(why):
            return TranscriptError(f"{path}:{number}: {why}: {line!r}")

        if reply is not None and not line.startswith("S: "):
            raise wrong("the reply before this line has no last line (`S: NNN text`)")
        if line.startswith("|"):
            if not transcript.queue or transcript.queue[-1][1] is None:
                raise wrong("`|` stands only below `Q: content`")
            if line.startswith("|-"):
                transcript.queue[-1][1].append(exact_bytes(after_mark(line)))
            elif line.startswith("|~"):
                transcript.queue[-1][1].append(after_mark(line))
            else:
                transcript.queue[-1][1].append(line[2:].encode() if line[1:2] == " " else line[1:].encode())
        elif not line.strip():
            continue
        elif line.startswith("#"):
            transcript.comments.append(line[1:].strip())
        elif line.startswith("! "):
            if transcript.steps:
                raise wrong("`!` lines stand before the dialogue")
            try:
                read_setting(transcript, line[2:])
            except (ValueError, IndexError) as error:
                raise wrong(str(error) or "not understood") from None
        elif (transcript.queue or transcript.questions is not None) and line[:2] in ("C:", "C-", "C=", "S:", "S="):
            raise wrong("`Q:` and `A:` lines stand after the dialogue")
        elif line.startswith("A: "):
            asked = tuple(exact_bytes(word) for word in line[3:].split(" "))
            if line != "A: nothing" and len(asked) != 3:
                raise wrong("`A:` has a client, a user and a password")
            transcript.questions = (transcript.questions or []) + ([] if line == "A: nothing" else [asked])
        elif line.startswith("C:"):
            end = "\n" if transcript.by_hand else "\r\n"
            transcript.steps.append(Step("send", number, [line], data=(after_mark(line) + end).encode()))
        elif line.startswith("C-"):
            transcript.steps.append(Step("send", number, [line], data=exact_bytes(after_mark(line))))
        elif line.startswith("C= pause ") and re.fullmatch(r"\d+(\.\d+)?s", line[9:]):
            transcript.steps.append(Step("pause", number, [line], seconds=float(line[9:-1])))
        elif line == "C= hang up":
            transcript.steps.append(Step("hang-up", number, [line]))
        elif line == "S= closed":
            transcript.steps.append(Step("closed", number, [line]))
        elif line == "S= waiting":
            transcript.steps.append(Step("waiting", number, [line]))
        elif line.startswith("S: "):
            pattern = line[3:]
            if not re.match(r"\d{3}([- ]|$)", pattern):
                raise wrong("a reply begins with three digits")
            if reply is None:
                reply = Step("expect", number, [])
                transcript.steps.append(reply)
            reply.replies.append(pattern)
            reply.shown.append(line)
            if pattern[3:4] != "-":
                reply = None
        elif line.startswith("Q: "):
            words = line[3:]
            transcript.queue.append((words, [] if words == "content" else None, number))
        else:
            raise wrong("not understood")
    if reply is not None:
        raise TranscriptError(f"{path}: the last reply has no last line (`S: NNN text`)")
    if not any(CITATION.match(comment) for comment in transcript.comments):
        raise TranscriptError(f"{path}: no RFC clause is cited (`# RFC 5321 4.1.1.2: ...`)")
    if not transcript.steps:
        raise TranscriptError(f"{path}: no dialogue")
    return transcript


def read_setting(transcript, setting):
    words = setting.split(" ")
    if words[0] == "control":
        transcript.control[words[1]] = " ".join(words[2:])
    elif words[0] == "mailbox":
        state = words[3] if len(words) > 3 else "active"
        if state not in ("active", "suspended", "broken", "nonsense"):
            raise ValueError("a mailbox is active, suspended, broken or nonsense")
        kept = [mailbox for mailbox in transcript.mailboxes if mailbox[1] != words[2]]
        transcript.mailboxes = kept + [(words[1], words[2], state)]
    elif words[0] == "alias":
        transcript.aliases.append(" ".join(words[1:]))
    elif words == ["by-hand"]:
        transcript.by_hand = True
    elif words[0] == "environment":
        transcript.environment[words[1]] = " ".join(words[2:])
    elif words == ["submission"]:
        transcript.role = "submission"
    elif words[0] == "client" and len(words) == 2:
        transcript.environment["TCPREMOTEIP"] = words[1]
    elif words == ["tls"]:
        transcript.environment.update(TLS)
    elif words[0] == "unix" and len(words) == 2:
        transcript.unix_uid = words[1]
    elif words[0] == "link" and len(words) == 3:
        transcript.links.append((words[1], words[2]))
    elif words[0] == "spent":
        transcript.spent.append((words[1], words[2:]))
    elif words[0] == "password":
        answer = " ".join(words[3:]) or "ok " + words[1]
        transcript.authentication[exact_bytes(words[1]), exact_bytes(words[2])] = answer.encode() + b"\n"
    elif words[0] in ("auth", "auth-cut"):
        answer = exact_bytes(" ".join(words[1:]))
        transcript.authentication[None] = answer + b"\n" if answer and words[0] == "auth" else answer
    elif words[0] == "small-disk":
        transcript.small_disks.append((words[1], words[2], words[3:] == ["full"]))
    else:
        raise ValueError("no such setting")


# ---------------------------------------------------------------- comparing

def fits(pattern, line):
    """Whether a line is what the pattern says; `...` stands for any text."""
    parts = [re.escape(part) for part in pattern.split("...")]
    return re.fullmatch(".*".join(parts), line, re.DOTALL) is not None


def reply_fits(patterns, lines):
    """The same for a whole reply; `NNN-...` alone stands for any number of lines but the last."""
    if not patterns or not lines:
        return not patterns and not lines
    if re.fullmatch(r"\d{3}-\.\.\.", patterns[0]):
        if reply_fits(patterns[1:], lines):
            return True
        return fits(patterns[0], lines[0]) and reply_fits(patterns, lines[1:])
    return fits(patterns[0], lines[0]) and reply_fits(patterns[1:], lines[1:])


# ---------------------------------------------------------------- the home

def make_home(transcript, home):
    for directory in ("control", "mailboxes", "queue", "run", "run/budgets", "mnt", "requests", "volumes"):
        (home / directory).mkdir(parents=True)
    for place, size, _ in transcript.small_disks:
        at = home / "queue" if place == "queue" else home / "mnt" / place
        at.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(at)], check=True)
    for directory in ("new", "later", "hold", "reason"):
        (home / "queue" / directory).mkdir()
    for name, value in transcript.control.items():
        (home / "control" / name).write_text(value + "\n", encoding="utf-8")
    if transcript.aliases:
        (home / "control" / "aliases").write_text("\n".join(transcript.aliases) + "\n", encoding="utf-8")
    for owner, address, state in transcript.mailboxes:
        maildir = home / "mnt" / owner / "Maildir"
        for directory in ("tmp", "new", "cur"):
            (maildir / directory).mkdir(parents=True, exist_ok=True)
        mailbox = home / "mailboxes" / address
        if state == "broken":
            mailbox.mkdir()
        elif state == "nonsense":
            mailbox.write_text("nonsense\n", encoding="utf-8")
        else:
            mailbox.write_text(f"owner {owner}\nuid {os.getuid()}\ngid {os.getgid()}\nmaildir {maildir}\nstate {state}\n",
                               encoding="utf-8")
        (home / "mailboxes" / ("@" + address.rpartition("@")[2])).touch()
        # An owner is known by the first mailbox.
        if not os.path.lexists(home / "mailboxes" / f"~{owner}"):
            os.symlink(address, home / "mailboxes" / f"~{owner}")
    for name, target in transcript.links:
        (home / "mailboxes" / name).unlink(missing_ok=True)
        os.symlink(target, home / "mailboxes" / name)
    for address, words in transcript.spent:
        write_spent(home / "run" / "budgets" / address, words)
    for place, _, full in transcript.small_disks:
        if full:
            fill(home / "queue" if place == "queue" else home / "mnt" / place)
    os.mkfifo(home / "run" / "trigger")


def write_spent(path, words):
    """MESSAGES RECIPIENTS [N hours ago]; or what is no such file."""
    if words == ["directory"]:
        path.mkdir()
    elif len(words) == 1:
        path.write_text(words[0] + "\n", encoding="utf-8")
    else:
        hour = int(time.time()) // 3600 - (int(words[2]) if len(words) > 2 else 0)
        path.write_text("%010d %010d %010d %010d %010d\n" % (hour, int(words[0]), int(words[1]), 0, 0), encoding="utf-8")


def fill(directory):
    with open(directory / "filled", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


class Authenticator:
    """Who knows passwords: listens at run/auth and answers by a table, as auth-check answers."""

    def __init__(self, home, answers):
        self.answers = answers
        self.asked = []               # (client, user, password), or the octets that are no such question
        self.listening = None
        if not answers:
            return
        self.listening = socket.socket(socket.AF_UNIX)
        # By a short name: the path of a socket has little room.
        directory = os.open(home / "run", os.O_RDONLY)
        self.listening.bind(f"/proc/self/fd/{directory}/auth")
        os.close(directory)
        self.listening.listen()
        # A session may close before it reads the answer; the tests go on then.
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(TIME_LIMIT_SECONDS)
                try:
                    self.answer(connection)
                except OSError:
                    pass

    def answer(self, connection):
        question = b""
        while (more := connection.recv(4096)):      # the session says that it has said all
            question += more
        parts = question.split(b"\0")
        if len(parts) != 4 or parts[3]:
            self.asked.append((question,))
            return
        self.asked.append(tuple(parts[:3]))
        answer = self.answers.get((parts[1], parts[2]), self.answers.get(None, b"no\n"))
        connection.sendall(answer)

    def close(self):
        if self.listening is not None:
            self.listening.shutdown(socket.SHUT_RDWR)
            self.listening.close()


# ---------------------------------------------------------------- the dialogue

class Session:
    """smtpd-session, running, with the other end of its connection (or of its pipes)."""

    def __init__(self, program, transcript, home, errors, before):
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "SEMAIL_HOME": str(home)}
        self.socket = None
        if transcript.by_hand:
            environment.update(transcript.environment)
            their_input, self.output = os.pipe()
            self.input, their_output = os.pipe()
            theirs = [their_input, their_output]
        else:
            environment.update({"PROTO": "UNIX", "UNIXREMOTEEUID": transcript.unix_uid} if transcript.unix_uid else CONNECTION)
            environment.update(transcript.environment)
            with socket.create_server(("127.0.0.1", 0)) as listening:
                self.socket = socket.create_connection(listening.getsockname())
                accepted, _ = listening.accept()
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.input = self.output = self.socket.fileno()
            their_input = their_output = accepted.detach()
            theirs = [their_input]
        os.set_blocking(self.output, False)
        os.set_blocking(self.input, False)
        self.unsent = b""
        self.received = b""
        self.ended = False            # the program said all it had to say
        self.deadline = time.monotonic() + TIME_LIMIT_SECONDS
        self.send(before)
        self.pump(lambda: not self.unsent, until=time.monotonic() + 1)
        self.process = subprocess.Popen([str(program), transcript.role], stdin=their_input, stdout=their_output,
                                        stderr=errors, env=environment)
        for descriptor in theirs:
            os.close(descriptor)

    def send(self, data):
        self.unsent += data

    def pump(self, enough, until=None):
        """Sends and receives until enough() or the time is up; says whether it was enough."""
        until = self.deadline if until is None else min(until, self.deadline)
        while not enough():
            left = until - time.monotonic()
            if left <= 0:
                return False
            readers = [] if self.ended else [self.input]
            writers = [self.output] if self.unsent and self.output is not None else []
            if not readers and not writers:
                return enough()
            readable, writable, _ = select.select(readers, writers, [], left)
            if readable:
                try:
                    data = os.read(self.input, 65536)
                except ConnectionResetError:
                    data = b""
                except BlockingIOError:
                    continue
                self.received += data
                self.ended = not data
            if writable:
                try:
                    self.unsent = self.unsent[os.write(self.output, self.unsent):]
                except BlockingIOError:
                    continue
                except (BrokenPipeError, ConnectionResetError):
                    self.unsent = b""
        return True

    def finish_sending(self):
        """Nothing more will be typed."""
        self.pump(lambda: not self.unsent)
        if self.output is None:
            return
        if self.socket is None:
            os.close(self.output)
        else:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.output = None

    def hang_up(self):
        self.pump(lambda: not self.unsent)
        self.close()
        self.ended = True

    def close(self):
        if self.socket is not None:
            self.socket.close()
        else:
            for descriptor in (self.input, self.output):
                if descriptor is not None:
                    os.close(descriptor)
        self.socket, self.input, self.output = None, None, None

    def reply(self, by_hand):
        """The next whole reply, as lines without their ends; what there is of it if it never ends."""
        lines = []
        while True:
            self.pump(lambda: b"\n" in self.received or self.ended)
            line, found, rest = self.received.partition(b"\n")
            if not found:
                if line:
                    self.received = b""
                    lines.append(shown(line) + "  (without a line end)")
                return lines
            self.received = rest
            if line.endswith(b"\r"):
                line = line[:-1]
            elif not by_hand:
                return lines + [shown(line) + "  (ended by LF alone)"]
            lines.append(shown(line))
            if line[3:4] != b"-":
                return lines


def shown(data):
    return "".join(char if char.isprintable() else "\\x%02x" % ord(char) if ord(char) < 0xdc00 else "\\x%02x" % (ord(char) - 0xdc00)
                   for char in data.decode("utf-8", "surrogateescape"))


def run(path, program):
    """Runs one transcript; raises Mismatch with both sides of the story."""
    transcript = read(path)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="semail-dialogue-"))
    session, authenticator, mounted = None, None, []
    try:
        home = directory / "home"
        mounted = [home / "queue" if place == "queue" else home / "mnt" / place for place, _, _ in transcript.small_disks]
        make_home(transcript, home)
        authenticator = Authenticator(home, transcript.authentication)
        # The trigger has a reader, as it has when qrunner runs; nobody looks at what is said.
        trigger = os.open(home / "run" / "trigger", os.O_RDONLY | os.O_NONBLOCK)
        try:
            with open(directory / "errors", "w+b") as errors:
                early = 0
                if not transcript.by_hand:
                    while transcript.steps[early].kind == "send":
                        early += 1
                before = b"".join(step.data for step in transcript.steps[:early])
                session = Session(program, transcript, home, errors, before)
                story = Story()
                try:
                    converse(transcript, session, story, early)
                    compare_questions(transcript, authenticator)
                    compare_queue(transcript, home, story)
                    errors.seek(0)
                    check_log(transcript, errors.read())
                except Mismatch as mismatch:
                    errors.seek(0)
                    said = errors.read().decode("utf-8", "replace").rstrip()
                    relative = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
                    raise Mismatch(f"{relative}: {mismatch}\n\n{story.told()}"
                                   + (f"\n\nlogged:\n{said}" if said else "")) from None
        finally:
            os.close(trigger)
    finally:
        if session is not None:
            session.close()
            if session.process.poll() is None:
                session.process.kill()
                session.process.wait()
        if authenticator is not None:
            authenticator.close()
        for place in reversed(mounted):
            subprocess.run(["umount", str(place)], check=False)
        shutil.rmtree(directory, ignore_errors=True)


class Story:
    """What was typed and answered, beside what the transcript says."""

    def __init__(self):
        self.lines = []               # (mark, text)
        self.acknowledged = []        # queue ids, in the order in which they were named

    def agreed(self, text):
        self.lines.append(("  ", text))

    def expected(self, texts):
        self.lines += [("- ", text) for text in texts]

    def answered(self, texts):
        self.lines += [("+ ", text) for text in texts]

    def told(self):
        return ("(- is what the transcript says, + what happened)\n\n"
                + "\n".join(mark + (text if len(text) <= 200 else text[:197] + " …") for mark, text in self.lines))


def converse(transcript, session, story, early):
    for number, step in enumerate(transcript.steps):
        if step.kind == "send":
            if number >= early:
                session.send(step.data)
            story.agreed(step.shown[0])
            continue
        if step.kind == "expect":
            lines = session.reply(transcript.by_hand)
            if not reply_fits(step.replies, lines):
                story.expected(step.shown)
                if lines:
                    story.answered(["S: " + line for line in lines])
                    rest = session.received
                    session.pump(lambda: session.ended, until=time.monotonic() + QUIET_SECONDS)
                    rest = session.received
                    story.answered(["S: " + shown(line) for line in rest.splitlines()])
                    raise Mismatch(f"line {step.line}: another answer")
                if session.ended:
                    story.answered(["S= closed"])
                    raise Mismatch(f"line {step.line}: closed instead of an answer")
                story.answered([f"(no answer within {TIME_LIMIT_SECONDS} s)"])
                raise Mismatch(f"line {step.line}: no answer")
            for line in lines:
                story.agreed("S: " + line)
                queued = re.search(r"queued as (\S+)", line)
                if queued and line.startswith("250"):
                    story.acknowledged.append(queued.group(1))
        elif step.kind == "closed":
            session.pump(lambda: session.ended or session.received)
            if session.received:
                lines = session.reply(transcript.by_hand)
                story.expected(step.shown)
                story.answered(["S: " + line for line in lines])
                raise Mismatch(f"line {step.line}: an answer instead of the end")
            if not session.ended:
                story.expected(step.shown)
                story.answered([f"(still open after {TIME_LIMIT_SECONDS} s)"])
                raise Mismatch(f"line {step.line}: still open")
            story.agreed(step.shown[0])
        elif step.kind == "waiting":
            session.pump(lambda: not session.unsent)
            session.pump(lambda: session.received or session.ended, until=time.monotonic() + QUIET_SECONDS)
            if session.received or session.ended:
                story.expected(step.shown)
                story.answered(["S: " + line for line in session.reply(transcript.by_hand)] or ["S= closed"])
                raise Mismatch(f"line {step.line}: an answer instead of silence")
            story.agreed(step.shown[0])
        elif step.kind == "pause":
            session.pump(lambda: not session.unsent)
            until = time.monotonic() + step.seconds
            while time.monotonic() < until and not session.ended:
                session.pump(lambda: session.ended, until=until)
            story.agreed(step.shown[0])
        elif step.kind == "hang-up":
            session.hang_up()
            story.agreed(step.shown[0])

    if session.input is not None:
        session.finish_sending()
        session.pump(lambda: session.ended)
        if session.received:
            lines = session.reply(transcript.by_hand)
            story.answered(["S: " + line for line in lines])
            raise Mismatch("an answer more than the transcript has")
        if not session.ended:
            story.answered(["(still open after the client had ended)"])
            raise Mismatch("does not end with its client")
    try:
        status = session.process.wait(max(0.1, session.deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise Mismatch("still running after its client had gone") from None
    if status != 0:
        raise Mismatch(f"ended by signal {-status}" if status < 0 else f"ended with exit code {status}")


# ---------------------------------------------------------------- passwords

def compare_questions(transcript, authenticator):
    for question in authenticator.asked:
        if len(question) != 3:
            raise Mismatch(f"run/auth was asked {question[0]!r}: that is no client, user and password")
    if transcript.questions is not None and transcript.questions != authenticator.asked:
        raise Mismatch(f"run/auth was asked {authenticator.asked}, not {transcript.questions}")


def check_log(transcript, logged):
    """Whatever else is logged: no password, and nothing that a client typed into a line of its own."""
    for key in transcript.authentication:
        if key is not None and len(key[1]) > 3 and key[1] in logged:
            raise Mismatch(f"a password stands in the log: {logged.decode('utf-8', 'replace')}")
    for line in logged.decode("ascii", "surrogateescape").splitlines():
        if not re.match(r"smtpd-session: (info|warning|error): [a-z-]+( [a-z]+=|$)", line):
            raise Mismatch(f"logged, and no event: {line!r}")


# ---------------------------------------------------------------- the queue

@dataclasses.dataclass
class Queued:
    lines: list               # of the envelope
    sender: str
    recipients: list
    received: str
    content: bytes


def read_queued(path):
    envelope, found, message = path.read_bytes().partition(b"\n\n")
    if not found:
        raise Mismatch(f"queue file {path.name}: no empty line after the envelope")
    lines = envelope.decode("utf-8").split("\n")
    if lines[0] != "semail 1":
        raise Mismatch(f"queue file {path.name}: first line {lines[0]!r}, not 'semail 1'")
    senders, recipients, times = [], [], []
    for line in lines[1:]:
        word, _, value = line.partition(" ")
        if word == "from":
            senders.append(value)
        elif word == "to":
            state, _, address = value.partition(" ")
            if state != "W":
                raise Mismatch(f"queue file {path.name}: {line!r} does not wait")
            # What the sender wants to hear stands behind a TAB.
            recipients.append(address.partition("\t")[0])
        elif word == "received":
            times.append(float(value))
    if len(senders) != 1 or len(times) != 1 or not recipients:
        raise Mismatch(f"queue file {path.name}: an envelope has one sender, one time and recipients: {lines}")
    header = re.match(rb"Received:((?:[^\n]*\n)(?:[ \t][^\n]*\n)*)", message)
    if not header:
        raise Mismatch(f"queue file {path.name}: the message begins with {message[:60]!r}, not with Received")
    received = " ".join(header.group(1).decode("utf-8").split())
    return Queued(lines[1:], senders[0], recipients, received, message[header.end():])


def compare_queue(transcript, home, story):
    for directory in ("later", "hold", "reason"):
        found = sorted(os.listdir(home / "queue" / directory))
        if found:
            raise Mismatch(f"queue/{directory} holds {found}")
    others = sorted(set(os.listdir(home / "queue")) - {"new", "later", "hold", "reason", "filled"})
    if others:
        raise Mismatch(f"queue holds {others} beside its directories")
    names = sorted(os.listdir(home / "queue" / "new"))
    if sorted(story.acknowledged) != names:
        raise Mismatch(f"acknowledged were {story.acknowledged}, queue/new holds {names}")
    queued = [read_queued(home / "queue" / "new" / name) for name in story.acknowledged]
    for message in queued:
        check_received(message)
        if transcript.role == "submission":
            check_submitted(message)
        elif any(line.startswith(("by ", "ret ", "envid ")) or "\t" in line for line in message.lines):
            raise Mismatch(f"at the inbound server nobody is known and nothing is promised: {message.lines}")

    asked = transcript.queue or [("empty", None, 0)]
    chosen, counted = 0, False
    for words, content, line in asked:
        def differs(what):
            return Mismatch(f"line {line}: Q: {words}: {what}" if line else f"no `Q:` lines: {what}")

        word, _, value = words.partition(" ")
        if words == "empty":
            counted = True
            if queued:
                raise differs(f"queue/new holds {len(queued)} messages")
        elif re.fullmatch(r"\d+ messages?", words):
            counted = True
            if int(word) != len(queued):
                raise differs(f"queue/new holds {len(queued)}")
        elif word == "message":
            chosen = int(value) - 1
        else:
            if not 0 <= chosen < len(queued):
                raise differs("there is no such message")
            message = queued[chosen]
            if word == "sender":
                if f"<{message.sender}>" != value:
                    raise differs(f"the queue file has <{message.sender}>")
            elif word == "recipients":
                if message.recipients != value.split(" "):
                    raise differs(f"the queue file has {' '.join(message.recipients)}")
            elif word == "recipient":
                if message.recipients != [value]:
                    raise differs(f"the queue file has {message.recipients}")
            elif words == "received has id ID":
                if f" id {story.acknowledged[chosen]}" not in message.received:
                    raise differs(f"the header is {message.received!r}")
            elif words.startswith("received has no "):
                if words.removeprefix("received has no ") in message.received:
                    raise differs(f"the header is {message.received!r}")
            elif words.startswith("envelope has no "):
                if any(line.split(" ")[0] == words.removeprefix("envelope has no ") for line in message.lines):
                    raise differs(f"the envelope is {message.lines}")
            elif word == "envelope":
                if exact_bytes(value).decode() not in message.lines:
                    raise differs(f"the envelope is {message.lines}")
            elif words == "date is now":
                check_date(field_of(message, "date"))
            elif words == "message-id has id ID":
                if field_of(message, "message-id") != f"<{story.acknowledged[chosen]}@{transcript.control['hostname']}>":
                    raise differs(f"it is {field_of(message, 'message-id')!r}")
            elif word == "received":
                if not fits(value, message.received):
                    raise differs(f"the header is {message.received!r}")
            elif words == "content":
                if not content_fits(content, message.content):
                    story.lines.append(("  ", "Q: content"))
                    story.expected(["|~ " + part if isinstance(part, str) else "| " + shown(part) for part in content])
                    story.answered(["| " + shown(part) for part in message.content.removesuffix(b"\n").split(b"\n")])
                    raise differs("another content")
            elif word == "octets":
                if len(message.content) != int(value):
                    raise differs(f"the content has {len(message.content)} octets")
            else:
                raise TranscriptError(f"{transcript.path}:{line}: not understood: Q: {words}")
    if not counted and len(queued) != 1:
        raise Mismatch(f"queue/new holds {len(queued)} messages; without a count there must be one")


def content_fits(wanted, content):
    """WANTED: lines as octets, or as text in which `...` is any text."""
    lines = content.split(b"\n")
    # An exact line may hold line ends.
    wanted = [piece for part in wanted for piece in ([part] if isinstance(part, str) else part.split(b"\n"))]
    if lines.pop() != b"" or len(lines) != len(wanted):
        return False
    return all(fits(pattern, line.decode("utf-8", "surrogateescape")) if isinstance(pattern, str) else pattern == line
               for pattern, line in zip(wanted, lines))


def check_received(message):
    """RFC 5321 4.4 for the header that was added."""
    clauses, found, date = message.received.rpartition("; ")
    if not found or not re.search(r"\bby \S+", clauses) or not re.search(r"\bwith (UTF8SMTP|ESMTP|SMTP)S?A?\b", clauses):
        raise Mismatch(f"Received has no by, with or date: {message.received!r}")
    check_date(date)


def check_date(date):
    try:
        age = datetime.datetime.now(datetime.timezone.utc) - email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError):
        raise Mismatch(f"malformed date: {date!r}") from None
    if abs(age.total_seconds()) > 60:
        raise Mismatch(f"wrong date: {date!r}")


def header_of(content):
    """The lines of the header section: up to the first that is empty."""
    lines = content.split(b"\n")
    return lines[:lines.index(b"")]


def field_of(message, name):
    """The one field of that name."""
    found = [line for line in header_of(message.content) if re.match(name.encode() + rb"[ \t]*:", line, re.IGNORECASE)]
    if len(found) != 1:
        raise Mismatch(f"{name} stands there {len(found)} times")
    return found[0].partition(b":")[2].decode("utf-8", "replace").strip()


def check_submitted(message):
    """RFC 6409 8, RFC 5322 3.6: what every message that leaves the outgoing server has, and what none may have."""
    names = []
    for line in header_of(message.content):
        found = re.match(rb"([!-9;-~]+)[ \t]*:", line)
        if found:
            names.append(found.group(1).lower())
        elif line[:1] not in (b" ", b"\t") or not names:
            raise Mismatch(f"no field of a header section: {shown(line)!r}")
    if names.count(b"from") != 1 or b"date" not in names or b"message-id" not in names or b"bcc" in names:
        raise Mismatch(f"a header section that may not leave: {names}")
    by = [line for line in message.lines if line.startswith("by ")]
    if len(by) != 1:
        raise Mismatch(f"the envelope does not say by whom the message was submitted: {message.lines}")


# ---------------------------------------------------------------- as a command, and with disks of its own

def default_program():
    return pathlib.Path(os.environ.get("SEMAIL_BIN", ROOT / ".build" / "release")).resolve() / "smtpd-session"


def run_anywhere(path, program):
    """run(), inside mount namespaces of its own when the transcript asks for small disks."""
    if not read(path).small_disks:
        run(path, program)
        return
    entered = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    result = subprocess.run([*entered, sys.executable, __file__, "--here", str(path), str(program)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * TIME_LIMIT_SECONDS, check=False)
    if result.returncode != 0:
        raise Mismatch(result.stdout.decode("utf-8", "replace").rstrip())


def main(words):
    here = words[:1] == ["--here"]
    if here:
        words = words[1:]
    if not 1 <= len(words) <= 2:
        print("usage: dialogue.py TRANSCRIPT [SMTPD-SESSION]", file=sys.stderr)
        return 100
    path = pathlib.Path(words[0]).resolve()
    program = pathlib.Path(words[1]).resolve() if len(words) == 2 else default_program()
    try:
        (run if here else run_anywhere)(path, program)
    except (Mismatch, TranscriptError) as problem:
        print(problem)
        return 100
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
