"""`manage.py bench faults`: the bars of what must hold when something breaks, each beside its floor and its aim.

bars        PURE: which bars there are, what samples come to, and what a document says of them
evidence    PURE: what the exchange's own ledger shows: orders and their lives, requests, and what must never be there
ground      the whole stack on a home, stores and exchange of its own, with live traders
clerk       a process of it that does with the database what a person does
reading     readers as traders are, which note when they trust their books
relay       the gateway's line to the exchange, which can be cut
feeding, dying, answering, killed, adopting, catching, soaking    the measurements
run         all of them in their order
"""
