"""Exact mode: models of the Llama family in integers, whose archives decode on any machine.

``convert`` makes an integer model of a float one; ``reference`` and ``native`` run it, bit for bit
alike; ``coding`` codes tokens with either. docs/exact-llama.md has the arithmetic and the figures.
"""
