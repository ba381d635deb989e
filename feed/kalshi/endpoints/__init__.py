"""The venue's endpoints, one class for each topic. `feed.kalshi.rest.Rest` holds them all.

Times in queries are microseconds here and whole seconds there. What the venue does not say stays None.
"""
