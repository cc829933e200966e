"""Pebble, and what the programs t_acme* share."""

import json
import os
import ssl
import urllib.request

from adit_test import *

EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


class Pebble:
    """An ACME server and the DNS that it asks; every name is at 127.0.0.1."""

    def __init__(self, lab, validate_port, http_port=None, port=None, bad_nonces=0, reuse=0,
                 validity=None, binding=False):
        need("pebble", "pebble-challtestsrv", "openssl")
        self.port, self.admin = port or lab.free_port(), lab.free_port()
        dns, self.dns_admin = lab.free_port(), lab.free_port()
        self.directory = f"https://localhost:{self.port}/dir"
        cert, key = certificate(lab, "localhost")
        self.ca = cert  # vouches for the API; what issues is another
        settings = {"listenAddress": f"127.0.0.1:{self.port}",
                    "managementListenAddress": f"127.0.0.1:{self.admin}",
                    "certificate": cert, "privateKey": key, "tlsPort": validate_port,
                    "httpPort": http_port or 1, "externalAccountBindingRequired": binding}
        if binding:
            settings["externalAccountMACKeys"] = {"kid-1": EAB_KEY}
        if validity:
            settings["certificateValidityPeriod"] = validity
        config = lab.path(f"pebble-{self.port}.json")
        with open(config, "w", encoding="utf-8") as f:
            json.dump({"pebble": settings}, f)
        Process(lab, f"dns-{self.port}",
                ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-management",
                 f"127.0.0.1:{self.dns_admin}", "-defaultIPv6", "", "-http01", "", "-https01", "",
                 "-tlsalpn01", ""])
        self.process = Process(
            lab, f"pebble-{self.port}",
            ["pebble", "-config", config, "-dnsserver", f"127.0.0.1:{dns}"],
            environment={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(bad_nonces),
                         "PEBBLE_AUTHZREUSE": str(reuse)})
        # One's own certificate is its own authority.
        self.trust = ssl.create_default_context(cafile=cert)
        self.roots = lab.path(f"roots-{self.port}.pem")
        root = until("Pebble answers", lambda:
                     self.get(f"https://localhost:{self.admin}/roots/0"), 60)
        with open(self.roots, "wb") as f:
            f.write(root)

    def get(self, url):
        try:
            with urllib.request.urlopen(url, context=self.trust, timeout=5) as answer:
                return answer.read()
        except OSError:
            return None

    def acme(self, **more):
        return {"directory": self.directory, "ca": self.ca, **more}

    def context(self, alpn=None):
        """Of a visitor that trusts what it issues."""
        context = ssl.create_default_context(cafile=self.roots)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def serial_of(conn):
    tls = conn.sock.tls
    return tls.getpeercert()["serialNumber"]


def link_serial(relay, pebble):
    """Of the certificate that the relay shows to agents; None unless Pebble vouches for it."""
    try:
        with visit_tls(relay.address, DOMAIN, pebble.context(["adit-h2/1"])) as conn:
            return serial_of(conn)
    except ssl.SSLCertVerificationError:
        return None


def acme_relay(lab, pebble_options=None, threads=2, **acme):
    port = lab.free_port()
    pebble = Pebble(lab, port, **(pebble_options or {}))
    relay = Relay(lab, port=port, threads=threads,
                  acme={"domain": [DOMAIN], **pebble.acme(**acme)})
    return pebble, relay
