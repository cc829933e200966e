"""The measures of a path through a tunnel: visitor -> public side -> private side -> local service.
adit's relay and agent against sshd and `ssh -R`, both ends of each on the proxy's core."""

import base64
import hashlib
import os
import pwd
import shutil
import socket
import subprocess

from . import load, proc, tcp

RELAY_NAME = "relay.test"
SSH_CIPHER = "aes128-gcm@openssh.com"


def run(argv, stdin=None):
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=20, check=False)
    if done.returncode != 0:
        raise proc.BenchError(f"{argv[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(text)
    return path


def _key_hash(key):
    """SHA-256 of the DER SubjectPublicKeyInfo of a private key's file."""
    public = run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"])
    return hashlib.sha256(public).digest()


def agent_id(key):
    """As the relay counts it: base32, lower case, the first 26 characters."""
    return base64.b32encode(_key_hash(key)).decode("ascii").lower()[:26]


def new_key(folder, name):
    pem = run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    return write(folder, name, pem.decode("ascii"))


class Tunnel:
    """A running pair of public and private side; `addresses` by kind of service."""
    measures = ("link-bulk", "link-streams")

    def __init__(self, name, label):
        self.name = name
        self.label = label
        self.children = []
        self.addresses = {}

    def cpu(self):
        return sum(c.cpu() for c in self.children)

    def address(self, kind):
        return self.addresses[kind]

    def stop(self):
        for child in reversed(self.children):
            child.stop()

    def wait(self, client):
        """Until a connection of each kind goes through whole."""
        def ready():
            for child in self.children:
                if not child.running():
                    raise proc.BenchError(f"{self.name}: ended: {child.last_words()}")
            bulk = client.run("bulk", self.address("bulk"), "bulk", bytes=4 << 20, verify=True,
                              seconds=5)
            if bulk["failed"]:
                return False
            small = client.run("short", self.address("small"), "small", seconds=0.02,
                               connections=1)
            return small["done"] and not small["failed"]
        try:
            proc.wait_until(ready, 20, self.name)
        except proc.BenchError as e:
            words = "\n".join(f"{c.argv[0]}: {c.last_words()}" for c in self.children)
            raise proc.BenchError(f"{e}\n{words}") from e


def adit(binary, backend, upstream, core, folder, client, carrier="auto", ends=()):
    """`ends`: kinds of service for which the agent ends TLS. Without a `client` the caller waits
    until it serves."""
    spoken = {"uring": "io_uring", "epoll": "epoll"}[backend]
    tunnel = Tunnel(f"adit-{backend}", f"adit relay + agent, {spoken}")
    folder = os.path.join(folder, f"link-{backend}-{carrier}")
    for part in ("relay", "agent"):
        os.makedirs(os.path.join(folder, part), mode=0o700, exist_ok=True)
    relay_key = new_key(folder, "relay.pem")
    agent_key = new_key(folder, "agent.pem")
    certificate = os.path.join(folder, "relay.crt")
    run(["openssl", "req", "-x509", "-new", "-key", relay_key, "-out", certificate, "-days", "2",
          "-subj", f"/CN={RELAY_NAME}", "-addext", f"subjectAltName=DNS:{RELAY_NAME}"])
    pin = "sha256/" + base64.b64encode(_key_hash(relay_key)).decode("ascii")
    kinds = ("bulk", "small")
    names = ",".join(load.sni(k) for k in kinds)
    allowed = write(folder, "authorized_agents", f"{agent_id(agent_key)} names={names}\n")
    listen = f"127.0.0.1:{port_of_both()}"
    relay = write(folder, "relay.toml", f'''domain = ["{RELAY_NAME}"]
listen = ["{listen}"]
state_dir = "{folder}/relay"
certificate = "{certificate}"
key = "{relay_key}"
authorized_agents = "{allowed}"
threads = 1
io_backend = "{backend}"

[log]
level = "warn"
''')
    services = "".join(f'''
[[service]]
kind = "tls"
mode = "{'terminate' if k in ends else 'passthrough'}"
name = ["{load.sni(k)}"]
to = "{upstream[k]}"
''' for k in kinds)
    agent = write(folder, "agent.toml", f'''state_dir = "{folder}/agent"
key = "{agent_key}"
io_backend = "{backend}"
carrier = "{carrier}"

[log]
level = "warn"

[[relay]]
address = "{listen}"
name = "{RELAY_NAME}"
pin = "{pin}"
{services}''')
    try:
        for role, config in (("relay", relay), ("agent", agent)):
            tunnel.children.append(proc.Child([binary, role, "-c", config], core,
                                              os.path.join(folder, f"{role}.log"), cwd=folder))
        tunnel.addresses = {k: listen for k in kinds}
        if client:
            tunnel.wait(client)
    except proc.BenchError:
        tunnel.stop()
        raise
    return tunnel


def port_of_both():
    """A port that is free for TCP and for UDP."""
    for _ in range(20):
        port = proc.free_port("127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise proc.BenchError("no port is free for TCP and UDP")


def ssh_version():
    try:
        done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return "not installed"
    return done.stderr.strip()


def ssh(upstream, core, folder, client):
    tunnel = Tunnel("ssh", f"sshd + ssh -R, {SSH_CIPHER.split('@')[0]}")
    folder = os.path.join(folder, "ssh")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    sshd = shutil.which("sshd", path=proc.search_path())
    if not sshd or not shutil.which("ssh"):
        raise proc.BenchError("ssh: openssh-server and openssh-client are not installed")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd of root does not start without
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "perf",
              "-f", os.path.join(folder, name)])
    shutil.copy(os.path.join(folder, "user.pub"), os.path.join(folder, "authorized_keys"))
    port = proc.free_port("127.0.0.1")
    server = write(folder, "sshd_config", f'''ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding remote
Ciphers {SSH_CIPHER}
LogLevel ERROR
''')
    with open(os.path.join(folder, "host.pub"), encoding="ascii") as f:
        host_key = " ".join(f.read().split()[:2])
    known = write(folder, "known_hosts", f"[127.0.0.1]:{port} {host_key}\n")
    kinds = ("bulk", "small")
    tunnel.addresses = {k: f"127.0.0.1:{proc.free_port('127.0.0.1')}" for k in kinds}
    forwards = [w for k in kinds for w in ("-R", f"{tunnel.addresses[k]}:{upstream[k]}")]
    argv = ["ssh", "-F", "none", "-N", "-p", str(port), "-l", pwd.getpwuid(os.geteuid()).pw_name,
            "-i", os.path.join(folder, "user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes",
            "-o", f"Ciphers={SSH_CIPHER}", "-o", "Compression=no",
            "-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=10", *forwards, "127.0.0.1"]
    try:
        tunnel.children.append(proc.Child([sshd, "-D", "-e", "-f", server], core,
                                          os.path.join(folder, "sshd.log")))
        proc.wait_until(lambda: _accepts(port), 10, "sshd", tunnel.children[0])
        tunnel.children.append(proc.Child(argv, core, os.path.join(folder, "ssh.log")))
        tunnel.wait(client)
    except proc.BenchError:
        tunnel.stop()
        raise
    return tunnel


def _accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Ngtcp2:
    """ngtcp2's example endpoints: a file over HTTP/3 from the server to the client, both on the
    proxy's core. QUIC alone, without the sockets of a visitor and of a service: for orientation."""
    name = "ngtcp2"
    label = "ngtcp2 example endpoints, QUIC alone"
    measures = ("link-bulk",)
    BYTES = 100_000_000

    def __init__(self, core, folder):
        self.core = core
        self.folder = os.path.join(folder, "ngtcp2")
        os.makedirs(os.path.join(self.folder, "docs"), mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(self.folder, "got"), exist_ok=True)
        self.client = shutil.which("gtlsclient", path=proc.search_path())
        server = shutil.which("gtlsserver", path=proc.search_path())
        if not server or not self.client:
            raise proc.BenchError("ngtcp2-client and ngtcp2-server are not installed")
        key = new_key(self.folder, "key.pem")
        certificate = os.path.join(self.folder, "cert.pem")
        run(["openssl", "req", "-x509", "-new", "-key", key, "-out", certificate, "-days", "2",
              "-subj", "/CN=localhost"])
        for name, size in (("small", 1_000_000), ("file", self.BYTES)):
            with open(os.path.join(self.folder, "docs", name), "wb") as f:
                f.truncate(size)
        self.port = proc.free_port("127.0.0.1", socket.SOCK_DGRAM)
        self.child = proc.Child(
            [server, "-q", "-d", os.path.join(self.folder, "docs"), "127.0.0.1", str(self.port),
             key, certificate], core, os.path.join(self.folder, "server.log"))
        got = os.path.join(self.folder, "got")
        try:
            proc.wait_until(lambda: self._whole(got), 10, self.name, self.child)
        except proc.BenchError:
            self.stop()
            raise

    def _whole(self, got):
        self._fetch("small", f"--download={got}")
        path = os.path.join(got, "small")
        return os.path.exists(path) and os.path.getsize(path) == 1_000_000

    def _fetch(self, name, *options):
        """CPU seconds of the client and seconds by the clock."""
        before = os.times()
        argv = [self.client, "-q", "--exit-on-all-streams-close", *options, "127.0.0.1",
                str(self.port), f"https://localhost/{name}"]
        try:
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=30, check=False,
                           preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        except subprocess.TimeoutExpired as e:
            raise proc.BenchError("gtlsclient: no end after 30 s") from e
        after = os.times()
        cpu = (after.children_user - before.children_user +
               after.children_system - before.children_system)
        return cpu, after.elapsed - before.elapsed

    def sample(self):
        before = self.child.cpu()
        cpu, seconds = self._fetch("file")
        cpu += self.child.cpu() - before
        return {"cpu_s_per_gb": cpu / self.BYTES * tcp.GB,
                "gb_per_s": self.BYTES / tcp.GB / seconds, "failed": 0}

    def stop(self):
        self.child.stop()


MEASURES = {
    "link-bulk": lambda b, t: (t.sample() if isinstance(t, Ngtcp2) else
                               tcp.bulk(b.client, t, b.seconds, 1)),
    "link-streams": lambda b, t: tcp.short(b.client, t, b.seconds, connections=16),
}


class Bench:
    """The tunnels of a run, all running at once and measured in turn."""

    def __init__(self, binary, load_binary, cores, folder, seconds):
        self.binary = binary
        self.cores = cores
        self.folder = folder
        self.seconds = seconds
        self.client = load.Client(load_binary, cores.load)
        self.servers = load.Servers(load_binary, cores.load, folder, 1)
        self.tunnels = []
        self.problems = {}

    def start(self, with_adit):
        upstream = self.servers.upstreams[0]
        makers = {"ssh": lambda: ssh(upstream, self.cores.proxy, self.folder, self.client)}
        if with_adit:
            for backend in ("uring", "epoll"):
                makers[f"adit-{backend}"] = lambda b=backend: adit(
                    self.binary, b, upstream, self.cores.proxy, self.folder, self.client)
        makers["ngtcp2"] = lambda: Ngtcp2(self.cores.proxy, self.folder)
        for name, make in makers.items():
            try:
                self.tunnels.append(make())
            except proc.BenchError as e:
                self.problems[f"link {name}"] = str(e)
        return self.tunnels

    def sample(self, measure, tunnel):
        return MEASURES[measure](self, tunnel)

    def stop(self):
        for tunnel in self.tunnels:
            tunnel.stop()
        self.servers.stop()
