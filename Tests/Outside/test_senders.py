"""Nobody sends as someone else, and nobody relays: a table of attempts, each with the reply that it must get.

Against the installed services on a host of the test network (networklab.py), from where such attempts would come:
from strangers on the Internet, from containers, from programs of the host, by stolen and by guessed words. After each of
them nothing may be in the queue. At the end, what must not be refused.
"""

import base64
import contextlib
import json
import os
import re
import socket
import struct

import pytest

import semailtest
from faultlab import Dialogue
from networklab import SUBMISSION_PORT, Network, Site
from semailtest import await_true

SSOW, XREDON = "ssow@semail.test", "xredon@semail.test"

# (host, address it connects from, address it connects to)
OUTSIDE = ("stranger", None, "198.51.100.25")
OUTSIDE_6 = ("stranger", None, "2001:db8::25")
BOX_SSOW = ("box.ssow", "172.30.0.5", "172.30.0.1")
BOX_XREDON = ("box.xredon", "172.30.0.6", "172.30.0.1")
# On the network of containers, and nobody's container; and that of a mailbox that is suspended.
BOX_NOBODY = ("box.nobody", "172.30.0.9", "172.30.0.1")
BOX_SUSPENDED = ("box.nobody", "172.30.0.7", "172.30.0.1")
HERE = ("mx.semail.test", None, "127.0.0.1")
HERE_6 = ("mx.semail.test", None, "::1")

ONLY_SSOW = "550 5.7.1 You may send as <ssow@semail.test> only"
ONLY_XREDON = "550 5.7.1 You may send as <xredon@semail.test> only"
ONLY_MAILBOXES = "550 5.7.1 You may send as a mailbox of this host only"
UNREADABLE = "550 5.7.1 From and Sender have to name your address, and I cannot read what they name"
TWICE = "550 5.7.1 A message has one From field"
WHO = "530 5.7.0 "
WRONG = "535 5.7.8 "
NO_SUCH = "550 5.1.1 "
BARE = "550 5.6.0 "

# The checkpassword program (http://cr.yp.to/checkpwd/interface.html) of these tests.
CHECKPASSWORD = """#!/bin/sh
# Reads USER NUL PASSWORD NUL TIMESTAMP NUL on descriptor 3.
case "$(tr '\\0' '\\n' <&3)" in
"ssow
one"*) USER=ssow ;;
"ssow@semail.test
one"*) USER=ssow ;;
"xredon
two"*) USER=xredon ;;
"suspended
three"*) USER=suspended ;;
"ghost
four"*) USER=ghost ;;
"path
five"*) USER=../mailboxes/xredon@semail.test ;;
"bracket
six"*) USER='[172.30.0.6]' ;;
*) exit 1 ;;
esac
export USER
exec "$@"
"""


@pytest.fixture(scope="module")
def site():
    with Network() as network, Site(network) as site:
        site.add_mailbox("suspended")
        site.semail("mailbox", "container", SSOW, "172.30.0.5")
        site.semail("mailbox", "container", XREDON, "172.30.0.6")
        site.semail("mailbox", "container", "suspended@semail.test", "172.30.0.7")
        path = site.directory / "mailboxes/suspended@semail.test"
        path.write_text(path.read_text().replace("state active", "state suspended"))
        for number, (name, *addresses) in enumerate((("stranger",), ("box.ssow", "172.30.0.5"), ("box.xredon", "172.30.0.6"),
                                                     ("box.nobody", "172.30.0.9", "172.30.0.7"))):
            host = network.host(name, 60 + number)
            for address in addresses:
                host.add_address(f"{address}/16")
        network.mail_host("mx.a.test", 11, "a.test")
        network.names.publish()
        for name, value in (("auth-without-tls", "yes"), ("messages-per-hour", "0"), ("recipients-per-hour", "0"),
                            ("aliases", "sales@semail.test ssow@semail.test")):
            site.control(name, value)
        checkpassword = site.directory / "checkpassword"
        checkpassword.write_text(CHECKPASSWORD)
        os.chmod(checkpassword, 0o755)
        # Without a limit to guessing, or the table would come to an early end.
        site.start_auth(checkpassword, "-l", 0)
        site.start_inbound()
        site.start_submission()
        # qrunner does not run: what is taken stays where it can be looked at.
        yield site


@contextlib.contextmanager
def connected(site, place, port=SUBMISSION_PORT):
    name, source, address = place
    with site.network.host(name).inside():
        dialogue = Dialogue(port, host=address, source=source)
    with dialogue:
        yield dialogue


def octets(text):
    return text if isinstance(text, bytes) else text.encode()


def plain(user, password, acting_for=""):
    return "AUTH PLAIN " + base64.b64encode(f"{acting_for}\0{user}\0{password}".encode()).decode()


def encoded(text):
    return base64.b64encode(text.encode()).decode()


# -- the table ----------------------------------------------------------------

ATTEMPTS = []


class Attempt:
    def __init__(self, name, place, gets, *lines, port=SUBMISSION_PORT, greeting="EHLO client.example"):
        """The last of LINES must be answered with what begins with GETS, all others with a success."""
        self.name, self.place, self.gets, self.port = name, place, gets, port
        self.lines = ([greeting] if greeting else []) + list(lines)
        assert name not in [attempt.name for attempt in ATTEMPTS], name
        ATTEMPTS.append(self)


def sender(name, place, gets, address, *before, options=""):
    """MAIL FROM an address."""
    Attempt(name, place, gets, *before, f"MAIL FROM:<{address}>{options}")


