"""Encoders as users have them on their disk, tiny and random."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

WORDS = ("<pad>", "</s>", "<unk>", "a", "dark", "quiet", "street", "rain", "man", ".")


def t5(folder: Path, width: int = 4096) -> Path:
    """A T5 encoder as wide as T5-XXL's and otherwise tiny, with a tokenizer of ten words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    transformers.T5EncoderModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    """A BERT of one layer in transformers' layout, as MiniLM's: WordPiece, 24 numbers a token."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = string.ascii_lowercase + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "woman", "rain", "##ing", ".", ","]
    words += [*letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    ).save_pretrained(folder)
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(words),
        max_position_embeddings=128,
        num_attention_heads=2,
        **{"hidden_size": 24, "intermediate_size": 8, "num_hidden_layers": 1},
    )
    model = transformers.BertModel(config)
    # As drawn, layers hardly change what the embeddings say: let every matrix matter.
    for weights in model.encoder.parameters():
        weights.data *= 10.0 if weights.dim() == 2 else 1.0
    model.save_pretrained(folder)
    return folder


def clip(folder: Path, width: int = 768, *, whole: bool = False) -> Path:
    """A CLIP vision encoder with projection to `width`, or a whole CLIP model around it."""
    import torch
    import transformers

    torch.manual_seed(2)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision = transformers.CLIPVisionConfig(
        **sizes, num_attention_heads=2, image_size=32, patch_size=8, projection_dim=width
    )
    if whole:
        text = transformers.CLIPTextConfig(**sizes, num_attention_heads=2, vocab_size=20)
        config = transformers.CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=width
        )
        transformers.CLIPModel(config).save_pretrained(folder)
    else:
        transformers.CLIPVisionModelWithProjection(vision).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class ExportedEncoder:
    """An encoder and what `export-encoder` made of it."""

    source: Path
    folder: Path


def export_encoders(folder: Path) -> dict[str, ExportedEncoder]:
    """A T5, a BERT whose weights lie beside its graph, and a CLIP model, each exported once."""
    import pytest
    from semmix_export.encoders import torch_road
    from semmix_export.encoders.exporting import export_encoder

    made = {
        "t5": t5(folder / "t5", width=64),
        "bert": bert(folder / "bert"),
        "clip": clip(folder / "clip", width=24),
    }
    found = {}
    for name, source in made.items():
        with pytest.MonkeyPatch.context() as patch:
            if name == "bert":
                patch.setattr(torch_road, "INLINE_BYTES", 0)
            export_encoder(source, folder / f"{name}-onnx")
        found[name] = ExportedEncoder(source, folder / f"{name}-onnx")
    return found
