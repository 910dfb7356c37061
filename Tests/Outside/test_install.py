"""install.sh --domain and --uninstall, for real, each in a machine of its own."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from machine import PROGRAMS, REPOSITORY, Machine, await_true

DOMAIN = "semail.example"
INSTALL = ["./install.sh", "--domain", DOMAIN]
HOME = "/var/lib/semail"
LIBEXEC = "/usr/local/libexec/semail"
SERVICES = ("inbound", "qrunner")
# What an installation consists of, but for users.
EVERYWHERE = (HOME, "/etc/semail", "/etc/sv", "/etc/service/", "/etc/runit", "/usr/local")

SEND = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", 25, timeout=20) as client:
    client.sendmail(sys.argv[1], sys.argv[2:3], "Subject: %s\\r\\n\\r\\nHello.\\r\\n" % sys.argv[3])
"""


def send(machine, recipient, subject, sender="somebody@elsewhere.example"):
    machine.python(SEND, sender, recipient, subject)


def delivered(machine, owner, subject, seconds=20):
    """The one message of that subject in the owner's Maildir: (path, [type, mode, uid, gid, ...])."""
    new = f"{HOME}/mnt/{owner}/Maildir/new"

    def look():
        return {path: facts for path, facts in machine.listing(new).items()
                if facts[0] == "f" and f"Subject: {subject}\n" in machine.read(path)}

    found = await_true(look, seconds)
    assert found and len(found) == 1, f"{found}: {logs(machine)}"
    return next(iter(found.items()))


def logs(machine):
    return machine.run(["sh", "-c", "tail -n 20 /var/log/semail/*/current"]).stdout


def hier():
    """The lines of etc/hier: (type, mode, owner, group, path, target)."""
    for line in (REPOSITORY / "etc/hier").read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            kind, mode, owner, group, path, *target = words
            yield kind, mode, owner, group, re.sub("^HOME", HOME, path), target[1] if target else ""


def supervise(machine):
    """runit's runsvdir, as a host's init has it running."""
    return machine.start(["runsvdir", "-P", "/etc/service"])


def is_greeted(machine):
    return machine.run(["/usr/bin/python3", "-c", "import smtplib; smtplib.SMTP('127.0.0.1', 25, timeout=5).quit()"]
                       ).returncode == 0


def states(output):
    """{what: state} of the lines that say ok, made, changed, removed."""
    return {what: state for state, what in re.findall(r"^   (ok|made|changed|removed) +(.*)$", output, re.MULTILINE)}


@pytest.fixture(scope="module")
def host():
    """A machine where SEMail was installed twice: before anything supervised services, and after."""
    with Machine() as machine:
        machine.first = machine.run(INSTALL, timeout=1800)
        command = re.search(r"This starts it:\n +(.*)", machine.first.stdout)
        assert machine.first.returncode == 0 and command, machine.first.stdout
        machine.start(["sh", "-c", command.group(1)])
        assert await_true(lambda: is_greeted(machine)), logs(machine)
        machine.before = machine.listing(*EVERYWHERE)
        machine.second = machine.run(INSTALL)
        machine.after = machine.listing(*EVERYWHERE)
        yield machine


def test_the_first_run_makes_everything(host):
    made = states(host.first.stdout)
    for kind, _, _, _, path, target in hier():
        if kind != "f":
            assert made.pop(f"{path} -> {target}" if kind == "l" else path) == "made"
    for program in PROGRAMS:
        assert made[f"{LIBEXEC}/{program.name}"] == "made"
    for page in (REPOSITORY / "man").glob("*.[1-9]"):
        assert made[f"/usr/local/share/man/man{page.suffix[1:]}/{page.name}"] == "made"
    assert made[f"hostname {DOMAIN}"] == "made"
    assert made[f"postmaster is postmaster@{DOMAIN}"] == "made"


def test_every_step_says_how_long_it_took(host):
    steps = re.findall(r"^(\S.*)\n(?:   .*\n)+?   \d[\d.]* m?s$", host.first.stdout, re.MULTILINE)
    assert [step.split(":")[0] for step in steps] == [
        "Packages", "Programs", "Port 25", "Users", "Paths (etc/hier)", "Programs and manuals", "Settings", "Services"]


