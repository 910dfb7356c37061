"""Webmail of a mailbox that is full to the last octet: it opens, says what it cannot save, and its owner makes room again with nothing but
the browser. The volume is a real one."""

import json
import os

import pytest

from machine import REPOSITORY
from semailtest import await_true
from test_webmail import attach, session
from webmaillab import LIBEXEC, PASSWORDS, Webmail

FULL = ("La boîte aux lettres est pleine", "The mailbox is full")
MESSAGES = 60

# Fills it as its own user: by large pieces, by small ones, and by whatever fits into the last block.
_FILL = """
cd "$0" || exit
n=$(date +%s%N)
dd if=/dev/zero of=fill.$n.1 bs=64k
dd if=/dev/zero of=fill.$n.2 bs=512
printf x > fill.$n.3
stat -f -c 'left %a' .
"""

# What `web`, the webmail of ssow, shows is put into `seen`; fill() is the above.
_AT_WEBMAIL = """
import json, subprocess, sys
sys.path.insert(0, {place!r})
import webmailactors
def fill():
    assert "left 0" in subprocess.run({fill!r}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
def emptied(folder):
    rows = web.rows(folder)[1]
    web.post(folder=folder, form="folderdel", pos="0", cmddel="1", **{{f"MOVE-{{row[0]}}": "1" for row in rows}}, **{{f"MOVEFILE-{{row[0]}}": row[1] for row in rows}})
    # They go when one leaves the folder.
    web.get(folder=folder, form="folders")
web, seen = webmailactors.Web("ssow", {password!r}), {{}}
{script}
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def host():
    assert os.geteuid() == 0, "a machine of one's own needs root"
    with Webmail(owners=(), portal=False) as host:
        for name, value in (("volumes", "image"), ("volume-size", "16M")):
            host.run([f"{LIBEXEC}/semail", "config", name, value], check=True)
        yield host


@pytest.fixture
def mailbox(host):
    owners = ("ssow", "xredon")
    for owner in owners:
        host.add_mailbox(owner)
    yield host
    for owner in owners:
        host.run([f"{LIBEXEC}/semail", "mailbox", "delete", "--yes", f"{owner}@semail.test"], check=True)


def fill_command(host):
    uid = host.run(["stat", "-c", "%u", host.maildir("ssow")], check=True).stdout.strip()
    return ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "sh", "-c", _FILL, host.maildir("ssow")]


def fill(host):
    done = host.run(fill_command(host))
    assert "left 0" in done.stdout and "No space left on device" in done.stdout, done.stdout


def at_webmail(host, script):
    return json.loads(host.python(_AT_WEBMAIL.format(place=str(REPOSITORY / "Tests/Outside"), fill=fill_command(host), password=PASSWORDS["ssow"], script=script)))


def deliver(host, count=MESSAGES):
    for number in range(count):
        host.deliver("ssow", f"From: a@elsewhere.test\nTo: ssow@semail.test\nSubject: number {number}\nMessage-ID: <{number}@elsewhere.test>\n\n".encode() + (b"x" * 63 + b"\n") * 1500)


def says_full(page):
    return all(words in page for words in FULL) and "Internal" not in page


def test_full_and_emptied(mailbox):
    """Opened, read, refused in both languages, emptied, used again."""
    deliver(mailbox)
    # Somebody who has been there before.
    at_webmail(mailbox, "web.get(folder='INBOX', form='folder', pos=0)")
    fill(mailbox)
    seen = at_webmail(mailbox, """
seen["folders"] = web.get(folder="INBOX", form="folders")
seen["rows"] = len(web.rows("INBOX")[1])
seen["message"] = web.get(folder="INBOX", form="readmsg", pos=0)
for round in range(2):
    fill()
    seen[f"new {round}"] = web.get(folder="INBOX", form="newmsg", newmsg="1")
    seen[f"answer {round}"] = web.get(folder="INBOX", form="newmsg", pos="1", reply="1")
    fill()
    seen[f"forward {round}"] = web.get(folder="INBOX", form="newmsg", pos="1", forward="1")
""")
    assert "Inbox" in seen.pop("folders") and seen.pop("rows") == MESSAGES and 'class="message' in seen.pop("message")
    assert all(says_full(page) for page in seen.values()), [name for name, page in seen.items() if not says_full(page)]
    assert mailbox.files("ssow", ".Drafts") == []
    # Into Trash and out of it, the disk being full each time.
    seen = at_webmail(mailbox, """
