"""Feature gates as a Triton kernel, whose backward pass recomputes their mixture.

If you change what an operator computes, rename it: a process may import files of several versions.
Files for inference have their own operator, which has no gradient.
"""

import os

import torch

from homespec.emit.blocks.gates import FeatureGates, FeatureGatesOfLogits, SingleFeatureGates

try:
    import triton
    import triton.language as tl
except ImportError:  # it comes with torch for CUDA; without it, plain PyTorch is used
    triton = None

jit = triton.jit if triton else lambda kernel: kernel
constexpr = tl.constexpr if triton else None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # on a CPU, for tests
EXACT = (torch.float32, torch.bfloat16, torch.float16)  # inputs of kernels, which use float32


@jit
def lora_gate(
    low_ptr, up_ptr, n, b, width_left, width, batch, low_row,
    lora: constexpr, RANK: constexpr, PADDED: constexpr, PRECISION: constexpr,
):  # fmt: skip
    """2 sigmoid(up low) of one LoRA, for a tile with rows n and columns b.

    Rows are counted from the start of the tile, so that offsets of pointers fit in 32 bits.
    """
    r = tl.arange(0, PADDED)
    up_at = up_ptr + (lora * width + n)[:, None] * RANK + r[None, :]
    low_at = low_ptr + (lora * RANK + r)[:, None] * low_row + b[None, :]
    up = tl.load(up_at, (n < width_left)[:, None] & (r < RANK)[None, :], 0.0)
    low = tl.load(low_at, (r < RANK)[:, None] & (b < batch)[None, :], 0.0)
    return 2.0 * tl.sigmoid(tl.dot(up, low, input_precision=PRECISION))


@jit
def gate_tile(
    x_ptr, low_ptr, p_ptr, up_ptr, out_ptr,
    batch, width, sets, shared, x_set, low_set, low_row, p_set, p_row,
    LORAS: constexpr, RANK: constexpr, PADDED: constexpr, PRECISION: constexpr,
    BLOCK_N: constexpr, BLOCK_B: constexpr,
):  # fmt: skip
    """out = x * sum of p 2 sigmoid(up low), a tile of one set; sets sharing x are consecutive."""
    s, first = (tl.program_id(0) % sets).to(tl.int64), tl.program_id(1) * BLOCK_N
    b, n = tl.program_id(0) // sets * BLOCK_B + tl.arange(0, BLOCK_B), tl.arange(0, BLOCK_N)
    width_left, skipped = width - first, first.to(tl.int64)
    inside = (n < width_left)[:, None] & (b < batch)[None, :]
    at = n[:, None] * batch + b[None, :]
    own_low, own_p = low_ptr + s * low_set, p_ptr + s * p_set
    own_up = up_ptr + (s * LORAS * width + skipped) * RANK
    gate = tl.zeros((BLOCK_N, BLOCK_B), tl.float32)
    for lora in tl.static_range(LORAS):
        p = tl.load(own_p + lora * p_row + b, b < batch, 0.0).to(tl.float32)
        gate += p[None, :] * lora_gate(
            own_low, own_up, n, b, width_left, width, batch, low_row, lora, RANK, PADDED, PRECISION
        )
    x_at = x_ptr + s // shared * x_set + skipped * batch + at
    out = tl.load(x_at, inside, 0.0).to(tl.float32) * gate
    out_at = out_ptr + (s * width + skipped) * batch + at
    tl.store(out_at, out.to(out_ptr.dtype.element_ty), inside)


