"""A decoder of `.nnc` archives, written from docs/FORMAT*.md alone: slow, short, to be read.

It MUST stay independent: it imports nothing of nncodec (README.md).
"""
