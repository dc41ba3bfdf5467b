"""Send it, once: claim a job, check its file, send it, verify, and reconcile what stayed unclear.

``worker`` is the loop, ``sending`` one attempt with its journal, ``reconcile`` (pure) finds an
upload whose answer was lost in the account's list.
"""
