"""The portal over HTTP: what a person can do, with the real provision, passwords and directory; and what nobody can."""

import concurrent.futures
import io
import json
import os
import re
import secrets
import socket
import subprocess
import tarfile
import time

import pytest

from portallab import ADMINISTRATORS, PASSWORDS, PORTAL_USER, Named, PortalHouse
from semailtest import await_true, program, tool

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2p9fXj0m0Q3Vb0yZcYbq1mQ8n2l0xS2w7tB4c5d6e7"


@pytest.fixture(scope="module")
def shared():
    """For tests that leave nothing behind. Nobody has a mailbox in it."""
    with PortalHouse() as house:
        yield house


@pytest.fixture(scope="module")
def lived():
    """ssow and xredon have mailboxes; what comes of requests changes nothing, for provision is stopped then."""
    with PortalHouse() as house:
        house.make_mailbox("ssow")
        house.make_mailbox("xredon")
        house.stop()
        house.stand_in("export", export)
        yield house


@pytest.fixture
def house():
    with PortalHouse() as house:
        yield house


def export(asked):
    word, owner = asked.decode().split()
    if word == "list":
        return [b"new 3\ncur 12\nnewest 1795475915\noctets 104857\n"]
    return [word.encode() + b" of " + owner.encode() + b"\n"] + [b"x" * 65536] * 20


def key_line(comment="ssow@laptop"):
    """A whole Ed25519 key with 32 octets at random."""
    import base64
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + secrets.token_bytes(32)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"


# -- by hand -------------------------------------------------------------------

def test_help_and_version():
    for word, expected in (("--help", "usage: portal"), ("--version", "portal (SEMail) ")):
        result = subprocess.run([program("portal"), word], capture_output=True, text=True, timeout=30)
        assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith(expected)


@pytest.mark.parametrize("value", ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999", "::1:8080", "127.0.0.1:-1", "[127.0.0.1]:8080", ""])
def test_an_address_that_makes_no_sense(value, tmp_path):
    (tmp_path / "control").mkdir()
    (tmp_path / "control/portal-listen").write_text(value + "\n")
    result = subprocess.run([program("portal")], capture_output=True, text=True, timeout=30, env={"SEMAIL_HOME": str(tmp_path)})
    assert result.returncode == 100 and "control/portal-listen" in result.stderr, result


def test_a_wrong_call():
    for words in (["-y"], ["more"], ["-u"], ["-u", "nobody-of-that-name"]):
        result = subprocess.run([program("portal"), *words], capture_output=True, text=True, timeout=30, env={"SEMAIL_HOME": "/nonexistent"})
        assert result.returncode in (100, 111) and result.stdout == "", (words, result)


# -- one person's way ----------------------------------------------------------

@pytest.mark.parametrize("language, texts", [
    ("en", ("Create your mailbox", "is free", "Your mailbox is being created", "The disk is made", "Your mailbox is ready", "Delete the mailbox", "Nothing is left of it.")),
    ("fr-FR,fr;q=0.9,en;q=0.5", ("Créer votre boîte", "est libre", "Votre boîte est en cours de création", "Créer le disque", "Votre boîte est prête", "Supprimer la boîte", "Il n'en reste rien.")),
])
def test_from_nothing_to_nothing(house, language, texts):
    create, free, making, disk, ready, unmake, gone = texts
    person = house.browser(language).sign_in("ssow")
    assert person.page.path == "/create" and create in person.page.plain
    checked = json.loads(person.get("/create/check?name=ssow&kind=subdomain&subdomain=&own=", headers={"X-Fragment": "1"}).text)
    assert checked["free"] is True and checked["text"].startswith("ssow@ssow.semail.test") and free in checked["text"]
    person.get("/create")
    person.post("/create", name="ssow", kind="subdomain", subdomain="", own="")
    assert making in person.page.plain and "ssow@ssow.semail.test" in person.page.plain
    page = person.await_over()
    assert ready in page.plain and disk in page.plain
    # Each step says how long it took.
    assert len(re.findall(r'<li class="done">.*?<span class="time">[\d.,]+\xa0m?s</span>', page.text, re.S)) == 5
    mailbox = house.is_whole("ssow", "ssow@ssow.semail.test")
    home = person.get("/")
    assert home.path == "/home" and "ssow@ssow.semail.test" in home.plain
    assert int(mailbox["uid"]) >= 30000
    # A volume of 16 MB, of which the file system itself takes some.
    assert re.search(r"(used|utilisés)", home.plain) and re.search(r"1\d([.,]\d)? M[Bo]", home.plain), home.plain
    # One for each person.
    assert person.get("/create").path == "/home"
    # A message arrives, is counted, and can be taken along.
    new = f"{house.home}/mnt/ssow/Maildir/new"
    house.run(["sh", "-c", f"printf 'Subject: hello\\n\\nThe first one.\\n' > {new}/1795475915.x.mail && chown -R --reference={new} {new}"])
    home = person.get("/home")
    assert re.search(r"(New|Nouveaux) 1 ", home.plain), home.plain
    with tarfile.open(fileobj=io.BytesIO(person.get("/export/tar").body)) as archive:
        [name] = [name for name in archive.getnames() if name.startswith("Maildir/new/")]
        assert archive.extractfile(name).read() == b"Subject: hello\n\nThe first one.\n"
    assert b"\nSubject: hello\n" in person.get("/export/mbox").body
    person.get("/delete")
    assert unmake in person.page.plain and re.search(r": 1 message, \d+", person.page.plain), person.page.plain
    person.post("/delete", address="ssow@elsewhere.test")
    assert person.page.status == 422 and 'role="alert"' in person.page.text and house.mailbox("ssow@ssow.semail.test")
    person.post("/delete", address=" SSOW@ssow.semail.test ")
    page = person.await_over()
    assert gone in page.plain
    assert not [trace for trace in house.traces() if "ssow" in trace]
    assert person.get("/").path == "/create"
    assert len(house.lines("requested")) == 2


def test_two_want_the_same(house):
    first, second = house.browser().sign_in("ssow"), house.browser().sign_in("xredon")
    for person in (first, second):
        person.get("/create")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda person: person.post("/create", name="same", kind="subdomain", subdomain="same"), (first, second)))
    ends = []
    for person in (first, second):
        if person.page.path.startswith("/progress/"):
            ends.append("Your mailbox is ready" in person.await_over().plain)
        else:
            assert person.page.status == 422
            ends.append(False)
    assert sorted(ends) == [False, True]
    assert [name for name in os.listdir(house.home / "mailboxes") if name.startswith("same@")] == ["same@same.semail.test"]


