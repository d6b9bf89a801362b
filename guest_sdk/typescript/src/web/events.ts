/** Event, CustomEvent and EventTarget, as much of them as a guest without a document needs. */
import { describeThrown } from "../errors.ts";
import { logLine } from "./console.ts";

export interface EventInit {
  bubbles?: boolean;
  cancelable?: boolean;
  composed?: boolean;
}

/** What `dispatchEvent` does to an event; nobody else can. */
interface Dispatching {
  begin(event: Event, target: EventTarget): void;
  passive(event: Event, passive: boolean): void;
  isStopped(event: Event): boolean;
  end(event: Event): void;
}

let dispatching: Dispatching;

export class Event {
  static readonly NONE = 0;
  static readonly CAPTURING_PHASE = 1;
  static readonly AT_TARGET = 2;
  static readonly BUBBLING_PHASE = 3;

  readonly type: string;
  readonly bubbles: boolean;
  readonly cancelable: boolean;
  readonly composed: boolean;
  readonly isTrusted = false;
  readonly timeStamp = 0;
  #target: EventTarget | null = null;
  #current: EventTarget | null = null;
  #prevented = false;
  #stopped = false;
  #passive = false;

  static {
    dispatching = {
      begin: (event, target) => {
        if (event.#current !== null) throw new DOMException("the event is being dispatched", "InvalidStateError");
        event.#target = event.#current = target;
      },
      passive: (event, passive) => {
        event.#passive = passive;
      },
      isStopped: (event) => event.#stopped,
      end: (event) => {
        event.#current = null;
        event.#stopped = event.#passive = false;
      },
    };
  }

  constructor(type: string, init?: EventInit) {
    if (arguments.length === 0) throw new TypeError("an Event takes its type");
    this.type = String(type);
    this.bubbles = Boolean(init?.bubbles);
    this.cancelable = Boolean(init?.cancelable);
    this.composed = Boolean(init?.composed);
  }

  get target(): EventTarget | null {
    return this.#target;
  }

  get srcElement(): EventTarget | null {
    return this.#target;
  }

  get currentTarget(): EventTarget | null {
    return this.#current;
  }

  get eventPhase(): number {
    return this.#current === null ? Event.NONE : Event.AT_TARGET;
  }

  get defaultPrevented(): boolean {
    return this.#prevented;
  }

  get returnValue(): boolean {
    return !this.#prevented;
  }

  composedPath(): EventTarget[] {
    return this.#current === null ? [] : [this.#current];
  }

  preventDefault(): void {
    if (this.cancelable && !this.#passive) this.#prevented = true;
  }

  stopPropagation(): void {}

  stopImmediatePropagation(): void {
    this.#stopped = true;
  }

  get [Symbol.toStringTag](): string {
    return "Event";
  }
}

export class CustomEvent<T = unknown> extends Event {
  readonly detail: T | null;

  constructor(type: string, init?: EventInit & { detail?: T }) {
    super(type, init);
    this.detail = init?.detail ?? null;
  }

  override get [Symbol.toStringTag](): string {
    return "CustomEvent";
  }
}

export type Listener = ((event: Event) => unknown) | { handleEvent(event: Event): unknown };

interface Registration {
  readonly listener: Listener;
  readonly capture: boolean;
  readonly once: boolean;
  readonly passive: boolean;
  removed: boolean;
}

export interface ListenerOptions {
  capture?: boolean;
  once?: boolean;
  passive?: boolean;
  signal?: EventTarget & { readonly aborted: boolean };
}

export class EventTarget {
  #listeners: Map<string, Registration[]> | undefined;

  addEventListener(type: string, listener: Listener | null, options?: boolean | ListenerOptions): void {
    const given = optionsOf(options);
    if (given.signal?.aborted) return;
    if (listener === null || listener === undefined) return;
    if (typeof listener !== "function" && typeof listener !== "object") {
      throw new TypeError("a listener is a function, or an object with a handleEvent method");
    }
    const name = String(type);
    const capture = Boolean(given.capture);
    const listeners = (this.#listeners ??= new Map<string, Registration[]>());
    const present = listeners.get(name) ?? [];
    if (present.some((one) => one.listener === listener && one.capture === capture)) return;
    const passive = Boolean(given.passive);
    listeners.set(name, [...present, { listener, capture, once: Boolean(given.once), passive, removed: false }]);
    given.signal?.addEventListener("abort", () => this.removeEventListener(name, listener, capture), { once: true });
  }

  removeEventListener(type: string, listener: Listener | null, options?: boolean | ListenerOptions): void {
    const name = String(type);
    const capture = Boolean(optionsOf(options).capture);
    const present = this.#listeners?.get(name);
    const found = present?.find((one) => one.listener === listener && one.capture === capture);
    if (found === undefined) return;
    found.removed = true;
    this.#listeners!.set(name, present!.filter((one) => one !== found));
  }

  /** Runs the listeners in the order they were added; what one throws goes to the log and stops no other. */
  dispatchEvent(event: Event): boolean {
    if (!(event instanceof Event)) throw new TypeError("dispatchEvent takes an Event");
    dispatching.begin(event, this);
    for (const registration of this.#listeners?.get(event.type) ?? []) {
      const { listener, capture, passive } = registration;
      if (registration.removed) continue;
      if (registration.once) this.removeEventListener(event.type, listener, capture);
      dispatching.passive(event, passive);
      try {
        if (typeof listener === "function") listener.call(this, event);
        else listener.handleEvent(event);
      } catch (error) {
        reportUncaught(`a listener of ${JSON.stringify(event.type)}`, error);
      }
      if (dispatching.isStopped(event)) break;
    }
    dispatching.end(event);
    return !event.defaultPrevented;
  }

  get [Symbol.toStringTag](): string {
    return "EventTarget";
  }
}

function optionsOf(options: boolean | ListenerOptions | undefined): ListenerOptions {
  return typeof options === "object" && options !== null ? options : { capture: Boolean(options) };
}

/** What nobody can catch is written to the function's log. */
export function reportUncaught(where: string, thrown: unknown): void {
  const [name, message, stack] = describeThrown(thrown);
  logLine("error", `Uncaught in ${where}: ${name}: ${message}\n${stack}`);
}
