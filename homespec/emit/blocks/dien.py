"""DIEN, and its recurrence.

In training, it is a single operator for torch.compile, which would otherwise unroll both loops. If
you change what it computes, rename it: a process may import files of several versions.
"""

import torch
from torch import nn

from homespec.emit.blocks.events import softmax_of_events


def run_gru(read_BL3H, weight, moves_BL):
    """A GRU on the inputs of its steps -> states [L, B, H], and u, r, n, W_n h of each [L, B, 4H].

    h changes by `moves` * u * (n - h), so it stays the same if `moves` is 0.
    """
    kind, width = weight.dtype, weight.shape[1]
    state_BH = weight.new_zeros(read_BL3H.shape[0], width)
    states, steps = [], []
    with torch.autocast(weight.device.type, enabled=False):
        for t in range(read_BL3H.shape[1]):
            read_B3H, move_B1 = read_BL3H[:, t].to(kind), moves_BL[:, t : t + 1].to(kind)
            kept_B3H = state_BH @ weight.transpose(0, 1)
            gates_B2H = (read_B3H[:, : 2 * width] + kept_B3H[:, : 2 * width]).sigmoid()
            update_BH, reset_BH = gates_B2H.chunk(2, dim=1)
            kept_BH = kept_B3H[:, 2 * width :]
            new_BH = (read_B3H[:, 2 * width :] + reset_BH * kept_BH).tanh()
            state_BH = state_BH + move_B1 * update_BH * (new_BH - state_BH)
            states.append(state_BH)
            steps.append(torch.cat([gates_B2H, new_BH, kept_BH], dim=1))
    return torch.stack(states), torch.stack(steps)


def run_gru__split(read_BL3H, weight, moves_BL):
    """A GRU on the inputs of its steps -> states [L, B, H], and u, r, n, W_n h of each [L, B, 4H].

    h changes by `moves` * u * (n - h), so it stays the same if `moves` is 0. The inputs may be
    those of a single user [1, L, 3H].
    """
    kind, width = weight.dtype, weight.shape[1]
    state_BH = weight.new_zeros(moves_BL.shape[0], width)
    states, steps = [], []
    with torch.autocast(weight.device.type, enabled=False):
        for t in range(read_BL3H.shape[1]):
            read_B3H, move_B1 = read_BL3H[:, t].to(kind), moves_BL[:, t : t + 1].to(kind)
            kept_B3H = state_BH @ weight.transpose(0, 1)
            gates_B2H = (read_B3H[:, : 2 * width] + kept_B3H[:, : 2 * width]).sigmoid()
            update_BH, reset_BH = gates_B2H.chunk(2, dim=1)
            kept_BH = kept_B3H[:, 2 * width :]
            new_BH = (read_B3H[:, 2 * width :] + reset_BH * kept_BH).tanh()
            state_BH = state_BH + move_B1 * update_BH * (new_BH - state_BH)
            states.append(state_BH)
            steps.append(torch.cat([gates_B2H, new_BH, kept_BH], dim=1))
    return torch.stack(states), torch.stack(steps)


def rewind_gru(grad_LBH, states_LBH, steps_LB4H, weight, moves_BL):
    """Gradients of `run_gru` for the inputs [B, L, 3H], the weight and the moves [B, L]."""
    before_LBH = torch.cat([torch.zeros_like(states_LBH[:1]), states_LBH[:-1]])
    grad_BH = torch.zeros_like(states_LBH[0])
    of_reads, of_kept, of_moves = [], [], []
    with torch.autocast(weight.device.type, enabled=False):
        for t in reversed(range(len(states_LBH))):
            update_BH, reset_BH, new_BH, kept_BH = steps_LB4H[t].chunk(4, dim=1)
            move_B1 = moves_BL[:, t : t + 1].to(weight.dtype)
            grad_BH = grad_BH + grad_LBH[t]
            moved_BH = grad_BH * (new_BH - before_LBH[t])
            of_moves.append((moved_BH * update_BH).sum(1))
            of_update_BH = moved_BH * move_B1 * update_BH * (1 - update_BH)
            of_new_BH = grad_BH * move_B1 * update_BH * (1 - new_BH * new_BH)
            of_reset_BH = of_new_BH * kept_BH * reset_BH * (1 - reset_BH)
            of_reads.append(torch.cat([of_update_BH, of_reset_BH, of_new_BH], dim=1))
            of_kept.append(torch.cat([of_update_BH, of_reset_BH, of_new_BH * reset_BH], dim=1))
            grad_BH = grad_BH * (1 - move_B1 * update_BH) + of_kept[-1] @ weight
        of_weight = torch.stack(of_kept[::-1]).flatten(0, 1).mT @ before_LBH.flatten(0, 1)
    return torch.stack(of_reads[::-1], dim=1), of_weight, torch.stack(of_moves[::-1], dim=1)


