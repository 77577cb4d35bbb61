"""LLVM IR of `parallel.py`: the job that caller and helpers share, claiming, handing out, waiting.

A job is a block of words from malloc, counted by references: one of the caller and one of every scheduled helper, freed
by whoever is last, because a helper may start after the caller has returned.
"""

import llvmlite.ir as ir

NEXT, DONE, REFERENCES, TASK, CONTEXT, N_TASKS, JOB_WORDS = range(7)  # words of a job
# Bytes in the api table of XLA (c_api.h, major version 0), and the size of a table that has them all.
ERROR_DESTROY, SCHEDULE, NUM_THREADS, API_SIZE = 64, 136, 144, 152
API, EXECUTION = 2, 3  # words of the call frame
SPINS = 256  # looks at the counter before the waiting caller offers its core to others

I32, I64, VOID = ir.IntType(32), ir.IntType(64), ir.VoidType()
WORDS = I64.as_pointer()
TASK_TYPE = ir.FunctionType(VOID, [I64, I64])


def text(loop, threads, triple, machine, limit_address) -> str:
    """LLVM IR of void loop(frame, task, context, n_tasks) and i64 threads(frame).

    The limit on threads is read at `limit_address`.
    """
    module = ir.Module("parallel")
    module.triple = triple
    extern = lambda name, result, *kinds: ir.Function(module, ir.FunctionType(result, kinds), name)
    malloc, free, rest = extern("malloc", WORDS, I64), extern("free", VOID, WORDS), extern("sched_yield", I32)
    work = _work(module)
    release = _release(module, free)
    help_ = _helper(module, work, release)
    wait = _wait(module, machine, rest)
    failed = _destroy(module)
    helpers = _helpers(module, limit_address, failed)
    _threads(module, threads, helpers)
    _parallel_for(module, loop, malloc, failed, helpers, work, release, help_, wait)
    return str(module)


def _function(module, name, *kinds, result=VOID, internal=True):
    function = ir.Function(module, ir.FunctionType(result, kinds), name)
    function.linkage = "internal" if internal else ""
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _field(b, words, i):
    return b.gep(words, [I64(i)])


def _called(b, address, kind, *arguments):
    return b.call(b.inttoptr(address, kind.as_pointer()), arguments)


def _count(b, n, body):
    """body(i) for i in 0 ... n - 1."""
    start, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
    b.cbranch(b.icmp_signed(">", n, I64(0)), loop, end)
    b.position_at_end(loop)
    i = b.phi(I64)
    body(i)
    following = b.add(i, I64(1))
    i.add_incoming(I64(0), start)
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, n), loop, end)
    b.position_at_end(end)


def _work(module):
    """Claim tasks and run them until none is left."""
    function, b = _function(module, "work", WORDS)
    (job,) = function.args
    task, context, n = (b.load(_field(b, job, i)) for i in (TASK, CONTEXT, N_TASKS))
    claim, run, end = (b.append_basic_block(name) for name in ("claim", "run", "end"))
    b.branch(claim)
    b.position_at_end(claim)
    i = b.atomic_rmw("add", _field(b, job, NEXT), I64(1), "monotonic")
    b.cbranch(b.icmp_signed("<", i, n), run, end)
    b.position_at_end(run)
    _called(b, task, TASK_TYPE, context, i)
    b.atomic_rmw("add", _field(b, job, DONE), I64(1), "release")  # what the task wrote is seen with its count
    b.branch(claim)
    b.position_at_end(end)
    b.ret_void()
    return function


def _release(module, free):
    function, b = _function(module, "release", WORDS)
    (job,) = function.args
    before = b.atomic_rmw("sub", _field(b, job, REFERENCES), I64(1), "acq_rel")
    with b.if_then(b.icmp_signed("==", before, I64(1))):
        b.call(free, [job])
    b.ret_void()
    return function


def _helper(module, work, release):
    """XLA_FFI_Task: what a thread of the pool runs."""
    function, b = _function(module, "helper", WORDS)
    (job,) = function.args
    b.call(work, [job])
    b.call(release, [job])
    b.ret_void()
    return function


