"""Mail from clients that others wrote arrives: whole, exactly once, in the right Maildir.

Command-line clients, Python's smtplib, Postfix, OpenSMTPD and Exim as relaying
peers, Postfix's smtp-source with 100 sessions at once, and smtpd-session under
Debian's tcpserver in place of tcp-accept. Each against real servers on loopback.
"""

import re
import smtplib
import subprocess

import pytest

import peers
import semailtest
import servers
from semailtest import assert_whole, field, tool

SENDER = "sender@client.example"
HEADER = (b"From: A Sender <sender@client.example>\r\n"
          b"To: xredon@semail.test\r\n"
          b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
          b"Subject: %s\r\n"
          b"Message-Id: <%s@client.example>\r\n")

# What may go wrong on the way: dots at the beginning of lines, long lines, 8-bit
# text, a folded field, no body at all, more than any buffer holds.
BODIES = {
    "plain": b"Hello,\r\n\r\nhow are you?\r\n",
    "dots": b".\r\n..\r\n.leading\r\n...\r\n.\r\n\r\nlast\r\n",
    "dot-at-the-end": b"almost\r\n.\r\n",
    "eight-bit": "Grüße, žluťoučký kůň, 你好\r\n".encode() + "naïve\r\n".encode("latin-1"),
    "long-lines": b"".join(bytes([97 + index % 26]) * 990 + b"\r\n" for index in range(60)),
    "empty": b"",
    "from-line": b"From the start of a line\r\n>From another\r\n\r\n\r\n",
    "three-megabytes": b"".join(b"%07d " % index + b"x" * 60 + b"\r\n" for index in range(43_000)),
}


def message(name, number=0):
    """The message called NAME, with CRLF line ends."""
    header = HEADER % (name.encode(), b"%s.%d" % (name.encode(), number))
    if name == "plain":
        header += b"X-Folded: one\r\n\ttwo\r\n  three\r\n"
    return header + b"\r\n" + BODIES[name]


