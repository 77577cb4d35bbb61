"""How the operands of `map_edges` are described to its native walk, in words of a constant table."""

MAX_CHUNK = 256  # edges that are gathered, computed and scattered together
ROOM = 65536  # bytes for the values of a chunk: with more per edge, chunks are shorter
MAX_LEAVES = 64
OPERANDS = 6  # before the leaves: ids, counts, step, indptr, far, order
# Head of the table: edges per block of the kernel and per chunk, the first leaf of every kind behind the shared ones,
# and the number of leaves. Then the words of every leaf: bytes per item, has a row per step, is read by the function,
# number of the result that it becomes or -1.
WIDTH, CHUNK, NEAR, ACROSS, EDGE, INTO, LENGTH, HEAD = range(8)
SIZE, HISTORY, READ, RESULT, LEAF_WORDS = range(5)


def chunk_of(dtypes):
    """Edges per chunk, a whole number of blocks of any kernel, with these leaves in the room; 0: too many."""
    per_edge = sum(dtype.itemsize for dtype in dtypes)
    return min(MAX_CHUNK, ROOM // max(per_edge, 1) // 64 * 64)
