"""clean-fid's mode "legacy_tensorflow": the network's own resize: what papers before 2021 report. See _clean_fid.py."""

from bench.extractors._clean_fid import CleanFid


class Extractor(CleanFid):
    name = "clean_fid_legacy"
    resize_inside = True
