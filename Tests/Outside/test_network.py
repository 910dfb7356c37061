"""Mail between SEMail and the mail servers of others, over a small Internet: what must come of each message, and does.

First with Postfix (two), OpenSMTPD and Exim, in both directions, over IPv4 and IPv6; then what the DNS can say; then
servers that do wrong whatever can be done wrong (badpeer.py).
"""

import contextlib
import re
import smtplib
import socket
import ssl
import threading
import time

import pytest

import semailtest
import servers
from badpeer import DROP, EVERYTHING, HANG, RESET, USUAL, BadPeer, Raw
from networklab import IPV4, Network, Site, authority, certificate
from semailtest import await_true, field, lines_of, split_message

SSOW = "ssow@semail.test"

# (kind, host, domain): the servers of others.
PEERS = {"postfix": (servers.Postfix, "mx.a.test", "a.test"), "postfix-2": (servers.Postfix, "mx.b.test", "b.test"),
         "opensmtpd": (servers.OpenSMTPD, "mx.c.test", "c.test"), "exim": (servers.Exim, "mx.d.test", "d.test")}

# How long a relay waits for anything, in place of minutes.
PATIENCE = 3

# What may go wrong on the way: dots, long lines, octets of two encodings, blanks and empty lines at the end.
BODY = (b".\r\n..\r\n.leading\r\n\r\n" + "Grüße, žluťoučký kůň, 你好\r\n".encode() + "naïve\r\n".encode("latin-1")
        + b"".join(bytes([97 + index % 26]) * 980 + b"\r\n" for index in range(30)) + b"From the start of a line\r\ntrailing blanks  \r\n\r\nlast\r\n")


class World:
    """The network with everybody on it."""

    def __init__(self, network, site):
        self.network, self.site = network, site
        self.peers = {}
        # Where all bad peers are, each at an address of its own.
        self.bad = network.host("bad", 40)
        self._next = 100

    def address(self):
        """One on the bridge that nobody has yet, and the number that it is made of."""
        self._next += 1
        return f"{IPV4}{self._next}", f"2001:db8::{self._next}"

    @contextlib.contextmanager
    def bad_peer(self, domain, v4=True, v6=False, mx=None, preference=10, **options):
        """A BadPeer as the mail server of a domain of its own."""
        host, (address, address6) = self.bad, self.address()
        name = mx or f"mx.{domain}"
        addresses = [address] * v4 + [address6] * v6
        for one in addresses:
            host.add_address(f"{one}/{64 if ':' in one else 24}")
        self.network.names.address(name, *addresses)
        self.network.names.mx(domain, name, preference)
        self.network.names.publish()
        with BadPeer(name=name, listener=host.listen(addresses[0]), **options) as peer:
            peer.address = addresses[0]
            if len(addresses) > 1:
                peer.second = BadPeer(name=name, listener=host.listen(addresses[1]), **options).__enter__()
            try:
                yield peer
                assert not peer.faults, peer.faults
            finally:
                if len(addresses) > 1:
                    peer.second.stop()

    def send(self, *recipients, body=b"hello\r\n", sender=SSOW, **options):
        """A message from ssow; its name in the queue."""
        return self.site.submit(sender, recipients, f"From: {SSOW}\r\nTo: undisclosed:;\r\nSubject: test\r\n\r\n".encode() + body, **options)


@pytest.fixture(scope="module")
def world():
    with Network() as network, Site(network) as site:
        for kind, name, domain in PEERS.values():
            network.mail_host(name, {"mx.a.test": 11, "mx.b.test": 12, "mx.c.test": 13, "mx.d.test": 14}[name], domain)
        network.mail_host("mx.b.test", 12, "grey.test")
        network.names.publish()
        world = World(network, site)
        for label, (kind, name, domain) in PEERS.items():
            settings = {"smtpd_recipient_restrictions": "check_policy_service inet:127.0.0.1:10023", "smtpd_policy_service_default_action": "DUNNO"
                        } if label == "postfix-2" else {}
            domains = [domain, "grey.test"] if label == "postfix-2" else [domain]
            world.peers[label] = network.peer(kind, name, domains, ["anna", "berta"], **settings)
        site.control("aliases", "\n".join(f"ssow@{family}.semail.test {SSOW}" for family in ("v4", "v6")))
        for name in ("messages-per-hour", "recipients-per-hour"):
            site.control(name, "0")
        site.start_qrunner(environment={"RELAY_TIMEOUT_SECONDS": str(PATIENCE), "SSL_CERT_FILE": str(authority(network.directory / "certificates")[0])})
        site.start_inbound()
        site.start_submission()
        yield world
        assert not re.search(r"not-recorded|malformed|unreadable|unprotected", site.log("qrunner")), site.report()


# -- both directions ----------------------------------------------------------------

def new_files(peer, mailbox):
    directory = peer.maildir(mailbox) / "new"
    return sorted(directory.iterdir()) if directory.is_dir() else []


def in_maildir(path, subject):
    return subject in field(path, "Subject")


