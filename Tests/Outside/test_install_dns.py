"""What install.sh does about the DNS, on machines of their own: BIND as Debian ships it gets a zone; BIND as an admin has it is left
alone, and it is said what to do."""

import subprocess

import pytest

import semailtest
from machine import Machine, await_true

ROOT = semailtest.REPOSITORY
ZONE = "semail.example"


class Host:
    """A machine with addresses, where a home was made and nothing else."""

    def __init__(self, machine, hostname=f"mail.{ZONE}", addresses=("192.0.2.10/32", "2001:db8::10/128"), domain=ZONE):
        self.machine = machine
        for address in addresses:
            machine.run(["ip", "address", "add", address, "dev", "lo"], check=True)
        self.sh(f"mkdir -p /usr/local/libexec/semail /etc/semail; cp {semailtest.program('semail')} /usr/local/libexec/semail; mkdir /var/lib/semail; ln -s /etc/semail /var/lib/semail/control;"
                f" /usr/local/libexec/semail/semail init /var/lib/semail --hostname {hostname}"
                + (f"; echo {domain} > /etc/semail/domain" if domain else ""))
        self.before = self.bind_files()

    def sh(self, script, check=True):
        return self.machine.run(["bash", "-euc", script], check=check)

    def install(self, code=0, what="install_dns"):
        done = self.sh(f"root={ROOT}; usage=; without=; . etc/install/steps.sh; . etc/install/host.sh; kept=(); {what}; say \"changes $changes\"", check=False)
        assert done.returncode == code, done.stdout
        return done.stdout

    def bind_files(self):
        """{path: (mode, user, group, content)} of BIND's configuration."""
        return {path: tuple(entry[1:5]) for path, entry in self.machine.listing("/etc/bind").items() if entry[0] == "f"}

    def start_named(self, *arguments):
        self.machine.start(["named", "-f", "-u", "bind", *arguments])
        assert await_true(lambda: self.machine.run(["rndc", "status"]).returncode == 0)

    def setting(self, name):
        return self.sh(f"cat /etc/semail/{name} 2> /dev/null || echo unset").stdout.strip()

    def dig(self, *words, server="192.0.2.10"):
        return self.machine.run(["dig", f"@{server}", "+short", *words]).stdout.strip()

    def update(self, *lines, key="/etc/semail/dns-key"):
        text = "\n".join(["server 127.0.0.1", f"zone {ZONE}", *(f"update {line}" for line in lines), "send", ""])
        return self.machine.run(["nsupdate", "-k", key], input=text).stdout.strip()


@pytest.fixture
def machine():
    with Machine() as machine:
        machine.sh = lambda script: machine.run(["bash", "-euc", script], check=True)
        # Whatever was done to the host's own BIND; and in here services do not start by themselves.
        machine.sh("printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; mkdir -p /run/named; chown root:bind /run/named; chmod 775 /run/named")
        yield machine


@pytest.fixture
def host(machine):
    return Host(machine)


@pytest.fixture
def served(host):
    """A host that is installed, with a named that runs."""
    host.install()
    host.start_named()
    host.said = host.install()
    return host


# -- BIND as Debian ships it ------------------------------------------------------------

def test_a_first_time_and_again(host):
    said = host.install()
    assert "service named start" in said and f"made     /var/lib/bind/semail-{ZONE}.zone: 192.0.2.10 2001:db8::10" in said
    # What is not there yet, nobody is sent to.
    assert host.setting("dns-server") == "unset"
    host.start_named()
    said = host.install()
    assert f"named answers for {ZONE}" in said and (host.setting("domain"), host.setting("dns-server")) == (ZONE, "127.0.0.1")
    assert f"What the registrar of {ZONE} must know: its name server is mail.{ZONE}." in said
    said = host.install()
    assert said.endswith("changes 0\n"), said


def test_what_the_zone_says(served):
    assert served.dig(ZONE, "SOA").startswith(f"mail.{ZONE}. hostmaster.{ZONE}. ")
    assert served.dig(ZONE, "NS") == f"mail.{ZONE}." and served.dig(ZONE, "MX") == f"10 mail.{ZONE}."
    assert served.dig(f"mail.{ZONE}", "A") == "192.0.2.10" and served.dig(f"mail.{ZONE}", "AAAA") == "2001:db8::10"
    assert served.dig(ZONE, "TXT") == '"v=spf1 mx -all"' and served.dig(f"mail.{ZONE}", "TXT") == '"v=spf1 a -all"' and served.dig(f"_dmarc.{ZONE}", "TXT") == '"v=DMARC1; p=quarantine"'
    assert served.dig(f"_submissions._tcp.{ZONE}", "SRV") == f"0 1 465 mail.{ZONE}." and served.dig(f"_imaps._tcp.{ZONE}", "SRV") == "0 0 0 ."
    for name, text in (line.split("\t") for line in served.sh(f"cat /var/lib/semail/run/dkim/{ZONE}").stdout.splitlines()):
        assert served.dig(name, "TXT").replace('" "', "") == f'"{text}"'
    # To anybody, and not as a whole.
    assert "Transfer failed" in served.machine.run(["dig", "@127.0.0.1", ZONE, "AXFR"]).stdout
    assert served.machine.run(["named-checkconf"]).stdout == ""


