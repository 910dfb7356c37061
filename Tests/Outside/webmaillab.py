"""Webmail as install.sh makes it, in a machine of its own: Apache, SqWebMail, courier-auth and all of SEMail's services, with a slapd that
knows ssow and xredon.

    with Webmail() as webmail:
        webmail.browser(language="fr", width=390)     # Chromium, inside the machine
        webmail.deliver("xredon", b"Subject: ...")

What install.sh does to a host is done here by its own functions, with the executables of SEMAIL_BIN in place of a release build.
"""

import base64
import os
import shlex
import subprocess
import time

from machine import Machine
from semailtest import BUILD, REPOSITORY, await_true, program, tool
from slapd import BASE, PEOPLE, Slapd

HOST = "mail.semail.test"
HOME = "/var/lib/semail"
LIBEXEC = "/usr/local/libexec/semail"
PASSWORDS = dict(PEOPLE)

# install.sh's own functions; $root is a directory with the repository's files and the executables under test.
_INSTALL = r"""
set -eu
root=/srv/semail usage='' domain={host}
mkdir -p $root/.build
for name in {repository}/*; do ln -sfn "$name" "$root/${{name##*/}}"; done
ln -sfn {build} $root/.build/release
. $root/etc/install/steps.sh
. $root/etc/install/host.sh
. $root/etc/install/webmail.sh
# Not the portal: here another stands in its place, which says what it was asked.
programs=($(for name in "${{programs[@]}}"; do [ $name = portal ] || echo $name; done))
services=($(for name in "${{services[@]}}"; do [ $name = portal ] || echo $name; done))
getent group semail-ask > /dev/null || groupadd --system semail-ask
for name in ${{users[@]}} semail-portal; do getent passwd $name > /dev/null || useradd --system --user-group $name; done
{words}
"""

_BASE = """
step 'Users' make_users
step 'Paths (etc/hier)' lay_out "$home"
step 'Programs and manuals' put_files
step 'Settings' make_settings
"""


