"""A base model of a few thousand numbers in place of MiniLM, with a tokenizer of single letters: what training the deep detector starts from."""

import string
from pathlib import Path

WIDTH, LAYERS, POSITIONS = 24, 4, 130


def write_base(folder: Path) -> None:
    """`model.safetensors` and `tokenizer.json`, as the package of the base model has them. Needs torch, safetensors and tokenizers."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    # Id 101 begins a window and 102 ends it, as in BERT's vocabulary.
    syllables = [first + second for first in "bcdfghklmnprstvz" for second in "aeiou"]
    filling = [f"[unused{n}]" for n in range(1, 101)]
    words = ["[UNK]", *filling, "[CLS]", "[SEP]", *string.ascii_lowercase, *("##" + letter for letter in string.ascii_lowercase)]
    words += [*syllables, *("##" + syllable for syllable in syllables), *".,!?'"]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))

    torch.manual_seed(5)
    shapes = {"embeddings.word_embeddings": (len(words), WIDTH), "embeddings.position_embeddings": (POSITIONS, WIDTH)}
    shapes["embeddings.token_type_embeddings"] = (2, WIDTH)
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        shapes |= {f"{at}.attention.self.{kind}": (WIDTH, WIDTH) for kind in ("query", "key", "value")}
        shapes |= {
            f"{at}.attention.output.dense": (WIDTH, WIDTH),
            f"{at}.intermediate.dense": (4 * WIDTH, WIDTH),
            f"{at}.output.dense": (WIDTH, 4 * WIDTH),
        }
    stored = {f"{name}.weight": torch.randn(shape) * (0.5 if "embed" in name else 0.15) for name, shape in shapes.items()}
    stored |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items() if not name.startswith("embeddings")}
    norms = ["embeddings.LayerNorm"]
    norms += [f"encoder.layer.{layer}.{part}.LayerNorm" for layer in range(LAYERS) for part in ("attention.output", "output")]
    stored |= {f"{name}.weight": torch.ones(WIDTH) for name in norms} | {f"{name}.bias": torch.zeros(WIDTH) for name in norms}
    save_file(stored, str(folder / "model.safetensors"))
