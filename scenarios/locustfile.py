"""NMSP in Locust: `locust -f scenarios/locustfile.py`, where loadgen[locust] is installed; see docs/distributed.md.

Importing the module makes this process a master with workers of its own; what the users do is in loadgen.distributed.
"""

from loadgen.distributed.master.master import MseUser, WlcUser

__all__ = ["MseUser", "WlcUser"]