def test_a_mailbox_has_its_records(served):
    served.sh("/usr/local/libexec/semail/semail mailbox create ssow ssow@ssow." + ZONE)
    assert served.dig(f"ssow.{ZONE}", "MX") == f"10 mail.{ZONE}."
    served.sh("/usr/local/libexec/semail/semail mailbox delete --yes ssow@ssow." + ZONE)
    assert served.dig(f"ssow.{ZONE}", "MX") == ""


def test_the_key_and_what_it_may(served):
    listing = served.machine.listing("/etc/semail/dns-key", "/etc/bind/semail.key")
    bind = int(served.sh("getent group bind | cut -d : -f 3").stdout)
    assert listing["/etc/semail/dns-key"][1:4] == ["0400", 0, 0] and listing["/etc/bind/semail.key"][1:4] == ["0640", 0, bind]
    assert listing["/etc/semail/dns-key"][4] == listing["/etc/bind/semail.key"][4]
    assert "hmac-sha256" in served.sh("cat /etc/semail/dns-key").stdout
    for line in (f"add x.{ZONE} 60 A 192.0.2.1", f"delete mail.{ZONE} A", f"add x.{ZONE} 60 NS mail.{ZONE}.", f"delete {ZONE} MX", f"add {ZONE} 60 TXT x", f"add {ZONE} 60 NS x.{ZONE}.",
                 f"add x.{ZONE} 60 DNAME example."):
        assert served.update(line) == "update failed: REFUSED", line
    assert served.update(f"add x.{ZONE} 60 MX 10 mail.{ZONE}.") == "" and served.update(f"delete x.{ZONE} MX") == ""
    # Others have no key at all.
    done = served.machine.run(["nsupdate"], input=f"server 127.0.0.1\nzone {ZONE}\nupdate add y.{ZONE} 60 TXT x\nsend\n")
    assert "REFUSED" in done.stdout


def test_changes_survive_named_and_install(served):
    served.update(f"add x.{ZONE} 60 TXT kept")
    served.sh("rndc stop")
    assert await_true(lambda: served.machine.run(["rndc", "status"]).returncode != 0)
    assert "service named start" in served.install()
    served.start_named()
    served.install()
    assert served.dig(f"x.{ZONE}", "TXT") == '"kept"'


def test_the_domain_itself_is_the_hosts_name(machine):
    host = Host(machine, hostname=ZONE, addresses=("192.0.2.10/32",), domain=None)
    host.install()
    assert host.setting("domain") == "unset"
    host.start_named()
    host.install()
    assert host.setting("domain") == ZONE
    assert host.dig(ZONE, "A") == "192.0.2.10" and host.dig(ZONE, "AAAA") == "" and host.dig(ZONE, "MX") == f"10 {ZONE}." and host.dig(ZONE, "TXT") == '"v=spf1 mx -all"'


def test_a_domain_that_the_admin_has_set(machine):
    """The host's name is in another zone, which is not served here."""
    host = Host(machine, hostname="mx.elsewhere.example", domain="people.example")
    host.install()
    host.start_named()
    host.install()
    assert host.dig("people.example", "MX") == "10 mx.elsewhere.example." and host.dig("mx.elsewhere.example", "A") == ""
    host.sh("/usr/local/libexec/semail/semail mailbox create ssow ssow@ssow.people.example")
    assert host.dig("ssow.people.example", "MX") == "10 mx.elsewhere.example."


def test_taken_out_again(served):
    said = served.install(what="remove_dns")
    assert "removed  /etc/bind/semail.conf" in said and "removed  /etc/bind/semail.key" in said
    assert served.bind_files() == served.before
    assert served.dig(ZONE, "SOA") == ""
    assert served.install(what="remove_dns").endswith("changes 0\n")
    # The zone is data, and there again when it is installed again.
    served.install()
    assert served.dig(ZONE, "MX") == f"10 mail.{ZONE}."


