"""Reads the IDX files of the MNIST test set, and prepares an uploaded image the way training saw its digits."""

import gzip
import pathlib

import numpy as np
from PIL import Image

SIDE = 28


def read_idx(path):
    """IDX: two zero bytes, the type (8 = uint8), the rank, big-endian dimensions, the elements."""
    with gzip.open(path) as file:
        raw = file.read()
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder):
    folder = pathlib.Path(folder)
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz").astype(np.float32) / 255
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz").astype(np.int64)
    return images, labels


def row_of(path):
    """The 784 numbers of one image file; customize_service.ts does the same in TypeScript."""
    grey = Image.open(path).convert("L").resize((SIDE, SIDE))
    return np.asarray(grey, np.float32).reshape(SIDE * SIDE) / 255
