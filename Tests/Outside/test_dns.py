"""Records of subdomains, made and removed with mailboxes by signed updates, at a real named: all of a mailbox's or none, each time the
same, nothing of others, nothing left; and what is said when the server cannot or will not."""

import json
import os
import random
import signal
import socket
import socketserver
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dns.message
import dns.tsigkeyring
import pytest

import semailtest
from nameserver import Nameserver, key, told

ZONE = ["mail A 192.0.2.1", "mail AAAA 2001:db8::1", "portal CNAME mail", "@ MX 10 mail", "old A 192.0.2.7", "www.deep A 192.0.2.8"]
ADMIN = key("admin")
POLICY = "grant semail wildcard *.{zone}. MX TXT SRV CNAME; grant admin zonesub ANY;"


@pytest.fixture
def home():
    """Of root, as an installed one, for only root gives mailboxes users, and records; nothing runs in it."""
    with semailtest.Home(user=None, owners=()) as home:
        home.control("domain", "semail.test")
        home.control("portal-url", "https://portal.semail.test:8443/")
        yield home


def serve(home, records=ZONE, keys=None, **more):
    names = Nameserver(home.directory / "named", "semail.test", records, keys or [key(), ADMIN], more.pop("policy", POLICY), **more)
    give_key(home, names.keys[0])
    home.control("dns-server", names.place)
    return names


def give_key(home, text):
    path = home.directory / "control/dns-key"
    path.unlink(missing_ok=True)
    path.write_text(text)
    os.chmod(path, 0o400)


@pytest.fixture
def names(home):
    with serve(home) as names:
        yield names


def create(home, owner, subdomain=None, code=0):
    done = home.run("semail", "mailbox", "create", owner, f"{owner}@{subdomain or owner}.semail.test")
    assert done.returncode == code, done
    return done.stderr.decode()


def delete(home, owner, subdomain=None, code=0):
    done = home.run("semail", "mailbox", "delete", "--yes", f"{owner}@{subdomain or owner}.semail.test")
    assert done.returncode == code, done
    return done.stderr.decode()


# -- made and removed ---------------------------------------------------------------

def test_all_that_mail_needs_and_nothing_left(home, names):
    before = names.records()
    create(home, "ssow")
    keys = told(home.directory / "run/dkim/ssow.semail.test")
    assert sorted(set(names.records()) - set(before)) == sorted([
        "ssow.semail.test MX 10 mail.semail.test.", 'ssow.semail.test TXT "v=spf1 mx -all"', '_dmarc.ssow.semail.test TXT "v=DMARC1; p=quarantine"',
        "_submissions._tcp.ssow.semail.test SRV 0 1 465 mail.semail.test.", "_imaps._tcp.ssow.semail.test SRV 0 0 0 .",
        "autoconfig.ssow.semail.test CNAME portal.semail.test.", '_semail.ssow.semail.test TXT "semail owner=ssow"',
        *(f'{name} TXT "{text}"' for name, text in keys.items()),
        *(f'_keys._semail.ssow.semail.test TXT "{name.split(".")[0]}"' for name in keys)])
    assert len(keys) == 2 and all(name.endswith("._domainkey.ssow.semail.test") for name in keys)
    assert set(before) < set(names.records())
    delete(home, "ssow")
    assert names.records() == before
    assert not list((home.directory / "run/dkim").iterdir()) and not list((home.directory / "control/dkim").iterdir())


def test_keys_are_those_that_sign(home, names):
    """What the DNS says, `semail dkim show` says, and run/dkim; each file is its reader's."""
    create(home, "ssow")
    shown = home.run("semail", "dkim", "show", "ssow.semail.test", "--json").stdout
    for name, text in told(home.directory / "run/dkim/ssow.semail.test").items():
        assert f'{name} TXT "{text}"' in names.records() and text.encode() in shown
    assert (home.directory / "run/dkim/ssow.semail.test").stat().st_mode & 0o777 == 0o644
    assert {path.stat().st_mode & 0o777 for path in (home.directory / "control/dkim/ssow.semail.test").iterdir()} == {0o400}


def test_without_a_portal_there_is_no_autoconfig(home, names):
    for url in (None, "https://192.0.2.1/", "mail.semail.test", "https://:8443/"):
        home.control("portal-url", url)
        create(home, "ssow")
        assert not [record for record in names.records() if "autoconfig" in record], url
        delete(home, "ssow")


