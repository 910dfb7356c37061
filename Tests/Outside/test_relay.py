"""remote-relay against mail servers that do what they may and what they may not: what must become of the message, by hand
and as qrunner's template."""

import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

import networklab
from badpeer import DROP, EVERYTHING, HANG, RESET, USUAL, BadPeer, Raw, Slowly
from networklab import certificate
import relaylab
from relaylab import MESSAGE, Template, envelope, relay, relay_home
from semailtest import await_true

FROM, TO = "a@b.example", "c@d.example"
HERE = "[127.0.0.1]"


@pytest.fixture(scope="module")
def home():
    with relay_home() as made:
        yield made


def send(home, peer, *recipients, sender=FROM, options=(), **more):
    return relay(home, "-p", peer.port, *options, HERE, sender, *(recipients or (TO,)), **more)


def said(text):
    """An action: these words, and then the connection goes."""
    def act(session):
        session.send(text.encode() + b"\r\n")
        return DROP
    return act


# -- as it should be ----------------------------------------------------------

def test_a_message_goes(home):
    with BadPeer() as peer:
        done = send(home, peer)
        assert done.code == 0 and done.report == ("K", "2.0.0", TO, HERE, "250 2.0.0 taken", "dsn"), done
        [message] = peer.messages
        assert message.octets == MESSAGE.replace(b"\n", b"\r\n")
        assert message.sender == b"<a@b.example> SIZE=%d BODY=8BITMIME" % len(MESSAGE)
        assert message.recipients == [b"<c@d.example>"]
        assert peer.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"] and peer.commands[0][1] == b"EHLO relay.test"
        assert "info: connected host=[127.0.0.1]" in done.log and "info: relayed" in done.log


def test_the_null_sender(home):
    with BadPeer() as peer:
        assert send(home, peer, sender="").code == 0
        assert peer.messages[0].sender.startswith(b"<> ")


def test_the_envelope_is_one_write_and_the_message_another(home):
    with BadPeer() as peer:
        trace = home.directory / "trace"
        os.chmod(home.directory, 0o777)
        command = ["strace", "-f", "-qq", "-o", trace, "-s", "200", "-e", "trace=write,read,poll", home.program("remote-relay"), "-p", str(peer.port), HERE, FROM, TO, "e@f.example"]
        subprocess.run(command, input=MESSAGE, env=home.environment(), check=True, capture_output=True)
        network = [line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines() if re.search(r"write\(3,", line)]
        assert [re.match(r'write\(3, "(\w*)', line)[1] for line in network] == ["EHLO", "MAIL", "From", "QUIT"], network


@pytest.mark.parametrize("text", [
    b"", b"x", b"\n", b".", b".\n", b"..\n", b"a\n.\n.b\n..c\n\n.\n", b"no end of line", b"Subject: x\n\n" + b"y" * 100_000 + b"\nz\n",
    b"one\r\ntwo\r\n.\r\nthree", b"mixed\r\nends\n.\r\n", b"last is CR\r\n\r\n", bytes(range(32, 256)) * 300, b"\n" * 70_000, b".\n" * 70_000,
    b"x" * 65535 + b"\n.\n", b"x" * 65536 + b"\n.\n", b"x" * 65535 + b"\r\n.\r\n", b"x" * 65534 + b"\r\n.\r\n",
], ids=range(19))
def test_content_arrives_octet_for_octet(home, text):
    with BadPeer() as peer:
        assert send(home, peer, message=text).code == 0
        expected = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"
        assert peer.messages[0].text == expected
        for line in peer.messages[0].octets.split(b"\r\n"):
            assert line != b"." and (not line.startswith(b".") or line.startswith(b".."))


@pytest.mark.parametrize("text", [b"a\r.\rb\n", b"a\n\r.\r\nb", b"a\r\r\n.\r\nb\n", b"end\r", b"x" * 65535 + b"\r.\r\nMAIL FROM:<x@y>\r\n"])
def test_a_bare_cr_smuggles_nothing(home, text):
    with BadPeer() as peer:
        assert send(home, peer, message=text).code == 0
        octets = peer.messages[0].octets
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets) and not re.search(rb"(^|\n)\.\r\n", octets)
        assert re.sub(rb"[\r\n]+", b"", peer.messages[0].text) == re.sub(rb"[\r\n]+", b"", text)
        assert peer.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def test_a_message_from_a_pipe(home):
    with BadPeer() as peer:
        reading, writing = os.pipe()
        threading.Thread(target=lambda: [os.write(writing, b"line\n" * 10), time.sleep(0.2), os.write(writing, b"more\n" * 50_000), os.close(writing)]).start()
        with os.fdopen(reading) as source:
            assert send(home, peer, message=source).code == 0
        assert peer.messages[0].text == b"line\r\n" * 10 + b"more\r\n" * 50_000 and b"SIZE" not in peer.messages[0].sender


