"""The carriers of a link against each other: h2load asks nghttpd through relay and agent, by QUIC,
HTTP/2 and WebSocket. nghttpd ends TLS, the tunnel passes it through; beside it nginx answers
HTTP/1.1 where the agent ends TLS. Relay and agent share the proxy's core."""

import os
import re
import shutil
import subprocess

from . import link, proc, tcp

CARRIERS = {"quic": "QUIC", "h2": "HTTP/2 over TLS", "ws": "HTTP/2 over TLS in a WebSocket"}
BASE = "carrier-quic"
SMALL, LARGE = 1000, 1_000_000


class Upstreams:
    """nghttpd with TLS, and nginx without, on the load's core."""

    def __init__(self, core, folder):
        self.folder = os.path.join(folder, "upstreams")
        docs = os.path.join(self.folder, "docs")
        os.makedirs(docs, mode=0o755, exist_ok=True)
        for name, size in (("small", SMALL), ("large", LARGE)):
            with open(os.path.join(docs, name), "wb") as f:
                f.write(os.urandom(1 << 16) * (size >> 16) + bytes(size & 0xffff))
        self.children = []
        self.address = {"bulk": self._nghttpd(core, docs), "small": self._nginx(core, docs)}

    @staticmethod
    def _found(name, package):
        path = shutil.which(name, path=proc.search_path())
        if not path:
            raise proc.BenchError(f"carriers: {package} is not installed ({name})")
        return path

    def _nghttpd(self, core, docs):
        binary = self._found("nghttpd", "nghttp2-server")
        key = link.new_key(self.folder, "server.pem")
        certificate = os.path.join(self.folder, "server.crt")
        link.run(["openssl", "req", "-x509", "-new", "-key", key, "-out", certificate, "-days",
                  "2", "-subj", "/CN=bulk.test"])
        port = proc.free_port("127.0.0.1")
        self.children.append(proc.Child(
            [binary, "-a", "127.0.0.1", "-d", docs, "--early-response", str(port), key,
             certificate], core, os.path.join(self.folder, "nghttpd.log")))
        return f"127.0.0.1:{port}"

    def _nginx(self, core, docs):
        binary = self._found("nginx", "nginx-light")
        port = proc.free_port("127.0.0.1")
        user = "user root;\n" if os.geteuid() == 0 else ""
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"{user}daemon off;\nworker_processes 1;\npid {self.folder}/nginx.pid;\n"
                    f"error_log stderr error;\nevents {{ worker_connections 4096; }}\n"
                    f"http {{ access_log off; keepalive_requests 10000000; sendfile on;\n"
                    f"server {{ listen 127.0.0.1:{port}; root {docs}; }} }}\n")
        self.children.append(proc.Child([binary, "-p", self.folder, "-e", "stderr", "-c", config],
                                        core, os.path.join(self.folder, "nginx.log")))
        return f"127.0.0.1:{port}"

    def stop(self):
        for child in self.children:
            child.stop()


def _h2load(core, tunnel, seconds, name, path, *options):
    """What h2load reports: requests done and failed, bytes, and for how long."""
    host, port = tunnel.address("bulk").split(":")
    # Without a time to warm up: its CPU time could not be told from the rest.
    argv = ["h2load", "-D", f"{seconds:g}", *options,
            f"--connect-to={host}:{port}", f"https://{name}.test/{path}"]
    before = tunnel.cpu()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 20,
                              check=False, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    except subprocess.TimeoutExpired as e:
        raise proc.BenchError(f"h2load: no end after {seconds + 20:g} s") from e
    cpu = tunnel.cpu() - before
    requests = re.search(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed, (\d+) errored",
                         done.stdout)
    traffic = re.search(r"traffic: [\d.]+[KMG]?B \((\d+)\) total", done.stdout)
    if done.returncode != 0 or not requests or not traffic or not int(traffic.group(1)):
        raise proc.BenchError(f"h2load: {(done.stderr or done.stdout).strip()[-300:]}")
    # Those that the end of the time cut off are no failures: h2load counts them as neither.
    return {"requests": int(requests.group(2)),
            "failed": int(requests.group(3)) + int(requests.group(4)),
            "bytes": int(traffic.group(1)), "cpu": cpu, "seconds": seconds}


def _requests(core, tunnel, seconds, name, *options):
    got = _h2load(core, tunnel, seconds, name, "small", *options)
    return {"cpu_us": tcp.per(got["cpu"], got["requests"], 1e6),
            "per_s": got["requests"] / got["seconds"], "failed": got["failed"]}


def _bulk(core, tunnel, seconds, name, *options):
    got = _h2load(core, tunnel, seconds, name, "large", *options)
    return {"cpu_s_per_gb": tcp.per(got["cpu"], got["bytes"], tcp.GB),
            "gb_per_s": got["bytes"] / tcp.GB / got["seconds"], "failed": got["failed"]}


MEASURES = {
    # Passed through; 8 visitors with 10 requests each under way.
    "carrier-requests": lambda c, t, s: _requests(c, t, s, "bulk", "-c", "8", "-m", "10"),
    "carrier-bulk": lambda c, t, s: _bulk(c, t, s, "bulk", "-c", "2", "-m", "2", "-w", "22",
                                          "-W", "24"),
    # TLS ends at the agent; HTTP/1.1.
    "carrier-tls-requests": lambda c, t, s: _requests(c, t, s, "small", "-c", "32", "--h1"),
    "carrier-tls-bulk": lambda c, t, s: _bulk(c, t, s, "small", "-c", "2", "--h1"),
}


class Bench:
    """A relay and an agent for each carrier, all running at once and measured in turn."""

    def __init__(self, binary, cores, folder, seconds):
        self.binary, self.cores, self.folder = binary, cores, folder
        # h2load takes whole seconds.
        self.seconds = max(1.0, float(round(seconds)))
        self.upstreams, self.tunnels, self.problems = None, [], {}

    def start(self):
        if not shutil.which("h2load"):
            self.problems["carriers"] = "nghttp2-client is not installed (h2load)"
            return []
        try:
            self.upstreams = Upstreams(self.cores.load, self.folder)
        except proc.BenchError as e:
            self.problems["carriers"] = str(e)
            return []
        for carrier, label in CARRIERS.items():
            try:
                tunnel = link.adit(self.binary, "uring", self.upstreams.address, self.cores.proxy,
                                   self.folder, None, carrier=carrier, ends=("small",))
                tunnel.name, tunnel.label = f"carrier-{carrier}", f"adit by {label}"
                tunnel.measures = tuple(MEASURES)
                self.tunnels.append(tunnel)
                self._wait(tunnel)
            except proc.BenchError as e:
                self.problems[f"carriers {carrier}"] = str(e)
        return self.tunnels

    def _wait(self, tunnel):
        def ready():
            try:
                _h2load(self.cores.load, tunnel, 1.0, "small", "small", "-c", "1", "--h1")
                _h2load(self.cores.load, tunnel, 1.0, "bulk", "small", "-c", "1")
                return True
            except proc.BenchError:
                return False
        proc.wait_until(ready, 30, tunnel.name, tunnel.children[0])

    def sample(self, measure, tunnel):
        return MEASURES[measure](self.cores.load, tunnel, self.seconds)

    def stop(self):
        for tunnel in self.tunnels:
            tunnel.stop()
        if self.upstreams:
            self.upstreams.stop()
