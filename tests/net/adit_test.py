"""What the programs t_* in tests/net and tests/interop share: a relay, agents and local services of
one test, visitors that check every byte, and waiting for events with a deadline.

A program defines cases, functions that take a Lab, and ends with run(...). Its exit code is 0, 1,
or 77 when every case was skipped. ADIT_BIN names the program under test. Words on the command line
choose the cases whose names contain one of them.
"""

import ctypes
import json
import os
import random
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

from wire import *

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ADIT = os.environ.get("ADIT_BIN") or os.path.join(ROOT, "build", "adit")


# What a sanitizer does at a program's end (ptrace) is what the sandbox is there to forbid.
UNSANDBOXED = {}
if (os.environ.get("ADIT_FLAVOUR") in ("asan", "tsan") and
        os.path.basename(sys.argv[0]) != "t_sandbox"):
    UNSANDBOXED = {"ADIT_RELAY_SANDBOX": "off", "ADIT_AGENT_SANDBOX": "off"}


# --- processes ---


class Process:
    quiet = False  # one of very many: its log is not shown when a case fails

    def __init__(self, lab, name, arguments, prefix=(), environment=None):
        self.name, self.lab = name, lab
        self.out_path, self.log_path = lab.path(name + ".out"), lab.path(name + ".log")
        self.line = [*prefix, *arguments]
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("ADIT_RELAY_",
                                                                             "ADIT_AGENT_"))}
        with open(self.out_path, "ab") as out, open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(self.line, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=log,
                                          env={**variables, **UNSANDBOXED, **(environment or {})})
        self.may_end = False
        lab.processes.append(self)

    @property
    def pid(self):
        return self.child.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def events(self, event, **fields):
        found = []
        for line in self.log().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("event") == event and all(entry.get(k) == v for k, v in fields.items()):
                found.append(entry)
        return found

    def wait_event(self, event, count=1, patience=None, **fields):
        def seen():
            found = self.events(event, **fields)
            if len(found) < count and self.child.poll() is not None and not self.may_end:
                raise Failed(f"{self.name} ended with {self.child.returncode}")
            return found[count - 1] if len(found) >= count else None

        return until(f"{event} {fields} of {self.name}, {count} times", seen, patience)

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, patience=None):
        """Its exit code."""
        self.may_end = True
        try:
            return self.child.wait(patience or PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end") from None

    def kill(self):
        self.may_end = True
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
        self.child.wait(PATIENCE)

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def toml_file(path, settings):
    """Scalars and lists first, then tables and lists of tables."""
    tables = {k: v for k, v in settings.items() if isinstance(v, dict)}
    lists = {k: v for k, v in settings.items()
             if isinstance(v, list) and v and isinstance(v[0], dict)}
    lines = [f"{k} = {toml(v)}" for k, v in settings.items() if k not in tables and k not in lists]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{k} = {toml(v)}" for k, v in table.items())]
    for name, items in lists.items():
        for item in items:
            lines += [f"[[{name}]]", *(f"{k} = {toml(v)}" for k, v in item.items())]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


class Relay(Process):
    def __init__(self, lab, name="relay", port=None, host="127.0.0.1", prefix=(), limits=None,
                 wait=True, environment=None, **settings):
        self.port, self.host = port or lab.free_port(), host
        self.state = lab.path(name + ".state")
        self.config = lab.path(name + ".toml")
        self.settings = {"domain": [DOMAIN], "listen": [f"{host}:{self.port}"],
                         "state_dir": self.state, "threads": 1, "open": True,
                         "io_backend": lab.backend, **settings,
                         "log": {"format": "json", "level": "info"},
                         # Probes are visitors, and tests count these; t_probe has them.
                         "limits": {"probe_ms": 0, **(limits or {})}}
        self.write()
        super().__init__(lab, name, [ADIT, "relay", "-c", self.config], prefix, environment)
        if wait:
            self.key = self.wait_event("relay.ready")["key"]

    @property
    def address(self):
        return (self.host, self.port)

    def write(self, **settings):
        self.settings.update(settings)
        toml_file(self.config, self.settings)

    def tool(self, *arguments, code=0):
        """adit ARGUMENTS -c relay.toml: its standard output."""
        return run_adit(*arguments, "-c", self.config, code=code).stdout

    def status(self):
        return json.loads(self.tool("status", "--json"))

    def metrics(self):
        """By name and labels, as on the page."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        with sock:
            sock.connect(os.path.join(self.state, "admin.sock"))
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            page = Conn(sock).to_end().decode()
        lines = page.split("\r\n\r\n", 1)[1].splitlines()
        return {k: float(v) for k, v in (x.rsplit(" ", 1) for x in lines if x and x[0] != "#")}

    def metric(self, name):
        return self.metrics().get(name, 0.0)

    def wait_metric(self, name, at_least, patience=None):
        return until(f"{name} >= {at_least}", lambda: self.metric(name) >= at_least, patience, 0.1)


# Of agents that are not told otherwise.
CARRIER = os.environ.get("ADIT_TEST_CARRIER", "auto")


class Agent(Process):
    """`services`: tables of the configuration; `relays`: Relays, or tables of it."""

    def __init__(self, lab, relays, services, name="agent", state=None, prefix=(), wait=True,
                 environment=None, **settings):
        self.state = state or lab.path(name + ".state")
        os.makedirs(self.state, exist_ok=True)
        self.config = lab.path(name + ".toml")
        self.relays = [r if isinstance(r, dict) else
                       {"address": f"{r.host}:{r.port}", "name": DOMAIN} for r in relays]
        toml_file(self.config, {"state_dir": self.state, "io_backend": lab.backend,
                                "carrier": CARRIER, **settings,
                                "log": {"format": "json", "level": "info"},
                                "relay": self.relays, "service": services})
        self.id = agent_id(self.state)
        self.host_name = f"{self.id}.{DOMAIN}"
        super().__init__(lab, name, [ADIT, "agent", "-c", self.config], prefix, environment)
        if wait:
            for relay in self.relays:
                self.wait_event("agent.online", relay=relay["address"])


def agent_id(state):
    return run_adit("keys", "--state-dir", state).stdout.strip()


def run_adit(*arguments, code=0, environment=None, patience=None):
    """adit ARGUMENTS, to its end."""
    variables = {**os.environ, **UNSANDBOXED, **(environment or {})}
    done = subprocess.run([ADIT, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env=variables, timeout=patience or PATIENCE, check=False)
    if code is not None and done.returncode != code:
        raise Failed(f"adit {' '.join(arguments)} ended with {done.returncode}, not {code}: "
                     f"{done.stdout}{done.stderr}")
    return done


def certificate(lab, *names):
    """PEM files of a self-signed certificate for `names`, and of its key."""
    need("openssl")
    cert, key = lab.path(names[0] + ".pem"), lab.path(names[0] + ".key")
    alternative = ",".join("DNS:" + n for n in names)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=test",
                    "-addext", f"subjectAltName={alternative}", "-keyout", key, "-out", cert],
                   check=True, capture_output=True, timeout=PATIENCE)
    return cert, key


def server_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


# --- the surroundings of a case ---


class Lab:
    """One case's folder, processes and services; leaving it ends them all."""

    def __init__(self, backend):
        self.backend, self.processes, self.exits, self.ports = backend, [], [], []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="adit-test-")
        return self

    def path(self, name):
        return os.path.join(self.dir, name)

    def on_exit(self, call):
        self.exits.append(call)

    def free_port(self):
        """A port outside of the range that the system gives out, with TCP and UDP free."""
        for _ in range(200):
            port = random.SystemRandom().randrange(15000, 32000)
            mark = socket.socket(socket.AF_UNIX)  # other tests run at the same time
            try:
                mark.bind(f"\0adit-test-port-{port}")
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("0.0.0.0", port))
                self.ports.append(mark)
                return port
            except OSError:
                mark.close()
        raise Failed("no free port")

    def __exit__(self, kind, *_):
        dead = [p for p in self.processes if p.child.poll() is not None and not p.may_end]
        for process in self.processes:
            process.kill()
        for call in reversed(self.exits):
            call()
        for mark in self.ports:
            mark.close()
        failed = bool(dead) or (kind is not None and not issubclass(kind, Skip))
        if failed:
            for process in (p for p in self.processes if not p.quiet):
                lines = process.log().splitlines()
                print(f"--- {process.name}: {len(lines)} lines of log, the last ones:")
                print("\n".join(lines[-25:]))
        shutil.rmtree(self.dir, ignore_errors=True)
        if dead and kind is None:
            raise Failed(f"ended by themselves: {[(p.name, p.child.returncode) for p in dead]}")


