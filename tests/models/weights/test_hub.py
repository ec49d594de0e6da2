"""The hub's protocol against a small server on this machine: what is downloaded, what is left out,
what is refused.
"""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

import pytest
from fake_weights import FILES, sha256

from interp.core import UnavailableError
from interp.models.weights.fetch import locate
from interp.models.weights.hub import HashMismatchError, from_hub

COMMIT = "1" * 40
REPOSITORIES = {
    "nobody/good": {
        **FILES,
        "pytorch_model.bin": b"pickle",
        "modeling_mine.py": b"code",
        "tokenizer.json": b"{}",
    },
    "nobody/spoiled": FILES,
    "nobody/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickle"},
}


class Hub(BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks; a large file carries its sha256, that of the spoiled
    repository is wrong.
    """

    asked: list[str]

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlparse(self.path).path).strip("/")
        self.server.asked.append(path)
        name = next((name for name in REPOSITORIES if name in path), None)
        if name is None:
            self._reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("api/models/"):
            self._reply(
                200,
                json.dumps(self._listing(name) if "/tree/" in path else self._info(name)).encode(),
                {},
            )
        else:
            file = path.split("/", 4)[-1]
            content = REPOSITORIES[name][file]
            tag = (
                self._sha256(name, content)
                if file.endswith("safetensors")
                else hashlib.sha1(content).hexdigest()
            )
            self._reply(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def _sha256(self, name, content):
        return "f" * 64 if name == "nobody/spoiled" else sha256(content)

    def _lfs(self, name, file, content, key):
        return (
            {"lfs": {key: self._sha256(name, content), "size": len(content), "pointerSize": 100}}
            if file.endswith("safetensors")
            else {}
        )

    def _info(self, name):
        files = REPOSITORIES[name].items()
        siblings = [
            {
                "rfilename": file,
                "size": len(c),
                "blobId": "b" * 40,
                **self._lfs(name, file, c, "sha256"),
            }
            for file, c in files
        ]
        return {
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "private": False,
        }

    def _listing(self, name):
        files = REPOSITORIES[name].items()
        return [
            {
                "type": "file",
                "path": file,
                "size": len(c),
                "oid": "b" * 40,
                **self._lfs(name, file, c, "oid"),
            }
            for file, c in files
        ]

    def _reply(self, status, body, headers):
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_XET_CACHE", str(tmp_path / "xet"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_takes_safetensors_and_text_and_is_found_again_without_asking(hub, capfd):
    seen = []
    first = locate("nobody/good", progress=lambda *state: seen.append(state))
    assert {path.name for path in first.folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert first.weight_hash == sha256(FILES["model.safetensors"])
    assert first.how.startswith("the hub: nobody/good")
    assert any(
        stage == "download nobody/good" and unit == "byte" and done > 0
        for stage, done, _, unit in seen
    )
    assert capfd.readouterr() == ("", "")

    asked = len(hub.asked)
    second = locate("nobody/good")
    assert (second.folder, second.weight_hash) == (first.folder, first.weight_hash)
    assert len(hub.asked) == asked


def test_weights_that_are_not_what_the_hub_says_are_removed(hub, tmp_path):
    with pytest.raises(
        HashMismatchError, match=f"has sha256 {sha256(FILES['model.safetensors'])}, expected ffff"
    ):
        from_hub("nobody/spoiled")
    assert not [
        path
        for path in (tmp_path / "hub").rglob("*")
        if path.is_file() and path.stat().st_size == len(FILES["model.safetensors"])
    ]
    with pytest.raises(UnavailableError, match=r"no \.safetensors file"):
        locate("nobody/spoiled", offline=True)


def test_a_repository_of_pickled_weights_is_refused_before_any_file_is_downloaded(hub):
    with pytest.raises(UnavailableError, match=r"no \.safetensors file on the hub \(pickled"):
        from_hub("nobody/pickled")
    assert not [path for path in hub.asked if "resolve" in path]


def test_an_unknown_model_and_offline_mode_are_said_plainly(hub, monkeypatch):
    import huggingface_hub.constants as constants

    with pytest.raises(UnavailableError, match="the hub has no model 'nobody/else'"):
        from_hub("nobody/else")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE"):
        from_hub("nobody/good")
    assert len(hub.asked) == asked
