// The JavaScript side of a code context, for Node 16 and later. README.md beside this file describes the wire.
//
// Cells are evaluated as the developer tools do it (`Runtime.evaluate` in REPL mode): `const`, `let` and `class`
// live from cell to cell and may be declared again, and `await` works at the top level.
(() => {
  'use strict';
  // All that cells may replace is taken here, before they can: what they replace is theirs and not the driver's.
  const { Array, BigInt, Error, JSON, Map, Number, Object, Promise, RegExp, String, Symbol, SyntaxError } = globalThis;
  const { Buffer, Int32Array, SharedArrayBuffer, Uint8Array, process, setImmediate } = globalThis;
  const { alloc, concat, from } = Buffer;
  const { defineProperty, entries, getOwnPropertyDescriptor, getPrototypeOf, keys: keysOf } = Object;
  const { isArray } = Array;
  const { isFinite } = Number;
  const { wait } = Atomics;
  const { nextTick, _tickCallback: tick } = process;
  const on = process.on.bind(process);
  const listeners = process.listeners.bind(process);
  const { writeSync } = require('fs');
  const path = require('path');
  const util = require('util');
  const vm = require('vm');
  const { Writable } = require('stream');
  const { createRequire } = require('module');
  let inspector;
  try {
    inspector = require('inspector');
  } catch {
    process.stderr.write('this node was built without its inspector, which code contexts need\n');
    process.reallyExit(1);
  }
  const { inspect, types } = util;
  const { stringify } = JSON;

  const TEXT_CAP = 1 << 20; // characters of one value
  const JSON_NODES = 200000; // a larger structure has no application/json
  const JSON_DEPTH = 100;
  const [requestFd, responseFd, frameCap] = process.argv.splice(1, 3).map(Number);

  // ---- output -----------------------------------------------------------------------------------------------------

  const clock = new Int32Array(new SharedArrayBuffer(4));
  function writeAll(fd, bytes) {
    let start = 0;
    while (start < bytes.length) {
      try {
        start += writeSync(fd, bytes, start);
      } catch (error) {
        // A child that shares the pipe may have made it non-blocking.
        if (error.code !== 'EAGAIN') throw error;
        wait(clock, 0, 0, 1);
      }
    }
  }

  // Node's own streams queue what a full pipe does not take, so that `done` could overtake it.
  function synchronous(fd) {
    const stream = new Writable({
      decodeStrings: true,
      write(chunk, _encoding, done) {
        try {
          writeAll(fd, chunk);
          done();
        } catch (error) {
          done(error);
        }
      },
    });
    // Past the stream's own books: an interrupt in the middle of a write would leave it waiting for the end of that.
    const { write } = stream;
    stream.write = function (chunk, encoding, done) {
      if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) return write.call(stream, chunk, encoding, done);
      const callback = typeof encoding === 'function' ? encoding : done;
      let failure = null;
      try {
        writeAll(fd, typeof chunk === 'string' ? from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : chunk);
      } catch (error) {
        failure = error;
      }
      if (typeof callback === 'function') nextTick(callback, failure);
      return true;
    };
    stream.fd = fd;
    stream._type = 'pipe';
    stream._isStdio = true;
    stream.destroySoon = stream.destroy;
    stream._destroy = (error, done) => done(error);
    stream.on('error', () => {}); // the user closed the descriptor
    return stream;
  }
  const [stdout, stderr] = [synchronous(1), synchronous(2)];
  for (const [name, stream] of entries({ stdout, stderr })) {
    defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream });
  }
  const complain = (text) => stderr.write(text + '\n');

  // ---- the channel ------------------------------------------------------------------------------------------------

  function frame(kind, nonce, fields) {
    const parts = [];
    for (const [name, data] of fields) {
      const bytes = typeof data === 'string' ? from(data) : data;
      parts.push(from(`${name} ${bytes.length}\n`), bytes);
    }
    let payload = concat(parts);
    if (payload.length > frameCap) {
      const note = from(`[left out: ${payload.length} bytes are more than the limit of ${frameCap}]`);
      payload = concat([from(`text/plain ${note.length}\n`), note]);
    }
    return concat([from(`${kind} ${nonce} ${payload.length}\n`), payload]);
  }

  // ---- values as MIME bundles -------------------------------------------------------------------------------------

  function capped(text) {
    if (text.length <= TEXT_CAP) return text;
    return `${text.slice(0, TEXT_CAP)}\n[cut: ${TEXT_CAP} of ${text.length} characters]`;
  }

  function textOf(value) {
    try {
      return capped(inspect(value));
    } catch (error) {
      if (!types.isNativeError(error)) return '[value whose inspection threw]';
      return `[value whose inspection threw ${error.name}]`;
    }
  }

  // Plain data only: no getters, no toJSON, no class instances, nothing circular.
  function isPlain(value) {
    let nodes = JSON_NODES;
    const walk = (value, depth) => {
      if (--nodes < 0 || depth > JSON_DEPTH) return false;
      if (value === null || typeof value === 'boolean') return true;
      if (typeof value === 'string') return !/[\ud800-\udfff]/.test(value) || from(value).toString() === value;
      if (typeof value === 'number') return isFinite(value);
      if (typeof value !== 'object' || types.isProxy(value)) return false;
      const prototype = getPrototypeOf(value);
      const list = isArray(value);
      if (prototype !== null && prototype !== (list ? Array.prototype : Object.prototype)) return false;
      if (typeof value.toJSON === 'function') return false;
      if (list && value.length > nodes) return false;
      const keys = keysOf(value);
      if (list && keys.length !== value.length) return false;
      for (const key of keys) {
        const property = getOwnPropertyDescriptor(value, key);
        if (!('value' in property) || !walk(property.value, depth + 1)) return false;
      }
      return true;
    };
    return typeof value === 'object' && value !== null && walk(value, 0);
  }

  function bytesOf(mime, data) {
    if (mime === 'application/json' || (mime.endsWith('+json') && typeof data !== 'string')) return stringify(data);
    if (data instanceof Uint8Array) return from(data.buffer, data.byteOffset, data.byteLength);
    if (typeof data !== 'string') return undefined;
    return mime.startsWith('image/') && !mime.endsWith('+xml') ? from(data, 'base64') : data;
  }

  const RICH = Symbol.for('Jupyter.display'); // as in other JavaScript kernels: a method that returns a MIME bundle

  function bundleOf(value) {
    const bundle = new Map();
    if (value !== null && typeof value === 'object' && !types.isProxy(value)) {
      try {
        if (typeof value[RICH] === 'function') {
          for (const [mime, data] of entries(value[RICH]())) {
            const bytes = /^[!-~]{1,128}$/.test(mime) ? bytesOf(mime, data) : undefined;
            if (bytes !== undefined) bundle.set(mime, bytes);
          }
        }
        if (!bundle.has('application/json') && isPlain(value)) bundle.set('application/json', stringify(value));
      } catch (error) {
        complain(`the display method of a value threw ${textOf(error)}`);
      }
    }
    const text = bundle.get('text/plain');
    bundle.delete('text/plain');
    return [['text/plain', text === undefined ? textOf(value) : text], ...bundle];
  }

  function display(...values) {
    if (cell === null) throw new Error('display() was called while no cell was running');
    for (const value of values) writeAll(responseFd, frame('display', cell.nonce, bundleOf(value)));
  }

  // ---- errors -----------------------------------------------------------------------------------------------------

  // Drops the driver's frames: those below the inspector's entry, and those of this script.
  function ownFrames(stack) {
    let below = false;
    const kept = stack.split('\n').filter((line) => {
      if (!/^\s+at /.test(line)) {
        below = false;
        return true;
      }
      if (/at Session\.post \(node:inspector/.test(line)) below = true;
      return !below && !/[( ]\[eval\]/.test(line) && !/\(node:(vm|internal\/process\/task_queues):/.test(line);
    });
    return kept.join('\n');
  }

  function explain(error, details) {
    if (!types.isNativeError(error)) {
      const text = textOf(error);
      return [['name', 'Uncaught'], ['value', text], ['traceback', `Uncaught ${text}`]];
    }
    let name = 'Error';
    let value = '';
    try {
      name = String(error.name);
      value = String(error.message);
    } catch {
      value = '[the message of this error threw]';
    }
    let traceback = ownFrames(textOf(error));
    if (error instanceof SyntaxError && details && !/\n\s+at /.test(traceback)) {
      traceback = `<cell-${count}>:${details.lineNumber + 1}:${details.columnNumber + 1}\n${traceback}`;
    }
    return [['name', capped(name)], ['value', capped(value)], ['traceback', traceback]];
  }

  // ---- imports ----------------------------------------------------------------------------------------------------

  // Code that the inspector evaluates has no host to ask for modules, so `import(` becomes a call of ours. The scan
  // knows strings, templates, comments and, by what stands before it, regular expressions.
  function withImports(code) {
    if (!/\bimport\s*\(/.test(code)) return code;
    const token = /\/\/.*|\/\*[^]*?\*\/|'(?:\\[^]|[^'\\\n])*'|"(?:\\[^]|[^"\\\n])*"|[\p{ID_Continue}$]+|\s+|[^]/uy;
    const regex = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//y;
    const text = /(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{)?/y;
    const keyword = /^(?:return|typeof|case|in|of|delete|void|throw|new|do|else|instanceof|yield|await)$/;
    const braces = [];
    let output = '';
    let previous = '';
    let at = 0;
    const take = (pattern) => {
      pattern.lastIndex = at;
      const match = pattern.exec(code);
      if (match === null) return null;
      at = pattern.lastIndex;
      output += match[0];
      return match[0];
    };
    while (at < code.length) {
      if (code[at] === '/' && !/^\/[/*]/.test(code.slice(at, at + 2))) {
        const operand = /[\p{ID_Continue}$)\]]$/u.test(previous) && !keyword.test(previous);
        if (!operand && take(regex)) {
          previous = ')';
          continue;
        }
      }
      const start = output.length;
      const piece = take(token);
      if (/^\s|^\/[/*]/.test(piece)) continue;
      if (piece === 'import' && previous !== '.' && /^\s*\(/.test(code.slice(at, at + 200))) {
        output = output.slice(0, start) + '__import';
      }
      if (piece === '{') braces.push('{');
      if (piece === '`' || (piece === '}' && braces.pop() === '`')) {
        if (take(text).endsWith('${')) braces.push('`');
        previous = ')';
        continue;
      }
      previous = piece;
    }
    return output;
  }

  // ---- cells ------------------------------------------------------------------------------------------------------

  let count = 0;
  let cell = null; // {nonce}, of the running cell
  const EXIT = Symbol('exit');

  const session = new inspector.Session();
  session.connect();
  const ZONE = Symbol.for('grainchain.zone');
  const zone = new vm.Script('globalThis[Symbol.for("grainchain.zone")]()', { filename: '[eval]' });

  // Runs `work` so that SIGINT ends it, also in a loop without end. True if it was ended.
  function interruptible(work) {
    defineProperty(globalThis, ZONE, { configurable: true, value: work });
    try {
      zone.runInThisContext({ breakOnSigint: true, displayErrors: false });
      return false;
    } catch (error) {
      if (error && error.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') return true;
      complain(`the driver of the context failed: ${textOf(error)}`);
      return false;
    }
  }

  // Values cross from the inspector to this script through a function that it calls with them.
  let caught;
  defineProperty(globalThis, ZONE, { configurable: true, value: (value) => (caught = value) });
  let sink;
  session.post('Runtime.evaluate', { expression: 'globalThis[Symbol.for("grainchain.zone")]' }, (_error, reply) => {
    sink = reply.result.objectId;
  });

  function valueOf(remote) {
    if (remote.objectId !== undefined) {
      const call = { objectId: sink, functionDeclaration: 'function(v){this(v)}', silent: true };
      session.post('Runtime.callFunctionOn', { ...call, arguments: [{ objectId: remote.objectId }] });
      const value = caught;
      caught = undefined;
      session.post('Runtime.releaseObject', { objectId: remote.objectId });
      return value;
    }
    const special = remote.unserializableValue;
    if (special === undefined) return remote.subtype === 'null' ? null : remote.value;
    return special.endsWith('n') ? BigInt(special.slice(0, -1)) : Number(special);
  }

  // What a cell comes to is noted in one step where SIGINT may end everything, and told where it may not: otherwise it could
  // end the telling.
  function settle(running, parts) {
    if (running.parts === undefined) running.parts = parts;
  }

  function tell(running) {
    if (cell !== running || running.parts === undefined) return; // it waits, or it was interrupted before
    cell = null;
    const done = frame('done', running.nonce, [['execution_count', String(count)]]);
    writeAll(responseFd, concat([...running.parts, done]));
    next();
  }

  function interrupted(running) {
    const message = 'the cell was interrupted';
    const fields = [['name', 'Interrupted'], ['value', message], ['traceback', `Interrupted: ${message}`]];
    settle(running, [frame('error', running.nonce, fields)]);
    tell(running);
  }

  function exited(running) {
    const text = String(running.exit);
    const fields = [['name', 'ProcessExit'], ['value', text], ['traceback', `ProcessExit: process.exit(${text})`]];
    settle(running, [frame('error', running.nonce, fields)]);
  }

  function answer(running, reply) {
    const { result, exceptionDetails: details } = reply;
    const value = valueOf(details && details.exception ? details.exception : result);
    if (details) return settle(running, [frame('error', running.nonce, explain(value, details))]);
    if (types.isPromise(value)) {
      const failed = (error) => [frame('error', running.nonce, explain(error))];
      value.then(
        (result) => late(running, () => settle(running, shown(running, result))),
        (error) => late(running, () => settle(running, failed(error))),
      );
      return;
    }
    settle(running, shown(running, value));
  }

  function shown(running, value) {
    return value === undefined ? [] : [frame('result', running.nonce, bundleOf(value))];
  }

  // What is left to do after the cell's first turn, so that SIGINT can end it as well.
  function late(running, work) {
    const step = () => (running.exit === undefined ? work() : exited(running));
    if (running.within) return step();
    if (interruptible(step)) interrupted(running);
    tell(running);
  }

  function run(nonce, code) {
    count += 1;
    const running = { nonce, exit: undefined, parts: undefined, within: true };
    cell = running;
    const expression = `${withImports(code)}\n//# sourceURL=<cell-${count}>`;
    const ended = interruptible(() => {
      session.post('Runtime.evaluate', { expression, replMode: true, awaitPromise: true }, (error, reply) => {
        if (!error) late(running, () => answer(running, reply));
        else if (!running.within) interrupted(running);
      });
      if (running.parts === undefined) tick(); // here, where SIGINT ends also what comes after an `await`
    });
    running.within = false;
    // What the cell has queued by now (the rest of it behind an `await`) would run where nothing can end it.
    if (ended) while (interruptible(() => tick()));
    if (ended) interrupted(running);
    tell(running);
  }

  // ---- requests ---------------------------------------------------------------------------------------------------

  let buffered = alloc(0);
  let chunks = [];
  function next() {
    if (cell !== null) return;
    if (chunks.length > 0) {
      buffered = concat([buffered, ...chunks]);
      chunks = [];
    }
    const end = buffered.indexOf(10);
    if (end < 0) return;
    const [, nonce, length] = buffered.toString('latin1', 0, end).split(' ');
    const stop = end + 1 + Number(length);
    if (buffered.length < stop) return;
    const code = buffered.toString('utf8', end + 1, stop);
    buffered = buffered.subarray(stop);
    if (!listeners('SIGINT').includes(onSigint)) on('SIGINT', onSigint);
    setImmediate(run, nonce, code);
  }

  function onSigint() {
    if (cell !== null) interrupted(cell);
  }

  const reallyExit = process.reallyExit.bind(process);
  process.exit = (code) => {
    const status = code === undefined ? process.exitCode : code;
    if (cell === null) throw EXIT;
    cell.exit = status === undefined ? 0 : status;
    throw EXIT;
  };
  function uncaught(error) {
    if (error !== EXIT) return complain(`Uncaught ${ownFrames(textOf(error))}`);
    if (cell === null || cell.exit === undefined) return;
    exited(cell);
    if (!cell.within) tell(cell);
  }
  on('uncaughtException', uncaught);
  on('unhandledRejection', uncaught);

  const define = (name, value) =>
    defineProperty(globalThis, name, { configurable: true, writable: true, enumerable: false, value });
  let importWith = (specifier) => import(specifier);
  try {
    importWith = eval('(specifier, options) => import(specifier, options)');
  } catch {
    // Before Node 16.14 import() takes one argument.
  }
  define('__import', (specifier, options) => (options === undefined ? import(specifier) : importWith(specifier, options)));
  define('require', createRequire(path.join(process.cwd(), 'cell')));
  define('display', display);

  // Into a buffer of our own: what a stream does between the socket and its listeners, a cell may have replaced.
  const onread = {
    buffer: alloc(65536),
    callback(length, bytes) {
      chunks.push(from(bytes.subarray(0, length)));
      next();
      return true;
    },
  };
  const requests = new (require('net').Socket)({ fd: requestFd, readable: true, writable: false, onread });
  requests.on('end', () => reallyExit(0));
  requests.on('error', () => reallyExit(1));
  on('SIGINT', onSigint);
  const greeting = [['protocol', '1'], ['version', process.versions.node]];
  writeAll(responseFd, frame('ready', '0'.repeat(16), greeting));
})();
