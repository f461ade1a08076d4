"""A server with one of the faults that holdfast watch is for.

server.py leak|deaf|busy|well FOLDER

leak: each request opens state.db and never closes it, as the web UI of the
      bug report did.
deaf: after /deaf was asked it takes connections and answers none.
busy: after /busy was asked it computes, and answers nothing meanwhile.

It prints its port. With PORT set it listens there.
"""

import http.server
import os
import sqlite3
import sys
import threading
import time

fault, folder = sys.argv[1:3]
kept = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if fault == "leak" and self.path == "/":
            db = sqlite3.connect(os.path.join(folder, "state.db"), check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT)")
            db.execute("INSERT INTO sessions VALUES ('x')")
            db.commit()
            kept.append(db)
        body = b"ok\n"
        self.send_response(500 if self.path == "/error" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/deaf":
            self.wfile.flush()
            self.connection.close()
            time.sleep(3600)
        if self.path == "/busy":
            self.wfile.flush()
            self.connection.close()
            while True:
                sum(range(10000))

    def log_message(self, *args):
        pass


# One thread: a handler that hangs makes the whole server deaf.
server = http.server.HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)
threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)], daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
