"""A tiny BLIP-2: vision encoder, Q-Former and an OPT language model of two layers each."""

from pathlib import Path

from .files import seeded
from .text_tokenizer import train_tokenizer

_IMAGE = 32  # pixels, 224 in the published model
_QUERIES = 4  # 32 in the published model


def save_blip2(folder: Path, seed: int = 0) -> Path:
    """Write model and processor as transformers writes them; returns ``folder``."""
    from tokenizers.processors import TemplateProcessing
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        BlipImageProcessor,
        OPTConfig,
        PreTrainedTokenizerFast,
    )

    trained = train_tokenizer(["<s>", "<pad>", "</s>", "<unk>"])
    trained.post_processor = TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])  # as OPT does
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="</s>",
        padding_side="left",
        model_max_length=128,
    )
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = len(tokenizer)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(intermediate_size=64, image_size=_IMAGE, patch_size=8, **size).to_dict(),
        qformer_config=Blip2QFormerConfig(
            intermediate_size=64, encoder_hidden_size=32, cross_attention_frequency=2, vocab_size=words, **size
        ).to_dict(),
        text_config=OPTConfig(
            vocab_size=words,
            ffn_dim=64,
            max_position_embeddings=128,
            word_embed_proj_dim=32,
            bos_token_id=2,
            eos_token_id=2,
            pad_token_id=1,
            init_std=0.3,
            tie_word_embeddings=False,
            **size,
        ).to_dict(),
        num_query_tokens=_QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    with seeded(seed):
        model = Blip2ForConditionalGeneration(config).eval()
        # The usual small random weights would say the same of every picture.
        model.query_tokens.data.normal_()
        for part in (model.vision_model, model.qformer, model.language_projection):
            for tensor in part.parameters():
                if tensor.ndim > 1:
                    tensor.data.normal_(std=0.5)
        model.save_pretrained(folder)
    pictures = BlipImageProcessor(size={"height": _IMAGE, "width": _IMAGE})
    Blip2Processor(image_processor=pictures, tokenizer=tokenizer, num_query_tokens=_QUERIES).save_pretrained(folder)
    return folder
