"""Draws the example's digits: white strokes on black, as the tutorial advises for images of one's own.

    python draw_digits.py [--out ../digits]

A digit is a list of strokes; a stroke is a list of points on a 20 x 20 grid, which sits in the middle of 28 x 28 as
MNIST's digits do.. Everything is drawn 16 times too
large and averaged down, which is all the anti-aliasing there is.
"""

import argparse
import json
import math
import pathlib

from PIL import Image, ImageDraw

GRID, SIDE, SCALE = 20, 28, 16
HERE = pathlib.Path(__file__).parent


def oval(cx, cy, rx, ry, start=0, stop=360, steps=24):
    """Points of an arc; 0 degrees is up, and it turns clockwise."""
    turn = [math.radians(start + (stop - start) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.sin(a), cy - ry * math.cos(a)) for a in turn]


DIGITS = {
    "0": [oval(10, 10, 6.5, 9)],
    "1": [[(11.5, 1), (8.5, 19)]],
    "1_upright": [[(10, 1), (10, 19)]],
    "2": [oval(9.5, 6, 5.5, 5, -70, 130) + [(4, 18)], [(4, 18), (16.5, 18)]],
    "3": [oval(9, 5.5, 5, 4.5, -60, 180), oval(9, 14.2, 5.8, 4.6, 0, 245)],
    "4": [[(6, 1), (4.5, 11.5), (15.5, 11.5)], [(13.5, 3), (12.5, 19)]],
    "5": [[(15, 1.5), (6.5, 1.5), (5.5, 8.5)], oval(9, 13, 5.8, 5.5, -38, 235)],
    "6": [[(13, 1), (8.5, 4.5), (5.5, 9), (4.8, 13)], oval(9.8, 13.8, 5, 5, -90, 270)],
    "7": [[(4, 2), (16, 2), (11.5, 9.5), (8.5, 19)]],
    "7_barred": [[(4.5, 2), (15.5, 2), (9, 19)], [(7.5, 10.5), (15, 10.5)]],
    "8": [oval(10, 5.5, 4.6, 4.4), oval(10, 14.4, 5.2, 4.6)],
    "9": [oval(9.2, 6.2, 4.8, 4.8), [(14, 5.5), (13.6, 11), (12, 19)]],
}


def draw(strokes, side=SIDE, width=2.1):
    """Grey levels of one digit, side x side."""
    big = side * SCALE
    unit = big / SIDE
    margin = (SIDE - GRID) / 2
    canvas = Image.new("L", (big, big))
    pen = ImageDraw.Draw(canvas)
    radius = width * unit / 2
    for stroke in strokes:
        points = [((x + margin) * unit, (y + margin) * unit) for x, y in stroke]
        pen.line(points, fill=255, width=round(2 * radius), joint="curve")
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return canvas.resize((side, side), Image.Resampling.BOX)


def transparent(grey):
    """White ink on nothing: convert('L') looks at the colours only, so they are black where nothing is drawn."""
    return Image.merge("RGBA", (grey, grey, grey, grey.point(lambda v: 255 if v else 0)))


VARIANTS = {
    "0_thick": lambda: draw(DIGITS["0"], width=3.2),
    "2_rgb": lambda: draw(DIGITS["2"]).convert("RGB"),
    "3_56x56": lambda: draw(DIGITS["3"], side=56),
    "5_palette": lambda: draw(DIGITS["5"]).convert("P"),
    "7_rgba": lambda: transparent(draw(DIGITS["7"])),
    "8_thin": lambda: draw(DIGITS["8"], width=1.5),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=HERE.parent / "digits", type=pathlib.Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    images = {name: draw(strokes) for name, strokes in DIGITS.items()} | {name: make() for name, make in VARIANTS.items()}
    for name, picture in images.items():
        picture.save(out / f"{name}.png", optimize=True)
    labels = {f"{name}.png": name[0] for name in sorted(images)}
    (out / "labels.json").write_text(json.dumps(labels, indent=2) + "\n")


if __name__ == "__main__":
    main()
