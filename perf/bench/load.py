"""The load generator: building it, its servers, its clients."""

import json
import os
import subprocess

from . import proc

KINDS = ("bulk", "echo", "small", "mixed")


def sni(kind):
    return f"{kind}.test"


def build(folder, into):
    """Compiles perf/load*.cc unless `into` is newer than all of them."""
    sources = sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.startswith("load"))
    if os.path.exists(into):
        age = os.path.getmtime(into)
        if all(os.path.getmtime(s) < age for s in sources):
            return into
    os.makedirs(os.path.dirname(into), exist_ok=True)
    units = [s for s in sources if s.endswith(".cc")]
    argv = [os.environ.get("CXX", "g++"), "-std=c++23", "-O2", "-Wall", "-Wextra", "-Wconversion",
            "-Wshadow", "-Werror", *units, "-o", into]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0:
        raise proc.BenchError(f"the load generator does not compile:\n{done.stderr}")
    return into


class Servers:
    """What stands behind the proxies. Every proxy has an address of its own (127.0.1.K), so that
    all their connections together do not run out of ports towards one address."""

    def __init__(self, binary, core, folder, count):
        self.upstreams = []
        self.children = []
        for k in range(count):
            ip = f"127.0.1.{k + 1}"
            self.upstreams.append({kind: f"{ip}:{proc.free_port(ip)}" for kind in KINDS})
        # The bulk side of the mixed measure is a process that gives way to the echoes on their
        # core: the proxy's order of service is to be seen, not the load's.
        for kinds in (("bulk",), ("echo", "small"), ("mixed",)):
            self._serve(binary, core, folder, kinds)
        os.sched_setscheduler(self.children[-1].pid, os.SCHED_IDLE, os.sched_param(0))

    def _serve(self, binary, core, folder, kinds):
        argv = [binary, "serve"]
        for upstream in self.upstreams:
            for kind in kinds:
                argv += ["--bulk" if kind == "mixed" else f"--{kind}", upstream[kind]]
        child = proc.Child(argv, core, os.path.join(folder, f"serve-{kinds[0]}.log"),
                           stdout=subprocess.PIPE)
        self.children.append(child)
        if child.process.stdout.readline().strip() != b"ready":
            raise proc.BenchError(f"load server: {child.last_words()}")

    def stop(self):
        for child in self.children:
            child.stop()


class Client:
    """Runs one client role to its end and returns what it printed."""

    def __init__(self, binary, core):
        self.binary = binary
        self.core = core

    def argv(self, role, address, kind, **options):
        argv = [self.binary, role, "--to", address, "--sni", options.pop("name", sni(kind))]
        for key, value in options.items():
            argv.append("--" + key.replace("_", "-"))
            if value is not True:
                argv.append(str(value))
        return argv

    def run(self, role, address, kind, **options):
        argv = self.argv(role, address, kind, **options)
        limit = float(options.get("seconds", 2)) + 15
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=limit, check=False,
                preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        except subprocess.TimeoutExpired as e:
            raise proc.BenchError(f"load {role}: no end after {limit} s") from e
        if done.returncode != 0:
            raise proc.BenchError(f"load {role}: {done.stderr.strip()}")
        return json.loads(done.stdout)
