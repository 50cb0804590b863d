# The Python side of a code context, for CPython 3.7 and later. README.md beside this file describes the wire.
#
# Everything happens inside one function that runs with globals of its own and a private copy of the builtins, so
# that cells which replace `print`, `len` or `builtins.repr` change their own world and not the driver's.
import sys


def driver():
    import _ast
    import _signal
    import _thread
    import builtins
    import io
    import os
    import posix
    import sys

    read, write, thread_id = posix.read, posix.write, _thread.get_ident
    getsignal, set_signal, SIGINT = _signal.getsignal, _signal.signal, _signal.SIGINT
    modules, interpreter_globals = sys.modules, globals()

    TEXT_CAP = 1 << 20  # characters of one repr
    JSON_NODES = 200000  # a larger structure has no application/json
    JSON_DEPTH = 100
    PARSE_ONLY = 0x400  # ast.PyCF_ONLY_AST, without importing ast
    COROUTINE, CODE = 0x80, type((lambda: None).__code__)
    flags = 0x2000 if sys.version_info >= (3, 8) else 0  # top-level await

    home_thread = thread_id()
    frame_cap = int(sys.argv[3])

    # User code closes low descriptors (a daemon's start does), and its children must not inherit the channel.
    ceiling = min(os.sysconf("SC_OPEN_MAX"), 1024)
    request = posix.dup2(int(sys.argv[1]), ceiling - 2, False)
    response = posix.dup2(int(sys.argv[2]), ceiling - 1, False)
    posix.close(int(sys.argv[1]))
    posix.close(int(sys.argv[2]))

    full_path = sys.path[:]
    stdlib = os.path.dirname(os.__file__)

    def import_from_stdlib(name):
        """Imports past the files of the user's folder, which may be called `re.py` or `traceback.py`."""
        before = sys.path[:]
        sys.path[:] = [p for p in full_path if p.startswith(stdlib) and "-packages" not in p]
        try:
            __import__(name)
        finally:
            sys.path[:] = before
        return modules[name]

    # ---- the channel ------------------------------------------------------------------------------------------

    lock = _thread.RLock()
    queue = []
    armed = False  # a SIGINT now becomes KeyboardInterrupt
    masked = False  # the main thread is writing a frame, which must not be torn
    missed = False  # a SIGINT came while masked
    current = None  # the nonce of the running cell

    def on_sigint(signum, frame):
        nonlocal armed, missed
        if not armed:
            return
        if masked:
            missed = True
            return
        if frame is not None and frame.f_globals is interpreter_globals:
            armed = False  # in the driver's own frames at most one, so that one handler is enough
        raise KeyboardInterrupt

    def fields(pairs):
        return b"".join([b"%s %d\n%s" % (name, len(data), data) for name, data in pairs])

    def frame(kind, nonce, pairs):
        payload = fields(pairs)
        if len(payload) > frame_cap:
            note = "[left out: %d bytes are more than the limit of %d]" % (len(payload), frame_cap)
            payload = fields([(b"text/plain", note.encode())])
        return b"%s %s %d\n%s" % (kind, nonce, len(payload), payload)

    def send(data):
        nonlocal masked, missed
        main = thread_id() == home_thread
        with lock:
            queue.append(data)
            if len(queue) > 1:
                return  # a signal handler of the user displays while a frame is being written: it goes after it
            if main:
                masked = True
            try:
                while queue:
                    rest = queue[0]
                    while rest:
                        rest = rest[write(response, rest) :]
                    del queue[0]
            finally:
                del queue[:]
                if main:
                    masked = False
        if main and missed:
            missed = False
            if armed:
                raise KeyboardInterrupt

    # ---- values as MIME bundles -------------------------------------------------------------------------------

    def utf8(text):
        return text.encode("utf-8", "backslashreplace")

    def capped(text, cap=TEXT_CAP):
        if len(text) <= cap:
            return text
        return "%s\n[cut: %d of %d characters]" % (text[:cap], cap, len(text))

    def name_of(value):
        try:
            return str(type(value).__name__)
        except Exception:
            return "object"

    def text_of(value):
        try:
            return utf8(capped(repr(value)))
        except Exception as error:
            return utf8("<%s object, whose repr raised %s>" % (name_of(value), name_of(error)))

    escapes = {n: "\\u%04x" % n for n in range(32)}
    escapes.update({34: '\\"', 92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t"})

    def json_of(value):
        """Strict JSON as bytes, or None for what JSON cannot say. The json module may be absent."""
        nodes = JSON_NODES

        def encode(value, depth):
            nonlocal nodes
            nodes -= 1
            if nodes < 0 or depth > JSON_DEPTH:
                raise ValueError
            kind = type(value)
            if kind is str:
                return '"%s"' % value.translate(escapes)
            if value is None:
                return "null"
            if kind is bool:
                return "true" if value else "false"
            if kind is int:
                if not -(1 << 63) <= value < 1 << 64:
                    raise ValueError
                return int.__repr__(value)
            if kind is float:
                if value != value or value in (float("inf"), float("-inf")):
                    raise ValueError
                return float.__repr__(value)
            if isinstance(value, (list, tuple)):
                return "[%s]" % ", ".join([encode(item, depth + 1) for item in value])
            if isinstance(value, dict):
                items = []
                for key, item in dict.items(value):
                    if type(key) is not str:
                        raise ValueError
                    items.append('"%s": %s' % (key.translate(escapes), encode(item, depth + 1)))
                return "{%s}" % ", ".join(items)
            raise ValueError

        try:
            return encode(value, 0).encode("utf-8")
        except Exception:
            return None

    def data_of(mime, data):
        """The bytes of one entry of a bundle: text as UTF-8, images as they are, JSON encoded here."""
        if mime == "application/json" or mime.endswith("+json"):
            if not isinstance(data, (str, bytes)):
                return json_of(data)
            if mime == "application/json" and isinstance(data, str):
                return json_of(data)
        if isinstance(data, (bytes, bytearray)):
            return bytes(data)
        if isinstance(data, str):
            if mime.startswith("image/") and not mime.endswith("+xml"):
                return import_from_stdlib("binascii").a2b_base64(data)
            return utf8(data)
        return None

    METHODS = (
        ("_repr_html_", "text/html"),
        ("_repr_markdown_", "text/markdown"),
        ("_repr_latex_", "text/latex"),
        ("_repr_svg_", "image/svg+xml"),
        ("_repr_png_", "image/png"),
        ("_repr_jpeg_", "image/jpeg"),
        ("_repr_json_", "application/json"),
        ("_repr_javascript_", "application/javascript"),
        ("_repr_pdf_", "application/pdf"),
    )
    PLAIN = frozenset((int, float, complex, str, bytes, bool, type(None), type, type(capped)))

    def complain(value, method, error):
        try:
            sys.stderr.write("%s of %s raised %s: %s\n" % (method, name_of(value), name_of(error), error))
        except Exception:
            pass  # stderr is the user's to break

    def bundle_of(value):
        kind = type(value)
        if kind in PLAIN:
            return [(b"text/plain", text_of(value))]
        entries = {}

        def add(mime, data):
            if isinstance(data, tuple) and data:
                data = data[0]  # (data, metadata)
            if data is None or type(mime) is not str or not 0 < len(mime) <= 128:
                return
            if not all("!" <= letter <= "~" for letter in mime):
                return
            encoded = data_of(mime, data)
            if encoded is not None:
                entries[mime] = encoded

        method = getattr(kind, "_repr_mimebundle_", None)
        if method is not None:
            try:
                bundle = method(value)
                if isinstance(bundle, tuple) and bundle:
                    bundle = bundle[0]
                if isinstance(bundle, dict):
                    for mime, data in list(dict.items(bundle)):
                        add(mime, data)
            except Exception as error:
                complain(value, "_repr_mimebundle_", error)
        for method_name, mime in METHODS:
            method = getattr(kind, method_name, None)
            if method is not None and mime not in entries:
                try:
                    add(mime, method(value))
                except Exception as error:
                    complain(value, method_name, error)
        if isinstance(value, (dict, list)) and "application/json" not in entries:
            encoded = json_of(value)
            if encoded is not None:
                entries["application/json"] = encoded
        figures = modules.get("matplotlib.figure")
        if figures is not None and isinstance(value, figures.Figure) and "image/png" not in entries:
            try:
                add("image/png", png_of(value))
                pyplot = modules.get("matplotlib.pyplot")
                if pyplot is not None:
                    pyplot.close(value)  # shown: it is not shown once more at the end of the cell
            except Exception as error:
                complain(value, "savefig", error)
        text = entries.pop("text/plain", None)
        result = [(b"text/plain", text_of(value) if text is None else text)]
        result.extend([(mime.encode(), data) for mime, data in entries.items()])
        return result

    def png_of(figure):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue()

    def display(*values):
        """Shows values as rich results of the running cell."""
        if forked:
            raise RuntimeError("display() works only in the process of the context, not in a fork of it")
        for value in values:
            nonce = current
            if nonce is None:
                raise RuntimeError("display() was called while no cell was running")
            send(frame(b"display", nonce, bundle_of(value)))

    def show_figures(_):
        pyplot = modules.get("matplotlib.pyplot")
        if pyplot is None or forked:
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            try:
                pairs = [(b"text/plain", text_of(figure)), (b"image/png", png_of(figure))]
            finally:
                pyplot.close(figure)
            send(frame(b"display", current, pairs))

    class Finder:
        """Has `pyplot.show()` show what is open by then. Agg's own does nothing, and the next plot would go into the same figure."""

        def find_spec(self, name, path=None, target=None):
            if name != "matplotlib.pyplot":
                return None
            for finder in sys.meta_path:
                spec = None if finder is self else finder.find_spec(name, path, target)
                if spec is not None:
                    execute = spec.loader.exec_module

                    def exec_module(pyplot):
                        execute(pyplot)
                        original = pyplot.show

                        def show(*args, **kwargs):
                            """Shows all open figures as results of the running cell, and closes them."""
                            if current is None or forked:
                                return original(*args, **kwargs)
                            show_figures(None)

                        pyplot.show = show

                    spec.loader.exec_module = exec_module
                    return spec
            return None

    # ---- errors -----------------------------------------------------------------------------------------------

    def explain(error):
        """The name, value and traceback of what a cell raised, with the frames of the cell only."""
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
            trace = trace.tb_next
        step = trace
        while step is not None:
            while step.tb_next is not None and any(step.tb_next.tb_frame.f_globals is own for own in own_globals):
                step.tb_next = step.tb_next.tb_next
            step = step.tb_next
        if isinstance(error, SystemExit):
            value = "0" if error.code is None else str(error.code)
        else:
            try:
                value = str(error)
            except Exception as failure:
                value = "<the str of this exception raised %s>" % name_of(failure)
        try:
            lines = "".join(traceback.format_exception(type(error), error, trace))
        except Exception:  # the user may have replaced what traceback itself needs
            lines = "Traceback (most recent call last):\n"
            while trace is not None:
                code = trace.tb_frame.f_code
                lines += '  File "%s", line %d, in %s\n' % (code.co_filename, trace.tb_lineno, code.co_name)
                trace = trace.tb_next
            lines += "%s: %s\n" % (name_of(error), value)
        return [
            (b"name", utf8(capped(name_of(error), 1000))),
            (b"value", utf8(capped(value))),
            (b"traceback", utf8(capped(lines))),
        ]

    # ---- cells ------------------------------------------------------------------------------------------------

    module = type(sys)("__main__")
    module.__builtins__ = builtins
    namespace = module.__dict__
    modules["__main__"] = module
    builtins.display = display
    builtin_print = builtins.print
    loop = None

    def print(*values, **options):
        # The streams are buffered by lines, which keeps those of threads apart. What is no line yet is shown as well.
        if "end" in options and options.get("file") in (None, original_stdout, original_stderr):
            options.setdefault("flush", True)
        builtin_print(*values, **options)

    # With globals of its own: an interrupt within it is one of the user's code, which may go on and be interrupted again.
    own_globals = (interpreter_globals, {"__builtins__": interpreter_globals["__builtins__"]})
    print = type(print)(print.__code__, own_globals[1], "print", None, print.__closure__)
    print.__doc__, print.__qualname__, print.__module__ = builtin_print.__doc__, "print", "builtins"
    builtins.print = print

    def run_coroutine(coroutine):
        nonlocal loop
        asyncio = modules.get("asyncio") or import_from_stdlib("asyncio")
        if loop is None or loop.is_closed():
            loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        finally:
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))

    async def in_loop(codes):
        for code in codes:
            value = eval(code, namespace)
            if code.co_flags & COROUTINE:
                value = await value
        return value

    def execute(codes):
        """The value of the last. If one of them awaits, the loop runs for all: so that `create_task` finds it before an `await`."""
        if any(code.co_flags & COROUTINE for code in codes):
            return run_coroutine(in_loop(codes))
        for code in codes:
            value = eval(code, namespace)
        return value

    def flush(_):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()

    def run(source):
        """Runs a cell to its end and returns its `result` frame, if it has one. The streams are flushed."""
        nonlocal flags, last
        text = source.decode("utf-8")
        name = "<cell %d>" % count
        lines[name] = (len(text), None, text.splitlines(True), name)
        code = None
        if "\n" not in text:
            try:
                code = compile(text, name, "eval", flags, True)
            except Exception:
                pass  # not an expression; what is wrong with it, the next attempt says
        if code is not None:
            value = execute([code])
            for const in code.co_consts:
                if type(const) is CODE:
                    break
            else:
                del lines[name]  # no lambda that could live on came from this line
        else:
            tree = compile(text, name, "exec", flags | PARSE_ONLY, True)
            final = None
            if tree.body and type(tree.body[-1]) is _ast.Expr:
                final = _ast.Expression(tree.body.pop().value)
            code = compile(tree, name, "exec", flags, True)
            flags |= code.co_flags & FUTURES  # `from __future__` holds for the later cells, as at a prompt
            codes = [code]
            if final is not None:
                codes.append(compile(final, name, "eval", flags, True))
            value = execute(codes)
        frame_bytes = b""
        if value is not None:
            if namespace.get("_", last) is last:  # unless the user took the name
                namespace["_"] = last = value
            frame_bytes = frame(b"result", current, bundle_of(value))
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
            if sys.stderr is not None:
                sys.stderr.flush()
        except ValueError:
            # A cell that has closed one has lost that stream, and not every value to come.
            if not any(getattr(stream, "closed", False) for stream in (sys.stdout, sys.stderr)):
                raise
        return frame_bytes

    def guarded(work, argument):
        """Calls `work` with SIGINT armed; returns its value and what it raised. Nothing escapes."""
        nonlocal armed
        try:
            try:
                armed = True
                value = work(argument)
                armed = False
                return value, None
            except BaseException as error:
                armed = False
                return None, error
        except BaseException as error:  # an interrupt just before the line that disarms
            armed = False
            return None, error

    def leave_fork(failure):
        """Ends the child of an `os.fork()` in a cell, which must not answer requests."""
        status = 0
        if isinstance(failure, SystemExit):
            status = failure.code if isinstance(failure.code, int) else int(failure.code is not None)
        elif failure is not None:
            status = 1
            guarded(sys.stderr.write, dict(guarded(explain, failure)[0] or ()).get(b"traceback", b"").decode())
        guarded(flush, None)
        posix._exit(status & 255)

    def settle(nonce, reply, failure):
        """What most cells need not: figures, errors, replaced streams, and the child of a fork."""
        if forked:
            leave_fork(failure)
        if "matplotlib.pyplot" in modules:
            problem = guarded(show_figures, None)[1]
            failure = failure or problem
        for stream in originals:
            guarded(type(stream).flush, stream)
        if failure is None:
            return reply
        guarded(flush, None)
        pairs = guarded(explain, failure)[0]
        if pairs is None:
            pairs = [(b"name", utf8(name_of(failure))), (b"value", b""), (b"traceback", b"")]
        if isinstance(failure, SystemExit) and sys.stdin is not None and sys.stdin.closed:
            sys.stdin = open(0, closefd=False)  # exit() and quit() close it
        return reply + frame(b"error", nonce, pairs)

    def serve():
        nonlocal count, current
        buffered = b""
        while True:
            head, newline, rest = buffered.partition(b"\n")
            while not newline:
                chunk = read(request, 65536)
                if not chunk:
                    return
                buffered += chunk
                head, newline, rest = buffered.partition(b"\n")
            word, nonce, size = head.split(b" ")
            size = int(size)
            if len(rest) < size:
                parts = [rest]
                missing = size - len(rest)
                while missing > 0:
                    chunk = read(request, 1 << 20)
                    if not chunk:
                        return
                    parts.append(chunk)
                    missing -= len(chunk)
                rest = b"".join(parts)
            buffered = rest[size:]
            count += 1
            current = nonce
            if getsignal(SIGINT) is not on_sigint:
                set_signal(SIGINT, on_sigint)
            reply, failure = guarded(run, rest[:size])
            if (
                failure is not None
                or forked
                or sys.stdout is not original_stdout
                or sys.stderr is not original_stderr
                or "matplotlib.pyplot" in modules
            ):
                reply = settle(nonce, reply or b"", failure)
                failure = None
            current = None
            text = b"%d" % count
            reply = b"%sdone %s %d\nexecution_count %d\n%s" % (reply, nonce, 18 + len(text), len(text), text)
            with lock:
                while reply:
                    reply = reply[write(response, reply) :]

    def note_fork():
        nonlocal forked
        forked = True

    count = 0
    last = None
    forked = False
    posix.register_at_fork(after_in_child=note_fork)
    sys.argv = [""]
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.meta_path.insert(0, Finder())
    original_stdout, original_stderr = sys.stdout, sys.stderr
    originals = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    for stream in originals:
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    set_signal(SIGINT, on_sigint)
    version = b"%d.%d.%d" % sys.version_info[:3]
    send(frame(b"ready", b"0" * 16, [(b"protocol", b"1"), (b"version", version)]))
    # After the greeting, so that the other side's work and these milliseconds overlap.
    future, traceback = import_from_stdlib("__future__"), import_from_stdlib("traceback")
    lines = import_from_stdlib("linecache").cache
    FUTURES = 0
    for feature in future.all_feature_names:
        FUTURES |= getattr(future, feature).compiler_flag
    try:
        serve()
    except OSError:
        pass  # the other side is gone, or the user closed the channel


command_line = sys.modules["__main__"]  # kept alive: its dictionary is the one that runs this line
type(driver)(driver.__code__, {"__builtins__": dict(vars(__import__("builtins"))), "__name__": "grainchain"})()
