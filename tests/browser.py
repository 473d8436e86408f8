"""A headless browser that opens a page, runs a script on it, and gives back what the script found."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

BEFORE = """<script>
window.wrong = [];
window.addEventListener("error", (event) => wrong.push(String(event.message)));
window.addEventListener("securitypolicyviolation", (event) => wrong.push("asked for " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...what) => wrong.push(what.join(" "));
</script>"""
# The browser itself refuses, and reports, whatever the page would load from anywhere.
POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">"""


def visit(tmp_path: Path, page: str, script: str, size: str = "1280,900"):
    """What `script`, the body of a function, returns on the page. Fails on any error of the console and on any request."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    after = f"""<script>
    let found = null;
    try {{ found = (() => {{ {script} }})(); }} catch (error) {{ wrong.push(String(error)); }}
    const told = document.createElement("pre");
    told.id = "told";
    told.textContent = JSON.stringify({{ found, wrong }});
    document.body.append(told);
    </script></body>"""
    file = tmp_path / "visited.html"
    file.write_text(page.replace("<head>", f"<head>{POLICY}{BEFORE}", 1).replace("</body>", after, 1))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}", f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    told = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert told, dom[-2000:]
    answer = json.loads(html.unescape(told[1]))
    assert answer["wrong"] == []
    return answer["found"]