@pytest.mark.parametrize("family", ["v4", "v6", "either"])
@pytest.mark.parametrize("label", PEERS)
def test_to_peer(world, label, family):
    """Whole, once, and with a trace that tells the way."""
    _, name, domain = PEERS[label]
    peer, site = world.peers[label], world.site
    subject = f"to {label} {family}"
    recipient = f"anna@{'' if family == 'either' else family + '.'}{domain}"
    id = site.submit(SSOW, [recipient], f"From: Ssow <{SSOW}>\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\n".encode() + BODY, options=["BODY=8BITMIME"])
    event = site.wait_event("relayed", id)
    assert event["to"] == recipient and name in event["host"]
    [path] = await_true(lambda: [path for path in new_files(peer, "anna") if in_maildir(path, subject)]) or pytest.fail(peer.output()[-3000:])
    header, body = split_message(lines_of(path.read_bytes()))
    assert body == lines_of(BODY)
    top, own = field(path, "Received")[:2]
    address = site.host.v4 if family == "v4" else site.host.v6
    assert "mx.semail.test" in top and address in top and f"by {name}" in top, top
    assert re.match(rf"from localhost \(\[127\.0\.0\.1\]\) by mx\.semail\.test \(SEMail\) with ESMTP id {id} for <{re.escape(recipient)}>;", own), own
    assert SSOW in field(path, "Return-Path")[0] and SSOW in field(path, "From")[0]
    assert len(field(path, "Message-ID")) == len(field(path, "Date")) == 1
    await_true(lambda: not site.is_queued(id))
    assert len([path for path in new_files(peer, "anna") if in_maildir(path, subject)]) == 1


@pytest.mark.parametrize("label", PEERS)
def test_to_peer_over_tls(world, label):
    """All four offer STARTTLS, with a certificate that nobody can verify. OpenSMTPD 6.8 cannot sign with its key under OpenSSL 3, whoever
    asks: it gets its mail in the clear, and the log says why."""
    id = world.send(f"berta@{PEERS[label][2]}")
    world.site.wait_event("relayed", id)
    log = world.site.log("qrunner")
    connected = re.findall(rf'connected host="{PEERS[label][1]} .*', log)
    assert re.search(r'tls=none' if label == "opensmtpd" else r'tls="TLSv1\.3 ', connected[-1]), connected[-1]
    assert bool(re.search(rf'no-tls host="{PEERS[label][1]} ', log)) == (label == "opensmtpd")


@pytest.mark.parametrize("family", ["v4", "v6", "either"])
@pytest.mark.parametrize("label", PEERS)
def test_from_peer(world, label, family):
    _, name, domain = PEERS[label]
    peer, site = world.peers[label], world.site
    subject = f"from {label} {family}"
    recipient = f"ssow@{'' if family == 'either' else family + '.'}semail.test"
    message = f"From: Anna <anna@{domain}>\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\n".encode() + BODY
    with peer.host.inside(), smtplib.SMTP("127.0.0.1", 25, local_hostname="localhost", timeout=20) as client:
        client.sendmail(f"anna@{domain}", [recipient], message, mail_options=["BODY=8BITMIME"] if client.has_extn("8bitmime") else [])
    # OpenSMTPD looks names up, and waits five seconds before it goes to a host it does not know.
    [path] = await_true(lambda: [path for path in site.delivered("ssow") if in_maildir(path, subject)], 40) or pytest.fail(peer.output()[-3000:])
    header, body = split_message(lines_of(path.read_bytes()))
    assert body == lines_of(BODY)
    own, its = field(path, "Received")[:2]
    addresses = {"v4": [peer.host.v4], "v6": [peer.host.v6], "either": [peer.host.v4, peer.host.v6]}[family]
    greeted = re.match(r"from (\S+) \(\[(?:IPv6:)?(\S+?)\]\) by mx\.semail\.test \(SEMail\) with E?SMTP id \w+ for <", own)
    assert greeted and greeted[1] == name and greeted[2] in addresses, own
    assert f"by {name}" in its, its
    assert field(path, "Return-Path") == [f"<anna@{domain}>"] and field(path, "Delivered-To") == [SSOW]


def test_several_peers_at_once(world):
    """One message for everybody: each gets one copy, and the sender no report."""
    recipients = [f"{mailbox}@{domain}" for _, _, domain in PEERS.values() for mailbox in ("anna", "berta")]
    before = {(label, mailbox): len(new_files(world.peers[label], mailbox)) for label in PEERS for mailbox in ("anna", "berta")}
    id = world.site.submit(SSOW, [*recipients, "xredon@semail.test"], f"From: {SSOW}\r\nSubject: to all\r\n\r\nhello\r\n".encode())
    assert await_true(lambda: not world.site.is_queued(id), 30), world.site.report()
    assert sorted(event["to"] for event in world.site.events("relayed", id)) == sorted(recipients)
    for (label, mailbox), count in before.items():
        assert await_true(lambda: len(new_files(world.peers[label], mailbox)) == count + 1), (label, mailbox)
    # One transaction for each destination, not one for each recipient.
    assert world.site.log("qrunner").count(f"remote-relay: info: relayed id={id} ") == len(PEERS)


