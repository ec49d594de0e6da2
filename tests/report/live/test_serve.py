"""The live report over a real socket: what is answered, in which order, and what is left when it
ends.
"""

import asyncio
import functools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import live_folder
import pytest
import torch
from live_client import ASKED, call, leave_early, port_of, post, refused, steer, threads, until

from interp.core import InputError, UnavailableError
from interp.models import TransformerModel
from interp.report.live.queue import POLL_SECONDS, ModelQueue
from interp.report.live.request import LADDER
from interp.report.live.serve import serve, serving
from interp.steering import steering_kl


@pytest.fixture(scope="module")
def model() -> TransformerModel:
    return live_folder.speaker()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: TransformerModel) -> Path:
    return live_folder.write(tmp_path_factory.mktemp("live") / "report", model)


@pytest.fixture(scope="module")
def url(folder: Path, model: TransformerModel) -> Iterator[str]:
    with serving(folder, model) as address:
        yield address


@pytest.fixture
def slowly(model: TransformerModel, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Every token takes a twentieth of a second more; set once the first is being written."""
    writing, forward = threading.Event(), type(model.module).forward

    @functools.wraps(forward)
    def slow(self: Any, *args: Any, **kwargs: Any) -> Any:
        writing.set()
        time.sleep(0.05)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model.module), "forward", slow)
    return writing


def test_a_planted_direction_makes_the_model_say_its_word(url: str) -> None:
    strong = steer(url, kl=None, alpha=30.0, temperature=0)
    assert set(strong["text"].split()) == {"sea"}
    assert "sea" not in strong["unsteered"].split()
    away = steer(url, kl=None, alpha=30.0, temperature=0, sign=-1)
    assert "sea" not in away["text"].split()
    elsewhere = steer(url, kl=None, alpha=30.0, temperature=0, route="companion")
    assert set(elsewhere["text"].split()) == {"ship"}
    assert (strong["site"], elsewhere["site"]) == (live_folder.SITE, live_folder.ELSEWHERE)


def test_no_strength_changes_nothing(url: str, model: TransformerModel) -> None:
    for nothing in ({"kl": 0.0}, {"kl": None, "alpha": 0.0}):
        for temperature in (0, 1.5):
            answer = steer(url, **nothing, temperature=temperature, top_p=1.0)
            assert answer["text"] == answer["unsteered"]
            assert (answer["alpha"], answer["measured_kl"]) == (0.0, 0.0)
    greedy = model.generate(ASKED["prompt"], max_new_tokens=12)
    assert steer(url, temperature=0)["unsteered"] == greedy


def test_equal_seeds_give_equal_texts_and_others_do_not(url: str) -> None:
    free = {"temperature": 2.0, "top_p": 1.0}
    first, again, other = (steer(url, **free, seed=seed) for seed in (4, 4, 5))
    assert (first["text"], first["unsteered"]) == (again["text"], again["unsteered"])
    assert first["unsteered"] != other["unsteered"]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_ladder_is_what_it_says(url: str, model: TransformerModel, sign: int) -> None:
    reached = 0
    for kl in LADDER[1:]:
        answer = steer(url, kl=kl, sign=sign, max_new_tokens=1)
        vector = sign * answer["alpha"] * torch.eye(live_folder.WIDTH)[0]
        assert float(
            steering_kl(model, live_folder.PROMPTS, live_folder.SITE, vector[None])
        ) == pytest.approx(answer["measured_kl"], rel=1e-3)
        assert answer["reached"] == (abs(answer["measured_kl"] / kl - 1) <= 0.05)
        reached += answer["reached"]
    # The other way the model says "sea" less, which it hardly ever says.
    assert (reached == len(LADDER) - 1) == (sign == 1)


def test_strengths_are_found_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(url, feature="snmf-3")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr("interp.report.live.steering.calibrate", never)
    steer(url, feature="snmf-3", kl=0.25, prompt="a ship")


def test_the_state_says_what_can_be_asked(url: str, model: TransformerModel) -> None:
    state = json.loads(call(url, "GET", "/state")[2])
    assert state["model"] == model.name
    assert state["ladder"] == list(LADDER)
    assert state["routes"] == {"snmf": ["native", "companion"], "sae": ["native"]}
    assert (state["busy"], state["queue"]) == (False, 0)


def test_requests_run_one_by_one_in_order_and_too_many_are_sent_away(
    folder: Path, model: TransformerModel
) -> None:
    go, queue = threading.Event(), ModelQueue(limit=2)
    first = queue.submit(lambda check: go.wait(20))
    answers: dict[str, Any] = {}
    with serving(folder, model, queue=queue) as url:

        def ask(name: str) -> None:
            answers[name] = steer(url, kl=0.0, ticket=name, max_new_tokens=1), time.monotonic()

        asking = []
        for number, name in enumerate(("one", "two")):
            asking.append(threading.Thread(target=ask, args=(name,)))
            asking[-1].start()
            until(lambda count=number + 2: len(queue.names) == count)
        state = json.loads(call(url, "GET", "/state")[2])
        assert (state["busy"], state["queue"], state["tickets"]) == (True, 2, ["", "one", "two"])
        full = post(url, ASKED)
        time.sleep(3 * POLL_SECONDS)
        assert queue.names == ["", "one", "two"], "who waits is not taken for gone"
        assert "2 requests wait" in refused(full, 503)
        assert full[1]["retry-after"] == "5"
        start = time.monotonic()
        go.set()
        for thread in asking:
            thread.join()
        assert time.monotonic() - start < 5, "nobody waits for longer than the model needs"
        assert first.future.result() is True
    assert [answers[name][0]["queued"] for name in ("one", "two")] == [1, 2]
    assert answers["one"][1] <= answers["two"][1]


def test_a_client_that_went_away_leaves_the_queue(folder: Path, model: TransformerModel) -> None:
    go, queue = threading.Event(), ModelQueue()
    queue.submit(lambda check: go.wait(20))
    with serving(folder, model, queue=queue) as url:
        leave_early(url, lambda: "gone" in queue.names, ticket="gone")
        until(lambda: "gone" not in queue.names)
        assert not go.is_set()
        go.set()


def test_nothing_more_is_written_for_a_client_that_went_away(
    folder: Path, model: TransformerModel, slowly: threading.Event
) -> None:
    queue = ModelQueue()
    with serving(folder, model, queue=queue) as url:
        start = time.monotonic()
        leave_early(url, slowly.is_set, kl=0, max_new_tokens=100)
        until(lambda: queue.names == [])
        assert time.monotonic() - start < 4, "the text would have taken five seconds"
        assert not model.busy


def test_at_the_end_no_thread_hook_or_port_is_left_though_a_text_was_being_written(
    folder: Path, model: TransformerModel, slowly: threading.Event
) -> None:
    before = threads()
    answers = []
    with (
        serving(folder, model) as url,
        socket.create_connection(("127.0.0.1", port_of(url))) as idle,
    ):
        asking = threading.Thread(
            target=lambda: answers.append(post(url, {**ASKED, "kl": 0, "max_new_tokens": 100}))
        )
        asking.start()
        assert slowly.wait(10)
        start = time.monotonic()
        assert idle.fileno() >= 0
    assert time.monotonic() - start < 3, "the text would have taken five seconds"
    asking.join()
    assert "server is ending" in refused(answers[0], 503)
    assert threads() == before
    assert not model.busy
    assert all(
        not part._forward_hooks and not part._forward_pre_hooks for part in model.module.modules()
    )
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(url)), timeout=2)
    with serving(folder, model, port_of(url)) as again:
        assert again == url


@pytest.mark.parametrize(
    "sent",
    [
        "POST /steer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        "Content-Length: 9\r\n\r\n",
        40 * "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ],
    ids=["half a request", "40 answers that nobody reads"],
)
def test_a_client_that_stands_still_does_not_hold_up_the_end(
    folder: Path, model: TransformerModel, sent: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = threads()
    with socket.socket() as still, serving(folder, model) as url:
        still.connect(("127.0.0.1", port_of(url)))
        still.sendall(sent.format(host=f"127.0.0.1:{port_of(url)}").encode())
        assert call(url, "GET", "/state")[0] == 200
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert threads() == before
    assert capfd.readouterr() == ("", "")


def test_it_can_be_served_where_an_event_loop_runs(folder: Path, model: TransformerModel) -> None:
    async def notebook() -> int:
        with serving(folder, model) as url:
            return call(url, "GET", "/state")[0]

    assert asyncio.run(notebook()) == 200


def test_what_serves_may_be_missing(
    folder: Path, model: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interp.report.live.serve.find_spec", lambda name: None)
    with (
        pytest.raises(UnavailableError, match=r'pip install "interp\[serve\]"'),
        serving(folder, model),
    ):
        pass


def test_ctrl_c_ends_it_quietly(folder: Path, model: TransformerModel) -> None:
    before, said = threads(), []

    def ready(url: str) -> None:
        said.append(url)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    serve(folder, model, ready=ready)
    until(lambda: threads() == before)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(said[0])), timeout=2)


def test_what_cannot_be_served_is_said_at_once(
    folder: Path, model: TransformerModel, url: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(InputError, match=r"holds no report .* `interp report --out"),
        serving(tmp_path, model),
    ):
        pass
    with pytest.raises(InputError, match=r"expected 0 .* to 65535"), serving(folder, model, 70_000):
        pass
    with (
        pytest.raises(UnavailableError, match=f"port {port_of(url)} of 127.0.0.1 cannot be had"),
        serving(folder, model, port_of(url)),
    ):
        pass
    other = live_folder.write(tmp_path / "other", model)
    data = json.loads((other / "features.json").read_text())
    data["model"]["weight_hash"] = "0" * 64
    (other / "features.json").write_text(json.dumps(data))
    with (
        pytest.raises(
            InputError, match=r"the report is about .* with 000000000000; give the model"
        ),
        serving(other, model),
    ):
        pass