def test_refusals_of_provision_are_said_in_both_languages(shared):
    for language, text in (("en", "is taken"), ("fr", "est déjà prise")):
        person = shared.browser(language).sign_in("ssow")
        id = secrets.token_hex(16)
        (shared.home / "requests/state" / id).write_text(
            "request\tcreate\nowner\tssow\naddress\ta@a.semail.test\nstep\treserve\tdoing\nstep\tvolume\twaiting\ntry\t1\tthe disk is <b>full</b>\n")
        page = person.get(f"/progress/{id}")
        assert "the disk is <b>full</b>" in page.plain and "&lt;b&gt;" in page.text and "data-over" not in page.text and 'http-equiv="refresh"' in page.text
        (shared.home / "requests/state" / id).write_text("request\tcreate\nowner\tssow\naddress\ta@a.semail.test\nend\trefused\ttaken\tthe words of provision\n")
        page = person.get(f"/progress/{id}")
        assert text in page.plain and "the words of provision" in page.plain and "data-over" in page.text and 'http-equiv="refresh"' not in page.text
        (shared.home / "requests/state" / id).write_text("request\tcreate\nowner\tssow\naddress\ta@a.semail.test\nend\tfailed\tno disk\n")
        assert "no disk" in person.get(f"/progress/{id}").plain
        (shared.home / "requests/state" / id).unlink()


def test_a_request_that_nobody_takes_up_yet(lived):
    person = lived.browser().sign_in("ssow")
    person.get("/rebuild")
    person.post("/container", do="rebuild")
    assert person.page.path.startswith("/progress/") and "The container is made anew" in person.page.plain
    id = person.page.path.split("/")[-1]
    text = (lived.home / "requests/new" / id).read_text()
    assert text == "do rebuild\nowner ssow\n"
    status = (lived.home / "requests/new" / id).stat()
    assert (status.st_uid, status.st_mode & 0o777) == (PORTAL_USER, 0o600)
    # The portal's memory is not needed for that.
    assert lived.browser().sign_in("bare", "b").get(f"/progress/{id}").status == 404


# -- what is free, well-formed, allowed -----------------------------------------

@pytest.mark.parametrize("fields, status, sentence", [
    ({"name": "anna", "kind": "subdomain"}, True, "anna@anna.semail.test is free"),
    ({"name": "Anna", "kind": "subdomain", "subdomain": "Home"}, True, "anna@home.semail.test is free"),
    ({"name": "anna", "kind": "own", "own": "anna.example"}, True, "anna@anna.example is free"),
    ({"name": "anna", "kind": "domain"}, False, "does not allow this kind"),
    ({"name": "anna", "kind": "own", "own": "x.semail.test"}, False, "somebody else's"),
    ({"name": "anna", "kind": "own", "own": "semail.test"}, False, "somebody else's"),
    ({"name": "anna", "kind": "own", "own": "localhost"}, False, "no domain"),
    ({"name": "anna", "kind": "own", "own": "192.0.2.1"}, False, "no domain"),
    ({"name": "anna", "kind": "own", "own": "аnna.example"}, False, "no domain"),
    ({"name": "anna", "kind": "own", "own": "a/../b.example"}, False, "no domain"),
    ({"name": "anna", "kind": "own", "own": ""}, False, "no domain"),
    ({"name": "", "kind": "subdomain"}, False, "A name has"),
    ({"name": "a b", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "../../etc", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": ".making", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "a..b", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "a@b", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "a\0b", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "аnna", "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "a" * 65, "kind": "subdomain", "subdomain": "x"}, False, "A name has"),
    ({"name": "anna", "kind": "subdomain", "subdomain": "two.steps"}, False, "no domain"),
    ({"name": "anna", "kind": "subdomain", "subdomain": "-x"}, False, "no domain"),
    ({"name": "anna", "kind": "subdomain", "subdomain": "x" * 64}, False, "no domain"),
    ({"name": "postmaster", "kind": "subdomain", "subdomain": "x"}, False, "reserved"),
    ({"name": "anna", "kind": "subdomain", "subdomain": "www"}, False, "reserved"),
    ({"name": "anna", "kind": "subdomain", "subdomain": "mail"}, False, "reserved"),
    ({"name": "anna", "kind": "nonsense", "subdomain": ""}, True, "anna@anna.semail.test is free"),
])
def test_choices(shared, fields, status, sentence):
    import urllib.parse
    person = shared.browser().sign_in("ssow")
    answer = person.get("/create/check?" + urllib.parse.urlencode(fields), headers={"X-Fragment": "1"})
    assert answer.headers["Content-Type"] == "application/json"
    checked = json.loads(answer.text)
    assert (checked["free"], sentence in checked["text"]) == (status, True), checked
    if not status:
        # The form says the same, and asks nobody.
        before = len(shared.lines("requested"))
        person.get("/create")
        page = person.post("/create", **fields)
        assert page.status == 422 and sentence in page.plain and 'role="alert"' in page.text
        assert len(shared.lines("requested")) == before


def test_choices_that_settings_allow(shared):
    person = shared.browser().sign_in("ssow")
    try:
        shared.control("domain-open", "yes")
        shared.control("own-domains", "no")
        shared.control("reserved-names", "boss\n# a remark\nsales")
        page = person.get("/create")
        assert 'value="domain"' in page.text and 'value="own"' not in page.text
        check = lambda query: json.loads(person.get(f"/create/check?{query}", headers={"X-Fragment": "1"}).text)
        assert check("name=anna&kind=domain")["free"] is True
        assert "does not allow" in check("name=anna&kind=own&own=anna.example")["text"]
        assert "reserved" in check("name=boss&kind=domain")["text"] and "reserved" in check("name=x&kind=subdomain&subdomain=sales")["text"]
        shared.control("domain", "")
        assert "offers no domain" in person.get("/create").plain
    finally:
        shared.control("domain", "semail.test")
        for name in ("domain-open", "own-domains", "reserved-names"):
            shared.control(name, None)


def test_what_others_have_is_taken(lived):
    # A third person, who may choose.
    person = lived.browser().sign_in("bare", "b")
    check = lambda query: json.loads(person.get(f"/create/check?{query}", headers={"X-Fragment": "1"}).text)["text"]
    assert "is taken" in check("name=ssow&kind=subdomain&subdomain=ssow")
    assert "somebody else's" in check("name=other&kind=subdomain&subdomain=ssow")
    for inner in (".making", ".leaving"):
        path = lived.home / "mailboxes" / inner / "soon@soon.semail.test"
        path.parent.mkdir(exist_ok=True)
        path.write_text("owner third\n")
        assert "is taken" in check("name=soon&kind=subdomain") and "somebody else's" in check("name=x&kind=subdomain&subdomain=soon")
        path.unlink()


