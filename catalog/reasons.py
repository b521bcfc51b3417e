"""Why a row is not used: the closed list behind every ``reason`` column.

A row without a reason is usable. A row with one stays in its table, is counted, and can be retried alone.
"""

from enum import StrEnum


class Reason(StrEnum):
    """One reason per value; ``detail`` beside it in the table gives the numbers."""

    # the image file
    MISSING_FILE = "missing_file"  # no file at the path that the annotation names
    PATH_ESCAPE = "path_escape"  # the path leaves the dataset's folder
    EMPTY_FILE = "empty_file"  # zero bytes
    FILE_TOO_LARGE = "file_too_large"  # more bytes than images.MAX_BYTES
    NOT_AN_IMAGE = "not_an_image"  # no known image signature
    TRUNCATED_IMAGE = "truncated_image"  # starts well, ends early
    TOO_MANY_PIXELS = "too_many_pixels"  # more pixels than images.MAX_PIXELS, found before decoding
    IMAGE_TOO_SMALL = "image_too_small"  # a side under images.MIN_SIDE
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image, but of a format or mode that is not read
    ANIMATED_IMAGE = "animated_image"  # more than one frame
    UNREADABLE_FILE = "unreadable_file"  # the system refused to read it (permission, I/O error, folder)
    CHANGED_FILE = "changed_file"  # the bytes are not those whose digest was recorded
    SIZE_MISMATCH = "size_mismatch"  # the file's size is not the one that the annotation gives

    # the annotation
    DUPLICATE_ID = "duplicate_id"  # an id seen before in the same dataset
    MALFORMED_RECORD = "malformed_record"  # fields missing or of the wrong type
    BAD_ENCODING = "bad_encoding"  # text that is not Unicode or holds control characters
    EMPTY_PHRASE = "empty_phrase"  # nothing to refer to the region by
    AMBIGUOUS_LABEL = "ambiguous_label"  # only a class name, which fits other regions of the image as well
    LONG_PHRASE = "long_phrase"  # more characters than a referring phrase can have
    NO_REGION = "no_region"  # neither polygon, mask, box nor keypoint
    NOT_FINITE = "not_finite"  # NaN or infinity among the coordinates
    OUT_OF_RANGE = "out_of_range"  # coordinates outside the image
    DEGENERATE_POLYGON = "degenerate_polygon"  # fewer than three points
    MASK_SIZE_MISMATCH = "mask_size_mismatch"  # a mask of another size than its image
    BAD_MASK = "bad_mask"  # a run-length code or mask that does not decode
    EMPTY_MASK = "empty_mask"  # a mask without a pixel
    CROWD_REGION = "crowd_region"  # a crowd, not an object
    NO_KEYPOINTS = "no_keypoints"  # no labelled joint

    # making the edit
    REGION_TOO_SMALL = "region_too_small"  # under the step's smallest area
    REGION_TOO_LARGE = "region_too_large"  # over the step's largest area
    REGION_TOO_NARROW = "region_too_narrow"  # over the step's largest ratio of its box's sides
    NO_DONOR = "no_donor"  # nothing in the gallery may take the region's place
    BLACK_OUTPUT = "black_output"  # a helper model returned black: its safety checker, or an overflow
    BACKEND_FAILED = "backend_failed"  # a helper model raised; the detail names it and the message
    BAD_OUTPUT = "bad_output"  # a helper model returned another shape, type or non-finite values
    NO_CHANGE = "no_change"  # the edit left the picture as it was
    OBJECT_REMAINS = "object_remains"  # where the object was, the picture still looks more like it than like around it
    CONSTANT_FILL = "constant_fill"  # the hole was filled with one colour, which its surroundings do not have
    BAD_INSTRUCTION = "bad_instruction"  # the instruction is empty, too long or not text
    NO_CAPTION = "no_caption"  # nothing says what the picture shows, where a caption is to be trained

    # afterwards, in verdicts alone
    REVOKED = "revoked"  # a tombstone withdraws the pair (`catalog.revocation`)
