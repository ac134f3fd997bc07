"""``python -m sightline.serve``."""

import sys

from sightline.serve.server import main

sys.exit(main())
