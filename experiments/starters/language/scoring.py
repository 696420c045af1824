"""What a saved language model says of texts: the probability of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

ROWS = 16


@dataclass(frozen=True)
class _Piece:
    """Tokens that are read at once, and where the judgment of the last of them goes."""

    tokens: np.ndarray
    result: np.ndarray


@torch.inference_mode()
def log_probabilities(model: Any, texts: Sequence[np.ndarray], *, end: int, window: int) -> list[np.ndarray]:
    """The natural logarithm of the probability of each token of a text and of its end, for each text.

    The end token stands before each text. A text longer than the window is read in windows that overlap by half, and
    each token is judged where more of the text stands before it.
    """
    pieces: list[_Piece] = []
    results = [np.zeros(len(text) + 1) for text in texts]
    for text, result in zip(texts, results, strict=True):
        tokens = np.concatenate([[end], text.astype(np.int64), [end]])
        start = counted = 0
        while counted < len(result):
            piece = tokens[start : start + window + 1]
            reached = start + len(piece) - 1
            pieces.append(_Piece(piece, result[counted:reached]))
            counted, start = reached, reached - window // 2
    pieces.sort(key=lambda piece: len(piece.tokens))
    for first in range(0, len(pieces), ROWS):
        batch = pieces[first : first + ROWS]
        rows = torch.full((len(batch), len(batch[-1].tokens)), end)
        for row, piece in zip(rows, batch, strict=True):
            row[: len(piece.tokens)] = torch.from_numpy(piece.tokens)
        rows = rows.to(model.device)
        scores = model(input_ids=rows[:, :-1]).logits.float().log_softmax(dim=-1)
        found = scores.gather(2, rows[:, 1:, None])[:, :, 0].cpu().numpy()
        for values, piece in zip(found, batch, strict=True):
            judged = values[: len(piece.tokens) - 1]
            piece.result[:] = judged[len(judged) - len(piece.result) :]
    return results