@jit
def rewind_rows(
    grad_ptr, x_ptr, low_ptr, p_ptr, up_ptr, of_x_ptr, of_low_ptr, of_p_ptr,
    batch, width, sets, shared, x_set, low_set, low_row, p_set, p_row,
    LORAS: constexpr, RANK: constexpr, PADDED: constexpr, PRECISION: constexpr,
    WIDE: constexpr, CHOICES: constexpr, NEEDS_X: constexpr,
    BLOCK_N: constexpr, BLOCK_B: constexpr,
):  # fmt: skip
    """Gradients for x, low and p on a part of the batch: sums over n and, for x, over its sets."""
    b, n = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B), tl.arange(0, BLOCK_N)
    group = tl.program_id(1).to(tl.int64)  # of sets that share x
    c, choice = tl.arange(0, WIDE), tl.arange(0, CHOICES)
    for member in range(shared):
        s = group * shared + member
        own_low, own_p = low_ptr + s * low_set, p_ptr + s * p_set
        of_low = tl.zeros((BLOCK_B, WIDE), tl.float32)  # transposed, it would spill registers
        of_p = tl.zeros((CHOICES, BLOCK_B), tl.float32)
        for start in range(0, width, BLOCK_N):
            width_left, skipped = width - start, tl.cast(start, tl.int64)
            inside = (n < width_left)[:, None] & (b < batch)[None, :]
            at = n[:, None] * batch + b[None, :]
            own_up = up_ptr + (s * LORAS * width + skipped) * RANK
            x_at = x_ptr + group * x_set + skipped * batch + at
            x = tl.load(x_at, inside, 0.0).to(tl.float32)
            grad_at = grad_ptr + (s * width + skipped) * batch + at
            grad = tl.load(grad_at, inside, 0.0).to(tl.float32)
            gate = tl.zeros((BLOCK_N, BLOCK_B), tl.float32)
            for lora in tl.static_range(LORAS):
                p = tl.load(own_p + lora * p_row + b, b < batch, 0.0).to(tl.float32)
                each = lora_gate(
                    own_low, own_up, n, b, width_left, width, batch, low_row,
                    lora, RANK, PADDED, PRECISION,
                )  # fmt: skip
                gate += p[None, :] * each
                of_each = grad * x * each
                of_p += tl.where((choice == lora)[:, None], tl.sum(of_each, 0)[None, :], 0.0)
                of_logit = of_each * p[None, :] * (1.0 - 0.5 * each)
                # [N, L * R]: up in this LoRA's columns, 0 in the others
                up_at = own_up + (lora * width + n)[:, None] * RANK + (c - lora * RANK)[None, :]
                own = (n < width_left)[:, None] & (c // RANK == lora)[None, :]
                up = tl.load(up_at, own, 0.0)
                of_low += tl.dot(tl.trans(of_logit).to(up.dtype), up, input_precision=PRECISION)
            if NEEDS_X:
                of_x_at, of_x = of_x_ptr + (group * width + skipped) * batch + at, grad * gate
                if member > 0:
                    of_x += tl.load(of_x_at, inside, 0.0)
                tl.store(of_x_at, of_x.to(of_x_ptr.dtype.element_ty), inside)
        of_low_at = of_low_ptr + s * LORAS * RANK * batch + c[None, :] * batch + b[:, None]
        ranks = (b < batch)[:, None] & (c < LORAS * RANK)[None, :]
        tl.store(of_low_at, of_low.to(of_low_ptr.dtype.element_ty), ranks)
        of_p_at = of_p_ptr + s * LORAS * batch + choice[:, None] * batch + b[None, :]
        choices = (choice < LORAS)[:, None] & (b < batch)[None, :]
        tl.store(of_p_at, of_p.to(of_p_ptr.dtype.element_ty), choices)
        tl.debug_barrier()  # the next set adds to the values stored here


@jit
def rewind_columns(
    grad_ptr, x_ptr, low_ptr, p_ptr, up_ptr, of_up_ptr, part_size,
    batch, width, sets, shared, x_set, low_set, low_row, p_set, p_row,
    LORAS: constexpr, RANK: constexpr, PADDED: constexpr, PRECISION: constexpr,
    WIDE: constexpr, BLOCK_N: constexpr, BLOCK_B: constexpr,
):  # fmt: skip
    """The gradient for up at some n of one set, as the sum over a part of the batch."""
    part, s = tl.program_id(1) // sets, (tl.program_id(1) % sets).to(tl.int64)
    first, n, c = tl.program_id(0) * BLOCK_N, tl.arange(0, BLOCK_N), tl.arange(0, WIDE)
    width_left, skipped = width - first, first.to(tl.int64)
    own_low, own_p = low_ptr + s * low_set, p_ptr + s * p_set
    own_up = up_ptr + (s * LORAS * width + skipped) * RANK
    own_x = x_ptr + s // shared * x_set + skipped * batch
    own_grad = grad_ptr + (s * width + skipped) * batch
    of_up = tl.zeros((BLOCK_N, WIDE), tl.float32)
    for start in range(part * part_size, (part + 1) * part_size, BLOCK_B):
        b = start + tl.arange(0, BLOCK_B)
        inside = (n < width_left)[:, None] & (b < batch)[None, :]
        at = n[:, None] * batch + b[None, :]
        x = tl.load(own_x + at, inside, 0.0).to(tl.float32)
        grad = tl.load(own_grad + at, inside, 0.0).to(tl.float32)
        for lora in tl.static_range(LORAS):
            p = tl.load(own_p + lora * p_row + b, b < batch, 0.0).to(tl.float32)
            each = lora_gate(
                own_low, own_up, n, b, width_left, width, batch, low_row,
                lora, RANK, PADDED, PRECISION,
            )  # fmt: skip
            of_logit = grad * x * each * p[None, :] * (1.0 - 0.5 * each)
            # [B, L * R]: low in this LoRA's columns, 0 in the others
            low_at = own_low + c[None, :] * low_row + b[:, None]
            low = tl.load(low_at, (b < batch)[:, None] & (c // RANK == lora)[None, :], 0.0)
            of_up += tl.dot(of_logit.to(low.dtype), low, input_precision=PRECISION)
    of_up_at = ((part * sets + s) * LORAS + c // RANK)[None, :] * width + (first + n)[:, None]
    of_up_at = of_up_at * RANK + (c % RANK)[None, :]
    tl.store(of_up_ptr + of_up_at, of_up, (n < width_left)[:, None] & (c < LORAS * RANK)[None, :])


def readable(x_SNB, low_SCB, p_SLB, up_MNR):
    """The tensors in the form that kernels read: contiguous along their last axis."""
    low_SCB, p_SLB = (t if t.stride(-1) == 1 else t.contiguous() for t in (low_SCB, p_SLB))
    return x_SNB.contiguous(), low_SCB, p_SLB, up_MNR.contiguous()


def sizes(x_SNB, low_SCB, p_SLB, up_MNR):
    """The sizes of these tensors for all kernels. Tensor cores need at least 16 along each axis."""
    sets, loras, batch = p_SLB.shape
    return {
        "num_warps": 8,
        "batch": batch,
        "width": up_MNR.shape[1],
        "sets": sets,
        "shared": sets // len(x_SNB),
        "x_set": x_SNB.stride(0),
        "low_set": low_SCB.stride(0),
        "low_row": low_SCB.stride(1),
        "p_set": p_SLB.stride(0),
        "p_row": p_SLB.stride(1),
        "LORAS": loras,
        "RANK": up_MNR.shape[2],
        "PADDED": max(16, triton.next_power_of_2(up_MNR.shape[2])),
        "PRECISION": "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee",
    }


def gate_features(x_SNB, low_SCB, p_SLB, up_MNR):
    """x [S or 1, N, B], low ranks, LoRAs' weights in the mixture, up -> gated x [S, N, B].

    The result has the type of low, which comes from a GEMM: bfloat16 under autocast.
    """
    tensors = readable(x_SNB, low_SCB, p_SLB, up_MNR)
    known = sizes(*tensors)
    out_SNB = like_gate_features(*tensors)
    block_b, block_n = 128, 32
    grid = (
        known["sets"] * triton.cdiv(known["batch"], block_b),
        triton.cdiv(known["width"], block_n),
    )
    with torch.cuda.device_of(x_SNB):
        gate_tile[grid](*tensors, out_SNB, **known, BLOCK_N=block_n, BLOCK_B=block_b)
    return out_SNB


def like_gate_features(x_SNB, low_SCB, p_SLB, up_MNR):
    """An empty tensor with the shape of the result of `gate_features`."""
    return low_SCB.new_empty(len(low_SCB), up_MNR.shape[1], low_SCB.shape[2])


def rewind_gates(grad_SNB, x_SNB, low_SCB, p_SLB, up_MNR, needs_x):
    """Gradients of `gate_features` for x (empty unless `needs_x`), low, p and up.

    Nothing is saved by the forward pass: both kernels recompute the mixture. They use no atomics,
    so results are deterministic.
    """
    tensors = (grad_SNB.contiguous(), *readable(x_SNB, low_SCB, p_SLB, up_MNR))
    known = sizes(*tensors[1:])
    sets, width, batch = grad_SNB.shape
    of_x, of_low, of_p, _ = like_rewind_gates(*tensors, needs_x)
    if known["shared"] > 1:  # sums over sets are computed in float32
        of_x = torch.empty_like(of_x, dtype=torch.float32)
    block_b, block_n = 32, 64 if known["LORAS"] < 3 else 32  # larger tiles spill registers
    wide = max(16, triton.next_power_of_2(low_SCB.shape[1]))
    blocks_b, blocks_n = triton.cdiv(batch, block_b), triton.cdiv(width, block_n)
    parts = max(1, min(blocks_b, 256 // (sets * blocks_n)))  # enough parts for a large GPU
    part_size = triton.cdiv(blocks_b, parts) * block_b
    of_up = up_MNR.new_empty(parts, *up_MNR.shape, dtype=torch.float32)
    options = {**known, "WIDE": wide, "BLOCK_N": block_n, "BLOCK_B": block_b, "num_stages": 2}
    with torch.cuda.device_of(x_SNB):
        rewind_rows[(blocks_b, len(x_SNB))](
            *tensors, of_x, of_low, of_p, **options,
            CHOICES=triton.next_power_of_2(known["LORAS"]), NEEDS_X=needs_x,
        )  # fmt: skip
        rewind_columns[(blocks_n, sets * parts)](*tensors, of_up, part_size, **options)
    return of_x.to(x_SNB.dtype), of_low, of_p, of_up.sum(0).to(up_MNR.dtype)


def like_rewind_gates(grad_SNB, x_SNB, low_SCB, p_SLB, up_MNR, needs_x):
    """Empty tensors with the shapes of the results of `rewind_gates`."""
    shapes = (x_SNB.shape if needs_x else (0,), low_SCB.shape, p_SLB.shape, up_MNR.shape)
    tensors = (x_SNB, low_SCB, p_SLB, up_MNR)
    return tuple(t.new_empty(shape) for t, shape in zip(tensors, shapes, strict=True))


def keep_for_gates(ctx, inputs, output):
    """Save what the backward pass of `gate_features` needs: only its inputs."""
    ctx.save_for_backward(*inputs)


def gradient_of_gates(ctx, grad_SNB):
    """The backward pass, called as an operator, which torch.compile puts into its graph."""
    needs_x = ctx.needs_input_grad[0]
    found = torch.ops.homespec.rewind_gates_2(grad_SNB, *ctx.saved_tensors, needs_x)
    return found[0] if needs_x else None, *found[1:]


def register_gates():
    """Register both passes as operators, which torch.compile calls without tracing into them.

    Generated files in the same process share them.
    """
    if hasattr(torch.ops.homespec, "gate_features_2"):
        return
    forward = torch.library.custom_op(
        "homespec::gate_features_2",
        gate_features,
        mutates_args=(),
        schema="(Tensor x, Tensor low, Tensor p, Tensor up) -> Tensor",
    )
    forward.register_fake(like_gate_features)
    forward.register_autograd(gradient_of_gates, setup_context=keep_for_gates)
    backward = torch.library.custom_op(
        "homespec::rewind_gates_2",
        rewind_gates,
        mutates_args=(),
        schema="(Tensor grad, Tensor x, Tensor low, Tensor p, Tensor up, bool needs_x)"
        " -> (Tensor, Tensor, Tensor, Tensor)",
    )
    backward.register_fake(like_rewind_gates)


if triton:
    register_gates()


def register_gates__inference():
    """Register both passes as operators, which torch.compile calls without tracing into them.

    Generated files in the same process share them.
    """
    if hasattr(torch.ops.homespec, "serve_gates_2"):
        return
    forward = torch.library.custom_op(
        "homespec::serve_gates_2",
        gate_features,
        mutates_args=(),
        schema="(Tensor x, Tensor low, Tensor p, Tensor up) -> Tensor",
    )
    forward.register_fake(like_gate_features)


if triton:
    register_gates__inference()


def run_gates(x, down, p, up):
    """Gated x, computed by the operator that calls the kernels."""
    return torch.ops.homespec.gate_features_2(x, down, p, up)


def run_gates__inference(x, down, p, up):
    """Gated x, computed by the operator that calls the kernel."""
    return torch.ops.homespec.serve_gates_2(x, down, p, up)


def has_kernel(x, down):
    """Whether the kernels support these tensors: on a GPU, with one of the types in EXACT."""
    on_gpu = triton and (x.is_cuda or INTERPRETED)
    return on_gpu and x.dtype in EXACT and down.dtype in EXACT


class FusedFeatureGates(FeatureGates):
    """Feature gates whose mixture of LoRAs is never written to a GPU's memory.

    The parent class computes the same on CPUs, in float64 and without Triton.
    """

    def forward(self, x, down, router):
        if not has_kernel(x, down):
            return super().forward(x, down, router)
        p = router.softmax(1)
        down = down.unflatten(0, p.shape[:2]).flatten(1, 2)  # [S, L * R, B]
        return run_gates(
            x, down, p, self.weight.to(down.dtype)
        )  # of down's type, as autocast has it


class FusedFeatureGatesOfLogits(FeatureGatesOfLogits):
    """Feature gates whose mixture of LoRAs is never written to a GPU's memory.

    The parent class computes the same on CPUs, in float64 and without Triton. A mixture before the
    sigmoid is one LoRA of rank L * R.
    """

    def forward(self, x, down, router):
        if not has_kernel(x, down):
            return super().forward(x, down, router)
        p = router.softmax(1)
        up = self.weight.to(down.dtype)  # as autocast does
        low = down.unflatten(0, p.shape[:2])  # [S, L, R, B]
        down = (p.unsqueeze(2) * low).flatten(1, 2).to(down.dtype)
        up = up.unflatten(0, p.shape[:2]).transpose(1, 2).flatten(2)
        return run_gates(x, down, torch.ones_like(p[:, :1]), up)


class FusedSingleFeatureGates(SingleFeatureGates):
    """Feature gates that are never written to a GPU's memory.

    The parent class computes the same on CPUs, in float64 and without Triton.
    """

    def forward(self, x, down):
        if not has_kernel(x, down):
            return super().forward(x, down)
        p = torch.ones_like(down[:, :1], dtype=torch.float32)
        return run_gates(x, down, p, self.weight.to(down.dtype))
