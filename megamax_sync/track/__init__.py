"""Ask until it is converted, fetch its links, and keep both in the sidecar.

``tracker`` is the loop, ``statuses`` asks for many files with few calls, ``conversion`` acts upon
what it hears, ``cadence`` (pure) says when to ask again, ``links`` asks for links, ``writer`` keeps
the sidecars in step.
"""
