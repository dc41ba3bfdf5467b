"""What becomes of a video once it is done: MEGAMAX_AFTER_DONE.

``moving`` puts a file elsewhere without ever losing, doubling or overwriting one; ``putter`` is
the loop that decides whether the file is still the one that was uploaded, and deletes or moves it.
"""
