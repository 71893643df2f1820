# SPDX-License-Identifier: MIT
"""The client at a terminal: prompt, history, completion, subscriptions, figures."""
import os
import stat

from cases_single import SECRET, Client
from harness import check, same, sign, wait_until
from screen import Screen, check_absent


class Prompt:
    """A client in a terminal; by the UNIX socket, whose path stays when the server starts anew."""

    def __init__(self, server, folder, *words):
        self.server = server
        self.folder = folder
        self.words = ["--tcp-socket", server.socket_path, *words]
        self.client = Client(server, folder)

    def __enter__(self):
        command = [self.server.binary, "client", *self.words]
        self.screen = Screen(self.folder, command, self.client.env, columns=160)
        return self.screen

    def __exit__(self, *_):
        self.screen.close()

    def history(self):
        with open(os.path.join(self.folder, ".hati_history"), encoding="utf-8") as file:
            return file.read()


def answers(server, folder):
    prompt = Prompt(server, folder)
    with prompt as screen:
        screen.see(server.socket_path + " default> ")
        screen.keys("SET hdd 0 p wört", "Enter")
        screen.see("\nOK")
        screen.keys("GET hdd p", "Enter")
        screen.see("\nwört")
        screen.keys("GET hdd nope", "Enter")
        screen.see("the key does not exist (KEY_NOT_EXIST)")
        screen.keys("GET hdd", "Enter")
        screen.see("key is missing")
        prompt.client.run("SET", "hdd", "0", "evil", "@-", stdin=b"\x1b]0;t\x07\x1b[31mred\n\xff\x9b")
        screen.keys("GET hdd evil", "Enter")
        screen.see("\\x1b]0;t\\x07\\x1b[31mred\\n\\xff\\x9b")
        screen.keys("LISTROUTER", "Enter")
        screen.see('[\n  "default"\n]')
        screen.keys("KEYS hdd evi", "Enter")
        screen.see("\n1  evil")
        screen.keys("USE names", "Enter")
        screen.see(" names> ")
        screen.keys("HELP", "Enter")
        screen.see("QUIT - end the connection")
        screen.keys("C-d")
        screen.ends(0)


def history(server, folder):
    prompt = Prompt(server, folder)
    token = sign({}, SECRET)
    with prompt as screen:
        screen.see("> ")
        screen.keys("SET hdd 0 h 1", "Enter")
        screen.see("\nOK")
        screen.keys("AUTH " + token, "Enter")
        screen.see("\nOK", 2)
        screen.keys("SET hdd 0 t " + token, "Enter")
        screen.see("\nOK", 3)
        screen.keys("GET hdd h", "Enter")
        screen.see("\n1\n")
        screen.keys("QUIT", "Enter")
        screen.ends(0)
    text = prompt.history()
    check("SET hdd 0 h 1\n" in text and text.endswith("GET hdd h\nQUIT\n"), text)
    check(token[:20] not in text and "AUTH" not in text, "a token is in the history")
    mode = os.stat(os.path.join(folder, ".hati_history")).st_mode
    same(stat.S_IMODE(mode), 0o600, "mode of the history")
    with prompt as screen:
        screen.see("> ")
        screen.keys("Up", "Up", "Enter")
        screen.see("> GET hdd h")
        screen.see("\n1\n")
        screen.keys("C-r", "0 h", "Enter")
        screen.see("\nOK")
        screen.keys("C-d")
        screen.ends(0)


def completion(server, folder):
    prompt = Prompt(server, folder)
    prompt.client.run("CREATEQUEUE", "tab-queue", "memory")
    prompt.client.run("--use", "tab", "SET", "hdd", "0", "tabkey", "1")
    with prompt as screen:
        screen.see("> ")
        screen.keys("sub", "Tab")
        screen.see("> SUBSCRIBE ")
        screen.see("<queue> [prefetch]")
        screen.keys("tab-", "Tab")
        screen.see("> SUBSCRIBE tab-queue ")
        screen.keys("C-u", "SET ", "Tab")
        screen.see("memory")
        screen.see("<type> <ttl> <key> <value>")
        screen.keys("m", "Tab")
        screen.see("> SET memory ")
        screen.keys("Tab")
        screen.see("time to live in ms")
        screen.keys("C-u", "CREATEQUEUE x over", "Tab", "d", "Tab")
        screen.see("> CREATEQUEUE x overflow=drop-head ")
        screen.keys("C-u", "USE tab", "Enter")
        screen.see(" tab> ")
        screen.keys("GET hdd tabk", "Tab", "Enter")
        screen.see("> GET hdd tabkey")
        screen.see("\n1\n")
        screen.keys("G", "Tab", "Tab")
        screen.see("GETQUEUE")
        screen.keys("C-c")
        screen.see("^C")
        screen.keys("PING", "Enter")
        screen.see("\nPONG")
        screen.keys("C-d")
        screen.ends(0)


