"""The local exchange: a stand-in for Kalshi that is as strict as Kalshi.

    catalog    what is listed: series, events, markets' terms, price structures
    market     one market: its book, trades, quotes, state
    happenings what the core tells the outside: deltas, trades, fills, life-cycle events
    accounts   money, positions, orders and fills of the people who trade here
    entry      order entry: checks, matching, fills, fees
    world      the clockwork: schedule, listing, opening, closing, settling
    beliefs, flow, rolling, programs, scenarios    the seeded life of the scenario
    displayed, replayed                            the recorded life of `--replay`
    wire, private_wire, answers, requests          Kalshi's words: bodies, error forms, order requests
    subscriptions, commands                        WebSocket sessions without a socket
    auth, rest, portfolio, socket, control, server    the outside

All of it above the last line is pure: time is passed in, chance comes from seeds (`answers` alone knows aiohttp's
response). Nobody imports this package but its command and tests; it shares only units, grid, matching and the reader
of recordings with the rest, so that it can contradict it.
"""
