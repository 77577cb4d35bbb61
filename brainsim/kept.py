"""The finished parts of a host run."""

from .result import Result


class Kept:
    """Parts of a run: in memory, or streamed to a file that stays readable whatever happens."""

    def __init__(self, header, stream):
        self.parts, self.writer = [], None
        if stream is not None:
            from .storage import StreamWriter

            self.writer = StreamWriter(stream, header)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.writer is not None and kind is not None:
            self.writer.close(complete=False)

    def append(self, part):
        if self.writer is not None:
            self.writer.append(part)
        else:
            self.parts.append(part)

    def finish(self, meta, summaries) -> Result | None:
        if self.writer is not None:
            from .lazy import is_large

            self.writer.close(complete=meta["complete"], meta=meta, summaries=summaries)
            return Result.load(self.writer.path, lazy=is_large(self.writer.path))
        return Result.join(self.parts) if self.parts else None
