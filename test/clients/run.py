"""Real clients against a running server. Not part of npm test, since it needs Python:

    python3 -m venv .venv && .venv/bin/pip install -r test/clients/requirements.txt
    bin/modelayer serve examples/mnist examples/iris examples/planet --port 8090 &
    .venv/bin/python test/clients/run.py http://localhost:8090
"""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import numpy as np
import requests
import tritonclient.http as triton
from botocore import UNSIGNED
from botocore.config import Config

URL = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://localhost:8090"
HERE = Path(__file__).resolve().parent.parent.parent
IRIS = {"SepalLength": [5.1, 5.9, 6.9], "SepalWidth": [3.3, 3.0, 3.1], "PetalLength": [1.7, 4.2, 5.4], "PetalWidth": [0.5, 1.5, 2.1]}
CLIENTS = []


def client(f):
    CLIENTS.append(f)
    return f


def post(path, body, **more):
    r = requests.post(URL + path, json=body, timeout=30, **more)
    assert r.status_code == 200, (r.status_code, r.text[:300])
    return r.json()


def tensorflow_serving():
    return post("/v1/models/iris:predict", {"inputs": IRIS})["outputs"]


@client
def requests_tensorflow_serving():
    out = tensorflow_serving()
    rows = [dict(zip(IRIS, values)) for values in zip(*IRIS.values())]
    by_row = post("/v1/models/iris:predict", {"instances": rows})["predictions"]
    for name, values in out.items():
        np.testing.assert_array_equal(np.array(values), np.array([r[name] for r in by_row]))
    status = requests.get(URL + "/v1/models/iris", timeout=30).json()
    assert status["model_version_status"][0]["state"] == "AVAILABLE", status
    assert "signature_def" in requests.get(URL + "/v1/models/iris/metadata", timeout=30).json()["metadata"]


@client
def tritonclient_http():
    c = triton.InferenceServerClient(URL.split("//")[1])
    assert c.is_server_live() and c.is_server_ready() and c.is_model_ready("iris")
    meta = c.get_model_metadata("iris")
    reference = tensorflow_serving()
    for binary in (True, False):
        inputs = []
        for spec in meta["inputs"]:
            values = np.array(IRIS[spec["name"]], np.float32).reshape([3] + [abs(d) for d in spec["shape"][1:]])
            i = triton.InferInput(spec["name"], values.shape, spec["datatype"])
            i.set_data_from_numpy(values, binary_data=binary)
            inputs.append(i)
        outputs = [triton.InferRequestedOutput(o["name"], binary_data=binary) for o in meta["outputs"]]
        result = c.infer("iris", inputs, outputs=outputs, request_id="7")
        for o in meta["outputs"]:
            got = result.as_numpy(o["name"])
            want = np.array(reference[o["name"]])
            if got.dtype.kind == "f":
                np.testing.assert_array_equal(got, want.astype(got.dtype))
            else:
                np.testing.assert_array_equal(got.astype(want.dtype) if got.dtype.kind != "O" else np.char.decode(got.astype("S")), want)
    classes = triton.InferRequestedOutput("probabilities", class_count=2)
    assert c.infer("iris", inputs, outputs=[classes]).as_numpy("probabilities").shape == (3, 2)


@client
def curl_multipart():
    out = subprocess.run(
        ["curl", "-s", "-F", f"images=@{HERE}/examples/mnist/digits/7.png", f"{URL}/v1/infers/mnist"], capture_output=True, check=True
    )
    assert json.loads(out.stdout)["predicted_label"] == "7", out.stdout


@client
def requests_multipart():
    with open(HERE / "examples/mnist/digits/3.png", "rb") as f:
        r = requests.post(URL + "/v1/infers/mnist", files={"images": f}, timeout=30)
    assert r.json()["predicted_label"] == "3", r.text


@client
def requests_gzip():
    import gzip

    body = gzip.compress(json.dumps({"inputs": IRIS}).encode())
    r = requests.post(URL + "/v1/models/iris:predict", data=body, headers={"content-encoding": "gzip"}, timeout=30)
    assert r.json()["outputs"] == tensorflow_serving()


@client
def boto3_sagemaker_runtime():
    """The SDK's own request, sent to /invocations: what an endpoint's front passes on to a container."""
    c = boto3.client("sagemaker-runtime", region_name="eu-central-1", endpoint_url=URL, config=Config(signature_version=UNSIGNED))

    def route(request, **_):
        request.url = URL + "/models/iris/invoke"

    c.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", route)
    # the package has hooks, so the endpoint speaks what they speak
    records = [dict(zip(IRIS, values)) for values in zip(*IRIS.values())]
    body = json.dumps({"data": {"req_data": records}})
    answer = json.loads(c.invoke_endpoint(EndpointName="iris", ContentType="application/json", Body=body)["Body"].read())
    assert len(answer["data"]["resp_data"]) == 3, answer


failed = 0
for f in CLIENTS:
    try:
        f()
        print("ok  ", f.__name__)
    except Exception as e:  # each client is judged on its own
        failed += 1
        print("FAIL", f.__name__, repr(e)[:500])
print(f"{len(CLIENTS) - failed} passed, {failed} failed")
sys.exit(1 if failed else 0)