def like_run_gru(read_BL3H, weight, moves_BL):
    """Empty tensors with the shapes of the results of `run_gru`."""
    rows, length, width = *moves_BL.shape, weight.shape[1]
    return tuple(weight.new_empty(length, rows, n * width) for n in (1, 4))


def like_rewind_gru(grad_LBH, states_LBH, steps_LB4H, weight, moves_BL):
    """Empty tensors with the shapes of the results of `rewind_gru`."""
    reads = weight.new_empty(*moves_BL.shape, len(weight))
    return reads, torch.empty_like(weight), weight.new_empty(moves_BL.shape)


def keep_for_gradient(ctx, inputs, output):
    """Save what the backward pass of `run_gru` needs."""
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*output, *inputs[1:])


def gradient_of_gru(ctx, grad_LBH, _):
    """The backward pass, called as an operator, which torch.compile puts into its graph."""
    return REWIND_GRU(grad_LBH, *ctx.saved_tensors)


def operator(name, function, schema, like, gradient=None):
    """Register a function as an operator, which torch.compile calls without tracing into it.

    Generated files in the same process share the operator.
    """
    short = name.partition("::")[2]
    if not hasattr(torch.ops.homespec, short):
        made = torch.library.custom_op(name, function, mutates_args=(), schema=schema)
        made.register_fake(like)
        if gradient is not None:
            made.register_autograd(gradient, setup_context=keep_for_gradient)
    return getattr(torch.ops.homespec, short)


RUN_GRU = operator(
    "homespec::run_gru_1",
    run_gru,
    "(Tensor read, Tensor weight, Tensor moves) -> (Tensor, Tensor)",
    like_run_gru,
    gradient_of_gru,
)
REWIND_GRU = operator(
    "homespec::rewind_gru_1",
    rewind_gru,
    "(Tensor grad, Tensor states, Tensor steps, Tensor weight, Tensor moves)"
    " -> (Tensor, Tensor, Tensor)",
    like_rewind_gru,
)


class Gru(nn.Module):
    """A GRU: x [B, L, N], moves [B, L] -> its states after each event [B, L, H].

    `moves` scales the update gate: true for existing events, or weights. At 0 the state stays the
    same.
    """

    def __init__(self, inputs, width):
        super().__init__()
        self.inputs = nn.Linear(inputs, 3 * width)  # of the update gate, the reset gate, the state
        self.states = nn.Linear(width, 3 * width, bias=False)

    def forward(self, x_BLN, moves_BL):
        read_BL3H = self.inputs(x_BLN)  # one GEMM for all steps
        moves_BL = moves_BL.to(read_BL3H.dtype)
        states_LBH, _ = RUN_GRU(read_BL3H, self.states.weight, moves_BL)
        return states_LBH.transpose(0, 1)


class Gru__inference(Gru):
    def forward(self, x_BLN, moves_BL):
        read_BL3H = self.inputs(x_BLN)  # one GEMM for all steps
        states_LBH, _ = run_gru(read_BL3H, self.states.weight, moves_BL)
        return states_LBH.transpose(0, 1)


class Dien(nn.Module):
    """DIEN: q [B, Q], x [B, L, E], mask [B, L] -> the last state of the interest [B, H].

    A GRU extracts interests, attention compares them with the candidate, and a second GRU, whose
    update gate is scaled by the attention (AUGRU), lets them evolve. Zeros without events.
    """

    def __init__(self, query, event, width):
        super().__init__()
        self.extractor = Gru(event, width)
        self.evolution = Gru(width, width)
        self.attention = nn.Linear(query, width, bias=False)

    def forward(self, q_BQ, x_BLE, mask_BL):
        interests_BLH = self.extractor(x_BLE, mask_BL)
        scores_BL = (interests_BLH * self.attention(q_BQ).unsqueeze(1)).sum(-1)
        weights_BL = softmax_of_events(scores_BL, mask_BL)
        return self.evolution(interests_BLH, weights_BL)[:, -1]