def test_success_reported_by_a_peer_that_can(world):
    """RFC 3461: Postfix is told who wants to hear, and tells them itself; we say nothing."""
    id = world.send("anna@a.test", options=["RET=HDRS", "ENVID=QQ314159"], recipient_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Anna@a.test"])
    report = world.site.wait_report("ssow", "anna@a.test")
    assert report.of("anna@a.test")[:2] == ("delivered", "2.0.0")
    assert report.fields["Reporting-MTA"] == "dns; mx.a.test" and report.fields["Original-Envelope-Id"] == "QQ314159"
    assert report.recipients[0]["Original-Recipient"] == "rfc822;Anna@a.test"
    assert not world.site.events("reported", id)


def test_peers_refusal_comes_back(world):
    """For each peer's own words about a mailbox it does not have."""
    for label, (_, name, domain) in PEERS.items():
        id = world.send(f"nobody@{domain}")
        event = world.site.wait_event("failed", id)
        report = world.site.wait_report("ssow", f"nobody@{domain}")
        action, status, said = report.of(f"nobody@{domain}")
        assert action == "failed" and re.fullmatch(r"5\.\d\.\d+", status) and re.match(r"smtp; ?5\d\d", said), report.message
        assert name in report.text and "<nobody@" in report.text and event["reason"] in " ".join(report.text.split()), report.text
        assert not world.site.is_queued(id)


def test_greylisted_by_postfix(world):
    """450 from a policy service: put off, tried again, taken; nobody is told of it."""
    seen = {}

    def serve(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        with connection, connection.makefile("rw") as pipe:
            asked = {}
            for line in pipe:
                key, _, value = line.strip().partition("=")
                if key:
                    asked[key] = value
                    continue
                triplet = asked["client_address"], asked["sender"], asked["recipient"]
                seen[triplet] = seen.get(triplet, 0) + 1
                is_first = asked["recipient"].endswith("@grey.test") and sum(seen[known] for known in seen if known[1:] == triplet[1:]) == 1
                pipe.write("action=" + ("DEFER 4.7.1 Greylisted, come back later" if is_first else "DUNNO") + "\n\n")
                pipe.flush()

    listener = world.peers["postfix-2"].host.listen("127.0.0.1", 10023)
    with listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        try:
            id = world.send("anna@grey.test")
            event = world.site.wait_event("deferred", id)
            assert "Greylisted, come back later" in event["reason"] and event["status"].startswith("4.7.1"), event
            assert world.site.is_queued(id)
            world.site.flush()
            world.site.wait_event("relayed", id)
            assert await_true(lambda: not world.site.is_queued(id))
            assert not world.site.reports("ssow", "anna@grey.test")
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def test_smtputf8_that_the_peer_lacks(world):
    """OpenSMTPD has no SMTPUTF8: RFC 6531 3.5 leaves only the way back. Postfix has it, and takes the message."""
    assert "SMTPUTF8" in _offers(world, "postfix") and "SMTPUTF8" not in _offers(world, "opensmtpd")
    id = world.send("zoë@c.test", options=["SMTPUTF8", "BODY=8BITMIME"])
    assert world.site.wait_event("failed", id)["status"] == "5.6.7"
    report = world.site.wait_report("ssow", "zoë@c.test")
    action, status, _ = report.of("zoë@c.test")
    assert (action, status) == ("failed", "5.6.7") and "SMTPUTF8" in report.text
    # ASCII addresses and header: the peer can have it, whatever the client said.
    id = world.send("anna@c.test", options=["SMTPUTF8"])
    world.site.wait_event("relayed", id)
    # No such mailbox, and Postfix says so: it has understood the address.
    id = world.send("zoë@a.test", options=["SMTPUTF8", "BODY=8BITMIME"])
    assert world.site.wait_event("failed", id)["status"] == "5.1.1"


def _offers(world, label):
    with world.peers[label].host.inside(), smtplib.SMTP("127.0.0.1", 25, timeout=20) as client:
        return client.ehlo()[1].decode()


# -- what the DNS says ----------------------------------------------------------------

def test_the_best_mx_is_taken(world):
    with world.bad_peer("best.test", mx="mx2.best.test", preference=20) as worse, world.bad_peer("best.test", mx="mx1.best.test", preference=10) as best:
        for number in range(5):
            world.site.wait_event("relayed", world.send(f"anna{number}@best.test"))
        assert (len(best.messages), worse.connections) == (5, 0)


def test_equal_mx_share(world):
    names = world.network.names
    with world.bad_peer("one.test") as one, world.bad_peer("two.test") as two:
        domains = [f"equal{number}.test" for number in range(16)]
        for domain in domains:
            names.mx(domain, "mx.one.test")
            names.mx(domain, "mx.two.test")
        names.publish()
        id = world.send(*(f"anna@{domain}" for domain in domains))
        assert await_true(lambda: not world.site.is_queued(id)), world.site.report()
        # Once in 32,768 times all sixteen go to the same.
        assert len(one.messages) + len(two.messages) == 16 and one.messages and two.messages


@pytest.mark.parametrize("trouble", ["refuses", "drops", "has-no-address", "does-not-exist", "greets-421", "greets-554", "hangs", "is-too-busy-to-say-ehlo"])
def test_a_dead_first_mx(world, trouble):
    """The second is as good."""
    domain = f"{trouble}.first.test"
    names = world.network.names
    with contextlib.ExitStack() as stack:
        if trouble == "refuses":
            names.address(f"dead.{domain}", world.bad.v4)
        elif trouble == "drops":
            address, _ = world.address()
            names.address(f"dead.{domain}", address)
            world.site.host.swallow(address)
        elif trouble == "has-no-address":
            names.set(f"dead.{domain}", "TXT \"nothing\"")
        elif trouble != "does-not-exist":
            action = {"greets-421": {"greeting": "421 4.3.2 closing"}, "greets-554": {"greeting": "554 5.3.2 no service"}, "hangs": {"greeting": HANG},
                      "is-too-busy-to-say-ehlo": {"EHLO": "421 4.3.2 busy"}}[trouble]
            stack.enter_context(world.bad_peer(f"unused.{domain}", mx=f"dead.{domain}", replies=action))
        names.mx(domain, f"dead.{domain}", 10)
        good = stack.enter_context(world.bad_peer(domain, mx=f"good.{domain}", preference=20))
        started = time.monotonic()
        id = world.send(f"anna@{domain}")
        event = world.site.wait_event("relayed", id)
        assert f"good.{domain}" in event["host"]
        assert time.monotonic() - started < (PATIENCE + 2 if trouble in ("drops", "hangs") else 2)
        assert len(good.messages) == 1 and not world.site.events("deferred", id)


def test_ipv6_only(world):
    with world.bad_peer("six.test", v4=False, v6=True) as peer:
        id = world.send("anna@six.test")
        assert peer.address in world.site.wait_event("relayed", id)["host"]
        assert len(peer.messages) == 1


def test_ipv6_that_leads_nowhere(world):
    """RFC 8305: the other family has a head start of 250 ms to wait for, not a timeout."""
    _, nowhere = world.address()
    world.site.host.swallow(nowhere)
    with world.bad_peer("half.test") as peer:
        world.network.names.address("mx.half.test", nowhere)
        world.network.names.publish()
        started = time.monotonic()
        id = world.send("anna@half.test")
        event = world.site.wait_event("relayed", id)
        assert peer.address in event["host"]
        assert 0.2 < time.monotonic() - started < 1.5


def test_both_families_there(world):
    """IPv6 first."""
    with world.bad_peer("both.test", v6=True) as peer:
        world.site.wait_event("relayed", world.send("anna@both.test"))
        assert (len(peer.messages), len(peer.second.messages)) == (0, 1)


def test_no_mx_but_an_address(world):
    with world.bad_peer("unused.implicit.test", mx="implicit.test") as peer:
        world.site.wait_event("relayed", world.send("anna@implicit.test"))
        assert len(peer.messages) == 1


def test_cname(world):
    with world.bad_peer("real.test") as peer:
        world.network.names.set("alias.test", "CNAME real.test.")
        world.network.names.set("mail.alias.test", "CNAME mx.real.test.")
        world.network.names.set("through.test", "MX 10 mail.alias.test.")
        world.network.names.publish()
        for domain in ("alias.test", "through.test"):
            world.site.wait_event("relayed", world.send(f"anna@{domain}"))
        assert len(peer.messages) == 2


REFUSED_BY_DNS = {
    "null-mx": (["MX 0 ."], "5.1.10", "takes no mail"),
    "missing": (None, "5.1.2", "there is no domain"),
    "no-address": (["MX 10 nowhere.no-address.test."], "5.4.4", "has no address"),
    "ourselves": (["MX 10 mx.semail.test."], "5.4.6", "this host"),
    "ourselves-first": (["MX 10 mx.semail.test.", "MX 20 mx.a.test."], "5.4.6", "this host"),
}


@pytest.mark.parametrize("name", REFUSED_BY_DNS)
def test_refused_by_the_dns(world, name):
    """Bounced at once, in words."""
    records, status, words = REFUSED_BY_DNS[name]
    if records:
        world.network.names.set(f"{name}.test", *records)
        world.network.names.publish()
    id = world.send(f"anna@{name}.test")
    assert world.site.wait_event("failed", id)["status"] == status
    report = world.site.wait_report("ssow", f"anna@{name}.test")
    assert report.of(f"anna@{name}.test")[:2] == ("failed", status) and words in report.text
    assert not world.site.is_queued(id)


def test_a_worse_mx_than_ourselves_is_not_taken_but_a_better_one_is(world):
    with world.bad_peer("backup.test", preference=10) as peer:
        world.network.names.mx("backup.test", "mx.semail.test", 20)
        world.network.names.publish()
        world.site.wait_event("relayed", world.send("anna@backup.test"))
        assert len(peer.messages) == 1


def test_nobody_knows_the_domain(world):
    """A name server that is not there, or answers nonsense, is no reason to bounce."""
    names = world.network.names
    names.set("lame.test", "NS ns.lame.test.")
    names.set("ns.lame.test", f"A {world.network.host('bad').v4}")
    names.publish()
    id = world.send("anna@lame.test")
    assert world.site.wait_event("deferred", id, seconds=40)["status"] == "4.4.3"
    with world.bad_peer("back.test") as peer:
        names.stop()
        try:
            second = world.send("anna@back.test")
            assert world.site.wait_event("deferred", second, seconds=40)["status"] == "4.4.3"
        finally:
            names.publish()
        world.site.flush()
        world.site.wait_event("relayed", second)
        assert len(peer.messages) == 1
    assert world.site.is_queued(id) and not world.site.reports("ssow", "anna@lame.test")
    # The flush has it tried once more; while that lasts, it cannot be deleted.
    assert await_true(lambda: world.site.run("semail", "queue", "delete", "--yes", id).returncode == 0, 40)


# -- peers that do wrong ---------------------------------------------------------------

BANNER_IN_LINES = Raw(b"".join(b"220-%s\r\n" % (b"welcome " * 60) for _ in range(210)) + b"220 at last\r\n")
BANNER_IN_ONE_LINE = Raw(b"220 " + b"x" * 100_000 + b"\r\n")

# What happens the first time, and the words that the log has for it. Then all is well.
RETRIED = {
    **{f"hangs-at-{word}": ({word: [HANG, USUAL]}, None) for word in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")},
    **{f"drops-after-{word}": ({word: [DROP, USUAL]}, None) for word in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")},
    **{f"resets-after-{word}": ({word: [RESET, USUAL]}, None) for word in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")},
    "greets-421": ({"greeting": ["421 4.3.2 come back later", USUAL]}, "come back later"),
    "greets-554": ({"greeting": ["554 5.3.2 no service here", USUAL]}, "no service here"),
    "greets-nonsense": ({"greeting": [Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), USUAL]}, None),
    "hundred-kilobytes-of-banner": ({"greeting": [BANNER_IN_LINES, USUAL]}, None),
    "hundred-kilobytes-of-banner-in-one-line": ({"greeting": [BANNER_IN_ONE_LINE, USUAL]}, None),
    "451-to-mail": ({"MAIL": ["451 4.7.1 not now", USUAL]}, "not now"),
    "450-to-rcpt": ({"RCPT": ["450 4.7.1 greylisted", USUAL]}, "greylisted"),
    "452-to-rcpt": ({"RCPT": ["452 4.5.3 too many", USUAL]}, "too many"),
    "421-to-rcpt": ({"RCPT": ["421 4.3.2 shutting down", USUAL]}, "shutting down"),
    "451-to-data": ({"DATA": ["451 4.3.0 no room", USUAL]}, "no room"),
    "452-to-the-content": ({"content": ["452 4.3.1 disk full", USUAL]}, "disk full"),
    "421-to-the-content": ({"content": ["421 4.3.2 shutting down", USUAL]}, "shutting down"),
    "nonsense-to-mail": ({"MAIL": [Raw(b"what\r\n"), USUAL]}, None),
    "nonsense-to-the-content": ({"content": [Raw(b"\r\n\0\r\n"), USUAL]}, None),
}


@pytest.mark.parametrize("name", RETRIED)
def test_retried_and_then_delivered(world, name):
    replies, words = RETRIED[name]
    domain = f"{name.lower()}.retried.test"
    with world.bad_peer(domain, replies={key: list(value) for key, value in replies.items()}) as peer:
        id = world.send(f"anna@{domain}")
        event = world.site.wait_event("deferred", id)
        assert words is None or words in event["reason"]
        assert event["status"].startswith("4."), event
        assert world.site.is_queued(id)
        # As the admin sees it.
        shown = world.site.semail("queue", "show", id)
        assert event["reason"] in shown, shown
        world.site.flush()
        world.site.wait_event("relayed", id)
        assert await_true(lambda: not world.site.is_queued(id))
        # The peer that was silent or gone after the final dot may have it twice; from our side there was no other way (RFC 1047).
        assert len([message for message in peer.messages if message.is_taken]) == 1
        assert not world.site.reports("ssow", f"anna@{domain}")


def test_drops_within_the_message(world):
    with world.bad_peer("within.test", drop_after=100_000) as peer:
        id = world.send("anna@within.test", body=b"x" * 78 + b"\r\n", sender=SSOW)
        world.site.wait_event("relayed", id)
        id = world.send("anna@within.test", body=(b"x" * 78 + b"\r\n") * 10_000)
        world.site.wait_event("deferred", id)
        assert not [message for message in peer.messages if message.is_taken and len(message.octets) > 100_000]
        peer.drop_after = None
        world.site.flush()
        world.site.wait_event("relayed", id)
        assert len(peer.messages[-1].octets) > 800_000


REFUSED = {
    "550-to-mail": ({"MAIL": "550 5.7.1 we know you"}, "5.7.1", "550 5.7.1 we know you"),
    "550-to-rcpt": ({"RCPT": "550 5.1.1 no such user"}, "5.1.1", "550 5.1.1 no such user"),
    "553-without-a-status": ({"RCPT": "553 nobody here"}, "5.", "553 nobody here"),
    "several-lines": ({"RCPT": "550-5.1.1 no such\n550 5.1.1 user here"}, "5.1.1", "no such"),
    "554-to-data": ({"DATA": "554 5.6.0 no thanks"}, "5.6.0", "554 5.6.0 no thanks"),
    "554-to-the-content": ({"content": "554 5.7.1 spam, says our filter"}, "5.7.1", "554 5.7.1 spam, says our filter"),
    "552-to-the-content": ({"content": "552 5.3.4 too big"}, "5.3.4", "552 5.3.4 too big"),
    "words-with-control-characters": ({"RCPT": "550 5.1.1 no\x1b[31m\x07such user"}, "5.1.1", "550 5.1.1 no"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bounced_with_the_peers_words(world, name):
    replies, status, words = REFUSED[name]
    domain = f"{name}.refused.test"
    with world.bad_peer(domain, replies=replies) as peer:
        id = world.send(f"anna@{domain}")
        assert words in world.site.wait_event("failed", id)["reason"]
        report = world.site.wait_report("ssow", f"anna@{domain}")
        action, given, said = report.of(f"anna@{domain}")
        assert action == "failed" and given.startswith(status) and words in said
        assert words in report.text and f"mx.{domain} [{peer.address}]" in report.text, report.text
        assert "\x1b" not in report.text and "\x07" not in report.text
        assert report.recipients[0]["Remote-MTA"].startswith(f"dns; mx.{domain}")
        assert "Subject: test" in report.returned.as_string()
        assert await_true(lambda: not world.site.is_queued(id))
        assert len(peer.messages) == (1 if "content" in name else 0) and not [message for message in peer.messages if message.is_taken]


def test_size_is_asked_before_it_is_sent(world):
    with world.bad_peer("small.test", capabilities=("PIPELINING", "SIZE 1000", "8BITMIME")) as peer:
        id = world.send("anna@small.test", body=b"x" * 70 + b"\r\n" + (b"x" * 70 + b"\r\n") * 100)
        assert world.site.wait_event("failed", id)["status"] == "5.3.4"
        world.site.wait_report("ssow", "anna@small.test")
        assert not peer.messages


def test_one_of_three_refused(world):
    """Each recipient is answered for by itself: two have it, the third comes back."""
    with world.bad_peer("three.test", replies={"RCPT b@three.test": "550 5.1.1 no such user"}) as peer:
        id = world.send("a@three.test", "b@three.test", "c@three.test")
        assert await_true(lambda: not world.site.is_queued(id))
        report = world.site.wait_report("ssow", "b@three.test")
        assert len(report.recipients) == 1 and report.of("b@three.test")[:2] == ("failed", "5.1.1")
        assert sorted(event["to"] for event in world.site.events("relayed", id)) == ["a@three.test", "c@three.test"]
        [message] = peer.messages
        assert message.is_taken and [b"a@" in word or b"c@" in word for word in message.recipients] == [True, True]


def test_one_of_three_put_off(world):
    """Only that one is tried again."""
    with world.bad_peer("later.test", replies={"RCPT b@later.test": ["450 4.2.1 later", USUAL]}) as peer:
        id = world.send("a@later.test", "b@later.test", "c@later.test")
        assert world.site.wait_event("deferred", id)["to"] == "b@later.test"
        world.site.flush()
        assert await_true(lambda: not world.site.is_queued(id))
        assert [len(message.recipients) for message in peer.messages] == [2, 1] and b"<b@later.test>" in peer.messages[1].recipients[0]


def test_helo_for_those_who_know_no_ehlo(world):
    with world.bad_peer("old.test", replies={"EHLO": "500 5.5.1 what?"}) as peer:
        id = world.send("anna@old.test", body=BODY)
        world.site.wait_event("relayed", id)
        assert peer.verbs()[:3] == ["EHLO", "HELO", "MAIL"] and b"SIZE" not in peer.messages[0].sender
        # 8-bit all the same: what else could be done with it would change the message.
        assert peer.messages[0].text.endswith(b"\r\n\r\n" + BODY)


def test_smtputf8_lacking_for_one_of_two(world):
    """The other recipient's mail goes."""
    with world.bad_peer("ascii.test", capabilities=[word for word in EVERYTHING if word != "SMTPUTF8"]) as peer:
        id = world.send("zoë@ascii.test", options=["SMTPUTF8", "BODY=8BITMIME"])
        assert world.site.wait_event("failed", id)["status"] == "5.6.7"
        assert world.site.wait_report("ssow", "zoë@ascii.test").of("zoë@ascii.test")[1] == "5.6.7"
        assert not peer.messages


# -- TLS ------------------------------------------------------------------------------

def server_context(world, name, **options):
    pem, key = certificate(world.network.directory / "certificates", name, **options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context


# It offers STARTTLS and then fails it, in some way.
FAILED_TLS = {
    "refused": {"STARTTLS": "454 4.7.0 not now"},
    "refused-for-good": {"STARTTLS": "502 5.5.1 what?"},
    "nonsense": {"STARTTLS": Raw(b"220 go ahead\r\nthis is no TLS at all, as anybody can see\r\n")},
    "dropped": {"STARTTLS": lambda session: (session.send(b"220 go ahead\r\n"), DROP)[1]},
    "silent": {"STARTTLS": lambda session: (session.send(b"220 go ahead\r\n"), HANG)[1]},
}


@pytest.mark.parametrize("name", FAILED_TLS)
def test_tls_that_fails_is_done_without(world, name):
    """RFC 7435: some protection most of the time. It is in the log, and the mail is not late."""
    domain = f"{name}.starttls.test"
    with world.bad_peer(domain, replies=FAILED_TLS[name], tls=server_context(world, f"mx.{domain}")) as peer:
        id = world.send(f"anna@{domain}")
        world.site.wait_event("relayed", id)
        [message] = peer.messages
        assert message.is_taken and message.tls is None and not world.site.events("deferred", id)
        connected = [line for line in world.site.log("qrunner").splitlines() if "remote-relay:" in line and f"mx.{domain}" in line and "relayed" not in line]
        assert connected and not re.search(r'tls="TLS', connected[-1]), connected


def test_tls_that_breaks_in_the_middle(world):
    with world.bad_peer("middle.test", tls=server_context(world, "mx.middle.test"), drop_after=50_000) as peer:
        id = world.send("anna@middle.test", body=(b"x" * 78 + b"\r\n") * 2000)
        assert world.site.wait_event("deferred", id)["status"].startswith("4.")
        peer.drop_after = None
        world.site.flush()
        world.site.wait_event("relayed", id)
        assert [message.is_taken for message in peer.messages] == [False, True]
        assert [message.tls for message in peer.messages] == ["TLSv1.3"] * 2


def test_what_was_said_before_tls_does_not_count(world):
    """The extensions of the clear may have been an attacker's."""
    def narrow(session):
        session.peer.capabilities = [] if session.tls_version else list(EVERYTHING)
        return USUAL

    with world.bad_peer("before.test", tls=server_context(world, "mx.before.test")) as peer:
        peer.replies["EHLO"] = [lambda session: "250 mx.before.test" if session.tls_version else USUAL]
        world.site.wait_event("relayed", world.send("anna@before.test"))
        assert peer.messages[0].tls and b"SIZE" not in peer.messages[0].sender and b"BODY" not in peer.messages[0].sender


@pytest.fixture
def routes(world):
    """Sets control/routes for a test; qrunner looks at it once a second."""
    def set_routes(*lines):
        world.site.control("routes", "\n".join(lines))
        time.sleep(1.2)
    yield set_routes
    world.site.control("routes", None)
    time.sleep(1.2)


def test_an_expired_certificate_where_one_is_demanded(world, routes):
    """Kept, until the peer has a better one; never in the clear, never to whom nobody can vouch for."""
    routes("demanded.test mx verify")
    with world.bad_peer("demanded.test", tls=server_context(world, "mx.demanded.test", expired=True)) as peer:
        id = world.send("anna@demanded.test")
        event = world.site.wait_event("deferred", id)
        assert event["status"].startswith("4.7.") and "expired" in event["reason"], event
        assert not peer.messages and not peer.verbs().count("MAIL")
        assert world.site.is_queued(id)
        peer.tls = server_context(world, "mx.demanded.test")
        world.site.flush()
        world.site.wait_event("relayed", id)
        assert peer.messages[0].tls == "TLSv1.3"


def test_the_certificate_of_another_where_one_is_demanded(world, routes):
    routes("other.test mx verify")
    with world.bad_peer("other.test", tls=server_context(world, "mx.elsewhere.test")) as peer:
        id = world.send("anna@other.test")
        assert world.site.wait_event("deferred", id)["status"].startswith("4.7.")
        assert not peer.verbs().count("MAIL")
        world.site.semail("queue", "delete", "--yes", id)


def test_no_tls_where_some_is_demanded(world, routes):
    routes("private.test mx encrypt")
    with world.bad_peer("private.test") as peer:
        id = world.send("anna@private.test")
        assert world.site.wait_event("deferred", id)["status"] == "4.7.4"
        assert not peer.verbs().count("MAIL")
        # Any certificate will do there.
        peer.tls = server_context(world, "mx.elsewhere.test", expired=True)
        world.site.flush()
        world.site.wait_event("relayed", id)
        assert peer.messages[0].tls == "TLSv1.3"


def test_a_fixed_way(world, routes):
    """A route names a host in place of the DNS, for a domain, for all beneath one, and for all."""
    with world.bad_peer("smart.test") as peer:
        routes(f"fixed.test [{peer.address}]", ".beneath.test mx.smart.test", "* mx.nowhere.test")
        for recipient in ("anna@fixed.test", "anna@deep.beneath.test"):
            assert peer.address in world.site.wait_event("relayed", world.send(recipient))["host"]
        id = world.send("anna@a.test")
        assert world.site.wait_event("failed", id)["status"] == "5.4.4"


# -- connections ----------------------------------------------------------------------

def test_messages_that_wait_together_go_together(world):
    """Twenty messages, one destination, few connections: never more at once than the control file allows."""
    world.site.control("connections-per-destination", "2")
    world.site.stop_process("qrunner")
    with world.bad_peer("together.test") as peer:
        ids = [world.send(f"anna{number}@together.test") for number in range(20)]
        start_again(world)
        for id in ids:
            world.site.wait_event("relayed", id)
        assert peer.connections <= 2 and len(peer.messages) == 20
        # Not for longer than it is of use.
        assert await_true(lambda: peer.open == 0, 5)
        assert peer.verbs().count("QUIT") == peer.connections
    world.site.control("connections-per-destination", None)


def start_again(world):
    world.site.start_qrunner(environment={"RELAY_TIMEOUT_SECONDS": str(PATIENCE), "SSL_CERT_FILE": str(authority(world.network.directory / "certificates")[0])})


@pytest.mark.parametrize("action", ["421 4.3.2 busy", HANG])
def test_a_destination_that_is_down_is_tried_once_for_all(world, action):
    domain = f"{'hangs' if action == HANG else 'busy'}.down.test"
    world.site.stop_process("qrunner")
    with world.bad_peer(domain, replies={"greeting": action}) as peer:
        ids = [world.send(f"anna{number}@{domain}") for number in range(15)]
        start_again(world)
        for id in ids:
            world.site.wait_event("deferred", id)
        # Nor for those who come now.
        late = world.send(f"anna@{domain}")
        world.site.wait_event("deferred", late)
        assert peer.connections == 1
        peer.replies.clear()
        world.site.flush()
        for id in [*ids, late]:
            world.site.wait_event("relayed", id)
        assert len(peer.messages) == 16


def test_a_slow_destination_holds_up_nobody(world):
    """While one peer thinks, mail for others goes."""
    with world.bad_peer("slow.test", replies={"MAIL": HANG}) as slow, world.bad_peer("fast.test") as fast:
        slow_id = world.send("anna@slow.test")
        assert await_true(lambda: slow.verbs().count("MAIL"))
        started = time.monotonic()
        fast_id = world.send("anna@fast.test")
        world.site.wait_event("relayed", fast_id)
        assert time.monotonic() - started < 1 and not world.site.events("deferred", slow_id)
        world.site.wait_event("deferred", slow_id)
        slow.replies.clear()
        world.site.flush()
        world.site.wait_event("relayed", slow_id)


def test_one_of_several_destinations_is_down(world):
    """A message for two: one has it at once and once, the other later."""
    with world.bad_peer("up.test") as up, world.bad_peer("down.test", replies={"greeting": ["421 4.3.2 busy", USUAL]}) as down:
        id = world.send("anna@up.test", "anna@down.test")
        assert world.site.wait_event("deferred", id)["to"] == "anna@down.test"
        world.site.flush()
        assert await_true(lambda: not world.site.is_queued(id))
        assert len(up.messages) == len(down.messages) == 1


# -- what the sender hears --------------------------------------------------------------

def test_reports_that_nobody_wants(world):
    with world.bad_peer("silent.test", replies={"RCPT": "550 5.1.1 no such user"}):
        id = world.send("anna@silent.test", recipient_options=["NOTIFY=NEVER"])
        world.site.wait_event("failed", id)
        assert await_true(lambda: not world.site.is_queued(id))
        world.site.wait_queue_empty()
        assert not world.site.reports("ssow", "anna@silent.test")


def test_success_where_the_peer_knows_no_reports(world):
    """RFC 3461 5.2.2: `relayed` is all that can be said from here."""
    with world.bad_peer("mute.test", capabilities=[word for word in EVERYTHING if word != "DSN"]) as peer:
        id = world.send("anna@mute.test", "berta@mute.test", recipient_options=["NOTIFY=SUCCESS"])
        report = world.site.wait_report("ssow", "anna@mute.test")
        assert report.of("anna@mute.test")[0] == report.of("berta@mute.test")[0] == "relayed"
        assert b"RET" not in peer.messages[0].sender and b"NOTIFY" not in peer.messages[0].recipients[0]
        assert not world.site.is_queued(id)


def test_a_notice_of_delay_once(world):
    world.site.control("delay-notice", "1s")
    with world.bad_peer("late.test", replies={"RCPT": "450 4.2.1 later"}) as peer:
        id, quiet = world.send("anna@late.test"), world.send("berta@late.test", recipient_options=["NOTIFY=FAILURE"])
        world.site.wait_event("deferred", id), world.site.wait_event("deferred", quiet)
        assert not world.site.reports("ssow", "anna@late.test")
        time.sleep(2)
        for count in (2, 3):
            world.site.flush()
            world.site.wait_event("deferred", id, count), world.site.wait_event("deferred", quiet, count)
        report = world.site.wait_report("ssow", "anna@late.test")
        assert report.of("anna@late.test")[:2] == ("delayed", "4.2.1") and "later" in report.text
        peer.replies.clear()
        world.site.flush()
        world.site.wait_event("relayed", id), world.site.wait_event("relayed", quiet)
        assert len(world.site.reports("ssow", "anna@late.test")) == 1 and not world.site.reports("ssow", "berta@late.test")
    world.site.control("delay-notice", None)


def test_given_up(world):
    """When its time is over, with the last words of the peer."""
    world.site.control("queue-lifetime", "2s")
    with world.bad_peer("never.test", replies={"RCPT": "450 4.2.1 try again"}):
        id = world.send("anna@never.test")
        world.site.wait_event("deferred", id)
        time.sleep(2)
        world.site.flush()
        report = world.site.wait_report("ssow", "anna@never.test")
        assert report.of("anna@never.test")[:2] == ("failed", "5.4.7") and "450 4.2.1 try again" in report.text
    world.site.control("queue-lifetime", None)


def test_the_null_sender_is_not_answered(world):
    """A report that cannot be delivered ends with the postmaster, and is never answered itself."""
    with world.bad_peer("report.test", replies={"RCPT": "550 5.1.1 no such user"}):
        before = len(world.site.delivered("ssow"))
        id = world.site.submit("", ["anna@report.test"], f"From: {SSOW}\r\nSubject: a report\r\n\r\nhello\r\n".encode())
        world.site.wait_event("failed", id)
        world.site.wait_report("postmaster", "anna@report.test")
        world.site.wait_queue_empty()
        assert len(world.site.delivered("ssow")) == before
