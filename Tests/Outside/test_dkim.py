"""dkim-sign, judged by others: what it signs, dkimpy and Debian's opendkim must find right, for more than five hundred messages
as the world writes them; what somebody has changed afterwards, they must not. Then dkim-sign as qrunner's helper, and the keys.

The messages are made here, the same ones at every run. No name server is asked: both verifiers get the records that
`semail dkim show` prints.
"""

import collections
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import semailtest

# Debian's own packages, whichever Python runs this.
if "/usr/lib/python3/dist-packages" not in sys.path:
    sys.path.append("/usr/lib/python3/dist-packages")
import dkim  # noqa: E402

DOMAIN = "semail.test"
COUNT = 540

# -- messages ---------------------------------------------------------------

# `octets` as dkim-sign gets them. `readers`: who can read such a message at all. dkimpy takes no space before a colon
# (RFC 5322 4.5; opendkim none in From, and no TAB), opendkim no NUL and no CR alone (RFC 5322 2.1), and no field over 64 KB.
Letter = collections.namedtuple("Letter", "name octets readers")
EVERYBODY = frozenset({"dkimpy", "opendkim"})
SPACE_BEFORE_COLON = rb"\A([\w-]+)[ \t]+:"

FROM = [
    b"From: anna@semail.test",
    b"From: Anna Example <anna@semail.test>",
    b'From: "Example, Anna" <anna@semail.test>',
    b"From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?=\n =?utf-8?b?w6TDtsO8?= <j@semail.test>",
    "From: Jürgen Müller <jürgen@semail.test>".encode(),
    b"From: J\xfcrgen <j@semail.test>",
    b"From:\n Anna\n\tExample \n  <anna@semail.test>",
    b"From: anna@semail.test (Anna (at home) \\) Example)",
    b"From: (who)anna@SEMAIL.Test(where)",
    b"FROM: anna@semail.test",
    b"from:anna@semail.test",
    b"From:\tanna@semail.test\t(tabs)",
    b"From:  \t anna@semail.test \t ",
    b"From: anna@semail.test,\n\tben@semail.test",
    b"From: Us all: anna@semail.test, Ben <ben@Semail.TEST>;",
    b'From: "anna smith"@semail.test',
    b"From: Anna Q. Example <anna . smith @ semail . test>",
    b'From: "" <anna@semail.test>',
    b'From: "a\\"b\\\\c"\n <anna@semail.test>',
]

SUBJECT = [
    [b"Subject: hello"], [b"Subject:"], [b"Subject: \t "], [], [b"Subject:x"], [b"SUBJECT:  two   spaces \t and tabs\t"],
    [b"Subject: folded\n here\n\tand here\n      and there"], [b"Subject: ends with white space  \n \t"], [b"Subject:\n begins on the next line"],
    [b"Subject: an empty\n \n continuation"], [b"Subject: first", b"Subject: second"], [b"Subject : a space before the colon"],
    ["Subject: Grüße aus 東京 ☃".encode()], [b"Subject: Gr\xfc\xdfe \x80\xff"], [b"Subject: =?utf-8?q?" + b"=C3=A4" * 20 + b"?=\n =?utf-8?q?=C3=B6?="],
    [b"Subject: " + b"long " * 190], [b"Subject: a: b; c=d, <e@f> (g)"], [b"Subject: ;;; \\ \" b= ; bh=x"], [b"Subject: " + b"x" * 990],
    [b"Subject: " + b"fold\n " * 5000 + b"end"], [b"Subject: Re: [list] \x1b[31mcontrols\x08\x7f"],
]

TO = [
    [b"To: ben@example.org"], [b"To: undisclosed-recipients:;"], [], [b"To:"], [b"To: a@b.example", b"To: c@d.example", b"Cc: e@f.example"],
    [b"To: " + b",\n\t".join(b"Person %d <p%d@example.org>" % (n, n) for n in range(200))], [b"Cc: (nobody)"], [b"to:a@b.example", b"TO: c@d.example"],
    [b"To: Friends (of mine): a@b.example , c@d.example ;\n , x@y.example", b"Cc:\n a@b.example"], [b"To: \"a\tb\" <a@b.example>\t"],
    ["To: Пётр <пётр@пример.рф>".encode(), b"Reply-To: Anna <anna@elsewhere.example>"],
]

