"""Served models: against a real server on this machine, and a scripted one that fails in every way it can."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import chat_models
import pytest

from lab.__main__ import command_line
from lab.adapt.lora import LowRankAdaptation
from lab.adapt.training import Training
from lab.adapt.weights import WeightTraining
from lab.base import BaseModel
from lab.context.closed import ClosedBook
from lab.context.gold import Gold
from lab.exam.prompts import prompt
from lab.model import Model
from lab.pipeline import Pipeline
from lab.records import LabError
from lab.report import load
from lab.served import ServedModel
from lab.student import Student

pytest.importorskip("openai")

OFF = {"chat_template_kwargs": {"enable_thinking": False}}
PROMPTS = [prompt(question, []) for question in ("Who pays the fee?", "第几条？", "What is the fee of the act?")]  # noqa: RUF001


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_models.write(tmp_path_factory.mktemp("served") / "model", "qwen3", penalty=1.0)


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with the model, on a free port of this machine alone."""
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "serve.txt"
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--host", "127.0.0.1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            stdout=out, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        for _ in range(1200):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("chat", [True, False])
def test_a_served_model_says_what_it_says_in_memory(server, folder, chat):
    served = ServedModel(server, str(folder), chat=chat, extra=OFF if chat else None).load("cpu")
    made = served.generate(PROMPTS, 6)
    assert made == BaseModel(str(folder), chat=chat).load("cpu").generate(PROMPTS, 6)


