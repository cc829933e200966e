"""The proxies: how each is found, configured for routing by SNI, and started on one thread."""

import dataclasses
import glob
import os
import shutil
import subprocess
import typing

from . import load, proc


@dataclasses.dataclass
class Kind:
    """One proxy with one configuration."""
    name: str
    label: str
    binaries: tuple  # the first that exists is taken
    configure: typing.Callable  # (folder, binary, listen, upstream) -> argv
    version: tuple = ("-v",)
    idle_max: int = 1 << 16  # connections that it can hold

    def binary(self):
        for name in self.binaries:
            found = shutil.which(name, path=proc.search_path())
            if found:
                return found
        return None

    def version_line(self):
        """What the program says it is; the first line of either output."""
        if not self.version:
            return ""
        try:
            done = subprocess.run([self.binary(), *self.version], capture_output=True, text=True,
                                  timeout=5, check=False)
        except (subprocess.TimeoutExpired, OSError):
            return ""
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if lines else ""


def _write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    return path


def _haproxy(global_lines="", default_lines=""):
    def configure(folder, binary, listen, upstream):
        uses = "".join(f"  use_backend {k} if {{ req.ssl_sni -i {load.sni(k)} }}\n"
                       for k in upstream)
        backends = "".join(f"backend {k}\n  server s {a}\n" for k, a in upstream.items())
        text = (f"global\n  nbthread 1\n  maxconn 6000\n{global_lines}"
                f"defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n"
                f"  timeout server 1h\n{default_lines}"
                f"frontend front\n  bind {listen} backlog 4096\n  tcp-request inspect-delay 5s\n"
                f"  tcp-request content accept if {{ req.ssl_hello_type 1 }}\n{uses}{backends}")
        return [binary, "-db", "-f", _write(folder, "haproxy.cfg", text)]
    return configure


def _nginx(folder, binary, listen, upstream):
    modules = glob.glob("/usr/lib/nginx/modules/ngx_stream_module.so")
    head = "".join(f"load_module {m};\n" for m in modules)
    if os.geteuid() == 0:
        head += "user root;\n"
    routes = "".join(f"    {load.sni(k)} {a};\n" for k, a in upstream.items())
    text = (f"{head}daemon off;\nworker_processes 1;\nworker_rlimit_nofile 40000;\n"
            f"pid {folder}/nginx.pid;\nerror_log stderr error;\n"
            f"events {{ worker_connections 20000; }}\n"
            f"stream {{\n  map $ssl_preread_server_name $upstream_of {{\n{routes}  }}\n"
            f"  server {{\n    listen {listen} backlog=4096;\n    ssl_preread on;\n"
            f"    proxy_pass $upstream_of;\n  }}\n}}\n")
    return [binary, "-p", folder, "-e", "stderr", "-c", _write(folder, "nginx.conf", text)]


def _sslh(folder, binary, listen, upstream):
    host, port = listen.split(":")
    rows = []
    for k, a in upstream.items():
        to, to_port = a.split(":")
        rows.append(f'  {{ name: "tls"; host: "{to}"; port: "{to_port}"; '
                    f'sni_hostnames: [ "{load.sni(k)}" ]; log_level: 0; }}')
    text = ("foreground: true;\ninetd: false;\nnumeric: true;\ntransparent: false;\ntimeout: 5;\n"
            f'listen: ( {{ host: "{host}"; port: "{port}"; }} );\n'
            "protocols: (\n" + ",\n".join(rows) + "\n);\n")
    return [binary, "-F" + _write(folder, "sslh.cfg", text)]


def _sniproxy(folder, binary, listen, upstream):
    user = "user root\n" if os.geteuid() == 0 else ""
    rows = "".join(f"  {load.sni(k)} {a}\n" for k, a in upstream.items())
    text = (f"{user}pidfile {folder}/sniproxy.pid\n"
            f"error_log {{\n  filename {folder}/sniproxy-error.log\n  priority error\n}}\n"
            f"listen {listen} {{\n  proto tls\n  table hosts\n}}\ntable hosts {{\n{rows}}}\n")
    return [binary, "-f", "-n", "40000", "-c", _write(folder, "sniproxy.conf", text)]


