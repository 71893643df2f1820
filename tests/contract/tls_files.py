# SPDX-License-Identifier: MIT
"""Certificates of the tests, made by openssl in a directory of their own."""
import os
import shutil
import ssl
import subprocess
import tempfile

BASIC = """[req]
distinguished_name = name
prompt = no
[name]
CN = hati test
[ca]
basicConstraints = critical, CA:true
keyUsage = keyCertSign
[server]
basicConstraints = CA:false
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[client]
basicConstraints = CA:false
extendedKeyUsage = clientAuth
[own]
basicConstraints = CA:false
[authority]
database = {dir}/index
serial = {dir}/serial
new_certs_dir = {dir}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


class Files:
    """Two authorities, servers and clients of theirs; `a` is the one that is believed."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="hati-tls-")
        with open(self.path("conf"), "w") as file:
            file.write(BASIC.format(dir=self.dir))
        open(self.path("index"), "w").close()
        with open(self.path("serial"), "w") as file:
            file.write("1000\n")
        for ca in ("a", "b"):
            self.request("ca-" + ca)
            self.openssl("req", "-x509", "-key", self.key("ca-" + ca), "-out",
                         self.cert("ca-" + ca), "-subj", "/CN=ca " + ca, "-days", "30",
                         "-extensions", "ca")
        for name, ca, kind in (("one", "a", "server"), ("two", "a", "server"),
                               ("good", "a", "client"), ("foreign", "b", "client"),
                               ("purpose", "a", "server")):
            self.issue(name, ca, kind)
        self.issue("late", "a", "client", "20200101000000Z", "20200102000000Z")
        self.issue("early", "a", "client", "20400101000000Z", "20400102000000Z")

    def path(self, name):
        return os.path.join(self.dir, name)

    def key(self, name):
        return self.path(name + ".key")

    def cert(self, name):
        return self.path(name + ".pem")

    def openssl(self, command, *more):
        done = subprocess.run(["openssl", command, *(["-config", self.path("conf")] if command in
                               ("req", "ca") else []), *more], capture_output=True)
        if done.returncode:
            raise RuntimeError("openssl %s: %s" % (command, done.stderr.decode()))

    def request(self, name):
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                     self.key(name))

    def issue(self, name, ca, kind, start="20200101000000Z", end="20490101000000Z"):
        self.request(name)
        self.openssl("req", "-new", "-key", self.key(name), "-subj", "/CN=" + name, "-out",
                     self.path("csr"))
        self.openssl("ca", "-batch", "-notext", "-name", "authority", "-in", self.path("csr"),
                     "-cert", self.cert("ca-" + ca), "-keyfile", self.key("ca-" + ca), "-out",
                     self.cert(name), "-startdate", start, "-enddate", end, "-extensions", kind)

    def flags(self, name):
        return ("--tls-cert", self.cert(name), "--tls-key", self.key(name))

    def put(self, name, to):
        """The pair of a name at the place of another, as a renewal leaves it."""
        for path in (self.cert, self.key):
            shutil.copy(path(name), path(to) + ".new")
            os.rename(path(to) + ".new", path(to))

    def context(self, client=None, ca="a"):
        """Of a client that checks the server by an authority, and shows a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.cert("ca-" + ca))
        context.check_hostname = False
        if client:
            context.load_cert_chain(self.cert(client), self.key(client))
        return context

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def shown(sock):
    """The name of the certificate that the other side showed."""
    return dict(part[0] for part in sock.getpeercert()["subject"])["commonName"]