def _wait(module, machine, rest):
    """Until all claimed tasks are done. Their threads run, so it is short; a core is offered where it is not."""
    function, b = _function(module, "wait", WORDS)
    (job,) = function.args
    n = b.load(_field(b, job, N_TASKS))
    look, again, offer, end = (b.append_basic_block(name) for name in ("look", "again", "offer", "end"))
    start = b.block
    b.branch(look)
    b.position_at_end(look)
    looks = b.phi(I64)
    done = b.load_atomic(_field(b, job, DONE), "acquire", 8)
    b.cbranch(b.icmp_signed("<", done, n), again, end)
    b.position_at_end(again)
    if machine in ("x86_64", "amd64"):
        b.call(module.declare_intrinsic("llvm.x86.sse2.pause", (), ir.FunctionType(VOID, [])), [])
    following = b.add(looks, I64(1))
    b.cbranch(b.icmp_signed("<", following, I64(SPINS)), look, offer)
    b.position_at_end(offer)
    b.call(rest, [])
    b.branch(look)
    for value, block in ((I64(0), start), (following, again), (I64(0), offer)):
        looks.add_incoming(value, block)
    b.position_at_end(end)
    b.ret_void()
    return function


def _request(b, *words):
    """An argument struct of XLA on the stack: its size, no extension, then `words`."""
    size = len(words) + 2
    request = b.alloca(I64, size)
    for i, word in enumerate((I64(8 * size), I64(0), *words)):
        b.store(word, _field(b, request, i))
    return request


def _api(b, api, offset, request):
    """Error address that a function of the api table returns."""
    slot = b.inttoptr(b.add(api, I64(offset)), WORDS)
    return _called(b, b.load(slot), ir.FunctionType(I64, [WORDS]), request)


def _destroy(module):
    """Forget an error of XLA; false where there was none."""
    function, b = _function(module, "failed", I64, I64, result=ir.IntType(1))
    api, error = function.args
    failed = b.icmp_unsigned("!=", error, I64(0))
    with b.if_then(failed, likely=False):
        _api(b, api, ERROR_DESTROY, _request(b, error))
    b.ret(failed)
    return function


def _helpers(module, limit_address, failed):
    """i64 helpers(frame, n_tasks): how many threads beside the caller can help."""
    function, b = _function(module, "helpers", WORDS, I64, result=I64)
    frame, n = function.args
    smaller = lambda x, y: b.select(b.icmp_signed("<", x, y), x, y)
    limit = b.load_atomic(b.inttoptr(I64(limit_address), WORDS), "monotonic", 8)
    wanted = b.sub(smaller(limit, n), I64(1))
    pool_size = b.alloca(I64)
    api = b.load(_field(b, frame, API))
    has_pool = b.icmp_signed(">=", b.load(b.inttoptr(api, WORDS)), I64(API_SIZE))
    with b.if_then(b.not_(b.and_(b.icmp_signed(">", wanted, I64(0)), has_pool))):
        b.ret(I64(0))
    request = _request(b, b.load(_field(b, frame, EXECUTION)), b.ptrtoint(pool_size, I64))
    with b.if_then(b.call(failed, [api, _api(b, api, NUM_THREADS, request)])):
        b.ret(I64(0))
    b.ret(smaller(wanted, b.sub(b.load(pool_size), I64(1))))
    return function


def _alone(b, task, context, n):
    _count(b, n, lambda i: _called(b, task, TASK_TYPE, context, i))
    b.ret_void()


def _threads(module, symbol, helpers):
    function, b = _function(module, symbol, WORDS, result=I64, internal=False)
    b.ret(b.add(b.call(helpers, [function.args[0], I64(2**62)]), I64(1)))


def _parallel_for(module, symbol, malloc, failed, helpers, work, release, help_, wait):
    function, b = _function(module, symbol, WORDS, I64, I64, I64, internal=False)
    frame, task, context, n = function.args
    wanted = b.call(helpers, [frame, n])
    with b.if_then(b.icmp_signed("<=", wanted, I64(0))):
        _alone(b, task, context, n)
    job = b.call(malloc, [I64(8 * JOB_WORDS)])
    with b.if_then(b.icmp_unsigned("==", b.ptrtoint(job, I64), I64(0)), likely=False):
        _alone(b, task, context, n)
    first = {NEXT: I64(0), DONE: I64(0), REFERENCES: b.add(wanted, I64(1)), TASK: task, CONTEXT: context, N_TASKS: n}
    for i, word in first.items():
        b.store(word, _field(b, job, i))
    api = b.load(_field(b, frame, API))
    request = _request(b, b.load(_field(b, frame, EXECUTION)), b.ptrtoint(help_, I64), b.ptrtoint(job, I64))

    def schedule(_):
        with b.if_then(b.call(failed, [api, _api(b, api, SCHEDULE, request)]), likely=False):
            b.call(release, [job])

    _count(b, wanted, schedule)
    for part in (work, wait, release):
        b.call(part, [job])
    b.ret_void()
