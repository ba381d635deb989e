"""The people of a simulated market, a file for each kind; `flow.crowd` says who acts when."""
