"""``python -m medreasoner_monai.integrations.monailabel FOLDER``: write the app's folder for ``start_server``.

The server writes logs and more into that folder, hence one outside the installed package.
"""

from __future__ import annotations

import sys
from functools import partial

from medreasoner_monai.integrations.folders import command, write_app

PACKAGE = "medreasoner_monai.integrations.monailabel"
THEN = """The app is in {folder}. Start it with
  {python} -m monailabel.main start_server --host 127.0.0.1 --port 8000 \\
    --app {folder} --studies STUDIES --conf bundle BUNDLE"""

if __name__ == "__main__":
    raise SystemExit(command(sys.argv[1:], PACKAGE, partial(write_app, PACKAGE), THEN))
