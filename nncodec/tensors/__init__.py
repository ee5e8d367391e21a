"""Files of tensors: where each one lies in its container. Nothing here is executed or unpickled."""
