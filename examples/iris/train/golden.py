"""Asks TensorFlow for its own answers to a few flowers, and writes them as ../golden/*.json.

    python golden.py

None of the flowers is a row of the data the model was trained on.
"""

import json
import os
import pathlib

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent / "model"
FEATURES = ["SepalLength", "SepalWidth", "PetalLength", "PetalWidth"]
FLOWERS = {
    "setosa": [[5.05, 3.45, 1.45, 0.25]],
    "versicolor": [[5.85, 2.85, 4.25, 1.35]],
    "virginica": [[6.75, 3.15, 5.75, 2.25]],
    "one_of_each": [[4.95, 3.35, 1.55, 0.15], [5.95, 3.05, 4.55, 1.45], [7.05, 2.95, 6.05, 2.05]],
    "whole_numbers": [[5, 3, 1, 0], [6, 3, 5, 2]],
    "no_flower_at_all": [],
}


REFUSED = {
    "feature_missing": {"data": {"req_data": [{"SepalLength": 5, "SepalWidth": 3, "PetalLength": 1}]}},
    "text_for_a_number": {"data": {"req_data": [{name: "5" for name in FEATURES}]}},
}


def answer(probabilities, species):
    scores = sorted(zip(species, probabilities), key=lambda pair: pair[1], reverse=True)
    label, probability = scores[0]
    return {"predicted_label": label, "probability": probability, "scores": [list(pair) for pair in scores]}


def save(name, **golden):
    (HERE.parent / "golden" / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")


def main():
    species = (MODEL / "species.txt").read_text().split()
    loaded = tf.saved_model.load(str(MODEL))
    predict = loaded.signatures["serving_default"]
    (HERE.parent / "golden").mkdir(exist_ok=True)
    for name, rows in FLOWERS.items():
        columns = np.array(rows, np.float32).reshape(-1, len(FEATURES)).T
        out = predict(**{feature: tf.constant(column) for feature, column in zip(FEATURES, columns)})
        exact = [[float(str(v)) for v in row] for row in out["probabilities"].numpy()]
        body = {"data": {"resp_data": [answer(row, species) for row in exact]}}
        save(
            name,
            request={"json": {"data": {"req_data": [dict(zip(FEATURES, row)) for row in rows]}}},
            expected={"status": 200, "body": body},
            tolerance={"rtol": 1e-4, "atol": 1e-5},
        )
    for name, request in REFUSED.items():
        save(name, request={"json": request}, expected={"status": 400})


if __name__ == "__main__":
    main()
