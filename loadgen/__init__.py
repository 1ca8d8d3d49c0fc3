"""Load tester for NMSP: simulated wireless LAN controllers and mobility services engines."""

__version__ = "0.1.0"
