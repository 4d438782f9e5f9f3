"""Writes the models that bench/latency.ts compares, and tf2onnx's file of each: python make.py DIR (needs tensorflow and tf2onnx)."""

import os
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import tensorflow as tf
from keras import layers

out = sys.argv[1]
keras.utils.set_random_seed(7)


def satellite_cnn():
    x = inputs = keras.Input((128, 128, 3))
    for _ in range(2):
        x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(8, activation="relu")(x)
    x = layers.Dense(8, activation="relu")(x)
    return keras.Model(inputs, [layers.Dense(4, activation="softmax")(x), layers.Dense(13, activation="sigmoid")(x)])


def text_cnn():
    x = inputs = keras.Input((50,))
    x = layers.Embedding(5000, 64)(x)
    branches = [layers.GlobalMaxPooling1D()(layers.Conv1D(64, k, activation="relu")(x)) for k in (3, 4, 5)]
    x = layers.Concatenate()(branches)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def lstm():
    x = inputs = keras.Input((100, 64))
    x = layers.LSTM(128)(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


for make in (satellite_cnn, text_cnn, lstm):
    folder = os.path.join(out, make.__name__)
    make().export(os.path.join(folder, "saved_model"), verbose=False)
    subprocess.run(
        [sys.executable, "-m", "tf2onnx.convert", "--saved-model", os.path.join(folder, "saved_model"), "--opset", "18"]
        + ["--output", os.path.join(folder, "tf2onnx.onnx")],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    print("made", make.__name__)
