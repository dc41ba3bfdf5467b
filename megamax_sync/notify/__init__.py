"""Telling others: commands, a webhook, messages, each fed from the outbox.

``courier`` is what they share: take what is due, deliver it, and have what failed tried again.
``alarm`` notices problems and their ends.
"""
