"""sendmail, as its callers know it: what comes of each way to call it, octet by octet at a fake submission service, and whole
at the real one."""

import contextlib
import os
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

import semailtest
from semailtest import program

EXTENSIONS = ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "LIMITS MAILMAX=1000 RCPTMAX=100"]
USAGE, DATA, NO_USER, UNAVAILABLE, TRY_AGAIN, NOT_ALLOWED, CONFIGURATION = 64, 65, 67, 69, 75, 77, 78


class Service:
    """Takes what it is sent. `replies` maps the beginning of a command (or "." for the end of a message, "" for the greeting) to another reply;
    None hangs up instead."""

    def __init__(self, path, extensions=EXTENSIONS, replies={}):
        self.extensions, self.replies = extensions, replies
        self.commands, self.messages, self.uids = [], [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o777)
        self.listener.listen(20)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self.uids.append(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
                self.talk(connection, connection.makefile("rb"))

    def answer(self, connection, command, usual):
        found = next((self.replies[start] for start in sorted(self.replies, reverse=True) if command == start or start and command.startswith(start)), usual)
        if found is None:
            raise OSError("hung up")
        connection.sendall(found.encode() + b"\r\n")
        return found

    def talk(self, connection, lines):
        self.answer(connection, "", "220 fake ESMTP")
        for line in lines:
            assert line.endswith(b"\r\n"), line
            command = line[:-2].decode()
            self.commands.append(command)
            if command.startswith("EHLO"):
                self.answer(connection, command, "\r\n".join(f"250-{word}" for word in ["fake", *self.extensions]) + "\r\n250 HELP")
            elif command == "DATA":
                if self.answer(connection, command, "354 go on").startswith("354"):
                    message = bytearray()
                    for text in lines:
                        if text == b".\r\n":
                            break
                        message += text
                    else:
                        return
                    self.messages.append(bytes(message))
                    self.answer(connection, ".", "250 2.0.0 queued as 1")
            elif command == "QUIT":
                return self.answer(connection, command, "221 2.0.0 bye")
            else:
                self.answer(connection, command, "250 2.0.0 fine")

    def close(self):
        self.listener.close()

    @property
    def envelope(self):
        return [command for command in self.commands if command.startswith(("MAIL", "RCPT"))]


class Caller:
    """A user of a home who has only sendmail."""

    def __init__(self, home):
        self.home = home
        self.path = home.directory / "run/submission"
        self.service = None

    def serve(self, **options):
        self.service = Service(self.path, **options)
        return self.service

    def __call__(self, *arguments, input=b"", name="sendmail", environment=None, timeout=60):
        link = self.home.directory / name
        if not link.is_symlink():
            link.symlink_to(self.home.program("sendmail"))
        return subprocess.run([str(link), *arguments], input=input, capture_output=True, timeout=timeout, cwd=self.home.directory,
                              env=self.home.environment(**{"NAME": "", **(environment or {})}), **self.home._identity())

    def sent(self, *arguments, input=b"", **options):
        """What the service is given as the message."""
        result = self(*arguments, input=input, **options)
        assert result.returncode == 0 and result.stderr == b"", result
        assert result.stdout == b""
        [message] = self.service.messages[-1:]
        return message


@pytest.fixture
def caller(empty_home):
    caller = Caller(empty_home)
    yield caller
    if caller.service:
        caller.service.close()


ME = f"{semailtest.PLAIN_USER if os.geteuid() == 0 else os.geteuid()}@mail.semail.test"
HELLO = b"From: me@semail.test\nSubject: hello\n\nIt works.\n"
HELLO_SENT = HELLO.replace(b"\n", b"\r\n")


# -- the envelope -----------------------------------------------------------

def test_a_dialogue_octet_by_octet(caller):
    service = caller.serve()
    assert caller.sent("-i", "-f", "ssow@semail.test", "a@example.org", "b@example.org", input=HELLO) == HELLO_SENT
    assert service.commands == [
        "EHLO mail.semail.test", f"MAIL FROM:<ssow@semail.test> SIZE={len(HELLO_SENT)}", "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "DATA", "QUIT"]


def test_the_service_sees_who_calls(caller):
    service = caller.serve()
    caller.sent("a@example.org", input=HELLO)
    assert service.uids == [caller.home.user if caller.home.user is not None else os.geteuid()]


def test_a_service_that_offers_nothing(caller):
    service = caller.serve(extensions=[])
    caller.sent("-f", "ssow@semail.test", "-N", "never", "-R", "hdrs", "-V", "x", "a@example.org", input="Subject: ü\nFrom: x@y\n\nü\n".encode())
    assert service.envelope == ["MAIL FROM:<ssow@semail.test>", "RCPT TO:<a@example.org>"]


@pytest.mark.parametrize("arguments, sender", [
    ([], ME), (["-f", "x@example.org"], "x@example.org"), (["-fx@example.org"], "x@example.org"), (["-r", "x@example.org"], "x@example.org"),
    (["-f", ""], ""), (["-f", "<>"], ""), (["-f<x@example.org>"], "x@example.org"), (["-f", "X <x@example.org>"], "x@example.org"),
    (["-f", "root"], "root@mail.semail.test"), (["-f", "a", "-f", "b@example.org"], "b@example.org"), (["-f", "o'neill+x@example.org"], "o'neill+x@example.org"),
    (["-f", '"a b"@example.org'], '"a b"@example.org'),
])
def test_senders(caller, arguments, sender):
    service = caller.serve(extensions=[])
    caller.sent(*arguments, "a@example.org", input=HELLO)
    assert service.envelope[0] == f"MAIL FROM:<{sender}>"


@pytest.mark.parametrize("arguments, recipients", [
    (["a@example.org", "b@example.org"], ["a@example.org", "b@example.org"]),
    (["a@example.org, b@example.org,"], ["a@example.org", "b@example.org"]),
    (["A <a@example.org>", '"B, C" <b@example.org>'], ["a@example.org", "b@example.org"]),
    (["root"], ["root@mail.semail.test"]), (["root, a@example.org, Some One <other>, x (y)"], ["root@mail.semail.test", "a@example.org", "other@mail.semail.test", "x@mail.semail.test"]),
    (["a@example.org", "A@EXAMPLE.org"], ["a@example.org"]),
    (["--", "-a@example.org"], ["-a@example.org"]),
    (["a@example.org", "-oi", "b@example.org"], ["a@example.org", "b@example.org"]),
    (["friends: a@example.org, b@example.org;"], ["a@example.org", "b@example.org"]),
    (["user@[192.0.2.1]"], ["user@[192.0.2.1]"]), (["jörg@example.org"], ["jörg@example.org"]),
])
def test_recipients(caller, arguments, recipients):
    service = caller.serve(extensions=[])
    caller.sent(*arguments, input=HELLO)
    assert service.envelope[1:] == [f"RCPT TO:<{address}>" for address in recipients]


@pytest.mark.parametrize("arguments", [
    ["-oem", "-odb", "-om", "-os"], ["-em"], ["-B8BITMIME"], ["-B", "8BITMIME"], ["-G", "-n", "-m", "-U"], ["-h", "3"], ["-A", "x", "-C/etc/x", "-Dy"], ["-d0.1"], ["-d"], ["-Lmail"],
    ["-O", "DeliveryMode=b"], ["-p", "smtp:host"], ["-X", "/tmp/log"], ["-Mx"], ["-bm"], ["-ba"], ["-FCronDaemon", "-i", "-odi", "-oem", "-oi"], ["-x", "y"], ["-Gn"], ["-s", "-c"],
])
def test_options_of_others(caller, arguments):
    service = caller.serve(extensions=[])
    assert caller.sent(*arguments, "a@example.org", input=HELLO) == HELLO_SENT
    assert service.envelope[1:] == ["RCPT TO:<a@example.org>"]


@pytest.mark.parametrize("arguments, mail, rcpt", [
    (["-N", "never"], "", "NOTIFY=NEVER"), (["-Nsuccess,delay"], "", "NOTIFY=SUCCESS,DELAY"), (["-R", "hdrs"], "RET=HDRS", ""), (["-Rfull"], "RET=FULL", ""),
    (["-V", "id+1 =x"], "ENVID=id+2B1+20+3Dx", ""),
])
def test_notifications(caller, arguments, mail, rcpt):
    service = caller.serve(extensions=["DSN"])
    caller.sent(*arguments, "a@example.org", input=HELLO)
    assert service.envelope == [f"MAIL FROM:<{ME}> {mail}".strip(), f"RCPT TO:<a@example.org> {rcpt}".strip()]


@pytest.mark.parametrize("arguments, message, words", [
    ([], HELLO, []), ([], HELLO + b"\xe4\n", ["BODY=8BITMIME"]), (["-B7BIT"], HELLO + b"\xe4\n", []), ([], b"From: \xc3\xa4 <a@b.c>\n\n", ["SMTPUTF8", "BODY=8BITMIME"]),
    (["-f", "ä@semail.test"], HELLO, ["SMTPUTF8", "BODY=8BITMIME"]), (["ä@semail.test"], HELLO, ["SMTPUTF8", "BODY=8BITMIME"]),
])
def test_octets_beyond_ascii(caller, arguments, message, words):
    service = caller.serve(extensions=["8BITMIME", "SMTPUTF8"])
    caller.sent(*arguments, "a@example.org", input=message)
    assert service.envelope[0].split()[2:] == words


# -- the message ------------------------------------------------------------

@pytest.mark.parametrize("body, sent", [
    (b"", b""), (b"x", b"x\r\n"), (b"x\n", b"x\r\n"), (b"x\r\n", b"x\r\n"), (b"x\r\ny\nz\r\n", b"x\r\ny\r\nz\r\n"), (b"\n\n", b"\r\n\r\n"),
    (b".x\n..\n...\n", b"..x\r\n...\r\n....\r\n"), (b"\0\xff\n", b"\0\xff\r\n"), (b"a" * 300_000 + b"\n", b"a" * 300_000 + b"\r\n"),
    (b"x" * 65536 + b"\n" + b"." * 65537 + b"\nend", b"x" * 65536 + b"\r\n." + b"." * 65537 + b"\r\nend\r\n"),
    (b"y" * 65535 + b"\r\n.z\n", b"y" * 65535 + b"\r\n..z\r\n"),
])
def test_bodies(caller, body, sent):
    caller.serve()
    assert caller.sent("-i", "a@example.org", input=b"From: x@y\n\n" + body) == b"From: x@y\r\n\r\n" + sent


@pytest.mark.parametrize("options, sent", [
    ([], b"one\r\n"), (["-i"], b"one\r\n..\r\ntwo\r\n"), (["-oi"], b"one\r\n..\r\ntwo\r\n"), (["-ti"], b"one\r\n..\r\ntwo\r\n"), (["-o", "i"], b"one\r\n..\r\ntwo\r\n"),
])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_dot_alone(caller, options, sent, end):
    caller.serve()
    assert caller.sent(*options, "a@example.org", input=b"From: x@y\n\none\n." + end + b"two\n") == b"From: x@y\r\n\r\n" + sent


def test_a_dot_alone_in_the_header(caller):
    caller.serve()
    assert caller.sent("a@example.org", input=b"From: x@y\nSubject: z\n.\nTo: no@example.org\n\nx\n") == b"From: x@y\r\nSubject: z\r\n\r\n"


def test_a_dot_without_a_line_end(caller):
    caller.serve()
    assert caller.sent("a@example.org", input=b"From: x@y\n\none\n.") == b"From: x@y\r\n\r\none\r\n"


def test_a_dot_ends_it_although_the_writer_goes_on(caller):
    caller.serve()
    reading, writing = os.pipe()
    os.write(writing, b"From: x@y\n\none\n.\n")
    process = subprocess.Popen([caller.home.program("sendmail"), "a@example.org"], stdin=reading, env=caller.home.environment(), **caller.home._identity())
    assert process.wait(20) == 0
    os.close(writing)
    os.close(reading)


@pytest.mark.parametrize("message, sent", [
    # No header at all; one that ends without an empty line; nothing.
    (b"just text\nmore\n", f"From: {ME}\r\n\r\njust text\r\nmore\r\n".encode()),
    (b"Subject: x\nno field\n\nrest\n", f"Subject: x\r\nFrom: {ME}\r\n\r\nno field\r\n\r\nrest\r\n".encode()),
    (b".dots\n", f"From: {ME}\r\n\r\n..dots\r\n".encode()),
    (b"", f"From: {ME}\r\n\r\n".encode()),
    (b"Subject: x", f"Subject: x\r\nFrom: {ME}\r\n\r\n".encode()),
    (b"From ssow Mon Nov 23 2026\nFrom: a@b.c\n\nx\n", b"From: a@b.c\r\n\r\nx\r\n"),
    (b"From: a@b.c\nX-Long:\n folded\n\tmore\n\nx\n", b"From: a@b.c\r\nX-Long:\r\n folded\r\n\tmore\r\n\r\nx\r\n"),
    (b"FROM: a@b.c\nBCC: x@y\n x2@y\nX: 1\nResent-Bcc: q@r\n\n", b"FROM: a@b.c\r\nX: 1\r\n\r\n"),
    (b"From : a@b.c\n\n", b"From : a@b.c\r\n\r\n"),
    (b"From: root (Cron Daemon)\nTo: root\nCc: Some One <other>, \"q\" <x@y>\n\n",
     b"From: root@mail.semail.test (Cron Daemon)\r\nTo: root@mail.semail.test\r\nCc: Some One <other@mail.semail.test>, \"q\" <x@y>\r\n\r\n"),
    (b"From: a@b.c\nTo: no such thing as <this\n\n", b"From: a@b.c\r\nTo: no such thing as <this\r\n\r\n"),
    (b"From: a@b.c\n\nFrom: inner\nBcc: body@text\n", b"From: a@b.c\r\n\r\nFrom: inner\r\nBcc: body@text\r\n"),
    (b"From: a@b.c\nSubject: " + b"s" * 200_000 + b"\n\nx\n", b"From: a@b.c\r\nSubject: " + b"s" * 200_000 + b"\r\n\r\nx\r\n"),
])
def test_headers(caller, message, sent):
    caller.serve()
    assert caller.sent("-i", "a@example.org", input=message) == sent


@pytest.mark.parametrize("arguments, name, field", [
    ([], "", ME), (["-F", "Anna B."], "", f'"Anna B." <{ME}>'), (["-FAnna"], "Other", f'"Anna" <{ME}>'), ([], "From The \"Environment\"", f'"From The \\"Environment\\"" <{ME}>'),
    (["-F", "Jörg"], "", f"=?UTF-8?B?SsO2cmc=?= <{ME}>"), (["-f", "x@semail.test"], "", "x@semail.test"), (["-f", "", "-F", ""], "", ME),
    (["-F", "a\nBcc: evil@example.org"], "", f'"aBcc: evil@example.org" <{ME}>'),
])
def test_a_from_that_is_missing(caller, arguments, name, field):
    caller.serve()
    assert caller.sent(*arguments, "a@example.org", input=b"\n", environment={"NAME": name}) == f"From: {field}\r\n\r\n".encode()


def test_a_mailbox_user_sends_as_the_mailbox(caller):
    service = caller.serve()
    (caller.home.directory / f"mailboxes/#{ME.partition('@')[0]}").symlink_to("ssow@semail.test")
    assert caller.sent("a@example.org", input=b"\n") == b"From: ssow@semail.test\r\n\r\n"
    assert service.envelope[0].startswith("MAIL FROM:<ssow@semail.test>")


# -- -t ---------------------------------------------------------------------

@pytest.mark.parametrize("header, arguments, recipients", [
    ("To: a@b.c\nCc: d@e.f\nBcc: g@h.i", [], ["a@b.c", "d@e.f", "g@h.i"]),
    ("To: a@b.c,\n\t\"x, y\" <d@e.f>\nto: g@h.i", [], ["a@b.c", "d@e.f", "g@h.i"]),
    ("Bcc: a@b.c", [], ["a@b.c"]),
    ("To: a@b.c", ["d@e.f", "a@b.c"], ["d@e.f", "a@b.c"]),
    ("To: undisclosed-recipients:;\nBcc: a@b.c", [], ["a@b.c"]),
    ("To: root", [], ["root@mail.semail.test"]),
    ("To:\nCc: \n\nBcc: no@example.org", ["x@y.z"], ["x@y.z"]),
    # Sent again: those of the last time only, whose fields stand first.
    ("Resent-To: new@b.c\nResent-Cc: also@b.c\nResent-From: ssow@semail.test\nReceived: x\nResent-To: older@b.c\nTo: old@b.c", [], ["new@b.c", "also@b.c"]),
    ("Resent-To: new@b.c\nResent-From: ssow@semail.test\nResent-To: older@b.c\nResent-From: x@y.z\nTo: old@b.c", [], ["new@b.c"]),
    ("Received: x\nResent-Bcc: new@b.c\nBcc: old@b.c", [], ["new@b.c"]),
])
def test_recipients_of_the_header(caller, header, arguments, recipients):
    service = caller.serve(extensions=[])
    message = caller.sent("-t", *arguments, input=f"From: me@semail.test\n{header}\n\nBcc: body@example.org\n".encode())
    assert service.envelope[1:] == [f"RCPT TO:<{address}>" for address in recipients]
    head = message.split(b"\r\n\r\n")[0].lower()
    assert b"bcc" not in head and message.startswith(b"From: me@semail.test")


@pytest.mark.parametrize("arguments, message, code, words", [
    ([], HELLO, USAGE, "no recipients"), (["-t"], HELLO, DATA, "no recipients"), (["-t"], b"To: <a@b\n\n", DATA, "to cannot be read"), (["-t"], b"To: a b c\n\n", DATA, "cannot be read"),
    (["a@b", "not an address"], HELLO, USAGE, "is no address"), (["a@b", ""], HELLO, USAGE, "is no address"), (["-f", "a@b,c@d", "x@y"], HELLO, USAGE, "is no address"),
    (["-y", "x@y"], HELLO, USAGE, "no option -y"), (["-f"], HELLO, USAGE, "needs a value"), (["-bd"], HELLO, USAGE, "no daemon"), (["-bt"], HELLO, USAGE, "-bt"),
    (["-N", "maybe", "x@y"], HELLO, USAGE, "-N"),
    (["-R", "some", "x@y"], HELLO, USAGE, "-R"), (["-V", "x" * 101, "x@y"], HELLO, USAGE, "-V"), (["x@y"], HELLO + b"a\rb\n", DATA, "CR"), (["x@y"], HELLO + b"a\r\r\n", DATA, "CR"),
    (["x@y"], b"Subject: a\rb\n\n", DATA, "CR"),
    (["x@y"], b"X: " + b"x" * (1 << 20) + b"\n\n", DATA, "megabyte"), (["a@b\xff".encode("latin-1").decode("utf-8", "surrogateescape")], HELLO, USAGE, "is no address"),
])
def test_what_makes_no_sense_is_not_sent(caller, arguments, message, code, words):
    service = caller.serve()
    result = caller(*arguments, input=message)
    assert (result.returncode, result.stdout) == (code, b"") and words in result.stderr.decode(errors="replace")
    assert result.stderr.startswith(b"sendmail: ") and result.stderr.count(b"\n") >= 1
    assert service.commands == []


# -- what the service says --------------------------------------------------

@pytest.mark.parametrize("replies, code, words", [
    ({"": "421 4.3.2 later"}, TRY_AGAIN, "421 4.3.2 later"), ({"": "554 5.0.0 no"}, UNAVAILABLE, "554"), ({"EHLO": "550 5.7.1 no"}, NOT_ALLOWED, "550"), ({"": None}, TRY_AGAIN, "hung up"),
    ({"MAIL": "550 5.7.1 You may send as <ssow@semail.test> only"}, NOT_ALLOWED, "550 5.7.1 You may send as <ssow@semail.test> only"),
    ({"MAIL": "451 4.7.1 over budget"}, TRY_AGAIN, "451 4.7.1 over budget"),
    ({"MAIL": "552 5.3.4 too large"}, DATA, "552 5.3.4 too large"), ({"RCPT TO:<b@": "550 5.1.1 No such mailbox"}, NO_USER, "b@example.org: 550 5.1.1 No such mailbox"),
    ({"RCPT TO:<b@": "450 4.2.1 later"}, TRY_AGAIN, "b@example.org: 450"),
    ({"DATA": "554 5.5.1 no"}, UNAVAILABLE, "554"), ({".": "554 5.6.0 bad content"}, DATA, "554 5.6.0 bad content"), ({".": "452 4.3.1 disk full"}, TRY_AGAIN, "452"),
    ({".": "550-5.7.1 two\r\n550 5.7.1 lines"}, NOT_ALLOWED, "two 5.7.1 lines"),
    ({".": None}, TRY_AGAIN, "hung up"), ({"DATA": None}, TRY_AGAIN, "hung up"), ({"RCPT": "nonsense"}, TRY_AGAIN, "no SMTP"), ({"RCPT": "2" * 5000}, TRY_AGAIN, "no SMTP"),
    ({"": "250-x\r\n" * 200 + "250 x"}, TRY_AGAIN, "no SMTP"),
    ({"MAIL": "550 5.1.1 \x1b[31mred"}, NO_USER, "?[31mred"),
])
def test_refusals(caller, replies, code, words):
    service = caller.serve(replies=replies)
    result = caller("a@example.org", "b@example.org", input=HELLO)
    assert (result.returncode, result.stdout) == (code, b"") and words in result.stderr.decode()
    if not any(key in replies for key in (".", "DATA")):
        # All or nothing.
        assert service.messages == [] and "DATA" not in service.commands


def test_a_header_of_too_many_fields(caller):
    service = caller.serve()
    result = caller("x@y", input=b"X: x\n" * 250_000)
    assert result.returncode == DATA and b"megabyte" in result.stderr and service.commands == []


def test_nobody_serves(caller):
    result = caller("a@example.org", input=HELLO)
    assert result.returncode == TRY_AGAIN and b"does not answer" in result.stderr
    caller.path.touch()
    assert caller("a@example.org", input=HELLO).returncode == TRY_AGAIN


def test_a_farewell_that_fails_is_no_failure(caller):
    caller.serve(replies={"QUIT": None})
    assert caller.sent("a@example.org", input=HELLO) == HELLO_SENT


def test_a_service_that_hangs_up_within_a_large_message(caller):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(caller.path))
    os.chmod(caller.path, 0o777)
    listener.listen()

    def serve():
        connection, _ = listener.accept()
        connection.sendall(b"220 x\r\n")
        lines = connection.makefile("rb")
        for line in lines:
            connection.sendall(b"354 go\r\n" if line == b"DATA\r\n" else b"250 fine\r\n")
            if line == b"DATA\r\n":
                lines.read(100_000)
                connection.sendall(b"452 4.3.1 disk full\r\n")
                connection.shutdown(socket.SHUT_RDWR)
                return

    threading.Thread(target=serve, daemon=True).start()
    result = caller("a@example.org", input=HELLO + b"x" * 70 * 100_000)
    listener.close()
    assert result.returncode == TRY_AGAIN and b"452 4.3.1 disk full" in result.stderr


def test_without_a_home(caller):
    service = caller.serve()
    nowhere = {"SEMAIL_HOME": "/nonexistent", "SEMAIL_SUBMISSION": str(caller.path)}
    caller.sent("-f", "ssow@semail.test", "a@example.org", input=HELLO, environment=nowhere)
    assert service.commands[0] == "EHLO localhost"
    result = caller("a@example.org", input=HELLO, environment=nowhere)
    assert result.returncode == CONFIGURATION and b"hostname" in result.stderr


def test_many_recipients(caller):
    service = caller.serve()
    people = [f"person{number}@example.org" for number in range(250)]
    assert caller.sent("-f", "ssow@semail.test", "-t", input=b"From: me@semail.test\nTo: " + ",\n ".join(people).encode() + b"\n\nhello\n").endswith(b"\r\nhello\r\n")
    assert len(service.messages) == 3 and len(set(service.messages)) == 1
    assert service.commands.count("RSET") == 3
    after = service.commands[len(service.commands) - 1 - service.commands[::-1].index("RSET"):]
    assert [command for command in after if command.startswith("RCPT")] == [f"RCPT TO:<{person}>" for person in people]
    assert [sum(command.startswith("RCPT") for command in block) for block in split(after, "DATA")] == [100, 100, 50, 0]


def split(commands, word):
    blocks = [[]]
    for command in commands:
        if command == word:
            blocks.append([])
        else:
            blocks[-1].append(command)
    return blocks


def test_many_recipients_one_refused(caller):
    service = caller.serve(replies={"RCPT TO:<person249@": "550 5.1.1 nobody"})
    assert caller(*[f"person{number}@example.org" for number in range(250)], input=HELLO).returncode == NO_USER
    assert service.messages == []


# -- large and slow ---------------------------------------------------------

def test_memory_is_bounded(caller):
    caller.serve()
    size = 200 << 20
    line = b"m" * 76 + b"\n"
    process = subprocess.Popen([caller.home.program("sendmail"), "-i", "a@example.org"], stdin=subprocess.PIPE, env=caller.home.environment(), **caller.home._identity())
    process.stdin.write(b"From: x@y\n\n")
    for _ in range(size // len(line) // 1000):
        process.stdin.write(line * 1000)
    process.stdin.close()
    peak = 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{process.pid}/status").read())
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(0.01)
    assert process.returncode == 0
    assert peak < 16 * 1024, f"{peak} KB"
    [message] = caller.service.messages
    assert len(message) == len(b"From: x@y\r\n\r\n") + size // len(line) // 1000 * 1000 * (len(line) + 1)
    assert not [name for name in os.listdir("/tmp") if name.startswith(".sendmail.")]


def test_no_room_for_a_large_message(caller):
    caller.serve()
    assert caller.sent("a@example.org", input=HELLO, environment={"TMPDIR": "/nonexistent"}) == HELLO_SENT
    result = caller("-i", "a@example.org", input=HELLO + b"x\n" * (1 << 20), environment={"TMPDIR": "/nonexistent"})
    assert result.returncode == TRY_AGAIN and b"no file for it" in result.stderr


def test_a_slow_writer_keeps_no_connection(caller):
    service = caller.serve()
    process = subprocess.Popen([caller.home.program("sendmail"), "a@example.org"], stdin=subprocess.PIPE, env=caller.home.environment(), **caller.home._identity())
    process.stdin.write(HELLO)
    process.stdin.flush()
    time.sleep(0.5)
    assert service.uids == []
    process.stdin.close()
    assert process.wait(20) == 0 and len(service.messages) == 1


# -- the other modes --------------------------------------------------------

def test_verbose(caller):
    caller.serve(extensions=[])
    result = caller("-v", "-f", "ssow@semail.test", "a@example.org", input=HELLO)
    assert result.stdout.decode().splitlines() == [
        "<<< 220 fake ESMTP", ">>> EHLO mail.semail.test", "<<< 250-fake", "<<< 250 HELP", ">>> MAIL FROM:<ssow@semail.test>", "<<< 250 2.0.0 fine", ">>> RCPT TO:<a@example.org>",
        "<<< 250 2.0.0 fine",
        ">>> DATA", "<<< 354 go on", "<<< 250 2.0.0 queued as 1", ">>> QUIT", "<<< 221 2.0.0 bye"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_speaking_smtp(caller, end):
    service = caller.serve(extensions=[])
    said = end.join(["EHLO me", "MAIL FROM:<ssow@semail.test>", "RCPT TO:<a@example.org>", "DATA", "Subject: x", "", "..x", ".", "QUIT", ""])
    result = caller("-bs", input=said.encode())
    assert result.returncode == 0 and result.stdout.startswith(b"220 fake ESMTP\r\n") and result.stdout.endswith(b"221 2.0.0 bye\r\n")
    assert service.messages == [b"Subject: x\r\n\r\n..x\r\n"]


def test_speaking_smtp_until_the_caller_goes(caller):
    caller.serve(extensions=[])
    result = caller("-bs", input=b"NOOP\r\n")
    assert result.returncode == 0 and result.stdout == b"220 fake ESMTP\r\n250 2.0.0 fine\r\n"


@pytest.mark.parametrize("name, arguments, words", [("mailq", [], "queue list"), ("sendmail", ["-bp"], "queue list"), ("sendmail", ["-q"], "queue flush"), ("sendmail", ["-qf"], "queue flush")])
def test_the_queue(caller, name, arguments, words):
    # Whatever is called semail in PATH; the real one may or may not be beside this program.
    (caller.home.directory / "bin").mkdir()
    fake = caller.home.directory / "bin/semail"
    fake.write_text('#!/bin/sh\necho "semail $*"\n')
    fake.chmod(0o755)
    copy = caller.home.directory / "bin" / name
    copy.write_bytes(program("sendmail").read_bytes())
    copy.chmod(0o755)
    result = subprocess.run([copy, *arguments], capture_output=True, text=True, env=caller.home.environment(), **caller.home._identity())
    assert (result.returncode, result.stdout) == (0, f"semail {words}\n")


@pytest.mark.parametrize("name, arguments", [("newaliases", []), ("sendmail", ["-bi"]), ("sendmail", ["-I"])])
def test_aliases_need_nothing(caller, name, arguments):
    assert caller(*arguments, name=name).returncode == 0


def test_help_and_version(caller):
    assert caller("--help").stdout.startswith(b"usage: sendmail ") and b"(SEMail)" in caller("--version").stdout


# -- at the real service ----------------------------------------------------

@pytest.fixture
def real(caller):
    """The outgoing server at run/submission, and qrunner."""
    home = caller.home
    home.start_qrunner()
    home.start_accept(session=("submission",), host="unix", port=caller.path)
    return caller


BODY = "".join(f"Line {number}\n" for number in range(50)).encode() + b".\n..\n.x\n\xc3\xa4\n\n"


def test_from_one_mailbox_to_another(real):
    message = b"From: Some One <ssow@semail.test>\nTo: xredon@semail.test\nBcc: ssow@semail.test\nDate: Mon, 23 Nov 2026 21:05:13 +0000\nMessage-ID: <a@b>\nSubject: hello\n\n" + BODY
    result = real("-ti", "-f", "ssow@semail.test", input=message)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    for owner in ("xredon", "ssow"):
        [path] = real.home.wait_delivered(owner, 1)
        semailtest.assert_whole(path, message.replace(b"Bcc: ssow@semail.test\n", b""))
        assert b"bcc" not in path.read_bytes().lower() and b"Return-Path: <ssow@semail.test>\n" in path.read_bytes()


def test_what_is_missing_is_added(real):
    (real.home.directory / f"mailboxes/#{ME.partition('@')[0]}").symlink_to("ssow@semail.test")
    assert real("xredon", "xredon@semail.test", input=b"only text\n").returncode == NO_USER
    assert real("xredon@semail.test", input=b"only text\n", environment={"NAME": "Some One"}).returncode == 0
    [path] = real.home.wait_delivered("xredon", 1)
    assert semailtest.field(path, "From") == ['"Some One" <ssow@semail.test>']
    assert len(semailtest.field(path, "Date")) == len(semailtest.field(path, "Message-ID")) == 1
    assert path.read_bytes().endswith(b"\n\nonly text\n")


@pytest.mark.parametrize("arguments, message, code, words", [
    (["-f", "xredon@semail.test", "a@example.org"], HELLO, NOT_ALLOWED, "550 5.7.1 You may send as <ssow@semail.test> only"),
    (["-f", "ssow@semail.test", "a@example.org"], b"From: xredon@semail.test\n\nx\n", NOT_ALLOWED, "550 5.7.1"),
    (["nobody@semail.test"], b"\nx\n", NO_USER, "nobody@semail.test: 550 5.1.1"), (["xredon@semail.test", "nobody@semail.test"], b"\nx\n", NO_USER, "nobody@semail.test: 550 5.1.1"),
    (["root"], b"\nx\n", NO_USER, "root@mail.semail.test: 550 5.1.1"),
])
def test_what_the_service_refuses(real, arguments, message, code, words):
    (real.home.directory / f"mailboxes/#{ME.partition('@')[0]}").symlink_to("ssow@semail.test")
    result = real(*arguments, input=message)
    assert result.returncode == code and words in result.stderr.decode()
    assert real.home.queue_files() == [] and real.home.delivered("xredon") == []


def test_too_large(real):
    real.home.control("message-size", "64K")
    result = real("-f", "ssow@semail.test", "xredon@semail.test", input=b"From: ssow@semail.test\n\n" + b"x\n" * 40_000)
    assert result.returncode == DATA and b"552 5.3.4" in result.stderr


def test_a_large_message_whole(real):
    message = b"From: ssow@semail.test\nDate: Mon, 23 Nov 2026 21:05:13 +0000\nMessage-ID: <a@b>\n\n" + os.urandom(1 << 20).hex().encode().replace(b"a", b"\n.") * 8 + b"\n"
    assert real("-i", "-f", "ssow@semail.test", "xredon@semail.test", input=message).returncode == 0
    [path] = real.home.wait_delivered("xredon", 1)
    semailtest.assert_whole(path, message)


def test_speaking_with_the_service(real):
    process = subprocess.Popen([real.home.program("sendmail"), "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=real.home.environment(), **real.home._identity())
    codes = []
    for said in ("", "EHLO me\n", "MAIL FROM:<ssow@semail.test>\n", "RCPT TO:<xredon@semail.test>\n", "DATA\n", "From: ssow@semail.test\n\ntyped\n.\n", "QUIT\n"):
        process.stdin.write(said.encode())
        process.stdin.flush()
        while (line := process.stdout.readline())[3:4] == b"-":
            pass
        codes.append(int(line[:3]))
    assert codes == [220, 250, 250, 250, 354, 250, 221] and process.wait(10) == 0
    process.stdin.close()
    assert real.home.wait_delivered("xredon", 1)[0].read_bytes().endswith(b"\n\ntyped\n")


def test_more_recipients_than_one_message_may_have(real):
    people = [f"person{number}@elsewhere.example" for number in range(120)]
    real.home.stop_process("qrunner")
    assert real("-f", "ssow@semail.test", *people, input=b"From: ssow@semail.test\n\nx\n").returncode == 0
    assert sorted(text for path in real.home.queue_files() for text in re.findall(r"^to W (\S+)", path.read_text(), re.MULTILINE)) == sorted(people)
    assert len(real.home.queue_files()) == 2
