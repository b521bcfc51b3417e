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
    FILE_TOO_LARGE = "file_too_large"  # more bytes than image_headers.MAX_BYTES
    NOT_AN_IMAGE = "not_an_image"  # no known image signature
    TRUNCATED_IMAGE = "truncated_image"  # starts well, ends early
    TOO_MANY_PIXELS = "too_many_pixels"  # more pixels than image_headers.MAX_PIXELS, found before decoding
    IMAGE_TOO_SMALL = "image_too_small"  # a side under image_headers.MIN_SIDE
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
    POLYGON_TOO_LONG = "polygon_too_long"  # its edges would fill the image many times over
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

    # fetching a photo request (tasks.photo_requests)
    BAD_ADDRESS = "bad_address"  # not an http or https URL, or of a port that is not allowed, or with a password in it
    PRIVATE_ADDRESS = "private_address"  # the host is, or is known as, an address inside somebody's own network
    OPTED_OUT = "opted_out"  # its host, address, author or bytes are on the list of those who want no part in it
    ROBOTS_FORBID = "robots_forbid"  # the host's robots.txt does not let us
    ROBOTS_UNREADABLE = "robots_unreadable"  # robots.txt could not be had, which forbids as well (RFC 9309)
    NOAI = "noai"  # a header reserves the picture: X-Robots-Tag noai and the like, TDM-Reservation
    UNKNOWN_HOST = "unknown_host"  # the name does not resolve
    CONNECTION_FAILED = "connection_failed"  # refused, reset, or its certificate does not hold
    TIMED_OUT = "timed_out"  # not there, whole, within the time
    ENDLESS_ANSWER = "endless_answer"  # announced no length and passed the limit
    ANSWER_TOO_LARGE = "answer_too_large"  # announced more bytes than the limit: nothing of it was read
    TRUNCATED_ANSWER = "truncated_answer"  # ended before the length that it announced
    WRONG_TYPE = "wrong_type"  # something else than a picture by its Content-Type, or compressed in transit
    REDIRECT_LOOP = "redirect_loop"  # leads back to where it came from
    TOO_MANY_REDIRECTS = "too_many_redirects"  # leads on and on
    GONE = "gone"  # 404, 410, or the host's picture of "removed"
    ACCESS_DENIED = "access_denied"  # 401, 402, 403, 451
    TOO_MANY_REQUESTS = "too_many_requests"  # 429, also after the pause that the host asked for
    SERVER_ERROR = "server_error"  # 5xx
    NOT_FETCHED = "not_fetched"  # not in the archive, and the run was told to ask nobody
    HTTP_ERROR = "http_error"  # any other status that brings no picture

    # the request itself
    DELETED_POST = "deleted_post"  # its asker or a moderator took it away
    ADULT_POST = "adult_post"  # marked as for adults
    NO_PHOTO = "no_photo"  # no picture to edit
    NO_RESULT = "no_result"  # nobody answered with a picture
    PAGE_LINK = "page_link"  # a link to a page or an album, not to a picture
    EMPTY_REQUEST = "empty_request"  # no wish is left once greetings, prices and links are gone

    # matching photo and result
    UNRELATED_RESULT = "unrelated_result"  # not an edit of the photo: nothing in it registers
    MIRRORED_RESULT = "mirrored_result"  # an edit of the photo, left and right swapped
    DISTORTED_RESULT = "distorted_result"  # stretched or sheared beyond what a crop and a turn explain
    SMALL_COMMON_FRAME = "small_common_frame"  # photo and result share too little of the picture
    NEAR_DUPLICATE = "near_duplicate"  # photo and result look like those of a row before

    # afterwards, in verdicts alone
    REVOKED = "revoked"  # a tombstone withdraws the pair (`catalog.revocation`)
