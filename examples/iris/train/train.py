"""Trains the iris classifier (4-10-10-3, as TensorFlow's get-started estimator had it) and exports it for raw tensors.

    python train.py --data iris.csv [--out ../model]

The CSV has a header and the columns SepalLength, SepalWidth, PetalLength, PetalWidth in centimetres and Species 0, 1, 2.
Every fifth row is kept for the test.
"""

import argparse
import csv
import os
import pathlib
import shutil

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf

FEATURES = ["SepalLength", "SepalWidth", "PetalLength", "PetalWidth"]
UNITS = [10, 10, 3]
HERE = pathlib.Path(__file__).parent


def load(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    features = np.array([[float(row[name]) for name in FEATURES] for row in rows], np.float32)
    return features, np.array([int(row["Species"]) for row in rows])


class Classifier(tf.Module):
    """Takes every feature as a tensor of its own, and scales it as the training rows say."""

    def __init__(self, mean, deviation):
        super().__init__()
        self.mean = tf.Variable(mean, trainable=False, name="mean")
        self.deviation = tf.Variable(deviation, trainable=False, name="deviation")
        self.weights, self.biases = [], []
        for i, (rows, columns) in enumerate(zip([len(FEATURES), *UNITS], UNITS)):
            start = tf.random.stateless_normal([rows, columns], [1, i]) * (2 / rows) ** 0.5
            self.weights.append(tf.Variable(start, name=f"weights_{i}"))
            self.biases.append(tf.Variable(tf.zeros([columns]), name=f"biases_{i}"))

    @tf.function
    def logits(self, features):
        net = (features - self.mean) / self.deviation
        for i, (weights, biases) in enumerate(zip(self.weights, self.biases)):
            net = tf.nn.bias_add(tf.matmul(net, weights), biases)
            if i < len(UNITS) - 1:
                net = tf.nn.relu(net)
        return net

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name) for name in FEATURES])
    def predict(self, *features):
        logits = self.logits(tf.stack(features, axis=1))
        return {
            "class_ids": tf.argmax(logits, axis=1)[:, tf.newaxis],
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
        }


def train(model, features, labels, steps=1500, rate=0.05):
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model.logits(features))
            )
        for variable, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables)):
            variable.assign_sub(rate * gradient)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default=HERE.parent / "model", type=pathlib.Path)
    args = parser.parse_args()

    features, labels = load(args.data)
    test = np.arange(len(labels)) % 5 == 4
    model = Classifier(features[~test].mean(0), features[~test].std(0))
    train(model, features[~test], labels[~test])
    said = model.predict(*features[test].T)["class_ids"].numpy()[:, 0]
    print(f"right on {np.sum(said == labels[test])} of {test.sum()} held out rows")
    export(model, args.out)


def export(model, out):
    """The saver empties the folder it writes to; the model then joins config.json and customize_service.ts."""
    fresh = out / "export"
    tf.saved_model.save(model, str(fresh), signatures={"serving_default": model.predict})
    shutil.rmtree(out / "variables", ignore_errors=True)
    for part in ("saved_model.pb", "variables"):
        shutil.move(fresh / part, out / part)
    shutil.rmtree(fresh)


if __name__ == "__main__":
    main()