fill()
emptied("INBOX")
fill()
emptied("INBOX.Trash")
seen["inbox"], seen["trash"] = len(web.rows("INBOX")[1]), len(web.rows("INBOX.Trash")[1])
seen["draft"] = web.write({"newmsg": "1"}, headersubject="a draft", message="lines\\n" * 4000, sendmsg="", savedraft="1")
seen["sent"] = web.write({"newmsg": "1"}, headerto="xredon@semail.test", headersubject="there is room", message="lines\\n" * 4000)
""")
    assert seen["inbox"] == seen["trash"] == 0 and "Your message has been sent" in seen["sent"], seen["sent"][-2000:]
    assert len(mailbox.files("ssow", ".Drafts")) == len(mailbox.files("ssow", ".Sent")) == 1
    assert await_true(lambda: len(mailbox.files("xredon")) == 1, 20)


def test_it_becomes_full_while_one_writes(mailbox):
    """A draft, a message and a file that was to be attached: refused in words, and what was there before stays whole."""
    deliver(mailbox, 3)
    seen = at_webmail(mailbox, """
kept = web.write({"newmsg": "1"}, headersubject="kept", message="kept", sendmsg="", savedraft="1")
fields = [web.compose(newmsg="1") for _ in range(2)]
fill()
web.get(folder="INBOX", form="folders")
fill()
words = {"headersubject": "x", "headerto": "xredon@semail.test", "message": "lines\\n" * 4000, "fcc": "1"}
seen["draft"] = web.post(**{**fields[0], **words, "savedraft": "1"})
seen["send"] = web.post(**{**fields[1], **words, "sendmsg": "1"})
""")
    assert says_full(seen["draft"]) and says_full(seen["send"]), seen
    [name] = mailbox.files("ssow", ".Drafts")
    assert b"\nkept" in mailbox.message("ssow", name, ".Drafts") and mailbox.files("ssow", ".Sent") == mailbox.files("xredon") == []
    mailbox.run(["sh", "-c", f"rm {mailbox.maildir('ssow')}/fill.*"], check=True)

    base = session(mailbox)
    page, _ = attach(mailbox, base, 1, meanwhile=lambda: fill(mailbox))
    assert any(words in page for words in (FULL[0], "Cela n’a pas pu être enregistré")) and "file.bin" not in page and "Internal" not in page, page[-1500:]
    # Not Apache's own words for it, nor half a draft.
    assert "Server Error" not in page and all(b"\n\n" in mailbox.message("ssow", name, ".Drafts") for name in mailbox.files("ssow", ".Drafts"))


def test_never_opened_before(mailbox):
    """Nothing was kept free there: that is said, and what to do; once there is room, it opens."""
    deliver(mailbox, 3)
    fill(mailbox)
    said = mailbox.curl(f"https://mail.semail.test/mail", "-d", "username=ssow&inpublic=1&do.login=1", "--data-urlencode", f"password={PASSWORDS['ssow']}").stdout
    assert "Cela n’a pas pu être enregistré" in said and "make room in your container" in said and "Internal error" not in said, said
    mailbox.run(["sh", "-c", f"rm {mailbox.maildir('ssow')}/fill.*"], check=True)
    assert at_webmail(mailbox, "seen['rows'] = len(web.rows('INBOX')[1])")["rows"] == 3


def test_what_is_kept_free(mailbox):
    """A small part of the mailbox, and the owner's own: made again when it is gone, and no trap for whoever else has the Maildir."""
    place = f"{mailbox.maildir('ssow')}/sqwebmail-room"
    at_webmail(mailbox, "web.get(folder='INBOX', form='folder', pos=0)")
    uid, mode, size, blocks = map(int, mailbox.run(["stat", "-c", "%u 0%a %s %b", place], check=True).stdout.replace(" 0600 ", " 384 ").split())
    assert uid >= 30000 and mode == 0o600 and 1 << 20 <= size < 5 << 18 and blocks * 512 >= size
    # Of another kind, or a link out of the mailbox: left alone, and webmail works.
    for made in ("ln -s /etc/passwd", "ln -s /etc/nothing", "mkdir", "mkfifo"):
        mailbox.run(["sh", "-c", f"rm -rf {place} && {made} {place}"], check=True)
        at_webmail(mailbox, "web.get(folder='INBOX', form='folder', pos=0)")
        assert mailbox.run(["sh", "-c", f"test -f {place} && ! test -L {place}"]).returncode != 0 and mailbox.run(["test", "-e", "/etc/nothing"]).returncode != 0
    mailbox.run(["rm", "-rf", place], check=True)
    at_webmail(mailbox, "web.get(folder='INBOX', form='folder', pos=0)")
    assert int(mailbox.run(["stat", "-c", "%s", place], check=True).stdout) >= 1 << 20
