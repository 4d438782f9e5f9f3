"""Asks TensorFlow for its own answers to the painted tiles, and writes them as golden requests beside them.

    python golden.py [--version 1]
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import tensorflow as tf

from paint import GROUND, SAMPLES, SIDE, WEATHER

HERE = pathlib.Path(__file__).parent


def load(path):
    """As training code does it; customize_service.ts does the same in TypeScript."""
    return keras.utils.img_to_array(keras.utils.load_img(path, target_size=(SIDE, SIDE))) / np.float32(255)


def answer(weather, ground):
    likely = sorted(((label, p) for label, p in zip(GROUND, ground) if p > 0.5), key=lambda pair: -pair[1])
    best = int(np.argmax(weather))
    return {
        "weather": WEATHER[best],
        "weather_probability": float(str(weather[best])),
        "ground": {label: float(str(p)) for label, p in likely},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="1")
    model = HERE.parent / parser.parse_args().version
    loaded = tf.saved_model.load(str(model))
    answers = {}
    for name in SAMPLES:
        out = loaded.signatures["serving_default"](input_image=tf.constant(load(model / "golden" / name)[np.newaxis]))
        answers[name] = answer(out["weather"].numpy()[0], out["ground"].numpy()[0])
    requests = {pathlib.Path(name).stem: [name] for name in SAMPLES} | {"several": list(SAMPLES)}
    for request, names in requests.items():
        painted = [f"{weather} over {', '.join(sorted(ground))}" for weather, ground in map(SAMPLES.get, names)]
        golden = {
            "comment": f"Painted as {'; '.join(painted)}",
            "request": {"multipart": {"input_image": [{"file": name} for name in names]}},
            "expected": {"status": 200, "body": {"tiles": [answers[name] for name in names]}},
            "tolerance": {"rtol": 1e-4, "atol": 1e-5},
        }
        (model / "golden" / f"{request}.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
