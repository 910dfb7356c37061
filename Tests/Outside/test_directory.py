"""The directory of users that install.sh makes on a host: beside another slapd, in place of none, and not where the settings name another."""


import pytest

from machine import Machine, await_true
from test_install import DOMAIN, HOME, is_greeted, logs, states, supervise

# What else there is to install has tests of its own.
INSTALL = ["./install.sh", "--domain", DOMAIN, "--without", "dns", "--without", "containers", "--without", "webmail"]
SUFFIX = "dc=semail,dc=example"
BASE = f"ou=Personnes,{SUFFIX}"
SERVICE = "/etc/sv/semail-directory"

LOGIN = """
import smtplib, sys
client = smtplib.SMTP_SSL('192.0.2.1', 465, timeout=20)
try: print(client.login(sys.argv[1], sys.argv[2])[0])
except smtplib.SMTPAuthenticationError as error: print(error.smtp_code)
"""

# Debian's own slapd, with the database that its package made, and somebody's data in it.
OTHERS = """
service slapd start > /dev/null || slapd -h 'ldap:/// ldapi:///' -g openldap -u openldap -F /etc/ldap/slapd.d
for i in $(seq 100); do ldapwhoami -Q -Y EXTERNAL -H ldapi:/// > /dev/null 2>&1 && break; sleep 0.1; done
suffix=$(ldapsearch -x -LLL -H ldap://127.0.0.1 -s base -b '' namingContexts | sed -n 's/^namingContexts: //p')
echo "$suffix"
# Whoever is root of this host may write there; the package gives its own entry a password that nobody knows.
printf 'dn: olcDatabase={1}mdb,cn=config\\nchangetype: modify\\nadd: olcAccess\\nolcAccess: {0}to * by dn.exact=gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth manage by * break\\n' |
    ldapmodify -Q -Y EXTERNAL -H ldapi:///
printf "dn: ou=theirs,$suffix\\nobjectClass: organizationalUnit\\nou: theirs\\n" | ldapadd -Q -Y EXTERNAL -H ldapi:///
"""


def login(machine, user, password):
    return machine.python(LOGIN, user, password).strip()


def add(machine, uid, password):
    machine.run(["semail", "user", "add", uid, "--first-name", "Given", "--name", uid.title(), "--password-file", "-"], input=password + "\n", check=True)


@pytest.fixture(scope="module")
def host():
    """Installed beside Debian's slapd, which serves somebody else."""
    with Machine() as machine:
        supervise(machine)
        machine.run(["ip", "address", "replace", "192.0.2.1/32", "dev", "lo"], check=True)
        machine.theirs = machine.run(["sh", "-euc", OTHERS], check=True).stdout.splitlines()[0]
        machine.before = their_directory(machine)
        machine.first = machine.run(INSTALL, timeout=1800)
        assert machine.first.returncode == 0, machine.first.stdout
        yield machine


def their_directory(machine):
    """What the other slapd has and is: its entries, its configuration, its process."""
    def text(*arguments):
        return machine.run(["ldapsearch", "-Q", "-Y", "EXTERNAL", "-LLL", "-H", "ldapi:///", *arguments], check=True).stdout

    return text("-b", machine.theirs), text("-b", "cn=config"), machine.run(["pgrep", "-u", "openldap", "slapd"], check=True).stdout


def test_another_slapd_stays_as_it_is(host):
    assert their_directory(host) == host.before and f"dn: ou=theirs,{host.theirs}" in host.before[0]
    # Ours is another, which listens to no network.
    [pid] = host.run(["pgrep", "-u", "semail-directory", "slapd"], check=True).stdout.split()
    facts = host.facts(pid)
    assert facts["CapEff"] == facts["CapBnd"] == "0" * 16 and facts["NoNewPrivs"] == "1"
    listening = host.run(["ss", "-Hltnp"], check=True).stdout
    assert not [line for line in listening.splitlines() if f"pid={pid}," in line]


