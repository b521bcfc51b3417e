"""Tables of what checkpoints made: metric rows, variants to choose among, what was chosen (`catalog.schema`)."""

import pyarrow as pa

from catalog.columns import IMAGE, OUTCOME, PROVENANCE

METRICS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),  # 95 % bootstrap interval of the value, over source images
        ("high", pa.float64()),
        ("num_samples", pa.int64()),
        ("vision_task", pa.string()),
        ("unit", pa.string()),
        ("backend", pa.string()),  # the helper model behind the metric; null for a pure one
        ("paper_value", pa.float64()),  # as printed: percent for shares, 100 x cosine for CLIP-Sim; null: none
        ("paper_bound", pa.float64()),  # the number in parentheses beside it
        ("paper_place", pa.string()),  # "Table 3, page 8"
        ("checkpoint_sha256", pa.string()),  # null: a control
        ("mix_sha256", pa.string()),  # of the dataset: all rows that were asked for
        ("seed", pa.int64()),
        ("code_version", pa.string()),
        ("config", pa.string()),  # canonical JSON of the evaluation's options
    ]
)

VARIANTS = pa.schema(
    [
        ("item_id", pa.string()),  # pair_id of the row whose source and instruction the item is
        ("variant", pa.int32()),  # place in the grid of guidance settings, from 0
        *PROVENANCE,
        ("edit_type", pa.string()),
        ("region_id", pa.string()),
        ("source_image", IMAGE),  # the row's own
        ("instruction", pa.string()),
        ("source_caption", pa.string()),
        ("target_caption", pa.string()),
        ("target_image", IMAGE),  # what the checkpoint made of it, a square of the sampled size
        ("text_guidance", pa.float64()),  # scale of the instruction
        ("image_guidance", pa.float64()),  # scale of the source image
        ("guidance", pa.string()),  # the rule that combines them: ip2p, official
        ("num_steps", pa.int32()),  # sampling steps
        ("sampler", pa.string()),
        ("seed", pa.int64()),  # of the noise
        ("backends", pa.list_(pa.string())),  # "generator=checkpoint@" and the digest of its files
        *OUTCOME,
    ]
)
"""Items of an alignment set (paper 3.3: 20 guidance settings each). A variant that could not be made has a reason."""

PICKS = pa.schema(
    [
        ("set", pa.string()),  # name of the alignment set
        ("item_id", pa.string()),
        ("person", pa.string()),  # the name that the chooser gave
        ("judge", pa.string()),  # null: a person; else the program that chose, "simulated@1+..."
        ("variants", pa.list_(pa.int32())),  # chosen ones, sorted; empty: none is good
        ("shown", pa.string()),  # digest of the pictures that were shown, in the order of their numbers
    ]
)
"""What was chosen, frozen when pairs were made of it. Where choices are kept as they come: `catalog.choices`."""
