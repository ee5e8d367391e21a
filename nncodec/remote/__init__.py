"""Files behind URLs (``s3://``, ``gs://``, ``https://``, ...) by fsspec: ranges in, uploads out.

Read in ranges and never copied to disk; written as parts of an upload that becomes a file only when
it is complete. This package alone imports fsspec for files, and only once a name has a scheme: the
extra ``remote`` brings it. docs/remote.md says what is read when, and what a kill leaves.

    names      which names are URLs, and what files are called after them
    store      a URL's file system: what is there, what its errors mean to people
    source     reading: large ordered pieces ahead, or windows and exact ranges
    sink       writing: parts, a commit, or nothing
    listing    patterns and folders
    opening    what is read here and there, a path or a URL
    tensors    files of tensors that are not mapped but fetched

``source.fetch`` is for tasks in any process.

Not here: credentials, endpoints and retries of requests, which are fsspec's and its backends'; and
a cache on disk, which ``simplecache::`` before a URL is.
"""