def test_what_install_says_of_it(host):
    made = states(host.first.stdout)
    for what in (f"{HOME}/control/slapd.conf", f"{HOME}/directory: {SUFFIX}", f"ldap-uri is ldapi://{(HOME + '/run/directory/ldapi').replace('/', '%2F')}", f"ldap-base is {BASE}",
                 f"ldap-admin-group is cn=semail-admins,ou=Groupes,{SUFFIX}"):
        assert made[what] == "made", host.first.stdout
    assert made["directory runs"] == made["the directory of users answers"] == "ok"
    again = host.run(INSTALL)
    assert again.returncode == 0 and "\nNothing was changed.\n" in again.stdout, again.stdout


def test_whoever_is_in_the_directory_sends_with_a_password(host):
    add(host, "anna", "correct horse")
    # Without a mailbox there is nobody to send as.
    assert login(host, "anna", "correct horse") == "535"
    host.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
    assert login(host, "anna", "correct horse") == "235" and login(host, f"anna@{DOMAIN}", "correct horse") == "235"
    assert login(host, "anna", "wrong") == "535" and login(host, "nobody", "wrong") == "535"
    assert "anna\tGiven Anna\tanna@" in host.run(["semail", "user", "list"], check=True).stdout


def test_the_doctor_is_content(host):
    add(host, "admin1", "word")
    host.run(["semail", "user", "admin", "admin1"], check=True)
    lines = [line for line in host.run(["semail", "doctor"]).stdout.splitlines() if "\tdirectory\t" in line or "slapd" in line]
    assert len(lines) == 1 and lines[0].startswith("well\tdirectory\t"), lines


def test_who_may_ask_whether_a_password_is_right(host):
    """Sessions, to whom the socket belongs, and the group of those who ask."""
    script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{HOME}/run/auth'); s.sendall(b'\\0anna\\0wrong\\0'); print(s.recv(100))"
    for user, said in (("semail-smtpd", "b'no\\n'\n"), ("semail-portal", "b'no\\n'\n"), ("semail-log", None), ("semail-accept", None), ("semail-tls", None), ("nobody", None)):
        done = host.run(["setpriv", "--reuid", user, "--regid", user if user != "nobody" else "nogroup", "--init-groups", "/usr/bin/python3", "-c", script])
        assert done.stdout == said if said else "PermissionError" in done.stdout, (user, done.stdout)
    # And who may speak to the directory itself.
    script = f"import socket; socket.socket(socket.AF_UNIX).connect('{HOME}/run/directory/ldapi')"
    for user, code in (("semail-auth", 0), ("semail-directory", 0), ("semail-smtpd", 1), ("semail-portal", 1), ("nobody", 1)):
        assert host.run(["setpriv", "--reuid", user, "--regid", user if user != "nobody" else "nogroup", "--init-groups", "/usr/bin/python3", "-c", script]).returncode == code, user


def test_a_slapd_that_is_killed_comes_back(host):
    add(host, "bert", "word")
    [pid] = host.run(["pgrep", "-u", "semail-directory", "slapd"], check=True).stdout.split()
    host.run(["kill", "-KILL", pid], check=True)
    assert await_true(lambda: host.run(["semail", "user", "list"]).returncode == 0)
    assert "\nbert\t" in host.run(["semail", "user", "list"], check=True).stdout


def test_with_another_directory_ours_ends_and_its_people_stay(host):
    add(host, "carl", "word")
    host.run(["semail", "config", "ldap-uri", "ldaps://ldap.school.test"], check=True)
    host.run(["semail", "config", "ldap-base", "ou=people,dc=school,dc=test"], check=True)
    done = host.run(INSTALL)
    assert done.returncode == 0 and "the settings name another directory (ldaps://ldap.school.test ou=people,dc=school,dc=test)" in done.stdout, done.stdout
    assert states(done.stdout)[SERVICE] == "removed"
    assert host.run(["pgrep", "-u", "semail-directory", "slapd"]).stdout == ""
    assert host.read("/etc/semail/ldap-uri") == "ldaps://ldap.school.test\n"
    assert "Nothing was changed" in host.run(INSTALL).stdout
    # And back.
    for name in ("ldap-uri", "ldap-base"):
        host.run(["semail", "config", name, "--unset"], check=True)
    done = host.run(INSTALL)
    assert done.returncode == 0, done.stdout
    assert "\ncarl\t" in host.run(["semail", "user", "list"], check=True).stdout