def run_client(arguments, message=b""):
    done = subprocess.run([str(word) for word in arguments], input=message,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, f"{arguments[0]}: exit {done.returncode}: {done.stdout.decode(errors='replace')[-2000:]}"
    return done.stdout.decode(errors="replace")


def assert_arrived(home, sent, owner="xredon", peer_adds=()):
    """Exactly one message for OWNER and none for anybody else, and it is SENT."""
    everybody = {path.name: 0 for path in (home.directory / "mnt").iterdir()}
    found = home.wait_exactly({**everybody, owner: 1})
    [path] = found[owner]
    assert_whole(path, sent, peer_adds)
    assert field(path, "Return-Path") == [f"<{SENDER}>"]
    assert field(path, "Delivered-To") == [f"{owner}@semail.test"]
    return path


# -- clients --------------------------------------------------------------------

@pytest.mark.parametrize("name", BODIES)
def test_smtplib(home, name):
    with home.smtp() as client:
        assert client.sendmail(SENDER, ["xredon@semail.test"], message(name)) == {}
    assert_arrived(home, message(name))


def test_smtplib_carries_every_octet(home):
    sent = HEADER % (b"octets", b"octets") + b"\r\n" + b"".join(
        bytes([octet]) * 3 for octet in range(256) if octet not in b"\r\n") + b"\r\n"
    with home.smtp() as client:
        client.sendmail(SENDER, ["xredon@semail.test"], sent, mail_options=["BODY=8BITMIME"])
    assert_arrived(home, sent)


def test_smtplib_sends_to_several_at_once_and_again(home):
    with home.smtp() as client:
        for number in range(3):
            client.sendmail(SENDER, ["xredon@semail.test", "ssow@semail.test"],
                            message("plain", number))
    found = home.wait_exactly({"xredon": 3, "ssow": 3})
    for owner, files in found.items():
        for number in range(3):
            [path] = [path for path in files
                      if field(path, "Message-Id") == [f"<plain.{number}@client.example>"]]
            assert_whole(path, message("plain", number))
            assert field(path, "Delivered-To") == [f"{owner}@semail.test"]


def test_smtplib_reports_whom_the_server_refuses(home):
    with home.smtp() as client:
        refused = client.sendmail(SENDER, ["xredon@semail.test", "nobody@semail.test"],
                                  message("plain"))
    assert list(refused) == ["nobody@semail.test"] and refused["nobody@semail.test"][0] == 550
    assert_arrived(home, message("plain"))


def test_smtplib_with_utf8_addresses(empty_home):
    home = empty_home
    home.add_mailbox("zoe", "zoë@semail.test")
    home.start()
    from email.message import EmailMessage
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "bjørn@client.example", "zoë@semail.test", "Zoë"
    mail.set_content("hej\n")
    with home.smtp() as client:
        client.send_message(mail)
    [path] = home.wait_exactly({"zoe": 1, "xredon": 0})["zoe"]
    assert field(path, "Return-Path") == ["<bjørn@client.example>"]
    assert field(path, "Delivered-To") == ["zoë@semail.test"]
    # RFC 6531, 4.3: the protocol that the message came by.
    assert re.search(r" with UTF8SMTP ", field(path, "Received")[0] + " ")


# swaks takes a dot on the last line for the end of the message, and gives a
# message without a body an empty line.
@pytest.mark.parametrize("name", [name for name in BODIES
                                  if name not in ("dot-at-the-end", "empty")])
def test_swaks(home, name, tmp_path):
    # swaks puts a line end after the file, whatever the file ends with.
    (tmp_path / "message").write_bytes(
        message(name).replace(b"\r\n", b"\n").removesuffix(b"\n"))
    said = run_client([tool("swaks"), "--server", "127.0.0.1", "--port", home.port,
                       "--ehlo", "client.example", "--from", SENDER, "--to", "xredon@semail.test",
                       "--data", f"@{tmp_path / 'message'}", "--suppress-data"])
    assert "<** " not in said and "*** " not in said, said
    assert_arrived(home, message(name))


def test_swaks_pipelined_to_two(home, tmp_path):
    (tmp_path / "message").write_bytes(
        message("plain").replace(b"\r\n", b"\n").removesuffix(b"\n"))
    said = run_client([tool("swaks"), "--server", "127.0.0.1", "--port", home.port,
                       "--ehlo", "client.example", "--from", SENDER, "--pipeline",
                       "--to", "xredon@semail.test,ssow@semail.test",
                       "--data", f"@{tmp_path / 'message'}"])
    assert "<** " not in said and "*** " not in said, said
    for [path] in home.wait_exactly({"xredon": 1, "ssow": 1}).values():
        assert_whole(path, message("plain"))


@pytest.mark.parametrize("name", BODIES)
def test_msmtp(home, name):
    run_client([tool("msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={home.port}",
                "--auth=off", "--tls=off", "--domain=client.example", f"--from={SENDER}",
                "--add-missing-from-header=off", "--add-missing-date-header=off",
                "--", "xredon@semail.test"], message(name).replace(b"\r\n", b"\n"))
    assert_arrived(home, message(name))


@pytest.mark.parametrize("name", BODIES)
def test_curl(home, name, tmp_path):
    (tmp_path / "message").write_bytes(message(name))
    run_client([tool("curl"), "--silent", "--show-error", "--noproxy", "*",
                "--url", f"smtp://127.0.0.1:{home.port}/client.example",
                "--mail-from", SENDER, "--mail-rcpt", "xredon@semail.test",
                "--upload-file", tmp_path / "message"])
    assert_arrived(home, message(name))


def test_curl_with_two_recipients(home, tmp_path):
    (tmp_path / "message").write_bytes(message("plain"))
    run_client([tool("curl"), "--silent", "--show-error", "--noproxy", "*",
                "--url", f"smtp://127.0.0.1:{home.port}/client.example",
                "--mail-from", SENDER, "--mail-rcpt", "xredon@semail.test",
                "--mail-rcpt", "ssow@semail.test", "--upload-file", tmp_path / "message"])
    for [path] in home.wait_exactly({"xredon": 1, "ssow": 1}).values():
        assert_whole(path, message("plain"))


# -- many at once -----------------------------------------------------------------

@pytest.mark.parametrize("reuse", [False, True], ids=["one-per-connection", "many-per-connection"])
def test_smtp_source_with_100_sessions(home, reuse):
    messages, size = 500, 4096
    run_client([*peers.smtp_source(), "-M", "client.example", "-s", 100, "-m", messages,
                "-l", size, "-f", SENDER, "-t", "xredon@semail.test",
                *(["-d"] if reuse else []), f"127.0.0.1:{home.port}"])
    files = home.wait_exactly({"xredon": messages, "ssow": 0}, seconds=60)["xredon"]
    body = peers.smtp_source_body(size)
    identities = set()
    for path in files:
        header, found = semailtest.split_message(semailtest.lines_of(path.read_bytes()))
        assert found == body, path.name
        assert b"\nTo: <xredon@semail.test>\n" in header
        identities.update(field(path, "Message-Id"))
    assert len(identities) == messages


# -- relaying peers -----------------------------------------------------------------

# Of the samples, what every peer passes on unchanged by its own rules.
RELAYED = ["plain", "dots", "dot-at-the-end", "eight-bit", "long-lines", "from-line", "three-megabytes"]


def assert_relayed(home, sent):
    """Each message of SENT {name: message} is with xredon and with ssow, once each."""
    found = home.wait_exactly({"xredon": len(sent), "ssow": len(sent)}, seconds=60)
    for owner, files in found.items():
        by_subject = {field(path, "Subject")[0]: path for path in files}
        assert sorted(by_subject) == sorted(sent)
        for name, path in by_subject.items():
            assert_whole(path, sent[name], peer_adds=["Received"])
            assert field(path, "Delivered-To") == [f"{owner}@semail.test"]
            assert field(path, "Return-Path") == [f"<{SENDER}>"]
            # Its own trace line and that of the peer.
            assert len(field(path, "Received")) == 2


def relay_all(home, peer):
    """Hands all samples to PEER, each for both mailboxes."""
    sent = {name: message(name) for name in RELAYED}
    with smtplib.SMTP("127.0.0.1", peer.port, local_hostname="client.example", timeout=30) as client:
        for text in sent.values():
            client.sendmail(SENDER, ["xredon@semail.test", "ssow@semail.test"], text,
                            mail_options=["BODY=8BITMIME"] if client.has_extn("8bitmime") else [])
    return sent


@pytest.fixture
def relay(home):
    """Makes a peer that relays everything to the home; ended with the test."""
    started = []

    def make(kind):
        # Under the home, for the peer's own users must get at it.
        peer = kind(home.directory / "peer" / kind.name)
        started.append(peer)
        peer.relays(home.port)
        return peer

    yield make
    for peer in started:
        peer.stop()


def test_postfix_relays(home, relay):
    peer = relay(servers.Postfix)
    peer.start()
    sent = relay_all(home, peer)
    assert_relayed(home, sent)
    log = peer.output()
    assert len(re.findall(r"status=sent \(250 2\.0\.0 ", log)) == 2 * len(sent), log
    assert not re.search(r"status=(deferred|bounced)|lost connection|protocol error", log), log


def test_postfix_learns_that_a_mailbox_does_not_exist(home, relay):
    peer = relay(servers.Postfix)
    peer.start()
    with smtplib.SMTP("127.0.0.1", peer.port, timeout=30) as client:
        client.sendmail(SENDER, ["nobody@semail.test", "xredon@semail.test"], message("plain"))
    home.wait_exactly({"xredon": 1, "ssow": 0})
    assert semailtest.await_true(
        lambda: re.search(r"to=<nobody@semail\.test>.* dsn=5\.1\.1, status=bounced", peer.output()))


def test_postfix_relays_many(home, relay):
    peer = relay(servers.Postfix)
    peer.start()
    count = 200
    run_client([*peers.smtp_source(), "-M", "client.example", "-s", 10, "-m", count, "-l", 2000,
                "-f", SENDER, "-t", "xredon@semail.test", f"127.0.0.1:{peer.port}"])
    files = home.wait_exactly({"xredon": count, "ssow": 0}, seconds=60)["xredon"]
    assert len({field(path, "Message-Id")[0] for path in files}) == count
    assert not re.search(r"status=(deferred|bounced)|lost connection", peer.output())


def test_opensmtpd_relays(home, relay):
    peer = relay(servers.OpenSMTPD)
    peer.start()
    sent = relay_all(home, peer)
    assert_relayed(home, sent)
    log = peer.output()
    assert len(re.findall(r"mta delivery .*result=\"Ok\"", log)) == 2 * len(sent), log
    assert not re.search(r"result=\"(TempFail|PermFail)|mta error", log), log


def test_exim_relays(home, relay):
    peer = relay(servers.Exim)
    sent = {name: message(name) for name in RELAYED}
    for text in sent.values():
        peer.submit(SENDER, ["xredon@semail.test", "ssow@semail.test"],
                    text.replace(b"\r\n", b"\n"))
    assert_relayed(home, sent)
    log = peer.output()
    assert len(re.findall(r'[-=]> .*C="250 2\.0\.0 ', log)) == 2 * len(sent), log
    # K: by BDAT, which SEMail offers and Exim prefers.
    assert re.search(r" => .* K ", log), log
    assert not re.search(r"==|\*\*", log), log


# -- smtpd-session under the server of others ------------------------------------------

def test_smtpd_session_under_tcpserver(empty_home):
    home = empty_home
    home.start_qrunner()
    # -1: the port that the kernel chose, on standard output.
    server = home.spawn(tool("tcpserver"),
                        ["-1", "-H", "-R", "-l", "0", "-c", "50", "127.0.0.1", "0",
                         home.program("smtpd-session"), "inbound"],
                        stdout=subprocess.PIPE)
    with server.stdout:
        home.port = int(server.stdout.readline())
        for number in range(3):
            with home.smtp() as client:
                client.sendmail(SENDER, ["xredon@semail.test"], message("dots", number))
    files = home.wait_exactly({"xredon": 3, "ssow": 0})["xredon"]
    for path in files:
        [identity] = field(path, "Message-Id")
        assert_whole(path, message("dots", int(identity.split(".")[1].split("@")[0])))
        [received] = field(path, "Received")
        assert received.startswith("from client.example") and "[127.0.0.1]" in received


def test_pipelining_client_under_tcpserver(empty_home, tmp_path):
    home = empty_home
    home.start_qrunner()
    server = home.spawn(tool("tcpserver"),
                        ["-1", "-H", "-R", "-l", "0", "127.0.0.1", "0",
                         home.program("smtpd-session"), "inbound"],
                        stdout=subprocess.PIPE)
    with server.stdout:
        home.port = int(server.stdout.readline())
        run_client([*peers.smtp_source(), "-M", "client.example", "-s", 10, "-m", 50, "-l", 2000,
                    "-f", SENDER, "-t", "ssow@semail.test", f"127.0.0.1:{home.port}"])
    home.wait_exactly({"xredon": 0, "ssow": 50})
