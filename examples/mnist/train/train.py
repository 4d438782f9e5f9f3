"""Trains the digit classifier and writes it as the ModelArts MNIST tutorial does, with the SavedModel builder of TensorFlow 1.

    python train.py --data DIR [--out ../model]

DIR holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. The first 8,000 digits train, the last 2,000 test.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow.compat.v1 as tf

from digits import SIDE, load

TRAIN = 8000
PIXELS = SIDE * SIDE
HIDDEN = 32
HERE = pathlib.Path(__file__).parent


def moved(images, rng):
    """Every digit shifted by up to two pixels, so that a digit drawn off centre is still known."""
    out = np.zeros_like(images)
    for i, (dy, dx) in enumerate(rng.integers(-2, 3, (len(images), 2))):
        out[i] = np.roll(images[i], (dy, dx), (0, 1))
    return out


def build():
    """As in the tutorial, the graph is fed serialized tf.Examples or, at `x:0`, the pixels themselves."""
    serialized = tf.placeholder(tf.string, [None], name="tf_example")
    example = tf.parse_example(serialized, {"x": tf.FixedLenFeature([PIXELS], tf.float32)})
    x = tf.identity(example["x"], name="x")
    target = tf.placeholder(tf.int64, [None], name="target")
    w1 = tf.Variable(tf.random_normal([PIXELS, HIDDEN], stddev=0.05, seed=1), name="w1")
    b1 = tf.Variable(tf.zeros([HIDDEN]), name="b1")
    w2 = tf.Variable(tf.random_normal([HIDDEN, 10], stddev=0.2, seed=2), name="w2")
    b2 = tf.Variable(tf.zeros([10]), name="b2")
    hidden = tf.nn.relu(tf.matmul(x, w1) + b1, name="hidden")
    logits = tf.add(tf.matmul(hidden, w2), b2, name="logits")
    y = tf.nn.softmax(logits, name="y")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits))
    rate = tf.placeholder(tf.float32, [], name="rate")
    step = tf.train.GradientDescentOptimizer(rate).minimize(loss)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(y, 1), target), tf.float32), name="accuracy")
    return x, y, target, rate, step, accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default=HERE.parent / "model", type=pathlib.Path)
    parser.add_argument("--epochs", default=40, type=int)
    args = parser.parse_args()

    tf.disable_v2_behavior()
    images, labels = load(args.data)
    rng = np.random.default_rng(7)
    x, y, target, rate, step, accuracy = build()
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        held_out = {x: images[TRAIN:].reshape(-1, PIXELS), target: labels[TRAIN:]}
        for epoch in range(args.epochs):
            order = rng.permutation(TRAIN)
            batches = moved(images[order], rng).reshape(-1, 50, PIXELS)
            for batch, known in zip(batches, labels[order].reshape(-1, 50)):
                sess.run(step, {x: batch, target: known, rate: 0.2 * 0.95**epoch})
            if epoch % 5 == 4:
                print(f"epoch {epoch + 1}: accuracy on the 2,000 held out {sess.run(accuracy, held_out):.4f}")
        print("metrics for config.json:", json.dumps(metrics(labels[TRAIN:], sess.run(y, held_out).argmax(1))))
        export(sess, x, y, args.out)


def metrics(known, said):
    """Averaged over the ten digits, every digit counting the same."""
    hit = np.array([np.sum((known == d) & (said == d)) for d in range(10)])
    precision = hit / np.array([np.sum(said == d) for d in range(10)])
    recall = hit / np.array([np.sum(known == d) for d in range(10)])
    f1 = 2 * precision * recall / (precision + recall)
    means = {"f1": f1.mean(), "precision": precision.mean(), "recall": recall.mean(), "accuracy": np.mean(known == said)}
    return {name: round(float(value), 4) for name, value in means.items()}


def export(sess, x, y, out):
    """The builder wants a folder of its own; the model then joins config.json and customize_service.ts."""
    fresh = out / "export"
    builder = tf.saved_model.builder.SavedModelBuilder(str(fresh))
    signature = tf.saved_model.signature_def_utils.build_signature_def(
        inputs={"images": tf.saved_model.utils.build_tensor_info(x)},
        outputs={"scores": tf.saved_model.utils.build_tensor_info(y)},
        method_name=tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
    )
    builder.add_meta_graph_and_variables(
        sess,
        [tf.saved_model.tag_constants.SERVING],
        signature_def_map={"predict_images": signature},
        main_op=tf.tables_initializer(),
        strip_default_attrs=True,
    )
    builder.save()
    shutil.rmtree(out / "variables", ignore_errors=True)
    for part in ("saved_model.pb", "variables"):
        shutil.move(fresh / part, out / part)
    shutil.rmtree(fresh)


if __name__ == "__main__":
    main()
