"""A small HTTP application over Postgres and Redis, run as a program of its own by the live tests.

argv: Postgres URL, Redis URL. Prints its port. It has an N+1, a cached page, a writer, and a page
whose transaction ends after the answer has left.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

database = psycopg.connect(sys.argv[1])
cache = redis.Redis.from_url(sys.argv[2])


def songs(query):
    found = database.execute(
        "SELECT id, artist_id FROM songs ORDER BY id LIMIT %s", (query["size"],)
    ).fetchall()
    statement = "SELECT name FROM artists WHERE id = %s"
    return [(song, database.execute(statement, (artist,)).fetchone()[0]) for song, artist in found]


def artist(query):
    key = f"artist:{query['id']}"
    if (known := cache.get(key)) is not None:
        return json.loads(known)
    found = database.execute("SELECT count(*) FROM songs WHERE artist_id = %s", (query["id"],)).fetchone()[0]
    cache.set(key, json.dumps(found), ex=600)
    return found


def many(query):
    ids = [int(number) for number in query["ids"].split(",")]
    marks = ", ".join(["%s"] * len(ids))
    text = f"SELECT /* page {query['ids']} */ count(*) FROM songs WHERE id IN ({marks})"
    return database.execute(text, ids).fetchone()[0]


def add(query):
    with database.transaction():
        database.execute("INSERT INTO songs (artist_id, title) VALUES (%s, %s)", (1, "new"))
    cache.delete("artist:1")
    return "added"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def respond(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/late":
            self.reply("soon")
            time.sleep(0.005)
            database.execute("UPDATE artists SET name = name WHERE id = 1")
            database.commit()
            return
        self.reply({"/songs": songs, "/artist": artist, "/many": many, "/add": add}[parts.path](query))
        database.commit()

    do_GET = do_POST = respond

    def reply(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
