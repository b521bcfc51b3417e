"""A small byte-level BPE tokenizer, trained on a few sentences in a moment."""

from typing import Any

_CORPUS = (
    "a photo of a cat sitting on a red car",
    "remove the dog from the picture",
    "replace the apple on the table with an orange",
    'Answer with a JSON object: {"instruction": "please change the running dog to a cute cat"}',
    '{"edit": "object_replacement", "num_instances": 1, "source": {"object": "dog", "caption": "a dog"}}',
)


def train_tokenizer(special: list[str]) -> Any:
    """A `tokenizers.Tokenizer`; ``special`` tokens get the numbers from 0 on."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS * 20, trainer)
    return tokenizer
