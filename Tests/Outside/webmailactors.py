"""Those who are at one Maildir at the same time, for test_webmail_container.py and test_webmail_maildir.py. Run within the machine that
webmaillab.py makes.

    python3 webmailactors.py deliver OWNER COUNT [FIRST [PAUSE]]     a sender, at port 25
    python3 webmailactors.py web OWNER PASSWORD         one look through the inbox with SqWebMail: moves and deletes
    python3 webmailactors.py mutt OWNER ADDRESS          the same with mutt, in the container of OWNER, which has that address

What is to become of a message stands in its subject: plain, kill (mutt deletes it), flag (mutt flags it), mutt-move (mutt moves it to the folder
moved), web-move (SqWebMail moves it to the folder kept), web-trash (SqWebMail deletes it: into Trash).
"""

import html
import os
import pty
import re
import select
import shlex
import smtplib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

KINDS = ("plain", "kill", "flag", "mutt-move", "web-move", "web-trash")
SITE = "https://mail.semail.test"
HOME = "/var/lib/semail"


def deliver(owner, count, first=0, pause=0):
    client = None
    for number in range(int(first), int(first) + int(count)):
        if number % 50 == 0 or client is None:
            client and client.quit()
            client = smtplib.SMTP("127.0.0.2", 25, "client.test", timeout=60)
        kind = KINDS[number % len(KINDS)]
        text = f"From: a@elsewhere.test\nTo: {owner}@semail.test\nSubject: {kind} {number}\nMessage-ID: <{number}@elsewhere.test>\n\nnumber {number}\n" + "text\n" * (number % 200)
        client.sendmail("a@elsewhere.test", f"{owner}@semail.test", text)
        time.sleep(float(pause))
    client.quit()


class Web:
    def __init__(self, user, password):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        answer = self.opener.open(SITE + "/mail", urllib.parse.urlencode({"username": user, "password": password, "inpublic": "1", "do.login": "1"}).encode(), timeout=60)
        assert "form=folders" in answer.url, answer.read()[:2000]
        self.base = answer.url.partition("?")[0]
        # As many messages on a page as SqWebMail gives.
        page = self.get(folder="INBOX", form="preferences")
        sizes = re.findall(r'<option value="(\d+)"', page[page.index('name="pagesize"'):])
        self.post(folder="INBOX", form="preferences", pagesize=max(map(int, sizes)), sortorder="DATE", doshowhtml="on", noautorenamesent="on", autopurge="7", signature="", **{"do.changeprefs": "1"})

    def get(self, **fields):
        return self.page(f"{self.base}?{urllib.parse.urlencode(fields)}")

    def post(self, **fields):
        return self.page(self.base, urllib.parse.urlencode(fields).encode())

    def page(self, *request):
        try:
            answer = self.opener.open(*request, timeout=120)
        except urllib.error.HTTPError as error:
            # A mailbox that is full is said with a page too.
            if error.code != 507:
                raise
            answer = error
        return answer.read().decode("utf-8", "replace")

    def make_folder(self, name):
        if f"INBOX.{name}" not in self.get(folder="INBOX", form="folders"):
            self.post(folder="INBOX", form="folders", foldername=name, **{"do.create": "1"})

    def rows(self, folder, position=0):
        """[(number in the folder, file, subject, letters of its state)] of one page."""
        page = self.get(folder=folder, form="folder", pos=position)
        found = []
        for row in re.findall(r'<tr class="folder-index-bg-\d" id="row\d+">.*?</tr>', page, re.DOTALL):
            file = re.search(r'name="MOVEFILE-(\d+)" value="([^"]*)"', row)
            subject, status = (re.search(rf'class="message-{name}">(.*?)</td>', row, re.DOTALL) for name in ("subject", "status"))
            if file and subject and "disabled" not in row:
                found.append((int(file[1]), html.unescape(file[2]), *(html.unescape(re.sub(r"<[^>]*>", "", text[1])).replace("\xa0", " ").strip() for text in (subject, status))))
        return page, found

    def compose(self, **query):
        """The page for a message: its fields as they are."""
        page = self.get(folder="INBOX", form="newmsg", **query)
        form = page[page.index('name="msg"'):]
        return {name: html.unescape(value) for name, value in re.findall(r'<input type="(?:hidden|text)" name="([^"]+)"[^>]* value="([^"]*)"', form)}

    def write(self, query, **fields):
        """Opens that page, fills in FIELDS and sends it; the page that comes of it."""
        return self.post(**{**self.compose(**query), "fcc": "1", "sendmsg": "1", **fields})

    def choose(self, folder, subject, **deed):
        """A deed on the messages of that subject, on the folder's first page."""
        chosen = [(number, file) for number, file, text, _ in self.rows(folder)[1] if text == subject]
        fields = {f"MOVE-{number}": "1" for number, _ in chosen} | {f"MOVEFILE-{number}": file for number, file in chosen}
        self.post(folder=folder, form="folderdel", pos="0", **fields, **deed)
        # What was moved away goes when the folder is opened next.
        self.get(folder=folder, form="folder", pos=0)
        return len(chosen)

    def move(self, folder, target, subject):
        return self.choose(folder, subject, moveto=target, cmdmove="1")

    def delete(self, folder, subject):
        """Into Trash; in Trash: for good."""
        return self.choose(folder, subject, cmddel="1")

    def act(self):
        """Through all pages once; how many were moved or deleted."""
        done, position = 0, 0
        while True:
            page, rows = self.rows("INBOX", position)
            for kind, target in (("web-move", "INBOX.kept"), ("web-trash", None)):
                chosen = [(number, file) for number, file, subject, _ in rows if subject.startswith(kind)]
                if not chosen:
                    continue
                fields = {"folder": "INBOX", "form": "folderdel", "pos": str(position)}
                for number, file in chosen:
                    fields[f"MOVE-{number}"], fields[f"MOVEFILE-{number}"] = "1", file
                fields.update({"moveto": target, "cmdmove": "1"} if target else {"cmddel": "1"})
                self.post(**fields)
                done += len(chosen)
            for number in [number for number, _, subject, _ in rows if subject.startswith("plain")][:2]:
                self.get(folder="INBOX", form="readmsg", pos=number)
            after = [int(place) for place in re.findall(r"form=folder&amp;pos=(\d+)", page) if int(place) > position]
            if not after:
                return done
            position = min(after)


