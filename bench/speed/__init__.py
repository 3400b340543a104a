"""What methods cost. Of a run, beside its scores: run_rows. Of a method on a device, by itself: `bench speed`.

clock          rounds of a piece of work         peak_memory    bytes that it held
work           training, sampling, decoding      run_rows       a run's cost, as result rows
"""
