"""Measured paths, each beside its limit or a peer in the same run: `manage.py bench NAME`.

report      what a bench returns: one document, rounds and all
registry    which benches there are; a new one is a module here and a line there
venue       the local exchange as a process, started and stopped
exchange    events to four subscribers, and the round trip of an order
"""
