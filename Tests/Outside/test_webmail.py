"""Webmail: what install_webmail makes, who gets in, and a person at a browser. Chromium, Apache, SqWebMail, slapd and all of SEMail's services."""

import email
import email.policy
import hashlib
import json
import os
import re
import subprocess

import pytest

from semailtest import await_true
from webmaillab import HOME, HOST, LIBEXEC, PASSWORDS, Webmail

SUBJECT = "Réunion d’été à Évry – 中文 ✓"


@pytest.fixture(scope="module")
def webmail():
    assert os.geteuid() == 0, "a machine of one's own needs root"
    with Webmail(imap=True) as webmail:
        yield webmail


@pytest.fixture
def clean(webmail):
    for owner in ("ssow", "xredon"):
        webmail.empty(owner)
    webmail.forgive()
    return webmail


# -- a person at a browser -------------------------------------------------------

@pytest.mark.parametrize("width", [1200, 390])
def test_story(clean, width):
    """Signed in as ssow in French, a message to xredon with a file and accents; read, answered, moved, found, deleted; and read by ssow."""
    clean.browse("story", width)
    # Neither a second copy of anything, nor less.
    assert [len(clean.files(owner, folder)) for owner, folder in (("ssow", ""), ("ssow", ".Sent"), ("xredon", ".Sent"), ("xredon", ".Trash"))] == [1, 1, 1, 1]
    [answer] = [clean.message("ssow", name) for name in clean.files("ssow")]
    message = email.message_from_bytes(answer, policy=email.policy.default)
    assert (message["from"], message["to"], " ".join(message["subject"].split())) == ("xredon@semail.test", "ssow@semail.test", f"Re: {SUBJECT}")
    assert message["message-id"] and message["in-reply-to"]


@pytest.mark.parametrize("width", [1200, 390])
def test_looks_in_english(clean, width):
    for number in range(12):
        clean.deliver("ssow", f"From: Ann Example <ann@elsewhere.test>\nTo: ssow@semail.test\nSubject: Minutes of the meeting number {number}, with a subject that is rather long\nDate: Wed, 25 Nov 2026 10:00:00 +0000\n\nHello,\n\nhere they are.\n\n> Where are the minutes?\n".encode())
    clean.browse("looks", width, "en")


def test_samples_in_a_browser(clean):
    """Messages that break mail programs, each opened in Chromium: shown or refused in words; no script runs, nothing is loaded from elsewhere."""
    import webmailsamples
    for sample in webmailsamples.samples():
        clean.deliver("ssow", sample.message)
    clean.browse("samples", 1200)


# -- who gets in ---------------------------------------------------------------------

def login(webmail, user, password, *words):
    return webmail.curl("-i", *words, f"https://{HOST}/mail", "--data-urlencode", f"username={user}", "--data-urlencode", f"password={password}", "-d", "inpublic=1&do.login=1").stdout


