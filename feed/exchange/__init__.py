"""The local exchange: a stand-in for Kalshi that is as strict as Kalshi.

    world        the clockwork: what falls due when, who is there, what is listed
    life         a market from created to settled; pauses: what is halted, and planned windows
    catalog      what is listed: series, events, markets' terms, price structures
    market       one market: its book, trades, quotes, state; candles: the same minute by minute
    happenings   what the core tells the outside: deltas, trades, fills, life-cycle events
    switches     what the documents leave open, to be set either way
    trading/     accounts, order entry, clearing, fees: who owns what, and what an order does
    readmodel    what account reads see when they trail the engine
    incentives/  programs that pay for resting orders: scored each second, credited at their end
    flow/        where the life comes from: seeded crowds, a script, recordings played again or side by side
    faults/      what goes wrong by script, and the log of what did; ledger: all that happened, by which tests judge
    wire/        Kalshi's words: bodies, error forms, order requests
    rest/        REST handlers; stream/  WebSocket sessions and the hub that feeds them
    auth         keys and signatures; keyfiles: the own clients' keys on disk
    access       which key, scope and bucket each request needs; budgets, members: what an account may spend
    control, life_control, control_bodies, server    the outside

All of it above `rest/` is pure: time is passed in, chance comes from seeds (`wire.answers` alone knows aiohttp's
response). Nobody imports this package but its command and tests; it shares only units, grid, matching and the reader
of recordings with the rest, so that it can contradict it.
"""