# -- the page of a mailbox ------------------------------------------------------

def test_home(lived):
    person = lived.browser().sign_in("ssow")
    plain = person.page.plain
    assert person.page.path == "/home"
    for text in ("ssow@ssow.semail.test", "New 3", "Read 12", "Last received", "This host gives no containers", "mail.semail.test", "465"):
        assert text in plain, text
    assert re.search(r'<time datetime="2026-11-23T\d\d:\d\d:35Z">', person.page.text)
    assert 'aria-label="' in re.search(r'<svg class="meter".*?>', person.page.text)[0]
    lived.control("webmail-url", "https://webmail.semail.test/")
    assert 'href="https://webmail.semail.test/"' in person.get("/home").text
    lived.control("webmail-url", "javascript:alert(1)")
    assert "javascript:" not in person.get("/home").text
    lived.control("webmail-url", None)


def test_home_says_where_imap_is(lived):
    """Only where the administrator has it."""
    person = lived.browser().sign_in("ssow")
    assert "993" not in person.get("/home").plain and "start mutt" not in person.get("/home").plain, "it has no container"
    lived.control("imap", "yes")
    assert "993" in person.get("/home").plain and "install there what your program speaks to" not in person.get("/home").plain
    lived.control("imap", None)


def test_home_with_a_container(lived):
    path = lived.home / "mailboxes/ssow@ssow.semail.test"
    before = path.read_text()
    (lived.home / "ssh/ssow").mkdir(parents=True, exist_ok=True)
    keys = lived.home / "ssh/ssow/authorized_keys"
    (lived.home / "run/containers").mkdir(exist_ok=True)
    state = lived.home / "run/containers/ssow"
    one, other = key_line(), key_line("<script>alert(1)</script>")
    # What a name of a key should not have is not handed on either.
    plain = other.replace("<", "_").replace(">", "_")
    try:
        path.write_text(before + "container 172.30.0.3\n")
        keys.write_text(f"{one}\n{other}\n")
        person = lived.browser().sign_in("ssow")
        for word, text, buttons in (("running\t1795475915", "runs", {"stop", "restart"}), ("exited\t1795475915", "stopped", {"start"}), ("missing\t0", "missing", set())):
            state.write_text(word + "\n")
            page = person.get("/home")
            assert text in page.plain
            assert set(re.findall(r'<button name="do" value="(\w+)"', page.text)) == buttons
            assert 'href="/rebuild"' in page.text
        assert "install there what your program speaks to" in page.plain
        assert "ssh -J semail-ssh@mail.semail.test ssow@172.30.0.3" in page.plain
        assert "<script>alert" not in page.text
        fingerprints = re.findall(r"SHA256:[\w+/]{43}", page.text)
        shown = subprocess.run([tool("ssh-keygen"), "-l", "-f", keys], capture_output=True, text=True)
        assert set(re.findall(r"SHA256:\S+", shown.stdout)) == set(fingerprints), shown
        # Starting, stopping, and a word that is none.
        for word in ("start", "stop", "restart"):
            person.get("/home")
            person.post("/container", do=word)
            assert last_request(lived, person) == f"do {word}\nowner ssow\n"
        person.get("/home")
        assert person.post("/container", do="destroy").status == 400
        # Keys: the whole list goes.
        new = key_line("third")
        person.get("/home")
        person.post("/keys/add", key=f"  {new}\r\n")
        assert last_request(lived, person) == f"do keys\nowner ssow\nkey {one}\nkey {plain}\nkey {new}\n"
        person.get("/home")
        person.post("/keys/remove", fingerprint=fingerprints[0])
        assert last_request(lived, person) == f"do keys\nowner ssow\nkey {plain}\n"
        person.get("/home")
        assert person.post("/keys/remove", fingerprint="SHA256:no").path == "/home"
    finally:
        path.write_text(before)
        keys.unlink()
        state.unlink(missing_ok=True)


def last_request(house, person):
    return (house.home / "requests/new" / person.page.path.split("/")[-1]).read_text()


@pytest.mark.parametrize("key, sentence", [
    ("", "one line"), ("hello", "begins with its type"), ("ssh-dss AAAA", "begins with its type"), ("ssh-ed25519", "is missing"),
    ('command="sh" ' + KEY, "begins with its type"), ("restrict " + KEY, "begins with its type"),
    ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2p", "is missing"), ("ssh-ed25519 ////", "is missing"), ("ssh-rsa " + KEY.split()[1], "is missing"),
    (KEY + "\n" + KEY, "one line"), (KEY + "\rcommand", "one line"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "private key"), ("ssh-ed25519 " + "A" * 9000, "longer than any"),
    ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC" + "7" * 171 + "=", None),
])
def test_keys_that_are_none(lived, key, sentence):
    path = lived.home / "mailboxes/xredon@xredon.semail.test"
    before = path.read_text()
    try:
        path.write_text(before + "container 172.30.0.4\n")
        person = lived.browser().sign_in("xredon")
        page = person.post("/keys/add", key=key)
        assert page.status == 422 and 'role="alert"' in page.text and (sentence or "") in page.plain, page.plain
        if "PRIVATE" in key:
            assert "BEGIN" not in page.text
    finally:
        path.write_text(before)


def test_a_service_that_is_not_there(lived):
    lived.stand_ins[0].close()
    try:
        person = lived.browser().sign_in("ssow")
        assert "cannot be counted" in person.page.plain
        page = person.get("/export/tar")
        assert page.status == 503 and "cannot be read" in page.plain and "Content-Disposition" not in page.headers
    finally:
        lived.stand_in("export", export)


def test_export(lived):
    person = lived.browser().sign_in("ssow")
    for form, kind in (("tar", "application/x-tar"), ("mbox", "application/mbox")):
        page = person.get(f"/export/{form}")
        assert page.status == 200 and page.headers["Content-Type"] == kind and page.headers["Content-Disposition"] == f'attachment; filename="ssow.{form}"'
        assert page.body == f"{form} of ssow\n".encode() + b"x" * 65536 * 20
    assert person.get("/export/list").status == 404 and person.get("/export/tar%20xredon").status == 404
    assert len(lived.lines("exported")) >= 2


