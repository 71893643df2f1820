# SPDX-License-Identifier: MIT
"""The locked npm packages of the tests."""
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def install_npm():
    """Installs them; nothing where they are there already. What went wrong, or None."""
    lock = os.path.join(HERE, "package-lock.json")
    mark = os.path.join(HERE, "node_modules", ".installed-lock")
    with open(lock, "rb") as file:
        wanted = file.read()
    if os.path.exists(mark):
        with open(mark, "rb") as file:
            if file.read() == wanted:
                return None
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    if done.returncode:
        return "npm ci:\n" + done.stdout
    shutil.copyfile(lock, mark)
    return None