def _adit(backend):
    def configure(folder, binary, listen, upstream):
        routes = "".join(f'\n[[route]]\nsni = ["{load.sni(k)}"]\nto = ["{a}"]\n'
                         for k, a in upstream.items())
        text = (f'domain = ["relay.test"]\nlisten = ["{listen}/tcp"]\nthreads = 1\n'
                f'io_backend = "{backend}"\nstate_dir = "{folder}/state"\n'
                f'admin = "{folder}/admin.sock"\n\n[log]\nlevel = "warn"\n{routes}')
        return [binary, "relay", "-c", _write(folder, "relay.toml", text)]
    return configure


def kinds(adit):
    """All of them in the order of the tables; `adit` is the path of our program."""
    auto = "  option splice-auto\n"
    # With splice-auto alone a download is copied to its end: the choice is made when the stream's
    # task runs, and while bytes flow one way that is not before a timeout. These splice from the
    # start, small messages too.
    forced = "  option splice-request\n  option splice-response\n"
    pipes = "  tune.pipesize 1048576\n"
    return [
        Kind("haproxy", "HAProxy, default", ("haproxy",), _haproxy()),
        Kind("haproxy-auto", "HAProxy, splice-auto", ("haproxy",), _haproxy("", auto)),
        Kind("haproxy-auto-1m", "HAProxy, splice-auto, 1 MiB pipes", ("haproxy",),
             _haproxy(pipes, auto)),
        Kind("haproxy-splice-1m", "HAProxy, splice always, 1 MiB pipes", ("haproxy",),
             _haproxy(pipes, forced)),
        Kind("nginx", "nginx stream, default", ("nginx",), _nginx),
        # sslh-select holds at most FD_SETSIZE = 1024 descriptors, two for a connection.
        Kind("sslh", "sslh-ev", ("sslh-ev",), _sslh, ("-V",))
        if shutil.which("sslh-ev", path=proc.search_path()) else
        Kind("sslh", "sslh-select", ("sslh-select",), _sslh, ("-V",), idle_max=450),
        Kind("sniproxy", "sniproxy", ("sniproxy",), _sniproxy, ("-V",)),
        Kind("adit-uring", "adit, io_uring", (adit,), _adit("uring"), ("version",)),
        Kind("adit-epoll", "adit, epoll", (adit,), _adit("epoll"), ("version",)),
    ]


class Direct:
    """No proxy: what the load generator itself can do, the measure of its influence."""
    name = "direct"
    label = "no proxy (load alone)"

    def __init__(self, upstream):
        self.upstream = upstream

    def address(self, kind):
        return self.upstream[kind]

    def cpu(self):
        return None

    def stop(self):
        pass


class Proxy:
    """A running proxy."""

    def __init__(self, kind, upstream, core, folder, client):
        self.kind = kind
        self.name = kind.name
        self.label = kind.label
        folder = os.path.join(folder, kind.name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.listen = f"127.0.0.1:{proc.free_port('127.0.0.1')}"
        argv = kind.configure(folder, kind.binary(), self.listen, upstream)
        self.child = proc.Child(argv, core, os.path.join(folder, "output.log"), cwd=folder)
        try:
            proc.wait_until(lambda: self._forwards(client), 10, kind.name, self.child)
        except proc.BenchError:
            self.stop()
            raise

    def _forwards(self, client):
        """One connection by each route, the bulk one compared byte by byte."""
        bulk = client.run("bulk", self.listen, "bulk", bytes=4 << 20, verify=True, seconds=5)
        if bulk["failed"]:
            return False
        small = client.run("short", self.listen, "small", seconds=0.02, connections=1)
        echo = client.run("pingpong", self.listen, "echo", seconds=0.02)
        return small["done"] and not small["failed"] and echo["messages"] and not echo["failed"]

    def address(self, _kind):
        return self.listen

    def cpu(self):
        return self.child.cpu()

    def stop(self):
        self.child.stop()
