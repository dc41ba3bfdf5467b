"""Ask until it is converted, fetch its links, and keep both in the sidecar.

``tracker`` is the loop, ``statuses`` asks for many files with few calls, ``cadence`` (pure) says
when to ask again, ``writer`` keeps the sidecars in step.
"""
