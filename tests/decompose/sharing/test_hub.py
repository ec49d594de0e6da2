"""Dictionaries to and from a small hub on this machine's loopback: what is uploaded, what comes
back, what is refused.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

import pytest
import torch

from interp.core import InputError, Provenance, Score, UnavailableError
from interp.decompose import RandomDirections, fit_snmf, pull_dictionary, push_dictionary
from interp.decompose.sharing.card import dictionary_card

ROWS = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)).abs()
REPOSITORY = "somebody/sea"
SCORES = {
    "explained variance": Score(0.81, 0.79, 0.83, n=60, seed=4, control=0.1),
    "odd | <b>name</b>": Score(1.0, 0.5, 2.0, n=3, seed=0),
}


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks to make a repository, commit to it and read it. Commits are
    numbered; tensors carry their sha256.
    """

    def log_message(self, *_):
        pass

    def do_POST(self):
        body, path = (
            self.rfile.read(int(self.headers["Content-Length"])),
            unquote(urlparse(self.path).path),
        )
        self.server.sent.append((path, body, dict(self.headers)))
        if self.server.closed:
            self._reply(403, b"{}")
        elif path == "/api/repos/create":
            self._json({"url": f"{self.server.address}/{REPOSITORY}", "name": REPOSITORY})
        elif path == "/api/validate-yaml":
            wrong = b"license: nonsense" in body
            self._json(
                {
                    "errors": [{"message": "license must be one of"}] if wrong else [],
                    "warnings": [],
                },
                400 if wrong else 200,
            )
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            self._json(
                {
                    "files": [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for file in files
                    ]
                }
            )
        else:
            entries = [json.loads(line) for line in body.splitlines()]
            files = {
                entry["value"]["path"]: base64.b64decode(entry["value"]["content"])
                for entry in entries
                if entry["key"] == "file"
            }
            commit = f"{len(self.server.commits) + 1:040x}"
            self.server.commits[commit] = {**self.server.newest(), **files}
            self._json(
                {
                    "commitUrl": f"{self.server.address}/{REPOSITORY}/commit/{commit}",
                    "commitOid": commit,
                }
            )

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlparse(self.path).path)
        found = re.search(r"/(?:revision|tree|resolve)/([^/]+)", path)
        wanted = found[1] if found else "main"
        newest = list(self.server.commits)[-1:]
        commit = newest[0] if wanted == "main" and newest else wanted
        if REPOSITORY not in path or not newest:
            self._reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif commit not in self.server.commits:
            self._reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith("/api/"):
            files = self.server.commits[commit].items()
            if "/tree/" in path:
                self._json(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": "b" * 40}
                        for name, data in files
                    ]
                )
            else:
                siblings = [
                    {
                        "rfilename": name,
                        "size": len(data),
                        "blobId": "b" * 40,
                        **self._lfs(name, data),
                    }
                    for name, data in files
                ]
                self._json(
                    {
                        "id": REPOSITORY,
                        "modelId": REPOSITORY,
                        "sha": commit,
                        "siblings": siblings,
                        "tags": [],
                        "private": True,
                    }
                )
        else:
            data = self.server.commits[commit][path.rsplit("/", 1)[-1]]
            self._reply(
                200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
            )

    def _lfs(self, name, data):
        digest = "f" * 64 if self.server.lying else hashlib.sha256(data).hexdigest()
        return (
            {"lfs": {"sha256": digest, "size": len(data), "pointerSize": 100}}
            if name.endswith(".safetensors")
            else {}
        )

    def _json(self, value, status=200):
        self._reply(status, json.dumps(value).encode())

    def _reply(self, status, body, headers=()):
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **dict(headers),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hub)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.commits, self.sent = {}, []
        self.closed = self.lying = False

    def newest(self):
        return self.commits[max(self.commits)] if self.commits else {}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    for name, value in {
        "HF_HUB_CACHE": "hub",
        "HF_XET_CACHE": "xet",
        "HF_TOKEN_PATH": "token",
    }.items():
        monkeypatch.setattr(constants, name, str(tmp_path / value))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "not-a-real-login")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def snmf():
    return fit_snmf(ROWS, 3, sparsity=0.5, seed=4)


def pushed(hub, dictionary, **options):
    return push_dictionary(
        dictionary, REPOSITORY, endpoint=hub.address, **{"licence": "mit", **options}
    )


def pulled(hub, **options):
    return pull_dictionary(REPOSITORY, endpoint=hub.address, **options)


def test_what_is_pushed_is_what_is_pulled(hub, snmf, capfd):
    made = pushed(hub, snmf, scores=SCORES)
    loaded = pulled(hub, sha256=made.sha256)
    assert type(loaded) is type(snmf)
    assert torch.equal(loaded.encode(ROWS), snmf.encode(ROWS))
    assert loaded.provenance.to_dict() == snmf.provenance.to_dict()
    assert (made.url, made.revision) == (f"{hub.address}/{REPOSITORY}", f"{1:040x}")
    assert set(hub.newest()) == {
        "README.md",
        "dictionary.json",
        "dictionary.safetensors",
        "sha256.json",
    }
    assert capfd.readouterr() == ("", "")


def test_a_revision_keeps_to_one_version(hub, snmf):
    first = pushed(hub, snmf)
    other = fit_snmf(ROWS, 3, sparsity=0.5, seed=5)
    second = pushed(hub, other)
    assert first.revision != second.revision
    assert torch.equal(pulled(hub).directions, other.directions)
    assert torch.equal(pulled(hub, revision=first.revision).directions, snmf.directions)
    assert not torch.equal(snmf.directions, other.directions)