def test_an_export_that_breaks_off_is_not_whole(lived):
    def broken(asked):
        yield b"x" * 1000
        time.sleep(0.3)
        raise OSError
    lived.stand_in("export", lambda asked: export(asked) if asked.startswith(b"list") else broken(asked))
    try:
        person = lived.browser().sign_in("ssow")
        # The stand-in closes in form, so this is whole; a reset is not.
        assert person.get("/export/tar").body == b"x" * 1000
    finally:
        lived.stand_in("export", export)


# -- a domain of one's own -------------------------------------------------------

def test_a_domain_of_ones_own(house):
    names = Named(house)
    try:
        names.publish()
        person = house.browser().sign_in("ssow")
        person.get("/create")
        person.post("/create", name="anna", kind="own", own="anna.example")
        page = person.await_over()
        assert "as soon as your domain's MX record leads here" in page.plain and 'href="/home#records"' in page.text
        assert house.mailbox("anna@anna.example") is None and house.mailbox("anna@anna.example", ".making")
        home = person.get("/home")
        assert "waits for your domain's MX record" in home.plain and 'data-load="/records"' in home.text
        page = person.get("/records")
        states = dict(re.findall(r'<div class="record (\w+)">.*?<strong>(\w+)</strong>', page.text, re.S))
        shown = {kind: state for state, kind in re.findall(r'<div class="record (\w+)">.*?<strong>(\w+)</strong>', page.text, re.S)}
        assert shown["MX"] == shown["SPF"] == shown["DMARC"] == "missing" and "mail.semail.test" in page.plain, states
        # Somebody else claims it meanwhile.
        other = house.browser().sign_in("bare", "b")
        other.get("/create")
        assert "somebody else's" in other.post("/create", name="bob", kind="own", own="anna.example").plain
        assert other.get("/records").status == 404
        # Now it does not lead here.
        person.get("/records")
        person.post("/check")
        assert "as soon as your domain's MX" in person.await_over().plain
        names.publish("anna.example. MX 10 mail.semail.test.", 'anna.example. TXT "v=spf1 mx -all"', '_dmarc.anna.example. TXT "v=DMARC1; p=none"')
        assert await_true(lambda: 'class="record ok"' in person.get("/records").text, 20, 1), person.page.plain
        shown = {kind: state for state, kind in re.findall(r'<div class="record (\w+)">.*?<strong>(\w+)</strong>', person.page.text, re.S)}
        assert shown["MX"] == shown["SPF"] == shown["DMARC"] == "ok", person.page.plain
        person.post("/check")
        assert "Done." in person.await_over().plain
        house.is_whole("ssow", "anna@anna.example")
        assert "waits for your domain" not in person.get("/home").plain
        # The DNS is down: the page says so.
        names.stop()
        assert await_true(lambda: re.search(r'class="record unknown"|cannot be asked', person.get("/records").text), 60, 1), person.page.plain
    finally:
        names.stop()


# -- administration ------------------------------------------------------------

def test_administration(lived):
    admin = lived.browser().sign_in("xredon")
    assert 'href="/admin"' in admin.page.text
    page = admin.get("/admin")
    # ssow, xredon, and postmaster, whom semail init makes.
    assert "3 mailboxes" in page.plain and "ssow@ssow.semail.test" in page.plain and re.search(r"\d+ [KM]B of 1\d(\.\d)? MB used", page.plain)
    assert "ssow@" in admin.get("/admin?q=SSOW").plain and "xredon@" not in admin.page.plain
    assert "There is none." in admin.get("/admin?q=%3Cb%3E").plain and "<b>" not in admin.page.text
    for path, fields, text in (("/admin/suspend", {}, "do suspend\nowner ssow\nby xredon\n"), ("/admin/resume", {}, "do resume\nowner ssow\nby xredon\n"),
                               ("/admin/resize", {"size": " 20m "}, "do resize\nowner ssow\nsize 20M\nby xredon\n")):
        admin.get("/admin")
        admin.post(path, owner="ssow", **fields)
        assert admin.page.path.startswith("/progress/") and last_request(lived, admin) == text
    for owner, size, status in (("nobody", "20M", 404), ("../ssow", "20M", 404), ("ssow", "much", 422), ("ssow", "-1", 422), ("ssow", "", 422), ("ssow", "0", 422), ("ssow\ndo delete", "20M", 404)):
        admin.get("/admin")
        assert admin.post("/admin/resize", owner=owner, size=size).status == status, (owner, size)
    # Whoever has been one is none after signing in again, once the group says so.
    lived.control("ldap-admin-group", None)
    try:
        assert lived.browser().sign_in("xredon").get("/admin").status == 403
    finally:
        lived.control("ldap-admin-group", ADMINISTRATORS)


def test_the_queue_of_a_day(lived):
    write_logs(lived)
    now = int(time.time())
    (lived.home / "run/depth").write_text("".join(f"{now - 60 * minute}\t{minute % 50}\n" for minute in range(1440, 0, -1)) + f"{now}\t7\n")
    page = lived.browser().sign_in("xredon").get("/admin/queue")
    assert "7 messages wait now" in page.plain and "At most 49 messages waited at once." in page.plain
    assert "4 delivered, 1 put off, 1 given up." in page.plain and "nobody answers" in page.plain and "550 no such user" in page.plain
    plots = re.findall(r'<svg class="plot" .*?</svg>', page.text)
    assert len(plots) == 2
    for plot in plots:
        import xml.etree.ElementTree
        root = xml.etree.ElementTree.fromstring(plot)
        assert root.get("role") == "img" and root.get("aria-label")
        for bar in root.iter("rect"):
            assert 0 <= float(bar.get("y")) and float(bar.get("y")) + float(bar.get("height")) <= 220 and float(bar.get("height")) > 0
    assert len(re.findall("<rect", plots[0])) >= 90 and {"delivered", "deferred", "failed"} == set(re.findall(r'<rect class="(\w+)"', plots[1]))
    (lived.home / "run/depth").unlink()
    assert "is not known" in lived.browser().sign_in("xredon").get("/admin/queue").plain


# -- deliveries ----------------------------------------------------------------

SENT, RECEIVED, OTHER, WAITING = "1k0z3zqffjwafqwe", "1k0z7829mgkp68jj", "1k109p0m74mp7yz4", "1k109nz4jpe1f8wt"