def session(webmail, user="ssow"):
    found = re.search(r"^Location: (\S+?)&form=folders", login(webmail, user, PASSWORDS[user]), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("name", ["ssow", "ssow@semail.test", "SSOW"])
def test_sign_in(clean, name):
    assert "303" in login(clean, name, PASSWORDS["ssow"]).splitlines()[0]


@pytest.mark.parametrize("language, words", [("fr", "Cela n’a pas marché"), ("en-GB,en;q=0.8", "That did not work"), ("de", "That did not work")])
def test_wrong_password(clean, language, words):
    answer = login(clean, "ssow", "wrong", "-H", f"Accept-Language: {language}")
    assert answer.splitlines()[0].startswith("HTTP/1.1 200") and words in answer
    assert "refused service=webmail client=127.0.0.1 user=ssow" in clean.log("courier-auth")


def test_the_portals_language(clean):
    """Whoever has chosen French on the portal gets it here, whatever the browser says."""
    for cookie, words in (("__Host-semail-language=fr", "Lire votre courrier"), ("semail-language=en; x=y", "Read your mail"), ("semail-language=../../etc", "Read your mail")):
        assert words in clean.curl("-H", "Accept-Language: en", "-H", f"Cookie: {cookie}", f"https://{HOST}/mail?index=1").stdout


def test_sockets_are_for_few(clean):
    """SqWebMail's socket believes what it is told of the client; it is for Apache. courier-auth's is root's."""
    script = "import socket, sys\nfor path in ('/run/courier/sqwebmail.sock', '/run/courier/authdaemon/socket'):\n    try:\n        socket.socket(socket.AF_UNIX).connect(path)\n        print('open')\n    except PermissionError:\n        print('closed')"
    for user, wanted in (("nobody", "closed closed"), ("semail-portal", "closed closed"), ("www-data", "open closed"), ("root", "open open")):
        assert clean.run(["setpriv", "--reuid", user, "--regid", user if user != "nobody" else "nogroup", "--clear-groups", "/usr/bin/python3", "-c", script], check=True).stdout.split() == wanted.split(), user


def test_sessions_are_people(clean):
    """Another's session is none, nor is one that was ended."""
    mine = session(clean)
    assert "Boîte" in clean.curl("-H", "Accept-Language: fr", mine + "&form=folders").stdout or "Inbox" in clean.curl(mine + "&form=folders").stdout
    other = mine.replace("/login/ssow/", "/login/xredon/")
    assert "sign in again" in clean.curl(other + "&form=folders").stdout
    clean.curl(mine + "&form=logout")
    assert "sign in again" in clean.curl(mine + "&form=folders").stdout


def test_not_open(clean):
    """Suspended, being made, being removed, or not there: said so, to whoever knows the password, and to nobody else."""
    clean.add_mailbox("bare", "bare@semail.test")
    clean.run(["sed", "-i", "s/^state .*/state suspended/", f"{HOME}/mailboxes/bare@semail.test"], check=True)
    answer = login(clean, "bare", "b")
    assert "The mailbox is not open" in answer and "La boîte aux lettres n’est pas ouverte" in answer and 'href=\'/\'' in answer
    assert "because=suspended" in clean.log("courier-auth")
    # Somebody of the directory who has no mailbox at all.
    assert "The mailbox is not open" in login(clean, "star*", "s") and "because=none" in clean.log("courier-auth")
    assert "not open" not in login(clean, "bare", "wrong")


def test_suspended_while_signed_in(clean):
    """The next page says so."""
    base = session(clean, "xredon")
    assert "Inbox" in clean.curl(base + "&form=folders").stdout
    state = f"{HOME}/mailboxes/xredon@semail.test"
    clean.run(["sed", "-i", "s/^state .*/state suspended/", state], check=True)
    try:
        assert "The mailbox is not open" in clean.curl(base + "&form=folders").stdout
    finally:
        clean.run(["sed", "-i", "s/^state .*/state active/", state], check=True)
    assert "Inbox" in clean.curl(base + "&form=folders").stdout


@pytest.mark.parametrize("state", ["making", "leaving"])
def test_half_there(clean, state):
    """A mailbox that is being made, or removed: said to whoever signs in, and with the next page to whoever has; when it is whole, it is open."""
    base = session(clean, "xredon")
    name, place = "xredon@semail.test", f"{HOME}/mailboxes"
    # As provision has it meanwhile.
    clean.run(["sh", "-c", f"mkdir -p {place}/.{state} && mv {place}/{name} {place}/.{state}/{name}"], check=True)
    try:
        for answer in (login(clean, "xredon", PASSWORDS["xredon"]), login(clean, name, PASSWORDS["xredon"]), clean.curl(base + "&form=folders").stdout):
            assert "The mailbox is not open" in answer and "en cours de création ou de suppression" in answer and "Server Error" not in answer, answer
        assert f"owner=xredon because={state}" in clean.log("courier-auth")
        assert "not open" not in login(clean, "xredon", "wrong")
    finally:
        clean.run(["sh", "-c", f"mv {place}/.{state}/{name} {place}/{name} && rmdir {place}/.{state}"], check=True)
        clean.forgive()
    assert "Inbox" in clean.curl(base + "&form=folders").stdout


def test_directory_down(clean):
    """Not taken for a wrong password: nothing is counted, and it goes on when the directory is back."""
    clean.stop_slapd()
    try:
        assert "cannot be checked just now" in login(clean, "ssow", PASSWORDS["ssow"])
        assert "unavailable service=webmail" in clean.log("courier-auth")
        assert "address-127.0.0.1" not in clean.run(["grep", "-l", " 000000000[1-9] ", "-r", f"{HOME}/run/guesses"]).stdout
    finally:
        clean.start_slapd()
    assert "303" in login(clean, "ssow", PASSWORDS["ssow"]).splitlines()[0]


def test_guesses_do_not_hold_up_others(clean):
    """Wrong passwords are answered late, and nobody else waits for that."""
    import time
    command = clean.command(["curl", "-sk", f"https://{HOST}/mail", "-d", "username=xredon&password=wrong&inpublic=1&do.login=1"])
    guessers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(16)]
    started = time.monotonic()
    seen = "303" in login(clean, "ssow", PASSWORDS["ssow"]).splitlines()[0]
    took = time.monotonic() - started
    for guesser in guessers:
        guesser.wait(90)
    assert seen and took < 12, took
    clean.forgive()


