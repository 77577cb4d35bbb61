if __name__ != "brainsim.ops":
    raise ImportError(f"this folder is the package brainsim.ops, imported as {__name__!r}; write `import brainsim.ops`")

from . import procedural as procedural
from . import random as random
from .block_sparse import event_blocks as event_blocks
from .block_sparse import to_blocks as to_blocks
from .csc import event_csc as event_csc
from .csc import event_fan_in as event_fan_in
from .csc import event_fan_out as event_fan_out
from .csc import fan_rows as fan_rows
from .dense import event_dense as event_dense
from .density import density_choice as density_choice
from .density import density_costs as density_costs
from .dispatch import backends as backends
from .edge_map import map_edges as map_edges
from .fused import View as View
from .fused import map_scalars as map_scalars
from .lists import SpikeList as SpikeList
from .lists import append_list as append_list
from .lists import block_edges as block_edges
from .lists import compact as compact
from .lists import deliver_list as deliver_list
from .lists import push_list as push_list
from .operators import edge_outer as edge_outer
from .operators import event_csr as event_csr
from .operators import gather_csr as gather_csr
from .operators import pack_edges as pack_edges
from .operators import ring_deliver as ring_deliver
from .operators import ring_gather as ring_gather
from .plastic import transpose_index as transpose_index
from .plastic import update_columns as update_columns
from .plastic import update_rows as update_rows
from .procedural import event_procedural as event_procedural
from .procedural import gather_procedural as gather_procedural
from .procedural import ring_deliver_procedural as ring_deliver_procedural
from .window import window_gather as window_gather
