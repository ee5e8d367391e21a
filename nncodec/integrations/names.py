"""What hosts know the codec by. Part of what they write: it stays."""

NAME = "nncodec"
SUFFIX = "nnc"