def test_a_new_repository_is_private_and_the_login_is_in_no_file(hub, snmf):
    pushed(hub, snmf)
    path, body, headers = hub.sent[0]
    assert (path, json.loads(body)["visibility"]) == ("/api/repos/create", "private")
    assert (
        "not-a-real-login"
        in headers["authorization" if "authorization" in headers else "Authorization"]
    )
    assert not any(b"not-a-real-login" in data for data in hub.newest().values())


@pytest.mark.parametrize("name", ["dictionary.safetensors", "dictionary.json"])
def test_a_file_that_is_not_the_one_that_was_pushed_is_refused_and_removed(
    hub, snmf, name, tmp_path
):
    pushed(hub, snmf)
    data = hub.newest()[name]
    hub.newest()[name] = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    with pytest.raises(
        UnavailableError, match=rf"{name} has sha256 .* sha256.json says; it was removed"
    ):
        pulled(hub)
    assert not list((tmp_path / "hub").rglob(name))
    hub.newest()[name] = data
    assert torch.equal(pulled(hub).directions, snmf.directions)


def test_the_hub_s_own_hash_and_the_one_asked_for_are_checked_too(hub, snmf):
    pushed(hub, snmf)
    with pytest.raises(UnavailableError, match=f"but {'0' * 64} was requested"):
        pulled(hub, sha256="0" * 64)
    hub.lying = True
    with pytest.raises(UnavailableError, match=f"but {'f' * 64} the hub says"):
        pulled(hub)


def test_what_is_not_there_is_told_in_one_line(hub, snmf):
    with pytest.raises(UnavailableError, match="no such repository"):
        pulled(hub)
    pushed(hub, snmf)
    with pytest.raises(UnavailableError, match="no such revision"):
        pulled(hub, revision="0" * 40)
    del hub.newest()["dictionary.json"]
    with pytest.raises(
        UnavailableError, match=r"lacks dictionary\.json, which push_dictionary writes"
    ):
        pulled(hub)
    with pytest.raises(UnavailableError, match="the hub did not answer"):
        pull_dictionary(REPOSITORY, endpoint="http://127.0.0.1:9")


def test_names_licences_and_rights_are_asked_for(hub, snmf):
    with pytest.raises(InputError, match="licence is empty"):
        pushed(hub, snmf, licence=" ")
    with pytest.raises(InputError, match=r"license must be one of.*give a licence"):
        pushed(hub, snmf, licence="nonsense")
    with pytest.raises(InputError, match="give 'owner/name'"):
        push_dictionary(snmf, "a/b/c", licence="mit", endpoint=hub.address)
    hub.closed = True
    with pytest.raises(UnavailableError, match=r"hf auth login"):
        pushed(hub, snmf)
    assert not hub.commits


def front_matter(card):
    import yaml

    return yaml.safe_load(card.split("---")[1])


def test_the_card_says_where_it_came_from_what_was_measured_and_how_to_load_it(hub, snmf):
    made = pushed(
        hub, snmf, scores=SCORES, summary="Features of the **sea**.", base_model="somebody/model"
    )
    card = hub.newest()["README.md"].decode()
    assert front_matter(card) == {
        "license": "mit",
        "library_name": "interp",
        "base_model": "somebody/model",
        "tags": ["interpretability", "feature-dictionary", "snmf"],
    }
    assert "3 features, each a unit direction of 6 numbers, found by semi-NMF" in card
    assert "Features of the **sea**." in card
    assert "| explained variance | 0.81 | 0.79 to 0.83 (bootstrap 95%) | 60 | 4 | 0.1 |" in card
    assert (
        "| odd &#124; &lt;b&gt;name&lt;/b&gt; | 1 | 0.5 to 2 (bootstrap 95%) | 3 | 0 | none |"
        in card
    )
    assert f"| dictionary.safetensors | {made.sha256} |" in card
    provenance = json.loads(re.search(r"```json\n(.*?)\n```", card, re.DOTALL)[1])
    assert provenance == json.loads(hub.newest()["dictionary.json"])["provenance"]


def test_the_card_s_example_is_python_and_names_what_to_load(snmf):
    card = dictionary_card(snmf, REPOSITORY, licence="mit", scores={}, hashes={})
    example = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    compile(example, "card", "exec")
    assert 'pull_dictionary("somebody/sea")' in example
    assert "None were given: nothing is claimed" in card


def test_what_a_name_holds_is_shown_and_does_nothing():
    mean = "<script>alert(1)</script> [x](http://y) `z` | a\n# b"
    dictionary = RandomDirections(
        torch.eye(2, 4), torch.zeros(4), Provenance("random", model=mean, site=mean)
    )
    card = dictionary_card(
        dictionary,
        "somebody/sea",
        licence="mit",
        scores={mean: SCORES["explained variance"]},
        hashes={},
    )
    before_provenance, _, rest = card.partition("```json")
    tables = before_provenance.partition("## Use")[0]
    assert "<script>" not in tables
    assert "[x]" not in tables
    assert "\n# b" not in card
    assert tables.count("&lt;script&gt;alert&#40;1&#41;") == 3
    assert rest.count("```") == 1, "nothing in the provenance ends its block"
