"""An ordinary Debian host, whose init is systemd: installed by one command, it is there again after a power cut, and goes away again."""

import json

import pytest

from containerlab import CACHE
from machine import await_true
from systemdhost import SystemdHost

DOMAIN = "semail.example"
INSTALL = ["./install.sh", "--domain", DOMAIN]
UNITS = ("runit", "apache2", "named", "docker")
PASSWORD = "Bleu-Horizon-7"
SEND = f"import smtplib; smtplib.SMTP('198.51.100.7', 25, timeout=20).sendmail('somebody@elsewhere.example', ['ssow@ssow.{DOMAIN}'], 'Subject: %s\\r\\n\\r\\nHello.\\r\\n')"


@pytest.fixture(scope="module")
def host():
    with SystemdHost() as host:
        # From what an earlier test has fetched: install.sh finds it built.
        CACHE.mkdir(exist_ok=True)
        host.run(["systemctl", "start", "docker"], check=True)
        host.run(["etc/container/build", "--cache", CACHE, "/run/docker.sock", "semail-home"], timeout=600, check=True)
        host.run(["systemctl", "stop", "docker.socket", "docker"], check=True)
        yield host


def to_mend(host):
    return [finding for finding in json.loads(host.run(["semail", "doctor", "--json"]).stdout)["findings"] if finding["level"] == "mend"]


def states(host):
    return host.run(["systemctl", "is-active", *UNITS]).stdout.split(), host.run(["systemctl", "is-enabled", *UNITS]).stdout.split()


def received(host):
    return host.run(["sh", "-c", "grep -h ^Subject: /var/lib/semail/mnt/ssow/Maildir/new/*"]).stdout.splitlines()


def in_container(host, script):
    return host.run(["docker", "exec", "semail-ssow", "sh", "-c", script]).stdout


def test_one_command_installs_and_starts(host):
    done = host.run(INSTALL)
    assert done.returncode == 0 and "port 25 greets" in done.stdout and "Nothing supervises" not in done.stdout, done.stdout
    assert states(host) == (["active"] * 4, ["enabled"] * 4), host.failures()
    assert to_mend(host) == []
    # What Debian's packages start on their own is off, where services of ours take its place.
    assert host.run(["systemctl", "is-active", "sqwebmail", "courier-authdaemon"]).stdout.split() == ["inactive"] * 2
    again = host.run(INSTALL)
    assert again.returncode == 0 and "Nothing was changed." in again.stdout, again.stdout


def test_a_person_has_a_mailbox(host):
    host.run(["semail", "user", "add", "ssow", "--first-name", "Sophie", "--name", "Sow", "--password-file", "-"], input=PASSWORD + "\n", check=True)
    host.run(["semail", "mailbox", "create", "ssow", f"ssow@ssow.{DOMAIN}"], check=True)
    assert host.run(["dig", "+short", "@198.51.100.7", "MX", f"ssow.{DOMAIN}"]).stdout == f"10 {DOMAIN}.\n"
    host.python(SEND % "before")
    assert await_true(lambda: received(host) == ["Subject: before"]), host.failures()
    assert in_container(host, "grep -h ^Subject: /Maildir/new/*") == "Subject: before\n"
    in_container(host, "touch /root/kept; echo mine > /Maildir/cur/mine")


def test_after_a_power_cut_all_is_as_before(host):
    host.power_cut()
    assert await_true(lambda: states(host)[0] == ["active"] * 4, 60), host.failures()
    assert await_true(lambda: to_mend(host) == [], 60), to_mend(host)
    # On its own volume, which was mounted again before mail was let in.
    assert host.run(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "/var/lib/semail/mnt/ssow"]).stdout.split() == ["ext4", "rw,nosuid,nodev,noexec,noatime"]
    host.python(SEND % "after")
    assert await_true(lambda: sorted(received(host)) == ["Subject: after", "Subject: before"]), received(host)
    assert host.run(["dig", "+short", "@198.51.100.7", "MX", f"ssow.{DOMAIN}"]).stdout == f"10 {DOMAIN}.\n"
    # What is in the container is what was there, and its Maildir is the volume.
    assert await_true(lambda: in_container(host, "ls /root/kept; cat /Maildir/cur/mine; grep -h ^Subject: /Maildir/new/* | sort") == "/root/kept\nmine\nSubject: after\nSubject: before\n", 20), \
        in_container(host, "ls /root/kept /Maildir; mount | grep Maildir")
    page = host.run(["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", f"{DOMAIN}:443:198.51.100.7", "-d", f"username=ssow&password={PASSWORD}&do.login=1", f"https://{DOMAIN}/mail"])
    assert page.stdout == "303", page.stdout
    again = host.run(INSTALL)
    assert again.returncode == 0 and "Nothing was changed." in again.stdout, again.stdout


def test_uninstalled_it_is_gone_also_after_a_start(host):
    done = host.run(["./install.sh", "--uninstall"])
    assert done.returncode == 0, done.stdout
    host.power_cut()
    assert host.run(["ss", "-Hltn", "( sport = :25 or sport = :587 or sport = :465 )"]).stdout == ""
    # The mail is data, and stays.
    assert host.run(["test", "-s", "/var/lib/semail/volumes/ssow"]).returncode == 0
    done = host.run(INSTALL)
    assert done.returncode == 0 and to_mend(host) == [], done.stdout
    assert sorted(received(host)) == ["Subject: after", "Subject: before"]
