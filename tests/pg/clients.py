# SPDX-License-Identifier: MIT
"""A client that keeps its connection, goes on when it breaks, and knows what it does not know."""
import http.client
import socket

DONE, NOT_APPLIED, UNKNOWN = "done", "not applied", "unknown"


class Reply:
    """outcome: DONE has a status; NOT_APPLIED and UNKNOWN may have one."""

    def __init__(self, outcome, status=None, headers=None, body=b"", why=""):
        self.outcome, self.status, self.body, self.why = outcome, status, body, why
        self.headers = headers or {}


class Http:
    def __init__(self, address, port, patience=15, network=None, member=None):
        self.address, self.port, self.patience = address, port, patience
        self.network, self.member = network, member
        self.connection = None

    def connect(self):
        connection = http.client.HTTPConnection(self.address, self.port, timeout=self.patience)
        if self.network:
            with self.network.inside(self.member):
                connection.connect()
        else:
            connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def ask(self, method, path, body=None, headers=None):
        if self.connection is None:
            try:
                self.connect()
            except OSError as error:
                return Reply(NOT_APPLIED, why=repr(error))
        try:
            self.connection.request(method, path, body, headers or {})
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Reply(UNKNOWN, why=repr(error))
        if answer.will_close:
            self.close()
        return Reply(outcome_of(answer), answer.status, answer.headers, data)


def outcome_of(answer):
    """Of the load balancer's own answers 503 means that no node got the request; its 502 and 504
    say nothing."""
    told = answer.headers.get("Hati-Outcome")
    if answer.status < 500 and answer.status not in (408, 429):
        return DONE
    is_of_a_node = "X-Request-Id" in answer.headers
    if told == "not-applied" or answer.status == 429 or answer.status == 503 and not is_of_a_node:
        return NOT_APPLIED
    return UNKNOWN
