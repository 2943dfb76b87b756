"""Screenshots for the README and docs/, taken anew from what lies in reports/: `make pictures`.

Needs Chromium, and a run of the demo.
"""

import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import Browser

# Picture -> page, width of the window, height that is kept.
PICTURES = {"docs/report.png": ("reports/report.html", 896, 1888)}


def main() -> None:
    """Takes all pictures whose page is there."""
    for picture, (page, width, height) in PICTURES.items():
        if not Path(page).is_file():
            print(f"{picture}: there is no {page}")
            continue
        with tempfile.TemporaryDirectory() as folder, Browser() as browser:
            shot = Path(folder) / "shot.png"
            browser.open(Path(page).resolve(), width=width, picture=shot).require_sound()
            image = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")
        image = image.crop((0, 0, image.width, min(height, image.height)))
        image.quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)
        print(f"{picture}: {image.width} x {image.height}")


if __name__ == "__main__":
    main()
