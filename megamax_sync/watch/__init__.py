"""Is there a finished video? Events are hints, scans are the truth.

``rules`` says which names are wanted, ``settle`` which files are finished (both pure), ``probe``
asks the kernel what ``settle`` wants to know, ``scanner`` lists folders and ``walker`` does so in
slices, ``observer`` turns watchdog's events into folders to be walked, ``intake`` decides what a
finished file means to the queue, and ``watcher`` is the loop that drives them.
"""