def subscription(server, folder):
    prompt = Prompt(server, folder, "--ack")
    client = prompt.client
    client.run("CREATEQUEUE", "subbed")
    with prompt as screen:
        screen.see("> ")
        screen.keys("SUBSCRIBE subbed", "Enter")
        screen.see("subscribed; Ctrl-C ends it")
        client.run("PUBLISH", "default", "subbed", "fi\x1b[2Jrst")
        screen.see("\n  fi\\x1b[2Jrst")
        wait_until(lambda: b'"acked":1' in client.out("GETQUEUE", "subbed"), "it is acknowledged")
        server.kill()
        screen.see("trying again every second")
        server.start()
        screen.see("connected again")
        client.env["HATI_TCP_PORT"] = str(server.tcp)
        client.run("PUBLISH", "default", "subbed", "second")
        screen.see("\n  second")
        screen.keys("C-c")
        screen.see("\nended\n")
        screen.keys("PING", "Enter")
        screen.see("\nPONG")
        screen.keys("C-d")
        screen.ends(0)
    text = client.out("GETQUEUE", "subbed")
    check(b'"ready":0' in text and b'"leased":0' in text and b'"consumers":0' in text, text)


def watch(server, folder):
    """It goes on where it was, once a lost server is back."""
    prompt = Prompt(server, folder)
    client = prompt.client
    with prompt as screen:
        screen.see("> ")
        screen.keys("WATCH hd", "Tab")
        screen.see("WATCH hdd")
        screen.keys(" seen values", "Enter")
        screen.see("watching; Ctrl-C ends it")
        screen.see("READY hdd")
        client.run("SET", "hdd", "0", "seen1", "first")
        screen.see('"value":"first"')
        server.kill()
        screen.see("trying again every second")
        server.start()
        client.env["HATI_TCP_PORT"] = str(server.tcp)
        client.run("SET", "hdd", "0", "seen2", "second")
        screen.see("connected again")
        screen.wait(lambda text: '"value":"second"' in text or "RESYNC" in text, "it goes not on")
        client.run("SET", "hdd", "0", "seen3", "third")
        screen.see('"value":"third"')
        screen.keys("C-c")
        screen.see("\nended\n")
        screen.keys("PING", "Enter")
        screen.see("\nPONG")
        screen.keys("C-d")
        screen.ends(0)


def server_dies(server, folder):
    prompt = Prompt(server, folder)
    with prompt as screen:
        screen.see("> ")
        screen.keys("USE kept", "Enter")
        screen.see(" kept> ")
        screen.keys("SET hdd 0 k 1", "Enter")
        screen.see("\nOK", 2)
        server.kill()
        screen.keys("GET hdd k", "Enter")
        screen.see("no connection to")
        server.start()
        screen.clear()
        screen.keys("GET hdd k", "Enter")
        screen.see("\n1\n")
        server.kill()
        server.start()
        screen.clear()
        screen.keys("GET hdd k", "Enter")
        screen.see("connected again")
        screen.see("\n1\n")
        screen.clear()
        screen.keys("RECEIVE subbed 1 60000", "Enter")
        screen.see("60000")
        screen.keys("C-c")
        screen.see("whether it was carried out is not known")
        screen.keys("C-d")
        screen.ends(0)


def figures(server, folder):
    prompt = Prompt(server, folder, "stats", "--every", "100ms")
    with prompt as screen:
        screen.see("q ends")
        screen.see("connections")
        prompt.client.run("--tcp-port", str(server.tcp), "CREATEQUEUE", "watched", "memory")
        screen.see("watched")
        server.kill()
        screen.see("trying again")
        server.start()
        screen.wait(lambda text: "up 00:00:0" in text and "trying" not in text, "no figures again")
        screen.keys("q")
        screen.ends(0)
        check_absent(screen.text(), "connections")


def hidden_token(server, folder):
    token = sign({"scope": "admin kv:read kv:write"}, SECRET)
    prompt = Prompt(server, folder)
    with prompt as screen:
        screen.see("> ")
        screen.keys("COUNT hdd", "Enter")
        screen.see("AUTH_REQUIRED")
        screen.keys("AUTH", "Enter")
        screen.see("token: ")
        screen.keys(token, "Enter")
        screen.see("\nOK")
        screen.clear()
        screen.keys("COUNT hdd", "Enter")
        screen.wait(lambda text: text.splitlines()[1].strip().isdigit(), "no COUNT behind AUTH")
        check_absent(screen.text("-S", "-100"), token[:20])
        screen.keys("C-d")
        screen.ends(0)
    check(token[:20] not in prompt.history(), "a token is in the history")


def run(runner, server, folder):
    for name, case in (("answers", answers), ("history", history), ("completion", completion),
                       ("subscription", subscription), ("watch", watch),
                       ("server dies", server_dies),
                       ("figures", figures)):
        runner.case("prompt: " + name, lambda case=case: case(server, folder))


def run_with_secret(runner, server, folder):
    runner.case("prompt: hidden token", lambda: hidden_token(server, folder))
