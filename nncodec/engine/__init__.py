"""Engines: what turns bytes seen so far into integer counts for the next one, exactly.

``native`` (C++) is what the codec runs; ``reference`` (torch) is its readable twin. They give the
same integers, which the tests hold them to.
"""
