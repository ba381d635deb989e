"""kalshimm: self-hosted market making on Kalshi."""

__version__ = "0.1.0"
