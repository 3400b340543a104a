"""The command line in-process, as a person sees it at 80 columns."""

from typer.testing import CliRunner, Result

from bench.cli import app


def bench(*words: str) -> Result:
    result = CliRunner(env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}).invoke(app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def mistake(result: Result) -> str:
    """The message of a user's mistake: three parts, exit code 2."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) >= 3
    assert any(line.strip().startswith("Allowed: ") for line in lines)
    assert "Traceback" not in result.output
    return result.stderr