def write_logs(house):
    # Of a minute ago: what was before a mailbox was made is not its owner's.
    stamp = time.strftime("%Y-%m-%d_%H:%M:%S", time.gmtime(time.time() + 5)) + ".12345"
    (house.logs / "outbound/current").write_text(
        f"{stamp} smtpd-session: info: queued id={SENT} client=172.30.0.3 by=ssow@ssow.semail.test\n"
        f"{stamp} smtpd-session: info: queued id={WAITING} client=172.30.0.3 by=ssow@ssow.semail.test\n"
        f"{stamp} smtpd-session: info: queued id={OTHER} client=192.0.2.1 by=xredon@xredon.semail.test\n"
        "garbage\n\n")
    (house.logs / "inbound/current").write_text(f"{stamp} smtpd-session: info: queued id={RECEIVED} client=192.0.2.7\n")
    (house.logs / "qrunner/@40000000689a0000000000aa.s").write_text(
        f'{stamp} qrunner: info: relayed id={SENT} to=anna@school.test host=mx.school.test answer="250 2.0.0 <b>Ok\\x22" size=4000 seconds=1\n')
    (house.logs / "qrunner/current").write_text(
        f'{stamp} qrunner: info: failed id={SENT} to=nobody@school.test status=5.1.1 host=mx.school.test reason="550 no such user"\n'
        f"{stamp} qrunner: info: reported id={SENT} as=1k109zzzzzzzzzzz to=ssow@ssow.semail.test action=failed\n"
        f'{stamp} qrunner: info: deferred id={WAITING} to=bob@slow.test status=4.4.1 host="" reason="nobody answers"\n'
        f"{stamp} qrunner: info: delivered id={RECEIVED} to=ssow@ssow.semail.test size=100 seconds=0\n"
        f"{stamp} qrunner: info: delivered id={RECEIVED} to=hidden@xredon.semail.test size=100 seconds=0\n"
        f'{stamp} qrunner: info: relayed id={OTHER} to=secret@school.test host=mx.school.test answer="250 ok" size=1 seconds=1\n')
    for path in house.logs.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_deliveries(lived):
    write_logs(lived)
    person = lived.browser().sign_in("ssow")
    page = person.get("/log")
    assert set(re.findall(r'href="/log/(\w+)"', page.text)) == {SENT, RECEIVED, WAITING}
    assert "to anna@school.test and one other" in page.plain and "secret@school.test" not in page.plain and OTHER not in page.text
    page = person.get(f"/log/{SENT}")
    for text in ("A message you sent", "Taken by mx.school.test", '250 2.0.0 <b>Ok"', "Refused by mx.school.test", "550 no such user", "A report went to", "failed"):
        assert text in page.plain, text
    assert "<b>Ok" not in page.text and 'value="cancel"' not in page.text
    # Of what was received, only one's own.
    page = person.get(f"/log/{RECEIVED}")
    assert "A message you received" in page.plain and "hidden@" not in page.plain and 'value="cancel"' not in page.text
    page = person.get(f"/log/{WAITING}")
    assert "nobody answers" in page.plain and "waits" in page.plain
    for word in ("cancel", "retry"):
        person.get(f"/log/{WAITING}")
        person.post(f"/log/{WAITING}", do=word)
        assert last_request(lived, person) == f"do {word}\nowner ssow\nid {WAITING}\n"
    person.get(f"/log/{WAITING}")
    assert person.post(f"/log/{WAITING}", do="hold").status == 400
    person.get("/log")
    assert person.post(f"/log/{SENT}", do="cancel", token=token_of(person)).status == 409


def token_of(person):
    return person.get("/delete").token


def test_deliveries_of_others_are_nobodys_business(lived):
    write_logs(lived)
    person = lived.browser().sign_in("ssow")
    token = token_of(person)
    before = len(lived.lines("requested"))
    for id in (OTHER, "1k109zzzzzzzzzzz", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "x" * 3000, "%00", SENT.upper()):
        assert person.get(f"/log/{id}").status in (404, 400), id
        assert person.send("POST", f"/log/{id}", f"token={token}&do=cancel", {"Content-Type": "application/x-www-form-urlencoded"}).status in (404, 400), id
    assert len(lived.lines("requested")) == before


