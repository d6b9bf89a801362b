/** ReadableStream: a source of chunks with backpressure, one reader at a time.
 *
 *  Readers are the default ones; a source of type "bytes" is taken as one of chunks. There is no pipeTo, because there
 *  is nothing to pipe to: bodies leave a guest whole.
 */
export interface UnderlyingSource<T> {
  type?: "bytes" | undefined;
  start?(controller: ReadableStreamDefaultController<T>): unknown;
  pull?(controller: ReadableStreamDefaultController<T>): unknown;
  cancel?(reason: unknown): unknown;
}

export interface QueuingStrategy<T> {
  highWaterMark?: number;
  size?(chunk: T): number;
}

interface Settlers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function settlers<T>(): Settlers<T> {
  let [resolve, reject]: [any, any] = [undefined, undefined];
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

/** A promise whose rejection may go unseen. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

type ReadResult<T> = { value: T; done: false } | { value: undefined; done: true };

/** Everything a stream knows; the stream, its controller and its reader are three views of it. */
class State<T> {
  status: "readable" | "closed" | "errored" = "readable";
  error: unknown = undefined;
  disturbed = false;
  reader: ReadableStreamDefaultReader<T> | undefined;
  readonly waiting: Settlers<ReadResult<T>>[] = [];
  readonly queue: { chunk: T; size: number }[] = [];
  queued = 0;
  closeRequested = false;
  #started = false;
  #pulling = false;
  #pullAgain = false;

  constructor(
    public source: UnderlyingSource<T>, readonly highWaterMark: number,
    readonly size: ((chunk: T) => number) | undefined,
  ) {}

  start(controller: ReadableStreamDefaultController<T>): void {
    const begun: unknown = this.source.start?.(controller);
    Promise.resolve(begun).then(
      () => {
        this.#started = true;
        this.pullIfNeeded(controller);
      },
      (error: unknown) => this.fail(error),
    );
  }

  get desiredSize(): number | null {
    if (this.status === "errored") return null;
    return this.status === "closed" ? 0 : this.highWaterMark - this.queued;
  }

