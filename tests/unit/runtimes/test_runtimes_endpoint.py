"""A client against a real server over real sockets, and against one that misbehaves."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.data.version import Split
from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.evaluate.predict import Scorer
from sightline.models.bundle import ModelBundle
from sightline.runtimes.endpoint import MAX_ANSWER_BYTES, Endpoint, Served, require_model
from tests.unit.runtimes.live_server import answer, page, real_server, scripted_server, split_of
from tests.unit.serve.tiny_bundle import CLASSES, write_bundle, write_pictures

RIGHT = (0.8, 0.15, 0.05)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    files = write_pictures(tmp_path_factory.mktemp("golden"), 12)
    return split_of(files, [index % 3 for index in range(12)])


@pytest.fixture(scope="module")
def server(bundle: ModelBundle) -> Iterator[str]:
    with real_server(bundle.artifact.folder) as url:
        yield url


def test_a_live_server_answers_as_the_bundle_does_in_this_process(server, bundle, split):
    live = Endpoint(server).ask(split, CLASSES)
    here = Scorer(bundle, "onnxruntime-fp32", CLASSES).answers(split)
    assert live.answers.sample_ids == here.sample_ids
    assert np.array_equal(live.answers.predicted_N, here.predicted_N)
    assert np.array_equal(live.answers.predicted_N, split.labels_N)
    np.testing.assert_allclose(live.answers.confidence_N, here.confidence_N, atol=1e-5)
    assert (live.answers.num_invalid, live.problems) == (0, ())


def test_a_dataset_with_its_classes_in_another_order_gets_its_own_indices(server, split):
    classes = ("blue", "violet", "red", "green")
    found = Endpoint(server).answers(split, classes)
    assert [classes[index] for index in found.predicted_N] == [CLASSES[label] for label in split.labels_N]


def test_it_reports_the_model_that_it_serves_and_another_one_is_refused(server, bundle):
    served = Endpoint(server).served()
    assert (served.digest, served.variant, served.classes) == (bundle.digest, "onnxruntime-fp32", CLASSES)
    require_model(served, bundle.digest, server)
    with pytest.raises(DataError, match=f"serves model {bundle.digest[:12]}, expected eeee"):
        require_model(served, "e" * 64, server)
    with pytest.raises(DataError, match="a model without a digest"):
        require_model(Served("", "", CLASSES), "e" * 64, server)


def test_a_split_without_images_gets_no_answers(server):
    assert Endpoint(server).answers(split_of([], []), CLASSES).sample_ids == ()


def test_a_wrong_preprocessing_in_the_server_shows_in_the_answers(bundle, split):
    with real_server(bundle.artifact.folder, "--fault", "preprocessing") as url:
        found = Endpoint(url).answers(split, CLASSES)
    red, blue = CLASSES.index("red"), CLASSES.index("blue")
    assert (found.predicted_N[split.labels_N == red] == blue).all()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ((200, b"garbage"), "cannot be read"),
        ((200, b'{"outputs": []}'), "0 probabilities for 3 classes"),
        ((200, b'{"outputs": [{"name": "probabilities", "data": [NaN, 0.5, 0.5]}]}'), "not all between 0 and 1"),
        (answer((0.5, 0.5)), "2 probabilities for 3 classes"),
        (answer((0.5, 0.6, 0.5)), "add up to 1.600"),
        (answer((1.5, -0.4, -0.1)), "not all between 0 and 1"),
        (answer(RIGHT, version="v2"), "version v2 answered, announced is v1"),
        (answer(RIGHT, label="blue"), "label 'blue' is not the most probable class"),
        (answer(RIGHT, label="violet"), "label 'violet' is not the most probable class"),
        ((500, b"{}"), "status 500"),
        ((422, b"{}"), "status 422"),
        ((200, b"x" * (MAX_ANSWER_BYTES + 1)), "larger than"),
    ],
)
def test_what_is_no_answer_is_an_invalid_answer_and_never_skipped(reply, problem, split):
    with scripted_server(lambda number: reply if number % 4 == 3 else answer(RIGHT, label="red")) as url:
        live = Endpoint(url).ask(split, CLASSES)
    assert len(live.answers.sample_ids) == len(split)
    assert live.answers.num_invalid == 3
    assert (live.answers.predicted_N == -1).sum() == 3
    assert (live.answers.predicted_N == 0).sum() == 9
    assert len(live.problems) == 3
    assert all(problem in line for line in live.problems)


def test_a_slow_answer_is_invalid_and_the_deadline_ends_the_rest(split):
    def slow(number: int):
        time.sleep(0.5)
        return answer(RIGHT)

    with scripted_server(slow) as url:
        live = Endpoint(url, timeout_s=0.1, deadline_s=0.15, concurrency=4).ask(split, CLASSES)
    assert live.answers.num_invalid == len(split)
    assert any("no answer within" in line for line in live.problems)
    assert any("not asked within the 0.15 s" in line for line in live.problems)


@pytest.mark.parametrize("first", [None, (503, b"{}"), (429, b"{}")])
def test_a_broken_connection_and_a_busy_server_are_asked_again(first, split):
    with scripted_server(lambda number: first if number == 0 else answer(RIGHT)) as url:
        assert Endpoint(url, concurrency=1).ask(split, CLASSES).answers.num_invalid == 0


def test_a_server_that_stays_busy_is_not_asked_for_ever(split):
    asked = []

    def busy(number: int):
        asked.append(number)
        return 503, b"{}"

    with scripted_server(busy) as url:
        live = Endpoint(url, concurrency=12).ask(split, CLASSES)
    assert live.answers.num_invalid == len(split)
    assert len(asked) <= len(split) + 40


def test_an_internal_error_is_not_asked_again(split):
    asked = []

    def broken(number: int):
        asked.append(number)
        return 500, b"{}"

    with scripted_server(broken) as url:
        Endpoint(url).ask(split, CLASSES)
    assert len(asked) == len(split)


def test_a_refused_connection_is_an_environment_fault_with_a_remedy(split):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EnvironmentFault, match=r"no answer from http://127\.0\.0\.1") as error:
        Endpoint(f"http://127.0.0.1:{port}").answers(split, CLASSES)
    assert "check the address" in error.value.remedy


def test_a_host_that_does_not_exist_is_an_environment_fault(split):
    with pytest.raises(EnvironmentFault, match="no answer from"):
        Endpoint("http://no-such-host.invalid:80", timeout_s=5).answers(split, CLASSES)


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        ((404, b"{}"), UsageError, "serves no model 'sightline'"),
        ((307, b""), UsageError, "redirects"),
        ((500, b"{}"), EnvironmentFault, "status 500"),
        ((503, b"{}"), TemporaryError, "is not ready"),
        ((200, b"<html>"), EnvironmentFault, "is not the page of a model"),
        ((200, b"{}"), DataError, "does not say the names of its classes"),
        (page(classes=("red", "red")), DataError, "does not say the names of its classes"),
        (page(classes=("cat", "dog")), DataError, "knows none of the classes"),
    ],
)
def test_an_endpoint_that_cannot_be_judged_is_explained(reply, kind, text, split):
    with scripted_server(lambda _: answer(RIGHT), pages=lambda _: reply) as url, pytest.raises(kind, match=text):
        Endpoint(url).ask(split, CLASSES)


def test_a_model_that_changes_while_it_is_judged_gives_no_answers(split):
    with (
        scripted_server(lambda _: answer(RIGHT), pages=lambda number: page(digest="d" * 64 if number == 0 else "e" * 64)) as url,
        pytest.raises(TemporaryError, match="changed its model"),
    ):
        Endpoint(url).ask(split, CLASSES)


def test_an_image_that_was_altered_is_not_sent(tmp_path: Path):
    files = write_pictures(tmp_path, 3)
    split = split_of(files, [0, 1, 2])
    files[1].write_bytes(b"other")
    files[2].unlink()
    asked = []
    with scripted_server(lambda number: asked.append(number) or answer(RIGHT)) as url, pytest.raises(DataError) as error:
        Endpoint(url).ask(split, CLASSES)
    assert len(error.value.problems) == 2
    assert "altered since it was ingested" in error.value.problems[0]
    assert len(asked) == 1


@pytest.mark.parametrize("url", ["ftp://host/x", "host:8080", "http://", "http://host:99999", "http://host/?a=b", "file:///etc/passwd", ""])
def test_an_address_that_is_not_http_is_refused(url):
    with pytest.raises(UsageError, match="expected http://host:port"):
        Endpoint(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(SightlineError) as error:
        Endpoint("http://me:secret@host:80")
    assert "secret" not in str(error.value)