def test_real_lines_of_real_programs(house):
    """A message comes in, another waits: the page tells of both, by what svlogd has kept; the one that waits is cancelled by provision."""
    def logged(service, command, input=""):
        log = house.logs / service
        log.chmod(0o755)
        script = f"{command} 2>&1 >/dev/null | {tool('svlogd')} -tt {log}"
        house.run(["sh", "-c", script], input=input, timeout=60)
        for path in log.iterdir():
            path.chmod(0o644)

    def dialogue(sender, recipient):
        return "".join(f"{line}\n" for line in ("HELO me", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA", "Subject: hello", "", "Hello.", ".", "QUIT"))

    house.make_mailbox("ssow")
    time.sleep(1.1)
    logged("inbound", f"{program('smtpd-session')} inbound", dialogue("me@elsewhere.test", "ssow@ssow.semail.test"))
    logged("outbound", f"{program('smtpd-session')} submission", dialogue("ssow@ssow.semail.test", "bob@[127.0.0.1]"))
    [waiting] = re.findall(r"queued id=(\w+)", (house.logs / "outbound/current").read_text())
    # A message by hand is the host's and nobody's; here the line says whose it is, as that of a session does that knows.
    current = house.logs / "outbound/current"
    current.write_text(re.sub(r"(queued id=\w+ .*)", r"\1 by=ssow@ssow.semail.test", current.read_text()))
    # Port 25 of loopback: nobody is there.
    logged("qrunner", f"{program('qrunner')} --once")
    person = house.browser().sign_in("ssow")
    page = person.get("/log")
    found = dict(re.findall(r'href="/log/(\w+)"><span class="badge (\w+)"', page.text))
    assert sorted(found.values()) == ["delivered", "waiting"] and found[waiting] == "waiting", page.plain
    assert "New 1 " in person.get("/home").plain
    page = person.get(f"/log/{waiting}")
    assert "bob@[127.0.0.1]" in page.plain and 'value="cancel"' in page.text, page.plain
    assert list((house.home / "queue").rglob(waiting))


def test_what_was_before_is_somebody_elses(lived):
    write_logs(lived)
    path = lived.home / "mailboxes/ssow@ssow.semail.test"
    before = path.read_text()
    try:
        path.write_text(re.sub(r"(?m)^since .*$", f"since {int(time.time()) + 60}", before))
        assert "Nothing lately" in lived.browser().sign_in("ssow").get("/log").plain
    finally:
        path.write_text(before)


def test_the_container_sends_without_a_password(lived):
    write_logs(lived)
    stamp = time.strftime("%Y-%m-%d_%H:%M:%S", time.gmtime(time.time() + 5)) + ".0"
    with open(lived.logs / "outbound/current", "a") as file:
        file.write(f"{stamp} smtpd-session: info: queued id=1k109p1cf8mbdwwc client=172.30.0.9\n")
    path = lived.home / "mailboxes/ssow@ssow.semail.test"
    before = path.read_text()
    person = lived.browser().sign_in("ssow")
    assert "1k109p1cf8mbdwwc" not in person.get("/log").text
    try:
        path.write_text(before + "container 172.30.0.9\n")
        assert "1k109p1cf8mbdwwc" in person.get("/log").text
    finally:
        path.write_text(before)


# -- sessions and passwords ------------------------------------------------------

def cookie(page, name):
    return next((field for field in page.headers.get_all("Set-Cookie") or [] if field.startswith(name + "=")), None)


def test_cookies(shared):
    person = shared.browser()
    page = person.get("/sign-in")
    assert re.fullmatch(r"__Host-semail-visitor=[0-9a-f]{32}; Path=/; HttpOnly; SameSite=Strict; Secure", cookie(page, "__Host-semail-visitor"))
    page = person.post("/sign-in", user="ssow", password=PASSWORDS["ssow"], follow=False)
    assert page.status == 303
    assert re.fullmatch(r"__Host-semail-session=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict; Secure", cookie(page, "__Host-semail-session"))
    assert "Max-Age=0" in cookie(page, "__Host-semail-visitor")
    # Nothing more is set on the way.
    assert cookie(person.get("/create"), "__Host-semail-session") is None


def test_cookies_where_a_network_is_in_between(shared):
    try:
        for url, secure in (("http://portal.semail.test/", False), ("http://localhost:8080/", True), ("http://127.0.0.1:8080", True), ("http://[::1]:8080/", True),
                            ("https://portal.semail.test", True), ("", True)):
            shared.control("portal-url", url)
            shared.end("portal")
            shared.start_portal()
            person = shared.browser()
            page = person.post("/sign-in", user="ssow", password=PASSWORDS["ssow"], follow=False)
            name = "__Host-semail-session" if secure else "semail-session"
            assert ("; Secure" in cookie(page, name)) == secure, url
    finally:
        shared.control("portal-url", None)
        shared.end("portal")
        shared.start_portal()


def test_a_session_id_that_was_brought_along_is_not_taken_up(shared):
    person = shared.browser()
    fixed = "ab" * 32
    person.cookies["__Host-semail-session"] = fixed
    person.sign_in("ssow")
    assert person.cookies["__Host-semail-session"] != fixed
    attacker = shared.browser()
    attacker.cookies["__Host-semail-session"] = fixed
    assert attacker.get("/create").path.startswith("/sign-in")
    # Signing in once more in the same browser ends the session that was there.
    old = person.cookies["__Host-semail-session"]
    token = person.get("/create").token
    person.post("/sign-in", user="xredon", password=PASSWORDS["xredon"], token=token)
    assert person.cookies["__Host-semail-session"] != old
    attacker.cookies["__Host-semail-session"] = old
    assert attacker.get("/create").path.startswith("/sign-in")


def test_signing_out(shared):
    one, two, other = shared.browser().sign_in("ssow"), shared.browser().sign_in("ssow"), shared.browser().sign_in("xredon")
    kept = dict(one.cookies)
    page = one.post("/sign-out")
    assert "You are signed out." in page.plain
    one.cookies = kept
    assert one.get("/create").path.startswith("/sign-in") and two.get("/create").path == "/create"
    three = shared.browser().sign_in("ssow")
    page = three.post("/sign-out-everywhere")
    assert "all devices" in page.plain
    assert two.get("/create").path.startswith("/sign-in") and other.get("/create").path == "/create"


def test_a_restart_loses_sessions_and_nothing_else(house):
    person = house.browser().sign_in("ssow")
    person.get("/create")
    person.post("/create", name="ssow", kind="subdomain", subdomain="", own="")
    path = person.page.path
    assert house.end("portal") == 0
    house.start_portal()
    person.port = house.port
    assert person.get(path).path == f"/sign-in?then={path.replace('/', '%2F')}"
    person.post("/sign-in", user="ssow", password=PASSWORDS["ssow"], then=path)
    assert person.page.path == path
    assert "Your mailbox is ready" in person.await_over().plain


@pytest.mark.parametrize("then, leads", [("/log", "/log"), ("//evil.test/", "/home"), ("https://evil.test/", "/home"), ("/\\evil.test", "/home"), ("javascript:alert(1)", "/home"),
                                         ("/log\r\nSet-Cookie: x=y", "/home"), ("", "/home")])
def test_where_signing_in_leads(shared, then, leads):
    person = shared.browser()
    page = person.get("/sign-in")
    page = person.post("/sign-in", user="ssow", password=PASSWORDS["ssow"], then=then, follow=False)
    assert (page.status, page.location) == (303, leads)
    person.get("/language/fr?back=" + __import__("urllib.parse").parse.quote(then, safe=""), follow=False)
    assert person.page.status == 303 and person.page.location == (leads if leads != "/home" else "/")


@pytest.mark.parametrize("user, password", [("ssow", "wrong"), ("ssow", ""), ("", "x"), ("*", "correct horse"), ("a)(uid=*", "x"), ("ssow\0xredon", "x"), ("ssow", "correct horse\0"),
                                            ("<script>alert(1)</script>", "x"), ("x" * 60000, "x"), ("ssow@elsewhere.test", "correct horse"), ("locked", "")])
def test_not_let_in(shared, user, password):
    # Each from an address of its own, so that guesses do not add up.
    person = shared.browser(address=f"127.0.7.{1 + hash((user, password)) % 250}")
    page = person.post("/sign-in", user=user, password=password)
    assert page.status == 403 and "is not right" in page.plain and "<script>alert" not in page.text
    assert person.get("/home").path.startswith("/sign-in")
    assert "correct horse" not in shared.text_of("portal") + shared.text_of("auth")


def test_names_that_can_own_nothing(shared):
    for user in ("star*", "br(ace)", "back\\slash", "jörg"):
        person = shared.browser(address="127.0.8.1")
        page = person.post("/sign-in", user=user, password=PASSWORDS[user])
        assert page.status == 403 and "no mailbox can belong" in page.plain and user in page.plain
        assert "__Host-semail-session" not in person.cookies


def test_guessing_is_slowed_for_each_address_and_each_user():
    with PortalHouse(options=["-x"], provision=False) as house:
        for name in ("address-", "user-"):
            assert not list((house.home / "run/guesses").glob(name + "*"))
        proxy = {"X-Forwarded-For": "198.51.100.9, 192.0.2.77"}
        person = house.browser()
        for _ in range(4):
            assert person.post("/sign-in", user="ssow", password="wrong", headers=proxy).status == 403
        # Counted for whom the web server in front names last.
        assert {path.name for path in (house.home / "run/guesses").iterdir()} >= {"address-192.0.2.77", "user-ssow"}
        hour = int(time.time()) // 3600
        for name in ("address-192.0.2.77", "user-ssow"):
            path = house.home / "run/guesses" / name
            text = path.read_text()
            path.write_text(" ".join([f"{hour:010d}", f"{40:010d}", f"{0:010d}"]) + "\n" if len(text.split()) == 3 else text)
        page = person.post("/sign-in", user="ssow", password=PASSWORDS["ssow"], headers=proxy)
        assert page.status == 429 and "Too many wrong passwords" in page.plain
        # What comes from nowhere near is believed as little as a word that is no address.
        for value in ("nonsense", "", "192.0.2.1:80"):
            person.post("/sign-in", user="nobody", password="x", headers={"X-Forwarded-For": value})
        assert "address-127.0.0.1" in os.listdir(house.home / "run/guesses")


def test_without_x_nobody_names_another_address(shared):
    person = shared.browser(address="127.0.9.9")
    person.post("/sign-in", user="nobody", password="x", headers={"X-Forwarded-For": "192.0.2.78"})
    names = os.listdir(shared.home / "run/guesses")
    assert "address-127.0.9.9" in names and "address-192.0.2.78" not in names


def test_the_directory_is_down():
    with PortalHouse(provision=False) as house:
        house.slapd.stop()
        page = house.browser().post("/sign-in", user="ssow", password=PASSWORDS["ssow"])
        assert page.status == 503 and "The directory does not answer" in page.plain
        house.slapd.start()
        house.browser().sign_in("ssow")
        house.end("auth")
        (house.home / "run/auth").unlink(missing_ok=True)
        page = house.browser("fr").post("/sign-in", user="ssow", password=PASSWORDS["ssow"])
        assert page.status == 503 and "L'annuaire ne répond pas" in page.plain


# -- what protects it ----------------------------------------------------------

PAGES = ["/", "/sign-in", "/create", "/create/check?name=x", "/home", "/log", "/delete", "/rebuild", "/records", "/admin", "/admin/queue", "/progress/" + "0" * 32, "/nowhere",
         "/static/portal.css", "/static/portal.js", "/static/icon.svg", "/language/fr", "/export/tar"]


def test_every_answer_protects_itself(lived):
    person, stranger = lived.browser().sign_in("ssow"), lived.browser()
    for browser in (person, stranger):
        for path in PAGES:
            page = browser.get(path, follow=False)
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy and "form-action 'self'" in policy, path
            assert page.headers["X-Content-Type-Options"] == "nosniff" and page.headers["X-Frame-Options"] == "DENY" and page.headers["Referrer-Policy"] == "no-referrer", path
            if not path.startswith("/static"):
                assert page.headers["Cache-Control"] == "no-store", path
            if page.headers.get("Content-Type", "").startswith("text/html"):
                # Nothing inline, nothing from elsewhere.
                assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)|javascript:|(src|href)=\"(https?:)?//", page.text), path
                assert re.search(r'<html lang="en">', page.text) and "[" not in re.sub(r"\[\d", "", re.sub(r"<[^>]*>", "", page.text)), path
            assert page.status == (browser.send("HEAD", path).status), path