def header(name, place, gets, fields, *before, sender=SSOW, options="", body=b"\r\nhello\r\n"):
    """A message with these header fields from a sender that is fine."""
    Attempt(name, place, gets, *before, f"MAIL FROM:<{sender}>{options}", "RCPT TO:<berta@a.test>", "DATA",
            octets(fields) + (b"" if octets(fields).endswith(b"\r\n") else b"\r\n") + body + b".\r\n")


# Strangers, who have not authenticated.
sender("stranger-as-a-mailbox", OUTSIDE, WHO, SSOW)
sender("stranger-as-a-mailbox-over-ipv6", OUTSIDE_6, WHO, SSOW)
sender("stranger-as-himself", OUTSIDE, WHO, "me@elsewhere.example")
sender("stranger-as-nobody", OUTSIDE, WHO, "")
sender("stranger-as-postmaster", OUTSIDE, WHO, "postmaster@mx.semail.test")
sender("stranger-says-he-was-authenticated", OUTSIDE, WHO, SSOW, options=f" AUTH={SSOW}")
sender("stranger-says-he-was-authenticated-by-nobody", OUTSIDE, WHO, SSOW, options=" AUTH=<>")
Attempt("stranger-names-a-recipient-at-once", OUTSIDE, "503 5.5.1 ", "RCPT TO:<berta@a.test>")
Attempt("stranger-names-a-mailbox-here-at-once", OUTSIDE, "503 5.5.1 ", f"RCPT TO:<{XREDON}>")
Attempt("stranger-sends-data-at-once", OUTSIDE, "503 5.5.1 ", "DATA")
Attempt("stranger-sends-a-chunk-at-once", OUTSIDE, "503 5.5.1 ", b"BDAT 4 LAST\r\nhi\r\n")
Attempt("stranger-goes-on-after-530", OUTSIDE, "503 5.5.1 ", ("530", f"MAIL FROM:<{SSOW}>"), "RCPT TO:<berta@a.test>")
for name in ("localhost", "[127.0.0.1]", "[172.30.0.5]", "[IPv6:::1]", "[IPv6:::ffff:127.0.0.1]", "mx.semail.test", "box.ssow"):
    Attempt(f"stranger-greets-as-{name}", OUTSIDE, WHO, f"MAIL FROM:<{SSOW}>", greeting=f"EHLO {name}")
Attempt("stranger-greets-with-helo", OUTSIDE, WHO, f"MAIL FROM:<{SSOW}>", greeting="HELO localhost")
Attempt("xclient-says-loopback", OUTSIDE, "500 5.5.2 ", "XCLIENT ADDR=127.0.0.1 NAME=localhost LOGIN=ssow")
Attempt("xclient-and-then-mail", OUTSIDE, WHO, ("500", "XCLIENT ADDR=127.0.0.1"), f"MAIL FROM:<{SSOW}>")
Attempt("xforward-says-loopback", OUTSIDE, "500 5.5.2 ", "XFORWARD ADDR=127.0.0.1")
Attempt("proxy-line-says-loopback", OUTSIDE, "500 5.5.2 ", "PROXY TCP4 127.0.0.1 127.0.0.1 40000 587", greeting=None)
Attempt("proxy-line-and-then-mail", OUTSIDE, WHO, ("500", "PROXY TCP4 172.30.0.5 172.30.0.1 40000 587"), "EHLO client.example",
        f"MAIL FROM:<{SSOW}>", greeting=None)
Attempt("environment-in-a-command", OUTSIDE, "500 5.5.2 ", "TCPREMOTEIP=127.0.0.1")
Attempt("turn", OUTSIDE, "500 5.5.2 ", "TURN")
Attempt("etrn", OUTSIDE, "500 5.5.2 ", "ETRN a.test")
Attempt("starttls-is-not-there", OUTSIDE, "502 5.5.1 ", "STARTTLS")
Attempt("vrfy", OUTSIDE, "502 5.5.1 ", "VRFY ssow")
Attempt("container-without-a-mailbox", BOX_NOBODY, WHO, f"MAIL FROM:<{SSOW}>")
Attempt("container-of-a-suspended-mailbox", BOX_SUSPENDED, WHO, "MAIL FROM:<suspended@semail.test>")

# At the inbound server nobody relays, wherever they come from.
for name, place in (("stranger", OUTSIDE), ("container", BOX_SSOW), ("program-here", HERE)):
    Attempt(f"{name}-relays-by-the-inbound-server", place, NO_SUCH, f"MAIL FROM:<{SSOW}>", "RCPT TO:<berta@a.test>", port=25)
    Attempt(f"{name}-authenticates-at-the-inbound-server", place, "502 5.5.1 ", plain("ssow", "one"), port=25)
for name, address in (("percent", "berta%a.test@semail.test"), ("bang", "a.test!berta@semail.test"), ("quoted-whole-address", '"berta@a.test"@semail.test'),
                      ("source-route", "@semail.test:berta@a.test"), ("host-itself", "berta@mx.semail.test"), ("address-literal", "berta@[198.51.100.25]")):
    Attempt(f"inbound-{name}", OUTSIDE, NO_SUCH, "MAIL FROM:<me@elsewhere.example>", f"RCPT TO:<{address}>", port=25)

