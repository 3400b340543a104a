"""How long `bench` takes to start, against an empty Python, in turns.

python docs/startup.py
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 11
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "bench --help": ["-m", "bench", "--help"],
    "bench list": ["-m", "bench", "list"],
    "bench table": ["-m", "bench", "table"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], capture_output=True, check="table" not in arguments
    )  # no results: says so, and ends with 2
    return time.perf_counter() - start


def main() -> None:
    rounds = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(1 + ROUNDS)][1:]
    empty = next(iter(COMMANDS))
    for name in COMMANDS:
        median = statistics.median(one[name] for one in rounds)
        more = statistics.median(one[name] - one[empty] for one in rounds)
        print(f"{name:15} {median:6.3f} s, {more:+.3f} s against {empty}")


if __name__ == "__main__":
    main()
