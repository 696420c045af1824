"""The bookkeeping of a beam search: which hypotheses live, which have ended, which is the best of a row.

Shapes: b batch, n rows that are not done, W width, t tokens so far, V vocabulary.
"""

import torch

from models.seq2seq.base import BOS, EOS, PAD

NEVER = float("-inf")


class Beams:
    """`width` hypotheses for each of `batch` rows; a row leaves when it is done, its answer stays.

    A hypothesis that ends among the `width` best has finished. A row is done with `width` finished ones, or when none
    that continues can still beat the best of them. Sequences compare by log probability over `penalty(tokens)`.
    """

    def __init__(self, batch: int, width: int, max_steps: int, length_penalty: float, device: torch.device) -> None:
        self.width = width
        self.max_steps = max_steps
        self.length_penalty = length_penalty
        self.rows = torch.arange(batch, device=device)
        self.tokens = torch.full((batch, width, 1), BOS, device=device)  # (n, W, t), BOS first
        # All hypotheses begin alike: only one of a row may count, or each would be there `width` times.
        self.scores = torch.full((batch, width), NEVER, device=device)  # (n, W) log probabilities, the best first
        self.scores[:, 0] = 0.0
        self.finished = torch.zeros(batch, dtype=torch.int64, device=device)  # (n,) how many have ended
        self.best = torch.full((batch,), NEVER, device=device)  # (b,) score of the best that has ended, penalized
        self.total = torch.zeros(batch, device=device)  # (b,) its log probability
        self.answer = torch.full((batch, max_steps), PAD, device=device)  # (b, max_steps) its tokens

    def penalty(self, tokens: int) -> float:
        """Wu et al. 2016, "Google's Neural Machine Translation System", eq. 14."""
        return ((5 + tokens) / 6) ** self.length_penalty

    def last(self) -> torch.Tensor:
        """The last token of each hypothesis, (n W,)."""
        return self.tokens[:, :, -1].flatten()

    def extend(self, log_probability: torch.Tensor) -> torch.Tensor:
        """Add the best tokens, from their log probabilities (n W, V).

        Returns where the hypothesis came from that now stands at each place: an index (n W,) into the former places.
        """
        size = log_probability.size(1)
        totals = self.scores.unsqueeze(2) + log_probability.unflatten(0, (-1, self.width))
        # One token of each hypothesis is EOS, so that among twice the width at least `width` continue.
        top, index = totals.flatten(1).topk(2 * self.width)
        parents, said = index // size, index % size
        longer = torch.cat([pick(self.tokens, parents), said.unsqueeze(2)], dim=2)
        ends = said == EOS
        self.record(top.masked_fill(~ends, NEVER)[:, : self.width], longer)
        self.scores, going = top.masked_fill(ends, NEVER).topk(self.width)
        self.tokens = pick(longer, going)
        first = torch.arange(len(self.rows), device=top.device).unsqueeze(1) * self.width
        return (first + parents.gather(1, going)).flatten()

    def record(self, finals: torch.Tensor, sequences: torch.Tensor) -> None:
        """Note who ended: log probabilities (n, W), minus infinity where one did not, of `sequences` (n, >= W, t)."""
        count = sequences.size(2) - 1
        self.finished += finals.isfinite().sum(1)
        value, which = (finals / self.penalty(count)).max(1)
        better = (value > self.best[self.rows]).nonzero().squeeze(1)
        rows, which = self.rows[better], which[better]
        self.best[rows] = value[better]
        self.total[rows] = finals[better, which]
        self.answer[rows, :count] = sequences[better, which, 1:]

    def drop_done(self) -> torch.Tensor | None:
        """Let go of rows that are done; where there were any, returns the places (n W,) that stay."""
        # Log probabilities only fall: the first can at best keep its own, spread over the longest sequence.
        bound = self.scores[:, 0] / self.penalty(self.max_steps)
        done = (self.finished >= self.width) | (self.best[self.rows] >= bound)
        if not done.any():
            return None
        left = (~done).nonzero().squeeze(1)
        self.rows, self.tokens, self.scores = self.rows[left], self.tokens[left], self.scores[left]
        self.finished = self.finished[left]
        return (left.unsqueeze(1) * self.width + torch.arange(self.width, device=left.device)).flatten()

    def close(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers (b, max_steps) and their log probabilities (b,); where nothing ended, the best that still lives."""
        silent = (self.best[self.rows] == NEVER).nonzero().squeeze(1)
        self.answer[self.rows[silent], : self.tokens.size(2) - 1] = self.tokens[silent, 0, 1:]
        self.total[self.rows[silent]] = self.scores[silent, 0]
        return self.answer, self.total


def pick(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Hypotheses (n, k, t) of `tokens` (n, m, t) that `index` (n, k) names."""
    return tokens.gather(1, index.unsqueeze(2).expand(-1, -1, tokens.size(2)))