# Passwords.
Attempt("wrong-password", OUTSIDE, WRONG, plain("ssow", "two"))
Attempt("password-of-another", OUTSIDE, WRONG, plain("xredon", "one"))
Attempt("unknown-user", OUTSIDE, WRONG, plain("nobody", "one"))
Attempt("empty-password", OUTSIDE, WRONG, plain("ssow", ""))
Attempt("empty-user", OUTSIDE, WRONG, plain("", "one"))
Attempt("acting-for-another", OUTSIDE, WRONG, plain("ssow", "one", "xredon"))
Attempt("acting-for-another-with-his-address", OUTSIDE, WRONG, plain("ssow", "one", XREDON))
Attempt("a-nul-in-the-password", OUTSIDE, "501 5.5.2 ", plain("ssow", "one\0two"))
Attempt("a-nul-behind-the-password", OUTSIDE, "501 5.5.2 ", plain("ssow", "one\0"))
Attempt("right-but-too-long", OUTSIDE, WRONG, plain("ssow", "one" * 200))
Attempt("owner-without-a-mailbox", OUTSIDE, WRONG, plain("ghost", "four"))
Attempt("owner-that-is-a-path", OUTSIDE, "454 4.7.0 ", plain("path", "five"))
Attempt("owner-that-is-another-link", OUTSIDE, WRONG, plain("bracket", "six"))
Attempt("owner-of-a-suspended-mailbox", OUTSIDE, WRONG, plain("suspended", "three"))
Attempt("login-with-a-wrong-password", OUTSIDE, WRONG, "AUTH LOGIN", encoded("ssow"), encoded("two"))
Attempt("login-with-an-empty-password", OUTSIDE, WRONG, "AUTH LOGIN", encoded("ssow"), "")
Attempt("auth-external", OUTSIDE, "504 5.5.4 ", "AUTH EXTERNAL " + encoded("ssow"))
Attempt("auth-anonymous", OUTSIDE, "504 5.5.4 ", "AUTH ANONYMOUS " + encoded("ssow"))
Attempt("auth-after-helo", OUTSIDE, "503 5.5.1 ", plain("ssow", "one"), greeting="HELO client.example")
Attempt("mail-after-a-wrong-password", OUTSIDE, WHO, ("535", plain("ssow", "two")), f"MAIL FROM:<{SSOW}>")
Attempt("mail-after-giving-up", OUTSIDE, WHO, "AUTH PLAIN", ("501", "*"), f"MAIL FROM:<{SSOW}>")
Attempt("mail-in-place-of-a-password", OUTSIDE, "501 5.5.2 ", "AUTH PLAIN", f"MAIL FROM:<{SSOW}>")
Attempt("a-third-wrong-password-ends-it", OUTSIDE, WRONG, ("535", plain("ssow", "a")), ("535", plain("ssow", "b")), plain("ssow", "c"))

# As one by password, and mail from another.
AS_SSOW = plain("ssow", "one")
sender("authenticated-as-another-mailbox", OUTSIDE, ONLY_SSOW, XREDON, AS_SSOW)
sender("authenticated-as-postmaster", OUTSIDE, ONLY_SSOW, "postmaster@mx.semail.test", AS_SSOW)
sender("authenticated-as-someone-elsewhere", OUTSIDE, ONLY_SSOW, "anna@a.test", AS_SSOW)
sender("authenticated-with-an-auth-parameter", OUTSIDE, ONLY_SSOW, XREDON, AS_SSOW, options=f" AUTH={XREDON}")
sender("authenticated-with-the-whole-address", OUTSIDE, ONLY_SSOW, XREDON, plain(SSOW, "one"))
sender("authenticated-over-ipv6", OUTSIDE_6, ONLY_SSOW, XREDON, AS_SSOW)
sender("authenticated-by-login", OUTSIDE, ONLY_SSOW, XREDON, "AUTH LOGIN", encoded("ssow"), encoded("one"))
sender("authenticated-and-greeted-again", OUTSIDE, ONLY_SSOW, XREDON, AS_SSOW, "EHLO other.example")
Attempt("authenticated-as-a-second-one", OUTSIDE, "503 5.5.1 ", AS_SSOW, plain("xredon", "two"))
sender("a-container-that-authenticates-is-no-more-its-mailbox", BOX_SSOW, ONLY_XREDON, SSOW, plain("xredon", "two"))
header("authenticated-with-another-from", OUTSIDE, ONLY_SSOW, f"From: {XREDON}", AS_SSOW)
header("authenticated-null-sender-with-another-from", OUTSIDE, ONLY_SSOW, f"From: {XREDON}", AS_SSOW, sender="")

