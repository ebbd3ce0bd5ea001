"""Encoders as users have them on their disk, tiny and random."""

from __future__ import annotations

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
