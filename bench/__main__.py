"""`python -m bench`, which torchrun starts: `torchrun --nproc-per-node 8 -m bench run ...`."""

from bench.cli import main

main()
