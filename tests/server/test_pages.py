"""The pages around the work: models, OpenAPI, and documentation that needs no network."""

import re
from urllib.parse import urlsplit

from starlette.testclient import TestClient

from server.schemas import VocodeQuery
from server.wire import MEDIA_TYPES
from vocoder import Vocoder


def test_models_is_openais_list_with_the_spec(client: TestClient, voice: Vocoder) -> None:
    """The list has OpenAI's shape, and tells what a mel must be made with."""
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    (card,) = listed["data"]
    assert (card["id"], card["object"]) == (voice.name, "model")
    assert isinstance(card["created"], int)
    assert card["mel"] == voice.spec.to_dict()
    assert card["sample_rate"] == 22050
    assert (card["licence"], card["sha256"]) == (voice.header.licence, voice.header.weights)


def test_docs_need_no_network(client: TestClient) -> None:
    """Everything the page loads comes from this service and is there; the remote validator is off."""
    page = client.get("/docs").text
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert len(links) == 3
    for link in links:
        assert not urlsplit(link).netloc
        asset = client.get(link)
        assert asset.status_code == 200
        assert len(asset.content) > 500
    assert "http" not in page.replace("http-equiv", "")
    assert '"validatorUrl": null' in page


def test_only_the_files_of_the_page_are_served(client: TestClient) -> None:
    """Nothing else of the package that holds them, and nothing above it."""
    for name in ("__init__.py", "..%2fmain.py", "%2e%2e/main.py", "..%2f"):
        assert client.get(f"/docs/{name}").status_code == 404


def test_openapi_tells_what_is_taken_and_given(client: TestClient) -> None:
    """The schema names the body, the parameters, the audio types and the error envelope."""
    schema = client.get("/openapi.json").json()
    vocode = schema["paths"]["/v1/vocode"]["post"]
    assert set(vocode["requestBody"]["content"]) == set(MEDIA_TYPES)
    names = {each["name"] for each in vocode["parameters"]}
    assert names == set(VocodeQuery.model_fields)
    answers = set(vocode["responses"]["200"]["content"])
    assert {"audio/wav", "audio/flac", "audio/mpeg", "audio/ogg", "audio/aac", "audio/pcm"} < answers
    for status in ("400", "413", "422", "429", "503"):
        content = vocode["responses"][status]["content"]["application/json"]
        assert content["schema"]["$ref"].endswith("ErrorBody")
