"""clean-fid's mode "clean": its own resize: bicubic and antialiased, before the network. See _clean_fid.py."""

from bench.extractors._clean_fid import CleanFid


class Extractor(CleanFid):
    name = "clean_fid"
    resize_inside = False
