"""Trains the planet classifier, a convolutional network with two outputs, on painted tiles, and exports it with Keras.

    python train.py [--out ..] [--version 1]

The network is that of the tf.keras serving article with fewer and smaller layers, so that it fits an example.
"""

import argparse
import os
import pathlib
import shutil

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
from keras import layers

from paint import GROUND, SIDE, WEATHER, tiles

PARTS = ("saved_model.pb", "variables")
HERE = pathlib.Path(__file__).parent


def build():
    picture = keras.Input((SIDE, SIDE, 3), name="input_image")
    net = picture
    for filters in (12, 24, 32, 48):
        net = layers.Conv2D(filters, 3, padding="same", use_bias=False)(net)
        net = layers.ReLU()(layers.BatchNormalization()(net))
        net = layers.MaxPooling2D(padding="same")(net)
    # a label holds wherever in the tile its mark is, so only the strongest sign of each kind counts
    net = layers.Flatten()(layers.MaxPooling2D(8)(net))
    net = layers.Dropout(0.1)(layers.Dense(96, activation="relu")(net))
    weather = layers.Dense(len(WEATHER), activation="softmax", name="weather")(net)
    ground = layers.Dense(len(GROUND), activation="sigmoid", name="ground")(net)
    return keras.Model(picture, {"weather": weather, "ground": ground})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=HERE.parent, type=pathlib.Path)
    parser.add_argument("--version", default="1")
    parser.add_argument("--tiles", default=4000, type=int)
    parser.add_argument("--epochs", default=14, type=int)
    args = parser.parse_args()

    keras.utils.set_random_seed(11)
    images, weather, ground = tiles(args.tiles, seed=1)
    model = build()
    steps = args.epochs * -(-args.tiles // 32)
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps))
    model.compile(adam, loss={"weather": "categorical_crossentropy", "ground": "binary_crossentropy"})
    model.fit(images / np.float32(255), {"weather": weather, "ground": ground}, batch_size=32, epochs=args.epochs, verbose=2)

    images, weather, ground = tiles(400, seed=2)
    said = model.predict(images / np.float32(255), verbose=0)
    print(f"weather right on {np.mean(said['weather'].argmax(1) == weather.argmax(1)):.3f} of 400 new tiles")
    print(f"ground labels right on {np.mean((said['ground'] > 0.5) == (ground > 0.5)):.3f}")
    export(model, args.out / args.version)


def export(model, out):
    """The saver empties the folder it writes to; the model then joins config.json and customize_service.ts."""
    fresh = out / "export"
    model.export(str(fresh), verbose=False)
    shutil.rmtree(out / "variables", ignore_errors=True)
    for part in PARTS:
        shutil.move(fresh / part, out / part)
    shutil.rmtree(fresh)


if __name__ == "__main__":
    main()