def test_a_second_run_changes_nothing_and_says_so(host):
    assert host.second.returncode == 0, host.second.stdout
    assert "\nNothing was changed.\n" in host.second.stdout
    assert set(states(host.second.stdout).values()) == {"ok"}

    def lasting(listing):
        # runsv's own state, and the queue's directories, through which messages pass.
        return {path: facts for path, facts in listing.items() if "/supervise" not in path}

    assert lasting(host.after) == lasting(host.before)


def test_every_path_is_as_the_table_says(host):
    ids = {name: int(number) for name, number in re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/passwd"), re.M)}
    groups = {name: int(number) for name, number in re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/group"), re.M)}
    for kind, mode, owner, group, path, target in hier():
        there = host.listing(path)[path]
        assert there[:4] == [kind, mode, ids[owner], groups[group]], path
        if kind == "l":
            assert there[4] == target


def test_nothing_is_setuid_and_only_root_can_change_programs(host):
    ours = [path for path in host.after if "semail" in path and path.startswith(("/usr/local", "/etc/sv"))]
    assert len(ours) > 10
    for path in ours:
        kind, mode, uid, gid = host.after[path][:4]
        assert (uid, gid) == (0, 0), path
        if kind == "f":
            assert int(mode, 8) & 0o7022 == 0, path


def test_users_have_no_shell_no_home_and_no_password(host):
    for name in ("semail-accept", "semail-smtpd", "semail-queue", "semail-log"):
        entry = re.search(rf"^{name}:x:(\d+):(\d+):[^:]*:/nonexistent:/usr/sbin/nologin$", host.read("/etc/passwd"), re.M)
        assert entry and 0 < int(entry.group(1)) < 1000, name
        assert re.search(rf"^{name}:[!*]+:", host.read("/etc/shadow"), re.M), name
    groups = host.run(["id", "-nG", "semail-queue"]).stdout.split()
    assert groups == ["semail-queue", "semail-smtpd"]
    for name in ("semail-accept", "semail-smtpd", "semail-log"):
        assert host.run(["id", "-nG", name]).stdout.split() == [name]


def test_every_program_runs_under_its_own_user_locked_in(host):
    ids = dict(re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/passwd"), re.M))
    groups = dict(re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/group"), re.M))
    seen = {}
    # A client that is connected, so that there is a session too, and not only the template and what it keeps ready.
    with host.client():
        for pid, text in host.processes().items():
            name = text.split()[0].rpartition("/")[2]
            if name in ("tcp-accept", "smtpd-session", "qrunner", "maildir-deliver", "svlogd"):
                seen.setdefault(name, []).append(host.facts(pid))
    counts = {name: len(found) for name, found in seen.items()}
    # Templates keep processes ready.
    assert counts.pop("smtpd-session") >= 2 and counts.pop("maildir-deliver") >= 1
    # A delivery may still be there, as its mailbox's user.
    seen["maildir-deliver"] = [facts for facts in seen["maildir-deliver"] if not 30000 <= int(facts["Uid"].split()[1]) < 60000]
    assert counts == {"tcp-accept": 1, "qrunner": 1, "svlogd": 2}
    # maildir-deliver, and it alone, becomes other users: those of mailboxes.
    setuid_and_setgid = f"{1 << 6 | 1 << 7:016x}"
    for name, user, capabilities, seccomp in (
            ("tcp-accept", "semail-accept", "0" * 16, "2"), ("smtpd-session", "semail-smtpd", "0" * 16, "2"),
            ("qrunner", "semail-queue", "0" * 16, "2"), ("maildir-deliver", "semail-queue", setuid_and_setgid, "2"),
            ("svlogd", "semail-log", "0" * 16, "0")):
        for facts in seen[name]:
            assert set(facts["Uid"].split()) == {ids[user]}, name
            assert set(facts["Gid"].split()) == {groups[user]}, name
            extra = {groups["semail-smtpd"]} if user == "semail-queue" else set()
            assert set(facts["Groups"].split()) - {groups[user]} == extra, name
            assert facts["CapEff"] == facts["CapPrm"] == capabilities, name
            assert facts["NoNewPrivs"] == "1", name
            assert facts["Seccomp"] == seccomp, name


def test_mail_to_port_25_lands_in_a_maildir(host):
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    send(host, f"anna@{DOMAIN}", "installed")
    path, (_, mode, uid, gid, *_) = delivered(host, "anna", "installed")
    mailbox = dict(line.split(" ", 1) for line in host.read(f"{HOME}/mailboxes/anna@{DOMAIN}").splitlines())
    assert (uid, gid) == (int(mailbox["uid"]), int(mailbox["gid"]))
    assert 30000 <= uid <= 59999 and mode == "0600"
    text = host.read(path)
    assert text.startswith(f"Return-Path: <somebody@elsewhere.example>\nDelivered-To: anna@{DOMAIN}\n")
    assert f"by {DOMAIN} (SEMail) with ESMTP id " in text


def test_mail_arrives_over_ipv6_too(host):
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    host.python(SEND.replace("127.0.0.1", "::1"), "", f"anna@{DOMAIN}", "six")
    delivered(host, "anna", "six")


def test_postmaster_has_a_mailbox(host):
    for number, recipient in enumerate((f"postmaster@{DOMAIN}", "postmaster", f"abuse@{DOMAIN}")):
        send(host, recipient, f"to postmaster {number}")
        delivered(host, "postmaster", f"to postmaster {number}")


def test_logs_are_written_by_their_own_user(host):
    log = await_true(lambda: host.read("/var/log/semail/inbound/current"))
    # Every line with its time (UTC), then what semail-log.5 tells of.
    assert re.search(r"^\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d\.\d{5} tcp-accept: info: listening ", log, re.M)
    user = host.run(["id", "-u", "semail-log"]).stdout.strip()
    for service in SERVICES:
        files = host.listing(f"/var/log/semail/{service}")
        assert {facts[2] for facts in files.values()} == {int(user)}


def test_doctor_finds_an_installation_well(host):
    report = json.loads(host.run(["semail", "doctor", "--json"]).stdout)
    levels = {finding["check"]: finding["level"] for finding in report["findings"]}
    # The machine has no DNS, and perhaps postmaster unread mail, so there is something to note; but not about what was installed.
    for check in ("home", "settings", "mailboxes", "qrunner", "queue", "port"):
        assert levels[check] == "well", report
    assert report["isWell"] is True


def test_manuals_are_found(host):
    pages = list((REPOSITORY / "man").glob("*.[1-9]"))
    assert pages
    for page in pages:
        # Debian's /usr/local/man is a link to share/man.
        where = host.run(["man", "-w", page.suffix[1:], page.stem]).stdout.strip().replace("/local/man/", "/local/share/man/")
        assert where == f"/usr/local/share/man/man{page.suffix[1:]}/{page.name}"


def test_settings_are_the_admins(host):
    host.run(["semail", "config", "message-size", "1M"], check=True)
    try:
        done = host.run(["./install.sh", "--domain", "other.example"])
        assert done.returncode == 0 and "\nNothing was changed.\n" in done.stdout, done.stdout
        assert f"not other.example: settings are the admin's" in done.stdout
        assert host.read("/etc/semail/hostname") == DOMAIN + "\n"
        assert host.read("/etc/semail/message-size") == "1M\n"
    finally:
        host.run(["rm", "/etc/semail/message-size"], check=True)


def test_limits_of_connections_come_from_control_files(host):
    accept = next(text for text in host.processes().values() if "tcp-accept" in text and "runsv" not in text)
    assert " -c " not in accept
    host.run(["semail", "config", "sessions", "17"], check=True)
    try:
        host.run(["sv", "-w", "20", "restart", "semail-inbound"], check=True)
        assert await_true(lambda: is_greeted(host))
        assert any("tcp-accept" in text and " -c 17 " in text for text in host.processes().values())
    finally:
        host.run(["rm", "/etc/semail/sessions"], check=True)
        host.run(["sv", "-w", "20", "restart", "semail-inbound"], check=True)
        assert await_true(lambda: is_greeted(host))


def test_what_was_damaged_is_mended_and_restarted(host):
    def pid():
        return host.run(["sv", "status", "/etc/service/semail-inbound"]).stdout.split("(pid ")[1].split(")")[0]

    before = pid()
    host.run(["sh", "-c", f"chmod 777 {HOME}/queue/new; chown 0:0 {HOME}/run/trigger; rm /usr/local/bin/semail; "
                          "echo '# gone astray' >> /etc/sv/semail-inbound/run; rm -f /etc/service/semail-qrunner"], check=True)
    done = host.run(INSTALL)
    assert done.returncode == 0, done.stdout
    changed = {what: state for what, state in states(done.stdout).items() if state != "ok"}
    links = {what: changed.pop(what) for what in list(changed) if what.endswith("-> /etc/sv/semail-qrunner")}
    assert set(links.values()) == {"made"}
    assert changed == {f"{HOME}/queue/new": "changed", f"{HOME}/run/trigger": "changed", "/etc/sv/semail-inbound/run": "changed",
                       "/usr/local/bin/semail -> /usr/local/libexec/semail/semail": "made", "inbound restarted": "changed"}
    assert pid() != before
    send(host, f"postmaster@{DOMAIN}", "mended")
    delivered(host, "postmaster", "mended")


def test_restarting_does_not_wait_for_a_client_that_says_nothing(host):
    with host.client():
        host.run(["sh", "-c", "echo '# gone astray' >> /etc/sv/semail-inbound/run"], check=True)
        done = host.run(INSTALL, timeout=60)
        assert done.returncode == 0 and "inbound restarted" in done.stdout, done.stdout


@pytest.mark.parametrize("path, restarted", [
    (f"{LIBEXEC}/smtpd-session", "inbound"), (f"{LIBEXEC}/maildir-deliver", "qrunner"),
    ("/etc/sv/semail-inbound/log/run", "inbound's log"), (f"{LIBEXEC}/semail", None)])
def test_what_runs_from_an_older_file_is_restarted(host, path, restarted):
    """Also when the run that put the new file there was interrupted before it came to the services."""
    host.run(["touch", path], check=True)
    done = host.run(INSTALL)
    assert done.returncode == 0, done.stdout
    changed = [what for what, state in states(done.stdout).items() if state != "ok"]
    assert changed == ([f"{restarted} restarted"] if restarted else [])
    assert "\nNothing was changed.\n" in host.run(INSTALL).stdout


def test_a_program_of_an_older_version_goes(host):
    host.run(["sh", "-c", f"touch {LIBEXEC}/old-program && echo {LIBEXEC}/old-program >> /usr/local/share/semail/files"], check=True)
    done = host.run(INSTALL)
    assert states(done.stdout)[f"{LIBEXEC}/old-program"] == "removed"
    assert f"{LIBEXEC}/old-program" not in host.listing(LIBEXEC)


# -- under s6, and away again -----------------------------------------------------

def test_the_same_directories_run_under_s6():
    with Machine() as machine:
        machine.run(INSTALL, check=True)
        machine.run(["sh", "-c", "mkdir /run/scan && ln -s /etc/sv/semail-inbound /etc/sv/semail-qrunner /run/scan"], check=True)
        machine.start(["s6-svscan", "/run/scan"])
        assert await_true(lambda: is_greeted(machine)), logs(machine)
        send(machine, f"postmaster@{DOMAIN}", "under s6")
        delivered(machine, "postmaster", "under s6")
        names = [text.split()[0].rpartition("/")[2] for text in machine.processes().values()]
        assert names.count("s6-supervise") == 4 and "runsv" not in names
        assert "tcp-accept: info: listening" in machine.read("/var/log/semail/inbound/current")
        # Now it is an installation that runs; a changed service is restarted there too.
        again = machine.run(INSTALL)
        assert again.returncode == 0 and "\nNothing was changed.\n" in again.stdout, again.stdout
        machine.run(["sh", "-c", "echo '# gone astray' >> /etc/sv/semail-qrunner/run"], check=True)
        again = machine.run(INSTALL)
        assert again.returncode == 0 and "qrunner restarted" in again.stdout, again.stdout
        send(machine, f"postmaster@{DOMAIN}", "restarted")
        delivered(machine, "postmaster", "restarted")
        # s6 would start again what is removed under its feet.
        refused = machine.run(["./install.sh", "--uninstall"])
        assert refused.returncode == 111 and "supervised by s6" in refused.stdout, refused.stdout
        assert is_greeted(machine)


def test_uninstall_leaves_the_data_and_nothing_else():
    with Machine() as machine:
        supervise(machine)
        machine.run(INSTALL, check=True)
        send(machine, f"postmaster@{DOMAIN}", "kept")
        path, _ = delivered(machine, "postmaster", "kept")
        machine.run(["semail", "config", "message-size", "1M"], check=True)
        # A client in the middle of a session does not hold it up for long.
        with machine.client():
            done = machine.run(["./install.sh", "--uninstall"], timeout=60)
        assert done.returncode == 0, done.stdout
        assert f"Kept: {HOME}" in done.stdout and "/etc/semail" in done.stdout

        assert machine.read(path).endswith("Hello.\n")
        assert machine.read("/etc/semail/message-size") == "1M\n"
        left = set(machine.changes())
        data = {path for path in left if path.startswith((HOME, "/etc/semail"))}
        # The users that files of the data belong to, and the files in which Debian keeps users.
        users = {f"/etc/{name}{suffix}" for name in ("passwd", "group", "shadow", "gshadow") for suffix in ("", "-")}
        assert left - data - users <= {"/etc/.pwd.lock", "/var/log/lastlog", "/var/log/faillog"}
        accounts = re.findall(r"^(semail-[a-z]+):", machine.read("/etc/passwd"), re.M)
        assert sorted(accounts) == ["semail-queue", "semail-smtpd"]
        assert await_true(lambda: list(machine.processes().values()) == ["runsvdir -P /etc/service"]
                          or not any("semail" in text for text in machine.processes().values())), machine.processes()

        again = machine.run(["./install.sh", "--uninstall"])
        assert again.returncode == 0 and "Nothing was changed" in again.stdout, again.stdout

        # And back: the mail is where it was, and more comes to it.
        machine.run(INSTALL, check=True)
        assert machine.read(path).endswith("Hello.\n")
        assert machine.read("/etc/semail/message-size") == "1M\n"
        send(machine, f"postmaster@{DOMAIN}", "again")
        delivered(machine, "postmaster", "again")

        # What it says of being rid of the data too leaves nothing at all.
        machine.run(["./install.sh", "--uninstall"], check=True)
        command = re.search(r"be rid of them too:\n +(.*)", done.stdout).group(1)
        machine.run(["sh", "-c", command], check=True)
        assert "semail" not in machine.read("/etc/passwd") + machine.read("/etc/group") + machine.read("/etc/shadow")
        assert not [path for path in machine.changes() if "semail" in path]


# -- what can be in the way --------------------------------------------------------

@pytest.fixture
def machine():
    with Machine() as one:
        yield one


def refused(machine, arguments=INSTALL, **options):
    """What install.sh says when it cannot do it: one sentence, and nothing done."""
    before = machine.changes()
    done = machine.run(arguments, **options)
    assert done.returncode in (100, 111), done.stdout
    assert machine.changes() == before
    sentence = [line for line in done.stdout.splitlines() if line.startswith("install.sh: ")]
    assert len(sentence) == 1, done.stdout
    return sentence[0].removeprefix("install.sh: ")


def test_a_port_in_use_names_the_holder(machine):
    with machine.listener(25):
        assert re.match(r"port 25 is in use by python3 \(process \d+\): stop it, ", refused(machine))


def test_no_swift_is_said(machine):
    # No build, and nothing to build with: the one is hidden under an empty directory, the other under something that cannot be run.
    machine.run(["mount", "-t", "tmpfs", "none", REPOSITORY / ".build"], check=True)
    for path in filter(None, (shutil.which("swift"), "/opt/swift/usr/bin/swift")):
        if Path(path).exists():
            machine.run(["mount", "--bind", "/dev/null", Path(path).resolve()], check=True)
    sentence = refused(machine, environment={**machine.environment, "HOME": "/nonexistent"})
    assert sentence.startswith("no Swift on this machine: install it as https://")


def test_a_build_belongs_to_whom_the_sources_belong(machine):
    """sudo ./install.sh in somebody's own clone must not leave files there that are root's."""
    machine.run(["sh", "-c", f"""set -e
        useradd --create-home builder
        mkdir /home/builder/semail /home/builder/bin
        cp -r install.sh etc Package.swift Sources /home/builder/semail
        printf '%s\\n' '#!/bin/sh' 'case $1 in --version) echo "Swift version 99.0"; exit;; esac' 'echo "built by $(id -un), whose home is $HOME, in $3"' \\
            'mkdir -p "$3/.build/release" && cd {REPOSITORY}/.build/release && cp tcp-accept smtpd-session qrunner maildir-deliver semail "$3/.build/release"' > /home/builder/bin/swift
        chmod 755 /home/builder/bin/swift
        chown -R builder: /home/builder"""], check=True)
    done = machine.run(["/home/builder/semail/install.sh", "--demo", "--once"],
                       environment={**machine.environment, "PATH": "/home/builder/bin:" + machine.environment["PATH"]})
    assert done.returncode == 0, done.stdout
    assert "built by builder, whose home is /home/builder, in /home/builder/semail" in done.stdout
    files = machine.listing("/home/builder/semail")
    assert "/home/builder/semail/.build/release/.install-built" in files
    assert {facts[2] for facts in files.values()} == {int(machine.run(["id", "-u", "builder"]).stdout)}


def test_a_swift_that_is_too_old_is_said(machine):
    machine.run(["mount", "-t", "tmpfs", "none", REPOSITORY / ".build"], check=True)
    machine.run(["sh", "-c", "mkdir /tmp/old && printf '#!/bin/sh\\necho Swift version 5.9.2\\n' > /tmp/old/swift && chmod 755 /tmp/old/swift"], check=True)
    sentence = refused(machine, environment={**machine.environment, "PATH": "/tmp/old:" + machine.environment["PATH"]})
    assert re.match(r"Swift 6\.\d+ or newer is needed, and /tmp/old/swift is 5\.9\.2: see https://", sentence)


def test_without_root_it_says_so(machine):
    # An id(1) that says what it says to an ordinary user, who may not be able to get into the repository.
    machine.run(["sh", "-c", "mkdir /tmp/bin && printf '#!/bin/sh\\necho 1000\\n' > /tmp/bin/id && chmod 755 /tmp/bin/id"], check=True)
    environment = {**machine.environment, "PATH": "/tmp/bin:" + machine.environment["PATH"]}
    for arguments in (INSTALL, ["./install.sh", "--demo"], ["./install.sh", "--test"], ["./install.sh", "--uninstall"]):
        assert refused(machine, arguments, environment=environment) == "this needs root: sudo ./install.sh ..."


def test_another_system_is_refused(machine):
    machine.run(["sh", "-c", "rm /etc/os-release && printf 'ID=fedora\\nPRETTY_NAME=\"Fedora Linux 41\"\\n' > /etc/os-release"], check=True)
    assert refused(machine).startswith("Fedora Linux 41 is not Debian: ")


@pytest.mark.parametrize("arguments, words", [
    ([], "say what to do"),
    (["--domain"], "--domain needs a name"),
    (["--domain", "localhost"], "has no dot in it"),
    (["--domain", "semail..example"], "is no domain name"),
    (["--domain", "-semail.example"], "is no domain name"),
    (["--domain", "semail.example", "--once"], "--once goes with --demo"),
    (["--demo", "--domain", "semail.example"], "do not go together"),
    (["--demo", "--port", "smtp"], "--port needs a number"),
    (["--demo", "--port", "70000"], "--port needs a number"),
    (["--frobnicate"], "--frobnicate is no option"),
])
def test_a_wrong_call_is_explained(machine, arguments, words):
    done = machine.run(["./install.sh", *arguments])
    assert done.returncode == 100, done.stdout
    assert words in done.stdout.splitlines()[0] and "\nusage: install.sh --domain NAME " in done.stdout
    assert machine.changes() == {}


def test_help_needs_no_root(machine):
    done = machine.run(["./install.sh", "--help"])
    assert done.returncode == 0 and done.stdout.startswith("usage: install.sh --domain NAME ")


def test_systemd_hosts_have_runit_started_by_systemd(machine):
    # A systemd that notes what it is asked, and Debian's package of runit's unit as if installed.
    machine.run(["sh", "-c", r"""
        mkdir -p /run/systemd/system /tmp/bin
        printf '\nPackage: runit-run\nStatus: install ok installed\nVersion: 2.1.2-54\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n' >> /var/lib/dpkg/status
        printf '#!/bin/sh\necho "$@" >> /tmp/asked\ncase "$*" in *is-active*) [ -e /tmp/started ]; exit;; esac\ntouch /tmp/started\nsetsid runsvdir -P /etc/service > /dev/null 2>&1 < /dev/null &\n' > /tmp/bin/systemctl
        chmod 755 /tmp/bin/systemctl"""], check=True)
    environment = {**machine.environment, "PATH": "/tmp/bin:" + machine.environment["PATH"]}
    done = machine.run(INSTALL, environment=environment)
    assert done.returncode == 0, done.stdout
    assert machine.read("/tmp/asked").splitlines()[-1] == "--quiet enable --now runit.service"
    assert is_greeted(machine)
    again = machine.run(INSTALL, environment=environment)
    assert "\nNothing was changed.\n" in again.stdout, again.stdout


def test_it_can_be_killed_at_any_moment_and_repeated(machine):
    supervise(machine)
    moments = 0
    for quarters in range(1, 20):
        run = machine.start(["setsid", "-w", *INSTALL])
        try:
            run.wait(quarters / 4)
            break
        except subprocess.TimeoutExpired:
            # The whole group, as when a connection breaks and the shell goes: nothing gets to clean up.
            ours = [pid for pid, text in machine.processes().items() if "runsv" not in text and "svlogd" not in text and LIBEXEC not in text]
            machine.run(["kill", "-KILL", *ours])
            run.wait()
            moments += 1
    assert moments > 1
    done = machine.run(INSTALL)
    assert done.returncode == 0, done.stdout
    send(machine, f"postmaster@{DOMAIN}", "after all")
    delivered(machine, "postmaster", "after all")
    assert "\nNothing was changed.\n" in machine.run(INSTALL).stdout
    assert not [path for path in machine.listing(*EVERYWHERE) if path.endswith(".fresh")]


# -- the scripts themselves ------------------------------------------------------------

def test_shellcheck_has_nothing_to_say():
    scripts = [REPOSITORY / "install.sh", REPOSITORY / ".ci/run", *sorted((REPOSITORY / "etc/install").glob("*.sh")),
               *sorted((REPOSITORY / "etc/service").rglob("run"))]
    assert len(scripts) == 10
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("code, cases, passed, failed, said", [
    (0, "<testcase classname='A' name='a'/><testcase classname='A' name='b'/>", 2, 0, []),
    (1, "<testcase classname='A' name='a'/><testcase classname='A' name='b'><failure message='x'/></testcase>", 1, 1, ["FAILED A b"]),
    (1, "<testcase classname='A' name='a'><error message='x'/></testcase>", 0, 1, ["FAILED A a"]),
    (0, "<testcase classname='A' name='a'/><testcase classname='A' name='b'><skipped message='no disk'/></testcase>", 1, 0, ["SKIPPED A b: no disk"]),
    # A runner that fails and names nobody, or runs nothing at all, has failed itself.
    (139, "<testcase classname='A' name='a'/>", 1, 1, ["FAILED runner ended with 139"]),
    (0, "", 0, 1, ["FAILED runner ran no tests"]),
    (2, None, 0, 1, ["FAILED runner ended with 2"]),
])
def test_results_are_added_up(tmp_path, code, cases, passed, failed, said):
    file = tmp_path / "results.xml"
    if cases is not None:
        file.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    done = subprocess.run(
        ["bash", "-euc", """root=$1 usage=; . "$root/etc/install/steps.sh"; . "$root/etc/install/test.sh"
         count runner "$3" "$2" > /dev/null; [ ${#unhappy[@]} = 0 ] || printf '%s\\n' "${unhappy[@]}"; echo "$passed passed, $failed failed" """,
         "bash", REPOSITORY, file, str(code)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.stdout.splitlines() == [*said, f"{passed} passed, {failed} failed"]


def test_ci_runs_all_tests_and_nothing_else():
    lines = [line for line in (REPOSITORY / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[-1] == "exec ./install.sh --test < /dev/null"
    assert [shlex.split(line)[0] for line in lines[:-1]] == ["set", "cd"]
