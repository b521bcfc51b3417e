"""Photo requests: what people asked for in words, and what others made of it (paper section 3.2, "Web crawl").

::

    request_lists, reddit_dumps   a list of requests, streamed                       -> PhotoRequest
    fetching                      pictures, one polite and bounded request at a time  -> archive
    registration, matching        photo and result brought into one frame
    collection                    all of it, chunk by chunk                           -> table requests

The reader ``photo_requests`` turns the rows that are usable into ready-made pairs of a build.
"""
