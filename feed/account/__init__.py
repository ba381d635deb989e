"""The truth of one account.

view        what is true, folded from channels and polls: pure, with holdings (fills, positions) and suspects
reading     the venue's words into the messages of `kmm:account:{id}`
polls       the one poll for everybody
publisher   the stream
keeper      all of it for one account; feed/desk.py runs the keepers
"""