def test_fifty_megabytes_in_flat_memory(home, tmp_path):
    with BadPeer(keep=False) as peer:
        half = send(home, peer, message=b"a line of text\n" * 20_000)
        path = tmp_path / "large"
        path.write_bytes(b".0123456789 abcdefghijklmnopqrstuvwxyz\n" * (50 * 1024 * 1024 // 39))
        with open(path, "rb") as large:
            done = send(home, peer, message=large)
        assert done.code == 0 and 0 < done.octets < 8 << 20 and done.octets - half.octets < 1 << 20, (half.octets, done.octets)


# -- what a peer can and cannot do ----------------------------------------------

def test_without_pipelining_one_at_a_time(home):
    seen = []
    with BadPeer(capabilities=["SIZE"], replies={verb: lambda session, verb=verb: seen.append((verb, session.input)) or USUAL for verb in ("MAIL", "RCPT", "DATA")}) as peer:
        done = send(home, peer, TO, "e@f.example")
        assert done.code == 0 and [report.words for report in done.reports] == ["", ""]
        # Nothing had been sent ahead.
        assert seen == [("MAIL", b""), ("RCPT", b""), ("RCPT", b""), ("DATA", b"")]


def test_without_pipelining_no_data_for_nobody(home):
    with BadPeer(capabilities=[], replies={"RCPT": "550 5.1.1 no"}) as peer:
        assert send(home, peer).report.kind == "D"
        assert peer.verbs() == ["EHLO", "MAIL", "RCPT", "QUIT"]


def test_helo_only(home):
    with BadPeer(replies={"EHLO": "502 5.5.1 what?"}) as peer:
        done = send(home, peer)
        assert done.code == 0 and peer.verbs() == ["EHLO", "HELO", "MAIL", "RCPT", "DATA", "QUIT"]
        assert peer.messages[0].sender == b"<a@b.example>"


def test_too_large_for_the_peer_is_not_sent(home):
    with BadPeer(capabilities=["PIPELINING", "SIZE 1000"]) as peer:
        done = send(home, peer, message=b"x" * 1001)
        assert done.code == 100 and done.report[:3] == ("D", "5.3.4", TO) and "1000" in done.report.text
        assert peer.verbs() == ["EHLO", "QUIT"]
        assert send(home, peer, message=b"x" * 998).code == 0


def test_no_limit_of_size(home):
    with BadPeer(capabilities=["SIZE 0"]) as peer:
        assert send(home, peer, message=b"x" * 10_000).code == 0


def test_without_8bitmime_8bit_goes_as_it_is(home):
    with BadPeer(capabilities=["PIPELINING"]) as peer:
        text = "Subject: x\n\ngrün\n".encode()
        assert send(home, peer, message=text).code == 0
        assert peer.messages[0].text == text.replace(b"\n", b"\r\n") and peer.messages[0].sender == b"<a@b.example>"


def test_smtputf8(home):
    with BadPeer() as peer:
        assert send(home, peer, "grün@d.example").code == 0
        assert b" SMTPUTF8" in peer.messages[0].sender and peer.messages[0].recipients == ["<grün@d.example>".encode()]


def test_a_peer_without_smtputf8(home):
    with BadPeer(capabilities=["PIPELINING", "8BITMIME"]) as peer:
        done = send(home, peer, "grün@d.example", TO)
        assert done.code == 100 and [report[:3] for report in done.reports] == [("D", "5.6.7", "grün@d.example"), ("K", "2.0.0", TO)]
        assert peer.messages[0].recipients == [b"<c@d.example>"] and b"SMTPUTF8" not in peer.messages[0].sender
        done = send(home, peer, TO, sender="grün@b.example")
        assert done.code == 100 and done.report[:2] == ("D", "5.6.7") and len(peer.messages) == 1


def test_many_recipients_in_one_transaction(home):
    recipients = [f"r{number}@d.example" for number in range(100)]
    with BadPeer(replies={f"RCPT r{number}@d.example": "550 5.1.1 no" for number in range(0, 100, 3)}) as peer:
        done = send(home, peer, *recipients)
        assert [report.kind for report in done.reports] == ["D" if number % 3 == 0 else "K" for number in range(100)]
        assert [report.address for report in done.reports] == recipients and len(peer.messages) == 1


def test_more_than_a_hundred_recipients(home):
    with BadPeer() as peer:
        done = send(home, peer, *(f"r{number}@d.example" for number in range(230)))
        assert done.code == 0 and [len(message.recipients) for message in peer.messages] == [100, 100, 30]
        assert peer.connections == 1


def test_limits_of_the_peer(home):
    with BadPeer(capabilities=["PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=2"]) as peer:
        done = send(home, peer, *(f"r{number}@d.example" for number in range(5)))
        assert done.code == 0 and [len(message.recipients) for message in peer.messages] == [2, 2, 1]
        # MAILMAX: no more on one connection.
        assert [message.connection for message in peer.messages] == [1, 1, 2]


@pytest.mark.parametrize("refusal", ["452 4.5.3 too many recipients", "452 too many recipients", "552 too many recipients"])
def test_enough_recipients_for_once(home, refusal):
    with BadPeer(replies={"RCPT": [USUAL, USUAL, refusal, USUAL]}) as peer:
        done = send(home, peer, *(f"r{number}@d.example" for number in range(3)))
        assert done.code == 0 and [len(message.recipients) for message in peer.messages] == [2, 1]


def test_a_full_mailbox_is_another_452(home):
    with BadPeer(replies={"RCPT": [USUAL, "452 4.2.2 mailbox full"]}) as peer:
        done = send(home, peer, TO, "e@f.example")
        assert done.code == 111 and [report[:2] for report in done.reports] == [("K", "2.0.0"), ("Z", "4.2.2")] and len(peer.messages) == 1


# -- no -------------------------------------------------------------------------

def test_one_of_three_recipients_is_refused(home):
    with BadPeer(replies={"RCPT e@f.example": "550 5.1.1 <e@f.example>: no such user"}) as peer:
        done = send(home, peer, TO, "e@f.example", "g@h.example")
        assert done.code == 100
        assert [report[:5] for report in done.reports] == [
            ("K", "2.0.0", TO, HERE, "250 2.0.0 taken"), ("D", "5.1.1", "e@f.example", HERE, "550 5.1.1 <e@f.example>: no such user"),
            ("K", "2.0.0", "g@h.example", HERE, "250 2.0.0 taken")]
        assert peer.messages[0].recipients == [b"<c@d.example>", b"<g@h.example>"]


def test_greylisting(home):
    with BadPeer(replies={"RCPT": ["451 4.7.1 come back later", USUAL]}) as peer:
        done = send(home, peer)
        assert done.code == 111 and done.report[:5] == ("Z", "4.7.1", TO, HERE, "451 4.7.1 come back later")
        assert send(home, peer).code == 0


@pytest.mark.parametrize("reply, expected, code", [
    ("550 no", ("D", "5.0.0"), 100), ("450 busy", ("Z", "4.2.0"), 111), ("550 5.7.1 policy\n550 5.7.1 really", ("D", "5.7.1"), 100),
    ("450 5.1.1 mixed up", ("Z", "4.2.0"), 111), ("554 5.7.1000 no status", ("D", "5.0.0"), 100), ("599 5.1.1x no status", ("D", "5.0.0"), 100),
], ids=range(6))
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "content"])
def test_refusals(home, verb, reply, expected, code):
    with BadPeer(replies={verb: reply}) as peer:
        done = send(home, peer)
        assert done.code == code and done.report[:2] == expected, done
        assert done.report.text == reply.replace("\n550", "") and done.report.host == HERE
        # A transaction that was refused is nobody's message.
        assert not any(message.is_taken for message in peer.messages) and peer.verbs()[-1] == "QUIT"
        assert not peer.faults


def test_data_although_nobody_is_to_get_it(home):
    """RFC 2920 3.1: refused recipients, and yet 354: the dot alone, and nothing of the message."""
    with BadPeer(replies={"RCPT": "550 5.1.1 no", "DATA without": lambda session: session.send(b"354 go on\r\n") or session.line() and "250 ok"}) as peer:
        done = send(home, peer)
        assert done.report[:2] == ("D", "5.1.1") and peer.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def test_controls_in_replies_do_no_harm(home):
    with BadPeer(replies={"RCPT": Raw(b"550 5.1.1 a\tb\x1b[31m\xff\r\n")}) as peer:
        done = send(home, peer)
        assert done.report.text == "550 5.1.1 a b [31m?"


def test_long_words_are_cut(home):
    with BadPeer(replies={"RCPT": "\n".join(["550 5.1.1 " + "ü" * 200] * 9)}) as peer:
        report = send(home, peer).report
        assert report.kind == "D" and 495 < len(report.text.encode()) <= 500


# -- broken at each point ---------------------------------------------------------

STAGES = {  # What is reported when the connection goes or the peer hangs there.
    "greeting": "z", "EHLO": "z", "MAIL": "Z", "RCPT": "Z", "DATA": "Z", "content": "Z",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", [HANG, DROP, RESET])
def test_hangs_and_drops(home, stage, fault):
    with BadPeer(replies={stage: fault}) as peer:
        done = send(home, peer, TO, "e@f.example", timeout_seconds=1)
        # Reset at once, a connection may look as if it had never been.
        status = "4.4.1" if "connect:" in done.reports[0].text and (stage, fault) == ("greeting", RESET) else "4.4.2"
        assert done.code == 111 and [report[:2] for report in done.reports] == [(STAGES[stage], status)] * 2, done
        assert all(("may arrive twice" in report.text) == (stage == "content") for report in done.reports)
        assert done.seconds < 4 and peer.connections == 1


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "content"])
def test_hangs_without_pipelining(home, stage):
    with BadPeer(capabilities=[], replies={stage: HANG}) as peer:
        done = send(home, peer, timeout_seconds=1)
        assert done.report[:2] == (STAGES[stage], "4.4.2") and done.seconds < 4


