"""What the paper prints in its rows "Ours" (arXiv 2309.03895), by our names of the benchmarks."""

KEYPOINTS = {
    "coco_val2017": ("COCO val2017", 71.2),
    "humanart_val": ("HumanArt val", 51.4),
    "ap10k_val": ("AP-10K", 15.9),
}
"""Table 2, page 6: AP."""

REFERRING = {
    "grefcoco_val": ("gRefCOCO val", 67.36),
    "refcoco_val": ("RefCOCO val", 61.74),
    "refcoco_testA": ("RefCOCO testA", 65.20),
    "refcoco_testB": ("RefCOCO testB", 60.17),
    "refcocoplus_val": ("RefCOCO+ val", 46.57),
    "refcocoplus_testA": ("RefCOCO+ testA", 52.32),
    "refcocoplus_testB": ("RefCOCO+ testB", 39.04),
    "gref_umd_val": ("G-Ref val (UMD)", 51.17),
    "gref_umd_test": ("G-Ref test (UMD)", 52.02),
    "gref_google_val": ("G-Ref val (Google)", 52.18),
    "refclef_val": ("RefClef val", 49.58),
    "refclef_testA": ("RefClef testA", 54.73),
    "refclef_testB": ("RefClef testB", 54.82),
    "refclef_testC": ("RefClef testC", 40.34),
}
"""Table 3, page 8: cIoU."""

SEMANTIC = {
    "ade847_val": ("ADE-847", 19.68),
    "pc459_val": ("PC-459", 28.29),
    "ade150_val": ("ADE-150", 33.62),
    "pc59_val": ("PC-59", 59.00),
    "voc_val": ("VOC", 72.55),
    "cocostuff_val": ("COCO-Stuff", 53.17),
}
"""Table 4, page 8: mIoU."""

EDITING = {  # edit type: CLIP-Sim, aesthetic score
    "object_replacement": (30.19, 4.90),
    "object_removal": (28.88, 4.65),
    "object_addition": (30.39, 4.87),
}
"""Table 5, page 9."""

ENHANCEMENT = {  # PSNR, and its bound by the autoencoder
    "gopro_test": ("GoPro deblur", "deblurring", 23.58, 29.54),
    "sidd_val": ("SIDD denoise", "denoising", 34.26, 36.56),
    "clwd_test": ("CLWD watermark removal", "watermark_removal", 23.60, 24.80),
}
"""Table 5, page 9."""
