# SPDX-License-Identifier: MIT
"""The process: flags, environment, file, refusals, draining, restart."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from harness import Server, check, connect, same, wait_until


def refused(*flags, env=None, word=None):
    """Starts and expects one clear line and a status that is not 0."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HATI_", "HULY_"))}
    clean.update(env or {})
    done = subprocess.run([Server.binary, "start", *flags], env=clean, capture_output=True,
                          timeout=30)
    text = done.stderr.decode()
    check(done.returncode != 0, "started with %r" % (flags,))
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    same(len(lines), 1, "lines on stderr: %r" % text)
    if word:
        check(word in lines[0], "%r does not say %r" % (lines[0], word))


def bad_settings_end_with_one_clear_line():
    directory = tempfile.mkdtemp(prefix="hati-start-")
    refused("--nosuch", word="--nosuch")
    refused("--tcp-port", "99999", word="tcp-port")
    refused("--tcp-port", word="tcp-port")
    refused("--memory-limit", "lots", word="memory-limit")
    refused("--durability", "sometimes", word="durability")
    refused("stray", word="stray")
    refused(env={"HATI_RPC_PORT": "x"}, word="rpc-port")
    refused(env={"HULY_PAYLOAD_SIZE_LIMIT": "big"}, word="payload-limit")
    refused("--config", directory + "/none", word="none")
    with open(directory + "/conf", "w") as file:
        file.write("# comment\ntcp-port = 0\nnosuch = 1\n")
    refused("--config", directory + "/conf", word="line 3")
    refused("--data-dir", "/proc/hati", word="data-dir")
    for mode in (0o600, 0o755):
        os.chmod(directory + "/conf", mode)
        refused("--data-dir", directory + "/conf", word="Not a directory")
    refused("--jwt-secret-file", directory + "/none", word="jwt-secret-file")
    for name in ("/none", "", "/conf"):
        path = directory + name
        refused("--jwks-file", path, "--data-dir", directory + "/data", word="jwks-file")
        refused("--jwks-url", "https://127.0.0.1:1/keys", "--jwks-ca", path, "--data-dir",
                directory + "/data", word="jwks-ca: cannot use " + path)
        refused("--rpc-tls", "--tls-client-ca", path, "--data-dir", directory + "/data",
                word="tls-client-ca: " + path)
        refused("--rpc-tls", "--tls-cert", path, "--tls-key", path, "--data-dir",
                directory + "/data", word="tls-cert: " + path)
    refused("--otlp-endpoint", "ftp://x", "--data-dir", directory + "/data", word="otlp-endpoint")
    check(not os.path.exists(directory + "/data"), "a refused start made its data directory")
    shutil.rmtree(directory)


def a_port_in_use_is_said():
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = str(taken.getsockname()[1])
    directory = tempfile.mkdtemp(prefix="hati-start-")
    for flag in ("--tcp", "--rpc"):
        refused(flag, flag + "-port", port, flag + "-host", "127.0.0.1", "--data-dir", directory,
                word=port)
    taken.close()
    shutil.rmtree(directory)


def two_processes_do_not_share_a_directory():
    server = Server()
    refused("--data-dir", server.dir + "/data", "--tcp-port", "0", "--rpc-port", "0",
            word="another process")
    server.close()


def flag_over_environment_over_file():
    directory = tempfile.mkdtemp(prefix="hati-start-")
    with open(directory + "/conf", "w") as file:
        file.write("payload-limit = 1k\nlog-level = debug\n")
    for env, flags, limit in (({}, (), 1024), ({"HATI_PAYLOAD_LIMIT": "2k"}, (), 2048),
                              ({"HATI_PAYLOAD_LIMIT": "2k"}, ("--payload-limit", "3kb"), 3072),
                              ({"HULY_PAYLOAD_SIZE_LIMIT": "4kb"}, (), 4096)):
        server = Server("--config", directory + "/conf", *flags, env=env)
        same(server.request("PUT", "/api/a/b", b"x" * limit).status, 204)
        same(server.request("PUT", "/api/a/b", b"x" * (limit + 1)).status, 413, str(limit))
        server.close()
    shutil.rmtree(directory)


def entries_on_disk_survive_and_memory_does_not():
    server = Server()
    line = server.line()
    same(line.ask("SET hdd 0 a kept"), "+OK")
    same(line.ask("SET hdd 100000 t kept too"), "+OK")
    same(line.ask("SET memory 0 a lost"), "+OK")
    line.close()
    for end in (server.stop, server.kill):
        end()
        server.start()
        line = server.line()
        same(line.ask("GET hdd a"), "kept")
        check(0 < int(line.ask("TTL hdd t")) <= 100000, "ttl")
        check(line.ask("GET memory a").startswith("+ERR KEY_NOT_EXIST"), "memory")
        line.close()
    server.close()


