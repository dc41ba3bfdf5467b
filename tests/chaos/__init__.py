"""Kill the real program everywhere, start it again, and count what is lost, doubled or mixed up.

Run it with ``make chaos``; see :mod:`chaos.__main__`.
"""
