#!/usr/bin/python3
"""tls.py - TLS handshakes per second, SEMail beside Postfix

usage: tls.py [--rounds N] [--connections N] [--quick]

Connect, handshake (TLS 1.3, X25519, a P-256 certificate), greeting, close; twenty at once; first all of them
full, then all but the first resumed. The servers take turns, every figure is the median of the rounds, and CPU
time is that of the server alone. Each is as shipped: Postfix with smtpd processes that it uses again, SEMail
with two new ones for each connection.

Needs root, a C compiler and libssl-dev. SEMail's programs are taken from SEMAIL_BIN (.build/release), Postfix is
unpacked under .build-peers. All runs in mount, network and process namespaces of its own.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Peers"), str(HERE.parent / "Outside")]

import measure
import semailtest
import servers

WORKERS = 20
TLS_USER = "61027:61027"
# name, what the row says, unit, target against Postfix
MEASURES = [
    ("tls_full", "full TLS 1.3 handshakes", "1/s", ("least", 1.0)),
    ("cpu_tls_full", "CPU per full handshake", "ms", None),
    ("tls_resumed", "resumed TLS 1.3 handshakes", "1/s", ("least", 1.0)),
    ("cpu_tls_resumed", "CPU per resumed handshake", "ms", None),
]


def make_certificate(place):
    """(certificate, key) of the P-256 kind."""
    files = place / "certificate.pem", place / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench.test",
                    "-out", files[0], "-keyout", files[1]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return files


class Load:
    """The load generator, compiled from tls_load.c."""

    def __init__(self, place):
        self.program = place / "tls_load"
        compiler = shutil.which("cc") or shutil.which("clang")
        if not compiler:
            raise RuntimeError("a C compiler is needed for the load generator")
        subprocess.run([compiler, "-O2", "-o", self.program, HERE / "tls_load.c", "-lssl", "-lcrypto"], check=True)

    def run(self, port, connections, kind):
        """Seconds for so many connections of the KIND `full` or `resumed`."""
        done = subprocess.run([self.program, str(port), str(connections), str(WORKERS), kind], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{kind} handshakes: {done.stderr[-500:]}")
        return float(done.stdout)


class SEMail:
    """The outgoing server behind tls-wrap, each program as the user it has when installed."""

    label = "SEMail"

    def __init__(self, place, processes, certificate):
        self.processes = processes
        self.home = semailtest.Home(hostname="semail.bench.test", domain="bench.test", owners=["u0"], directory=place / "semail-tls", user="services")
        self.keys = self.home.directory / "control/tls"
        for directory in (self.keys, self.home.directory / "run/tls"):
            directory.mkdir(mode=0o700, exist_ok=True)
            os.chown(directory, *map(int, TLS_USER.split(":")))
        pem = self.keys / "default.pem"
        pem.write_bytes(b"".join(path.read_bytes() for path in certificate))
        os.chmod(pem, 0o400)
        os.chown(pem, *map(int, TLS_USER.split(":")))

    def start(self):
        self.home.start_accept(
            accept=[*semailtest.ACCEPT, "-n", f"{TLS_USER},{semailtest.SMTPD_USER}"], session_program="tls-wrap",
            session=("-u", TLS_USER, "-n", semailtest.SMTPD_USER, "-k", self.keys, self.home.program("smtpd-session"), "-u", semailtest.SMTPD_USER, "submission"),
            before_exec=self.processes.join)
        self.port = self.home.port
        self.processes.roots = [process.pid for process in self.home.processes.values()]

    def stop(self):
        self.home.stop()
        self.processes.await_end()

    def report(self):
        return self.home.report()[-3000:]


class Postfix:
    """Postfix, with a service for TLS from the first octet."""

    label = "Postfix"

    def __init__(self, place, processes, certificate):
        self.processes = processes
        self.server = servers.Postfix(place / "postfix-tls", own_pid_namespace=False)
        self.server.delivers("bench.test", ["u0"], self.server.directory("mail", "vmail"))
        self.port = servers.free_port()
        chain = ", ".join(str(path) for path in self.server.keep(certificate))
        with open(self.server.place / "etc/main.cf", "a") as main:
            main.write(f"smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {chain}\n")
        with open(self.server.place / "etc/master.cf", "a") as master:
            master.write(f"127.0.0.1:{self.port} inet n - n - 400 smtpd -o smtpd_tls_wrappermode=yes\n")

    def start(self):
        self.server.start(before_exec=self.processes.join)
        self.processes.roots = [self.server.process.pid]

    def stop(self):
        self.server.stop()
        self.processes.await_end()

    def report(self):
        return self.server.output()[-3000:]


def make(name, place, processes, certificate):
    return {"semail": SEMail, "postfix": Postfix}[name](place, processes, certificate)


def one_turn(server, processes, load, connections):
    """One server, one round."""
    figures = {}
    server.start()
    try:
        load.run(server.port, max(WORKERS, connections // 5), "full")
        for kind in ("full", "resumed"):
            processes.await_rest()
            cpu = processes.cpu_seconds()
            figures[f"tls_{kind}"] = connections / load.run(server.port, connections, kind)
            processes.await_rest()
            figures[f"cpu_tls_{kind}"] = 1000 * (processes.cpu_seconds() - cpu) / connections
    except Exception:
        print(f"--- what {server.label} said last\n{server.report()}", flush=True)
        raise
    finally:
        server.stop()
    return figures


def inside(chosen, place, group):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    place, processes = Path(place), measure.Processes(group)
    certificate, load = make_certificate(place), Load(place)
    all_servers = {name: make(name, place, processes, certificate) for name in ("semail", "postfix")}
    rounds = {name: [] for name in all_servers}
    for number in range(1, chosen.rounds + 1):
        for name, server in all_servers.items():
            rounds[name].append(one_turn(server, processes, load, chosen.connections))
            print(f"round {number} {server.label}: " + ", ".join(f"{key} {value:.{0 if value >= 100 else 2}f}" for key, value in rounds[name][-1].items()), flush=True)
    print(f"\n{'':28}{'':5}" + "".join(f"{server.label:>10}" for server in all_servers.values()) + f"{'SEMail/Postfix':>16}")
    for key, words, unit, _ in MEASURES:
        ours, theirs = (statistics.median(figures[key] for figures in rounds[name]) for name in all_servers)
        print(f"{words:28}{unit:5}" + "".join(f"{value:10.{0 if value >= 100 else 2}f}" for value in (ours, theirs)) + f"{ours / theirs:16.2f}")
    return 0


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)       # PR_SET_PDEATHSIG


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ", 1)[1].split("\n\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=3000)
    parser.add_argument("--quick", action="store_true")
    # Said by this program to itself, inside of the namespaces.
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.connections = 1, 200
    if chosen.inside:
        return inside(chosen, **json.loads(chosen.inside))
    if os.geteuid() != 0:
        sys.exit("tls.py: only root can start the servers as their users")
    place = tempfile.mkdtemp(prefix=f"semail-benchmark-{os.getpid()}-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    os.chmod(place, 0o755)
    group = measure.make_group(f"semail-benchmark-{os.getpid()}")
    try:
        return subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", sys.executable, __file__,
             *sys.argv[1:], "--inside", json.dumps({"place": place, "group": group})], stdin=subprocess.DEVNULL, preexec_fn=end_with_parent).returncode
    finally:
        if group:
            measure.remove_group(group)
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