def sigterm_drains_and_ends_with_0():
    server = Server("--drain-delay", "60s")  # which the second signal cuts short
    line = server.line()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.request("GET", "/readyz").status == 503, "readyz while draining")
    same(server.request("GET", "/healthz").status, 200)
    same(line.ask("SET hdd 0 late 1"), "+OK", "in-flight work is served")
    server.process.send_signal(signal.SIGTERM)
    same(server.process.wait(20), 0, "status")
    same(line.read_line(), b"", "closed")
    line.close()
    server.start()
    line = server.line()
    same(line.ask("GET hdd late"), "1")
    line.close()
    server.close()


def writes_in_flight_are_answered_when_stopped():
    server = Server()
    acked, busy, stop = [], threading.Semaphore(0), threading.Event()

    def write():
        line = server.line()
        count = 0
        while not stop.is_set():
            try:
                line.send("SET hdd 0 w%d 1\n" % count)
                reply = line.read_line()
            except ConnectionError:
                break
            if reply != b"+OK\n":
                break
            count += 1
            if count == 50:
                busy.release()
        acked.append(count)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        check(busy.acquire(timeout=30), "no writer came to 50 writes")
    same(server.stop(), 0)
    stop.set()
    for thread in threads:
        thread.join()
    server.start()
    line = server.line()
    for i in range(max(acked)):
        same(line.ask("GET hdd w%d" % i), "1")
    line.close()
    server.close()


def the_log_is_one_json_object_a_line():
    import json
    server = Server("--log-level", "debug")
    server.request("PUT", "/api/a/b", "a-value-that-is-private")
    server.stop()
    text = server.log_text()
    for line in text.splitlines():
        entry = json.loads(line)
        check({"time", "level", "message"} <= set(entry), line)
    check("a-value-that-is-private" not in text, "a value in the log")
    server.close()


def thousands_of_idle_connections_cost_kilobytes_each():
    server = Server()

    def resident():
        with open("/proc/%d/statm" % server.process.pid) as statm:
            return int(statm.read().split()[1]) * 4

    before = resident()
    count, limit = (1000, 96) if server.tls_flags else (4000, 16)
    sockets = [connect(("127.0.0.1", server.tcp)) for _ in range(count)]
    for sock in sockets[::400]:
        sock.sendall(b"PING\n")
        same(sock.recv(100), b"+PONG\n")
    each = (resident() - before) / len(sockets)
    check(each < limit, "%.1f KiB a connection" % each)
    for sock in sockets:
        sock.close()
    server.close()


def the_memory_limit_is_an_error_or_evicts():
    value = "v" * 1000
    for flags, fails in ((("--memory-limit", "1m"), True),
                         (("--memory-limit", "1m", "--memory-eviction", "lru"), False)):
        server = Server(*flags)
        line = server.line()
        replies = [line.ask("SET memory 0 k%d %s" % (i, value)) for i in range(1500)]
        failed = [reply for reply in replies if reply != "+OK"]
        check(bool(failed) == fails, "%r: %d failed" % (flags, len(failed)))
        check(all(reply.startswith("+ERR OUT_OF_MEMORY ") for reply in failed), "the code word")
        if fails:
            answer = server.request("PUT", "/api/a/b?type=memory", value)
            same((answer.status, answer.json()["code"]), (507, "OUT_OF_MEMORY"))
            same(server.rpc("Storage.Set", ["memory", "x", value])["error"]["code"], -32006)
            same(line.ask("GET memory k0"), value)
            same(line.ask("SET hdd 0 a 1"), "+OK")
        else:
            same(line.ask("GET memory k1499"), value)
        line.close()
        server.close()


def an_interval_of_durability_serves_and_keeps():
    server = Server("--durability", "interval:50")
    line = server.line()
    for i in range(200):
        same(line.ask("SET hdd 0 i%d 1" % i), "+OK")
    server.kill()
    server.start()
    line = server.line()
    for i in range(200):
        same(line.ask("GET hdd i%d" % i), "1")
    line.close()
    server.close()


def another_number_of_shards_is_rebuilt_at_start():
    server = Server("--hdd-shards", "1")
    for i in range(50):
        server.request("PUT", "/api/shards/k%02d" % i, str(i))
    server.stop()
    server.flags = ["--hdd-shards", "5"]
    server.start()
    same(server.request("GET", "/api/shards").json()["keys"], ["k%02d" % i for i in range(50)])
    same(len(server.request("GET", "/stats").json()["storage"]["hdd"]["shards"]), 5)
    check("rebuild" in server.log_text(), "the log says so")
    server.close()


def the_healthcheck_command_tells():
    server = Server()
    command = [Server.binary, "healthcheck", "--rpc", "--rpc-port", str(server.http),
               *server.tls_flags]
    same(subprocess.run(command).returncode, 0)
    server.stop()
    same(subprocess.run(command, stderr=subprocess.DEVNULL).returncode, 1)
    server.close()


