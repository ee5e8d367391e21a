"""Causal language models of others as predictors: tokens to bytes, float models, their archives.

Nothing here is imported by an ordinary compress; torch and transformers only where a model runs.
"""