def test_assets_are_kept_by_browsers(shared):
    page = shared.browser().get("/sign-in")
    for path in set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)):
        answer = shared.browser().get(path)
        assert answer.status == 200 and "immutable" in answer.headers["Cache-Control"] and answer.body
    assert shared.browser().get("/static/portal.css").headers["Cache-Control"] == "no-cache"
    for path in ("/static/..%2f..%2fetc%2fpasswd", "/static/../control/hostname", "/static/layout.mustache"):
        assert shared.browser().get(path).status == 404


POSTS = [("/sign-out", {}), ("/sign-out-everywhere", {}), ("/create", {"name": "ssow", "kind": "subdomain"}), ("/container", {"do": "stop"}), ("/keys/add", {"key": KEY}), ("/keys/remove", {}),
         ("/check", {}), (f"/log/{WAITING}", {"do": "cancel"}), ("/delete", {"address": "ssow@ssow.semail.test"}), ("/sign-in", {"user": "xredon", "password": PASSWORDS["xredon"]})]


@pytest.mark.parametrize("path, fields", POSTS, ids=[path for path, _ in POSTS])
def test_forms_of_others(lived, path, fields):
    write_logs(lived)
    person, foreign = lived.browser().sign_in("ssow"), lived.browser().sign_in("xredon")
    before = len(lived.lines("requested"))
    own = person.get("/delete").token
    for token in ("", "0" * 64, foreign.get("/delete").token, own[:-1], own + "0", own.upper()):
        page = person.post(path, token=token, **fields)
        assert page.status == 403 and "too old, or was not made here" in page.plain, token
    # With the token, and a browser that says the form is somebody else's.
    for site in ("cross-site", "same-site"):
        assert person.post(path, token=own, headers={"Sec-Fetch-Site": site}, **fields).status == 403
    # Not as a form at all.
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x", ""):
        assert person.send("POST", path, f"token={own}", {"Content-Type": kind}).status == 400
    # A link can do none of it.
    assert person.get(path.replace("/create", "/sign-out").replace("/delete", "/sign-out").replace("/sign-in", "/sign-out").replace(f"/log/{WAITING}", "/sign-out"), follow=False).status == 404
    assert len(lived.lines("requested")) == before
    assert person.get("/home").path == "/home"


def test_signing_in_needs_a_form_of_ours(shared):
    person = shared.browser()
    page = person.get("/sign-in")
    other = shared.browser().get("/sign-in")
    fields = {"user": "ssow", "password": PASSWORDS["ssow"]}
    assert person.post("/sign-in", token="", **fields).status == 403
    assert person.post("/sign-in", token=other.token, **fields).status == 403
    person.cookies.clear()
    assert person.post("/sign-in", token=page.token, **fields).status == 403
    assert "__Host-semail-session" not in person.cookies


