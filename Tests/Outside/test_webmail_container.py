"""One mailbox, open in a browser and in its container at the same time: SqWebMail on the host and mutt in a real container, on one volume, and
deliveries by way of the queue. Both see the same; nothing is lost, and nothing is there twice.

SEMAIL_LONG=1 makes it 2,000 deliveries, in place of 300.
"""

import collections
import json
import os
import re
import subprocess
import time

import pytest

import webmailactors
from machine import REPOSITORY
from semailtest import await_true
from webmailcontainers import WebmailAndContainers
from webmaillab import PASSWORDS

DELIVERIES = 2000 if os.environ.get("SEMAIL_LONG") == "1" else 300
ACTORS = REPOSITORY / "Tests/Outside/webmailactors.py"

# {folder: [[Message-ID, subject, name, size]]} of a Maildir++, all of it.
_TREE = r"""
import json, os, re, sys
found = {}
top = sys.argv[1]
for folder in [""] + [name for name in os.listdir(top) if name.startswith(".") and os.path.isdir(f"{top}/{name}/cur")]:
    inside = found.setdefault(folder, [])
    for kind in ("new", "cur"):
        for name in os.listdir(f"{top}/{folder}/{kind}"):
            with open(f"{top}/{folder}/{kind}/{name}", "rb") as file: text = file.read()
            id, subject = (re.search(rb"(?mi)^" + field + rb": (.*)", text) for field in (b"Message-ID", b"Subject"))
            inside.append([id[1].decode().strip("<>") if id else "", subject[1].decode() if subject else "", name, len(text)])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def host():
    assert os.geteuid() == 0, "a machine of one's own needs root"
    with WebmailAndContainers(portal=False) as host:
        yield host


@pytest.fixture
def clean(host):
    for owner in ("ssow", "xredon"):
        host.run(["find", host.maildir(owner), "-mindepth", "1", "-maxdepth", "1", "!", "-name", "tmp", "!", "-name", "new", "!", "-name", "cur", "-exec", "rm", "-rf", "{}", "+"], check=True)
        host.run(["find", host.maildir(owner), "-type", "f", "-delete"], check=True)
    return host


def tree(host, owner):
    return json.loads(host.python(_TREE, host.maildir(owner)))


def flags(name):
    return name.partition(":2,")[2]


def queue_is_empty(host):
    queued = "import os; print(sum(len(files) for state in ('new', 'later', 'hold') for _, _, files in os.walk('/var/lib/semail/queue/' + state)))"
    return host.python(queued).strip() == "0"


# -- the same messages -------------------------------------------------------------

def test_the_same_messages(clean):
    """What one of them does to messages and folders, the other shows."""
    actor(clean, "deliver", "xredon", 6).wait(60)
    assert await_true(lambda: len(clean.files("xredon")) == 6, 20)
    plain, kill, flag, mutt_move, web_move, web_trash = subjects = [f"{kind} {number}" for number, kind in enumerate(webmailactors.KINDS)]
    # One file system, which is the mailbox's own.
    volume = clean.inside("xredon", "stat -f -c %i /Maildir")
    assert clean.run(["stat", "-f", "-c", "%i", clean.maildir("xredon")]).stdout == volume and "\nvolume image " in clean.read("/var/lib/semail/mailboxes/xredon@semail.test")

    # New to both.
    assert clean.seen_by_mutt("xredon") == {subject: "N +" for subject in subjects}
    assert clean.seen_at_webmail("xredon") == {subject: "N" for subject in subjects}

    # Read and answered at webmail; flagged, answered and deleted in mutt.
    clean.at_webmail("xredon", f"[web.get(folder='INBOX', form='readmsg', pos=number) and 0 for number, _, subject, _ in web.rows('INBOX')[1] if subject == {plain!r}]")
    clean.at_webmail("xredon", f"[web.write(dict(pos=number, reply=1), headerto='ssow@semail.test', message='yes') and 0 for number, _, subject, _ in web.rows('INBOX')[1] if subject == {web_move!r}]")
    seen = clean.seen_by_mutt("xredon")
    assert seen[plain] == "  +" and seen[web_move] == "r +" and {seen[subject][0] for subject in subjects} == {" ", "r", "O"}, seen
    clean.mutt("xredon", f"<tag-pattern>~s{flag.replace(' ', '.')}<enter><tag-prefix><set-flag>!<untag-pattern>~A<enter><tag-pattern>~s{mutt_move.replace(' ', '.')}<enter><tag-prefix><set-flag>r<delete-pattern>~s{kill.replace(' ', '.')}<enter><sync-mailbox><quit>")
    assert clean.seen_by_mutt("xredon")[flag][2] == "!"
    assert clean.seen_at_webmail("xredon") == {plain: "", flag: "N", mutt_move: "R", web_move: "R", web_trash: "N"}

    # Folders, with letters that not every program writes as others do.
    clean.at_webmail("xredon", f"[web.make_folder('Été'), web.move('INBOX', 'INBOX.Été', {web_move!r}), web.delete('INBOX', {web_trash!r})]")
    clean.mutt("xredon", f"<tag-pattern>~s{mutt_move.replace(' ', '.')}<enter><tag-prefix><save-message><kill-line>=.moved<enter><sync-mailbox><quit>")
    assert list(clean.seen_by_mutt("xredon", "=.Été")) == list(clean.seen_at_webmail("xredon", "INBOX.Été")) == [web_move]
    assert list(clean.seen_by_mutt("xredon", "=.Trash")) == list(clean.seen_at_webmail("xredon", "INBOX.Trash")) == [web_trash]
    assert list(clean.seen_by_mutt("xredon", "=.moved")) == list(clean.seen_at_webmail("xredon", "INBOX.moved")) == [mutt_move]
    folders = clean.at_webmail("xredon", "web.get(folder='INBOX', form='folders')")
    assert "Été" in folders and "moved" in folders

    # Sent by one, kept for both.
    clean.inside("xredon", "echo Hello. | mutt -s 'From mutt' ssow@semail.test")
    assert await_true(lambda: {"From mutt", f"Re: {web_move}"} <= {subject for _, subject, _, _ in tree(clean, "ssow")[""]}, 20)
    assert set(clean.seen_by_mutt("xredon", "=.Sent")) == set(clean.seen_at_webmail("xredon", "INBOX.Sent")) == {"From mutt", f"Re: {web_move}"}
    assert set(clean.seen_by_mutt("xredon")) == set(clean.seen_at_webmail("xredon")) == {plain, flag}


# -- all at once -------------------------------------------------------------------

def actor(host, *words):
    return host.start(["/usr/bin/python3", ACTORS, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process, seconds=900):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output[-3000:]
    return output


def unflagged(host):
    return [(subject, name) for _, subject, name, _ in tree(host, "ssow")[""] if subject.startswith("flag") and "F" not in flags(name)]


def test_all_at_once(clean):
    """Deliveries go on while SqWebMail and mutt open, flag, move and delete; the count of messages is exact."""
    started = time.monotonic()
    # The others need time to look in between.
    sender = actor(clean, "deliver", "ssow", DELIVERIES, 0, 0.08)
    # mutt does nothing in a mailbox without messages.
    assert await_true(lambda: len(clean.files("ssow")) > 3, 20)
    rounds, others = collections.Counter(), {}
    while sender.poll() is None:
        for name, words in (("web", ("web", "ssow", PASSWORDS["ssow"])), ("mutt", ("mutt", "ssow", clean.addresses["ssow"]))):
            if name not in others or others[name].poll() is not None:
                if name in others:
                    ended(others[name])
                    rounds[name] += 1
                others[name] = actor(clean, *words)
        time.sleep(0.05)
    ended(sender)
    for process in others.values():
        ended(process)
    assert all(rounds[name] >= 2 for name in ("web", "mutt")), f"they were hardly at it at the same time: {rounds}"
    assert await_true(lambda: queue_is_empty(clean), 120), "the queue is not empty"
    # Once more each, now that all is there.
    for words in (("web", "ssow", PASSWORDS["ssow"]), ("mutt", "ssow", clean.addresses["ssow"]), ("web", "ssow", PASSWORDS["ssow"])):
        ended(actor(clean, *words))
    everything = tree(clean, "ssow")
    # SqWebMail moves by a second name, and marks the first with T for "trashed": every reader takes that for deleted, and it goes later.
    found = {folder: [entry for entry in entries if "T" not in flags(entry[2])] for folder, entries in everything.items()}
    trashed = {id for entries in everything.values() for id, _, name, _ in entries if "T" in flags(name)}

    def wanted(*kinds):
        return [f"{number}@elsewhere.test" for number in range(DELIVERIES) if webmailactors.KINDS[number % 6] in kinds]
    # Each once, and nothing else, in any folder.
    copies = collections.Counter(id for entries in found.values() for id, _, _, _ in entries)
    there = wanted("plain", "flag", "mutt-move", "web-move", "web-trash")
    doubled = [(id, folder, name) for folder, entries in found.items() for id, _, name, _ in entries if copies[id] > 1]
    assert copies == collections.Counter(there), f"lost: {sorted(set(there) - set(copies))[:10]}; more than once: {doubled[:10]}; back: {sorted(set(copies) - set(there))[:10]}"
    assert trashed <= set(wanted("web-move", "web-trash")), trashed
    for folder, kinds in (("", ("plain", "flag")), (".moved", ("mutt-move",)), (".kept", ("web-move",)), (".Trash", ("web-trash",))):
        assert sorted(id for id, _, _, _ in found[folder]) == sorted(wanted(*kinds)), folder
    assert not unflagged(clean), "SqWebMail has taken flags away"
    # What Courier goes by: the size stands in the name, as deliveries wrote it and as others kept it.
    for entries in found.values():
        for _, _, name, size in entries:
            if ",S=" in name:
                assert int(name.partition(",S=")[2].partition(":")[0].partition(",")[0]) == size, name
    # And in their own words.
    count = len(wanted("plain", "flag"))
    messages, deleted = re.findall(r"\[Msgs:(\d+)(?:[^\]]* Del:(\d+))?", clean.mutt("ssow"))[-1]
    assert int(messages) - int(deleted or 0) == count, (messages, deleted)
    assert f"of {count}<" in clean.at_webmail("ssow", "web.get(folder='INBOX', form='folder', pos=0)")
    print(f"{DELIVERIES} deliveries, {len(there)} messages there in the end; SqWebMail looked through {rounds['web']} times and mutt {rounds['mutt']} times meanwhile; {time.monotonic() - started:.0f} s")
