#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Packs the console and the docs page for the binary: pack.py AUTO|ON|OFF OUTPUT-DIRECTORY

Writes pages.bin (the bytes, as they are and gzipped) and pages_table.c (which of them is served at
which path). What a page loads stands under assets/SET-HASH/, where HASH is that of the whole set, so
that it can be kept for ever; `{{assets}}` in a page is that folder. The docs page wants RapiDoc, as
its package-lock.json pins it, from npm: AUTO does without where it cannot be had, ON fails then.
"""
import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "docs")
RAPIDOC = os.path.join(DOCS, "node_modules", "rapidoc", "dist", "rapidoc-min.js")
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".txt": "text/plain; charset=utf-8"}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def gather():
    """RapiDoc by npm; several builds of one tree may want it at once. What went wrong, or None."""
    mark = os.path.join(DOCS, "node_modules", ".installed-lock")
    lock = read(os.path.join(DOCS, "package-lock.json"))
    npm = shutil.which("npm")
    try:
        with open(os.path.join(DOCS, ".gathering"), "w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if os.path.exists(mark) and read(mark) == lock and os.path.exists(RAPIDOC):
                return None
            if not npm:
                return "npm is not installed"
            run = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                                 cwd=DOCS, capture_output=True, text=True)
            if run.returncode:
                return "npm ci failed: " + run.stderr.strip()[-300:]
            with open(mark, "wb") as file:
                file.write(lock)
    except OSError as error:
        return str(error)
    return None


def sources(folder, skip):
    """Name and content of what a set has beside its page, in order."""
    return [(name, read(os.path.join(folder, name))) for name in sorted(os.listdir(folder))
            if os.path.splitext(name)[1] in TYPES and name not in skip]


def pack_set(name, page, parts):
    """Rows of a set: (path, content, kind)."""
    digest = hashlib.sha256()
    for part, content in parts:
        digest.update(b"%s %d " % (part.encode(), len(content)) + content)
    folder = "assets/%s-%s" % (name, digest.hexdigest()[:16])
    rows = [("/" + name, page.replace(b"{{assets}}", folder.encode()), "PAGE_" + name.upper())]
    return rows + [("/%s/%s" % (folder, part), content, "PAGE_PART") for part, content in parts]


def docs_set(wanted):
    missing = "left out of this build" if wanted == "OFF" else gather()
    if missing and wanted == "ON":
        sys.exit("the docs page cannot be built: " + missing)
    if missing:
        print("the docs page is built without RapiDoc: " + missing, file=sys.stderr)
        return pack_set("docs", read(os.path.join(DOCS, "absent.html")),
                        sources(DOCS, ("index.html", "absent.html", "docs.js")))
    folder = os.path.dirname(RAPIDOC)
    licences = read(os.path.join(folder, "..", "LICENSE.txt")) + b"\n" + read(RAPIDOC + ".LICENSE.txt")
    parts = sources(DOCS, ("index.html", "absent.html"))
    parts += [("rapidoc.js", read(RAPIDOC)), ("licences.txt", licences)]
    return pack_set("docs", read(os.path.join(DOCS, "index.html")), parts)


def write(rows, output):
    blob, table = bytearray(), []
    for path, content, kind in rows:
        packed = gzip.compress(content, 9, mtime=0)
        table.append('    {"%s", "%s", "\\"%s\\"", "\\"%s-gz\\"", %d, %d, %d, %d, %s},' % (
            path, TYPES[os.path.splitext(path)[1] or ".html"], hashlib.md5(content).hexdigest(),
            hashlib.md5(content).hexdigest(), len(blob), len(content), len(blob) + len(content),
            len(packed), kind))
        blob += content + packed
    with open(os.path.join(output, "pages.bin"), "wb") as file:
        file.write(blob)
    with open(os.path.join(output, "pages_table.c"), "w", encoding="ascii") as file:
        file.write("/* made by openapi/pack.py */\n#include \"openapi/pages.h\"\n\n"
                   "const struct web_page web_pages[] = {\n%s\n};\nconst unsigned web_page_count = %dU;\n\n"
                   "__asm__(\".section .rodata\\n.globl web_page_bytes\\n.hidden web_page_bytes\\n"
                   "web_page_bytes:\\n.incbin \\\"%s\\\"\\n.byte 0\\n.text\\n\");\n" % (
                       "\n".join(table), len(table), os.path.join(output, "pages.bin")))


def main():
    wanted, output = sys.argv[1], os.path.abspath(sys.argv[2])
    if wanted not in ("AUTO", "ON", "OFF"):
        sys.exit("HATI_DOCS is AUTO, ON or OFF, not " + wanted)
    console = os.path.join(HERE, "console")
    os.makedirs(output, exist_ok=True)
    docs = docs_set(wanted)
    write(pack_set("console", read(os.path.join(console, "index.html")),
                   sources(console, ("index.html",))) + docs, output)
    if wanted == "AUTO" and not any(path.endswith("/rapidoc.js") for path, _, _ in docs):
        os.utime(os.path.join(output, "pages_table.c"), (0, 0))  # the next build tries again


main()
