"""Paints satellite-like tiles of a rain forest, with the labels they were painted from.

    python paint.py [--out ../1/golden]      # writes the example's few tiles
    paint.tiles(count, seed)              # as many as training wants

Weather: one of four. Ground: any of thirteen. The labels are those of the Planet competition; the pictures are ours,
and only as true to a forest as a small network needs.
"""

import argparse
import json
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 128
WEATHER = ["clear", "cloudy", "haze", "partly_cloudy"]
GROUND = [
    "agriculture", "artisinal_mine", "bare_ground", "blooming", "blow_down", "conventional_mine", "cultivation",
    "habitation", "primary", "road", "selective_logging", "slash_burn", "water",
]  # fmt: skip
HERE = pathlib.Path(__file__).parent


def noise(rng, cells, side=SIDE):
    """Smooth noise in 0..1: a few random values, enlarged."""
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8), "L")
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255


def forest(rng, primary):
    dark, light = ((30, 62, 32), (52, 92, 46)) if primary else ((78, 106, 58), (112, 138, 78))
    mix = (0.6 * noise(rng, 6) + 0.4 * noise(rng, 32))[..., None]
    return Image.fromarray((np.array(dark) * (1 - mix) + np.array(light) * mix).astype(np.uint8), "RGB")


def anywhere(rng, count=1, edge=12):
    return [tuple(float(v) for v in rng.uniform(edge, SIDE - edge, 2)) for _ in range(count)]


def wander(rng, bends):
    """A line across the whole tile, left to right or top to bottom."""
    along = np.linspace(-10, SIDE + 10, bends)
    across = rng.uniform(25, SIDE - 25) + np.cumsum(rng.normal(0, 60 / bends, bends))
    points = list(zip(along, across) if rng.random() < 0.5 else zip(across, along))
    return [(float(x), float(y)) for x, y in points]


def blob(pen, rng, at, radius, colour):
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    far = radius * rng.uniform(0.7, 1.2, len(turn))
    pen.polygon([(at[0] + f * np.cos(t), at[1] + f * np.sin(t)) for f, t in zip(far, turn)], fill=colour)


def dots(pen, rng, count, size, colour, around=None, spread=16):
    for x, y in anywhere(rng, count) if around is None else rng.normal(around, spread, (count, 2)):
        pen.rectangle((x, y, x + size, y + size), fill=colour)


def fields(pen, rng):
    x, y = anywhere(rng, edge=30)[0]
    for i in range(4):
        left, top = x - 28 + 28 * (i % 2), y - 24 + 24 * (i // 2)
        pen.rectangle((left, top, left + 26, top + 22), fill=tuple(int(v) for v in rng.integers((150, 165, 70), (190, 200, 100))))


def plots(pen, rng):
    for x, y in anywhere(rng, 3):
        for row in range(4):
            pen.line((x - 9, y - 6 + 4 * row, x + 9, y - 6 + 4 * row), fill=(140, 112, 62), width=2)


def pit(pen, rng, colour, pond):
    at = anywhere(rng, edge=30)[0]
    blob(pen, rng, at, 22, colour)
    blob(pen, rng, at, 9, pond)


BRUSHES = {
    "agriculture": lambda pen, rng: fields(pen, rng),
    "artisinal_mine": lambda pen, rng: pit(pen, rng, (214, 196, 150), (92, 150, 150)),
    "bare_ground": lambda pen, rng: [blob(pen, rng, at, 15, (176, 138, 104)) for at in anywhere(rng, 2)],
    "blooming": lambda pen, rng: dots(pen, rng, 40, 2, (226, 200, 70)),
    "blow_down": lambda pen, rng: [pen.line((x, y, x + 16, y + 5), fill=(186, 190, 150), width=2) for x, y in anywhere(rng, 9)],
    "conventional_mine": lambda pen, rng: pit(pen, rng, (128, 120, 124), (52, 48, 56)),
    "cultivation": lambda pen, rng: plots(pen, rng),
    "habitation": lambda pen, rng: dots(pen, rng, 26, 4, (206, 206, 214), anywhere(rng, edge=35)[0]),
    "primary": lambda pen, rng: None,
    "road": lambda pen, rng: pen.line(wander(rng, 4), fill=(196, 166, 120), width=3),
    "selective_logging": lambda pen, rng: dots(pen, rng, 22, 3, (120, 82, 52)),
    "slash_burn": lambda pen, rng: [blob(pen, rng, at, 16, (38, 28, 28)) for at in anywhere(rng, 2)],
    "water": lambda pen, rng: pen.line(wander(rng, 9), fill=(36, 58, 92), width=14, joint="curve"),
}


def clouds(rng, cover):
    """Opacity of the clouds, soft at their edges, over about `cover` of the tile."""
    field = 0.7 * noise(rng, 5) + 0.3 * noise(rng, 12)
    return np.clip((field - np.quantile(field, 1 - cover)) * 6, 0, 1)


SKIES = {
    "clear": lambda rng: np.zeros((SIDE, SIDE)),
    "cloudy": lambda rng: 0.75 + 0.25 * noise(rng, 5),
    "haze": lambda rng: 0.45 + 0.15 * noise(rng, 3),
    "partly_cloudy": lambda rng: 0.95 * clouds(rng, rng.uniform(0.2, 0.45)),
}


def paint(rng, weather, ground):
    picture = forest(rng, "primary" in ground)
    pen = ImageDraw.Draw(picture)
    for label in GROUND:
        if label in ground:
            BRUSHES[label](pen, rng)
    below = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    cover = SKIES[weather](rng)[..., None]
    white = 214 + 30 * noise(rng, 8)[..., None]
    return Image.fromarray(np.clip(below * (1 - cover) + white * cover, 0, 255).astype(np.uint8), "RGB")


def tiles(count, seed):
    """(images uint8, weather one-hot, ground 0/1). Nothing of the ground can be seen, or is labelled, under clouds."""
    rng = np.random.default_rng(seed)
    images, weather, ground = [], np.zeros((count, 4), np.float32), np.zeros((count, 13), np.float32)
    for i in range(count):
        sky = WEATHER[i % 4]
        chosen = {label for label in GROUND if rng.random() < (0.7 if label == "primary" else 0.2)}
        images.append(np.asarray(paint(rng, sky, chosen)))
        weather[i, i % 4] = 1
        if sky != "cloudy":
            ground[i] = [label in chosen for label in GROUND]
    return np.stack(images), weather, ground


SAMPLES = {
    "river.jpg": ("clear", {"primary", "water"}),
    "farms.png": ("clear", {"agriculture", "road", "habitation"}),
    "hazy_mine.jpg": ("haze", {"primary", "artisinal_mine"}),
    "clouds.png": ("partly_cloudy", {"primary", "water"}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=HERE.parent / "1" / "golden", type=pathlib.Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2018)
    for name, (weather, ground) in SAMPLES.items():
        picture = paint(rng, weather, ground)
        if name == "clouds.png":
            picture = picture.resize((160, 160), Image.Resampling.BICUBIC).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
        picture.save(out / name, **({"quality": 90} if name.endswith(".jpg") else {"optimize": True}))


if __name__ == "__main__":
    main()
