"""A guest book: POST / writes a name into PostgreSQL and counts in Redis, GET / says what is there."""

import json
import os
import pathlib
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

import pg8000.native
import redis

DATABASE = urlparse(os.environ["DATABASE"])
PASSWORD = pathlib.Path("/run/secrets/db-password").read_text().strip()


def database():
    return pg8000.native.Connection(
        DATABASE.username, host=DATABASE.hostname, database=DATABASE.path[1:], password=PASSWORD, timeout=2
    )


def cache():
    return redis.Redis.from_url(os.environ["CACHE"], socket_timeout=2)


class Guestbook(BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def guarded(self, work):
        try:
            self.answer(200, work())
        except Exception as error:  # Whatever fails behind us: the caller gets an answer.
            self.answer(503, {"error": str(error)})

    def do_GET(self):
        self.guarded(self.health if self.path == "/health" else self.read)

    def do_POST(self):
        self.guarded(self.write)

    def health(self):
        with database() as connection:
            connection.run("SELECT 1 FROM visit LIMIT 1")
        return {"database": True, "cache": cache().ping()}

    def read(self):
        with database() as connection:
            [[visits]] = connection.run("SELECT count(*) FROM visit")
        return {"visits": visits, "counted": int(cache().get("visits") or 0)}

    def write(self):
        name = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode() or "somebody"
        with database() as connection:
            connection.run("INSERT INTO visit (name) VALUES (:name)", name=name)
        cache().incr("visits")
        return self.read()

    def log_message(self, format, *args):
        if self.path != "/health":
            super().log_message(format, *args)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening on 8000")
ThreadingHTTPServer(("", 8000), Guestbook).serve_forever()