# -- sending ---------------------------------------------------------------------------

def compose(webmail, base, **fields):
    page = webmail.curl(base + "&form=newmsg&newmsg=1").stdout
    token = re.search(r'name="msgtoken" value="([^"]*)"', page)[1]
    words = []
    for name, value in {"folder": "INBOX", "form": "donewmsg", "pos": "", "msgtoken": token, "headerfrom": "ssow@semail.test", "headerto": "xredon@semail.test", "headersubject": "x", "message": "x", "fcc": "1", "sendmsg": "1", **fields}.items():
        words += ["--data-urlencode", f"{name}={value}"]
    return webmail.curl("-L", *words, base.partition("?")[0]).stdout


def test_sends_as_oneself_only(clean):
    """The sender is the mailbox's; a From of somebody else is refused, and said so."""
    base = session(clean)
    assert "Your message has been sent" in compose(clean, base, headersubject="mine", headerfrom="Sophie <ssow@semail.test>")
    assert await_true(lambda: len(clean.files("xredon")) == 1, 20)
    [name] = clean.files("xredon")
    message = clean.message("xredon", name)
    assert message.startswith(b"Return-Path: <ssow@semail.test>\n") and b"\nFrom: \"Sophie\" <ssow@semail.test>" in message or b"\nFrom: Sophie <ssow@semail.test>" in message
    # In the queue's own words: the kernel's word for who sends.
    answer = compose(clean, base, headersubject="forged", headerfrom="xredon@semail.test")
    assert "Your message has been sent" not in answer
    assert len(clean.files("xredon")) == 1
    # It is kept as a draft, not lost.
    assert len(clean.files("ssow", ".Drafts")) == 1 and len(clean.files("ssow", ".Sent")) == 1


def test_refused_recipient(clean):
    base = session(clean)
    answer = compose(clean, base, headerto="nobody@semail.test", headersubject="lost?")
    assert "Your message has been sent" not in answer and len(clean.files("ssow", ".Sent")) == 0 and len(clean.files("ssow", ".Drafts")) == 1


def test_large(clean):
    """An attachment of 50 MB is shown as such and saved whole."""
    import webmailsamples
    sample = webmailsamples.large(50)
    clean.deliver("ssow", sample.message)
    base = session(clean)
    # SqWebMail takes up what is new when it counts.
    clean.curl(base + "&form=folders")
    assert "large" in clean.curl(base + "&form=folder&pos=0").stdout
    page = clean.curl(base + "&form=readmsg&pos=0").stdout
    for words in sample.shows:
        assert words in page
    [part] = set(re.findall(r"form=fetch&amp;pos=0&amp;mimeid=([\d.]+)&amp;download=1", page))
    command = clean.command(["sh", "-c", 'curl -sk --max-time 120 "$0" | sha256sum', f"{base}&form=fetch&pos=0&mimeid={part}&download=1"])
    got = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split()[0].decode()
    assert got == hashlib.sha256(bytes(range(256)) * (4096 * 50)).hexdigest()