# Containers, each by its address.
sender("container-as-another", BOX_SSOW, ONLY_SSOW, XREDON)
sender("the-other-container-as-the-first", BOX_XREDON, ONLY_XREDON, SSOW)
sender("container-as-postmaster", BOX_SSOW, ONLY_SSOW, "postmaster@mx.semail.test")
sender("container-as-an-alias-of-itself", BOX_SSOW, ONLY_SSOW, "sales@semail.test")
sender("container-as-someone-elsewhere", BOX_SSOW, ONLY_SSOW, "ssow@a.test")
sender("container-at-the-hosts-name", BOX_SSOW, ONLY_SSOW, "ssow@mx.semail.test")
sender("container-at-a-longer-domain", BOX_SSOW, ONLY_SSOW, "ssow@semail.test.a.test")
sender("container-with-an-extension", BOX_SSOW, ONLY_SSOW, "ssow+news@semail.test")
sender("container-at-an-address-literal", BOX_SSOW, ONLY_SSOW, "ssow@[198.51.100.25]")
sender("container-with-a-source-route", BOX_SSOW, ONLY_SSOW, f"@semail.test:{XREDON}")
sender("container-with-a-source-route-of-two", BOX_SSOW, ONLY_SSOW, f"@a.test,@semail.test:{XREDON}")
sender("container-with-quotes", BOX_SSOW, ONLY_SSOW, '"xredon"@semail.test')
sender("container-with-an-escape", BOX_SSOW, ONLY_SSOW, '"xre\\don"@semail.test')
sender("container-with-its-address-in-quotes", BOX_SSOW, ONLY_SSOW, '"ssow@semail.test"@a.test')
sender("container-with-a-percent", BOX_SSOW, ONLY_SSOW, "ssow%semail.test@a.test")
sender("container-in-capitals", BOX_SSOW, ONLY_SSOW, "XREDON@SEMAIL.TEST")
sender("container-with-a-cyrillic-letter", BOX_SSOW, ONLY_SSOW, "ѕsow@semail.test", options=" SMTPUTF8")
sender("container-with-a-cyrillic-letter-in-the-domain", BOX_SSOW, ONLY_SSOW, "ssow@sеmail.test", options=" SMTPUTF8")
sender("container-with-a-wide-letter", BOX_SSOW, ONLY_SSOW, "ｓsow@semail.test", options=" SMTPUTF8")
sender("container-with-a-name-alone", BOX_SSOW, "501 5.1.7 ", "xredon")
sender("container-with-a-space-behind", BOX_SSOW, "501 5.1.7 ", "ssow@semail.test ")
Attempt("container-with-two-addresses", BOX_SSOW, "501 5.5.4 ", f"MAIL FROM:<{SSOW}><{XREDON}>")
Attempt("container-with-a-nul", BOX_SSOW, "500 5.5.2 ", f"MAIL FROM:<{XREDON}\0{SSOW}>")
sender("container-after-rset", BOX_SSOW, ONLY_SSOW, XREDON, f"MAIL FROM:<{SSOW}>", "RSET")
sender("container-after-a-second-greeting", BOX_SSOW, ONLY_SSOW, XREDON, f"MAIL FROM:<{SSOW}>", "EHLO [127.0.0.1]")
Attempt("container-with-two-senders", BOX_SSOW, "503 5.5.1 ", f"MAIL FROM:<{SSOW}>", f"MAIL FROM:<{XREDON}>")
Attempt("container-guesses-the-others-password", BOX_SSOW, WRONG, plain("xredon", "one"))

