"""`localstack/watch` gives the answers of what is in the source, within seconds of a change. Needs cargo-lambda.

The test works on a copy of the tracked files. Cargo keeps what it builds where it keeps everything else, so that only
the function is built.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import local

ROOT = pathlib.Path(__file__).resolve().parents[2]
# How long a build may take on a loaded machine, in seconds.
PATIENCE = 600
# The title of the REST API's document is in this source, and in every answer to GET /openapi.json.
SOURCE = "functions/rest_api/src/api.rs"
TITLE = 'title = "Parley"'


def title(url):
    """The title that the function gives now, or None while it is built."""
    try:
        with urllib.request.urlopen(url + "/openapi.json", timeout=PATIENCE) as answer:
            return json.load(answer)["info"]["title"]
    except (urllib.error.HTTPError, TimeoutError):
        return None


def seconds_until(wanted, url, process, log):
    """Waits for a title. Gives the seconds."""
    began = time.monotonic()
    while (seen := title(url)) != wanted:
        if process.poll() is not None or time.monotonic() - began > PATIENCE:
            raise AssertionError(f"the title is {seen!r} and not {wanted!r}:\n{log.read_text()}")
        time.sleep(0.1)
    return time.monotonic() - began


class Watch(unittest.TestCase):
    def test_a_change_of_a_source_changes_the_answer_without_a_restart(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            copy, log = pathlib.Path(folder) / "parley", pathlib.Path(folder) / "log"
            files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            for file in filter(None, files.stdout.split("\0")):
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, copy / file)
            target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
            command = [copy / "localstack/watch", "--ephemeral", "--port", "0", "--no-site-build"]
            process = stack.enter_context(
                local.program(command, log, cwd=copy, env=os.environ | {"CARGO_TARGET_DIR": target})
            )
            url = self.url(process, log)
            first = seconds_until("Parley", url, process, log)
            # Otherwise cargo would take what it builds of the copy for a build of what is here.
            self.addCleanup(os.utime, ROOT / SOURCE)
            source = copy / SOURCE
            text = source.read_text()
            self.assertIn(TITLE, text)
            source.write_text(text.replace(TITLE, 'title = "Changed"'))
            changed = seconds_until("Changed", url, process, log)
            print(f"built in {first:.1f} s, and answered anew {changed:.1f} s after the change")

    def url(self, process, log):
        """The address in the ready line, which is the only line of JSON."""
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < PATIENCE:
            for line in log.read_text().splitlines():
                if line.startswith('{"ready":true') or line.startswith('{"ready": true'):
                    return json.loads(line)["url"]
            time.sleep(0.1)
        raise AssertionError(f"localstack/watch does not start:\n{log.read_text()}")


if __name__ == "__main__":
    unittest.main()
