"""Exact mode: models of the Llama family in integers, whose archives decode on any machine.

``convert`` makes an integer model of a float one; ``reference`` and ``native`` run it, bit for bit
alike; ``coding`` codes tokens with either. docs/FORMAT-tokens.md has
the arithmetic, docs/exact-llama.md the reasons and figures.
"""