@pytest.mark.parametrize("octets", [1, 1000, 500_000])
@pytest.mark.parametrize("fault", [DROP, RESET])
def test_drops_within_the_message(home, octets, fault):
    with BadPeer(drop_after=octets, replies={"in content": fault}) as peer:
        done = send(home, peer, message=b"x" * 70 + b"\n" + b"a line of text\n" * 1_000_000, timeout_seconds=5)
        assert done.report[:2] == ("Z", "4.4.2") and "twice" not in done.report.text, done


def test_hangs_within_the_message(home):
    with BadPeer(drop_after=1000, replies={"in content": lambda session: time.sleep(4) or DROP}) as peer:
        done = send(home, peer, message=b"a line of text\n" * 5_000_000, timeout_seconds=1)
        assert done.report[:2] == ("Z", "4.4.2") and done.seconds < 4


def test_the_reason_comes_before_the_message_is_over(home):
    def refuse(session):
        session.send(b"552 5.3.4 too large for us\r\n")
        # Both directions stay open until the client has seen it.
        end = time.monotonic() + 5
        session.socket.settimeout(0.5)
        try:
            while time.monotonic() < end and session.socket.recv(1 << 20):
                pass
        except TimeoutError:
            pass
        return DROP
    with BadPeer(drop_after=100_000, replies={"in content": refuse}) as peer:
        done = send(home, peer, message=b"a line of text\n" * 1_000_000)
        assert done.report[:2] == ("D", "5.3.4"), done


def test_taken_too_early_is_not_taken(home):
    with BadPeer(replies={"DATA": Raw(b"354 go on\r\n250 2.0.0 already\r\n")}) as peer:
        done = send(home, peer)
        assert done.report.kind == "Z" and not any(message.octets for message in peer.messages)


@pytest.mark.parametrize("stage, reply, expected", [
    ("greeting", "421 4.3.2 closing", ("z", "4.3.2")), ("greeting", "554 5.7.1 not you", ("z", "4.7.1")), ("greeting", "521 no mail here", ("d", "5.0.0")),
    ("EHLO", "421 busy", ("z", "4.3.2")), ("EHLO", "451 4.3.0 later", ("z", "4.3.0")),
    ("MAIL", "421 4.7.0 too much", ("Z", "4.7.0")), ("RCPT", "421 4.7.0 too much", ("Z", "4.7.0")), ("DATA", "421 4.7.0 too much", ("Z", "4.7.0")), ("content", "421 4.7.0 too much", ("Z", "4.7.0")),
])
def test_closing_sessions(home, stage, reply, expected):
    with BadPeer(replies={stage: said(reply)}) as peer:
        done = send(home, peer)
        assert done.report[:2] == expected and done.report.text == reply and done.report.host == HERE, done


def test_both_hellos_refused(home):
    with BadPeer(replies={"EHLO": "550 5.7.1 go away", "HELO": "550 5.7.1 go away"}) as peer:
        done = send(home, peer)
        assert done.report[:2] == ("z", "4.7.1") and done.report.text == "550 5.7.1 go away"