def test_again_it_is_the_same(home, names):
    before = names.records()
    create(home, "ssow")
    made = names.records()
    mailbox = home.directory / "mailboxes/ssow@ssow.semail.test"
    for _ in range(3):
        # As after a kill before the last step: all was made, and the mailbox does not exist yet.
        (home.directory / "mailboxes/.making").mkdir(exist_ok=True)
        mailbox.rename(home.directory / "mailboxes/.making/ssow@ssow.semail.test")
        create(home, "ssow")
        assert names.records() == made
    # Other keys, by an admin who removed the old ones: the old records go, the new ones come.
    for path in (home.directory / "control/dkim/ssow.semail.test").iterdir():
        path.unlink()
    (home.directory / "mailboxes/.making").mkdir(exist_ok=True)
    mailbox.rename(home.directory / "mailboxes/.making/ssow@ssow.semail.test")
    create(home, "ssow")
    renewed = names.records()
    assert len(renewed) == len(made) and sum(a != b for a, b in zip(made, renewed)) == 2
    delete(home, "ssow")
    assert names.records() == before


def test_killed_at_any_moment(home, names):
    before = names.records()
    for count in range(20):
        process = subprocess.Popen([home.program("semail"), "mailbox", "create", "ssow", "ssow@ssow.semail.test"], env=home.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 0.4))
        process.kill()
        process.wait()
        create(home, "ssow")
        process = subprocess.Popen([home.program("semail"), "mailbox", "delete", "--yes", "ssow@ssow.semail.test"], env=home.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        done = home.run("semail", "mailbox", "delete", "--yes", "ssow@ssow.semail.test")
        assert done.returncode == 0 or b"there is no mailbox" in done.stderr, done
        assert names.records() == before, count


def test_fifty_at_once(home, names):
    before = names.records()
    owners = [f"person{number}" for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        start = time.monotonic()
        list(pool.map(lambda owner: create(home, owner), owners))
        print(f"50 made in {time.monotonic() - start:.1f} s")
        records = names.records()
        for owner in owners:
            assert f"{owner}.semail.test MX 10 mail.semail.test." in records
            assert len([record for record in records if f"{owner}.semail.test " in record]) == 11
        list(pool.map(lambda owner: delete(home, owner), owners))
    assert names.records() == before


@pytest.mark.parametrize("place", ["127.0.0.1:{}", "[::1]:{}", "localhost:{}"])
def test_how_the_server_is_named(home, names, place):
    home.control("dns-server", place.format(names.port))
    before = names.records()
    create(home, "ssow")
    delete(home, "ssow")
    assert names.records() == before


def test_right_at_the_domain_there_are_keys_alone(home, names):
    """With the first mailbox, for good: they are the domain's, as all its records are. One that is there is not replaced."""
    before = names.records()
    for owner in ("ssow", "xredon"):
        done = home.run("semail", "mailbox", "create", owner, f"{owner}@semail.test")
        assert done.returncode == 0, done
        keys = told(home.directory / "run/dkim/semail.test")
        assert len(keys) == 2 and sorted(names.records()) == sorted([*before, *(f'{name} TXT "{text}"' for name, text in keys.items())])
    for owner in ("ssow", "xredon"):
        done = home.run("semail", "mailbox", "delete", "--yes", f"{owner}@semail.test")
        assert done.returncode == 0 and told(home.directory / "run/dkim/semail.test") == keys
    assert sorted(names.records()) == sorted([*before, *(f'{name} TXT "{text}"' for name, text in keys.items())])


def test_no_server_no_records(home, names):
    home.control("dns-server", None)
    before = names.records()
    create(home, "ssow")
    assert names.records() == before


# -- what is another's --------------------------------------------------------------

@pytest.mark.parametrize("record", [
    "ssow A 192.0.2.9", "ssow MX 10 mail.elsewhere.example.", "ssow TXT hello", "ssow NS ns.elsewhere.example.", "ssow CNAME mail", "_dmarc.ssow TXT x",
    "autoconfig.ssow A 192.0.2.9", "_semail.ssow TXT \"semail owner=xredon\"", "_semail.ssow TXT x", "semail2026-rsa._domainkey.ssow TXT x", "_imaps._tcp.ssow SRV 0 1 993 mail",
])
def test_a_name_in_use_is_refused(home, record):
    year = time.strftime("%Y", time.gmtime())
    with serve(home, [*ZONE, record.replace("2026", year)]) as names:
        before = names.records()
        said = create(home, "ssow", code=1)
        assert "ssow.semail.test is in the zone semail.test already, and not as a mailbox of ssow: choose another name" in said
        assert names.records() == before
        # Nothing was begun that is in the way of another name.
        assert not [path for path in (home.directory / "mailboxes").rglob("*ssow*") if not path.name.startswith("@")]
        create(home, "ssow", "another")
        delete(home, "ssow", "another")
        assert names.records() == before


def test_mail_that_was_kept_survives_a_refusal(home, names):
    create(home, "ssow", "first")
    (home.maildir("ssow") / "new/1.x").write_bytes(b"kept")
    done = home.run("semail", "mailbox", "delete", "--yes", "--keep-mail", "ssow@first.semail.test")
    assert done.returncode == 0, done
    create(home, "ssow", "old", code=1)
    assert (home.maildir("ssow") / "new/1.x").read_bytes() == b"kept"
    create(home, "ssow", "second")
    assert (home.maildir("ssow") / "new/1.x").read_bytes() == b"kept"


@pytest.mark.parametrize("wildcard", [[], ["* A 192.0.2.5"]])
def test_what_is_free(home, wildcard):
    """Not a name that has others beneath it; and under a wildcard what is nowhere written."""
    with serve(home, [*ZONE, *wildcard]) as names:
        before = names.records()
        create(home, "ssow")
        create(home, "xredon", "old", code=1)
        if not wildcard:
            # Under a wildcard nobody can tell.
            assert "deep.semail.test is in the zone semail.test already" in create(home, "xredon", "deep", code=1)
        delete(home, "ssow")
        assert names.records() == before


def test_what_the_admin_puts_beside_stays(home, names):
    create(home, "ssow")
    before = names.records()
    names.update("add www.ssow.semail.test 60 A 192.0.2.9", 'add ssow.semail.test 60 TXT "site-verification=1"', "add ssow.semail.test 60 AAAA 2001:db8::9",
                 "add other._domainkey.ssow.semail.test 60 TXT x")
    added = set(names.records()) - set(before)
    assert len(added) == 4
    delete(home, "ssow")
    assert set(names.records()) - added == {record for record in before if "ssow" not in record}
    assert added < set(names.records())


def test_another_owners_records_are_not_removed(home, names):
    """A mailbox is forgotten, and somebody else has the name by now."""
    create(home, "ssow")
    names.update("delete _semail.ssow.semail.test TXT", 'add _semail.ssow.semail.test 60 TXT "semail owner=xredon"')
    before = names.records()
    delete(home, "ssow")
    assert names.records() == before


# -- a server that cannot, or will not -----------------------------------------------

def failing(home, names, expected, limit_seconds=5):
    """A creation that fails within the time, with words, and leaves the zone as it was."""
    start = time.monotonic()
    said = create(home, "ssow", code=1)
    assert time.monotonic() - start < limit_seconds, f"{time.monotonic() - start:.1f} s"
    assert expected in said, said
    assert len(said.splitlines()) == 1
    return said


def completes(home, names, before):
    """The same call again, the reason being gone."""
    create(home, "ssow")
    assert "ssow.semail.test MX 10 mail.semail.test." in names.records()
    delete(home, "ssow")
    assert names.records() == before


def test_a_server_that_is_dead(home, names):
    before = names.records()
    names.kill()
    failing(home, names, f"the name server 127.0.0.1 port {names.port} does not answer: see whether it runs")
    names.start()
    create(home, "ssow")
    names.kill()
    said = delete(home, "ssow", code=1)
    assert "does not answer" in said
    # The mailbox is gone, and its name is not free before its records are.
    assert not (home.directory / "mailboxes/ssow@ssow.semail.test").exists()
    names.start()
    delete(home, "ssow")
    assert names.records() == before


def test_a_server_that_hangs(home, names):
    """It may do later what it was asked: nothing of it is left."""
    before = names.records()
    names.signal(signal.SIGSTOP)
    failing(home, names, "does not answer", 15)
    names.signal(signal.SIGCONT)
    completes(home, names, before)
    create(home, "ssow")
    names.signal(signal.SIGSTOP)
    assert "does not answer" in delete(home, "ssow", code=1)
    names.signal(signal.SIGCONT)
    delete(home, "ssow")
    assert names.records() == before


def test_another_key_of_that_name(home, names):
    before = names.records()
    give_key(home, key())
    said = failing(home, names, "does not know the key in ")
    assert said.rstrip().endswith("both must have the same, as tsig-keygen printed it")
    give_key(home, names.keys[0])
    completes(home, names, before)


def test_a_key_that_nobody_knows(home, names):
    before = names.records()
    give_key(home, key("nobody"))
    failing(home, names, "does not know the key in ")
    give_key(home, names.keys[0])
    completes(home, names, before)


@pytest.mark.parametrize("text", [None, "", "nonsense\n", 'key "semail" { algorithm hmac-sha256; };\n'])
def test_no_key(home, names, text):
    before = names.records()
    if text is None:
        (home.directory / "control/dns-key").unlink()
    else:
        give_key(home, text)
    failing(home, names, "put there what tsig-keygen prints")
    give_key(home, names.keys[0])
    completes(home, names, before)


def test_a_key_that_may_not(home):
    with serve(home, policy="grant semail wildcard *.{zone}. A; grant admin zonesub ANY;") as names:
        failing(home, names, "does not let the key in ")


def test_another_zone(home, names):
    home.control("domain", "semail.example")
    done = home.run("semail", "mailbox", "create", "ssow", "ssow@ssow.semail.example")
    assert done.returncode == 1 and b"does not serve the zone semail.example" in done.stderr, done


def test_the_hosts_name_has_no_address(home):
    with serve(home, ["@ MX 10 ns"]) as names:
        before = names.records()
        failing(home, names, "mail.semail.test, to which the MX record would lead, has no address in the zone semail.test: add an A or AAAA record for it")
        names.update("add mail.semail.test 60 AAAA 2001:db8::1")
        completes(home, names, names.records())
        assert set(names.records()) > set(before)


def test_clocks_that_differ(home, names):
    """named cannot be run under another time; so the answer that it would give comes from here."""
    secret = names.keys[0].split('"')[3]
    keyring = dns.tsigkeyring.from_text({"semail": ("hmac-sha256", secret)})

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            length = int.from_bytes(self.request.recv(2, socket.MSG_WAITALL), "big")
            question = dns.message.from_wire(self.request.recv(length, socket.MSG_WAITALL), keyring=keyring)
            answer = dns.message.make_response(question, tsig_error=18)
            answer.set_rcode(9)
            octets = answer.to_wire()
            self.request.sendall(len(octets).to_bytes(2, "big") + octets)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home.control("dns-server", f"127.0.0.1:{server.server_address[1]}")
        failing(home, names, "its clock and ours differ by more than five minutes: set them right")
        server.shutdown()


@pytest.mark.parametrize("place", ["nowhere:0", "300.1.1.1", "127.0.0.1:65536", "[127.0.0.1]:53", "one two", ":53"])
def test_a_server_that_cannot_be_one(home, names, place):
    home.control("dns-server", place)
    failing(home, names, f'the setting dns-server is "{place}": an address is wanted')


def test_a_server_whose_name_nobody_knows(home, names):
    home.control("dns-server", "nobody-has-this-name.semail.test")
    failing(home, names, "the name server nobody-has-this-name.semail.test does not answer", 20)


def test_the_doctor_asks_the_server(home, names):
    def records():
        findings = json.loads(home.run("semail", "doctor", "--json").stdout)["findings"]
        return [(finding["level"], finding["text"]) for finding in findings if finding["check"] == "records"]

    before = names.records()
    assert records() == [("well", "the name server takes signed changes of semail.test")]
    assert names.records() == before
    give_key(home, key())
    [(level, text)] = records()
    assert level == "mend" and text.startswith("mailboxes at semail.test get no records: the name server") and "does not know the key" in text
    home.control("dns-server", None)
    assert records() == []


def test_root_alone_knows_the_key(home, names):
    """It is on no command line, and in no message."""
    secret = names.keys[0].split('"')[3]
    give_key(home, key("nobody", secret))
    assert secret not in failing(home, names, "does not know the key")
