"""The server of the tutorials: Flask, one request, one forward. What `headstart serve` is measured
against.

python -m benchmarks.controls.flask_server RUN PORT
"""

from __future__ import annotations

import io
import sys

import torch
from flask import Flask, jsonify, request
from PIL import Image

import headstart
from headstart.inference.loaded_model import NetworkModel

app = Flask(__name__)
(member,) = headstart.load(sys.argv[1]).members
assert isinstance(member, NetworkModel)
model = member.network.float().eval()
labels = member.spec.labels


@app.route("/predict", methods=["POST"])
def predict():
    if "image" in request.files:
        image = Image.open(io.BytesIO(request.files["image"].read())).convert("RGB")
        inputs = member.preprocessor.collate([member.preprocessor(image)])
    else:
        inputs = member.preprocessor.collate([member.preprocessor(request.get_json()["text"])])
    with torch.no_grad():
        probabilities = model(**inputs).softmax(-1)[0]
    best = int(probabilities.argmax())
    return jsonify(label=labels[best], probability=float(probabilities[best]))


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(sys.argv[2]), threaded=True)