@pytest.mark.parametrize("greeting, expected", [
    (b"220-" + b"x" * 100_000 + b"\r\n220 here\r\n", "64 KB"), (b"220-line\r\n" * 10_000 + b"220 here\r\n", "100 lines"), (b"x" * 100_000, "64 KB"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no SMTP reply"), (b"\r\n", "no SMTP reply"), (b"2200 here\r\n", "no SMTP reply"), (b"122 here\r\n", "no SMTP reply"), (b"\0\0\0\0\r\n", "no SMTP reply"),
], ids=range(8))
def test_banners_that_are_none(home, greeting, expected):
    with BadPeer(replies={"greeting": lambda session: session.send(greeting) or HANG}) as peer:
        done = send(home, peer, timeout_seconds=5)
        assert done.report[:2] == ("z", "4.4.2") and expected in done.report.text, done
        assert done.octets < 8 << 20 and done.seconds < 4


@pytest.mark.parametrize("stage, reply", [("MAIL", "354 go on"), ("RCPT", "334 what"), ("DATA", "250 ok"), ("content", "354 more")])
def test_answers_that_cannot_be(home, stage, reply):
    with BadPeer(replies={stage: lambda session: session.send(reply.encode() + b"\r\n") or HANG}) as peer:
        done = send(home, peer, timeout_seconds=3)
        assert done.report.kind == "Z" and not any(message.is_taken for message in peer.messages)


def test_slow_replies_are_waited_for(home):
    with BadPeer(replies={"greeting": Slowly("220-one\n220-two\n220 three", 0.3), "content": Slowly("250-a\n250 b", 0.6)}) as peer:
        assert send(home, peer, timeout_seconds=3).code == 0


def test_replies_that_never_end(home):
    """One line now and then is no answer: the time is for the whole of it."""
    with BadPeer(replies={"EHLO": Slowly("\n".join(["250-more"] * 60), 0.2)}) as peer:
        done = send(home, peer, timeout_seconds=1)
        assert done.report[:2] == ("z", "4.4.2") and done.seconds < 4


def test_replies_in_pieces(home):
    def bit_by_bit(session):
        for octet in b"250-first\r\n250 last\r\n":
            session.send(bytes([octet]))
            time.sleep(0.005)
        return Raw(b"")
    with BadPeer(capabilities=[], replies={"content": bit_by_bit}) as peer:
        assert send(home, peer).report.text == "250 first last"


def test_nobody_listens(home):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    done = relay(home, "-p", port, HERE, FROM, TO)
    assert done.code == 111 and done.report == ("z", "4.4.1", TO, "", f"{HERE} port {port}: connect: Connection refused", "")
    assert "info: unreachable host=[127.0.0.1]" in done.log


def test_a_backlog_that_is_full(home):
    """A SYN that is never answered ends with the time for connecting."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    done = relay(home, "-p", listener.getsockname()[1], HERE, FROM, TO, timeout_seconds=1)
    assert done.report[:2] == ("z", "4.4.1") and "timed out" in done.report.text and done.seconds < 4


@pytest.mark.parametrize("arguments", [[], ["x.example"], ["x.example", FROM], ["x.example", FROM, "nonsense"], ["x.example", "nonsense", TO], ["-t", "tight", "x.example", FROM, TO],
                                       ["-p", "0", "x.example", FROM, TO], ["-p", "70000", "x.example", FROM, TO], ["-q", "x.example", FROM, TO]])
def test_wrong_calls(home, arguments):
    done = relay(home, *arguments)
    assert done.code == 100 and "usage: remote-relay" in done.log and not done.reports


def test_addresses_that_are_none(home):
    for literal in ("[127.0.0.256]", "[IPv6:x]", "[]"):
        assert relay(home, literal, FROM, TO).report[:2] == ("d", "5.1.2")


# -- which host -------------------------------------------------------------------

GOOD, SECOND, THIRD = "198.51.100.10", "198.51.100.11", "198.51.100.12"
GOOD6, SECOND6 = "2001:db8::10", "2001:db8::11"
# Nobody listens there; nobody answers there.
REFUSING, REFUSING6, SILENT, SILENT6 = "198.51.100.20", "2001:db8::20", "198.51.100.21", "2001:db8::21"


class Place:
    """Our host, the host of all the mail servers, and the names of both."""

    def __init__(self, network):
        self.network = network
        self.us = network.host("relay.test", 2)
        self.them = network.host("mx.test", 3)
        for address in (GOOD, SECOND, THIRD, REFUSING):
            self.them.add_address(address + "/24")
        for address in (GOOD6, SECOND6, REFUSING6):
            self.them.add_address(address + "/64")
        self.us.swallow(SILENT)
        self.us.swallow(SILENT6)
        names = network.names
        for name, addresses in {
            "good.test": [GOOD], "second.test": [SECOND], "third.test": [THIRD], "good6.test": [GOOD6], "dual.test": [GOOD, GOOD6], "refusing.test": [REFUSING],
            "silent.test": [SILENT], "silent6.test": [SILENT6, GOOD], "refusing6.test": [REFUSING6, GOOD], "twice.test": [REFUSING, SECOND], "relay.test": [self.us.v4],
            "all-silent.test": [SILENT, SILENT6], **{f"r{number}.test": [REFUSING] for number in range(12)},
        }.items():
            names.address(name, *addresses)
        for domain, hosts in {
            "prefers.test": {"good": 10, "second": 20}, "dead-first.test": {"refusing": 10, "second": 20}, "equal.test": {"good": 5, "second": 5, "third": 5},
            "six.test": {"good6": 10}, "both.test": {"dual": 10}, "hole.test": {"silent6": 10}, "closed6.test": {"refusing6": 10}, "nobody.test": {"all-silent": 10},
            "us-last.test": {"refusing": 10, "relay": 20, "second": 30}, "us-first.test": {"relay": 10, "second": 20}, "us-equal.test": {"relay": 10, "second": 10},
            "greets.test": {"good": 10, "second": 10, "third": 20}, "greets-late.test": {"refusing": 5, "good": 10}, "nameless.test": {"missing": 10},
            "nameless-first.test": {"missing": 10, "second": 20}, "many-dead.test": {f"r{number}": number for number in range(12)}, "addresses.test": {"twice": 10},
            "silent-first.test": {"silent": 10, "second": 20}, "xn--bcher-kva.test": {"good": 10},
        }.items():
            for host, preference in hosts.items():
                names.mx(domain, f"{host}.test", preference)
        # Its answer needs TCP: it is longer than a packet.
        for number in range(60):
            names.mx("long.test", f"a-long-name-of-a-host-that-does-not-exist-{number}.long.test", 100)
        names.mx("long.test", "good.test", 10)
        names.mx("large.test", "r1.large.test", 50)
        names.set("null.test", "MX 0 .")
        names.set("text.test", 'TXT "no mail here"')
        names.set("alias.test", "CNAME prefers.test.")
        names.set("alias-host.test", "CNAME good.test.")
        names.set("dangling.test", "CNAME nowhere.test.")
        names.set("circle.test", "CNAME elcric.test.")
        names.set("elcric.test", "CNAME circle.test.")
        names.mx("alias-mx.test", "alias-host.test")
        # Delegated to a name server that is not there.
        names.set("broken.test", "NS ns.broken.test.")
        names.set("ns.broken.test", f"A {REFUSING}")
        names.mx("broken-mx.test", "mx.broken.test")
        names.publish()

    def peer(self, address=GOOD, **options):
        return BadPeer(listener=self.them.listen(address), **options)


@pytest.fixture(scope="module")
def place():
    with networklab.Network() as network:
        yield Place(network)


def mail(home, place, domain, *more, **options):
    return relay(home, *more, domain, FROM, f"c@{domain}", host=place.us, **options)


def test_the_best_preference(home, place):
    with place.peer() as good, place.peer(SECOND) as second:
        done = mail(home, place, "prefers.test")
        assert done.code == 0 and done.report.host == f"good.test [{GOOD}]"
        assert len(good.messages) == 1 and second.connections == 0


def test_a_dead_first_mx(home, place):
    with place.peer(SECOND) as second:
        done = mail(home, place, "dead-first.test")
        assert done.code == 0 and done.report.host == f"second.test [{SECOND}]" and len(second.messages) == 1 and done.seconds < 1
        assert f'info: unreachable host="refusing.test [{REFUSING}]" port=25' in done.log


def test_a_silent_first_mx(home, place):
    with place.peer(SECOND):
        done = mail(home, place, "silent-first.test", timeout_seconds=1)
        assert done.code == 0 and 0.9 < done.seconds < 3


@pytest.mark.parametrize("stage, fault", [("greeting", "421 4.3.2 busy"), ("greeting", "554 5.7.1 not you"), ("greeting", DROP), ("greeting", HANG), ("EHLO", "421 busy"), ("EHLO", DROP),
                                          ("MAIL", DROP), ("MAIL", said("421 busy")), ("RCPT", HANG), ("DATA", DROP)])
def test_the_next_host_after_a_fault(home, place, stage, fault):
    with place.peer(replies={stage: fault}) as good, place.peer(SECOND) as second:
        done = mail(home, place, "prefers.test", timeout_seconds=1)
        assert done.code == 0 and done.report.host == f"second.test [{SECOND}]", done
        assert good.connections == 1 and len(second.messages) == 1 and second.messages[0].text == MESSAGE.replace(b"\n", b"\r\n")


def test_the_next_host_after_half_a_message(home, place):
    text = b"a line of text\n" * 500_000
    with place.peer(drop_after=100_000) as good, place.peer(SECOND) as second:
        assert mail(home, place, "prefers.test", message=text).code == 0
        assert len(good.messages) == 1 and not good.messages[0].is_taken and second.messages[0].text == text.replace(b"\n", b"\r\n")


def test_no_second_host_once_the_message_was_sent(home, place):
    with place.peer(replies={"content": DROP}), place.peer(SECOND) as second:
        done = mail(home, place, "prefers.test")
        assert done.report[:2] == ("Z", "4.4.2") and "may arrive twice" in done.report.text and second.connections == 0


def test_a_refusal_is_an_answer(home, place):
    with place.peer(replies={"RCPT": "451 4.7.1 later"}), place.peer(SECOND) as second:
        assert mail(home, place, "prefers.test").report[:2] == ("Z", "4.7.1") and second.connections == 0


def test_recipients_with_an_answer_are_not_asked_again(home, place):
    with place.peer(replies={"RCPT c@prefers.test": "550 5.1.1 no", "DATA": DROP}), place.peer(SECOND) as second:
        done = relay(home, "prefers.test", FROM, "c@prefers.test", "d@prefers.test", host=place.us)
        assert [report[:2] for report in done.reports] == [("D", "5.1.1"), ("K", "2.0.0")]
        assert second.messages[0].recipients == [b"<d@prefers.test>"]


def test_equal_preferences_take_turns(home, place):
    with place.peer() as good, place.peer(SECOND) as second, place.peer(THIRD) as third:
        for _ in range(40):
            assert mail(home, place, "equal.test").code == 0
        shares = [len(peer.messages) for peer in (good, second, third)]
        assert sum(shares) == 40 and min(shares) >= 2, shares


def test_both_addresses_of_a_host(home, place):
    with place.peer(SECOND):
        done = mail(home, place, "addresses.test")
        assert done.code == 0 and done.report.host == f"twice.test [{SECOND}]"


def test_no_mx_means_the_domain_itself(home, place):
    with place.peer() as good:
        assert mail(home, place, "good.test").report.host == f"good.test [{GOOD}]" and len(good.messages) == 1


def test_mx_records_do_not_matter_with_m(home, place):
    with place.peer():
        assert mail(home, place, "prefers.test", "-m").report[:2] == ("d", "5.4.4")
        assert mail(home, place, "good.test", "-m").code == 0


@pytest.mark.parametrize("domain, status, words", [
    ("null.test", "5.1.10", "takes no mail"), ("missing.test", "5.1.2", "no domain"), ("text.test", "5.4.4", "no address"), ("nameless.test", "5.4.4", "no address"),
    ("dangling.test", "5.1.2", "no domain"), ("us-first.test", "5.4.6", "this host"), ("us-equal.test", "5.4.6", "this host"), ("relay.test", "5.4.6", "this host"),
    ("a..test", "5.1.2", "no domain"), ("x" * 64 + ".test", "5.1.2", "no domain"), ("missing.test.", "5.1.2", "no domain"),
])
def test_where_no_mail_can_go(home, place, domain, status, words):
    with place.peer(SECOND) as second:
        done = relay(home, domain, FROM, TO, host=place.us)
        assert done.code == 100 and done.report[:3] == ("d", status, TO) and words in done.report.text and done.report.host == "", done
        assert second.connections == 0


def test_a_host_without_address_is_passed_over(home, place):
    with place.peer(SECOND):
        assert mail(home, place, "nameless-first.test").code == 0


def test_nobody_behind_us(home, place):
    """The better one is down; we are the next, and who is worse than we is not asked."""
    with place.peer(SECOND) as second:
        done = mail(home, place, "us-last.test")
        assert done.report[:2] == ("z", "4.4.1") and second.connections == 0
    with BadPeer(listener=place.them.listen(REFUSING)):
        assert mail(home, place, "us-last.test").code == 0


def test_a_host_that_greets_by_our_name(home, place):
    with place.peer(name="Relay.Test") as good, place.peer(SECOND, name="relay.test") as second, place.peer(THIRD) as third:
        assert mail(home, place, "greets.test").report[:2] == ("d", "5.4.6")
        assert good.connections + second.connections == 1 and third.connections == 0 and "EHLO" not in good.verbs() + second.verbs()
        # A better one is down: it may be up another time.
        assert mail(home, place, "greets-late.test").report[:2] == ("z", "4.4.1")
        # What the admin names is meant.
        assert mail(home, place, "good.test", "-m").code == 0
        assert relay(home, f"[{GOOD}]", FROM, TO, host=place.us).code == 0


def test_aliases(home, place):
    with place.peer() as good:
        assert mail(home, place, "alias.test").report.host == f"good.test [{GOOD}]"
        assert mail(home, place, "alias-host.test").code == 0
        assert mail(home, place, "alias-mx.test").code == 0
        assert len(good.messages) == 3
    done = mail(home, place, "circle.test")
    assert done.code != 0 and done.report.kind in "zd"


def test_domains_in_utf8(home, place):
    with place.peer() as good:
        for domain in ("bücher.test", "BÜCHER.test", "xn--bcher-kva.test"):
            assert mail(home, place, domain).code == 0, domain
        assert good.messages[0].recipients == ["<c@bücher.test>".encode()]


def test_an_answer_longer_than_a_packet(home, place):
    with place.peer():
        assert mail(home, place, "long.test").code == 0


def test_enough_is_enough(home, place):
    done = mail(home, place, "many-dead.test")
    assert done.report[:2] == ("z", "4.4.1") and done.log.count("unreachable") == 10


def test_an_ipv6_only_host(home, place):
    with place.peer(GOOD6):
        assert mail(home, place, "six.test").report.host == f"good6.test [{GOOD6}]"
        assert relay(home, f"[IPv6:{GOOD6}]", FROM, TO, host=place.us).report.host == f"[{GOOD6}]"


def test_ipv6_comes_first(home, place):
    with place.peer(GOOD6) as six, place.peer() as four:
        for _ in range(5):
            assert mail(home, place, "both.test").code == 0
        assert (six.connections, four.connections) == (5, 0)
    with place.peer() as four:
        assert mail(home, place, "both.test").code == 0 and four.connections == 1


def test_ipv6_that_is_swallowed_costs_a_fraction_of_a_second(home, place):
    with place.peer() as four:
        done = mail(home, place, "hole.test")
        assert done.code == 0 and 0.2 < done.seconds < 0.8 and len(four.messages) == 1, done
        done = mail(home, place, "closed6.test")
        assert done.code == 0 and done.seconds < 0.2 + 0.1, done


def test_both_families_swallowed(home, place):
    done = mail(home, place, "nobody.test", timeout_seconds=1)
    assert done.report[:2] == ("z", "4.4.1") and "timed out" in done.report.text and done.seconds < 3


def test_name_servers_that_do_not_know(home, place):
    for domain in ("broken.test", "broken-mx.test"):
        done = mail(home, place, domain, timeout_seconds=2)
        assert done.code == 111 and done.report[:2] == ("z", "4.4.3"), done


def test_a_name_server_that_is_dead(home, place):
    place.network.names.stop()
    try:
        done = mail(home, place, "prefers.test", timeout_seconds=1)
        assert done.code == 111 and done.report[:2] == ("z", "4.4.3") and done.seconds < 10
        # Needs no names.
        with place.peer():
            assert relay(home, f"[{GOOD}]", FROM, TO, host=place.us).code == 0
    finally:
        place.network.names.publish()


# -- in service ---------------------------------------------------------------------

ENVELOPE = envelope(FROM, TO)


@pytest.fixture(scope="module")
def template(home):
    with Template(home, timeout_seconds=2) as made:
        yield made


def kinds(reports):
    return "".join(report.kind for report in reports)


def test_messages_share_a_connection(template):
    with BadPeer() as peer:
        with template.connection(HERE, peer.port) as work:
            for number in range(5):
                [report] = work.send(ENVELOPE, b"Subject: %d\n\n" % number)
                assert report == ("K", "2.0.0", TO, HERE, "250 2.0.0 taken", "dsn")
            assert peer.connections == 1
        assert work.ended() == 0
        assert peer.verbs() == ["EHLO"] + 5 * ["MAIL", "RCPT", "DATA"] + ["QUIT"]
        assert [message.octets for message in peer.messages] == [b"Subject: %d\r\n\r\n" % number for number in range(5)]


def test_a_hundred_messages_and_then_another_connection(template):
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        for _ in range(201):
            assert kinds(work.send(ENVELOPE)) == "K"
        assert [sum(message.connection == number for message in peer.messages) for number in (1, 2, 3)] == [100, 100, 1]
        assert peer.verbs(1)[-1] == "QUIT"


def test_the_signature_comes_first(template):
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(ENVELOPE, prefix=b"DKIM-Signature: v=1;\n b=x\n")) == "K"
        assert peer.messages[0].octets == b"DKIM-Signature: v=1;\r\n b=x\r\n" + MESSAGE.replace(b"\n", b"\r\n")
        assert b" SIZE=%d " % (26 + len(MESSAGE)) in peer.messages[0].sender + b" "


def test_a_file_that_others_read_too(template, tmp_path):
    path = tmp_path / "message"
    path.write_bytes(b"envelope\n\n" + b"a line of text\n" * 20_000)
    with BadPeer() as peer, template.connection(HERE, peer.port) as one, template.connection(HERE, peer.port) as other, open(path, "rb") as file:
        file.seek(10)
        one.begin(ENVELOPE, file)
        other.begin(ENVELOPE, file)
        assert kinds(one.answer()) == kinds(other.answer()) == "K" and file.tell() == 10
        assert [message.octets for message in peer.messages] == [b"a line of text\r\n" * 20_000] * 2


def close_soon(word=b""):
    """After the message is taken the peer says WORD and hangs up."""
    def act(session):
        session.message = None
        session.send(b"250 2.0.0 taken\r\n")
        time.sleep(0.1)
        session.send(word)
        return DROP
    return act


@pytest.mark.parametrize("replies", [
    {"content": [close_soon(), USUAL]}, {"content": [close_soon(b"421 4.4.2 idle\r\n"), USUAL]}, {"MAIL": [USUAL, said("421 4.3.2 enough"), USUAL]},
    {"MAIL": [USUAL, DROP, USUAL]}, {"MAIL": [USUAL, RESET, USUAL]}, {"MAIL": [USUAL, HANG, USUAL]}, {"DATA": [USUAL, DROP, USUAL]},
], ids=range(7))
@pytest.mark.parametrize("pause", [0, 0.3])
def test_a_peer_that_has_had_enough_between_messages(template, replies, pause):
    with BadPeer(replies={key: list(actions) for key, actions in replies.items()}) as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(ENVELOPE)) == "K"
        time.sleep(pause)
        assert kinds(work.send(ENVELOPE)) == "K"
        assert peer.connections == 2


def test_a_transaction_that_failed_is_ended(template):
    with BadPeer(replies={"RCPT": ["550 5.1.1 no", USUAL]}) as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(ENVELOPE)) == "D" and kinds(work.send(ENVELOPE)) == "K" and kinds(work.send(ENVELOPE)) == "K"
        assert peer.verbs()[:9] == ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "MAIL"] and peer.connections == 1


def test_a_sender_that_is_refused(template):
    with BadPeer(replies={"MAIL": ["550 5.7.1 not you", USUAL]}) as peer, template.connection(HERE, peer.port) as work:
        [first, second] = work.send(envelope(FROM, TO, "e@f.example"))
        assert (first[:2], second[:2]) == (("D", "5.7.1"), ("D", "5.7.1")) and kinds(work.send(ENVELOPE)) == "K" and peer.connections == 1


def test_trouble_passes(template):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with template.connection(HERE, port) as work:
        assert work.send(ENVELOPE)[0][:2] == ("z", "4.4.1")
        with BadPeer(port=port):
            assert kinds(work.send(ENVELOPE)) == "K"


DSN = dict(is_8bit=True, returned="HDRS", envelope_id="QQ314159")


def test_notifications_are_passed_on(template):
    sent = envelope(FROM, (TO, "notify=SUCCESS,DELAY", "orcpt=rfc822;c+2Bx@d.example"), ("e@f.example", "notify=NEVER"), "g@h.example", **DSN)
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert {report.words for report in work.send(sent)} == {"dsn"}
        [message] = peer.messages
        assert message.sender == b"<a@b.example> SIZE=%d BODY=8BITMIME RET=HDRS ENVID=QQ314159" % len(MESSAGE)
        assert message.recipients == [b"<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bx@d.example", b"<e@f.example> NOTIFY=NEVER", b"<g@h.example>"]
    with BadPeer(capabilities=["PIPELINING"]) as peer, template.connection(HERE, peer.port) as work:
        assert {report.words for report in work.send(sent)} == {""}
        assert peer.messages[0].sender == b"<a@b.example>" and peer.messages[0].recipients == [b"<c@d.example>", b"<e@f.example>", b"<g@h.example>"]


def test_parameters_that_would_be_commands_are_left_out(template):
    sent = envelope(FROM, (TO, "orcpt=rfc822;x\r RSET"), returned="HDRS", envelope_id="a b\rQUIT")
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(sent)) == "K"
        assert peer.messages[0].sender.endswith(b" RET=HDRS") and peer.messages[0].recipients == [b"<c@d.example>"]


@pytest.mark.parametrize("text, kind", [
    (b"Subject: x\n\nplain\n", "K"), ("Subject: x\n\ngrün\n".encode(), "K"), ("Subject: grün\n\nplain\n".encode(), "D"), ("X: " + "x" * 40_000 + "\nSubject: ü\n\n", "D"),
    ("\nSubject: grün\n", "K"), ("Subject: x\r\n\r\ngrün\r\n", "K"), ("Subject: x\n no body, grün", "D"),
], ids=range(7))
def test_smtputf8_only_where_it_is_needed(template, text, kind):
    text = text if isinstance(text, bytes) else text.encode()
    sent = envelope(FROM, TO, is_8bit=True, is_utf8=True)
    with BadPeer(capabilities=["8BITMIME"]) as peer, template.connection(HERE, peer.port) as work:
        [report] = work.send(sent, text)
        assert report.kind == kind and (kind == "K" or report.status == "5.6.7") and len(peer.messages) == (kind == "K")
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(sent, text)) == "K" and b" SMTPUTF8" in peer.messages[0].sender


def test_large_envelopes(template):
    recipients = [(f"{'r' * 55}{number}@{'d' * 60}.{'e' * 60}.example", "notify=SUCCESS,FAILURE,DELAY", "orcpt=rfc822;" + "x" * 480) for number in range(100)]
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(envelope(FROM, *recipients))) == "K" * 100 and len(peer.messages[0].recipients) == 100


def test_a_file_that_shrinks_is_not_the_message(template, tmp_path):
    """Never a dot behind half a message."""
    path = tmp_path / "message"
    path.write_bytes(b"a line of text\n" * 100_000)
    def cut(session):
        os.truncate(path, 70_000)
        return USUAL
    with BadPeer(replies={"DATA": cut}) as peer, template.connection(HERE, peer.port) as work, open(path, "rb") as file:
        [report] = work.send(ENVELOPE, file)
        assert report[:2] == ("Z", "4.3.0") and not peer.messages[0].is_taken


def test_a_qrunner_that_is_gone(template):
    """Before the final dot nothing is sent that nobody could record; after it, what was begun is finished."""
    for stage, is_taken in (("DATA", False), ("content", True)):
        with BadPeer(replies={stage: lambda session: time.sleep(0.4) or USUAL}) as peer:
            with template.connection(HERE, peer.port) as work:
                work.begin(ENVELOPE)
                assert await_true(lambda: "DATA" in peer.verbs() and (stage == "DATA" or peer.messages))
                time.sleep(0.1)
            assert work.ended() is not None
            assert await_true(lambda: not peer.open) and [message.is_taken for message in peer.messages] == [is_taken]


def test_a_process_that_is_killed(template):
    with BadPeer(replies={"content": HANG}) as peer, template.connection(HERE, peer.port) as work:
        work.begin(ENVELOPE)
        assert await_true(lambda: peer.messages)
        [child] = [pid for pid in children(template) if connected(pid, peer.port)]
        os.kill(child, 9)
        assert work.ended() == 256 + 9


def children(template):
    listed = subprocess.run(["pgrep", "-P", str(template.process.pid)], capture_output=True, text=True).stdout
    return [int(pid) for pid in listed.split()]


def connected(pid, port):
    ours = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    lines = [line.split() for line in open("/proc/net/tcp")][1:]
    return any(f"socket:[{words[9]}]" in ours and int(words[2].split(":")[1], 16) == port for words in lines)


def test_what_a_connection_may_do(template):
    with BadPeer(replies={"content": HANG}) as peer, template.connection(HERE, peer.port) as work:
        work.begin(ENVELOPE)
        assert await_true(lambda: peer.messages)
        [child] = [pid for pid in children(template) if connected(pid, peer.port)]
        status = dict(line.rstrip("\n").split(":\t", 1) for line in open(f"/proc/{child}/status") if ":\t" in line)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0 and int(status["Seccomp_filters"]) == 2
        if os.geteuid() == 0:
            assert status["Uid"].split() == [networklab.REMOTE_USER.split(":")[0]] * 4
        # Logs, the socket to qrunner, the message, the peer, and the pipes of the template.
        assert len(os.listdir(f"/proc/{child}/fd")) < 12
        os.kill(child, 9)


@pytest.mark.parametrize("request_arguments", [("host",), ("host", "25", "tight", ""), ("host", "x", "none", ""), ("host", "70000", "none", "")])
def test_requests_that_are_none(template, request_arguments):
    tag = 1000 + len(str(request_arguments))
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        socket.send_fds(template.socket, [relaylab.request(tag, *request_arguments)], [other.fileno()])
        assert template.ended(tag) == 111
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(ENVELOPE)) == "K"


def test_a_socket_that_nobody_closes(template):
    with BadPeer() as peer, template.connection(HERE, peer.port) as work:
        assert kinds(work.send(ENVELOPE)) == "K"
        start = time.monotonic()
        assert work.ended(30) == 0 and 13 < time.monotonic() - start < 20 and peer.verbs()[-1] == "QUIT"


def test_settings_of_the_moment(home):
    with Template(home) as template, BadPeer() as peer:
        for name in ("one.test", "two.test"):
            home.control("hostname", name)
            with template.connection(HERE, peer.port) as work:
                assert kinds(work.send(ENVELOPE)) == "K"
        home.control("hostname", "relay.test")
        assert [line for _, line in peer.commands if line.startswith(b"EHLO")] == [b"EHLO one.test", b"EHLO two.test"]


def test_the_resolver_of_the_moment(home, place):
    right = place.network.resolver.read_text()
    try:
        place.network.resolver.write_text(f"nameserver {REFUSING}\noptions timeout:1 attempts:1\n")
        with Template(home, host=place.us, timeout_seconds=1) as template, place.peer():
            with template.connection("good.test") as work:
                assert work.send(ENVELOPE)[0][:2] == ("z", "4.4.3")
            place.network.resolver.write_text(right)
            with template.connection("good.test") as work:
                assert kinds(work.send(ENVELOPE)) == "K"
    finally:
        place.network.resolver.write_text(right)


def test_a_dead_primary_is_not_asked_for_every_message(home, place):
    with Template(home, host=place.us, timeout_seconds=1) as template, place.peer(SECOND) as second, template.connection("silent-first.test") as work:
        start = time.monotonic()
        for _ in range(150):
            assert kinds(work.send(ENVELOPE)) == "K"
        assert second.connections == 2 and time.monotonic() - start < 4 and template.log.count("unreachable") == 1


# -- TLS ------------------------------------------------------------------------------

def server(place, name="good.test", **options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(place.network.directory / "certificates", name, **options))
    return context


def trusting(place):
    return {"SSL_CERT_FILE": str(networklab.authority(place.network.directory / "certificates")[0])}


def test_tls_where_it_is_offered(home, place):
    with place.peer(tls=server(place)) as good:
        done = mail(home, place, "good.test")
        assert done.code == 0 and good.messages[0].tls == "TLSv1.3" and 'tls="TLSv1.3 TLS_' in done.log
        assert good.verbs() == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
        assert mail(home, place, "good.test", "-t", "none").code == 0 and good.messages[1].tls is None


def test_nobody_is_asked_who_he_is(home, place):
    for level in ("opportunistic", "encrypt"):
        with place.peer(tls=server(place, "other.test", expired=True)) as good:
            assert mail(home, place, "good.test", "-t", level).code == 0 and good.messages[0].tls


def test_what_was_said_before_tls_does_not_count(home, place):
    with place.peer(tls=server(place), capabilities=["SIZE 10000"], replies={"EHLO": ["250-x\n250-SIZE 10\n250-DSN\n250 STARTTLS", USUAL]}) as good:
        done = mail(home, place, "good.test")
        assert done.report.kind == "K" and done.report.words == "" and good.messages[0].tls


BREAKS = {
    "refused": "454 4.7.0 not now", "refused for good": "502 5.5.1 what?", "closed": lambda session: session.send(b"220 go ahead\r\n") or DROP,
    "reset": lambda session: session.send(b"220 go ahead\r\n") or session.receive() or RESET, "garbage": lambda session: session.send(b"220 go ahead\r\n") or session.receive() or Raw(b"not TLS\r\n" * 9),
    "silence": lambda session: session.send(b"220 go ahead\r\n") or HANG, "injected": lambda session: session.send(b"220 go ahead\r\n250 and go on\r\n") or HANG,
    "old": lambda session: session.send(b"220 go ahead\r\n") or session.receive() or Raw(bytes.fromhex("15030100020246")),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_tls_that_is_offered_and_fails(home, place, broken):
    with place.peer(tls=server(place), replies={"STARTTLS": BREAKS[broken]}) as good:
        done = mail(home, place, "good.test", timeout_seconds=1)
        assert done.code == 0 and good.messages[0].tls is None and "warning: no-tls" in done.log, done
        assert good.connections == (1 if broken.startswith("refused") else 2)
        for level in ("encrypt", "verify"):
            done = mail(home, place, "good.test", "-t", level, timeout_seconds=1, environment=trusting(place))
            assert done.code == 111 and done.report.kind == "z" and done.report.status in ("4.7.0", "4.7.5", "4.5.1"), done
        assert len(good.messages) == 1


def test_tls_that_is_demanded_and_not_offered(home, place):
    with place.peer() as good, place.peer(SECOND, tls=server(place, "second.test")) as second:
        for level in ("encrypt", "verify"):
            assert mail(home, place, "good.test", "-t", level).report[:2] == ("z", "4.7.4")
        assert good.messages == []
        # Another host of the domain may have it.
        assert mail(home, place, "prefers.test", "-t", "encrypt").code == 0 and second.messages[0].tls


@pytest.mark.parametrize("name, options, words", [("good.test", {}, None), ("good.test", {"expired": True}, "expired"), ("other.test", {}, "name|Hostname|mismatch")], ids=["good", "expired", "other"])
def test_verified(home, place, name, options, words):
    with place.peer(tls=server(place, name, **options)) as good:
        done = mail(home, place, "prefers.test", "-t", "verify", environment=trusting(place))
        if words is None:
            assert done.code == 0 and good.messages[0].tls, done
            # An authority that nobody trusts.
            done = mail(home, place, "prefers.test", "-t", "verify")
            words = "issuer|self-signed"
        assert done.code == 111 and done.report.kind == "z" and re.search(words, done.report.text), done


def test_implicit(home, place):
    with BadPeer(listener=place.them.listen(GOOD, 465), tls=server(place), implicit=True) as good:
        assert mail(home, place, "good.test", "-m", "-t", "implicit", environment=trusting(place)).code == 0
        assert good.messages[0].tls and "STARTTLS" not in good.verbs()
        assert mail(home, place, "good.test", "-m", "-t", "implicit").report[:2] == ("z", "4.7.5")
    with place.peer() as good:
        done = mail(home, place, "good.test", "-m", "-t", "implicit", "-p", "25", environment=trusting(place), timeout_seconds=1)
        assert done.report[:2] == ("z", "4.7.5") and not good.messages


def test_verified_without_authorities(home, place):
    with place.peer(tls=server(place)):
        done = mail(home, place, "good.test", "-t", "verify", environment={"SSL_CERT_FILE": "/nowhere.pem"})
        assert done.report[:2] == ("z", "4.7.5") and "/nowhere.pem" in done.report.text


@pytest.mark.parametrize("fault", [lambda session: session.raw.close() or DROP, lambda session: os.write(session.socket.fileno(), b"not TLS at all" * 9) and time.sleep(1) or DROP, RESET], ids=["closed", "garbage", "reset"])
def test_tls_broken_within_the_message(home, place, fault):
    with place.peer(tls=server(place), drop_after=100_000, replies={"in content": fault}) as good:
        done = mail(home, place, "good.test", message=b"a line of text\n" * 2_000_000, timeout_seconds=3)
        assert done.report[:2] == ("Z", "4.4.2") and "twice" not in done.report.text and not good.messages[0].is_taken, done


def test_tls_broken_after_the_message(home, place):
    """An end that anybody on the way could have made."""
    with place.peer(tls=server(place), replies={"content": DROP}):
        done = mail(home, place, "good.test")
        assert done.report[:2] == ("Z", "4.4.2") and "may arrive twice" in done.report.text


def test_fifty_megabytes_under_tls(home, place, tmp_path):
    text = b".0123456789 abcdefghijklmnopqrstuvwxyz\n" * (50 * 1024 * 1024 // 39)
    with place.peer(tls=server(place)) as good:
        done = mail(home, place, "good.test", message=text)
        assert done.code == 0 and 0 < done.octets < 12 << 20 and good.messages[0].text == text.replace(b"\n", b"\r\n"), done


def test_messages_share_a_connection_under_tls(home, place):
    with Template(home, host=place.us, environment=trusting(place)) as template, place.peer(tls=server(place)) as good:
        with template.connection("prefers.test", level="verify") as work:
            for _ in range(30):
                assert kinds(work.send(ENVELOPE)) == "K"
            time.sleep(0.3)
            assert kinds(work.send(ENVELOPE)) == "K"
            assert good.connections == 1 and {message.tls for message in good.messages} == {"TLSv1.3"}
        assert work.ended() == 0 and good.verbs()[-1] == "QUIT"
        assert "warning" not in template.log and "error" not in template.log, template.log


def test_authorities_of_the_moment(home, place, tmp_path):
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if str(parent).startswith("/tmp/pytest"):
            os.chmod(parent, 0o755)
    file = tmp_path / "authorities.pem"
    file.write_bytes(open("/etc/ssl/certs/ca-certificates.crt", "rb").read())
    with Template(home, host=place.us, environment={"SSL_CERT_FILE": str(file)}) as template, place.peer(tls=server(place)):
        with template.connection("good.test", level="verify") as work:
            assert kinds(work.send(ENVELOPE)) == "z"
        fresh = tmp_path / "fresh"
        fresh.write_bytes(open(trusting(place)["SSL_CERT_FILE"], "rb").read())
        fresh.rename(file)
        with template.connection("good.test", level="verify") as work:
            assert kinds(work.send(ENVELOPE)) == "K"
        # What cannot be used changes nothing for those who had something better: the template looks once a second, and some processes
        # were forked before.
        time.sleep(1.1)
        for _ in range(4):
            with template.connection("good.test", level="verify") as work:
                assert kinds(work.send(ENVELOPE)) == "K"
        file.write_text("no certificates\n")
        with template.connection("good.test", level="verify") as work:
            assert kinds(work.send(ENVELOPE)) == "K" and "error: settings reason=" in template.log


# -- AUTH -----------------------------------------------------------------------------

PASSWORDS = "# a smarthost\nother.test x y\ngood.test someone a secret: with blanks\n"
CREDENTIALS = ("someone", "a secret: with blanks")


@pytest.fixture
def passwords(home):
    path = home.directory / "control/route-passwords"
    def write(owner):
        path.unlink(missing_ok=True)
        path.write_text(PASSWORDS)
        if os.geteuid() == 0:
            os.chown(path, owner, owner)
        os.chmod(path, 0o400)
    write(home.user if home.user is not None else os.geteuid())
    yield write
    path.unlink()


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "LOGIN", "LOGIN PLAIN CRAM-MD5", "PLAIN"])
@pytest.mark.parametrize("level", ["opportunistic", "encrypt", "verify"])
def test_auth(home, place, passwords, mechanisms, level):
    with place.peer(tls=server(place), capabilities=[f"AUTH {mechanisms}"], credentials=CREDENTIALS) as good:
        done = mail(home, place, "good.test", "-m", "-a", "-t", level, environment=trusting(place))
        assert done.code == 0 and good.messages[0].tls, done
        assert good.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"] and "secret" not in done.log


def test_auth_in_service(home, place, passwords):
    passwords(int(networklab.REMOTE_USER.split(":")[0]))
    with Template(home, host=place.us) as template, place.peer(tls=server(place), capabilities=["AUTH PLAIN", "PIPELINING"], credentials=CREDENTIALS) as good:
        with template.connection("good.test", level="encrypt", flags="ma") as work:
            assert kinds(work.send(ENVELOPE)) == kinds(work.send(ENVELOPE)) == "K"
        assert good.verbs().count("AUTH") == 1


@pytest.mark.parametrize("options, peer_options, status", [
    ({}, {"capabilities": ["AUTH PLAIN"], "replies": {"AUTH": "535 5.7.8 wrong"}}, "4.7.8"), ({}, {"capabilities": ["AUTH CRAM-MD5"]}, "4.7.0"), ({}, {"capabilities": []}, "4.7.0"),
    ({}, {"capabilities": ["AUTH PLAIN"], "replies": {"AUTH": "454 4.7.0 directory"}}, "4.7.0"), ({}, {"capabilities": ["AUTH LOGIN"], "replies": {"AUTH": "504 5.5.4 no"}}, "4.5.4"),
    ({}, {"capabilities": ["AUTH PLAIN"], "replies": {"AUTH": DROP}}, "4.4.2"), ({}, {"capabilities": ["AUTH PLAIN"], "replies": {"STARTTLS": "454 4.7.0 no"}}, "4.7.0"),
    ({}, {"capabilities": ["AUTH PLAIN"], "replies": {"STARTTLS": BREAKS["closed"]}}, "4.7.5"),
], ids=range(8))
def test_auth_that_fails(home, place, passwords, options, peer_options, status):
    with place.peer(tls=server(place), credentials=CREDENTIALS, **peer_options) as good:
        done = mail(home, place, "good.test", "-m", "-a")
        assert done.report[:2] == ("z", status) and not good.messages and "secret" not in done.log, done


def test_no_password_in_the_clear(home, place, passwords):
    with place.peer(capabilities=["AUTH PLAIN LOGIN"], credentials=CREDENTIALS) as good:
        assert mail(home, place, "good.test", "-m", "-a").report[:2] == ("z", "4.7.4") and "AUTH" not in good.verbs()
        # Unless the admin says so.
        assert mail(home, place, "good.test", "-m", "-a", "-t", "none").code == 0


def test_no_line_for_the_host(home, place, passwords):
    with place.peer(SECOND, tls=server(place, "second.test"), capabilities=["AUTH PLAIN"]) as second:
        done = mail(home, place, "second.test", "-m", "-a")
        assert done.report[:2] == ("z", "4.3.5") and "route-passwords" in done.report.text and "AUTH" not in second.verbs()
