#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a command under the filter of system calls that the unit asks systemd for, made here from
systemd's own sets: sandbox.py COMMAND...  What is not allowed ends the process by SIGSYS, so that
nothing that was refused goes unseen; other families of sockets and writable code are errors, as with
systemd. There are no capabilities, and where we are root /proc holds processes alone."""
import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = os.path.join(HERE, "..", "..", "deploy", "debian", "hati.service")
INSIDE, FILTER = "SANDBOX_INSIDE", "SANDBOX_FILTER"
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7} # AUDIT_ARCH_...
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_CAPBSET_DROP = 38, 22, 2, 24
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, BITS, RETURN = 0x20, 0x15, 0x45, 0x06 # of classic BPF
NUMBER, ARCH, ARGUMENT = 0, 4, lambda at: 16 + 8 * at # offsets in struct seccomp_data
PROT_WRITE, PROT_EXEC = 2, 4
EAFNOSUPPORT, EPERM = 97, 1


def why_not():
    if not shutil.which("systemd-analyze"):
        return "systemd-analyze is not here: nobody says what its sets hold"
    return None if os.uname().machine in ARCHES else "no filter is made for " + os.uname().machine


def words(name):
    """Of the settings of that name, each line a list."""
    with open(UNIT, encoding="utf-8") as file:
        return [line.split("=", 1)[1].split() for line in file if line.startswith(name + "=")]


def sets():
    """{a set's name: what it holds itself}"""
    text = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter"], check=True,
                          capture_output=True, text=True).stdout
    found, at = {}, None
    for line in text.split("\n"):
        if line.startswith("@"):
            at = found.setdefault(line.strip(), [])
        elif line.startswith("    ") and at is not None and not line.strip().startswith("#"):
            at.append(line.strip())
    return found


def members(known, name):
    if not name.startswith("@"):
        return {name}
    return set().union(*(members(known, one) for one in known[name]))


def allowed():
    known, names = sets(), set()
    for line in words("SystemCallFilter"):
        named = set().union(*(members(known, word.lstrip("~")) for word in line))
        names = names - named if line[0].startswith("~") else names | named
    return names


def numbers():
    """{name: number} of this machine's system calls."""
    text = subprocess.run([shutil.which("gcc") or "cc", "-E", "-dM", "-include", "sys/syscall.h", "-x",
                           "c", os.devnull], check=True, capture_output=True, text=True).stdout
    return {name: int(number) for name, number in
            re.findall(r"#define __NR_(\w+) (\d+)\n", text)}


def statement(code, k, yes=0, no=0):
    return struct.pack("<HBBI", code, yes, no, k)


def program():
    of = numbers()
    out = [statement(LOAD, ARCH), statement(EQUAL, ARCHES[os.uname().machine], 1, 0),
           statement(RETURN, KILL)]

    def only(name, body):
        """Of that call alone, which is known there."""
        if name in of:
            out.extend([statement(LOAD, NUMBER), statement(EQUAL, of[name], 0, len(body))] + body)

    families = [FAMILIES[word] for line in words("RestrictAddressFamilies") for word in line]
    only("socket", [statement(LOAD, ARGUMENT(0))] + [
        statement(EQUAL, family, len(families) - at) for at, family in enumerate(families)] + [
            statement(RETURN, ERRNO | EAFNOSUPPORT)])
    if words("MemoryDenyWriteExecute") == [["yes"]]:
        refuse = statement(RETURN, ERRNO | EPERM)
        only("mmap", [statement(LOAD, ARGUMENT(2)), statement(BITS, PROT_EXEC, 0, 2),
                      statement(BITS, PROT_WRITE, 0, 1), refuse])
        for name in ("mprotect", "pkey_mprotect"):
            only(name, [statement(LOAD, ARGUMENT(2)), statement(BITS, PROT_EXEC, 0, 1), refuse])
    out.append(statement(LOAD, NUMBER))
    for number in sorted(of[name] for name in allowed() if name in of):
        out.extend([statement(EQUAL, number, 0, 1), statement(RETURN, ALLOW)])
    out.append(statement(RETURN, KILL))
    return b"".join(out)


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def close_in(code):
    held = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    for number, *more in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                          (PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                           ctypes.byref(Filter(len(code) // 8, ctypes.addressof(held))), 0, 0)):
        if libc.prctl(number, *more) != 0:
            raise OSError(ctypes.get_errno(), "prctl %d" % number)


def main():
    """Whoever starts many of them makes the filter once and has it in the environment."""
    code = os.environ.get(FILTER)
    code = bytes.fromhex(code) if code else program()
    if os.geteuid() == 0 and INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-m", "sh", "-c", "mount -t proc -o subset=pid proc /proc && "
                              "exec \"$@\"", "sh", sys.executable, *sys.argv])
    os.environ.pop(INSIDE, None)
    command = sys.argv[1:]
    close_in(code)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
