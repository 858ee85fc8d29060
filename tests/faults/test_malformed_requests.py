"""A served tagger is sent what it cannot answer, five hundred times, and goes on."""

import json
from collections import Counter

import mlflow
import numpy as np
import pytest
from malformed import KINDS, SERVER_ERRORS, jets_of
from registered import SERVED, tagger
from servers import post, serve

from jetexp.serving import EFFICIENCIES, Thresholds
from jetexp.tracking import open_parent

REQUESTS = 500
# a good request after so many
EVERY = 25


@pytest.fixture
def server(mlflow_store, tmp_path):
    thresholds = tuple(np.linspace(0.9, 0.1, len(EFFICIENCIES)).tolist())
    served = SERVED.model_copy(update={"thresholds": Thresholds(constituents=thresholds, images=thresholds)})
    with open_parent("e", "r", served=served) as recorder:
        recorder.network(tagger(0), served)
    model = mlflow.artifacts.download_artifacts(
        artifact_uri=recorder.model_uri, dst_path=str(tmp_path / "copy")
    )
    with serve(model, tmp_path) as port:
        yield port


def good_answer(port):
    """What the server answers to a request that is right."""
    table = jets_of(np.random.default_rng(0), 5)
    rows = [list(row) for row in zip(*table.values(), strict=True)]
    status, answer = post(
        port, json.dumps({"dataframe_split": {"columns": list(table), "data": rows}}).encode()
    )
    assert status == 200
    return answer["predictions"]


@pytest.mark.slow
def test_every_malformed_request_gets_a_reason_and_the_server_goes_on(server):
    assert len(KINDS) >= 20
    rng, told = np.random.default_rng(8), Counter()
    expected = good_answer(server)
    assert len(expected) == 5
    for number in range(REQUESTS):
        kind = list(KINDS)[number % len(KINDS)]
        request = KINDS[kind](rng)
        status, answer = post(server, request.body, request.content_type)
        assert 400 <= status < 500, (kind, status, answer)
        assert len(answer) > 30, (kind, answer)
        for sentence in request.sentences:
            assert sentence in answer, (kind, sentence, answer[-2000:])
        told[kind] += 1
        if number % EVERY == 0:
            assert good_answer(server) == expected
    assert good_answer(server) == expected
    assert min(told.values()) >= 10


@pytest.mark.slow
def test_what_mlflow_itself_cannot_read_leaves_the_server_alive(server):
    """If one of these is answered with 4xx one day, the list in docs/serving.md is out of date."""
    expected = good_answer(server)
    for kind, body in SERVER_ERRORS.items():
        assert post(server, body)[0] == 500, kind
        assert good_answer(server) == expected