def has_backend(backend):
    with Lab(backend) as lab:
        relay = Relay(lab, wait=False)
        relay.may_end = True
        return bool(until("the relay starts or does not", lambda: relay.events("relay.ready") or
                          relay.child.poll() is not None)) and bool(relay.events("relay.ready"))


BACKENDS = ("uring", "epoll")


def run(cases, backends=BACKENDS, patience=110.0):
    """Runs the cases, each on each back end, and exits. A case with the attribute `once` runs on
    the first one only."""
    if not os.access(ADIT, os.X_OK):
        print(f"skipped: there is no {ADIT}")
        sys.exit(77)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    end = time.monotonic() + patience * (1 if PATIENCE == 20 else 5)
    wanted = sys.argv[1:]
    failed, passed = [], 0
    there = [b for b in backends if has_backend(b)]
    for backend in set(backends) - set(there):
        print(f"skipped: the back end {backend} does not work on this machine")
    for case in cases:
        if wanted and not any(w in case.__name__ for w in wanted):
            continue
        for backend in there[:1] if getattr(case, "once", False) else there:
            name = f"{case.__name__} [{backend}]"
            began = time.monotonic()
            try:
                check(began < end, "no time is left")
                with Lab(backend) as lab:
                    case(lab)
                passed += 1
                print(f"ok {name} {time.monotonic() - began:.1f} s", flush=True)
            except Skip as e:
                print(f"skipped {name}: {e}", flush=True)
            except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
                failed.append(name)
                print(f"FAILED {name} {time.monotonic() - began:.1f} s: {e!r}", flush=True)
                if not isinstance(e, Failed):
                    traceback.print_exc(file=sys.stdout)
    if failed:
        print(f"{len(failed)} failed, {passed} passed: {', '.join(failed)}")
        sys.exit(1)
    sys.exit(0 if passed else 77)


