if __name__ != "brainsim.ops":
    raise ImportError(f"this folder is the package brainsim.ops, imported as {__name__!r}; write `import brainsim.ops`")

from . import random as random
from .dispatch import backends as backends
from .fused import map_scalars as map_scalars
from .lists import append_list as append_list
from .lists import compact as compact
from .lists import deliver_list as deliver_list
from .lists import push_list as push_list
from .operators import edge_outer as edge_outer
from .operators import event_csr as event_csr
from .operators import gather_csr as gather_csr
from .operators import pack_edges as pack_edges
from .operators import ring_deliver as ring_deliver
from .operators import ring_gather as ring_gather
from .procedural import event_procedural as event_procedural
from .procedural import gather_procedural as gather_procedural
from .procedural import ring_deliver_procedural as ring_deliver_procedural
from .window import window_gather as window_gather
