"""An OpenAI-compatible endpoint on this machine's loopback that answers by a script, well or
badly.
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Endpoint(ThreadingHTTPServer):
    """`script(question, number)` gives the answer as text, or a function of the handler that does
    something else.

    `number` counts the requests with that question, from 0. It keeps what it was sent, and the most
    requests it had at the same time.
    """

    daemon_threads = False

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.seen = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()
        self.thread.join()

    def handle_error(self, request, client_address):
        """A client that stopped waiting is no fault of the server."""


class Handler(BaseHTTPRequestHandler):
    # A client that opens a connection and says nothing must not keep the tests from ending.
    timeout = 20

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][0]["content"]
        with self.server.lock:
            number = sum(question == earlier["question"] for earlier in self.server.seen)
            self.server.seen.append(
                {
                    "question": question,
                    "body": body,
                    "headers": dict(self.headers),
                    "path": self.path,
                    "time": time.monotonic(),
                }
            )
            self.server.busy += 1
            self.server.most_busy = max(self.server.most_busy, self.server.busy)
        try:
            action = self.server.script(question, number)
        finally:
            # Before the answer is sent: whoever has it may ask again before this thread goes on.
            with self.server.lock:
                self.server.busy -= 1
        say(action)(self) if isinstance(action, str) else action(self)

    def do_GET(self):
        self.server.seen.append({"question": "", "path": self.path})
        say("Rating: [[2]]")(self)

    def log_message(self, *_):
        """Tests are quiet."""


def reply(status, body, headers=()):
    def act(handler):
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def completion(content):
    return json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": content}}]}
    ).encode()


def say(text):
    return reply(200, completion(text))


def status(code, **headers):
    return reply(code, b"{}", {name.replace("_", "-"): value for name, value in headers.items()})


def hang_up_in_the_middle(handler):
    whole = completion("Rating: [[2]]")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(whole)))
    handler.end_headers()
    handler.wfile.write(whole[: len(whole) // 2])


def hang_up_at_once(handler):
    handler.connection.close()


def hang_up_in_a_chunk(handler):
    handler.wfile.write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n"
        + completion("Rating: [[2]]")[:20]
    )


def no_http(handler):
    handler.wfile.write(b"220 mail.example ready\r\n")


def never(handler):
    handler.server.over.wait(20)


def drip(handler):
    """One byte of the body every 20 ms: no single wait is long, all of them are."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def drip_headers(handler):
    """One byte of the headers every 20 ms."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b"x")


def topic(question):
    """What a question asks about; None for the question about fluency."""
    found = re.search(r"^Topic: ([^\s(]+)", question, re.MULTILINE)
    return found[1] if found else None


def text(question):
    """The text that a question is about: what stands between its two markers."""
    mark = re.search(r"^Text, between the lines with ([0-9a-f]{8});", question, re.MULTILINE)[1]
    return question.split(f"\n{mark}\n")[1]


def oracle(question, number=0):
    """The right answer: how often the topic is in the text, and fluency 0 for a text that repeats
    one word.
    """
    words = text(question).split()
    if topic(question):
        return f"I have counted.\nRating: [[{min(2, words.count(topic(question)))}]]"
    return (
        "I have read.\nRating: "
        f"[[{2 if len(set(words)) == len(words) else len(set(words)) - 1 and 1}]]"
    )