EXTRAS = [
    [b"Date: Mon, 23 Nov 2026 21:05:13 +0000"], [b"date: Mon,  23 Nov 2026\n\t21:05:13 +0000 (UTC)"], [b"Message-ID: <1@semail.test>"], [b"Message-Id:\n <2@semail.test>"],
    [b"MIME-Version: 1.0", b"Content-Type: multipart/mixed;\n\tboundary=\"=_1\"", b"Content-Transfer-Encoding: 8bit"], [b"Mime-version: 1.0 (comment)", b"Content-type: text/plain"],
    [b"X-Empty:"], [b"X-Mailer: something 1.0"], [b"X-8Bit: \xe9\xa0\xff"], [b"In-Reply-To: <0@example.org>", b"References: " + b"\n ".join(b"<%d@example.org>" % n for n in range(60))],
    [b"List-Id: A list <list.example.org>", b"List-Unsubscribe: <https://example.org/u>,\n <mailto:u@example.org>", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click"],
    [b"Sender: list@example.org"], [b"Resent-From: anna@semail.test", b"Resent-Date: Mon, 23 Nov 2026 21:05:13 +0000", b"Resent-To: x@example.org", b"Resent-From: again@example.org"],
    [b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=x;\n h=from:to; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA"],
    [b"ARC-Seal: i=1; a=rsa-sha256; t=1; cv=none; d=example.org; s=x; b=AAAA"], [b"Return-Path: <anna@semail.test>"], [b"X-Long: " + b"y" * 20000], [b"Auto-Submitted: auto-replied"],
    [b"Authentication-Results: mail.example.org;\n\tdkim=none"], [b"Content-Disposition: inline", b"Content-Language: de, en"], [b"Comments: a", b"Keywords: b"],
]


def text(random, lines):
    """Lines of words, white space wherever it may be."""
    line = lambda: b"".join(random.choice([b"a", b"word", b"x" * 30, b".", b"--", b"From ", b">", b"=20", b"\xc3\xa4"]) + random.choice([b" ", b" ", b"  ", b"\t", b" \t ", b""])
                            for _ in range(random.randrange(14)))
    return b"".join(line() + b"\n" for _ in range(lines))


# What follows the header's last line: the empty line too, where there is one.
BODIES = {
    "no empty line": b"",
    "empty": b"\n",
    "one line": b"\nhello\n",
    "no line end": b"\nhello",
    "no line end, white space": b"\nhello \t ",
    "white space alone": b"\n \t ",
    "one empty line": b"\n\n",
    "empty lines alone": b"\n" * 40,
    "lines of white space alone": b"\n \n\t\n \t \n",
    "empty lines at the end": b"\nhello\n\n\n",
    "many empty lines at the end": b"\nhello\n" + b"\n" * 50000,
    "lines of white space at the end": b"\nhello\n \n\t\n  \n",
    "empty lines first": b"\n\n\n\nhello\n",
    "empty lines inside": b"\nhello\n\n\n \n\n\nworld\n",
    "white space everywhere": b"\n  a  b\t\tc \n\t\td \t e\t\n \n",
    "tabs": b"\n" + b"\ta\tb\t\tc\n" * 100,
    "text": lambda random: b"\n" + text(random, 60),
    "longer text": lambda random: b"\n" + text(random, 2000),
    "text without its last line end": lambda random: b"\n" + text(random, 20) + b"end",
    "beyond ASCII": "\nGrüße, 東京, \u00a0 \u3000 \u0085 \u2028 ende\n".encode() * 30,
    "octets of some other kind": lambda random: b"\n" + bytes(random.choices([10, *range(32, 256)], k=5000)) + b"\n",
    "a long line": b"\n" + b"x" * 998 + b"\n",
    "a very long line": b"\n" + b"word " * 14000 + b"\n",
    "a very long line of white space": b"\nx" + b" \t" * 35000 + b"\ny\n",
    "base64": b"\n" + (b"QUJD" * 19 + b"\n") * 4000,
    "parts": b"\npreamble\n--=_1\nContent-Type: text/plain\n\nhello \n--=_1\nContent-Type: text/html\n\n<b>hello</b>\n\n--=_1--\nepilogue\n",
    "dots": b"\n.\n..\n.hidden\n...\n",
    "signs of mailboxes": b"\nFrom me\n>From you\nSubject: in the body\n--\n-- \n",
    "control characters": b"\nbell\x07 vt\x0b ff\x0c esc\x1b del\x7f\n",
    "NUL": b"\na\0b \0\n\0\n",
    "CR alone": b"\na\rb\r \rc\n\rd\n\r",
}


def letters():
    rng = random.Random(2026)
    made = []
    for number in range(COUNT):
        name, ending = list(BODIES.items())[number % len(BODIES)]
        ending = ending(rng) if callable(ending) else ending
        readers = EVERYBODY - {"opendkim"} if name in ("NUL", "CR alone") else EVERYBODY
        fields = [FROM[number % len(FROM)], *SUBJECT[number % len(SUBJECT)], *TO[number % len(TO)]]
        for extra in rng.sample(EXTRAS, rng.randrange(8)):
            fields += extra
        rng.shuffle(fields)
        received = 130 if number % 50 == 7 else rng.randrange(6)
        fields[:0] = [b"Received: from a (b [192.0.2.%d])\n\tby c.example with ESMTPS id %d;\n\tMon, 23 Nov 2026 21:05:13 +0000" % (n, n) for n in range(received)]
        if number % 30 == 11:
            # A hundred KB of header: in two fields or in a thousand.
            huge = [b"X-Huge: " + b"\n ".join([b"h" * 990] * 55)] * 2 if number % 60 == 11 else [b"X-Huge-%d: " % n + b"h\n h" * 25 for n in range(1000)]
            fields[rng.randrange(len(fields)):0] = huge
        if number % 90 == 17:
            fields.append(b"References:" + b"\n <0123456789abcdef@example.org>" * 3200)
            readers = readers - {"opendkim"}
        if readers == EVERYBODY:
            readers = readers - {"dkimpy"} if any(re.match(SPACE_BEFORE_COLON, field) for field in fields) else readers
        else:
            fields = [re.sub(SPACE_BEFORE_COLON, rb"\1:", field) for field in fields]
        octets = b"\n".join(fields) + b"\n" + ending
        if number % 5 == 3:
            octets = octets.replace(b"\n", b"\r\n")
        elif number % 5 == 4:
            octets = re.sub(rb"\n", lambda _: rng.choice([b"\n", b"\r\n"]), octets)
        made.append(Letter(f"{number:03} {name}", octets, readers))
    return made


def travels(octets):
    """A message as the receiver's verifier sees it: CRLF at the end of every line, the last one too."""
    octets = re.sub(rb"\r?\n", b"\r\n", octets)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


# -- signing and verifying --------------------------------------------------

class Place:
    """A home with keys for semail.test, and verifiers who know them."""

    def __init__(self, home):
        self.home = home
        self.run("semail", "dkim", "create", DOMAIN)
        self.records = {record["name"]: record["text"] for record in self.json("dkim", "show", DOMAIN)["records"]}
        assert len(self.records) == 2
        data = self.home.directory / "records"
        data.write_text("".join(f"{name} {text}\n" for name, text in self.records.items()))
        self.configuration = self.home.directory / "opendkim.conf"
        # Its limit on headers is for milters' sake.
        self.configuration.write_text(f"TestDNSData file:{data}\nMode v\nMaximumHeaders 0\n")

    def run(self, name, *arguments, code=0, **options):
        result = self.home.run(name, *arguments, **options)
        assert result.returncode == code, (arguments, result)
        return result

    def json(self, *arguments):
        return json.loads(self.run("semail", *arguments, "--json").stdout)

    def sign(self, octets):
        """The message as dkim-sign writes it, by hand."""
        return self.run("dkim-sign", input=octets).stdout

    def dkimpy(self, octets):
        """What dkimpy says of each signature that is ours, the first on top."""
        look_up = lambda name, timeout=5: self.records[name.decode().rstrip(".")].encode()
        message = dkim.DKIM(octets)
        ours = [index for index, (name, value) in enumerate([field for field in message.headers if field[0].lower() == b"dkim-signature"]) if b"d=semail.test" in value]
        results = []
        for index in ours:
            try:
                results.append(bool(message.verify(index, look_up)))
            except dkim.DKIMException:
                results.append(False)
        return results

    def opendkim(self, messages):
        """What opendkim says of each message's signatures that are ours."""
        if not messages:
            return []
        paths = []
        for number, octets in enumerate(messages):
            path = self.home.directory / f"m{number}"
            path.write_bytes(octets)
            paths.append(str(path))
        said = subprocess.run([semailtest.tool("opendkim"), "-f", "-x", self.configuration, "-vv", "-t", ",".join(paths)], capture_output=True, timeout=120)
        assert said.returncode == 0, said.stderr[-500:]
        results = []
        # Its last word on each message comes on standard error, its findings before on standard output, in the same order.
        blocks = re.split(rb"### INSHEADER: ", said.stdout)[1:]
        for block in blocks:
            found = re.findall(rb"dkim=(\w+)[^;]*header\.d=semail\.test", block)
            results.append([word == b"pass" for word in found])
        for path in paths:
            os.unlink(path)
        assert len(results) == len(messages), "opendkim did not answer for each message"
        return results


@pytest.fixture(scope="module")
def place():
    with semailtest.Home() as home:
        yield Place(home)


@pytest.fixture(scope="module")
def signed(place):
    """[(letter, signed)] for all letters."""
    everything = letters()
    with ThreadPoolExecutor(4) as pool:
        return list(zip(everything, pool.map(lambda letter: place.sign(letter.octets), everything)))


def test_there_are_messages_of_every_kind(signed):
    assert len(signed) >= 500 and len({letter.octets for letter, _ in signed}) == len(signed)
    assert sum("dkimpy" in letter.readers for letter, _ in signed) > 450
    assert sum("opendkim" in letter.readers for letter, _ in signed) > 450
    assert all(letter.readers for letter, _ in signed)
    assert sum(len(letter.octets.partition(b"\n\n")[0]) > 100_000 for letter, _ in signed) >= 10


def test_two_fields_are_added_and_nothing_else(signed):
    for letter, octets in signed:
        assert octets.endswith(letter.octets), letter.name
        added = octets[:len(octets) - len(letter.octets)]
        end = b"\r\n" if re.match(rb"[^\n]*\r\n", letter.octets) else b"\n"
        lines = added.split(end)
        assert lines.pop() == b""
        assert b"\n" not in b"".join(lines) and b"\r" not in b"".join(lines), letter.name
        assert [line.startswith(b"DKIM-Signature: v=1; a=") for line in lines].count(True) == 2
        assert all(len(line) < 78 and line.rstrip() == line for line in lines), letter.name
        assert b"a=rsa-sha256" in lines[0]


def test_dkimpy_finds_all_right(place, signed):
    wrong = [letter.name for letter, octets in signed if "dkimpy" in letter.readers and place.dkimpy(travels(octets)) != [True, True]]
    assert not wrong


def test_opendkim_finds_all_right(place, signed):
    letters, messages = zip(*[(letter, travels(octets)) for letter, octets in signed if "opendkim" in letter.readers])
    wrong = [letter.name for letter, result in zip(letters, place.opendkim(messages)) if result != [True, True]]
    assert not wrong


# -- changed on the way -----------------------------------------------------

LETTER = (b"Received: from x by y; Mon, 23 Nov 2026 21:05:13 +0000\nFrom: Anna <anna@semail.test>\nTo: ben@example.org\nSubject: a  contract\n folded\n"
          b"Date: Mon, 23 Nov 2026 21:05:13 +0000\nMessage-ID: <1@semail.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nI owe you 100.\n\nAnna\n")


def before(name, field):
    return lambda octets: octets.replace(b"\n" + name, b"\n" + field + b"\n" + name, 1)


# What happens to the message, and whether its signatures still are right.
CHANGES = {
    "nothing": (lambda octets: octets, True),
    "a digit": (lambda octets: octets.replace(b"100", b"900"), False),
    "a letter's case in the body": (lambda octets: octets.replace(b"owe", b"Owe"), False),
    "a line more": (lambda octets: octets + b"P.S.\n", False),
    "a line less": (lambda octets: octets[:-5], False),
    "an empty line inside": (lambda octets: octets.replace(b"\n\nAnna", b"\n\n\nAnna"), False),
    "a space inside a word": (lambda octets: octets.replace(b"you", b"yo u"), False),
    "empty lines at the end": (lambda octets: octets + b"\n\n", True),
    "white space at the end of a line": (lambda octets: octets.replace(b"100.\n", b"100. \t\n"), True),
    "white space widened": (lambda octets: octets.replace(b"owe you", b"owe \t you"), True),
    "another Subject": (lambda octets: octets.replace(b"contract", b"present"), False),
    "the Subject folded otherwise": (lambda octets: octets.replace(b"a  contract\n folded", b"a\n\tcontract folded \t"), True),
    "the Subject's name in capitals": (lambda octets: octets.replace(b"\nSubject:", b"\nSUBJECT:"), True),
    "another To": (lambda octets: octets.replace(b"ben@", b"bob@"), False),
    "another From": (lambda octets: octets.replace(b"From: Anna", b"From: Bill"), False),
    "no Date": (lambda octets: re.sub(rb"\nDate:[^\n]*", b"", octets), False),
    "another charset": (lambda octets: octets.replace(b"utf-8", b"utf-7"), False),
    "a second From on top": (before(b"Received", b"From: Eve <eve@example.net>"), False),
    "a second From at the bottom": (before(b"MIME-Version", b"From: Eve <eve@example.net>"), False),
    "the same From twice": (before(b"To", b"From: Anna <anna@semail.test>"), False),
    "a second Subject": (before(b"Received", b"Subject: buy"), False),
    "a second To": (before(b"Received", b"To: eve@example.net"), False),
    "a second Date": (before(b"Received", b"Date: Mon, 23 Nov 2026 21:05:13 +0000"), False),
    "a second Content-Type": (before(b"Received", b"Content-Type: text/html"), False),
    "a second Message-ID": (before(b"Received", b"Message-ID: <2@example.net>"), False),
    "a Reply-To": (before(b"Received", b"Reply-To: eve@example.net"), False),
    "a Cc": (before(b"Received", b"Cc: eve@example.net"), False),
    "an In-Reply-To": (before(b"Received", b"In-Reply-To: <0@example.net>"), False),
    "a Content-Transfer-Encoding": (before(b"MIME", b"Content-Transfer-Encoding: base64"), False),
    "a Received more": (before(b"Received", b"Received: from y by z; Mon, 23 Nov 2026 21:05:14 +0000"), True),
    "the list's fields": (before(b"Received", b"Sender: list@example.net\nList-Id: <list.example.net>\nList-Unsubscribe: <mailto:u@example.net>"), True),
    "a resender's fields": (before(b"Received", b"Resent-From: ben@example.org\nResent-To: carl@example.org"), True),
    "what a filter adds": (before(b"MIME", b"X-Spam: no"), True),
}


@pytest.fixture(scope="module")
def changed(place):
    octets = place.sign(LETTER)
    results = {name: change(octets) for name, (change, _) in CHANGES.items()}
    assert [name for name, result in results.items() if result == octets] == ["nothing"]
    return {name: travels(result) for name, result in results.items()}


def test_dkimpy_sees_what_was_changed(place, changed):
    found = {name: place.dkimpy(octets) for name, octets in changed.items()}
    assert found == {name: [is_right, is_right] for name, (_, is_right) in CHANGES.items()}


def test_opendkim_sees_what_was_changed(place, changed):
    found = dict(zip(changed, place.opendkim(list(changed.values()))))
    assert found == {name: [is_right, is_right] for name, (_, is_right) in CHANGES.items()}


def test_fields_that_came_with_a_list_are_signed_as_they_are(place):
    """Those of lists and resenders are covered as often as they occur: another on top does no harm, a change does."""
    octets = travels(place.sign(b"List-Id: <a.semail.test>\nResent-From: x@semail.test\n" + LETTER))
    assert place.dkimpy(octets) == [True, True]
    assert place.dkimpy(octets.replace(b"<a.semail", b"<b.semail")) == [False, False]
    assert place.dkimpy(octets.replace(b"\r\nResent-From", b"\r\nList-Id: <list.example.net>\r\nResent-From")) == [False, False], "beneath ours"
    assert place.dkimpy(b"List-Id: <list.example.net>\r\n" + octets) == [True, True]


def test_the_manual_lists_the_fields():
    source = (semailtest.REPOSITORY / "Sources/DKIM/SignedFields.swift").read_text()
    lists = [re.findall(r'"([^"]+)"', found) for found in re.findall(r"\[StaticString\] = \[(.*?)\n    \]", source, re.DOTALL)]
    page = (semailtest.REPOSITORY / "man/dkim-sign.8").read_text()
    told = [re.findall(r"[\w-]+", found) for found in re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed", page, re.MULTILINE | re.DOTALL)]
    assert told == lists and lists[0][0] == "From"


# -- unsigned ---------------------------------------------------------------

# A message that is not signed passes as it is: what it is, and what the log says.
UNSIGNED = {
    "no key": (b"From: a@example.org\nTo: b@semail.test\n\n hello \r\n\n", "there is no key for example.org"),
    "no key for the parent's sake": (b"From: a@mail.semail.test\n\n", "there is no key for mail.semail.test"),
    "no key for the child's sake": (b"From: a@test\n\n", "there is no key for test"),
    "empty": (b"", "there is no From field"),
    "no From": (b"To: a@semail.test\nSender: a@semail.test\n\nFrom: a@semail.test\n", "there is no From field"),
    "two From": (b"From: a@semail.test\nSubject: x\nfrom : a@semail.test\n\n", "there are several From fields"),
    "two domains": (b"From: a@semail.test, b@example.org\n\n", "the From field has addresses in several domains"),
    "no address": (b"From: Anna\n\n", "the From field is malformed"),
    "an empty From": (b"From:\n\n", "the From field has no address"),
    "an empty group": (b"From: nobody:;\n\n", "the From field has no address"),
    "an address that does not end": (b'From: "a@semail.test\n\n', "the From field is malformed"),
    "an address literal": (b"From: a@[192.0.2.1]\n\n", "the From field has an address literal for a domain"),
    "a mailbox's first line": (b"From anna Mon Nov 23 2026\nFrom: a@semail.test\n\n", "a line of the header is no field"),
    "a line that is no field": (b"From: a@semail.test\nhello world\nSubject: x\n\n", "a line of the header is no field"),
    "a name beyond ASCII": ("From: a@semail.test\nÄ: x\n\n".encode(), "a line of the header is no field"),
    "a continuation first": (b" x\nFrom: a@semail.test\n\n", "the header begins with a continuation"),
    "no header": (b"\nFrom: a@semail.test\n", "there is no From field"),
    "a header over a megabyte": (b"From: a@semail.test\n" + (b"X: " + b"x" * 1000 + b"\n") * 1100 + b"\nbody\n", "the header is longer than 1048576 octets"),
    "a header without an end": (b"From: a@semail.test\n" + b"X: " + b"x" * 2_000_000, "the header is longer than 1048576 octets"),
    "a thousand To": (b"From: a@semail.test\n" + b"To: x\n" * 1000 + b"\n", "the header repeats fields too often"),
    "a name of a file": (b"From: a@..\n\n", "the From field is malformed"),
    "a domain of the greatest length": (b"From: a@" + b".".join([b"d" * 63] * 3 + [b"d" * 60]) + b"\n\n", "there is no key for d"),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_unsigned_messages_pass_unchanged(place, name):
    octets, reason = UNSIGNED[name]
    for form in (octets, octets.replace(b"\n", b"\r\n")):
        result = place.run("dkim-sign", input=form)
        assert result.stdout == form
        level = "info" if reason.startswith("there is no key") else "warning"
        assert re.fullmatch(rf'dkim-sign: {level}: unsigned id="" reason="{re.escape(reason)}[^"]*"\n', result.stderr.decode()), result.stderr


def test_a_header_of_just_under_a_megabyte_is_signed(place):
    octets = b"From: a@semail.test\n" + (b"X: " + b"x" * 1000 + b"\n") * 1000 + b"\nbody\n"
    assert 1_000_000 < len(octets) < 1 << 20
    assert place.dkimpy(travels(place.sign(octets))) == [True, True]


def test_a_file_is_signed_from_where_it_stands(place):
    path = place.home.directory / "queued"
    path.write_bytes(b"semail 1\nfrom a@semail.test\n\n" + LETTER)
    script = "{ for line in 1 2 3; do read x; done; exec " + place.home.program("dkim-sign") + "; } < " + str(path)
    result = subprocess.run(["sh", "-c", script], capture_output=True, env=place.home.environment(), **place.home._identity())
    assert result.returncode == 0 and result.stdout.endswith(LETTER) and place.dkimpy(travels(result.stdout)) == [True, True]


def test_nothing_is_left_of_what_came_through_a_pipe(place):
    directory = place.home._make("spool", 0o700)
    place.run("dkim-sign", input=LETTER, environment={"TMPDIR": str(directory)})
    assert not list(directory.iterdir())
    result = place.run("dkim-sign", input=LETTER, environment={"TMPDIR": str(directory / "missing")}, code=111)
    assert result.stdout == b"" and b"fatal: ended reason=" in result.stderr


# -- as qrunner's helper ----------------------------------------------------

def encoded(tag, *arguments):
    return struct.pack("<QH", tag, len(arguments)) + b"".join(argument + b"\0" for argument in arguments)


class Service:
    """dkim-sign as a template; this is qrunner's side."""

    def __init__(self, home, *arguments):
        self.home = home
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.workers = []
        self.process = home.spawn(home.program("dkim-sign"), arguments, environment={"TEMPLATEFD": str(theirs.fileno())}, pass_fds=[theirs.fileno()])
        theirs.close()

    def worker(self, tag=1):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.socket, [encoded(tag)], [theirs.fileno()])
        theirs.close()
        mine.settimeout(20)
        self.workers.append(mine)
        return mine

    def ask(self, worker, octets, id=b"0123456789abcdef", offset=29):
        """The answer for a message that stands in a file behind an envelope; the file's position must stay."""
        path = self.home.directory / "message"
        path.write_bytes(b"e" * offset + octets)
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            socket.send_fds(worker, [encoded(0, id)], [file.fileno()])
            answer = worker.recv(1 << 20)
            assert file.tell() == offset
        return answer

    def report(self):
        tag, status = struct.unpack("<Qi", self.socket.recv(16))
        return tag, status

    def children(self):
        return open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (*self.workers, self.socket):
            each.close()
        self.home.stop_process("dkim-sign", 5)


@pytest.fixture
def service(place):
    with Service(place.home) as service:
        yield service


def test_many_messages_over_one_socket(place, signed, service):
    """All of them again, without line ends of any other kind; one process for all, and what it answers is what it writes by hand."""
    worker = service.worker()
    chosen = [(letter, octets) for letter, octets in signed if b"\r\n" not in letter.octets]
    assert len(chosen) > 300
    wrong = []
    for letter, by_hand in chosen:
        answer = service.ask(worker, letter.octets)
        assert answer.startswith(b"K\nDKIM-Signature: ") and answer.endswith(b"\n") and b"\r" not in answer
        # But for the time and what follows from it.
        same = lambda fields: re.sub(rb"\s", b"", re.sub(rb" t=\d+;| b=[^:;]*(?=DKIM|\Z)", b"", fields))
        assert same(answer[2:]) == same(by_hand[:-len(letter.octets)]), letter.name
        if "dkimpy" in letter.readers and place.dkimpy(travels(answer[2:] + letter.octets)) != [True, True]:
            wrong.append(letter.name)
    assert not wrong
    worker.close()
    assert service.report() == (1, 0)


def test_unsigned_messages_in_service(service):
    worker = service.worker()
    for octets, _ in UNSIGNED.values():
        assert service.ask(worker, octets) == b"K\n"
    worker.close()
    assert service.report() == (1, 0)
    assert re.search(r'^dkim-sign: warning: unsigned id=0123456789abcdef reason="there are several From fields"$', service.home.log("dkim-sign"), re.MULTILINE)


def test_several_workers_at_once_and_an_end(service):
    workers = [service.worker(tag) for tag in range(1, 6)]
    for _ in range(3):
        for worker in workers:
            assert service.ask(worker, LETTER).startswith(b"K\nDKIM-Signature")
    for worker in workers:
        worker.close()
    assert sorted(service.report() for _ in workers) == [(tag, 0) for tag in range(1, 6)]
    service.socket.close()
    assert service.process.wait(10) == 0


def test_a_request_that_makes_no_sense_ends_its_process_alone(service):
    worker, other = service.worker(1), service.worker(2)
    worker.send(b"nonsense")
    assert worker.recv(100) == b""
    assert service.report() == (1, 111)
    assert service.ask(other, LETTER).startswith(b"K\nDKIM-Signature")


def test_memory_does_not_grow_with_the_message(service):
    worker = service.worker()

    def most(octets):
        """The most KB that it has had in memory so far."""
        assert service.ask(worker, octets).startswith(b"K\nDKIM-Signature")
        return max(int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) for pid in service.children())

    small = most(LETTER)
    assert small < 16_000
    assert most(LETTER + b"words and words\n" * 3_000_000) < small + 1000
    assert most(LETTER + b"\n" * 40_000_000 + b"end\n") < small + 1000
    # A third of a million fields, the worst that fits.
    assert most(b"From: a@semail.test\n" + b"a:\n" * 349_000 + b"\nx\n") < small + 40_000


def test_keys_are_read_again_when_they_change(empty_home):
    place = Place(empty_home)
    keys = empty_home.directory / "control/dkim/semail.test"
    [ed25519, rsa] = sorted(keys.iterdir())
    with Service(empty_home) as service:
        worker = service.worker()
        selectors = lambda: re.findall(r"\bs=([\w-]+);", service.ask(worker, LETTER).decode())
        assert selectors() == [rsa.stem, ed25519.stem]
        # A new pair signs beside the old one, until that is removed.
        place.run("semail", "dkim", "create", DOMAIN, "--selector", "next")
        assert selectors() == ["next-rsa", rsa.stem, "next-ed25519", ed25519.stem]
        old = rsa.read_bytes()
        rsa.unlink()
        ed25519.unlink()
        assert selectors() == ["next-rsa", "next-ed25519"]
        # Broken, in place: the message waits, also for a new process.
        broken = keys / "next-rsa.pem"
        whole = broken.read_bytes()
        os.chmod(broken, 0o600)
        broken.write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
        for each in (worker, service.worker(2)):
            answer = service.ask(each, LETTER)
            assert re.match(rb"Z .*/next-rsa\.pem: ", answer) and b"\n" not in answer
        assert re.search(r'^dkim-sign: error: not-signed id=0123456789abcdef reason="[^"]*next-rsa.pem: ', empty_home.log("dkim-sign"), re.MULTILINE)
        result = place.run("dkim-sign", input=LETTER, code=111)
        assert result.stdout == b"" and b"next-rsa.pem" in result.stderr
        # Somebody else's domain is none the worse.
        assert service.ask(worker, LETTER.replace(b"semail.test", b"example.org")) == b"K\n"
        broken.write_bytes(whole)
        assert selectors() == ["next-rsa", "next-ed25519"]
        # A key from elsewhere, and files that are none.
        (keys / "elsewhere.2024.pem").write_bytes(old)
        (keys / "README").write_text("not a key")
        (keys / ".hidden.pem").write_text("not a key")
        empty_home._own(keys / "elsewhere.2024.pem")
        assert re.findall(rb"\bs=(.*?);", service.ask(worker, LETTER)) == [b"elsewhere.2024", b"next-rsa", b"next-ed25519"]
        for path in keys.iterdir():
            path.unlink()
        assert service.ask(worker, LETTER) == b"K\n"


def test_the_first_keys_are_found_by_a_service_that_runs(empty_home):
    with Service(empty_home) as service:
        worker = service.worker()
        assert service.ask(worker, LETTER) == b"K\n"
        Place(empty_home)
        assert service.ask(worker, LETTER).count(b"DKIM-Signature") == 2


@pytest.mark.parametrize("kind", ["rsa512", "ec", "link", "unreadable", "directory", "nine"])
def test_keys_that_cannot_be_used(empty_home, kind):
    place = Place(empty_home)
    keys = empty_home.directory / "control/dkim/semail.test"
    path = keys / "odd.pem"
    make = lambda *words: path.write_bytes(subprocess.run([semailtest.tool("openssl"), "genpkey", *words], check=True, capture_output=True).stdout)
    if kind == "rsa512":
        make("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:512")
    elif kind == "ec":
        make("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    elif kind == "link":
        path.symlink_to(next(keys.iterdir()))
    elif kind == "unreadable":
        path.write_bytes(b"x")
        os.chmod(path, 0)
        if os.geteuid() == 0:
            os.chown(path, 0, 0)
    elif kind == "directory":
        path.mkdir()
    else:
        for number in range(7):
            (keys / f"more{number}.pem").write_bytes(next(keys.glob("semail*")).read_bytes())
    if kind != "unreadable":
        for each in keys.iterdir():
            if not each.is_symlink():
                empty_home._own(each)
    result = place.run("dkim-sign", input=LETTER, code=111)
    assert result.stdout == b"" and (b"more than 8 keys" in result.stderr if kind == "nine" else b"odd.pem" in result.stderr)


def test_the_doors_are_locked(service):
    worker = service.worker()
    assert service.ask(worker, LETTER).startswith(b"K\n")
    for pid in [service.process.pid, *service.children()]:
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
        assert (status["NoNewPrivs"], status["Seccomp"], status["CapEff"].strip("0")) == ("1", "2", "")


# -- keys -------------------------------------------------------------------

def zone(text):
    """{name: the strings joined} of zone file lines (RFC 1035 5.1)."""
    record = r'(\S+)\. IN TXT ("[^"\n]*"|\(\n(?:    "[^"\n]*"\n)*    "[^"\n]*" \))\n'
    assert re.fullmatch(f"(?:{record})+", text)
    found = {name: re.findall(r'"([^"]*)"', rest) for name, rest in re.findall(record, text)}
    assert all(len(string) <= 255 for strings in found.values() for string in strings)
    return {name: "".join(strings) for name, strings in found.items()}


def test_create_show_and_list(empty_home):
    place = Place(empty_home)
    shown = place.run("semail", "dkim", "show", "Semail.Test").stdout.decode()
    assert zone(shown) == place.records
    rsa, ed25519 = sorted(place.records, reverse=True)
    year = time.gmtime().tm_year
    assert (rsa, ed25519) == (f"semail{year}-rsa._domainkey.semail.test", f"semail{year}-ed25519._domainkey.semail.test")
    assert re.fullmatch(r"v=DKIM1; k=rsa; p=MIIBIjAN[\w+/]{380}AQAB", place.records[rsa])
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[\w+/]{43}=", place.records[ed25519])
    for record in place.json("dkim", "show", DOMAIN)["records"]:
        assert "".join(record["strings"]) == record["text"] and all(len(string) <= 255 for string in record["strings"])
        assert record["name"] == f"{record['selector']}._domainkey.{DOMAIN}"
    made = place.json("dkim", "create", "example.org", "--selector", "A.b_2")
    assert made["domain"] == "example.org" and [record["selector"] for record in made["records"]] == ["a.b_2-rsa", "a.b_2-ed25519"]
    keys = place.json("dkim", "list")["keys"]
    assert [(key["domain"], key["algorithm"]) for key in keys] == [(domain, kind) for domain in ("example.org", DOMAIN) for kind in ("ed25519-sha256", "rsa-sha256")]
    lines = place.run("semail", "dkim", "list").stdout.decode().splitlines()
    assert [line.split("\t") for line in lines] == [[key[name] for name in ("domain", "selector", "algorithm", "file")] for key in keys]
    for key in keys:
        status = os.stat(key["file"])
        assert status.st_mode & 0o7777 == 0o400 and status.st_uid == (empty_home.user or os.geteuid())
        assert os.stat(os.path.dirname(key["file"])).st_mode & 0o7777 == 0o700
        # As OpenSSL reads them too.
        kind = subprocess.run([semailtest.tool("openssl"), "pkey", "-in", key["file"], "-noout", "-text"], check=True, capture_output=True).stdout
        assert b"2048 bit" in kind or b"ED25519" in kind


def test_keys_are_never_overwritten(empty_home):
    place = Place(empty_home)
    keys = empty_home.directory / "control/dkim/semail.test"
    contents = {path.name: path.read_bytes() for path in keys.iterdir()}
    result = place.run("semail", "dkim", "create", DOMAIN, code=1)
    assert b"is there already" in result.stderr and b"--selector" in result.stderr
    # One of the two is enough.
    next(keys.glob("*-rsa.pem")).unlink()
    place.run("semail", "dkim", "create", DOMAIN, code=1)
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == {name: octets for name, octets in contents.items() if "ed25519" in name}


@pytest.mark.parametrize("arguments", [
    ("create", "semail"), ("create", ".."), ("create", "a/b.example"), ("create", "bücher.example"), ("create", "semail.test", "--selector", ""),
    ("create", "semail.test", "--selector", "../x"), ("create", "semail.test", "--selector", "a b"), ("create", "semail.test", "--selector", "a..b"),
    ("create", "semail.test", "--selector", "x" * 60), ("create", ".".join(["d" * 60] * 4), "--selector", "s"), ("show", "example.org"), ("show", "../.."),
], ids=lambda arguments: " ".join(arguments)[:40])
def test_what_semail_dkim_refuses(empty_home, arguments):
    if arguments == ("create", "semail"):
        arguments = ("create", "192.0.2.1")
    result = empty_home.run("semail", "dkim", *arguments)
    assert result.returncode == 1 and result.stdout == b"" and result.stderr.startswith(b"semail: "), result
    assert not [path for path in (empty_home.directory / "control").rglob("*.pem")]


def test_keys_of_an_installation(tmp_path):
    """Made by root they are the keys of semail-dkim, who is in the host's list of users, and dkim-sign -u semail-dkim can read them."""
    assert os.geteuid() == 0, "only root makes keys for another user"
    with semailtest.Home(user=None) as home:
        passwd = tmp_path / "passwd"
        passwd.write_text(open("/etc/passwd").read() + "semail-dkim:x:61029:61029::/nonexistent:/usr/sbin/nologin\n")
        passwd.chmod(0o644)

        def run(script, input=None, code=0):
            result = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-euc", f"mount --bind {passwd} /etc/passwd\n{script}"], input=input,
                                    capture_output=True, env={**home.environment(), "PATH": f"{semailtest.BUILD}:{os.environ['PATH']}"}, timeout=60)
            assert result.returncode == code, result
            return result.stdout

        run("semail dkim create semail.test")
        keys = home.directory / "control/dkim"
        for path in (keys, keys / "semail.test", *(keys / "semail.test").iterdir()):
            status = path.stat()
            assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (61029, 61029, 0o700 if path.is_dir() else 0o400), path
        assert run("semail dkim show semail.test").count(b"IN TXT") == 2
        assert run("dkim-sign -u semail-dkim", LETTER).count(b"DKIM-Signature") == 2
        # Whoever has taken over semail-dkim leads root nowhere: what is made goes where root meant it, or nowhere.
        target = tmp_path / "target"
        target.mkdir(0o777)
        (keys / "example.org").symlink_to(target)
        os.lchown(keys / "example.org", 61029, 61029)
        run("semail dkim create example.org", code=1)
        assert not list(target.iterdir())
