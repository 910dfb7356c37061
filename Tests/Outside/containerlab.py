"""A host of a small Internet with containers: SEMail as it is installed, a Docker of its own, an sshd of its own.

    with Network() as network, Containers(network) as site:
        site.add_mailbox("ssow")
        site.ssh("ssow", "id -u")

Docker runs in the network and mounts of that host, as the demo's does: its bridge, its firewall rules and its containers are gone with
the host's namespaces. The image is built from etc/container; what mmdebstrap fetched for it is kept in .build-container, by its contents'
name, so that it is fetched once. Needs root.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import semailtest
from networklab import Site, end_with_tests
from semailtest import REPOSITORY, await_true, tool

CACHE = Path(os.environ.get("SEMAIL_CONTAINER_CACHE") or REPOSITORY / ".build-container")
NETWORK = "172.31.0.0/24"
GATEWAY = "172.31.0.1"
# Another network than Site has on its host; small, so that it is soon used up.
JUMP = "semail-ssh@127.0.0.1"


class Engine:
    """dockerd in the network and mounts of a host, started and ended by the shell functions that the demo has."""

    def __init__(self, host, directory):
        self.host, self.directory = host, Path(directory)
        self.socket = self.directory / "engine.sock"
        self._process = None
        # A file system of its own for all those small files: it goes with one.
        image, data = self.directory / "data.image", self.directory / "data"
        with open(image, "wb") as file:
            file.truncate(6 << 30)
        subprocess.run([tool("mkfs.ext4"), "-q", "-F", "-m0", image], check=True)
        data.mkdir()
        host.run("mount", "-o", "loop", image, data)

    def start(self):
        script = ('root=$1; . "$root/etc/install/steps.sh"; . "$root/etc/install/containers.sh"\n'
                  'trap "end_engine; exit 0" TERM\nrun_engine "$2" "$3"\necho ready\nwait "$engine_process"')
        self._process = subprocess.Popen(["bash", "-c", script, "bash", REPOSITORY, str(self.host.pid), self.directory], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=end_with_tests)
        line = self._process.stdout.readline()
        if line != b"ready\n":
            output = line + self._process.stdout.read()
            self.stop()
            raise AssertionError(f"no engine: {output.decode(errors='replace')}\n{self.log()}")
        return self

    def log(self):
        path = self.directory / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def stop(self):
        """As a host does that goes down."""
        if self._process:
            self._process.terminate()
            self._process.wait(60)
            self._process.stdout.close()
            self._process = None

    def kill(self):
        """As a power cut does."""
        pid = self._process.pid
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._process = None
        assert await_true(lambda: not self.processes(), 20), self.processes()
        # What a start of the host would clear: control groups that are empty now.
        subprocess.run([tool("find"), "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/semail-{pid}*", "-exec", "rmdir", "{}", "+"], stderr=subprocess.DEVNULL)

    def processes(self):
        """Command lines of all that run from this engine's directory."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.directory) in text:
                found.append(text)
        return found

    def docker(self, *arguments, input=None, check=True, timeout=120):
        done = subprocess.run([tool("docker"), "-H", f"unix://{self.socket}", *map(str, arguments)], input=input, stdin=None if input is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout)
        if check:
            assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stdout}"
        return done

    def build_image(self, *options, image="semail-home", check=True):
        CACHE.mkdir(exist_ok=True)
        done = subprocess.run([REPOSITORY / "etc/container/build", "--cache", CACHE, *options, self.socket, image], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if check:
            assert done.returncode == 0, done.stdout
        return done


class Podman(Engine):
    """Podman's service, which speaks as Docker does, in the network and mounts of a host."""

    def start(self):
        # What is below Debian's own settings here: the limits that tests may set, and no systemd.
        conf = self.directory / "containers.conf"
        conf.write_text('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=10000:10000"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
                        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{self.directory}/networks"\n')
        for name in ("podman", "runc"):
            tool(name)
        self.host.run("mount", "--make-rshared", "/")
        script = ('mount -t proc proc /proc\nmount -t tmpfs -o mode=0755 engine /run\nexec tini -s -- podman --root "$1/data" --runroot /run/containers --storage-driver overlay '
                  '--cgroup-manager cgroupfs --runtime runc system service --time 0 "unix://$1/engine.sock"')
        self.socket.unlink(missing_ok=True)
        with open(self.directory / "log", "ab") as log:
            self._process = self.host.spawn(["unshare", "--pid", "--mount", "--propagation", "slave", "--fork", "--kill-child=KILL", "sh", "-euc", script, "sh", self.directory],
                                            stdout=subprocess.PIPE, stderr=log, env={**os.environ, "CONTAINERS_CONF": str(conf)})
        assert await_true(self.socket.exists, 20, 0.05), self.log()
        return self

    def stop(self):
        """It has no part in the lives of containers: they end with its processes."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None
            # Control groups that are empty now; those of another Podman are not.
            subprocess.run([tool("find"), "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*/libpod_parent*", "-exec", "rmdir", "{}", "+"], stderr=subprocess.DEVNULL)


class Containers(Site):
    """See the head of this file."""

    def __init__(self, network, owners=(), engine=Engine, **options):
        self.engine, self._sshd, self.keys = None, None, {}
        super().__init__(network, owners=(), **options)
        try:
            self.directory.joinpath("engine").mkdir(mode=0o711)
            self.engine = engine(self.host, self.directory / "engine").start()
            self.engine.build_image()
            self.control("container-engine", self.engine.socket)
            self.control("container-network", NETWORK)
            self.control("outbound-addresses", GATEWAY)
            for owner in owners:
                self.add_mailbox(owner)
        except BaseException:
            self.remove()
            raise

    def remove(self):
        if self._sshd:
            self._sshd.kill()
            self._sshd.wait()
        if self.engine:
            self.engine.stop()
        # Volumes were mounted on the host of this site alone, and go with it; the kernel lets go of their images a moment later.
        super().remove()

    def maildir(self, owner):
        """As the host of this site sees it, on whose mounts alone the volumes are."""
        return Path(f"/proc/{self.host.pid}/root{self.directory}/mnt/{owner}/Maildir")

    def run(self, name, *arguments, **options):
        """On the host of this site: what makes containers changes the firewall of the network it is in."""
        return self._run_inside([self.program(name), *map(str, arguments)], **options)

    def _run_inside(self, command, input=b"", timeout=120, environment=None):
        return subprocess.run(command, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, cwd=self.directory,
                              env=self.environment(**(environment or {})), preexec_fn=self.host.enter)

    # -- containers ------------------------------------------------------------

    def inside(self, owner, script, user=None, check=True, timeout=60):
        """What a shell in the container of OWNER says; as root unless a USER is given."""
        done = self.engine.docker("exec", *(["-u", user] if user else []), f"semail-{owner}", "bash", "-c", script, check=False, timeout=timeout)
        if check:
            assert done.returncode == 0, f"{script}: exit {done.returncode}: {done.stdout}"
        return done.stdout if check else done

    def container(self, owner):
        """(state, address) as semail tells them."""
        for line in self.semail("container", "list").splitlines():
            name, state, _, address, _ = line.split("\t")
            if name == owner:
                return state, address
        return None

    def address(self, owner):
        return self.container(owner)[1]

    def wait_ssh(self, owner, seconds=15):
        address = self.address(owner)

        def greets():
            try:
                with self.host.connect(address, 22, timeout=2) as connection:
                    return connection.recv(4) == b"SSH-"
            except OSError:
                return False
        assert await_true(greets, seconds, 0.05), self.engine.docker("logs", f"semail-{owner}", check=False).stdout

    def reaches(self, owner, address, port, seconds=2):
        """Whether a process in the container of OWNER gets a TCP connection there."""
        done = self.inside(owner, f"timeout {seconds} bash -c 'exec 3<> /dev/tcp/{address}/{port}'", check=False)
        return done.returncode == 0

    # -- SSH -------------------------------------------------------------------

    def start_sshd(self):
        """The host's sshd on 127.0.0.1:2222, with etc/ssh/semail.conf and an account semail-ssh, on the host of this site alone."""
        place = self.directory / "sshd"
        place.mkdir(mode=0o755)
        door = place / "ssh-door"
        shutil.copy(REPOSITORY / "etc/ssh/ssh-door", door)
        os.chmod(door, 0o755)
        part = (REPOSITORY / "etc/ssh/semail.conf").read_text()
        part = part.replace("/var/lib/semail", str(self.directory)).replace("/usr/local/libexec/semail/ssh-door", str(door))
        (place / "semail.conf").write_text(part)
        subprocess.run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", place / "host"], check=True)
        (place / "sshd_config").write_text(f"Include {place}/semail.conf\nListenAddress 127.0.0.1:2222\nHostKey {place}/host\nPidFile none\nUsePAM no\n"
                                           # The home of a test is in /tmp, which is everybody's.
                                           "StrictModes no\n"
                                           "PasswordAuthentication no\nX11Forwarding yes\nSubsystem sftp internal-sftp\n")
        for name, line in (("passwd", f"semail-ssh:x:61040:61040::/:{door}"), ("shadow", "semail-ssh:*:19000:0:99999:7:::"), ("group", "semail-ssh:x:61040:"),
                           ("passwd", "sshd:x:61041:65534::/run/sshd:/usr/sbin/nologin")):
            changed = place / name
            if not changed.exists():
                shutil.copy(f"/etc/{name}", changed)
                os.chmod(changed, 0o644 if name != "shadow" else 0o600)
                self.host.run("mount", "--bind", changed, f"/etc/{name}")
            if f"{line.split(':')[0]}:" not in [f"{entry.split(':')[0]}:" for entry in changed.read_text().splitlines()]:
                with open(changed, "a") as file:
                    file.write(line + "\n")
        made = not Path("/run/sshd").exists()
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        try:
            with open(place / "log", "ab") as log:
                self._sshd = self.host.spawn([tool("sshd"), "-D", "-e", "-f", place / "sshd_config"], stdout=log, stderr=log)
            assert await_true(self._jump_greets, 10, 0.05), (place / "log").read_text()
        finally:
            if made:
                self.host.run("mount", "-t", "tmpfs", "-o", "mode=0755", "sshd", "/run/sshd")

    def _jump_greets(self):
        try:
            with self.host.connect("127.0.0.1", 2222, timeout=2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def make_key(self, name, type="ed25519"):
        """(private file, public line) of a new key pair; NAME is the comment too."""
        place = self.directory / "keys"
        place.mkdir(mode=0o700, exist_ok=True)
        if not (place / name).exists():
            subprocess.run([tool("ssh-keygen"), "-q", "-t", type, "-N", "", "-C", name, "-f", place / name], check=True)
        return place / name, (place / f"{name}.pub").read_text().strip()

    def give_key(self, owner, *names):
        """The owner's keys are from now on those of these NAMES, or one named as the owner."""
        lines = "".join(self.make_key(name)[1] + "\n" for name in names or [owner])
        done = self.run("semail", "key", "set", owner, input=lines.encode())
        assert done.returncode == 0, done.stderr.decode()

    def ssh_command(self, key, *options, jump=True, command="ssh"):
        """ssh that knows the host's key and those of all containers, has one key, and asks nobody."""
        known = self.directory / "known_hosts"
        lines = ["[127.0.0.1]:2222 " + (self.directory / "sshd/host.pub").read_text()]
        for path in (self.directory / "ssh").glob("*/host_ed25519.pub"):
            if self.container(path.parent.name):
                lines.append(f"{self.address(path.parent.name)} {path.read_text()}")
        known.write_text("".join(lines))
        config = self.directory / "ssh_config"
        config.write_text(f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nBatchMode yes\nIdentitiesOnly yes\n"
                          f"IdentityFile {self.make_key(key)[0]}\nConnectTimeout 10\nLogLevel ERROR\n")
        return [tool(command), "-F", str(config), *(["-J", f"{JUMP}:2222"] if jump else []), *map(str, options)]

    def ssh(self, owner, script, key=None, user=None, options=(), input=b"", timeout=60, to=None):
        """A command in the container of OWNER, by way of the host's sshd."""
        target = f"{user or owner}@{to or self.address(owner)}"
        return self._run_inside([*self.ssh_command(key or owner, *options), target, script], input=input, timeout=timeout)

    def at_the_door(self, key, *arguments, input=b"", timeout=30):
        """ssh to semail-ssh itself."""
        return self._run_inside([*self.ssh_command(key, "-p", "2222", jump=False), *map(str, arguments)], input=input, timeout=timeout)
