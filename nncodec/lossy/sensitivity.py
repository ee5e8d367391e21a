"""How much a model minds an error in each tensor, measured on text.

An error d in the weights of a trained model raises its loss by about d' H d / 2. The diagonal of
the Fisher information, the mean squared gradient of single windows of text, stands for the Hessian
H (J. Martens, "New insights and perspectives on the natural gradient method", JMLR 21, 2020).
"""

from __future__ import annotations

import torch

from nncodec.errors import QuantizationError
from nncodec.lossy.evaluate import CausalLM

WINDOWS = 64  # of text, at most
FLOOR = 0.01  # of the mean: no tensor is worth less


def importance(model: CausalLM, text: bytes, windows: int = WINDOWS) -> dict[str, float]:
    """By parameter name: what a unit of squared error costs, in nats a window of text.

    Mean over a tensor's elements of the mean squared gradient of a window's summed loss, halved; at
    least ``FLOOR`` of the mean over all elements. Raises QuantizationError for text without tokens
    to predict.
    """
    named = model.parameters()
    squares = dict.fromkeys(named, 0.0)
    count = 0
    for inputs in model.windows(text):
        if inputs.shape[1] < 2 or count == windows:
            break
        model.model.zero_grad()
        torch.autograd.backward(model.loss(inputs))
        count += 1
        for name, parameter in named.items():
            if parameter.grad is not None:
                squares[name] += float(parameter.grad.double().square().sum())
    model.model.zero_grad()
    if not count:
        raise QuantizationError("the text is too short to measure sensitivities: give more")
    elements = sum(parameter.numel() for parameter in named.values())
    floor = FLOOR * sum(squares.values()) / elements
    return {
        name: 0.5 * max(squares[name] / parameter.numel(), floor) / count
        for name, parameter in named.items()
    }
