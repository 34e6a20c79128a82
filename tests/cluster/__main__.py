"""python3 -m tests.cluster up|down|status|…"""

import sys

from tests.cluster import binaries

binaries.build()