# From tricks, each from the container of ssow.
for name, gets, fields in (
    ("another", ONLY_SSOW, f"From: {XREDON}"),
    ("elsewhere", ONLY_SSOW, "From: president@a.test"),
    ("capitals", ONLY_SSOW, f"FROM: {XREDON}"),
    ("odd-case", ONLY_SSOW, f"fRoM: {XREDON}"),
    ("space-before-the-colon", ONLY_SSOW, f"From : {XREDON}"),
    ("tab-before-the-colon", ONLY_SSOW, f"From\t:{XREDON}"),
    ("no-space-behind-the-colon", ONLY_SSOW, f"From:{XREDON}"),
    ("folded-at-once", ONLY_SSOW, f"From:\r\n {XREDON}"),
    ("folded-within-the-address", ONLY_SSOW, "From: xredon\r\n\t@semail.test"),
    ("folded-behind-blanks", ONLY_SSOW, f"From: {SSOW},\r\n \t \r\n {XREDON}"),
    ("behind-a-line-of-blanks", ONLY_SSOW, f"Subject: x\r\n \r\nFrom: {XREDON}"),
    ("dot-stuffed", ONLY_SSOW, f".From: {XREDON}"),
    ("as-the-last-of-many-fields", ONLY_SSOW, "X-Filling: x\r\n" * 2000 + f"From: {XREDON}"),
    ("own-and-another", ONLY_SSOW, f"From: {SSOW}, {XREDON}"),
    ("another-and-own", ONLY_SSOW, f"From: {XREDON}, {SSOW}"),
    ("empty-elements-first", ONLY_SSOW, f"From: ,,{XREDON}"),
    ("semicolon", UNREADABLE, f"From: {SSOW}; {XREDON}"),
    ("two-fields-own-first", TWICE, f"From: {SSOW}\r\nFrom: {XREDON}"),
    ("two-fields-own-last", TWICE, f"From: {XREDON}\r\nFrom: {SSOW}"),
    ("two-fields-in-different-case", TWICE, f"From: {SSOW}\r\nSubject: x\r\nfrom : {XREDON}"),
    ("two-fields-both-own", TWICE, f"From: {SSOW}\r\nFrom: {SSOW}"),
    ("hundreds-of-fields", TWICE, f"From: {SSOW}\r\n" * 700),
    ("more-fields-than-anybody-keeps", "552 5.3.4 ", f"From: {SSOW}\r\n" * 900),
    ("more-than-anybody-keeps", "552 5.3.4 ", "From: " + f"{SSOW},\r\n " * 5000 + XREDON),
    ("group", ONLY_SSOW, f"From: Team: {SSOW}, {XREDON};"),
    ("empty-group", UNREADABLE, "From: Nobody:;"),
    ("group-without-an-end", UNREADABLE, f"From: Team: {SSOW}"),
    ("empty", UNREADABLE, "From:"),
    ("comment-alone", UNREADABLE, f"From: ({SSOW})"),
    ("own-in-a-comment-before", ONLY_SSOW, f"From: ({SSOW}) {XREDON}"),
    ("own-in-a-comment-behind", ONLY_SSOW, f"From: {XREDON} ({SSOW})"),
    ("comment-within-the-address", ONLY_SSOW, "From: xredon(ssow)@(x)semail.test"),
    ("nested-comments", ONLY_SSOW, f"From: (a (b) {SSOW}) {XREDON}"),
    ("escaped-parenthesis", ONLY_SSOW, f"From: (a \\) {SSOW}) {XREDON}"),
    ("comment-without-an-end", UNREADABLE, f"From: {SSOW} ({XREDON}"),
    ("own-as-the-name", UNREADABLE, f"From: {SSOW} <{XREDON}>"),
    ("another-as-the-name", UNREADABLE, f"From: {XREDON} <{SSOW}>"),
    ("own-as-the-quoted-name", ONLY_SSOW, f'From: "{SSOW}" <{XREDON}>'),
    ("brackets-in-the-quoted-name", ONLY_SSOW, f'From: "x <{SSOW}>" <{XREDON}>'),
    ("escaped-quote", ONLY_SSOW, f'From: "x\\" <{SSOW}>" <{XREDON}>'),
    ("quote-without-an-end", UNREADABLE, f'From: "x <{SSOW}>'),
    ("two-in-brackets", UNREADABLE, f"From: <{SSOW}> <{XREDON}>"),
    ("one-in-brackets-one-behind", UNREADABLE, f"From: <{SSOW}> {XREDON}"),
    ("brackets-in-brackets", UNREADABLE, f"From: <<{XREDON}>>"),
    ("brackets-without-an-end", UNREADABLE, f"From: <{SSOW}"),
    ("route", UNREADABLE, f"From: <@semail.test:{XREDON}>"),
    ("quoted-local-part", ONLY_SSOW, 'From: "xredon"@semail.test'),
    ("escaped-local-part", ONLY_SSOW, 'From: "xre\\don"@semail.test'),
    ("space-around-the-at-sign", ONLY_SSOW, "From: xredon @ semail.test"),
    ("dot-behind-the-domain", UNREADABLE, "From: xredon@semail.test."),
    ("address-literal", ONLY_SSOW, "From: ssow@[198.51.100.25]"),
    ("no-domain", UNREADABLE, "From: xredon"),
    ("two-at-signs", UNREADABLE, "From: ssow@semail.test@a.test"),
    ("encoded-address", UNREADABLE, "From: =?utf-8?q?xredon=40semail=2Etest?="),
    ("encoded-own-name", ONLY_SSOW, f"From: =?utf-8?b?{encoded(SSOW)}?= <{XREDON}>"),
    ("encoded-local-part", ONLY_SSOW, "From: =?utf-8?q?ssow?=@semail.test"),
    ("cyrillic-letter", ONLY_SSOW, "From: ѕsow@semail.test"),
    ("cyrillic-letter-in-the-domain", ONLY_SSOW, "From: ssow@sеmail.test"),
    ("punycode", ONLY_SSOW, "From: ssow@xn--smail-5ve.test"),
    ("not-utf-8", UNREADABLE, b"From: ssow\xff@semail.test"),
    ("nul-in-the-address", UNREADABLE, f"From: {SSOW}\0, {XREDON}"),
    ("nul-in-quotes", UNREADABLE, f'From: "\0" <{SSOW}>'),
    ("escape-outside-of-quotes", UNREADABLE, f"From: \\<{SSOW}>"),
    ("bare-cr-before", BARE, f"Subject: x\rFrom: {XREDON}"),
    ("bare-lf-before", BARE, f"Subject: x\nFrom: {XREDON}"),
    ("bare-lf-behind", BARE, f"From: {SSOW}\nFrom: {XREDON}"),
    ("sender-is-another", ONLY_SSOW, f"From: {SSOW}\r\nSender: {XREDON}"),
    ("sender-alone-is-another", ONLY_SSOW, f"Sender: {XREDON}"),
    ("sender-in-capitals", ONLY_SSOW, f"SENDER : {XREDON}\r\nFrom: {SSOW}"),
    ("sender-is-own-and-from-is-not", ONLY_SSOW, f"Sender: {SSOW}\r\nFrom: {XREDON}"),
    ("second-sender", ONLY_SSOW, f"From: {SSOW}\r\nSender: {SSOW}\r\nSender: {XREDON}"),
    ("empty-sender", UNREADABLE, f"From: {SSOW}\r\nSender:"),
    ("resent-from", ONLY_SSOW, f"From: {SSOW}\r\nResent-From: {XREDON}"),
    ("resent-sender", ONLY_SSOW, f"From: {SSOW}\r\nResent-Sender: {XREDON}"),
    ("resent-by-oneself", ONLY_SSOW, f"Resent-From: {SSOW}\r\nFrom: {XREDON}"),
):
    header(f"from-{name}", BOX_SSOW, gets, fields)
header("null-sender-and-another-from", BOX_SSOW, ONLY_SSOW, f"From: {XREDON}", sender="")
header("null-sender-and-another-sender-field", BOX_SSOW, ONLY_SSOW, f"Sender: {XREDON}", sender="")
header("header-without-a-body", BOX_SSOW, ONLY_SSOW, f"From: {XREDON}", body=b"")
Attempt("from-in-two-chunks", BOX_SSOW, ONLY_SSOW, f"MAIL FROM:<{SSOW}>", "RCPT TO:<berta@a.test>", b"BDAT 2\r\nFr",
        b"BDAT %d LAST\r\nom: %s\r\n\r\nx\r\n" % (len(XREDON) + 11, XREDON.encode()))
Attempt("colon-in-another-chunk", BOX_SSOW, ONLY_SSOW, f"MAIL FROM:<{SSOW}>", "RCPT TO:<berta@a.test>", b"BDAT 5\r\nFrom ",
        b"BDAT 1\r\n:", b"BDAT %d LAST\r\n %s\r\n\r\nx\r\n" % (len(XREDON) + 8, XREDON.encode()))
header("second-message-of-a-session", BOX_SSOW, ONLY_SSOW, f"From: {XREDON}", f"MAIL FROM:<{SSOW}>", "RCPT TO:<berta@a.test>", "RSET")