# -- what it leaves alone ------------------------------------------------------------------

ADMINS = {
    "/etc/bind/named.conf.local": 'zone "admins.example" { type primary; file "/var/lib/bind/admins"; };\n',
    "/etc/bind/named.conf": "// Mine.\n",
}


@pytest.mark.parametrize("path", ADMINS)
def test_an_admins_configuration(host, path):
    host.sh(f"printf '$TTL 60\\n@ SOA a b 1 1 1 1 1\\n@ NS a\\na A 192.0.2.1\\n' > /var/lib/bind/admins; chown bind: /var/lib/bind/admins; echo '{ADMINS[path]}' >> {path}")
    before = host.bind_files()
    host.start_named()
    said = host.install()
    assert "BIND has a configuration of its own, which stays as it is" in said and f"semail config domain {ZONE}; semail config dns-server 127.0.0.1" in said
    after = host.bind_files()
    assert after.pop("/etc/bind/semail.key") and after == before
    assert host.setting("dns-server") == "unset"
    # The admin does what it says, to the letter.
    lines = "".join(line.removeprefix("   | ") + "\n" for line in said.splitlines() if line.startswith("   | "))
    host.machine.run(["tee", "-a", "/etc/bind/named.conf.local"], input=lines, check=True)
    host.sh(f"rndc reconfig; cd /usr/local/libexec/semail; PATH=.:$PATH; semail config domain {ZONE}; semail config dns-server 127.0.0.1")
    assert await_true(lambda: host.dig(ZONE, "MX") == f"10 mail.{ZONE}.")
    said = host.install()
    assert said.endswith("changes 0\n") and f"named answers for {ZONE}" in said, said
    host.sh("/usr/local/libexec/semail/semail mailbox create ssow ssow@ssow." + ZONE)
    assert host.dig(f"ssow.{ZONE}", "MX") == f"10 mail.{ZONE}."


def test_an_admins_options_are_no_hindrance(host):
    """Who may ask is the admin's business, and no zone's."""
    host.sh("sed -i 's/directory.*/&\\n        allow-recursion { 127.0.0.1; };/' /etc/bind/named.conf.options")
    host.install()
    host.start_named()
    assert f"named answers for {ZONE}" in host.install()


def test_an_admins_zone_of_that_name(host):
    host.sh(f"""printf '$TTL 60\\n@ SOA a b 1 1 1 1 1\\n@ NS a\\n@ MX 5 a\\na A 192.0.2.1\\n' > /var/lib/bind/own; chown bind: /var/lib/bind/own
        echo 'zone "{ZONE}" {{ type primary; file "/var/lib/bind/own"; }};' >> /etc/bind/named.conf.local""")
    host.start_named()
    before = host.bind_files()
    assert "which stays as it is" in host.install()
    after = host.bind_files()
    assert after.pop("/etc/bind/semail.key") and after == before and host.dig(ZONE, "MX") == f"5 a.{ZONE}."


def test_a_configuration_that_is_broken(host):
    """It was so before, and is the same afterwards."""
    host.sh("echo nonsense >> /etc/bind/named.conf.options")
    before = host.bind_files()
    said = host.install(code=111)
    assert "named would not take its configuration, which is as it was before" in said and "nonsense" in said
    after = host.bind_files()
    assert after.pop("/etc/bind/semail.key") and after == before


@pytest.mark.parametrize("value, sentence", [("", "the setting dns-server is empty"), ("192.0.2.53", "records of semail.example are changed at 192.0.2.53")])
def test_dns_that_is_elsewhere(host, value, sentence):
    host.sh(f"echo '{value}' > /etc/semail/dns-server")
    said = host.install()
    assert sentence in said and said.endswith("changes 0\n") and host.bind_files() == host.before


def test_a_host_without_an_address(machine):
    host = Host(machine, addresses=())
    said = host.install()
    assert "this host has no address that others could reach; run this again when it has one" in said
    assert set(host.bind_files()) - set(host.before) == {"/etc/bind/semail.key"} and host.setting("dns-server") == "unset"


def test_an_address_of_a_private_network(machine):
    said = Host(machine, addresses=("10.0.0.5/32",)).install()
    assert "10.0.0.5 is an address of a private network" in said and f"rndc freeze {ZONE}; editor /var/lib/bind/semail-{ZONE}.zone; rndc thaw {ZONE}" in said


def test_scripts_are_sound():
    done = subprocess.run([semailtest.tool("shellcheck"), "-x", "install.sh", "etc/install/dns.sh"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
