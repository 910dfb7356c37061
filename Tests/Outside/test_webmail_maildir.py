"""One Maildir and several who use it: deliveries, SqWebMail, courier-imap. Nothing is lost, and nothing is there twice. (mutt in a container:
test_webmail_container.py.)

SEMAIL_LONG=1 makes it 5,000 messages to synchronise, in place of 500.
"""

import hashlib
import json
import os
import subprocess
import time

import pytest

import webmailactors
from machine import REPOSITORY
from semailtest import await_true
from webmaillab import HOST, PASSWORDS, Webmail

LONG = os.environ.get("SEMAIL_LONG") == "1"
MESSAGES = 5000 if LONG else 500
ACTORS = REPOSITORY / "Tests/Outside/webmailactors.py"

@pytest.fixture(scope="module")
def webmail():
    assert os.geteuid() == 0, "a machine of one's own needs root"
    with Webmail(imap=True, portal=False) as webmail:
        yield webmail


def actor(webmail, *words, **options):
    return webmail.start(["/usr/bin/python3", ACTORS, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def ended(process, seconds=900):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output[-3000:]
    return output


_MBSYNCRC = f"""
IMAPAccount far
Host {HOST}
Port 993
User xredon@semail.test
Pass "battery staple"
SSLType IMAPS
CertificateFile /etc/semail-ca.pem
AuthMechs PLAIN

IMAPStore far-store
Account far

MaildirStore near-store
Path /root/near/
Inbox /root/near/INBOX
SubFolders Verbatim

Channel all
Far :far-store:
Near :near-store:
Patterns INBOX *
Create Both
Remove Both
Expunge Both
SyncState *
"""

_NEAR = r"""
import hashlib, json, os, re, sys
found = {}
for place, _, files in os.walk(sys.argv[1]):
    if os.path.basename(place) not in ("new", "cur"): continue
    for name in files:
        with open(f"{place}/{name}", "rb") as file: text = file.read()
        number = re.search(rb"^Message-ID: <([^>]*)>", text, re.MULTILINE)
        text = re.sub(rb"^X-TUID: .*\n", b"", text, flags=re.MULTILINE)
        flags = "".join(sorted(set(name.partition(":2,")[2]) & set("FRS")))
        found.setdefault(number[1].decode(), []).append([hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest(), flags, os.path.relpath(place, sys.argv[1]).rpartition("/")[0]])
json.dump(found, sys.stdout)
"""


def test_mbsync(webmail):
    """Two-way, over TLS: both sides are alike, message by message, also after both have changed."""
    webmail.run(["sh", "-c", "openssl x509 -in /etc/semail/tls/default.pem -out /etc/semail-ca.pem && mkdir -p /root/near"], check=True)
    webmail.run(["sh", "-c", "cat > /root/.mbsyncrc"], input=_MBSYNCRC, check=True)
    ended(actor(webmail, "deliver", "xredon", MESSAGES))
    assert await_true(lambda: len(webmail.files("xredon")) == MESSAGES, 300), len(webmail.files("xredon"))

    def sync():
        started = time.monotonic()
        done = webmail.run(["mbsync", "-c", "/root/.mbsyncrc", "all"], timeout=1200, environment={**webmail.environment, "HOME": "/root"})
        assert done.returncode == 0, done.stdout[-3000:]
        return time.monotonic() - started

    def both():
        return json.loads(webmail.python(_NEAR, "/root/near")), json.loads(webmail.python(_NEAR, webmail.maildir("xredon")))

    seconds = sync()
    near, far = both()
    assert len(near) == len(far) == MESSAGES and all(len(copies) == 1 for copies in [*near.values(), *far.values()])
    assert {name: copies[0][0] for name, copies in near.items()} == {name: copies[0][0] for name, copies in far.items()}
    print(f"{MESSAGES} messages in {seconds:.1f} s")
    # Near: every 5th flagged, every 7th removed, and some new ones. Far: more delivered, and SqWebMail at work.
    change = r"""
import os, sys
place = "/root/near/INBOX"
for kind in ("new", "cur"):
    for name in os.listdir(f"{place}/{kind}"):
        with open(f"{place}/{kind}/{name}", "rb") as file: number = int(file.read().split(b"Message-ID: <")[1].split(b"@")[0])
        base, _, flags = name.partition(":2,")
        if number % 7 == 0: os.unlink(f"{place}/{kind}/{name}")
        elif number % 5 == 0: os.rename(f"{place}/{kind}/{name}", f"{place}/cur/{base}:2,{''.join(sorted(set(flags) | set('FS')))}")
for number in range(20):
    with open(f"{place}/new/{number}.near", "w") as file: file.write(f"From: near@semail.test\nMessage-ID: <near{number}@elsewhere.test>\nSubject: plain near {number}\n\nwritten near\n")
"""
    webmail.python(change)
    ended(actor(webmail, "deliver", "xredon", 60, MESSAGES))
    assert await_true(lambda: len(webmail.files("xredon")) == MESSAGES + 60, 120)
    ended(actor(webmail, "web", "xredon", PASSWORDS["xredon"]))
    sync()
    sync()
    near, far = both()
    assert {name: sorted(copy[0] for copy in copies) for name, copies in near.items()} == {name: sorted(copy[0] for copy in copies) for name, copies in far.items()}
    assert all(len(copies) == 1 for copies in [*near.values(), *far.values()]), [name for name, copies in far.items() if len(copies) > 1][:10]
    # What SqWebMail moved while it was removed near may be in another folder still: a move is a new message to IMAP.
    gone = {f"{number}@elsewhere.test" for number in range(0, MESSAGES, 7) if webmailactors.KINDS[number % 6] not in ("web-move", "web-trash")}
    wanted = {f"{number}@elsewhere.test" for number in range(MESSAGES + 60)} | {f"near{number}@elsewhere.test" for number in range(20)}
    assert set(far) >= {name for name in wanted if not name[0].isdigit() or int(name.partition("@")[0]) >= MESSAGES or int(name.partition("@")[0]) % 7 != 0} and not gone & set(far) and set(far) <= wanted
    flagged = [name for name, copies in far.items() if "F" in copies[0][1]]
    assert sorted(flagged) == sorted(name for name, copies in near.items() if "F" in copies[0][1]) and len(flagged) > MESSAGES // 10


def test_imap_lets_nobody_else_in(webmail):
    """Wrong passwords, a suspended mailbox, no TLS, old TLS, a port that is not there."""
    script = r"""
import imaplib, ssl, sys, socket
context = ssl.create_default_context(cafile="/etc/semail-ca.pem")
def log_in(user, password):
    with imaplib.IMAP4_SSL("mail.semail.test", 993, ssl_context=context) as client:
        try:
            client.login(user, password)
            # Nothing that a mail program would show people.
            return "in " + str(client.list()[0]) + str([text for text in client.response("ALERT")[1] if text])
        except imaplib.IMAP4.error as error:
            return "out " + str(error)
print(log_in("ssow", "correct horse"))
print(log_in("ssow", "wrong"))
print(log_in("xredon@semail.test", "correct horse"))
print(log_in("", ""))
try:
    socket.create_connection(("127.0.0.1", 143), 3); print("143 open")
except OSError: print("143 closed")
"""
    webmail.run(["sh", "-c", "openssl x509 -in /etc/semail/tls/default.pem -out /etc/semail-ca.pem"], check=True)
    lines = webmail.python(script).splitlines()
    assert lines[0] == "in OK[]" and all(line.startswith("out ") for line in lines[1:4]) and lines[4] == "143 closed", lines
    webmail.forgive()
    webmail.run(["sed", "-i", "s/^state .*/state suspended/", "/var/lib/semail/mailboxes/ssow@semail.test"], check=True)
    try:
        lines = webmail.python(script).splitlines()
        assert lines[0].startswith("out ") and "Temporary" in lines[0] and "Temporary" not in lines[1], lines
    finally:
        webmail.run(["sed", "-i", "s/^state .*/state active/", "/var/lib/semail/mailboxes/ssow@semail.test"], check=True)
        webmail.forgive()
    for version in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in webmail.run(["openssl", "s_client", "-connect", f"{HOST}:993", version, "-cipher", "ALL@SECLEVEL=0"], input="").stdout
