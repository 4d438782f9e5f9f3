"""Asks TensorFlow for its own answers to the drawn digits.

    python golden.py

Writes ../golden/*.json, the requests that packaging repeats, and ../expected.json: for every digit the body that the
tutorial's service answers with, and the scores unrounded.
"""

import json
import os
import pathlib

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow.compat.v1 as tf

from digits import row_of

HERE = pathlib.Path(__file__).parent


def scores_of(rows):
    with tf.Session(graph=tf.Graph()) as sess:
        meta = tf.saved_model.loader.load(sess, [tf.saved_model.tag_constants.SERVING], str(HERE.parent / "model"))
        signature = meta.signature_def["predict_images"]
        return sess.run(signature.outputs["scores"].name, {signature.inputs["images"].name: rows})


def answer(scores):
    """The tutorial's _postprocess: three decimals as text, the best five in front."""
    pairs = [[str(label), f"{score:.3f}"] for label, score in enumerate(scores.tolist())]
    best = sorted(pairs, key=lambda pair: pair[1], reverse=True)[:5]
    return {"predicted_label": str(int(np.argmax(scores))), "scores": best}


def shortest(values):
    """Decimals that name exactly one float32."""
    return [float(str(v)) for v in np.asarray(values, np.float32)]


def save(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def golden(names, body):
    files = [{"file": f"../digits/{name}"} for name in names]
    return {
        "request": {"multipart": {"images": files}},
        "expected": {"status": 200, "body": body},
        # one step of the third decimal: a score may lie where rounding turns
        "tolerance": {"rtol": 0, "atol": 0.0011, "numericStrings": True},
    }


def main():
    tf.disable_v2_behavior()
    here = HERE.parent
    files = sorted((here / "digits").glob("*.png"))
    scores = scores_of(np.stack([row_of(file) for file in files]))
    answers = {file.name: answer(row) for file, row in zip(files, scores)}
    save(here / "expected.json", {name: body | {"raw": shortest(row)} for (name, body), row in zip(answers.items(), scores)})
    for name, body in answers.items():
        save(here / "golden" / f"{pathlib.Path(name).stem}.json", golden([name], body))
    pair = ["4.png", "2_rgb.png"]
    save(here / "golden" / "two_files.json", golden(pair, {"predictions": [answers[name] for name in pair]}))


if __name__ == "__main__":
    main()