# Programs of the host: any mailbox, and nothing else.
for where, place in (("here", HERE), ("here-over-ipv6", HERE_6)):
    sender(f"{where}-as-someone-elsewhere", place, ONLY_MAILBOXES, "anna@a.test")
    sender(f"{where}-as-a-mailbox-that-is-not-there", place, ONLY_MAILBOXES, "nobody@semail.test")
    header(f"{where}-from-someone-elsewhere", place, ONLY_MAILBOXES, "From: anna@a.test")
sender("here-at-a-longer-domain", HERE, ONLY_MAILBOXES, "ssow@semail.test.a.test")
header("here-one-from-here-and-one-from-elsewhere", HERE, ONLY_MAILBOXES, f"From: {SSOW}, anna@a.test")
header("here-sender-field-from-elsewhere", HERE, ONLY_MAILBOXES, f"From: {SSOW}\r\nSender: anna@a.test")
header("here-null-sender-and-from-elsewhere", HERE, ONLY_MAILBOXES, "From: anna@a.test", sender="")
header("here-from-that-nobody-can-read", HERE, UNREADABLE, "From: anna")
sender("here-by-password-as-another", HERE, ONLY_SSOW, XREDON, AS_SSOW)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_attempt(site, attempt):
    with connected(site, attempt.place, attempt.port) as dialogue:
        assert dialogue.reply()[0] == 220
        for line in attempt.lines[:-1]:
            expected, line = line if isinstance(line, tuple) else (None, line)
            reply = say(dialogue, line)
            assert reply.startswith(expected) if expected else reply[:1] in "23", f"{line}: {reply}"
        reply = say(dialogue, attempt.lines[-1])
        assert reply.startswith(attempt.gets), f"{reply!r} in place of {attempt.gets!r}"
    assert not site.queue_files()


def say(dialogue, line):
    """Sends a line, or octets as they are; the reply as it came."""
    dialogue.socket.sendall(line if isinstance(line, bytes) else line.encode() + b"\r\n")
    return dialogue.reply()[1]


def test_the_table_is_long_enough():
    assert len(ATTEMPTS) >= 60
    print(f"\n{len(ATTEMPTS)} attempts")


# -- what the table cannot say ------------------------------------------------

def test_third_wrong_password_is_the_last(site):
    with connected(site, OUTSIDE) as dialogue:
        assert dialogue.reply()[0] == 220 and dialogue.say("EHLO client.example") == 250
        assert [dialogue.say(plain("ssow", word)) for word in "abc"] == [535, 535, 535]
        assert dialogue.reply() == (421, "421 4.7.0 Too many wrong passwords; good-bye")
        assert dialogue.reply() == (0, "")


def test_commands_before_the_greeting(site):
    """What is said before the greeting was never meant for this server: a PROXY line, a browser's POST. Whether it is there in time
    to be refused as a whole or is taken for commands: no sender is."""
    with connected(site, OUTSIDE) as dialogue:
        dialogue.socket.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 1 587\r\nEHLO x\r\nMAIL FROM:<{SSOW}>\r\n".encode())
        codes = []
        while not codes or codes[-1] not in (0, 530, 554):
            codes.append(dialogue.reply()[0])
        assert codes[-1] in (530, 554), codes
    assert not site.queue_files()


def test_no_passwords_without_tls(site):
    """As shipped."""
    site.control("auth-without-tls", None)
    try:
        with connected(site, OUTSIDE) as dialogue:
            assert dialogue.reply()[0] == 220
            assert "AUTH" not in say(dialogue, "EHLO client.example")
            assert say(dialogue, AS_SSOW).startswith("538 5.7.11 ")
            assert say(dialogue, "AUTH LOGIN").startswith("538 5.7.11 ")
            assert say(dialogue, f"MAIL FROM:<{SSOW}>").startswith(WHO)
    finally:
        site.control("auth-without-tls", "yes")


def test_nobody_knows_passwords(site):
    """A dead service is no wrong password: 454, and nobody is let in."""
    site.stop_process("auth")
    try:
        with connected(site, OUTSIDE) as dialogue:
            assert dialogue.reply()[0] == 220 and dialogue.say("EHLO client.example") == 250
            assert say(dialogue, AS_SSOW).startswith("454 4.7.0 ")
            assert say(dialogue, f"MAIL FROM:<{SSOW}>").startswith(WHO)
    finally:
        site.start_auth(site.directory / "checkpassword", "-l", 0)


@pytest.mark.parametrize("uid, forged, gets", [
    ("ssow", XREDON, ONLY_SSOW), ("xredon", SSOW, ONLY_XREDON), ("ssow", "anna@a.test", ONLY_SSOW), (65534, "anna@a.test", ONLY_MAILBOXES),
    (0, "nobody@semail.test", ONLY_MAILBOXES)])