def help_and_version():
    said = subprocess.run([Server.binary, "version"], capture_output=True, check=True).stdout
    check(said.startswith(b"hati "), repr(said))
    said = subprocess.run([Server.binary, "help"], capture_output=True, check=True).stdout.decode()
    for flag in ("--tcp", "--tcp-host", "--tcp-port", "--tcp-tls", "--rpc", "--rpc-host",
                 "--rpc-port", "--data-dir", "--cpu-num"):
        check(flag + " " in said, flag)
    for command in ("client", "export"):
        pages = [subprocess.run([Server.binary, *words], capture_output=True, check=True).stdout
                 for words in (("help", command), (command, "--help"))]
        check(pages[0] and pages[0] == pages[1], "hati %s --help" % command)
    check(subprocess.run([Server.binary, "nosuch"], stderr=subprocess.DEVNULL).returncode != 0,
          "an unknown command")


def listener():
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()
    return door


def as_systemd_starts_it(doors, environment, flags, log=os.devnull):
    """The child's process id: a hati with these sockets from descriptor 3 on."""
    child = os.fork()
    if child:
        return child
    for at, door in enumerate(doors):
        os.dup2(door.fileno(), 100 + at)
    for at in range(len(doors)):
        os.dup2(100 + at, 3 + at, inheritable=True)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT, 0o600), 2)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HATI_", "HULY_"))}
    clean.update(environment, LISTEN_PID=str(os.getpid()))
    os.execve(Server.binary, ["hati", "start", *flags], clean)
    os._exit(127)


def sockets_of_systemd_are_taken_and_it_is_told_how_far_it_is():
    directory = tempfile.mkdtemp(prefix="hati-start-")
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(directory + "/notify")
    told.settimeout(30)
    doors = [listener() for _ in range(3)]
    ports = [door.getsockname()[1] for door in doors]
    child = as_systemd_starts_it(
        doors, {"NOTIFY_SOCKET": directory + "/notify", "LISTEN_FDS": "3",
                "LISTEN_FDNAMES": "rpc:tcp:olivia"},
        ("--tcp", "--rpc", "--olivia", "--tcp-threads", "2", "--data-dir", directory + "/data"))
    try:
        same(told.recv(100), b"READY=1")
        for port, question, answer in (
                (ports[0], b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK"),
                (ports[1], b"PING\n", b"+PONG\n"), (ports[2], b"PING 1\n", b"0:PONG 1\n")):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
                caller.sendall(question)
                same(caller.recv(len(answer), socket.MSG_WAITALL), answer)
        os.kill(child, signal.SIGTERM)
        same(told.recv(100), b"STOPPING=1")
    finally:
        os.kill(child, signal.SIGTERM)
        same(os.waitpid(child, 0)[1], 0, "how it ended")
        for door in doors:
            door.close()
        told.close()
        shutil.rmtree(directory)


def a_socket_of_systemd_that_nobody_takes_is_warned_of():
    directory = tempfile.mkdtemp(prefix="hati-start-")
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(directory + "/notify")
    told.settimeout(30)
    doors = [listener() for _ in range(2)]
    child = as_systemd_starts_it(
        doors, {"NOTIFY_SOCKET": directory + "/notify", "LISTEN_FDS": "2",
                "LISTEN_FDNAMES": "hati-http:rpc"},
        ("--rpc", "--data-dir", directory + "/data"), directory + "/log")
    try:
        same(told.recv(100), b"READY=1")
        with open(directory + "/log", encoding="utf-8") as file:
            warned = [line for line in file if '"warn"' in line]
        check(len(warned) == 1 and "FileDescriptorName=hati-http " in warned[0], repr(warned))
    finally:
        os.kill(child, signal.SIGTERM)
        same(os.waitpid(child, 0)[1], 0, "how it ended")
        for door in doors:
            door.close()
        told.close()
        shutil.rmtree(directory)


CASES = [sockets_of_systemd_are_taken_and_it_is_told_how_far_it_is,
         a_socket_of_systemd_that_nobody_takes_is_warned_of, bad_settings_end_with_one_clear_line, a_port_in_use_is_said,
         two_processes_do_not_share_a_directory, flag_over_environment_over_file,
         entries_on_disk_survive_and_memory_does_not, sigterm_drains_and_ends_with_0,
         writes_in_flight_are_answered_when_stopped, the_log_is_one_json_object_a_line,
         the_memory_limit_is_an_error_or_evicts, an_interval_of_durability_serves_and_keeps,
         another_number_of_shards_is_rebuilt_at_start,
         thousands_of_idle_connections_cost_kilobytes_each, the_healthcheck_command_tells,
         help_and_version]


def run(runner):
    for case in CASES:
        runner.case(case.__name__, case)
