"""SSH keys of the owners of containers: what is taken and what is not, what is written, and for whom. No engine is needed."""

import base64
import os
import re
import struct
import subprocess
import threading

import pytest

from semailtest import Home, tool

CONTAINERS = {"ssow": "172.30.0.3", "xredon": "172.30.0.4"}


@pytest.fixture
def home():
    """ssow and xredon have containers, as far as their mailboxes' files tell."""
    with Home(user=None) as home:
        for owner, container in CONTAINERS.items():
            with open(home.directory / f"mailboxes/{owner}@semail.test", "a") as file:
                file.write(f"container {container}\n")
        yield home


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(name, *options of ssh-keygen): the public line of a new key."""
    place = tmp_path_factory.mktemp("keys")

    def make(name="key", *options):
        path = place / f"{name}{len(list(place.iterdir()))}"
        subprocess.run([tool("ssh-keygen"), "-q", "-N", "", "-C", f"{name}@laptop", "-f", path, *map(str, options or ["-t", "ed25519"])], check=True)
        return path.with_suffix(".pub").read_text().strip() if not path.suffix else (place / f"{path.name}.pub").read_text().strip()
    return make


def put(home, owner, *lines):
    return home.run("semail", "key", "set", owner, input="".join(line + "\n" for line in lines).encode())


def everybodys(home):
    return (home.directory / "ssh/authorized_keys").read_text()


def own(home, owner):
    return (home.directory / f"ssh/{owner}/authorized_keys").read_text()


def string(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


def line(type, *parts, inner=None, comment="x"):
    return f"{type} {base64.b64encode(string(inner or type) + b''.join(parts)).decode()} {comment}"


# -- what is written ----------------------------------------------------------

@pytest.mark.parametrize("options", [["-t", "ed25519"], ["-t", "ecdsa", "-b", 256], ["-t", "ecdsa", "-b", 384], ["-t", "ecdsa", "-b", 521],
                                     ["-t", "rsa", "-b", 2048], ["-t", "rsa", "-b", 4096]], ids=lambda options: "-".join(map(str, options[1::2])))
def test_kinds_that_are_taken(home, make, options, tmp_path):
    key = make("anna", *options)
    done = put(home, "ssow", key)
    assert done.returncode == 0, done.stderr
    assert own(home, "ssow") == key + "\n"
    type, blob, _ = key.split()
    assert everybodys(home) == f'restrict,port-forwarding,permitopen="172.30.0.3:22" {type} {blob} ssow\n'
    # ssh-keygen finds the same fingerprint, and nothing to complain of in either file.
    (tmp_path / "key").write_text(key)
    fingerprint = subprocess.run([tool("ssh-keygen"), "-lf", tmp_path / "key"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert done.stdout.decode() == f"{type}\t{fingerprint}\tanna@laptop\n"
    assert home.run("semail", "key", "list", "ssow").stdout == done.stdout
    for path in (home.directory / "ssh/authorized_keys", home.directory / "ssh/ssow/authorized_keys"):
        assert fingerprint in subprocess.run([tool("ssh-keygen"), "-lf", path], capture_output=True, text=True, check=True).stdout


def test_security_keys(home):
    for key in (line("sk-ssh-ed25519@openssh.com", string(os.urandom(32)), string("ssh:")),
                line("sk-ecdsa-sha2-nistp256@openssh.com", string("nistp256"), string(b"\4" + os.urandom(64)), string("ssh:office"))):
        assert put(home, "ssow", key).returncode == 0
        assert own(home, "ssow") == key + "\n"


def test_who_may_read_them(home, make):
    assert put(home, "ssow", make()).returncode == 0
    for path, mode in (("ssh", 0o755), ("ssh/authorized_keys", 0o644), ("ssh/ssow", 0o755), ("ssh/ssow/authorized_keys", 0o644)):
        status = (home.directory / path).stat()
        assert (status.st_mode & 0o7777, status.st_uid) == (mode, os.geteuid()), path


def test_the_list_is_replaced_as_a_whole(home, make):
    first, second, third, hers = make(), make(), make(), make()
    assert put(home, "xredon", hers).returncode == 0
    assert put(home, "ssow", first, second).returncode == 0
    assert put(home, "ssow", "", "# those of this year", third, f"  {third}  ", second).returncode == 0
    assert own(home, "ssow").splitlines() == [third, second]
    assert [entry.split()[2] for entry in everybodys(home).splitlines()] == [key.split()[1] for key in (hers, third, second)]
    assert put(home, "ssow").returncode == 0
    assert own(home, "ssow") == ""
    assert everybodys(home).split()[-1] == "xredon" and everybodys(home).count("\n") == 1


def test_from_a_file(home, make, tmp_path):
    key = make()
    (tmp_path / "key.pub").write_text(key)
    assert home.run("semail", "key", "set", "ssow", tmp_path / "key.pub").returncode == 0
    assert own(home, "ssow") == key + "\n"


@pytest.mark.parametrize("comment, kept", [("", ""), ("my key at home", "my key at home"), ("clé de Zoë", "clé de Zoë"), ("<b>\"x\"&'", "_b__x___"),
                                           ("a\tb\x1b[2Jc\x7f", "a_b_[2Jc_"), ("\u202eevil", "_evil"), ("x" * 300, "x" * 64), ("$(id) `id` \\", "_(id) _id_ _")])
def test_comments(home, make, comment, kept):
    type, blob, _ = make().split()
    assert put(home, "ssow", f"{type} {blob} {comment}").returncode == 0
    assert own(home, "ssow") == f"{type} {blob} {kept}".rstrip() + "\n"
    assert everybodys(home).endswith(f"{blob} ssow\n")


# -- what is not taken --------------------------------------------------------

ED = os.urandom(32)
GOOD = line("ssh-ed25519", string(ED))
MODULUS = lambda bits: string(b"\0" + bytes([0x80]) + os.urandom(bits // 8 - 1))

REFUSED = {
    "words": ("hello there", "no public key of SSH"),
    "one-word": ("ssh-ed25519", "cut off"),
    "dsa": (line("ssh-dss", string(b"\1" * 20)), "DSA"),
    "cut": (GOOD[:41], "cut off"),
    "not-base64": ("ssh-ed25519 AAAA!!!! x", "cut off"),
    "padding-missing": (GOOD.replace("=", "").split(" x")[0][:-1], "cut off"),
    "other-type-inside": (line("ssh-ed25519", string(ED), inner="ssh-rsa"), "whatever the line says"),
    "no-type-inside": ("ssh-ed25519 " + base64.b64encode(ED).decode(), "whatever the line says"),
    "type-in-capitals": (GOOD.replace("ssh-ed25519", "SSH-ED25519"), "no public key of SSH"),
    "short": (line("ssh-ed25519", string(ED[:31])), "damaged"),
    "long": (line("ssh-ed25519", string(ED + b"x")), "damaged"),
    "something-follows": (line("ssh-ed25519", string(ED), b"\0"), "follows"),
    "length-lies": (line("ssh-ed25519", struct.pack(">I", 0xffffffff) + ED), "damaged"),
    "empty-string-for-a-key": (line("ssh-ed25519", string(b"")), "damaged"),
    "wrong-curve": (line("ecdsa-sha2-nistp256", string("nistp384"), string(b"\4" + os.urandom(64))), "damaged"),
    "compressed-point": (line("ecdsa-sha2-nistp256", string("nistp256"), string(b"\2" + os.urandom(32))), "damaged"),
    "short-point": (line("ecdsa-sha2-nistp521", string("nistp521"), string(b"\4" + os.urandom(131))), "damaged"),
    "unknown-curve": (line("ecdsa-sha2-nistp224", string("nistp224"), string(b"\4" + os.urandom(56))), "no public key of SSH|options"),
    "rsa-1024": (line("ssh-rsa", string(b"\1\0\1"), MODULUS(1024)), "1024 bits is too short"),
    "rsa-2047": (line("ssh-rsa", string(b"\1\0\1"), string(bytes([0x7f]) + os.urandom(255))), "2047 bits is too short"),
    "rsa-huge": (line("ssh-rsa", string(b"\1\0\1"), MODULUS(16392)), "damaged"),
    "rsa-exponent-1": (line("ssh-rsa", string(b"\1"), MODULUS(2048)), "damaged"),
    "rsa-exponent-even": (line("ssh-rsa", string(b"\2"), MODULUS(2048)), "damaged"),
    "rsa-negative": (line("ssh-rsa", string(b"\1\0\1"), string(bytes([0x80]) + os.urandom(255))), "damaged"),
    "rsa-padded": (line("ssh-rsa", string(b"\1\0\1"), string(b"\0\0\x80" + os.urandom(255))), "damaged"),
    "security-key-without-application": (line("sk-ssh-ed25519@openssh.com", string(ED)), "damaged"),
    "security-key-with-control-characters": (line("sk-ssh-ed25519@openssh.com", string(ED), string("ssh:\n")), "damaged"),
    "certificate": (line("ssh-ed25519-cert-v01@openssh.com", string(ED)), "certificate"),
    "options": (f'command="/bin/sh" {GOOD}', "options"),
    "options-without-space": (f"restrict,pty {GOOD}", "options"),
    "port-option": (f'permitopen="10.0.0.1:22" {GOOD}', "options"),
    "private-key": ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
    "other-form": ("---- BEGIN SSH2 PUBLIC KEY ----", "ssh-keygen -i"),
    "nul": (f"{GOOD}\0", "no line"),
    "carriage-return": (f"{GOOD}\rcommand=\"x\" {GOOD}", "no line|options|cut off"),
    "endless": ("ssh-ed25519 " + "A" * 9000, "longer"),
    "other-space": (GOOD.replace(" ", "\u00a0"), "no public key of SSH|options"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(home, make, name):
    text, reason = REFUSED[name]
    before = make()
    assert put(home, "ssow", before).returncode == 0
    done = put(home, "ssow", before, text)
    assert done.returncode == 1, own(home, "ssow")
    assert re.search(reason, done.stderr.decode()), done.stderr
    # Nothing has changed.
    assert own(home, "ssow") == before + "\n" and everybodys(home).count("\n") == 1


def test_a_private_key_is_not_kept_in_any_words(home, tmp_path):
    subprocess.run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    secret = (tmp_path / "key").read_text()
    done = home.run("semail", "key", "set", "ssow", tmp_path / "key")
    assert done.returncode == 1 and b"private key" in done.stderr
    assert secret.splitlines()[1][:20].encode() not in done.stderr + done.stdout


def test_twenty_are_the_most(home):
    keys = [line("ssh-ed25519", string(os.urandom(32)), comment=str(number)) for number in range(21)]
    assert put(home, "ssow", *keys[:20]).returncode == 0
    done = put(home, "ssow", *keys)
    assert done.returncode == 1 and b"20 is the most" in done.stderr
    assert own(home, "ssow").splitlines() == keys[:20]


def test_another_persons_key(home, make):
    key = make()
    assert put(home, "xredon", key).returncode == 0
    done = put(home, "ssow", make(), key.replace("key@laptop", "mine"))
    assert done.returncode == 1 and b"another person's key" in done.stderr
    assert not (home.directory / "ssh/ssow/authorized_keys").exists()
    # As soon as it is given up, it may be anybody's.
    assert put(home, "xredon").returncode == 0
    assert put(home, "ssow", key).returncode == 0
    assert everybodys(home).endswith(" ssow\n")


def test_who_has_no_container_has_no_keys(home, make):
    home.add_mailbox("anna")
    for owner, reason in (("anna", b"no container"), ("nobody", b"no mailbox"), ("../ssow", b"no owner's name"), ("", b"no owner's name"), ("a b", b"no owner's name")):
        done = put(home, owner, make())
        assert done.returncode == 1 and reason in done.stderr, done.stderr
    assert not (home.directory / "ssh/authorized_keys").exists()


def test_a_line_that_is_not_ours_stops_everything(home, make):
    """An admin's own line in everybody's file would be lost: it is said instead."""
    (home.directory / "ssh/authorized_keys").write_text(f"{make()}\n")
    done = put(home, "ssow", make())
    assert done.returncode == 1 and b"not ours" in done.stderr


def test_many_at_once(home, make):
    """Twenty owners set their keys at the same moment: each has theirs, and no line is lost."""
    owners = [f"o{number}" for number in range(20)]
    keys = {owner: line("ssh-ed25519", string(os.urandom(32)), comment=owner) for owner in owners}
    for number, owner in enumerate(owners):
        home.add_mailbox(owner)
        with open(home.directory / f"mailboxes/{owner}@semail.test", "a") as file:
            file.write(f"container 172.30.1.{number}\n")
    results = {}
    threads = [threading.Thread(target=lambda owner=owner: results.update({owner: put(home, owner, keys[owner])})) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(done.returncode == 0 for done in results.values()), results
    assert sorted(entry.split()[3] for entry in everybodys(home).splitlines()) == sorted(owners)
