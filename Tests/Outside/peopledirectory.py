"""The directory of users as install.sh makes it, in a home of its own, for tests that fill it.

    with PeopleDirectory() as people:
        people.semail("user", "add", "anna", "--name", "Anna")      # exit code, standard output, standard error
        people.find("anna")                                         # {attribute: [values]}, or None

Root is needed: root is the manager, by the kernel's word.
"""

import base64
import json
import os
import subprocess

from semailtest import REPOSITORY, Home, await_true, tool

DIRECTORY_USER = 61045
SUFFIX = "dc=semail,dc=test"
BASE = f"ou=Personnes,{SUFFIX}"
GROUP = f"cn=semail-admins,ou=Groupes,{SUFFIX}"


class PeopleDirectory:
    def __init__(self):
        assert os.geteuid() == 0, "only root can make the directory of an installation"
        self.home = Home(user=None)
        self.path = self.home.directory
        for name in ("directory", "run/directory"):
            (self.path / name).mkdir()
            os.chown(self.path / name, DIRECTORY_USER, DIRECTORY_USER)
            os.chmod(self.path / name, 0o750)
        self.process = None
        self.environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no", "SEMAIL_HOME": str(self.path)}
        self.made = self.make()
        self.uri = (self.path / "control/ldap-uri").read_text().strip()

    def make(self):
        """What make_directory says of each thing."""
        script = f'root={REPOSITORY}; . "$root/etc/install/steps.sh"; . "$root/etc/install/directory.sh"; make_directory "$1" {SUFFIX} {DIRECTORY_USER} {DIRECTORY_USER} "$2"'
        done = subprocess.run(["bash", "-euc", script, "bash", self.path, self.home.program("semail")], capture_output=True, text=True, env=self.environment, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self):
        self.process = subprocess.Popen([REPOSITORY / "etc/service/directory/run"], env={**self.environment, "SEMAIL_DIRECTORY_USER": f"{DIRECTORY_USER}:{DIRECTORY_USER}"},
                                        stdin=subprocess.DEVNULL, stdout=open(self.path / "slapd.log", "ab"), stderr=subprocess.STDOUT, start_new_session=True)
        assert await_true(lambda: self.ldap("ldapwhoami").returncode == 0, 10, 0.05), (self.path / "slapd.log").read_text()
        return self

    def stop(self, signal="terminate"):
        if self.process:
            getattr(self.process, signal)()
            self.process.wait(20)
            self.process = None

    def __enter__(self):
        try:
            self.home.__enter__()
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(self, *problem):
        self.stop()
        self.home.__exit__(*problem)

    # -- orders -------------------------------------------------------------

    def semail(self, *arguments, input=b"", **options):
        done = subprocess.run([self.home.program("semail"), *map(str, arguments)], input=input.encode() if isinstance(input, str) else input, capture_output=True, env=self.environment, timeout=300, **options)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def ok(self, *arguments, **options):
        code, out, err = self.semail(*arguments, **options)
        assert (code, err) == (0, ""), (arguments, code, out, err)
        return out

    def json(self, *arguments, code=0, **options):
        done = self.semail(*arguments, "--json", **options)
        assert done[0] == code, done
        return json.loads(done[1])

    def refused(self, *arguments, **options):
        code, out, err = self.semail(*arguments, **options)
        assert (code, out) == (1, "") and err.startswith("semail: ") and err.count("\n") == 1, (arguments, code, out, err)
        return err

    def importing(self, text, *arguments, code=0):
        """The JSON document of an import of TEXT."""
        return self.json("user", "import", "-", *arguments, input=text, code=code)

    # -- what is there ------------------------------------------------------

    def ldap(self, program, *arguments, input="", who=("-Q", "-Y", "EXTERNAL")):
        return subprocess.run([tool(program), *who, "-H", self.uri, *arguments], input=input, capture_output=True, text=True, env=self.environment, timeout=120)

    def entries(self, filter="(uid=*)", base=BASE, attributes=("*",), who=("-Q", "-Y", "EXTERNAL"), code=0):
        """A list of {attribute: [values]}."""
        done = self.ldap("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", base, filter, *attributes, who=who)
        assert done.returncode == code, done
        found = []
        for block in done.stdout.split("\n\n"):
            entry = {}
            for line in block.splitlines():
                # Debian's argon2 leaves two octets that mean nothing behind a hash.
                name, _, value = line.partition(": ")
                if name.endswith(":"):
                    name, value = name[:-1], base64.b64decode(value).decode(errors="replace")
                entry.setdefault(name, []).append(value)
            if entry:
                found.append(entry)
        return found

    def find(self, uid):
        found = self.entries(f"(uid={uid})")
        assert len(found) < 2, found
        return found[0] if found else None

    def clear(self):
        """Everybody goes, and the group."""
        names = [entry["dn"][0] for base in (BASE, f"ou=Groupes,{SUFFIX}") for entry in self.entries("(objectClass=*)", base, ("1.1",)) if entry["dn"][0] != base]
        if names:
            # What is deepest first.
            done = self.ldap("ldapdelete", input="".join(name + "\n" for name in sorted(names, key=len, reverse=True)))
            assert done.returncode == 0, done

    def check(self, user, password, program=("sh", "-c", 'echo "$USER|$SEMAIL_ADMIN"'), environment={}):
        """checkpassword-ldap: its exit code, what the program says, and its log."""
        reading, writing = os.pipe()
        os.write(writing, user.encode() + b"\0" + password.encode() + b"\0\0")
        os.close(writing)
        done = subprocess.run(["sh", "-c", 'exec "$0" "$@" 3<&0 </dev/null', self.home.program("checkpassword-ldap"), *program], stdin=reading, capture_output=True,
                              env={**self.environment, **environment}, timeout=60)
        os.close(reading)
        return done.returncode, done.stdout.decode(), done.stderr.decode()