def once(case):
    case.once = True
    return case


# --- namespaces ---

CLONE_NEWNET = 0x40000000


def isolate():
    """Starts this program anew in network and mount namespaces of its own; what it makes there goes
    with its processes."""
    if os.environ.get("ADIT_TEST_ISOLATED"):
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=False).returncode != 0:
            print("skipped: this machine lets us mount nothing, even in a mount namespace")
            sys.exit(77)
        os.makedirs("/run/netns", exist_ok=True)
        return
    for program in ("unshare", "ip", "mount"):
        if shutil.which(program) is None:
            print(f"skipped: there is no {program} on this machine")
            sys.exit(77)
    unshare = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        print("skipped: this machine does not let us make network namespaces")
        sys.exit(77)
    os.environ["ADIT_TEST_ISOLATED"] = "1"
    sys.stdout.flush()
    os.execvp("unshare", [*unshare, "--", sys.executable, *sys.argv])


class Namespace:
    """A network namespace; `with` it, this thread's new sockets are there."""

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, name):
        self.name = name
        sh(f"ip netns add {name}")
        self.sh("ip link set lo up")

    @property
    def prefix(self):
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    def sh(self, line):
        sh(" ".join(self.prefix) + " " + line)

    def __enter__(self):
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        ok = self.libc.setns(fd, CLONE_NEWNET)
        os.close(fd)
        if ok != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def __exit__(self, *_):
        self.libc.setns(self.before, CLONE_NEWNET)
        os.close(self.before)


def sh(line):
    done = subprocess.run(line.split(), check=False, capture_output=True, text=True,
                          timeout=PATIENCE)
    if done.returncode != 0:
        raise Failed(f"{line}: {done.stderr.strip()}")
    return done.stdout