def web(owner, password):
    site = Web(owner, password)
    site.make_folder("kept")
    site.make_folder("moved")
    done = 0
    # What is moved away makes the others change their places: until a look from the first page to the last finds nothing to do.
    for _ in range(20):
        acted = site.act()
        done += acted
        if not acted:
            break
    for folder in ("INBOX", "INBOX.kept", "INBOX.Trash", "INBOX.moved"):
        # What was moved away goes when the folder is opened next.
        site.get(folder=folder, form="folder", pos=0)
    print(done)


# mutt moves by a copy, and then removes the file by the name it knew, without a look whether that was there. What SqWebMail renames in
# that moment would stay besides the copy: mutt's fault, for which nothing can be done here. So it moves nothing that SqWebMail has not
# taken up from `new` yet, and SqWebMail opens nothing that mutt is to move.
def mutt(owner, address):
    maildir = f"{HOME}/mnt/{owner}/Maildir"
    for keys in (r"<delete-pattern>~s kill<enter>", r"<tag-pattern>~s flag<enter><tag-prefix-cond><set-flag>!<end-cond>", r"<tag-pattern>~s mutt-move !~N<enter><tag-prefix-cond><save-message><kill-line>=.moved<enter><end-cond>"):
        # Where there is nothing at all, mutt drops the keys.
        if any(os.listdir(f"{maildir}/{kind}") for kind in ("new", "cur")):
            run_mutt(ssh_command(owner, address), keys + "<sync-mailbox><quit>")


def ssh_command(owner, address):
    """With the key that webmailcontainers.py has made."""
    return ["ssh", "-i", f"/root/{owner}", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", f"{owner}@{address}"]


def run_mutt(ssh, keys, folder="=", seconds=120):
    """mutt where SSH leads to, on a terminal, with the container's own settings but for what would ask; what was on the terminal."""
    settings = 'set index_format="<%Z|%s>" delete=yes move=no quit=yes confirmappend=no confirmcreate=no wait_key=no beep=no sleep_time=0 auto_tag=no save_empty=yes'
    words = ["mutt", "-f", folder, "-e", settings, "-e", f'push "{keys}"']
    command = [*ssh[:-1], "-tt", ssh[-1], "stty rows 200 cols 150; export TERM=xterm LC_ALL=C.UTF-8; exec " + shlex.join(words)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    shown, end, leave = b"", time.monotonic() + seconds, time.monotonic() + seconds / 10
    while time.monotonic() < end:
        if time.monotonic() > leave:
            os.write(terminal, b"\x07q")
            leave += 1
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    else:
        os.kill(pid, 9)
    _, code = os.waitpid(pid, 0)
    os.close(terminal)
    if code != 0:
        sys.exit(f"mutt has ended with {code}: {shown[-4000:]!r}")
    return shown.decode(errors="replace")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
