"""Comparisons as text for a terminal."""

from lockstep.environment.comparison.compare import Comparison

_SHORT = len("sha256:") + 12


def _short(value: str | None) -> str:
    """Return a value as a table shows it: a digest by its beginning."""
    if value is None:
        return "-"
    return value[:_SHORT] if value.startswith("sha256:") else value


def comparison_text(comparison: Comparison) -> str:
    """Return the differences as a table, followed by what a person should know."""
    lines: list[str] = []
    if comparison.differences:
        rows = [(d.kind.value, d.subject, _short(d.trained), _short(d.image)) for d in comparison.differences]
        header = ("KIND", "SUBJECT", "TRAINED", "IMAGE")
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(4)]
        for row in (header, *rows):
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines.append("")
        lines += [f"- {difference.sentence}" for difference in comparison.differences]
    else:
        lines.append(f"equal: {comparison.compared} packages compared, environment digest {comparison.image_digest}")
    lines += [f"note: {note}" for note in comparison.notes]
    return "\n".join(lines)