class Webmail(Machine):
    def __init__(self, imap=False, owners=("ssow", "xredon"), portal=True, before=""):
        super().__init__()
        try:
            self.slapd = None
            for name in ("apache2", "chromium", "chromedriver", "runsvdir"):
                tool(name)
            for name in ("courier-auth", "auth-check", "checkpassword-ldap", "sendmail", "smtpd-session"):
                program(name)
            self.run(["mkdir", "-p", "/etc/service"], check=True)
            self.start(["setsid", "runsvdir", "-P", "/etc/service"])
            self._find_addresses()
            if before:
                self.run(["sh", "-c", before], check=True)
            self.installed = self.install(_BASE + f"step 'Webmail' install_webmail {'--with-imap' if imap else ''}\nstep 'Services' make_services")
            self._start_slapd()
            if portal:
                self.start(["/usr/bin/python3", "-c", _PORTAL])
            for owner in owners:
                self.add_mailbox(owner)
        except BaseException:
            self.close()
            raise

    def close(self):
        super().close()

    def install(self, words, check=True):
        text = _INSTALL.format(host=HOST, repository=REPOSITORY, build=BUILD, words=words)
        return self.run(["bash", "-c", text], check=check)

    def _find_addresses(self):
        self.run(["sh", "-c", f"echo '127.0.0.1 {HOST} localhost' > /etc/hosts.semail && mount --bind /etc/hosts.semail /etc/hosts"], check=True)

    def _start_slapd(self):
        # Made outside of the machine and copied into it: its /tmp is another one.
        with_files = Slapd()
        try:
            self.run(["mkdir", "-p", str(with_files.directory)], check=True)
            archive = subprocess.run(["tar", "-C", str(with_files.directory), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
            subprocess.run(self.command(["tar", "-C", str(with_files.directory), "-x"]), input=archive, check=True)
        finally:
            with_files.stop()
        self.slapd = with_files
        subprocess.run(["rm", "-rf", str(with_files.directory)], check=True)
        for name, value in (("uri", with_files.plain), ("base", f"ou=people,{BASE}"), ("tls", "none")):
            self.run([f"{LIBEXEC}/semail", "config", f"ldap-{name}", value], check=True)
        self.start_slapd()

    def start_slapd(self):
        # -d keeps it in the foreground, and its end with the machine's.
        self.start([tool("slapd"), "-f", str(self.slapd.directory / "slapd.conf"), "-h", self.slapd.plain, "-d", "0"])
        assert await_true(lambda: self.run(["ldapsearch", "-x", "-H", self.slapd.plain, "-b", BASE, "-s", "base"]).returncode == 0, 20)

    def stop_slapd(self):
        self.run(["sh", "-c", f"kill $(cat {self.slapd.directory}/pid)"], check=True)

    def add_mailbox(self, owner, address=None):
        self.run([f"{LIBEXEC}/semail", "mailbox", "create", owner, address or f"{owner}@semail.test"], check=True)

    def maildir(self, owner):
        return f"{HOME}/mnt/{owner}/Maildir"

    def deliver(self, owner, message):
        """By maildir-deliver, as qrunner has it."""
        uid = self.run(["stat", "-c", "%u:%g", self.maildir(owner)], check=True).stdout.strip()
        environment = {**self.environment, "HOSTNAME": HOST, "SENDER": "somebody@elsewhere.test", "RECIPIENT": f"{owner}@semail.test"}
        done = subprocess.run(self.command([f"{LIBEXEC}/maildir-deliver", "-u", uid, self.maildir(owner)]), input=message, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout

    def files(self, owner, folder=""):
        """Names of messages in new and cur."""
        script = "import os, sys\nfor kind in ('new', 'cur'):\n    try: print('\\n'.join(os.listdir(f'{sys.argv[1]}/{kind}')))\n    except FileNotFoundError: pass"
        return [name for name in self.python(script, f"{self.maildir(owner)}/{folder}").split("\n") if name]

    def message(self, owner, name, folder=""):
        script = "import sys, os\nfor kind in ('new', 'cur'):\n    path = f'{sys.argv[1]}/{kind}/{sys.argv[2]}'\n    if os.path.exists(path): sys.stdout.write(open(path, 'rb').read().hex())"
        return bytes.fromhex(self.python(script, f"{self.maildir(owner)}/{folder}", name))

    def empty(self, owner):
        """No messages, and no folders that somebody made."""
        script = """import os, shutil, sys
for name in os.listdir(sys.argv[1]):
    path = os.path.join(sys.argv[1], name)
    if name in ("new", "cur", "tmp"):
        for inner in os.listdir(path): os.unlink(os.path.join(path, inner))
    elif os.path.isdir(path): shutil.rmtree(path)
    else: os.unlink(path)"""
        self.python(script, self.maildir(owner))

    def forgive(self):
        """Forgets wrong passwords."""
        self.run(["sh", "-c", f"rm -f {HOME}/run/guesses/*"], check=True)

    def browse(self, scenario, width, language="fr", *more):
        """A scenario of webmailbrowser.py, within the machine; its pictures are left in .build/webmail-shots."""
        done = self.run(["/usr/bin/python3", REPOSITORY / "Tests/Outside/webmailbrowser.py", scenario, width, REPOSITORY / ".build/webmail-shots", language, *more], timeout=600)
        assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if not line.startswith("#"))[-4000:]
        return done.stdout

    def log(self, service):
        return self.run(["cat", f"/var/log/semail/{service}/current"]).stdout

    def curl(self, *words, user=None):
        return self.run(["curl", "-sk", "--max-time", "60", *words])


# Stands where the portal will: says what it was asked.
_PORTAL = r"""
import http.server
class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = ("portal\n" + self.path + "\n" + str(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_POST = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Portal).serve_forever()
"""
