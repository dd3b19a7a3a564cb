"""A chat room behind Signalbox: an upstream in native mode, with nothing but Python.

Clients call join, say and countdown; see README.md for how to run it.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote
from urllib.request import Request, urlopen

URL = os.environ["SIGNALBOX_URL"]
KEY = os.environ["SIGNALBOX_KEY"]
SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))


class Refusal(Exception):
    """What the client is told; other errors it isn't."""


def signed(headers, body):
    """Is it Signalbox that posts this, now? See standardwebhooks.com."""
    at = headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    text = f"{headers.get('webhook-id', '')}.{at}.".encode() + body
    want = "v1," + base64.b64encode(hmac.new(SECRET, text, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(want, got) for got in headers.get("webhook-signature", "").split(" "))


def rest(method, hub, path, message=None):
    """Calls the hub's REST API."""
    body = None if message is None else json.dumps(message).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urlopen(Request(f"{URL}/api/v1/hubs/{hub}{path}", body, headers, method=method)):
        pass


def group(room):
    return "/groups/" + quote(room, safe="")


def join(call, room):
    if not room:
        raise Refusal("Which room?")
    rest("PUT", call["hub"], f"{group(room)}/connections/{call['connection_id']}")
    rest("POST", call["hub"], group(room), {"target": "notice", "arguments": [f"{call['user_id']} is here"]})


def say(call, room, text):
    rest("POST", call["hub"], group(room), {"target": "message", "arguments": [call["user_id"], text]})
    return datetime.now(timezone.utc).isoformat()  # completes the invocation


def countdown(_, start):
    for n in range(start, -1, -1):
        yield n
        time.sleep(0.1)


METHODS = {"join": join, "say": say, "countdown": countdown}


class Upstream(BaseHTTPRequestHandler):
    def do_OPTIONS(self):
        # Signalbox asks once, when the URL is saved, whether we want its requests.
        self.answer(204, headers={"WebHook-Allowed-Origin": self.headers.get("WebHook-Request-Origin", "")})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not signed(self.headers, body):
            return self.answer(401)
        call = json.loads(body)
        if call["type"] != "invocation":  # connected, disconnected
            return self.answer(204)
        try:
            if call["target"] not in METHODS:
                raise Refusal("Method does not exist.")
            result = METHODS[call["target"]](call, *call["arguments"])
        except Refusal as refusal:
            return self.answer(400, {"detail": str(refusal)}, "application/problem+json")
        if call.get("stream"):
            return self.stream(result)
        self.answer(200, result)

    def stream(self, items):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()  # HTTP/1.0: the stream ends with the connection
        try:
            for item in items:
                self.wfile.write(json.dumps(item).encode() + b"\n")
        except ConnectionError:
            pass  # the client has cancelled or left

    def answer(self, status, value=None, kind="application/json", headers=None):
        body = json.dumps(value).encode() if status != 204 else b""
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "7302"))), Upstream)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
