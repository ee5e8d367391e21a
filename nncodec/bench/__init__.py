"""``nncodec bench``: bits per byte, speed and memory of nncodec beside everything else.

Read ``run.py`` first. A codec is named by a spec, ``xz:9e`` (``specs.py``); every measurement is
made in processes of its own (``worker.py``), every round trip is compared, and every row goes into
a table (``results.py``) that a later run completes instead of measuring again.
"""