def test_a_served_model_sits_the_exam(server, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", "sk-not-to-be-seen")
    small = (
        "corpus.book.acts=2 corpus.book.sections=1 limit=1 general.closed_book=1 general.reading=1 "
        f"answer_tokens=4 model=openai model.url={server} model.name={folder} model.api_key_env=SECRET_KEY"
    )
    for routes in ("closed_book,rag,gold", "closed_book"):
        monkeypatch.setattr(sys, "argv", ["lab", "-m", f"pipeline={routes}", *small.split()])
        code = command_line()
        assert code == 0, capsys.readouterr().err
    runs = [load(file.parent) for file in (tmp_path / "runs").rglob("manifest.json")]
    assert sorted(run.pipeline for run in runs) == ["closed_book", "closed_book", "gold", "rag"]
    for run in runs:
        assert run.answers["log_probability"].isna().all()
        assert run.answers["error"].isna().all()
        assert run.answers["prompt_tokens"].gt(0).all()
        assert run.texts.empty
        assert not run.costs[run.costs["phase"] == "answering"]["reused"].any()  # asked anew the second time
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"sk-not-to-be-seen" not in file.read_bytes(), file


class Script:
    """What the scripted server does: a list of replies to a prompt, the last one for ever; and what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.names: set[str] = set()
        self.most, self.now, self.lock = 0, 0, threading.Lock()


@pytest.fixture
def script() -> Iterator[tuple[Script, str]]:
    told = Script()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = body["messages"][0]["content"]
            with told.lock:
                told.asked.append(text)
                told.names.add(body["model"])
                told.now += 1
                told.most = max(told.most, told.now)
                replies = told.replies.get(text, ["hello"])
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
            if reply == "hang":
                time.sleep(0.6)
            with told.lock:
                told.now -= 1
            if reply.isdigit():
                self._send(int(reply), {"error": {"message": f"no, {self.headers['authorization']}"}})
            elif reply in ("{", "[]", '{"choices": []}', '{"choices": [{"message": {"content": 3}}]}'):
                self._send(200, reply)
            else:
                message = {"role": "assistant", "content": None if reply == "cut" else reply}
                end = "length" if reply == "cut" else "stop"
                usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
                self._send(
                    200,
                    {"choices": [{"index": 0, "message": message, "finish_reason": end}], "usage": usage},
                )

        def _send(self, status: int, value) -> None:
            data = (value if isinstance(value, str) else json.dumps(value)).encode()
            try:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.send_header("retry-after-ms", "1")
                self.end_headers()
                self.wfile.write(data)
            except BrokenPipeError:
                pass  # whoever asked has gone

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield told, f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("lab.served.FIRST_WAIT", 0.001)


def reach(url: str, **more) -> Model:
    return ServedModel(url, "m", **{"retries": 2, "timeout_seconds": 5.0, **more}).load("cpu")


@pytest.mark.parametrize("fault", ["429", "500", "503", "{", "[]", '{"choices": []}', "hang"])
def test_a_passing_fault_is_asked_again(script, fault):
    told, url = script
    told.replies["q"] = [fault, fault, "45 crowns"]
    (made,) = reach(url, timeout_seconds=0.3).generate(["q"], 5)
    assert (made.text, made.error, made.prompt_tokens, made.answer_tokens) == ("45 crowns", None, 7, 2)
    assert len(told.asked) == 3


@pytest.mark.parametrize(
    ("fault", "named", "times"),
    [
        ("429", "429", 3), ("500", "500", 3), ("400", "400", 1), ("{", "cannot be read", 3),
        ("hang", "within 0.3 s", 3), ('{"choices": [{"message": {"content": 3}}]}', "cannot be read", 3),
    ],
)  # fmt: skip
def test_a_failed_question_is_no_empty_answer(script, fault, named, times):
    told, url = script
    told.replies["bad"] = [fault]
    good, bad = reach(url, timeout_seconds=0.3).generate(["good", "bad"], 5)
    assert (good.text, good.error) == ("hello", None)
    assert bad.text == ""
    assert named in bad.error
    assert told.asked.count("bad") == times


def test_a_failed_question_reaches_the_answers(script, book, small_corpus, workspace, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sk-not-to-be-seen")
    told, url = script
    asked = book.exam()[:3]
    told.replies[prompt(asked[1].question, [])] = ["400"]
    base = ServedModel(url, "m", retries=1, api_key_env="SECRET_KEY")
    student = Pipeline(_none(), ClosedBook()).prepare(base, small_corpus, workspace)
    answers = student.answer(student.read(asked))
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert [answer.text for answer in answers] == ["hello", "", "hello"]
    assert [answer.log_probability for answer in answers] == [None] * 3
    assert "sk-not" not in answers[1].error
    assert isinstance(student, Student)


def _none():
    from lab.adapt.none import NoAdaptation

    return NoAdaptation()


def test_the_number_of_questions_under_way_is_bounded_and_order_is_kept(script):
    told, url = script
    for number in range(9):
        told.replies[str(number)] = ["hang"] if number < 3 else [f"answer {number}"]
    made = reach(url, concurrency=3, retries=0).generate([str(n) for n in range(9)], 5)
    assert [one.text for one in made] == ["hang"] * 3 + [f"answer {n}" for n in range(3, 9)]
    assert told.most == 3


def test_thinking_is_stripped_and_one_that_never_ends_is_an_empty_answer(script):
    told, url = script
    told.replies = {"a": ["<think>\nhm\n</think>\n\n45 crowns"], "b": ["cut"], "c": ["one\ntwo"]}
    made = reach(url).generate(["a", "b", "c"], 5)
    assert [one.text for one in made] == ["45 crowns", "", "one\ntwo"]
    assert not [one for one in made if one.error]


@pytest.mark.parametrize(
    ("status", "named"), [("401", "refuses the key in SECRET"), ("403", "refuses"), ("404", "no such model")]
)
def test_what_no_repeating_can_mend_stops_the_run(script, status, named, monkeypatch):
    monkeypatch.setenv("SECRET", "sk-not-to-be-seen")
    told, url = script
    told.replies["q"] = [status]
    with pytest.raises(LabError, match=named) as error:
        reach(url, api_key_env="SECRET").generate(["q"], 5)
    assert "sk-not" not in str(error.value)


def test_a_server_that_is_gone_is_not_asked_for_ever(script):
    told, url = script
    told.replies = {str(n): ["500"] for n in range(60)}
    with pytest.raises(LabError, match=r"20 questions in a row failed, lastly: .*500"):
        reach(url, retries=0, concurrency=2).generate([str(n) for n in range(60)], 5)
    assert len(told.asked) < 40


def test_a_missing_server_and_a_missing_key_are_named(monkeypatch):
    with pytest.raises(LabError, match="no server answers there"):
        reach("http://127.0.0.1:9/v1")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(LabError, match="NO_SUCH_KEY: no such environment variable"):
        reach("http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": "127.0.0.1:8000"}, "model.url"), ({"url": "https://user:pass@host/v1"}, "model.url"),
        ({"name": ""}, "model.name"), ({"chat": "auto"}, "model.chat"), ({"concurrency": 0}, "concurrency=0"),
        ({"retries": -1}, "retries=-1"), ({"timeout_seconds": 0}, "timeout_seconds=0"),
        ({"api_key_env": "sk-1234"}, "model.api_key_env"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_and_no_key_is_repeated(settings, named):
    with pytest.raises(LabError, match=named) as error:
        ServedModel(**{"url": "http://127.0.0.1:9/v1", "name": "m", **settings})
    assert "pass" not in str(error.value)
    assert "sk-1234" not in str(error.value)


@pytest.mark.parametrize("kind", ["lora", "cpt"])
def test_what_is_served_cannot_be_trained(kind, small_corpus, workspace):
    training = Training(["documents"], 5000, 1e-3, 0.0, None)
    adaptation = LowRankAdaptation(training, rank=4) if kind == "lora" else WeightTraining(training)
    with pytest.raises(LabError, match=r"cannot be trained.*checkpoint.*vllm serve"):
        Pipeline(adaptation, Gold()).prepare(ServedModel("http://127.0.0.1:9/v1", "m"), small_corpus, workspace)


def test_a_merged_checkpoint_is_the_student_itself(folder, small_corpus, workspace, tmp_path):
    training = Training(["practice"], 4000, 5e-3, 0.0, None, device_rows=2, evaluations=1)
    lora = LowRankAdaptation(training, rank=4, checkpoint=str(tmp_path / "merged"))
    adapted = lora.adapt(BaseModel(str(folder)), small_corpus, workspace)
    saved = BaseModel(str(tmp_path / "merged")).load("cpu")
    assert saved.frame == adapted.frame
    assert saved.generate(PROMPTS, 6) == adapted.generate(PROMPTS, 6)
    assert saved.generate(PROMPTS, 6) != BaseModel(str(folder)).load("cpu").generate(PROMPTS, 6)
    with pytest.raises(LabError, match="merged=true"):
        LowRankAdaptation(training, rank=4, merged=False, checkpoint="x")


@pytest.mark.parametrize("name", ["law", "/models/base:law"], ids=["as vLLM names it", "as SGLang names it"])
def test_an_adapter_that_is_served_beside_its_base_sits_the_exam_by_its_name(
    name, script, folder, small_corpus, workspace, tmp_path, monkeypatch, capsys, caplog
):
    training = Training(["practice"], 4000, 5e-3, 0.0, None, device_rows=2, evaluations=1)
    with caplog.at_level("INFO"):
        LowRankAdaptation(training, rank=4).adapt(BaseModel(str(folder)), small_corpus, workspace)
    (path,) = re.findall(r"to be served beside its base: (\S+)", caplog.text)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {file.name for file in Path(path).iterdir()}
    told, url = script
    monkeypatch.chdir(tmp_path)
    small = "corpus.book.acts=2 corpus.book.sections=1 limit=1 general=none"
    words = f"-m pipeline=closed_book,gold model=openai model.url={url} model.name={name} {small}"
    monkeypatch.setattr(sys, "argv", ["lab", *words.split()])
    assert command_line() == 0, capsys.readouterr().err
    assert told.names == {name}
    answers = [load(file.parent).answers for file in (tmp_path / "runs").rglob("manifest.json")]
    assert [set(rows["text"]) for rows in answers] == [{"hello"}, {"hello"}]