def test_unix_socket(site, uid, forged, gets):
    """Who speaks there is whom the kernel names."""
    number = site.uid(uid) if isinstance(uid, str) else uid
    if "unix" not in site.processes:
        site.accept("unix", "unix", site.directory / "run/submission", ["smtpd-session", "-u", semailtest.SMTPD_USER, "submission"],
                    options=("-t", "-o", "0666:0"), user=None, become=None)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        # The child tells what it heard, and nothing else of it goes on.
        try:
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            with Dialogue(site.directory / "run/submission") as dialogue:
                said = [dialogue.reply()[0], dialogue.say("EHLO client.example"), say(dialogue, f"MAIL FROM:<{forged}>")]
                if isinstance(uid, str):
                    said += [dialogue.say(f"MAIL FROM:<{uid}@semail.test>"), dialogue.say("RCPT TO:<berta@a.test>"), dialogue.say("DATA"),
                             say(dialogue, f"From: {forged}\r\n\r\nx\r\n.\r\n".encode())]
            os.write(writing, json.dumps(said).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = json.load(pipe)
    os.waitpid(pid, 0)
    assert said[:2] == [220, 250] and said[2].startswith(gets), said
    if isinstance(uid, str):
        assert said[3:6] == [250, 250, 354] and said[6].startswith(gets), said
    assert not site.queue_files()


# -- loopback from outside ----------------------------------------------------------

@pytest.fixture(scope="module")
def neighbour(site):
    """A host on the same wire that has no shame: 127.0.0.1 is not itself."""
    host = site.network.host("neighbour", 66)
    host.run("sh", "-c", "for name in all default eth0; do echo 1 > /proc/sys/net/ipv4/conf/$name/route_localnet; echo 0 > /proc/sys/net/ipv4/conf/$name/rp_filter; done")
    host.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    host.run("ip", "route", "add", "127.0.0.1/32", "via", site.host.v4, "src", host.v4)
    return host


def test_loopback_is_not_reached_from_outside(site, neighbour):
    with pytest.raises(OSError):
        neighbour.connect("127.0.0.1", SUBMISSION_PORT, timeout=1.5)


def test_loopback_reached_from_outside_is_no_loopback(site, neighbour):
    """On a host whose admin has let others reach 127.0.0.1 (route_localnet): who speaks still has an address of his own."""
    site.host.run("sh", "-c", "for name in all eth0; do echo 1 > /proc/sys/net/ipv4/conf/$name/route_localnet; done")
    try:
        with neighbour.inside():
            dialogue = Dialogue(SUBMISSION_PORT, host="127.0.0.1", timeout=5)
        with dialogue:
            assert dialogue.reply()[0] == 220 and dialogue.say("EHLO localhost") == 250
            assert say(dialogue, f"MAIL FROM:<{SSOW}>").startswith(WHO)
    finally:
        site.host.run("sh", "-c", "for name in all eth0; do echo 0 > /proc/sys/net/ipv4/conf/$name/route_localnet; done")


FORGED = {
    # The control: an address that may be on this wire, so that the others are known to have arrived.
    "198.51.100.77": True,
    "127.0.0.1": False, "127.255.0.1": False, "0.0.0.0": False,
    "2001:db8::77": True,
    "::1": False, "::ffff:127.0.0.1": False, "::ffff:172.30.0.5": False, "::": False,
}


@pytest.mark.parametrize("source", FORGED)
def test_packets_from_loopback(site, neighbour, source):
    """A connection attempt with a source address that only the host itself has is not even answered, let alone taken for the host's own."""
    target = site.host.v6 if ":" in source else site.host.v4
    mac = re.search(r"link/ether (\S+)", site.host.run("ip", "link", "show", "eth0"))[1]
    # One that no other attempt has come from.
    port = 4321 + list(FORGED).index(source)
    with neighbour.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    with wire:
        wire.send(bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("0200000000aa") + _syn(source, target, port, SUBMISSION_PORT))
    seen = await_true(lambda: _half_open(site.host, port), 1.0 if FORGED[source] else 0.3)
    assert bool(seen) == FORGED[source], f"{source}: {seen}"


def _half_open(host, port):
    """Whether a connection from that port is being made, as the kernel sees it."""
    return f":{port:04X} 03 " in "".join(host.run("cat", f"/proc/{host.pid}/net/{name}") for name in ("tcp", "tcp6"))


def _syn(source, target, source_port, target_port):
    """An Ethernet frame's rest: an IP packet that begins a TCP connection."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)

    def checksum(data):
        total = sum(struct.unpack(f">{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return ~total & 0xffff

    tcp = struct.pack(">HHIIBBHHH", source_port, target_port, 12345, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = ends + (struct.pack(">II", len(tcp), 6) if family == socket.AF_INET6 else struct.pack(">HH", 6, len(tcp)))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    if family == socket.AF_INET6:
        return b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + ends
    return b"\x08\x00" + ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:] + tcp


# -- what must not be refused ---------------------------------------------------------

CONTROLS = [
    # name, place, lines before MAIL, sender, header fields, what stands in the envelope as `from` and `by`
    ("container", BOX_SSOW, [], SSOW, f"From: {SSOW}", SSOW, SSOW),
    ("container-in-capitals", BOX_SSOW, [], "SSOW@Semail.TEST", f"From: SSOW@SEMAIL.test", "SSOW@Semail.TEST", SSOW),
    ("container-in-quotes", BOX_SSOW, [], '"ssow"@semail.test', f'From: "ssow"@semail.test', SSOW, SSOW),
    ("the-other-container", BOX_XREDON, [], XREDON, f"From: Xredon <{XREDON}>", XREDON, XREDON),
    ("without-from", BOX_SSOW, [], SSOW, "Subject: x", SSOW, SSOW),
    ("without-a-header", BOX_SSOW, [], SSOW, "", SSOW, SSOW),
    ("null-sender-with-own-from", BOX_SSOW, [], "", f"From: {SSOW}", "", SSOW),
    ("name-with-another-address-in-quotes", BOX_SSOW, [], SSOW, f'From: "{XREDON}" <{SSOW}>', SSOW, SSOW),
    ("comment-with-another-address", BOX_SSOW, [], SSOW, f"From: {SSOW} ({XREDON})", SSOW, SSOW),
    ("folded", BOX_SSOW, [], SSOW, f"From: S\r\n Sow\r\n\t<{SSOW}>", SSOW, SSOW),
    ("group-of-oneself", BOX_SSOW, [], SSOW, f"From: Me: {SSOW};", SSOW, SSOW),
    ("encoded-name", BOX_SSOW, [], SSOW, f"From: =?utf-8?q?S=C3=B6w?= <{SSOW}>", SSOW, SSOW),
    ("utf-8-name", BOX_SSOW, [], SSOW, f"From: Söw <{SSOW}>", SSOW, SSOW),
    ("own-sender-field", BOX_SSOW, [], SSOW, f"From: {SSOW}\r\nSender: {SSOW}", SSOW, SSOW),
    ("reply-to-another", BOX_SSOW, [], SSOW, f"From: {SSOW}\r\nReply-To: {XREDON}", SSOW, SSOW),
    ("from-in-the-body", BOX_SSOW, [], SSOW, f"From: {SSOW}\r\n\r\nFrom: {XREDON}", SSOW, SSOW),
    ("names-that-only-begin-so", BOX_SSOW, [], SSOW, f"From: {SSOW}\r\nFromage: {XREDON}\r\nX-From: {XREDON}", SSOW, SSOW),
    ("resent-by-oneself", BOX_SSOW, [], SSOW, f"Resent-From: {SSOW}\r\nFrom: {SSOW}", SSOW, SSOW),
    ("by-password", OUTSIDE, [AS_SSOW], SSOW, f"From: {SSOW}", SSOW, SSOW),
    ("by-password-over-ipv6", OUTSIDE_6, [plain("xredon", "two")], XREDON, f"From: {XREDON}", XREDON, XREDON),
    ("by-login", OUTSIDE, ["AUTH LOGIN", encoded("ssow"), encoded("one")], SSOW, f"From: {SSOW}", SSOW, SSOW),
    ("by-the-whole-address", OUTSIDE, [plain(SSOW, "one")], SSOW, f"From: {SSOW}", SSOW, SSOW),
    ("acting-for-oneself", OUTSIDE, [plain("ssow", "one", "ssow")], SSOW, f"From: {SSOW}", SSOW, SSOW),
    ("a-container-by-anothers-password", BOX_SSOW, [plain("xredon", "two")], XREDON, f"From: {XREDON}", XREDON, XREDON),
    ("here-as-one", HERE, [], SSOW, f"From: {SSOW}", SSOW, SSOW),
    ("here-as-the-other-over-ipv6", HERE_6, [], XREDON, f"From: {XREDON}", XREDON, XREDON),
    ("here-as-postmaster", HERE, [], "postmaster@mx.semail.test", "Subject: x", "postmaster@mx.semail.test", "postmaster@mx.semail.test"),
    ("here-as-an-alias", HERE, [], "sales@semail.test", "From: sales@semail.test", "sales@semail.test", "sales@semail.test"),
    ("here-from-two-mailboxes", HERE, [], SSOW, f"From: {SSOW}, {XREDON}\r\nSender: {SSOW}", SSOW, SSOW),
    ("here-null-sender", HERE, [], "", f"From: {SSOW}", "", "postmaster@mx.semail.test"),
]
# What cannot be a field begins the body, and cannot say who sends: a From of ours stands before it.
CONTROLS += [(f"body-that-begins-with-{name}", BOX_SSOW, [], SSOW, line, SSOW, SSOW) for name, line in (
    ("a-blank", f" From: {XREDON}"), ("a-mark-of-utf-8", f"\ufeffFrom: {XREDON}"), ("a-nul-in-the-name", f"Fr\0om: {XREDON}"),
    ("a-space-in-the-name", f"F rom: {XREDON}"), ("a-line-of-mbox", f"From {XREDON} Mon Nov 23 12:00:00 2026\r\nFrom: {XREDON}"),
    ("a-colon", f":\r\nFrom: {XREDON}"), ("text", f"hello\r\nFrom: {XREDON}"), ("a-name-that-does-not-end", "F" * 300 + f"\r\nFrom: {XREDON}"))]


@pytest.mark.parametrize("name, place, before, address, fields, written_from, by", CONTROLS, ids=[control[0] for control in CONTROLS])
def test_allowed(site, name, place, before, address, fields, written_from, by):
    with connected(site, place) as dialogue:
        assert dialogue.reply()[0] == 220 and dialogue.say("EHLO client.example") == 250
        for line in before:
            assert say(dialogue, line)[:1] in "23"
        assert say(dialogue, f"MAIL FROM:<{address}>").startswith("250 2.1.0 ")
        assert say(dialogue, "RCPT TO:<berta@a.test>").startswith("250 2.1.5 ")
        assert dialogue.say("DATA") == 354
        fields = f"{fields}\r\n" if fields else ""
        assert say(dialogue, f"{fields}\r\nthe body\r\n.\r\n".encode()).startswith("250 2.0.0 queued as ")
    [path] = site.queue_files()
    try:
        envelope, _, message = path.read_bytes().decode(errors="surrogateescape").partition("\n\n")
        lines = envelope.split("\n")
        assert f"from {written_from}" in lines and f"by {by}" in lines and "to W berta@a.test" in lines, envelope
        header, _, body = message.partition("\n\n")
        # One From, and it names the submitter or, on this host, a mailbox.
        froms = re.findall(r"(?im)^from[ \t]*:(.*(?:\n[ \t].*)*)", header)
        assert len(froms) == 1 and (by in froms[0].replace('"', "").lower() or place in (HERE, HERE_6)), header
        assert body.endswith("the body\n")
        assert re.search(r"(?m)^Date: ", header) and re.search(r"(?m)^Message-ID: <.*>$", header), header
    finally:
        path.unlink()
