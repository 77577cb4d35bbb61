"""Progress of a run in biological time: a bar in terminals and notebooks, only when the wait is worth one."""

import sys
import time


class Progress:
    """Shows done and total time, speed and remaining time; created per run.

    Args:
        total: ms of biological time.
        show: True, False, None (automatic: a terminal or notebook, and more than a second to go) or a function of
            (done_ms, total_ms).
        device: name shown. unit: what is counted: "ms", or for example "steps".
    """

    def __init__(self, total: float, show, device: str = "", unit: str = "ms"):
        self.total, self.show, self.device, self.unit = total, show, device, unit
        self.begun = time.perf_counter()
        self.first = None
        self.shown = 0.0
        self.handle = None
        self.compile_s = 0.0

    def _target(self):
        if callable(self.show):
            return "function"
        if self.show is False:
            return None
        if "ipykernel" in sys.modules:
            return "notebook"
        return "terminal" if self.show or sys.stderr.isatty() else None

    def update(self, done: float, note: str = ""):
        """Called after every chunk; `note` is shown beside."""
        now = time.perf_counter()
        # the first chunk contains the compilation
        self.compile_s = self.compile_s or now - self.begun
        if callable(self.show):
            self.show(done, self.total)
            return
        if self.first is None:
            self.first = (now, done)
            return
        speed = (done - self.first[1]) / max(now - self.first[0], 1e-9)
        left = (self.total - done) / max(speed, 1e-9)
        if self._target() is None or (self.shown == 0.0 and self.show is None and left < 1.0) or now - self.shown < 0.2:
            return
        self.shown = now
        if self.unit == "ms":
            slower = 1000.0 / max(speed, 1e-9)
            ratio = f"{slower:.1f}x slower" if slower >= 1.0 else f"{1.0 / slower:.1f}x faster"
            note = f"{self.device}, {ratio} than real time"
        text = f"{done:.0f}/{self.total:.0f} {self.unit}, {note}, {left:.0f} s to go"
        self._write(done / self.total, text)

    def _write(self, part, text):
        if self._target() == "notebook":
            from IPython.display import HTML, display

            html = HTML(f"<progress value='{part:.3f}' max='1' style='width:20em'></progress> {text}")
            if self.handle is None:
                self.handle = display(html, display_id=True)
            else:
                self.handle.update(html)
        else:
            filled = int(30 * part)
            print(f"\r{'━' * filled}{' ' * (30 - filled)} {text} ", end="", file=sys.stderr, flush=True)

    def close(self):
        if self.shown and self._target() == "terminal":
            print("", file=sys.stderr)
