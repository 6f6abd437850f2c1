"""Right answers of notebook 03."""

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from course_lib.attention import padding_mask


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[batch, length, d_model] -> [batch, num_heads, length, d_k]: head i takes the i-th block of d_k numbers."""
    batch, length, d_model = x.shape
    # Cut the last axis first, then move the heads forward: a reshape alone would mix tokens.
    return x.reshape(batch, length, num_heads, d_model // num_heads).transpose(1, 2)


def merge_heads(heads: Tensor) -> Tensor:
    """[batch, num_heads, length, d_k] -> [batch, length, d_model]: the heads of a token side by side."""
    batch, num_heads, length, d_k = heads.shape
    return heads.transpose(1, 2).reshape(batch, length, num_heads * d_k)


def cross_attend(attention: nn.Module, target: Tensor, source: Tensor, source_lengths: Tensor) -> Tensor:
    """Each target token asks the real source tokens: [batch, query_len, d_model] -> the same shape."""
    mask = padding_mask(source_lengths, source.shape[1])  # [batch, 1, key_len]
    output, _ = attention(target, source, source, mask=mask)
    return output


def repeat_kv(x: Tensor, num_heads: int) -> Tensor:
    """[batch, num_kv_heads, key_len, d_k] -> [batch, num_heads, key_len, d_k]: neighbours share a key-value head."""
    num_kv_heads = x.shape[1]
    return x.repeat_interleave(num_heads // num_kv_heads, dim=1)


def mha_parameters(d_model: int, num_heads: int, num_kv_heads: int | None = None, bias: bool = True) -> int:
    """Numbers that are learned in the four maps of multi-head attention."""
    num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    d_k = d_model // num_heads
    widths = [num_heads * d_k, num_kv_heads * d_k, num_kv_heads * d_k, d_model]  # of W_Q, W_K, W_V and W_O
    return sum(d_model * width + (width if bias else 0) for width in widths)


def ablate_head(attention: nn.Module, head: int) -> RemovableHandle:
    """Silence one head until the returned handle's `remove()` is called."""
    block = slice(head * attention.d_k, (head + 1) * attention.d_k)

    def silence(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        heads = inputs[0].clone()  # [batch, query_len, d_model], the heads side by side
        heads[..., block] = 0
        return (heads,)

    return attention.out_proj.register_forward_pre_hook(silence)
