"""How fast the explorer is in a headless Chromium: seconds until a page is up, and milliseconds for a step, drawing included.

    python benchmarks/explorer.py

naive and flash2 side by side, blocks of 64, d = 64. "open" is from the first byte that is read to the first drawing; "step" the median, "slowest"
the slowest of 200 steps forwards and 200 to anywhere, which begin anew. The size is that of the file.
"""

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import simattn as sa

SCRIPT = """<script>
const drawn = performance.now(), steps = [], leaps = [];
const timed = (list, what) => { const start = performance.now(); what(); document.body.offsetHeight; list.push(performance.now() - start); };
for (let k = 0; k < 200; k++) timed(steps, () => player.move(1));
for (let k = 0; k < 200; k++) timed(leaps, () => player.go(Math.floor((k * 7919) % player.ticks.length)));
const told = document.createElement("pre");
told.id = "told";
told.textContent = JSON.stringify({ drawn, steps, leaps });
document.body.append(told);
</script></body>"""


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("there is no Chromium here: install one")
    print(f"{'N':>6} {'size':>9} {'open':>9} {'step':>9} {'slowest':>9} {'anywhere':>9} {'slowest':>9}")
    for N in (512, 1024):
        rng = np.random.default_rng(0)
        Q, K, V = (rng.standard_normal((N, 64)).astype(np.float16) for _ in range(3))
        machine, trace = sa.machine("a100-40gb"), sa.Tracing(values=True)
        page = sa.explore(*[machine.run(f, Q, K, V, Br=64, Bc=64, trace=trace) for f in (sa.naive, sa.flash2)]).html
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_text(page.replace("</body>", SCRIPT))
            command = [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={folder}",
                "--dump-dom",
                file.as_uri(),
            ]
            dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        told = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
        assert told is not None
        found = json.loads(html.unescape(told[1]))
        steps, leaps = (sorted(found[name]) for name in ("steps", "leaps"))
        print(
            f"{N:>6} {sa.bytes_text(len(page)):>9} {found['drawn'] / 1000:>7.2f} s {steps[100]:>6.1f} ms {steps[-1]:>6.1f} ms "
            f"{leaps[100]:>6.1f} ms {leaps[-1]:>6.1f} ms"
        )


if __name__ == "__main__":
    main()