def test_only_who_has_signed_in(lived):
    for path in ("/create", "/home", "/log", "/delete", "/rebuild", "/records", "/export/tar", "/admin", "/admin/queue", "/progress/" + "0" * 32):
        page = lived.browser().get(path, follow=False)
        assert page.status == 303 and page.location.startswith("/sign-in"), path
        assert lived.browser().get(path, headers={"X-Fragment": "1"}).status == 403
    for path, fields in POSTS[:-1]:
        stranger = lived.browser()
        stranger.get("/sign-in")
        page = stranger.post(path, follow=False, **fields)
        assert page.status == 303 and page.location == "/sign-in", path
    for value in ("0" * 64, "x", "", "a" * 5000, "../../../etc/passwd", "%00"):
        stranger = lived.browser()
        stranger.cookies["__Host-semail-session"] = value
        assert stranger.get("/home").path.startswith("/sign-in")


def test_administration_is_for_administrators(lived):
    before = len([line for line in lived.lines("requested") if "owner=xredon" in line])
    person = lived.browser().sign_in("ssow")
    assert "/admin" not in person.get("/home").text
    for path in ("/admin", "/admin/queue", "/admin?q=x"):
        page = person.get(path)
        assert page.status == 403 and "xredon" not in page.text
    token = person.get("/delete").token
    for path in ("/admin/resize", "/admin/suspend", "/admin/resume"):
        assert person.post(path, token=token, owner="xredon", size="1G").status == 403
    assert len([line for line in lived.lines("requested") if "owner=xredon" in line]) == before


def test_bodies_that_are_too_large(shared):
    person = shared.browser()
    token = person.get("/sign-in").token
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert person.send("POST", "/sign-in", f"token={token}&user=" + "x" * 70000, kind).status == 413
    # Without a length: as it comes, until it is too much.
    with socket.create_connection(("127.0.0.1", shared.port), timeout=30) as connection:
        head = f"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: {kind['Content-Type']}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        sent = 0
        try:
            while sent < 64 << 20:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
            raise AssertionError("64 MB were taken")
        except OSError:
            pass
        assert sent < 32 << 20
    # Many fields, octets that are no text, an escape that is none.
    for body in (b"a=b&" * 100, b"token=%ff%fe", b"token=%zz", b"token=%4", b"\xff=\xff"):
        assert person.send("POST", "/sign-in", body, kind).status == 400, body
    with socket.create_connection(("127.0.0.1", shared.port), timeout=30) as connection:
        connection.sendall(b"GET /sign-in HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100000)
        assert b" 200 " not in connection.recv(4096)
    assert shared.browser().get("/sign-in").status == 200


def test_bodies_that_do_not_come(shared):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=60) as connection:
        connection.sendall(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken=")
        started = time.monotonic()
        # A word now and then does not keep it waiting for ever.
        while time.monotonic() - started < 40:
            connection.settimeout(4)
            try:
                answer = connection.recv(4096)
                break
            except TimeoutError:
                connection.sendall(b"x")
        assert answer.startswith(b"HTTP/1.1 408 ") and 15 < time.monotonic() - started < 30


@pytest.mark.parametrize("request_line", ["GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "GET /../../etc/passwd HTTP/1.1", "GET //etc/passwd HTTP/1.1", "GET /\\..\\x HTTP/1.1", "GET /home/../admin HTTP/1.1",
                                          "GET http://evil.test/home HTTP/1.1", "OPTIONS * HTTP/1.1", "TRACE / HTTP/1.1", "PUT /home HTTP/1.1", "DELETE /delete HTTP/1.1", "GET /\x00 HTTP/1.1", "GET /é HTTP/1.1",
                                          "CONNECT evil.test:25 HTTP/1.1", "nonsense", "GET /home HTTP/9.9"])
def test_request_lines(shared, request_line):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=30) as connection:
        connection.sendall(request_line.encode("utf-8") + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while more := connection.recv(65536):
            answer += more
    assert b"root:" not in answer and (answer == b"" or re.match(rb"HTTP/1.1 (40\d|303|421|501)", answer)), answer[:200]
    assert shared.browser().get("/sign-in").status == 200


def test_other_peoples_requests(lived):
    # An administrator sees those of all.
    person, other, admin = lived.browser().sign_in("ssow"), lived.browser().sign_in("bare", "b"), lived.browser().sign_in("xredon")
    person.get("/rebuild")
    person.post("/container", do="rebuild")
    path = person.page.path
    assert admin.get(path).status == 200
    for fragment in ({}, {"X-Fragment": "1"}):
        assert other.get(path, headers=fragment).status == 404 and person.get(path, headers=fragment).status == 200
    for id in ("0" * 31, "0" * 33, "..%2f..%2fcontrol%2fhostname", "g" * 32, path.split("/")[-1].upper(), ".lock"):
        assert person.get(f"/progress/{id}").status == 404, id


def test_a_value_cannot_become_a_line(lived):
    person = lived.browser().sign_in("ssow")
    before = len(lived.lines("requested"))
    person.get("/delete")
    assert person.post("/delete", address="ssow@ssow.semail.test\nkeep yes").status == 422 or len(lived.lines("requested")) == before + 1
    if len(lived.lines("requested")) > before:
        assert last_request(lived, person) == "do delete\nowner ssow\naddress ssow@ssow.semail.test\n"


# -- what it may do itself --------------------------------------------------------

def test_it_has_locked_itself_in(lived):
    [process] = [process for name, process in lived.processes if name == "portal"]
    status = open(f"/proc/{process.pid}/status").read()
    assert re.search(rf"^Uid:\t{PORTAL_USER}\t{PORTAL_USER}\t{PORTAL_USER}", status, re.M) and re.search(r"^CapEff:\t0+$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M)
    assert re.search(r"^Groups:\t *$", status, re.M), status
    limits = open(f"/proc/{process.pid}/limits").read()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    assert "unprotected" not in lived.text_of("portal")


def test_many_idle_connections_do_not_stop_it(shared):
    idle = []
    try:
        for _ in range(300):
            connection = socket.create_connection(("127.0.0.1", shared.port), timeout=10)
            connection.sendall(b"GET /sign-in HTTP/1.1\r\nHost:")
            idle.append(connection)
        assert shared.browser().get("/sign-in").status == 200
    finally:
        for connection in idle:
            connection.close()


def test_sigterm_answers_what_was_asked(house):
    house.make_mailbox("ssow")
    def slow(asked):
        if asked.startswith(b"list"):
            time.sleep(1.5)
        return export(asked)
    person = house.browser().sign_in("ssow")
    house.stand_in("export", slow)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(person.get, "/home")
        time.sleep(0.5)
        assert house.end("portal") == 0
        assert answer.result().status == 200
    assert re.search(r"portal: info: ending running=1", house.text_of("portal"))
