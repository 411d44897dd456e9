"""Pictures of the page for the README, light and dark: `python -m tests.page_pictures`.

The page is that of `jaxmnist demo`, with a digit drawn by mouse; it needs Chromium, and MNIST for its ten test images.
"""

import tempfile
from pathlib import Path

from jaxmnist.inference.classifier import load
from jaxmnist.inference.export import export
from jaxmnist.inference.opening import dataset_of
from jaxmnist.pretrained import DEFAULT
from tests.chromium import Chromium
from tests.strokes import DIGITS

TOUR = Path("docs/tour")
WIDTH, HEIGHT = 1280, 1460


def main() -> None:
    classifier = load(DEFAULT)
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder, "profile")) as browser:
        data = dataset_of(classifier.network, classifier.path)
        ((page, *_), _) = export(classifier.network, data, ["html"], Path(folder))
        for name, dark in (("page", False), ("page-dark", True)):
            browser.resize(WIDTH, HEIGHT, dark)
            browser.open(page.file.as_uri())
            box = "(({left, top, width}) => [left, top, width])(drawing.canvas.getBoundingClientRect())"
            left, top, side = browser.run(box)
            for stroke in DIGITS[3]:
                points = [(left + side * x, top + side * y) for x, y in stroke]
                browser.mouse("mousePressed", *points[0])
                for point in points:
                    browser.mouse("mouseMoved", *point)
                browser.mouse("mouseReleased", *points[-1])
            browser.wait("!scheduled")
            browser.run("document.documentElement.style.overflow = 'hidden'")
            browser.screenshot(TOUR / f"{name}.png")


if __name__ == "__main__":
    main()