def attach(webmail, base, megabytes, meanwhile=lambda: None):
    """A draft with a file of so many megabytes: (the page after the upload, the fields to send it). MEANWHILE happens before the upload."""
    page = webmail.curl(base + "&form=newmsg&newmsg=1").stdout
    token = re.search(r'name="msgtoken" value="([^"]*)"', page)[1]
    words = []
    for name, value in {"folder": "INBOX", "form": "donewmsg", "pos": "", "msgtoken": token, "headerfrom": "ssow@semail.test", "headerto": "xredon@semail.test", "headersubject": f"{megabytes} MB", "message": "see there", "fcc": "1", "doattachments": "1"}.items():
        words += ["--data-urlencode", f"{name}={value}"]
    page = webmail.curl("-L", *words, base.partition("?")[0]).stdout
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    webmail.run(["sh", "-c", f"head -c {megabytes << 20} /dev/urandom > /tmp/file.bin"], check=True)
    meanwhile()
    forms = [word for name, value in fields.items() for word in ("-F", f"{name}={value}")]
    page = webmail.curl("-L", *forms, "-F", "uploadfile=@/tmp/file.bin", "-F", "upload=1", base.partition("?")[0]).stdout
    # Each page has a token of its own: what is sent twice is sent once.
    fields.update(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    return page, [word for name, value in fields.items() for word in ("-F", f"{name}={value}")]


@pytest.mark.parametrize("megabytes, outcome", [(20, "sent"), (45, "kept"), (80, "refused")])
def test_attachments_that_are_large(clean, megabytes, outcome):
    """20 MB go; 45 MB are more than the setting message-size once they are text, and stay a draft; 80 MB are not taken up at all."""
    base = session(clean)
    page, forms = attach(clean, base, megabytes)
    assert ("file.bin" in page) == (outcome != "refused"), page[-1500:]
    if outcome == "refused":
        return
    answer = clean.curl("-L", *forms, "-F", "sendmsg=1", "-F", "fcc=1", base.partition("?")[0]).stdout
    assert ("Your message has been sent" in answer) == (outcome == "sent"), answer[-1500:]
    if outcome == "sent":
        assert await_true(lambda: len(clean.files("xredon")) == 1, 60)
        message = email.message_from_bytes(clean.message("xredon", clean.files("xredon")[0]), policy=email.policy.default)
        [part] = message.iter_attachments()
        assert hashlib.sha256(part.get_content() if isinstance(part.get_content(), bytes) else b"").hexdigest() == clean.run(["sha256sum", "/tmp/file.bin"]).stdout.split()[0]
    else:
        assert clean.files("xredon") == [] and len(clean.files("ssow", ".Drafts")) == 1


# -- Apache -----------------------------------------------------------------------------

def header_of(answer):
    return dict((name.lower(), value) for name, _, value in (line.partition(": ") for line in answer.split("\n\n")[0].replace("\r", "").splitlines()[1:]))


def test_portal_is_behind(clean):
    answer = clean.curl("-i", f"https://{HOST}/requests/x?y=1", "-H", "X-Forwarded-For: 203.0.113.9", "-H", "X-Forwarded-Proto: http", "-H", "X-Forwarded-Host: evil.test", "-H", "Proxy: http://evil.test").stdout
    assert "portal\n/requests/x?y=1\n" in answer and f"Host: {HOST}" in answer
    assert "X-Forwarded-For: 127.0.0.1\n" in answer and "X-Forwarded-Proto: https" in answer and "203.0.113.9" not in answer and "evil" not in answer
    assert header_of(answer)["strict-transport-security"].startswith("max-age=")


def test_the_doctor_looks_at_webmail(clean):
    def finding():
        [only] = [finding for finding in json.loads(clean.run([f"{LIBEXEC}/semail", "doctor", "--json"]).stdout)["findings"] if finding["check"] == "web"]
        return only["level"], only["text"], only["remedy"]

    assert finding() == ("well", f"the portal answers at 127.0.0.1:8080, and webmail at https://{HOST}/mail", None)
    for service, words in (("webmail", "shows no page to sign in"), ("courier-auth", "nobody can sign in to webmail or IMAP"), ("imap", "nobody answers at port 993")):
        clean.run(["sv", "-w", "20", "down", f"semail-{service}"], check=True)
        level, text, remedy = finding()
        assert level == "mend" and words in text and f"the service semail-{service} runs" in remedy, text
        clean.run(["sv", "up", f"semail-{service}"], check=True)
        assert await_true(lambda: finding()[0] == "well", 20), finding()
    clean.run(["apachectl", "stop"], check=True)
    assert await_true(lambda: finding()[0] == "mend", 20)
    assert "whether Apache runs" in finding()[2]
    clean.run(["apachectl", "start"], check=True)
    assert await_true(lambda: finding()[0] == "well", 20), finding()


def test_other_roads(clean):
    assert f"Location: https://{HOST}/\n" in clean.curl("-i", f"http://{HOST}/mail").stdout.replace("\r", "")
    clean.run(["sh", "-c", "mkdir -p /var/lib/semail-acme/.well-known/acme-challenge && echo token > /var/lib/semail-acme/.well-known/acme-challenge/abc"], check=True)
    assert clean.curl(f"http://{HOST}/.well-known/acme-challenge/abc").stdout == "token\n"
    for path in (f"https://{HOST}/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ssow@semail.test", f"http://{HOST}/.well-known/autoconfig/mail/config-v1.1.xml"):
        text = clean.curl(path).stdout
        assert f"<hostname>{HOST}</hostname>" in text and "<port>465</port>" in text and "<port>993</port>" in text and "SSL" in text
    for scheme in ("http", "https"):
        text = clean.curl("--resolve", "autoconfig.ssow.semail.test:80:127.0.0.1", "--resolve", "autoconfig.ssow.semail.test:443:127.0.0.1", f"{scheme}://autoconfig.ssow.semail.test/mail/config-v1.1.xml").stdout
        assert "<port>465</port>" in text, text


@pytest.mark.parametrize("path", ["/mail/../../../etc/passwd", "/webmail/../../../../etc/passwd", "/webmail/%2e%2e/%2e%2e/etc/passwd", "/webmail/", "/mail/login/../../x", "/server-status/../webmail/..%2f..%2fhier"])
def test_nothing_else_is_served(clean, path):
    answer = clean.curl("-i", "--path-as-is", f"https://{HOST}{path}").stdout
    assert "root:x:0" not in answer and "Index of" not in answer and "TYPE MODE OWNER" not in answer


def test_headers(clean):
    base = session(clean)
    head = header_of(clean.curl("-i", base + "&form=folders").stdout)
    policy = head["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "allow-scripts" not in policy and "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert (head["x-content-type-options"], head["x-frame-options"], head["referrer-policy"], head["cache-control"]) == ("nosniff", "DENY", "no-referrer", "no-store")
    clean.deliver("ssow", b"From: a@b.test\nTo: ssow@semail.test\nSubject: page\nMIME-Version: 1.0\nContent-Type: text/html\n\n<script>alert(1)</script><p>hello\n")
    head = header_of(clean.curl("-i", base + "&form=fetch&pos=0&mimeid=1").stdout)
    assert "sandbox" in head["content-security-policy"] and "allow" not in head["content-security-policy"]


def test_tls(clean):
    """Old versions of TLS are refused; the certificate is that of the mail services."""
    for version in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in clean.run(["openssl", "s_client", "-connect", f"{HOST}:443", version, "-cipher", "ALL@SECLEVEL=0"], input="").stdout
    answer = clean.run(["openssl", "s_client", "-connect", f"{HOST}:443", "-servername", HOST], input="").stdout
    assert "Cipher is (NONE)" not in answer and f"CN = {HOST}" in answer


def test_no_keys_in_logs(clean):
    base = session(clean)
    token = base.split("/")[6]
    clean.curl(base + "&form=folders")
    assert token not in clean.run(["sh", "-c", "cat /var/log/apache2/*.log /var/log/semail/*/current"]).stdout
    assert PASSWORDS["ssow"] not in clean.run(["sh", "-c", "cat /var/log/apache2/*.log /var/log/semail/*/current"]).stdout


# -- installing, again and back ------------------------------------------------------------

def test_a_second_time_nothing_changes(clean):
    again = clean.install("step 'Webmail' install_webmail\n[ $changes = 0 ] && echo 'NOTHING CHANGED'")
    assert "NOTHING CHANGED" in again.stdout, again.stdout


def test_an_administrators_mistake_is_not_made_worse(clean):
    """A configuration that Apache does not take is not put in force, and what ran goes on."""
    clean.run(["sh", "-c", "mkdir -p /etc/apache2/semail.d && echo 'NoSuchDirective x' > /etc/apache2/semail.d/x.conf && echo '# touched' >> /etc/apache2/sites-available/semail.conf"], check=True)
    try:
        again = clean.install("step 'Webmail' install_webmail", check=False)
        assert again.returncode == 111 and "NoSuchDirective" in again.stdout and "does not take" in again.stdout
        assert "portal" in clean.curl(f"https://{HOST}/").stdout
    finally:
        clean.run(["rm", "/etc/apache2/semail.d/x.conf"], check=True)
    assert clean.install("step 'Webmail' install_webmail").returncode == 0


def test_uninstall():
    """With an administrator's own site: it stays as it was."""
    with Webmail(portal=False, owners=("ssow",), before="mkdir -p /srv/own /run/lock && echo mine > /srv/own/index.html && printf '<VirtualHost *:80>\\nServerName own.test\\nDocumentRoot /srv/own\\n<Directory /srv/own>\\nRequire all granted\\n</Directory>\\n</VirtualHost>\\n' > /etc/apache2/sites-available/own.conf && a2ensite -q own && apachectl start") as machine:
        own = ["--resolve", "own.test:80:127.0.0.1", "http://own.test/"]
        assert machine.curl(*own).stdout == "mine\n"
        assert "303" in login(machine, "ssow", PASSWORDS["ssow"]).splitlines()[0]
        done = machine.install("step 'Webmail' uninstall_webmail\nstep 'Services' remove_services")
        assert machine.curl(*own).stdout == "mine\n"
        assert await_true(lambda: "SEMail" not in machine.curl(f"http://{HOST}/mail").stdout, 10)
        assert "Courier" in machine.read("/usr/lib/courier/sqwebmail/sendit.sh") or "sqwebmail" in machine.read("/usr/lib/courier/sqwebmail/sendit.sh")
        assert machine.run(["test", "-e", "/etc/apache2/sites-enabled/semail.conf"]).returncode == 1
        assert not [text for text in machine.processes().values() if "sqwebmaild" in text or "authdaemon" in text], done.stdout