  pullIfNeeded(controller: ReadableStreamDefaultController<T>): void {
    if (!this.#started || this.status !== "readable" || this.closeRequested) return;
    if (this.waiting.length === 0 && this.desiredSize! <= 0) return;
    if (this.#pulling) {
      this.#pullAgain = true;
      return;
    }
    this.#pulling = true;
    new Promise((resolve) => resolve(this.source.pull?.(controller))).then(
      () => {
        this.#pulling = false;
        if (!this.#pullAgain) return;
        this.#pullAgain = false;
        this.pullIfNeeded(controller);
      },
      (error: unknown) => this.fail(error),
    );
  }

  enqueue(chunk: T): void {
    const waiting = this.waiting.shift();
    if (waiting !== undefined) return waiting.resolve({ value: chunk, done: false });
    let size = 1;
    try {
      if (this.size !== undefined) size = Number(this.size.call(undefined, chunk));
      if (!(size >= 0 && size < Infinity)) throw new RangeError("the size of a chunk must be a finite number from 0");
    } catch (error) {
      this.fail(error);
      throw error;
    }
    this.queue.push({ chunk, size });
    this.queued += size;
  }

  take(controller: ReadableStreamDefaultController<T>): Promise<ReadResult<T>> {
    this.disturbed = true;
    const first = this.queue.shift();
    if (first !== undefined) {
      this.queued -= first.size;
      if (this.closeRequested && this.queue.length === 0) this.close();
      else this.pullIfNeeded(controller);
      return Promise.resolve({ value: first.chunk, done: false });
    }
    if (this.status === "closed") return Promise.resolve({ value: undefined, done: true });
    if (this.status === "errored") return Promise.reject(this.error);
    const read = settlers<ReadResult<T>>();
    this.waiting.push(read);
    this.pullIfNeeded(controller);
    return read.promise;
  }

  close(): void {
    this.status = "closed";
    this.source = {};
    for (const read of this.waiting.splice(0)) read.resolve({ value: undefined, done: true });
    if (this.reader !== undefined) closedOf(this.reader).resolve(undefined);
  }

  fail(error: unknown): void {
    if (this.status !== "readable") return;
    this.status = "errored";
    this.error = error;
    this.source = {};
    this.queue.length = this.queued = 0;
    for (const read of this.waiting.splice(0)) read.reject(error);
    if (this.reader !== undefined) closedOf(this.reader).reject(error);
  }

  async cancel(reason: unknown): Promise<void> {
    this.disturbed = true;
    if (this.status === "errored") throw this.error;
    if (this.status === "closed") return;
    const { source } = this;
    this.queue.length = this.queued = 0;
    this.close();
    await source.cancel?.(reason);
  }
}

const INTERNAL = Symbol("internal");

export class ReadableStreamDefaultController<T = unknown> {
  readonly #state: State<T>;

  constructor(key?: symbol, state?: State<T>) {
    if (key !== INTERNAL) throw new TypeError("Illegal constructor: a stream gives its controller to its source");
    this.#state = state!;
  }

  get desiredSize(): number | null {
    return this.#state.desiredSize;
  }

  enqueue(chunk: T): void {
    this.#requireOpen();
    this.#state.enqueue(chunk);
    this.#state.pullIfNeeded(this);
  }

  close(): void {
    this.#requireOpen();
    this.#state.closeRequested = true;
    if (this.#state.queue.length === 0) this.#state.close();
  }

  error(reason?: unknown): void {
    this.#state.fail(reason);
  }

  #requireOpen(): void {
    const { status, closeRequested } = this.#state;
    if (status !== "readable" || closeRequested) throw new TypeError("the stream is closed or has failed");
  }
}

let closedOf: (reader: ReadableStreamDefaultReader<any>) => Settlers<undefined>;
let stateOf: <T>(stream: ReadableStream<T>) => State<T>;
let controllerOf: <T>(stream: ReadableStream<T>) => ReadableStreamDefaultController<T>;

/** Whether somebody has read from the stream or cancelled it. */
export function isDisturbed(stream: ReadableStream<any>): boolean {
  return stateOf(stream).disturbed;
}

export class ReadableStreamDefaultReader<T = unknown> {
  #stream: ReadableStream<T> | undefined;
  #closed: Settlers<undefined> = settlers();

  static {
    closedOf = (reader) => reader.#closed;
  }

  constructor(stream: ReadableStream<T>) {
    if (!(stream instanceof ReadableStream)) throw new TypeError("a reader takes a ReadableStream");
    if (stream.locked) throw new TypeError("the stream has a reader already");
    this.#stream = stream;
    const state = stateOf(stream);
    state.reader = this;
    quiet(this.#closed.promise);
    if (state.status === "closed") this.#closed.resolve(undefined);
    else if (state.status === "errored") this.#closed.reject(state.error);
  }

  get closed(): Promise<undefined> {
    return this.#closed.promise;
  }

  async read(): Promise<ReadResult<T>> {
    const stream = this.#required();
    return stateOf(stream).take(controllerOf(stream));
  }

  async cancel(reason?: unknown): Promise<void> {
    return stateOf(this.#required()).cancel(reason);
  }

  releaseLock(): void {
    if (this.#stream === undefined) return;
    const state = stateOf(this.#stream);
    const released = new TypeError("the reader was released");
    for (const read of state.waiting.splice(0)) read.reject(released);
    if (state.status !== "readable") this.#closed = settlers();
    quiet(this.#closed.promise);
    this.#closed.reject(released);
    state.reader = undefined;
    this.#stream = undefined;
  }

  #required(): ReadableStream<T> {
    if (this.#stream === undefined) throw new TypeError("the reader was released");
    return this.#stream;
  }
}

export class ReadableStream<T = unknown> {
  readonly #state: State<T>;
  readonly #controller: ReadableStreamDefaultController<T>;

  static {
    stateOf = (stream) => stream.#state;
    controllerOf = (stream) => stream.#controller;
  }

  constructor(source: UnderlyingSource<T> = {}, strategy: QueuingStrategy<T> = {}) {
    if (source === null || typeof source !== "object") throw new TypeError("a ReadableStream takes an object");
    if (source.type !== undefined && source.type !== "bytes") throw new TypeError("the type of a source is bytes or none");
    const mark = strategy.highWaterMark === undefined ? (source.type === "bytes" ? 0 : 1) : Number(strategy.highWaterMark);
    if (!(mark >= 0)) throw new RangeError("highWaterMark must be a number from 0");
    this.#state = new State(source, mark, strategy.size);
    this.#controller = new ReadableStreamDefaultController<T>(INTERNAL, this.#state);
    this.#state.start(this.#controller);
  }

  /** A stream of what an iterable gives. */
  static from<T>(iterable: Iterable<T | Promise<T>> | AsyncIterable<T>): ReadableStream<T> {
    const iterator: AsyncIterator<T> | Iterator<T | Promise<T>> =
      Symbol.asyncIterator in iterable ? iterable[Symbol.asyncIterator]() : iterable[Symbol.iterator]();
    return new ReadableStream<T>({
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done === true) controller.close();
        else controller.enqueue(await value);
      },
      async cancel(reason) {
        await iterator.return?.(reason as never);
      },
    }, { highWaterMark: 0 });
  }

  get locked(): boolean {
    return this.#state.reader !== undefined;
  }

  async cancel(reason?: unknown): Promise<void> {
    if (this.locked) throw new TypeError("the stream has a reader: cancel it there");
    return this.#state.cancel(reason);
  }

  getReader(options?: { mode?: "byob" }): ReadableStreamDefaultReader<T> {
    if (options?.mode !== undefined) throw new TypeError("readers that bring their own buffer are not available");
    return new ReadableStreamDefaultReader(this);
  }

  /** Two streams of the same chunks. The source is cancelled when both are. */
  tee(): [ReadableStream<T>, ReadableStream<T>] {
    const reader = this.getReader();
    const cancelled = settlers<void>();
    const reasons: unknown[] = [];
    let reading = false;
    const branches: (ReadableStreamDefaultController<T> | undefined)[] = [];
    const pull = async (): Promise<void> => {
      if (reading) return;
      reading = true;
      try {
        const { value, done } = await reader.read();
        for (const branch of branches) done ? branch?.close() : branch?.enqueue(value);
      } catch (error) {
        for (const branch of branches) branch?.error(error);
      } finally {
        reading = false;
      }
    };
    const branch = (index: number): ReadableStream<T> =>
      new ReadableStream<T>({
        start: (controller) => void (branches[index] = controller),
        pull,
        cancel: (reason) => {
          reasons[index] = reason;
          branches[index] = undefined;
          if (branches.every((one) => one === undefined)) reader.cancel([...reasons]).then(cancelled.resolve, cancelled.reject);
          return cancelled.promise;
        },
      }, { highWaterMark: 0 });
    quiet(cancelled.promise);
    return [branch(0), branch(1)];
  }

  async *values(options?: { preventCancel?: boolean }): AsyncGenerator<T, undefined, undefined> {
    const reader = this.getReader();
    let over = false;
    try {
      for (;;) {
        const { value, done } = await reader.read().catch((error: unknown) => {
          over = true;
          throw error;
        });
        if (done) {
          over = true;
          return undefined;
        }
        yield value;
      }
    } finally {
      if (!over && options?.preventCancel !== true) await reader.cancel();
      reader.releaseLock();
    }
  }

  [Symbol.asyncIterator](options?: { preventCancel?: boolean }): AsyncGenerator<T, undefined, undefined> {
    return this.values(options);
  }

  get [Symbol.toStringTag](): string {
    return "ReadableStream";
  }
}

/** A stream of one chunk that is made when it is asked for; none when it is empty. */
export function streamOfBytes(make: () => Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    pull(controller) {
      const bytes = make();
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  }, { highWaterMark: 0 });
}
