"""Webmail as webmaillab.py makes it, on a host that has containers too: each mailbox is a volume, which its container has at /Maildir.

    with WebmailAndContainers(owners=("ssow",)) as host:
        host.inside("ssow", "ls /Maildir/new")
        host.mutt("ssow", "<delete-pattern>~s kill<enter><sync-mailbox><quit>")
        host.at_webmail("ssow", "len(web.rows('INBOX')[1])")

The engine is a real Docker within the machine, the image that of etc/container; into containers one gets by SSH. (`docker exec` would not do:
it takes the machine's namespaces for the host's, where the root is another.)
"""

import json
import re
import subprocess

import webmailactors
from containerlab import CACHE, NETWORK
from semailtest import REPOSITORY, await_true, tool
from webmaillab import LIBEXEC, PASSWORDS, Webmail

# Not on the machine's own file system, which is an overlay: Docker's would have to lie on it.
ENGINE = "/var/tmp/engine"

_RUN = r"""
root=$1
. "$root/etc/install/steps.sh"
. "$root/etc/install/containers.sh"
trap 'end_engine; echo ended; exit 0' TERM
run_engine 1 "$2"
echo $$
wait "$engine_process"
"""

_WEB = r"""
import json, sys
sys.path.insert(0, "{place}")
import webmailactors
web = webmailactors.Web("{owner}", "{password}")
print(json.dumps({expression}))
"""

_SET = f"""
engine_socket={ENGINE}/engine.sock
export SEMAIL_CONTAINER_CACHE={CACHE}
step 'The image' build_image
step 'Settings' set_containers
"""


class WebmailAndContainers(Webmail):
    def __init__(self, owners=("ssow", "xredon"), size="64M", **options):
        self._engine, self.addresses = None, {}
        super().__init__(owners=(), **options)
        try:
            tool("dockerd")
            CACHE.mkdir(exist_ok=True)
            self._start_engine()
            for name, value in (("volumes", "image"), ("volume-size", size), ("container-network", NETWORK)):
                self.run([f"{LIBEXEC}/semail", "config", name, value], check=True)
            self.install(_SET)
            for owner in owners:
                self.add_mailbox(owner)
                self._give_key(owner)
        except BaseException:
            self.close()
            raise

    def _start_engine(self):
        self._engine = self.start(["bash", "-c", _RUN, "bash", "/srv/semail", ENGINE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = self._engine.stdout.readline()
        assert line.strip().isdigit(), (line + self._engine.stdout.read()).decode(errors="replace")
        self._engine_script = line.strip().decode()

    def close(self):
        # Containers before the volumes that they hold, volumes before the machine.
        if self._engine:
            self.run(["kill", "-TERM", self._engine_script])
            self._engine.communicate(timeout=60)
            self._engine = None
        super().close()

    def _give_key(self, owner):
        """A way in for root of the machine, who stands for whoever sits at the owner's terminal."""
        self.run(["sh", "-c", f"ssh-keygen -q -t ed25519 -N '' -f /root/{owner} && {LIBEXEC}/semail key set {owner} < /root/{owner}.pub"], check=True)
        [self.addresses[owner]] = [line.split("\t")[3] for line in self.run(["semail", "container", "list"], check=True).stdout.splitlines() if line.startswith(f"{owner}\t")]
        assert await_true(lambda: self.inside(owner, "true", check=False).returncode == 0, 20, 0.1), self.inside(owner, "true", check=False).stdout

    def inside(self, owner, script, check=True):
        """What a command of the owner's says in their container."""
        done = self.run([*webmailactors.ssh_command(owner, self.addresses[owner]), script], check=check)
        return done.stdout if check else done

    def mutt(self, owner, keys="<exit>", folder="="):
        """mutt in the container of OWNER: what was on its screen."""
        return webmailactors.run_mutt(self.command(webmailactors.ssh_command(owner, self.addresses[owner])), keys, folder)

    def seen_by_mutt(self, owner, folder="="):
        """{subject: letters of its state} as mutt shows a folder."""
        return {subject: state for state, subject in re.findall(r"<([^<>|]{3})\|([^<>]*)>", self.mutt(owner, folder=folder))}

    def at_webmail(self, owner, expression):
        """What an expression is that has `web`, the webmail of OWNER."""
        return json.loads(self.python(_WEB.format(place=REPOSITORY / "Tests/Outside", owner=owner, password=PASSWORDS[owner], expression=expression)))

    def seen_at_webmail(self, owner, folder="INBOX"):
        """{subject: letters of its state} as SqWebMail shows a folder."""
        return {subject: state for _, _, subject, state in self.at_webmail(owner, f"web.rows({folder!r})[1]")}
