"""What each reader gives and needs, in a line: the list that ``python -m tasks sources`` prints."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Description:
    """A reader for those who choose one."""

    gives: str
    """What its records are good for."""
    needs: str
    """What its folder must hold; "nothing" where it takes none."""


_EDITS = "edit pairs"
_DEBLUR = "enhancement pairs: deblurring"
_PHRASES = "regions with phrases"
_CLASSES = "regions: classes of pixels"

DESCRIPTIONS: Mapping[str, Description] = MappingProxyType(
    {
        "ade20k": Description(
            "regions: objects, parts on request", "images/ADE/<split>/ with .json and instance masks"
        ),
        "ade20k_150": Description(_CLASSES, "images/, annotations/, objectInfo150.txt"),
        "ade20k_847": Description(_CLASSES, "images/ADE/{training,validation}/ with .json and _seg.png"),
        "aic": Description("people with 14 joints", "keypoint_train_annotations_*.json and images, or aic_train.json"),
        "anyedit": Description(_EDITS, "Parquet files: image_file, edited_file, edit_instruction"),
        "ap10k": Description("animals with 17 joints", "annotations/ap10k-<split>-split<n>.json, data/"),
        "clwd": Description(
            "enhancement pairs: watermark removal", "{train,test}/Watermarked_image, Watermark_free_image"
        ),
        "coco": Description("regions, people with 17 joints", "a COCO-format file (option annotations) and its images"),
        "cocostuff": Description(_CLASSES, "annotations/<split>2017/*.png, images/, labels.txt"),
        "crowdpose": Description("people with 14 joints", "json/crowdpose_<split>.json, images/"),
        "edit_pairs": Description(_EDITS, "Parquet files, WebDataset tars or JSON lists of edits"),
        "gier": Description("edit pairs: photo requests", "GIER.json, images/; masks/ and warped/ where there are any"),
        "gopro": Description(_DEBLUR, "{train,test}/<clip>/{blur_gamma,sharp}, or {input,target}"),
        "gqa_inpaint": Description(
            "edit pairs: removal, addition", "images/, images_inpainted/, train_scenes.json, masks/"
        ),
        "grefcoco": Description(
            "regions with phrases, many or none", "grefcoco/{instances.json, grefs(unc).json}, train2014/"
        ),
        "hq_edit": Description(
            "edit pairs, both directions", "Parquet files: input_image, output_image, edit, inverse_edit"
        ),
        "humanart": Description("drawn and real people, 17 joints", "annotations/<split>_humanart.json, images/"),
        "ieiw": Description("accepted pairs of a build", "a workspace of this project: catalog/ and data/"),
        "imgedit": Description("edit pairs, several turns", "Parquet files of paths, tars of pictures"),
        "instructpix2pix": Description(_EDITS, "seeds.json and shard-*.zip, or the unpacked folders"),
        "lvis": Description("regions: 1,203 classes", "lvis_v1_<split>.json and COCO's photos"),
        "magicbrush": Description(
            "edit pairs, several turns", "data/*.parquet, or <split>/edit_turns.json and images/"
        ),
        "mpii": Description("people with 16 joints", "annot/<split>.json, .h5 or the official .mat, images/"),
        "omniedit": Description("edit pairs, seven kinds", "Parquet files: src_img, edited_img, edited_prompt_list"),
        "openimages": Description("regions: 350 classes with masks", "tables (.csv), photos and mask PNGs"),
        "pascal_context": Description(_CLASSES, "VOC2010/ with JPEGImages/, trainval/*.mat, labels.txt"),
        "photo_requests": Description("edit pairs: photo requests", "the workspace of a crawl: catalog/, data/"),
        "phrasecut": Description(_PHRASES, "refer_<split>.json, image_data_split.json, images/"),
        "reds": Description(_DEBLUR, "{train,val}_blur/ and {train,val}_sharp/, or {train,val}/{blur,sharp}"),
        "refclef": Description(_PHRASES, "refclef/{instances.json, refs(unc).p}, images/saiapr_tc-12/"),
        "refcoco": Description(_PHRASES, "refcoco/{instances.json, refs(unc).p}, images/train2014/"),
        "refcoco+": Description(_PHRASES, "refcoco+/{instances.json, refs(unc).p}, images/train2014/"),
        "refcocog": Description(_PHRASES, "refcocog/{instances.json, refs(umd).p}, images/train2014/"),
        "sa1b": Description("regions without words", "sa_<id>.jpg and .json, or the tars (option packed)"),
        "sample": Description("regions with phrases, for trials", "nothing: photos inside two installed packages"),
        "sidd": Description(
            "enhancement pairs: denoising", "Data/<scene>/*_{NOISY,GT}_SRGB_*.PNG, {input,gt}, or .mat blocks"
        ),
        "synthetic": Description("everything, with exact truth", "nothing: scenes are rendered"),
        "ultraedit": Description(_EDITS, "Parquet files: source_image, edited_image, edit_prompt"),
        "voc": Description(_CLASSES, "VOC2012/ with JPEGImages/, SegmentationClass/, ImageSets/"),
    }
)
"""Name of `registry.READERS` -> description."""