def test_where_the_settings_name_another_none_is_made():
    with Machine() as machine:
        machine.run(["sh", "-c", "mkdir /etc/semail && echo ldap://ldap.school.test > /etc/semail/ldap-uri"], check=True)
        supervise(machine)
        done = machine.run(INSTALL, timeout=1800)
        assert done.returncode == 0, done.stdout
        assert not [path for path in machine.listing("/etc/semail", "/etc/sv", f"{HOME}/directory") if path.endswith(("slapd.conf", "semail-directory", "/db"))]
        assert machine.read("/etc/semail/ldap-uri") == "ldap://ldap.school.test\n"


def test_removed_and_back_with_everybody():
    with Machine() as machine:
        supervise(machine)
        machine.run(INSTALL, check=True, timeout=1800)
        machine.run(["ip", "address", "replace", "192.0.2.1/32", "dev", "lo"], check=True)
        add(machine, "anna", "correct horse")
        done = machine.run(["./install.sh", "--uninstall"], check=True)
        assert "people" in done.stdout and states(done.stdout)[SERVICE] == "removed"
        assert machine.run(["pgrep", "-u", "semail-directory"]).stdout == "" and "semail-ask" not in machine.read("/etc/group")
        machine.run(INSTALL, check=True)
        assert "anna\t" in machine.run(["semail", "user", "list"], check=True).stdout
        assert await_true(lambda: is_greeted(machine)), logs(machine)
        machine.run(["semail", "mailbox", "create", "anna", f"anna@{DOMAIN}"], check=True)
        assert login(machine, "anna", "correct horse") == "235"


def test_a_database_that_was_not_finished_is_made_anew():
    with Machine() as machine:
        machine.run(INSTALL, check=True, timeout=1800)
        # As if it had been cut short before the database had its name; and before there were settings.
        machine.run(["sh", "-euc", f"mv {HOME}/directory/db {HOME}/directory/fresh; truncate -s 8192 {HOME}/directory/fresh/data.mdb; rm /etc/semail/ldap-base /etc/semail/ldap-admin-group"], check=True)
        supervise(machine)
        done = machine.run(INSTALL, check=True)
        made = states(done.stdout)
        assert made[f"{HOME}/directory: {SUFFIX}"] == made[f"ldap-base is {BASE}"] == "made"
        assert machine.listing(f"{HOME}/directory").keys() == {f"{HOME}/directory", f"{HOME}/directory/db", f"{HOME}/directory/db/data.mdb", f"{HOME}/directory/db/lock.mdb"}
        machine.run(["semail", "user", "add", "anna", "--name", "Anna", "--generate"], check=True)


CUT_SHORT = """
rm -rf /var/lib/semail/directory/* /etc/semail/slapd.conf /etc/semail/ldap-*
"$@" > /tmp/log 2>&1 < /dev/null &
pid=$!
while ! grep -q '^Directory of users' /tmp/log; do sleep 0.01; done
sleep "$DELAY"
kill -KILL $pid 2> /dev/null || true
wait $pid || true
"""


def test_an_installation_that_is_killed_there_is_completed_by_the_next():
    with Machine() as machine:
        machine.run(INSTALL, check=True, timeout=1800)
        for delay in (0, 0.05, 0.1, 0.2, 0.4):
            machine.run(["sh", "-uc", CUT_SHORT.replace("$DELAY", str(delay)), "sh", *INSTALL], check=True)
            # What it had started may still be at it for a moment.
            assert await_true(lambda: machine.run(["pgrep", "slapadd"]).returncode == 1)
            done = machine.run(INSTALL, check=True)
            assert states(done.stdout)[f"ldap-base is {BASE}"] in ("ok", "made")
            assert sorted(path.rpartition("/")[2] for path in machine.listing(f"{HOME}/directory")) == ["data.mdb", "db", "directory", "lock.mdb"]
            found = machine.run(["setpriv", "--reuid", "semail-directory", "--regid", "semail-directory", "--clear-groups", "slapcat", "-f", "/etc/semail/slapd.conf"], check=True).stdout
            assert found.count("dn: ") == 3, (delay, found)
