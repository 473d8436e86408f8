"""Make docs/images/explorer.png, the picture of the explorer in the README. It needs a Chromium.

python scripts/picture.py
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import simattn as sa

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "explorer.png"
STOP = 7  # of the tour: flash2 is done, naive is not
SIZE = "1280,1000"


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("there is no Chromium here: install one")
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((512, 64)).astype(np.float16) for _ in range(3))
    machine, trace = sa.machine("a100-40gb"), sa.Tracing(values=True)
    page = sa.explore(*[machine.run(f, Q, K, V, Br=64, Bc=64, trace=trace) for f in (sa.naive, sa.flash2)]).html
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page.replace("</body>", f"<script>player.visit({STOP})</script></body>"), encoding="utf-8")
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}",
            f"--user-data-dir={folder}", f"--screenshot={PICTURE}", file.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    print(PICTURE)


if __name__ == "__main__":
    main()
