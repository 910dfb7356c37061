"""install.sh --domain and --uninstall, for real, each in a machine of its own."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import peers
from machine import REPOSITORY, Machine, await_true

DOMAIN = "semail.example"
# DNS, containers and web pages have tests of their own (test_install_dns, test_containers, test_webmail), and so has a host with systemd.
WITHOUT = [word for part in ("dns", "containers", "webmail") for word in ("--without", part)]
INSTALL = ["./install.sh", "--domain", DOMAIN, *WITHOUT]
HOME = "/var/lib/semail"
LIBEXEC = "/usr/local/libexec/semail"
SERVICES = ("inbound", "outbound", "outbound-tls", "outbound-local", "auth", "directory", "qrunner", "export", "provision", "portal")
USERS = ("semail-accept", "semail-queue", "semail-smtpd", "semail-tls", "semail-auth", "semail-directory", "semail-remote", "semail-dkim", "semail-portal", "semail-log")
PROGRAMS = re.search(r"^programs=\((.*)\)$", (REPOSITORY / "etc/install/steps.sh").read_text(), re.MULTILINE)[1].split()
# What an installation consists of, but for users.
SENDMAIL = ("/usr/sbin/sendmail", "/usr/local/sbin/sendmail", "/usr/local/bin/mailq")
EVERYWHERE = (HOME, "/usr/sbin/sendmail", "/etc/semail", "/etc/sv", "/etc/service/", "/etc/runit", "/usr/local")

# The incoming server has port 25 of every address but 127.0.0.1 and ::1, where the outgoing one is.
SEND = """
import smtplib, sys
with smtplib.SMTP("127.0.0.2", 25, timeout=20) as client:
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
    return machine.run(["/usr/bin/python3", "-c", "import smtplib; smtplib.SMTP('127.0.0.2', 25, timeout=5).quit()"]
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
        assert made[f"{LIBEXEC}/{program}"] == "made"
    for page in (REPOSITORY / "man").glob("*.[1-9]"):
        assert made[f"/usr/local/share/man/man{page.suffix[1:]}/{page.name}"] == "made"
    assert made[f"hostname {DOMAIN}"] == "made"
    assert made[f"postmaster is postmaster@{DOMAIN}"] == "made"
    assert [made[what] for what in made if what.startswith("/etc/semail/tls/default.pem: signed by nobody")] == ["made"]
    for link in SENDMAIL:
        assert made[f"{link} -> {LIBEXEC}/sendmail"] == "made"


def test_every_step_says_how_long_it_took(host):
    steps = re.findall(r"^(\S.*)\n(?:   .*\n)+?   \d[\d.]* m?s$", host.first.stdout, re.MULTILINE)
    assert [step.split(":")[0] for step in steps] == [
        "Packages", "Programs", "Ports 25, 465 and 587", "Users", "Paths (etc/hier)", "Programs and manuals", "Settings", "Directory of users", "Services"]


def test_a_second_run_changes_nothing_and_says_so(host):
    assert host.second.returncode == 0, host.second.stdout
    assert "\nNothing was changed.\n" in host.second.stdout
    assert set(states(host.second.stdout).values()) == {"ok"}

    def lasting(listing):
        # runsv's own state; and what the services that ran meanwhile wrote: volumes that are mounted, slapd's database, what provision notes.
        return {path: facts for path, facts in listing.items() if "/supervise" not in path and not path.startswith((f"{HOME}/volumes", f"{HOME}/directory/", f"{HOME}/run", f"{HOME}/mnt"))}

    assert lasting(host.after) == lasting(host.before)


def test_every_path_is_as_the_table_says(host):
    ids = {name: int(number) for name, number in re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/passwd"), re.M)}
    groups = {name: int(number) for name, number in re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/group"), re.M)}
    for kind, mode, owner, group, path, target in hier():
        there = host.listing(path).get(path)
        # A file of a part that was left out need not be there.
        if kind == "f" and there is None:
            assert path.endswith("/ssh-door")
            continue
        assert there[:4] == [kind, mode, ids[owner], groups[group]], path
        if kind == "l":
            assert there[4] == target


def test_nothing_is_setuid_and_only_root_can_change_programs(host):
    ours = [path for path in host.after if "semail" in path and path.startswith(("/usr/local", "/etc/sv"))]
    assert len(ours) > 30
    for path in ours:
        kind, mode, uid, gid = host.after[path][:4]
        assert (uid, gid) == (0, 0), path
        if kind == "f":
            assert int(mode, 8) & 0o7022 == 0, path


def test_users_have_no_shell_no_home_and_no_password(host):
    for name in USERS:
        entry = re.search(rf"^{name}:x:(\d+):(\d+):[^:]*:/nonexistent:/usr/sbin/nologin$", host.read("/etc/passwd"), re.M)
        assert entry and 0 < int(entry.group(1)) < 1000, name
        assert re.search(rf"^{name}:[!*]+:", host.read("/etc/shadow"), re.M), name
    groups = host.run(["id", "-nG", "semail-queue"]).stdout.split()
    assert groups == ["semail-queue", "semail-smtpd"]
    assert sorted(host.run(["id", "-nG", "semail-portal"]).stdout.split()) == ["semail-ask", "semail-log", "semail-portal"]
    for name in set(USERS) - {"semail-queue", "semail-portal"}:
        assert host.run(["id", "-nG", name]).stdout.split() == [name]


def test_every_program_runs_under_its_own_user_locked_in(host):
    ids = dict(re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/passwd"), re.M))
    groups = dict(re.findall(r"^([^:]+):[^:]*:(\d+)", host.read("/etc/group"), re.M))
    seen = {}
    # Clients that are connected, so that there are sessions too, and not only templates and what they keep ready.
    with host.client(), host.client(587), host.holding(f"s = socket.socket(socket.AF_UNIX); s.connect('{HOME}/run/submission'); s.recv(100)"):
        for pid, text in host.processes().items():
            name = text.split()[0].rpartition("/")[2]
            if name in (*PROGRAMS, "svlogd"):
                seen.setdefault(name, []).append(host.facts(pid))
    # A delivery may still be there, as its mailbox's user.
    seen["maildir-deliver"] = [facts for facts in seen["maildir-deliver"] if not 30000 <= int(facts["Uid"].split()[1]) < 60000]
    counts = {name: len(found) for name, found in seen.items()}
    assert {name: counts[name] for name in ("tcp-accept", "qrunner", "svlogd", "portal")} == {"tcp-accept": 6, "qrunner": 1, "svlogd": len(SERVICES), "portal": 1}
    # The only one that stays root.
    assert {facts["Uid"].split()[1] for facts in seen.pop("provision")} == {"0"}
    # maildir-deliver, and it alone, becomes other users: those of mailboxes.
    setuid_and_setgid = f"{1 << 6 | 1 << 7:016x}"
    exporters = []
    for name, users, capabilities, seccomp in (
            ("tcp-accept", {"semail-accept", "semail-auth"}, "0" * 16, "2"), ("smtpd-session", {"semail-smtpd"}, "0" * 16, "2"),
            ("tls-wrap", {"semail-tls"}, "0" * 16, "2"), ("qrunner", {"semail-queue"}, "0" * 16, "2"),
            ("maildir-deliver", {"semail-queue"}, setuid_and_setgid, "2"), ("remote-relay", {"semail-remote"}, "0" * 16, "2"),
            ("dkim-sign", {"semail-dkim"}, "0" * 16, "2"), ("portal", {"semail-portal"}, "0" * 16, "0"), ("svlogd", {"semail-log"}, "0" * 16, "0")):
        for facts in seen.pop(name):
            [user] = [user for user in users if set(facts["Uid"].split()) == {ids[user]}]
            assert set(facts["Gid"].split()) == {groups[user]}, name
            extra = {groups[name] for name in {"semail-queue": ["semail-smtpd"], "semail-portal": ["semail-ask", "semail-log"]}.get(user, [])}
            assert set(facts["Groups"].split()) - {groups[user]} == extra, name
            # The service export has one that starts others as the users of mailboxes.
            if name == "tcp-accept" and facts["CapEff"] == setuid_and_setgid:
                exporters.append(facts)
                continue
            assert facts["CapEff"] == facts["CapPrm"] == capabilities, name
            assert facts["NoNewPrivs"] == "1", name
            # What starts another program for each connection, as auth has it, is not locked in: that would go for the program too.
            assert facts["Seccomp"] == ("0" if user == "semail-auth" else seccomp), name
    assert seen == {} and len(exporters) == 1 and exporters[0]["NoNewPrivs"] == "1"


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
    host.run(["ip", "address", "replace", "2001:db8::1/128", "dev", "lo", "nodad"], check=True)
    host.python(SEND.replace("127.0.0.2", "2001:db8::1"), "", f"anna@{DOMAIN}", "six")
    delivered(host, "anna", "six")


# -- the outgoing server ----------------------------------------------------------

SUBMIT = """
import smtplib, ssl, sys
address, port = sys.argv[1].rsplit(" ", 1)
if port == "465":
    context = ssl.create_default_context(cafile="/etc/semail/tls/default.pem")
    client = smtplib.SMTP_SSL(address, 465, timeout=20, context=context)
    print(client.sock.version())
else:
    client = smtplib.SMTP(address, int(port), timeout=20)
client.ehlo("client.example")
print(client.has_extn("auth"))
try:
    client.sendmail(sys.argv[2], [sys.argv[3]], "Subject: %s\\r\\n\\r\\nHello.\\r\\n" % sys.argv[4])
except smtplib.SMTPException as error:
    print(error)
client.quit()
"""


@pytest.mark.parametrize("place", ["127.0.0.1 25", "127.0.0.1 587", "::1 25", "::1 587"])
def test_this_host_sends_at_both_ports(host, place):
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    host.python(SUBMIT, place, f"anna@{DOMAIN}", f"postmaster@{DOMAIN}", f"out by {place}")
    path, _ = delivered(host, "postmaster", f"out by {place}")
    assert f"\nFrom: <anna@{DOMAIN}>\n" in host.read(path)


def test_port_25_of_every_other_address_is_the_incoming_server(host):
    host.run(["ip", "address", "replace", "2001:db8::1/128", "dev", "lo", "nodad"], check=True)
    host.run(["ip", "address", "replace", "192.0.2.1/32", "dev", "lo"], check=True)
    for address in ("127.0.0.2", "192.0.2.1", "2001:db8::1"):
        said = host.python(SUBMIT, f"{address} 25", "somebody@elsewhere.example", "somebody@elsewhere.example", "relay")
        assert said.startswith("False\n") and "550" in said, said
        # Nor does the outgoing server listen there.
        assert host.run(["nc", "-z", address, "587"]).returncode == 1


def test_port_465_speaks_tls_and_wants_a_password(host):
    # The certificate was made for this host.
    said = host.python(SUBMIT.replace("(address, 465", f"('{DOMAIN}', 465").replace("client = smtplib.SMTP_SSL", "import socket; real = socket.create_connection\n"
                       "    socket.create_connection = lambda address, *more: real(('192.0.2.1', 465), *more)\n    client = smtplib.SMTP_SSL"),
                       "192.0.2.1 465", f"anna@{DOMAIN}", f"postmaster@{DOMAIN}", "by TLS")
    assert said.startswith("TLSv1.3\nTrue\n") and "530" in said, said
    assert host.listing("/etc/semail/tls/default.pem")["/etc/semail/tls/default.pem"][1] == "0400"


def test_nobody_whom_the_directory_of_users_does_not_know_gets_in(host):
    script = ("import smtplib\nclient = smtplib.SMTP_SSL('192.0.2.1', 465, timeout=20)\n"
              "try: client.login('anna', 'secret')\nexcept smtplib.SMTPAuthenticationError as error: print(error.smtp_code)\n")
    assert host.python(script) == "535\n"


def test_addresses_of_containers_come_from_a_control_file(host):
    host.run(["ip", "address", "replace", "172.30.0.1/16", "dev", "lo"], check=True)
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    host.run(["semail", "mailbox", "container", f"anna@{DOMAIN}", "172.30.0.5"], check=True)
    done = host.run(["semail", "config", "outbound-addresses", "172.30.0.1"], check=True)
    assert "sv restart semail-outbound" in done.stdout
    try:
        host.run(["sv", "-w", "20", "restart", "semail-outbound"], check=True)
        assert await_true(lambda: host.run(["nc", "-z", "172.30.0.1", "587"]).returncode == 0)
        host.run(["ip", "address", "replace", "172.30.0.5/16", "dev", "lo"], check=True)
        script = ("import smtplib, sys\nclient = smtplib.SMTP('172.30.0.1', 25, timeout=20, source_address=('172.30.0.5', 0))\n"
                  "client.ehlo('container')\nfor name in ('postmaster', 'anna'): print(client.mail(f'{name}@' + sys.argv[1])[0])\n")
        assert host.python(script, DOMAIN) == "550\n250\n"
    finally:
        host.run(["rm", "/etc/semail/outbound-addresses"], check=True)
        host.run(["sv", "-w", "20", "restart", "semail-outbound"], check=True)
        assert await_true(lambda: host.run(["nc", "-z", "127.0.0.1", "587"]).returncode == 0)


def test_sendmail_sends(host):
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    host.run(["/usr/sbin/sendmail", "-t", "-f", f"anna@{DOMAIN}"], input=f"To: postmaster@{DOMAIN}\nSubject: by sendmail\n\nHello.\n", check=True)
    delivered(host, "postmaster", "by sendmail")
    # As anna's own user nobody but anna.
    uid = re.search(r"^uid (\d+)$", host.read(f"{HOME}/mailboxes/anna@{DOMAIN}"), re.M)[1]
    anna = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"]
    message = f"To: postmaster@{DOMAIN}\nSubject: as anna\n\nHello.\n"
    host.run([*anna, "sendmail", "-t"], input=message, check=True)
    path, _ = delivered(host, "postmaster", "as anna")
    assert f"Return-Path: <anna@{DOMAIN}>\n" in host.read(path)
    assert host.run([*anna, "sendmail", "-t", "-f", f"postmaster@{DOMAIN}"], input=message).returncode != 0
    assert host.run(["mailq"]).returncode == 0


def test_mail_from_a_signed_domain_is_signed(host):
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    host.run(["semail", "dkim", "create", DOMAIN], check=True)
    try:
        # With a route that comes back, for want of other hosts.
        host.run(["semail", "config", "routes", f"{DOMAIN} [127.0.0.2]"], check=True)
        host.run(["sv", "-w", "20", "restart", "semail-qrunner"], check=True)
        host.python(SUBMIT, "127.0.0.1 587", f"anna@{DOMAIN}", f"postmaster@{DOMAIN}", "signed")
        path, _ = delivered(host, "postmaster", "signed")
        assert host.read(path).count("DKIM-Signature: ") == 2
    finally:
        host.run(["rm", "-r", "/etc/semail/routes", f"/etc/semail/dkim/{DOMAIN}"], check=True)
        host.run(["sv", "-w", "20", "restart", "semail-qrunner"], check=True)


def test_nobody_puts_another_socket_in_the_place_of_a_service(host):
    """The directory is qrunner's too; what root made in it stays."""
    done = host.run(["setpriv", "--reuid", "semail-queue", "--regid", "semail-queue", "--init-groups", "sh", "-c",
                     f"touch {HOME}/run/mine && rm {HOME}/run/mine && ! rm -f {HOME}/run/submission && ! mv {HOME}/run/auth {HOME}/run/mine"])
    assert done.returncode == 0, done.stdout


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
    for check in ("home", "settings", "mailboxes", "qrunner", "queue", "port", "sending", "web"):
        assert levels[check] == "well", report
    # Nobody has signed the certificate.
    for check, word in (("tls", "signed by nobody"), ("keys", "is not signed")):
        assert any(finding["level"] == "note" and word in finding["text"] for finding in report["findings"] if finding["check"] == check), report
    assert report["isWell"] is True


def test_doctor_tells_what_is_wrong_with_the_outgoing_server(host):
    def mends():
        report = json.loads(host.run(["semail", "doctor", "--json"]).stdout)
        return {(finding["check"], finding["text"]): finding["remedy"] for finding in report["findings"] if finding["level"] == "mend"}

    def stopped(service, check, words):
        host.run(["sv", "-w", "20", "down", f"semail-{service}"], check=True)
        [(found, text)] = mends()
        assert found == check and words in text, text
        host.run(["sv", "up", f"semail-{service}"], check=True)
        assert await_true(lambda: mends() == {}), mends()

    assert mends() == {}
    # The incoming server has the port while the outgoing one is away: what answers there is not enough to be well.
    stopped("outbound", "sending", "nobody answers at port 587")
    stopped("outbound-local", "sending", "nobody answers at /var/lib/semail/run/submission")
    stopped("outbound-tls", "tls", "nobody answers at port 465")
    stopped("portal", "web", "the portal does not answer at 127.0.0.1:8080")
    host.run(["semail", "dkim", "create", DOMAIN], check=True)
    host.run(["sh", "-c", f"chmod 644 /etc/semail/dkim/{DOMAIN}/*-rsa.pem; echo 'x y' > /etc/semail/route-passwords; semail config routes '* [192.0.2.9] auth'"], check=True)
    try:
        for _, remedy in mends().items():
            host.run(["sh", "-c", remedy.removeprefix("run: ")], check=True)
        assert mends() == {}
        host.run(["rm", "/etc/semail/route-passwords"], check=True)
        [(check, text)] = mends()
        assert check == "use" and "wants a password" in text
    finally:
        host.run(["rm", "-rf", "/etc/semail/routes", "/etc/semail/route-passwords", f"/etc/semail/dkim/{DOMAIN}"], check=True)


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
        done = host.run(["./install.sh", "--domain", "other.example", *WITHOUT])
        assert done.returncode == 0 and "\nNothing was changed.\n" in done.stdout, done.stdout
        assert f"not other.example: settings are the admin's" in done.stdout
        assert host.read("/etc/semail/hostname") == DOMAIN + "\n"
        assert host.read("/etc/semail/message-size") == "1M\n"
    finally:
        host.run(["rm", "/etc/semail/message-size"], check=True)


def test_limits_of_connections_come_from_control_files(host):
    accepts = [text for text in host.processes().values() if "tcp-accept" in text and " 25 " in text]
    assert len(accepts) == 1 and " -c " not in accepts[0]
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


@pytest.mark.parametrize("paths, restarted", [
    ([f"{LIBEXEC}/smtpd-session", f"{LIBEXEC}/checkpassword-ldap", f"{LIBEXEC}/semail"], ["inbound", "outbound", "outbound-tls", "outbound-local"]),
    ([f"{LIBEXEC}/maildir-deliver", f"{LIBEXEC}/tls-wrap", "/etc/sv/semail-inbound/log/run"], ["inbound's log", "outbound-tls", "qrunner"])])
def test_what_runs_from_an_older_file_is_restarted(host, paths, restarted):
    """Also when the run that put the new file there was interrupted before it came to the services."""
    host.run(["touch", *paths], check=True)
    done = host.run(INSTALL)
    assert done.returncode == 0, done.stdout
    changed = [what for what, state in states(done.stdout).items() if state != "ok"]
    assert changed == [f"{name} restarted" for name in restarted]
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
        machine.run(["sh", "-c", "mkdir /run/scan && ln -s /etc/sv/semail-* /run/scan"], check=True)
        machine.start(["s6-svscan", "/run/scan"])
        assert await_true(lambda: is_greeted(machine)), logs(machine)
        send(machine, f"postmaster@{DOMAIN}", "under s6")
        delivered(machine, "postmaster", "under s6")
        names = [text.split()[0].rpartition("/")[2] for text in machine.processes().values()]
        assert names.count("s6-supervise") == 2 * len(SERVICES) and "runsv" not in names
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
        assert await_true(lambda: is_greeted(machine)), logs(machine)


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

        # The mail is on its volume, which is not mounted any more.
        assert f"{HOME}/volumes/postmaster" in machine.listing(f"{HOME}/volumes") and machine.run(["ls", path]).returncode != 0
        assert machine.read("/etc/semail/message-size") == "1M\n"
        certificate = machine.read("/etc/semail/tls/default.pem")
        left = set(machine.changes())
        data = {path for path in left if path.startswith((HOME, "/etc/semail"))}
        # The users that files of the data belong to, and the files in which Debian keeps users.
        users = {f"/etc/{name}{suffix}" for name in ("passwd", "group", "shadow", "gshadow") for suffix in ("", "-")}
        # mount(8) makes /run/mount where there is none.
        assert left - data - users - {"/run/mount"} <= {"/etc/.pwd.lock", "/var/log/lastlog", "/var/log/faillog"}
        accounts = re.findall(r"^(semail-[a-z]+):", machine.read("/etc/passwd"), re.M)
        # Those who own nothing that was kept are gone.
        assert sorted(accounts) == ["semail-directory", "semail-portal", "semail-queue", "semail-smtpd", "semail-tls"]
        assert await_true(lambda: list(machine.processes().values()) == ["runsvdir -P /etc/service"]
                          or not any("semail" in text for text in machine.processes().values())), machine.processes()

        again = machine.run(["./install.sh", "--uninstall"])
        assert again.returncode == 0 and "Nothing was changed" in again.stdout, again.stdout

        # And back: the mail is where it was, and more comes to it.
        machine.run(INSTALL, check=True)
        assert await_true(lambda: machine.run(["cat", path]).stdout.endswith("Hello.\n"))
        assert machine.read("/etc/semail/message-size") == "1M\n"
        assert machine.read("/etc/semail/tls/default.pem") == certificate
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


@pytest.mark.parametrize("port", [25, 465, 587])
def test_a_port_in_use_names_the_holder(machine, port):
    with machine.listener(port):
        assert re.match(rf"port {port} is in use by python3 \(process \d+\): stop it, ", refused(machine))


def test_another_programs_sendmail_stays(machine):
    machine.run(["sh", "-c", "ln -s /usr/bin/msmtp /usr/local/sbin/sendmail; printf '#!/bin/sh\necho theirs\n' > /usr/sbin/sendmail; chmod 755 /usr/sbin/sendmail"], check=True)
    done = machine.run(INSTALL)
    assert done.returncode == 0, done.stdout
    said = states(done.stdout)
    for path in SENDMAIL[:2]:
        assert said[f"{path} is another program's, and stays as it is"] == "ok"
    assert said[f"/usr/local/bin/mailq -> {LIBEXEC}/sendmail"] == "made"
    machine.run(["./install.sh", "--uninstall"], check=True)
    assert machine.run(["/usr/sbin/sendmail"]).stdout == "theirs\n"
    assert machine.run(["readlink", "/usr/local/sbin/sendmail"]).stdout == "/usr/bin/msmtp\n"
    assert machine.run(["ls", "/usr/local/bin/mailq"]).returncode != 0


def test_the_admins_certificate_stays(machine):
    machine.run(["sh", "-c", "mkdir -p /etc/semail/tls && openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=theirs -keyout /tmp/key -out /tmp/certificate "
                 "&& cat /tmp/certificate /tmp/key > /etc/semail/tls/default.pem && rm /tmp/key /tmp/certificate && sha256sum /etc/semail/tls/default.pem > /tmp/sum"], check=True)
    done = machine.run(INSTALL)
    assert done.returncode == 0 and states(done.stdout)["/etc/semail/tls/default.pem"] == "ok", done.stdout
    machine.run(["sha256sum", "-c", "/tmp/sum"], check=True)


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
    for name in peers.OF_THE_DEMO:
        peers.unpack(name)
    machine.run(["sh", "-c", f"""set -e
        useradd --create-home builder
        mkdir /home/builder/semail /home/builder/bin
        cp -r install.sh etc Package.swift Sources Tests /home/builder/semail
        printf '%s\\n' '#!/bin/sh' 'case $1 in --version) echo "Swift version 99.0"; exit;; esac' 'echo "built by $(id -un), whose home is $HOME, in $3"' \\
            'mkdir -p "$3/.build/release" && cd {REPOSITORY}/.build/release && cp {' '.join(PROGRAMS)} "$3/.build/release"' > /home/builder/bin/swift
        chmod 755 /home/builder/bin/swift
        chown -R builder: /home/builder"""], check=True)
    done = machine.run(["/home/builder/semail/install.sh", "--demo", "--once", "--without", "containers"],
                       environment={**machine.environment, "PATH": "/home/builder/bin:" + machine.environment["PATH"], "SEMAIL_PEERS": str(peers.CACHE)})
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


def test_it_can_be_killed_at_any_moment_and_repeated(machine):
    supervise(machine)
    moments = 0
    for attempt in range(1, 20):
        run = machine.start(["setsid", "-w", *INSTALL])
        try:
            run.wait(attempt * 0.4)
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
    assert len(scripts) > 30
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
