"""Faults on demand: what the exchange does wrong when a script says so, and a log of what it really did.

    script    the language: which request or frame, how often, and what goes wrong
    plan      decides which fault meets a request or a frame, and keeps the log of those applied
    rest      carries faults out on REST requests; stream on WebSocket connections
    control   the same on the control port: add, remove, read the log

A test proves by the log that its fault happened; that it happened says nothing of who noticed.
"""
